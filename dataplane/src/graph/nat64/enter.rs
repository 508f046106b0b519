//! How a packet gets into the other family: its connection, the ACL where it came in, the header that it will have.

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Connections, Direction, Flow, FlowId, FlowKey};
use rewire_packet::icmp_error::{ICMPV4_ERROR_LIMIT, ICMPV6_ERROR_LIMIT, IcmpErrorKind};
use rewire_packet::icmpv4::message_type as v4;
use rewire_packet::icmpv6::message_type as v6;
use rewire_packet::ipv4::{self, Ipv4View};
use rewire_packet::ipv6;
use rewire_packet::nat::Quoted;
use rewire_packet::translate::{FRAGMENT_HEADER_LEN, IPV6_LEAST_MTU, LARGEST_FRAGMENTABLE};
use rewire_packet::{Fragment, Ip, IpHeader, Ipv4, Ipv6, Transport};
use rewire_tables::acl::{RuleCounters, UNCOUNTED};
use rewire_tables::nat::mapped;
use rewire_tables::{AclKey, VpcIndex};

use super::inbound::{self, Inbound};
use super::{Foreign, Refusal, Way, is_translatable, policy};
use crate::buffer::{LARGEST_FRAME, PacketBuffer};
use crate::drop_reason::DropReason;
use crate::graph::acl_log::{self, AclLogger};
use crate::graph::acl_policy::{self, Denied, Kind};
use crate::graph::burst::{Answer, layer3};
use crate::graph::context::{Context, Sinks};
use crate::graph::family::Family;
use crate::graph::ingress_nat::{counters, find};
use crate::graph::packet::{Connection, Origin, Packet};
use crate::graph::segment;

/// Takes an IPv6 packet over.
pub(super) fn to_ipv4<B: PacketBuffer>(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    packet: &mut Packet<B, Ipv6Addr>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) -> Result<Way<Ipv4Addr>, Refusal<Ipv6Addr>> {
    let header = packet.header;
    if !is_translatable(&packet.transport, header.fragment) {
        return Err(DropReason::Nat64Untranslatable.into());
    }
    // The checksum is that of another destination then.
    if !Ipv6Addr::has_both_ends(layer3(&packet.buffer), &header) {
        return Err(DropReason::NatRewriteFailed.into());
    }
    let (destination, vpc) = match packet.connection {
        Connection::Established(id, direction) | Connection::Related(id, direction) => {
            let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
            // What an error quotes may be made up: no IPv6 packet has the addresses of the far side.
            if flow.key(direction).is_of_other_family() {
                return Err(DropReason::IcmpErrorUnrelated.into());
            }
            let rewrite = flow.rewrite(direction);
            let answered = flow.key(direction.other());
            (policy::ipv4(answered.source), rewrite.route_vpc)
        }
        Connection::New(key) => {
            if header.fragment != Fragment::Later {
                let bytes = layer3(&packet.buffer);
                let segment = segment::segment::<Ipv6Addr>(&header, &packet.transport, bytes);
                connections
                    .admits_new(&segment)
                    .map_err(|_| DropReason::ConnectionInvalid)?;
            }
            let (rule, address) = policy::rule(cx.tables, &key).ok_or(DropReason::NatNoMapping)?;
            (Some(address), rule.vpc)
        }
        Connection::Untracked => (None, packet.vpc),
    };
    let destination = destination.ok_or(DropReason::NatNoMapping)?;
    let (foreign, whole) = foreign(cx, connections, packet, packet.connection, (logger, sinks))?;
    let length = ipv4::MIN_HEADER_LEN + header.packet_len - header.header_len;
    let is_error = matches!(packet.transport, Transport::IcmpError { .. });
    let most = if is_error {
        ICMPV4_ERROR_LIMIT
    } else {
        usize::MAX
    };
    Ok(Way {
        header: IpHeader {
            source: Ipv4Addr::UNSPECIFIED,
            destination,
            protocol: protocol(&header, Ipv4::ICMP),
            fragment: header.fragment,
            hop_limit: header.hop_limit,
            traffic_class: header.traffic_class,
            // Where the upper layer begins, for who looks at its bytes.
            header_len: header.header_len,
            packet_len: length.min(most),
        },
        transport: transport(packet.transport),
        vpc,
        foreign: Foreign {
            cut_at: cut_at(
                length <= LARGEST_FRAGMENTABLE || header.fragment != Fragment::Whole,
                LARGEST_FRAME,
            ),
            ..foreign
        },
        whole,
    })
}

/// Where an IPv4 packet goes in IPv6.
struct Led {
    source: Ipv6Addr,
    destination: (Ipv6Addr, u16),
    vpc: VpcIndex,
}

