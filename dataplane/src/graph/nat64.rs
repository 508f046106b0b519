//! NAT64 (RFC 6146): packets that change their address family, with the connections that IPv6's table has of them.
//!
//! Such a packet walks up to `ingress_nat` in its own family, and is [taken over](enter) here: its connection, or the rule for a
//! new one, says where it goes in the other family. There it walks from `route` to `mtu` with the header that it will have, its bytes
//! still those that its sender sent. Then it is [translated](leave). So what is refused on the way leaves no trace, goes back to its own
//! family, and is answered there by an error about what its sender sent; what waits for its neighbor walks again from the start.
//!
//! Connections that begin outside, in IPv4, are [led in](inbound) by port forwards and mappings.
//!
//! While it walks in IPv4, a packet's source is 0.0.0.0: which external address it gets is not known before its end. That is what ACLs
//! see where it leaves, and what next hops are chosen by.
//!
//! *Uses* the connection, the rules, the ACL where the packet came in. *Sets* the packet's bytes. *Next*: `route` of the other family,
//! then `ethernet_output`.

mod begin;
mod enter;
mod inbound;
mod leave;
mod policy;

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Admission, Segment};
use rewire_packet::icmpv4::Icmpv4Error;
use rewire_packet::icmpv6::Icmpv6Error;
use rewire_packet::translate::{error_kind_to_ipv4, error_kind_to_ipv6};
use rewire_packet::{Fragment, IpHeader, Transport};
use rewire_tables::VpcIndex;
use rewire_tables::acl::RuleCounters;

pub(super) use self::enter::key_of_ipv6;
pub(super) use self::inbound::{forward, inbound_rule, needed_filtering, of as inbound};
pub(super) use self::policy::{rule, still_admits};
use super::acl_policy::Kind;
use super::burst::{Answer, Burst, IcmpErrorOf, Next, layer3};
use super::context::{Context, Sinks};
use super::family::Family;
use super::packet::{Connection, Fate, Packet};
use super::pipeline::{Limits, Pipeline, drop_packet};
use super::{Node, observe};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::drop_reason::DropReason;

/// What a packet that has changed its family brings along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    /// Its connection, in IPv6's table.
    connection: Connection<Ipv6Addr>,
    /// What it says to that; nothing, where it is a fragment behind the first.
    segment: Option<Segment>,
    /// Its length as it came.
    length: usize,
    /// How a connection that it begins comes in.
    admission: Admission,
    /// What the ACL where it leaves is asked; nothing, where it passes unasked.
    pub kind: Option<(Kind, RuleCounters)>,
    /// Above which length it is cut to pieces once it is translated, whatever its link takes; no length, where it may not be cut.
    pub cut_at: usize,
}

impl Foreign {
    /// What it has to do with a connection, in IPv6's table.
    pub(super) fn connection(&self) -> Connection<Ipv6Addr> {
        self.connection
    }
}

/// Both families.
type Pipelines<'a, B> = (&'a mut Pipeline<B, Ipv4Addr>, &'a mut Pipeline<B, Ipv6Addr>);

/// Sends the packets of a burst on that change their family, until all have left.
pub(super) fn run<P: BufferPool>(
    cx: &Context<'_>,
    (ipv4, ipv6): Pipelines<'_, P::Buffer>,
    pool: &mut P,
    limits: &mut Limits<'_>,
    sinks: &mut dyn Sinks<P::Buffer>,
) {
    if ipv4.leaving.is_empty() && ipv6.leaving.is_empty() {
        return;
    }
    let before = ipv4.burst.packets.len() + ipv6.burst.packets.len();
    let connections = &mut ipv6.connections;
    for mut packet in ipv6.leaving.drain(..) {
        match enter::to_ipv4(cx, connections, &mut packet, limits.acl_logger, sinks) {
            Ok(way) => {
                let packet = way.of(packet);
                observe::changed_family(cx, &packet, connections, sinks);
                ipv4.burst.push(packet, Node::Route);
            }
            Err(refusal) => {
                observe::refused(cx, &packet, &refusal, sinks);
                match refusal {
                    Refusal::Drop(reason) => drop_packet(cx, packet.into_frame(), reason, sinks),
                    Refusal::Answer(reason, answer) => {
                        refuse(&mut ipv6.burst, packet, reason, answer);
                    }
                }
            }
        }
    }
    for mut packet in ipv4.leaving.drain(..) {
        match enter::to_ipv6(cx, connections, &mut packet, limits.acl_logger, sinks) {
            Ok(way) => {
                let packet = way.of(packet);
                observe::changed_family(cx, &packet, connections, sinks);
                ipv6.burst.push(packet, Node::Route);
            }
            Err(refusal) => {
                observe::refused(cx, &packet, &refusal, sinks);
                match refusal {
                    Refusal::Drop(reason) => drop_packet(cx, packet.into_frame(), reason, sinks),
                    Refusal::Answer(reason, answer) => {
                        refuse(&mut ipv4.burst, packet, reason, answer);
                    }
                }
            }
        }
    }
    let entered = ipv4.burst.packets.len() + ipv6.burst.packets.len() - before;
    cx.counters.sent_to(Node::IngressNat, Node::Route, entered);
    // Refused here are packets of the family itself. What is refused from now on goes back to the other one.
    let own = (ipv4.burst.refused.len(), ipv6.burst.refused.len());
    ipv4.route_to_mtu(cx, pool, limits, sinks);
    ipv6.route_to_mtu(cx, pool, limits, sinks);
    if cx.observes {
        observe::before_nat64(&mut ipv4.burst, &ipv6.connections);
        observe::before_nat64(&mut ipv6.burst, &ipv6.connections);
    }
    leave::to_ipv4(cx, &mut ipv4.burst, &mut ipv6.connections, limits, sinks);
    leave::to_ipv6(cx, &mut ipv6.burst, &mut ipv6.connections);
    if cx.observes {
        observe::after_nat64(cx, &mut ipv4.burst, &mut ipv6.connections, sinks);
        observe::after_nat64(cx, &mut ipv6.burst, &mut ipv6.connections, sinks);
    }
    ipv4.leave(cx, pool, sinks);
    ipv6.leave(cx, pool, sinks);
    give_back(&mut ipv4.burst, own.0);
    give_back(&mut ipv6.burst, own.1);
    ipv4.answer(cx, pool, limits, sinks);
    ipv6.answer(cx, pool, limits, sinks);
    if ipv4.returned.is_empty() && ipv6.returned.is_empty() {
        return;
    }
    for (packet, reason) in ipv4.returned.drain(..) {
        let answer = match packet.routed {
            Next::Reset(_) => Some(Answer::Reset),
            Next::Refuse(_, error) => of_ipv6(error, &packet.header).map(Answer::Error),
            _ => None,
        };
        bring_home(cx, &mut ipv6.burst, packet, reason, answer, sinks);
    }
    for (packet, reason) in ipv6.returned.drain(..) {
        let answer = match packet.routed {
            Next::Reset(_) => Some(Answer::Reset),
            Next::Refuse(_, error) => of_ipv4(error).map(Answer::Error),
            _ => None,
        };
        bring_home(cx, &mut ipv4.burst, packet, reason, answer, sinks);
    }
    ipv4.answer(cx, pool, limits, sinks);
    ipv6.answer(cx, pool, limits, sinks);
}

