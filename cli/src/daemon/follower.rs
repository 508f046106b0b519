//! The follower: takes every revision of the store's journal to the gateway, in order.
//!
//! The journal's last revision is the only cursor. The follower hears of a commit by a kick from the socket, at once, or
//! by polling the store's data version.

mod tail;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use rewire_compiler::{Compiled, Compiler, Errors};
use rewire_configdb::{CountedState, Error, Store};
use rewire_dataplane::{Applied, Change, Gateway, GatewayError};
use rewire_feed::{Feeds, SourceConfig};
use rewire_tables::TableOperation;

use super::Daemon;
use super::audit::Notes;
use super::commit_trace::Seen;
use super::exporters::{self, Exporters};
use super::progress::{Live, Steps};
use super::service::{self, Watchdog};
use crate::{checker, settling};
use tail::{Damage, Tail};

/// How often the store is asked whether anything was committed. It costs no disk access.
const POLL: Duration = Duration::from_millis(25);

/// How long the store is left alone after it could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// A thread that reads the last revision and its rows.
pub(crate) type FirstRead = JoinHandle<Result<CountedState, Error>>;

/// Begins to read the store's last revision: with a million routes that takes a second, in which ports can be made ready.
pub(crate) fn read_first(store: Store) -> std::io::Result<FirstRead> {
    let thread = thread::Builder::new().name("first read".to_owned());
    thread.spawn(move || store.counted_state())
}

