//! A gateway in a test tube: a document as its configuration, hosts that are functions, a clock that stands still.

// Each test file uses its own part.
#![allow(dead_code, unreachable_pub)]

pub mod nat64;
pub mod town;
pub mod traffic;
pub mod v6;

use std::net::Ipv4Addr;
use std::time::Duration;

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{BufferPool, MemoryBuffer};
use rewire_dataplane::graph::{Graph, GraphConfig, LearnedNeighbor, LogEntry, Sinks};
use rewire_dataplane::{DropReason, GatewayConfig, Resolved, Sent, VirtualGateway};
use rewire_packet::arp::{ArpOperation, ArpRepr, ArpView};
use rewire_packet::ethernet::{self, EthernetRepr, EthernetView};
use rewire_packet::icmpv4::{Icmpv4Repr, Icmpv4View};
use rewire_packet::ipv4::{Ipv4Repr, Ipv4View};
use rewire_packet::tcp::{TcpFlags, TcpRepr, TcpView};
use rewire_packet::udp::{UdpRepr, UdpView};
use rewire_packet::{EtherType, MacAddress, Protocol};
use rewire_schema::{Changeset, from_document};
use rewire_tables::{InterfaceIndex, Tables};

pub use serde_json::json;

/// The gateway's MAC addresses.
pub const BLUE_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub const RED_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
pub const WAN_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);
/// The hosts' MAC addresses, set by hand in the configuration.
pub const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 1]);
pub const UPSTREAM_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 3]);

pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 10);
pub const RED_HOST: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 10);
pub const WAN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const SITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Two VPCs behind one address.
pub fn two_vpcs() -> serde_json::Value {
    json!({
        "vpcs": {
            "blue": { "routes": {
                "0.0.0.0/0": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] },
                "10.0.0.0/8": { "type": "unreachable" },
                "192.0.2.0/24": { "type": "blackhole" },
                "::/0": { "next_hops": [{ "interface": "wan", "via": "2001:db8:f::2" }] },
                "fd00::/8": { "type": "unreachable" },
                "2001:db8:dead::/48": { "type": "blackhole" },
            } },
            "red": { "routes": {
                "0.0.0.0/0": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] },
                "10.0.0.0/8": { "type": "unreachable" },
                "::/0": { "next_hops": [{ "interface": "wan", "via": "2001:db8:f::2" }] },
                "fd00::/8": { "type": "unreachable" },
            } },
            "internet": { "routes": {
                "198.51.100.0/24": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] },
                "2001:db8:51::/48": { "next_hops": [{ "interface": "wan", "via": "2001:db8:f::2" }] },
            } },
        },
        "interfaces": {
            "blue0": {
                "vpc": "blue", "port": "null:blue", "mac": BLUE_MAC.to_string(), "offload": true,
                "addresses": ["10.1.0.1/24", "fd00:1::1/64"],
                "neighbors": {
                    "10.1.0.10": { "mac": HOST_MAC.to_string() },
                    "fd00:1::10": { "mac": HOST_MAC.to_string() },
                },
            },
            "red0": {
                "vpc": "red", "port": "null:red", "mac": RED_MAC.to_string(), "offload": true,
                "addresses": ["10.2.0.1/24", "fd00:2::1/64"],
            },
            "wan": {
                "vpc": "internet", "port": "null:wan", "mac": WAN_MAC.to_string(), "mtu": 1400, "offload": true,
                "addresses": ["203.0.113.1/24", "2001:db8:f::1/64"],
                "neighbors": {
                    "203.0.113.2": { "mac": UPSTREAM_MAC.to_string() },
                    "2001:db8:f::2": { "mac": UPSTREAM_MAC.to_string() },
                },
            },
        },
        "nat": {
            "masquerade": {
                "blue-out": { "vpc": "blue", "interface": "wan", "sources": ["10.1.0.0/24", "fd00:1::/64"] },
                "red-out": { "vpc": "red", "interface": "wan", "sources": ["10.2.0.0/24", "fd00:2::/64"] },
            },
            "port_forward": {
                "web": {
                    "protocol": "tcp",
                    "external_vpc": "internet", "external_address": "203.0.113.1", "external_port": 8080,
                    "internal_vpc": "blue", "internal_address": "10.1.0.10", "internal_port": 80,
                },
                "web6": {
                    "protocol": "tcp",
                    "external_vpc": "internet", "external_address": "2001:db8:f::1", "external_port": 8080,
                    "internal_vpc": "blue", "internal_address": "fd00:1::10", "internal_port": 80,
                },
            },
            "static": {
                "mail": {
                    "external_vpc": "internet", "external_address": "203.0.113.9",
                    "internal_vpc": "blue", "internal_address": "10.1.0.20",
                },
                "mail6": {
                    "external_vpc": "internet", "external_address": "2001:db8:f::9",
                    "internal_vpc": "blue", "internal_address": "fd00:1::20",
                },
            },
        },
    })
}

