//! Who takes over what: each worker the connections whose packets will come to it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rewire_conntrack::{ByteReader, Connections, CopiedFlow, InsertError, SavedFlow, in_order};
use rewire_tables::{AclFamily, Address, Tables};

use super::file::{Numbers, Saved};
use super::{Moment, Restored};
use crate::clock::Instant;
use crate::graph::Steering;

/// One worker's connections of one family, behind what is there.
pub(crate) fn save<A: Address>(connections: &Connections<A>, now: Instant, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend(0_u64.to_le_bytes());
    out.reserve(connections.len() * SavedFlow::<A>::LENGTH);
    let mut number = 0_u64;
    for flow in connections.saved(now) {
        flow.write(out);
        number += 1;
    }
    out[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// The same of connections that were [copied](rewire_conntrack::CopiedFlow) from one worker.
pub(crate) fn save_copied<A: Address>(copied: Vec<CopiedFlow<A>>, out: &mut Vec<u8>) {
    out.extend((copied.len() as u64).to_le_bytes());
    out.reserve(copied.len() * SavedFlow::<A>::LENGTH);
    for flow in in_order(copied) {
        flow.write(out);
    }
}

/// What one worker is to take over.
#[derive(Debug)]
pub(crate) struct Share {
    saved: Arc<Saved>,
    numbers: Arc<Numbers>,
    shift: i64,
    places: Places,
    reply: SyncSender<Restored>,
}

/// Where flows are in a file, by family.
#[derive(Clone, Debug, Default)]
struct Places {
    four: Vec<usize>,
    six: Vec<usize>,
}

impl Saved {
    /// The shares of so many workers, under these tables. Where there were as many, each takes over what the one of its number
    /// had. Otherwise each gets the connections whose [home](Steering::home_of) it is now; how many have none is told.
    ///
    /// Cost: of another number of workers, a look at the policy for each connection that has a mapping.
    pub(crate) fn shares(
        self,
        tables: &Tables,
        now: &Moment,
        workers: u16,
        reply: &SyncSender<Restored>,
    ) -> (Vec<Share>, u64) {
        let numbers = Arc::new(Numbers::between(&self, tables));
        let shift = now.shift_from(&self.moment);
        let mut dealt = vec![Places::default(); usize::from(workers)];
        let mut homeless = 0;
        let is_same = self.workers.len() == dealt.len();
        for (worker, section) in self.workers.iter().enumerate() {
            let [four, six] = self.flows(section);
            if is_same {
                (dealt[worker].four, dealt[worker].six) = (four.collect(), six.collect());
                continue;
            }
            let dealer = Dealer {
                saved: &self,
                numbers: &numbers,
                tables,
                steering: Steering::new(0, workers),
            };
            for place in four {
                match dealer.home::<Ipv4Addr>(place) {
                    Some(home) => dealt[usize::from(home)].four.push(place),
                    None => homeless += 1,
                }
            }
            for place in six {
                match dealer.home::<Ipv6Addr>(place) {
                    Some(home) => dealt[usize::from(home)].six.push(place),
                    None => homeless += 1,
                }
            }
        }
        let saved = Arc::new(self);
        let share = |places| Share {
            saved: Arc::clone(&saved),
            numbers: Arc::clone(&numbers),
            shift,
            places,
            reply: reply.clone(),
        };
        (dealt.into_iter().map(share).collect(), homeless)
    }

    /// The places of the flows of both families in what one worker has saved; of no more than are there.
    fn flows(&self, section: &Range<usize>) -> [std::iter::StepBy<Range<usize>>; 2] {
        let mut start = section.start;
        [SavedFlow::<Ipv4Addr>::LENGTH, SavedFlow::<Ipv6Addr>::LENGTH].map(|length| {
            let bytes = &self.bytes[start.min(section.end)..section.end];
            let mut reader = ByteReader::new(bytes);
            let number = reader.u64().unwrap_or(0) as usize;
            let number = number.min(reader.rest().len() / length);
            let first = section.end - reader.rest().len();
            start = first + number * length;
            (first..start).step_by(length)
        })
    }

    fn flow<A: Address>(&self, place: usize) -> Option<SavedFlow<A>> {
        SavedFlow::read(self.bytes.get(place..)?)
    }
}

/// Deals connections out among another number of workers.
struct Dealer<'a> {
    saved: &'a Saved,
    numbers: &'a Numbers,
    tables: &'a Tables,
    steering: Steering,
}

impl Dealer<'_> {
    /// The home of a connection; none where it has none. What is of something that is not there any more is the first worker's,
    /// which counts it.
    fn home<A: AclFamily>(&self, place: usize) -> Option<u16> {
        let flow: Option<SavedFlow<A>> = self.saved.flow(place);
        match flow.and_then(|flow| flow.renumbered(self.numbers)) {
            Some(flow) => self.steering.home_of(self.tables, &flow.flow()),
            None => Some(0),
        }
    }
}

impl Share {
    /// Puts the connections into a worker's tables, and says what became of them. Takes as long as it takes: for before packets
    /// come.
    pub(crate) fn restore(
        &self,
        connections: (&mut Connections<Ipv4Addr>, &mut Connections<Ipv6Addr>),
        now: Instant,
    ) {
        let mut restored = Restored::default();
        restored += self.restore_family(connections.0, &self.places.four, now);
        restored += self.restore_family(connections.1, &self.places.six, now);
        // Who has asked may have lost patience.
        let _ = self.reply.try_send(restored);
    }

    fn restore_family<A: Address>(
        &self,
        connections: &mut Connections<A>,
        places: &[usize],
        now: Instant,
    ) -> Restored {
        let mut restored = Restored::default();
        for place in places {
            let flow: Option<SavedFlow<A>> = self.saved.flow(*place);
            let Some(flow) = flow.and_then(|flow| flow.renumbered(&*self.numbers)) else {
                restored.gone += 1;
                continue;
            };
            let flow = flow.shifted(self.shift);
            if flow.is_over(now) {
                restored.over += 1;
                continue;
            }
            match connections.restore(&flow, now) {
                Ok(_) => restored.restored += 1,
                Err(InsertError::TableFull) => restored.full += 1,
                Err(InsertError::Clash) => restored.clash += 1,
            }
        }
        restored
    }
}
