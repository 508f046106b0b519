//! Masqueraded connections of UDP: frames of 18 bytes of data come in from one VPC and leave by another one's interface, 10,000 routes,
//! their sources translated to a pool of 256 addresses.

use std::net::Ipv4Addr;

use rewire_packet::checksum::{Delta, Sum};
use rewire_packet::ethernet::{self, EthernetRepr};
use rewire_packet::ipv4::Ipv4Repr;
use rewire_packet::udp::UdpRepr;
use rewire_packet::{EtherType, MacAddress, Protocol};

use crate::Failure;
use crate::worker::{BURST, Worker};

/// The routes of the VPC that frames come from, besides its default.
pub const ROUTES: u32 = 10_000;

/// A VPC that leads out by another one's interface, with many routes, behind a pool.
pub fn document() -> String {
    let hop = r#"{ "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] }"#;
    let routes = (0..ROUTES).map(|number| {
        let [_, _, a, b] = number.to_be_bytes();
        format!(r#", "100.{a}.{b}.0/24": {hop}"#)
    });
    let routes: String = routes.collect();
    format!(
        r#"{{
        "vpcs": {{
            "blue": {{ "routes": {{ "0.0.0.0/0": {hop}{routes} }} }},
            "internet": {{}}
        }},
        "interfaces": {{
            "blue0": {{ "vpc": "blue", "port": "null:blue", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1/8"] }},
            "wan": {{ "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03", "addresses": ["203.0.113.1/24"],
                "neighbors": {{ "203.0.113.2": {{ "mac": "02:00:00:00:09:09" }} }} }}
        }},
        "nat": {{
            "pools": {{ "public": {{ "vpc": "internet", "ranges": ["198.18.0.0-198.18.0.255"] }} }},
            "masquerade": {{ "out": {{ "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.0.0.0/8"] }} }}
        }}
    }}"#
    )
}

/// Writes the frames of numbered connections: 64 to a host, each host's from its own ports, to many destinations.
pub struct Frames {
    template: Vec<u8>,
}

impl Default for Frames {
    /// Frames whose ends are yet to be written.
    fn default() -> Self {
        Frames {
            template: datagram([0; 4], 0, [0; 4]),
        }
    }
}

impl Frames {
    /// Writes the frame of a connection; its length.
    pub fn write(&self, connection: u32, frame: &mut [u8; 128]) -> usize {
        let host = 0x0a00_0002 + (connection / 64) % 0x00f0_0000;
        let port = 1024 + (connection.wrapping_mul(0x9e37_79b1) >> 16) as u16 % 60_000;
        let port = port / 64 * 64 + (connection % 64) as u16;
        let [_, _, a, b] = (connection.wrapping_mul(2_654_435_761) % ROUTES).to_be_bytes();
        let destination = Ipv4Addr::new(100, a, b, (connection >> 8) as u8);
        let length = self.template.len();
        frame[..length].copy_from_slice(&self.template);
        let at = 14;
        frame[at + 12..at + 16].copy_from_slice(&host.to_be_bytes());
        frame[at + 16..at + 20].copy_from_slice(&destination.octets());
        frame[at + 20..at + 22].copy_from_slice(&port.to_be_bytes());
        frame[at + 10..at + 12].fill(0);
        let header = Sum::ZERO.bytes(&frame[at..at + 20]).checksum();
        frame[at + 10..at + 12].copy_from_slice(&header.to_be_bytes());
        let old = u16::from_be_bytes([frame[at + 26], frame[at + 27]]);
        let checksum = Delta::NONE
            .u32(0, host)
            .u32(0, destination.to_bits())
            .u16(0, port)
            .apply(old);
        frame[at + 26..at + 28].copy_from_slice(&checksum.to_be_bytes());
        length
    }
}

/// Numbers in random order, the same in every run (Xorshift; G. Marsaglia, 2003).
pub struct Random(
    /// Where they begin: not 0.
    pub u64,
);

impl Random {
    /// A number below a limit.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(limit)) >> 32) as u32
    }
}

/// A worker with so many connections, and the time that beginning one took in ns.
///
/// # Errors
/// Where a packet did not come out.
pub fn begun(connections: u32) -> Result<(Worker, f64), Failure> {
    let mut worker = Worker::new(&document(), connections as usize, "blue0")?;
    let frames = Frames::default();
    let mut number = 0;
    let begin = worker.run(
        (connections as usize).div_ceil(BURST),
        0,
        |frame| {
            let length = frames.write(number % connections, frame);
            number += 1;
            length
        },
        |_| {},
    )?;
    Ok((worker, begin))
}

/// Bursts of connections that are there, and the number of their packets: for who counts their instructions.
///
/// # Errors
/// Where a packet did not come out.
pub fn some_established(bursts: usize) -> Result<usize, Failure> {
    const CONNECTIONS: u32 = 10_000;
    let (mut worker, _) = begun(CONNECTIONS)?;
    let frames = Frames::default();
    let mut random = Random(88_172_645_463_325_252);
    let next = |frame: &mut _| frames.write(random.below(CONNECTIONS), frame);
    worker.run(bursts, 1_000, next, |_| {})?;
    Ok(bursts * BURST)
}

/// Bursts of connections that begin, while as many end.
///
/// # Errors
/// Where a packet did not come out.
pub fn some_new(bursts: usize) -> Result<usize, Failure> {
    const LIVE: u64 = 6_400;
    let mut worker = Worker::new(&document(), 2 * LIVE as usize, "blue0")?;
    let frames = Frames::default();
    let mut number = 0;
    let next = |frame: &mut _| {
        number += 1;
        frames.write(number, frame)
    };
    worker.run(bursts, 120_000_000_000 * BURST as u64 / LIVE, next, |_| {})?;
    Ok(bursts * BURST)
}

/// A frame of 60 bytes for `blue0`: a datagram to port 53.
pub fn datagram(source: [u8; 4], port: u16, destination: [u8; 4]) -> Vec<u8> {
    let (source, destination) = (source.into(), destination.into());
    let mut datagram = vec![0; 8 + 18];
    let udp = UdpRepr {
        source: port,
        destination: 53,
    };
    udp.emit(source, destination, &mut datagram).expect("room");
    let ip = Ipv4Repr::new(source, destination, Protocol::UDP, datagram.len());
    let ethernet = EthernetRepr {
        source: MacAddress([2, 0, 0, 0, 9, 1]),
        destination: MacAddress([2, 0, 0, 0, 0, 1]),
        ether_type: EtherType::IPV4,
    };
    let mut frame = vec![0; ethernet::HEADER_LEN + ip.buffer_len()];
    ethernet.emit(&mut frame).expect("room");
    ip.emit(&mut frame[ethernet::HEADER_LEN..]).expect("room");
    frame.extend(datagram);
    frame
}
