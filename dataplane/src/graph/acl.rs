//! ACLs: may the packet come in here, cross this peering, and leave there? Asked once both are known, and before anybody is told anything.
//!
//! *Uses* header, transport, the connection, what the route says. *Sets* whether the connection that the packet begins is
//! let through as a whole. *Next*: what the route says.

use arrayvec::ArrayVec;
use rewire_conntrack::{Connections, Direction, FlowId};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::{Fragment, Transport};
use rewire_tables::acl::{AclVerdict, MOST_ACLS, RuleCounters, UNCOUNTED};
use rewire_tables::{AclKey, InterfaceIndex, Tables};

use super::Node;
use super::acl_log::{self, AclLogger};
use super::acl_policy::{self, Denied, Filter, Kind, To};
use super::burst::{Burst, IcmpErrorOf, Next};
use super::context::{Context, Sinks};
use super::family::Family;
use super::ingress_nat::counters;
use super::packet::{Connection, Origin, Packet};
use crate::buffer::PacketBuffer;

/// Where a packet goes for which the route says `next`: to the ACLs first, if there are any on its way.
pub(super) fn asks<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    next: Next<IcmpErrorOf<A>>,
) -> Next<IcmpErrorOf<A>> {
    let Origin::Received(ingress) = packet.origin else {
        return next;
    };
    if !cx.tables.has_acls() {
        return next;
    }
    packet.routed = next;
    match filters(cx, packet, ingress).next() {
        Some(_) => Next::To(Node::Acl),
        None => next,
    }
}

/// The ACLs on a packet's way. One that has changed its family has met the first in its own.
fn filters<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    ingress: InterfaceIndex,
) -> impl Iterator<Item = Filter> + use<B, A> {
    let is_foreign = packet.foreign.is_some();
    acl_policy::filters(cx.tables, ingress, packet.peering, to(packet))
        .filter(move |filter| !(is_foreign && filter.is_on_arrival()))
}

/// Where the route leads a packet.
fn to<B, A: Family>(packet: &Packet<B, A>) -> To {
    match packet.routed {
        Next::To(Node::HopLimit) => To::Leaving(packet.egress),
        Next::To(_) => To::Local(packet.crossing.map_or(packet.vpc, |crossing| crossing.to)),
        Next::Done | Next::Drop(_) | Next::Refuse(..) | Next::Reset(_) => To::Nowhere,
    }
}

/// What one packet asks, and what it is told.
struct Question<A> {
    /// The packet's place in the burst.
    packet: u16,
    ingress: InterfaceIndex,
    key: AclKey<A>,
    kind: Kind,
    /// The ACLs that are asked, with their verdicts once they are there.
    filters: ArrayVec<(Filter, Option<AclVerdict>), MOST_ACLS>,
    /// Where the packet is counted as one of its connection.
    counters: RuleCounters,
}

/// The questions of a burst: ACLs are asked about many packets at once. Kept from burst to burst, so that none allocates.
pub(super) struct Questions<A> {
    all: Vec<Question<A>>,
    /// What one ACL is asked, and by which questions.
    keys: Vec<AclKey<A>>,
    askers: Vec<(u16, u16)>,
}

impl<A: Family> Questions<A> {
    pub(super) fn with_capacity(packets: usize) -> Self {
        Questions {
            all: Vec::with_capacity(packets),
            keys: Vec::with_capacity(MOST_ACLS * packets),
            askers: Vec::with_capacity(MOST_ACLS * packets),
        }
    }

    /// Asks every ACL, once about all packets that it has to do with.
    fn ask(&mut self, tables: &Tables) {
        loop {
            self.keys.clear();
            self.askers.clear();
            let mut asked = None;
            for (number, question) in (0..).zip(&self.all) {
                for (place, (filter, verdict)) in (0..).zip(&question.filters) {
                    if verdict.is_none() && *asked.get_or_insert(filter.acl) == filter.acl {
                        self.keys.push(question.key);
                        self.askers.push((number, place));
                    }
                }
            }
            let Some(acl) = asked else {
                return;
            };
            tables.acl(acl).lookup_batch(&self.keys, |index, verdict| {
                let (number, place) = self.askers[index];
                let question = &mut self.all[usize::from(number)];
                question.filters[usize::from(place)].1 = Some(verdict);
            });
        }
    }
}

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
    questions: &mut Questions<A>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) {
    let inbox = burst.take_inbox(Node::Acl, cx.counters);
    questions.all.clear();
    for &index in &inbox {
        let packet = &burst.packets[usize::from(index)];
        let question = question(cx, index, packet, connections);
        questions.all.extend(question);
    }
    questions.ask(cx.tables);
    let mut asked = questions.all.iter().peekable();
    for &index in &inbox {
        let packet = &mut burst.packets[usize::from(index)];
        let next = match asked.next_if(|question| question.packet == index) {
            None => packet.routed,
            Some(question) => decide(cx, packet, question, logger, sinks),
        };
        burst.dispatch(index, next);
    }
    burst.return_inbox(inbox, cx.counters);
}

