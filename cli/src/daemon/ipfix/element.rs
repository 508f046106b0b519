//! Information elements: their numbers, lengths, and how each is taken from what a record is made of.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The enterprise number of elements for the reverse direction (RFC 5103, section 6.1).
const REVERSE: u32 = 29_305;
/// Says that a length is in front of each value (RFC 7011, section 7).
const VARIABLE: u16 = 65_535;

/// What records are made of. What a template does not name stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    /// Milliseconds since the Unix epoch.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// When an event was, likewise.
    pub(crate) time: u64,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) post_source: IpAddr,
    pub(crate) post_destination: IpAddr,
    pub(crate) post_source_port: u16,
    pub(crate) post_destination_port: u16,
    pub(crate) protocol: u8,
    pub(crate) icmp: u16,
    pub(crate) tcp_flags: u8,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) reverse_packets: u64,
    pub(crate) reverse_bytes: u64,
    pub(crate) ingress: u32,
    pub(crate) egress: u32,
    pub(crate) ingress_vrf: u32,
    pub(crate) egress_vrf: u32,
    pub(crate) end_reason: u8,
    pub(crate) nat_event: u8,
    pub(crate) quota_event: u32,
    pub(crate) name: String,
}

impl Default for Values {
    fn default() -> Self {
        const NO_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Values {
            start: 0,
            end: 0,
            time: 0,
            source: NO_ADDRESS,
            destination: NO_ADDRESS,
            source_port: 0,
            destination_port: 0,
            post_source: NO_ADDRESS,
            post_destination: NO_ADDRESS,
            post_source_port: 0,
            post_destination_port: 0,
            protocol: 0,
            icmp: 0,
            tcp_flags: 0,
            packets: 0,
            bytes: 0,
            reverse_packets: 0,
            reverse_bytes: 0,
            ingress: 0,
            egress: 0,
            ingress_vrf: 0,
            egress_vrf: 0,
            end_reason: 0,
            nat_event: 0,
            quota_event: 0,
            name: String::new(),
        }
    }
}

/// An element of a template, and where its value comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    /// The number in IANA's registry of IPFIX information elements.
    pub(super) number: u16,
    /// Bytes; [`VARIABLE`] where each value says so.
    pub(super) length: u16,
    /// Whether it is about the reverse direction.
    pub(super) is_reverse: bool,
    write: fn(&Values, &mut Vec<u8>),
}

impl Element {
    const fn new(number: u16, length: u16, write: fn(&Values, &mut Vec<u8>)) -> Self {
        Element {
            number,
            length,
            is_reverse: false,
            write,
        }
    }

    const fn reverse(self) -> Self {
        Element {
            is_reverse: true,
            ..self
        }
    }

    /// Its field specifier (RFC 7011, section 3.2).
    pub(super) fn specify(&self, out: &mut Vec<u8>) {
        const ENTERPRISE: u16 = 1 << 15;
        let marked = if self.is_reverse { ENTERPRISE } else { 0 };
        out.extend((self.number | marked).to_be_bytes());
        out.extend(self.length.to_be_bytes());
        if self.is_reverse {
            out.extend(REVERSE.to_be_bytes());
        }
    }

    /// Its value.
    pub(super) fn write(&self, values: &Values, out: &mut Vec<u8>) {
        (self.write)(values, out);
    }
}

fn four(address: IpAddr, out: &mut Vec<u8>) {
    out.extend(match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED.octets(),
    });
}

fn six(address: IpAddr, out: &mut Vec<u8>) {
    out.extend(match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED.octets(),
    });
}

