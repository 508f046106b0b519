//! A [`Rule`] in the items and actions of DPDK's flow API.

use std::net::IpAddr;

use arrayvec::ArrayVec;
use rewire_conntrack::offload::{Pattern, Rule};
use rewire_dpdk::flow::{
    EthernetFields, FlowAction, FlowItem, Ipv4Fields, Ipv6Fields, LARGEST_ACTIONS, LARGEST_PATTERN,
    TcpFields, UdpFields,
};
use rewire_packet::{EtherType, Protocol};

pub(super) type Items = ArrayVec<FlowItem, LARGEST_PATTERN>;
pub(super) type Actions = ArrayVec<FlowAction, LARGEST_ACTIONS>;

/// SYN, FIN and RST of TCP.
const TURNS: u8 = 0b0000_0111;
/// ACK, which all other segments of a connection have.
const ACK: u8 = 0b0001_0000;
/// What is set in a fragment of IPv4: more fragments, or an offset.
const FRAGMENT: u16 = 0x3fff;

/// The kinds of packet that rules take. A table of a card has rules of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp4,
    Udp4,
    Tcp6,
    Udp6,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Tcp4, Kind::Udp4, Kind::Tcp6, Kind::Udp6];

    /// None if the pattern is of no such kind.
    pub(super) fn of(pattern: &Pattern) -> Option<Kind> {
        let v4 = match (pattern.source.0, pattern.destination.0) {
            (IpAddr::V4(_), IpAddr::V4(_)) => true,
            (IpAddr::V6(_), IpAddr::V6(_)) => false,
            _ => return None,
        };
        match (Protocol(pattern.protocol), v4) {
            (Protocol::TCP, true) => Some(Kind::Tcp4),
            (Protocol::TCP, false) => Some(Kind::Tcp6),
            (Protocol::UDP, true) => Some(Kind::Udp4),
            (Protocol::UDP, false) => Some(Kind::Udp6),
            _ => None,
        }
    }
}

fn ethernet(destination: Option<[u8; 6]>, ether_type: EtherType) -> FlowItem {
    FlowItem::Ethernet {
        value: EthernetFields {
            destination: destination.unwrap_or_default(),
            ether_type: ether_type.0,
            ..EthernetFields::default()
        },
        mask: EthernetFields {
            destination: destination.map_or([0; 6], |_| [0xff; 6]),
            ether_type: 0xffff,
            ..EthernetFields::default()
        },
    }
}

/// The items of a rule, of packets that come in by the wire of the DPDK port `port`. An exact EtherType leaves packets with a
/// VLAN tag out; an exact next header, those with extension headers. What cannot be said by masks is left to [`expiring`] and
/// to the caller: the TTL, and the length.
pub(super) fn items(pattern: &Pattern, port: u16) -> Items {
    let mut items = Items::new();
    items.push(FlowItem::FromWire { port });
    let mac = Some(pattern.mac.octets());
    if let (IpAddr::V4(source), IpAddr::V4(destination)) = (pattern.source.0, pattern.destination.0)
    {
        items.push(ethernet(mac, EtherType::IPV4));
        items.push(FlowItem::Ipv4 {
            value: Ipv4Fields {
                version_and_length: 0x45,
                protocol: pattern.protocol,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv4Fields::default()
            },
            mask: Ipv4Fields {
                version_and_length: 0xff,
                fragment: FRAGMENT,
                time_to_live: 0,
                protocol: 0xff,
                source: [0xff; 4],
                destination: [0xff; 4],
            },
        });
    }
    if let (IpAddr::V6(source), IpAddr::V6(destination)) = (pattern.source.0, pattern.destination.0)
    {
        items.push(ethernet(mac, EtherType::IPV6));
        items.push(FlowItem::Ipv6 {
            value: Ipv6Fields {
                next_header: pattern.protocol,
                hop_limit: 0,
                source: source.octets(),
                destination: destination.octets(),
            },
            mask: Ipv6Fields {
                next_header: 0xff,
                hop_limit: 0,
                source: [0xff; 16],
                destination: [0xff; 16],
            },
        });
    }
    let (source, destination) = (pattern.source.1, pattern.destination.1);
    items.push(match Protocol(pattern.protocol) {
        Protocol::TCP => FlowItem::Tcp {
            value: TcpFields {
                source,
                destination,
                flags: ACK,
            },
            mask: TcpFields {
                source: 0xffff,
                destination: 0xffff,
                flags: TURNS | ACK,
            },
        },
        _ => FlowItem::Udp {
            value: UdpFields {
                source,
                destination,
            },
            mask: UdpFields {
                source: 0xffff,
                destination: 0xffff,
            },
        },
    });
    items.push(FlowItem::Integrity {
        ipv4_checksum: pattern.source.0.is_ipv4(),
        length: true,
    });
    items
}

