//! The thread that takes memory for connections ahead of the workers, so that none of them waits while the kernel clears a page.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use rewire_tables::growing::Ahead;

/// The memory that is taken beyond what each array uses, in bytes: room for 65,536 connections of IPv4.
const BEYOND: usize = 4 << 20;
/// How often it is looked whether more is used: as many connections begin in that time at three millions a second.
const LOOK: Duration = Duration::from_millis(20);

/// The thread, as the gateway holds it: dropped, it ends and is joined.
pub(super) struct MemoryThread {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryThread {
    /// Starts it, for these arrays.
    pub(super) fn start(arrays: Vec<Arc<Ahead>>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("memory".to_owned())
            .spawn(move || {
                loop {
                    // In turn, so that none waits for all of another's.
                    while arrays
                        .iter()
                        .fold(false, |more, array| array.take(BEYOND) | more)
                    {}
                    match stopped.recv_timeout(LOOK) {
                        Err(RecvTimeoutError::Timeout) => {}
                        Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                    }
                }
            })?;
        Ok(MemoryThread {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for MemoryThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that takes memory panicked");
        }
    }
}
