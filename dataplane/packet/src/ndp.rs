//! Neighbour discovery (RFC 4861): neighbour solicitation and advertisement, over Ethernet (RFC
//! 2464).

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::bytes::{array_at, between, put_at, u8_at};
use crate::error::EmitError;
use crate::ethernet::MacAddress;
use crate::icmpv6::{self, Icmpv6Repr, Icmpv6View, message_type as t};
use crate::ip::{IpHeader, Ipv6};

const TARGET: usize = 8;
const OPTIONS: usize = 24;
const LINK_ADDRESS_OPTION_LEN: usize = 8;

const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

const ROUTER: u32 = 0x8000_0000;
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;

/// Why a message is not a neighbour solicitation or advertisement that may be believed (RFC 4861
/// sections 7.1.1 and 7.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NdpError {
    /// Neither of the two.
    #[error("ICMPv6 type {message_type} is no neighbour solicitation or advertisement")]
    BadType {
        /// What it is.
        message_type: u8,
    },
    /// It came over a router, from another link.
    #[error("a hop limit of {hop_limit}, not 255: from another link")]
    BadHopLimit {
        /// What is left of it.
        hop_limit: u8,
    },
    /// The ICMPv6 checksum is wrong.
    #[error("the ICMPv6 checksum {found:#06x} is wrong")]
    BadChecksum {
        /// What it says.
        found: u16,
    },
    /// The code is not 0.
    #[error("ICMPv6 code {code}, not 0")]
    BadCode {
        /// What it is.
        code: u8,
    },
    /// Fewer bytes than such a message has.
    #[error("a neighbour message has at least {OPTIONS} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
    /// The target is a multicast address.
    #[error("the target {target} is a multicast address")]
    MulticastTarget {
        /// The target.
        target: Ipv6Addr,
    },
    /// An option of length 0, or beyond the end, or a link-layer address that is not Ethernet's.
    #[error("option {kind} says {length} bytes, {available} are there")]
    BadOption {
        /// The kind.
        kind: u8,
        /// What it says, in bytes.
        length: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// A probe for duplicates, from `::`, with a link-layer address or not to a solicited-node
    /// address.
    #[error("a neighbour solicitation from :: to {destination} that is no duplicate-address probe")]
    BadProbe {
        /// To whom.
        destination: Ipv6Addr,
    },
    /// An advertisement to everyone that says that it was asked for.
    #[error("a solicited neighbour advertisement to the multicast address {destination}")]
    SolicitedMulticast {
        /// To whom.
        destination: Ipv6Addr,
    },
}

/// The multicast address that a node with `address` listens on, to be asked for it (RFC 4291
/// section 2.7.1).
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., g, h] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | g & 0xff, h)
}

/// Whether `address` is some node's solicited-node address.
const fn is_solicited_node(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xff02, 0, 0, 0, 0, 1, g, _] if g >> 8 == 0xff)
}

/// A neighbour message as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NdpRepr {
    /// Who has the target address?
    Solicitation {
        /// The address asked for.
        target: Ipv6Addr,
        /// Where the one who asks is; none in a probe for duplicates.
        source_link_address: Option<MacAddress>,
    },
    /// The sender has it.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// The sender is a router.
        router: bool,
        /// This answers a solicitation.
        solicited: bool,
        /// Replace what you may know.
        overrides: bool,
        /// Where the target is.
        target_link_address: Option<MacAddress>,
    },
}

impl NdpRepr {
    /// The address asked for, or told of.
    pub const fn target(&self) -> Ipv6Addr {
        match *self {
            NdpRepr::Solicitation { target, .. } | NdpRepr::Advertisement { target, .. } => target,
        }
    }