impl Led {
    /// As packets of a direction of a connection that is there.
    fn along(flow: &Flow<Ipv6Addr>, direction: Direction) -> Self {
        let answered = flow.key(direction.other());
        Led {
            source: answered.destination,
            destination: (answered.source, answered.source_port),
            vpc: flow.rewrite(direction).route_vpc,
        }
    }

    /// As one that begins a connection from outside.
    fn by(inbound: &Inbound<'_>) -> Self {
        Led {
            source: inbound.source,
            destination: inbound.destination,
            vpc: inbound.vpc,
        }
    }
}

/// Takes an IPv4 packet over, whose connection IPv6's table has, if anybody; or which begins one from outside.
pub(super) fn to_ipv6<B: PacketBuffer>(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    packet: &mut Packet<B, Ipv4Addr>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) -> Result<Way<Ipv6Addr>, Refusal<Ipv4Addr>> {
    let header = packet.header;
    let is_error = matches!(packet.transport, Transport::IcmpError { .. });
    let (connection, led) = match is_error {
        true => {
            let related = related(cx, connections, packet);
            let (id, direction, flow) = related.ok_or(DropReason::IcmpErrorUnrelated)?;
            let led = Led::along(&flow, direction);
            (Connection::Related(id, direction), led)
        }
        false => established_or_new(cx, connections, packet)?,
    };
    if !is_translatable(&packet.transport, header.fragment) {
        return Err(DropReason::Nat64Untranslatable.into());
    }
    if let Connection::New(_) = connection
        && header.fragment != Fragment::Later
    {
        let bytes = layer3(&packet.buffer);
        let segment = segment::segment::<Ipv4Addr>(&header, &packet.transport, bytes);
        connections
            .admits_new(&segment)
            .map_err(|_| DropReason::ConnectionInvalid)?;
    }
    let (foreign, whole) = foreign(cx, connections, packet, connection, (logger, sinks))?;
    let fragment_header = match header.fragment {
        Fragment::Whole => 0,
        Fragment::First | Fragment::Later => FRAGMENT_HEADER_LEN,
    };
    let length = ipv6::HEADER_LEN + fragment_header + header.packet_len - header.header_len;
    let most = if is_error {
        ICMPV6_ERROR_LIMIT
    } else {
        usize::MAX
    };
    let view = Ipv4View::new_checked(layer3(&packet.buffer));
    Ok(Way {
        header: IpHeader {
            source: led.source,
            destination: led.destination.0,
            protocol: protocol(&header, Ipv6::ICMP),
            fragment: header.fragment,
            hop_limit: header.hop_limit,
            traffic_class: header.traffic_class,
            header_len: header.header_len,
            packet_len: length.min(most),
        },
        transport: to_port(transport(packet.transport), led.destination.1),
        vpc: led.vpc,
        foreign: Foreign {
            // Its sender will not hear of what is too big: it is made to fit any link (RFC 7915, section 4).
            cut_at: cut_at(view.is_ok_and(|view| !view.dont_fragment()), IPV6_LEAST_MTU),
            ..foreign
        },
        whole,
    })
}

/// The connection that an IPv4 packet belongs to, or would begin, and where that leads it.
fn established_or_new<B: PacketBuffer>(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    packet: &Packet<B, Ipv4Addr>,
) -> Result<(Connection<Ipv6Addr>, Led), DropReason> {
    let key = segment::key(packet.vpc, &packet.header, &packet.transport);
    let key = key_of_ipv6(&key);
    if let Some((id, direction)) = find(cx, connections, &key) {
        let flow = connections.flow(id).ok_or(DropReason::NatNoMapping)?;
        let led = Led::along(&flow, direction);
        return Ok((Connection::Established(id, direction), led));
    }
    let inbound = inbound::of(cx, connections, &key).ok_or(DropReason::NatNoMapping)?;
    Ok((Connection::New(key), Led::by(&inbound)))
}

/// The connection whose packet an ICMP error quotes, and the way that the error goes.
fn related<B: PacketBuffer>(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    packet: &Packet<B, Ipv4Addr>,
) -> Option<(FlowId, Direction, Flow<Ipv6Addr>)> {
    let quoted = Quoted::find(layer3(&packet.buffer), &packet.header).ok()?;
    let key = segment::quoted_key(packet.vpc, &quoted).reversed(packet.vpc);
    let (id, direction) = find(cx, connections, &key_of_ipv6(&key))?;
    Some((id, direction, connections.flow(id)?))
}

/// The key of an IPv4 packet as IPv6's table has it.
pub(in crate::graph) fn key_of_ipv6(key: &FlowKey<Ipv4Addr>) -> FlowKey<Ipv6Addr> {
    FlowKey {
        vpc: key.vpc,
        protocol: match key.protocol {
            protocol if protocol == Ipv4::ICMP.0 => Ipv6::ICMP.0,
            protocol => protocol,
        },
        source: mapped(key.source),
        destination: mapped(key.destination),
        source_port: key.source_port,
        destination_port: key.destination_port,
    }
}

