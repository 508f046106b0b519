//! What the tables hold for one entity.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rewire_tables::TableOperation;

/// An entry of the tables, as the operation that sets it.
pub(crate) type Entry = TableOperation;

/// The entries of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// At most one.
    One(Option<Entry>),
    /// Any number, told apart by what they are for.
    Many(BTreeMap<Slot, Entry>),
}

/// What one of several entries is for: an external address, and for a port forward a protocol and a port. For a masquerade of
/// a peering, the senders' prefix: its address and its length.
pub(crate) type Slot = (IpAddr, u8, u16);

impl Entries {
    pub(crate) const NONE: Entries = Entries::One(None);

    fn into_slots(self) -> BTreeMap<Slot, Entry> {
        match self {
            Entries::One(_) => BTreeMap::new(),
            Entries::Many(entries) => entries,
        }
    }
}

/// Each entry of an entity as it was, with the one that it is now.
pub(crate) fn pairs(
    before: Entries,
    after: Entries,
) -> impl Iterator<Item = (Option<Entry>, Option<Entry>)> {
    let (one, many) = match (before, after) {
        (Entries::One(before), Entries::One(after)) => (Some((before, after)), None),
        (before, after) => (None, Some((before.into_slots(), after.into_slots()))),
    };
    let many = many.into_iter().flat_map(|(before, mut after)| {
        let mut pairs: Vec<_> = before
            .into_iter()
            .map(|(slot, entry)| (Some(entry), after.remove(&slot)))
            .collect();
        pairs.extend(after.into_values().map(|entry| (None, Some(entry))));
        pairs
    });
    one.into_iter().chain(many)
}