    /// Reads a message and makes all checks that RFC 4861 asks for, the checksum too.
    ///
    /// # Errors
    /// See [`NdpError`].
    pub fn parse<T: AsRef<[u8]>>(
        view: &Icmpv6View<T>,
        ip: &IpHeader<Ipv6>,
    ) -> Result<Self, NdpError> {
        let message_type = view.message_type();
        let option = match message_type {
            t::NEIGHBOR_SOLICITATION => SOURCE_LINK_ADDRESS,
            t::NEIGHBOR_ADVERTISEMENT => TARGET_LINK_ADDRESS,
            _ => return Err(NdpError::BadType { message_type }),
        };
        if ip.hop_limit != 255 {
            return Err(NdpError::BadHopLimit {
                hop_limit: ip.hop_limit,
            });
        }
        if !view.verify_checksum(ip.source, ip.destination) {
            return Err(NdpError::BadChecksum {
                found: view.checksum(),
            });
        }
        if view.code() != 0 {
            return Err(NdpError::BadCode { code: view.code() });
        }
        // The whole message again: the view's payload begins behind the first eight bytes.
        let body = view.payload();
        if body.len() < OPTIONS - TARGET {
            let available = body.len() + icmpv6::HEADER_LEN;
            return Err(NdpError::TooShort { available });
        }
        let target = Ipv6Addr::from(array_at::<16>(body, 0));
        if target.is_multicast() {
            return Err(NdpError::MulticastTarget { target });
        }
        let link_address = find_link_address(between(body, OPTIONS - TARGET, usize::MAX), option)?;
        let destination = ip.destination;
        if message_type == t::NEIGHBOR_SOLICITATION {
            let probe = ip.source.is_unspecified();
            if probe && (link_address.is_some() || !is_solicited_node(destination)) {
                return Err(NdpError::BadProbe { destination });
            }
            return Ok(NdpRepr::Solicitation {
                target,
                source_link_address: link_address,
            });
        }
        let flags = match Icmpv6Repr::parse(view) {
            Icmpv6Repr::Other { rest, .. } => rest,
            _ => 0,
        };
        let solicited = flags & SOLICITED != 0;
        if solicited && destination.is_multicast() {
            return Err(NdpError::SolicitedMulticast { destination });
        }
        Ok(NdpRepr::Advertisement {
            target,
            router: flags & ROUTER != 0,
            solicited,
            overrides: flags & OVERRIDE != 0,
            target_link_address: link_address,
        })
    }

    const fn parts(&self) -> (u8, u32, u8, Option<MacAddress>) {
        match *self {
            NdpRepr::Solicitation {
                source_link_address,
                ..
            } => (
                t::NEIGHBOR_SOLICITATION,
                0,
                SOURCE_LINK_ADDRESS,
                source_link_address,
            ),
            NdpRepr::Advertisement {
                router,
                solicited,
                overrides,
                target_link_address,
                ..
            } => {
                let flags = if router { ROUTER } else { 0 }
                    | if solicited { SOLICITED } else { 0 }
                    | if overrides { OVERRIDE } else { 0 };
                (
                    t::NEIGHBOR_ADVERTISEMENT,
                    flags,
                    TARGET_LINK_ADDRESS,
                    target_link_address,
                )
            }
        }
    }

    /// Bytes of the message.
    pub const fn buffer_len(&self) -> usize {
        match self.parts() {
            (.., None) => OPTIONS,
            (.., Some(_)) => OPTIONS + LINK_ADDRESS_OPTION_LEN,
        }
    }

    /// Writes the message with its checksum to the front of `out`; answers its length. The packet
    /// needs a hop limit of 255.
    ///
    /// # Errors
    /// [`EmitError::TooShort`].
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        out: &mut [u8],
    ) -> Result<usize, EmitError> {
        let length = self.buffer_len();
        EmitError::check_room(out, length)?;
        let message = crate::bytes::between_mut(out, 0, length);
        let (message_type, flags, option, link_address) = self.parts();
        put_at(message, TARGET, self.target().octets());
        if let Some(MacAddress(octets)) = link_address {
            put_at(message, OPTIONS, [option, 1]);
            put_at(message, OPTIONS + 2, octets);
        }
        let header = Icmpv6Repr::Other {
            message_type,
            code: 0,
            rest: flags,
        };
        header.emit(source, destination, message)?;
        Ok(length)
    }
}

