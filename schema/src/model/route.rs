//! Static routes.

use std::net::IpAddr;

use crate::marks::Marks;
use crate::object::object;
use crate::types::{Line, Name, Prefix, RouteType};

/// The largest number of next hops of one route.
pub const MOST_NEXT_HOPS: usize = 16;
/// The largest weight of a next hop.
pub const LARGEST_WEIGHT: u16 = 256;

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
            /// The VPC whose routes are looked at instead, for type vpc.
            to_vpc: Option<Name> => "vpc",
            /// How far this route stands behind learned ones of the same prefix: the lowest distance wins. Without it, 1.
            distance: Option<u8> [1..=u8::MAX],
        }
    }
}

impl RouteRow {
    /// A unicast route of which nothing else is said.
    pub fn unicast(vpc: Name, prefix: Prefix) -> Self {
        RouteRow {
            vpc,
            prefix,
            description: None,
            route_type: RouteType::Unicast,
            to_vpc: None,
            distance: None,
            marks: Marks::default(),
        }
    }
}

object! {
    /// One way that a route leads.
    NextHopRow in "route_next_hop" at "vpcs/{vpc}/routes/{prefix}/next_hops/[position]":
        "Where a unicast route leads. Flows are spread over several by their weights." {
        key { vpc: Name, prefix: Prefix, position: u16 }
        parent "route" (vpc, prefix);
        most MOST_NEXT_HOPS;
        columns {
            /// The interface that packets leave by. It may belong to another VPC.
            interface: Name => "interface",
            /// The next router's address, in a subnet of that interface. Without it, destinations are on the link.
            via: Option<IpAddr>,
            /// Its share of the flows beside the route's other next hops. Without it, 1.
            weight: Option<u16> [1..=LARGEST_WEIGHT],
        }
    }
}

impl NextHopRow {
    /// A next hop of weight 1.
    pub fn new(
        vpc: Name,
        prefix: Prefix,
        position: u16,
        interface: Name,
        via: Option<IpAddr>,
    ) -> Self {
        NextHopRow {
            vpc,
            prefix,
            position,
            interface,
            via,
            weight: None,
            marks: Marks::default(),
        }
    }
}
