//! Metrics for Prometheus, in the OpenMetrics text format, on loopback alone.
//!
//! Nothing is kept here but the times of commits: a scrape reads the workers' counters as they are, which costs them
//! nothing. Labels are bounded: interfaces, drop reasons, nodes, steps.

use std::fmt;
use std::io::Cursor;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use rewire_dataplane::offload::{Latencies, OffloadCounts};
use rewire_dataplane::{ConnectionState, DropReason, Node};
use tiny_http::{Header, Method, Response, Server};

use super::nat::Nat;
use super::progress::Steps;
use super::route_sources::RouteSource;
use super::{Daemon, offload};
use crate::failure::{Code, Failure};

/// The labels of a sample: names and values.
type Labels<'a> = [(&'static str, &'a str)];

/// How long each step of a commit took, over all commits.
#[derive(Clone, Debug)]
pub(crate) struct StepTimes(Family<[(&'static str, &'static str); 1], Histogram>);

impl Default for StepTimes {
    fn default() -> Self {
        // 10 µs, 40 µs … 2.6 s.
        StepTimes(Family::new_with_constructor(|| {
            Histogram::new(exponential_buckets(10e-6, 4.0, 10))
        }))
    }
}

impl StepTimes {
    /// Adds a revision that went live.
    pub(crate) fn observe(&self, steps: &Steps) {
        for (step, time) in steps.named() {
            if let Some(nanoseconds) = time {
                self.0
                    .get_or_create(&[("step", step)])
                    .observe(nanoseconds as f64 / 1e9);
            }
        }
    }
}

/// Reads the gateway at each scrape.
struct Scrape(Arc<Daemon>);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

