//! Translation against an oracle: a packet that is rewritten must be, to the byte, the packet that
//! would have been built with the new addresses and ports, every checksum computed in full.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr, Icmpv4View};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr, Icmpv6View};
use rewire_packet::ipv4::Ipv4Repr;
use rewire_packet::ipv6::Ipv6Repr;
use rewire_packet::nat::{
    NewEndpoint, Quoted, QuotedTransport, RewriteError, nat_rewrite, nat_rewrite_ipv4,
    nat_rewrite_ipv6, nat_rewrite_parsed, nat_rewrite_quoted,
};
use rewire_packet::tcp::{TcpFlags, TcpRepr};
use rewire_packet::udp::{UdpRepr, UdpView};
use rewire_packet::{Fragment, Ip, IpAddress, Ipv4, Ipv6, Protocol, Transport};

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upper {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Sctp,
    EchoRequest,
    EchoReply,
    Gre,
}

/// What part of the packet it is: bytes of the upper layer from, to; and whether there are more
/// behind.
#[derive(Debug, Clone, Copy)]
struct Part {
    from: usize,
    to: usize,
    more: bool,
}

const WHOLE: Part = Part {
    from: 0,
    to: usize::MAX,
    more: false,
};

impl Upper {
    fn protocol<I: Ip>(self) -> Protocol {
        match self {
            Upper::Tcp => Protocol::TCP,
            Upper::Udp | Upper::UdpWithoutChecksum => Protocol::UDP,
            Upper::Sctp => Protocol::SCTP,
            Upper::EchoRequest | Upper::EchoReply => I::ICMP,
            Upper::Gre => Protocol::GRE,
        }
    }

    fn build<A: IpAddress>(self, from: (A, u16), to: (A, u16), data: &[u8]) -> Vec<u8> {
        let header_len = match self {
            Upper::Tcp => 24,
            Upper::Sctp => 12,
            _ => 8,
        };
        let mut bytes = vec![0; header_len];
        bytes.extend(data);
        let (source, destination) = (from.1, to.1);
        match self {
            Upper::Tcp => {
                let repr = TcpRepr {
                    source,
                    destination,
                    sequence: 0xfffe_ffff,
                    acknowledgment: 7,
                    flags: TcpFlags::SYN | TcpFlags::ACK,
                    window: 0xffff,
                    urgent: 0,
                    max_segment_size: Some(1460),
                };
                repr.emit(from.0, to.0, &mut bytes).unwrap();
            }
            Upper::Udp | Upper::UdpWithoutChecksum => {
                UdpRepr {
                    source,
                    destination,
                }
                .emit(from.0, to.0, &mut bytes)
                .unwrap();
                if self == Upper::UdpWithoutChecksum {
                    UdpView::new_checked(&mut bytes).unwrap().set_checksum(0);
                }
            }
            Upper::Sctp => {
                bytes[..2].copy_from_slice(&source.to_be_bytes());
                bytes[2..4].copy_from_slice(&destination.to_be_bytes());
                bytes[8..12].copy_from_slice(b"CRC!");
            }
            // A request's identifier is its source port, a reply's its destination port.
            Upper::EchoRequest => emit_echo(from.0, to.0, false, source, &mut bytes),
            Upper::EchoReply => emit_echo(from.0, to.0, true, destination, &mut bytes),
            Upper::Gre => {}
        }
        bytes
    }
}

fn emit_echo<A: IpAddress>(from: A, to: A, reply: bool, identifier: u16, bytes: &mut [u8]) {
    let sequence = 0x1234;
    match (from.into(), to.into()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let repr = if reply {
                Icmpv6Repr::EchoReply {
                    identifier,
                    sequence,
                }
            } else {
                Icmpv6Repr::EchoRequest {
                    identifier,
                    sequence,
                }
            };
            repr.emit(from, to, bytes).unwrap();
        }
        _ => {
            let repr = if reply {
                Icmpv4Repr::EchoReply {
                    identifier,
                    sequence,
                }
            } else {
                Icmpv4Repr::EchoRequest {
                    identifier,
                    sequence,
                }
            };
            repr.emit(bytes).unwrap();
        }
    }
}

