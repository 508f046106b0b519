//! The gateway: a manager that owns the tables and the ports, and workers that forward.
//!
//! The manager is one thread. It merges three producers into one root: revisions that the caller applies, neighbors
//! that workers learn, and routes that routing daemons say. Workers never wait for it: they speak through bounded
//! rings. Dropping the [`Gateway`] stops, joins and frees everything.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rewire_conntrack::{Config as ConnectionConfig, Timeouts};
use rewire_feed::{Batch, Counters, RouteQuery, ShownRoutes};
use rewire_tables::publish::wait_until;
use rewire_tables::{InterfaceIndex, PublishLate, Publisher, TableOperation};

use crate::buffer::BufferPool;
use crate::change::Change;
use crate::clock::{Clock, MonotonicClock};
use crate::counters::{Totals, WorkerCounters};
use crate::graph::{AclLogEntry, Graph, GraphConfig, LearnedNeighbor};
use crate::learned_routes::{LearnedRoutes, RouteInlet, RouteTable};
use crate::neighbors::LearnedNeighbors;
use crate::port::{PortDriver, PortQueue, PortRequest};
use crate::progress::Progress;
use crate::worker::{BURST, Command, ToManager, Worker};

/// How a gateway is made.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The number of workers, at least 1. Until packets can be steered to the owner of their connection, the first one
    /// polls all ports, and the others idle.
    pub workers: u16,
    /// Connections of one worker, at most, of each address family.
    pub connections: usize,
    /// How long a publication may wait for a worker that stays inside the old tables.
    pub publish_deadline: Duration,
    /// How long to wait until every worker has left the old tables.
    pub live_deadline: Duration,
    /// How long a learned neighbor is believed.
    pub neighbor_lifetime: Duration,
    /// How often a port that could not be opened is tried again.
    pub port_retry: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            workers: 2,
            connections: 262_144,
            publish_deadline: Duration::from_millis(500),
            live_deadline: Duration::from_secs(2),
            neighbor_lifetime: Duration::from_secs(20 * 60),
            port_retry: Duration::from_secs(2),
        }
    }
}

/// What went wrong between the manager and its workers.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A worker stays inside the old tables; the operations are kept, and published with the next generation.
    #[error(transparent)]
    PublishLate(#[from] PublishLate),
    /// The generation is published, and a worker has not left the one before.
    #[error(
        "generation {generation} is published, but worker {worker} has not left the old tables after {waited:?}"
    )]
    LiveLate {
        /// The generation.
        generation: u64,
        /// The worker's number, from 0.
        worker: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// The manager has ended.
    #[error("the gateway is stopping")]
    Stopping,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A revision that is live: the times of its last steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The generation that the revision became.
    pub generation: u64,
    /// From handing over to the swap of the halves.
    pub publish: Duration,
    /// From the swap until every worker had left the old tables and every new port was open or had failed.
    pub live: Duration,
}

/// Where the port of an interface stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortStatus {
    /// The interface's name.
    pub interface: String,
    /// The port, as the configuration says it.
    pub port: String,
    /// Why it is not open; none where it is.
    pub problem: Option<String>,
}

/// What anybody may read of a running gateway without disturbing it.
#[derive(Debug, Default)]
pub struct Shared {
    counters: Vec<Arc<WorkerCounters>>,
    generation: AtomicU64,
    revision: AtomicU64,
    /// Publications that ran into their deadline.
    late: AtomicU64,
    learned: AtomicU64,
    stuck: AtomicBool,
    dead_worker: AtomicBool,
    sources: Counters,
    ports: Mutex<BTreeMap<u16, PortStatus>>,
}