/// One metric with all its samples.
fn metric<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    make: impl Fn(u64) -> M,
    samples: impl IntoIterator<Item = (&'a Labels<'a>, u64)>,
) -> fmt::Result {
    let mut samples = samples.into_iter().peekable();
    let Some((_, first)) = samples.peek() else {
        return Ok(());
    };
    let kind = make(*first).metric_type();
    let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        if labels.is_empty() {
            return make(value).encode(encoder);
        }
        make(value).encode(encoder.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Ports of external addresses, by what they are of: labels are those of the configuration.
fn nat_ports(e: &mut DescriptorEncoder<'_>, nat: &Nat) -> fmt::Result {
    let uses = nat.shared.iter().flat_map(|shared| {
        shared.protocols.iter().map(move |used| {
            let labels = [
                ("kind", shared.kind.as_str()),
                ("name", &shared.name),
                ("vpc", &shared.vpc),
                ("protocol", &used.protocol),
            ];
            (labels, used)
        })
    });
    let uses: Vec<_> = uses.collect();
    let in_use = uses
        .iter()
        .map(|(labels, used)| (&labels[..], used.ports_in_use));
    let help = "External ports of masquerades that are in use now";
    metric(e, "rewire_nat_ports_in_use", help, ConstGauge::new, in_use)?;
    let all = uses
        .iter()
        .filter_map(|(labels, used)| Some((&labels[..], used.ports?)));
    let help = "External ports that masquerades can give out";
    metric(e, "rewire_nat_ports", help, ConstGauge::new, all)?;
    let exhausted = uses
        .iter()
        .map(|(labels, used)| (&labels[..], used.exhausted));
    let help = "Connections that found no external port";
    metric(
        e,
        "rewire_nat_ports_exhausted",
        help,
        ConstCounter::new,
        exhausted,
    )
}

/// What became of offloads, and how long their rules took.
fn offloads(
    e: &mut DescriptorEncoder<'_>,
    counts: &OffloadCounts,
    latencies: &Latencies,
) -> fmt::Result {
    let gauges = [
        (
            "rewire_offload_flows",
            "Flows in the card, or about to be",
            counts.flows,
        ),
        ("rewire_offload_rules", "Rules in the card", counts.rules),
    ];
    for (name, help, value) in gauges {
        metric(e, name, help, ConstGauge::new, [(&[][..], value)])?;
    }
    let counters = [
        (
            "rewire_offload_installs",
            "Rules that the card was asked for",
            counts.installs,
        ),
        (
            "rewire_offload_installed",
            "Rules that the card has installed",
            counts.installed,
        ),
        (
            "rewire_offload_card_full",
            "Rules that the card had no room for",
            counts.card_full,
        ),
        (
            "rewire_offload_refused",
            "Rules that the card refused otherwise",
            counts.refused,
        ),
        (
            "rewire_offload_removals",
            "Rules that the card was asked to remove",
            counts.removals,
        ),
        (
            "rewire_offload_removed",
            "Rules that the card has removed",
            counts.removed,
        ),
        (
            "rewire_offload_ring_full",
            "Offers that the engine had no room for",
            counts.ring_full,
        ),
        (
            "rewire_offload_places_full",
            "Offers for which all places were taken",
            counts.places_full,
        ),
        (
            "rewire_offload_strays",
            "Flows whose packets passed their rules by",
            counts.strays,
        ),
        (
            "rewire_offload_packets",
            "Packets that the card has forwarded",
            counts.packets,
        ),
        (
            "rewire_offload_bytes",
            "Their bytes, from the IP header on",
            counts.bytes,
        ),
    ];
    for (name, help, value) in counters {
        metric(e, name, help, ConstCounter::new, [(&[][..], value)])?;
    }
    let mut labels = Vec::new();
    let mut values = Vec::new();
    for (step, histogram) in offload::steps(latencies) {
        for (name, share) in [("0.5", 0.5), ("0.99", 0.99)] {
            if let Some(latency) = histogram.quantile(share) {
                labels.push([("step", step), ("quantile", name)]);
                values.push(latency.as_nanos() as u64);
            }
        }
    }
    let samples = labels.iter().map(|labels| &labels[..]).zip(values);
    metric(
        e,
        "rewire_offload_latency_nanoseconds",
        "How long a step of a rule took, since the start",
        ConstGauge::new,
        samples,
    )
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let daemon = &*self.0;
        let totals = daemon.shared.totals();
        let e = &mut encoder;
        let mut gauge =
            |name, help, value: u64| metric(e, name, help, ConstGauge::new, [(&[][..], value)]);
        gauge(
            "rewire_revision",
            "The revision that every worker uses",
            daemon.shared.revision(),
        )?;
        gauge(
            "rewire_store_head",
            "The store's last revision, as far as it was noticed",
            daemon.progress.head(),
        )?;
        gauge(
            "rewire_generation",
            "The generation of the tables that was published last",
            daemon.shared.generation(),
        )?;
        gauge(
            "rewire_workers",
            "The number of workers",
            daemon.shared.workers() as u64,
        )?;
        gauge(
            "rewire_stuck",
            "1 while a worker keeps the tables from being published",
            daemon.shared.stuck().into(),
        )?;
        gauge(
            "rewire_alarm",
            "1 while the store cannot be followed",
            daemon.progress.alarm().is_some().into(),
        )?;
        gauge(
            "rewire_start_time_seconds",
            "When the gateway was started, since the Unix epoch",
            daemon.start_time,
        )?;
        gauge(
            "rewire_held_packets",
            "Packets that wait until their next hop is resolved",
            totals.held,
        )?;
        gauge(
            "rewire_connections",
            "Connections that are tracked now",
            totals.connections,
        )?;
        gauge(
            "rewire_nat_mappings",
            "NAT mappings in use now",
            totals.mappings,
        )?;
        gauge(
            "rewire_learned_neighbors",
            "Neighbors that were learned",
            daemon.shared.learned_neighbors(),
        )?;

        let mut counter =
            |name, help, value: u64| metric(e, name, help, ConstCounter::new, [(&[][..], value)]);
        counter(
            "rewire_alarms",
            "Alarms about following the store",
            daemon.progress.alarms(),
        )?;
        counter(
            "rewire_publish_late",
            "Publications that a worker kept waiting beyond their deadline",
            daemon.shared.late(),
        )?;
        counter(
            "rewire_received_packets",
            "Packets received from ports",
            totals.received,
        )?;
        counter(
            "rewire_transmitted_packets",
            "Packets handed to ports",
            totals.transmitted,
        )?;
        counter(
            "rewire_generated_packets",
            "Packets that the gateway made",
            totals.generated,
        )?;
        counter(
            "rewire_consumed_packets",
            "Packets for the gateway itself that it took in",
            totals.consumed,
        )?;
        counter(
            "rewire_icmp_suppressed",
            "ICMP errors that were not sent, because too many were",
            totals.icmp_suppressed,
        )?;
        counter(
            "rewire_learned_lost",
            "Neighbors that could not be told to the manager",
            totals.learned_lost,
        )?;
        counter(
            "rewire_bursts",
            "Bursts with at least one packet",
            totals.bursts,
        )?;
        counter(
            "rewire_connections_created",
            "Connections made",
            totals.connections_created,
        )?;
        counter(
            "rewire_connections_expired",
            "Connections that timed out",
            totals.connections_expired,
        )?;
        counter(
            "rewire_connections_evicted",
            "Connections that made way for new ones where the table was full: not established, or over",
            totals.connections_evicted,
        )?;
        counter(
            "rewire_sources_uncounted",
            "Connections that their source's limit does not count, because there are too many sources",
            totals.sources_uncounted,
        )?;
        counter(
            "rewire_connections_cleared",
            "Connections that somebody has ended by hand",
            totals.connections_cleared,
        )?;
        counter(
            "rewire_connections_kept",
            "Connections that a new policy was checked against, and that stay",
            totals.connections_kept,
        )?;
        counter(
            "rewire_connections_ended",
            "Connections that a new policy ended",
            totals.connections_ended_by_policy,
        )?;

        let states: Vec<_> = ConnectionState::ALL
            .iter()
            .map(|state| [("protocol", state.protocol()), ("state", state.name())])
            .collect();
        metric(
            e,
            "rewire_connection_states",
            "Connections that are tracked now, by state",
            ConstGauge::new,
            states
                .iter()
                .map(|labels| &labels[..])
                .zip(totals.states.iter().copied()),
        )?;

        if let Some(restored) = daemon.shared.restored() {
            let outcomes = [
                ("restored", restored.restored),
                ("over", restored.over),
                ("gone", restored.gone),
                ("not_owned", restored.not_owned),
                ("full", restored.full),
                ("clash", restored.clash),
            ];
            metric(
                e,
                "rewire_saved_connections",
                "Connections that the gateway before has saved, by what became of them",
                ConstGauge::new,
                outcomes
                    .map(|(outcome, number)| ([("outcome", outcome)], number))
                    .iter()
                    .map(|(labels, number)| (&labels[..], *number)),
            )?;
        }
        let vpcs = daemon.shared.vpc_connections();
        let labels: Vec<_> = vpcs
            .iter()
            .map(|(vpc, _)| [("vpc", vpc.as_str())])
            .collect();
        metric(
            e,
            "rewire_vpc_connections",
            "Connections that are tracked now, by the VPC that they began in",
            ConstGauge::new,
            labels
                .iter()
                .map(|labels| &labels[..])
                .zip(vpcs.iter().map(|(_, connections)| *connections)),
        )?;
        if let Some(latencies) = daemon.shared.offload_latencies() {
            offloads(e, &totals.offload, latencies)?;
        }

        // Where a worker does not answer, the other metrics say so.
        if let Ok(nat) = daemon.nat(&super::nat::Query::default()) {
            nat_ports(e, &nat)?;
        }

        let reasons: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| [("reason", reason.name())])
            .collect();
        let drops = reasons
            .iter()
            .map(|labels| &labels[..])
            .zip(totals.drops.iter().copied());
        metric(
            e,
            "rewire_dropped_packets",
            "Packets dropped, by reason",
            ConstCounter::new,
            drops,
        )?;
        let nodes: Vec<_> = Node::ALL
            .iter()
            .map(|node| [("node", node.name())])
            .collect();
        let seen = nodes
            .iter()
            .map(|labels| &labels[..])
            .zip(totals.nodes.iter().copied());
        metric(
            e,
            "rewire_node_packets",
            "Packets that a node of the graph has seen",
            ConstCounter::new,
            seen,
        )?;

        let interfaces = daemon.interfaces(&totals);
        let labels: Vec<_> = interfaces
            .iter()
            .map(|interface| [("interface", &*interface.name)])
            .collect();
        let labelled = || labels.iter().map(|labels| &labels[..]).zip(&interfaces);
        let open = labelled().map(|(labels, interface)| (labels, u64::from(interface.open)));
        metric(
            e,
            "rewire_port_open",
            "1 where the interface's port is open",
            ConstGauge::new,
            open,
        )?;
        let mut each = |name, help, field: fn(&super::status::Counters) -> u64| {
            let counted =
                labelled().filter_map(|(labels, i)| Some((labels, field(i.counters.as_ref()?))));
            metric(e, name, help, ConstCounter::new, counted)
        };
        each(
            "rewire_interface_received_packets",
            "Packets received",
            |c| c.received_packets,
        )?;
        each(
            "rewire_interface_received_bytes",
            "Bytes received, with Ethernet headers",
            |c| c.received_bytes,
        )?;
        each(
            "rewire_interface_transmitted_packets",
            "Packets handed to the port",
            |c| c.transmitted_packets,
        )?;
        each(
            "rewire_interface_transmitted_bytes",
            "Bytes handed to the port, with Ethernet headers",
            |c| c.transmitted_bytes,
        )?;
        each(
            "rewire_interface_dropped_packets",
            "Packets received here and dropped",
            |c| c.dropped_packets,
        )?;

        self.route_sources(e)?;
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("driver", daemon.driver),
        ];
        metric(
            e,
            "rewire_build_info",
            "The program",
            ConstGauge::new,
            [(&build[..], 1)],
        )
    }
}

