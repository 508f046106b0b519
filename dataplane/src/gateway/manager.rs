//! The manager: one thread that merges what comes into one root, and owns the ports.

mod ports;
mod restart;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rewire_tables::publish::wait_until;
use rewire_tables::{InterfaceIndex, PublishLate, Publisher, TableOperation};

use super::engine::EngineThread;
use super::{Applied, Apply, GatewayConfig, GatewayError, Request, Shared};
use crate::buffer::BufferPool;
use crate::change::Change;
use crate::clock::Clock;
use crate::connection_table::{Job, Names};
use crate::graph::{LearnedNeighbor, LogEntry};
use crate::learned_routes::LearnedRoutes;
use crate::nat_ports::ExternalAddresses;
use crate::neighbors::LearnedNeighbors;
use crate::port::{PortDriver, PortRequest};
use crate::progress::Progress;
use crate::rule_counts::RuleRegister;
use crate::table_sizes::TableSizes;
use crate::tap::{Begun, ChangeLog, Taps};
use crate::worker::Command;

/// What the manager holds of a worker.
pub(super) struct WorkerLink<B> {
    pub(super) progress: Arc<Progress>,
    pub(super) thread: std::thread::Thread,
    pub(super) commands: rtrb::Producer<Command<B>>,
    pub(super) learned: rtrb::Consumer<LearnedNeighbor>,
    pub(super) jobs: rtrb::Consumer<Job>,
    pub(super) log: rtrb::Consumer<LogEntry>,
}

impl<B> WorkerLink<B> {
    /// Hands a command over, or gives up at the deadline: the worker is dead, or stuck behind a full ring. Whether it was
    /// handed over. The manager waits for the worker, never the other way round.
    fn command(&mut self, command: Command<B>, deadline: Duration) -> bool {
        let mut command = Some(command);
        wait_until(deadline, || {
            if self.commands.is_abandoned() {
                return true;
            }
            if let Some(next) = command.take()
                && let Err(rtrb::PushError::Full(back)) = self.commands.push(next)
            {
                command = Some(back);
            }
            command.is_none()
        });
        self.thread.unpark();
        command.is_none()
    }
}

type BufferOf<D> = <<D as PortDriver>::Pool as BufferPool>::Buffer;

/// The one thread that writes: tables, ports, and what is learned.
pub(super) struct Manager<D: PortDriver> {
    pub(super) config: GatewayConfig,
    pub(super) driver: D,
    pub(super) publisher: Publisher,
    pub(super) links: Vec<WorkerLink<BufferOf<D>>>,
    pub(super) threads: Vec<JoinHandle<Option<Vec<u8>>>>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) neighbors: LearnedNeighbors,
    pub(super) routes: LearnedRoutes,
    pub(super) rules: RuleRegister,
    /// What offloads flows, where there is a card.
    pub(super) engine: Option<EngineThread>,
    /// The revision that the operations so far lead to.
    pub(super) revision: u64,
    /// The workers that have a queue of each open port.
    pub(super) owners: BTreeMap<InterfaceIndex, Vec<u16>>,
    /// Ports to be opened once their interfaces are published.
    pub(super) to_open: Vec<(InterfaceIndex, PortRequest)>,
    /// Ports that could not be opened, to be tried again.
    pub(super) waiting: BTreeMap<InterfaceIndex, PortRequest>,
    pub(super) next_retry: Option<Instant>,
    /// When links are looked at next, and which one was last.
    pub(super) next_link_look: Option<Instant>,
    pub(super) last_link_looked_at: Option<InterfaceIndex>,
    /// Whether the connections that were saved have been taken over.
    pub(super) has_restored: bool,
    /// Who records what changes.
    pub(super) recording: Option<ChangeLog>,
}

/// How long workers may take, by far, until they know that they are to record.
const TAPPED_WITHIN: Duration = Duration::from_millis(20);
/// How long the manager sleeps at most, before it looks at what workers have learned.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// So many operations are published at once, at the most, but for those of one batch or commit: more would take longer than a
/// millisecond.
const MOST_OPERATIONS: usize = 1024;

