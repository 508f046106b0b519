//! Who is connected to the daemon: each on a thread of its own, in a bounded number.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::Scope;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

/// A socket that clients connect to. It does not block.
pub(crate) trait Listen: AsFd {
    type Stream: Stream;

    /// The next client.
    fn take(&self) -> io::Result<Self::Stream>;
}

/// A connection with a client.
pub(crate) trait Stream: Sized + Send + 'static {
    /// Another handle to the same connection.
    fn again(&self) -> io::Result<Self>;

    /// No more is read from the client; what is said to it still arrives.
    fn end_reading(&self);
}

/// Receives something of a client, behind what was received before; 0 where it has said its last.
pub(crate) fn receive(stream: &mut impl Read, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let count = loop {
        match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    received.extend_from_slice(&buffer[..count]);
    Ok(count)
}

impl Listen for UnixListener {
    type Stream = UnixStream;

    fn take(&self) -> io::Result<UnixStream> {
        Ok(self.accept()?.0)
    }
}

impl Listen for TcpListener {
    type Stream = TcpStream;

    fn take(&self) -> io::Result<TcpStream> {
        Ok(self.accept()?.0)
    }
}

impl Stream for UnixStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

impl Stream for TcpStream {
    fn again(&self) -> io::Result<Self> {
        self.try_clone()
    }

    fn end_reading(&self) {
        let _ = self.shutdown(Shutdown::Read);
    }
}

/// What is said to clients.
pub(crate) trait Service<S>: Sync {
    /// What clients are called in the log and in the names of threads.
    const NAME: &'static str;
    /// Clients at a time.
    const MOST: usize;

    /// Talks with a client until the connection ends.
    fn talk(&self, stream: S);

    /// Tells a client that there are too many.
    fn refuse(&self, stream: S);
}

/// The clients that are connected.
#[derive(Debug)]
pub(crate) struct Clients<S>(Mutex<Open<S>>);

#[derive(Debug)]
struct Open<S> {
    streams: BTreeMap<u64, S>,
    next: u64,
}

impl<S> Default for Clients<S> {
    fn default() -> Self {
        Clients(Mutex::new(Open {
            streams: BTreeMap::new(),
            next: 0,
        }))
    }
}

/// Takes clients until the other end of `stop` is closed; then lets all of them end.
pub(crate) fn serve<'scope, L: Listen, V: Service<L::Stream>>(
    scope: &'scope Scope<'scope, '_>,
    clients: &'scope Clients<L::Stream>,
    listener: L,
    stop: &UnixStream,
    service: &'scope V,
) {
    loop {
        let mut wanted = [
            PollFd::new(&listener, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut wanted, None) {
            Ok(_) if !wanted[1].revents().is_empty() => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "the {} socket cannot be waited for", V::NAME);
                break;
            }
        }
        match listener.take() {
            Ok(stream) => clients.take(scope, stream, service),
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
            Err(error) => {
                // Out of file descriptors, most likely: those that are open must end first.
                tracing::warn!(%error, "a {} connection could not be taken", V::NAME);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    drop(listener);
    clients.end();
}

impl<S: Stream> Clients<S> {
    fn open(&self) -> MutexGuard<'_, Open<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take<'scope, V: Service<S>>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        stream: S,
        service: &'scope V,
    ) {
        let mut open = self.open();
        if open.streams.len() >= V::MOST {
            drop(open);
            service.refuse(stream);
            return;
        }
        let Ok(kept) = stream.again() else { return };
        let number = open.next;
        open.next += 1;
        open.streams.insert(number, kept);
        drop(open);
        let thread = std::thread::Builder::new().name(V::NAME.to_owned());
        let spawned = thread.spawn_scoped(scope, move || {
            service.talk(stream);
            self.open().streams.remove(&number);
        });
        if let Err(error) = spawned {
            tracing::warn!(%error, "a {} connection has no thread", V::NAME);
            self.open().streams.remove(&number);
        }
    }

    /// No more requests are read. Who waits for an answer still gets it.
    fn end(&self) {
        for stream in self.open().streams.values() {
            stream.end_reading();
        }
    }
}