/// With room for few connections: a test makes hundreds of labs.
pub fn small(config: GatewayConfig) -> GatewayConfig {
    GatewayConfig {
        connections: 4096,
        ..config
    }
}

pub struct Lab {
    pub gateway: VirtualGateway,
    compiler: Compiler,
    revision: u64,
}

impl Lab {
    pub fn new(document: serde_json::Value) -> Self {
        Lab::with(document, GatewayConfig::default())
    }

    pub fn with(document: serde_json::Value, config: GatewayConfig) -> Self {
        Lab::of(VirtualGateway::new(&small(config)), document)
    }

    /// A lab around a gateway that is new.
    pub fn of(gateway: VirtualGateway, document: serde_json::Value) -> Self {
        let mut lab = Lab {
            gateway,
            compiler: Compiler::new(),
            revision: 0,
        };
        lab.commit(document);
        lab
    }

    /// Makes a document the next revision, incrementally, as the daemon does.
    pub fn commit(&mut self, document: serde_json::Value) {
        let next = from_document(&document).expect("a document");
        let changeset = Changeset::between(self.compiler.configuration(), &next);
        self.revision += 1;
        let compiled = self
            .compiler
            .apply(self.revision, &changeset)
            .expect("it compiles");
        self.gateway.apply(compiled.into_parts());
    }

    /// What became of connections when the last revision changed the policy.
    pub fn resolved(&self) -> Resolved {
        let resolved = self.gateway.resolved(self.revision);
        resolved.expect("no other revision has taken its place")
    }

    pub fn send(&mut self, interface: &str, frame: Vec<u8>) -> Vec<Sent> {
        self.burst([(interface, frame)])
    }

    pub fn burst<'a>(&mut self, frames: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<Sent> {
        let frames: Vec<_> = frames
            .into_iter()
            .map(|(name, frame)| (self.gateway.interface(name).expect("an interface"), frame))
            .collect();
        let sent = self.gateway.step(frames);
        let totals = self.gateway.totals();
        assert_eq!(totals.unexplained_node(), None, "{totals:?}");
        assert!(
            totals.balanced(),
            "every packet is accounted for: {totals:?}"
        );
        sent
    }

    /// Lets time pass, and timers run.
    pub fn wait(&mut self, time: Duration) -> Vec<Sent> {
        self.gateway.advance(time);
        self.burst([])
    }

    pub fn name(&self, sent: &Sent) -> String {
        let mut names = self
            .gateway
            .interfaces()
            .filter(|(_, index)| *index == sent.interface);
        names.next().expect("an interface").0.to_owned()
    }

    /// Sends one frame, of which exactly one comes out, by the interface that is said.
    pub fn through(&mut self, from: &str, frame: Vec<u8>, to: &str) -> Ip {
        Ip::of(&self.one(from, frame, to))
    }

    /// As [`through`](Self::through), for a frame of either family.
    pub fn one(&mut self, from: &str, frame: Vec<u8>, to: &str) -> Vec<u8> {
        let mut sent = self.send(from, frame);
        assert_eq!(sent.len(), 1, "one packet out; drops: {:?}", self.drops());
        let sent = sent.remove(0);
        assert_eq!(self.name(&sent), to);
        sent.frame
    }

    /// Sends one frame, which is dropped for this reason, with nothing said about it.
    pub fn dropped(&mut self, from: &str, frame: Vec<u8>, reason: DropReason) {
        let before = self.gateway.dropped_for(reason);
        let sent = self.send(from, frame);
        assert_eq!(sent, [], "nothing comes out");
        let drops = self.drops();
        assert_eq!(
            self.gateway.dropped_for(reason),
            before + 1,
            "{reason:?}; drops: {drops:?}"
        );
    }

    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        self.gateway.totals().drops().collect()
    }
}

