//! Three boxes side by side: what a packet is compared with at once.
//!
//! Blocks lie in chains: see `blocks.rs`.

use crate::acl::boxes::{RuleBox, Upper};
use crate::acl::code_path::{CodePath, LANES};
use crate::acl::key::{AclKey, NO_PORT};
use crate::acl::rule::{AclAction, AclDecision, AclScope};
use crate::acl::{AclFamily, Bits};
use crate::index::VpcIndex;

/// Boxes of a block.
pub(super) const BOXES: usize = 3;
/// Places in a block that ranks tell apart: a power of two.
const PLACES: usize = 4;
/// No block.
pub(super) const NONE: u32 = u32::MAX;
/// In place of the VPC that packets go to, where a rule names none and where a packet goes nowhere.
const ANY_VPC: u16 = u16::MAX;

/// One box of a rule, with what is decided about packets in it.
#[derive(Clone, Debug)]
pub(super) struct Row<N> {
    pub area: RuleBox<N>,
    pub from: Option<VpcIndex>,
    pub to: Option<VpcIndex>,
    pub sequence: u32,
    pub decision: AclDecision,
    /// Whether the rule matches all packets in the box; else the rule itself has to be asked.
    pub exact: bool,
}

/// A packet, as it is compared with boxes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<N> {
    /// Source and destination.
    pub addresses: [N; 2],
    /// Source port, destination port, protocol, VPC that it comes from.
    pub upper: [u16; 4],
    to: u16,
    /// Four ones where there is a source port, and above them four where there is a destination port.
    ports: u8,
}

impl<N: Bits> Packet<N> {
    #[inline(always)]
    pub(super) fn of<A: AclFamily<Bits = N>>(key: &AclKey<A>) -> Self {
        let has = |port: u32| u8::from(port < NO_PORT) * 15;
        Packet {
            addresses: [key.source.bits(), key.destination.bits()],
            upper: [
                key.source_port as u16,
                key.destination_port as u16,
                key.protocol.into(),
                key.from.0,
            ],
            to: key.to.map_or(ANY_VPC, |to| to.0),
            ports: has(key.source_port) | has(key.destination_port) << 4,
        }
    }
}

impl<N> Packet<N> {
    /// The source port, or the destination port; [`NO_PORT`] where there is none.
    #[inline(always)]
    pub(super) fn port(&self, field: usize) -> u32 {
        match self.ports >> (4 * field) & 1 {
            0 => NO_PORT,
            _ => self.upper[field].into(),
        }
    }
}

/// Sixteen packets, as they are compared with one box.
pub(super) struct Packets<N> {
    addresses: [[N; 2]; LANES],
    uppers: [[u16; 4]; LANES],
    to: [u16; LANES],
    /// The packets that have a source port, and those that have a destination port, as bits.
    with_ports: [u32; 2],
}

impl<N: Bits> Packets<N> {
    #[inline(always)]
    pub(super) fn of(packets: &[Packet<N>; LANES]) -> Self {
        let with = |field: usize| {
            let bit = |lane: usize| u32::from(packets[lane].ports >> (4 * field) & 1) << lane;
            (0..LANES).fold(0, |bits, lane| bits | bit(lane))
        };
        Packets {
            addresses: packets.map(|packet| packet.addresses),
            uppers: packets.map(|packet| packet.upper),
            to: packets.map(|packet| packet.to),
            with_ports: [with(0), with(1)],
        }
    }
}

/// Up to three boxes, in the order of sequence numbers. Ranges are two arrays, of first and of last values, so that a packet is
/// compared with all boxes at once: a pair of cache lines for IPv4.
#[derive(Clone, Debug)]
#[repr(C, align(128))]
pub(super) struct Block<N> {
    first: [[N; 2]; BOXES],
    last: [[N; 2]; BOXES],
    upper_first: [[u16; 4]; BOXES],
    upper_last: [[u16; 4]; BOXES],
    sequences: [u32; PLACES],
    /// The next block of the chain, or [`NONE`].
    pub next: u32,
    to: [u16; BOXES],
    decisions: [u8; BOXES],
    /// The boxes that take packets without a source port, as the lower bits; without a destination port, as the upper four.
    portless: u8,
    /// What is out of the ordinary: the boxes that a comparison alone does not decide about, so that their rule has to be asked,
    /// as bits; and [`NAMES_TO`].
    odd: u8,
    length: u8,
}

