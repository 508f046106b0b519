//! The real `progress.rs`, under loom: when the manager is told that a worker has left the old half, the worker is not
//! in it, in whatever order the two run.

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

#[allow(dead_code)] // `stop` is a flag of its own.
#[path = "../src/progress.rs"]
mod progress;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use progress::Progress;
use sync::{Ordering, fence};

/// Two halves and which of them readers enter, as left-right has them. A half holds its generation.
struct Halves {
    current: AtomicUsize,
    halves: [UnsafeCell<u64>; 2],
}

/// One burst of a worker.
fn burst(halves: &Halves, progress: &Progress) {
    progress.enter();
    fence(Ordering::SeqCst);
    let half = &halves.halves[halves.current.load(Ordering::Acquire)];
    // SAFETY: loom checks at run time that nobody writes meanwhile: that is what this test is for.
    let generation = half.with(|generation| unsafe { *generation });
    progress.entered(generation);
    // SAFETY: as above.
    half.with(|again| assert_eq!(unsafe { *again }, generation));
    progress.leave();
}

#[test]
fn a_half_that_was_left_is_free() {
    loom::model(|| {
        let shared = Arc::new((
            Halves {
                current: AtomicUsize::new(0),
                halves: [UnsafeCell::new(1), UnsafeCell::new(2)],
            },
            Progress::default(),
        ));
        let worker = {
            let shared = Arc::clone(&shared);
            loom::thread::spawn(move || {
                burst(&shared.0, &shared.1);
                burst(&shared.0, &shared.1);
            })
        };
        let (halves, progress) = &*shared;
        halves.current.store(1, Ordering::Release);
        fence(Ordering::SeqCst);
        while !progress.has_left_before(2) {
            loom::thread::yield_now();
        }
        // SAFETY: the worker has left this half, and the next one to enter takes the other: loom checks it.
        halves.halves[0].with_mut(|generation| unsafe { *generation = 3 });
        worker.join().unwrap();
    });
}
