//! The daemon, `rewire run`: opens the store, starts the gateway, follows the journal, and says what it does on a unix
//! socket and to Prometheus.
//!
//! | thread | does |
//! |---|---|
//! | main | starts the others, waits for a signal, ends them in order |
//! | first read | reads the last revision at the start, while ports are made ready, and ends |
//! | [`follower`] | reads the journal, compiles, hands over to the gateway's manager |
//! | [`endpoint`] | takes connections; each has a thread of its own, in a bounded number |
//! | [`metrics`] | answers scrapes |
//! | [`exporters`] | one for each exporter of the configuration |
//! | [`console`] | shows a browser what the gateway does; each connection has a thread of its own, in a bounded number |
//! | [`recent`] | keeps the rates of the last minutes |
//! | [`audit`] | compares what commits have made of the tables with a whole compile, now and then |
//! | [`scrub`] | recounts what is stored, now and then |
//! | feed | hears routing daemons ([`rewire_feed::Feeds`]) |

pub(crate) mod administration;
mod audit;
mod clients;
mod commit_trace;
pub(crate) mod connections;
pub(crate) mod console;
mod endpoint;
mod exporters;
mod follower;
mod ipfix;
mod lock;
mod log;
pub(crate) mod metrics;
pub(crate) mod nat;
mod offload;
mod otlp;
mod platform;
mod progress;
mod protocol;
pub(crate) mod recent;
pub(crate) mod record;
pub(crate) mod route_sources;
pub(crate) mod routes;
pub(crate) mod rules;
mod scrub;
pub(crate) mod service;
mod sflow;
pub(crate) mod signals;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod walks;
pub(crate) mod watch;

use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rewire_configdb::Store;
use rewire_dataplane::port::faulty::Faults;
use rewire_dataplane::{
    ConnectionTable, LiveTrials, PacketSamplers, RouteTable, RuleCountTable, Shared, SizesOfTables,
};
use rewire_feed::Feeds;

pub(crate) use log::LogFormat;

use crate::failure::{Code, Failure};

/// How the daemon is started.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) store: PathBuf,
    pub(crate) socket: PathBuf,
    /// Where metrics are served; nowhere if none.
    pub(crate) metrics: Option<SocketAddr>,
    /// Where the web console is served.
    pub(crate) console: console::Where,
    pub(crate) workers: u16,
    /// Whether to use hugepages where there are some.
    pub(crate) hugepages: bool,
    pub(crate) mempool_buffers: u32,
    /// Virtual ports, even where there is DPDK.
    pub(crate) virtual_ports: bool,
    /// What is wrong with the links of all ports; nothing, but in tests.
    pub(crate) faults: Option<Faults>,
    /// Whether a card in software stands in front of all ports; not, but in tests.
    pub(crate) modelled_card: bool,
    /// Whether the tables are audited.
    pub(crate) audit: bool,
    /// How long to wait between two recounts of what is stored.
    pub(crate) scrub_every: Duration,
    /// Where connections are saved; nowhere if none.
    pub(crate) connections: Option<PathBuf>,
    /// What to log.
    pub(crate) log: String,
    /// In which form.
    pub(crate) log_format: LogFormat,
    /// Whether the log gets colours.
    pub(crate) colour: bool,
}

/// What the daemon's threads share.
pub(crate) struct Daemon {
    shared: Arc<Shared>,
    /// Who can be asked for routes.
    route_table: Option<RouteTable>,
    /// Who can be asked what rules have counted.
    rule_counts: Option<RuleCountTable>,
    /// Who can be asked how large the tables are.
    table_sizes: Option<SizesOfTables>,
    /// Who can be asked about connections.
    connection_table: Option<ConnectionTable>,
    /// Who can be asked where a packet would go.
    live_trials: Option<LiveTrials>,
    progress: progress::Progress,
    administration: administration::Administration,
    commit_steps: metrics::CommitSteps,
    commits: commit_trace::Commits,
    exporters: exporters::Register,
    flows: exporters::Flows,
    /// Who can let packets be sampled.
    packet_samplers: Option<PacketSamplers>,
    recent: recent::Recent,
    kicks: SyncSender<()>,
    started: Instant,
    /// The same by the wall clock, in seconds since the Unix epoch.
    start_time: u64,
    store: PathBuf,
    driver: &'static str,
    hugepages: Option<bool>,
    metrics: Option<SocketAddr>,
    console: Option<SocketAddr>,
}

impl Daemon {
    /// Lets the follower look at the store now.
    fn kick(&self) {
        // Where a kick waits already, that one will do.
        let _ = self.kicks.try_send(());
    }
}

