//! SIGTERM and SIGINT: the first one stops the gateway in order, the second one at once.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// The exit code after a second signal, as a shell has it for SIGINT.
const IMPATIENT: i32 = 130;

/// Where the end of the gateway is waited for.
#[derive(Debug)]
pub(crate) struct End {
    heard: UnixStream,
    waker: UnixStream,
}

/// Ends the gateway from inside, when it is dropped: whoever holds it has ended, in whatever way.
#[derive(Debug)]
pub(crate) struct EndsGateway(UnixStream);

impl Drop for EndsGateway {
    fn drop(&mut self) {
        // Only fails where nobody waits any more.
        let _ = self.0.write_all(&[0]);
    }
}

impl End {
    /// Takes the two signals from here on.
    pub(crate) fn register() -> io::Result<End> {
        let (heard, waker) = UnixStream::pair()?;
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal finds the flag unset, sets it, and wakes who waits.
            flag::register_conditional_shutdown(signal, IMPATIENT, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(End { heard, waker })
    }

    /// What ends the gateway when it is dropped.
    pub(crate) fn when_dropped(&self) -> io::Result<EndsGateway> {
        Ok(EndsGateway(self.waker.try_clone()?))
    }

    /// Returns once the gateway is to end.
    pub(crate) fn wait(&self) {
        let mut heard = &self.heard;
        while let Err(error) = heard.read(&mut [0]) {
            if error.kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }
}
