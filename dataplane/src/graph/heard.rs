//! Neighbors that are heard of, by ARP or neighbor discovery: whom the gateway answers for, and whom it learns.

use rewire_packet::MacAddress;
use rewire_tables::{Interface, InterfaceIndex, Route};

use super::context::{Context, LearnedNeighbor, Sinks};
use super::family::Family;
use super::resolver::Resolver;
use crate::buffer::PacketBuffer;

/// A neighbor that speaks of itself.
#[derive(Clone, Copy)]
pub(super) struct Heard<A> {
    pub address: A,
    pub mac: MacAddress,
    /// It speaks to the gateway, so that it is worth knowing even if nobody asked.
    pub to_us: bool,
    /// It may replace what was known.
    pub overrides: bool,
}

/// Whether the gateway answers for an address here: its own, and external addresses of its NAT on this link.
pub(super) fn answers_for<A: Family>(cx: &Context<'_>, interface: &Interface, target: A) -> bool {
    let nat_external = || {
        let route = cx.tables.vpc(interface.vpc).route(target);
        matches!(route, Some(Route::NatExternal)) && interface.on_link(target.into())
    };
    target.is_own(interface) || nat_external()
}

/// Takes a neighbor over, where RFC 826 and RFC 4861 say so: it speaks to us, or we know it or ask for it already. Tells
/// whether it is somebody that we care about.
pub(super) fn learn<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    (index, interface): (InterfaceIndex, &Interface),
    heard: Heard<A>,
    resolver: &Resolver<B, A>,
    sinks: &mut dyn Sinks<B>,
) -> bool {
    let Heard { address, mac, .. } = heard;
    let usable = mac.is_unicast()
        && !mac.is_zero()
        && mac != interface.mac
        && (address.is_link_local() || interface.on_link(address.into()))
        && !answers_for(cx, interface, address);
    if !usable {
        return false;
    }
    let known = cx.tables.neighbor(index, address.into());
    if !heard.to_us && known.is_none() && !resolver.is_asking((index, address)) {
        return false;
    }
    if known != Some(mac) && (known.is_none() || heard.overrides) {
        let neighbor = LearnedNeighbor {
            interface: index,
            address: address.into(),
            mac,
            generation: cx.tables.generation(),
        };
        if !sinks.learned(neighbor) {
            cx.counters.learned_lost.add(1);
        }
    }
    true
}
