//! What a router says about a packet that it cannot forward: when it may, and the message.
//!
//! RFC 1122 section 3.2.2, RFC 1812 sections 4.3.2 and 5.2.7 for IPv4; RFC 4443 section 2.4 for
//! IPv6. The limit on how many are sent (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)) is the
//! caller's.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::bytes::{between, u8_at};
use crate::ethernet::MacAddress;
use crate::icmpv4::{self, Icmpv4Error, Icmpv4Repr};
use crate::icmpv6::{self, Icmpv6Error, Icmpv6Repr};
use crate::ip::{Fragment, Ip, IpHeader, Ipv4, Ipv6, Protocol};
use crate::ipv4::{self, Ipv4Repr};
use crate::ipv6::{self, Ipv6Repr};

/// Longest ICMP error over IPv4 with its IP header, in bytes (RFC 1812 section 4.3.2.3).
pub const ICMPV4_ERROR_LIMIT: usize = 576;

/// Longest ICMPv6 error with its IP header, in bytes: the least MTU of any link (RFC 4443 section
/// 2.4 (c)).
pub const ICMPV6_ERROR_LIMIT: usize = 1280;

/// Class selector 6, internetwork control: the precedence of errors (RFC 1812 section 4.3.2.5).
const INTERNETWORK_CONTROL: u8 = 0xc0;

/// Bytes of the upper layer that a quote must have, if the packet has them (RFC 792).
const LEAST_QUOTE: usize = 8;

/// What code that is generic over the IP version can say; each has a message in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IcmpErrorKind {
    /// The time to live, or hop limit, came to its end.
    HopLimitExceeded,
    /// No route.
    NoRoute,
    /// Nobody answers for the address on its link.
    HostUnreachable,
    /// Policy.
    Prohibited,
    /// Nobody listens on the port.
    PortUnreachable,
    /// Too big for the next link.
    TooBig {
        /// What would fit, in bytes with the IP header. Over IPv4, not more than 65,535 can be
        /// said.
        mtu: u32,
    },
}

impl From<IcmpErrorKind> for Icmpv4Error {
    fn from(kind: IcmpErrorKind) -> Self {
        match kind {
            IcmpErrorKind::HopLimitExceeded => Icmpv4Error::TtlExceeded,
            IcmpErrorKind::NoRoute => Icmpv4Error::NetworkUnreachable,
            IcmpErrorKind::HostUnreachable => Icmpv4Error::HostUnreachable,
            IcmpErrorKind::Prohibited => Icmpv4Error::CommunicationProhibited,
            IcmpErrorKind::PortUnreachable => Icmpv4Error::PortUnreachable,
            IcmpErrorKind::TooBig { mtu } => Icmpv4Error::FragmentationNeeded {
                next_hop_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            },
        }
    }
}

impl From<IcmpErrorKind> for Icmpv6Error {
    fn from(kind: IcmpErrorKind) -> Self {
        match kind {
            IcmpErrorKind::HopLimitExceeded => Icmpv6Error::HopLimitExceeded,
            IcmpErrorKind::NoRoute => Icmpv6Error::NoRoute,
            IcmpErrorKind::HostUnreachable => Icmpv6Error::AddressUnreachable,
            IcmpErrorKind::Prohibited => Icmpv6Error::AdministrativelyProhibited,
            IcmpErrorKind::PortUnreachable => Icmpv6Error::PortUnreachable,
            IcmpErrorKind::TooBig { mtu } => Icmpv6Error::PacketTooBig { mtu },
        }
    }
}

/// Why no ICMP error may be sent about a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unanswerable {
    /// It is no IP packet.
    #[error("not an IP packet")]
    Malformed,
    /// It came to a multicast or broadcast address of the link.
    #[error("sent to a link-layer multicast or broadcast address")]
    LinkMulticast,
    /// It is to a multicast or broadcast address.
    #[error("sent to a multicast or broadcast address")]
    Multicast,
    /// Its source is not one host: unspecified, loopback, multicast, broadcast, reserved.
    #[error("the source address is not that of one host")]
    Source,
    /// It is not the first fragment.
    #[error("a later fragment")]
    LaterFragment,
    /// It is an ICMP error itself, or too short to tell; or an ICMPv6 redirect.
    #[error("an ICMP error itself")]
    IcmpError,
}

