//! Ingress NAT: to which connection does the packet belong, and where does that lead its destination?
//!
//! *Uses* header, transport, VPC. *Sets* the connection, the rewrite of the destination, the VPC it is routed in.
//! *Next*: `route`.

use rewire_conntrack::{Connections, Direction, FlowId, FlowKey, State, TcpState};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::nat::Quoted;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Fragment, Transport};
use rewire_tables::Route;
use rewire_tables::acl::{RuleCounters, UNCOUNTED};

use super::Node;
use super::burst::{Burst, Next, layer3};
use super::context::Context;
use super::family::Family;
use super::filtering;
use super::nat_policy;
use super::packet::{Connection, Fate, Packet};
use super::resolution::resolve;
use super::route::stopped;
use super::segment::{self, segment};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
) {
    burst.for_each(Node::IngressNat, cx.counters, |packet| {
        match classify(cx, packet, connections) {
            Ok(Way::Routed) => Next::To(Node::Route),
            Ok(Way::OtherFamily) => {
                packet.fate = Fate::ChangeFamily;
                Next::Done
            }
            Err(reason @ DropReason::NatPrefixUnmapped) => {
                Next::Refuse(reason, IcmpErrorKind::HostUnreachable.into())
            }
            Err(reason) => Next::Drop(reason),
        }
    });
}

/// Where a packet goes on.
enum Way {
    /// To its route.
    Routed,
    /// In the other address family.
    OtherFamily,
}

fn classify<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
) -> Result<Way, DropReason> {
    if let Transport::IcmpError { .. } = packet.transport {
        return relate(cx, packet, connections);
    }
    let key = segment::key(packet.vpc, &packet.header, &packet.transport);
    let found = find(cx, connections, &key).filter(|found| {
        packet.header.fragment == Fragment::Later
            || !ends_before(connections, *found, &packet.transport)
    });
    if let Some((id, direction)) = found {
        let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
        if A::nat64_flow(&flow).is_some() {
            packet.connection = Connection::Established(id, direction);
            return Ok(Way::OtherFamily);
        }
        packet.rewrite = flow.rewrite(direction);
        packet.peering = flow.admission.peering;
        packet.counters = counters(cx, connections, id);
        packet.connection = Connection::Established(id, direction);
        packet.vpc = packet.rewrite.route_vpc;
        return Ok(Way::Routed);
    }
    if A::is_for_nat64(cx.tables, &key) {
        packet.connection = Connection::New(key);
        return Ok(Way::OtherFamily);
    }
    // A later fragment goes where the first one has gone, and whether that began a connection is seen then.
    if packet.header.fragment != Fragment::Later {
        let bytes = layer3(&packet.buffer);
        connections
            .admits_new(&segment::<A>(&packet.header, &packet.transport, bytes))
            .map_err(|_| DropReason::ConnectionInvalid)?;
    }
    let ingress = nat_policy::ingress(cx.tables, &key, true).map_err(stopped)?;
    if ingress.destination.is_none()
        && may_answer_anothers(cx, packet, &key)
        && filtering::internal(cx, connections, &key).is_none()
    {
        return Err(DropReason::NatNoMapping);
    }
    packet.rewrite.destination = ingress.destination;
    packet.rewrite.route_vpc = ingress.vpc;
    packet.vpc = ingress.vpc;
    packet.crossing = ingress.crossing;
    packet.connection = Connection::New(key);
    Ok(Way::Routed)
}

/// Whether a packet for an address of the gateway's own, or of its NAT, may belong to a connection of another worker which has
/// not looked at it. It goes there before anything is decided about it.
fn may_answer_anothers<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    key: &FlowKey<A>,
) -> bool {
    let asks_us = matches!(
        packet.transport,
        Transport::IcmpQuery { message_type, .. } if message_type == A::ECHO_REQUEST
    );
    cx.steering.has_peers()
        && !asks_us
        && cx.steering.next(packet.hops).is_some()
        && matches!(
            cx.tables.vpc(key.vpc).route(key.destination),
            Some(Route::NatExternal | Route::Local)
        )
}

/// Whether a SYN begins another connection in place of one that is over: one that the end which answered the old one
/// opens, with the same addresses and ports. The old one is removed then.
fn ends_before<A: Family>(
    connections: &mut Connections<A>,
    (id, direction): (FlowId, Direction),
    transport: &Transport,
) -> bool {
    let Transport::Tcp { flags, .. } = transport else {
        return false;
    };
    let opens = flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::ACK);
    let is_over = |state| {
        matches!(
            state,
            State::Tcp(TcpState::LastAck | TcpState::TimeWait | TcpState::Closed)
        )
    };
    let ends = opens
        && direction == Direction::Reply
        && connections.flow(id).is_some_and(|flow| is_over(flow.state));
    if ends {
        connections.remove(id);
    }
    ends
}

/// The connection that a key belongs to, if the policy of this generation still allows it. One that it forbids ends
/// here.
pub(super) fn find<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    key: &FlowKey<A>,
) -> Option<(FlowId, Direction)> {
    let (id, direction) = connections.lookup(key, cx.now)?;
    let flow = connections.flow(id)?;
    resolve(cx, connections, id, &flow).then_some((id, direction))
}

/// Where the packets of a connection are counted. It was noted when the connection was resolved under these tables, if they have
/// ACLs at all.
pub(super) fn counters<A: Family>(
    cx: &Context<'_>,
    connections: &Connections<A>,
    id: FlowId,
) -> RuleCounters {
    match cx.tables.has_acls() {
        true => connections.counters(id),
        false => UNCOUNTED,
    }
}

/// Notes where the packets of a connection are counted, for [`counters`].
pub(super) fn note_counters<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    id: FlowId,
    counters: RuleCounters,
) {
    if cx.tables.has_acls() {
        connections.set_counters(id, counters);
    }
}

/// An ICMP error is related to the connection whose packet it quotes (RFC 5508, section 4). A quoted packet travelled
/// one way, so the error travels the other: it is looked up by the quoted packet's key, turned round.
fn relate<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
) -> Result<Way, DropReason> {
    let unrelated = DropReason::IcmpErrorUnrelated;
    let bytes = layer3(&packet.buffer);
    // The first fragment of a message has a checksum of all of it.
    if packet.header.fragment == Fragment::Whole && !A::is_error_intact(bytes, &packet.header) {
        return Err(DropReason::IcmpErrorDamaged);
    }
    let quoted = Quoted::find(bytes, &packet.header).map_err(|_| unrelated)?;
    let key = segment::quoted_key(packet.vpc, &quoted);
    let answered = key.reversed(packet.vpc);
    let Some((id, direction)) = find(cx, connections, &answered) else {
        // What nobody here has sent may have been one of the other family.
        packet.connection = Connection::New(answered);
        return match A::BITS == 32 && A::is_for_nat64(cx.tables, &answered) {
            true => Ok(Way::OtherFamily),
            false => Err(unrelated),
        };
    };
    let flow = connections.flow(id).ok_or(unrelated)?;
    if A::nat64_flow(&flow).is_some() {
        packet.connection = Connection::Related(id, direction);
        return Ok(Way::OtherFamily);
    }
    packet.rewrite = flow.rewrite(direction);
    packet.counters = counters(cx, connections, id);
    packet.vpc = packet.rewrite.route_vpc;
    packet.connection = Connection::Related(id, direction);
    Ok(Way::Routed)
}
