//! Publishing: one writer, one root, two halves (left-right).
//!
//! The writer absorbs operations on the half that no reader sees, swaps the halves, and absorbs the same operations on
//! the other half at the next publish. A reader enters once for each burst and passes the reference down; it never
//! waits. Only the writer can be made to wait, by a reader that stays inside, and for that there is a deadline.

use std::ops::Deref;
use std::time::{Duration, Instant};

use left_right::{ReadGuard, ReadHandle, WriteHandle};

use crate::operation::TableOperation;
use crate::tables::Tables;

/// The one writer of the tables.
pub struct Publisher {
    write: WriteHandle<Tables, TableOperation>,
    generation: u64,
    /// Operations were appended since the last publication: of which the policy changed.
    pending: bool,
    pending_policy: bool,
    /// A publication that ran into its deadline has already put its generation into the operations.
    numbered: bool,
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
        let (write, read) = left_right::new::<Tables, TableOperation>();
        let readers = (0..readers).map(|_| Reader(read.clone())).collect();
        let mut publisher = Publisher {
            write,
            generation: 0,
            pending: false,
            pending_policy: false,
            numbered: false,
        };
        publisher.pending = true;
        publisher.pending_policy = true;
        let published = publisher.publish(Duration::ZERO);
        debug_assert!(published.is_ok(), "nobody reads yet");
        (publisher, readers)
    }

    /// Appends one operation to the next generation. Nobody sees it before [`publish`](Self::publish).
    pub fn append(&mut self, operation: TableOperation) {
        use TableOperation::{ForgetNeighbor, LearnNeighbor};
        self.pending = true;
        self.pending_policy |= !matches!(operation, LearnNeighbor { .. } | ForgetNeighbor { .. });
        self.write.append(operation);
    }

    /// Whether there is anything to publish.
    pub fn has_pending(&self) -> bool {
        self.pending
    }

    /// Makes everything appended so far visible as one generation, and returns its number. Readers that enter from now
    /// on see it; those inside keep what they have. Waits at most `deadline` for readers that are still in the half
    /// that is to be written, which a healthy worker leaves within one burst.
    pub fn publish(&mut self, deadline: Duration) -> Result<u64, PublishLate> {
        if !self.pending {
            return Ok(self.generation);
        }
        let generation = self.generation + 1;
        if !self.numbered {
            let policy = self.pending_policy;
            self.write
                .append(TableOperation::SetGeneration { generation, policy });
            self.numbered = true;
        } else if self.pending_policy {
            // Operations came after the number did: say again that this generation changes policy.
            self.write.append(TableOperation::SetGeneration {
                generation,
                policy: true,
            });
        }
        let start = Instant::now();
        let mut spins = 0u32;
        while !self.write.try_publish() {
            let waited = start.elapsed();
            if waited >= deadline {
                return Err(PublishLate { generation, waited });
            }
            spins += 1;
            if spins < 64 {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        self.generation = generation;
        self.pending = false;
        self.pending_policy = false;
        self.numbered = false;
        Ok(generation)
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
        publisher.append(vpc("green"));
        drop(stuck);
        assert_eq!(publisher.publish(Duration::from_secs(1)), Ok(3));
        let guard = readers[0].enter().unwrap();
        assert_eq!(
            (guard.generation(), guard.vpc(VpcIndex(0)).name()),
            (3, "green")
        );
        assert_eq!(guard.policy_generation(), 3);
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
