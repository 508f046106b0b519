//! Translation where it cannot be done, or where a field has more than one form: case by case.

mod nat_packets;

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr, Icmpv4View};
use rewire_packet::icmpv6::Icmpv6View;
use rewire_packet::nat::{
    NewEndpoint, RewriteError, nat_rewrite, nat_rewrite_ipv4, nat_rewrite_ipv6, nat_rewrite_quoted,
};
use rewire_packet::udp::UdpView;
use rewire_packet::{Ip, IpAddress, Ipv4, Ipv6, Protocol, Transport};

use nat_packets::*;

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
