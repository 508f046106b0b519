//! What a destination prefix leads to.

use std::net::IpAddr;

use crate::index::{InterfaceIndex, PeeringIndex, VpcIndex};

/// One way that a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The interface that packets leave by.
    pub interface: InterfaceIndex,
    /// The next router; without one, the destination itself is on the link.
    pub via: Option<IpAddr>,
}

/// A route: what happens to packets for its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Forwarded to one of the next hops, of which there is at least one.
    Forward(Box<[NextHop]>),
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

impl Route {
    /// The next hop that the flow with this hash takes: by the highest random weight, so that a next hop that goes
    /// takes only its own flows with it (Thaler and Ravishankar 1998; RFC 2992, section 3 compares).
    pub fn next_hop(hops: &[NextHop], flow_hash: u64) -> Option<&NextHop> {
        match hops {
            [only] => Some(only),
            hops => hops.iter().max_by_key(|hop| weight(hop, flow_hash)),
        }
    }
}

fn weight(hop: &NextHop, flow_hash: u64) -> u64 {
    let via = match hop.via {
        None => 0,
        Some(IpAddr::V4(address)) => u64::from(address.to_bits()),
        Some(IpAddr::V6(address)) => {
            let bits = address.to_bits();
            (bits as u64) ^ ((bits >> 64) as u64).rotate_left(32)
        }
    };
    // A full mix of 64 bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014).
    let mut z = flow_hash ^ via.rotate_left(17) ^ (u64::from(hop.interface.0) << 48);
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(last: u8) -> NextHop {
        NextHop {
            interface: InterfaceIndex(1),
            via: Some(IpAddr::from([192, 0, 2, last])),
        }
    }

    #[test]
    fn flows_spread_evenly_and_only_the_flows_of_a_lost_hop_move() {
        let four = [hop(1), hop(2), hop(3), hop(4)];
        let three = [hop(1), hop(2), hop(4)];
        let mut counts = [0u32; 4];
        for flow in 0..40_000u64 {
            let flow = flow.wrapping_mul(0x2545_f491_4f6c_dd1d);
            let before = Route::next_hop(&four, flow).unwrap();
            let after = Route::next_hop(&three, flow).unwrap();
            if *before != hop(3) {
                assert_eq!(before, after);
            }
            counts[four.iter().position(|h| h == before).unwrap()] += 1;
        }
        for count in counts {
            assert!((9_000..11_000).contains(&count), "{counts:?}");
        }
        assert_eq!(Route::next_hop(&[], 1), None);
    }
}
