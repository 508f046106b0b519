//! What a destination prefix leads to.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::index::{InterfaceIndex, PeeringIndex, VpcIndex};
use crate::next_hops::NextHops;

/// One way that a route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// Drawn from the interface's name.
    name_seed: u64,
    via: Option<IpAddr>,
    weight: NonZeroU16,
    interface: InterfaceIndex,
}

impl NextHop {
    /// A next hop of weight 1. Flows choose by the interface's name, which stays, and not by its index, which is another
    /// one after a restart.
    pub fn new(interface: InterfaceIndex, name: &str, via: Option<IpAddr>) -> NextHop {
        NextHop {
            name_seed: name
                .bytes()
                .fold(name.len() as u64, |seed, byte| mix(seed ^ u64::from(byte))),
            via,
            weight: NonZeroU16::MIN,
            interface,
        }
    }

    /// With another weight. 0 counts as 1.
    pub fn with_weight(self, weight: u16) -> NextHop {
        NextHop {
            weight: NonZeroU16::new(weight).unwrap_or(NonZeroU16::MIN),
            ..self
        }
    }

    /// The interface that packets leave by.
    pub fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    /// The next router; without one, the destination itself is on the link.
    #[inline]
    pub fn via(&self) -> Option<IpAddr> {
        self.via
    }

    /// Its share of the flows beside the route's other next hops.
    pub fn weight(&self) -> u16 {
        self.weight.get()
    }

    /// What is the same for every next hop that leads to the same place, and differs for any other.
    pub(crate) fn place(&self) -> (u64, Option<IpAddr>) {
        (self.name_seed, self.via)
    }
}

impl fmt::Debug for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NextHop")
            .field("interface", &self.interface)
            .field("via", &self.via)
            .field("weight", &self.weight)
            .finish()
    }
}

/// A full mix of 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A route: what happens to packets for its prefix. Cheap to clone: at most a count of references goes up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Forwarded to one of the next hops.
    Forward(NextHops),
    /// Looked up again in the table of another VPC: see [`Tables::follow`](crate::Tables::follow).
    Vpc(VpcIndex),
    /// Exposed by another VPC: those whom the peering admits are looked up again in that VPC's table.
    Peering {
        /// The peering.
        peering: PeeringIndex,
        /// The VPC that exposes the destination.
        vpc: VpcIndex,
    },
    /// Taken out of what a peering exposes, and nothing else leads there. Dropped, and the sender is told.
    NotExposed,
    /// The destination is the gateway itself.
    Local,
    /// The destination is an external address of the gateway's NAT: answered for by ARP, and nothing else.
    NatExternal,
    /// The destination is every host of a subnet. Such packets are not forwarded (RFC 2644).
    SubnetBroadcast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped, and the sender is told.
    Unreachable,
}
