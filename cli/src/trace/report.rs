//! A walk as it is told: to people, to machines, and over the gateway's socket.

use ipnet::IpNet;
use rewire_dataplane::walk::{Fact, Outcome, RouteFact, Step, Translation};
use rewire_packet::MacAddress;
use rewire_tables::Tables;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::packet_text::PacketText;
use super::{Walked, machine, words};

/// A walk, told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The revision of the tables.
    pub(crate) revision: u64,
    /// The packet, in words where there are any for it.
    pub(crate) packet: Option<String>,
    /// The interface that received it.
    pub(crate) interface: String,
    /// The frame, in hexadecimal digits.
    pub(crate) frame: String,
    /// What the nodes decided.
    pub(crate) steps: Vec<StepReport>,
    /// What became of it.
    pub(crate) outcome: OutcomeReport,
    /// What left because of it.
    pub(crate) sent: Vec<SentReport>,
}

/// What a node decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepReport {
    /// The node.
    pub(crate) node: String,
    /// Whether it is about an answer that the gateway made.
    pub(crate) own: bool,
    /// What kind of fact it is.
    pub(crate) fact: String,
    /// In words; none where it says nothing to people.
    pub(crate) text: Option<String>,
    /// Its operands.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub(crate) details: Value,
    /// The path of the object that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<Vec<String>>,
    /// The rows that it comes from, with who changed them; filled by who has the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) rows: Vec<Value>,
}

/// The path of the object that a fact comes from; none where it is no object's, or that is said beside it.
fn source(fact: &Fact, tables: &Tables) -> Option<Vec<String>> {
    let path = |steps: &[&str]| Some(steps.iter().map(|step| (*step).to_owned()).collect());
    let nat = |by: &Translation| match by {
        Translation::PortForward(rule) => path(&["nat", "port_forward", rule]),
        Translation::Static(rule) => path(&["nat", "static", rule]),
        Translation::Masquerade { rule, .. } => path(&["nat", "masquerade", rule]),
        Translation::Nat64(rule) => path(&["nat", "nat64", rule]),
        Translation::Connection | Translation::Mapping => None,
    };
    match fact {
        Fact::Lookup {
            vpc,
            prefix: Some(prefix),
            route,
            ..
        } => match address(tables, vpc, *prefix, route) {
            Some((interface, address)) => path(&["interfaces", &interface, "addresses", &address]),
            None => path(&["vpcs", vpc, "routes", &prefix.to_string()]),
        },
        Fact::Acl { acl, rule, .. } => match rule {
            Some(rule) => path(&["acls", acl, "rules", &rule.to_string()]),
            None => path(&["acls", acl]),
        },
        Fact::Destination { by, .. } | Fact::Source { by, .. } => nat(by),
        Fact::ChangesFamily { rule, .. } if !rule.is_empty() => path(&["nat", "nat64", rule]),
        Fact::Crossing { peering, .. } => path(&["peerings", peering]),
        _ => None,
    }
}

/// The interface and its address that a route comes from: one to a subnet, or to the gateway itself.
fn address(
    tables: &Tables,
    vpc: &str,
    prefix: IpNet,
    route: &RouteFact,
) -> Option<(String, String)> {
    let is_subnet = match route {
        RouteFact::Forward(_) => true,
        RouteFact::Local | RouteFact::SubnetBroadcast => false,
        _ => return None,
    };
    tables
        .interfaces()
        .filter(|(_, interface)| tables.vpc(interface.vpc).name() == vpc)
        .find_map(|(_, interface)| {
            let is_its = |address: &&IpNet| match is_subnet {
                true => address.trunc() == prefix,
                false => address.addr() == prefix.addr() || address.broadcast() == prefix.addr(),
            };
            let address = interface.addresses.iter().find(is_its)?;
            Some((interface.name.to_string(), address.to_string()))
        })
}

/// What became of a packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OutcomeReport {
    /// forwarded, answered, consumed, held, handed_over, dropped or unknown.
    pub(crate) kind: String,
    /// The interface that it, or its answer, left by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interface: Option<String>,
    /// The node that dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Why it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl OutcomeReport {
    fn of(outcome: Option<&Outcome>) -> OutcomeReport {
        let by = |kind: &str, interface: &str| OutcomeReport {
            kind: kind.to_owned(),
            interface: Some(interface.to_owned()),
            ..OutcomeReport::default()
        };
        let plain = |kind: &str| OutcomeReport {
            kind: kind.to_owned(),
            ..OutcomeReport::default()
        };
        match outcome {
            Some(Outcome::Forwarded(interface)) => by("forwarded", interface),
            Some(Outcome::Answered(interface)) => by("answered", interface),
            Some(Outcome::Consumed) => plain("consumed"),
            Some(Outcome::Held) => plain("held"),
            Some(Outcome::HandedOver(_)) => plain("handed_over"),
            Some(Outcome::Dropped { node, reason, .. }) => OutcomeReport {
                node: Some(node.name().to_owned()),
                reason: Some(reason.name().to_owned()),
                ..plain("dropped")
            },
            None => plain("unknown"),
        }
    }
}

