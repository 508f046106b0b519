//! What the ACLs of one generation say about packets and connections: pure questions to the tables, asked when a packet
//! comes, and about a connection again when the policy has changed since.
//!
//! Rules of flow scope, and the default, decide about the packet that begins a connection; what follows it, replies and
//! ICMP errors about them pass with it. Rules of packet scope decide about every packet. A connection that one of these let
//! in is not let through as a whole: all of its packets, either way, are asked about like a first one.

use rewire_conntrack::{Admission, Flow, TimeoutClass};
use rewire_packet::{IpHeader, Transport};
use rewire_tables::acl::{
    AclAction, AclDecision, AclDefault, AclScope, AclVerdict, NO_PORT, RuleCounter, RuleCounters,
    UNCOUNTED,
};
use rewire_tables::{AclIndex, AclKey, InterfaceIndex, PeeringIndex, Tables, VpcIndex};

use super::burst::layer3;
use super::family::Family;
use super::nat_policy::Leaving;
use super::packet::{Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// One ACL on a packet's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    pub acl: AclIndex,
    pub place: Place,
}

/// Where a packet meets an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the interface that it comes in by.
    In,
    /// At the peering that it crosses.
    Peering,
    /// At the interface that it leaves by.
    Out,
}

impl Filter {
    /// What a packet is dropped as that the ACL forbids.
    pub(super) fn reason(self) -> DropReason {
        match self.place {
            Place::In => DropReason::AclInDenied,
            Place::Peering => DropReason::AclPeeringDenied,
            Place::Out => DropReason::AclOutDenied,
        }
    }

    /// Whether packets meet it as they come in.
    pub(super) fn is_on_arrival(self) -> bool {
        self.place == Place::In
    }

    /// Notes where a packet counts that a verdict decided about here.
    pub(super) fn note(self, tables: &Tables, verdict: AclVerdict, counters: &mut RuleCounters) {
        counters[self.place as usize] = tables.acl(self.acl).counter(verdict.rule);
    }

    /// Forgets where a packet counts behind this filter: it does not get there.
    pub(super) fn stop(self, counters: &mut RuleCounters) {
        counters[self.place as usize + 1..].fill(RuleCounter::NONE);
    }

    /// What a verdict comes to here. What meets the ACL of a peering is exposed at both ends: its sender is admitted, and neither
    /// routes nor translations lead across to anything else. So it passes where the default denies what is not exposed.
    pub(super) fn decision(self, tables: &Tables, verdict: AclVerdict) -> AclDecision {
        let unless_exposed = self.place == Place::Peering
            && verdict.rule.is_none()
            && tables.acl(self.acl).default_action() == AclDefault::DenyUnlessExposed;
        match unless_exposed {
            true => AclDecision {
                action: AclAction::Allow,
                ..verdict.decision
            },
            false => verdict.decision,
        }
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// On, by an interface.
    Leaving(InterfaceIndex),
    /// To the gateway itself, in this VPC.
    Local(VpcIndex),
    /// Nowhere: no route leads on.
    Nowhere,
}

impl To {
    fn leaving(self) -> Option<InterfaceIndex> {
        match self {
            To::Leaving(interface) => Some(interface),
            To::Local(_) | To::Nowhere => None,
        }
    }

    /// The VPC that the packet goes to.
    pub(super) fn vpc(self, tables: &Tables) -> Option<VpcIndex> {
        match self {
            To::Leaving(interface) => tables.interface(interface).map(|i| i.vpc),
            To::Local(vpc) => Some(vpc),
            To::Nowhere => None,
        }
    }
}

/// The ACLs on a packet's way, in the order in which it meets them.
pub(super) fn filters(
    tables: &Tables,
    ingress: InterfaceIndex,
    peering: Option<PeeringIndex>,
    to: To,
) -> impl Iterator<Item = Filter> + use<> {
    let of = |interface: Option<InterfaceIndex>| interface.and_then(|i| tables.interface(i));
    let filter = |acl: Option<AclIndex>, place| acl.map(|acl| Filter { acl, place });
    let filters = [
        filter(of(Some(ingress)).and_then(|i| i.acl_in), Place::In),
        filter(
            peering.and_then(|peering| tables.peering(peering).acl()),
            Place::Peering,
        ),
        filter(of(to.leaving()).and_then(|i| i.acl_out), Place::Out),
    ];
    filters.into_iter().flatten()
}

/// What kind of packet is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One that begins a connection, or belongs to one that was not let through as a whole.
    First,
    /// One of a connection that was let through as a whole.
    Following,
}

/// A packet that is not to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// Where.
    pub filter: Filter,
    /// Whether its sender is told.
    pub reject: bool,
}

/// Asks the ACL of an interface about a packet that came in by it. Whether all that let it pass decided about its flow.
///
/// # Errors
/// It is not let pass.
pub(super) fn arrives<A: Family>(
    tables: &Tables,
    ingress: InterfaceIndex,
    key: &AclKey<A>,
    kind: Kind,
    decided: impl FnMut(Filter, AclVerdict),
) -> Result<bool, Denied> {
    let filters = filters(tables, ingress, None, To::Nowhere);
    let asked = filters.filter(|filter| is_asked(tables, *filter, kind));
    let verdicts = asked.map(|filter| (filter, tables.acl(filter.acl).lookup(key)));
    judge(tables, verdicts, kind, decided)
}

