//! sFlow version 5 (P. Phaal and M. Lavine, "sFlow Version 5", sflow.org, July 2004), as far as this gateway speaks it: samples of
//! packets with their first bytes, and the counters of interfaces.
//!
//! An interface's number is that of the tables plus 1; it stays as it is while the interface is there. All numbers are big-endian, and
//! everything is a multiple of four bytes long (XDR, RFC 4506).

use std::net::IpAddr;
use std::time::Duration;

use rewire_dataplane::{InterfaceTotals, SampledPacket};
use rewire_tables::InterfaceIndex;

/// Bytes of a datagram at most: what fits a link of 1,500 bytes, tunnels included.
const MOST_BYTES: usize = 1_400;
/// The checksum behind an Ethernet frame, which is counted as a part of it, and which no sample has.
const FRAME_CHECK: u32 = 4;
/// What is not known of a counter.
const UNKNOWN: u32 = u32::MAX;

/// How many samples there were of an interface, and of how many packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// The number of this sample of the interface.
    pub(crate) sequence: u32,
    /// One packet in so many.
    pub(crate) rate: u32,
    /// Packets that could have been sampled, modulo 2^32.
    pub(crate) pool: u32,
    /// Samples that were lost, modulo 2^32.
    pub(crate) lost: u32,
}

/// What an interface has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// The number of this report of the interface.
    pub(crate) sequence: u32,
    pub(crate) interface: InterfaceIndex,
    pub(crate) name: String,
    /// Whether its port is open.
    pub(crate) is_up: bool,
    pub(crate) totals: InterfaceTotals,
}

/// Makes datagrams of samples, one after the other.
#[derive(Debug)]
pub(crate) struct Datagrams {
    agent: IpAddr,
    sequence: u32,
    /// Samples that are in none yet.
    samples: Vec<u8>,
    number: u32,
    /// Those that are full.
    ready: Vec<Datagram>,
}

/// A datagram that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    pub(crate) bytes: Vec<u8>,
    /// Samples in it.
    pub(crate) samples: u32,
}

fn word(out: &mut Vec<u8>, word: u32) {
    out.extend(word.to_be_bytes());
}

/// Bytes with their length in front, and zeros behind up to a multiple of four.
fn opaque(out: &mut Vec<u8>, bytes: &[u8]) {
    word(out, bytes.len() as u32);
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A structure with its format and its length in front.
fn structure(out: &mut Vec<u8>, format: u32, write: impl FnOnce(&mut Vec<u8>)) {
    word(out, format);
    let start = out.len();
    word(out, 0);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn number(interface: InterfaceIndex) -> u32 {
    u32::from(interface.0) + 1
}

impl Datagrams {
    /// Of an agent with this address.
    pub(crate) fn new(agent: IpAddr) -> Self {
        Datagrams {
            agent,
            sequence: 0,
            samples: Vec::with_capacity(MOST_BYTES),
            number: 0,
            ready: Vec::new(),
        }
    }

    fn header(&self) -> usize {
        match self.agent {
            IpAddr::V4(_) => 28,
            IpAddr::V6(_) => 40,
        }
    }

    fn add(&mut self, format: u32, uptime: Duration, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.samples.len();
        structure(&mut self.samples, format, write);
        if self.header() + self.samples.len() > MOST_BYTES {
            let last = self.samples.split_off(before);
            self.finish(uptime);
            self.samples = last;
        }
        self.number += 1;
    }

    /// Adds a sample of a packet: its flow_sample, with a sampled_header.
    pub(crate) fn add_packet(
        &mut self,
        packet: &SampledPacket,
        sampled: &Sampled,
        uptime: Duration,
    ) {
        const FLOW_SAMPLE: u32 = 1;
        const SAMPLED_HEADER: u32 = 1;
        const ETHERNET: u32 = 1;
        self.add(FLOW_SAMPLE, uptime, |out| {
            word(out, sampled.sequence);
            // The source is an interface: type 0.
            word(out, number(packet.ingress));
            word(out, sampled.rate);
            word(out, sampled.pool);
            word(out, sampled.lost);
            word(out, number(packet.ingress));
            // 0 says that it is not known.
            word(out, packet.egress.map_or(0, number));
            word(out, 1);
            structure(out, SAMPLED_HEADER, |out| {
                word(out, ETHERNET);
                word(out, packet.length + FRAME_CHECK);
                word(out, FRAME_CHECK);
                opaque(out, &packet.bytes);
            });
        });
    }

    /// Adds the counters of an interface: a counters_sample, with if_counters and a port_name.
    pub(crate) fn add_counters(&mut self, counted: &Counted, uptime: Duration) {
        const COUNTERS_SAMPLE: u32 = 2;
        const IF_COUNTERS: u32 = 1;
        const PORT_NAME: u32 = 1005;
        /// ethernetCsmacd (IANA, ifType).
        const ETHERNET_CSMACD: u32 = 6;
        self.add(COUNTERS_SAMPLE, uptime, |out| {
            word(out, counted.sequence);
            word(out, number(counted.interface));
            word(out, 2);
            structure(out, IF_COUNTERS, |out| {
                let totals = &counted.totals;
                word(out, number(counted.interface));
                word(out, ETHERNET_CSMACD);
                // Its speed and whether it is full duplex are not known.
                out.extend(0_u64.to_be_bytes());
                word(out, 0);
                // Bit 0: it is meant to be up; bit 1: it is.
                word(out, if counted.is_up { 3 } else { 1 });
                out.extend(totals.received_bytes.to_be_bytes());
                // Unicast, and all others with them.
                word(out, totals.received_packets as u32);
                word(out, UNKNOWN);
                word(out, UNKNOWN);
                word(out, totals.dropped_packets as u32);
                word(out, UNKNOWN);
                word(out, UNKNOWN);
                out.extend(totals.transmitted_bytes.to_be_bytes());
                word(out, totals.transmitted_packets as u32);
                for _ in 0..4 {
                    word(out, UNKNOWN);
                }
                // Promiscuous mode is not known: 0.
                word(out, 0);
            });
            structure(out, PORT_NAME, |out| opaque(out, counted.name.as_bytes()));
        });
    }

    /// Lets what was added go, as far as it was not full. `uptime` is how long the agent has run.
    pub(crate) fn finish(&mut self, uptime: Duration) {
        if self.number == 0 {
            return;
        }
        const VERSION: u32 = 5;
        let mut bytes = Vec::with_capacity(self.header() + self.samples.len());
        word(&mut bytes, VERSION);
        match self.agent {
            IpAddr::V4(address) => {
                word(&mut bytes, 1);
                bytes.extend(address.octets());
            }
            IpAddr::V6(address) => {
                word(&mut bytes, 2);
                bytes.extend(address.octets());
            }
        }
        // The gateway is one agent.
        word(&mut bytes, 0);
        self.sequence = self.sequence.wrapping_add(1);
        word(&mut bytes, self.sequence);
        // Modulo 2^32, as SNMP's sysUpTime.
        word(&mut bytes, uptime.as_millis() as u32);
        word(&mut bytes, self.number);
        bytes.append(&mut self.samples);
        let samples = std::mem::take(&mut self.number);
        self.ready.push(Datagram { bytes, samples });
    }

    /// What is ready.
    pub(crate) fn take(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests;
