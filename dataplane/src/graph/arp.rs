//! ARP (RFC 826): answers for the gateway's own addresses and those of its NAT, and learns who its neighbors are.
//!
//! *Uses* the frame and its interface. *Next*: the same interface's port, or nowhere.

use std::net::{IpAddr, Ipv4Addr};

use rewire_packet::arp::{ArpOperation, ArpRepr, ArpView};
use rewire_packet::ethernet;
use rewire_tables::{Interface, InterfaceIndex, Route};

use super::Node;
use super::context::{Context, LearnedNeighbor, Received, Sinks, drop_frame};
use super::packet::Origin;
use super::resolver::{Resolver, write_arp};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

enum Outcome {
    /// The frame was changed into the answer.
    Answer,
    /// The frame told us something, or at least was for us.
    Consumed,
}

pub(super) fn run<B: PacketBuffer>(
    cx: &Context<'_>,
    frames: &mut Vec<Received<B>>,
    resolver: &Resolver<B, Ipv4Addr>,
    sinks: &mut dyn Sinks<B>,
) {
    cx.counters.node(Node::Arp).add(frames.len() as u64);
    for mut frame in frames.drain(..) {
        let Origin::Received(index) = frame.origin else {
            drop_frame(cx, frame.origin, DropReason::ArpNotForUs);
            continue;
        };
        match handle(cx, index, &mut frame.buffer, resolver, sinks) {
            Ok(Outcome::Answer) => sinks.transmit(index, frame.buffer),
            Ok(Outcome::Consumed) => cx.counters.consumed.add(1),
            Err(reason) => drop_frame(cx, frame.origin, reason),
        }
    }
}

fn handle<B: PacketBuffer>(
    cx: &Context<'_>,
    index: InterfaceIndex,
    buffer: &mut B,
    resolver: &Resolver<B, Ipv4Addr>,
    sinks: &mut dyn Sinks<B>,
) -> Result<Outcome, DropReason> {
    let interface = cx
        .tables
        .interface(index)
        .ok_or(DropReason::InterfaceUnknown)?;
    let payload = buffer
        .bytes()
        .get(ethernet::HEADER_LEN..)
        .unwrap_or_default();
    let view = ArpView::new_checked(payload).map_err(|_| DropReason::ArpMalformed)?;
    let arp = ArpRepr::parse(&view);
    let for_us = owns(cx, interface, arp.target_protocol);
    let learned = learn(cx, (index, interface), &arp, for_us, resolver, sinks);
    match arp.operation {
        ArpOperation::REQUEST if for_us => {
            let reply = arp.reply(interface.mac);
            if write_arp(buffer, interface.mac, arp.sender_hardware, &reply) {
                Ok(Outcome::Answer)
            } else {
                Err(DropReason::NoBuffer)
            }
        }
        ArpOperation::REPLY if for_us => Ok(Outcome::Consumed),
        _ if learned => Ok(Outcome::Consumed),
        _ => Err(DropReason::ArpNotForUs),
    }
}

/// Whether the gateway answers for an address here: its own, and external addresses of its NAT on this link.
fn owns(cx: &Context<'_>, interface: &Interface, target: Ipv4Addr) -> bool {
    let nat_external = || {
        let route = cx.tables.vpc(interface.vpc).route(target);
        matches!(route, Some(Route::NatExternal)) && interface.on_link(target.into())
    };
    interface.owns(target.into()) || nat_external()
}

/// Takes the sender over, where RFC 826 says so: it speaks to us, or we know it or ask for it already. Tells whether
/// the packet told us of somebody that we care about.
fn learn<B: PacketBuffer>(
    cx: &Context<'_>,
    (index, interface): (InterfaceIndex, &Interface),
    arp: &ArpRepr,
    for_us: bool,
    resolver: &Resolver<B, Ipv4Addr>,
    sinks: &mut dyn Sinks<B>,
) -> bool {
    let address = arp.sender_protocol;
    let usable = arp.sender_hardware.is_unicast()
        && !arp.sender_hardware.is_zero()
        && arp.sender_hardware != interface.mac
        && interface.on_link(address.into())
        && !owns(cx, interface, address);
    if !usable {
        return false;
    }
    let known = cx.tables.neighbor(index, address.into());
    if !for_us && known.is_none() && !resolver.is_asking((index, address)) {
        return false;
    }
    if known != Some(arp.sender_hardware) {
        let neighbor = LearnedNeighbor {
            interface: index,
            address: IpAddr::V4(address),
            mac: arp.sender_hardware,
        };
        if !sinks.learned(neighbor) {
            cx.counters.learned_lost.add(1);
        }
    }
    true
}
