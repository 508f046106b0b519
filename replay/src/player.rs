//! The replay itself.

mod checking;
mod hearing;
mod packets;

use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use rewire_compiler::{Compiled, Compiler};
use rewire_dataplane::{Change, Restored, VirtualGateway};
use rewire_feed::SourceConfig;
use rewire_journal::{Entry, StateDigest};
use rewire_packet::MacAddress;
use rewire_schema::{Changeset, Configuration};

use crate::capture::Output;
use crate::check::{Check, Failure};
use crate::compared::LeftFrames;
use crate::continuity::Continuity;
use crate::error::ReplayError;
use crate::exit::Exit;
use crate::expected::Expected;
use crate::history::{self, History};
use crate::inspect;
use crate::options::Options;
use crate::pace::{Pace, When};
use crate::ports::Ports;
use crate::report::{Checked, Report, Step, Taken};
use crate::traffic::Traffic;
use crate::tuples::Tuples;

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
    tuples: Tuples,
    continuity: Option<Continuity>,
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
    schedule: Vec<(u64, When)>,
    /// Of what is heard of routes, how much was.
    heard: usize,
    /// What became of connections of before.
    restored: Option<Restored>,
    /// The sources of learned routes that the gateway knows.
    sources: Vec<SourceConfig>,
    failed_after: Option<u64>,
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
        let mut gateway =
            VirtualGateway::among(&options.gateway, options.hash_seed, options.workers);
        if !options.heard.is_empty() {
            gateway = gateway.learning_routes();
        }
        let is_wanted = options.checks.contains(&Check::Connections);
        let continuity = is_wanted.then(|| {
            gateway.note_ended_by_policy();
            Continuity::new(options.hash_seed, options.workers)
        });
        Replay {
            history,
            options,
            gateway,
            compiler: Compiler::new(),
            state: Arc::new(state.clone()),
            state_digest,
            ports: Ports::default(),
            exit: Exit::new(options.checks.contains(&Check::Invariants)),
            tuples: Tuples::default(),
            continuity,
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
            schedule: Vec::new(),
            heard: 0,
            restored: None,
            sources: Vec::new(),
            failed_after: None,
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

    /// Compares what leaves with what left a gateway.
    pub fn compare(&mut self, recorded: LeftFrames) {
        self.exit.recorded = Some(recorded);
    }

    /// Notes what leaves, for the report; its bytes, once so many frames have come in.
    pub(crate) fn note_departures(&mut self, bytes_after: u64) {
        self.exit.departures = Some(Vec::new());
        self.exit.bytes_after = bytes_after;
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
        self.beginning = self
            .options
            .beginning
            .unwrap_or_else(|| traffic.beginning());
        // Also those of a capture that ends before any revision has them.
        self.named.extend_from_slice(traffic.interfaces());
        if has_first {
            self.first(before, whole)?;
            for known in &self.options.neighbors {
                let mac = MacAddress(known.mac);
                self.gateway
                    .learn_neighbor(&known.interface, known.address, mac);
            }
            self.follow(traffic);
            self.begin_hearing(traffic)?;
            if !self.options.connections.is_empty() {
                let restored = self
                    .gateway
                    .restore_connections(&self.options.connections)?;
                self.restored = Some(restored);
            }
        }
        if after.is_empty() {
            // No other revision can have them.
            self.expect_interfaces()?;
        }
        for (position, entry) in (u64::from(has_first)..).zip(after) {
            let at = (revisions, packets);
            let when = self.options.schedule.get(&entry.revision).copied();
            let when =
                when.unwrap_or_else(|| self.options.pace.when(position, at, entry.committed_at));
            self.play(traffic, Some(when))?;
            self.hear_before(entry.revision, traffic)?;
            self.end_step(watcher);
            self.schedule.push((entry.revision, self.placed(when)));
            self.next(entry)?;
            self.follow(traffic);
        }
        self.play(traffic, None)?;
        self.hear_until(u64::MAX, traffic)?;
        self.settle(traffic)?;
        self.finish(traffic, watcher)
    }

    /// Where a revision has come to stand: behind the last frame, where there are fewer than it waited for.
    fn placed(&self, when: When) -> When {
        match when {
            When::Packets(number) => When::Packets(number.min(self.given)),
            time @ When::Time(_) => time,
        }
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
        if let Some(continuity) = &mut self.continuity {
            continuity.before(&mut self.gateway);
        }
        let parts = self.with_sources(Change::from(compiled.into_parts()));
        self.gateway.apply(parts);
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

    /// A revision has had its packets.
    fn end_step(&mut self, watcher: &mut dyn Watcher) {
        for check in [Check::Accounting, Check::Invariants] {
            if !self.steps.is_empty() {
                self.made(check);
            }
        }
        self.end_connections();
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
            let found = self.tuples.check(&self.gateway);
            self.verdict(Check::Invariants, found);
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
            beginning: self.beginning,
            schedule: self.schedule,
            failed_after: self.failed_after,
            numbers: self.ports.numbers().clone(),
            parted: self.exit.parted,
            judged: self.continuity.map(|continuity| continuity.judged),
            burst_ends: self.exit.bursts,
            compared: self.exit.recorded.map(|recorded| recorded.compared()),
            restored: self.restored,
            departures: self.exit.departures.unwrap_or_default(),
        };
        Ok(report.sealed())
    }
}
