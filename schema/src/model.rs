//! The configuration model: every object that an administrator can write, defined once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::marks::Marks;
use crate::object::{object, tables};
use crate::port::Port;
use crate::table::{RowError, TableDefinition};
use crate::types::{
    AddressRange, InterfaceAddress, Line, MacAddress, Name, Ports, Prefix, RouteType,
    TransportProtocol,
};
use crate::value::{Key as _, Value};

/// The rows of one table, as generic code takes them.
pub trait TableRow: Clone + Into<Row> + 'static {
    /// What identifies a row of the table.
    type Key: crate::state::KeyRange + Clone;
    /// The table.
    const OF: Table;
    /// The key with its table.
    fn row_key(key: Self::Key) -> RowKey;
    /// The table's rows in a configuration.
    fn rows(configuration: &Configuration) -> &BTreeMap<Self::Key, Self>;
    /// The row, if it is of this table.
    fn from_row(row: Row) -> Option<Self>;
    /// The row, if it is of this table.
    fn borrowed(row: &Row) -> Option<&Self>;
}

/// The parts of documents that are no objects of their own, and what they are for. Each is a path with dots.
pub const SECTIONS: &[(&str, &str)] = &[
    (
        "",
        "A whole configuration, as a document in YAML or JSON says it.",
    ),
    (
        "nat",
        "Network address translation: pools of addresses, and rules by name.",
    ),
];

/// The smallest MTU that an interface can have, in bytes: what every IPv4 host must take (RFC 791, section 3.1).
pub const SMALLEST_MTU: u16 = 576;
/// The largest MTU that an interface can have, in bytes.
pub const LARGEST_MTU: u16 = 9000;
/// The largest number of next hops of one route.
pub const MOST_NEXT_HOPS: usize = 16;

object! {
    /// A virtual private cloud: one address space with one route table.
    VpcRow in "vpc" at "vpcs/{name}": "Virtual private clouds by name: each is an address space and a route table of its own." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
        }
    }
}

object! {
    /// An interface: a port with addresses, in one VPC.
    InterfaceRow in "interface" at "interfaces/{name}": "Interfaces by name." {
        key { name: Name }
        unique (port);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC that frames received here belong to.
            vpc: Name => "vpc",
            /// Where its frames come from and go to: `af_packet:eth0`, `tap:tap0`, `null:NAME`, `ring:NAME`,
            /// `pcap:receive=FILE,transmit=FILE` or `memif:socket=FILE,id=N,role=server`.
            port: Port,
            /// The MAC address that the gateway has here.
            mac: MacAddress,
            /// The largest IP packet that is sent and taken here, in bytes.
            mtu: u16 [SMALLEST_MTU..=LARGEST_MTU] = 1500,
        }
    }
}

object! {
    /// One of an interface's own addresses.
    InterfaceAddressRow in "interface_address" at "interfaces/{interface}/addresses/<address>":
        "The gateway's own addresses, each with the length of its subnet's prefix." {
        key { interface: Name => "interface", address: InterfaceAddress }
        columns {}
    }
}

object! {
    /// A neighbor whose MAC address is set by hand.
    NeighborRow in "neighbor" at "interfaces/{interface}/neighbors/{address}":
        "Neighbors whose MAC address is set by hand, by their IP address. All others are resolved by ARP and neighbor discovery." {
        key { interface: Name => "interface", address: IpAddr }
        columns {
            /// The neighbor's MAC address.
            mac: MacAddress,
        }
    }
}

object! {
    /// A static route.
    RouteRow in "route" at "vpcs/{vpc}/routes/{prefix}":
        "Static routes by destination prefix. The subnets of the VPC's interfaces are routes by themselves." {
        key { vpc: Name => "vpc", prefix: Prefix }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// What happens to packets that match.
            route_type as "type": RouteType = RouteType::Unicast,
        }
    }
}