/// A graph without a gateway around it, with room for bursts of 64, and the tables of a document.
pub fn bare_graph<P: BufferPool>(
    document: serde_json::Value,
    pool: P,
) -> (Graph<P>, Tables, Compiler) {
    let configuration = from_document(&document).expect("a document");
    let (compiler, compiled) = Compiler::compile(configuration, 1).unwrap();
    let mut tables = Tables::default();
    compiled
        .operations
        .iter()
        .for_each(|operation| tables.apply(operation));
    let connections = Config {
        capacity: 4096,
        timeouts: Timeouts::default(),
        worker: 0,
        workers: 1,
        tcp_pickup: true,
        hash_seed: 0,
    };
    let config = GraphConfig {
        connections,
        burst: 64,
        fragmented_datagrams: 1024,
        icmp_errors_per_second: 1000,
        acl_logs_per_second: 100,
        fast_path: true,
    };
    (Graph::new(config, pool), tables, compiler)
}

/// The frames that leave a graph, in their order; nothing else is kept.
#[derive(Default)]
pub struct Kept(pub Vec<MemoryBuffer>);

impl Sinks<MemoryBuffer> for Kept {
    fn transmit(&mut self, _: InterfaceIndex, buffer: MemoryBuffer) {
        self.0.push(buffer);
    }
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
    fn log(&mut self, _: LogEntry) -> bool {
        true
    }
}

/// What a test sees of an IPv4 packet. Making one checks every checksum in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    pub link: (MacAddress, MacAddress),
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub ttl: u8,
    pub transport: L4,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L4 {
    Tcp(u16, u16, TcpFlags),
    Udp(u16, u16),
    Icmp(Icmpv4Repr, Vec<u8>),
    Other(Protocol),
}

impl Ip {
    pub fn of(frame: &[u8]) -> Ip {
        let ethernet = EthernetView::new_checked(frame).expect("Ethernet");
        assert_eq!(ethernet.ether_type(), EtherType::IPV4);
        let ip = Ipv4View::new_checked(ethernet.payload()).expect("IPv4");
        ip.check_checksum().expect("a good header checksum");
        let (source, destination) = (ip.source(), ip.destination());
        let whole = !ip.more_fragments() && ip.fragment_offset() == 0;
        let transport = match ip.protocol() {
            Protocol::TCP if whole => {
                let tcp = TcpView::new_checked(ip.payload()).expect("TCP");
                assert!(
                    tcp.verify_checksum(source, destination),
                    "a good TCP checksum"
                );
                L4::Tcp(tcp.source(), tcp.destination(), tcp.flags())
            }
            Protocol::UDP if whole => {
                let udp = UdpView::new_checked(ip.payload()).expect("UDP");
                assert!(
                    udp.verify_checksum(source, destination),
                    "a good UDP checksum"
                );
                L4::Udp(udp.source(), udp.destination())
            }
            Protocol::ICMP if whole => {
                let icmp = Icmpv4View::new_checked(ip.payload()).expect("ICMP");
                assert!(icmp.verify_checksum(), "a good ICMP checksum");
                L4::Icmp(Icmpv4Repr::parse(&icmp), icmp.payload().to_vec())
            }
            other => L4::Other(other),
        };
        Ip {
            link: (ethernet.source(), ethernet.destination()),
            source,
            destination,
            ttl: ip.ttl(),
            transport,
        }
    }

    pub fn endpoints(&self) -> (Ipv4Addr, Ipv4Addr) {
        (self.source, self.destination)
    }

    pub fn ports(&self) -> (u16, u16) {
        match &self.transport {
            L4::Tcp(source, destination, _) | L4::Udp(source, destination) => {
                (*source, *destination)
            }
            other => panic!("no ports in {other:?}"),
        }
    }
}

/// A packet to be built: change what matters, then [`frame`](Self::frame).
#[derive(Clone, Debug)]
pub struct Build {
    pub link_source: MacAddress,
    pub link_destination: MacAddress,
    pub ip: Ipv4Repr,
    payload: Vec<u8>,
}

