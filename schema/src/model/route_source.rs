//! Sources of learned routes.

use std::net::SocketAddr;

use crate::object::object;
use crate::types::{Duration, Line, Name, RouteSourceType};

object! {
    /// Where routes are learned from: a routing daemon that speaks with the world.
    RouteSourceRow in "route_source" at "route_sources/{name}": "Sources of learned routes by name." {
        key { name: Name }
        unique (listen);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// How routes are learned.
            source_type as "type": RouteSourceType = RouteSourceType::Fpm,
            /// The address and TCP port that the daemon connects to.
            listen: SocketAddr,
            /// How far its routes stand behind others of the same prefix: the lowest distance wins. Without it, that of
            /// the protocol that the daemon learned each from.
            distance: Option<u8> [1..=u8::MAX],
            /// The most routes that are taken; without it, no limit.
            most_routes: Option<u32> [1..=u32::MAX],
            /// How long its routes stay once the daemon is gone. Without it, 5m.
            stale_time: Option<Duration>,
        }
    }
}

object! {
    /// A VPC that a source's routes go into.
    RouteSourceVpcRow in "route_source_vpc" at "route_sources/{route_source}/vpcs/{vpc}":
        "The VPCs that its routes go into." {
        key { route_source: Name => "route_source", vpc: Name => "vpc" }
        unique (route_source, table_id);
        columns {
            /// The number of the daemon's route table, which is that of its VRF.
            table_id as "table": u32 [1..=u32::MAX],
        }
    }
}
