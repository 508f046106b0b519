//! Looking packets up in a classifier, one at a time.

use crate::acl::block::Packet;
use crate::acl::classifier::Classifier;
use crate::acl::code_path::Portable;
use crate::acl::key::AclKey;
use crate::acl::table::{UPPER_KINDS, destination_hash, source_hash, upper_hash};
use crate::acl::{AclFamily, Bits};

/// The most lengths of address prefixes that tables can have.
pub(super) const LENGTHS: usize = 17;
/// The rank of no box.
pub(super) const NO_RANK: u64 = u64::MAX;

/// The positions of the bits that are set.
#[inline(always)]
pub(super) fn positions(mut set: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (set != 0).then(|| {
            let position = set.trailing_zeros() as usize;
            set &= set - 1;
            position
        })
    })
}

impl<N: Bits> Classifier<N> {
    /// The [rank](crate::acl::block::Block::rank) of the first box that a packet matches, or [`NO_RANK`].
    pub(super) fn search<A: AclFamily<Bits = N>>(&self, key: &AclKey<A>) -> u64 {
        let packet = Packet::of(key);
        let mut best = NO_RANK;
        if self.is_small() {
            for (index, _) in self.blocks.iter() {
                best = best.min(self.rank_in::<A, Portable>(index, &packet, key).0);
            }
            return best;
        }
        let mut sources = [0; LENGTHS];
        let mut destinations = [0; LENGTHS];
        let mut uppers = [0; UPPER_KINDS];
        for length in positions(self.sources) {
            sources[length] = source_hash(key.source.bits(), length as u8);
        }
        for length in positions(self.destinations) {
            destinations[length] = destination_hash(key.destination.bits(), length as u8);
        }
        for kind in positions(self.uppers) {
            uppers[kind] = upper_hash(
                kind,
                key.protocol.into(),
                key.source_port,
                key.destination_port,
            );
        }
        for &index in &self.order {
            let table = &self.tables[usize::from(index)];
            if best >> 32 <= u64::from(table.first) {
                break;
            }
            let tuple = table.tuple;
            let hash = sources[usize::from(tuple.source)]
                ^ destinations[usize::from(tuple.destination)]
                ^ uppers[tuple.upper_kind()];
            if table.may_hold(hash) {
                best = best.min(self.rank_in_chain::<A, Portable>(table.head(hash), &packet, key));
            }
        }
        best
    }
}