impl Scrape {
    /// What the sources of learned routes have counted.
    fn route_sources(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.route_sources();
        let labels: Vec<_> = sources
            .iter()
            .map(|source| [("source", &*source.name)])
            .collect();
        let labelled = |field: fn(&RouteSource) -> u64| {
            let both = labels.iter().zip(&sources);
            both.map(move |(labels, source)| (&labels[..], field(source)))
        };
        for (name, help, field) in [
            (
                "rewire_route_source_connected",
                "1 while the source's routing daemon is connected",
                (|source| source.connected.into()) as fn(&RouteSource) -> u64,
            ),
            (
                "rewire_route_source_routes",
                "Routes that the source has here",
                |source| source.routes,
            ),
            (
                "rewire_route_source_held_back",
                "Routes that wait for a next hop on a link of the gateway",
                |source| source.held_back,
            ),
            (
                "rewire_route_source_stale",
                "Routes that were not said again since the daemon was last gone",
                |source| source.stale,
            ),
            (
                "rewire_route_source_refused",
                "Routes of this session that were refused because there were too many",
                |source| source.refused,
            ),
        ] {
            metric(e, name, help, ConstGauge::new, labelled(field))?;
        }
        for (name, help, field) in [
            (
                "rewire_route_source_sessions",
                "Sessions that a routing daemon began",
                (|source| source.sessions) as fn(&RouteSource) -> u64,
            ),
            (
                "rewire_route_source_messages",
                "Messages of the routing daemon",
                |source| source.messages,
            ),
            (
                "rewire_route_source_framing_errors",
                "Sessions that ended because what came were no frames",
                |source| source.framing_errors,
            ),
        ] {
            metric(e, name, help, ConstCounter::new, labelled(field))?;
        }
        let ignored: Vec<_> = sources
            .iter()
            .flat_map(|source| {
                let name = &*source.name;
                let reasons = source.ignored.iter();
                reasons
                    .map(move |(reason, count)| ([("source", name), ("reason", &**reason)], *count))
            })
            .collect();
        metric(
            e,
            "rewire_route_source_ignored",
            "Messages that had no effect, by reason",
            ConstCounter::new,
            ignored.iter().map(|(labels, count)| (&labels[..], *count)),
        )
    }
}

