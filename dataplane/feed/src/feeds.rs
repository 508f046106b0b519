//! The thread that listens for routing daemons: one for all sources.
//!
//! It waits until something comes, reads what is there, and hands it over in batches. Who takes them holds a bounded number: while
//! none is left, nothing is read, TCP's window closes, and the daemon waits. Dropping [`Feeds`] ends and joins the thread, and
//! closes everything.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::config::SourceConfig;
use crate::counters::{Counters, SourceCounters};
use crate::session::{Progress, Session};
use crate::update::Update;

/// Updates of one batch, about. More only where a frame holds more.
pub(crate) const BATCH: usize = 1024;
/// How often an address that could not be listened on is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long a batch is waited for before the thread looks whether it should end.
const PATIENCE: Duration = Duration::from_millis(50);

/// Updates of one session of one source, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The source's name.
    pub source: Arc<str>,
    /// The session's number, another one for each session of the process.
    pub session: u32,
    /// What was said.
    pub updates: Vec<Update>,
}

/// Where batches go. There is a bounded number of them.
pub trait Deliver: Send + 'static {
    /// An empty batch to fill; none where all are on their way still, after `patience`.
    ///
    /// # Errors
    ///
    /// Nobody takes batches any more.
    fn empty(&mut self, patience: Duration) -> Result<Option<Batch>, Gone>;
    /// Hands a batch over.
    ///
    /// # Errors
    ///
    /// Nobody takes batches any more.
    fn deliver(&mut self, batch: Batch) -> Result<(), Gone>;
}

/// Nobody takes batches any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes learned routes any more")]
pub struct Gone;

/// See the module.
#[derive(Debug)]
pub struct Feeds {
    shared: Arc<Shared>,
    wake: UnixStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// A configuration that the thread has not seen yet.
    wanted: Mutex<Option<Vec<SourceConfig>>>,
}

impl Feeds {
    /// Starts the thread, with no source.
    ///
    /// # Errors
    ///
    /// The system gives no thread, or no pair of sockets.
    pub fn start(deliver: impl Deliver, counters: Counters) -> io::Result<Feeds> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let listeners = Listeners {
            shared: Arc::clone(&shared),
            woken,
            deliver: Box::new(deliver),
            counters,
            sources: BTreeMap::new(),
            sessions: 0,
        };
        let thread = std::thread::Builder::new()
            .name("feed".to_owned())
            .spawn(move || listeners.run())?;
        Ok(Feeds {
            shared,
            wake,
            thread: Some(thread),
        })
    }

    /// Listens for these sources from now on. Sources that stay as they are go on; one whose address or tables change, or that may
    /// now have more routes, has its session closed: the daemon connects again and says everything.
    pub fn configure(&self, sources: Vec<SourceConfig>) {
        let wanted = self.shared.wanted.lock();
        *wanted.unwrap_or_else(PoisonError::into_inner) = Some(sources);
        self.wake();
    }

    fn wake(&self) {
        // A full pipe wakes as well as another byte would.
        let _ = (&self.wake).write(&[0]);
    }
}

impl Drop for Feeds {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that listens for routing daemons panicked");
        }
    }
}

/// The thread's own.
struct Listeners {
    shared: Arc<Shared>,
    woken: UnixStream,
    deliver: Box<dyn Deliver>,
    counters: Counters,
    sources: BTreeMap<Arc<str>, Listening>,
    /// Sessions that began so far.
    sessions: u32,
}

/// One source.
struct Listening {
    config: SourceConfig,
    counters: Arc<SourceCounters>,
    listener: Option<TcpListener>,
    /// When to try again to listen.
    retry: Option<Instant>,
    session: Option<Session>,
    /// Whether the session may have more without anything new coming.
    more: bool,
}

/// What has come for a source.
#[derive(Clone, Copy, Debug, Default)]
struct Ready {
    connection: bool,
    bytes: bool,
}

impl Listeners {
    fn run(mut self) {
        while !self.shared.stop.load(Relaxed) {
            let wanted = self.shared.wanted.lock();
            let wanted = wanted.unwrap_or_else(PoisonError::into_inner).take();
            let served = wanted
                .map_or(Ok(()), |sources| self.configure(sources))
                .and_then(|()| self.serve());
            if let Err(Gone) = served {
                return;
            }
        }
    }

