//! Next hops that are being resolved, and the packets that wait for them.
//!
//! A few packets wait for each next hop (RFC 1122, section 2.3.2.2), in their order. When the answer has reached the
//! tables they walk through the graph again, from the start, under the generation that is current then.

use std::collections::{BTreeMap, VecDeque};

use arrayvec::ArrayVec;
use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;

use super::Node;
use super::context::{Context, RESOLVE_ATTEMPTS, RESOLVE_INTERVAL, Received, Sinks, lose_frame};
use super::family::Family;
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::Instant;
use crate::drop_reason::DropReason;

/// Packets that wait for one next hop, at most.
const HELD_PER_NEXT_HOP: usize = 32;
/// Next hops that are being resolved at once, at most: a scan of an empty subnet must not fill the memory.
const MOST_NEXT_HOPS: usize = 1024;
/// Frames that one burst can let go, at most; the rest goes with the next burst.
const RELEASED_PER_BURST: usize = 64;

/// What is known of a next hop that the tables do not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// It has been asked for: the packet waits.
    Wait,
    /// Too many wait already.
    Full,
    /// It did not answer.
    Failed,
    /// Nobody is asked: it is taken for this one.
    Assumed(MacAddress),
}

enum Pending<B> {
    Asked {
        held: VecDeque<Received<B>>,
        reserved: usize,
        attempts: u32,
        next: Instant,
    },
    Failed {
        until: Instant,
        held: VecDeque<Received<B>>,
    },
}

type NextHopKey<A> = (InterfaceIndex, A);

/// The next hops that one worker waits for.
pub(super) struct Resolver<B, A> {
    /// Ordered, so that a replay lets packets go in the same order (law 8).
    pending: BTreeMap<NextHopKey<A>, Pending<B>>,
    held: usize,
    /// Nothing can have changed before this moment, unless the tables changed.
    next_timer: Instant,
    generation: u64,
    /// Nobody is asked.
    assumed: Option<MacAddress>,
}

impl<B, A> Default for Resolver<B, A> {
    fn default() -> Self {
        Resolver {
            pending: BTreeMap::new(),
            held: 0,
            next_timer: Instant(0),
            generation: 0,
            assumed: None,
        }
    }
}

impl<B, A> Resolver<B, A> {
    /// Takes every next hop for one with this MAC address, from now on.
    pub(super) fn assume(&mut self, mac: MacAddress) {
        self.assumed = Some(mac);
    }

    /// Frees the packets that wait, and tells of them.
    pub(super) fn stop(&mut self, lose: &mut dyn FnMut(&Received<B>)) {
        for pending in std::mem::take(self).pending.into_values() {
            let (Pending::Asked { held, .. } | Pending::Failed { held, .. }) = pending;
            held.iter().for_each(&mut *lose);
        }
    }

    /// The number of packets that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

impl<B: PacketBuffer, A: Family> Resolver<B, A> {
    /// Whether this next hop is being asked for.
    pub(super) fn is_asking(&self, key: NextHopKey<A>) -> bool {
        self.pending.contains_key(&key)
    }

    /// Asks for a next hop that the tables do not know, unless it has been asked for already.
    pub(super) fn resolve<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        key: NextHopKey<A>,
        pool: &mut P,
        sinks: &mut dyn Sinks<B>,
    ) -> Resolution {
        if let Some(mac) = self.assumed {
            return Resolution::Assumed(mac);
        }
        let full = self.pending.len() >= MOST_NEXT_HOPS;
        match self.pending.get_mut(&key) {
            Some(Pending::Failed { until, .. }) if cx.now < *until => return Resolution::Failed,
            Some(Pending::Asked { held, reserved, .. }) => {
                if held.len() + *reserved >= HELD_PER_NEXT_HOP {
                    return Resolution::Full;
                }
                *reserved += 1;
                return Resolution::Wait;
            }
            Some(Pending::Failed { .. }) => {}
            None if full => return Resolution::Full,
            None => {}
        }
        let next = cx.now.saturating_add(RESOLVE_INTERVAL);
        let held = VecDeque::with_capacity(HELD_PER_NEXT_HOP);
        self.pending.insert(
            key,
            Pending::Asked {
                held,
                reserved: 1,
                attempts: 1,
                next,
            },
        );
        self.next_timer = self.next_timer.min(next);
        ask(cx, key, pool, sinks);
        Resolution::Wait
    }

