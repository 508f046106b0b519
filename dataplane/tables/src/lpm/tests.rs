use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::slot::Slot;
use super::*;

impl<A, V: Eq> PartialEq for Lpm<A, V> {
    fn eq(&self, other: &Self) -> bool {
        self.trie.is_equal(&other.trie) && self.values == other.values
    }
}

/// The oracle: a list of prefixes, scanned whole.
#[derive(Default)]
struct Scan<A>(Vec<(A, u8, u32)>);

impl<A: Address> Scan<A> {
    fn insert(&mut self, network: A, length: u8, value: u32) -> bool {
        let old = self.remove(network, length);
        self.0.push((network.masked(length), length, value));
        old
    }
    fn remove(&mut self, network: A, length: u8) -> bool {
        let network = network.masked(length);
        let before = self.0.len();
        self.0.retain(|(n, l, _)| (*n, *l) != (network, length));
        self.0.len() < before
    }
    fn lookup(&self, address: A) -> Option<u32> {
        let matching = self.0.iter().filter(|(n, l, _)| address.masked(*l) == *n);
        matching
            .max_by_key(|(_, l, _)| *l)
            .map(|(_, _, value)| *value)
    }
}

/// Every way through the table that this processor has gives the same answers, in batches of any length.
fn all_ways_agree<A: Address, V>(lpm: &Lpm<A, V>, keys: &[A::Key]) {
    type Way<K> = fn(&View<'_>, &[K], &mut [Slot]);
    let mut ways: Vec<Way<A::Key>> = vec![
        |view, keys, slots| view.portable(keys, slots),
        |view, keys, slots| view.best(keys, slots),
        A::Key::lookup,
    ];
    #[cfg(target_arch = "x86_64")]
    if lookup::avx2_is_available() {
        // SAFETY: the processor has been asked.
        ways.push(|view, keys, slots| unsafe { lookup::with_avx2(view, keys, slots) });
    }
    let view = View::of(&lpm.trie);
    // Runs of one address, too.
    let repeated = keys.iter().take(3).flat_map(|key| [*key; 70]);
    let keys: Vec<A::Key> = keys.iter().copied().chain(repeated).collect();
    let expected: Vec<Slot> = keys.iter().map(|key| view.one(*key)).collect();
    for way in ways {
        for length in [1, 7, 8, 9, 15, 17, 63, 64, 65, 100, keys.len()] {
            for (keys, expected) in keys
                .chunks(length.max(1))
                .zip(expected.chunks(length.max(1)))
            {
                let untouched = Slot(u32::MAX);
                let mut slots = vec![untouched; keys.len() + 3];
                way(&view, keys, &mut slots);
                assert_eq!(&slots[..keys.len()], expected);
                // Nothing is written behind the batch.
                assert_eq!(&slots[keys.len()..], &[untouched; 3]);
            }
        }
    }
}

fn against_the_scan<A: Address>(steps: Vec<(bool, u128, u8, u32)>, probes: Vec<u128>) {
    against_the_scan_from::<A>(&[], steps, probes);
}

/// Beginning with prefixes that are put in at once.
fn against_the_scan_from<A: Address>(
    first: &[(u128, u8, u32)],
    steps: Vec<(bool, u128, u8, u32)>,
    probes: Vec<u128>,
) {
    let mut lpm = Lpm::default();
    let mut scan = Scan(Vec::new());
    let network = |number: u128| A::from_number(number << (A::BITS - 8) | number);
    for half in first.chunks(first.len().div_ceil(2).max(1)) {
        let values = half
            .iter()
            .map(|(number, length, value)| (network(*number), length % (A::BITS + 1), value));
        lpm.extend(values.clone());
        for (network, length, value) in values {
            scan.insert(network, length, *value);
        }
        assert_eq!(lpm.len(), scan.0.len());
    }
    for (insert, number, length, value) in steps {
        // Few distinct networks, so that prefixes nest and are hit again.
        let network = A::from_number(number << (A::BITS - 8) | number);
        let length = length % (A::BITS + 1);
        if insert {
            assert_eq!(
                lpm.insert(network, length, &value),
                scan.insert(network, length, value)
            );
        } else {
            assert_eq!(lpm.remove(network, length), scan.remove(network, length));
        }
        assert_eq!(lpm.len(), scan.0.len());
    }
    let addresses: Vec<A> = probes
        .iter()
        .map(|p| A::from_number(p << (A::BITS - 8) | p))
        .collect();
    let keys: Vec<A::Key> = addresses.iter().map(|address| address.key()).collect();
    let mut numbers = vec![ValueNumber::default(); keys.len()];
    lpm.lookup_batch(&keys, &mut numbers);
    for (address, number) in addresses.into_iter().zip(numbers) {
        assert_eq!(lpm.value(number).copied(), scan.lookup(address));
        assert_eq!(lpm.lookup(address).copied(), scan.lookup(address));
    }
    all_ways_agree(&lpm, &keys);
    let mut all: Vec<_> = lpm.iter().map(|(n, l, v)| (n, l, *v)).collect();
    all.sort_unstable();
    scan.0.sort_unstable();
    assert_eq!(all, scan.0);
}

proptest! {
    #[test]
    fn equals_a_linear_scan(
        steps in prop::collection::vec((any::<bool>(), 0u128..256, any::<u8>(), any::<u32>()), 0..120),
        probes in prop::collection::vec(0u128..256, 0..64),
    ) {
        against_the_scan::<Ipv4Addr>(steps.clone(), probes.clone());
        against_the_scan::<Ipv6Addr>(steps, probes);
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn what_is_put_in_at_once_equals_a_linear_scan(
        first in prop::collection::vec((0u128..256, any::<u8>(), 0u32..4), 0..200),
        sorted: bool,
        steps in prop::collection::vec((any::<bool>(), 0u128..256, any::<u8>(), any::<u32>()), 0..20),
        probes in prop::collection::vec(0u128..256, 0..64),
    ) {
        let mut first = first;
        if sorted {
            first.sort_unstable();
        }
        against_the_scan_from::<Ipv4Addr>(&first, steps.clone(), probes.clone());
        against_the_scan_from::<Ipv6Addr>(&first, steps, probes);
    }
}

/// A prefix near others: one of few long networks, with some of its last bits turned around, cut to any length.
fn clustered(bits: u8) -> impl Strategy<Value = (u128, u8)> {
    let bits = u32::from(bits);
    // Inside and outside of the direct table's window, and to both sides of the depth that leaves do not reach across.
    let network = prop_oneof![
        Just(0x2001_0db8_1234_5678_9abc_def0_0000_0000_u128),
        Just(0x2001_0db8_1200_0000_0000_0000_0000_0000),
        Just(0xfd00_0db8_1234_5678_0000_0000_0000_0001),
    ];
    let around = (0..bits, 0u128..1024).prop_map(move |(at, bits)| bits << 118 >> at);
    let length = prop_oneof![
        4 => 0..=bits as u8,
        1 => prop::sample::select(vec![0, 1, 24, 30, 48, 54, 60, 64, bits as u8]),
    ];
    (network, around, length).prop_map(move |(network, around, length)| {
        let number = (network ^ around) >> (128 - bits);
        (number, length.min(bits as u8))
    })
}

/// Puts prefixes in and takes them out, and after each step looks up the edges of all those there were.
fn edges_are_right<A: Address>(steps: &[((u128, u8), Option<u32>)], direct: bool) {
    let mut lpm = Lpm::default();
    let mut scan = Scan(Vec::new());
    let mut edges: Vec<A> = Vec::new();
    if direct {
        // As many as it takes for a direct table, away from those under test.
        for number in 0..5000u128 {
            let network = A::from_number((0x3fff_0000 | number) << (A::BITS - 32));
            lpm.insert(network, 32, &1);
        }
    }
    let others = lpm.len();
    for ((number, length), value) in steps {
        let network = A::from_number(*number).masked(*length);
        let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(*length));
        let (first, last) = (
            network.to_number(),
            network.to_number() | behind.unwrap_or(0),
        );
        edges
            .extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(A::from_number));
        match value {
            Some(value) => assert_eq!(
                lpm.insert(network, *length, value),
                scan.insert(network, *length, *value)
            ),
            None => assert_eq!(lpm.remove(network, *length), scan.remove(network, *length)),
        }
        for edge in &edges[edges.len().saturating_sub(16)..] {
            assert_eq!(lpm.lookup(*edge).copied(), scan.lookup(*edge), "{edge}");
        }
    }
    for edge in &edges {
        assert_eq!(lpm.lookup(*edge).copied(), scan.lookup(*edge), "{edge}");
    }
    let keys: Vec<A::Key> = edges.iter().map(|edge| edge.key()).collect();
    all_ways_agree(&lpm, &keys);
    assert_eq!(lpm.len(), others + scan.0.len());
    if !direct {
        for (network, length, _) in std::mem::take(&mut scan.0) {
            assert!(lpm.remove(network, length));
        }
        assert!(lpm.memory() < 4096, "{} bytes", lpm.memory());
    }
}

