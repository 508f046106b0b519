//! Translation there and back, held against checksums that are computed over the whole packet.

use proptest::prelude::*;

use super::*;
use crate::icmp_error::{build_icmpv4_error, build_icmpv6_error};
use crate::icmpv4::{Icmpv4Error, Icmpv4View};
use crate::icmpv6::{Icmpv6Error, Icmpv6View};

type Ends4 = Ends<Ipv4Addr>;
type Ends6 = Ends<Ipv6Addr>;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tcp,
    Udp,
    Echo { reply: bool },
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Tcp),
        Just(Kind::Udp),
        any::<bool>().prop_map(|reply| Kind::Echo { reply }),
    ]
}

fn ends6() -> impl Strategy<Value = Ends6> {
    let end = || (any::<u128>().prop_map(Ipv6Addr::from_bits), any::<u16>());
    (end(), end())
}

fn ends4() -> impl Strategy<Value = Ends4> {
    let end = || (any::<u32>().prop_map(Ipv4Addr::from_bits), any::<u16>());
    (end(), end())
}

/// Both ports of a query are its identifier.
fn of_kind<A>(kind: Kind, mut ends: Ends<A>) -> Ends<A> {
    if let Kind::Echo { .. } = kind {
        ends.1.1 = ends.0.1;
    }
    ends
}

/// An upper layer between these ends, its checksum right.
fn upper<A: IpAddress>(kind: Kind, ends: Ends<A>, payload: &[u8]) -> (Protocol, Vec<u8>) {
    let ((source, source_port), (destination, destination_port)) = ends;
    let is_ipv4 = <A::Version as Ip>::BITS == 32;
    let mut l4: Vec<u8> = [source_port, destination_port]
        .iter()
        .flat_map(|p| p.to_be_bytes())
        .collect();
    let (protocol, at) = match kind {
        Kind::Tcp => {
            l4.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x18, 9, 10, 0, 0, 0, 0]);
            (Protocol::TCP, 16)
        }
        Kind::Udp => {
            l4.extend(((8 + payload.len()) as u16).to_be_bytes());
            l4.extend([0, 0]);
            (Protocol::UDP, 6)
        }
        Kind::Echo { reply } => {
            let message_type = match (is_ipv4, reply) {
                (true, false) => 8,
                (true, true) => 0,
                (false, false) => 128,
                (false, true) => 129,
            };
            l4 = vec![message_type, 0, 0, 0];
            l4.extend(source_port.to_be_bytes());
            l4.extend([0, 7]);
            (<A::Version as Ip>::ICMP, 2)
        }
    };
    l4.extend(payload);
    let sum = match protocol {
        Protocol::ICMP => checksum(&l4),
        _ => pseudo_header(source, destination, protocol, l4.len())
            .bytes(&l4)
            .checksum(),
    };
    let sum = if kind == Kind::Udp {
        never_absent(sum)
    } else {
        sum
    };
    l4[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    (protocol, l4)
}

fn packet6(kind: Kind, ends: Ends6, payload: &[u8], hop_limit: u8, traffic_class: u8) -> Vec<u8> {
    let (protocol, l4) = upper(kind, ends, payload);
    let mut packet = vec![0; 40];
    let ip = Ipv6Repr {
        hop_limit,
        traffic_class,
        ..Ipv6Repr::new(ends.0.0, ends.1.0, protocol, l4.len())
    };
    ip.emit(&mut packet).unwrap();
    packet.extend(l4);
    packet
}

fn packet4(kind: Kind, ends: Ends4, payload: &[u8], ttl: u8, traffic_class: u8) -> Vec<u8> {
    let (protocol, l4) = upper(kind, ends, payload);
    let mut packet = vec![0; 20];
    let ip = Ipv4Repr {
        ttl,
        traffic_class,
        ..Ipv4Repr::new(ends.0.0, ends.1.0, protocol, l4.len())
    };
    ip.emit(&mut packet).unwrap();
    packet.extend(l4);
    packet
}

fn six_to_four(mut packet: Vec<u8>, ends: Ends4) -> Result<Vec<u8>, TranslateError> {
    let header = Ipv6::parse(&packet).unwrap();
    let length = to_ipv4(&mut packet, &header, ends, 0x4321)?;
    packet.truncate(length);
    Ok(packet)
}

fn four_to_six(mut packet: Vec<u8>, ends: Ends6) -> Result<Vec<u8>, TranslateError> {
    let header = Ipv4::parse(&packet).unwrap();
    packet.resize(packet.len() + MOST_GROWTH, 0xee);
    let length = to_ipv6(&mut packet, &header, ends, false)?;
    packet.truncate(length);
    Ok(packet)
}