/// A string with its length in front (RFC 7011, section 7), cut where it is longer than one byte can say. Names are shorter.
fn string(text: &str, out: &mut Vec<u8>) {
    const MOST: usize = 254;
    let mut end = text.len().min(MOST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push(end as u8);
    out.extend(&text.as_bytes()[..end]);
}

macro_rules! elements {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, $length:expr, $write:expr;)+) => {
        $($(#[doc = $doc])* pub(super) const $name: Element = Element::new($number, $length, $write);)+
    };
}

elements! {
    OCTET_DELTA_COUNT = 1, 8, |v, out| out.extend(v.bytes.to_be_bytes());
    PACKET_DELTA_COUNT = 2, 8, |v, out| out.extend(v.packets.to_be_bytes());
    PROTOCOL_IDENTIFIER = 4, 1, |v, out| out.push(v.protocol);
    TCP_CONTROL_BITS = 6, 2, |v, out| out.extend(u16::from(v.tcp_flags).to_be_bytes());
    SOURCE_TRANSPORT_PORT = 7, 2, |v, out| out.extend(v.source_port.to_be_bytes());
    SOURCE_IPV4_ADDRESS = 8, 4, |v, out| four(v.source, out);
    INGRESS_INTERFACE = 10, 4, |v, out| out.extend(v.ingress.to_be_bytes());
    DESTINATION_TRANSPORT_PORT = 11, 2, |v, out| out.extend(v.destination_port.to_be_bytes());
    DESTINATION_IPV4_ADDRESS = 12, 4, |v, out| four(v.destination, out);
    EGRESS_INTERFACE = 14, 4, |v, out| out.extend(v.egress.to_be_bytes());
    SOURCE_IPV6_ADDRESS = 27, 16, |v, out| six(v.source, out);
    DESTINATION_IPV6_ADDRESS = 28, 16, |v, out| six(v.destination, out);
    ICMP_TYPE_CODE_IPV4 = 32, 2, |v, out| out.extend(v.icmp.to_be_bytes());
    INTERFACE_NAME = 82, VARIABLE, |v, out| string(&v.name, out);
    FLOW_END_REASON = 136, 1, |v, out| out.push(v.end_reason);
    ICMP_TYPE_CODE_IPV6 = 139, 2, |v, out| out.extend(v.icmp.to_be_bytes());
    FLOW_START_MILLISECONDS = 152, 8, |v, out| out.extend(v.start.to_be_bytes());
    FLOW_END_MILLISECONDS = 153, 8, |v, out| out.extend(v.end.to_be_bytes());
    POST_NAT_SOURCE_IPV4_ADDRESS = 225, 4, |v, out| four(v.post_source, out);
    POST_NAT_DESTINATION_IPV4_ADDRESS = 226, 4, |v, out| four(v.post_destination, out);
    POST_NAPT_SOURCE_TRANSPORT_PORT = 227, 2, |v, out| out.extend(v.post_source_port.to_be_bytes());
    POST_NAPT_DESTINATION_TRANSPORT_PORT = 228, 2, |v, out| out.extend(v.post_destination_port.to_be_bytes());
    NAT_EVENT = 230, 1, |v, out| out.push(v.nat_event);
    INGRESS_VRFID = 234, 4, |v, out| out.extend(v.ingress_vrf.to_be_bytes());
    EGRESS_VRFID = 235, 4, |v, out| out.extend(v.egress_vrf.to_be_bytes());
    VRF_NAME = 236, VARIABLE, |v, out| string(&v.name, out);
    POST_NAT_SOURCE_IPV6_ADDRESS = 281, 16, |v, out| six(v.post_source, out);
    POST_NAT_DESTINATION_IPV6_ADDRESS = 282, 16, |v, out| six(v.post_destination, out);
    OBSERVATION_TIME_MILLISECONDS = 323, 8, |v, out| out.extend(v.time.to_be_bytes());
    NAT_QUOTA_EXCEEDED_EVENT = 466, 4, |v, out| out.extend(v.quota_event.to_be_bytes());
}

pub(super) const REVERSE_PACKET_DELTA_COUNT: Element = Element::new(2, 8, |v, out| {
    out.extend(v.reverse_packets.to_be_bytes());
})
.reverse();

pub(super) const REVERSE_OCTET_DELTA_COUNT: Element = Element::new(1, 8, |v, out| {
    out.extend(v.reverse_bytes.to_be_bytes());
})
.reverse();
