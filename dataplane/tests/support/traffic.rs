//! Random packets of few connections, of all kinds, and revisions that come and go between them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rewire_conntrack::{Flow, FlowId, TimeoutClass};
use rewire_dataplane::Sent;
use rewire_packet::tcp::TcpFlags;
use rewire_tables::Address;

use super::*;

#[derive(Clone, Debug)]
pub enum Step {
    Burst(Vec<Frame>),
    Wait(u64),
    Commit(usize),
}

/// A frame of one of few connections.
#[derive(Clone, Debug)]
pub struct Frame {
    /// IPv4 or IPv6, TCP or UDP.
    pub six: bool,
    pub tcp: bool,
    /// From outside, to where the connection is translated.
    pub reply: bool,
    /// Behind the masquerade, the static translation, or the port forward; or from inside to the port forward.
    pub kind: u8,
    pub port: u16,
    pub flags: u8,
    pub size: usize,
    pub ttl: u8,
    /// What is odd about it, if anything.
    pub oddity: u8,
}

pub fn frame() -> impl Strategy<Value = Frame> {
    let flags = prop_oneof![
        1 => Just(TcpFlags::SYN.0),
        8 => Just(TcpFlags::ACK.0),
        1 => Just((TcpFlags::SYN | TcpFlags::ACK).0),
        1 => Just((TcpFlags::FIN | TcpFlags::ACK).0),
        1 => Just(TcpFlags::RST.0),
        1 => any::<u8>(),
    ];
    let size = prop_oneof![4 => 0..40_usize, 1 => 1330..1400_usize];
    let ttl = prop_oneof![8 => Just(64_u8), 1 => 0..3_u8];
    (
        (any::<bool>(), any::<bool>(), any::<bool>()),
        (0..4_u8, 4000..4002_u16),
        flags,
        size,
        ttl,
        0..24_u8,
    )
        .prop_map(
            |((six, tcp, reply), (kind, port), flags, size, ttl, oddity)| Frame {
                six,
                tcp,
                reply,
                kind,
                port,
                flags,
                size,
                ttl,
                oddity,
            },
        )
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => prop::collection::vec(frame(), 1..24).prop_map(Step::Burst),
        1 => (0..400_u64).prop_map(Step::Wait),
        1 => (0..10_usize).prop_map(Step::Commit),
    ]
}

/// Without static translations, and with a masquerade for the one host alone that had it before: if those that had a static one shared its
/// address, it would be open who of a burst has a port first.
fn masquerade_alone(document: &mut serde_json::Value) {
    document["nat"]["static"] = json!({});
    document["nat"]["masquerade"]["blue-out"]["sources"] = json!(["10.1.0.0/28", "fd00:1::/123"]);
}

/// The revisions that come and go.
pub fn document(which: usize) -> serde_json::Value {
    let mut document = two_vpcs();
    match which {
        0 => {}
        // The port forward goes.
        1 => document["nat"]["port_forward"] = json!({}),
        // Every packet is asked about.
        2 => {
            document["acls"] = json!({ "each": { "default": "allow", "rules": {
                "10": { "action": "deny", "scope": "packet", "protocol": "udp", "source_port": 4001 }
            } } });
            document["interfaces"]["blue0"]["acl_in"] = json!("each");
        }
        // The packet that begins a connection is asked about, and the rule counts all of it.
        3 => {
            document["acls"] = json!({ "guard": { "default": "allow", "rules": {
                "10": { "action": "allow", "protocol": "udp" },
                "20": { "action": "deny", "protocol": "tcp", "source_port": 4001 }
            } } });
            document["interfaces"]["blue0"]["acl_in"] = json!("guard");
        }
        // Some is excluded, some masqueraded otherwise: by protocol and port, and for few ports. There are enough for all of a burst: who
        // gets the last one of them is open.
        4 => {
            document["nat"]["exclusions"] = json!({ "some": {
                "vpc": "blue", "protocol": "udp", "source_port": 4001, "destinations": ["198.51.100.0/24", "2001:db8:51::/48"]
            } });
            document["nat"]["masquerade"]["few"] = json!({
                "vpc": "blue", "interface": "wan", "protocol": "tcp", "source_port": "4000-4001", "ports": "4000-4001",
                "sources": ["10.1.0.0/24", "fd00:1::/64"]
            });
            document["nat"]["masquerade"]["blue-out"]["idle_timeout"] = json!("100s");
            document["nat"]["port_forward"]["web"]["idle_timeout"] = json!("50s");
            document["vpcs"]["internet"]["conntrack"] = json!({ "tcp_partially_open": "20s" });
            document["nat"]["port_forward"]["web"]["sources"] = json!(["198.51.100.128/25"]);
        }
        // Whole prefixes are translated, one of them as NPTv6, which comes before the masquerade.
        5 => {
            document["nat"]["static"]["mail"]["external_address"] = json!("203.0.113.8/30");
            document["nat"]["static"]["mail"]["internal_address"] = json!("10.1.0.20/30");
            document["nat"]["static"]["mail6"] = json!({
                "external_vpc": "internet", "external_address": "2001:db8:e::/48",
                "internal_vpc": "blue", "internal_address": "fd00:1::/48", "nptv6": true,
            });
        }
        // Nothing that comes in or leaves outside is offloaded any more.
        6 => document["interfaces"]["wan"]["offload"] = json!(false),
        // Nothing is asked before the masquerade: connections begin at once.
        7 => masquerade_alone(&mut document),
        // Besides, what begins outside is asked about and counted, what begins inside is not.
        8 => {
            masquerade_alone(&mut document);
            document["acls"] = json!({ "guard": { "default": "allow", "rules": {
                "10": { "action": "allow", "protocol": "udp" },
                "20": { "action": "allow", "protocol": "tcp" }
            } } });
            document["interfaces"]["wan"]["acl_in"] = json!("guard");
        }
        // Blue's way out is another.
        _ => {
            document["vpcs"]["blue"]["routes"]["198.51.100.0/25"] = json!({ "type": "unreachable" })
        }
    }
    document
}