proptest! {
    /// What comes out is what one would have built from nothing.
    #[test]
    fn a_packet_becomes_the_same_packet_of_the_other_version(
        kind in kinds(), six in ends6(), four in ends4(),
        payload in proptest::collection::vec(any::<u8>(), 0..1400),
        hop_limit in 2u8.., traffic_class: u8,
    ) {
        let (six, four) = (of_kind(kind, six), of_kind(kind, four));
        let of_six = packet6(kind, six, &payload, hop_limit, traffic_class);
        let mut of_four = packet4(kind, four, &payload, hop_limit - 1, traffic_class);
        let down = six_to_four(of_six, four).unwrap();
        let view = Ipv4View::new_checked(&down[..]).unwrap();
        prop_assert!(view.check_checksum().is_ok());
        prop_assert_eq!(view.dont_fragment(), down.len() > 1260);
        prop_assert_eq!(view.identification(), if down.len() > 1260 { 0 } else { 0x4321 });
        // The same but for who may fragment it.
        prop_assert_eq!(&down[8..10], &of_four[8..10]);
        prop_assert_eq!(&down[12..], &of_four[12..]);
        prop_assert_eq!(down[..4].to_vec(), of_four[..4].to_vec());
        // And back.
        of_four[8] = hop_limit;
        Ipv4View::new_checked(&mut of_four[..]).unwrap().fill_checksum();
        let up = four_to_six(of_four, six).unwrap();
        prop_assert_eq!(up, packet6(kind, six, &payload, hop_limit - 1, traffic_class));
    }

    /// A damaged packet leaves damaged.
    #[test]
    fn no_damage_is_mended(kind in kinds(), six in ends6(), four in ends4(), at in 0usize..20, bit in 0u8..8) {
        let (six, four) = (of_kind(kind, six), of_kind(kind, four));
        let mut damaged = packet6(kind, six, &[0x5a; 20], 9, 0);
        let place = damaged.len() - 20 + at;
        damaged[place] ^= 1 << bit;
        let down = six_to_four(damaged, four).unwrap();
        let l4 = &down[20..];
        let sum = match Ipv4::parse(&down).unwrap().protocol {
            Protocol::ICMP => checksum(l4),
            protocol => pseudo_header(four.0.0, four.1.0, protocol, l4.len()).bytes(l4).checksum(),
        };
        prop_assert_ne!(sum, 0);
    }

    /// An error about a translated packet becomes one about the packet that its sender sent.
    #[test]
    fn errors_quote_what_the_sender_sent(
        kind in kinds(), six in ends6(), four in ends4(), router: u32, router6: u128, long: bool,
    ) {
        let (six, four) = (of_kind(kind, six), of_kind(kind, four));
        let payload = vec![0xa5; if long { 1200 } else { 24 }];
        let sent6 = packet6(kind, six, &payload, 1, 0);
        let sent4 = packet4(kind, four, &payload, 1, 0);

        let router = Ipv4Addr::from_bits(router);
        let mut error = vec![0; 2000];
        let length = build_icmpv4_error(&sent4, router, Icmpv4Error::TtlExceeded, &mut error);
        if let Some(length) = length {
            error.truncate(length);
            let header = Ipv4::parse(&error).unwrap();
            error.resize(length + MOST_GROWTH, 0);
            let outer = (Ipv6Addr::from_bits(router6), six.0.0);
            let length = error_to_ipv6(&mut error, &header, outer, six, 1500).unwrap();
            error.truncate(length);
            prop_assert!(length <= 1280);
            let header = Ipv6::parse(&error).unwrap();
            prop_assert_eq!((header.source, header.destination, header.hop_limit), (outer.0, outer.1, 63));
            let message = Icmpv6View::new_checked(header.upper_layer(&error)).unwrap();
            prop_assert_eq!((message.message_type(), message.code()), (3, 0));
            prop_assert!(message.verify_checksum(outer.0, outer.1));
            let quote = message.quoted_packet().unwrap();
            prop_assert_eq!(quote, &sent6[..quote.len()]);
            prop_assert!(quote.len() >= 48);
        }

        let router6 = Ipv6Addr::from_bits(router6);
        let mut error = vec![0; 2000];
        let length = build_icmpv6_error(&sent6, router6, Icmpv6Error::PacketTooBig { mtu: 1400 }, &mut error);
        if let Some(length) = length {
            error.truncate(length);
            let header = Ipv6::parse(&error).unwrap();
            let outer = (router, four.0.0);
            let length = error_to_ipv4(&mut error, &header, outer, four, 1500).unwrap();
            error.truncate(length);
            prop_assert!(length <= 576);
            let header = Ipv4::parse(&error).unwrap();
            prop_assert_eq!((header.source, header.destination), outer);
            let message = Icmpv4View::new_checked(header.upper_layer(&error)).unwrap();
            prop_assert_eq!((message.message_type(), message.code(), message.next_hop_mtu()), (3, 4, Some(1380)));
            prop_assert!(message.verify_checksum());
            let quote = message.quoted_packet().unwrap();
            // Who may fragment it is not said in IPv6.
            prop_assert_eq!(&quote[..4], &sent4[..4]);
            prop_assert_eq!(&quote[12..], &sent4[12..quote.len()]);
            prop_assert!(Ipv4View::new_quoted(quote).unwrap().check_checksum().is_ok());
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), ipv4: bool, ends4 in ends4(), ends6 in ends6()) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = if ipv4 { 0x45 } else { 0x60 };
        }
        if bytes.len() > 9 {
            let length = bytes.len() as u16;
            match ipv4 {
                true => { bytes[2..4].copy_from_slice(&length.to_be_bytes()); bytes[9] = 1; }
                false => { bytes[4..6].copy_from_slice(&length.saturating_sub(40).to_be_bytes()); bytes[6] = 58; }
            }
        }
        if let Ok(header) = Ipv4::parse(&bytes) {
            let mut room = bytes.clone();
            room.resize(bytes.len() + MOST_GROWTH, 0);
            let _ = to_ipv6(&mut room.clone(), &header, ends6, true);
            let _ = error_to_ipv6(&mut room, &header, (ends6.0.0, ends6.1.0), ends6, 1500);
        }
        if let Ok(header) = Ipv6::parse(&bytes) {
            let _ = to_ipv4(&mut bytes.clone(), &header, ends4, 0);
            let _ = error_to_ipv4(&mut bytes, &header, (ends4.0.0, ends4.1.0), ends4, 1500);
        }
    }
}

