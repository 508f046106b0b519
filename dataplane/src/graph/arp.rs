//! ARP (RFC 826): answers for the gateway's own addresses and those of its NAT, and learns who its neighbors are.
//!
//! *Uses* the frame and its interface. *Next*: the same interface's port, or nowhere.

use std::net::Ipv4Addr;

use rewire_packet::arp::{ArpOperation, ArpRepr, ArpView};
use rewire_packet::ethernet::{self, EthernetRepr};
use rewire_packet::{EtherType, MacAddress};
use rewire_tables::InterfaceIndex;

use super::Node;
use super::burst::layer3;
use super::context::{Context, Received, Sinks, drop_frame};
use super::heard::{Heard, answers_for, learn};
use super::observe;
use super::packet::Origin;
use super::resolver::Resolver;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;
use crate::walk::Onward;

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
    if frames.is_empty() {
        return;
    }
    cx.counters.visit(Node::Arp, frames.len());
    for mut frame in frames.drain(..) {
        let Origin::Received(index) = frame.origin else {
            drop_frame(cx, frame.origin, DropReason::ArpNotForUs);
            continue;
        };
        let outcome = handle(cx, index, &mut frame.buffer, resolver, sinks);
        if cx.observes {
            let onward = match &outcome {
                Ok(Outcome::Answer) => Onward::Transmit(observe::interface(cx, index)),
                Ok(Outcome::Consumed) => Onward::Consume,
                Err(reason) => observe::dropped(*reason),
            };
            observe::link(Node::Arp, &frame, onward, sinks);
        }
        match outcome {
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
    let view = ArpView::new_checked(layer3(buffer)).map_err(|_| DropReason::ArpMalformed)?;
    let arp = ArpRepr::parse(&view);
    let for_us = answers_for(cx, interface, arp.target_protocol);
    let heard = Heard {
        address: arp.sender_protocol,
        mac: arp.sender_hardware,
        to_us: for_us,
        overrides: true,
    };
    let learned = learn(cx, (index, interface), heard, resolver, sinks);
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

/// Writes an ARP frame into a buffer.
pub(super) fn write_arp<B: PacketBuffer>(
    buffer: &mut B,
    source: MacAddress,
    destination: MacAddress,
    arp: &ArpRepr,
) -> bool {
    let ethernet = EthernetRepr {
        source,
        destination,
        ether_type: EtherType::ARP,
    };
    buffer.resize(ethernet::HEADER_LEN + arp.buffer_len())
        && ethernet.emit(buffer.bytes_mut()).is_ok()
        && arp
            .emit(&mut buffer.bytes_mut()[ethernet::HEADER_LEN..])
            .is_ok()
}