/// A frame that left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentReport {
    /// By this interface.
    pub(crate) interface: String,
    /// In words, where there are any for it.
    pub(crate) packet: Option<String>,
    /// In hexadecimal digits.
    pub(crate) frame: String,
    /// How it differs from the packet that came.
    pub(crate) changes: Vec<ChangeReport>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ChangeReport {
    /// Which.
    pub(crate) field: String,
    /// As it came.
    pub(crate) before: String,
    /// As it left.
    pub(crate) after: String,
}

impl Report {
    /// Tells a walk over these tables.
    pub(crate) fn of(walked: &Walked, tables: &Tables) -> Report {
        let own = tables
            .interface(walked.ingress)
            .map_or(MacAddress::ZERO, |i| i.mac);
        let came = PacketText::of_frame(&walked.frame, own).map(|packet| PacketText {
            interface: Some(walked.interface.clone()),
            ..packet
        });
        let steps = &walked.walk.steps;
        let is_forwarded = matches!(walked.walk.outcome, Some(Outcome::Forwarded(_)));
        let sent = walked.walk.sent.iter().map(|(interface, frame)| {
            let left = PacketText::of_frame(frame, MacAddress::ZERO);
            let changes = match (&came, &left) {
                (Some(came), Some(left)) if is_forwarded => changes(came, left, own),
                // What the gateway makes itself is compared with nothing.
                _ => Vec::new(),
            };
            // Of the link's addresses, the changes tell.
            let text = left.map(|left| PacketText {
                link_source: None,
                link_destination: None,
                ..left
            });
            SentReport {
                interface: interface.to_string(),
                packet: text.map(|text| text.to_string()),
                frame: hexadecimal(frame),
                changes,
            }
        });
        Report {
            revision: tables.revision(),
            packet: came.as_ref().map(PacketText::to_string),
            interface: walked.interface.clone(),
            frame: hexadecimal(&walked.frame),
            steps: steps.iter().map(|fact| step(fact, tables)).collect(),
            outcome: OutcomeReport::of(walked.walk.outcome.as_ref()),
            sent: sent.collect(),
        }
    }
}

/// A step, told.
pub(crate) fn step(step: &Step, tables: &Tables) -> StepReport {
    let (fact, details) = machine::machine(&step.fact);
    StepReport {
        node: step.node.name().to_owned(),
        own: step.is_own,
        fact: fact.to_owned(),
        text: words::words(&step.fact),
        details,
        source: source(&step.fact, tables),
        rows: Vec::new(),
    }
}

/// How a packet that left differs from the one that came.
fn changes(came: &PacketText, left: &PacketText, own: MacAddress) -> Vec<ChangeReport> {
    let mut changes = Vec::new();
    let mut compare = |field: &str, before: String, after: String| {
        if before != after {
            changes.push(ChangeReport {
                field: field.to_owned(),
                before,
                after,
            });
        }
    };
    let (came_ports, left_ports) = (came.upper.ports(), left.upper.ports());
    let end = |address, port: Option<u16>| super::packet_text::End(address, port).to_string();
    compare(
        "source",
        end(came.source, came_ports.map(|(port, _)| port)),
        end(left.source, left_ports.map(|(port, _)| port)),
    );
    compare(
        "destination",
        end(came.destination, came_ports.map(|(_, port)| port)),
        end(left.destination, left_ports.map(|(_, port)| port)),
    );
    let plain = |packet: &PacketText| packet.upper.protocol(packet.source).to_string();
    compare("protocol", plain(came), plain(left));
    let identifier = |packet: &PacketText| match packet.upper {
        super::packet_text::Upper::Icmp { identifier, .. } => identifier.to_string(),
        _ => String::new(),
    };
    compare("icmp identifier", identifier(came), identifier(left));
    compare(
        "hops to live",
        came.hop_limit.to_string(),
        left.hop_limit.to_string(),
    );
    compare(
        "length",
        came.total_len().to_string(),
        left.total_len().to_string(),
    );
    let mac = |mac: Option<MacAddress>, default: MacAddress| mac.unwrap_or(default).to_string();
    compare(
        "source MAC",
        mac(came.link_source, super::packet_text::SENDER),
        mac(left.link_source, super::packet_text::SENDER),
    );
    compare(
        "destination MAC",
        mac(came.link_destination, own),
        mac(left.link_destination, MacAddress::ZERO),
    );
    changes
}

/// Bytes in hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
