//! The manager: one thread that merges what comes into one root, and owns the ports.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rewire_tables::publish::wait_until;
use rewire_tables::{InterfaceIndex, PublishLate, Publisher, TableOperation};

use super::engine::EngineThread;
use super::{Applied, Apply, GatewayConfig, GatewayError, PortStatus, Request, Shared};
use crate::buffer::BufferPool;
use crate::change::Change;
use crate::clock::Clock;
use crate::connection_table::{Job, Names};
use crate::graph::{LearnedNeighbor, LogEntry};
use crate::learned_routes::LearnedRoutes;
use crate::nat_ports::ExternalAddresses;
use crate::neighbors::LearnedNeighbors;
use crate::port::{BoxedQueue, PortDriver, PortRequest};
use crate::progress::Progress;
use crate::rule_counts::RuleRegister;
use crate::saved_connections::{self, Moment, Restored};
use crate::table_sizes::TableSizes;
use crate::tap::{Beginning, ChangeLog, Taps};
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

/// The worker that transmits for another by a port of which these have a queue; none where that is one of them.
fn transmitter(owners: &[u16], worker: u16) -> Option<u16> {
    match owners.contains(&worker) {
        true => None,
        // Not all by the same one.
        false => owners
            .get(usize::from(worker) % owners.len().max(1))
            .copied(),
    }
}

