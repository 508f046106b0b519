//! Hairpins: connections from inside to an external address of the gateway's own, which turn round in it (RFC 4787, REQ-9; RFC 5382,
//! REQ-8): their destination is translated as for one from outside, and their source as if they left.
//!
//! Where a rule leads to one internal endpoint, both happen at once, in one connection. A mapping of a masquerade is known to its own
//! worker alone, and lives by the packets of its endpoint: so a packet to one leaves by the connection of its sender, *comes back* as if
//! the outside had sent it, and is filtered and led in like any other, by a connection of the mapping's. It counts two hops.
//!
//! What NAT64 has made IPv4 of comes back in the same way: its answers have to become IPv6 again, whoever gives them.
//!
//! Pure questions to the tables, like those of `nat_policy`.

use rewire_conntrack::FlowKey;
use rewire_tables::{
    AclFamily, AclKey, Interface, InterfaceIndex, Masquerade, Route, Tables, VpcIndex,
};

use super::nat_policy::{self, Egress, Ingress};

/// How a connection turns round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn<A> {
    /// It is led there.
    Led(Ingress<A>),
    /// No rule leads it: its packets come back, if their source is translated.
    Back,
}

/// How a connection turns round that its route would send out by `outer`, if that is into another VPC, and its destination is one of
/// the external addresses there. Across peerings nothing turns round.
///
/// Cost: a look-up of a route, for a connection that leaves its VPC.
#[inline]
pub(super) fn turn<A: AclFamily>(
    tables: &Tables,
    original: &FlowKey<A>,
    outer: &Interface,
) -> Option<Turn<A>> {
    if outer.vpc == original.vpc {
        return None;
    }
    let there = tables.vpc(outer.vpc).route(original.destination);
    is_external(there).then(|| led(tables, original, outer.vpc).map_or(Turn::Back, Turn::Led))
}

/// Whether a destination that has this route in the VPC that it would leave into is one of the external addresses there.
#[inline]
pub(super) fn is_external(route: Option<&Route>) -> bool {
    matches!(route, Some(Route::Local | Route::NatExternal))
}

/// The interface by which a packet with this key comes back that has come in by `ingress`, and what is done with its source there: it is for
/// an external address of the VPC that it would leave into, or of its own. None where its source would stay.
///
/// Cost: of one that stays in its VPC, a look at each interface there by which masqueraded packets leave.
pub(super) fn outer<'a, A: AclFamily>(
    tables: &'a Tables,
    key: &FlowKey<A>,
    seen: &AclKey<A>,
    ingress: InterfaceIndex,
) -> Option<(InterfaceIndex, Egress<'a, A>)> {
    let plain = Ingress {
        destination: None,
        vpc: key.vpc,
        crossing: None,
        idle_timeout: None,
    };
    if let Some((index, None)) = nat_policy::exit(tables, key, &plain) {
        let interface = tables.interface(index)?;
        let Some(Turn::Back) = turn(tables, key, interface) else {
            return None;
        };
        let egress = nat_policy::egress(tables, seen, (index, interface), (None, None));
        return (!matches!(egress, Egress::None)).then_some((index, egress));
    }
    let is_ours = matches!(
        tables.vpc(key.vpc).route(key.destination),
        Some(Route::Local | Route::NatExternal)
    );
    let led = Led {
        external: key.destination,
        ingress,
    };
    let (index, rule) = is_ours.then(|| masquerade(tables, seen, led)).flatten()?;
    Some((index, Egress::Masquerade(rule)))
}

/// The interface by which an IPv4 packet of NAT64's comes back that has this route in the VPC that it goes to (RFC 6146 section 3.8): it is
/// for an external address there, or for one of the gateway's own that a port forward leads on. Its protocol, destination and destination
/// port, if it has one, say that.
///
/// Packets for an address on the link of an interface come back by that one, others by the VPC's first. Cost: a look at each interface.
pub(super) fn outer_of_nat64<A: AclFamily>(
    tables: &Tables,
    vpc: VpcIndex,
    route: Option<&Route>,
    (protocol, destination, port): (u8, A, Option<u16>),
) -> Option<InterfaceIndex> {
    let is_forwarded =
        |port| nat_policy::is_port_forward(tables, vpc, protocol, (destination, port));
    let comes_back = match route {
        Some(Route::NatExternal) => true,
        Some(Route::Local) => port.is_some_and(is_forwarded),
        _ => false,
    };
    let there = || tables.interfaces().filter(|(_, i)| i.vpc == vpc);
    let outer = || there().min_by_key(|(index, i)| (!i.on_link(destination.into()), *index));
    comes_back.then(outer).flatten().map(|(index, _)| index)
}

fn led<A: AclFamily>(
    tables: &Tables,
    original: &FlowKey<A>,
    outside: VpcIndex,
) -> Option<Ingress<A>> {
    let outside = FlowKey {
        vpc: outside,
        ..*original
    };
    let ingress = nat_policy::ingress(tables, &outside, true).ok()?;
    (ingress.destination.is_some() && ingress.crossing.is_none()).then_some(ingress)
}

/// A connection that ingress NAT has led elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Led<A> {
    /// The destination that its sender means.
    pub external: A,
    /// The interface that it came in by.
    pub ingress: InterfaceIndex,
}

/// The masquerade rule for the source of a connection that turns round within its own VPC: that of packets which leave by the interface that
/// the external address is on, if it did not come from there. Without it, the reply would go straight to the sender, who knows
/// nothing of its source.
///
/// Cost: a look at each interface of the VPC by which masqueraded packets leave.
pub(super) fn masquerade<'a, A: AclFamily>(
    tables: &'a Tables,
    key: &AclKey<A>,
    led: Led<A>,
) -> Option<(InterfaceIndex, &'a Masquerade)> {
    let nat = tables.nat();
    let outer = nat
        .masquerading_interfaces_of(key.from)
        .filter(|outer| *outer != led.ingress);
    outer
        .filter_map(|outer| {
            let rule = nat.masquerade(outer, key)?;
            let interface = tables.interface(outer)?;
            let is_there = rule.owns(led.external) || interface.on_link(led.external.into());
            let is_meant = is_there && interface.vpc == key.from && !nat.is_excluded(outer, key);
            is_meant.then_some((outer, rule))
        })
        // Of several, one that is the same for all workers and all times.
        .min_by_key(|(outer, _)| *outer)
}