/// See the module.
pub(crate) struct Follower<'a> {
    daemon: &'a Daemon,
    gateway: &'a Gateway,
    feeds: &'a Feeds,
    /// The sources of learned routes that the gateway has taken over.
    sources: Vec<SourceConfig>,
    store: Store,
    /// The compiler of the revision that is live, and where the journal ended with it; none where nothing has compiled.
    compiler: Option<(Compiler, Tail)>,
    /// The store's data version when all of it had been followed.
    seen: Option<i64>,
    /// When the store has something to do by the clock, in microseconds since the Unix epoch.
    due: Option<i64>,
    /// The last revision that did not compile: it is not tried again.
    failed: Option<u64>,
    is_ready: bool,
    /// The last revision at the start, read while ports were made ready.
    first: Option<FirstRead>,
    watchdog: Watchdog,
    /// Where the audit hears what is published, if there is one.
    notes: Option<Notes>,
    /// The exporters of the configuration; none in tests.
    exporters: Option<Exporters>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(
        daemon: &'a Daemon,
        gateway: &'a Gateway,
        feeds: &'a Feeds,
        store: Store,
        first: FirstRead,
    ) -> Self {
        Follower {
            daemon,
            gateway,
            feeds,
            sources: Vec::new(),
            store,
            compiler: None,
            seen: None,
            due: None,
            failed: None,
            is_ready: false,
            first: Some(first),
            watchdog: Watchdog::new(),
            notes: None,
            exporters: None,
        }
    }

    /// Keeps exporters as the configuration has them.
    pub(crate) fn exporting(&mut self, exporters: Exporters) {
        self.exporters = Some(exporters);
    }

    /// Tells an audit what is published.
    pub(crate) fn audited(&mut self, notes: Notes) {
        self.notes = Some(notes);
    }

    /// Follows until the gateway stops.
    pub(crate) fn run(mut self, kicks: &Receiver<()>) {
        let mut pause = Duration::ZERO;
        loop {
            let kicked = match kicks.recv_timeout(pause) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if self.daemon.progress.is_stopping() {
                return;
            }
            pause = match self.look(kicked) {
                Ok(()) => POLL,
                Err(error) => {
                    self.alarm(format!(
                        "the store cannot be followed: {}",
                        crate::failure::with_sources(&error)
                    ));
                    RETRY
                }
            };
            for trace in self.daemon.commits.finished(Instant::now()) {
                self.daemon.exporters.pass(&Arc::new(trace));
            }
            self.beat();
        }
    }

    /// Does what is due, looks for new revisions, and takes them over.
    fn look(&mut self, kicked: bool) -> Result<(), Error> {
        // Before the revisions are read: what is committed in between is seen twice rather than not at all.
        let version = self.store.data_version()?;
        let is_due = self.due.is_some_and(|due| due <= now());
        if !kicked && !is_due && self.seen == Some(version) {
            return Ok(());
        }
        let settled = self.settle();
        self.follow()?;
        self.daemon.administration.look(&self.store)?;
        self.seen = Some(version);
        // What is due and cannot be done keeps nothing else up.
        settled
    }

    /// Goes back from what nobody confirmed in time, commits what was scheduled, and tells everyone.
    fn settle(&mut self) -> Result<(), Error> {
        let settled = self.store.settle(&mut checker::checker())?;
        for one in &settled {
            let text = settling::describe(one);
            tracing::warn!("{text}");
            self.daemon.administration.happened(now(), text);
        }
        self.due = self.store.next_deadline()?;
        Ok(())
    }

    /// Takes all new revisions over; none while what is stored is damaged.
    fn follow(&mut self) -> Result<(), Error> {
        let head = self.store.head()?;
        self.daemon.progress.saw_head(head);
        self.daemon.progress.saw_floor(self.store.floor()?);
        if let Some(damage) = self.daemon.progress.damage() {
            self.alarm(damage);
            return Ok(());
        }
        // What was read first may be of before the last commits.
        let may_be_old = self.first.is_some();
        if self.compiler.is_none() {
            self.whole()?;
        }
        if self.compiler.is_none() && may_be_old {
            self.whole()?;
        }
        if let Some(revision) = self.revision() {
            for next in revision + 1..=head {
                if self.step(next)?.is_break() {
                    break;
                }
            }
        }
        let reached = self.revision().is_some_and(|revision| revision >= head);
        if reached {
            self.daemon.progress.clear_alarm();
        }
        Ok(())
    }

    /// The revision that is live.
    fn revision(&self) -> Option<u64> {
        self.compiler
            .as_ref()
            .map(|(compiler, _)| compiler.revision())
    }

    /// Takes the next revision over, by its changeset. Breaks where that is damaged: nothing after it can be trusted.
    fn step(&mut self, revision: u64) -> Result<ControlFlow<()>, Error> {
        // A fallback may have come further already.
        let Some((compiler, tail)) = self
            .compiler
            .as_mut()
            .filter(|(compiler, _)| compiler.revision() < revision)
        else {
            return Ok(ControlFlow::Continue(()));
        };
        let entry = match self.store.entry(revision) {
            Ok(entry) => entry,
            // The journal was shortened past what is live here: the whole takes the place of the steps.
            Err(Error::Pruned { .. }) => {
                self.whole()?;
                return Ok(ControlFlow::Continue(()));
            }
            Err(error) => return Err(error),
        };
        let (next, changeset) = match tail.next(&entry) {
            Ok(next) => next,
            Err(damage) => {
                self.distrust(revision, &damage);
                return Ok(ControlFlow::Break(()));
            }
        };
        let seen = Seen::of(&entry);
        let _logged = logged(self.daemon, &seen);
        let mut steps = Steps {
            noticed_ns: Some(since(entry.committed_at)),
            ..Steps::default()
        };
        self.daemon.progress.at(revision, steps);
        let start = Instant::now();
        match compiler.apply(revision, &changeset) {
            Ok(compiled) => {
                *tail = next;
                steps.compile_ns = Some(nanoseconds(start.elapsed()));
                self.publish(revision, compiled, steps, Some(seen));
            }
            Err(errors) => {
                if self.failed != Some(revision) {
                    // The commit was checked, and the entry is in order: this is a fault of ours. Nobody who waits is
                    // told, because the whole revision is about to take its place.
                    self.daemon.progress.count_alarm();
                    let why = one_line(&errors);
                    tracing::error!(
                        "alarm: revision {revision} does not compile as a change: {why}"
                    );
                }
                self.whole()?;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Says that a revision cannot be trusted. What is live stays.
    fn distrust(&self, revision: u64, damage: &Damage) {
        self.alarm(format!(
            "revision {revision} is damaged, the last good tables stay: {damage}; `rewire journal verify` says more"
        ));
    }

    /// Takes the store's last revision over as a whole.
    fn whole(&mut self) -> Result<(), Error> {
        let CountedState {
            revision: head,
            configuration,
            digest,
        } = match self.first.take() {
            Some(first) => first
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
            None => self.store.counted_state()?,
        };
        if self.failed == Some(head) {
            return Ok(());
        }
        self.daemon.progress.saw_head(head);
        let mut steps = Steps::default();
        let mut seen = None;
        // What the gateway does at its start is no commit.
        if head > 0 && self.is_ready {
            let entry = self.store.entry(head)?;
            steps.noticed_ns = Some(since(entry.committed_at));
            seen = Some(Seen::of(&entry));
        }
        let _logged = seen.as_ref().map(|seen| logged(self.daemon, seen));
        let rows = configuration.len();
        tracing::debug!(revision = head, rows, "read as a whole");
        // The last entry may be as large as the state. What is not trusted is compiled in vain.
        let compile = || {
            let start = Instant::now();
            let compiled = Compiler::compile(configuration, head);
            (compiled, nanoseconds(start.elapsed()))
        };
        let (tail, compiled) = thread::scope(|scope| {
            let compiled = scope.spawn(compile);
            (Tail::of(&self.store, head, digest), compiled.join())
        });
        let (compiled, compile_ns) =
            compiled.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let tail = match tail? {
            Ok(tail) => tail,
            Err(damage) => {
                self.distrust(head, &damage);
                return Ok(());
            }
        };
        self.daemon.progress.at(head, steps);
        match compiled {
            Ok((compiler, mut compiled)) => {
                steps.compile_ns = Some(compile_ns);
                tracing::debug!(revision = head, compile_ns, "compiled as a whole");
                if self.compiler.replace((compiler, tail)).is_some() {
                    // The operations lead from nothing to the revision.
                    compiled.operations.insert(0, TableOperation::Clear);
                }
                self.failed = None;
                self.publish(head, compiled, steps, seen);
            }
            Err(errors) => {
                self.failed = Some(head);
                let why = one_line(&errors);
                self.alarm(format!(
                    "revision {head} does not compile, the last good tables stay: {why}"
                ));
            }
        }
        Ok(())
    }

    /// Makes a revision live, however long a worker keeps it waiting: each deadline that passes is an alarm, and who
    /// waits for the revision is told.
    fn publish(&mut self, revision: u64, compiled: Compiled, mut steps: Steps, seen: Option<Seen>) {
        let daemon = self.daemon;
        daemon.progress.at(revision, steps);
        let start = Instant::now();
        if let Some(notes) = self.notes.as_ref().filter(|_| self.is_ready) {
            notes.publish(compiled.operations.clone());
        }
        let mut change = Change::from(compiled.into_parts());
        let sources = self.new_sources();
        change.sources.clone_from(&sources);
        let applied = loop {
            match self.gateway.apply(revision, change) {
                Ok(applied) => break applied,
                Err(GatewayError::Stopping | GatewayError::Thread(_)) => return,
                Err(error) => {
                    // The gateway goes on with the change; what is left is to wait for it.
                    change = Change::default();
                    if let GatewayError::LiveLate { .. } = error {
                        steps
                            .publish_ns
                            .get_or_insert_with(|| nanoseconds(start.elapsed()));
                        daemon.progress.at(revision, steps);
                    }
                    // Waiting times differ from try to try, and are no news.
                    let alarm = match &error {
                        GatewayError::LiveLate { worker, .. } => {
                            format!(
                                "worker {worker} has not left the tables before revision {revision}"
                            )
                        }
                        _ => format!(
                            "revision {revision} cannot be published: a worker has not left the old tables"
                        ),
                    };
                    self.alarm(alarm);
                }
            }
            if daemon.progress.is_stopping() {
                return;
            }
        };
        if let Some(sources) = sources {
            // Only now is there somebody who knows what their tables mean.
            self.feeds.configure(sources.clone());
            self.sources = sources;
        }
        if let (Some(exporters), Some((compiler, _))) = (&mut self.exporters, &self.compiler) {
            exporters.configure(&exporters::configured(compiler.configuration()));
        }
        let Applied {
            generation,
            policy,
            publish,
            live,
            workers,
        } = applied;
        steps.publish_ns.get_or_insert(nanoseconds(publish));
        steps.live_ns = Some(nanoseconds(live));
        let is_commit = seen.is_some();
        let trace_id = seen.map(|seen| {
            let trace = daemon.commits.trace_of(revision, seen.entry_trace);
            daemon.commit_steps.observe(&steps, trace);
            daemon.commits.live(Seen {
                generation,
                live_at: SystemTime::now(),
                steps,
                workers,
                ..seen
            });
            trace
        });
        daemon.progress.live(Live {
            revision,
            generation,
            policy,
            trace_id,
            steps,
        });
        let ports = daemon.shared.ports();
        let closed = ports
            .iter()
            .filter(|(_, port)| port.problem.is_some())
            .count();
        let ports_in_all = ports.len();
        // What concerns a commit says its revision by itself.
        match is_commit {
            true => tracing::info!(generation, ports = ports_in_all, closed, "live"),
            false => tracing::info!(revision, generation, ports = ports_in_all, closed, "live"),
        }
        let status = match closed {
            0 => format!("revision {revision} live"),
            closed => format!(
                "revision {revision} live, {closed} of {} ports not open",
                ports.len()
            ),
        };
        if self.is_ready {
            service::status(&status);
            return;
        }
        self.is_ready = true;
        service::ready(&status);
        // The audit begins once packets are forwarded: at the start everybody waits for them.
        if let (Some(notes), Some((compiler, _))) = (&self.notes, &self.compiler) {
            notes.publish(compiler.operations());
        }
    }

    /// The sources of learned routes, where they are others than before.
    fn new_sources(&self) -> Option<Vec<SourceConfig>> {
        let (compiler, _) = self.compiler.as_ref()?;
        let sources = rewire_dataplane::route_sources(compiler.configuration());
        (sources != self.sources).then_some(sources)
    }

    fn alarm(&self, alarm: String) {
        if self.daemon.progress.raise(alarm.clone()) {
            tracing::error!("alarm: {alarm}");
            service::status(&format!("alarm: {alarm}"));
        }
    }

    /// The watchdog's beat: an empty change, which says that the manager lives and that no worker is stuck.
    fn beat(&mut self) {
        if self.watchdog.is_due() {
            let revision = self.daemon.shared.revision();
            match self.gateway.apply(revision, Change::default()) {
                Ok(_) => self.watchdog.beat(),
                Err(error) => tracing::error!(%error, "the watchdog is not fed"),
            }
        }
    }
}

/// What is logged from here on is said to be of this commit.
fn logged(daemon: &Daemon, seen: &Seen) -> tracing::span::EnteredSpan {
    let trace_id = daemon.commits.trace_of(seen.revision, seen.entry_trace);
    tracing::error_span!("commit", revision = seen.revision, %trace_id).entered()
}

/// The time, in microseconds since the Unix epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

/// The time since then, in nanoseconds; 0 where the wall clock has gone back.
fn since(microseconds: i64) -> u64 {
    let then = Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    nanoseconds(now.saturating_sub(then))
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn one_line(errors: &Errors) -> String {
    errors.to_string().replace('\n', "; ")
}

#[cfg(test)]
mod tests;