/// Whether an ICMP error may be sent about the packet `offending`, given from its IP header on,
/// that came to `link_destination` (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7).
///
/// Broadcast addresses of subnets cannot be told from others here: the caller, who knows its
/// subnets, looks for them in source and destination.
///
/// # Errors
/// The rule that forbids it.
pub fn may_answer_with_icmpv4_error(
    offending: &[u8],
    link_destination: MacAddress,
) -> Result<(), Unanswerable> {
    if link_destination.is_multicast() {
        return Err(Unanswerable::LinkMulticast);
    }
    let header = Ipv4::parse_quoted(offending).map_err(|_| Unanswerable::Malformed)?;
    let destination = header.destination;
    if destination.is_multicast() || destination.is_broadcast() {
        return Err(Unanswerable::Multicast);
    }
    // 0/8, 127/8, and 224/4 up: multicast, reserved, broadcast.
    if matches!(header.source.octets()[0], 0 | 127 | 224..) {
        return Err(Unanswerable::Source);
    }
    if header.fragment == Fragment::Later {
        return Err(Unanswerable::LaterFragment);
    }
    if header.protocol == Protocol::ICMP && !is_harmless(&header, offending, icmpv4::is_error) {
        return Err(Unanswerable::IcmpError);
    }
    Ok(())
}

/// Whether the ICMPv6 error `error` may be sent about the packet `offending`, given from its IP
/// header on, that came to `link_destination` (RFC 4443 section 2.4 (e)).
///
/// "Packet too big", and the parameter problem about an unknown option, may be said about multicast
/// packets; and "packet too big" about later fragments, since the path's MTU is learned from it.
///
/// # Errors
/// The rule that forbids it.
pub fn may_answer_with_icmpv6_error(
    offending: &[u8],
    link_destination: MacAddress,
    error: Icmpv6Error,
) -> Result<(), Unanswerable> {
    let too_big = matches!(error, Icmpv6Error::PacketTooBig { .. });
    let multicast_allowed =
        too_big || matches!(error, Icmpv6Error::ParameterProblem { code: 2, .. });
    if link_destination.is_multicast() && !multicast_allowed {
        return Err(Unanswerable::LinkMulticast);
    }
    let header = Ipv6::parse_quoted(offending).map_err(|_| Unanswerable::Malformed)?;
    if header.destination.is_multicast() && !multicast_allowed {
        return Err(Unanswerable::Multicast);
    }
    let source = header.source;
    if source.is_unspecified() || source.is_loopback() || source.is_multicast() {
        return Err(Unanswerable::Source);
    }
    let is_icmp = header.protocol == Protocol::ICMPV6;
    if header.fragment == Fragment::Later && (is_icmp || !too_big) {
        return Err(Unanswerable::LaterFragment);
    }
    let forbidden = |message_type| {
        icmpv6::is_error(message_type) || message_type == icmpv6::message_type::REDIRECT
    };
    if is_icmp && !is_harmless(&header, offending, forbidden) {
        return Err(Unanswerable::IcmpError);
    }
    Ok(())
}

/// The ICMP message is there as far as its type, and that may be answered.
fn is_harmless<I: Ip>(header: &IpHeader<I>, packet: &[u8], forbidden: impl Fn(u8) -> bool) -> bool {
    let message = header.upper_layer(packet);
    !message.is_empty() && !forbidden(u8_at(message, 0))
}

/// Builds the ICMP error about the packet `offending`, given from its IP header on, into `out`: an
/// IPv4 packet from `source` to the offender's source that quotes as much as fits in 576 bytes and
/// in `out`. Answers its length.
///
/// `None`, when `offending` is no IPv4 packet or `out` cannot hold a quote of its header and eight
/// bytes more. Whether an error may be sent at all is [`may_answer_with_icmpv4_error`]'s question.
pub fn build_icmpv4_error(
    offending: &[u8],
    source: Ipv4Addr,
    kind: Icmpv4Error,
    out: &mut [u8],
) -> Option<usize> {
    const HEADERS: usize = ipv4::MIN_HEADER_LEN + icmpv4::HEADER_LEN;
    let header = Ipv4::parse_quoted(offending).ok()?;
    let length = place_quote(offending, &header, HEADERS, ICMPV4_ERROR_LIMIT, out)?;
    let (ip, message) = out
        .get_mut(..length)?
        .split_at_mut_checked(ipv4::MIN_HEADER_LEN)?;
    let repr = Ipv4Repr {
        traffic_class: INTERNETWORK_CONTROL,
        ..Ipv4Repr::new(source, header.source, Protocol::ICMP, message.len())
    };
    repr.emit(ip).ok()?;
    Icmpv4Repr::Error(kind).emit(message).ok()?;
    Some(length)
}

