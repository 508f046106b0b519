use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use proptest::prelude::*;

use super::*;

fn is_empty(bucket: &Bucket) -> bool {
    let counts_are_over = (0..4_u8).all(|tag| {
        matches!(
            bucket.missed >> missed_shift(tag) & MOST_MISSED,
            0 | MOST_MISSED
        )
    });
    (bucket.tags, bucket.away) == ([FREE; SLOTS], 0) && counts_are_over
}

/// What no walk through the index sees: every count is what is away, and every entry in one of its places.
fn check(index: &Index, hashes: &HashMap<u32, u64>) {
    assert_eq!(size_of::<Bucket>(), 64);
    let mut away = vec![[0; 4]; index.buckets.len()];
    let mut used = 0;
    for (number, bucket) in index.buckets.iter().enumerate() {
        for slot in 0..SLOTS {
            let tag = bucket.tags[slot];
            let is_away = bucket.is_away(slot);
            if tag == FREE {
                assert!(!is_away);
                continue;
            }
            used += 1;
            let entry = index.number(bucket.entries[slot]);
            let hash = hashes[&entry];
            assert_eq!(bucket.entries[slot], index.stored(entry, index.spot(hash)));
            let home = index.spot(hash).home();
            assert_eq!(tag, index.spot(hash).tag());
            assert_eq!(index.other(index.other(number, tag), tag), number);
            assert_eq!(is_away, home != number);
            if is_away {
                assert_eq!(index.other(number, tag), home);
                away[home][usize::from(tag & 3)] += 1;
            }
        }
    }
    assert_eq!(used, hashes.len());
    for (bucket, away) in index.buckets.iter().zip(away) {
        for (tag, away) in (0..).zip(away) {
            let count = bucket.missed >> missed_shift(tag) & MOST_MISSED;
            // The most that it can say stays.
            assert!(count == away || count == MOST_MISSED);
        }
    }
}

proptest! {
    /// Against a map of entries to hashes that often collide: in the bucket, in the tag, or in both; in so many that
    /// buckets are full, and entries make room.
    #[test]
    fn like_a_map(steps in prop::collection::vec((any::<bool>(), 0..44_u32, 0..4_u64, 0..8_u64, 0..2_u64), 0..400)) {
        let mut index = Index::of_numbers_below(144, 44);
        let mut model = HashMap::new();
        for (insert, entry, high, low, rest) in steps {
            let hash = (u64::MAX << 63 >> high) & !0xffff_ffff | rest << 8 | low;
            match model.get(&entry) {
                None if insert => {
                    // An entry with the same hash stands in its way, if it is told so.
                    let is_other = model.values().any(|other| *other == hash);
                    let is_same = |other| model.get(&other) == Some(&hash);
                    let spot = index.spot(hash);
                    let is_in = index.claim_alone(spot, entry) || index.claim(spot, entry, is_same);
                    prop_assert!(!is_in || !is_other);
                    if is_in || index.claim(spot, entry, |_| false) {
                        model.insert(entry, hash);
                    }
                }
                Some(&hash) if !insert => {
                    index.remove(hash, entry);
                    model.remove(&entry);
                }
                _ => {}
            }
            check(&index, &model);
            for entry in 0..44 {
                let found = index.find(hash, |candidate| candidate == entry);
                prop_assert!(found.is_none() || model.contains_key(&entry));
                prop_assert!(found.is_some() || model.get(&entry) != Some(&hash));
            }
        }
        for (entry, hash) in model {
            index.replace(hash, entry, entry + 100);
            prop_assert_eq!(index.find(hash, |candidate| candidate == entry + 100), Some(entry + 100));
            index.remove(hash, entry + 100);
        }
        prop_assert!(index.buckets.iter().all(is_empty));
    }
}

/// As full as it may be, and after more entries have come and gone than there is room for, none was refused.
#[test]
fn full_and_in_use_for_long() {
    const ENTRIES: u32 = 20_000;
    let mut index = Index::of_numbers_below(5 * ENTRIES as usize, ENTRIES as usize);
    // Twice, for the hashes of numbers in a row are spread more evenly than those of keys.
    let state = FixedState::with_seed(5);
    let hash = |entry: u32| state.hash_one(state.hash_one(entry));
    let mut live: Vec<u32> = (0..ENTRIES).collect();
    for entry in &live {
        assert!(index.insert(hash(*entry), *entry));
    }
    for new in ENTRIES..5 * ENTRIES {
        let place = hash(new) as usize % live.len();
        let old = std::mem::replace(&mut live[place], new);
        index.remove(hash(old), old);
        assert!(index.insert(hash(new), new));
    }
    check(
        &index,
        &live.iter().map(|entry| (*entry, hash(*entry))).collect(),
    );
}

#[test]
fn one_hash_fills_its_two_buckets() {
    let mut index = Index::new(1_000);
    for entry in 0..2 * SLOTS as u32 {
        assert!(index.insert(7 << 60 | 9, entry));
    }
    assert!(!index.insert(7 << 60 | 9, 99));
    let used = index.buckets.iter().flat_map(|bucket| bucket.tags);
    assert_eq!(used.filter(|tag| *tag != FREE).count(), 2 * SLOTS);
    for entry in 0..2 * SLOTS as u32 {
        index.remove(7 << 60 | 9, entry);
    }
    assert!(index.buckets.iter().all(is_empty));
}
