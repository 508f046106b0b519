//! Looking packets up in a classifier, one at a time.

use crate::acl::classifier::{Classifier, Entry};
use crate::acl::key::AclKey;
use crate::acl::table::{UPPER_KINDS, destination_hash, source_hash, upper_hash};
use crate::acl::{AclFamily, Bits};

/// The most lengths of address prefixes that tables can have.
pub(super) const LENGTHS: usize = 17;

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
    /// The entry of the first rule that a packet matches.
    pub(super) fn search<A: AclFamily<Bits = N>>(&self, key: &AclKey<A>) -> Option<&Entry<N>> {
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
            uppers[kind] = upper_hash(kind, key.protocol, key.source_port, key.destination_port);
        }
        let mut best: Option<&Entry<N>> = None;
        for &index in &self.order {
            let table = &self.tables[usize::from(index)];
            let limit = best.map(|best| best.sequence);
            if limit.is_some_and(|limit| limit <= table.first) {
                break;
            }
            let tuple = table.tuple;
            let hash = sources[usize::from(tuple.source)]
                ^ destinations[usize::from(tuple.destination)]
                ^ uppers[tuple.upper_kind()];
            if table.may_hold(hash)
                && let Some(found) = self.first_in_chain(table.head(hash), key, limit)
            {
                best = Some(found);
            }
        }
        best
    }
}