impl Shared {
    /// The counters of all workers, summed.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }
    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.counters.len()
    }
    /// The generation that was published last.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }
    /// The revision that is live.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }
    /// How often a publication, or a worker leaving the old tables, was late.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }
    /// Whether the last publication is late still, or a worker has died: an alarm.
    pub fn stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) || self.dead_worker.load(Ordering::Relaxed)
    }
    /// The number of learned neighbors.
    pub fn learned_neighbors(&self) -> u64 {
        self.learned.load(Ordering::Relaxed)
    }
    /// What the sources of learned routes have counted.
    pub fn route_sources(&self) -> &Counters {
        &self.sources
    }
    /// Every interface's port, by the interface's index.
    pub fn ports(&self) -> Vec<(InterfaceIndex, PortStatus)> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports
            .iter()
            .map(|(index, status)| (InterfaceIndex(*index), status.clone()))
            .collect()
    }
    fn with_ports<T>(&self, work: impl FnOnce(&mut BTreeMap<u16, PortStatus>) -> T) -> T {
        work(&mut self.ports.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the manager is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Make a change live.
    Apply(Apply),
    /// Take over what a routing daemon said.
    Learn(Batch),
    /// Say which routes there are.
    Show(RouteQuery, SyncSender<ShownRoutes>),
    /// End.
    Stop,
}

#[derive(Debug)]
pub(crate) struct Apply {
    revision: u64,
    change: Change,
    reply: SyncSender<Result<Applied, GatewayError>>,
}

/// How long whoever applies a change stays awake for the answer.
const AWAKE: Duration = Duration::from_micros(100);

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    requests: Option<Sender<Request>>,
    inlet: Mutex<Option<RouteInlet>>,
    manager: Option<JoinHandle<()>>,
}

impl Gateway {
    /// Starts the workers and the manager, with empty tables.
    pub fn start<D: PortDriver>(config: GatewayConfig, driver: D) -> Result<Gateway, GatewayError> {
        let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::default());
        let (publisher, readers) = Publisher::new(usize::from(config.workers.max(1)));
        let mut shared = Shared::default();
        let mut links = Vec::new();
        let mut threads = Vec::new();
        let workers = readers.len() as u16;
        // The standard library's hasher is keyed anew in each process: nobody outside knows the seed.
        let hash_seed = RandomState::new().hash_one("rewire");
        for (number, reader) in (0u16..).zip(readers) {
            let graph_config = graph_config(&config, (number, workers), hash_seed);
            let graph = Graph::new(graph_config, driver.pool());
            let (command_tx, command_rx) = rtrb::RingBuffer::new(64);
            let (learned_tx, learned_rx) = rtrb::RingBuffer::new(1024);
            let (log_tx, log_rx) = rtrb::RingBuffer::new(1024);
            let to_manager = ToManager {
                learned: learned_tx,
                log: log_tx,
            };
            let worker = Worker::new(graph, reader, Arc::clone(&clock), command_rx, to_manager);
            shared.counters.push(Arc::clone(&worker.counters));
            let progress = Arc::clone(&worker.progress);
            let attach = driver.attach_thread();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let attached = attach();
                    worker.run();
                    drop(attached);
                })?;
            links.push(WorkerLink {
                progress,
                thread: thread.thread().clone(),
                commands: command_tx,
                learned: learned_rx,
                log: log_rx,
            });
            threads.push(thread);
        }
        shared
            .generation
            .store(publisher.generation(), Ordering::Relaxed);
        let shared = Arc::new(shared);
        let (requests, inbox) = mpsc::channel();
        let (routes, inlet) = LearnedRoutes::new(shared.sources.clone(), requests.clone());
        let manager = Manager {
            neighbors: LearnedNeighbors::new(config.neighbor_lifetime),
            routes,
            config,
            driver,
            publisher,
            links,
            threads,
            shared: Arc::clone(&shared),
            clock,
            revision: 0,
            to_open: Vec::new(),
            waiting: BTreeMap::new(),
            next_retry: None,
        };
        let manager = std::thread::Builder::new()
            .name("manager".to_owned())
            .spawn(move || manager.run(&inbox))?;
        Ok(Gateway {
            shared,
            requests: Some(requests),
            inlet: Mutex::new(Some(inlet)),
            manager: Some(manager),
        })
    }

    /// Makes the change that leads to a revision live, and waits until it is: every worker has left the old tables, and
    /// every new port is open or has failed. After [`GatewayError::PublishLate`] or [`GatewayError::LiveLate`] the
    /// gateway goes on with the change by itself; an empty change waits for it.
    pub fn apply(&self, revision: u64, change: impl Into<Change>) -> Result<Applied, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let requests = self.requests.as_ref().ok_or(GatewayError::Stopping)?;
        let change = change.into();
        let apply = Apply {
            revision,
            change,
            reply,
        };
        let sent = requests.send(Request::Apply(apply));
        sent.map_err(|_| GatewayError::Stopping)?;
        // The answer to a small change comes sooner than a thread falls asleep and wakes up.
        let start = Instant::now();
        while start.elapsed() < AWAKE {
            match answer.try_recv() {
                Ok(applied) => return applied,
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
                Err(TryRecvError::Disconnected) => return Err(GatewayError::Stopping),
            }
        }
        answer.recv().map_err(|_| GatewayError::Stopping)?
    }

    /// Where learned routes come in. There is one inlet: none is left for who asks second.
    pub fn route_inlet(&self) -> Option<RouteInlet> {
        let mut inlet = self.inlet.lock().unwrap_or_else(PoisonError::into_inner);
        inlet.take()
    }

    /// Who can be asked for routes; none while the gateway stops.
    pub fn route_table(&self) -> Option<RouteTable> {
        self.requests.clone().map(RouteTable)
    }

    /// What anybody may read while the gateway runs, and after.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Stops: no more packets are taken, what is held is dropped and counted, ports are closed, threads joined.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(requests) = self.requests.take() {
            // Others may still hold a way to ask. A manager that is gone has ended.
            let _ = requests.send(Request::Stop);
        }
        if let Some(manager) = self.manager.take()
            && manager.join().is_err()
        {
            tracing::error!("the manager's thread panicked");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end();
    }
}

