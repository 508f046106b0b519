//! Frames of TCP, UDP and ICMP echo, and of ARP and neighbor discovery: written and read at fixed places, as plain hosts send
//! them. What is behind the headers is zeros, so that checksums cost the headers alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;

const ETHERNET: usize = 14;
const SHORTEST: usize = 60;

/// One packet, in what its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// Ports; of an echo, its identifier twice.
    pub(crate) ports: [u16; 2],
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    /// The flags of TCP; the type of ICMP.
    pub(crate) kind: u8,
    /// The bytes behind the headers.
    pub(crate) data: usize,
}

impl Packet {
    /// Whether it asks for an echo.
    pub(crate) fn is_echo_request(&self) -> bool {
        matches!((self.protocol, self.kind), (ICMP, 8) | (ICMPV6, 128))
    }

    /// Whether it answers one.
    pub(crate) fn is_echo_reply(&self) -> bool {
        matches!((self.protocol, self.kind), (ICMP, 0) | (ICMPV6, 129))
    }

    /// Writes the packet as a frame, in place of what is in `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>, [from, to]: [[u8; 6]; 2]) {
        out.clear();
        out.extend_from_slice(&to);
        out.extend_from_slice(&from);
        let above = self.header_length() + self.data;
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                out.extend_from_slice(&[0x08, 0x00]);
                self.ipv4(out, source, destination, above);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
                out.extend_from_slice(&(above as u16).to_be_bytes());
                out.extend_from_slice(&[self.protocol, 64]);
                out.extend_from_slice(&source.octets());
                out.extend_from_slice(&destination.octets());
            }
            // Nothing is sent from one family to the other.
            _ => return,
        }
        let start = out.len();
        self.above(out);
        let mut sum = sum(&out[start..]);
        if self.protocol != ICMP {
            sum += self.pseudo_header(above);
        }
        let place = start + self.checksum_place();
        let checksum = match (folded(sum), self.protocol) {
            // A UDP checksum of 0 says that there is none.
            (0, UDP) => 0xffff,
            (checksum, _) => checksum,
        };
        out[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
        let length = (start + above).max(SHORTEST);
        out.resize(length, 0);
    }

    fn ipv4(&self, out: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, above: usize) {
        let start = out.len();
        let length = (20 + above) as u16;
        let [high, low] = length.to_be_bytes();
        // As Linux sends: what has a connection must not be cut, and needs no identification then.
        let fragment = if self.protocol == TCP { 0x40 } else { 0 };
        let [a, b] = (self.sequence as u16).to_be_bytes();
        let head = [
            0x45,
            0,
            high,
            low,
            a,
            b,
            fragment,
            0,
            64,
            self.protocol,
            0,
            0,
        ];
        out.extend_from_slice(&head);
        out.extend_from_slice(&source.octets());
        out.extend_from_slice(&destination.octets());
        let checksum = folded(sum(&out[start..]));
        out[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    fn header_length(&self) -> usize {
        if self.protocol == TCP { 20 } else { 8 }
    }

    fn checksum_place(&self) -> usize {
        match self.protocol {
            TCP => 16,
            UDP => 6,
            _ => 2,
        }
    }

    fn above(&self, out: &mut Vec<u8>) {
        let [from, to] = self.ports.map(u16::to_be_bytes);
        match self.protocol {
            TCP => {
                out.extend_from_slice(&[from[0], from[1], to[0], to[1]]);
                out.extend_from_slice(&self.sequence.to_be_bytes());
                out.extend_from_slice(&self.acknowledgment.to_be_bytes());
                out.extend_from_slice(&[0x50, self.kind, 0xff, 0xff, 0, 0, 0, 0]);
            }
            UDP => {
                let [high, low] = ((8 + self.data) as u16).to_be_bytes();
                out.extend_from_slice(&[from[0], from[1], to[0], to[1], high, low, 0, 0]);
            }
            _ => {
                let [high, low] = (self.sequence as u16).to_be_bytes();
                out.extend_from_slice(&[self.kind, 0, 0, 0, from[0], from[1], high, low]);
            }
        }
    }

    fn pseudo_header(&self, above: usize) -> u32 {
        let addresses = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                sum(&source.octets()) + sum(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                sum(&source.octets()) + sum(&destination.octets())
            }
            _ => 0,
        };
        addresses + u32::from(self.protocol) + above as u32
    }

    /// Reads a frame; none where it is of another kind, or a fragment.
    pub(crate) fn read(frame: &[u8]) -> Option<Packet> {
        let (source, destination, protocol, start, above) = match frame.get(12..14)? {
            [0x08, 0x00] => {
                let header = frame[ETHERNET..].first_chunk::<20>()?;
                if header[0] != 0x45 || (header[6] & 0x3f, header[7]) != (0, 0) {
                    return None;
                }
                let source = Ipv4Addr::from(*header[12..].first_chunk::<4>()?);
                let destination = Ipv4Addr::from(*header[16..].first_chunk::<4>()?);
                let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
                let ends = (IpAddr::V4(source), IpAddr::V4(destination));
                (
                    ends.0,
                    ends.1,
                    header[9],
                    ETHERNET + 20,
                    length.checked_sub(20)?,
                )
            }
            [0x86, 0xdd] => {
                let header = frame[ETHERNET..].first_chunk::<40>()?;
                let source = Ipv6Addr::from(*header[8..].first_chunk::<16>()?);
                let destination = Ipv6Addr::from(*header[24..].first_chunk::<16>()?);
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                let ends = (IpAddr::V6(source), IpAddr::V6(destination));
                (ends.0, ends.1, header[6], ETHERNET + 40, length)
            }
            _ => return None,
        };
        let head = frame.get(start..)?;
        let word = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
        let long = |at: usize| Some(u32::from(word(at)?) << 16 | u32::from(word(at + 2)?));
        let (ports, sequence, acknowledgment, kind, header) = match protocol {
            TCP => {
                let length = usize::from(head.get(12)? >> 4) * 4;
                (
                    [word(0)?, word(2)?],
                    long(4)?,
                    long(8)?,
                    *head.get(13)?,
                    length,
                )
            }
            UDP => ([word(0)?, word(2)?], 0, 0, 0, 8),
            ICMP | ICMPV6 => ([word(4)?; 2], u32::from(word(6)?), 0, *head.first()?, 8),
            _ => return None,
        };
        Some(Packet {
            source,
            destination,
            protocol,
            ports,
            sequence,
            acknowledgment,
            kind,
            data: above.checked_sub(header)?,
        })
    }
}