impl Build {
    pub fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        payload: Vec<u8>,
    ) -> Self {
        // Who sends tells which of the gateway's interfaces the frame is for.
        let link_destination = match source.octets() {
            [10, 1 | 64..128, ..] => BLUE_MAC,
            [10, 2, ..] => RED_MAC,
            _ => WAN_MAC,
        };
        Build {
            link_source: MacAddress([2, 0, 0, 0, 9, 9]),
            link_destination,
            ip: Ipv4Repr::new(source, destination, protocol, payload.len()),
            payload,
        }
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ip.ttl = ttl;
        self
    }

    /// Allows routers to fragment the packet.
    pub fn may_fragment(mut self) -> Self {
        self.ip.dont_fragment = false;
        self
    }

    /// The same packet with another payload.
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        self.ip.payload_len = payload.len();
        self.payload = payload.to_vec();
        self
    }

    /// The packet, from its IP header.
    pub fn packet(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.ip.buffer_len()];
        self.ip.emit(&mut bytes).expect("room");
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    pub fn frame(&self) -> Vec<u8> {
        let ethernet = EthernetRepr {
            source: self.link_source,
            destination: self.link_destination,
            ether_type: EtherType::IPV4,
        };
        let mut bytes = vec![0; ethernet::HEADER_LEN];
        ethernet.emit(&mut bytes).expect("room");
        bytes.extend(self.packet());
        bytes
    }
}

pub fn udp(
    (source, source_port): (Ipv4Addr, u16),
    (destination, destination_port): (Ipv4Addr, u16),
    data: usize,
) -> Build {
    let mut payload = vec![0x5a; 8 + data];
    UdpRepr {
        source: source_port,
        destination: destination_port,
    }
    .emit(source, destination, &mut payload)
    .expect("room");
    Build::new(source, destination, Protocol::UDP, payload)
}

pub fn tcp(
    (source, source_port): (Ipv4Addr, u16),
    (destination, destination_port): (Ipv4Addr, u16),
    flags: TcpFlags,
) -> Build {
    let repr = TcpRepr {
        source: source_port,
        destination: destination_port,
        sequence: if flags.contains(TcpFlags::SYN) {
            1000
        } else {
            1001
        },
        acknowledgment: if flags.contains(TcpFlags::ACK) {
            1001
        } else {
            0
        },
        flags,
        window: 65_535,
        urgent: 0,
        max_segment_size: None,
    };
    let mut payload = vec![0; repr.buffer_len()];
    repr.emit(source, destination, &mut payload).expect("room");
    Build::new(source, destination, Protocol::TCP, payload)
}

pub fn icmp(source: Ipv4Addr, destination: Ipv4Addr, repr: Icmpv4Repr, payload: &[u8]) -> Build {
    let mut message = vec![0; repr.buffer_len()];
    message.extend_from_slice(payload);
    repr.emit(&mut message).expect("room");
    Build::new(source, destination, Protocol::ICMP, message)
}

pub fn echo(source: Ipv4Addr, destination: Ipv4Addr, identifier: u16) -> Build {
    icmp(
        source,
        destination,
        Icmpv4Repr::EchoRequest {
            identifier,
            sequence: 1,
        },
        b"ping",
    )
}

pub fn arp_frame(link_destination: MacAddress, arp: &ArpRepr) -> Vec<u8> {
    let ethernet = EthernetRepr {
        source: arp.sender_hardware,
        destination: link_destination,
        ether_type: EtherType::ARP,
    };
    let mut bytes = vec![0; ethernet::HEADER_LEN + arp.buffer_len()];
    ethernet.emit(&mut bytes).expect("room");
    arp.emit(&mut bytes[ethernet::HEADER_LEN..]).expect("room");
    bytes
}

/// The ARP packet in a frame.
pub fn arp_of(sent: &Sent) -> ArpRepr {
    let ethernet = EthernetView::new_checked(sent.frame.as_slice()).expect("Ethernet");
    assert_eq!(ethernet.ether_type(), EtherType::ARP);
    let view = ArpView::new_checked(ethernet.payload()).expect("ARP");
    ArpRepr::parse(&view)
}

pub const ARP_REPLY: ArpOperation = ArpOperation::REPLY;