/// The graph of one worker among several.
pub(crate) fn graph_config(
    config: &GatewayConfig,
    (worker, workers): (u16, u16),
    hash_seed: u64,
) -> GraphConfig {
    GraphConfig {
        connections: ConnectionConfig {
            capacity: config.connections,
            timeouts: Timeouts::default(),
            worker,
            workers,
            // As Linux does: connections that are older than the gateway go on.
            tcp_pickup: true,
            hash_seed,
        },
        burst: BURST,
        icmp_errors_per_second: 1000,
        acl_logs_per_second: 100,
    }
}

struct WorkerLink<B> {
    progress: Arc<Progress>,
    thread: std::thread::Thread,
    commands: rtrb::Producer<Command<B>>,
    learned: rtrb::Consumer<LearnedNeighbor>,
    log: rtrb::Consumer<AclLogEntry>,
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

struct Manager<D: PortDriver> {
    config: GatewayConfig,
    driver: D,
    publisher: Publisher,
    links: Vec<WorkerLink<BufferOf<D>>>,
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    neighbors: LearnedNeighbors,
    routes: LearnedRoutes,
    /// The revision that the operations so far lead to.
    revision: u64,
    /// Ports to be opened once their interfaces are published.
    to_open: Vec<(InterfaceIndex, PortRequest)>,
    /// Ports that could not be opened, to be tried again.
    waiting: BTreeMap<InterfaceIndex, PortRequest>,
    next_retry: Option<Instant>,
}

/// How long the manager sleeps at most, before it looks at what workers have learned.
const LOOK_EVERY: Duration = Duration::from_millis(1);

impl<D: PortDriver> Manager<D> {
    fn run(mut self, inbox: &Receiver<Request>) {
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
                request = match Instant::now() < until {
                    true => inbox.try_recv().ok(),
                    false => None,
                };
            }
            self.learn();
            self.log();
            // After the answer: nobody waits for the other half.
            self.publisher.catch_up();
            self.retry_ports();
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
            Request::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn apply(&mut self, revision: u64, change: Change) -> Result<Applied, GatewayError> {
        let start = Instant::now();
        let Change {
            operations,
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
        let neighbors = self.neighbors.follow(&operations);
        self.routes.absorb(operations, sources, &mut self.publisher);
        self.publisher.extend(neighbors);
        self.revision = revision;
        let generation = self.publish()?;
        let publish = start.elapsed();
        self.open_new_ports();
        self.wait_until_live(generation)?;
        Ok(Applied {
            generation,
            publish,
            live: start.elapsed() - publish,
        })
    }

    fn publish(&mut self) -> Result<u64, PublishLate> {
        let published = self.publisher.publish(self.config.publish_deadline);
        self.shared
            .stuck
            .store(published.is_err(), Ordering::Relaxed);
        match &published {
            Ok(generation) => {
                self.shared.generation.store(*generation, Ordering::Relaxed);
                self.shared.revision.store(self.revision, Ordering::Relaxed);
                self.neighbors.published(*generation);
                self.routes.published(self.clock.now(), &mut self.publisher);
            }
            Err(late) => {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%late, "alarm: a worker is stuck");
            }
        }
        published
    }

