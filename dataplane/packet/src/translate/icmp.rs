//! The tables of ICMP and ICMPv6 messages (RFC 7915 sections 4.2 and 5.2).

use super::{DIFFERENCE, IPV6_LEAST_MTU, TranslateError};
use crate::bytes::{u8_at, u32_at};
use crate::icmpv4::{self, Icmpv4Error, message_type as v4};
use crate::icmpv6::{Icmpv6Error, message_type as v6};
use crate::ip::Ip;

pub(super) const HEADER_LEN: usize = icmpv4::HEADER_LEN;

/// Sizes of packets that routers fragment to, which a router that names no MTU may mean (RFC 1191 section 7.1).
const PLATEAUS: [u32; 10] = [
    65_535, 32_000, 17_914, 8_166, 4_352, 2_002, 1_492, 1_006, 508, 296,
];

const NEXT_HEADER: u32 = 6;

/// The type that an echo message of version `F` has in the other one.
pub(super) fn query<F: Ip>(message: &[u8]) -> Result<u8, TranslateError> {
    let (message_type, code) = (u8_at(message, 0), u8_at(message, 1));
    let pairs = [
        (v4::ECHO_REQUEST, v6::ECHO_REQUEST),
        (v4::ECHO_REPLY, v6::ECHO_REPLY),
    ];
    let is_ipv4 = F::ICMP == crate::Protocol::ICMP;
    let found = pairs.iter().find_map(|&(four, six)| {
        let (old, new) = if is_ipv4 { (four, six) } else { (six, four) };
        (old == message_type).then_some(new)
    });
    found.ok_or(TranslateError::Icmp { message_type, code })
}

/// The header of an ICMPv6 error as one of ICMP, its checksum zero. `mtu` is the largest packet to be announced.
pub(super) fn error_to_ipv4(message: &[u8], mtu: u32) -> Result<[u8; HEADER_LEN], TranslateError> {
    let (message_type, code) = (u8_at(message, 0), u8_at(message, 1));
    let refused = TranslateError::Icmp { message_type, code };
    let error = Icmpv6Error::from_message(message_type, code, u32_at(message, 4));
    let error = error.and_then(|error| error_kind_to_ipv4(error, mtu));
    Ok(error.ok_or(refused)?.header())
}

/// What an ICMPv6 error is in ICMP; none where it has no equal. `mtu` is the largest IPv4 packet that a "fragmentation needed" announces.
pub fn error_kind_to_ipv4(error: Icmpv6Error, mtu: u32) -> Option<Icmpv4Error> {
    Some(match error {
        Icmpv6Error::NoRoute | Icmpv6Error::BeyondScope | Icmpv6Error::AddressUnreachable => {
            Icmpv4Error::HostUnreachable
        }
        Icmpv6Error::AdministrativelyProhibited => Icmpv4Error::HostProhibited,
        Icmpv6Error::PortUnreachable => Icmpv4Error::PortUnreachable,
        // RFC 7915 has none for these two, which came later than its table.
        Icmpv6Error::SourcePolicyFailed | Icmpv6Error::RejectRoute => return None,
        Icmpv6Error::PacketTooBig { mtu: said } => {
            let mtu = said.saturating_sub(DIFFERENCE as u32).min(mtu);
            Icmpv4Error::FragmentationNeeded {
                next_hop_mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            }
        }
        Icmpv6Error::HopLimitExceeded => Icmpv4Error::TtlExceeded,
        Icmpv6Error::ReassemblyTimeExceeded => Icmpv4Error::ReassemblyTimeExceeded,
        Icmpv6Error::ParameterProblem { code: 0, pointer } => Icmpv4Error::ParameterProblem {
            pointer: pointer_to_ipv4(pointer)?,
        },
        Icmpv6Error::ParameterProblem { code: 1, .. } => Icmpv4Error::ProtocolUnreachable,
        Icmpv6Error::ParameterProblem { .. } => return None,
    })
}

