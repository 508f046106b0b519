//! What the gateway says about itself, for machines: `rewire status --json`.

use std::collections::BTreeMap;

use rewire_dataplane::counters::COUNTED_INTERFACES;
use rewire_dataplane::{DropReason, Totals};
use serde::{Deserialize, Serialize};

use super::Daemon;
use super::administration::{Confirmation, Event, Lock, Waiting};
use super::offload::Offload;
use super::progress::Live;
use super::route_sources::RouteSource;
use crate::view;

/// The version of [`Status`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// A gateway at one moment. Counters count from its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) version: u32,
    /// The program's version.
    pub(crate) program: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    /// The same to the nanosecond: counters of two answers, divided by the difference, are rates.
    #[serde(default)]
    pub(crate) uptime_ns: u64,
    pub(crate) store: String,
    /// The revision that every worker uses; none before the first.
    pub(crate) revision: Option<u64>,
    /// The store's last revision, as far as it was noticed.
    pub(crate) head: u64,
    /// The generation of the tables that was published last.
    pub(crate) generation: u64,
    /// The last commit that went live, and where its time went.
    pub(crate) last_live: Option<Live>,
    /// What is wrong, in words.
    pub(crate) alarm: Option<String>,
    /// The commit that goes back by itself unless it is confirmed.
    #[serde(default)]
    pub(crate) confirmation: Option<Confirmation>,
    /// Who keeps everybody else from committing.
    #[serde(default)]
    pub(crate) lock: Option<Lock>,
    /// Commits that wait for their time, or were refused when it came.
    #[serde(default)]
    pub(crate) scheduled: Vec<Waiting>,
    /// What was done by the clock since the gateway started, the last first.
    #[serde(default)]
    pub(crate) events: Vec<Event>,
    /// Whether a worker keeps the last publication from being made.
    pub(crate) stuck: bool,
    /// How often a worker kept a publication from being made, or did not leave the old tables, in time.
    pub(crate) late: u64,
    pub(crate) workers: usize,
    /// Where the time of each worker went.
    #[serde(default)]
    pub(crate) worker_times: Vec<WorkerTime>,
    /// `dpdk` or `virtual`.
    pub(crate) driver: String,
    /// Whether packets lie in hugepages; none without DPDK.
    pub(crate) hugepages: Option<bool>,
    /// Where metrics are served.
    pub(crate) metrics: Option<String>,
    /// Where the web console is served.
    #[serde(default)]
    pub(crate) console: Option<String>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) packets: Packets,
    /// Every reason for which packets can be dropped.
    pub(crate) drops: Vec<Drop>,
    pub(crate) connections: Connections,
    /// Flows in the card; none where nothing is offloaded.
    #[serde(default)]
    pub(crate) offload: Option<Offload>,
    /// Packets that each node of the graph has seen.
    pub(crate) nodes: BTreeMap<String, u64>,
    /// Packets that went from one node to another, of every edge.
    #[serde(default)]
    pub(crate) edges: Vec<Edge>,
    pub(crate) learned_neighbors: u64,
    /// The sources of learned routes.
    #[serde(default)]
    pub(crate) route_sources: Vec<RouteSource>,
    /// ICMP errors that were not sent, because too many were.
    pub(crate) icmp_suppressed: u64,
}

/// Packets that went from one node of the graph to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) packets: u64,
}

/// Where a worker's time went, since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerTime {
    /// Into bursts with packets.
    pub(crate) busy_ns: u64,
    /// Nothing came.
    pub(crate) idle_ns: u64,
}

/// An interface of the revision that is live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) port: String,
    pub(crate) open: bool,
    /// Why its port is not open.
    pub(crate) problem: Option<String>,
    /// Whether its link is up; none where its port is not open, or cannot tell.
    #[serde(default)]
    pub(crate) link: Option<bool>,
    /// How often its link has gone up or down, as the gateway has seen it.
    #[serde(default)]
    pub(crate) link_changes: u64,
    /// Whether the configuration asks for its flows to be handed to the card.
    #[serde(default)]
    pub(crate) offload: bool,
    /// Why they are not; none where there is a card that takes them.
    #[serde(default)]
    pub(crate) no_offload: Option<String>,
    /// None where there are more interfaces than are counted one by one.
    pub(crate) counters: Option<Counters>,
}

impl Interface {
    /// How its port stands, in a word or two.
    pub(crate) fn state(&self) -> &'static str {
        match (self.open, self.link) {
            (true, Some(false)) => "no link",
            (true, _) => "open",
            (false, _) => "DOWN",
        }
    }

    /// Whether packets can come and go.
    pub(crate) fn works(&self) -> bool {
        self.open && self.link != Some(false)
    }
}

/// What an interface has counted. Bytes include Ethernet headers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) received_packets: u64,
    pub(crate) received_bytes: u64,
    pub(crate) transmitted_packets: u64,
    pub(crate) transmitted_bytes: u64,
    /// Received here, and dropped.
    pub(crate) dropped_packets: u64,
}

