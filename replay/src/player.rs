//! The replay itself.

use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use rewire_compiler::{Compiled, Compiler, Errors};
use rewire_dataplane::buffer::MemoryBuffer;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::{Account, GatewayConfig, VirtualGateway};
use rewire_journal::{Entry, StateDigest};
use rewire_schema::{Changeset, Configuration};
use rewire_tables::{InterfaceIndex, Tables};

use crate::capture::{CaptureError, Output};
use crate::check::{Check, Checks, Failure};
use crate::exit::Exit;
use crate::expected::Expected;
use crate::history::{self, History, HistoryError};
use crate::inspect;
use crate::pace::{Pace, When};
use crate::ports::Ports;
use crate::report::{Checked, MOST_FAILURES, Report, Step, Taken};
use crate::traffic::Traffic;

/// The longest time between a burst's first packet and its last.
const BURST_TIME: Duration = Duration::from_micros(100);
/// The most packets of a burst.
const BURST_PACKETS: usize = 32;
/// How often timers run in a pause.
const TICK: Duration = Duration::from_millis(100);
/// How long they do. Longer than a neighbor may take to answer.
const SETTLE: Duration = Duration::from_secs(5);
/// A revision of a state of at most so many rows is compiled whole, too, each time, where nothing else is asked for.
const ROWS_FOR_EACH_WHOLE: u64 = 200;

/// Tries the probes of a configuration over its tables: a text for each that fails, of one line or more.
pub type TryProbes = fn(&Configuration, &Tables) -> Vec<String>;

/// How a history is replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// When revisions become live.
    pub pace: Pace,
    /// Whether frames for other stations are made frames for us.
    pub any_mac: bool,
    /// What is checked.
    pub checks: Checks,
    /// Who tries the probes of a configuration over its tables, and tells of those that fail: lines of text. None: they are not tried.
    pub probes: Option<TryProbes>,
    /// After how many revisions, each time, what costs as much as the whole state is checked: that the tables are those that the
    /// state compiles to, and that its digest is that of all rows. None: the more rows, the more seldom. The first and
    /// the last revision always are.
    pub whole_every: Option<u64>,
    /// The longest that one revision may take until it is live.
    pub revision_time: Option<Duration>,
    /// The longest that the replay may take.
    pub total_time: Option<Duration>,
    /// The most memory that the tables may take, in bytes: what routes and ACLs take in both halves.
    pub tables_memory: Option<u64>,
    /// The most memory that the process may have taken, in bytes.
    pub resident_memory: Option<u64>,
    /// The gateway's.
    pub gateway: GatewayConfig,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pace: Pace::default(),
            any_mac: false,
            checks: crate::check::all(),
            probes: None,
            whole_every: None,
            revision_time: None,
            total_time: None,
            tables_memory: None,
            resident_memory: None,
            gateway: GatewayConfig::default(),
        }
    }
}

/// Why a replay cannot go on. What a check finds is no such reason: it is in the report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The history cannot be followed.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A capture cannot be read or written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A revision does not compile.
    #[error("revision {revision} does not compile: {errors}")]
    NotCompiled {
        /// The revision.
        revision: u64,
        /// What is wrong with it.
        errors: Errors,
    },
    /// No revision of the history has an interface of this name.
    #[error("no revision has an interface \"{name}\"")]
    NoSuchInterface {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}

/// Somebody who watches a replay.
pub trait Watcher {
    /// A revision has had its packets.
    fn seen(&mut self, step: &Step, failures: &[Failure]);
}

impl Watcher for () {
    fn seen(&mut self, _: &Step, _: &[Failure]) {}
}

