//! Ethernet in: is the frame for us, and what does it carry?
//!
//! *Uses* the frame and its interface. *Sets* the packet's VPC. *Next*: `arp`, `ip_input`.

use std::net::Ipv4Addr;

use rewire_conntrack::Rewrite;
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::{EtherType, Fragment, IpHeader, MacAddress, Protocol, Transport};
use rewire_tables::InterfaceIndex;

use super::Node;
use super::burst::Burst;
use super::context::{Context, Received, drop_frame, vpc_of};
use super::packet::{Connection, Fate, Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// What the frame carries, if the gateway takes it.
enum Carries {
    Arp,
    Ipv4 { link_destination: MacAddress },
}

pub(super) fn run<B: PacketBuffer>(
    cx: &Context<'_>,
    received: &mut Vec<Received<B>>,
    arp: &mut Vec<Received<B>>,
    burst: &mut Burst<B, Ipv4Addr>,
) {
    cx.counters
        .node(Node::EthernetInput)
        .add(received.len() as u64);
    for frame in received.drain(..) {
        match classify(cx, &frame) {
            Ok(Carries::Arp) => arp.push(frame),
            Ok(Carries::Ipv4 { link_destination }) => {
                let Some(vpc) = vpc_of(cx.tables, frame.origin) else {
                    drop_frame(cx, frame.origin, DropReason::InterfaceUnknown);
                    continue;
                };
                let packet = packet(frame, link_destination, vpc);
                burst.push(packet, Node::IpInput);
            }
            Err(reason) => drop_frame(cx, frame.origin, reason),
        }
    }
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
        EtherType::IPV4 => Ok(Carries::Ipv4 { link_destination }),
        EtherType::IPV6 => Err(DropReason::Ipv6NotForwarded),
        other if other.is_vlan() => Err(DropReason::VlanUnknown),
        _ => Err(DropReason::EtherTypeUnknown),
    }
}

/// A packet about which nothing is decided yet. `ip_input` reads its header.
pub(super) fn packet<B>(
    frame: Received<B>,
    link_destination: MacAddress,
    vpc: rewire_tables::VpcIndex,
) -> Packet<B, Ipv4Addr> {
    Packet {
        buffer: frame.buffer,
        origin: frame.origin,
        link_destination,
        header: IpHeader {
            source: Ipv4Addr::UNSPECIFIED,
            destination: Ipv4Addr::UNSPECIFIED,
            protocol: Protocol(0),
            fragment: Fragment::Whole,
            hop_limit: 0,
            traffic_class: 0,
            header_len: 0,
            packet_len: 0,
        },
        transport: Transport::Other {
            protocol: Protocol(0),
        },
        vpc,
        connection: Connection::Untracked,
        rewrite: Rewrite {
            destination: None,
            source: None,
            route_vpc: vpc,
        },
        egress: InterfaceIndex(0),
        next_hop: Ipv4Addr::UNSPECIFIED,
        next_hop_mac: MacAddress::ZERO,
        fate: Fate::Pending,
    }
}