/// Builds the ICMPv6 error about the packet `offending`, given from its IP header on, into `out`:
/// an IPv6 packet from `source` to the offender's source that quotes as much as fits in 1280 bytes
/// and in `out`. Answers its length.
///
/// `None`, when `offending` is no IPv6 packet or `out` cannot hold a quote of its headers and eight
/// bytes more. Whether an error may be sent at all is [`may_answer_with_icmpv6_error`]'s question.
pub fn build_icmpv6_error(
    offending: &[u8],
    source: Ipv6Addr,
    kind: Icmpv6Error,
    out: &mut [u8],
) -> Option<usize> {
    const HEADERS: usize = ipv6::HEADER_LEN + icmpv6::HEADER_LEN;
    let header = Ipv6::parse_quoted(offending).ok()?;
    let length = place_quote(offending, &header, HEADERS, ICMPV6_ERROR_LIMIT, out)?;
    let (ip, message) = out
        .get_mut(..length)?
        .split_at_mut_checked(ipv6::HEADER_LEN)?;
    let repr = Ipv6Repr::new(source, header.source, Protocol::ICMPV6, message.len());
    repr.emit(ip).ok()?;
    Icmpv6Repr::Error(kind)
        .emit(source, header.source, message)
        .ok()?;
    Some(length)
}