/// A replay that is set up.
pub struct Replay<'a> {
    history: &'a History,
    options: &'a Options,
    gateway: VirtualGateway,
    compiler: Compiler,
    /// What the compiler is held against.
    state: Arc<Configuration>,
    state_digest: StateDigest,
    ports: Ports,
    exit: Exit,
    /// The interfaces of captures, which some revision must have.
    named: Vec<String>,
    steps: Vec<Step>,
    taken: Vec<Taken>,
    made: Vec<Checked>,
    failures: Vec<Failure>,
    /// Of the failures, those of which the watcher knows.
    told: usize,
    /// The Unix time in nanoseconds at which the gateway's clock was 0.
    beginning: u64,
    bursts: u64,
    /// Frames that the traffic gave; of them, those that the gateway got, and those that no interface is there for.
    given: u64,
    delivered: u64,
    undelivered: u64,
    /// What was accounted for when the revision became live.
    since: (u64, u64, u64),
    since_whole: u64,
    /// Whether the account was found wrong: it is then wrong forever.
    is_out_of_balance: bool,
    started: Wall,
    packets_started: Wall,
}

impl<'a> Replay<'a> {
    /// Sets up a replay of a history with nothing live.
    pub fn new(history: &'a History, options: &'a Options) -> Replay<'a> {
        let (state, state_digest) = history.beginning();
        let made = options.checks.iter().map(|check| Checked {
            check: *check,
            made: 0,
            failed: 0,
        });
        Replay {
            history,
            options,
            gateway: VirtualGateway::new(&options.gateway),
            compiler: Compiler::new(),
            state: Arc::new(state.clone()),
            state_digest,
            ports: Ports::default(),
            exit: Exit::new(options.checks.contains(&Check::Invariants)),
            named: Vec::new(),
            steps: Vec::new(),
            taken: Vec::new(),
            made: made.collect(),
            failures: Vec::new(),
            told: 0,
            beginning: 0,
            bursts: 0,
            given: 0,
            delivered: 0,
            undelivered: 0,
            since: (0, 0, 0),
            since_whole: 0,
            is_out_of_balance: false,
            started: Wall::now(),
            packets_started: Wall::now(),
        }
    }

    /// Writes what leaves by an interface into a capture.
    pub fn write_to(&mut self, interface: &str, output: Output) {
        let number = self.ports.number(interface);
        self.named.push(interface.to_owned());
        self.exit.write_to(number, output);
    }

    /// Holds what leaves by an interface against what is expected.
    pub fn expect(&mut self, expected: Expected) {
        let number = self.ports.number(expected.interface());
        self.named.push(expected.interface().to_owned());
        self.made(Check::Outputs);
        self.exit.expect(number, expected);
    }

    /// Replays the history from the state of revision `whole`, which is compiled as a whole, to its end, with packets. One step after
    /// the other: a revision with its packets, then the next.
    ///
    /// # Errors
    ///
    /// Where the history cannot be followed, a revision does not compile, or a capture cannot be read or written.
    pub fn run(
        mut self,
        whole: u64,
        traffic: &mut dyn Traffic,
        watcher: &mut dyn Watcher,
    ) -> Result<Report, ReplayError> {
        let entries = self.history.entries();
        let before = whole.saturating_sub(self.history.first()) as usize;
        let (before, after) = entries.split_at(before.min(entries.len()));
        let has_first = whole > 0;
        let packets = match self.options.pace {
            Pace::Even => traffic.total()?,
            _ => 0,
        };
        let revisions = after.len() as u64 + u64::from(has_first);
        self.beginning = traffic.beginning();
        // Also those of a capture that ends before any revision has them.
        self.named.extend_from_slice(traffic.interfaces());
        if has_first {
            self.first(before, whole)?;
            self.follow(traffic);
        }
        if after.is_empty() {
            // No other revision can have them.
            self.expect_interfaces()?;
        }
        for (position, entry) in (u64::from(has_first)..).zip(after) {
            let at = (revisions, packets);
            let when = self.options.pace.when(position, at, entry.committed_at);
            self.play(traffic, Some(when))?;
            self.end_step(watcher);
            self.next(entry)?;
            self.follow(traffic);
        }
        self.play(traffic, None)?;
        self.settle(traffic)?;
        self.finish(traffic, watcher)
    }

    /// Every interface that is named has been there by now.
    fn expect_interfaces(&self) -> Result<(), ReplayError> {
        let missing = self.named.iter().find(|name| !self.ports.has_been(name));
        match missing {
            None => Ok(()),
            Some(name) => Err(ReplayError::NoSuchInterface {
                name: name.clone(),
                known: self.ports.known(),
            }),
        }
    }

    /// The first revision, compiled whole from what all entries before it, and its own, lead to.
    fn first(&mut self, entries: &[Entry], revision: u64) -> Result<(), ReplayError> {
        let started = Wall::now();
        for entry in entries {
            let changeset = history::changeset(entry)?;
            history::apply(Arc::make_mut(&mut self.state), entry.revision, &changeset)?;
            self.state_digest = entry.state_digest;
        }
        let compiled = Compiler::compile(Arc::clone(&self.state), revision);
        let (compiler, compiled) =
            compiled.map_err(|errors| ReplayError::NotCompiled { revision, errors })?;
        self.compiler = compiler;
        let changes = self.state.rows().count() as u64;
        let last = entries.last();
        let step = Step {
            revision,
            author: last.map(|entry| entry.author.clone()).unwrap_or_default(),
            message: last.map(|entry| entry.message.clone()).unwrap_or_default(),
            committed_at: last.map_or(0, |entry| entry.committed_at),
            changes,
            ..Step::default()
        };
        self.goes_live(step, compiled, started, None);
        Ok(())
    }

    /// The next revision, from its changeset.
    fn next(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        let started = Wall::now();
        let revision = entry.revision;
        let changeset = history::changeset(entry)?;
        let compiled = self.compiler.apply(revision, &changeset);
        let compiled = compiled.map_err(|errors| ReplayError::NotCompiled { revision, errors })?;
        history::apply(Arc::make_mut(&mut self.state), revision, &changeset)?;
        let step = Step {
            revision,
            author: entry.author.clone(),
            message: entry.message.clone(),
            committed_at: entry.committed_at,
            changes: changeset.len() as u64,
            ..Step::default()
        };
        self.goes_live(step, compiled, started, Some((entry, &changeset)));
        Ok(())
    }

    fn goes_live(
        &mut self,
        mut step: Step,
        compiled: Compiled,
        started: Wall,
        change: Option<(&Entry, &Changeset)>,
    ) {
        step.time_ns = self.gateway.now().0;
        step.operations = compiled.operations.len() as u64;
        self.gateway.apply(compiled.into_parts());
        self.ports.follow(&self.gateway);
        let live = started.elapsed();
        let account = self.gateway.account();
        self.since = (self.delivered, self.exit.sent, account.dropped);
        let is_last = step.revision == self.history.last();
        self.steps.push(step);
        let checking = Wall::now();
        self.check_revision(change, is_last, live);
        self.taken.push(Taken {
            live,
            checks: checking.elapsed(),
            packets: Duration::ZERO,
        });
        self.packets_started = Wall::now();
    }

    /// Whether what costs as much as the whole state is to be checked now.
    fn is_whole_due(&mut self, is_last: bool) -> bool {
        let rows = self.state.rows().count() as u64;
        let every = self.options.whole_every;
        let every = every.unwrap_or(rows.div_ceil(ROWS_FOR_EACH_WHOLE)).max(1);
        self.since_whole += 1;
        let is_due = is_last || self.steps.len() == 1 || self.since_whole >= every;
        if is_due {
            self.since_whole = 0;
        }
        is_due
    }

    fn check_revision(
        &mut self,
        change: Option<(&Entry, &Changeset)>,
        is_last: bool,
        live: Duration,
    ) {
        let is_whole = self.is_whole_due(is_last);
        let checks = &self.options.checks;
        let wants = |check: Check| checks.contains(&check);
        if wants(Check::State) {
            if let Some((entry, changeset)) = change {
                self.state_digest.apply(changeset);
                self.verdict(Check::State, inspect::state(self.state_digest, entry));
            }
            if is_whole {
                let recounted = inspect::recounted(&self.state, self.state_digest);
                self.verdict(Check::State, recounted);
            }
        }
        if wants(Check::Tables) && is_whole {
            let revision = self.compiler.revision();
            let whole = inspect::tables(&self.gateway, Arc::clone(&self.state), revision);
            self.verdict(Check::Tables, whole);
        }
        if is_whole && let Some(step) = self.steps.last_mut() {
            step.tables_digest = self.gateway.digest().map(|digest| digest.to_string());
        }
        if wants(Check::Intents) && !self.compiler.configuration().intent.is_empty() {
            self.verdict(Check::Intents, inspect::intents(&self.compiler));
        }
        if wants(Check::Probes)
            && let Some(probes) = self.options.probes
            && let configuration = self.compiler.configuration()
            && !configuration.probe.is_empty()
            && let Some(missed) = self.gateway.with_tables(|t| probes(configuration, t))
        {
            self.verdict(Check::Probes, inspect::probes(missed));
        }
        if wants(Check::Invariants) && is_whole {
            self.verdict(Check::Invariants, inspect::tuples(&self.gateway));
        }
        if wants(Check::Time)
            && let Some(budget) = self.options.revision_time
        {
            let found = inspect::time(live, budget, "until it was live");
            self.verdict(Check::Time, found);
        }
        if wants(Check::Memory) && is_whole {
            if let Some(budget) = self.options.tables_memory {
                self.verdict(Check::Memory, inspect::tables_memory(&self.gateway, budget));
            }
            if let Some(budget) = self.options.resident_memory {
                self.verdict(Check::Memory, inspect::resident_memory(budget));
            }
        }
    }

    /// Counts a check as made, of the revision that is live.
    fn made(&mut self, check: Check) {
        if let Some(made) = self.made.iter_mut().find(|made| made.check == check) {
            made.made += 1;
            if let Some(step) = self.steps.last_mut()
                && !step.checks.contains(&check)
            {
                step.checks.push(check);
            }
        }
    }

    /// Counts a check, and notes what it found.
    fn verdict(&mut self, check: Check, found: Result<(), inspect::Found>) {
        self.made(check);
        if let Err((message, details)) = found {
            self.fail(check, message, details);
        }
    }

    fn fail(&mut self, check: Check, message: String, details: Vec<String>) {
        let Some(made) = self.made.iter_mut().find(|made| made.check == check) else {
            return;
        };
        made.failed += 1;
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(Failure {
                check,
                revision: self.compiler.revision(),
                time_ns: self.gateway.now().0,
                packets: self.delivered,
                message,
                details,
            });
        }
    }

    /// Tells the traffic what is live, and learns which interfaces it may come in by.
    fn follow(&mut self, traffic: &mut dyn Traffic) {
        traffic.follow(self.compiler.configuration(), &self.gateway);
        self.ports.enter(traffic.interfaces());
    }

    /// Plays packets: until the next revision is due, or to the end.
    fn play(&mut self, traffic: &mut dyn Traffic, until: Option<When>) -> Result<(), ReplayError> {
        let mut burst: Vec<(InterfaceIndex, MemoryBuffer)> = Vec::with_capacity(BURST_PACKETS);
        while let Some(first) = traffic.next_time() {
            let mut most = BURST_PACKETS as u64;
            let mut deadline = first.saturating_add(BURST_TIME.as_nanos() as u64);
            match until {
                Some(When::Packets(number)) => {
                    most = most.min(number.saturating_sub(self.given));
                }
                Some(When::Time(time)) if time <= first => break,
                Some(When::Time(time)) => deadline = deadline.min(time - 1),
                None => {}
            }
            if most == 0 {
                break;
            }
            let mut last = first;
            let mut taken = 0;
            while taken < most && traffic.next_time().is_some_and(|time| time <= deadline) {
                let mut bytes = self.exit.free.pop().unwrap_or_default();
                let Some(arrival) = traffic.take(&mut bytes)? else {
                    break;
                };
                taken += 1;
                self.given += 1;
                last = arrival.nanoseconds;
                self.arrive(traffic, arrival.entrance, bytes, &mut burst);
            }
            self.pause_until(Instant(last.saturating_sub(self.beginning)), traffic)?;
            self.bursts += 1;
            self.step(&mut burst, traffic)?;
        }
        if let Some(When::Time(time)) = until {
            // What was committed before the first packet is live with it.
            let time = Instant(time.saturating_sub(self.beginning));
            if time > self.gateway.now() {
                self.pause_until(time, traffic)?;
            }
        }
        Ok(())
    }

    /// A frame comes in: into the burst, if the interface is there and up.
    fn arrive(
        &mut self,
        traffic: &dyn Traffic,
        entrance: usize,
        mut bytes: Vec<u8>,
        burst: &mut Vec<(InterfaceIndex, MemoryBuffer)>,
    ) {
        if self.ports.of_entrance(entrance).is_none() {
            // A capture may name another interface at any time.
            self.ports.enter(traffic.interfaces());
        }
        let Some(port) = self.ports.of_entrance(entrance) else {
            self.undelivered += 1;
            self.exit.free.push(bytes);
            return;
        };
        // The first bit on the wire says that a frame is for several stations: those stay.
        if self.options.any_mac
            && let Some(destination) = bytes.first_chunk_mut::<6>()
            && destination[0] & 1 == 0
        {
            *destination = port.mac;
        }
        burst.push((port.interface, MemoryBuffer::new(bytes)));
    }

    /// Moves the clock, and runs what is due meanwhile.
    fn pause_until(&mut self, to: Instant, traffic: &mut dyn Traffic) -> Result<(), ReplayError> {
        let tick = TICK.as_nanos() as u64;
        if to.0.saturating_sub(self.gateway.now().0) < tick {
            self.gateway.advance_to(to);
            return Ok(());
        }
        for _ in 0..SETTLE.as_nanos() / TICK.as_nanos() {
            let next = self.gateway.now().0 + tick;
            if next >= to.0 {
                break;
            }
            self.gateway.advance_to(Instant(next));
            self.step(&mut Vec::new(), traffic)?;
        }
        self.gateway.advance_to(to);
        // A burst looks at a bounded number of connections that may have timed out: as often as it takes to look at all.
        let graph = self.gateway.graph();
        let connections = graph.connections4().len() + graph.connections6().len();
        for _ in 0..=connections / 32 {
            self.step(&mut Vec::new(), traffic)?;
        }
        Ok(())
    }

    /// One burst through the graph.
    fn step(
        &mut self,
        burst: &mut Vec<(InterfaceIndex, MemoryBuffer)>,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        let at = (self.gateway.now().0, self.beginning);
        self.delivered += burst.len() as u64;
        let (exit, ports) = (&mut self.exit, &self.ports);
        let mut leaves = |interface, buffer| exit.leaves((interface, buffer), ports, at, traffic);
        self.gateway.step_into(burst.drain(..), &mut leaves);
        self.exit.check()?;
        for wrong in self.exit.take_wrong() {
            let check = match wrong.is_unexpected {
                true => Check::Outputs,
                false => Check::Invariants,
            };
            self.fail(check, wrong.message, wrong.details);
        }
        if !self.is_out_of_balance && self.options.checks.contains(&Check::Accounting) {
            let account = self.gateway.account();
            let seen = (self.delivered, self.exit.sent);
            if !is_accounted(account, seen) {
                self.is_out_of_balance = true;
                let (message, details) = unbalanced(account, seen);
                self.fail(Check::Accounting, message, details);
            }
        }
        Ok(())
    }

    /// Behind the last packet: timers come to their end.
    fn settle(&mut self, traffic: &mut dyn Traffic) -> Result<(), ReplayError> {
        let end = self
            .gateway
            .now()
            .0
            .saturating_add(SETTLE.as_nanos() as u64);
        self.pause_until(Instant(end), traffic)?;
        // Timers that end with the last pause.
        self.step(&mut Vec::new(), traffic)
    }

    /// A revision has had its packets.
    fn end_step(&mut self, watcher: &mut dyn Watcher) {
        for check in [Check::Accounting, Check::Invariants] {
            if !self.steps.is_empty() {
                self.made(check);
            }
        }
        let account = self.gateway.account();
        let Some(step) = self.steps.last_mut() else {
            return;
        };
        let (delivered, sent, dropped) = self.since;
        step.packets_in = self.delivered - delivered;
        step.packets_out = self.exit.sent - sent;
        step.dropped = account.dropped - dropped;
        if let Some(resolved) = self.gateway.resolved(step.revision) {
            step.connections_kept = resolved.kept;
            step.connections_ended = resolved.ended;
        }
        if let Some(taken) = self.taken.last_mut() {
            taken.packets = self.packets_started.elapsed();
        }
        watcher.seen(step, &self.failures[self.told..]);
        self.told = self.failures.len();
    }

    fn finish(
        mut self,
        traffic: &dyn Traffic,
        watcher: &mut dyn Watcher,
    ) -> Result<Report, ReplayError> {
        self.named.extend_from_slice(traffic.interfaces());
        self.expect_interfaces()?;
        let output_digest = self.exit.finish(&self.ports)?;
        for wrong in self.exit.take_wrong() {
            self.fail(Check::Outputs, wrong.message, wrong.details);
        }
        if self.options.checks.contains(&Check::Invariants) {
            self.verdict(Check::Invariants, inspect::tuples(&self.gateway));
        }
        let elapsed = self.started.elapsed();
        if self.options.checks.contains(&Check::Time)
            && let Some(budget) = self.options.total_time
        {
            self.verdict(Check::Time, inspect::time(elapsed, budget, "in all"));
        }
        self.end_step(watcher);
        let interfaces = self.gateway.interfaces();
        let mut interfaces: Vec<_> = interfaces
            .map(|(name, index)| (index.position(), name.to_owned()))
            .collect();
        interfaces.sort();
        let report = Report {
            tables_digest: self.gateway.digest().map(|digest| digest.to_string()),
            totals: self.gateway.totals(),
            time_ns: self.gateway.now().0,
            steps: self.steps,
            taken: self.taken,
            checks: self.made,
            failures: self.failures,
            bursts: self.bursts,
            undelivered: self.undelivered,
            interfaces,
            output_digest,
            digest: String::new(),
            elapsed,
        };
        Ok(report.sealed())
    }
}

