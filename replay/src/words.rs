//! Frames for people: in words, in hex, and where two of them part.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Bytes on a line of hex.
const ON_A_LINE: usize = 16;
/// The most lines of hex: a frame's headers, and a good part of what is behind them.
const MOST_LINES: usize = 16;

/// A frame in hex, as other tools show it: the offset, and sixteen bytes a line. What is too long is cut, and says so.
pub fn hex(frame: &[u8]) -> Vec<String> {
    let lines = frame.chunks(ON_A_LINE).take(MOST_LINES).enumerate();
    let mut lines: Vec<String> = lines
        .map(|(number, bytes)| {
            let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{:04x}  {}", number * ON_A_LINE, bytes.join(" "))
        })
        .collect();
    if frame.len() > ON_A_LINE * MOST_LINES {
        lines.push(format!("…     {} bytes in all", frame.len()));
    }
    lines
}

/// A frame in one line of words: its addresses, protocol and ports, and what there is to say of it.
pub fn words(frame: &[u8]) -> String {
    let length = frame.len();
    match frame.get(12..14) {
        Some([0x08, 0x00]) => ipv4(&frame[14..]),
        Some([0x86, 0xdd]) => ipv6(&frame[14..]),
        Some([0x08, 0x06]) => arp(&frame[14..]),
        Some([high, low]) => Some(format!("type 0x{high:02x}{low:02x}")),
        _ => None,
    }
    .map_or_else(
        || format!("a frame of {length} bytes"),
        |words| format!("{words}, {length} bytes"),
    )
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let header = packet.first_chunk::<20>()?;
    let source = Ipv4Addr::from(*header[12..].first_chunk::<4>()?);
    let destination = Ipv4Addr::from(*header[16..].first_chunk::<4>()?);
    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let above = match offset {
        0 => packet.get(usize::from(header[0] & 15) * 4..).unwrap_or(&[]),
        _ => &[],
    };
    let ends = ends(
        &source.to_string(),
        &destination.to_string(),
        header[9],
        above,
    );
    let fragment = match offset {
        0 => String::new(),
        offset => format!(", fragment at {}", u32::from(offset) * 8),
    };
    Some(format!("{ends}, ttl {}{fragment}", header[8]))
}

fn ipv6(packet: &[u8]) -> Option<String> {
    let header = packet.first_chunk::<40>()?;
    let source = Ipv6Addr::from(*header[8..].first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*header[24..].first_chunk::<16>()?);
    let (source, destination) = (format!("[{source}]"), format!("[{destination}]"));
    let ends = ends(&source, &destination, header[6], &packet[40..]);
    Some(format!("{ends}, hop limit {}", header[7]))
}

fn ends(source: &str, destination: &str, protocol: u8, above: &[u8]) -> String {
    let ports = match above.first_chunk::<4>() {
        Some([a, b, c, d]) if [6, 17].contains(&protocol) => {
            let ports = [[*a, *b], [*c, *d]].map(u16::from_be_bytes);
            Some(ports)
        }
        _ => None,
    };
    let name = match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        other => format!("protocol {other}"),
    };
    let more = match (protocol, above) {
        (6, [.., _]) if above.len() > 13 => format!(" {}", flags(above[13])),
        (1 | 58, [kind, code, ..]) => format!(" type {kind} code {code}"),
        _ => String::new(),
    };
    match ports {
        Some([from, to]) => format!("{source}:{from} > {destination}:{to} {name}{more}"),
        None => format!("{source} > {destination} {name}{more}"),
    }
}

/// The flags of TCP that people know, in the order of their bits.
fn flags(byte: u8) -> String {
    let names = ["fin", "syn", "rst", "psh", "ack", "urg"];
    let set = names
        .iter()
        .enumerate()
        .filter(|(bit, _)| byte >> bit & 1 == 1);
    let set: Vec<&str> = set.map(|(_, name)| *name).collect();
    set.join(",")
}

fn arp(packet: &[u8]) -> Option<String> {
    let packet = packet.first_chunk::<28>()?;
    let sender = Ipv4Addr::from(*packet[14..].first_chunk::<4>()?);
    let target = Ipv4Addr::from(*packet[24..].first_chunk::<4>()?);
    Some(match packet[7] {
        1 => format!("arp: who has {target}, asks {sender}"),
        _ => format!("arp: {sender} says where it is, to {target}"),
    })
}

/// Where two frames part: in words, and both in hex from the line where the first other byte is.
pub fn difference(expected: &[u8], found: &[u8]) -> Vec<String> {
    let same = expected
        .iter()
        .zip(found)
        .take_while(|(a, b)| a == b)
        .count();
    let (said, other) = (words(expected), words(found));
    let mut lines = vec![format!("expected: {said}"), format!("found:    {other}")];
    lines.push(match (expected.get(same), found.get(same)) {
        (Some(a), Some(b)) => {
            let field = field(expected, same);
            format!("they part at byte {same}, {field}: {a:02x} was expected, {b:02x} is there")
        }
        _ => format!(
            "they part in their length: {} bytes were expected, {} are there",
            expected.len(),
            found.len()
        ),
    });
    let from = same / ON_A_LINE * ON_A_LINE;
    for (name, frame) in [("expected", expected), ("found", found)] {
        let part = frame
            .get(from..frame.len().min(from + ON_A_LINE))
            .unwrap_or(&[]);
        let bytes: Vec<String> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push(format!("{name:>8} {from:04x}  {}", bytes.join(" ")));
    }
    lines
}

/// The name of the field that a byte of a frame is in.
fn field(frame: &[u8], position: usize) -> &'static str {
    match (position, frame.get(12..15)) {
        (0..6, _) => "the destination's MAC address",
        (6..12, _) => "the source's MAC address",
        (12..14, _) => "the type",
        (_, Some([0x08, 0x00, first])) => {
            let header = usize::from(first & 15) * 4;
            match position - 14 {
                1 => "the traffic class",
                2 | 3 => "the length of the IPv4 packet",
                4 | 5 => "the identification",
                6 | 7 => "the fragment's place",
                8 => "the time to live",
                9 => "the protocol",
                10 | 11 => "the checksum of the IPv4 header",
                12..16 => "the source address",
                16..20 => "the destination address",
                inside if inside < header => "the IPv4 header",
                inside => above(frame.get(23).copied(), inside - header),
            }
        }
        (_, Some([0x86, 0xdd, _])) => match position - 14 {
            0..4 => "the traffic class and flow label",
            4 | 5 => "the length of the IPv6 packet",
            6 => "the next header",
            7 => "the hop limit",
            8..24 => "the source address",
            24..40 => "the destination address",
            inside => above(frame.get(20).copied(), inside - 40),
        },
        _ => "behind the Ethernet header",
    }
}

fn above(protocol: Option<u8>, inside: usize) -> &'static str {
    match (protocol, inside) {
        (Some(6 | 17), 0 | 1) => "the source port",
        (Some(6 | 17), 2 | 3) => "the destination port",
        (Some(17), 6 | 7) | (Some(6), 16 | 17) | (Some(1 | 58), 2 | 3) => "the checksum",
        (Some(6), 4..=7) => "the sequence number",
        (Some(6), 8..=11) => "the acknowledgment number",
        (Some(6), 13) => "the flags of TCP",
        (Some(1 | 58), 0 | 1) => "the ICMP type and code",
        _ => "behind the headers",
    }
}
