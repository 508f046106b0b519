//! No two connections have one tuple: a packet would belong to both.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::{BuildHasher, Hash};

use arrayvec::ArrayVec;
use foldhash::fast::FixedState;
use rewire_conntrack::{Connections, FlowKey};
use rewire_dataplane::VirtualGateway;
use rewire_tables::Address;
use rewire_tables::memory::prefetch_at;

use crate::inspect::{Found, MOST_LINES};

/// Connections whose places are fetched at once.
const AT_ONCE: usize = 16;

/// The check. It remembers what it has seen, so that it looks for new connections alone: 8 bytes a place for a connection, and 16 to 32
/// for each connection, of the largest number so far.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    /// By worker and address family.
    seen: Vec<[Seen; 2]>,
}

impl Tuples {
    /// Looks at all connections. Cost: a line of memory for each of them, read in order; for each that has come since, two of a table
    /// that may not fit the cache.
    pub(crate) fn check(&mut self, gateway: &VirtualGateway) -> Result<(), Found> {
        let mut details = Vec::new();
        for (worker, graph) in gateway.graphs().enumerate() {
            if self.seen.len() <= worker {
                self.seen.push(Default::default());
            }
            let [four, six] = &mut self.seen[worker];
            details.extend(of(four, graph.connections4()));
            details.extend(of(six, graph.connections6()));
        }
        if details.is_empty() {
            return Ok(());
        }
        details.truncate(MOST_LINES);
        Err(("a tuple was given to two connections".to_owned(), details))
    }
}

fn of<A: Address + Hash + Display>(seen: &mut Seen, connections: &Connections<A>) -> Vec<String> {
    let places = connections.slots() as usize;
    seen.twice((connections.len(), places), || {
        let all = connections.keys();
        all.map(|(id, keys)| (id.slot(), keys.map(|key| *key)))
    })
}

/// What was seen of one address family.
#[derive(Debug, Default)]
struct Seen {
    /// A table of halves of hashes, where the other halves lead: half empty, and without the keys themselves, so that it is small. Those of
    /// connections that have ended stay in it.
    marks: Vec<u32>,
    /// How many there are.
    used: usize,
    /// By place: the hash of the connection whose keys are in the table; 0 where there is none.
    known: Vec<u64>,
}

impl Seen {
    /// The keys that are there more than once, among those of so many connections in so many places, in order. `connections` gives the same
    /// each time.
    fn twice<A, C>(
        &mut self,
        (number, places): (usize, usize),
        connections: impl Fn() -> C,
    ) -> Vec<String>
    where
        A: Address + Hash + Display,
        C: Iterator<Item = (u32, [FlowKey<A>; 2])>,
    {
        self.known.resize(places.max(self.known.len()), 0);
        // Mostly there is none, and that is quick to see.
        let has_room = !self.marks.is_empty() && 2 * (self.used + 2 * number) <= self.marks.len();
        if has_room && self.enter(connections()) {
            return Vec::new();
        }
        // Perhaps with one that has ended, or there is no room. Two keys with one hash are very rare, and looked at in earnest.
        self.marks.clear();
        self.marks
            .resize((8 * number).next_power_of_two().max(2), 0);
        self.known.fill(0);
        self.used = 0;
        if self.enter(connections()) {
            return Vec::new();
        }
        // Not all of them have been entered: the next time begins anew.
        self.marks.clear();
        repeated(connections().flat_map(|(_, keys)| of_connection(keys)))
    }

    /// Enters the keys of connections that are not there. False where a hash was there already.
    fn enter<A: Address + Hash>(
        &mut self,
        mut connections: impl Iterator<Item = (u32, [FlowKey<A>; 2])>,
    ) -> bool {
        // Nobody chooses these keys to collide with each other in a check.
        let state = FixedState::default();
        let last = self.marks.len() - 1;
        loop {
            // Their places come near together: one after the other, each would be waited for.
            let mut hashes: ArrayVec<u64, { 2 * AT_ONCE }> = ArrayVec::new();
            let is_over = loop {
                if hashes.len() + 2 > hashes.capacity() {
                    break false;
                }
                let Some((place, keys)) = connections.next() else {
                    break true;
                };
                let own = keys.map(|key| hash(&state, &key));
                let both = own[0] ^ own[1].rotate_left(32) | 1;
                let known = &mut self.known[place as usize];
                if *known == both {
                    continue;
                }
                *known = both;
                for hash in &own[..of_connection(keys).count()] {
                    prefetch_at(&self.marks, *hash as usize & last);
                    hashes.push(*hash);
                }
            };
            for hash in hashes {
                // 0 is for places that are empty.
                let mark = (hash >> 32) as u32 | 1;
                let mut place = hash as usize & last;
                while self.marks[place] != 0 {
                    if self.marks[place] == mark {
                        return false;
                    }
                    place = (place + 1) & last;
                }
                self.marks[place] = mark;
                self.used += 1;
            }
            if is_over {
                return true;
            }
        }
    }
}

