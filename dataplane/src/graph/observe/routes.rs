//! How a packet was routed: each look-up on its way, and where it led.

use rewire_tables::{Crossing, MOST_LOOKUPS, Route, VpcIndex};

use super::{Before, Teller, facts, interface, translations, vpc};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;
use crate::graph::context::Context;
use crate::graph::family::Family;
use crate::graph::packet::Packet;
use crate::walk::{Fact, Onward, RouteFact};

/// Tells what `route` has decided.
pub(super) fn tell<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    before: &Before<A>,
    onward: &Onward,
    teller: &mut Teller<'_, B>,
) {
    let mut found = lookups(cx, before.vpc, before.destination, onward, teller);
    let turned = packet.hairpin.filter(|_| !before.is_led);
    if let Some(outer) = turned {
        teller.say(Fact::TurnsRound {
            interface: interface(cx, outer),
        });
    }
    // It turned round, or has joined a mapping: it was looked up again.
    let led = packet.rewrite.destination.filter(|_| !before.is_led);
    if turned.is_some() || led.is_some() {
        if let Some(to) = led {
            let by = match packet.hairpin.and_then(|outer| cx.tables.interface(outer)) {
                Some(outer) => translations::of_destination(cx, packet, outer.vpc),
                None => crate::walk::Translation::Mapping,
            };
            facts::destination(cx, packet, by, to, teller);
        }
        found = lookups(cx, packet.vpc, packet.destination(), onward, teller);
    }
    if packet.crossing != before.crossing {
        crossing(cx, packet.crossing, teller);
    }
    if packet.comes_back {
        teller.say(Fact::TurnsRound {
            interface: interface(cx, packet.egress),
        });
    } else if let Some(Route::Forward(hops)) = found {
        let via = hops.iter().filter(|hop| hop.interface() == packet.egress);
        let next_hop = packet.next_hop.into();
        teller.say(Fact::NextHop {
            interface: interface(cx, packet.egress),
            via: via.filter_map(|hop| hop.via()).find(|via| *via == next_hop),
            among: hops.iter().len(),
        });
    }
}

/// Tells that a packet has crossed a peering.
pub(super) fn crossing<B>(
    cx: &Context<'_>,
    crossing: Option<Crossing>,
    teller: &mut Teller<'_, B>,
) {
    if let Some(Crossing { peering, from, to }) = crossing {
        teller.say(Fact::Crossing {
            peering: cx.tables.peering(peering).shared_name().into(),
            from: vpc(cx, from),
            to: vpc(cx, to),
        });
    }
}

/// Tells each look-up of a destination, from one VPC into the next; the route that it ended with.
fn lookups<'a, B, A: Family>(
    cx: &Context<'a>,
    mut table: VpcIndex,
    destination: A,
    onward: &Onward,
    teller: &mut Teller<'_, B>,
) -> Option<&'a Route> {
    let stops_at_peering = matches!(
        onward,
        Onward::Drop {
            reason: DropReason::PeeringNotAdmitted | DropReason::PeeringTransit,
            ..
        }
    );
    let mut route = None;
    for _ in 0..MOST_LOOKUPS {
        let found = cx.tables.vpc(table).longest_match(destination);
        route = found.map(|(_, route)| route);
        teller.say(Fact::Lookup {
            vpc: vpc(cx, table),
            destination: destination.into(),
            prefix: found.map(|(prefix, _)| prefix),
            route: route.map_or(RouteFact::None, |route| said(cx, route)),
        });
        table = match route {
            Some(Route::Vpc(next)) => *next,
            Some(Route::Peering { vpc: next, .. }) if !stops_at_peering => *next,
            _ => break,
        };
    }
    route
}

/// What a route says.
fn said(cx: &Context<'_>, route: &Route) -> RouteFact {
    match route {
        Route::Forward(hops) => RouteFact::Forward(hops.iter().len()),
        Route::Vpc(to) => RouteFact::Vpc(vpc(cx, *to)),
        Route::Peering { peering, vpc: to } => RouteFact::Peering {
            peering: cx.tables.peering(*peering).shared_name().into(),
            vpc: vpc(cx, *to),
        },
        Route::NotExposed => RouteFact::NotExposed,
        Route::Local => RouteFact::Local,
        Route::NatExternal => RouteFact::NatExternal,
        Route::SubnetBroadcast => RouteFact::SubnetBroadcast,
        Route::Blackhole => RouteFact::Blackhole,
        Route::Unreachable => RouteFact::Unreachable,
    }
}