/// A packet with this payload; with IPv4 options or IPv6 extension headers if asked for, and where
/// it is a fragment.
fn ip_packet<A: IpAddress>(
    from: A,
    to: A,
    protocol: Protocol,
    payload: &[u8],
    part: Part,
    extended: bool,
) -> Vec<u8> {
    let end = part.to.min(payload.len());
    let payload = &payload[part.from..end];
    let fragment = part.from != 0 || part.more;
    match (from.into(), to.into()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut bytes = vec![0; 20];
            let repr = Ipv4Repr {
                identification: 99,
                dont_fragment: false,
                more_fragments: part.more,
                fragment_offset: (part.from / 8) as u16,
                ..Ipv4Repr::new(
                    from,
                    to,
                    protocol,
                    payload.len() + if extended { 4 } else { 0 },
                )
            };
            repr.emit(&mut bytes).unwrap();
            if extended {
                bytes[0] = 0x46;
                bytes.extend([148, 4, 0, 0]); // router alert
                rewire_packet::ipv4::Ipv4View::new_quoted(&mut bytes)
                    .unwrap()
                    .fill_checksum();
            }
            bytes.extend(payload);
            bytes
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut headers: Vec<(Protocol, [u8; 8])> = vec![];
            if extended {
                headers.push((Protocol::DESTINATION_OPTIONS, [0, 0, 1, 4, 0, 0, 0, 0]));
            }
            if fragment {
                let [high, low] = ((part.from as u16) | u16::from(part.more)).to_be_bytes();
                headers.push((Protocol::FRAGMENT, [0, 0, high, low, 0, 0, 0, 9]));
            }
            let mut next = protocol;
            for (kind, header) in headers.iter_mut().rev() {
                header[0] = next.0;
                next = *kind;
            }
            let mut bytes = vec![0; 40];
            let length = headers.len() * 8 + payload.len();
            Ipv6Repr::new(from, to, next, length)
                .emit(&mut bytes)
                .unwrap();
            bytes.extend(headers.iter().flat_map(|(_, header)| header));
            bytes.extend(payload);
            bytes
        }
        _ => unreachable!("both addresses are of one type"),
    }
}

fn build<A: IpAddress>(
    upper: Upper,
    from: (A, u16),
    to: (A, u16),
    data: &[u8],
    part: Part,
    extended: bool,
) -> Vec<u8> {
    let payload = upper.build(from, to, data);
    ip_packet(
        from.0,
        to.0,
        upper.protocol::<A::Version>(),
        &payload,
        part,
        extended,
    )
}

/// An ICMP error of a router about a packet, of which it quotes what is given.
fn icmp_error<A: IpAddress>(router: A, to: A, quote: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8];
    message.extend(quote);
    match (router.into(), to.into()) {
        (IpAddr::V6(router), IpAddr::V6(to)) => {
            let error = Icmpv6Repr::Error(Icmpv6Error::HopLimitExceeded);
            error.emit(router, to, &mut message).unwrap();
        }
        _ => {
            Icmpv4Repr::Error(Icmpv4Error::TtlExceeded)
                .emit(&mut message)
                .unwrap();
        }
    }
    ip_packet(router, to, A::Version::ICMP, &message, WHOLE, false)
}

/// The old and the new ends of a packet. `None`: that end stays.
#[derive(Debug, Clone)]
struct Case<A> {
    upper: Upper,
    old: [(A, u16); 2],
    new: [NewEndpoint<A>; 2],
    data: Vec<u8>,
    extended: bool,
}

impl<A: IpAddress> Case<A> {
    /// Ends that the upper layer can have: SCTP and GRE have no ports to change, echo has one
    /// identifier.
    fn possible(mut self) -> Self {
        let forget = |end: &mut NewEndpoint<A>| {
            *end = end.map(|(address, _)| (address, None));
        };
        match self.upper {
            Upper::Tcp | Upper::Udp | Upper::UdpWithoutChecksum => {}
            Upper::Sctp | Upper::Gre => self.new.iter_mut().for_each(forget),
            Upper::EchoRequest => forget(&mut self.new[1]),
            Upper::EchoReply => forget(&mut self.new[0]),
        }
        self
    }

    fn expected(&self, at: usize) -> (A, u16) {
        let (address, port) = self.old[at];
        self.new[at].map_or((address, port), |(address, new)| {
            (address, new.unwrap_or(port))
        })
    }

    fn before(&self, part: Part) -> Vec<u8> {
        build(
            self.upper,
            self.old[0],
            self.old[1],
            &self.data,
            part,
            self.extended,
        )
    }

