use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const CAPACITY: usize = 1024;

fn key(number: u32) -> DatagramKey<Ipv4Addr> {
    DatagramKey {
        vpc: VpcIndex(0),
        source: Ipv4Addr::from(0x0a01_0000 + number / 7),
        destination: Ipv4Addr::new(198, 51, 100, 1),
        protocol: 17,
        identification: number,
    }
}

const HEAD: Head = Head {
    protocol: Protocol::UDP,
    transport: Transport::Udp {
        source: 1,
        destination: 2,
    },
};

fn head(part: Part) -> Option<Head> {
    (part.offset == 0).then_some(HEAD)
}

const fn part(offset: usize, length: usize, more: bool) -> Part {
    Part {
        offset,
        length,
        more,
    }
}

/// A datagram as a list of what has gone on.
#[derive(Default)]
struct Model {
    parts: Vec<Part>,
    is_refused: bool,
}

impl Model {
    /// What becomes of a fragment, and whether the datagram is complete with it.
    fn admit(&mut self, new: Part) -> (Result<bool, DropReason>, bool) {
        if new.length == 0
            || new.more && !new.length.is_multiple_of(8)
            || new.offset + new.length > 65_535
        {
            return (Err(DropReason::FragmentMalformed), false);
        }
        if self.is_refused {
            return (Err(DropReason::FragmentOverlap), false);
        }
        if new.offset != 0 && self.parts.is_empty() {
            return (Ok(false), false);
        }
        if self.parts.contains(&new) {
            return (Err(DropReason::FragmentDuplicate), false);
        }
        let end = |part: &Part| part.offset + part.length;
        let overlaps = self.parts.iter().any(|old| {
            let apart = end(old).next_multiple_of(8) <= new.offset
                || end(&new).next_multiple_of(8) <= old.offset;
            // Nothing is behind a last one.
            !apart || !old.more && end(&new) > end(old) || !new.more && end(old) > end(&new)
        });
        if overlaps {
            self.is_refused = true;
            return (Err(DropReason::FragmentOverlap), false);
        }
        self.parts.push(new);
        let bytes: usize = self.parts.iter().map(|part| part.length).sum();
        let last = self.parts.iter().find(|part| !part.more);
        (Ok(true), last.is_some_and(|last| end(last) == bytes))
    }
}

fn parts() -> impl Strategy<Value = Part> {
    let tail = prop_oneof![8 => Just(0usize), 1 => 1..8usize];
    (0..12usize, 0..4usize, tail, prop::bool::weighted(0.7))
        .prop_map(|(offset, units, tail, more)| part(offset * 8, units * 8 + tail, more))
}

proptest! {
    #[test]
    fn fragments_are_judged_as_by_a_list_of_them(
        parts in prop::collection::vec((0..3u32, parts()), 0..60),
    ) {
        let mut datagrams = Datagrams::new(CAPACITY, 1);
        let mut model: BTreeMap<u32, Model> = BTreeMap::new();
        for (number, part) in parts {
            let datagram = model.entry(number).or_default();
            let (expected, is_complete) = datagram.admit(part);
            if is_complete {
                // It is forgotten, and what comes now begins another one.
                model.remove(&number);
            }
            let standing = datagrams.admit(key(number), part, head(part), Instant(0), |_| ());
            let goes_on = standing.map(|standing| standing == Standing::GoesOn(HEAD));
            prop_assert_eq!(goes_on, expected, "{:?}", part);
        }
    }

    #[test]
    fn a_datagram_in_any_order_goes_on_whole(
        cuts in prop::collection::btree_set(1..180usize, 0..20),
        length in 1441..1500usize,
        order in any::<prop::sample::Index>(),
    ) {
        let mut bounds: Vec<usize> = std::iter::once(0).chain(cuts.into_iter().map(|cut| cut * 8)).collect();
        bounds.push(length);
        let mut parts: Vec<Part> = bounds.windows(2)
            .map(|pair| part(pair[0], pair[1] - pair[0], pair[1] != length))
            .collect();
        let turn = order.index(parts.len());
        parts.rotate_left(turn);
        let mut datagrams = Datagrams::new(CAPACITY, 1);
        let mut waiting = Vec::new();
        for part in parts {
            match datagrams.admit(key(1), part, head(part), Instant(0), |_| ()) {
                Ok(Standing::GoesOn(_)) => {}
                Ok(Standing::Waits(id)) => {
                    prop_assert!(datagrams.is_awaited(id));
                    waiting.push(part);
                }
                Err(reason) => prop_assert!(false, "{reason:?}"),
            }
        }
        for part in waiting {
            let standing = datagrams.admit(key(1), part, None, Instant(0), |_| ());
            prop_assert_eq!(standing, Ok(Standing::GoesOn(HEAD)));
        }
        prop_assert!(datagrams.is_empty(), "all of it has gone on");
    }
}