/// Why a packet does not change its family.
pub(super) enum Refusal<A: Family> {
    Drop(DropReason),
    Answer(DropReason, Answer<IcmpErrorOf<A>>),
}

impl<A: Family> From<DropReason> for Refusal<A> {
    fn from(reason: DropReason) -> Self {
        Refusal::Drop(reason)
    }
}

/// How a packet goes on in the other family.
struct Way<A: Family> {
    header: IpHeader<A::Version>,
    transport: Transport,
    vpc: VpcIndex,
    foreign: Foreign,
    /// Whether the ACL where it came in has decided about all of its connection.
    whole: bool,
}

impl<A: Family> Way<A> {
    fn of<B, F: Family>(self, packet: Packet<B, F>) -> Packet<B, A> {
        let link_destination = packet.link_destination;
        Packet {
            header: self.header,
            transport: self.transport,
            foreign: Some(self.foreign),
            whole: self.whole,
            ..Packet::new(packet.into_frame(), link_destination, self.vpc)
        }
    }
}

/// Adds a packet that is dropped, and its sender told.
fn refuse<B: PacketBuffer, A: Family>(
    burst: &mut Burst<B, A>,
    mut packet: Packet<B, A>,
    reason: DropReason,
    answer: Answer<IcmpErrorOf<A>>,
) {
    packet.fate = Fate::Drop(reason);
    burst.refused.push((burst.packets.len() as u16, answer));
    burst.packets.push(packet);
}

/// Lets what was refused, but for the first `own`, return to its own family.
fn give_back<B: PacketBuffer, A: Family>(burst: &mut Burst<B, A>, own: usize) {
    for (index, answer) in burst.refused.drain(own..) {
        let packet = &mut burst.packets[usize::from(index)];
        if let Fate::Drop(reason) = packet.fate {
            packet.routed = match answer {
                Answer::Error(error) => Next::Refuse(reason, error),
                Answer::Reset => Next::Reset(reason),
            };
            packet.fate = Fate::Return(reason);
        }
    }
}

/// Drops a packet in the family that it came in, and answers it there.
fn bring_home<B: PacketBuffer, F: Family, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    packet: Packet<B, F>,
    reason: DropReason,
    answer: Option<Answer<IcmpErrorOf<A>>>,
    sinks: &mut dyn Sinks<B>,
) {
    let header = A::check(layer3(&packet.buffer));
    let (link_destination, vpc) = (packet.link_destination, packet.vpc);
    let mut own = Packet::new(packet.into_frame(), link_destination, vpc);
    match (header, answer) {
        (Ok(header), Some(answer)) => {
            own.header = header;
            refuse(burst, own, reason, answer);
        }
        _ => drop_packet(cx, own.into_frame(), reason, sinks),
    }
}

/// What the sender of an IPv6 packet is told, where a sender of IPv4 would hear this about what became of it.
fn of_ipv6(error: Icmpv4Error, header: &IpHeader<rewire_packet::Ipv4>) -> Option<Icmpv6Error> {
    error_kind_to_ipv6(error, header.packet_len, u32::MAX)
}

/// The other way round.
fn of_ipv4(error: Icmpv6Error) -> Option<Icmpv4Error> {
    error_kind_to_ipv4(error, u32::MAX)
}

/// Whether a packet can be translated at all (RFC 6146 section 3.4): TCP, UDP, ICMP queries, and errors about these.
fn is_translatable(transport: &Transport, fragment: Fragment) -> bool {
    match transport {
        Transport::Tcp { .. } | Transport::Udp { .. } => true,
        Transport::IcmpQuery { .. } | Transport::IcmpError { .. } => fragment == Fragment::Whole,
        _ => false,
    }
}