    fn wait_until_live(&self, generation: u64) -> Result<(), GatewayError> {
        let start = Instant::now();
        for (worker, link) in self.links.iter().enumerate() {
            let left = self.config.live_deadline.saturating_sub(start.elapsed());
            if !wait_until(left, || link.progress.has_left_before(generation)) {
                self.shared.late.fetch_add(1, Ordering::Relaxed);
                return Err(GatewayError::LiveLate {
                    generation,
                    worker,
                    waited: start.elapsed(),
                });
            }
        }
        Ok(())
    }

    /// Writes what rules of ACLs want logged.
    fn log(&mut self) {
        for link in &mut self.links {
            while let Ok(entry) = link.log.pop() {
                if let Some(tables) = self.publisher.current() {
                    entry.write(&tables);
                }
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

    /// Opens ports, and hands over to the first worker those that could be opened. Those that it does not take are closed,
    /// and tried again later.
    fn open_ports(&mut self, requests: impl IntoIterator<Item = (InterfaceIndex, PortRequest)>) {
        let mut opened = Vec::new();
        let mut handed_over = Vec::new();
        for (interface, request) in requests {
            if let Some(queue) = self.open_port(interface, request.clone()) {
                opened.push((interface, queue));
                handed_over.push((interface, request));
            }
        }
        if opened.is_empty() {
            return;
        }
        let deadline = self.config.live_deadline;
        if !self.links[0].command(Command::AddPorts(opened), deadline) {
            tracing::error!("alarm: a worker does not take its new ports");
            for (interface, request) in handed_over {
                let problem = Some("its worker does not take it".to_owned());
                self.status(interface, &request, problem);
                self.try_again_later(interface, request);
            }
        }
    }

    fn try_again_later(&mut self, interface: InterfaceIndex, request: PortRequest) {
        self.waiting.insert(interface, request);
        self.next_retry = Some(Instant::now() + self.config.port_retry);
    }

    /// Says where the port of an interface stands.
    fn status(&self, interface: InterfaceIndex, request: &PortRequest, problem: Option<String>) {
        let status = PortStatus {
            interface: request.interface.clone(),
            port: request.port.to_string(),
            problem,
        };
        self.shared
            .with_ports(|ports| ports.insert(interface.0, status));
    }

    fn open_port(
        &mut self,
        interface: InterfaceIndex,
        request: PortRequest,
    ) -> Option<Box<dyn PortQueue<BufferOf<D>>>> {
        match self.driver.open(&request) {
            Ok(queue) => {
                tracing::info!(interface = request.interface, port = %request.port, "port open");
                self.waiting.remove(&interface);
                self.status(interface, &request, None);
                Some(queue)
            }
            Err(error) => {
                if !self.waiting.contains_key(&interface) {
                    tracing::warn!(%error, "the gateway goes on with its other ports and tries again");
                }
                self.status(interface, &request, Some(error.reason));
                self.try_again_later(interface, request);
                None
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
        let number = interfaces.len();
        let (back, returned) = mpsc::sync_channel(1);
        let command = Command::RemovePorts { interfaces, back };
        // A command that is not taken is dropped, and its channel with it: then there is nothing to wait for.
        self.links[0].command(command, deadline);
        match returned.recv_timeout(deadline) {
            // Closed here, on the manager's thread: closing makes system calls.
            Ok(queues) => drop(queues),
            Err(_) => tracing::error!(
                ports = number,
                "alarm: a worker does not give its ports back"
            ),
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
        let dead = self.threads.iter().any(JoinHandle::is_finished);
        if dead && !self.shared.dead_worker.swap(true, Ordering::Relaxed) {
            tracing::error!("alarm: a worker has died, and its ports with it; restart the gateway");
        }
    }

    fn close_all_ports(&mut self) {
        let ports = self.shared.ports();
        self.close_ports(ports.into_iter().map(|(interface, _)| interface).collect());
    }

    fn stop(mut self) {
        self.close_all_ports();
        for link in &self.links {
            link.progress.stop();
            link.thread.unpark();
        }
        for (worker, thread) in self.threads.drain(..).enumerate() {
            if !wait_until(self.config.live_deadline, || thread.is_finished()) {
                tracing::error!(
                    worker,
                    "alarm: the gateway stops, and a worker does not end"
                );
            }
            if thread.join().is_err() {
                tracing::error!("a worker's thread panicked");
            }
        }
    }
}
