//! Each fact of a walk in words, as a person reads it.

use std::time::Duration;

use rewire_dataplane::walk::{
    AclPlace, ConnectionFact, Endpoint, Fact, Header, Onward, Relation, RouteFact, Told,
    Translation,
};
use rewire_packet::{Fragment, Protocol};
use rewire_tables::acl::{AclAction, AclScope};

use super::packet_text::End;

/// A fact as a sentence without its full stop; none where it says nothing to a person.
pub(crate) fn words(fact: &Fact) -> Option<String> {
    Some(match fact {
        Fact::Received {
            interface,
            vpc,
            ether_type,
            destination,
        } => format!("{ether_type} for {destination}, received by {interface} in VPC {vpc}"),
        Fact::Header(header) => self::header(header),
        Fact::FragmentOf { protocol, ports } => match ports {
            Some((source, destination)) => {
                format!("its datagram is {protocol}, from port {source} to port {destination}")
            }
            None => format!("its datagram is {protocol}"),
        },
        Fact::Connection {
            relation,
            connection,
        } => related(*relation, connection.as_ref()),
        Fact::Destination { by, from, to, vpc } => format!(
            "destination {} becomes {} in VPC {vpc}, by {}",
            end(*from),
            end(*to),
            translation(by)
        ),
        Fact::Excluded => "excluded: no rule of NAT is asked".to_owned(),
        Fact::ChangesFamily {
            rule,
            destination,
            vpc,
        } => {
            let by = match rule.is_empty() {
                true => "its connection".to_owned(),
                false => format!("NAT64 {rule}"),
            };
            format!("goes on to {destination} in VPC {vpc}, by {by}")
        }
        Fact::Lookup {
            vpc,
            destination,
            prefix,
            route,
        } => match prefix {
            Some(prefix) => format!(
                "{destination} in VPC {vpc}: {prefix} {}",
                self::route(route)
            ),
            None => format!("{destination} in VPC {vpc}: no route"),
        },
        Fact::TurnsRound { interface } => {
            format!("is for an address of the gateway's own outside: turns round at {interface}")
        }
        Fact::NextHop {
            interface,
            via,
            among,
        } => {
            let to = match via {
                Some(via) => format!("leaves by {interface}, to the router {via}"),
                None => format!("leaves by {interface}, to the destination itself"),
            };
            match among {
                0 | 1 => to,
                among => format!("{to}: one of {among} next hops"),
            }
        }
        Fact::Crossing { peering, from, to } => {
            format!("crosses peering {peering}, from VPC {from} into VPC {to}")
        }
        Fact::Acl {
            acl,
            place,
            rule,
            action,
            scope,
        } => {
            let place = match place {
                AclPlace::In => "in",
                AclPlace::Peering => "at the peering",
                AclPlace::Out => "out",
            };
            let what = match scope {
                AclScope::Flow => "the flow",
                AclScope::Packet => "the packet",
            };
            let says = match action {
                AclAction::Allow => "allows",
                AclAction::Deny => "denies",
                AclAction::Reject => "rejects",
            };
            match rule {
                Some(rule) => format!("ACL {acl} ({place}): rule {rule} {says} {what}"),
                None => format!("ACL {acl} ({place}): no rule matches, the default {says} {what}"),
            }
        }
        Fact::AclsPassed => "no ACL is asked: its connection was let in".to_owned(),
        Fact::HopLimit(hops) => match hops {
            0 | 1 => format!("{hops} of its hops is left: none behind this one"),
            hops => format!("{hops} hops are left"),
        },
        Fact::Neighbor {
            interface,
            address,
            mac,
            is_assumed,
        } => match (mac, is_assumed) {
            (Some(mac), false) => format!("{address} on {interface} is {mac}"),
            (Some(mac), true) => {
                format!("{address} on {interface} is not known yet; assumed to be {mac}")
            }
            (None, _) => format!("{address} on {interface} is not known"),
        },
        Fact::Length {
            packet,
            mtu,
            is_cut,
        } => match is_cut {
            true => format!("{packet} bytes are more than {mtu}: to be cut"),
            false if *packet > usize::from(*mtu) => format!("{packet} bytes are more than {mtu}"),
            false => format!("{packet} bytes of {mtu} at most"),
        },
        Fact::Source { by, from, to } => format!(
            "source {} becomes {}, by {}",
            end(*from),
            end(*to),
            translation(by)
        ),
        Fact::Began(connection) => format!("begins a connection: {}", self::connection(connection)),
        Fact::WentOn { before, connection } => {
            let now = self::connection(connection);
            match *before == connection.state {
                true => format!("its connection goes on: {now}"),
                false => format!("its connection was {}: {now}", before),
            }
        }
        Fact::Link {
            source,
            destination,
        } => format!("from {source} to {destination}"),
        Fact::Cut { fragments } => format!("cut into {fragments} fragments"),
        Fact::Answered => "answered: the answer goes on in its place".to_owned(),
        Fact::Next(onward) => return self::onward(onward),
    })
}

