//! Copies of all connections of a gateway that goes on, in the form that they are [saved](crate::saved_connections) in.
//!
//! A worker copies a few between two bursts, as for whoever looks at them. So they are of no one moment; but those that began before one
//! were all there at that moment, and their mappings do not contradict each other. What has ended since is not among them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{self, SyncSender};

use rewire_conntrack::{Connections, CopiedFlow};
use rewire_tables::Address;

use crate::clock::Instant;
use crate::connection_table::{
    CONNECTIONS_BETWEEN, ConnectionTable, Family, Job, SLICE, SLOTS_BETWEEN,
};
use crate::gateway::GatewayError;
use crate::saved_connections::{Moment, NamesOf, encode, save_copied};

/// Copies of connections, for a gateway that begins with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedConnections {
    /// How many they are.
    pub number: u64,
    /// They, as [`VirtualGateway::restore_connections`](crate::VirtualGateway::restore_connections) takes them.
    pub bytes: Vec<u8>,
}

/// What a worker is to copy, from a place on, and who has asked for it.
#[derive(Debug)]
pub(crate) struct Copying {
    from: Family<u32>,
    /// Those that began before.
    before: Instant,
    /// One of these is filled.
    four: Vec<CopiedFlow<Ipv4Addr>>,
    six: Vec<CopiedFlow<Ipv6Addr>>,
    pub(crate) reply: SyncSender<Job>,
}

/// Where all are copied.
const END: Family<u32> = Family::Ipv6(u32::MAX);

impl Copying {
    /// Copies a few. Whether there is nothing more to copy, or no room.
    pub(crate) fn go_on(
        &mut self,
        connections: (&Connections<Ipv4Addr>, &Connections<Ipv6Addr>),
        now: Instant,
    ) -> bool {
        let before = self.before;
        let (next, is_full) = match self.from {
            Family::Ipv4(slot) => {
                let next = copy(connections.0, slot, &mut self.four, (before, now));
                let next = next.map_or(Family::Ipv6(0), Family::Ipv4);
                (next, self.four.len() == self.four.capacity())
            }
            Family::Ipv6(slot) => {
                let next = copy(connections.1, slot, &mut self.six, (before, now));
                let next = Family::Ipv6(next.unwrap_or(u32::MAX));
                (next, self.six.len() == self.six.capacity())
            }
        };
        self.from = next;
        next == END || is_full
    }
}

/// Copies a few connections; where to go on, if there are more.
fn copy<A: Address>(
    connections: &Connections<A>,
    mut slot: u32,
    slice: &mut Vec<CopiedFlow<A>>,
    (before, now): (Instant, Instant),
) -> Option<u32> {
    let slots = connections.slots();
    let end = slot.saturating_add(SLOTS_BETWEEN).min(slots);
    for _ in 0..CONNECTIONS_BETWEEN {
        if slice.len() == slice.capacity() {
            return Some(slot);
        }
        let Some((found, id)) = connections.next_connection(slot..end, now) else {
            slot = end;
            break;
        };
        slot = found + 1;
        let is_old = connections
            .flow(id)
            .is_some_and(|flow| flow.created < before);
        slice.extend(connections.copied_flow(id, now).filter(|_| is_old));
    }
    (slot < slots).then_some(slot)
}

impl ConnectionTable {
    /// Copies all connections that began before a moment, which is a [whole one](Instant::next_age). Cost: as of
    /// [`visit`](Self::visit), and their copies in memory.
    ///
    /// # Errors
    /// The gateway is stopping, or a worker does not answer.
    pub(crate) fn copied(
        &self,
        names: &NamesOf,
        before: Instant,
    ) -> Result<CopiedConnections, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let mut workers = Vec::new();
        let mut number = 0;
        for worker in 0..self.workers {
            let (mut all_four, mut all_six) = (Vec::new(), Vec::new());
            let mut from = Family::Ipv4(0);
            while from != END {
                let job = Job::Copy(Copying {
                    from,
                    before,
                    four: Vec::with_capacity(SLICE),
                    six: Vec::with_capacity(SLICE),
                    reply: reply.clone(),
                });
                let Job::Copy(mut done) = self.ask(worker, job, &answer)? else {
                    return Err(GatewayError::Stopping);
                };
                from = done.from;
                all_four.append(&mut done.four);
                all_six.append(&mut done.six);
            }
            number += (all_four.len() + all_six.len()) as u64;
            let mut bytes = Vec::new();
            save_copied(all_four, &mut bytes);
            save_copied(all_six, &mut bytes);
            workers.push(bytes);
        }
        let bytes = encode(names, &Moment::recorded(before), &workers);
        Ok(CopiedConnections { number, bytes })
    }
}