/// Puts prefixes in at once, among others or alone, and looks up their edges; then takes them out.
fn edges_are_right_at_once<A: Address>(prefixes: &[((u128, u8), u32)], direct: bool) {
    let others = (0..if direct { 5000 } else { 0 }).map(|number: u128| {
        let network = A::from_number((0x3fff_0000 | number) << (A::BITS - 32));
        (network, 32, &1)
    });
    let prefixes = prefixes
        .iter()
        .map(|((number, length), value)| (A::from_number(*number).masked(*length), *length, value));
    let mut lpm = Lpm::default();
    lpm.extend(others.clone().chain(prefixes.clone()));
    let mut scan = Scan(Vec::new());
    let mut edges: Vec<A> = Vec::new();
    for (network, length, value) in prefixes {
        let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(length));
        let first = network.to_number();
        let last = first | behind.unwrap_or(0);
        edges
            .extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(A::from_number));
        scan.insert(network, length, *value);
    }
    for edge in &edges {
        assert_eq!(lpm.lookup(*edge).copied(), scan.lookup(*edge), "{edge}");
    }
    let keys: Vec<A::Key> = edges.iter().map(|edge| edge.key()).collect();
    all_ways_agree(&lpm, &keys);
    assert_eq!(lpm.len(), others.count() + scan.0.len());
    for (network, length, _) in std::mem::take(&mut scan.0) {
        assert!(lpm.remove(network, length));
    }
    if !direct {
        assert!(lpm.memory() < 4096, "{} bytes", lpm.memory());
    }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn clusters_that_are_put_in_at_once_are_right_at_their_edges(
        prefixes4 in prop::collection::vec((clustered(32), 0u32..4), 1..100),
        prefixes6 in prop::collection::vec((clustered(128), 0u32..4), 1..100),
        sorted: bool,
        direct: bool,
    ) {
        let (mut prefixes4, mut prefixes6) = (prefixes4, prefixes6);
        if sorted {
            prefixes4.sort_unstable();
            prefixes6.sort_unstable();
        }
        edges_are_right_at_once::<Ipv4Addr>(&prefixes4, direct);
        edges_are_right_at_once::<Ipv6Addr>(&prefixes6, direct);
    }
}

