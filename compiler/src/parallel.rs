//! Work on many things, shared out among the processor's cores.

use std::num::NonZero;
use std::ops::Range;
use std::thread;

/// So many things are worth a thread more: some milliseconds of work.
const WORTH_A_THREAD: usize = 20_000;

/// Does `work` on ranges that make up all numbers below `count`, one after the other where there are few, and gives what it gives,
/// in order. Where there is nothing, it is done on nothing.
pub(crate) fn share_out<R: Send>(count: usize, work: impl Fn(Range<usize>) -> R + Sync) -> Vec<R> {
    let parts = match count / WORTH_A_THREAD {
        // How many cores there are is not asked: that takes longer than a small change.
        0 | 1 => 1,
        parts => parts.min(thread::available_parallelism().map_or(1, NonZero::get)),
    };
    let start = |part: usize| count * part / parts;
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = (1..parts)
            .map(|part| scope.spawn(move || work(start(part)..start(part + 1))))
            .collect();
        let mut done = vec![work(0..start(1))];
        done.extend(others.into_iter().map(|other| {
            other
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        }));
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_once_and_in_order() {
        for count in [0, 1, WORTH_A_THREAD - 1, 3 * WORTH_A_THREAD + 1] {
            let parts = share_out(count, |range| range.collect::<Vec<_>>());
            let all: Vec<usize> = parts.into_iter().flatten().collect();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
