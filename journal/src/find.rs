//! The changes of a few rows in the bytes of a changeset, without reading the rest.

use std::collections::{BTreeMap, BTreeSet};

use rewire_schema::{Changeset, RowKey, Table};

use crate::error::JournalError;
use crate::filter::{RowFilter, RowHash};
use crate::recorded::{NO_TABLE, RecordedTable, read_tables};
use crate::wire::{Reader, put_value};

/// Rows that somebody asks a journal about, prepared for asking many entries.
#[derive(Clone, Debug, Default)]
pub struct WantedRows {
    tables: BTreeMap<Table, BTreeMap<RowKey, RowHash>>,
}

impl FromIterator<RowKey> for WantedRows {
    fn from_iter<T: IntoIterator<Item = RowKey>>(keys: T) -> Self {
        let mut wanted = WantedRows::default();
        for key in keys {
            let hash = RowHash::of(&key);
            let rows = wanted.tables.entry(key.table()).or_default();
            rows.insert(key, hash);
        }
        wanted
    }
}

impl WantedRows {
    /// Whether no row is wanted.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// No longer asks about a row.
    pub fn remove(&mut self, key: &RowKey) {
        if let Some(rows) = self.tables.get_mut(&key.table()) {
            rows.remove(key);
            if rows.is_empty() {
                self.tables.remove(&key.table());
            }
        }
    }

    /// Whether one of the rows may be touched by the changeset that the filter is of. False is certain.
    pub fn may_be_in(&self, filter: &RowFilter) -> bool {
        let mut hashes = self.tables.values().flat_map(|rows| rows.values());
        hashes.any(|hash| filter.may_contain_hash(*hash))
    }
}

/// The changes of the wanted rows in an encoded changeset: those that [`decode`](crate::decode) would give of them.
///
/// Values of other rows are passed over without being read, and nothing is allocated for them; what is wrong with them
/// is not found. Keys are compared in their canonical text, which is what [`encode`](crate::encode) writes. Cost: the
/// bytes up to the last wanted row; nothing where none of their tables occurs.
///
/// # Errors
///
/// As [`decode`](crate::decode), for what has to be read.
pub fn find(encoded: &[u8], wanted: &WantedRows) -> Result<Changeset, JournalError> {
    let mut reader = Reader::new(encoded);
    let tables = read_tables(&mut reader)?;
    let keys: Vec<BTreeSet<Vec<u8>>> = tables.iter().map(|t| wanted.keys_in(t)).collect();
    // A row is changed once at most.
    let mut missing: usize = keys.iter().map(BTreeSet::len).sum();
    let mut found = Vec::new();
    let mut key = Vec::new();
    for _ in 0..reader.count()? {
        if missing == 0 {
            break;
        }
        let index = reader.index()?;
        let table = tables
            .get(index)
            .ok_or_else(|| reader.malformed(NO_TABLE))?;
        let mut start = reader;
        table.skip_change(&mut reader, &mut key)?;
        if keys[index].contains(key.as_slice()) {
            found.push(table.read_change(&mut start, &mut table.space())?);
            missing -= 1;
        }
    }
    Ok(found.into_iter().collect())
}

impl WantedRows {
    /// The wanted keys of a table, as [`RecordedTable::skip_change`] gives them.
    fn keys_in(&self, table: &RecordedTable) -> BTreeSet<Vec<u8>> {
        let Some(rows) = self.tables.get(&table.table) else {
            return BTreeSet::new();
        };
        let encoded = |key: &RowKey| {
            let values = &key.values();
            let mut bytes = Vec::new();
            let recorded = table.columns.iter().filter_map(|place| values.get(*place));
            recorded.for_each(|value| put_value(&mut bytes, value));
            bytes
        };
        rows.keys().map(encoded).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{decode, encode};
    use proptest::prelude::*;
    use rewire_schema::{Change, Row, Value, testing};

    fn changeset() -> impl Strategy<Value = Changeset> {
        testing::configuration().prop_flat_map(|state| testing::changeset_on(&state))
    }

    /// The oracle: read all, keep what is wanted.
    fn decode_and_filter(encoded: &[u8], keys: &[RowKey]) -> Result<Changeset, JournalError> {
        let all = decode(encoded)?;
        let wanted = all.iter().filter(|c| keys.contains(&c.row().row_key()));
        Ok(wanted.cloned().collect())
    }

    proptest! {
        #[test]
        fn finding_is_reading_and_filtering(
            changeset in changeset(),
            others in prop::collection::vec(testing::row(), 0..6),
            of_it in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut keys: Vec<RowKey> = others.iter().map(Row::row_key).collect();
            let rows: Vec<RowKey> = changeset.iter().map(|c| c.row().row_key()).collect();
            if !rows.is_empty() {
                keys.extend(of_it.iter().map(|index| index.get(&rows).clone()));
            }
            let encoded = encode(&changeset);
            let mut wanted: WantedRows = keys.iter().cloned().collect();
            let expected = decode_and_filter(&encoded, &keys).unwrap();
            prop_assert!(expected.is_empty() || wanted.may_be_in(&RowFilter::of(&changeset)));
            prop_assert_eq!(find(&encoded, &wanted), Ok(expected));
            keys.iter().for_each(|key| wanted.remove(key));
            prop_assert!(wanted.is_empty());
            prop_assert_eq!(find(&encoded, &wanted), Ok(Changeset::default()));
        }

        /// What can be read at all, reads the same.
        #[test]
        fn damaged_bytes_are_refused_or_searched(
            changeset in changeset(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let keys: Vec<RowKey> = changeset.iter().map(|c| c.row().row_key()).collect();
            let mut bytes = encode(&changeset);
            for (index, byte) in damage {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let found = find(&bytes, &keys.iter().cloned().collect());
            // Only the canonical form is searched for.
            if decode(&bytes).is_ok_and(|read| encode(&read) == bytes) {
                prop_assert_eq!(found, decode_and_filter(&bytes, &keys));
            }
        }
    }

    /// Columns may be recorded in another order than the model has them today.
    #[test]
    fn a_row_is_found_whatever_the_order_of_its_columns() {
        let mut bytes = vec![1, 1];
        crate::wire::put_text(&mut bytes, "route_next_hop");
        let columns = ["position", "via", "prefix", "interface", "vpc"];
        bytes.push(columns.len() as u8);
        for column in columns {
            crate::wire::put_text(&mut bytes, column);
        }
        bytes.push(2);
        for position in 0..2 {
            bytes.extend([0, 0]);
            put_value(&mut bytes, &Value::Integer(position));
            put_value(&mut bytes, &Value::Null);
            for text in ["10.0.0.0/8", "wan", "blue"] {
                put_value(&mut bytes, &Value::Text(text.to_owned()));
            }
        }
        let all = decode(&bytes).unwrap();
        let second = all.iter().nth(1).unwrap();
        let wanted = [second.row().row_key()].into_iter().collect();
        let expected: Changeset = [second.clone()].into_iter().collect();
        assert_eq!(find(&bytes, &wanted), Ok(expected));
        assert!(matches!(second, Change::Insert(_)));
    }
}
