//! What a worker knows of its offloaded flows. What is done with it stands in `connections/offload.rs`.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::time::Duration;

use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;
use rewire_tables::acl::RuleCounters;

use super::counts::OffloadCounts;
use super::queue::WorkerQueue;
use super::rule::RuleId;
use crate::flow::FlowId;
use crate::key::Direction;
use crate::records::Id;
use crate::time::Instant;

/// Which flows are offloaded.
#[derive(Clone, Copy, Debug)]
pub struct Offloading {
    /// A direction is offloaded with its packet of this number, if its flow is established then; at least 1.
    pub packets: u64,
    /// One that could not be then, or was taken back, is offered again after so many packets, and so on.
    pub again: NonZeroU64,
    /// See [`Rule::idle_after`](super::Rule::idle_after): a rule that is idle so long makes way for others, and its flow
    /// goes on in software.
    pub idle_after: Duration,
}

/// A packet that should have matched a rule, so long after it was installed, was not on its way then: the rule is lost, or the
/// flow comes another way.
pub(crate) const STRAY_AFTER: Duration = Duration::from_secs(1);

/// How the packets of one direction of a flow come and go: what of its rule the tables say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The interface that they come in by.
    pub ingress: InterfaceIndex,
    /// Its MAC address.
    pub ingress_mac: MacAddress,
    /// The interface that they leave by.
    pub egress: InterfaceIndex,
    /// Its MAC address.
    pub source_mac: MacAddress,
    /// That of the next hop.
    pub destination_mac: MacAddress,
    /// The longest packet that both interfaces take, in bytes from its IP header on.
    pub longest: u16,
    /// Where rules of ACLs count them: what the card has forwarded counts where it would have when its rule was made.
    pub counters: RuleCounters,
}

/// What a card has forwarded of a flow, since that was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The flow.
    pub flow: FlowId,
    /// The direction.
    pub direction: Direction,
    /// By which interfaces.
    pub path: Path,
    /// Packets.
    pub packets: u64,
    /// Their bytes, from the IP header on.
    pub bytes: u64,
}

/// How a rule stands, as far as its worker was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Free,
    Installing,
    Installed,
    Removing,
}

/// Why a flow's rules are being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leaving {
    /// It goes on in software.
    Stays,
    /// It has ended, and waits for that alone.
    Ends,
}

/// One direction of an offloaded flow.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offload {
    pub(crate) phase: Phase,
    /// Of the last rule that had the place.
    pub(crate) serial: u32,
    /// What it was installed with; nothing while it is free.
    pub(crate) path: Option<Path>,
    /// Since when it is in its phase.
    pub(crate) since: Instant,
    /// What is merged into the flow.
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

/// An offloaded flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) flow: Option<Id>,
    pub(crate) directions: [Offload; 2],
    pub(crate) leaving: Option<Leaving>,
    /// Packets that the card has forwarded until then do not prolong the flow.
    pub(crate) void_until: Option<Instant>,
    /// It waits for room in the ring.
    pub(crate) is_waiting: bool,
}

impl Entry {
    const EMPTY: Entry = Entry {
        flow: None,
        directions: [Offload {
            phase: Phase::Free,
            serial: 0,
            path: None,
            since: Instant(0),
            packets: 0,
            bytes: 0,
        }; 2],
        leaving: None,
        void_until: None,
        is_waiting: false,
    };

    pub(crate) fn has_rules(&self) -> bool {
        self.directions
            .iter()
            .any(|offload| offload.phase != Phase::Free)
    }
}

/// The offloaded flows of one table of connections.
#[derive(Debug)]
pub(crate) struct Offloads {
    pub(crate) queue: WorkerQueue,
    pub(crate) offloading: Offloading,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// By the slot of a flow that is marked as offloaded: its entry.
    by_slot: Vec<u32>,
    /// Entries that wait for room in the ring, each once.
    pub(crate) waiting: VecDeque<u32>,
    pub(crate) counts: OffloadCounts,
}

impl Offloads {
    /// For a table with so many slots. All room is reserved.
    pub(crate) fn new(slots: usize, queue: WorkerQueue, offloading: Offloading) -> Self {
        let flows = queue.flows as usize;
        Offloads {
            queue,
            offloading,
            entries: Vec::with_capacity(flows),
            free: Vec::with_capacity(flows),
            // Zero, so that the system gives memory for what is written alone.
            by_slot: vec![0; slots],
            waiting: VecDeque::with_capacity(flows),
            counts: OffloadCounts::default(),
        }
    }

    /// The entry of a flow that is marked as offloaded.
    pub(crate) fn index_of(&self, slot: u32) -> u32 {
        self.by_slot[slot as usize]
    }

    pub(crate) fn entry(&self, index: u32) -> &Entry {
        &self.entries[index as usize]
    }

    pub(crate) fn entry_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.entries[index as usize]
    }

    /// How many entries were ever in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes an entry for a flow; none where all are taken.
    pub(crate) fn take(&mut self, flow: Id) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < self.queue.flows as usize => {
                self.entries.push(Entry::EMPTY);
                self.entries.len() as u32 - 1
            }
            None => return None,
        };
        self.entries[index as usize].flow = Some(flow);
        self.by_slot[flow.slot as usize] = index;
        self.counts.flows += 1;
        Some(index)
    }

    /// Gives an entry without rules back. What is late for it is told by the serials of its places.
    pub(crate) fn give_back(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        let directions = entry.directions.map(|offload| Offload {
            serial: offload.serial,
            ..Offload::default()
        });
        *entry = Entry {
            directions,
            is_waiting: entry.is_waiting,
            ..Entry::EMPTY
        };
        self.free.push(index);
        self.counts.flows -= 1;
    }

    /// The rule of a direction.
    pub(crate) fn rule_id(&self, index: u32, direction: Direction) -> RuleId {
        RuleId {
            place: self.queue.first_place + 2 * index + direction as u32,
            serial: self.entry(index).directions[direction as usize].serial,
        }
    }

    /// The entry and the direction that a report is about, if it is about a rule that is there.
    pub(crate) fn find(&self, id: RuleId) -> Option<(u32, Direction)> {
        let place = id.place.checked_sub(self.queue.first_place)?;
        let (index, direction) = match place % 2 {
            0 => (place / 2, Direction::Original),
            _ => (place / 2, Direction::Reply),
        };
        let entry = self.entries.get(index as usize)?;
        let is_it = entry.directions[direction as usize].serial == id.serial;
        (is_it && entry.flow.is_some()).then_some((index, direction))
    }
}
