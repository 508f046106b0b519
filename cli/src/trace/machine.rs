//! Each fact of a walk for machines.

use rewire_dataplane::walk::{
    AclPlace, ConnectionFact, Endpoint, Fact, Label, Onward, Relation, RouteFact, Told, Translation,
};
use rewire_packet::Fragment;
use rewire_tables::acl::{AclAction, AclScope};
use serde_json::{Value, json};

/// What kind of fact it is, and its operands.
pub(crate) fn machine(fact: &Fact) -> (&'static str, Value) {
    match fact {
        Fact::Received {
            interface,
            vpc,
            ether_type,
            destination,
        } => (
            "received",
            json!({
                "interface": &**interface, "vpc": &**vpc, "ether_type": ether_type.0,
                "destination": destination.to_string(),
            }),
        ),
        Fact::Header(header) => (
            "header",
            json!({
                "source": header.source, "destination": header.destination,
                "protocol": header.protocol.0,
                "source_port": header.ports.map(|(source, _)| source),
                "destination_port": header.ports.map(|(_, destination)| destination),
                "flags": header.flags.map(|flags| flags.to_string()),
                "icmp_type": header.icmp.map(|(message_type, _)| message_type),
                "icmp_code": header.icmp.map(|(_, code)| code),
                "identifier": header.identifier,
                "hop_limit": header.hop_limit, "length": header.length,
                "fragment": match header.fragment {
                    Fragment::Whole => Value::Null,
                    Fragment::First => json!("first"),
                    Fragment::Later => json!("later"),
                },
            }),
        ),
        Fact::FragmentOf { protocol, ports } => (
            "fragment_of",
            json!({
                "protocol": protocol.0,
                "source_port": ports.map(|(source, _)| source),
                "destination_port": ports.map(|(_, destination)| destination),
            }),
        ),
        Fact::Connection {
            relation,
            connection,
        } => {
            let (relation, direction) = match relation {
                Relation::New => ("new", None),
                Relation::Established(direction) => ("established", Some(direction)),
                Relation::Related(direction) => ("related", Some(direction)),
                Relation::Untracked => ("untracked", None),
            };
            let value = json!({
                "relation": relation, "direction": direction.map(|direction| direction.to_string()),
                "connection": connection.as_ref().map(self::connection),
            });
            ("connection", value)
        }
        Fact::Destination { by, from, to, vpc } => (
            "destination",
            json!({ "by": translation(by), "from": end(*from), "to": end(*to), "vpc": &**vpc }),
        ),
        Fact::Excluded => ("excluded", json!({})),
        Fact::ChangesFamily {
            rule,
            destination,
            vpc,
        } => (
            "changes_family",
            json!({ "rule": named(rule), "destination": destination, "vpc": &**vpc }),
        ),
        Fact::Lookup {
            vpc,
            destination,
            prefix,
            route,
        } => (
            "lookup",
            json!({
                "vpc": &**vpc, "destination": destination,
                "prefix": prefix.map(|prefix| prefix.to_string()), "route": self::route(route),
            }),
        ),
        Fact::TurnsRound { interface } => ("turns_round", json!({ "interface": &**interface })),
        Fact::NextHop {
            interface,
            via,
            among,
        } => (
            "next_hop",
            json!({ "interface": &**interface, "via": via, "among": among }),
        ),
        Fact::Crossing { peering, from, to } => (
            "crossing",
            json!({ "peering": &**peering, "from": &**from, "to": &**to }),
        ),
        Fact::Acl {
            acl,
            place,
            rule,
            action,
            scope,
        } => (
            "acl",
            json!({
                "acl": &**acl,
                "place": match place {
                    AclPlace::In => "in",
                    AclPlace::Peering => "peering",
                    AclPlace::Out => "out",
                },
                "rule": rule,
                "action": match action {
                    AclAction::Allow => "allow",
                    AclAction::Deny => "deny",
                    AclAction::Reject => "reject",
                },
                "scope": match scope {
                    AclScope::Flow => "flow",
                    AclScope::Packet => "packet",
                },
            }),
        ),
        Fact::AclsPassed => ("acls_passed", json!({})),
        Fact::HopLimit(hops) => ("hop_limit", json!({ "hops": hops })),
        Fact::Neighbor {
            interface,
            address,
            mac,
            is_assumed,
        } => (
            "neighbor",
            json!({
                "interface": &**interface, "address": address,
                "mac": mac.map(|mac| mac.to_string()), "assumed": is_assumed,
            }),
        ),
        Fact::Length {
            packet,
            mtu,
            is_cut,
        } => (
            "length",
            json!({ "packet": packet, "mtu": mtu, "cut": is_cut }),
        ),
        Fact::Source { by, from, to } => (
            "source",
            json!({ "by": translation(by), "from": end(*from), "to": end(*to) }),
        ),
        Fact::Began(connection) => (
            "began",
            json!({ "connection": self::connection(connection) }),
        ),
        Fact::WentOn { before, connection } => (
            "went_on",
            json!({ "before": before.to_string(), "connection": self::connection(connection) }),
        ),
        Fact::Link {
            source,
            destination,
        } => (
            "link",
            json!({ "source": source.to_string(), "destination": destination.to_string() }),
        ),
        Fact::Cut { fragments } => ("cut", json!({ "fragments": fragments })),
        Fact::Answered => ("answered", json!({})),
        Fact::Next(onward) => self::onward(onward),
    }
}