/// Whether an ACL is asked about packets of a kind at all.
pub(super) fn is_asked(tables: &Tables, filter: Filter, kind: Kind) -> bool {
    kind == Kind::First || tables.acl(filter.acl).has_packet_rules()
}

/// Judges a packet by what each filter that [is asked](is_asked) says about it; tells each verdict that counts to `decided`.
/// Whether all that let the packet pass decided about its flow.
///
/// # Errors
/// The first filter that does not let it pass.
pub(super) fn judge(
    tables: &Tables,
    verdicts: impl Iterator<Item = (Filter, AclVerdict)>,
    kind: Kind,
    mut decided: impl FnMut(Filter, AclVerdict),
) -> Result<bool, Denied> {
    let mut whole = true;
    for (filter, verdict) in verdicts {
        let decision = filter.decision(tables, verdict);
        if kind == Kind::Following && decision.scope == AclScope::Flow {
            continue;
        }
        decided(filter, verdict);
        let denied = |reject| Denied { filter, reject };
        match decision.action {
            AclAction::Allow => whole &= decision.scope == AclScope::Flow,
            AclAction::Deny => return Err(denied(false)),
            AclAction::Reject => return Err(denied(true)),
        }
    }
    Ok(whole)
}

/// How the ACLs of these tables still let a connection in that leaves there, if they do, and where its packets are counted.
pub(super) fn still_admits<A: Family>(
    tables: &Tables,
    flow: &Flow<A>,
    leaving: Leaving,
) -> Option<(Admission, RuleCounters)> {
    let to = To::Leaving(leaving.interface);
    let original = &flow.original;
    let (source_port, destination_port) = port_numbers(flow.admission.ports);
    let key = AclKey {
        from: original.vpc,
        to: to.vpc(tables),
        source: original.source,
        destination: original.destination,
        protocol: original.protocol,
        source_port,
        destination_port,
    };
    let peering = leaving.crossing.map(|crossing| crossing.peering);
    let filters = filters(tables, flow.admission.ingress, peering, to);
    let verdicts = filters.map(|filter| (filter, tables.acl(filter.acl).lookup(&key)));
    let mut counters = UNCOUNTED;
    let note = |filter: Filter, verdict| filter.note(tables, verdict, &mut counters);
    let whole = judge(tables, verdicts, Kind::First, note).ok()?;
    let admission = Admission {
        peering,
        whole,
        ..flow.admission
    };
    Some((admission, if whole { counters } else { UNCOUNTED }))
}

/// How a packet that begins a connection comes in.
pub(super) fn admission<B: PacketBuffer, A: Family>(packet: &Packet<B, A>) -> Admission {
    Admission {
        ingress: match packet.origin {
            Origin::Received(ingress) => ingress,
            // The gateway's own packets begin no connections.
            Origin::Own(_) | Origin::OwnOnLink(_) => InterfaceIndex(0),
        },
        ports: ports(packet),
        peering: packet.peering,
        whole: packet.whole,
        // Which they are is known when its translation is.
        timeouts: TimeoutClass::default(),
    }
}

/// Where all packets of the connection are counted that a packet begins: nowhere, if each of them is asked about by itself.
pub(super) fn lasting<B, A: Family>(packet: &Packet<B, A>) -> RuleCounters {
    match packet.whole {
        true => packet.counters,
        false => UNCOUNTED,
    }
}

/// What ACLs see of a packet.
pub(super) fn key<B: PacketBuffer, A: Family>(
    packet: &Packet<B, A>,
    from: VpcIndex,
    to: Option<VpcIndex>,
) -> AclKey<A> {
    let IpHeader {
        source,
        destination,
        protocol,
        ..
    } = packet.header;
    let (source_port, destination_port) = port_numbers(ports(packet));
    AclKey {
        from,
        to,
        source,
        destination,
        protocol: protocol.0,
        source_port,
        destination_port,
    }
}

/// The ports that ACLs see of a packet. Of ICMP, 0 and the type times 256 plus the code; of a fragment after the first,
/// none.
pub(super) fn ports<B: PacketBuffer, A: Family>(packet: &Packet<B, A>) -> Option<(u16, u16)> {
    let icmp = |message_type, code| Some((0, AclKey::<A>::icmp(message_type, code)));
    match packet.transport {
        Transport::IcmpQuery { message_type, .. } => {
            let message = packet.header.upper_layer(layer3(&packet.buffer));
            icmp(message_type, message.get(1).copied().unwrap_or(0))
        }
        Transport::IcmpError { message_type, code }
        | Transport::IcmpOther { message_type, code } => icmp(message_type, code),
        transport => transport.ports(),
    }
}

fn port_numbers(ports: Option<(u16, u16)>) -> (u32, u32) {
    ports.map_or((NO_PORT, NO_PORT), |(source, destination)| {
        (source.into(), destination.into())
    })
}

/// Whether every packet is looked at by an ACL, not only that which begins a connection.
pub(super) fn has_packet_rules(tables: &Tables, acl: Option<AclIndex>) -> bool {
    acl.is_some_and(|acl| tables.acl(acl).has_packet_rules())
}
