use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

fn read(text: &str) -> PacketText {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_text_says_what_is_not_the_default() {
    for (text, shown) in [
        ("10.0.1.5 > 1.1.1.1", "10.0.1.5 > 1.1.1.1 icmp echo"),
        (
            "10.0.1.5>1.1.1.1:443",
            "10.0.1.5:40000 > 1.1.1.1:443 tcp syn",
        ),
        (
            "in lan0 10.0.1.5:1 > 1.1.1.1:53 udp ttl 3",
            "in lan0 10.0.1.5:1 > 1.1.1.1:53 udp ttl 3",
        ),
        (
            "[fd00::5]:80 > [2001:db8::1]:443 tcp ack syn",
            "[fd00::5]:80 > [2001:db8::1]:443 tcp syn ack",
        ),
        (
            "fd00::5 > 2001:db8::1 icmp echo id 7",
            "fd00::5 > 2001:db8::1 icmp echo id 7",
        ),
        (
            "10.0.0.1 > 10.0.0.2 icmp type 3 code 4",
            "10.0.0.1 > 10.0.0.2 icmp type 3 code 4",
        ),
        (
            "10.0.0.1:5 > 10.0.0.2:6 udp len 28",
            "10.0.0.1:5 > 10.0.0.2:6 udp",
        ),
        (
            "10.0.0.1 > 10.0.0.2 udp frag 1480 len 1500 ident 9",
            "10.0.0.1 > 10.0.0.2 proto 17 len 1500 frag 1480 ident 9",
        ),
        (
            "10.0.0.1 > 10.0.0.2 proto 47",
            "10.0.0.1 > 10.0.0.2 proto 47",
        ),
        (
            "10.0.0.1:1 > 10.0.0.2:2 tcp none seq 5 from 02:00:00:00:00:07",
            "10.0.0.1:1 > 10.0.0.2:2 tcp none seq 5 from 02:00:00:00:00:07",
        ),
    ] {
        assert_eq!(read(text).to_string(), shown);
    }
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let errors = [
        "",
        "in",
        "in lan0",
        "10.0.1.5:443",
        "10.0.1.5:443 1.1.1.1",
        "10.0.1.5:443 > 1.1.1",
        "10.0.1.5:70000 > 1.1.1.1:1",
        "10.0.1.5 > 2001:db8::1",
        "10.0.1.5 > 1.1.1.1 tcp",
        "10.0.1.5 > 1.1.1.1:443 icmp",
        "10.0.1.5:1 > 1.1.1.1:443 tpc syn",
        "10.0.1.5:1 > 1.1.1.1:443 tcp sin",
        "10.0.1.5:1 > 1.1.1.1:443 tcp ttl",
        "10.0.1.5:1 > 1.1.1.1:443 tcp ttl 256",
        "10.0.1.5:1 > 1.1.1.1:443 tcp len 39",
        "10.0.1.5:1 > 1.1.1.1:443 udp id 5",
        "10.0.1.5:1 > 1.1.1.1:443 udp frag 9",
        "fd00::1 > fd00::2 may-fragment",
        "10.0.1.5 > 1.1.1.1 proto 6",
        "10.0.1.5 > 1.1.1.1 to 02:00",
    ]
    .map(|text| format!("{text}\n  {}\n", text.parse::<PacketText>().unwrap_err()));
    insta::assert_snapshot!(errors.concat());
}

/// A source of numbers that is the same each time (SplitMix64, Steele, Lea and Flood 2014).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn may(&mut self) -> bool {
        self.below(3) == 0
    }
}

fn any_packet(n: &mut Numbers) -> PacketText {
    let is_ipv4 = n.below(2) == 0;
    let mut address = || match is_ipv4 {
        true => IpAddr::V4(Ipv4Addr::from_bits(n.next() as u32)),
        false => IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(n.next()) << 64 | u128::from(n.next()),
        )),
    };
    let (source, destination) = (address(), address());
    let fragment = n
        .may()
        .then(|| ((n.below(3) * 8 * n.below(8000)) as u16 / 8 * 8, n.may()));
    let fragment = fragment.filter(|fragment| *fragment != (0, false) || !is_ipv4);
    let ports = (n.next() as u16, n.next() as u16);
    let upper = match n.below(5) {
        _ if matches!(fragment, Some((1.., _))) => {
            Upper::Other(Protocol([6, 17, 47][n.below(3) as usize]))
        }
        0 => Upper::Tcp {
            ports,
            flags: TcpFlags(n.next() as u8),
            sequence: n.next() as u32,
            acknowledgment: n.next() as u32,
        },
        1 => Upper::Udp(ports),
        2 => Upper::Sctp(ports),
        3 => Upper::Icmp {
            message_type: n.next() as u8,
            code: n.below(2) as u8,
            identifier: n.next() as u16,
            sequence: n.next() as u16,
        },
        // No extension header of IPv6.
        _ => Upper::Other(Protocol([47, 89, 103][n.below(3) as usize])),
    };
    let mac = |n: &mut Numbers| n.may().then(|| MacAddress([2, 3, n.next() as u8, 5, 6, 7]));
    let mut packet = PacketText {
        interface: n.may().then(|| format!("lan{}", n.below(9))),
        source,
        destination,
        upper,
        hop_limit: n.next() as u8,
        length: None,
        traffic_class: n.next() as u8,
        may_fragment: is_ipv4 && fragment.is_none() && n.may(),
        fragment,
        identification: match is_ipv4 || fragment.is_some() {
            true => n.next() as u16,
            false => 0,
        },
        link_source: mac(n),
        link_destination: mac(n),
    };
    packet.length = n
        .may()
        .then(|| packet.headers_len() as u16 + 1 + n.below(1400) as u16);
    packet
}

#[test]
fn a_packet_is_the_same_as_a_text_and_as_a_frame() {
    let mut numbers = Numbers(2026);
    for _ in 0..20_000 {
        let packet = any_packet(&mut numbers);
        let text = packet.to_string();
        assert_eq!(read(&text), packet, "{text}");
        let mut seen = PacketText::of_frame(&packet.frame(OWN), OWN).expect("a packet");
        seen.interface.clone_from(&packet.interface);
        assert_eq!(seen, packet, "{text}");
    }
}

#[test]
fn no_text_panics() {
    let words = [
        "in",
        "lan0",
        "10.0.0.1",
        ">",
        "1.1.1.1:80",
        "[::1]:5",
        "::1",
        "tcp",
        "syn",
        "udp",
        "icmp",
        "type",
        "3",
        "code",
        "proto",
        "6",
        "frag",
        "8",
        "more",
        "len",
        "70000",
        "ttl",
        "ä",
        "id",
        "seq",
        "to",
        "02:00:00:00:00:01",
    ];
    let mut numbers = Numbers(1);
    for _ in 0..50_000 {
        let length = numbers.below(9);
        let picked: Vec<&str> = (0..length)
            .map(|_| words[numbers.below(words.len() as u64) as usize])
            .collect();
        if let Ok(packet) = picked.join(" ").parse::<PacketText>() {
            packet.frame(OWN);
            assert_eq!(read(&packet.to_string()), packet);
        }
    }
}
