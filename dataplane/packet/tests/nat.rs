//! Translation against an oracle: a packet that is rewritten must be, to the byte, the packet that
//! would have been built with the new addresses and ports, every checksum computed in full.

mod nat_packets;

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rewire_packet::nat::{
    NewEndpoint, Quoted, QuotedTransport, nat_rewrite, nat_rewrite_parsed, nat_rewrite_quoted,
};
use rewire_packet::{Fragment, Ip, IpAddress};

use nat_packets::*;

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