pub fn build(frame: &Frame, number: u16) -> (&'static str, Vec<u8>) {
    let flags = TcpFlags(frame.flags);
    let inside = [HOST, Ipv4Addr::new(10, 1, 0, 20), HOST, HOST][usize::from(frame.kind)];
    let outside = [WAN, Ipv4Addr::new(203, 0, 113, 9), WAN, WAN][usize::from(frame.kind)];
    let inside6 = [
        v6::HOST,
        Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x20),
        v6::HOST,
        v6::HOST,
    ];
    let outside6 = [v6::WAN, v6::MAIL, v6::WAN, v6::WAN];
    let (inside6, outside6) = (
        inside6[usize::from(frame.kind)],
        outside6[usize::from(frame.kind)],
    );
    // The port forward is told by its port.
    let (inner, outer) = match frame.kind {
        2 => (80, 8080),
        _ => (frame.port, frame.port),
    };
    let far = 53 + frame.port % 2;
    let turns = frame.kind == 3;
    let mut bytes = if frame.six {
        let (source, destination) = match frame.reply {
            false if turns => ((inside6, inner), (outside6, 8080)),
            true if turns => ((inside6, 80), (outside6, outer)),
            false => ((inside6, inner), (v6::SITE, far)),
            true => ((v6::SITE, far), (outside6, outer)),
        };
        let build = match frame.tcp {
            true => v6::tcp(source, destination, flags),
            false => v6::udp(source, destination, frame.size),
        };
        build.hops(frame.ttl).frame()
    } else {
        let (source, destination) = match frame.reply {
            false if turns => ((inside, inner), (outside, 8080)),
            true if turns => ((inside, 80), (outside, outer)),
            false => ((inside, inner), (SITE, far)),
            true => ((SITE, far), (outside, outer)),
        };
        let mut build = match frame.tcp {
            true => tcp(source, destination, flags),
            false => udp(source, destination, frame.size),
        };
        build.ip.identification = number;
        build.ip.dont_fragment = frame.oddity != 1;
        build.ip.more_fragments = frame.oddity == 2;
        build.ttl(frame.ttl).frame()
    };
    match frame.oddity {
        // Ethernet's padding.
        3 => bytes.resize(bytes.len() + 7, 0xee),
        // A bad checksum, or anything else that is wrong, in the IP header or behind.
        4..7 => {
            let at = 14 + usize::from(number) % (bytes.len() - 14);
            bytes[at] ^= 1 << (number % 8);
        }
        7 => bytes.truncate(bytes.len() - 3),
        8 => bytes[0] ^= 2,
        // A sequence or acknowledgment number from elsewhere, perhaps outside of the windows.
        9..12 if frame.tcp => {
            let numbers = 14 + if frame.six { 40 } else { 20 } + 4;
            bytes[numbers + usize::from(number) % 8] ^= 1 << (number / 8 % 8);
        }
        _ => {}
    }
    let interface = if frame.reply && !turns {
        "wan"
    } else {
        "blue0"
    };
    (interface, bytes)
}

/// What leaves between two ends, in its order.
pub fn by_ends(sent: Vec<Sent>) -> BTreeMap<(u16, Vec<u8>), Vec<Vec<u8>>> {
    let mut pairs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Sent { interface, frame } in sent {
        let (addresses, protocol) = match frame[12..14] {
            [0x08, 0x00] => (26..34, frame[23]),
            [0x86, 0xdd] => (22..54, frame[20]),
            _ => (0..0, 0),
        };
        let has_ports = matches!(protocol, 6 | 17);
        let end = addresses.end + if has_ports { 4 } else { 0 };
        // TCP and UDP between the same ports are two connections, and so in no order with each other.
        let mut ends = frame[addresses.start..end].to_vec();
        ends.push(protocol);
        pairs.entry((interface.0, ends)).or_default().push(frame);
    }
    pairs
}

/// The connections, without where they lie, and without the numbers of their time-outs: these are dealt out in the order in which
/// connections are looked at. When each ends is there.
pub fn connections(lab: &Lab) -> Vec<String> {
    fn described<A: Address>((_, mut flow): (FlowId, Flow<A>)) -> String {
        flow.admission.timeouts = TimeoutClass::default();
        format!("{flow:?}")
    }
    let graph = lab.gateway.graph();
    let four = graph.connections4().iter().map(described);
    let six = graph.connections6().iter().map(described);
    let mut all: Vec<_> = four.chain(six).collect();
    all.sort();
    all
}

/// Opens every connection that frames are of.
pub fn opening() -> Vec<Step> {
    let mut steps = Vec::new();
    for (six, tcp) in [(false, false), (false, true), (true, false), (true, true)] {
        for (kind, port) in [
            (0, 4000),
            (0, 4001),
            (1, 4000),
            (1, 4001),
            (2, 4000),
            (2, 4001),
            (3, 4000),
            (3, 4001),
        ] {
            // The port forward is opened from outside.
            for (step, flags) in [
                (0, TcpFlags::SYN),
                (1, TcpFlags::SYN | TcpFlags::ACK),
                (2, TcpFlags::ACK),
            ] {
                steps.push(Step::Burst(vec![Frame {
                    six,
                    tcp,
                    reply: (step % 2 == 1) != (kind == 2),
                    kind,
                    port,
                    flags: flags.0,
                    size: 4,
                    ttl: 64,
                    oddity: 9,
                }]));
            }
        }
    }
    steps
}
