//! Every frame of real captures, malformed ones among them, through every parser: no panic, and a
//! named answer for each.
//!
//! The captures lie beside the project: `REWIRE_DATA`, or `shared/data` beside the repository.
//! Without them the test says so and passes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use rewire_packet::arp::{ArpRepr, ArpView};
use rewire_packet::ethernet::{EthernetRepr, EthernetView};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::icmpv6::{Icmpv6View, message_type};
use rewire_packet::ipv4::Ipv4View;
use rewire_packet::nat::{Quoted, nat_rewrite, nat_rewrite_quoted};
use rewire_packet::ndp::NdpRepr;
use rewire_packet::tcp::TcpView;
use rewire_packet::udp::UdpView;
use rewire_packet::{
    EtherType, Fragment, Ip, IpAddress, IpHeader, Ipv4, Ipv6, MacAddress, Protocol, Transport,
};

/// What became of the frames: a name and how many.
type Tally = BTreeMap<String, usize>;

fn data() -> PathBuf {
    std::env::var_os("REWIRE_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    )
}

/// The captures with their number of packets, from the manifest; `None` where there are none.
fn manifest() -> Option<Vec<(PathBuf, usize)>> {
    let folder = data().join("captures");
    let Ok(manifest) = fs::read_to_string(folder.join("MANIFEST.tsv")) else {
        eprintln!(
            "skipped: no captures at {} (set REWIRE_DATA)",
            folder.display()
        );
        return None;
    };
    let row = |line: &str| {
        let mut fields = line.split('\t');
        let file = folder.join(fields.next()?);
        Some((file, fields.nth(2)?.parse().ok()?))
    };
    Some(
        manifest
            .lines()
            .skip(1)
            .map(|line| row(line).expect("a manifest line"))
            .collect(),
    )
}

fn frames(path: &Path) -> Vec<Vec<u8>> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(file).unwrap();
    let mut frames = vec![];
    while let Some(packet) = reader.next_raw_packet() {
        frames.push(packet.unwrap().data.into_owned());
    }
    frames
}

/// The name of an error: its enum's variant, without the operands.
fn variant(error: &impl std::fmt::Debug) -> String {
    let text = format!("{error:?}");
    text.split(" {").next().unwrap_or(&text).replace('(', " ")
}

/// Strips VLAN tags, as the card does.
fn untagged(frame: &[u8]) -> Option<(EtherType, &[u8])> {
    let view = EthernetView::new_checked(frame).ok()?;
    let mut ether_type = EthernetRepr::parse(&view).ether_type;
    let mut payload = &frame[14..];
    while ether_type.is_vlan() {
        let (tag, rest) = payload.split_first_chunk::<4>()?;
        ether_type = EtherType(u16::from_be_bytes([tag[2], tag[3]]));
        payload = rest;
    }
    Some((ether_type, payload))
}

fn walk(frame: &[u8]) -> String {
    let Some((ether_type, payload)) = untagged(frame) else {
        return "ethernet: too short".into();
    };
    match ether_type {
        EtherType::ARP => match ArpView::new_checked(payload) {
            Ok(view) => format!("arp: {}", ArpRepr::parse(&view).operation),
            Err(error) => format!("arp: {}", variant(&error)),
        },
        EtherType::IPV4 => {
            let checksum = Ipv4View::new_checked(payload).map(|view| view.check_checksum());
            if let Ok(view) = Ipv4View::new_quoted(payload) {
                let _ = view.options().count();
            }
            match checksum {
                Ok(Err(error)) => format!("IPv4: {}", variant(&error)),
                _ => ip::<Ipv4>(payload),
            }
        }
        EtherType::IPV6 => ip::<Ipv6>(payload),
        other => format!("ethernet: {other}"),
    }
}

fn ip<I: Ip>(packet: &[u8]) -> String {
    let version = I::VERSION;
    exercise::<I>(packet);
    let header = match I::parse(packet) {
        Ok(header) => header,
        Err(error) => return format!("{version}: {}", variant(&error)),
    };
    let transport = match header.transport(packet) {
        Ok(transport) => transport,
        Err(error) => return format!("{version}: {}", variant(&error)),
    };
    let l4 = header.upper_layer(packet);
    let (source, destination) = (header.source, header.destination);
    let whole = header.fragment == Fragment::Whole;
    let name = match transport {
        Transport::Tcp { .. } => {
            let view = TcpView::new_checked(l4);
            if let Ok(view) = view {
                let _ = view.options().count();
            }
            let right = view.map(|view| view.verify_checksum(source, destination));
            if whole && right == Ok(false) {
                "TCP, bad checksum".into()
            } else {
                "TCP".into()
            }
        }
        Transport::Udp { .. } => {
            let right =
                UdpView::new_checked(l4).map(|view| view.verify_checksum(source, destination));
            if whole && right == Ok(false) {
                "UDP, bad checksum".into()
            } else {
                "UDP".into()
            }
        }
        Transport::IcmpQuery { .. } => "ICMP query".into(),
        Transport::IcmpError { .. } => match Quoted::find(packet, &header) {
            Ok(quoted) => format!("ICMP error about {}", quoted.header.protocol),
            Err(error) => format!("ICMP error: {}", variant(&error)),
        },
        Transport::IcmpOther { message_type, .. } => other_icmp(packet, message_type),
        Transport::Sctp { .. } => "SCTP".into(),
        Transport::LaterFragment { .. } => "later fragment".into(),
        Transport::Other { protocol } => format!("{protocol}"),
    };
    format!("{version}: {name}")
}

