//! The IPv6 half of the test tube: what [`super`] has for IPv4.

use std::net::Ipv6Addr;

use rewire_packet::ethernet::{self, EthernetRepr, EthernetView};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr, Icmpv6View};
use rewire_packet::ipv6::{self, Ipv6Repr, Ipv6View};
use rewire_packet::ndp::{NdpRepr, solicited_node};
use rewire_packet::tcp::{TcpFlags, TcpRepr, TcpView};
use rewire_packet::udp::{UdpRepr, UdpView};
use rewire_packet::{EtherType, Fragment, MacAddress, Protocol};

use super::{BLUE_MAC, Lab, RED_MAC, WAN_MAC};

const fn address(segments: [u16; 3], last: u16) -> Ipv6Addr {
    let [a, b, c] = segments;
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, last)
}

pub const HOST: Ipv6Addr = address([0xfd00, 1, 0], 0x10);
pub const BLUE: Ipv6Addr = address([0xfd00, 1, 0], 1);
/// Has a static translation to [`MAIL`].
pub const SERVER: Ipv6Addr = address([0xfd00, 1, 0], 0x20);
pub const RED_HOST: Ipv6Addr = address([0xfd00, 2, 0], 0x10);
pub const RED: Ipv6Addr = address([0xfd00, 2, 0], 1);
pub const WAN: Ipv6Addr = address([0x2001, 0xdb8, 0xf], 1);
pub const MAIL: Ipv6Addr = address([0x2001, 0xdb8, 0xf], 9);
pub const UPSTREAM: Ipv6Addr = address([0x2001, 0xdb8, 0xf], 2);
pub const SITE: Ipv6Addr = address([0x2001, 0xdb8, 0x51], 1);
pub const ALL_NODES: Ipv6Addr = address([0xff02, 0, 0], 1);
/// The link-local address of `blue0`, from its MAC address.
pub const BLUE_LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);
/// A host's on the link of `blue0`.
pub const HOST_LINK_LOCAL: Ipv6Addr = address([0xfe80, 0, 0], 0x10);

/// What a test sees of an IPv6 packet. Making one checks the checksum in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    pub link: (MacAddress, MacAddress),
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub hop_limit: u8,
    pub transport: L4,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum L4 {
    Tcp(u16, u16, TcpFlags),
    Udp(u16, u16),
    Ndp(NdpRepr),
    Icmp(Icmpv6Repr, Vec<u8>),
    Other(Protocol),
}

impl Ip {
    pub fn of(frame: &[u8]) -> Ip {
        let ethernet = EthernetView::new_checked(frame).expect("Ethernet");
        assert_eq!(ethernet.ether_type(), EtherType::IPV6);
        let packet = ethernet.payload();
        let ip = Ipv6View::new_checked(packet).expect("IPv6");
        assert_eq!(ip.total_len(), packet.len(), "nothing behind the packet");
        let header = ip.ip_header().expect("extension headers");
        let (source, destination) = (header.source, header.destination);
        let payload = header.upper_layer(packet);
        let transport = match header.protocol {
            _ if header.fragment != Fragment::Whole => L4::Other(header.protocol),
            Protocol::TCP => {
                let tcp = TcpView::new_checked(payload).expect("TCP");
                assert!(tcp.verify_checksum(source, destination), "TCP checksum");
                L4::Tcp(tcp.source(), tcp.destination(), tcp.flags())
            }
            Protocol::UDP => {
                let udp = UdpView::new_checked(payload).expect("UDP");
                assert!(udp.verify_checksum(source, destination), "UDP checksum");
                L4::Udp(udp.source(), udp.destination())
            }
            Protocol::ICMPV6 => {
                let icmp = Icmpv6View::new_checked(payload).expect("ICMPv6");
                assert!(icmp.verify_checksum(source, destination), "ICMPv6 checksum");
                match NdpRepr::parse(&icmp, &header) {
                    Ok(message) => L4::Ndp(message),
                    Err(_) => L4::Icmp(Icmpv6Repr::parse(&icmp), icmp.payload().to_vec()),
                }
            }
            other => L4::Other(other),
        };
        Ip {
            link: (ethernet.source(), ethernet.destination()),
            source,
            destination,
            hop_limit: header.hop_limit,
            transport,
        }
    }

    pub fn endpoints(&self) -> (Ipv6Addr, Ipv6Addr) {
        (self.source, self.destination)
    }

    pub fn ports(&self) -> (u16, u16) {
        match self.transport {
            L4::Tcp(source, destination, _) | L4::Udp(source, destination) => (source, destination),
            ref other => panic!("no ports in {other:?}"),
        }
    }

    pub fn error(&self) -> Icmpv6Error {
        match self.transport {
            L4::Icmp(Icmpv6Repr::Error(error), _) => error,
            ref other => panic!("no ICMPv6 error: {other:?}"),
        }
    }

    pub fn ndp(&self) -> NdpRepr {
        match self.transport {
            L4::Ndp(message) => message,
            ref other => panic!("no neighbor discovery: {other:?}"),
        }
    }
}

