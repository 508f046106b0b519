use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use proptest::prelude::*;

use super::bucket::{COUNTS, MOST_MISSED, missed_shift};
use super::*;

/// What no walk through the index sees: every count is what is away, or told to be missed, and every entry in one of its places.
fn check(index: &Index, hashes: &HashMap<u32, u64>, missed: &[u64]) {
    assert_eq!(size_of::<Bucket>(), 64);
    let mut away = vec![[0; 8]; index.buckets.len()];
    for hash in missed {
        let spot = index.spot(*hash);
        away[spot.home()][usize::from(spot.tag() & 7)] += 1;
    }
    let mut used = 0;
    for (number, bucket) in index.buckets.iter().enumerate() {
        for slot in 0..SLOTS {
            let tag = bucket.tags[slot];
            if tag == FREE {
                continue;
            }
            used += 1;
            let entry = index.number(bucket.entries[slot]);
            let spot = index.spot(hashes[&entry]);
            assert_eq!(bucket.entries[slot], index.stored(entry, spot));
            assert_eq!(tag, spot.tag());
            let places = index.places(spot);
            assert!(!index.others(spot).contains(&spot.home()));
            let place = places.iter().position(|place| *place == number);
            for before in &places[..place.expect("in one of its places")] {
                away[*before][usize::from(tag & 7)] += 1;
            }
        }
    }
    assert_eq!(used, hashes.len());
    for ((number, bucket), away) in index.buckets.iter().enumerate().zip(away) {
        for (tag, away) in (0..).zip(away) {
            let count = bucket.missed >> missed_shift(tag) & MOST_MISSED;
            match &index.crowds {
                Some(crowds) => {
                    let more = crowds.of(number as u32 * COUNTS + u32::from(tag));
                    assert_eq!(count, away.min(MOST_MISSED));
                    assert_eq!(count + more, away);
                }
                // The most that it can say stays.
                None => assert!(count == away || count == MOST_MISSED),
            }
        }
    }
}

/// Entries that may not make room for others.
fn stays(entry: u32) -> bool {
    entry.is_multiple_of(3)
}

/// Where entries are that may not make room.
fn places(index: &Index) -> HashMap<u32, (usize, usize)> {
    let mut places = HashMap::new();
    for (number, bucket) in index.buckets.iter().enumerate() {
        for slot in (0..SLOTS).filter(|slot| bucket.tags[*slot] != FREE) {
            let entry = index.number(bucket.entries[slot]);
            if stays(entry) {
                places.insert(entry, (number, slot));
            }
        }
    }
    places
}

/// What entries near to one another have in common.
fn near(index: &Index, hash: u64) -> (usize, u8, u32) {
    let spot = index.spot(hash);
    (spot.home(), spot.tag(), spot.low() & NEAR)
}

/// A step: whether something is added, which entry it is about, and the parts of its hash.
fn step() -> impl Strategy<Value = (u8, u32, u64)> {
    let hash = (0..4_u64, 0..8_u64, 0..2_u64, 0..2_u64).prop_map(|(high, low, rest, near)| {
        (u64::MAX << 63 >> high) & !0xffff_ffff | near << 27 | rest << 8 | low
    });
    (0..7_u8, 0..44_u32, hash)
}

