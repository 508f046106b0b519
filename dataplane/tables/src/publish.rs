//! Publishing: one writer, one root, two halves (left-right).
//!
//! The writer absorbs operations on the half that no reader sees, swaps the halves, and makes the other half equal
//! afterwards: by the same operations, but for routes, of which it copies what was written. A reader enters once for each burst and passes the reference down; it never waits. Only the
//! writer can be made to wait, by a reader that stays inside, and for that there is a deadline.
//!
//! ```text
//! append → Pending (compacted) → publish → Batch → first half, swap ┈ readers leave ┈ second half (catch_up)
//! ```
//!
//! A batch is handed over whole, so that a publication that is late keeps one batch waiting, and everything that comes
//! meanwhile is compacted behind it.

use std::ops::Deref;
use std::time::{Duration, Instant};

use left_right::{Absorb, ReadGuard, ReadHandle, WriteHandle};

use crate::index::VpcIndex;
use crate::operation::TableOperation::{self, RemoveRoute, SetRoute};
use crate::pending::Pending;
use crate::tables::{Tables, Vpc};

/// The one writer of the tables.
pub struct Publisher {
    write: WriteHandle<Tables, Batch>,
    /// The generation that was published last.
    generation: u64,
    /// What comes behind the batch that is late, or else is in the next one.
    pending: Pending,
    /// A batch was handed over for the next generation, and could not be published yet.
    is_late: bool,
    /// The half that no reader sees has not absorbed the last generation.
    is_behind: bool,
}

/// What leads from one generation to the next.
struct Batch {
    generation: u64,
    /// Whether it changes more than what was learned.
    policy: bool,
    operations: Vec<TableOperation>,
    /// The VPCs whose routes it changes, each once.
    routed: Vec<VpcIndex>,
}

impl Batch {
    fn new(generation: u64, policy: bool, operations: Vec<TableOperation>) -> Batch {
        let mut routed: Vec<VpcIndex> = Vec::new();
        for operation in &operations {
            if let SetRoute { vpc, .. } | RemoveRoute { vpc, .. } = operation
                && routed.last() != Some(vpc)
            {
                routed.push(*vpc);
            }
        }
        routed.sort_unstable();
        routed.dedup();
        Batch {
            generation,
            policy,
            operations,
            routed,
        }
    }
}

impl Tables {
    fn reach(&mut self, batch: &Batch) {
        self.generation = batch.generation;
        if batch.policy {
            self.policy_generation = batch.generation;
        }
    }
}

impl Absorb<Batch> for Tables {
    fn absorb_first(&mut self, batch: &mut Batch, _: &Self) {
        for vpc in &batch.routed {
            if let Some(vpc) = self.vpcs.get_mut(vpc.position()) {
                vpc.record();
            }
        }
        self.apply_all(&batch.operations);
        self.reach(batch);
    }

    /// Routes are not put in again, but copied from where the first half was written: half the work of a full table.
    fn absorb_second(&mut self, batch: Batch, other: &Self) {
        for operation in &batch.operations {
            if !matches!(operation, SetRoute { .. } | RemoveRoute { .. }) {
                self.apply(operation);
            }
        }
        // VPCs come and go with their routes, too.
        self.vpcs.resize_with(other.vpcs.len(), Vpc::default);
        for vpc in &batch.routed {
            let position = vpc.position();
            if let Some(other) = other.vpcs.get(position) {
                self.vpcs[position].catch_up(other);
            }
        }
        self.reach(&batch);
    }

    /// Asked once, when the tables are empty still.
    fn sync_with(&mut self, first: &Self) {
        *self = first.clone();
    }
}

/// A publication that could not be made in time: a reader stays inside the half that is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "generation {generation} could not be published within {waited:?}: a worker has not left the old tables"
)]
pub struct PublishLate {
    /// The generation that waits. Its operations are kept, and the next publication tries again.
    pub generation: u64,
    /// How long was waited.
    pub waited: Duration,
}

/// A worker's way to the tables. Not shared between threads: each worker has its own.
pub struct Reader(ReadHandle<Tables>);

