//! The gateway: a manager that owns the tables and the ports, and workers that forward.
//!
//! The manager is one thread. It merges three producers into one root: revisions that the caller applies, neighbors
//! that workers learn, and routes that routing daemons say. Workers never wait for it: they speak through bounded
//! rings. Dropping the [`Gateway`] stops, joins and frees everything.

mod engine;
mod manager;
mod memory;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rewire_conntrack::offload::{Engine, Latencies};
use rewire_conntrack::{Config as ConnectionConfig, Timeouts, VpcCounts};
use rewire_feed::{Batch, Counters, RouteQuery, ShownRoutes};
use rewire_tables::{InterfaceIndex, PublishLate, Publisher, TableOperation, VpcIndex};

use crate::change::Change;
use crate::clock::{Clock, MonotonicClock};
use crate::connection_table::{ConnectionTable, Job, Names};
use crate::counters::{Totals, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::flow_recording::{FlowRecorders, RecorderChange};
use crate::graph::{Graph, GraphConfig};
use crate::learned_routes::{LearnedRoutes, RouteInlet, RouteTable};
use crate::nat_ports::ExternalAddresses;
use crate::neighbors::LearnedNeighbors;
use crate::offload::OffloadConfig;
use crate::packet_sampling::{PacketSamplers, Sampler};
use crate::peers::Peers;
use crate::port::PortDriver;
use crate::resolutions::Resolved;
use crate::rule_counts::{CountedRule, RuleCountTable, RuleRegister};
use crate::saved_connections::Restored;
use crate::table_sizes::{SizesOfTables, TableSizes};
use crate::tap::Taps;
use crate::trial::{LiveTrials, Look};
use crate::watch::{Places, Watch};
use crate::worker::{BURST, ToManager, Worker};
use engine::EngineThread;
use manager::{Manager, WorkerLink};
use memory::MemoryThread;

/// How a gateway is made.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The number of workers, at least 1. Ports are dealt out among them, and packets to the owners of their connections.
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
    /// See [`GraphConfig::fast_path`].
    pub fast_path: bool,
    /// Where connections are saved when the gateway stops, and taken over from when it starts; nowhere if none.
    pub connections_file: Option<PathBuf>,
    /// Which flows are handed to the card behind the ports, if any are; the virtual gateway asks for it only where it has a card.
    pub offload: Option<OffloadConfig>,
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
            fast_path: true,
            connections_file: None,
            offload: None,
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
    /// A worker does not do what it was asked for.
    #[error("worker {worker} does not answer")]
    WorkerSilent {
        /// The worker's number, from 0.
        worker: usize,
    },
    /// As many watch the gateway's packets as can at once.
    #[error("{} watch the gateway's packets already, and no more can at once: {}", .names.len(), .names.join(", "))]
    TooManyWatches {
        /// Who.
        names: Vec<Arc<str>>,
    },
    /// The manager has ended.
    #[error("the gateway is stopping")]
    Stopping,
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A revision that is live: the times of its last steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The generation that the revision became.
    pub generation: u64,
    /// Whether it changed the policy: then connections are resolved again, as [`Shared::resolved`] says.
    pub policy: bool,
    /// From handing over to the swap of the halves.
    pub publish: Duration,
    /// From the swap until every worker had left the old tables and every new port was open or had failed.
    pub live: Duration,
    /// From the swap until each worker had left the old tables, in their order.
    pub workers: Vec<Duration>,
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
    /// Whether its link is up; none where it is not open, or its driver cannot tell.
    pub link: Option<bool>,
    /// How often its link has gone up or down. Of the kernel's devices (af_packet, tap) every time, as the kernel counts it, a tenth of a second later
    /// at most; of other ports as far as it was seen: they are looked at ten times a second.
    pub link_changes: u64,
    /// Whether the configuration asks for its flows to be handed to the card.
    pub offload: bool,
    /// Why they are not, whatever is asked for; none where there is a card that takes them.
    pub no_offload: Option<String>,
}