    /// Keeps a packet that [`resolve`](Self::resolve) told to wait.
    pub(super) fn hold(
        &mut self,
        cx: &Context<'_>,
        key: NextHopKey<A>,
        packet: Received<B>,
        sinks: &mut dyn Sinks<B>,
    ) {
        match self.pending.get_mut(&key) {
            Some(Pending::Asked { held, reserved, .. }) => {
                *reserved = reserved.saturating_sub(1);
                held.push_back(packet);
                self.held += 1;
            }
            _ => {
                let reason = DropReason::NeighborUnreachable;
                lose_frame(cx, Node::Neighbor, &packet, reason, sinks);
            }
        }
    }

    /// Lets go of packets whose next hop the tables know by now; asks again where the answer is late; gives up after
    /// the last attempt, and lets the packets go to be refused.
    pub(super) fn release<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        out: &mut Vec<Received<B>>,
        sinks: &mut dyn Sinks<B>,
    ) {
        let unchanged = self.generation == cx.tables.generation() && cx.now < self.next_timer;
        if self.pending.is_empty() || unchanged {
            return;
        }
        self.generation = cx.tables.generation();
        self.next_timer = Instant(u64::MAX);
        let mut done: ArrayVec<NextHopKey<A>, RELEASED_PER_BURST> = ArrayVec::new();
        let mut room = RELEASED_PER_BURST;
        for (key, pending) in &mut self.pending {
            let known = cx.tables.neighbor(key.0, key.1.into()).is_some();
            let gone = cx.tables.interface(key.0).is_none();
            match pending {
                Pending::Asked { held, .. } | Pending::Failed { held, .. } if known || gone => {
                    self.held -= let_go(held, &mut room, out);
                    if held.is_empty() && done.try_push(*key).is_ok() {
                        continue;
                    }
                    self.next_timer = cx.now;
                }
                Pending::Asked {
                    held,
                    attempts,
                    next,
                    ..
                } if *next <= cx.now => {
                    *next = cx.now.saturating_add(RESOLVE_INTERVAL);
                    self.next_timer = self.next_timer.min(*next);
                    if *attempts < RESOLVE_ATTEMPTS {
                        *attempts += 1;
                        ask(cx, *key, pool, sinks);
                    } else {
                        let mut held = std::mem::take(held);
                        self.held -= let_go(&mut held, &mut room, out);
                        let until = *next;
                        *pending = Pending::Failed { until, held };
                    }
                }
                Pending::Asked { next, .. } => self.next_timer = self.next_timer.min(*next),
                Pending::Failed { until, held } => {
                    self.held -= let_go(held, &mut room, out);
                    if held.is_empty() && *until <= cx.now && done.try_push(*key).is_ok() {
                        continue;
                    }
                    self.next_timer = self.next_timer.min(*until);
                }
            }
        }
        for key in done {
            self.pending.remove(&key);
        }
    }
}

/// Moves packets out, as many as there is room for; tells how many.
fn let_go<B>(
    held: &mut VecDeque<Received<B>>,
    room: &mut usize,
    out: &mut Vec<Received<B>>,
) -> usize {
    let number = held.len().min(*room);
    *room -= number;
    out.extend(held.drain(..number).map(|frame| Received {
        has_waited: true,
        ..frame
    }));
    number
}

/// Asks everybody on its link for a next hop, once.
fn ask<P: BufferPool, A: Family>(
    cx: &Context<'_>,
    (index, address): NextHopKey<A>,
    pool: &mut P,
    sinks: &mut dyn Sinks<P::Buffer>,
) {
    let Some(interface) = cx.tables.interface(index) else {
        return;
    };
    let Some(mut buffer) = pool.allocate() else {
        return;
    };
    if A::write_question(&mut buffer, interface, address) {
        cx.counters.generated.add(1);
        sinks.transmit(index, buffer);
    }
}