/// The link-layer address in the last option of this kind. All options are checked, as the RFC
/// asks.
fn find_link_address(mut options: &[u8], wanted: u8) -> Result<Option<MacAddress>, NdpError> {
    let mut found = None;
    while !options.is_empty() {
        let (kind, length) = (u8_at(options, 0), usize::from(u8_at(options, 1)) * 8);
        let bad = NdpError::BadOption {
            kind,
            length,
            available: options.len(),
        };
        let Some((option, rest)) = options.split_at_checked(length).filter(|_| length != 0) else {
            return Err(bad);
        };
        if kind == wanted {
            if length != LINK_ADDRESS_OPTION_LEN {
                return Err(bad);
            }
            found = Some(MacAddress(array_at(option, 2)));
        }
        options = rest;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ip::{Fragment, Protocol};

    const TARGET_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0x12ab, 0xcdef);
    const OURS: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    fn ip(source: Ipv6Addr, destination: Ipv6Addr) -> IpHeader<Ipv6> {
        IpHeader {
            source,
            destination,
            protocol: Protocol::ICMPV6,
            fragment: Fragment::Whole,
            hop_limit: 255,
            traffic_class: 0,
            header_len: 40,
            packet_len: 80,
        }
    }

    fn solicitation(source_link_address: Option<MacAddress>) -> NdpRepr {
        NdpRepr::Solicitation {
            target: TARGET_ADDRESS,
            source_link_address,
        }
    }

    /// Emits, changes, makes the checksum right again, parses.
    fn reparse(
        repr: NdpRepr,
        ip: &IpHeader<Ipv6>,
        change: impl Fn(&mut [u8]),
    ) -> Result<NdpRepr, NdpError> {
        let mut bytes = vec![0xaa; repr.buffer_len()];
        repr.emit(ip.source, ip.destination, &mut bytes).unwrap();
        change(&mut bytes);
        let mut view = Icmpv6View::new_checked(bytes).unwrap();
        view.fill_checksum(ip.source, ip.destination);
        NdpRepr::parse(&view, ip)
    }

    #[test]
    fn solicited_node_addresses() {
        let address = solicited_node(TARGET_ADDRESS);
        assert_eq!(address, "ff02::1:ffab:cdef".parse::<Ipv6Addr>().unwrap());
        assert!(is_solicited_node(address) && !is_solicited_node(TARGET_ADDRESS));
        assert_eq!(
            MacAddress::from_ipv6_multicast(address).to_string(),
            "33:33:ff:ab:cd:ef"
        );
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let ip = ip(Ipv6Addr::LOCALHOST, solicited_node(TARGET_ADDRESS));
        let repr = solicitation(Some(OURS));
        let refused = |change: &dyn Fn(&mut [u8])| reparse(repr, &ip, change).unwrap_err();
        assert_eq!(
            refused(&|b| b[0] = 133),
            NdpError::BadType { message_type: 133 }
        );
        assert_eq!(refused(&|b| b[1] = 1), NdpError::BadCode { code: 1 });
        let target = Ipv6Addr::new(0xff80, 0, 0, 0, 0, 0, 0x12ab, 0xcdef);
        assert_eq!(
            refused(&|b| b[8] = 0xff),
            NdpError::MulticastTarget { target }
        );
        let option = |length| NdpError::BadOption {
            kind: 1,
            length,
            available: 8,
        };
        assert_eq!(refused(&|b| b[25] = 0), option(0));
        assert_eq!(refused(&|b| b[25] = 2), option(16));

        let far = IpHeader {
            hop_limit: 254,
            ..ip
        };
        assert_eq!(
            reparse(repr, &far, |_| ()),
            Err(NdpError::BadHopLimit { hop_limit: 254 })
        );

        let mut bytes = [0; 32];
        repr.emit(ip.source, ip.destination, &mut bytes).unwrap();
        bytes[31] ^= 1;
        let view = Icmpv6View::new_checked(bytes).unwrap();
        assert!(matches!(
            NdpRepr::parse(&view, &ip),
            Err(NdpError::BadChecksum { .. })
        ));

        let mut short = Icmpv6View::new_checked(&mut bytes[..23]).unwrap();
        short.fill_checksum(ip.source, ip.destination);
        assert_eq!(
            NdpRepr::parse(&short, &ip),
            Err(NdpError::TooShort { available: 23 })
        );
    }

    #[test]
    fn other_options_are_passed_over() {
        let ip = ip(Ipv6Addr::LOCALHOST, solicited_node(TARGET_ADDRESS));
        let parsed = reparse(solicitation(Some(OURS)), &ip, |bytes| bytes[24] = 14);
        assert_eq!(parsed, Ok(solicitation(None)));
    }

    #[test]
    fn probes_and_answers_to_everyone() {
        let destination = solicited_node(TARGET_ADDRESS);
        let probe = ip(Ipv6Addr::UNSPECIFIED, destination);
        assert_eq!(
            reparse(solicitation(None), &probe, |_| ()),
            Ok(solicitation(None))
        );
        assert_eq!(
            reparse(solicitation(Some(OURS)), &probe, |_| ()),
            Err(NdpError::BadProbe { destination })
        );
        let destination = TARGET_ADDRESS;
        assert_eq!(
            reparse(
                solicitation(None),
                &ip(Ipv6Addr::UNSPECIFIED, destination),
                |_| ()
            ),
            Err(NdpError::BadProbe { destination })
        );
        let answer = NdpRepr::Advertisement {
            target: TARGET_ADDRESS,
            router: true,
            solicited: true,
            overrides: false,
            target_link_address: None,
        };
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        assert_eq!(
            reparse(answer, &ip(TARGET_ADDRESS, destination), |_| ()),
            Err(NdpError::SolicitedMulticast { destination })
        );
    }

    proptest! {
        #[test]
        fn build_then_parse(
            target: [u8; 16],
            link_address: Option<[u8; 6]>,
            flags: (bool, bool, bool),
            ask: bool,
        ) {
            let mut target = target;
            target[0] &= 0x7f;
            let target = Ipv6Addr::from(target);
            let link_address = link_address.map(MacAddress);
            let repr = if ask {
                NdpRepr::Solicitation { target, source_link_address: link_address }
            } else {
                NdpRepr::Advertisement {
                    target,
                    router: flags.0,
                    solicited: flags.1,
                    overrides: flags.2,
                    target_link_address: link_address,
                }
            };
            let ip = ip(Ipv6Addr::LOCALHOST, TARGET_ADDRESS);
            prop_assert_eq!(reparse(repr, &ip, |_| ()), Ok(repr));
            let needed = repr.buffer_len();
            prop_assert_eq!(
                repr.emit(ip.source, ip.destination, &mut vec![0; needed - 1]),
                Err(EmitError::TooShort { needed, available: needed - 1 })
            );
        }

        #[test]
        fn arbitrary_bytes(
            bytes in prop::collection::vec(any::<u8>(), 8..80),
            ask: bool,
            plain: bool,
        ) {
            let mut bytes = bytes;
            (bytes[0], bytes[1]) = (if ask { 135 } else { 136 }, if plain { 0 } else { bytes[1] });
            let ip = ip(Ipv6Addr::LOCALHOST, TARGET_ADDRESS);
            let mut view = Icmpv6View::new_checked(bytes).unwrap();
            let _ = NdpRepr::parse(&view, &ip);
            view.fill_checksum(ip.source, ip.destination);
            let _ = NdpRepr::parse(&view, &ip);
        }
    }
}