/// Whether the account comes out, and is that of the frames that went in and came out. A packet that turns round in the gateway
/// counts as consumed, and as received once more.
fn is_accounted(account: Account, (delivered, sent): (u64, u64)) -> bool {
    let again = account.received.checked_sub(delivered);
    account.is_balanced()
        && account.transmitted == sent
        && again.is_some_and(|again| again <= account.consumed)
}

/// How the account does not come out.
fn unbalanced(account: Account, (delivered, sent): (u64, u64)) -> inspect::Found {
    let Account {
        received,
        generated,
        transmitted,
        dropped,
        consumed,
        held,
    } = account;
    let equation = format!(
        "{received} received + {generated} generated, but {transmitted} transmitted + {dropped} dropped + {consumed} \
         consumed + {held} held"
    );
    let seen = format!("{delivered} frames were given to it, and {sent} came out");
    (
        "packets are not accounted for".to_owned(),
        vec![equation, seen],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_held_against_what_went_in_and_came_out() {
        let account = Account {
            received: 7,
            transmitted: 4,
            dropped: 1,
            consumed: 2,
            ..Account::default()
        };
        assert!(is_accounted(account, (7, 4)));
        assert!(is_accounted(account, (5, 4)), "two have turned round");
        assert!(!is_accounted(account, (4, 4)), "no more than were consumed");
        assert!(!is_accounted(account, (8, 4)), "one was not counted");
        assert!(!is_accounted(account, (7, 5)), "one left uncounted");
        let dropped = 2;
        assert!(!is_accounted(Account { dropped, ..account }, (7, 4)));
    }
}