fn onward(onward: &Onward) -> (&'static str, Value) {
    match onward {
        Onward::Node(node) => ("next", json!({ "node": node.name() })),
        Onward::Transmit(interface) => ("transmitted", json!({ "interface": &**interface })),
        Onward::ComeBack(interface) => ("comes_back", json!({ "interface": &**interface })),
        Onward::AwaitNeighbor => ("awaits_neighbor", json!({})),
        Onward::AwaitFragment => ("awaits_fragment", json!({})),
        Onward::ChangeFamily => ("next", json!({ "node": "nat64" })),
        Onward::Consume => ("consumed", json!({})),
        Onward::Worker(worker) => ("handed_over", json!({ "worker": worker })),
        Onward::Drop { reason, told } => (
            "dropped",
            json!({
                "reason": reason.name(), "description": reason.description(), "told": self::told(*told),
            }),
        ),
    }
}

/// What a sender is told.
pub(crate) fn told(told: Told) -> Value {
    match told {
        Told::Nothing => Value::Null,
        Told::Error => json!("icmp_error"),
        Told::Reset => json!("tcp_reset"),
    }
}

fn connection(connection: &ConnectionFact) -> Value {
    let direction = |(vpc, source, destination): &(Label, Endpoint, Endpoint)| json!({ "vpc": &**vpc, "source": end(*source), "destination": end(*destination) });
    json!({
        "protocol": connection.protocol.0,
        "original": direction(&connection.original), "reply": direction(&connection.reply),
        "state": connection.state.to_string(), "expires_ms": connection.expires.as_millis() as u64,
    })
}

fn end((address, port): Endpoint) -> Value {
    json!({ "address": address, "port": port })
}

fn named(name: &Label) -> Option<&str> {
    Some(&**name).filter(|name| !name.is_empty())
}

fn translation(by: &Translation) -> Value {
    match by {
        Translation::Connection => json!({ "kind": "connection" }),
        Translation::PortForward(rule) => json!({ "kind": "port_forward", "rule": &**rule }),
        Translation::Static(rule) => json!({ "kind": "static", "rule": &**rule }),
        Translation::Masquerade { rule, pool } => {
            json!({ "kind": "masquerade", "rule": &**rule, "pool": named(pool) })
        }
        Translation::Nat64(rule) => json!({ "kind": "nat64", "rule": &**rule }),
        Translation::Mapping => json!({ "kind": "mapping" }),
    }
}

fn route(route: &RouteFact) -> Value {
    match route {
        RouteFact::None => Value::Null,
        RouteFact::Forward(hops) => json!({ "kind": "forward", "next_hops": hops }),
        RouteFact::Vpc(vpc) => json!({ "kind": "vpc", "vpc": &**vpc }),
        RouteFact::Peering { peering, vpc } => {
            json!({ "kind": "peering", "peering": &**peering, "vpc": &**vpc })
        }
        RouteFact::NotExposed => json!({ "kind": "not_exposed" }),
        RouteFact::Local => json!({ "kind": "local" }),
        RouteFact::NatExternal => json!({ "kind": "nat_external" }),
        RouteFact::SubnetBroadcast => json!({ "kind": "subnet_broadcast" }),
        RouteFact::Blackhole => json!({ "kind": "blackhole" }),
        RouteFact::Unreachable => json!({ "kind": "unreachable" }),
    }
}
