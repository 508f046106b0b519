//! What changes in a gateway while it is recorded, beside its frames: revisions that become live, and what routing daemons say.
//!
//! The manager tells of each publication once it is there, with its generation. A frame has the generation that its burst was walked
//! under: so whoever reads both knows what came first, and needs no clock for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use rewire_feed::Told;

use crate::clock::Instant;

/// Updates that wait to be read, at most: what comes on top is missed.
const MOST_WAITING: usize = 1 << 21;

/// How it was when a recording began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// When that was, on the gateway's clock.
    pub time: Instant,
    /// The time of the first burst that is recorded, or before it: a moment that tells which connections
    /// [were there before](crate::LiveTrials::connections_before), which is up to a second later.
    pub from: Instant,
    /// The last revision by then.
    pub revision: u64,
    /// The learned routes that there were: see [`rewire_feed::Rib::retold`].
    pub routes: Vec<Told>,
}

/// Something changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedChange {
    /// A moment when it was live already. Bursts of before, under older tables, have begun earlier.
    pub time: Instant,
    /// The generation that it became live with.
    pub generation: u64,
    /// What it was.
    pub what: Changed,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// A revision became live.
    Revision(u64),
    /// Routing daemons have said something, each time while the revision with this number was the last one.
    Routes(Vec<(u64, Told)>),
}

/// The manager's side.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    id: u64,
    revision: u64,
    changes: Sender<RecordedChange>,
    shared: Arc<Reached>,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Reached {
    /// All is told up to this generation.
    generation: AtomicU64,
    /// Updates that were told and not read yet.
    waiting: AtomicUsize,
    missed: AtomicU64,
}

/// The reader's side.
#[derive(Debug)]
pub(super) struct Changes {
    changes: Receiver<RecordedChange>,
    shared: Arc<Reached>,
}

/// Both sides of a recording's changes.
pub(super) fn log(id: u64) -> (ChangeLog, Changes) {
    let (sender, changes) = mpsc::channel();
    let shared = Arc::<Reached>::default();
    let log = ChangeLog {
        id,
        revision: 0,
        changes: sender,
        shared: Arc::clone(&shared),
    };
    (log, Changes { changes, shared })
}

impl ChangeLog {
    /// Which recording it is of.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The recording begins with this revision, in this generation.
    pub(crate) fn begin(&mut self, revision: u64, generation: u64) {
        self.revision = revision;
        self.shared.generation.store(generation, Ordering::Release);
    }

    /// A generation was published by `time`, with all that was heard since the one before; `revision` is the last one now.
    pub(crate) fn published(
        &mut self,
        (time, generation): (Instant, u64),
        revision: u64,
        mut heard: Vec<(u64, Told)>,
    ) {
        let behind = heard.split_off(heard.partition_point(|(then, _)| *then < revision));
        self.tell_routes((time, generation), heard);
        if self.revision != revision {
            self.revision = revision;
            self.tell((time, generation), Changed::Revision(revision));
        }
        self.tell_routes((time, generation), behind);
        self.shared.generation.store(generation, Ordering::Release);
    }

    fn tell_routes(&self, at: (Instant, u64), heard: Vec<(u64, Told)>) {
        if heard.is_empty() {
            return;
        }
        let number = heard.len();
        if self.shared.waiting.load(Ordering::Relaxed) > MOST_WAITING {
            self.shared
                .missed
                .fetch_add(number as u64, Ordering::Relaxed);
            return;
        }
        self.shared.waiting.fetch_add(number, Ordering::Relaxed);
        self.tell(at, Changed::Routes(heard));
    }

    fn tell(&self, (time, generation): (Instant, u64), what: Changed) {
        // Whoever records may have gone away.
        let _ = self.changes.send(RecordedChange {
            time,
            generation,
            what,
        });
    }
}

impl Changes {
    /// All changes up to this generation can be read by now.
    pub(super) fn reached(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// The next change, if there is one.
    pub(super) fn next(&self) -> Option<RecordedChange> {
        let change = self.changes.try_recv().ok()?;
        if let Changed::Routes(heard) = &change.what {
            self.shared
                .waiting
                .fetch_sub(heard.len(), Ordering::Relaxed);
        }
        Some(change)
    }

    /// How many updates found no room.
    pub(super) fn missed(&self) -> u64 {
        self.shared.missed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(session: u32) -> Told {
        Told {
            source: "s".into(),
            session,
            update: rewire_feed::Update::Up,
        }
    }

    #[test]
    fn what_was_heard_before_a_revision_is_told_before_it() {
        let (mut log, changes) = log(1);
        log.begin(4, 10);
        assert_eq!(changes.reached(), 10);
        let heard = vec![(4, told(1)), (4, told(2)), (5, told(3))];
        log.published((Instant(7), 11), 5, heard);
        log.published((Instant(8), 12), 5, Vec::new());
        assert_eq!(changes.reached(), 12);
        let read = std::iter::from_fn(|| changes.next());
        let read: Vec<_> = read
            .map(|one| (one.time.0, one.generation, one.what))
            .collect();
        let before = Changed::Routes(vec![(4, told(1)), (4, told(2))]);
        let expected = [
            before,
            Changed::Revision(5),
            Changed::Routes(vec![(5, told(3))]),
        ];
        assert_eq!(read, expected.map(|what| (7, 11, what)));
    }

    #[test]
    fn what_nobody_reads_is_missed_and_takes_no_more_memory() {
        let (mut log, changes) = log(1);
        let many = |number| vec![(0, told(0)); number];
        log.published((Instant(1), 1), 0, many(MOST_WAITING + 1));
        log.published((Instant(1), 2), 0, many(3));
        assert_eq!(changes.missed(), 3);
        assert!(changes.next().is_some() && changes.next().is_none());
        log.published((Instant(1), 3), 0, many(5));
        assert_eq!(changes.missed(), 3);
        assert!(changes.next().is_some());
    }
}