#[test]
fn a_fragment_of_the_same_units_is_another_one_if_its_length_is() {
    let judged = |first: Part, second: Part| {
        let mut datagrams = Datagrams::new(CAPACITY, 1);
        let mut admit = |part| datagrams.admit(key(1), part, Some(HEAD), Instant(0), |_| ());
        admit(first).expect("it is new");
        admit(second)
    };
    for (length, more, expected) in [
        (17, false, DropReason::FragmentDuplicate),
        (24, true, DropReason::FragmentOverlap),
        (18, false, DropReason::FragmentOverlap),
        (24, false, DropReason::FragmentOverlap),
    ] {
        let second = part(88, length, more);
        assert_eq!(
            judged(part(88, 17, false), second),
            Err(expected),
            "{second:?}"
        );
    }
    assert_eq!(
        judged(part(88, 24, true), part(88, 24, false)),
        Err(DropReason::FragmentOverlap)
    );
}

#[test]
fn the_largest_datagram_is_not_too_large() {
    let mut datagrams = Datagrams::new(CAPACITY, 1);
    let mut admit = |part| {
        datagrams
            .admit(key(1), part, Some(HEAD), Instant(0), |_| ())
            .map(|_| ())
    };
    assert_eq!(admit(part(0, 65_528, true)), Ok(()));
    assert_eq!(
        admit(part(65_528, 8, false)),
        Err(DropReason::FragmentMalformed)
    );
    assert_eq!(admit(part(65_528, 7, false)), Ok(()));
}

#[test]
fn more_datagrams_than_there_is_room_for_push_the_oldest_out_one_by_one() {
    let mut datagrams = Datagrams::new(CAPACITY, 1);
    let mut forgotten = Vec::new();
    for number in 0..10_000 {
        let now = Instant(u64::from(number));
        let standing = datagrams.admit(key(number), part(8, 8, true), None, now, |id| {
            forgotten.push(id)
        });
        assert!(matches!(standing, Ok(Standing::Waits(_))), "{standing:?}");
        assert!(datagrams.get(&key(number)).is_some());
    }
    assert_eq!(datagrams.number, CAPACITY);
    assert_eq!(forgotten.len(), 10_000 - CAPACITY);
    assert!(forgotten.iter().all(|id| !datagrams.is_awaited(*id)));
    let late = Instant(0).saturating_add(LIFETIME).saturating_add(LIFETIME);
    let expired = std::iter::from_fn(|| datagrams.expire(late)).count();
    assert_eq!(expired, CAPACITY);
    assert!(datagrams.is_empty());
}

#[test]
fn a_datagram_is_forgotten_when_its_time_is_up_and_not_before() {
    let mut datagrams = Datagrams::new(CAPACITY, 1);
    let admit = |datagrams: &mut Datagrams<_>, number, now| {
        datagrams.admit(key(number), part(8, 8, true), None, now, |_| ())
    };
    let later = Instant(0).saturating_add(Duration::from_secs(1));
    let Ok(Standing::Waits(first)) = admit(&mut datagrams, 1, Instant(0)) else {
        panic!("it waits");
    };
    assert!(admit(&mut datagrams, 2, later).is_ok());
    let end = Instant(0).saturating_add(LIFETIME);
    assert_eq!(datagrams.expire(Instant(end.0 - 1)), None);
    assert_eq!(datagrams.expire(end), Some(first));
    assert!(!datagrams.is_awaited(first));
    assert_eq!(datagrams.expire(end), None);
}