/// Runs the gateway until a signal, or a fault of its own, ends it.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    log::start(&options.log, options.log_format, options.colour)?;
    let store = Store::open(&options.store)?;
    let path = store.path().to_owned();
    let audited = match options.audit {
        true => Some((audit::notes(), Store::open(&options.store)?)),
        false => None,
    };
    let scrubbed = Store::open(&options.store)?;
    let _lock = lock::StoreLock::take(&path)?;
    let (listener, endpoint) = endpoint::bind(&options.socket)?;
    let metrics = options.metrics.map(metrics::Server::bind).transpose();
    let metrics = metrics.map_err(|why| {
        Failure::new(Code::Failed, why)
            .help("take another address with --metrics, or turn them off with --metrics off")
    })?;
    let (console_listener, console_address) = console::bind(options.console)?.unzip();
    let end = signals::End::register().map_err(cannot_start)?;
    let first = follower::read_first(Store::open(&options.store)?).map_err(cannot_start)?;
    let platform = platform::Platform::start(options)?;
    let (kicks, kicked) = mpsc::sync_channel(1);
    let daemon = Arc::new(Daemon {
        shared: platform.gateway.shared(),
        route_table: platform.gateway.route_table(),
        rule_counts: platform.gateway.rule_counts(),
        table_sizes: platform.gateway.table_sizes(),
        connection_table: platform.gateway.connection_table(),
        live_trials: platform.gateway.live_trials(),
        progress: progress::Progress::default(),
        administration: administration::Administration::default(),
        commit_steps: metrics::CommitSteps::default(),
        commits: commit_trace::Commits::default(),
        exporters: exporters::Register::default(),
        flows: exporters::Flows::new(platform.gateway.flow_recorders()),
        packet_samplers: platform.gateway.packet_samplers(),
        recent: recent::Recent::default(),
        kicks,
        started: Instant::now(),
        start_time: metrics::unix_time(),
        store: path,
        driver: platform.driver,
        hugepages: platform.hugepages,
        metrics: metrics.as_ref().map(|metrics| metrics.address),
        console: console_address,
    });
    let console = console::Console::new(&daemon)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        store = %daemon.store.display(),
        socket = %options.socket.display(),
        metrics = %daemon.metrics.map_or("off".to_owned(), |address| address.to_string()),
        console = %daemon.console.map_or("off".to_owned(), |address| address.to_string()),
        workers = daemon.shared.workers(),
        driver = daemon.driver,
        "started"
    );
    let inlet = platform.gateway.route_inlet();
    let inlet = inlet.ok_or_else(|| Failure::new(Code::Failed, "learned routes have no way in"))?;
    let feeds = Feeds::start(inlet, daemon.shared.route_sources().clone()).map_err(cannot_start)?;
    let connections = clients::Clients::default();
    let browsers = clients::Clients::default();
    let requests = endpoint::Requests(&daemon);
    let outcome = thread::scope(|scope| {
        let (stop_hears, stop_says) = UnixStream::pair().map_err(cannot_start)?;
        // Whatever happens below, the threads that were started are told to end before the scope waits for them.
        let stop = Stop {
            daemon: &daemon,
            metrics: metrics.as_ref(),
            clients: stop_says,
        };
        // Behind all who speak with it. Captures end when its workers have: what they drop last is in them.
        let _gateway_ends = GatewayEnds(&platform.gateway);
        let ends = (
            end.when_dropped().map_err(cannot_start)?,
            end.when_dropped().map_err(cannot_start)?,
        );
        let (follower_ends, endpoint_ends) = ends;
        let mut follower =
            follower::Follower::new(&daemon, &platform.gateway, &feeds, store, first);
        follower.exporting(exporters::Exporters::new(&daemon));
        if let Some(((notes, notes_come), store)) = audited {
            follower.audited(notes);
            let daemon = &*daemon;
            start(scope, "audit", move || {
                audit::run(daemon, &store, &notes_come)
            })?;
        }
        let follower = start(scope, "follower", move || {
            let _ends = follower_ends;
            follower.run(&kicked);
        })?;
        let daemon = &*daemon;
        let (requests, connections) = (&requests, &connections);
        let (console, browsers) = (&console, &browsers);
        start(scope, "scrub", move || {
            scrub::run(daemon, &scrubbed, options.scrub_every)
        })?;
        start(scope, "recent", move || recent::run(daemon))?;
        let console_hears = stop_hears.try_clone().map_err(cannot_start)?;
        start(scope, "socket", move || {
            let _ends = endpoint_ends;
            clients::serve(scope, connections, listener, &stop_hears, requests);
        })?;
        if let Some(listener) = console_listener {
            start(scope, "console", move || {
                clients::serve(scope, browsers, listener, &console_hears, console)
            })?;
        }
        if let Some(metrics) = &metrics {
            start(scope, "metrics", move || metrics.serve(daemon, || {}))?;
        }
        end.wait();
        drop(stop);
        match follower.join() {
            Ok(()) => Ok(()),
            Err(_) => Err(Failure::new(
                Code::Failed,
                "the follower of the store has failed",
            )),
        }
    });
    drop(feeds);
    platform.gateway.stop();
    drop(endpoint);
    tracing::info!("stopped");
    outcome
}

/// Ends the daemon's threads when it is dropped.
struct Stop<'a> {
    daemon: &'a Daemon,
    metrics: Option<&'a metrics::Server>,
    /// Closing it is the sign for whoever serves clients.
    #[allow(dead_code, reason = "closed by being dropped")]
    clients: UnixStream,
}

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        tracing::info!("stopping");
        service::stopping();
        self.daemon.progress.stop();
        self.daemon.kick();
        if let Some(metrics) = self.metrics {
            metrics.stop();
        }
    }
}

/// Lets the gateway stop when it is dropped, and does not wait for it.
struct GatewayEnds<'a>(&'a rewire_dataplane::Gateway);

impl Drop for GatewayEnds<'_> {
    fn drop(&mut self) {
        self.0.begin_to_stop();
    }
}

/// Starts a thread of the daemon.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, ()>, Failure> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn_scoped(scope, work).map_err(cannot_start)
}

fn cannot_start(error: std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("cannot start the gateway: {error}"))
}