    fn after(&self, part: Part) -> Vec<u8> {
        let (from, to) = (self.expected(0), self.expected(1));
        build(self.upper, from, to, &self.data, part, self.extended)
    }
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(0xffff), any::<u16>()]
}

fn address<A: IpAddress>() -> impl Strategy<Value = A> {
    prop_oneof![Just(0), Just(u128::MAX), any::<u128>()].prop_map(A::from_left_aligned)
}

fn case<A: IpAddress>() -> impl Strategy<Value = Case<A>> {
    let uppers = [
        Upper::Tcp,
        Upper::Udp,
        Upper::UdpWithoutChecksum,
        Upper::Sctp,
        Upper::EchoRequest,
        Upper::EchoReply,
        Upper::Gre,
    ];
    let old = || (address::<A>(), port());
    let new = || proptest::option::of((address::<A>(), proptest::option::of(port())));
    (
        prop::sample::select(uppers.to_vec()),
        [old(), old()],
        [new(), new()],
        prop::collection::vec(any::<u8>(), 0..60),
        any::<bool>(),
    )
        .prop_map(|(upper, old, new, data, extended)| {
            Case {
                upper,
                old,
                new,
                data,
                extended,
            }
            .possible()
        })
}

fn whole_packet<A: IpAddress>(case: Case<A>) {
    let mut packet = case.before(WHOLE);
    // What lies behind the packet in the frame is not touched.
    packet.extend([0xee; 6]);
    let mut header = A::Version::parse(&packet).unwrap();
    nat_rewrite_parsed(&mut packet, &mut header, case.new[0], case.new[1]).unwrap();
    assert_eq!(A::Version::parse(&packet), Ok(header));
    let (packet, padding) = packet.split_at(packet.len() - 6);
    assert_eq!(packet, case.after(WHOLE));
    assert_eq!(padding, [0xee; 6]);
}

fn fragments<A: IpAddress>(mut case: Case<A>) {
    case.data.extend([0x5a; 32]);
    let first = Part {
        from: 0,
        to: 24,
        more: true,
    };
    let mut packet = case.before(first);
    assert_eq!(
        A::Version::parse(&packet).unwrap().fragment,
        Fragment::First
    );
    nat_rewrite(&mut packet, case.new[0], case.new[1]).unwrap();
    assert_eq!(packet, case.after(first));

    // The payload is the same before and after, so it must come from the old packet.
    let later = Part {
        from: 24,
        to: usize::MAX,
        more: false,
    };
    let mut packet = case.before(later);
    assert_eq!(
        A::Version::parse(&packet).unwrap().fragment,
        Fragment::Later
    );
    nat_rewrite(&mut packet, case.new[0], case.new[1]).unwrap();
    assert_eq!(packet, case.after(later));
}

fn quoted<A: IpAddress>(case: Case<A>, cut: usize, ends: [A; 2]) {
    let inner = case.before(WHOLE);
    let header_len = A::Version::parse(&inner).unwrap().header_len;
    let cut = (header_len + cut).min(inner.len());
    let mut packet = icmp_error(ends[0], ends[1], &inner[..cut]);
    let expected = icmp_error(ends[0], ends[1], &case.after(WHOLE)[..cut]);
    let header = A::Version::parse(&packet).unwrap();
    let found = Quoted::find(&packet, &header).unwrap();
    assert_eq!(
        (found.header.source, found.header.destination),
        (case.old[0].0, case.old[1].0)
    );
    match (case.upper, found.transport) {
        (
            Upper::EchoRequest,
            QuotedTransport::IcmpQuery {
                is_reply,
                identifier,
                ..
            },
        ) => {
            assert_eq!((is_reply, identifier), (false, case.old[0].1));
        }
        (
            Upper::EchoReply,
            QuotedTransport::IcmpQuery {
                is_reply,
                identifier,
                ..
            },
        ) => {
            assert_eq!((is_reply, identifier), (true, case.old[1].1));
        }
        (Upper::Gre, QuotedTransport::Other) => {}
        (
            _,
            QuotedTransport::Ports {
                source,
                destination,
            },
        ) => {
            assert_eq!((source, destination), (case.old[0].1, case.old[1].1));
        }
        (upper, found) => panic!("{upper:?} was read as {found:?}"),
    }
    nat_rewrite_quoted(&mut packet, case.new[0], case.new[1]).unwrap();
    assert_eq!(packet, expected);
}

