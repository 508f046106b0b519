//! What a rule matches, and how DPDK has it said.

use std::ffi::c_void;
use std::ptr;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

/// Items of a pattern, at most.
pub const LARGEST_PATTERN: usize = 8;

/// One item of a pattern, from the outside of a packet inwards. Each has the value of fields and a mask of the bits of them
/// that count: where the mask is zero, anything matches. Numbers are in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowItem {
    /// Packets that come from what this port stands for: from its wire (`REPRESENTED_PORT`).
    FromWire {
        /// The port's number ([`Port::id`](crate::Port::id)).
        port: u16,
    },
    /// An Ethernet header.
    Ethernet {
        /// What its fields must be,
        value: EthernetFields,
        /// in these bits.
        mask: EthernetFields,
    },
    /// An IPv4 header.
    Ipv4 {
        /// What its fields must be,
        value: Ipv4Fields,
        /// in these bits.
        mask: Ipv4Fields,
    },
    /// An IPv6 header.
    Ipv6 {
        /// What its fields must be,
        value: Ipv6Fields,
        /// in these bits.
        mask: Ipv6Fields,
    },
    /// A TCP header.
    Tcp {
        /// What its fields must be,
        value: TcpFields,
        /// in these bits.
        mask: TcpFields,
    },
    /// A UDP header.
    Udp {
        /// What its fields must be,
        value: UdpFields,
        /// in these bits.
        mask: UdpFields,
    },
    /// What the card found when it checked the packet (`INTEGRITY`): each that is asked for must be right.
    Integrity {
        /// The checksum of the IPv4 header.
        ipv4_checksum: bool,
        /// The packet is no longer than its frame.
        length: bool,
    },
}

/// Fields of an Ethernet header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EthernetFields {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType.
    pub ether_type: u16,
}

/// Fields of an IPv4 header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ipv4Fields {
    /// Version and header length in words: 0x45 without options.
    pub version_and_length: u8,
    /// Flags and fragment offset: bits 0x3fff are zero in what is no fragment.
    pub fragment: u16,
    /// Time to live.
    pub time_to_live: u8,
    /// Protocol.
    pub protocol: u8,
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

/// Fields of an IPv6 header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ipv6Fields {
    /// The next header: the protocol, where there are no extension headers.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

/// Fields of a TCP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpFields {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// The flags: FIN is 1, SYN 2, RST 4, ACK 16.
    pub flags: u8,
}

/// Fields of a UDP header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UdpFields {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
}

/// DPDK's structs of one item. All of them are plain numbers: any bytes are a value.
#[derive(Clone, Copy)]
union Space {
    ethdev: sys::rte_flow_item_ethdev,
    ethernet: sys::rte_flow_item_eth,
    ipv4: sys::rte_flow_item_ipv4,
    ipv6: sys::rte_flow_item_ipv6,
    tcp: sys::rte_flow_item_tcp,
    udp: sys::rte_flow_item_udp,
    integrity: sys::rte_flow_item_integrity,
}

impl Space {
    fn zeroed() -> Space {
        // SAFETY: structs of numbers, of which all zeroes is a value.
        unsafe { std::mem::zeroed() }
    }
}