/// The header of an ICMP error, about a packet of so many bytes, as one of ICMPv6, its checksum zero. `mtu` is the largest packet
/// to be announced.
pub(super) fn error_to_ipv6(
    message: &[u8],
    quoted_len: usize,
    mtu: u32,
) -> Result<[u8; HEADER_LEN], TranslateError> {
    let (message_type, code) = (u8_at(message, 0), u8_at(message, 1));
    let refused = TranslateError::Icmp { message_type, code };
    let error = match (message_type, code) {
        // The network or host is unknown, or unreachable for this type of service.
        (v4::DESTINATION_UNREACHABLE, 6..=8 | 11 | 12) => Some(Icmpv6Error::NoRoute),
        // Precedence cutoff.
        (v4::DESTINATION_UNREACHABLE, 15) => Some(Icmpv6Error::AdministrativelyProhibited),
        // A bad length.
        (v4::PARAMETER_PROBLEM, 2) => pointer_to_ipv6(u8_at(message, 4))
            .map(|pointer| Icmpv6Error::ParameterProblem { code: 0, pointer }),
        _ => Icmpv4Error::from_message(message_type, code, u32_at(message, 4))
            .and_then(|error| error_kind_to_ipv6(error, quoted_len, mtu)),
    };
    Ok(error.ok_or(refused)?.header())
}

/// What an ICMP error about a packet of `quoted_len` bytes is in ICMPv6; none where it has no equal. `mtu` is the largest IPv6 packet that
/// a "packet too big" announces.
pub fn error_kind_to_ipv6(error: Icmpv4Error, quoted_len: usize, mtu: u32) -> Option<Icmpv6Error> {
    Some(match error {
        Icmpv4Error::NetworkUnreachable
        | Icmpv4Error::HostUnreachable
        | Icmpv4Error::SourceRouteFailed => Icmpv6Error::NoRoute,
        Icmpv4Error::ProtocolUnreachable => Icmpv6Error::ParameterProblem {
            code: 1,
            pointer: NEXT_HEADER,
        },
        Icmpv4Error::PortUnreachable => Icmpv6Error::PortUnreachable,
        Icmpv4Error::FragmentationNeeded { next_hop_mtu } => {
            let said = match next_hop_mtu {
                0 => plateau_below(quoted_len as u32),
                said => said.into(),
            };
            let mtu = (said + DIFFERENCE as u32).min(mtu);
            Icmpv6Error::PacketTooBig {
                mtu: mtu.max(IPV6_LEAST_MTU as u32),
            }
        }
        Icmpv4Error::NetworkProhibited
        | Icmpv4Error::HostProhibited
        | Icmpv4Error::CommunicationProhibited => Icmpv6Error::AdministrativelyProhibited,
        Icmpv4Error::TtlExceeded => Icmpv6Error::HopLimitExceeded,
        Icmpv4Error::ReassemblyTimeExceeded => Icmpv6Error::ReassemblyTimeExceeded,
        Icmpv4Error::ParameterProblem { pointer } => Icmpv6Error::ParameterProblem {
            code: 0,
            pointer: pointer_to_ipv6(pointer)?,
        },
    })
}

fn plateau_below(length: u32) -> u32 {
    let plateau = PLATEAUS.into_iter().find(|plateau| *plateau < length);
    plateau.unwrap_or(IPV6_LEAST_MTU as u32)
}

/// RFC 7915, figure 6.
fn pointer_to_ipv4(pointer: u32) -> Option<u8> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        4 | 5 => 2,
        6 => 9,
        7 => 8,
        8..=23 => 12,
        24..=39 => 16,
        _ => return None,
    })
}

/// RFC 7915, figure 3.
fn pointer_to_ipv6(pointer: u8) -> Option<u32> {
    Some(match pointer {
        0 => 0,
        1 => 1,
        2 | 3 => 4,
        8 => 7,
        9 => NEXT_HEADER,
        12..=15 => 8,
        16..=19 => 24,
        _ => return None,
    })
}
