//! What a failure needs is found, whatever it is.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::shrink::{Tries, least};

fn plenty() -> Tries {
    Tries::new(u64::MAX, u64::MAX)
}

fn cost(part: &[usize]) -> u64 {
    part.len() as u64
}

proptest! {
    /// Where a failure needs certain frames and no others, those are found.
    #[test]
    fn what_is_needed_is_found(
        number in 1usize..400,
        needed in prop::collection::btree_set(0usize..400, 0..6),
    ) {
        let needed: BTreeSet<usize> = needed.into_iter().filter(|frame| *frame < number).collect();
        let mut tries = plenty();
        let (found, is_least) = least((0..number).collect(), &mut tries, cost, |part| {
            assert!(part.is_sorted());
            needed.iter().all(|frame| part.contains(frame))
        });
        prop_assert!(is_least);
        prop_assert_eq!(found, Vec::from_iter(needed));
    }

    /// Where any of several parts would do, what is found fails, and nothing more of it can be left out.
    #[test]
    fn what_is_found_is_least(
        number in 1usize..200,
        divisor in 1usize..40,
        at_least in 1usize..5,
    ) {
        let fails = |part: &[usize]| part.iter().filter(|frame| *frame % divisor == 0).count() >= at_least;
        let all: Vec<usize> = (0..number).collect();
        prop_assume!(fails(&all));
        let (found, is_least) = least(all, &mut plenty(), cost, fails);
        prop_assert!(is_least && fails(&found));
        for left_out in 0..found.len() {
            let mut less = found.clone();
            less.remove(left_out);
            prop_assert!(!fails(&less));
        }
    }

    /// Where the tries are up, what is there still fails.
    #[test]
    fn what_is_found_in_a_few_tries_fails(most in 0u64..30, needed in 0usize..1000) {
        let mut tries = Tries::new(most, u64::MAX);
        let (found, _) = least((0..1000).collect(), &mut tries, cost, |part| part.contains(&needed));
        prop_assert!(found.contains(&needed));
        prop_assert!(tries.made <= most);
    }
    /// Where the frames are up, what is there still fails, and no more were replayed.
    #[test]
    fn what_is_found_with_a_few_frames_fails(most in 0u64..20_000, needed in 0usize..1000) {
        let mut tries = Tries::new(u64::MAX, most);
        let mut replayed = 0;
        let (found, _) = least((0..1000).collect(), &mut tries, cost, |part| {
            replayed += part.len() as u64;
            part.contains(&needed)
        });
        prop_assert!(found.contains(&needed));
        prop_assert!(replayed <= most);
    }
}