impl Lab {
    /// Sends one frame, of which exactly one IPv6 frame comes out, by the interface that is said.
    pub fn through6(&mut self, from: &str, frame: Vec<u8>, to: &str) -> Ip {
        Ip::of(&self.one(from, frame, to))
    }
}

/// A packet to be built: change what matters, then [`frame`](Self::frame).
#[derive(Clone, Debug)]
pub struct Build {
    pub link_source: MacAddress,
    pub link_destination: MacAddress,
    pub ip: Ipv6Repr,
    payload: Vec<u8>,
}

impl Build {
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr, next: Protocol, payload: Vec<u8>) -> Self {
        // Who sends tells which of the gateway's interfaces the frame is for.
        let link_destination = match source.segments() {
            _ if destination.is_multicast() => MacAddress::from_ipv6_multicast(destination),
            [0xfd00, 1, ..] | [0xfd01, ..] | [0xfe80, ..] => BLUE_MAC,
            [0xfd00, 2, ..] => RED_MAC,
            _ => WAN_MAC,
        };
        Build {
            link_source: MacAddress([2, 0, 0, 0, 9, 9]),
            link_destination,
            ip: Ipv6Repr::new(source, destination, next, payload.len()),
            payload,
        }
    }

    pub fn hops(mut self, hop_limit: u8) -> Self {
        self.ip.hop_limit = hop_limit;
        self
    }

    /// Puts an extension header before what is there; its first byte is filled in.
    pub fn extension(mut self, kind: Protocol, mut header: Vec<u8>) -> Self {
        header[0] = self.ip.next_header.0;
        self.ip.next_header = kind;
        header.append(&mut self.payload);
        self.payload = header;
        self.ip.payload_len = self.payload.len();
        self
    }

    /// The packet, from its IP header.
    pub fn packet(&self) -> Vec<u8> {
        let mut bytes = vec![0; ipv6::HEADER_LEN];
        self.ip.emit(&mut bytes).expect("room");
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    pub fn frame(&self) -> Vec<u8> {
        let ethernet = EthernetRepr {
            source: self.link_source,
            destination: self.link_destination,
            ether_type: EtherType::IPV6,
        };
        let mut bytes = vec![0; ethernet::HEADER_LEN];
        ethernet.emit(&mut bytes).expect("room");
        bytes.extend(self.packet());
        bytes
    }
}

pub fn udp(
    (source, source_port): (Ipv6Addr, u16),
    (destination, destination_port): (Ipv6Addr, u16),
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
    (source, source_port): (Ipv6Addr, u16),
    (destination, destination_port): (Ipv6Addr, u16),
    flags: TcpFlags,
) -> Build {
    let opens = flags.contains(TcpFlags::SYN);
    let acknowledges = flags.contains(TcpFlags::ACK);
    let repr = TcpRepr {
        source: source_port,
        destination: destination_port,
        sequence: if opens { 1000 } else { 1001 },
        acknowledgment: if acknowledges { 1001 } else { 0 },
        flags,
        window: 65_535,
        urgent: 0,
        max_segment_size: None,
    };
    let mut payload = vec![0; repr.buffer_len()];
    repr.emit(source, destination, &mut payload).expect("room");
    Build::new(source, destination, Protocol::TCP, payload)
}

pub fn icmp(source: Ipv6Addr, destination: Ipv6Addr, repr: Icmpv6Repr, payload: &[u8]) -> Build {
    let mut message = vec![0; repr.buffer_len()];
    message.extend_from_slice(payload);
    repr.emit(source, destination, &mut message).expect("room");
    Build::new(source, destination, Protocol::ICMPV6, message)
}

pub fn echo(source: Ipv6Addr, destination: Ipv6Addr, identifier: u16) -> Build {
    let request = Icmpv6Repr::EchoRequest {
        identifier,
        sequence: 1,
    };
    icmp(source, destination, request, b"ping")
}

/// A message of neighbor discovery, from the station whose MAC address is in it.
pub fn ndp(source: Ipv6Addr, destination: Ipv6Addr, message: NdpRepr) -> Build {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(source, destination, &mut bytes).expect("room");
    let mut build = Build::new(source, destination, Protocol::ICMPV6, bytes).hops(255);
    if let NdpRepr::Solicitation {
        source_link_address: Some(mac),
        ..
    }
    | NdpRepr::Advertisement {
        target_link_address: Some(mac),
        ..
    } = message
    {
        build.link_source = mac;
    }
    build
}

/// A question for `target`, to the group that it listens on.
pub fn solicitation(source: Ipv6Addr, mac: MacAddress, target: Ipv6Addr) -> Build {
    let message = NdpRepr::Solicitation {
        target,
        source_link_address: (!source.is_unspecified()).then_some(mac),
    };
    ndp(source, solicited_node(target), message)
}

/// The answer to a question of the gateway's.
pub fn advertisement(target: Ipv6Addr, mac: MacAddress, to: Ipv6Addr) -> Build {
    let message = NdpRepr::Advertisement {
        target,
        router: false,
        solicited: true,
        overrides: true,
        target_link_address: Some(mac),
    };
    ndp(target, to, message)
}
