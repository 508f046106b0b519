//! One flow as its client sees it: what it sends next, and what it makes of what comes back.

use std::net::IpAddr;

use super::frame::{ACK, FIN, ICMP, ICMPV6, PSH, Packet, RST, SYN, TCP, UDP};
use super::places::{Goal, Origin};
use super::random::Random;

/// How often something is sent before nobody is believed to answer.
const TRIES: u8 = 3;
/// Segments that are sent before an answer must come.
const WINDOW: u8 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was answered yet.
    New,
    Open,
    Closing,
    Done,
}

/// A flow.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Where it begins, by the number of the entrance.
    pub(super) entrance: usize,
    /// The gateway's MAC address there.
    pub(super) gateway: [u8; 6],
    pub(super) client: IpAddr,
    port: u16,
    server: IpAddr,
    server_port: u16,
    pub(super) protocol: u8,
    phase: Phase,
    sequence: u32,
    acknowledgment: u32,
    /// Packets that it still has to send.
    left: u32,
    /// What was sent since the last answer.
    unanswered: u8,
    tries: u8,
    /// Whether it mostly sends; otherwise it mostly receives.
    sends: bool,
}

impl Flow {
    /// A flow between two places, from a port of its own.
    pub(super) fn new(
        (origin, entrance, port): (&Origin, usize, u16),
        goal: &Goal,
        random: &mut Random,
    ) -> Flow {
        let is_ipv4 = origin.network.is_ipv4();
        let echo = if is_ipv4 { ICMP } else { ICMPV6 };
        let protocol = match random.below(100) {
            _ if goal.is_gateway => echo,
            0..70 => TCP,
            70..96 => UDP,
            _ if goal.port.is_none() => echo,
            _ => TCP,
        };
        let server_port = goal.port.unwrap_or_else(|| match protocol {
            TCP => *random.one_of(&[443, 443, 443, 80, 22, 993]).unwrap_or(&443),
            _ => *random.one_of(&[53, 53, 443, 123]).unwrap_or(&53),
        });
        Flow {
            entrance,
            gateway: origin.mac,
            client: origin.network.host(random),
            port,
            server: goal.network.host(random),
            server_port,
            protocol,
            phase: Phase::New,
            sequence: random.next() as u32,
            acknowledgment: 0,
            left: length(protocol, random),
            unanswered: 0,
            tries: 0,
            sends: random.percent(20),
        }
    }

    /// Whether it is over: another may take its place.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Done
    }

    /// The next packet; none where it waits. To be asked again and again: whoever waits too long gives up.
    pub(super) fn next(&mut self, random: &mut Random) -> Option<Packet> {
        if self.protocol != TCP {
            return self.next_datagram(random);
        }
        match self.phase {
            Phase::New if self.tries >= TRIES => {
                self.phase = Phase::Done;
                None
            }
            Phase::New => {
                self.tries += 1;
                Some(self.packet(SYN, 0))
            }
            Phase::Open if self.left == 0 => {
                self.phase = Phase::Closing;
                self.tries = 0;
                Some(self.packet(FIN | ACK, 0))
            }
            Phase::Open if self.unanswered >= WINDOW => {
                // Nobody answers any more.
                self.phase = Phase::Done;
                Some(self.packet(RST | ACK, 0))
            }
            Phase::Open => {
                self.left -= 1;
                self.unanswered += 1;
                let data = match self.sends {
                    true => size(random),
                    false if random.percent(15) => 40 + random.below(400),
                    false => 0,
                };
                let packet = self.packet(if data > 0 { ACK | PSH } else { ACK }, data);
                self.sequence = self.sequence.wrapping_add(data as u32);
                Some(packet)
            }
            Phase::Closing if self.tries < TRIES => {
                self.tries += 1;
                None
            }
            Phase::Closing => {
                self.phase = Phase::Done;
                None
            }
            Phase::Done => None,
        }
    }

    fn next_datagram(&mut self, random: &mut Random) -> Option<Packet> {
        if self.left == 0 || self.unanswered >= WINDOW {
            self.phase = Phase::Done;
            return None;
        }
        self.left -= 1;
        self.unanswered += 1;
        let data = match self.protocol {
            UDP if self.server_port == 53 => 20 + random.below(40),
            UDP => size(random).min(1350),
            _ => 56,
        };
        let kind = match self.protocol {
            ICMP => 8,
            ICMPV6 => 128,
            _ => 0,
        };
        let packet = self.packet(kind, data);
        self.sequence = self.sequence.wrapping_add(1);
        Some(packet)
    }

    fn packet(&self, kind: u8, data: usize) -> Packet {
        let is_echo = [ICMP, ICMPV6].contains(&self.protocol);
        let ports = match is_echo {
            true => [self.port; 2],
            false => [self.port, self.server_port],
        };
        Packet {
            source: self.client,
            destination: self.server,
            protocol: self.protocol,
            ports,
            sequence: self.sequence,
            acknowledgment: if kind & ACK != 0 {
                self.acknowledgment
            } else {
                0
            },
            kind,
            data,
        }
    }

    /// Whether a packet that came to the client's address and port is of this flow.
    pub(super) fn is_of(&self, packet: &Packet) -> bool {
        packet.destination == self.client
            && packet.protocol == self.protocol
            && self.phase != Phase::Done
    }

    /// An answer has come: what the client sends at once, if anything.
    pub(super) fn answered(&mut self, packet: &Packet) -> Option<Packet> {
        self.unanswered = 0;
        if self.protocol != TCP {
            return None;
        }
        if packet.kind & RST != 0 {
            self.phase = Phase::Done;
            return None;
        }
        let counts = u32::from(packet.kind & (SYN | FIN) != 0) + packet.data as u32;
        self.acknowledgment = packet.sequence.wrapping_add(counts);
        match (self.phase, packet.kind & (SYN | FIN)) {
            (Phase::New, SYN) => {
                self.phase = Phase::Open;
                self.sequence = self.sequence.wrapping_add(1);
                None
            }
            (Phase::Closing, FIN) => {
                self.sequence = self.sequence.wrapping_add(1);
                self.phase = Phase::Done;
                Some(self.packet(ACK, 0))
            }
            _ => None,
        }
    }
}

/// How many packets a client sends: most flows are short, few are long, and those have most of the packets.
fn length(protocol: u8, random: &mut Random) -> u32 {
    let length = match random.below(1000) {
        0..500 => 1 + random.below(4),
        500..850 => 4 + random.below(16),
        850..980 => 20 + random.below(180),
        980..998 => 200 + random.below(1800),
        _ => 2000 + random.below(18_000),
    };
    match protocol {
        TCP => length as u32,
        UDP => (length as u32).min(2000),
        _ => (length as u32).min(10),
    }
}

/// The size of a packet's data: what is seen on the internet has few sizes between the smallest and the largest.
pub(super) fn size(random: &mut Random) -> usize {
    match random.below(100) {
        0..35 => 0,
        35..50 => 20 + random.below(100),
        50..65 => 120 + random.below(480),
        65..75 => 600 + random.below(700),
        _ => 1400,
    }
}