/// Lengths of a quoted upper layer: up to the ports, to the middle of TCP, its checksum, all.
fn cuts() -> impl Strategy<Value = usize> {
    prop::sample::select(&[8, 9, 12, 16, 18, 19, 24, 29, 999][..])
}

/// Whatever is done to whatever bytes: no panic, and an error changes nothing.
fn any_bytes<A: IpAddress>(mut bytes: Vec<u8>, first: u8, protocol: u8, new: [NewEndpoint<A>; 2]) {
    if let Some(byte) = bytes.first_mut() {
        *byte = first;
    }
    let at = if A::LEN == 4 { 9 } else { 6 };
    if let Some(byte) = bytes.get_mut(at) {
        *byte = protocol;
    }
    if let (4, Some(total)) = (A::LEN, bytes.get_mut(2)) {
        *total = 0;
    }
    if let (16, Some(length)) = (A::LEN, bytes.get_mut(4)) {
        *length = 0;
    }
    let before = bytes.clone();
    if nat_rewrite(&mut bytes, new[0], new[1]).is_err() {
        assert_eq!(bytes, before);
    }
    let before = bytes.clone();
    if nat_rewrite_quoted(&mut bytes, new[0], new[1]).is_err() {
        assert_eq!(bytes, before);
    }
}

proptest! {
    #[test]
    fn a_whole_ipv4_packet(case in case::<Ipv4Addr>()) {
        whole_packet(case);
    }

    #[test]
    fn a_whole_ipv6_packet(case in case::<Ipv6Addr>()) {
        whole_packet(case);
    }

    #[test]
    fn ipv4_fragments(case in case::<Ipv4Addr>()) {
        fragments(case);
    }

    #[test]
    fn ipv6_fragments(case in case::<Ipv6Addr>()) {
        fragments(case);
    }

    #[test]
    fn an_ipv4_packet_in_an_error(
        case in case::<Ipv4Addr>(),
        cut in cuts(),
        ends in [address(), address()],
    ) {
        quoted(case, cut, ends);
    }

    #[test]
    fn an_ipv6_packet_in_an_error(
        case in case::<Ipv6Addr>(),
        cut in cuts(),
        ends in [address(), address()],
    ) {
        quoted(case, cut, ends);
    }

    #[test]
    fn arbitrary_ipv4(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
        header_words in 0x43u8..0x4a,
        protocol in prop::sample::select(&[1u8, 1, 1, 6, 17, 47, 58, 132][..]),
        case in case::<Ipv4Addr>(),
    ) {
        any_bytes(bytes, header_words, protocol, case.new);
    }

    #[test]
    fn arbitrary_ipv6(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
        protocol in prop::sample::select(&[0u8, 1, 6, 17, 43, 44, 58, 58, 58, 60, 132][..]),
        case in case::<Ipv6Addr>(),
    ) {
        any_bytes(bytes, 0x60, protocol, case.new);
    }

    /// A mutated but well-formed error packet: the quote is where the walk goes deep.
    #[test]
    fn a_damaged_error(
        case in case::<Ipv4Addr>(),
        six in case::<Ipv6Addr>(),
        at: prop::sample::Index,
        value: u8,
        cut in 0usize..40,
    ) {
        let inner = case.before(WHOLE);
        let mut packet = icmp_error(case.old[0].0, case.old[1].0, &inner[..cut.min(inner.len())]);
        let index = at.index(packet.len());
        packet[index] = value;
        let _ = nat_rewrite_quoted(&mut packet, case.new[0], case.new[1]);
        let inner = six.before(WHOLE);
        let quote = &inner[..(cut * 2).min(inner.len())];
        let mut packet = icmp_error(six.old[0].0, six.old[1].0, quote);
        let index = at.index(packet.len());
        packet[index] = value;
        let _ = nat_rewrite_quoted(&mut packet, six.new[0], six.new[1]);
    }
}