/// The account: received + generated = transmitted + dropped + consumed + held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packets {
    pub(crate) received: u64,
    pub(crate) generated: u64,
    pub(crate) transmitted: u64,
    pub(crate) dropped: u64,
    pub(crate) consumed: u64,
    pub(crate) held: u64,
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drop {
    pub(crate) reason: String,
    pub(crate) packets: u64,
    pub(crate) description: String,
}

/// The connections that are tracked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    pub(crate) now: u64,
    pub(crate) created: u64,
    pub(crate) expired: u64,
    /// Made way for new ones where the table was full.
    #[serde(default)]
    pub(crate) evicted: u64,
    /// Checked against a new policy, and still allowed.
    pub(crate) kept_by_policy: u64,
    /// Ended by a new policy.
    pub(crate) ended_by_policy: u64,
    /// NAT mappings in use now.
    pub(crate) mappings: u64,
}

impl Packets {
    pub(crate) fn of(totals: &Totals) -> Packets {
        Packets {
            received: totals.received,
            generated: totals.generated,
            transmitted: totals.transmitted,
            dropped: totals.dropped(),
            consumed: totals.consumed,
            held: totals.held,
        }
    }

    /// The account as an equation.
    pub(crate) fn account(&self) -> String {
        format!(
            "accounted: {} in + {} generated = {} out + {} dropped + {} consumed + {} held",
            self.received, self.generated, self.transmitted, self.dropped, self.consumed, self.held
        )
    }
}

impl Daemon {
    /// The interfaces of the revision that is live, by name, with what they have counted.
    pub(crate) fn interfaces(&self, totals: &Totals) -> Vec<Interface> {
        let ports = self.shared.ports().into_iter();
        let mut interfaces: Vec<Interface> = ports
            .map(|(index, port)| {
                // The last block is shared by all interfaces beyond.
                let own = index.position() < COUNTED_INTERFACES - 1;
                let counters = own
                    .then(|| totals.interfaces.get(index.position()))
                    .flatten();
                Interface {
                    name: port.interface,
                    port: port.port,
                    open: port.problem.is_none(),
                    problem: port.problem,
                    link: port.link,
                    link_changes: port.link_changes,
                    offload: port.offload,
                    no_offload: port.no_offload.filter(|_| port.offload),
                    counters: counters.map(|counters| Counters {
                        received_packets: counters.received_packets,
                        received_bytes: counters.received_bytes,
                        transmitted_packets: counters.transmitted_packets,
                        transmitted_bytes: counters.transmitted_bytes,
                        dropped_packets: counters.dropped_packets,
                    }),
                }
            })
            .collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        interfaces
    }

    /// What the gateway says about itself. Looking costs its workers nothing.
    pub(crate) fn status(&self) -> Status {
        let uptime = self.started.elapsed();
        let totals = self.shared.totals();
        let last_live = self.progress.last_live();
        let drops = DropReason::ALL.iter().map(|reason| Drop {
            reason: reason.name().to_owned(),
            packets: totals.dropped_for(*reason),
            description: reason.description(),
        });
        let times = self.shared.worker_counters().map(|counters| WorkerTime {
            busy_ns: counters.busy_time.get(),
            idle_ns: counters.idle_time.get(),
        });
        let nodes = rewire_dataplane::Node::ALL.iter().zip(&totals.nodes);
        let edges = totals.edges().map(|(from, to, packets)| Edge {
            from: from.name().to_owned(),
            to: to.name().to_owned(),
            packets,
        });
        Status {
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: uptime.as_secs(),
            uptime_ns: view::nanoseconds(uptime),
            store: self.store.display().to_string(),
            revision: last_live.map(|live| live.revision),
            head: self.progress.head(),
            generation: self.shared.generation(),
            last_live,
            alarm: self.progress.alarm(),
            confirmation: self.administration.confirmation(),
            lock: self.administration.lock(),
            scheduled: self.administration.scheduled(),
            events: self.administration.events(),
            stuck: self.shared.stuck(),
            late: self.shared.late(),
            workers: self.shared.workers(),
            worker_times: times.collect(),
            driver: self.driver.to_owned(),
            hugepages: self.hugepages,
            metrics: self.metrics.map(|address| address.to_string()),
            console: self.console.map(|address| address.to_string()),
            interfaces: self.interfaces(&totals),
            packets: Packets::of(&totals),
            drops: drops.collect(),
            connections: Connections {
                now: totals.connections,
                created: totals.connections_created,
                expired: totals.connections_expired,
                evicted: totals.connections_evicted,
                kept_by_policy: totals.connections_kept,
                ended_by_policy: totals.connections_ended_by_policy,
                mappings: totals.mappings,
            },
            offload: Offload::of(&self.shared, &totals),
            nodes: nodes
                .map(|(node, totals)| (node.name().to_owned(), totals.packets))
                .collect(),
            edges: edges.collect(),
            learned_neighbors: self.shared.learned_neighbors(),
            route_sources: self.route_sources(),
            icmp_suppressed: totals.icmp_suppressed,
        }
    }
}