fn other_icmp(packet: &[u8], message_type: u8) -> String {
    let neighbour = Ipv6::parse(packet)
        .ok()
        .filter(|header| header.protocol == Protocol::ICMPV6);
    let message = neighbour.and_then(|header| {
        Some((
            header,
            Icmpv6View::new_checked(header.upper_layer(packet)).ok()?,
        ))
    });
    match (message_type, message) {
        (
            message_type::NEIGHBOR_SOLICITATION | message_type::NEIGHBOR_ADVERTISEMENT,
            Some((header, view)),
        ) => match NdpRepr::parse(&view, &header) {
            Ok(_) => "neighbour message".into(),
            Err(error) => format!("neighbour message: {}", variant(&error)),
        },
        _ => "other ICMP".into(),
    }
}

/// All that changes or answers packets, on a copy; a refusal must leave the copy as it was.
fn exercise<I: Ip>(packet: &[u8]) {
    let new = I::Address::from_left_aligned(0xc633_6407 << 96);
    let mut copy = packet.to_vec();
    for port in [None, Some(4242)] {
        if nat_rewrite(&mut copy, Some((new, port)), None).is_err() {
            assert_eq!(copy, packet);
        }
        copy.copy_from_slice(packet);
        if nat_rewrite_quoted(&mut copy, None, Some((new, port))).is_err() {
            assert_eq!(copy, packet);
        }
        copy.copy_from_slice(packet);
    }
    let _ = I::decrement_hop_limit(&mut copy);
    let kind = IcmpErrorKind::TooBig { mtu: 1280 }.into();
    let may = I::may_answer_with_icmp_error(packet, MacAddress::ZERO, kind);
    let mut out = [0; 1500];
    if let Some(length) = I::build_icmp_error(packet, new, kind, &mut out) {
        let answer: IpHeader<I> = I::parse(&out[..length]).expect("a packet");
        assert_eq!(answer.packet_len, length);
        assert!(Quoted::find(&out[..length], &answer).is_ok());
    } else {
        assert!(may.is_err(), "what may be answered can be quoted");
    }
}

#[test]
fn every_capture() {
    let Some(captures) = manifest() else { return };
    let mut tally = Tally::new();
    let mut total = 0;
    for (path, expected) in &captures {
        let frames = frames(path);
        assert_eq!(frames.len(), *expected, "{}", path.display());
        for frame in &frames {
            *tally.entry(walk(frame)).or_default() += 1;
        }
        total += frames.len();
    }
    println!("{} captures, {total} frames", captures.len());
    for (name, count) in &tally {
        println!("{count:6}  {name}");
    }
    assert_eq!(tally.values().sum::<usize>(), total);
}

/// What single captures are known to hold, by what their manifest says.
#[test]
fn malformed_captures_get_their_name() {
    if manifest().is_none() {
        return;
    }
    for (file, expected) in [
        (
            "tcpdump/ipv4_invalid_hdr_length.pcap",
            "IPv4: V4 BadHeaderLength",
        ),
        ("tcpdump/ipv4_invalid_length.pcap", "IPv4: V4 TooShort"),
        (
            "tcpdump/ipv4_invalid_total_length.pcap",
            "IPv4: V4 BadTotalLength",
        ),
        (
            "tcpdump/ipv4_invalid_total_length_2.pcap",
            "IPv4: V4 BadTotalLength",
        ),
        (
            "tcpdump/bad-ipv4-version-pgm-heapoverflow.pcap",
            "IPv4: V4 BadVersion",
        ),
        ("tcpdump/ipv6_invalid_length.pcap", "IPv6: V6 TooShort"),
        ("tcpdump/ipv6_no_next_header.pcap", "IPv6: IPv6-NoNxt"),
        ("tcpdump/arp-too-long-tha.pcap", "arp: BadHardwareType"),
        (
            "tcpdump/udp-length-heapoverflow.pcap",
            "IPv4: V4 BadTotalLength",
        ),
        ("zeek/ip4-bad-chksum.pcap", "IPv4: BadChecksum"),
        ("zeek/ip4-tcp-bad-chksum.pcap", "IPv4: TCP, bad checksum"),
        ("zeek/ip4-udp-bad-chksum.pcap", "IPv4: UDP, bad checksum"),
        (
            "zeek/icmp-destunreach-udp.pcap",
            "IPv4: ICMP error about UDP",
        ),
        ("zeek/icmp6-toobig.pcap", "IPv6: ICMP error about UDP"),
        (
            "zeek/icmp6-destunreach-ip6ext-udp.pcap",
            "IPv6: ICMP error about UDP",
        ),
    ] {
        let frames = frames(&data().join("captures").join(file));
        assert_eq!(walk(&frames[0]), expected, "{file}");
    }
}

/// The translation of somebody else's tool, packet by packet: 96.17.211.0/24 became 172.16.0.0/24.
#[test]
fn a_capture_translated_by_another_tool() {
    if manifest().is_none() {
        return;
    }
    let folder = data().join("captures/tcpreplay");
    let before = frames(&folder.join("test.pcap"));
    let after = frames(&folder.join("test.rewrite_pnat.pcap"));
    assert_eq!(before.len(), after.len());
    let translate = |address: Ipv4Addr| match address.octets() {
        [96, 17, 211, host] => Some((Ipv4Addr::new(172, 16, 0, host), None)),
        _ => None,
    };
    let mut translated = 0;
    for (number, (mut frame, expected)) in before.into_iter().zip(after).enumerate() {
        if let Ok(header) = Ipv4::parse(&frame[14..]) {
            let (source, destination) = (translate(header.source), translate(header.destination));
            if source.is_some() || destination.is_some() {
                nat_rewrite(&mut frame[14..], source, destination).unwrap();
                translated += 1;
            }
        }
        assert_eq!(frame, expected, "frame {}", number + 1);
    }
    println!("{translated} packets translated");
    assert!(translated > 0);
}