/// The tables of one generation, held for one burst.
pub struct Guard<'a>(ReadGuard<'a, Tables>);

impl Deref for Guard<'_> {
    type Target = Tables;
    fn deref(&self) -> &Tables {
        &self.0
    }
}

impl Reader {
    /// Enters the current generation: two stores and a fence, about 16 ns. None when the publisher is gone.
    pub fn enter(&self) -> Option<Guard<'_>> {
        self.0.enter().map(Guard)
    }
}

impl Publisher {
    /// Empty tables, published as generation 1, with one reader for each worker. All readers are made here: making one
    /// later would wait for a publication that waits for a stuck worker.
    pub fn new(readers: usize) -> (Publisher, Vec<Reader>) {
        let (mut write, read) = left_right::new::<Tables, Batch>();
        let readers = (0..readers).map(|_| Reader(read.clone())).collect();
        write.append(Batch::new(1, true, Vec::new()));
        // Twice, while the tables are empty and nobody reads: afterwards no half is ever copied.
        write.publish();
        write.publish();
        let publisher = Publisher {
            write,
            generation: 1,
            pending: Pending::default(),
            is_late: false,
            is_behind: false,
        };
        (publisher, readers)
    }

    /// Appends one operation to the next generation. Nobody sees it before [`publish`](Self::publish). Cost: constant, and
    /// while a publication is late, of all that waits, a time for each doubling.
    pub fn append(&mut self, operation: TableOperation) {
        self.pending.push(operation);
    }

    /// Appends many at once, in order.
    pub fn extend(&mut self, operations: Vec<TableOperation>) {
        self.pending.extend(operations);
    }

    /// How many operations were appended since the last publication, for who keeps publications short.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is anything to publish.
    pub fn has_pending(&self) -> bool {
        self.is_late || !self.pending.is_empty()
    }

    /// Makes everything appended so far visible as one generation, and returns its number. Readers that enter from now
    /// on see it; those inside keep what they have. Waits at most `deadline` for readers that are still in the half
    /// that is to be written, which a healthy worker leaves within one burst.
    ///
    /// A generation that was late comes first, and what was appended since becomes one of its own behind it.
    pub fn publish(&mut self, deadline: Duration) -> Result<u64, PublishLate> {
        let start = Instant::now();
        loop {
            if self.is_late {
                let left = deadline.saturating_sub(start.elapsed());
                let generation = self.generation + 1;
                if !wait_until(left, || self.write.try_publish()) {
                    return Err(PublishLate {
                        generation,
                        waited: start.elapsed(),
                    });
                }
                self.generation = generation;
                self.is_late = false;
                self.is_behind = true;
            }
            if self.pending.is_empty() {
                return Ok(self.generation);
            }
            let (operations, policy) = self.pending.take();
            let generation = self.generation + 1;
            self.write
                .append(Batch::new(generation, policy, operations));
            self.is_late = true;
        }
    }

    /// Lets the half that no reader sees absorb what the last publication made visible, if readers have left it; never
    /// waits. Afterwards the next publication has only its own operations to absorb, and what was removed is freed. For
    /// when there is nothing better to do. Returns whether both halves are equal.
    pub fn catch_up(&mut self) -> bool {
        // A batch that waits would be published with it.
        if self.is_behind && !self.is_late && self.write.try_publish() {
            self.is_behind = false;
        }
        !self.is_behind
    }

    /// The generation that was published last.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The tables that were published last, for who stands outside of packet processing.
    pub fn current(&self) -> Option<Guard<'_>> {
        self.write.enter().map(Guard)
    }
}

/// Waits for what another thread is about to do, at most until the deadline; whether it was done. At first awake, since a
/// burst takes microseconds; then in short sleeps, so that a worker that wants this very core gets it.
pub fn wait_until(deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
    const AWAKE: Duration = Duration::from_micros(100);
    const SLEEP: Duration = Duration::from_micros(20);
    let start = Instant::now();
    loop {
        if done() {
            return true;
        }
        let waited = start.elapsed();
        if waited >= deadline {
            return false;
        }
        if waited < AWAKE {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(SLEEP);
        }
    }
}

#[cfg(test)]
mod tests;