/// Where a packet goes that goes to no other node.
fn onward(onward: &Onward) -> Option<String> {
    Some(match onward {
        Onward::Node(_) => return None,
        Onward::Transmit(interface) => format!("leaves by {interface}"),
        Onward::ComeBack(interface) => format!("comes back, as if {interface} had received it"),
        Onward::AwaitNeighbor => "waits for its neighbor, which is asked".to_owned(),
        Onward::AwaitFragment => "waits for the first fragment of its datagram".to_owned(),
        Onward::ChangeFamily => "changes its address family".to_owned(),
        Onward::Consume => "taken in".to_owned(),
        Onward::Worker(worker) => format!("goes on at worker {worker}"),
        Onward::Drop { reason, told } => {
            let told = match told {
                Told::Nothing => "",
                Told::Error => " Its sender is told.",
                Told::Reset => " Its sender gets a TCP reset.",
            };
            format!("dropped, {}: {}{told}", reason.name(), reason.description())
        }
    })
}

fn header(header: &Header) -> String {
    let Header {
        source,
        destination,
        protocol,
        ports,
        flags,
        icmp,
        identifier,
        hop_limit,
        length,
        fragment,
    } = *header;
    let (source_port, destination_port) = ports.unzip();
    let mut text = format!(
        "{} > {}, {protocol}",
        End(source, source_port),
        End(destination, destination_port)
    );
    if let Some(flags) = flags {
        text.push_str(&format!(" {flags}"));
    }
    if let Some((message_type, code)) = icmp {
        text.push_str(&match icmp_name(protocol, message_type, code) {
            Some(name) => format!(" {name}"),
            None => format!(" type {message_type} code {code}"),
        });
    }
    if let Some(identifier) = identifier {
        text.push_str(&format!(" id {identifier}"));
    }
    text.push_str(&format!(", {hop_limit} hops to live, {length} bytes"));
    match fragment {
        Fragment::Whole => {}
        Fragment::First => text.push_str(", a first fragment"),
        Fragment::Later => text.push_str(", a later fragment"),
    }
    text
}

