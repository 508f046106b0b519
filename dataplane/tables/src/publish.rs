//! Publishing: one writer, one root, two halves (left-right).
//!
//! The writer absorbs operations on the half that no reader sees, swaps the halves, and absorbs the same operations on
//! the other half afterwards. A reader enters once for each burst and passes the reference down; it never waits. Only the
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

use crate::operation::TableOperation;
use crate::pending::Pending;
use crate::tables::Tables;

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
}

impl Tables {
    fn absorb(&mut self, batch: &Batch) {
        for operation in &batch.operations {
            self.apply(operation);
        }
        self.generation = batch.generation;
        if batch.policy {
            self.policy_generation = batch.generation;
        }
    }
}

impl Absorb<Batch> for Tables {
    fn absorb_first(&mut self, batch: &mut Batch, _: &Self) {
        self.absorb(batch);
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
        write.append(Batch {
            generation: 1,
            policy: true,
            operations: Vec::new(),
        });
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
            self.write.append(Batch {
                generation: self.generation + 1,
                policy,
                operations,
            });
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::VpcIndex;

    fn vpc(name: &str) -> TableOperation {
        TableOperation::SetVpc {
            vpc: VpcIndex(0),
            name: Arc::from(name),
        }
    }

    #[test]
    fn a_guard_keeps_its_generation_and_the_next_one_sees_the_new() {
        let (mut publisher, readers) = Publisher::new(1);
        publisher.append(vpc("blue"));
        let before = readers[0].enter().unwrap();
        assert_eq!(
            (before.generation(), before.vpc(VpcIndex(0)).name()),
            (1, "")
        );
        assert_eq!(publisher.publish(Duration::from_secs(1)), Ok(2));
        assert_eq!(
            (before.generation(), before.vpc(VpcIndex(0)).name()),
            (1, "")
        );
        drop(before);
        let after = readers[0].enter().unwrap();
        assert_eq!(
            (after.generation(), after.vpc(VpcIndex(0)).name()),
            (2, "blue")
        );
    }

    #[test]
    fn a_stuck_reader_is_reported_and_nothing_is_lost() {
        let (mut publisher, readers) = Publisher::new(1);
        let stuck = readers[0].enter().unwrap();
        publisher.append(vpc("blue"));
        publisher.publish(Duration::ZERO).unwrap();
        publisher.append(vpc("red"));
        let late = publisher.publish(Duration::from_millis(1)).unwrap_err();
        assert_eq!(late.generation, 3);
        assert!(publisher.has_pending());
        assert!(!publisher.catch_up());
        publisher.append(vpc("green"));
        drop(stuck);
        assert_eq!(publisher.publish(Duration::from_secs(1)), Ok(4));
        let guard = readers[0].enter().unwrap();
        assert_eq!(
            (guard.generation(), guard.vpc(VpcIndex(0)).name()),
            (4, "green")
        );
        assert_eq!(guard.policy_generation(), 4);
    }

    #[test]
    fn what_is_learned_is_a_generation_but_no_policy() {
        let (mut publisher, readers) = Publisher::new(1);
        let policy = readers[0].enter().unwrap().policy_generation();
        publisher.append(TableOperation::ForgetNeighbor {
            interface: crate::InterfaceIndex(0),
            address: [192, 0, 2, 1].into(),
        });
        publisher.publish(Duration::from_secs(1)).unwrap();
        let guard = readers[0].enter().unwrap();
        assert_eq!((guard.generation(), guard.policy_generation()), (2, policy));
    }

    #[test]
    fn a_reader_outside_delays_nobody() {
        let (mut publisher, readers) = Publisher::new(2);
        for (generation, name) in (2..).zip(["blue", "red", "green"]) {
            publisher.append(vpc(name));
            assert_eq!(publisher.publish(Duration::ZERO), Ok(generation));
        }
        assert_eq!(readers[1].enter().unwrap().generation(), 4);
    }

    #[test]
    fn catching_up_shows_readers_nothing_new_and_frees_what_was_removed() {
        let (mut publisher, readers) = Publisher::new(1);
        let name = Arc::<str>::from("blue");
        let held = || Arc::strong_count(&name) - 1;
        publisher.append(TableOperation::SetVpc {
            vpc: VpcIndex(0),
            name: Arc::clone(&name),
        });
        let seen = readers[0].enter().unwrap();
        publisher.publish(Duration::ZERO).unwrap();
        assert!(!publisher.catch_up(), "a reader is inside");
        assert_eq!(held(), 2, "a half and the operation");
        drop(seen);
        assert!(publisher.catch_up());
        assert_eq!(held(), 2, "both halves, and no operation");
        let digest = readers[0].enter().unwrap().digest();
        publisher.append(TableOperation::RemoveVpc { vpc: VpcIndex(0) });
        publisher.publish(Duration::ZERO).unwrap();
        assert_eq!(held(), 1, "the other half");
        assert!(publisher.catch_up());
        assert_eq!(held(), 0);
        let after = readers[0].enter().unwrap();
        assert_eq!((after.generation(), publisher.generation()), (3, 3));
        assert_ne!(after.digest(), digest);
    }

    /// Operations come while a worker sleeps inside: the next publication brings one generation that was late and one
    /// more for all that came since.
    #[test]
    fn whatever_comes_while_a_reader_stays_inside_is_two_generations() {
        let (mut publisher, readers) = Publisher::new(1);
        let stuck = readers[0].enter().unwrap();
        publisher.append(vpc("first"));
        publisher.publish(Duration::ZERO).unwrap();
        for number in 0..200_000 {
            publisher.append(vpc(&number.to_string()));
            if number % 10_000 == 0 {
                publisher.publish(Duration::ZERO).unwrap_err();
            }
        }
        assert_eq!(stuck.vpc(VpcIndex(0)).name(), "");
        drop(stuck);
        assert_eq!(publisher.publish(Duration::ZERO), Ok(4));
        assert_eq!(
            readers[0].enter().unwrap().vpc(VpcIndex(0)).name(),
            "199999"
        );
    }

    #[test]
    fn both_halves_are_equal() {
        let (mut publisher, readers) = Publisher::new(1);
        let mut digests = Vec::new();
        for step in ["blue", "red", "red", "red"] {
            publisher.append(vpc(step));
            publisher.publish(Duration::from_secs(1)).unwrap();
            digests.push(readers[0].enter().unwrap().digest());
        }
        // The last two publications show either half with the same state.
        assert_eq!(digests[2], digests[3]);
        assert_ne!(digests[0], digests[1]);
    }
}
