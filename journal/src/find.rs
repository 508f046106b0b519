//! The changes of a few rows in the bytes of a changeset, without reading the rest; and whether it touches what stands below
//! an object.

use std::collections::{BTreeMap, BTreeSet};

use rewire_schema::{Changeset, RowKey, Table, Value};

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
        key.clear();
        table.skip_change(&mut reader, |_, value| key.extend_from_slice(value))?;
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

/// An object with its parts, or all objects of a kind: the rows of some tables whose keys begin alike. Prepared for asking
/// many entries.
#[derive(Clone, Debug, Default)]
pub struct WantedBelow {
    tables: BTreeSet<Table>,
    /// The values that keys begin with, each as it is encoded.
    key_prefix: Vec<Vec<u8>>,
}

impl WantedBelow {
    /// The rows of these tables whose keys begin with these values, which are in their canonical form. No values are all rows
    /// of the tables; a table with fewer columns in its key has none that begin so.
    pub fn new(tables: &[Table], key_prefix: &[Value]) -> WantedBelow {
        let fits = |table: &&Table| table.definition().key_len() >= key_prefix.len();
        let encoded = |value: &Value| {
            let mut bytes = Vec::new();
            put_value(&mut bytes, value);
            bytes
        };
        WantedBelow {
            tables: tables.iter().filter(fits).copied().collect(),
            key_prefix: key_prefix.iter().map(encoded).collect(),
        }
    }

    /// Whether an encoded changeset changes one of the rows. Values are passed over without being read, as in [`find`]. Cost:
    /// the bytes up to the first such change; nothing where none of the tables occurs.
    ///
    /// # Errors
    ///
    /// As [`decode`](crate::decode), for what has to be read.
    pub fn is_touched_by(&self, encoded: &[u8]) -> Result<bool, JournalError> {
        let mut reader = Reader::new(encoded);
        let tables = read_tables(&mut reader)?;
        if !tables.iter().any(|t| self.tables.contains(&t.table)) {
            return Ok(false);
        }
        for _ in 0..reader.count()? {
            let index = reader.index()?;
            let table = tables
                .get(index)
                .ok_or_else(|| reader.malformed(NO_TABLE))?;
            let mut is_below = self.tables.contains(&table.table);
            // The columns of the key are a table's first.
            table.skip_change(&mut reader, |place, value| {
                is_below &= self
                    .key_prefix
                    .get(place)
                    .is_none_or(|wanted| wanted == value);
            })?;
            if is_below {
                return Ok(true);
            }
        }
        Ok(false)
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

    /// The oracle: read all, and look at each key.
    fn decode_and_look(
        encoded: &[u8],
        tables: &[Table],
        key_prefix: &[Value],
    ) -> Result<bool, JournalError> {
        let all = decode(encoded)?;
        let mut keys = all.iter().map(|change| change.row().row_key());
        Ok(keys.any(|key| tables.contains(&key.table()) && key.values().starts_with(key_prefix)))
    }

    /// Tables, and values that keys begin with: those of a row, or none.
    fn places() -> impl Strategy<Value = (Vec<Table>, Row, prop::sample::Index)> {
        let tables = prop::sample::subsequence(Table::ALL.to_vec(), 0..=Table::ALL.len());
        (tables, testing::row(), any::<prop::sample::Index>())
    }

    proptest! {
        #[test]
        fn looking_below_is_reading_and_comparing_keys(
            changeset in changeset(),
            (tables, other, length) in places(),
            of_it in any::<prop::sample::Index>(),
        ) {
            let encoded = encode(&changeset);
            let mut rows: Vec<&Row> = changeset.iter().map(Change::row).collect();
            rows.push(&other);
            for row in [of_it.get(&rows), &other] {
                let key = row.row_key().values();
                let prefix = &key[..length.index(key.len() + 1)];
                for tables in [&tables[..], &[row.table()], Table::ALL] {
                    let found = WantedBelow::new(tables, prefix).is_touched_by(&encoded);
                    prop_assert_eq!(found, decode_and_look(&encoded, tables, prefix));
                }
            }
        }

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
            let wanted: Vec<_> = keys.first().into_iter().map(|key| (key.table(), key.values())).collect();
            let below = wanted.first().map(|(table, key)| WantedBelow::new(&[*table], key).is_touched_by(&bytes));
            // Only the canonical form is searched for.
            if decode(&bytes).is_ok_and(|read| encode(&read) == bytes) {
                prop_assert_eq!(found, decode_and_filter(&bytes, &keys));
                let expected = wanted.first().map(|(table, key)| decode_and_look(&bytes, &[*table], key));
                prop_assert_eq!(below, expected);
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
        let below = |prefix: &[&str]| {
            let prefix: Vec<Value> = prefix
                .iter()
                .map(|text| Value::Text((*text).to_owned()))
                .collect();
            WantedBelow::new(Table::ALL, &prefix).is_touched_by(&bytes)
        };
        assert_eq!(below(&["blue"]), Ok(true));
        assert_eq!(below(&["blue", "10.0.0.0/8"]), Ok(true));
        assert_eq!(below(&["10.0.0.0/8"]), Ok(false));
        assert_eq!(below(&["blue", "wan"]), Ok(false));
    }
}
