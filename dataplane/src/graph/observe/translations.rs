//! Which rules of NAT have translated a packet.

use rewire_conntrack::{FlowKey, KeyHash};
use rewire_tables::VpcIndex;

use super::{Before, Teller};
use crate::buffer::PacketBuffer;
use crate::graph::context::Context;
use crate::graph::egress_nat;
use crate::graph::family::Family;
use crate::graph::nat_policy::{self, Egress, IngressRule};
use crate::graph::packet::{Connection, Packet};
use crate::walk::{Fact, Translation};

/// What has translated the destination of a packet that arrived in a VPC.
pub(super) fn of_destination<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    vpc: VpcIndex,
) -> Translation {
    let Connection::New(key) = packet.connection else {
        return Translation::Connection;
    };
    match nat_policy::ingress_rule(cx.tables, &FlowKey { vpc, ..key }, true) {
        IngressRule::PortForward(rule, _) => Translation::PortForward((&rule.name).into()),
        IngressRule::Static(rule) => Translation::Static((&rule.name).into()),
        IngressRule::None | IngressRule::Excluded => Translation::Mapping,
    }
}

/// What has translated the source of a packet.
pub(super) fn of_source<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    before: &Before<A>,
) -> Translation {
    let Connection::New(key) = packet.connection else {
        return Translation::Connection;
    };
    let mut opening = egress_nat::opening(packet, key, KeyHash::default());
    if !before.is_led {
        // What masquerades change of an ICMP query's other end leads nowhere.
        opening.destination = (key.destination, key.destination_port);
    }
    let Some(interface) = cx.tables.interface(packet.egress) else {
        return Translation::Connection;
    };
    match egress_nat::source_rule(cx, &opening, interface) {
        Egress::Static(_, rule) => Translation::Static((&rule.name).into()),
        Egress::Masquerade(rule) => Translation::Masquerade {
            rule: (&rule.name).into(),
            pool: rule.pool.as_ref().into(),
        },
        Egress::None | Egress::Unmapped => Translation::Connection,
    }
}

/// Tells whether no rule is asked about a packet's destination.
pub(super) fn excluded<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    key: &FlowKey<A>,
    teller: &mut Teller<'_, B>,
) {
    let rule = nat_policy::ingress_rule(cx.tables, key, true);
    if matches!(rule, IngressRule::Excluded) {
        teller.say(Fact::Excluded);
    }
}

/// Tells whether no rule is asked about a packet's source.
pub(super) fn excluded_on_exit<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    key: &FlowKey<A>,
    teller: &mut Teller<'_, B>,
) {
    let opening = egress_nat::opening(packet, *key, KeyHash::default());
    let seen = nat_policy::egress_key(key, opening.destination, &opening.admission);
    let outer = packet.hairpin.unwrap_or(packet.egress);
    if cx.tables.nat().is_excluded(outer, &seen) {
        teller.say(Fact::Excluded);
    }
}