/// What anybody may read of a running gateway without disturbing it.
#[derive(Debug, Default)]
pub struct Shared {
    counters: Vec<Arc<WorkerCounters>>,
    generation: AtomicU64,
    revision: AtomicU64,
    /// Publications that ran into their deadline.
    late: AtomicU64,
    /// Publications that were made.
    publications: AtomicU64,
    learned: AtomicU64,
    stuck: AtomicBool,
    dead_worker: AtomicBool,
    sources: Counters,
    ports: Mutex<BTreeMap<u16, PortStatus>>,
    restored: OnceLock<Restored>,
    vpc_names: Mutex<BTreeMap<u16, Arc<str>>>,
    /// Who watches packets.
    places: Arc<Places>,
    vpc_counts: OnceLock<Arc<[Arc<VpcCounts>]>>,
    latencies: Option<Arc<Latencies>>,
    offloading: AtomicBool,
    hash_seed: u64,
}

impl Shared {
    /// The counters of all workers, summed.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }
    /// What became of connections when a revision changed the policy, over all workers; none where another revision has taken
    /// its place. A worker that has not begun says that all of its connections are left.
    pub fn resolved(&self, revision: u64) -> Option<Resolved> {
        let mut resolved = Resolved::default();
        for worker in &self.counters {
            resolved += worker.resolved(revision)?;
        }
        Some(resolved)
    }
    /// What the hash tables, and the choice among ports and addresses of NAT, are keyed with, until the gateway stops. Whoever
    /// knows it can make connections that collide: it is for whoever may have the configuration.
    pub fn hash_seed(&self) -> u64 {
        self.hash_seed
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
    /// How often the tables were published: for a commit, or for what was learned.
    pub fn publications(&self) -> u64 {
        self.publications.load(Ordering::Relaxed)
    }
    /// What workers have counted, each for itself, in their order. Nobody else writes there.
    pub fn worker_counters(&self) -> impl Iterator<Item = &WorkerCounters> {
        self.counters.iter().map(Arc::as_ref)
    }
    /// Packets that were received by an interface and dropped, by reason; those of which there are none are left out.
    pub fn interface_drops(&self, interface: InterfaceIndex) -> Vec<(DropReason, u64)> {
        let of = |reason| {
            let workers = self.counters.iter();
            workers
                .map(|worker| worker.interface(interface).dropped_for(reason))
                .sum()
        };
        let counted = DropReason::ALL.iter().map(|reason| (*reason, of(*reason)));
        counted.filter(|(_, packets)| *packets > 0).collect()
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
    /// How long rules take to come to the card and to go; none where nothing is offloaded.
    pub fn offload_latencies(&self) -> Option<&Latencies> {
        self.latencies.as_deref()
    }
    /// Whether the revision that is live has flows handed to a card anywhere.
    pub fn is_offloading(&self) -> bool {
        self.offloading.load(Ordering::Relaxed)
    }
    /// Every interface's port, by the interface's index.
    pub fn ports(&self) -> Vec<(InterfaceIndex, PortStatus)> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports
            .iter()
            .map(|(index, status)| (InterfaceIndex(*index), status.clone()))
            .collect()
    }
    /// What became of the connections that were saved, once they have been taken over.
    pub fn restored(&self) -> Option<Restored> {
        self.restored.get().copied()
    }
    /// How many connections began in each VPC, over all workers and both families, by its name.
    pub fn vpc_connections(&self) -> Vec<(String, u64)> {
        let names = self.vpc_names.lock();
        let names = names.unwrap_or_else(PoisonError::into_inner);
        let workers = self.vpc_counts.get();
        let workers = || workers.iter().flat_map(|workers| workers.iter());
        let connections =
            |index| workers().map(move |counts| u64::from(counts.of(VpcIndex(index))));
        names
            .iter()
            .map(|(index, name)| (name.to_string(), connections(*index).sum()))
            .collect()
    }
    /// Remembers what VPCs are called.
    fn follow_vpcs(&self, operations: &[TableOperation]) {
        let names = self.vpc_names.lock();
        let mut names = names.unwrap_or_else(PoisonError::into_inner);
        for operation in operations {
            match operation {
                TableOperation::Clear => names.clear(),
                TableOperation::SetVpc { vpc, name } => {
                    names.insert(vpc.0, Arc::clone(name));
                }
                TableOperation::RemoveVpc { vpc } => {
                    names.remove(&vpc.0);
                }
                _ => {}
            }
        }
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
    /// Say what the rules of an ACL have counted, or those of all.
    CountedRules(Option<String>, SyncSender<Vec<CountedRule>>),
    /// Let a worker do something with its connections.
    Job(u16, Job),
    /// Say which external addresses are shared out.
    ExternalAddresses(SyncSender<Vec<ExternalAddresses>>),
    /// Look at the live tables.
    Look(Look),
    /// Let each worker watch packets.
    Watch(Vec<Watch>),
    /// Let no worker watch any more for this watch.
    Unwatch(u64),
    /// Let each worker sample packets.
    Sample(Vec<Box<Sampler>>),
    /// Let no worker sample any more for this sampling.
    EndSampling(u64),
    /// Let each worker record flows, or no more.
    Record(Vec<RecorderChange>),
    /// Let each worker record frames.
    Tap(Box<Taps>),
    /// Let no worker record any more for this recording.
    Untap(u64),
    /// Say what indices stand for.
    Names(SyncSender<Names>),
    /// Say how large the tables are.
    TableSizes(SyncSender<TableSizes>),
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
    /// Ends when this is dropped.
    _memory: MemoryThread,
    clock: Arc<dyn Clock>,
    connections: usize,
}

impl Gateway {
    /// Starts the workers and the manager, with empty tables.
    pub fn start<D: PortDriver>(config: GatewayConfig, driver: D) -> Result<Gateway, GatewayError> {
        Gateway::start_by(config, driver, Arc::new(MonotonicClock::default()))
    }

    /// The same by another clock, which says when what waits has waited too long: for tests, which may be slow.
    pub fn start_by<D: PortDriver>(
        config: GatewayConfig,
        mut driver: D,
        clock: Arc<dyn Clock>,
    ) -> Result<Gateway, GatewayError> {
        let (publisher, readers) = Publisher::new(usize::from(config.workers.max(1)));
        let mut shared = Shared::default();
        let mut links = Vec::new();
        let mut threads = Vec::new();
        let mut arrays = Vec::new();
        let workers = readers.len() as u16;
        // The standard library's hasher is keyed anew in each process: nobody outside knows the seed.
        let hash_seed = RandomState::new().hash_one("rewire");
        shared.hash_seed = hash_seed;
        let vpc_counts: Arc<[Arc<VpcCounts>]> = (0..workers).map(|_| Arc::default()).collect();
        let _ = shared.vpc_counts.set(Arc::clone(&vpc_counts));
        let offload = config.offload.as_ref();
        let engine = offload.and_then(|offload| {
            let card = driver.card()?;
            Some(Engine::new(card, &offload.engine(workers)))
        });
        let (engine, queues) = engine.unzip();
        let mut queues = queues.into_iter().flatten();
        let engine = match engine {
            None => None,
            Some(engine) => {
                shared.latencies = Some(engine.latencies());
                let clock = Arc::clone(&clock);
                Some(EngineThread::start(engine, clock, driver.attach_thread())?)
            }
        };
        let peers = Peers::of(usize::from(workers));
        for ((number, reader), peers) in (0u16..).zip(readers).zip(peers) {
            let graph_config = graph_config(&config, (number, workers), hash_seed);
            let graph = Graph::new(graph_config, driver.pool());
            let mut graph = graph.among(Arc::clone(&vpc_counts), number.into());
            graph.time_nodes();
            arrays.extend(graph.ahead());
            if let Some(offload) = &config.offload
                && let (Some(four), Some(six)) = (queues.next(), queues.next())
            {
                graph.enable_offload([four, six], offload.offloading());
            }
            let (command_tx, command_rx) = rtrb::RingBuffer::new(64);
            let (learned_tx, learned_rx) = rtrb::RingBuffer::new(1024);
            let (log_tx, log_rx) = rtrb::RingBuffer::new(1024);
            let (jobs_tx, jobs_rx) = rtrb::RingBuffer::new(64);
            let to_manager = ToManager {
                learned: learned_tx,
                log: log_tx,
                jobs: jobs_tx,
            };
            let clock = Arc::clone(&clock);
            let worker = Worker::new(
                (number, workers),
                graph,
                reader,
                clock,
                command_rx,
                to_manager,
            );
            let worker = worker.among(peers);
            shared.counters.push(Arc::clone(&worker.counters));
            let progress = Arc::clone(&worker.progress);
            let attach = driver.attach_thread();
            let saves = config.connections_file.is_some();
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    let attached = attach();
                    let saved = worker.run(saves);
                    drop(attached);
                    saved
                })?;
            links.push(WorkerLink {
                progress,
                thread: thread.thread().clone(),
                commands: command_tx,
                learned: learned_rx,
                log: log_rx,
                jobs: jobs_rx,
            });
            threads.push(thread);
        }
        let memory = MemoryThread::start(arrays)?;
        shared
            .generation
            .store(publisher.generation(), Ordering::Relaxed);
        let shared = Arc::new(shared);
        let (requests, inbox) = mpsc::channel();
        let (routes, inlet) = LearnedRoutes::new(shared.sources.clone(), requests.clone());
        let connections = config.connections;
        let manager = Manager {
            neighbors: LearnedNeighbors::new(config.neighbor_lifetime),
            routes,
            rules: RuleRegister::default(),
            engine,
            config,
            driver,
            publisher,
            links,
            threads,
            shared: Arc::clone(&shared),
            clock: Arc::clone(&clock),
            revision: 0,
            owners: BTreeMap::new(),
            to_open: Vec::new(),
            waiting: BTreeMap::new(),
            next_retry: None,
            next_link_look: None,
            last_link_looked_at: None,
            has_restored: false,
            recording: None,
        };
        let manager = std::thread::Builder::new()
            .name("manager".to_owned())
            .spawn(move || manager.run(&inbox))?;
        Ok(Gateway {
            shared,
            requests: Some(requests),
            inlet: Mutex::new(Some(inlet)),
            manager: Some(manager),
            _memory: memory,
            clock,
            connections,
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

    /// Who can be asked how large the tables are; none while the gateway stops.
    pub fn table_sizes(&self) -> Option<SizesOfTables> {
        self.requests.clone().map(SizesOfTables)
    }

    /// Who can be asked what rules of ACLs have counted; none while the gateway stops.
    pub fn rule_counts(&self) -> Option<RuleCountTable> {
        self.requests.clone().map(RuleCountTable)
    }

    /// Who can be asked where a packet would go; none while the gateway stops.
    pub fn live_trials(&self) -> Option<LiveTrials> {
        let places = Arc::clone(&self.shared.places);
        Some(LiveTrials::new(self.connection_table()?, places))
    }

    /// Who can be asked about connections; none while the gateway stops.
    pub fn connection_table(&self) -> Option<ConnectionTable> {
        let requests = self.requests.clone()?;
        let workers = self.shared.counters.len() as u16;
        Some(ConnectionTable { requests, workers })
    }

    /// Who can let packets be sampled; none while the gateway stops.
    pub fn packet_samplers(&self) -> Option<PacketSamplers> {
        Some(PacketSamplers {
            requests: self.requests.clone()?,
            workers: self.shared.counters.len() as u16,
        })
    }

    /// Who can let flows be recorded; none while the gateway stops.
    pub fn flow_recorders(&self) -> Option<FlowRecorders> {
        Some(FlowRecorders {
            requests: self.requests.clone()?,
            workers: self.shared.counters.len() as u16,
            connections: self.connections,
            clock: Arc::clone(&self.clock),
        })
    }

    /// What anybody may read while the gateway runs, and after.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Begins to stop, and waits for nothing: for whoever has to end when the workers have. [`stop`](Self::stop) waits.
    pub fn begin_to_stop(&self) {
        if let Some(requests) = &self.requests {
            // A manager that is gone has ended.
            let _ = requests.send(Request::Stop);
        }
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
        fragmented_datagrams: 1024,
        icmp_errors_per_second: 1000,
        acl_logs_per_second: 100,
        fast_path: config.fast_path,
    }
}