/// What a packet asks; nothing, where it passes unasked.
fn question<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    index: u16,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
) -> Option<Question<A>> {
    let Origin::Received(ingress) = packet.origin else {
        return None;
    };
    let interface = cx.tables.interface(ingress)?;
    let (kind, counters) = kind(cx, packet, connections)?;
    let to = to(packet);
    let filters = filters(cx, packet, ingress)
        .filter(|filter| acl_policy::is_asked(cx.tables, *filter, kind));
    Some(Question {
        packet: index,
        ingress,
        key: acl_policy::key(packet, interface.vpc, to.vpc(cx.tables)),
        kind,
        filters: filters.map(|filter| (filter, None)).collect(),
        counters,
    })
}

/// What the verdicts come to. What is let pass and goes on is counted when it leaves, so that what waits for its neighbor, and is
/// asked about again, counts once; all else is counted here.
fn decide<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    question: &Question<A>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) -> Next<IcmpErrorOf<A>> {
    let verdicts = question.filters.iter();
    let verdicts = verdicts.filter_map(|&(filter, verdict)| Some((filter, verdict?)));
    let mut counters = question.counters;
    let judged = acl_policy::judge(cx.tables, verdicts, question.kind, |filter, verdict| {
        filter.note(cx.tables, verdict, &mut counters);
        if verdict.decision.log {
            let entry = acl_log::entry(question.ingress, filter.acl, &question.key, verdict);
            logger.log(cx, entry, verdict.decision.scope, sinks);
        }
    });
    let next = match judged {
        Ok(whole) => {
            packet.whole &= whole;
            packet.counters = counters;
            packet.routed
        }
        Err(Denied { filter, reject }) => {
            filter.stop(&mut counters);
            let reason = filter.reason();
            match reject {
                false => Next::Drop(reason),
                true if is_segment(packet) => Next::Reset(reason),
                true => Next::Refuse(reason, IcmpErrorKind::Prohibited.into()),
            }
        }
    };
    if !matches!(next, Next::To(Node::HopLimit)) {
        let bytes = packet.header.packet_len as u64;
        cx.counters.rules.count(&counters, bytes);
    }
    next
}

/// Asks again what was asked about a packet that was [observed](super::observe) here, and tells each verdict that counted.
pub(super) fn retrace<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
    decided: impl FnMut(Filter, AclVerdict),
) {
    let Some(question) = question(cx, 0, packet, connections) else {
        return;
    };
    let filters = question.filters.iter();
    let verdicts = filters.map(|&(filter, _)| {
        let verdict = cx.tables.acl(filter.acl).lookup(&question.key);
        (filter, verdict)
    });
    // Whether it passed is in the packet.
    let _ = acl_policy::judge(cx.tables, verdicts, question.kind, decided);
}

/// Whether a packet is a whole TCP segment.
fn is_segment<B, A: Family>(packet: &Packet<B, A>) -> bool {
    packet.header.fragment == Fragment::Whole && matches!(packet.transport, Transport::Tcp { .. })
}

/// What kind of packet it is, and where it counts as one of its connection; none for one that passes with that, unasked.
fn kind<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
) -> Option<(Kind, RuleCounters)> {
    if let Some(foreign) = &packet.foreign {
        return foreign.kind;
    }
    let first = Some((Kind::First, UNCOUNTED));
    let of_flow = |connections: &Connections<A>, id| match connections.flow(id) {
        Some(flow) if flow.admission.whole => {
            Some((Kind::Following, counters(cx, connections, id)))
        }
        _ => first,
    };
    match packet.connection {
        Connection::Related(..) => None,
        Connection::Established(id, direction) if is_of(packet, connections, id, direction) => {
            of_flow(connections, id)
        }
        _ => first,
    }
}

/// Whether a packet that has a connection's key also has its ports: the key has none of SCTP and of ICMP other than queries.
fn is_of<B: PacketBuffer, A: Family>(
    packet: &Packet<B, A>,
    connections: &Connections<A>,
    id: FlowId,
    direction: Direction,
) -> bool {
    let Some(flow) = connections.flow(id) else {
        return false;
    };
    let has_ports = flow.original.source_port != 0 || flow.original.destination_port != 0;
    if has_ports || matches!(packet.transport, Transport::IcmpQuery { .. }) {
        return true;
    }
    match (acl_policy::ports(packet), direction) {
        (None, _) => true,
        (ports, Direction::Original) => flow.admission.ports == ports,
        (Some((source, destination)), Direction::Reply) => {
            flow.admission.ports == Some((destination, source))
        }
    }
}
