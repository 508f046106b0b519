//! Neighbor discovery (RFC 4861): answers for the gateway's own addresses and those of its NAT, and learns who its
//! neighbors are. The gateway is no default router that advertises itself, and keeps no list of multicast listeners:
//! what else a link says about itself is dropped.
//!
//! *Uses* the packet and its interface. *Sets* the whole packet, where it is turned into the answer. *Next*: the same
//! interface's port, or nowhere.

use std::net::Ipv6Addr;

use rewire_packet::ethernet::EthernetView;
use rewire_packet::icmpv6::{Icmpv6View, message_type};
use rewire_packet::ndp::NdpRepr;
use rewire_packet::{Fragment, MacAddress, Transport};
use rewire_tables::Interface;

use super::Node;
use super::burst::{Burst, Next, layer3};
use super::context::{Context, Sinks};
use super::family::Family;
use super::heard::{Heard, answers_for, learn};
use super::ipv6::write_ndp;
use super::packet::{Fate, Origin, Packet};
use super::resolver::Resolver;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// All nodes of a link (RFC 4291, section 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(super) fn run<B: PacketBuffer>(
    cx: &Context<'_>,
    burst: &mut Burst<B, Ipv6Addr>,
    resolver: &Resolver<B, Ipv6Addr>,
    sinks: &mut dyn Sinks<B>,
) {
    burst.for_each(Node::Ndp, cx.counters, |packet| {
        match handle(cx, packet, resolver, sinks) {
            Ok(fate) => {
                packet.fate = fate;
                Next::Done
            }
            Err(reason) => Next::Drop(reason),
        }
    });
}

fn handle<B: PacketBuffer>(
    cx: &Context<'_>,
    packet: &mut Packet<B, Ipv6Addr>,
    resolver: &Resolver<B, Ipv6Addr>,
    sinks: &mut dyn Sinks<B>,
) -> Result<Fate, DropReason> {
    let Origin::Received(index) = packet.origin else {
        return Err(DropReason::NdpNotForUs);
    };
    let interface = cx
        .tables
        .interface(index)
        .ok_or(DropReason::InterfaceUnknown)?;
    let link = (index, interface);
    let taken_in = match parse(packet)? {
        NdpRepr::Solicitation {
            target,
            source_link_address,
        } => {
            let to_us = answers_for(cx, interface, target);
            let heard = source_link_address.map(|mac| Heard {
                address: packet.header.source,
                mac,
                to_us,
                overrides: true,
            });
            let learned = heard.is_some_and(|heard| learn(cx, link, heard, resolver, sinks));
            if to_us {
                answer(packet, interface, target, source_link_address)?;
                return Ok(Fate::Transmit(index));
            }
            learned
        }
        // Nobody is learned from an advertisement that was not asked for (RFC 4861, section 7.2.5).
        NdpRepr::Advertisement {
            target,
            overrides,
            target_link_address,
            ..
        } => {
            let heard = target_link_address.map(|mac| Heard {
                address: target,
                mac,
                to_us: false,
                overrides,
            });
            let learned = heard.is_some_and(|heard| learn(cx, link, heard, resolver, sinks));
            // Another worker may have asked.
            if !learned && let Some(next) = cx.steering.next(packet.hops) {
                return Ok(Fate::GoRound(next));
            }
            learned || answers_for(cx, interface, packet.header.destination)
        }
    };
    if taken_in {
        Ok(Fate::Consume)
    } else {
        Err(DropReason::NdpNotForUs)
    }
}

/// Reads a solicitation or an advertisement, with all checks.
fn parse<B: PacketBuffer>(packet: &Packet<B, Ipv6Addr>) -> Result<NdpRepr, DropReason> {
    let header = &packet.header;
    let Transport::IcmpOther {
        message_type: message_type::NEIGHBOR_SOLICITATION | message_type::NEIGHBOR_ADVERTISEMENT,
        ..
    } = packet.transport
    else {
        return Err(DropReason::NdpNotForUs);
    };
    // No message of neighbor discovery comes in fragments (RFC 6980).
    let source = header.source;
    if header.fragment != Fragment::Whole
        || (source.is_martian_source() && !source.is_unspecified())
    {
        return Err(DropReason::NdpMalformed);
    }
    let message = header.upper_layer(layer3(&packet.buffer));
    let view = Icmpv6View::new_checked(message).map_err(|_| DropReason::NdpMalformed)?;
    NdpRepr::parse(&view, header).map_err(|_| DropReason::NdpMalformed)
}

/// Turns a solicitation into the advertisement that answers it (RFC 4861, section 7.2.4). A probe for duplicates, which
/// has no sender, is answered to everybody.
fn answer<B: PacketBuffer>(
    packet: &mut Packet<B, Ipv6Addr>,
    interface: &Interface,
    target: Ipv6Addr,
    asker: Option<MacAddress>,
) -> Result<(), DropReason> {
    let probe = packet.header.source.is_unspecified();
    let (destination, mac) = if probe {
        (ALL_NODES, MacAddress::from_ipv6_multicast(ALL_NODES))
    } else {
        let sender = || {
            let ethernet = EthernetView::new_checked(packet.buffer.bytes());
            ethernet.map_or(MacAddress::ZERO, |ethernet| ethernet.source())
        };
        // An asker who is sure that we know it may leave its address out.
        (packet.header.source, asker.unwrap_or_else(sender))
    };
    if !probe && !mac.is_unicast() {
        return Err(DropReason::NdpMalformed);
    }
    let advertisement = NdpRepr::Advertisement {
        target,
        router: true,
        solicited: !probe,
        overrides: true,
        target_link_address: Some(interface.mac),
    };
    let (link, addresses) = ((interface.mac, mac), (target, destination));
    if write_ndp(&mut packet.buffer, link, addresses, &advertisement) {
        Ok(())
    } else {
        Err(DropReason::NoBuffer)
    }
}