proptest! {
    /// Against a map of entries to hashes that often collide: in the bucket, in the tag, or in both; in so many that
    /// buckets are full, and entries make room.
    #[test]
    fn like_a_map(counts_crowds in any::<bool>(), steps in prop::collection::vec(step(), 0..400)) {
        let mut index = Index::of_numbers_below(144, 44);
        if counts_crowds {
            index = index.counting_crowds(&FixedState::with_seed(3));
        }
        let mut model = HashMap::new();
        let mut missed = Vec::new();
        for (kind, entry, hash) in steps {
            let insert = kind < 3;
            let spot = index.spot(hash);
            match model.get(&entry) {
                None if insert => {
                    let before = places(&index);
                    let hash_of = |entry| (!stays(entry)).then(|| model[&entry]);
                    // An entry with the same hash stands in its way, if it is told so.
                    let is_other = model.values().any(|other| *other == hash);
                    let is_same = |other| model.get(&other) == Some(&hash);
                    let claim = index.claim_alone(spot, entry, hash_of);
                    if claim != Claim::Refused {
                        prop_assert_eq!(claim == Claim::Home, index.is_at_home(spot, entry));
                    }
                    let is_in = claim != Claim::Refused || index.claim(spot, entry, is_same, hash_of);
                    prop_assert!(!is_in || !is_other);
                    let is_in = is_in || index.claim(spot, entry, |_| false, hash_of);
                    let mut after = places(&index);
                    if is_in {
                        model.insert(entry, hash);
                        after.remove(&entry);
                    }
                    prop_assert_eq!(before, after);
                }
                Some(&hash) if (3..5).contains(&kind) => {
                    index.remove(hash, entry);
                    model.remove(&entry);
                }
                _ if kind == 5 => for _ in 0..entry % 20 {
                    index.count_missed(spot, true);
                    missed.push(hash);
                },
                _ if kind == 6 && !missed.is_empty() => {
                    let hash = missed.swap_remove(entry as usize % missed.len());
                    index.count_missed(index.spot(hash), false);
                }
                _ => {}
            }
            check(&index, &model, &missed);
            for entry in 0..44 {
                let found = index.find(hash, |candidate| candidate == entry);
                prop_assert!(found.is_none() || model.contains_key(&entry));
                prop_assert!(found.is_some() || model.get(&entry) != Some(&hash));
            }
            // Those at home that are near, and no others but such as are away there.
            let of_one = |other: u64| near(&index, other) == near(&index, hash);
            for (entry, other) in &model {
                let found = index.find_near(spot, |candidate| candidate == *entry);
                let is_there = of_one(*other) && index.is_at_home(index.spot(*other), *entry);
                let other = index.spot(*other);
                let is_away_there = index.others(other).contains(&spot.home()) && !index.is_at_home(other, *entry);
                prop_assert!(found.is_some() == is_there || is_away_there);
            }
            if index.has_nothing_near(spot) {
                prop_assert!(!model.values().chain(&missed).any(|other| of_one(*other)));
            }
            prop_assert!(index.misses(spot) || !missed.contains(&hash));
        }
        for hash in missed {
            index.count_missed(index.spot(hash), false);
        }
        for (entry, hash) in model {
            index.replace(hash, entry, entry + 100);
            prop_assert_eq!(index.find(hash, |candidate| candidate == entry + 100), Some(entry + 100));
            index.remove(hash, entry + 100);
        }
        prop_assert!(index.is_empty());
    }
}

/// As full as it may be, and after more entries have come and gone than there is room for, none was refused; also where half of them may
/// not make room.
#[test]
fn full_and_in_use_for_long() {
    const ENTRIES: u32 = 20_000;
    // Twice, for the hashes of numbers in a row are spread more evenly than those of keys.
    let state = FixedState::with_seed(5);
    let hash = |entry: u32| state.hash_one(state.hash_one(entry));
    for half_stays in [false, true] {
        let hash_of = |entry: u32| (!half_stays || entry.is_multiple_of(2)).then(|| hash(entry));
        let mut index = Index::of_numbers_below(5 * ENTRIES as usize, ENTRIES as usize);
        let mut live: Vec<u32> = (0..ENTRIES).collect();
        for entry in &live {
            assert!(index.insert(hash(*entry), *entry, hash_of));
        }
        for new in ENTRIES..5 * ENTRIES {
            let place = hash(new) as usize % live.len();
            let old = std::mem::replace(&mut live[place], new);
            index.remove(hash(old), old);
            assert!(index.insert(hash(new), new, hash_of));
        }
        check(
            &index,
            &live.iter().map(|entry| (*entry, hash(*entry))).collect(),
            &[],
        );
    }
}

#[test]
fn one_hash_fills_its_places() {
    let mut index = Index::new(1_000);
    let hash = 7 << 60 | 9;
    let places = index.places(index.spot(hash)).len() * SLOTS;
    let hash_of = |_| Some(hash);
    for entry in 0..places as u32 {
        assert!(index.insert(hash, entry, hash_of));
    }
    assert!(!index.insert(hash, 99, hash_of));
    let used = index.buckets.iter().flat_map(|bucket| bucket.tags);
    assert_eq!(used.filter(|tag| *tag != FREE).count(), places);
    for entry in 0..places as u32 {
        index.remove(hash, entry);
    }
    assert!(index.is_empty());
}