impl FlowItem {
    /// DPDK's number for this kind of item.
    pub(super) fn kind(&self) -> sys::rte_flow_item_type {
        match self {
            FlowItem::FromWire { .. } => {
                sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_REPRESENTED_PORT
            }
            FlowItem::Ethernet { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_ETH,
            FlowItem::Ipv4 { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_IPV4,
            FlowItem::Ipv6 { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_IPV6,
            FlowItem::Tcp { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_TCP,
            FlowItem::Udp { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_UDP,
            FlowItem::Integrity { .. } => sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_INTEGRITY,
        }
    }

    /// The value and the mask, as DPDK has them.
    fn encode(&self) -> (Space, Space) {
        match *self {
            FlowItem::FromWire { port } => (ethdev(port), ethdev(u16::MAX)),
            FlowItem::Ethernet { value, mask } => (ethernet(value), ethernet(mask)),
            FlowItem::Ipv4 { value, mask } => (ipv4(value), ipv4(mask)),
            FlowItem::Ipv6 { value, mask } => (ipv6(value), ipv6(mask)),
            FlowItem::Tcp { value, mask } => (tcp(value), tcp(mask)),
            FlowItem::Udp { value, mask } => (udp(value), udp(mask)),
            FlowItem::Integrity {
                ipv4_checksum,
                length,
            } => {
                let bits = integrity(ipv4_checksum, length);
                (bits, bits)
            }
        }
    }
}

fn ethdev(port: u16) -> Space {
    let mut space = Space::zeroed();
    space.ethdev.port_id = port;
    space
}

fn ethernet(fields: EthernetFields) -> Space {
    let mut space = Space::zeroed();
    space.ethernet.__bindgen_anon_1.hdr = sys::rte_ether_hdr {
        dst_addr: sys::rte_ether_addr {
            addr_bytes: fields.destination,
        },
        src_addr: sys::rte_ether_addr {
            addr_bytes: fields.source,
        },
        ether_type: fields.ether_type.to_be(),
    };
    space
}

fn ipv4(fields: Ipv4Fields) -> Space {
    let mut space = Space::zeroed();
    space.ipv4.hdr = sys::rte_ipv4_hdr {
        __bindgen_anon_1: sys::rte_ipv4_hdr__bindgen_ty_1 {
            version_ihl: fields.version_and_length,
        },
        type_of_service: 0,
        total_length: 0,
        packet_id: 0,
        fragment_offset: fields.fragment.to_be(),
        time_to_live: fields.time_to_live,
        next_proto_id: fields.protocol,
        hdr_checksum: 0,
        src_addr: u32::from_ne_bytes(fields.source),
        dst_addr: u32::from_ne_bytes(fields.destination),
    };
    space
}

fn ipv6(fields: Ipv6Fields) -> Space {
    let mut space = Space::zeroed();
    space.ipv6.hdr = sys::rte_ipv6_hdr {
        vtc_flow: 0,
        payload_len: 0,
        proto: fields.next_header,
        hop_limits: fields.hop_limit,
        src_addr: fields.source,
        dst_addr: fields.destination,
    };
    space
}

fn tcp(fields: TcpFields) -> Space {
    let mut space = Space::zeroed();
    space.tcp.hdr = sys::rte_tcp_hdr {
        src_port: fields.source.to_be(),
        dst_port: fields.destination.to_be(),
        sent_seq: 0,
        recv_ack: 0,
        data_off: 0,
        tcp_flags: fields.flags,
        rx_win: 0,
        cksum: 0,
        tcp_urp: 0,
    };
    space
}

fn udp(fields: UdpFields) -> Space {
    let mut space = Space::zeroed();
    space.udp.hdr = sys::rte_udp_hdr {
        src_port: fields.source.to_be(),
        dst_port: fields.destination.to_be(),
        dgram_len: 0,
        dgram_cksum: 0,
    };
    space
}

fn integrity(ipv4_checksum: bool, length: bool) -> Space {
    let mut bits = sys::rte_flow_item_integrity__bindgen_ty_1__bindgen_ty_1::default();
    bits.set_ipv4_csum_ok(u64::from(ipv4_checksum));
    bits.set_l3_len_ok(u64::from(length));
    let mut space = Space::zeroed();
    space.integrity.__bindgen_anon_1.__bindgen_anon_1 = bits;
    space
}

/// Calls with DPDK's list for `items`, which lives as long as the call. None if there are too many.
pub(super) fn with_items<T>(
    items: &[FlowItem],
    call: impl FnOnce(*const sys::rte_flow_item) -> T,
) -> Option<T> {
    if items.len() > LARGEST_PATTERN {
        return None;
    }
    let spaces: ArrayVec<_, LARGEST_PATTERN> = items.iter().map(FlowItem::encode).collect();
    let mut list: ArrayVec<sys::rte_flow_item, { LARGEST_PATTERN + 1 }> = items
        .iter()
        .zip(&spaces)
        .map(|(item, (spec, mask))| sys::rte_flow_item {
            type_: item.kind(),
            spec: ptr::from_ref(spec).cast::<c_void>(),
            last: ptr::null(),
            mask: ptr::from_ref(mask).cast::<c_void>(),
        })
        .collect();
    list.push(sys::rte_flow_item {
        type_: sys::rte_flow_item_type_RTE_FLOW_ITEM_TYPE_END,
        spec: ptr::null(),
        last: ptr::null(),
        mask: ptr::null(),
    });
    Some(call(list.as_ptr()))
}
