//! The neighbors that were asked for last: most packets of a burst have one of few next hops.

use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;

use crate::graph::context::Context;
use crate::graph::family::Family;

/// The neighbors that were asked for last, under one generation of the tables.
pub(super) struct RecentNeighbors<A> {
    generation: u64,
    entries: Box<[Option<(InterfaceIndex, A, MacAddress)>; RECENT]>,
}

const RECENT: usize = 256;

impl<A: Family> RecentNeighbors<A> {
    pub(super) fn new() -> Self {
        RecentNeighbors {
            generation: 0,
            entries: Box::new([None; RECENT]),
        }
    }

    /// The MAC address of a neighbor, as [`Tables::neighbor`](rewire_tables::Tables::neighbor) says it.
    #[inline]
    pub(super) fn find(
        &mut self,
        cx: &Context<'_>,
        interface: InterfaceIndex,
        address: A,
    ) -> Option<MacAddress> {
        if self.generation != cx.tables.generation() {
            self.generation = cx.tables.generation();
            self.entries.fill(None);
        }
        let low = address.to_number() as u64;
        let place = (low ^ u64::from(interface.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let entry = &mut self.entries[place as usize];
        match entry {
            Some((known, at, mac)) if *known == interface && *at == address => Some(*mac),
            _ => {
                let mac = cx.tables.neighbor(interface, address.into())?;
                *entry = Some((interface, address, mac));
                Some(mac)
            }
        }
    }
}