/// How long workers may take, by far, until they know that they are to record.
const TAPPED_WITHIN: Duration = Duration::from_millis(20);
/// How long the manager sleeps at most, before it looks at what workers have learned.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How often links are looked at.
const LINKS_EVERY: Duration = Duration::from_millis(100);
/// So many links are looked at at once, at most: a system call each.
const MOST_LINKS: usize = 64;
/// How long workers may take to take saved connections over: forty times what a million of them take.
const RESTORED_WITHIN: Duration = Duration::from_secs(20);
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
        let beginning = Beginning {
            time,
            from: time.saturating_add(TAPPED_WITHIN).next_age(),
            revision: self.revision,
            routes,
        };
        log.begin(self.revision, self.publisher.generation());
        self.recording = Some(log);
        for (link, mut tap) in self.links.iter_mut().zip(workers) {
            tap.begin_at(beginning.from);
            // Of a worker whose ring is full nothing is recorded, and the recording is over.
            let _ = link.commands.push(Command::Tap(Box::new(tap)));
            link.thread.unpark();
        }
        // Who has asked may have gone away.
        let _ = begun.try_send(beginning);
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

    /// Opens the ports of interfaces that are in the tables by now.
    fn open_new_ports(&mut self) {
        let requests = std::mem::take(&mut self.to_open);
        self.open_ports(requests);
    }

    /// Opens ports, and deals out their queues among the workers. Ports of which a worker does not take its queue are closed,
    /// and tried again later. No worker receives from them before all know them.
    fn open_ports(&mut self, requests: impl IntoIterator<Item = (InterfaceIndex, PortRequest)>) {
        let mut dealt: Vec<Vec<_>> = self.links.iter().map(|_| Vec::new()).collect();
        let mut opened = Vec::new();
        for (interface, request) in requests {
            let queues = self.open_port(interface, request.clone());
            if queues.is_empty() {
                continue;
            }
            let workers = self.least_busy(queues.len());
            for (queue, worker) in queues.into_iter().zip(&workers) {
                dealt[usize::from(*worker)].push((interface, queue));
            }
            self.owners.insert(interface, workers);
            opened.push((interface, request));
        }
        if opened.is_empty() {
            return;
        }
        let deadline = self.config.live_deadline;
        let mut refused = Vec::new();
        for ((worker, link), own) in (0u16..).zip(&mut self.links).zip(dealt) {
            let owners = |interface| self.owners.get(interface);
            let others = opened.iter().filter_map(|(interface, _)| {
                Some((*interface, transmitter(owners(interface)?, worker)?))
            });
            let others = others.collect();
            if !link.command(Command::AddPorts { own, others }, deadline) {
                refused.push(worker);
            }
        }
        for link in &mut self.links {
            link.command(Command::Receive, deadline);
        }
        let is_refused = |(interface, _): &(InterfaceIndex, PortRequest)| {
            let owners = self.owners.get(interface);
            owners.is_some_and(|owners| owners.iter().any(|owner| refused.contains(owner)))
        };
        opened.retain(is_refused);
        if opened.is_empty() {
            return;
        }
        tracing::error!(?refused, "alarm: workers do not take their new ports");
        // Other workers may have taken theirs: a port is there whole, or not at all.
        self.close_ports(opened.iter().map(|(interface, _)| *interface).collect());
        for (interface, request) in opened {
            let problem = Some("its worker does not take it".to_owned());
            self.status(interface, &request, problem);
            self.try_again_later(interface, request);
        }
    }

    /// So many workers, those with the fewest ports.
    fn least_busy(&self, number: usize) -> Vec<u16> {
        let ports = |worker: &u16| {
            let owners = self.owners.values().flatten();
            owners.filter(|owner| *owner == worker).count()
        };
        let mut workers: Vec<u16> = (0..self.links.len() as u16).collect();
        workers.sort_by_cached_key(ports);
        workers.truncate(number);
        workers
    }

    fn try_again_later(&mut self, interface: InterfaceIndex, request: PortRequest) {
        self.waiting.insert(interface, request);
        self.next_retry = Some(Instant::now() + self.config.port_retry);
    }

    /// Says where the port of an interface stands.
    fn status(&self, interface: InterfaceIndex, request: &PortRequest, problem: Option<String>) {
        let no_offload = match self.engine {
            Some(_) => self.driver.no_offload(interface),
            None => Some("these ports have no card".to_owned()),
        };
        let tables = self.publisher.current();
        let offload = tables.is_some_and(|tables| {
            let interface = tables.interface(interface);
            interface.is_some_and(|interface| interface.offload)
        });
        let status = PortStatus {
            interface: request.interface.clone(),
            port: request.port.to_string(),
            problem,
            link: None,
            link_changes: 0,
            offload,
            no_offload,
        };
        self.shared.with_ports(|ports| {
            // What was counted before it is opened again, or its offload is asked for, was the same link.
            let before = ports.get(&interface.0);
            let (link, link_changes) = before.map_or((None, 0), |p| (p.link, p.link_changes));
            let status = PortStatus {
                link: link.filter(|_| status.problem.is_none()),
                link_changes,
                ..status
            };
            ports.insert(interface.0, status)
        });
    }

    /// The queues of a port, no more than there are workers; none where it cannot be opened.
    fn open_port(&mut self, interface: InterfaceIndex, request: PortRequest) -> Vec<BoxedQueue<D>> {
        match self.driver.open_queues(&request, self.links.len() as u16) {
            Ok(queues) => {
                let (port, number) = (&request.port, queues.len());
                tracing::info!(interface = request.interface, %port, queues = number, "port open");
                self.waiting.remove(&interface);
                self.status(interface, &request, None);
                queues
            }
            Err(error) => {
                if !self.waiting.contains_key(&interface) {
                    tracing::warn!(%error, "the gateway goes on with its other ports and tries again");
                }
                self.status(interface, &request, Some(error.reason));
                self.try_again_later(interface, request);
                Vec::new()
            }
        }
    }

    /// Takes ports from their worker and closes them, all at once. A worker that does not answer holds nobody up for
    /// longer than one deadline, however many ports there are.
    fn close_ports(&mut self, interfaces: Vec<InterfaceIndex>) {
        if interfaces.is_empty() {
            return;
        }
        for interface in &interfaces {
            self.waiting.remove(interface);
            self.shared.with_ports(|ports| ports.remove(&interface.0));
        }
        self.to_open
            .retain(|(owner, _)| !interfaces.contains(owner));
        let deadline = self.config.live_deadline;
        if let Some(engine) = &self.engine
            && !engine.close_ports(interfaces.clone(), deadline)
        {
            tracing::error!("alarm: the offload engine does not let go of ports");
        }
        for link in &mut self.links {
            link.command(Command::ForgetPorts(interfaces.clone()), deadline);
        }
        let mut waited_for = Vec::new();
        for (worker, link) in (0u16..).zip(&mut self.links) {
            let is_own = |interface: &InterfaceIndex| {
                let owners = self.owners.get(interface);
                owners.is_some_and(|owners| owners.contains(&worker))
            };
            let own: Vec<_> = interfaces.iter().copied().filter(is_own).collect();
            if own.is_empty() {
                continue;
            }
            let (back, returned) = mpsc::sync_channel(1);
            let number = own.len();
            let interfaces = own;
            // A command that is not taken is dropped, and its channel with it: then there is nothing to wait for.
            link.command(Command::RemovePorts { interfaces, back }, deadline);
            waited_for.push((number, returned));
        }
        let until = Instant::now() + deadline;
        for (ports, returned) in waited_for {
            match returned.recv_timeout(until.saturating_duration_since(Instant::now())) {
                // Closed here, on the manager's thread: closing makes system calls.
                Ok(queues) => drop(queues),
                Err(_) => tracing::error!(ports, "alarm: a worker does not give its ports back"),
            }
        }
        for interface in &interfaces {
            self.owners.remove(interface);
        }
    }

    /// Counts the changes of links: of some ports at a time, so that many of them take the manager from nothing else for long.
    fn look_at_links(&mut self) {
        let now = Instant::now();
        if self.next_link_look.is_some_and(|at| now < at) {
            return;
        }
        self.next_link_look = Some(now + LINKS_EVERY);
        let open: Vec<InterfaceIndex> = self.owners.keys().copied().collect();
        let behind = |interface: &&InterfaceIndex| Some(**interface) > self.last_link_looked_at;
        let from = open.iter().filter(behind).chain(&open);
        let looked_at: Vec<InterfaceIndex> =
            from.take(open.len().min(MOST_LINKS)).copied().collect();
        self.last_link_looked_at = looked_at.last().copied();
        for interface in looked_at {
            let Some(link) = self.driver.link_up(interface) else {
                continue;
            };
            self.shared.with_ports(|ports| {
                let Some(port) = ports.get_mut(&interface.0) else {
                    return;
                };
                if port.link.replace(link).is_some_and(|before| before != link) {
                    port.link_changes += 1;
                    let (name, state) = (&port.interface, if link { "up" } else { "down" });
                    tracing::info!(interface = name, port = port.port, "the link is {state}");
                }
            });
        }
    }

    fn retry_ports(&mut self) {
        if self.next_retry.is_none_or(|at| Instant::now() < at) {
            return;
        }
        self.next_retry = None;
        // They stay in the list while they are tried, so that the same failure is not logged again.
        self.open_ports(self.waiting.clone());
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

    fn close_all_ports(&mut self) {
        let ports = self.shared.ports();
        self.close_ports(ports.into_iter().map(|(interface, _)| interface).collect());
    }

    /// Lets workers take the connections over that were saved: once, when the tables of the first revision say what there is, and
    /// before packets come.
    fn restore(&mut self) {
        if std::mem::replace(&mut self.has_restored, true) {
            return;
        }
        let Some(path) = self.config.connections_file.clone() else {
            return;
        };
        let start = Instant::now();
        let saved = match saved_connections::read(&path) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("the saved connections are lost: {error}");
                return;
            }
        };
        let (reply, answers) = mpsc::sync_channel(self.links.len());
        let now = Moment::now(self.clock.now());
        let workers = self.links.len() as u16;
        let Some(tables) = self.publisher.current() else {
            return;
        };
        let (shares, homeless) = saved.shares(&tables, &now, workers, &reply);
        drop((tables, reply));
        let deadline = self.config.live_deadline;
        for (link, share) in self.links.iter_mut().zip(shares) {
            link.command(Command::Restore(share), deadline);
        }
        let mut restored = Restored {
            not_owned: homeless,
            ..Restored::default()
        };
        let until = start + RESTORED_WITHIN;
        // Each answers once, or lets go of its share.
        while let Ok(one) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            restored += one;
        }
        // What begins from now on must not come back with the next start.
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        let Restored {
            over,
            gone,
            not_owned,
            full,
            clash,
            ..
        } = restored;
        let took = start.elapsed().as_millis() as u64;
        let (restored_number, lost) = (restored.restored, restored.lost());
        tracing::info!(
            restored = restored_number,
            lost,
            over,
            gone,
            not_owned,
            full,
            clash,
            milliseconds = took,
            "connections go on"
        );
        let _ = self.shared.restored.set(restored);
    }

    /// Writes the connections down that workers have had.
    fn save(&self, workers: &[Vec<u8>]) {
        let (Some(path), Some(tables)) = (&self.config.connections_file, self.publisher.current())
        else {
            return;
        };
        // What was not taken over yet is not written over.
        if !self.has_restored {
            return;
        }
        let moment = Moment::now(self.clock.now());
        match saved_connections::write(path, &tables, &moment, workers) {
            Ok(()) => tracing::info!("connections are saved in {}", path.display()),
            Err(error) => tracing::error!("connections are not saved: {error}"),
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
