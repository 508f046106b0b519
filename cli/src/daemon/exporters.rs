//! The exporters of the configuration: each is a thread of its own, which starts, changes and stops with the revision that
//! says so. None of them touches a worker: they read what anybody may read, and what they cannot get rid of is counted and
//! let go.

mod datagrams;
mod flows;
mod ipfix;
mod otlp;
mod register;
mod scraped;
mod sflow;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rewire_schema::Configuration;
use rewire_schema::types::ExporterType;

pub(crate) use flows::Flows;
pub(crate) use register::{Exporter, Register};

use super::Daemon;

/// How often measurements are pushed where the configuration does not say.
const INTERVAL: Duration = Duration::from_secs(10);
/// How often connections that go on are reported, likewise.
const FLOW_INTERVAL: Duration = Duration::from_secs(60);

/// What the configuration says of an exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExporterConfig {
    pub(crate) name: String,
    pub(crate) kind: ExporterType,
    pub(crate) address: SocketAddr,
    pub(crate) interval: Duration,
    /// One packet in so many is sampled.
    pub(crate) sampling: u32,
}

/// The exporters that a configuration names, in order. Cost: the exporters.
pub(crate) fn configured(configuration: &Configuration) -> Vec<ExporterConfig> {
    let rows = configuration.telemetry_exporter.values();
    rows.map(|row| ExporterConfig {
        name: row.name.to_string(),
        kind: row.exporter_type,
        address: row.address,
        interval: row.interval.map_or_else(
            || default_interval(row.exporter_type),
            |time| Duration::from_millis(time.as_millis()),
        ),
        sampling: row.sampling.unwrap_or(SAMPLING),
    })
    .collect()
}

/// One packet in so many is sampled where the configuration does not say.
const SAMPLING: u32 = 1_000;

fn default_interval(kind: ExporterType) -> Duration {
    match kind {
        ExporterType::Ipfix => FLOW_INTERVAL,
        ExporterType::Prometheus | ExporterType::Otlp | ExporterType::Sflow => INTERVAL,
    }
}

/// An exporter that runs.
struct Running {
    config: ExporterConfig,
    exporter: Arc<Exporter>,
    /// Which reader of flows it is, where it is one.
    reader: Option<u64>,
    thread: JoinHandle<()>,
}

/// The exporters that run. Dropping it stops all of them.
pub(crate) struct Exporters {
    daemon: Arc<Daemon>,
    running: BTreeMap<String, Running>,
    /// Those that were told to end. A collector that is slow must not hold a commit up.
    leaving: Vec<JoinHandle<()>>,
}

impl Exporters {
    /// None yet.
    pub(crate) fn new(daemon: &Arc<Daemon>) -> Self {
        Exporters {
            daemon: Arc::clone(daemon),
            running: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    /// Starts, changes and stops exporters until these run. Those that stay as they are are left alone.
    pub(crate) fn configure(&mut self, wanted: &[ExporterConfig]) {
        let stays = |running: &Running| wanted.contains(&running.config);
        let gone: Vec<String> = self
            .running
            .iter()
            .filter(|(_, running)| !stays(running))
            .map(|(name, _)| name.clone())
            .collect();
        // All that go first: another may take the address of one of them.
        for running in gone
            .into_iter()
            .filter_map(|name| self.running.remove(&name))
        {
            // What happens from now on is for whoever comes after it.
            if let Some(reader) = running.reader {
                self.daemon.flows.close(reader);
            }
            running.exporter.stop();
            let (name, kind) = (&running.config.name, running.config.kind);
            tracing::info!(exporter = name, %kind, "exporter stopped");
            self.daemon.exporters.remove(name);
            self.leaving.push(running.thread);
        }
        self.leaving.retain(|thread| !thread.is_finished());
        for config in wanted {
            if !self.running.contains_key(&config.name) {
                self.start(config.clone());
            }
        }
    }

    fn start(&mut self, config: ExporterConfig) {
        let exporter = Arc::new(Exporter::new(config.kind));
        let (daemon, own, told) = (
            Arc::clone(&self.daemon),
            Arc::clone(&exporter),
            config.clone(),
        );
        let reader = match config.kind {
            ExporterType::Ipfix => Some(self.daemon.flows.join(&exporter, config.interval)),
            ExporterType::Prometheus | ExporterType::Otlp | ExporterType::Sflow => None,
        };
        let thread = std::thread::Builder::new().name("exporter".to_owned());
        let work = move || match (told.kind, reader) {
            (ExporterType::Prometheus, _) => scraped::run(&daemon, &own, &told),
            (ExporterType::Otlp, _) => otlp::run(&daemon, &own, &told),
            (ExporterType::Ipfix, Some(reader)) => ipfix::run(&daemon, &own, &told, reader),
            (ExporterType::Sflow, _) => sflow::run(&daemon, &own, &told),
            // A reader of flows was made for each.
            (ExporterType::Ipfix, None) => {}
        };
        match thread.spawn(work) {
            Ok(thread) => {
                let (name, kind, address) = (&config.name, config.kind, config.address);
                tracing::info!(exporter = name, %kind, %address, "exporter started");
                self.daemon.exporters.add(name, &exporter);
                let running = Running {
                    config,
                    exporter,
                    reader,
                    thread,
                };
                self.running.insert(running.config.name.clone(), running);
            }
            Err(error) => {
                if let Some(reader) = reader {
                    self.daemon.flows.leave(reader);
                }
                tracing::error!(exporter = config.name, %error, "an exporter has no thread")
            }
        }
    }
}

impl Drop for Exporters {
    fn drop(&mut self) {
        // All at once, so that nobody waits for one after the other.
        self.running
            .values()
            .for_each(|running| running.exporter.stop());
        let running = std::mem::take(&mut self.running).into_values();
        let threads = running.map(|running| running.thread);
        for thread in threads.chain(self.leaving.drain(..)) {
            if thread.join().is_err() {
                tracing::error!("an exporter's thread panicked");
            }
        }
    }
}
