//! Ethernet in: is the frame for us, and what does it carry?
//!
//! *Uses* the frame and its interface. *Sets* the packet's VPC. *Next*: `arp`, `ip_input`.

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::{EtherType, IpVersion, MacAddress};

use super::Node;
use super::burst::Burst;
use super::context::{Context, Received, Sinks, drop_frame, vpc_of};
use super::observe;
use super::packet::Origin;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// What the frame carries, if the gateway takes it.
enum Carries {
    Arp,
    Ip {
        version: IpVersion,
        link_destination: MacAddress,
    },
}

/// Where frames go from here.
pub(super) struct Outlets<'a, B> {
    pub arp: &'a mut Vec<Received<B>>,
    pub ipv4: &'a mut Burst<B, Ipv4Addr>,
    pub ipv6: &'a mut Burst<B, Ipv6Addr>,
}

pub(super) fn run<B: PacketBuffer>(
    cx: &Context<'_>,
    received: &mut Vec<Received<B>>,
    to: Outlets<'_, B>,
    sinks: &mut dyn Sinks<B>,
) {
    if received.is_empty() {
        return;
    }
    cx.counters.visit(Node::EthernetInput, received.len());
    let before = (to.arp.len(), to.ipv4.packets.len() + to.ipv6.packets.len());
    if cx.observes {
        for frame in received.iter() {
            observe::received(cx, frame, classify(cx, frame).err(), sinks);
        }
    }
    for frame in received.drain(..) {
        match classify(cx, &frame) {
            Ok(Carries::Arp) => to.arp.push(frame),
            Ok(Carries::Ip {
                version,
                link_destination,
            }) => {
                let Some(vpc) = vpc_of(cx.tables, frame.origin) else {
                    drop_frame(cx, frame.origin, DropReason::InterfaceUnknown);
                    continue;
                };
                match version {
                    IpVersion::V4 => to.ipv4.begin(frame, link_destination, vpc),
                    IpVersion::V6 => to.ipv6.begin(frame, link_destination, vpc),
                }
            }
            Err(reason) => drop_frame(cx, frame.origin, reason),
        }
    }
    let now = (to.arp.len(), to.ipv4.packets.len() + to.ipv6.packets.len());
    cx.counters
        .sent_to(Node::EthernetInput, Node::Arp, now.0 - before.0);
    cx.counters
        .sent_to(Node::EthernetInput, Node::IpInput, now.1 - before.1);
}

fn classify<B: PacketBuffer>(cx: &Context<'_>, frame: &Received<B>) -> Result<Carries, DropReason> {
    let ethernet =
        EthernetView::new_checked(frame.buffer.bytes()).map_err(|_| DropReason::FrameTooShort)?;
    let link_destination = ethernet.destination();
    if let Origin::Received(index) = frame.origin {
        let interface = cx
            .tables
            .interface(index)
            .ok_or(DropReason::InterfaceUnknown)?;
        if frame.buffer.bytes().len() > ethernet::HEADER_LEN + usize::from(interface.mtu) {
            return Err(DropReason::FrameTooLong);
        }
        if link_destination != interface.mac && !link_destination.is_multicast() {
            return Err(DropReason::OtherStation);
        }
    }
    match ethernet.ether_type() {
        EtherType::ARP => Ok(Carries::Arp),
        EtherType::IPV4 => Ok(Carries::Ip {
            version: IpVersion::V4,
            link_destination,
        }),
        EtherType::IPV6 => Ok(Carries::Ip {
            version: IpVersion::V6,
            link_destination,
        }),
        other if other.is_vlan() => Err(DropReason::VlanUnknown),
        _ => Err(DropReason::EtherTypeUnknown),
    }
}