/// What a packet brings along, once the ACL where it came in has let it pass; and whether that has decided about all of its connection.
fn foreign<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    packet: &Packet<B, A>,
    connection: Connection<Ipv6Addr>,
    (logger, sinks): (&mut AclLogger, &mut dyn Sinks<B>),
) -> Result<(Foreign, bool), Refusal<A>> {
    let header = &packet.header;
    let bytes = layer3(&packet.buffer);
    let (kind, whole) = admit(cx, connections, packet, connection, (logger, sinks))?;
    let is_later = header.fragment == Fragment::Later;
    let foreign = Foreign {
        connection,
        segment: (!is_later).then(|| segment::segment::<A>(header, &packet.transport, bytes)),
        length: header.packet_len,
        admission: acl_policy::admission(packet),
        kind,
        cut_at: usize::MAX,
    };
    Ok((foreign, whole))
}

/// Asks the ACL where a packet came in. What the one where it leaves is asked, and whether all of its connection was decided about.
#[expect(clippy::type_complexity, reason = "what is passed on, as it is kept")]
fn admit<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    connections: &Connections<Ipv6Addr>,
    packet: &Packet<B, A>,
    connection: Connection<Ipv6Addr>,
    (logger, sinks): (&mut AclLogger, &mut dyn Sinks<B>),
) -> Result<(Option<(Kind, RuleCounters)>, bool), Refusal<A>> {
    let (kind, mut noted) = match connection {
        Connection::Related(..) => return Ok((None, true)),
        Connection::Established(id, _) => match connections.flow(id) {
            Some(flow) if flow.admission.whole => (Kind::Following, counters(cx, connections, id)),
            _ => (Kind::First, UNCOUNTED),
        },
        Connection::New(_) | Connection::Untracked => (Kind::First, UNCOUNTED),
    };
    let Origin::Received(ingress) = packet.origin else {
        return Ok((Some((kind, noted)), true));
    };
    let from = cx.tables.interface(ingress);
    let from = from.ok_or(DropReason::InterfaceUnknown)?.vpc;
    let key: AclKey<A> = acl_policy::key(packet, from, None::<VpcIndex>);
    let judged = acl_policy::arrives(cx.tables, ingress, &key, kind, |filter, verdict| {
        filter.note(cx.tables, verdict, &mut noted);
        if verdict.decision.log {
            let entry = acl_log::entry(ingress, filter.acl, &key, verdict);
            logger.log(cx, entry, verdict.decision.scope, sinks);
        }
    });
    match judged {
        Ok(whole) => Ok((Some((kind, noted)), whole)),
        Err(Denied { filter, reject }) => {
            filter.stop(&mut noted);
            let bytes = packet.header.packet_len as u64;
            cx.counters.rules.count(&noted, bytes);
            let reason = filter.reason();
            let is_segment = matches!(packet.transport, Transport::Tcp { .. })
                && packet.header.fragment == Fragment::Whole;
            Err(match reject {
                false => Refusal::Drop(reason),
                true if is_segment => Refusal::Answer(reason, Answer::Reset),
                true => {
                    let error = Answer::Error(IcmpErrorKind::Prohibited.into());
                    Refusal::Answer(reason, error)
                }
            })
        }
    }
}

/// See [`Foreign::cut_at`].
fn cut_at(may_be_cut: bool, length: usize) -> usize {
    match may_be_cut {
        true => length,
        false => usize::MAX,
    }
}

/// A packet's protocol in the other family, where ICMP has this number.
fn protocol<F: Ip>(header: &IpHeader<F>, icmp: rewire_packet::Protocol) -> rewire_packet::Protocol {
    match header.protocol == F::ICMP {
        true => icmp,
        false => header.protocol,
    }
}

/// A query has another type in the other family.
fn transport(transport: Transport) -> Transport {
    match transport {
        Transport::IcmpQuery {
            message_type,
            is_reply,
            identifier,
        } => Transport::IcmpQuery {
            message_type: match message_type {
                v4::ECHO_REQUEST => v6::ECHO_REQUEST,
                v4::ECHO_REPLY => v6::ECHO_REPLY,
                v6::ECHO_REQUEST => v4::ECHO_REQUEST,
                v6::ECHO_REPLY => v4::ECHO_REPLY,
                other => other,
            },
            is_reply,
            identifier,
        },
        other => other,
    }
}

/// The same, to another port, where it has ports.
fn to_port(transport: Transport, port: u16) -> Transport {
    match transport {
        Transport::Tcp {
            source,
            flags,
            header_len,
            ..
        } => Transport::Tcp {
            source,
            destination: port,
            flags,
            header_len,
        },
        Transport::Udp { source, .. } => Transport::Udp {
            source,
            destination: port,
        },
        other => other,
    }
}