impl<D: PortDriver> Manager<D> {
    pub(super) fn run(mut self, inbox: &Receiver<Request>) {
        'requests: loop {
            let mut request = match inbox.recv_timeout(LOOK_EVERY) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            // Whatever waits goes into one publication, but for no longer than a millisecond.
            let until = Instant::now() + LOOK_EVERY;
            while let Some(next) = request {
                if self.serve(next).is_break() {
                    break 'requests;
                }
                let has_room = self.publisher.waiting() < MOST_OPERATIONS;
                request = match has_room && Instant::now() < until {
                    true => inbox.try_recv().ok(),
                    false => None,
                };
            }
            self.learn();
            self.log();
            self.hand_back_jobs();
            // After the answer: nobody waits for the other half.
            self.publisher.catch_up();
            self.retry_ports();
            self.look_at_links();
            self.look_after_workers();
        }
        self.stop();
    }

    /// Does what is asked for. Breaks where the end is.
    fn serve(&mut self, request: Request) -> ControlFlow<()> {
        match request {
            Request::Apply(Apply {
                revision,
                change,
                reply,
            }) => {
                // The caller may have gone away; the revision is live all the same.
                let _ = reply.send(self.apply(revision, change));
            }
            // Operations that cannot be published pile up: then the daemons wait.
            Request::Learn(batch) if self.shared.stuck.load(Ordering::Relaxed) => {
                self.routes.hold(batch);
            }
            Request::Learn(batch) => {
                self.routes
                    .learn(batch, self.clock.now(), &mut self.publisher);
            }
            Request::Show(query, reply) => {
                let routes = self
                    .routes
                    .routes(&query, self.clock.now(), &self.publisher);
                // Who asked may have gone away.
                let _ = reply.send(routes);
            }
            Request::CountedRules(acl, reply) => {
                let counted = self.rules.counted(acl.as_deref(), &self.shared.counters);
                // Who asked may have gone away.
                let _ = reply.send(counted);
            }
            Request::Job(worker, job) => {
                // A worker whose ring is full gets no more: who has asked hears nothing then.
                if let Some(link) = self.links.get_mut(usize::from(worker)) {
                    let _ = link.commands.push(Command::Job(job));
                    link.thread.unpark();
                }
            }
            Request::ExternalAddresses(reply) => {
                let tables = self.publisher.current();
                let shared = tables.map(|tables| ExternalAddresses::of(&tables));
                let _ = reply.send(shared.unwrap_or_default());
            }
            Request::Watch(watches) => {
                for (link, watch) in self.links.iter_mut().zip(watches) {
                    // A worker whose ring is full is not watched.
                    let _ = link.commands.push(Command::Watch(Box::new(watch)));
                    link.thread.unpark();
                }
            }
            Request::Unwatch(id) => {
                for link in &mut self.links {
                    let _ = link.commands.push(Command::Unwatch(id));
                    link.thread.unpark();
                }
            }
            Request::Sample(samplers) => {
                for (link, sampler) in self.links.iter_mut().zip(samplers) {
                    // A worker whose ring is full samples nothing.
                    let _ = link.commands.push(Command::Sample(sampler));
                    link.thread.unpark();
                }
            }
            Request::EndSampling(id) => {
                for link in &mut self.links {
                    // One that goes on finds its ring full, and says so to nobody.
                    let _ = link.commands.push(Command::EndSampling(id));
                    link.thread.unpark();
                }
            }
            Request::Record(changes) => {
                for (link, change) in self.links.iter_mut().zip(changes) {
                    // A worker whose ring is full records nothing, or goes on into a ring that nobody reads.
                    let _ = link.commands.push(Command::Record(change));
                    link.thread.unpark();
                }
            }
            Request::Tap(taps) => self.begin_recording(*taps),
            Request::Untap(id) => {
                if self.recording.take_if(|log| log.id() == id).is_some() {
                    self.routes.end_recording();
                }
                for link in &mut self.links {
                    let _ = link.commands.push(Command::Untap(id));
                    link.thread.unpark();
                }
            }
            Request::Look(look) => {
                if let Some(tables) = self.publisher.current() {
                    look.at(&tables, self.clock.now());
                }
            }
            Request::Names(reply) => {
                let tables = self.publisher.current();
                let _ = reply.send(tables.map(|tables| Names::of(&tables)).unwrap_or_default());
            }
            Request::TableSizes(reply) => {
                let tables = self.publisher.current();
                let _ = reply.send(tables.map(|t| TableSizes::of(&t)).unwrap_or_default());
            }
            Request::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn apply(&mut self, revision: u64, change: Change) -> Result<Applied, GatewayError> {
        let start = Instant::now();
        let Change {
            mut operations,
            ports,
            sources,
        } = change;
        // A port that goes is taken from its worker before its interface leaves the tables, and one that comes is
        // opened after its interface is there: so no frame comes from an interface that is unknown.
        if operations.contains(&TableOperation::Clear) {
            self.close_all_ports();
        }
        let (to_open, to_close): (Vec<_>, Vec<_>) = ports
            .into_iter()
            .partition(|(_, request)| request.is_some());
        self.close_ports(
            to_close
                .into_iter()
                .map(|(interface, _)| interface)
                .collect(),
        );
        let to_open = to_open.into_iter();
        self.to_open
            .extend(to_open.filter_map(|(interface, request)| Some((interface, request?))));
        let has_interfaces = operations
            .iter()
            .any(|operation| matches!(operation, TableOperation::SetInterface { .. }));
        let neighbors = self.neighbors.follow(&operations);
        self.shared.follow_vpcs(&operations);
        self.rules.follow(&mut operations, &self.shared.counters);
        self.revision = revision;
        self.routes.follow(revision);
        self.routes.absorb(operations, sources, &mut self.publisher);
        self.publisher.extend(neighbors);
        let generation = self.publish()?;
        let swapped = Instant::now();
        let publish = swapped - start;
        self.restore();
        self.open_new_ports();
        if has_interfaces {
            self.note_offload();
        }
        let workers = self.wait_until_live(generation, swapped)?;
        let tables = self.publisher.current();
        Ok(Applied {
            generation,
            policy: tables.is_some_and(|tables| tables.policy_generation() == generation),
            publish,
            live: swapped.elapsed(),
            workers,
        })
    }

    /// Lets workers record frames, and tells what changes from now on.
    fn begin_recording(&mut self, taps: Taps) {
        let Taps {
            workers,
            mut log,
            begun,
        } = taps;
        // What waits is of before. Where it is late, it is told twice, which does no harm.
        if self.publisher.has_pending() {
            let _ = self.publish();
        }
        let routes = self.routes.begin_recording();
        let time = self.clock.now();
        let begun_with = Begun {
            time,
            from: time.saturating_add(TAPPED_WITHIN).next_age(),
            revision: self.revision,
            routes,
        };
        log.begin(self.revision, self.publisher.generation());
        self.recording = Some(log);
        for (link, mut tap) in self.links.iter_mut().zip(workers) {
            tap.begin_at(begun_with.from);
            // Of a worker whose ring is full nothing is recorded, and the recording is over.
            let _ = link.commands.push(Command::Tap(Box::new(tap)));
            link.thread.unpark();
        }
        // Who has asked may have gone away.
        let _ = begun.try_send(begun_with);
    }

    fn publish(&mut self) -> Result<u64, PublishLate> {
        let published = self.publisher.publish(self.config.publish_deadline);
        self.shared
            .stuck
            .store(published.is_err(), Ordering::Relaxed);
        match &published {
            Ok(generation) => {
                self.shared.generation.store(*generation, Ordering::Relaxed);
                self.shared.publications.fetch_add(1, Ordering::Relaxed);
                self.shared.revision.store(self.revision, Ordering::Relaxed);
                self.follow_offload();
                self.neighbors.published(*generation);
                if let Some(log) = &mut self.recording {
                    let at = (self.clock.now(), *generation);
                    log.published(at, self.revision, self.routes.take_heard());
                }
                self.routes.published(self.clock.now(), &mut self.publisher);
            }
            Err(late) => {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%late, "alarm: a worker is stuck");
            }
        }
        published
    }

    /// Tells the engine whether flows are offered to the card now.
    fn follow_offload(&self) {
        let tables = self.publisher.current();
        let is_offloading = tables.is_some_and(|tables| tables.has_offload());
        self.shared
            .offloading
            .store(is_offloading, Ordering::Relaxed);
        if let Some(engine) = &self.engine {
            engine.want(is_offloading);
        }
    }

    /// Notes of which interfaces flows are to be offloaded.
    fn note_offload(&self) {
        if let Some(tables) = self.publisher.current() {
            self.shared.with_ports(|ports| {
                for (index, status) in ports {
                    let interface = tables.interface(InterfaceIndex(*index));
                    status.offload = interface.is_some_and(|interface| interface.offload);
                }
            });
        }
    }

    /// Waits until every worker has left the old tables; how long after the swap each had, as far as it was seen.
    fn wait_until_live(
        &self,
        generation: u64,
        swapped: Instant,
    ) -> Result<Vec<Duration>, GatewayError> {
        let start = Instant::now();
        let mut left: Vec<Option<Duration>> = vec![None; self.links.len()];
        wait_until(self.config.live_deadline, || {
            for (link, left) in self.links.iter().zip(&mut left) {
                if left.is_none() && link.progress.has_left_before(generation) {
                    *left = Some(swapped.elapsed());
                }
            }
            left.iter().all(Option::is_some)
        });
        if let Some(worker) = left.iter().position(Option::is_none) {
            self.shared.late.fetch_add(1, Ordering::Relaxed);
            return Err(GatewayError::LiveLate {
                generation,
                worker,
                waited: start.elapsed(),
            });
        }
        Ok(left.into_iter().flatten().collect())
    }

    /// Writes what workers want logged.
    fn log(&mut self) {
        for link in &mut self.links {
            while let Ok(entry) = link.log.pop() {
                if let Some(tables) = self.publisher.current() {
                    entry.write(&tables);
                }
            }
        }
    }

    /// Gives what workers have done to who has asked for it.
    fn hand_back_jobs(&mut self) {
        for link in &mut self.links {
            while let Ok(job) = link.jobs.pop() {
                job.reply();
            }
        }
    }

    /// Takes over what workers have learned, and forgets what is too old. One publication for all of it.
    fn learn(&mut self) {
        let now = self.clock.now();
        for link in &mut self.links {
            while let Ok(neighbor) = link.learned.pop() {
                if let Some(operation) = self.neighbors.learn(neighbor, now) {
                    self.publisher.append(operation);
                }
            }
        }
        for operation in self.neighbors.expire(now) {
            self.publisher.append(operation);
        }
        self.routes.expire(now, &mut self.publisher);
        if self.publisher.has_pending() {
            // When it is late it has raised its alarm, and the next look tries again.
            if self.publish().is_ok() {
                self.open_new_ports();
            }
        }
        self.shared
            .learned
            .store(self.neighbors.len() as u64, Ordering::Relaxed);
    }

    /// A worker ends only when it is told to. One that has ended by itself has panicked: an alarm that stays.
    fn look_after_workers(&self) {
        let engine = self.engine.as_ref();
        let dead = self.threads.iter().any(JoinHandle::is_finished)
            || engine.is_some_and(EngineThread::is_dead);
        if dead && !self.shared.dead_worker.swap(true, Ordering::Relaxed) {
            tracing::error!("alarm: a worker has died, and its ports with it; restart the gateway");
        }
    }

    fn stop(mut self) {
        self.close_all_ports();
        for link in &self.links {
            link.progress.stop();
            link.thread.unpark();
        }
        let mut saved = Vec::new();
        for (worker, thread) in self.threads.drain(..).enumerate() {
            if !wait_until(self.config.live_deadline, || thread.is_finished()) {
                tracing::error!(
                    worker,
                    "alarm: the gateway stops, and a worker does not end"
                );
            }
            match thread.join() {
                Ok(connections) => saved.extend(connections),
                Err(_) => tracing::error!("a worker's thread panicked"),
            }
        }
        if saved.len() == self.links.len() {
            self.save(&saved);
        }
    }
}
