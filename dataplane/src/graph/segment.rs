//! From a packet's headers to what conntrack knows it by.

use rewire_conntrack::{FlowKey, Segment, TcpSegment};
use rewire_packet::nat::{Quoted, QuotedTransport};
use rewire_packet::tcp::{TcpFlags, TcpView};
use rewire_packet::{IpAddress, IpHeader, Protocol, Transport};
use rewire_tables::{Address, VpcIndex};

/// The key of a packet; of a fragment, that of its datagram. An ICMP query's identifier stands for both of its ports.
pub(super) fn key<A: Address>(
    vpc: VpcIndex,
    header: &IpHeader<<A as IpAddress>::Version>,
    transport: &Transport,
) -> FlowKey<A> {
    let (source_port, destination_port) = match *transport {
        Transport::IcmpQuery { identifier, .. } => (identifier, identifier),
        // SCTP is translated by its addresses alone: its ports are under a CRC32c that would have to be made anew.
        Transport::Sctp { .. } => (0, 0),
        transport => transport.ports().unwrap_or_default(),
    };
    FlowKey {
        vpc,
        protocol: header.protocol.0,
        source: header.source,
        destination: header.destination,
        source_port,
        destination_port,
    }
}

/// The key of the packet that an ICMP error quotes.
pub(super) fn quoted_key<A: Address>(
    vpc: VpcIndex,
    quoted: &Quoted<<A as IpAddress>::Version>,
) -> FlowKey<A> {
    let header = &quoted.header;
    let (source_port, destination_port) = match quoted.transport {
        _ if header.protocol == Protocol::SCTP => (0, 0),
        QuotedTransport::Ports {
            source,
            destination,
        } => (source, destination),
        QuotedTransport::IcmpQuery { identifier, .. } => (identifier, identifier),
        QuotedTransport::Other => (0, 0),
    };
    FlowKey {
        vpc,
        protocol: header.protocol.0,
        source: header.source,
        destination: header.destination,
        source_port,
        destination_port,
    }
}

/// What a packet says to the state of its connection, if it is whole or a first fragment. `packet` begins with the IP header.
pub(super) fn segment<A: Address>(
    header: &IpHeader<<A as IpAddress>::Version>,
    transport: &Transport,
    packet: &[u8],
) -> Segment {
    match *transport {
        Transport::Tcp {
            flags, header_len, ..
        } => {
            let upper = header.upper_layer(packet);
            let view = TcpView::new_checked(upper);
            Segment::Tcp(TcpSegment {
                flags,
                sequence: view.as_ref().map_or(0, |tcp| tcp.sequence()),
                acknowledgment: view.as_ref().map_or(0, |tcp| tcp.acknowledgment()),
                window: view.as_ref().map_or(0, |tcp| tcp.window()),
                window_scale: view
                    .as_ref()
                    .ok()
                    .filter(|_| flags.contains(TcpFlags::SYN))
                    .and_then(|tcp| tcp.window_scale()),
                payload_length: upper.len().saturating_sub(header_len) as u32,
            })
        }
        Transport::Udp { .. } => Segment::Udp,
        Transport::IcmpQuery { is_reply, .. } => Segment::IcmpQuery { reply: is_reply },
        _ => Segment::Other,
    }
}