/// A share of the usual number of cases: each is long. `PROPTEST_CASES` says how many are usual.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: (usual.cases / 8).max(1),
        ..usual
    }
}

proptest! {
    #![proptest_config(cases())]
    /// Clusters grow over what a leaf holds, and shrink again.
    #[test]
    fn leaves_split_and_merge(
        steps in prop::collection::vec(
            (clustered(128), prop::option::weighted(0.7, 1u32..6)), 1..150,
        ),
    ) {
        // Half of what is taken out was put in before.
        let mut known = Vec::new();
        let steps: Vec<_> = steps
            .into_iter()
            .map(|(prefix, value)| {
                if value.is_some() {
                    known.push(prefix);
                    return (prefix, value);
                }
                (known.pop().unwrap_or(prefix), None)
            })
            .collect();
        edges_are_right::<Ipv6Addr>(&steps, false);
        let short: Vec<_> = steps
            .iter()
            .map(|((number, length), value)| ((number >> 96, (*length).min(32)), *value))
            .collect();
        edges_are_right::<Ipv4Addr>(&short, false);
    }

    #[test]
    fn leaves_split_and_merge_below_a_direct_table(
        steps in prop::collection::vec(
            (clustered(128), prop::option::weighted(0.7, 1u32..6)), 1..150,
        ),
    ) {
        let steps: Vec<_> = steps.into_iter().filter(|((number, length), _)| *length > 16 || number >> 112 != 0x3fff).collect();
        edges_are_right::<Ipv6Addr>(&steps, true);
    }
}

