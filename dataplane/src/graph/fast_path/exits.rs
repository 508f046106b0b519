//! How packets leave: the interface and the Ethernet addresses that a next hop comes to. Most packets of a burst have one of
//! few next hops, so what was found for one is kept for the next.

use rewire_conntrack::FlowKey;
use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, NextHop, NextHops, Route, VpcIndex};

use super::packet::Packet;
use crate::graph::acl_policy;
use crate::graph::context::Context;
use crate::graph::family::Family;
use crate::graph::nat_policy;

/// How a packet leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exit {
    /// The interface that it leaves by.
    pub interface: InterfaceIndex,
    /// That interface's VPC.
    pub vpc: VpcIndex,
    /// The bytes of the longest packet that leaves as a whole; 0 where none may leave here.
    pub mtu: u32,
    /// The first twelve bytes of the frame: the neighbor's MAC address, and the gateway's.
    pub addresses: [u8; 12],
}

/// The exits that were found last.
pub(super) struct Exits<A> {
    recent: Box<[Recent<A>; RECENT]>,
    /// The place of the one that was asked for last, and the next hops that it was for, if they are what alone tells: mostly
    /// they are asked for again.
    last: (usize, usize),
}

const RECENT: usize = 256;

/// An exit, and what it was found for.
#[derive(Clone, Copy)]
struct Recent<A> {
    /// [`Tables::generation`](rewire_tables::Tables::generation); none, where it is good for one packet alone.
    generation: Option<u64>,
    /// [`NextHops::place`].
    hops: usize,
    /// The destination, if that is on the link; otherwise zero.
    host: A,
    exit: Exit,
}

impl<A: Family> Exits<A> {
    pub(super) fn new() -> Self {
        let nothing = Recent {
            generation: None,
            hops: 0,
            host: A::from_number(0),
            exit: NONE,
        };
        Exits {
            recent: Box::new([nothing; RECENT]),
            last: (0, 0),
        }
    }

    /// How a packet leaves by one of these next hops, if that is known and no ACL looks at each packet. Of several next hops, the
    /// one that its connection takes is looked up each time.
    #[inline(always)]
    pub(super) fn find(&mut self, cx: &Context<'_>, hops: &NextHops, packet: &Packet<A>) -> &Exit {
        let (last, for_hops) = self.last;
        if hops.place() == for_hops && self.recent[last].generation == Some(cx.tables.generation())
        {
            return &self.recent[last].exit;
        }
        self.find_other(cx, hops, packet)
    }

    /// How a packet leaves by its route; none where that leads no further. `before` is what was found for the packet before, where all that
    /// have its route leave so.
    #[inline(always)]
    pub(super) fn follow<'r>(
        &mut self,
        cx: &Context<'_>,
        route: &'r Route,
        packet: &Packet<A>,
        before: &mut Option<(&'r Route, Exit)>,
    ) -> Option<Exit> {
        match before {
            Some((same, exit)) if std::ptr::eq(*same, route) => Some(*exit),
            _ => {
                let Route::Forward(hops) = route else {
                    return None;
                };
                let exit = *self.find(cx, hops, packet);
                let is_for_all = hops.only().is_some() && !hops.is_on_link();
                *before = is_for_all.then_some((route, exit));
                Some(exit)
            }
        }
    }

    /// As [`find`](Self::find), of next hops that were not asked for last.
    #[inline(never)]
    fn find_other(&mut self, cx: &Context<'_>, hops: &NextHops, packet: &Packet<A>) -> &Exit {
        let host = match hops.is_on_link() {
            true => packet.destination,
            false => A::from_number(0),
        };
        let mixed =
            (hops.place() as u64 ^ host.to_number() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = (mixed >> 56) as usize;
        let recent = &mut self.recent[place];
        let is_it = (recent.generation == Some(cx.tables.generation()))
            & (recent.hops == hops.place())
            & (recent.host == host);
        if !is_it {
            *recent = Recent {
                generation: hops.only().map(|_| cx.tables.generation()),
                hops: hops.place(),
                host,
                exit: look_up(cx, hops, packet),
            };
        }
        self.last = match hops.is_on_link() {
            true => (0, 0),
            false => (place, hops.place()),
        };
        &self.recent[place].exit
    }
}

const NONE: Exit = Exit {
    interface: InterfaceIndex(0),
    vpc: VpcIndex(0),
    mtu: 0,
    addresses: [0; 12],
};

#[inline(never)]
fn look_up<A: Family>(cx: &Context<'_>, hops: &NextHops, packet: &Packet<A>) -> Exit {
    // All packets of a connection take the same way.
    let key = || FlowKey {
        vpc: packet.route_vpc,
        ..packet.key
    };
    let hop = hops.select(|| nat_policy::flow_hash(&key()));
    exit(cx, hop, packet.destination).unwrap_or(NONE)
}

fn exit<A: Family>(cx: &Context<'_>, hop: &NextHop, destination: A) -> Option<Exit> {
    let interface = cx.tables.interface(hop.interface())?;
    if acl_policy::has_packet_rules(cx.tables, interface.acl_out) {
        return None;
    }
    let next_hop = hop.via().unwrap_or(destination.into());
    // A next hop of the other family is none of this one's.
    A::from_ip(next_hop)?;
    let MacAddress(neighbor) = cx.tables.neighbor(hop.interface(), next_hop)?;
    let mut addresses = [0; 12];
    addresses[..6].copy_from_slice(&neighbor);
    addresses[6..].copy_from_slice(&interface.mac.0);
    Some(Exit {
        interface: hop.interface(),
        vpc: interface.vpc,
        mtu: interface.mtu.into(),
        addresses,
    })
}
