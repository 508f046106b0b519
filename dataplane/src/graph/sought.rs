//! Which connections a frame may belong to, before it walks: for who looks for them without changing anything.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::FlowKey;
use rewire_packet::nat::Quoted;
use rewire_packet::{EtherType, Transport, ethernet};
use rewire_tables::{InterfaceIndex, Tables, VpcIndex};

use super::family::Family;
use super::{nat64, segment};
use crate::connection_table::Sought;

/// So many VPCs are looked into for a mapping of the packet's sender, at most: a look-up each, of a worker's time.
const MOST_VPCS: usize = 64;

/// The keys by which `ingress_nat` would look for the connection of a frame, and `nat64` for that of one of the other family.
pub(crate) fn sought(tables: &Tables, ingress: InterfaceIndex, frame: &[u8]) -> Sought {
    let mut sought = Sought::default();
    let link = ethernet::EthernetView::new_checked(frame);
    let (Ok(link), Some(interface)) = (link, tables.interface(ingress)) else {
        return sought;
    };
    let vpcs: BTreeSet<VpcIndex> = tables.interfaces().map(|(_, i)| i.vpc).collect();
    sought.external.extend(vpcs.into_iter().take(MOST_VPCS));
    let packet = frame.get(ethernet::HEADER_LEN..).unwrap_or_default();
    match link.ether_type() {
        EtherType::IPV4 => {
            sought.four.extend(key::<Ipv4Addr>(interface.vpc, packet));
            sought
                .six
                .extend(sought.four.iter().map(nat64::key_of_ipv6));
        }
        EtherType::IPV6 => sought.six.extend(key::<Ipv6Addr>(interface.vpc, packet)),
        _ => {}
    }
    sought
}

/// The key of a packet that arrives in a VPC; of an ICMP error, that of packets which answer the one that it quotes.
fn key<A: Family>(vpc: VpcIndex, packet: &[u8]) -> Option<FlowKey<A>> {
    let header = A::check(packet).ok()?;
    let transport = header.transport(packet).ok()?;
    match transport {
        Transport::IcmpError { .. } => {
            let quoted = Quoted::find(packet, &header).ok()?;
            Some(segment::quoted_key(vpc, &quoted).reversed(vpc))
        }
        transport => Some(segment::key(vpc, &header, &transport)),
    }
}