const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// The error, after which the packet must be as it was.
fn refused<A: IpAddress>(
    upper: Upper,
    ends: [A; 2],
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> RewriteError {
    let before = build(upper, (ends[0], 1), (ends[1], 2), &[], WHOLE, false);
    let mut packet = before.clone();
    let error = nat_rewrite(&mut packet, new_source, new_destination).unwrap_err();
    assert_eq!(packet, before);
    error
}

#[test]
fn what_cannot_be_translated_is_refused_by_name() {
    assert_eq!(
        refused(Upper::Sctp, [A4, B4], Some((B4, Some(9))), None),
        RewriteError::SctpPort { old: 1, new: 9 }
    );
    assert_eq!(
        refused(Upper::Gre, [A4, B4], None, Some((A4, Some(9)))),
        RewriteError::NoPort {
            protocol: Protocol::GRE
        }
    );
    assert_eq!(
        refused(
            Upper::EchoRequest,
            [A6, B6],
            Some((A6, Some(9))),
            Some((B6, Some(8)))
        ),
        RewriteError::TwoIdentifiers {
            source_port: 9,
            destination_port: 8
        }
    );
    let mut packet = icmp_error(A4, B4, &[]);
    assert_eq!(
        nat_rewrite_ipv4(&mut packet, Some((B4, Some(1))), None),
        Err(RewriteError::NoPort {
            protocol: Protocol::ICMP
        })
    );
    assert_eq!(
        nat_rewrite_ipv4(&mut packet, Some((B4, None)), None),
        Ok(())
    );
    // An error whose quote is empty.
    assert!(matches!(
        nat_rewrite_quoted(&mut packet, Some((B4, None)), None),
        Err(RewriteError::Ip(_))
    ));
    let mut packet = build(Upper::EchoRequest, (A6, 1), (B6, 2), &[], WHOLE, false);
    assert_eq!(
        nat_rewrite_quoted(&mut packet, Some((B6, None)), None),
        Err(RewriteError::NotAnIcmpError)
    );
    // TCP that ends before its checksum, and ports that the quote lacks.
    let mut packet = ip_packet(A6, B6, Protocol::TCP, &[0; 17], WHOLE, false);
    assert_eq!(
        nat_rewrite_ipv6(&mut packet, Some((B6, None)), None),
        Err(RewriteError::Truncated {
            protocol: Protocol::TCP,
            needed: 18,
            available: 17
        })
    );
    let inner = build(Upper::Udp, (A4, 1), (B4, 2), &[], WHOLE, false);
    let mut packet = icmp_error(B4, A4, &inner[..23]);
    assert_eq!(
        nat_rewrite_quoted(&mut packet, None, Some((A4, Some(7)))),
        Err(RewriteError::Truncated {
            protocol: Protocol::UDP,
            needed: 4,
            available: 3
        })
    );
}

#[test]
fn the_same_port_is_no_change_for_sctp() {
    let mut packet = build(Upper::Sctp, (A4, 1), (B4, 2), &[], WHOLE, false);
    nat_rewrite(&mut packet, Some((B4, Some(1))), None).unwrap();
    assert_eq!(
        packet,
        build(Upper::Sctp, (B4, 1), (B4, 2), &[], WHOLE, false)
    );
}

#[test]
fn the_control_protocol_of_the_other_version_has_no_fields() {
    let message = [128, 0, 0xab, 0xcd, 0, 1, 0, 1];
    let mut packet = ip_packet(A4, B4, Protocol::ICMPV6, &message, WHOLE, false);
    let transport = Ipv4::parse(&packet).unwrap().transport(&packet);
    let protocol = Protocol::ICMPV6;
    assert_eq!(transport, Ok(Transport::Other { protocol }));
    nat_rewrite(&mut packet, Some((B4, None)), None).unwrap();
    assert_eq!(
        packet,
        ip_packet(B4, B4, Protocol::ICMPV6, &message, WHOLE, false)
    );
    assert_eq!(
        nat_rewrite(&mut packet, Some((B4, Some(1))), None),
        Err(RewriteError::NoPort {
            protocol: Protocol::ICMPV6
        })
    );
}

#[test]
fn an_echo_reply_of_zeroes_gets_the_right_zero() {
    let reply = |identifier| {
        let mut message = [0; 12];
        Icmpv4Repr::EchoReply {
            identifier,
            sequence: 0,
        }
        .emit(&mut message)
        .unwrap();
        ip_packet(A4, B4, Protocol::ICMP, &message, WHOLE, false)
    };
    let mut packet = reply(7);
    nat_rewrite(&mut packet, None, Some((B4, Some(0)))).unwrap();
    assert_eq!(packet, reply(0));
    assert!(
        Icmpv4View::new_checked(&packet[20..])
            .unwrap()
            .verify_checksum()
    );
    // And back from it.
    nat_rewrite(&mut packet, None, Some((B4, Some(7)))).unwrap();
    assert_eq!(packet, reply(7));
}

#[test]
fn in_a_first_fragment_zeroes_are_not_all() {
    // The only data that is not zero is in the second fragment, and makes the checksum 0x0000.
    let reply = |identifier, part| {
        let mut message = [0; 40];
        message[38..].copy_from_slice(&[0xff, 0xff]);
        Icmpv4Repr::EchoReply {
            identifier,
            sequence: 0,
        }
        .emit(&mut message)
        .unwrap();
        ip_packet(A4, B4, Protocol::ICMP, &message, part, false)
    };
    let first = Part {
        from: 0,
        to: 24,
        more: true,
    };
    for part in [first, WHOLE] {
        let mut packet = reply(7, part);
        nat_rewrite(&mut packet, None, Some((B4, Some(0)))).unwrap();
        assert_eq!(packet, reply(0, part));
        assert_eq!(packet[22..24], [0, 0]);
    }
}

#[test]
fn a_udp_checksum_that_comes_out_as_none_is_sent_as_the_other_zero() {
    fn comes_out<A: IpAddress>(old: A, new: A) {
        let built =
            |from, data: [u8; 2]| build(Upper::Udp, (from, 1), (new, 2), &data, WHOLE, false);
        // With its own checksum as data, the new packet sums to the zero.
        let l4 = A::Version::parse(&built(new, [0, 0])).unwrap().header_len;
        let data = built(new, [0, 0])[l4 + 6..l4 + 8].try_into().unwrap();
        let mut packet = built(old, data);
        nat_rewrite(&mut packet, Some((new, None)), None).unwrap();
        assert_eq!(packet[l4 + 6..l4 + 8], [0xff, 0xff]);
        assert_eq!(packet, built(new, data));
    }
    comes_out(A4, B4);
    comes_out(A6, B6);
}

#[test]
fn a_later_fragment_quotes_nothing() {
    let inner = build(Upper::Udp, (A4, 1), (B4, 2), &[], WHOLE, false);
    let mut message = vec![0; 8];
    message.extend(&inner);
    Icmpv4Repr::Error(Icmpv4Error::TtlExceeded)
        .emit(&mut message)
        .unwrap();
    let behind = [[0; 8].to_vec(), message].concat();
    let later = Part {
        from: 8,
        to: usize::MAX,
        more: false,
    };
    let mut packet = ip_packet(B4, A4, Protocol::ICMP, &behind, later, false);
    assert_eq!(
        nat_rewrite_quoted(&mut packet, None, Some((A4, None))),
        Err(RewriteError::NotAnIcmpError)
    );
}

#[test]
fn damage_is_not_repaired() {
    for upper in [Upper::Tcp, Upper::Udp, Upper::EchoRequest] {
        let mut packet = build(upper, (A6, 1), (B6, 2), &[1, 2, 3], WHOLE, false);
        *packet.last_mut().unwrap() ^= 0x10;
        nat_rewrite(&mut packet, Some((B6, Some(9))), None).unwrap();
        let l4 = &packet[40..];
        let valid = match upper {
            Upper::Tcp => rewire_packet::tcp::TcpView::new_checked(l4)
                .unwrap()
                .verify_checksum(B6, B6),
            Upper::Udp => UdpView::new_checked(l4).unwrap().verify_checksum(B6, B6),
            _ => Icmpv6View::new_checked(l4).unwrap().verify_checksum(B6, B6),
        };
        assert!(!valid, "{upper:?}");
    }
}

#[test]
fn the_hop_limit_of_either_version() {
    fn one_less<I: Ip>(mut packet: Vec<u8>) {
        let before = I::parse(&packet).unwrap().hop_limit;
        assert_eq!(I::decrement_hop_limit(&mut packet), Some(before - 1));
        assert_eq!(I::parse(&packet).unwrap().hop_limit, before - 1);
        for left in (0..before - 1).rev() {
            assert_eq!(I::decrement_hop_limit(&mut packet), Some(left));
        }
        let spent = packet.clone();
        assert_eq!(I::decrement_hop_limit(&mut packet), None);
        assert_eq!(packet, spent);
        assert_eq!(I::decrement_hop_limit(&mut []), None);
    }
    one_less::<Ipv4>(build(Upper::Udp, (A4, 1), (B4, 2), &[], WHOLE, true));
    one_less::<Ipv6>(build(Upper::Udp, (A6, 1), (B6, 2), &[], WHOLE, true));
}