const SIX: Ends6 = (
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 1000),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0x808, 0x808), 53),
);
const FOUR: Ends4 = (
    (Ipv4Addr::new(192, 0, 2, 1), 2000),
    (Ipv4Addr::new(8, 8, 8, 8), 53),
);

#[test]
fn fragments_keep_their_place() {
    let (_, l4) = upper(Kind::Udp, SIX, &[7; 100]);
    for (from, to, more) in [(0, 48, true), (48, l4.len(), false)] {
        let mut packet = vec![0; 48];
        Ipv6Repr::new(SIX.0.0, SIX.1.0, Protocol::FRAGMENT, 8 + to - from)
            .emit(&mut packet)
            .unwrap();
        packet[40..48].copy_from_slice(&[
            17,
            0,
            0,
            from as u8 | u8::from(more),
            0xaa,
            0xbb,
            0xcc,
            0xdd,
        ]);
        packet.extend(&l4[from..to]);
        let mut of_six = packet.clone();
        of_six[7] -= 2;
        let down = six_to_four(packet, FOUR).unwrap();
        let view = Ipv4View::new_checked(&down[..]).unwrap();
        assert_eq!(
            (
                view.identification(),
                view.more_fragments(),
                view.dont_fragment()
            ),
            (0xccdd, more, false)
        );
        assert_eq!(usize::from(view.fragment_offset()) * 8, from);
        of_six[44..46].fill(0);
        let up = four_to_six(down, SIX).unwrap();
        assert_eq!(up, of_six);
    }
}

#[test]
fn a_datagram_without_checksum_gets_one() {
    let mut packet = packet4(Kind::Udp, FOUR, b"hello", 64, 0);
    packet[26..28].fill(0);
    assert_eq!(
        four_to_six(packet.clone(), SIX).unwrap(),
        packet6(Kind::Udp, SIX, b"hello", 63, 0)
    );
    // Of a fragment it cannot be computed.
    packet[6] = 0x20;
    Ipv4View::new_checked(&mut packet[..])
        .unwrap()
        .fill_checksum();
    assert_eq!(
        four_to_six(packet, SIX),
        Err(TranslateError::UdpWithoutChecksum)
    );
}

#[test]
fn extension_headers_are_left_out() {
    let (_, l4) = upper(Kind::Tcp, SIX, b"data");
    let mut packet = vec![0; 40];
    Ipv6Repr::new(
        SIX.0.0,
        SIX.1.0,
        Protocol::DESTINATION_OPTIONS,
        8 + l4.len(),
    )
    .emit(&mut packet)
    .unwrap();
    packet.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    packet.extend(l4);
    let down = six_to_four(packet, FOUR).unwrap();
    assert_eq!(&down[20..], &packet4(Kind::Tcp, FOUR, b"data", 63, 0)[20..]);
}