/// The hash of a key. Three numbers are quicker to hash than its fields.
#[inline(always)]
fn hash<A: Address>(state: &FixedState, key: &FlowKey<A>) -> u64 {
    let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
    let rest = u64::from(key.vpc.0) << 40 | u64::from(key.protocol) << 32 | ports;
    state.hash_one((rest, key.source.to_number(), key.destination.to_number()))
}

/// The keys of a connection. One that leads back to itself has one.
fn of_connection<A: PartialEq>(
    [original, reply]: [FlowKey<A>; 2],
) -> impl Iterator<Item = FlowKey<A>> {
    let other = (reply != original).then_some(reply);
    [Some(original), other].into_iter().flatten()
}

/// The keys that are there more than once, in order.
fn repeated<A: Address + Hash + Display>(keys: impl Iterator<Item = FlowKey<A>>) -> Vec<String> {
    let mut seen = HashSet::new();
    let repeated = keys.filter(|key| !seen.insert(*key));
    let mut repeated: Vec<String> = repeated.map(|key| key.to_string()).collect();
    // Not in the order of the table.
    repeated.sort();
    repeated
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use rewire_tables::VpcIndex;

    use super::*;

    fn key(number: u32) -> FlowKey<Ipv4Addr> {
        FlowKey {
            vpc: VpcIndex((number >> 12 & 1) as u16),
            protocol: 17,
            source: Ipv4Addr::from(0x0a00_0000 | number),
            destination: Ipv4Addr::new(198, 51, 100, 7),
            source_port: number as u16,
            destination_port: 53,
        }
    }

    /// Connections by their places; none where nobody is.
    type Table = Vec<Option<[u32; 2]>>;

    fn twice(seen: &mut Seen, table: &Table) -> Vec<String> {
        let number = table.iter().flatten().count();
        seen.twice((number, table.len()), || {
            let places = (0..).zip(table);
            places.filter_map(|(place, keys)| Some((place, keys.as_ref()?.map(key))))
        })
    }

    fn expected(table: &Table) -> Vec<String> {
        let keys = table.iter().flatten();
        let keys = keys.flat_map(|[one, other]| [Some(*one), (one != other).then_some(*other)]);
        let mut keys: Vec<u32> = keys.flatten().collect();
        keys.sort_unstable();
        let repeats = keys.windows(2).filter(|pair| pair[0] == pair[1]);
        let mut repeats: Vec<String> = repeats.map(|pair| key(pair[0]).to_string()).collect();
        repeats.sort();
        repeats
    }

    proptest! {
        /// Some come, some go, some are in another's place; few keys, so that some are there twice, and some come again.
        #[test]
        fn what_is_there_twice_is_found(
            changes in prop::collection::vec(
                prop::collection::vec((0..300_usize, prop::option::of([0..4_000_u32, 0..4_000])), 0..120),
                1..6,
            ),
            others in 0..1_000_u32,
        ) {
            let mut table: Table = vec![None; 300];
            table.extend((0..others).map(|other| Some([10_000 + other, 20_000 + other])));
            let mut seen = Seen::default();
            for some in changes {
                for (place, keys) in some {
                    table[place] = keys;
                }
                prop_assert_eq!(twice(&mut seen, &table), expected(&table));
                // Nothing has changed.
                prop_assert_eq!(twice(&mut seen, &table), expected(&table));
            }
        }
    }

    #[test]
    fn what_one_had_who_has_gone_another_may_have() {
        let mut seen = Seen::default();
        assert_eq!(
            twice(&mut seen, &vec![Some([1, 2]), None]),
            Vec::<String>::new()
        );
        assert_eq!(
            twice(&mut seen, &vec![None, Some([1, 2])]),
            Vec::<String>::new()
        );
        let found = twice(&mut seen, &vec![Some([3, 2]), Some([1, 2])]);
        assert_eq!(found, [key(2).to_string()]);
        // And it is found again.
        assert_eq!(twice(&mut seen, &vec![Some([3, 2]), Some([1, 2])]), found);
    }

    #[test]
    fn a_connection_to_itself_has_one_key() {
        assert_eq!(
            twice(&mut Seen::default(), &vec![Some([1, 1])]),
            Vec::<String>::new()
        );
    }
}