/// Copies what fits of the packet, without Ethernet padding, behind the headers to come; answers
/// the length of all.
fn place_quote<I: Ip>(
    offending: &[u8],
    header: &IpHeader<I>,
    headers: usize,
    limit: usize,
    out: &mut [u8],
) -> Option<usize> {
    let packet = between(offending, 0, header.packet_len);
    let room = limit.min(out.len()).checked_sub(headers)?;
    let length = packet.len().min(room);
    // Options and extension headers may be longer than the limit allows for: then what fits is
    // right.
    let least = packet
        .len()
        .min(header.header_len + LEAST_QUOTE)
        .min(limit - headers);
    if length < least {
        return None;
    }
    out.get_mut(headers..headers + length)?
        .copy_from_slice(packet.get(..length)?);
    Some(headers + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::icmpv4::Icmpv4View;
    use crate::icmpv6::Icmpv6View;
    use crate::ipv4::Ipv4View;
    use crate::ipv6::Ipv6View;

    const HOST4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const FAR4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
    const ROUTER4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
    const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
    const ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xffff);
    const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn v4(repr: Ipv4Repr, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20];
        Ipv4Repr {
            payload_len: payload.len(),
            ..repr
        }
        .emit(&mut bytes)
        .unwrap();
        bytes.extend(payload);
        bytes
    }

    fn v6(source: Ipv6Addr, destination: Ipv6Addr, next: Protocol, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 40];
        Ipv6Repr::new(source, destination, next, payload.len())
            .emit(&mut bytes)
            .unwrap();
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn the_rules_of_ipv4() {
        let udp = Ipv4Repr::new(HOST4, FAR4, Protocol::UDP, 0);
        let ask = |repr, payload: &[u8]| may_answer_with_icmpv4_error(&v4(repr, payload), STATION);
        assert_eq!(ask(udp, &[0; 8]), Ok(()));
        for link in [MacAddress::BROADCAST, MacAddress([1, 0, 0x5e, 0, 0, 1])] {
            let answer = may_answer_with_icmpv4_error(&v4(udp, &[0; 8]), link);
            assert_eq!(answer, Err(Unanswerable::LinkMulticast));
        }
        for destination in [Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)] {
            let answer = ask(Ipv4Repr { destination, ..udp }, &[0; 8]);
            assert_eq!(answer, Err(Unanswerable::Multicast));
        }
        for source in [
            [0, 0, 0, 0],
            [127, 0, 0, 1],
            [224, 0, 0, 1],
            [240, 0, 0, 1],
            [255; 4],
        ] {
            let answer = ask(
                Ipv4Repr {
                    source: source.into(),
                    ..udp
                },
                &[0; 8],
            );
            assert_eq!(answer, Err(Unanswerable::Source));
        }
        assert_eq!(
            ask(
                Ipv4Repr {
                    fragment_offset: 1,
                    ..udp
                },
                &[0; 8]
            ),
            Err(Unanswerable::LaterFragment)
        );
        assert_eq!(
            ask(
                Ipv4Repr {
                    more_fragments: true,
                    ..udp
                },
                &[0; 8]
            ),
            Ok(())
        );
        let icmp = Ipv4Repr {
            protocol: Protocol::ICMP,
            ..udp
        };
        assert_eq!(ask(icmp, &[8, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        assert_eq!(ask(icmp, &[0, 0, 0, 0, 0, 0, 0, 0]), Ok(()));
        for message_type in [3, 4, 5, 11, 12] {
            let answer = ask(icmp, &[message_type, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(answer, Err(Unanswerable::IcmpError));
        }
        assert_eq!(ask(icmp, &[]), Err(Unanswerable::IcmpError));
        assert_eq!(
            may_answer_with_icmpv4_error(&[0x45; 19], STATION),
            Err(Unanswerable::Malformed)
        );
    }

    #[test]
    fn the_rules_of_ipv6() {
        let ask = |packet: &[u8], error| may_answer_with_icmpv6_error(packet, STATION, error);
        let (no_route, too_big) = (
            Icmpv6Error::NoRoute,
            Icmpv6Error::PacketTooBig { mtu: 1280 },
        );
        let udp = v6(HOST6, FAR6, Protocol::UDP, &[0; 8]);
        assert_eq!(ask(&udp, no_route), Ok(()));
        let link = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(
            may_answer_with_icmpv6_error(&udp, link, no_route),
            Err(Unanswerable::LinkMulticast)
        );
        assert_eq!(may_answer_with_icmpv6_error(&udp, link, too_big), Ok(()));
        let everyone = Ipv6Addr::new(0xff0e, 0, 0, 0, 0, 0, 0, 1);
        let multicast = v6(HOST6, everyone, Protocol::UDP, &[0; 8]);
        assert_eq!(ask(&multicast, no_route), Err(Unanswerable::Multicast));
        assert_eq!(ask(&multicast, too_big), Ok(()));
        let option = Icmpv6Error::ParameterProblem {
            code: 2,
            pointer: 42,
        };
        assert_eq!(ask(&multicast, option), Ok(()));
        for source in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, everyone] {
            let packet = v6(source, FAR6, Protocol::UDP, &[0; 8]);
            assert_eq!(ask(&packet, too_big), Err(Unanswerable::Source));
        }
        let later = |protocol: Protocol| {
            v6(
                HOST6,
                FAR6,
                Protocol::FRAGMENT,
                &[protocol.0, 0, 0, 8, 0, 0, 0, 1],
            )
        };
        assert_eq!(
            ask(&later(Protocol::UDP), no_route),
            Err(Unanswerable::LaterFragment)
        );
        assert_eq!(ask(&later(Protocol::UDP), too_big), Ok(()));
        assert_eq!(
            ask(&later(Protocol::ICMPV6), too_big),
            Err(Unanswerable::LaterFragment)
        );
        for (message_type, allowed) in [
            (1, false),
            (100, false),
            (128, true),
            (135, true),
            (137, false),
        ] {
            let packet = v6(
                HOST6,
                FAR6,
                Protocol::ICMPV6,
                &[message_type, 0, 0, 0, 0, 0, 0, 0],
            );
            let expected = if allowed {
                Ok(())
            } else {
                Err(Unanswerable::IcmpError)
            };
            assert_eq!(ask(&packet, no_route), expected);
        }
    }

    #[test]
    fn too_small_a_buffer_is_refused() {
        let packet = v4(Ipv4Repr::new(HOST4, FAR4, Protocol::UDP, 0), &[0; 100]);
        let build = |room: usize| {
            build_icmpv4_error(
                &packet,
                ROUTER4,
                Icmpv4Error::TtlExceeded,
                &mut vec![0; room],
            )
        };
        assert_eq!(build(0), None);
        assert_eq!(build(55), None);
        assert_eq!(build(56), Some(56));
        assert_eq!(build(1500), Some(148));
        let short = v4(Ipv4Repr::new(HOST4, FAR4, Protocol::UDP, 0), &[]);
        let mut out = [0; 48];
        assert_eq!(
            build_icmpv4_error(&short, ROUTER4, Icmpv4Error::TtlExceeded, &mut out),
            Some(48)
        );
    }

    #[test]
    fn ethernet_padding_is_not_quoted() {
        let mut packet = v4(Ipv4Repr::new(HOST4, FAR4, Protocol::UDP, 0), &[1; 9]);
        packet.extend([0xee; 17]);
        let mut out = [0; 576];
        let length = build_icmpv4_error(&packet, ROUTER4, Icmpv4Error::TtlExceeded, &mut out);
        assert_eq!(length, Some(28 + 29));
    }

    #[test]
    fn kinds_have_a_message_in_both_versions() {
        assert_eq!(
            Icmpv4Error::from(IcmpErrorKind::TooBig { mtu: 70_000 }),
            Icmpv4Error::FragmentationNeeded {
                next_hop_mtu: 65_535
            }
        );
        assert_eq!(
            Icmpv6Error::from(IcmpErrorKind::TooBig { mtu: 70_000 }),
            Icmpv6Error::PacketTooBig { mtu: 70_000 }
        );
        assert_eq!(
            Icmpv4Error::from(IcmpErrorKind::NoRoute),
            Icmpv4Error::NetworkUnreachable
        );
        assert_eq!(
            Icmpv6Error::from(IcmpErrorKind::NoRoute),
            Icmpv6Error::NoRoute
        );
    }

    proptest! {
        #[test]
        fn an_icmpv4_error_is_right_and_quotes_all_that_fits(
            payload in prop::collection::vec(any::<u8>(), 0..1400),
            next_hop_mtu: u16,
        ) {
            let packet = v4(Ipv4Repr::new(HOST4, FAR4, Protocol::UDP, 0), &payload);
            let mut out = [0xaa; 1500];
            let kind = Icmpv4Error::FragmentationNeeded { next_hop_mtu };
            let length = build_icmpv4_error(&packet, ROUTER4, kind, &mut out).unwrap();
            prop_assert_eq!(length, (28 + packet.len()).min(ICMPV4_ERROR_LIMIT));
            let ip = Ipv4View::new_checked(&out[..length]).unwrap();
            prop_assert_eq!(ip.check_checksum(), Ok(()));
            prop_assert_eq!((ip.source(), ip.destination()), (ROUTER4, HOST4));
            prop_assert_eq!(ip.dscp(), 48);
            let icmp = Icmpv4View::new_checked(ip.payload()).unwrap();
            prop_assert!(icmp.verify_checksum());
            prop_assert_eq!(Icmpv4Repr::parse(&icmp), Icmpv4Repr::Error(kind));
            prop_assert_eq!(icmp.quoted_packet().unwrap(), &packet[..length - 28]);
            prop_assert_eq!(
                may_answer_with_icmpv4_error(&out[..length], STATION),
                Err(Unanswerable::IcmpError)
            );
        }

        #[test]
        fn an_icmpv6_error_is_right_and_quotes_all_that_fits(
            payload in prop::collection::vec(any::<u8>(), 0..1400),
            mtu: u32,
        ) {
            let packet = v6(HOST6, FAR6, Protocol::UDP, &payload);
            let mut out = [0xaa; 1500];
            let kind = Icmpv6Error::PacketTooBig { mtu };
            let length = build_icmpv6_error(&packet, ROUTER6, kind, &mut out).unwrap();
            prop_assert_eq!(length, (48 + packet.len()).min(ICMPV6_ERROR_LIMIT));
            let ip = Ipv6View::new_checked(&out[..length]).unwrap();
            prop_assert_eq!((ip.source(), ip.destination()), (ROUTER6, HOST6));
            let icmp = Icmpv6View::new_checked(ip.payload()).unwrap();
            prop_assert!(icmp.verify_checksum(ROUTER6, HOST6));
            prop_assert_eq!(Icmpv6Repr::parse(&icmp), Icmpv6Repr::Error(kind));
            prop_assert_eq!(icmp.quoted_packet().unwrap(), &packet[..length - 48]);
        }

        #[test]
        fn arbitrary_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            version in prop::sample::select(&[0x40u8, 0x60][..]),
            room in 0usize..300,
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = version | *first & 0x0f;
            }
            let _ = may_answer_with_icmpv4_error(&bytes, STATION);
            let _ = may_answer_with_icmpv6_error(&bytes, STATION, Icmpv6Error::NoRoute);
            let mut out = vec![0; room];
            let _ = build_icmpv4_error(&bytes, ROUTER4, Icmpv4Error::TtlExceeded, &mut out);
            let _ = build_icmpv6_error(&bytes, ROUTER6, Icmpv6Error::NoRoute, &mut out);
        }
    }
}