/// A prefix, and the value that it gets, if any.
type Change = ((u128, u8), Option<u32>);

fn halves_stay_equal<A: Address>(batches: Vec<Vec<Change>>) {
    let mut halves = [(); 2].map(|()| Lpm::<A, u32>::default());
    let mut alone = Lpm::default();
    for batch in batches {
        let [first, second] = &mut halves;
        first.record();
        for ((number, length), value) in batch {
            let network = A::from_number(number >> (128 - A::BITS));
            let length = length.min(A::BITS);
            for lpm in [&mut *first, &mut alone] {
                match value {
                    Some(value) => lpm.insert(network, length, &value),
                    None => lpm.remove(network, length),
                };
            }
        }
        second.catch_up(first);
        assert!(second == first);
        assert!(*second == alone, "and as if there were one half");
        halves.reverse();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_half_that_catches_up_is_equal_in_every_array(
        batches in prop::collection::vec(
            prop::collection::vec((clustered(128), prop::option::weighted(0.7, 1u32..6)), 0..40), 1..12,
        ),
    ) {
        halves_stay_equal::<Ipv6Addr>(batches.clone());
        halves_stay_equal::<Ipv4Addr>(batches);
    }
}

/// A half that is not what the other one was when it began to record becomes equal all the same.
#[test]
fn a_half_of_another_history_is_copied_whole() {
    let network = |number: u32| Ipv4Addr::from_bits(number << 8);
    let mut first: Lpm<Ipv4Addr, u32> = Lpm::default();
    let mut second = first.clone();
    first.insert(network(1), 24, &1);
    first.record();
    first.insert(network(2), 24, &2);
    second.insert(network(3), 24, &3);
    second.insert(network(4), 24, &4);
    second.catch_up(&first);
    assert!(second == first);
}

/// A generator of numbers that are the same in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// True but for one time of `count`.
    fn mostly(&mut self, count: u64) -> bool {
        !self.next().is_multiple_of(count)
    }
}

/// A map per length, probed from the longest on: slow, simple, and right for large tables, too.
struct Probes<A>(std::collections::BTreeMap<u8, std::collections::HashMap<A, u32>>);

impl<A: Address> Probes<A> {
    fn lookup(&self, address: A) -> Option<u32> {
        let lengths = self.0.iter().rev();
        let mut found = lengths.filter_map(|(length, map)| map.get(&address.masked(*length)));
        found.next().copied()
    }
}