object! {
    /// One way that a route leads.
    NextHopRow in "route_next_hop" at "vpcs/{vpc}/routes/{prefix}/next_hops/[position]":
        "Where a unicast route leads. Flows are spread evenly over several." {
        key { vpc: Name, prefix: Prefix, position: u16 }
        parent "route" (vpc, prefix);
        most MOST_NEXT_HOPS;
        columns {
            /// The interface that packets leave by. It may belong to another VPC.
            interface: Name => "interface",
            /// The next router's address, in a subnet of that interface. Without it, destinations are on the link.
            via: Option<IpAddr>,
        }
    }
}

object! {
    /// A pool of external addresses.
    PoolRow in "nat_pool" at "nat/pools/{name}": "Pools of external addresses by name." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC that the addresses belong to: the outside.
            vpc: Name => "vpc",
        }
    }
}

object! {
    /// One range of a pool.
    PoolRangeRow in "nat_pool_range" at "nat/pools/{pool}/ranges/<range>": "The addresses: single ones and ranges." {
        key { pool: Name => "nat_pool", range: AddressRange }
        least 1;
        columns {}
    }
}

object! {
    /// Masquerade: packets of a VPC that leave by an interface get an external source address and port (RFC 3022, NAPT).
    MasqueradeRow in "masquerade" at "nat/masquerade/{name}":
        "Masquerade rules by name: many internal addresses share few external ones." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the senders.
            vpc: Name => "vpc",
            /// The interface that the packets leave by.
            interface: Name => "interface",
            /// The pool of external addresses; without it, the interface's own first address of the packet's family.
            pool: Option<Name> => "nat_pool",
        }
    }
}

object! {
    /// The senders of one masquerade rule.
    MasqueradeSourceRow in "masquerade_source" at "nat/masquerade/{masquerade}/sources/<prefix>":
        "The senders that the rule is for. Where rules overlap, the longest prefix wins." {
        key { masquerade: Name => "masquerade", prefix: Prefix }
        least 1;
        columns {}
    }
}

object! {
    /// A port forward: what comes to an external address and port goes to an internal one.
    PortForwardRow in "port_forward" at "nat/port_forward/{name}":
        "Port forwards by name: one external address and port leads to one internal address and port." {
        key { name: Name }
        unique (external_vpc, external_address, protocol, external_port);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// tcp or udp.
            protocol: TransportProtocol,
            /// The VPC that the packets come from: the outside.
            external_vpc: Name => "vpc",
            /// The address that they are sent to.
            external_address: IpAddr,
            /// The port that they are sent to.
            external_port: Ports,
            /// The VPC that they are led into.
            internal_vpc: Name => "vpc",
            /// The address that they are led to.
            internal_address: IpAddr,
            /// The port that they are led to.
            internal_port: Ports,
        }
    }
}

object! {
    /// A static translation: an internal address has an external one of its own, both ways (RFC 2663, basic NAT).
    StaticNatRow in "static_nat" at "nat/static/{name}":
        "Static translations by name: one external address is one internal address, both ways." {
        key { name: Name }
        unique (external_vpc, external_address);
        unique (internal_vpc, internal_address, external_vpc);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the external address: the outside.
            external_vpc: Name => "vpc",
            /// The external address.
            external_address: IpAddr,
            /// The VPC of the internal address.
            internal_vpc: Name => "vpc",
            /// The internal address.
            internal_address: IpAddr,
        }
    }
}

tables! {
    Vpc(VpcRow: (Name,)) as vpc,
    Interface(InterfaceRow: (Name,)) as interface,
    InterfaceAddress(InterfaceAddressRow: (Name, InterfaceAddress)) as interface_address,
    Neighbor(NeighborRow: (Name, IpAddr)) as neighbor,
    Route(RouteRow: (Name, Prefix)) as route,
    NextHop(NextHopRow: (Name, Prefix, u16)) as route_next_hop,
    Pool(PoolRow: (Name,)) as nat_pool,
    PoolRange(PoolRangeRow: (Name, AddressRange)) as nat_pool_range,
    Masquerade(MasqueradeRow: (Name,)) as masquerade,
    MasqueradeSource(MasqueradeSourceRow: (Name, Prefix)) as masquerade_source,
    PortForward(PortForwardRow: (Name,)) as port_forward,
    StaticNat(StaticNatRow: (Name,)) as static_nat,
}