/// The sum of 16-bit words; of an odd number of bytes, the last one is the high byte of a word (RFC 1071).
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    words
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum()
}

fn folded(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What a host answers to an ARP request or a neighbor solicitation, if the frame is one: written in place of what is in `out`.
/// `mac_of` is the MAC address of whoever has an address.
pub(crate) fn resolve(
    frame: &[u8],
    mac_of: impl Fn(IpAddr) -> [u8; 6],
    out: &mut Vec<u8>,
) -> Option<()> {
    let asker: [u8; 6] = *frame.get(6..12)?.first_chunk()?;
    match frame.get(12..14)? {
        [0x08, 0x06] => {
            let packet = frame[ETHERNET..].first_chunk::<28>()?;
            let (sender, target) = (&packet[14..18], &packet[24..28]);
            if packet[7] != 1 || sender == target {
                return None;
            }
            let target_address = Ipv4Addr::from(*target.first_chunk::<4>()?);
            let mac = mac_of(target_address.into());
            out.clear();
            for part in [
                &asker[..],
                &mac,
                &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2],
                &mac,
                target,
                &asker,
                sender,
            ] {
                out.extend_from_slice(part);
            }
            out.resize(SHORTEST, 0);
        }
        [0x86, 0xdd] => {
            let packet = frame.get(ETHERNET..ETHERNET + 64)?;
            let source = Ipv6Addr::from(*packet[8..].first_chunk::<16>()?);
            if packet[6] != ICMPV6 || packet[40] != 135 || source.is_unspecified() {
                return None;
            }
            let target: [u8; 16] = *packet[48..].first_chunk()?;
            let mac = mac_of(Ipv6Addr::from(target).into());
            out.clear();
            out.extend_from_slice(&asker);
            out.extend_from_slice(&mac);
            out.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
            out.extend_from_slice(&target);
            out.extend_from_slice(&source.octets());
            let start = out.len();
            // Solicited, and in place of what was known (RFC 4861, section 4.4), with the target's link-layer address.
            out.extend_from_slice(&[136, 0, 0, 0, 0x60, 0, 0, 0]);
            out.extend_from_slice(&target);
            out.extend_from_slice(&[2, 1]);
            out.extend_from_slice(&mac);
            let pseudo = sum(&target) + sum(&source.octets()) + 32 + u32::from(ICMPV6);
            let checksum = folded(sum(&out[start..]) + pseudo);
            out[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rewire_packet::ipv4::Ipv4View;
    use rewire_packet::ipv6::Ipv6View;

    use super::*;

    fn packet() -> impl Strategy<Value = Packet> {
        let ends = (any::<bool>(), any::<u128>(), any::<u128>());
        let numbers = (any::<[u16; 2]>(), any::<u32>(), any::<u32>(), any::<u8>());
        (ends, 0..3usize, numbers, 0..1400usize).prop_map(|(ends, protocol, numbers, data)| {
            let (is_ipv4, source, destination) = ends;
            let address = |number: u128| match is_ipv4 {
                true => IpAddr::V4(Ipv4Addr::from(number as u32)),
                false => IpAddr::V6(Ipv6Addr::from(number)),
            };
            let protocol = [TCP, UDP, if is_ipv4 { ICMP } else { ICMPV6 }][protocol];
            let (ports, sequence, acknowledgment, kind) = numbers;
            let is_tcp = protocol == TCP;
            Packet {
                source: address(source),
                destination: address(destination),
                protocol,
                ports: if [TCP, UDP].contains(&protocol) {
                    ports
                } else {
                    [ports[0]; 2]
                },
                sequence: match protocol {
                    TCP => sequence,
                    UDP => 0,
                    _ => sequence & 0xffff,
                },
                acknowledgment: if is_tcp { acknowledgment } else { 0 },
                kind: if protocol == UDP { 0 } else { kind },
                data,
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_has_good_checksums(packet in packet()) {
            let mut frame = vec![1; 7];
            packet.write(&mut frame, [[2; 6], [4; 6]]);
            prop_assert_eq!(Packet::read(&frame), Some(packet));
            prop_assert!(frame.len() >= SHORTEST);
            let above = packet.header_length() + packet.data;
            let start = match packet.source {
                IpAddr::V4(_) => {
                    let view = Ipv4View::new_checked(&frame[14..]).unwrap();
                    prop_assert!(view.check_checksum().is_ok());
                    34
                }
                IpAddr::V6(_) => {
                    prop_assert!(Ipv6View::new_checked(&frame[14..]).is_ok());
                    54
                }
            };
            let pseudo = if packet.protocol == ICMP { 0 } else { packet.pseudo_header(above) };
            let sum = sum(&frame[start..start + above]) + pseudo;
            prop_assert_eq!(folded(sum), 0);
        }

        #[test]
        fn any_bytes_are_read_without_harm(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0..3usize) {
            let kinds = [[0x08, 0x00], [0x86, 0xdd], [0x08, 0x06]];
            if let Some(place) = frame.get_mut(12..14) {
                place.copy_from_slice(&kinds[kind]);
            }
            let _ = Packet::read(&frame);
            let _ = resolve(&frame, |_| [2; 6], &mut Vec::new());
        }
    }
}
