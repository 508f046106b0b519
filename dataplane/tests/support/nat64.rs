//! A gateway with NAT64, for the tests of that: IPv6 clients in VPC blue, IPv4 servers in the internet.

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_packet::pref64::Pref64;

use super::{Build, Ip, Lab, SITE, WAN, json, two_vpcs, v6};

/// A gateway whose clients in blue reach IPv4 by a prefix of its own, and those in red by the well-known one.
pub fn document() -> serde_json::Value {
    let mut document = two_vpcs();
    document["nat"]["pools"] = json!({
        "shared": { "vpc": "internet", "ranges": ["203.0.113.64"] },
        "global": { "vpc": "internet", "ranges": ["203.0.113.72"] },
    });
    document["nat"]["nat64"] = json!({
        "own": { "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "shared" },
        "well-known": { "vpc": "red", "pool": "global", "sources": ["fd00:2::/112"] },
    });
    document["vpcs"]["internet"]["routes"]["8.8.8.0/24"] =
        json!({ "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] });
    document
}

pub const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 64);

pub const GLOBAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 72);

/// A router on the way to [`SITE`].
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 254);

/// The address that stands for an IPv4 one in blue.
pub fn behind(address: Ipv4Addr) -> Ipv6Addr {
    let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x64, 0, 0, 0, 0, 0);
    Pref64::new(prefix, 96).unwrap().embed(address)
}

/// Sends one IPv6 frame, of which exactly one IPv4 frame comes out.
pub fn down(lab: &mut Lab, frame: Vec<u8>) -> Ip {
    lab.through("blue0", frame, "wan")
}

/// Sends one IPv4 frame, of which exactly one IPv6 frame comes out.
pub fn up(lab: &mut Lab, frame: Vec<u8>) -> v6::Ip {
    lab.through6("wan", frame, "blue0")
}

/// An IPv4 packet in two, the first of 32 bytes behind the header.
pub fn cut4(whole: &Build) -> [Vec<u8>; 2] {
    let (packet, link) = (whole.packet(), whole.frame()[..14].to_vec());
    let part = |range: std::ops::Range<usize>, more: u16| {
        let mut part = packet[..20].to_vec();
        part.extend(&packet[20 + range.start..20 + range.end]);
        let length = part.len() as u16;
        part[2..4].copy_from_slice(&length.to_be_bytes());
        part[6..8].copy_from_slice(&(more | (range.start / 8) as u16).to_be_bytes());
        part[10..12].fill(0);
        let checksum = rewire_packet::checksum::checksum(&part[..20]);
        part[10..12].copy_from_slice(&checksum.to_be_bytes());
        [&link[..], &part].concat()
    };
    [part(0..32, 0x2000), part(32..packet.len() - 20, 0)]
}

/// Port 8443 of an address of the pool leads to port 443 of the host of IPv6, and so does port 8444 of the gateway's own address.
pub fn forwarding() -> serde_json::Value {
    let mut document = document();
    let forward = |address: Ipv4Addr, port: u16| {
        json!({
            "protocol": "tcp_udp", "external_vpc": "internet",
            "external_address": address.to_string(), "external_port": port,
            "internal_vpc": "blue", "internal_address": v6::HOST.to_string(), "internal_port": 443,
        })
    };
    document["nat"]["port_forward"]["six"] = forward(EXTERNAL, 8443);
    document["nat"]["port_forward"]["own"] = forward(WAN, 8444);
    document
}

/// A datagram to the port forward at an address of the pool.
pub fn to_forward(port: u16) -> Build {
    super::udp((SITE, port), (EXTERNAL, 8443), 8)
}
