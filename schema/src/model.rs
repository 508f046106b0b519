//! The configuration model: every object that an administrator can write, defined once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::object::{object, tables};
use crate::port::Port;
use crate::table::{RowError, TableDefinition};
use crate::types::{
    AddressRange, InterfaceAddress, MacAddress, Name, Prefix, RouteType, TransportProtocol,
};
use crate::value::Value;

/// A whole configuration, as a document in YAML or JSON says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Virtual private clouds by name: each is an address space and a route table of its own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vpcs: BTreeMap<Name, Vpc>,
    /// Interfaces by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub interfaces: BTreeMap<Name, Interface>,
    /// Network address translation.
    #[serde(default, skip_serializing_if = "Nat::is_empty")]
    pub nat: Nat,
}

/// Network address translation: pools of addresses, and rules by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nat {
    /// Pools of external addresses by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<Name, Pool>,
    /// Masquerade rules by name: many internal addresses share few external ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masquerade: BTreeMap<Name, Masquerade>,
    /// Port forwards by name: one external address and port leads to one internal address and port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub port_forward: BTreeMap<Name, PortForward>,
    /// Static translations by name: one external address is one internal address, both ways.
    #[serde(default, rename = "static", skip_serializing_if = "BTreeMap::is_empty")]
    pub static_nat: BTreeMap<Name, StaticNat>,
}

impl Nat {
    fn is_empty(&self) -> bool {
        *self == Nat::default()
    }
}

object! {
    /// A virtual private cloud: one address space with one route table.
    Vpc, VpcRow in "vpc" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
        }
        children {
            /// Static routes by destination prefix. The subnets of the VPC's interfaces are routes by themselves.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            routes: BTreeMap<Prefix, Route>,
        }
    }
}

/// The longest description of an object, in characters.
pub const LONGEST_DESCRIPTION: usize = 255;

object! {
    /// An interface: a port with addresses, in one VPC.
    Interface, InterfaceRow in "interface" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// The VPC that frames received here belong to.
            vpc: Name => "vpc",
            /// Where its frames come from and go to: `af_packet:eth0`, `tap:tap0`, `null:NAME`, `ring:NAME`,
            /// `pcap:receive=FILE,transmit=FILE` or `memif:socket=FILE,id=N,role=server`.
            port: Port,
            /// The MAC address that the gateway has here.
            mac: MacAddress,
            /// The largest IP packet that is sent and taken here, in bytes.
            #[serde(default = "default_mtu")]
            #[schemars(range(min = 576, max = 9000))]
            mtu: u16,
        }
        children {
            /// The gateway's own addresses, each with the length of its subnet's prefix.
            #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
            addresses: BTreeSet<InterfaceAddress>,
            /// Neighbors whose MAC address is set by hand, by their IP address. All others are resolved by ARP.
            #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
            #[schemars(extend("propertyNames" = { "format": "ip" }))]
            neighbors: BTreeMap<IpAddr, Neighbor>,
        }
    }
}

fn default_mtu() -> u16 {
    1500
}

/// The smallest MTU that an interface can have, in bytes: what every IPv4 host must take (RFC 791, section 3.1).
pub const SMALLEST_MTU: u16 = 576;
/// The largest MTU that an interface can have, in bytes.
pub const LARGEST_MTU: u16 = 9000;

object! {
    /// One of an interface's own addresses.
    Address, InterfaceAddressRow in "interface_address" {
        key { interface: Name => "interface", address: InterfaceAddress }
        columns {}
        children {}
    }
}

object! {
    /// A neighbor whose MAC address is set by hand.
    Neighbor, NeighborRow in "neighbor" {
        key { interface: Name => "interface", address: IpAddr }
        columns {
            /// The neighbor's MAC address.
            mac: MacAddress,
        }
        children {}
    }
}

object! {
    /// A static route.
    Route, RouteRow in "route" {
        key { vpc: Name => "vpc", prefix: Prefix }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// What happens to packets that match: unicast (the default), blackhole or unreachable.
            #[serde(default, rename = "type", skip_serializing_if = "is_unicast")]
            route_type: RouteType,
        }
        children {
            /// Where a unicast route leads. Flows are spread evenly over several; at most 16.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            #[schemars(length(max = 16))]
            next_hops: Vec<NextHop>,
        }
    }
}

fn is_unicast(route_type: &RouteType) -> bool {
    *route_type == RouteType::Unicast
}

/// The largest number of next hops of one route.
pub const MOST_NEXT_HOPS: usize = 16;

object! {
    /// One way that a route leads.
    NextHop, NextHopRow in "route_next_hop" {
        key { vpc: Name, prefix: Prefix, position: u16 }
        parent "route" (vpc, prefix);
        columns {
            /// The interface that packets leave by. It may belong to another VPC.
            interface: Name => "interface",
            /// The next router's address, in a subnet of that interface. Without it, destinations are on the link.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            via: Option<IpAddr>,
        }
        children {}
    }
}

object! {
    /// A pool of external addresses.
    Pool, PoolRow in "nat_pool" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// The VPC that the addresses belong to: the outside.
            vpc: Name => "vpc",
        }
        children {
            /// The addresses: single ones and ranges.
            #[schemars(length(min = 1))]
            ranges: BTreeSet<AddressRange>,
        }
    }
}

object! {
    /// One range of a pool.
    PoolRange, PoolRangeRow in "nat_pool_range" {
        key { pool: Name => "nat_pool", range: AddressRange }
        columns {}
        children {}
    }
}

object! {
    /// Masquerade: packets of a VPC that leave by an interface get an external source address and port (RFC 3022, NAPT).
    Masquerade, MasqueradeRow in "masquerade" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// The VPC of the senders.
            vpc: Name => "vpc",
            /// The interface that the packets leave by.
            interface: Name => "interface",
            /// The pool of external addresses; without it, the interface's own first address of the packet's family.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pool: Option<Name> => "nat_pool",
        }
        children {
            /// The senders that the rule is for. Where rules overlap, the longest prefix wins.
            #[schemars(length(min = 1))]
            sources: BTreeSet<Prefix>,
        }
    }
}

object! {
    /// The senders of one masquerade rule.
    MasqueradeSource, MasqueradeSourceRow in "masquerade_source" {
        key { masquerade: Name => "masquerade", prefix: Prefix }
        columns {}
        children {}
    }
}

object! {
    /// A port forward: what comes to an external address and port goes to an internal one.
    PortForward, PortForwardRow in "port_forward" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// tcp or udp.
            protocol: TransportProtocol,
            /// The VPC that the packets come from: the outside.
            external_vpc: Name => "vpc",
            /// The address that they are sent to.
            external_address: IpAddr,
            /// The port that they are sent to.
            #[schemars(range(min = 1))]
            external_port: u16,
            /// The VPC that they are led into.
            internal_vpc: Name => "vpc",
            /// The address that they are led to.
            internal_address: IpAddr,
            /// The port that they are led to.
            #[schemars(range(min = 1))]
            internal_port: u16,
        }
        children {}
    }
}

object! {
    /// A static translation: an internal address has an external one of its own, both ways (RFC 2663, basic NAT).
    StaticNat, StaticNatRow in "static_nat" {
        key { name: Name }
        columns {
            /// What it is for, in words.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            #[schemars(length(max = 255))]
            description: Option<String>,
            /// The VPC of the external address: the outside.
            external_vpc: Name => "vpc",
            /// The external address.
            external_address: IpAddr,
            /// The VPC of the internal address.
            internal_vpc: Name => "vpc",
            /// The internal address.
            internal_address: IpAddr,
        }
        children {}
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