/// What an ICMP message says, of those that the gateway and its neighbors send (IANA "ICMP Parameters").
fn icmp_name(protocol: Protocol, message_type: u8, code: u8) -> Option<&'static str> {
    Some(match (protocol, message_type, code) {
        (Protocol::ICMP, 0, 0) | (Protocol::ICMPV6, 129, 0) => "echo reply",
        (Protocol::ICMP, 8, 0) | (Protocol::ICMPV6, 128, 0) => "echo request",
        (Protocol::ICMP, 3, 0) | (Protocol::ICMPV6, 1, 0) => "no route",
        (Protocol::ICMP, 3, 1) | (Protocol::ICMPV6, 1, 3) => "host unreachable",
        (Protocol::ICMP, 3, 2) => "protocol unreachable",
        (Protocol::ICMP, 3, 3) | (Protocol::ICMPV6, 1, 4) => "port unreachable",
        (Protocol::ICMP, 3, 4) | (Protocol::ICMPV6, 2, 0) => "packet too big",
        (Protocol::ICMP, 3, 13) | (Protocol::ICMPV6, 1, 1) => "prohibited",
        (Protocol::ICMP, 11, 0) | (Protocol::ICMPV6, 3, 0) => "time exceeded",
        (Protocol::ICMPV6, 4, 1) => "unknown next header",
        (Protocol::ICMPV6, 135, 0) => "neighbor solicitation",
        (Protocol::ICMPV6, 136, 0) => "neighbor advertisement",
        _ => return None,
    })
}

fn related(relation: Relation, connection: Option<&ConnectionFact>) -> String {
    let connection = connection.map(self::connection).unwrap_or_default();
    match relation {
        Relation::New => "of no connection: it would begin one".to_owned(),
        Relation::Established(direction) => {
            format!("of a connection, {direction} direction: {connection}")
        }
        Relation::Related(direction) => {
            format!("about a packet of a connection, goes in {direction} direction: {connection}")
        }
        Relation::Untracked => "of no connection".to_owned(),
    }
}

/// A connection: both directions, its state, and how long it is kept.
pub(crate) fn connection(connection: &ConnectionFact) -> String {
    let (vpc, source, destination) = &connection.original;
    let (reply_vpc, reply_source, reply_destination) = &connection.reply;
    let port = |(address, port): Endpoint| match has_ports(connection.protocol) {
        true => End(address, Some(port)),
        false => End(address, None),
    };
    format!(
        "{} {} > {} in VPC {vpc}, replies {} > {} in VPC {reply_vpc}, {}, {} left",
        connection.protocol,
        port(*source),
        port(*destination),
        port(*reply_source),
        port(*reply_destination),
        connection.state,
        seconds(connection.expires),
    )
}

fn has_ports(protocol: Protocol) -> bool {
    matches!(
        protocol,
        Protocol::TCP | Protocol::UDP | Protocol::ICMP | Protocol::ICMPV6
    )
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().round())
}

/// An end; a port of 0 is none.
fn end((address, port): Endpoint) -> End {
    End(address, Some(port).filter(|port| *port != 0))
}

pub(crate) fn translation(by: &Translation) -> String {
    match by {
        Translation::Connection => "its connection".to_owned(),
        Translation::PortForward(rule) => format!("port forward {rule}"),
        Translation::Static(rule) => format!("static translation {rule}"),
        Translation::Masquerade { rule, pool } => match pool.is_empty() {
            true => format!("masquerade {rule}"),
            false => format!("masquerade {rule} with pool {pool}"),
        },
        Translation::Nat64(rule) => format!("NAT64 {rule}"),
        Translation::Mapping => "the mapping of a masquerade that lets it in".to_owned(),
    }
}

fn route(route: &RouteFact) -> String {
    match route {
        RouteFact::None => "is no route".to_owned(),
        RouteFact::Forward(0 | 1) => "is forwarded".to_owned(),
        RouteFact::Forward(hops) => format!("is forwarded to one of {hops} next hops"),
        RouteFact::Vpc(vpc) => format!("leads into VPC {vpc}"),
        RouteFact::Peering { peering, vpc } => {
            format!("leads across peering {peering} into VPC {vpc}")
        }
        RouteFact::NotExposed => "is not exposed".to_owned(),
        RouteFact::Local => "is the gateway itself".to_owned(),
        RouteFact::NatExternal => "is an external address of NAT".to_owned(),
        RouteFact::SubnetBroadcast => "is the broadcast address of a subnet".to_owned(),
        RouteFact::Blackhole => "is a blackhole".to_owned(),
        RouteFact::Unreachable => "is unreachable".to_owned(),
    }
}