    /// Waits for whatever comes first, and does it.
    fn serve(&mut self) -> Result<(), Gone> {
        for source in self.sources.values_mut() {
            source.listen();
        }
        let ready = match self.wait() {
            Ok(ready) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, "routing daemons cannot be waited for");
                std::thread::sleep(RETRY);
                return Ok(());
            }
        };
        // What woke is looked for at the beginning of each round.
        while matches!((&self.woken).read(&mut [0; 64]), Ok(count) if count > 0) {}
        for (name, ready) in ready {
            if ready.connection {
                self.accept(&name)?;
            } else if ready.bytes {
                self.receive(&name)?;
            }
        }
        Ok(())
    }

    fn wait(&self) -> rustix::io::Result<Vec<(Arc<str>, Ready)>> {
        let mut wanted = vec![PollFd::new(&self.woken, PollFlags::IN)];
        let mut owners = Vec::new();
        for (name, source) in &self.sources {
            if let Some(listener) = &source.listener {
                wanted.push(PollFd::new(listener, PollFlags::IN));
                owners.push((name, false));
            }
            if let Some(session) = &source.session {
                wanted.push(PollFd::new(&session.stream, PollFlags::IN));
                owners.push((name, true));
            }
        }
        let now = Instant::now();
        let retries = self.sources.values().filter_map(|source| source.retry);
        let more = self.sources.values().any(|source| source.more);
        let until = if more { Some(now) } else { retries.min() };
        let timeout = until.map(|until| until.saturating_duration_since(now));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        poll(&mut wanted, timeout.as_ref())?;
        let mut ready: BTreeMap<&Arc<str>, Ready> = BTreeMap::new();
        for ((name, is_session), fd) in owners.into_iter().zip(&wanted[1..]) {
            let came = !fd.revents().is_empty();
            let one = ready.entry(name).or_default();
            match is_session {
                true => one.bytes = came || self.sources[name].more,
                false => one.connection = came,
            }
        }
        let ready = ready.into_iter();
        Ok(ready
            .map(|(name, ready)| (Arc::clone(name), ready))
            .collect())
    }

    /// Takes a connection. A source has one session: a new one takes the place of the old one, which a daemon that was killed
    /// has left behind.
    fn accept(&mut self, name: &Arc<str>) -> Result<(), Gone> {
        let Some(source) = self.sources.get_mut(name) else {
            return Ok(());
        };
        let accepted = source.listener.as_ref().map(TcpListener::accept);
        let (stream, peer) = match accepted {
            None => return Ok(()),
            Some(Ok(both)) => both,
            Some(Err(error))
                if [
                    ErrorKind::WouldBlock,
                    ErrorKind::Interrupted,
                    ErrorKind::ConnectionAborted,
                ]
                .contains(&error.kind()) =>
            {
                return Ok(());
            }
            Some(Err(error)) => {
                tracing::warn!(source = &**name, %error, "a daemon could not be let in");
                // Out of file descriptors, most likely. It is listened again later.
                source.listener = None;
                source.retry = Some(Instant::now() + RETRY);
                source.counters.set_problem(Some(error.to_string()));
                return Ok(());
            }
        };
        if source.session.is_some() {
            self.end(name, "another connection took its place")?;
        }
        self.begin(name, stream, peer)
    }

    fn begin(&mut self, name: &Arc<str>, stream: TcpStream, peer: SocketAddr) -> Result<(), Gone> {
        // 0 stands for none.
        self.sessions = self.sessions.wrapping_add(1).max(1);
        let number = self.sessions;
        let Some(source) = self.sources.get_mut(name) else {
            return Ok(());
        };
        match Session::begin(stream, peer, number) {
            Ok(session) => source.session = Some(session),
            Err(error) => {
                tracing::warn!(source = &**name, %error, "a session could not begin");
                return Ok(());
            }
        }
        source.more = true;
        source.counters.sessions.fetch_add(1, Relaxed);
        source.counters.connected.store(true, Relaxed);
        source.counters.set_problem(None);
        tracing::info!(source = &**name, %peer, session = number, "a routing daemon is here");
        self.say(name, number, Update::Up)
    }

    /// Ends a source's session. Its routes stay for a while.
    fn end(&mut self, name: &Arc<str>, why: &str) -> Result<(), Gone> {
        let Some(source) = self.sources.get_mut(name) else {
            return Ok(());
        };
        let Some(session) = source.session.take() else {
            return Ok(());
        };
        source.more = false;
        source.counters.connected.store(false, Relaxed);
        source
            .counters
            .set_problem(Some(format!("the last session ended: {why}")));
        tracing::warn!(
            source = &**name,
            peer = %session.peer,
            session = session.number,
            why,
            "the session with a routing daemon is over; its routes stay for its stale_time"
        );
        self.say(name, session.number, Update::Down)
    }

    fn receive(&mut self, name: &Arc<str>) -> Result<(), Gone> {
        // Nothing is read while there is nowhere to put it.
        let Some(mut batch) = self.deliver.empty(PATIENCE)? else {
            return Ok(());
        };
        let Some(source) = self.sources.get_mut(name) else {
            return Ok(());
        };
        let Some(session) = &mut source.session else {
            return Ok(());
        };
        batch.source = Arc::clone(name);
        batch.session = session.number;
        let progress = session.receive(&mut batch.updates, BATCH, &source.counters);
        source.more = matches!(progress, Progress::More);
        self.deliver.deliver(batch)?;
        match progress {
            Progress::Waits | Progress::More => Ok(()),
            Progress::Over(why) => self.end(name, &why),
        }
    }

    /// Hands one update over, however long it takes.
    fn say(&mut self, name: &Arc<str>, session: u32, update: Update) -> Result<(), Gone> {
        loop {
            if self.shared.stop.load(Relaxed) {
                return Err(Gone);
            }
            if let Some(mut batch) = self.deliver.empty(PATIENCE)? {
                batch.source = Arc::clone(name);
                batch.session = session;
                batch.updates.push(update);
                return self.deliver.deliver(batch);
            }
        }
    }

    fn configure(&mut self, wanted: Vec<SourceConfig>) -> Result<(), Gone> {
        let names: Vec<Arc<str>> = self.sources.keys().map(Arc::clone).collect();
        for name in names {
            if wanted.iter().all(|source| source.name != name) {
                self.end(&name, "the source is no longer configured")?;
                self.sources.remove(&name);
            }
        }
        // An address may go from one source to another: first all that are no longer listened on are closed.
        for config in &wanted {
            if let Some(source) = self.sources.get_mut(&config.name)
                && source.config.listen != config.listen
            {
                source.listener = None;
                source.retry = None;
                self.end(&config.name, "the source listens elsewhere")?;
            }
        }
        for config in wanted {
            let Some(source) = self.sources.get_mut(&config.name) else {
                let counters = self.counters.of(&config.name);
                let source = Listening {
                    config: config.clone(),
                    counters,
                    listener: None,
                    retry: None,
                    session: None,
                    more: false,
                };
                self.sources.insert(config.name, source);
                continue;
            };
            let old = std::mem::replace(&mut source.config, config.clone());
            let most = |config: &SourceConfig| config.most_routes.unwrap_or(u32::MAX);
            let refused = source.counters.refused.load(Relaxed) > 0;
            if old.tables != config.tables {
                self.end(
                    &config.name,
                    "its tables go elsewhere; all is to be said again",
                )?;
            } else if refused && most(&old) < most(&config) {
                self.end(
                    &config.name,
                    "it may have more routes; all is to be said again",
                )?;
            }
        }
        Ok(())
    }
}

impl Listening {
    /// Listens, unless it does, or has tried just now.
    fn listen(&mut self) {
        if self.listener.is_some() || self.retry.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let listen = self.config.listen;
        let bound = TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
        match bound {
            Ok(listener) => {
                tracing::info!(source = &*self.config.name, %listen, "listening for a routing daemon");
                self.listener = Some(listener);
                self.retry = None;
                self.counters.set_problem(None);
            }
            Err(error) => {
                if self.retry.is_none() {
                    let name = &*self.config.name;
                    tracing::error!(source = name, %listen, %error, "cannot listen; tried again");
                }
                self.counters
                    .set_problem(Some(format!("cannot listen on {listen}: {error}")));
                self.retry = Some(Instant::now() + RETRY);
            }
        }
    }
}