/// Among what is out of the ordinary in a block: a box names the VPC that packets go to.
const NAMES_TO: u8 = 0x80;
/// The boxes whose rules have to be asked.
const HINTS: u8 = (1 << BOXES) - 1;

impl<N: Bits> Block<N> {
    /// The place of a block that a rank stands for, and that of the box in it.
    #[inline(always)]
    pub(super) fn places(rank: u64) -> (u32, usize) {
        (rank as u32 / PLACES as u32, rank as usize % PLACES)
    }

    pub(super) fn new() -> Self {
        Block {
            first: [[N::default(); 2]; BOXES],
            last: [[N::default(); 2]; BOXES],
            upper_first: [[0; 4]; BOXES],
            upper_last: [[0; 4]; BOXES],
            sequences: [0; PLACES],
            next: NONE,
            to: [ANY_VPC; BOXES],
            decisions: [0; BOXES],
            portless: 0,
            odd: 0,
            length: 0,
        }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        usize::from(self.length)
    }

    pub(super) fn sequence(&self, place: usize) -> u32 {
        self.sequences[place]
    }

    /// The sequence number of a box that was found, with what is decided.
    #[inline(always)]
    pub(super) fn outcome(&self, place: usize) -> (u32, AclDecision) {
        let place = place.min(BOXES - 1);
        (self.sequences[place], decision(self.decisions[place]))
    }

    /// The sequence number of the first of some boxes, or all ones in 64 bits where there is none. Without branches.
    #[inline(always)]
    pub(super) fn rank(&self, found: u32, index: u32) -> u64 {
        let place = found.trailing_zeros() as usize % PLACES;
        let rank = u64::from(self.sequences[place]) << 32
            | (u64::from(index) * PLACES as u64)
            | place as u64;
        rank | u64::from(found == 0).wrapping_neg()
    }

    /// The boxes that a packet lies in, as bits; those for which the rule has to be asked come second.
    #[inline(always)]
    pub(super) fn matching<C: CodePath>(&self, packet: &Packet<N>) -> (u32, u32) {
        let ports = u32::from(self.portless | packet.ports);
        let mut found = C::addresses_within(&self.first, &self.last, packet.addresses)
            & C::uppers_within(&self.upper_first, &self.upper_last, packet.upper)
            & (ports & ports >> 4)
            & ((1 << self.length) - 1);
        if self.odd == 0 {
            return (found, 0);
        }
        found &= self.to_within(packet.to);
        (found, found & u32::from(self.odd & HINTS))
    }

    #[inline(always)]
    fn to_within(&self, to: u16) -> u32 {
        let mut found = 0;
        for (number, &named) in self.to.iter().enumerate() {
            found |= u32::from((named == ANY_VPC) | (named == to)) << number;
        }
        found
    }

    /// The packets of sixteen that lie in one of the boxes, as bits; whether the rule has to be asked comes second.
    #[inline(always)]
    pub(super) fn takes<C: CodePath>(&self, place: usize, packets: &Packets<N>) -> (u32, bool) {
        let mut found = C::lanes_within(self.first[place], self.last[place], &packets.addresses)
            & C::upper_lanes_within(
                self.upper_first[place],
                self.upper_last[place],
                &packets.uppers,
            );
        for (shift, with) in [0, 4].into_iter().zip(packets.with_ports) {
            found &= u32::from(self.portless >> (place + shift) & 1).wrapping_neg() | with;
        }
        if self.to[place] != ANY_VPC {
            for (lane, to) in packets.to.iter().enumerate() {
                found &= !(u32::from(*to != self.to[place]) << lane);
            }
        }
        (found, self.odd >> place & 1 != 0)
    }

    /// The rank of one of the boxes.
    #[inline(always)]
    pub(super) fn rank_at(&self, place: usize, index: u32) -> u64 {
        self.rank(1 << place, index)
    }