/// Thousands of nested prefixes come and go, through each size of the direct table and back to nothing; prefixes of the
/// lengths 0 to `longest` below the addresses that begin with `space`.
fn churn<A: Address>(most: usize, space: (u128, u8), longest: u8) {
    let mut random = Random(u64::from(A::BITS));
    let mut lpm: Lpm<A, u32> = Lpm::default();
    // The other half, which catches up now and then and goes on in the place of the first one.
    let mut other = lpm.clone();
    let mut probes = Probes(Default::default());
    let mut known: Vec<(A, u8)> = Vec::new();
    let prefix = |random: &mut Random, known: &[(A, u8)]| {
        let mut number = u128::from(random.next()) << 64 | u128::from(random.next());
        number &= u128::MAX >> (128 - A::BITS);
        if random.mostly(16) {
            number =
                number & (u128::MAX >> (128 - A::BITS) >> space.1) | space.0 << (A::BITS - space.1);
        }
        // Most lie within a prefix that is there.
        if !known.is_empty() && random.mostly(4) {
            let (within, length) = known[random.next() as usize % known.len()];
            let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(length));
            number = within.to_number() | number & behind.unwrap_or(0);
        }
        let length = (random.next() % u64::from(longest + 1)) as u8;
        (A::from_number(number).masked(length), length)
    };
    for growing in [true, false] {
        let mut steps = 0;
        while if growing {
            lpm.len() < most
        } else {
            !lpm.is_empty()
        } {
            steps = if steps == most / 5 { 1 } else { steps + 1 };
            if !random.mostly(most as u64 / 50) {
                other.catch_up(&lpm);
                // Now and then: the arrays are large.
                let is_equal = random.mostly(16) || other == lpm;
                assert!(is_equal, "every array, what is not in use included");
                std::mem::swap(&mut lpm, &mut other);
                lpm.record();
            }
            if growing && random.mostly(8) {
                let (network, length) = prefix(&mut random, &known);
                // Few values, so that neighbors are often equal.
                let value = (random.next() % 5) as u32;
                let old = probes.0.entry(length).or_default().insert(network, value);
                assert_eq!(lpm.get(network, length).copied(), old);
                assert_eq!(lpm.insert(network, length, &value), old.is_some());
                if old.is_none() {
                    known.push((network, length));
                }
            } else if !known.is_empty() {
                let (network, length) = known.swap_remove(random.next() as usize % known.len());
                assert!(
                    probes
                        .0
                        .entry(length)
                        .or_default()
                        .remove(&network)
                        .is_some()
                );
                assert!(lpm.remove(network, length));
                assert!(!lpm.remove(network, length));
            }
            if steps == most / 5 {
                let addresses: Vec<A> = (0..700)
                    .map(|_| {
                        let (network, length) = prefix(&mut random, &known);
                        let behind = (u128::MAX >> (128 - A::BITS)).checked_shr(u32::from(length));
                        let host = u128::from(random.next()) << 64 | u128::from(random.next());
                        A::from_number(network.to_number() | host & behind.unwrap_or(0))
                    })
                    .collect();
                for address in &addresses {
                    assert_eq!(lpm.lookup(*address).copied(), probes.lookup(*address));
                }
                let keys: Vec<A::Key> = addresses.iter().map(|address| address.key()).collect();
                all_ways_agree(&lpm, &keys);
                assert_eq!(lpm.iter().count(), lpm.len());
                assert_eq!(known.len(), lpm.len());
            }
        }
    }
    other.catch_up(&lpm);
    assert!(other == lpm);
    assert_eq!(lpm.lookup(A::from_number(1)), None);
    // All that it took is given back.
    assert!(lpm.memory() < 4096, "{} bytes", lpm.memory());
}

#[test]
fn ipv4_prefixes_come_and_go() {
    churn::<Ipv4Addr>(10_000, (10, 8), 32);
}

#[test]
fn ipv6_prefixes_come_and_go() {
    churn::<Ipv6Addr>(10_000, (0x2001_0db8, 32), 128);
}

#[test]
fn ipv6_prefixes_of_the_largest_direct_table_come_and_go() {
    churn::<Ipv6Addr>(70_000, (0b001, 3), 48);
}

#[test]
fn a_small_table_is_small() {
    let mut lpm: Lpm<Ipv6Addr, u32> = Lpm::default();
    assert_eq!(lpm.memory(), 0);
    lpm.insert(Ipv6Addr::UNSPECIFIED, 0, &1);
    lpm.insert(Ipv6Addr::from_bits(0x2001_0db8 << 96), 64, &2);
    assert!(lpm.memory() < 4096, "{} bytes", lpm.memory());
}
