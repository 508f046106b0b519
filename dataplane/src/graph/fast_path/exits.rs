//! How packets leave: the interface and the Ethernet addresses that a next hop comes to. Most packets of a burst have one of
//! few next hops, so what was found for one is kept for the next.

use rewire_conntrack::FlowKey;
use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, NextHop, NextHops, VpcIndex};

use super::has_packet_rules;
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
    /// The bytes of the longest packet that leaves as a whole.
    pub mtu: u32,
    /// The first twelve bytes of the frame: the neighbor's MAC address, and the gateway's.
    pub addresses: [u8; 12],
}

/// The exits that were found last, under one generation of the tables.
pub(super) struct Exits<A> {
    /// Of routes with one next hop.
    routers: Box<[Recent<Option<Exit>>; RECENT]>,
    /// Of hosts on a link, to which such routes lead that have no exit of their own.
    hosts: Box<[Recent<(A, Exit)>; RECENT]>,
}

const RECENT: usize = 256;

/// What was found for next hops, if anything.
#[derive(Clone, Copy)]
struct Recent<T> {
    generation: u64,
    /// [`NextHops::place`].
    hops: usize,
    found: Option<T>,
}

impl<T: Copy> Recent<T> {
    fn nothing() -> Box<[Self; RECENT]> {
        Box::new(
            [Recent {
                generation: 0,
                hops: 0,
                found: None,
            }; RECENT],
        )
    }

    fn get(&self, generation: u64, hops: &NextHops) -> Option<&T> {
        let is_it = (self.generation == generation) & (self.hops == hops.place());
        self.found.as_ref().filter(|_| is_it)
    }

    fn set(&mut self, generation: u64, hops: &NextHops, found: T) {
        *self = Recent {
            generation,
            hops: hops.place(),
            found: Some(found),
        };
    }
}

/// One of [`RECENT`] places.
fn place(number: u64) -> usize {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

impl<A: Family> Exits<A> {
    pub(super) fn new() -> Self {
        Exits {
            routers: Recent::nothing(),
            hosts: Recent::nothing(),
        }
    }

    /// How a packet for this destination leaves by one of these next hops, if that is known and no ACL looks at each packet.
    /// Of several next hops, the one that the key's connection takes is looked up each time.
    #[inline(always)]
    pub(super) fn find(
        &mut self,
        cx: &Context<'_>,
        hops: &NextHops,
        destination: A,
        key: impl FnOnce() -> FlowKey<A>,
    ) -> Option<Exit> {
        let generation = cx.tables.generation();
        let router = &self.routers[place(hops.place() as u64)];
        match router.get(generation, hops) {
            Some(Some(exit)) => return Some(*exit),
            Some(None) => {
                let host = &self.hosts[place(destination.to_number() as u64)];
                if let Some((address, exit)) = host.get(generation, hops)
                    && *address == destination
                {
                    return Some(*exit);
                }
            }
            None => {}
        }
        self.look_up(cx, hops, destination, &key())
    }

    #[inline(never)]
    fn look_up(
        &mut self,
        cx: &Context<'_>,
        hops: &NextHops,
        destination: A,
        key: &FlowKey<A>,
    ) -> Option<Exit> {
        let hop = hops.select(|| nat_policy::flow_hash(key));
        let exit = exit(cx, hop, destination)?;
        if hops.only().is_some() {
            let generation = cx.tables.generation();
            let is_host = hop.via().is_none();
            let router = &mut self.routers[place(hops.place() as u64)];
            router.set(generation, hops, (!is_host).then_some(exit));
            if is_host {
                let host = &mut self.hosts[place(destination.to_number() as u64)];
                host.set(generation, hops, (destination, exit));
            }
        }
        Some(exit)
    }
}

fn exit<A: Family>(cx: &Context<'_>, hop: &NextHop, destination: A) -> Option<Exit> {
    let interface = cx.tables.interface(hop.interface())?;
    if has_packet_rules(cx, interface.acl_out) {
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