    pub(super) fn row(&self, place: usize) -> Row<N> {
        let port = |field: usize| {
            let (first, last) = (
                self.upper_first[place][field],
                self.upper_last[place][field],
            );
            match self.portless >> (place + 4 * field) & 1 {
                0 => (first.into(), last.into()),
                _ => (0, NO_PORT),
            }
        };
        let (upper_first, upper_last) = (self.upper_first[place], self.upper_last[place]);
        Row {
            area: RuleBox {
                source: (self.first[place][0], self.last[place][0]),
                destination: (self.first[place][1], self.last[place][1]),
                upper: Upper {
                    protocol: (upper_first[2] as u8, upper_last[2] as u8),
                    source_port: port(0),
                    destination_port: port(1),
                },
            },
            from: (upper_first[3] == upper_last[3]).then_some(VpcIndex(upper_first[3])),
            to: (self.to[place] != ANY_VPC).then_some(VpcIndex(self.to[place])),
            sequence: self.sequences[place],
            decision: decision(self.decisions[place]),
            exact: self.odd >> place & 1 == 0,
        }
    }

    fn put(&mut self, place: usize, row: &Row<N>) {
        let RuleBox {
            source,
            destination,
            upper,
        } = row.area;
        let from = row.from.map_or((0, u16::MAX), |from| (from.0, from.0));
        // "No port" is kept apart.
        let port = |port: u32| port.min(NO_PORT - 1) as u16;
        self.first[place] = [source.0, destination.0];
        self.last[place] = [source.1, destination.1];
        let (sources, destinations) = (upper.source_port, upper.destination_port);
        let protocol = upper.protocol;
        self.upper_first[place] = [
            port(sources.0),
            port(destinations.0),
            protocol.0.into(),
            from.0,
        ];
        self.upper_last[place] = [
            port(sources.1),
            port(destinations.1),
            protocol.1.into(),
            from.1,
        ];
        self.sequences[place] = row.sequence;
        self.to[place] = row.to.map_or(ANY_VPC, |to| to.0);
        self.decisions[place] = decision_byte(row.decision);
        let set = |bits: &mut u8, bit: usize, is: bool| {
            *bits = *bits & !(1 << bit) | u8::from(is) << bit;
        };
        set(&mut self.portless, place, sources.1 == NO_PORT);
        set(&mut self.portless, place + 4, destinations.1 == NO_PORT);
        // A rule for the one VPC that cannot be told from any is asked itself.
        let is_exact = row.exact && row.to != Some(VpcIndex(ANY_VPC));
        set(&mut self.odd, place, !is_exact);
    }

    /// Puts a box before another; there is room.
    pub(super) fn insert(&mut self, place: usize, row: &Row<N>) {
        for place in (place..self.len()).rev() {
            self.put(place + 1, &self.row(place));
        }
        self.put(place, row);
        self.set_length(self.len() + 1);
    }

    pub(super) fn set_length(&mut self, length: usize) {
        self.length = length as u8;
        let names_to = self.to[..length].iter().any(|&to| to != ANY_VPC);
        self.odd &= (1 << length) - 1;
        self.odd |= if names_to { NAMES_TO } else { 0 };
    }

    pub(super) fn rows(&self) -> Vec<Row<N>> {
        (0..self.len()).map(|place| self.row(place)).collect()
    }

    pub(super) fn fill(&mut self, rows: &[Row<N>]) {
        for (place, row) in rows.iter().enumerate() {
            self.put(place, row);
        }
        self.set_length(rows.len());
    }
}

fn decision_byte(decision: AclDecision) -> u8 {
    let action = match decision.action {
        AclAction::Allow => 0,
        AclAction::Deny => 1,
        AclAction::Reject => 2,
    };
    action | u8::from(decision.scope == AclScope::Packet) << 2 | u8::from(decision.log) << 3
}

#[inline(always)]
fn decision(byte: u8) -> AclDecision {
    AclDecision {
        action: match byte & 3 {
            0 => AclAction::Allow,
            1 => AclAction::Deny,
            _ => AclAction::Reject,
        },
        scope: match byte & 4 {
            0 => AclScope::Flow,
            _ => AclScope::Packet,
        },
        log: byte & 8 != 0,
    }
}