/// The items of packets that end here, with a TTL or hop limit of 0 or 1. They come before all rules, and are for a core.
pub(super) fn expiring(v4: bool, port: u16) -> Items {
    const ALL_BUT_ONE: u8 = !1;
    let mut items = Items::new();
    items.push(FlowItem::FromWire { port });
    if v4 {
        items.push(ethernet(None, EtherType::IPV4));
        items.push(FlowItem::Ipv4 {
            value: Ipv4Fields::default(),
            mask: Ipv4Fields {
                time_to_live: ALL_BUT_ONE,
                ..Ipv4Fields::default()
            },
        });
    } else {
        items.push(ethernet(None, EtherType::IPV6));
        items.push(FlowItem::Ipv6 {
            value: Ipv6Fields::default(),
            mask: Ipv6Fields {
                hop_limit: ALL_BUT_ONE,
                ..Ipv6Fields::default()
            },
        });
    }
    items
}

/// Which of a rule's addresses and ports differ from the pattern's. Only those are written: a checksum that is mended for a
/// change that is none can come out in its other form of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rewritten {
    source: bool,
    destination: bool,
    source_port: bool,
    destination_port: bool,
}

impl Rewritten {
    pub(super) fn of(rule: &Rule) -> Rewritten {
        let (pattern, actions) = (&rule.pattern, &rule.actions);
        Rewritten {
            source: pattern.source.0 != actions.source.0,
            destination: pattern.destination.0 != actions.destination.0,
            source_port: pattern.source.1 != actions.source.1,
            destination_port: pattern.destination.1 != actions.destination.1,
        }
    }

    /// All that there are: so many lists of actions does a table have.
    pub(super) fn all() -> impl Iterator<Item = Rewritten> {
        (0..16u8).map(|bits| Rewritten {
            source: bits & 1 != 0,
            destination: bits & 2 != 0,
            source_port: bits & 4 != 0,
            destination_port: bits & 8 != 0,
        })
    }
}

/// What the rule's usage is told by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// Whether the card can age rules.
    pub(super) ages: bool,
    /// What it reports a silent rule by.
    pub(super) context: u64,
}

/// The actions of a rule whose packets leave by the wire of the DPDK port `port`.
pub(super) fn actions(rule: &Rule, rewritten: Rewritten, watch: Watch, port: u16) -> Actions {
    let to = &rule.actions;
    let mut actions = Actions::new();
    actions.push(FlowAction::SetSourceMac(to.source_mac.octets()));
    actions.push(FlowAction::SetDestinationMac(to.destination_mac.octets()));
    if rewritten.source {
        actions.push(match to.source.0 {
            IpAddr::V4(address) => FlowAction::SetIpv4Source(address.octets()),
            IpAddr::V6(address) => FlowAction::SetIpv6Source(address.octets()),
        });
    }
    if rewritten.destination {
        actions.push(match to.destination.0 {
            IpAddr::V4(address) => FlowAction::SetIpv4Destination(address.octets()),
            IpAddr::V6(address) => FlowAction::SetIpv6Destination(address.octets()),
        });
    }
    if rewritten.source_port {
        actions.push(FlowAction::SetSourcePort(to.source.1));
    }
    if rewritten.destination_port {
        actions.push(FlowAction::SetDestinationPort(to.destination.1));
    }
    actions.push(FlowAction::DecrementTimeToLive);
    actions.push(FlowAction::Count);
    if watch.ages {
        // DPDK counts in seconds; none would age at once.
        let seconds = rule.idle_after.as_secs_f64().ceil().max(1.0) as u32;
        actions.push(FlowAction::Age {
            seconds,
            context: watch.context,
        });
    }
    actions.push(FlowAction::ToWire(port));
    actions
}