/// All metrics of a daemon.
pub(crate) struct Exposition(Registry);

impl Exposition {
    pub(crate) fn new(daemon: &Arc<Daemon>) -> Self {
        let mut registry = Registry::default();
        registry.register_with_unit(
            "rewire_commit_step",
            "How long the steps of a commit took",
            Unit::Seconds,
            daemon.step_times.0.clone(),
        );
        registry.register_collector(Box::new(Scrape(Arc::clone(daemon))));
        Exposition(registry)
    }

    /// The metrics as they are now.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// The seconds since the Unix epoch.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A metrics server that does not serve yet.
pub(crate) struct Metrics(Server, pub(crate) SocketAddr);

impl Metrics {
    /// Takes the address.
    pub(crate) fn bind(address: SocketAddr) -> Result<Metrics, Failure> {
        let cannot = |error: &dyn fmt::Display| {
            Failure::new(
                Code::Failed,
                format!("cannot serve metrics on {address}: {error}"),
            )
            .help("take another address with --metrics, or turn them off with --metrics off")
        };
        let listener = TcpListener::bind(address).map_err(|error| cannot(&error))?;
        let bound = listener.local_addr().map_err(|error| cannot(&error))?;
        let server = Server::from_listener(listener, None).map_err(|error| cannot(&error))?;
        Ok(Metrics(server, bound))
    }

    /// Answers until [`stop`](Self::stop).
    pub(crate) fn serve(&self, exposition: &Exposition) {
        while let Ok(request) = self.0.recv() {
            let answer = match (request.method(), request.url()) {
                (Method::Get | Method::Head, "/metrics") => match exposition.text() {
                    Ok(text) => typed(
                        200,
                        text,
                        "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    ),
                    Err(fmt::Error) => plain(500, "the metrics cannot be written\n"),
                },
                (_, "/metrics") => plain(405, "only GET\n"),
                (Method::Get, "/") => plain(200, "metrics are at /metrics\n"),
                _ => plain(404, "there is only /metrics\n"),
            };
            if let Err(error) = request.respond(answer) {
                tracing::debug!(%error, "a scrape was not answered");
            }
        }
    }

    /// Lets `serve` return.
    pub(crate) fn stop(&self) {
        self.0.unblock();
    }
}

fn plain(code: u16, body: &str) -> Response<Cursor<Vec<u8>>> {
    typed(code, body.to_owned(), "text/plain; charset=utf-8")
}

fn typed(code: u16, body: String, kind: &str) -> Response<Cursor<Vec<u8>>> {
    let response = Response::from_string(body).with_status_code(code);
    match Header::from_bytes("Content-Type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
