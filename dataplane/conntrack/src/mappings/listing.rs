//! How a mapping is found by its internal endpoint.
//!
//! One of its flows is *listed*: the first one, mostly. The packets of it that leave have a key that begins with the endpoint, and keys that
//! look as if a client had sent them (nearly all that do) have their home in the index by that end. So whoever is about to begin a flow of
//! the endpoint finds those that it has where the flow's own key goes, and nothing else has to be kept for that. A listed flow stays where it
//! is found.
//!
//! Where a flow is listed that is not found so, as its home was full or its port is the lower one, it is in an index *aside*, and counted as
//! missed where it would have been found. So who finds nothing there, and nothing missed, need not look aside.

use rewire_tables::{Address, VpcIndex};

use super::{Internal, Mappings, Use};
use crate::index::Spot;
use crate::records::{Records, entry, flag, slot_and_direction};

impl<A: Address> Mappings<A> {
    /// The listed flow of the mapping that an internal endpoint has.
    pub(crate) fn first(
        &self,
        records: &Records<A>,
        internal: &Internal<A>,
        external_vpc: VpcIndex,
    ) -> Option<u32> {
        let spot = records.spot_near(internal);
        self.first_at(records, spot, internal, external_vpc)
    }

    /// As [`first`](Self::first), where the keys of its flows are.
    #[inline(always)]
    pub(super) fn first_at(
        &self,
        records: &Records<A>,
        spot: Spot,
        internal: &Internal<A>,
        external_vpc: VpcIndex,
    ) -> Option<u32> {
        match records.index().has_nothing_near(spot) {
            true => None,
            false => self.first_of_some(records, spot, *internal, external_vpc),
        }
    }

    /// As [`first_at`](Self::first_at), where there is something with some of the hash.
    #[inline(never)]
    fn first_of_some(
        &self,
        records: &Records<A>,
        spot: Spot,
        internal: Internal<A>,
        external_vpc: VpcIndex,
    ) -> Option<u32> {
        let is_it = |slot| {
            let of = Use::of(records, slot);
            of.internal == internal && of.external_vpc == external_vpc
        };
        let is_listed = |entry| {
            let (slot, _) = slot_and_direction(entry);
            records.used(slot).has(flag::LISTED) && is_it(slot)
        };
        let index = records.index();
        match index.find_near(spot, is_listed) {
            Some(entry) => Some(slot_and_direction(entry).0),
            None if index.misses(spot) => self.aside.find(self.hash_aside(&internal), is_it),
            None => None,
        }
    }

    fn hash_aside(&self, internal: &Internal<A>) -> u64 {
        self.hash.hash_endpoint(internal)
    }

    /// Asks for what says whether a mapping is found aside.
    #[inline(never)]
    pub(super) fn prefetch_aside(&self, records: &Records<A>, internal: Internal<A>) {
        records.index().prefetch(records.spot_near(&internal));
        self.aside.prefetch(self.hash_aside(&internal));
    }

    /// Lists a flow, with these spots of its keys, if they are known: it is found by the endpoint of its mapping from now on, unless there is no
    /// room.
    #[inline(always)]
    pub(super) fn list(&mut self, records: &mut Records<A>, slot: u32, spots: Option<[Spot; 2]>) {
        match Self::is_found_at_home(records, slot, spots) {
            true => records.used_mut(slot).set(flag::LISTED, true),
            false => self.list_aside(records, slot),
        }
    }

    /// Whether the key of the packets that leave is where the endpoint is looked for.
    #[inline(always)]
    fn is_found_at_home(records: &Records<A>, slot: u32, spots: Option<[Spot; 2]>) -> bool {
        let leaving = records.leaving(slot);
        let key = records.used(slot).key(leaving);
        let spot = match spots {
            Some(spots) => spots[leaving as usize],
            None => records.spot(key),
        };
        key.is_from_client() && records.index().is_at_home(spot, entry(slot, leaving))
    }

    /// As [`list`](Self::list), of a flow that would not be found where its key is.
    #[inline(never)]
    pub(crate) fn list_aside(&mut self, records: &mut Records<A>, slot: u32) {
        let internal = Use::of(records, slot).internal;
        let (hash, hasher) = (self.hash_aside(&internal), &self.hash);
        let hash_of = |other| Some(hasher.hash_endpoint(&Use::of(records, other).internal));
        let is_listed = self.aside.insert(hash, slot, hash_of);
        if is_listed {
            records.count_missed(records.spot_near(&internal), true);
        }
        records.used_mut(slot).set(flag::LISTED, is_listed);
    }

    /// The opposite, for a flow that may be listed; `at_home` tells which of its keys are, or were, at home.
    #[inline(always)]
    pub(super) fn unlist(&mut self, records: &mut Records<A>, slot: u32, at_home: [bool; 2]) {
        let record = records.used(slot);
        if record.has(flag::LISTED) {
            let leaving = records.leaving(slot);
            let is_found_at_home =
                at_home[leaving as usize] && record.key(leaving).is_from_client();
            records.used_mut(slot).set(flag::LISTED, false);
            if !is_found_at_home {
                self.leave_aside(records, slot);
            }
        }
    }

    /// The opposite, for one that is listed and stays.
    pub(super) fn unlist_staying(&mut self, records: &mut Records<A>, slot: u32) {
        let is_found = Self::is_found_at_home(records, slot, None);
        self.unlist(records, slot, [is_found; 2]);
    }

    #[inline(never)]
    fn leave_aside(&mut self, records: &mut Records<A>, slot: u32) {
        let internal = Use::of(records, slot).internal;
        self.aside.remove(self.hash_aside(&internal), slot);
        records.count_missed(records.spot_near(&internal), false);
    }
}
