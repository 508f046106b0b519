//! What connections are found by: both of their keys; and for the first one of a mapping's flows, the internal endpoint, which the key of
//! the packets that leave by the mapping begins with.

use foldhash::fast::FixedState;
use rewire_tables::Address;

use super::{Place, Records, flag};
use crate::index::{Claim, Home, Index, Spot};
use crate::key::{Direction, FlowKey};
use crate::key_hash::KeyHasher;
use crate::mappings::Internal;

/// The number that a key of a connection has in the index.
#[inline(always)]
pub(crate) fn entry(slot: u32, direction: Direction) -> u32 {
    slot * 2 + direction as u32
}

/// Of which connection such a number is, and of which key.
#[inline(always)]
pub(crate) fn slot_and_direction(entry: u32) -> (u32, Direction) {
    let direction = if entry & 1 == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    (entry / 2, direction)
}

/// The index of all keys.
#[derive(Debug)]
pub(super) struct Keys {
    index: Index,
    hash: KeyHasher,
}

impl Keys {
    pub(super) fn new(capacity: usize, seed: &FixedState) -> Self {
        Keys {
            index: Index::new(2 * capacity).touched().counting_crowds(seed),
            hash: KeyHasher::new(seed),
        }
    }
}

impl<A: Address> Place<A> {
    /// Which way those packets go whose sources the mapping translates.
    #[inline(always)]
    fn leaving(&self) -> Direction {
        match self.record.has(flag::OPEN) && self.account.is_joined() {
            false => Direction::Original,
            true => Direction::Reply,
        }
    }
}

impl<A: Address> Records<A> {
    /// The index of keys, to be asked.
    #[inline(always)]
    pub(crate) fn index(&self) -> &Index {
        &self.keys.index
    }

    /// Where the index has a key.
    #[inline(always)]
    pub(crate) fn spot(&self, key: &FlowKey<A>) -> Spot {
        self.keys.index.spot(self.keys.hash.hash(key))
    }

    /// Where the index has the keys that begin with an internal endpoint, if they are at home, and
    /// [a client's](FlowKey::is_from_client).
    #[inline(always)]
    pub(crate) fn spot_near(&self, internal: &Internal<A>) -> Spot {
        let hash = self.keys.hash.hash_internal(internal);
        self.keys.index.spot(hash)
    }

    /// Adds a key to the index that nobody else has, as nobody has its hash: see [`Index::claim_alone`].
    #[inline(always)]
    pub(crate) fn claim_alone(&mut self, spot: Spot, entry: u32) -> Claim {
        let Keys { index, hash } = &mut self.keys;
        let hash_of = |entry| hash_of(self.places.get(entry as usize / 2), entry, hash);
        index.claim_alone(spot, entry, hash_of)
    }

    /// As [`claim_alone`](Self::claim_alone), where its home was looked at: see [`Index::look_at_home`].
    #[inline(always)]
    pub(crate) fn claim_where_looked(&mut self, at: (Spot, Home), entry: u32) -> Claim {
        let Keys { index, hash } = &mut self.keys;
        let hash_of = |entry| hash_of(self.places.get(entry as usize / 2), entry, hash);
        index.claim_where_looked(at, entry, hash_of)
    }

    /// Adds a key to the index, unless another connection has it. False where one has, or there is no room.
    #[must_use]
    pub(crate) fn claim(&mut self, spot: Spot, own: u32, key: &FlowKey<A>) -> bool {
        let Keys { index, hash } = &mut self.keys;
        let places = &self.places;
        let has = |found| {
            let (slot, direction) = slot_and_direction(found);
            slot != own / 2 && places[slot as usize].record.key(direction) == key
        };
        let hash_of = |entry| hash_of(places.get(entry as usize / 2), entry, hash);
        index.claim(spot, own, has, hash_of)
    }

    /// Takes a key out of the index. Whether it was at home.
    #[inline(always)]
    pub(crate) fn unclaim(&mut self, spot: Spot, entry: u32) -> bool {
        self.keys.index.remove(spot, entry)
    }

    /// See [`Index::count_missed`].
    pub(crate) fn count_missed(&mut self, spot: Spot, is: bool) {
        self.keys.index.count_missed(spot, is);
    }

    /// Which way those packets of the connection in a slot go whose sources its mapping translates.
    #[inline(always)]
    pub(crate) fn leaving(&self, slot: u32) -> Direction {
        self.places[slot as usize].leaving()
    }
}

/// The hash of a key in the index, if it may be moved: it has to stay where an internal endpoint finds it, and where it is not yet known.
fn hash_of<A: Address>(place: Option<&Place<A>>, entry: u32, hash: &KeyHasher) -> Option<u64> {
    let place = place.filter(|place| place.record.reuse & 1 == 1)?;
    let (_, direction) = slot_and_direction(entry);
    let key = place.record.key(direction);
    let is_listed = place.record.has(flag::LISTED) && place.leaving() == direction;
    let stays = is_listed && key.is_from_client();
    (!stays).then(|| hash.hash(key))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use rewire_tables::VpcIndex;

    use super::*;
    use crate::records::Record;

    fn record(source_port: u16, flags: u8) -> Record<Ipv4Addr> {
        let original = FlowKey {
            vpc: VpcIndex(1),
            protocol: 17,
            source: Ipv4Addr::new(10, 0, 0, 1),
            destination: Ipv4Addr::new(10, 0, 0, 2),
            source_port,
            destination_port: 53,
        };
        Record::with_keys([original, original.reversed(VpcIndex(2))], flags)
    }

    #[test]
    fn keys_stay_that_an_endpoint_is_found_by() {
        let mut records = Records::new(4, &FixedState::with_seed(1));
        let moves = |records: &Records<Ipv4Addr>, slot| {
            [Direction::Original, Direction::Reply].map(|direction| {
                let entry = entry(slot, direction);
                let hash = hash_of(records.places.get(slot as usize), entry, &records.keys.hash);
                let place = records.places.get(slot as usize);
                let own = place.map(|place| records.keys.hash.hash(place.record.key(direction)));
                assert!(hash.is_none() || hash == own);
                hash.is_some()
            })
        };
        // Nobody knows yet what is in a slot that was claimed just now, be it the first time or again.
        assert_eq!(moves(&records, 0), [false, false]);
        let (id, _) = records.insert(record(5000, flag::MAPPED)).unwrap();
        assert_eq!(moves(&records, id.slot), [true, true]);
        records.free(id.slot);
        assert_eq!(moves(&records, id.slot), [false, false]);
        // Of a listed one, the key of the packets that leave, if it is a client's.
        let listed = flag::MAPPED | flag::LISTED;
        let (client, _) = records.insert(record(5000, listed)).unwrap();
        assert_eq!(moves(&records, client.slot), [false, true]);
        let (server, _) = records.insert(record(52, listed)).unwrap();
        assert_eq!(moves(&records, server.slot), [true, true]);
        let joined = record(52, listed | flag::OPEN);
        let (joined, account) = records.insert(joined).unwrap();
        account.set_joined();
        assert_eq!(moves(&records, joined.slot), [true, false]);
    }
}