#[test]
fn what_has_no_equal_is_refused() {
    let refused = |message_type, code, word: u32| {
        let mut message = vec![message_type, code, 0, 0];
        message.extend(word.to_be_bytes());
        (
            icmp::error_to_ipv4(&message, 1500),
            icmp::error_to_ipv6(&message, 1400, 1500),
        )
    };
    // Redirect of IPv4, source quench; host precedence violation.
    for (message_type, code) in [(5, 1), (4, 0), (3, 14), (12, 1)] {
        assert!(
            refused(message_type, code, 0).1.is_err(),
            "{message_type} {code}"
        );
    }
    // Policy of the source; an unknown option; a pointer into what IPv4 does not have.
    for (message_type, code, word) in [(1, 5, 0), (4, 2, 0), (4, 0, 40), (137, 0, 0)] {
        assert!(
            refused(message_type, code, word).0.is_err(),
            "{message_type} {code}"
        );
    }
    let mut packet = packet6(Kind::Udp, SIX, b"", 64, 0);
    packet[6] = 50;
    assert_eq!(
        six_to_four(packet, FOUR),
        Err(TranslateError::Protocol(Protocol::ESP))
    );
}

/// RFC 7915, section 4.2.
#[test]
fn messages_of_ipv4() {
    let of = |message_type, code, word: u32| {
        let mut message = vec![message_type, code, 0, 0];
        message.extend(word.to_be_bytes());
        let out = icmp::error_to_ipv6(&message, 1400, 1500).unwrap();
        (
            out[0],
            out[1],
            u32::from_be_bytes([out[4], out[5], out[6], out[7]]),
        )
    };
    for code in [0, 1, 5, 6, 7, 8, 11, 12] {
        assert_eq!(of(3, code, 0), (1, 0, 0), "{code}");
    }
    for code in [9, 10, 13, 15] {
        assert_eq!(of(3, code, 0), (1, 1, 0), "{code}");
    }
    assert_eq!(of(3, 2, 0), (4, 1, 6));
    assert_eq!(of(3, 3, 0), (1, 4, 0));
    assert_eq!(of(3, 4, 1400), (2, 0, 1420));
    assert_eq!(of(3, 4, 9000), (2, 0, 1500));
    assert_eq!(of(3, 4, 576), (2, 0, 1280));
    // No MTU: the plateau below the 1,400 bytes of the quoted packet.
    assert_eq!(of(3, 4, 0), (2, 0, 1280));
    assert_eq!((of(11, 0, 0), of(11, 1, 0)), ((3, 0, 0), (3, 1, 0)));
    for (pointer, becomes) in [
        (0, 0),
        (1, 1),
        (2, 4),
        (3, 4),
        (8, 7),
        (9, 6),
        (12, 8),
        (15, 8),
        (16, 24),
        (19, 24),
    ] {
        assert_eq!(of(12, 0, pointer << 24), (4, 0, becomes), "{pointer}");
        assert_eq!(of(12, 2, pointer << 24), (4, 0, becomes), "{pointer}");
    }
}

/// RFC 7915, section 5.2.
#[test]
fn messages_of_ipv6() {
    let of = |message_type, code, word: u32| {
        let mut message = vec![message_type, code, 0, 0];
        message.extend(word.to_be_bytes());
        let out = icmp::error_to_ipv4(&message, 1500).unwrap();
        (
            out[0],
            out[1],
            u32::from_be_bytes([out[4], out[5], out[6], out[7]]),
        )
    };
    assert_eq!(of(1, 0, 0), (3, 1, 0));
    assert_eq!(of(1, 1, 0), (3, 10, 0));
    assert_eq!(of(1, 2, 0), (3, 1, 0));
    assert_eq!(of(1, 3, 0), (3, 1, 0));
    assert_eq!(of(1, 4, 0), (3, 3, 0));
    assert_eq!(of(2, 0, 1400), (3, 4, 1380));
    assert_eq!(of(2, 0, 9000), (3, 4, 1500));
    assert_eq!((of(3, 0, 0), of(3, 1, 0)), ((11, 0, 0), (11, 1, 0)));
    for (pointer, becomes) in [
        (0, 0),
        (1, 1),
        (4, 2),
        (5, 2),
        (6, 9),
        (7, 8),
        (8, 12),
        (23, 12),
        (24, 16),
        (39, 16),
    ] {
        assert_eq!(of(4, 0, pointer), (12, 0, becomes << 24), "{pointer}");
    }
    assert_eq!(of(4, 1, 6), (3, 2, 0));
}
