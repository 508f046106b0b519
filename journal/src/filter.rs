//! A Bloom filter of the rows that a changeset touches: whether an entry can say anything about a row, without reading
//! the entry.
//!
//! ```text
//! filter   format:u8  bits                     bits: 10 for each row, rounded up to whole bytes, least significant first
//! hash     BLAKE3 of text(table name) value*   the key's values, as the encoding of changesets writes them
//! bit i    (word i of the hash, 32 bits, little-endian) · (number of bits) / 2³²        i from 0 to 6
//! ```
//!
//! Filters are stored beside the entries that they are of: for format 1 nothing of this may ever change.

use rewire_schema::{Changeset, RowKey, TableDefinition};

use crate::error::JournalError;
use crate::recorded::for_each_change;
use rewire_schema::RawValue;

use crate::wire::{put_text, put_value};

const FORMAT: u8 = 1;
const BITS_PER_ROW: usize = 10;
/// The number of bits that a row sets; the best for ten bits a row.
const BITS_OF_A_ROW: usize = 7;

/// The rows that a changeset touches, in ten bits each.
///
/// It never misses one ([`RowFilter::may_contain`] is true for each of them), and for a row that the changeset does not
/// touch it says so but once in about 120 times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFilter {
    bits: Vec<u8>,
}

/// A row as filters see it. Making it is most of the cost of asking, so that who asks many filters about one row makes it
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHash([u32; BITS_OF_A_ROW]);

impl RowHash {
    /// The hash of a row's table and key.
    pub fn of(key: &RowKey) -> RowHash {
        RowHash::with_buffer(key, &mut Vec::new())
    }

    fn with_buffer(key: &RowKey, buffer: &mut Vec<u8>) -> RowHash {
        let values = key.values();
        RowHash::of_values(
            key.table().definition(),
            values.iter().map(RawValue::from),
            buffer,
        )
    }

    pub(crate) fn of_values<'a>(
        table: &TableDefinition,
        key: impl Iterator<Item = RawValue<'a>>,
        buffer: &mut Vec<u8>,
    ) -> RowHash {
        buffer.clear();
        put_text(buffer, table.name);
        key.for_each(|value| put_value(buffer, value));
        let hash = blake3::hash(buffer);
        let (words, _) = hash.as_bytes().as_chunks::<4>();
        RowHash(std::array::from_fn(|index| {
            u32::from_le_bytes(words[index])
        }))
    }

    /// The places of the row's bits among `count`, which is not 0.
    fn places(self, count: usize) -> impl Iterator<Item = usize> {
        self.0
            .into_iter()
            // Below `count`, so that it fits.
            .map(move |word| ((u128::from(word) * count as u128) >> 32) as usize)
    }
}

impl RowFilter {
    /// The filter of the rows that a changeset touches. Cost: the changeset.
    pub fn of(changeset: &Changeset) -> RowFilter {
        let mut filter = RowFilter::for_rows(changeset.len());
        let mut buffer = Vec::new();
        for change in changeset.iter() {
            let key = change.row().row_key();
            filter.insert(RowHash::with_buffer(&key, &mut buffer));
        }
        filter
    }

    /// The filter of the rows that an encoded changeset touches, from its bytes: what [`RowFilter::of`] gives of a
    /// changeset and this of what [`encode`](crate::encode) gives of it is the same. Cost: the bytes.
    ///
    /// # Errors
    ///
    /// As [`decode`](crate::decode), but that values are not compared with what their columns take.
    pub fn of_encoded(bytes: &[u8]) -> Result<RowFilter, JournalError> {
        let mut hashes = Vec::new();
        let mut buffer = Vec::new();
        for_each_change(bytes, |change| {
            // The rows before and after have the same key.
            if let Some(row) = change.after.or(change.before) {
                let key = row[..change.definition.key_len()].iter().copied();
                hashes.push(RowHash::of_values(change.definition, key, &mut buffer));
            }
            Ok(())
        })?;
        Ok(RowFilter::of_hashes(&hashes))
    }

    /// The filter of the rows with these hashes.
    pub(crate) fn of_hashes(hashes: &[RowHash]) -> RowFilter {
        let mut filter = RowFilter::for_rows(hashes.len());
        hashes.iter().for_each(|hash| filter.insert(*hash));
        filter
    }

    /// An empty filter with room for so many rows.
    fn for_rows(count: usize) -> RowFilter {
        RowFilter {
            bits: vec![0; (count * BITS_PER_ROW).div_ceil(8)],
        }
    }

    fn insert(&mut self, hash: RowHash) {
        for place in hash.places(self.bits.len() * 8) {
            self.bits[place / 8] |= 1 << (place % 8);
        }
    }

    /// Whether the changeset may touch this row. False is certain.
    pub fn may_contain(&self, key: &RowKey) -> bool {
        self.may_contain_hash(RowHash::of(key))
    }

    /// As [`RowFilter::may_contain`], for a row that was hashed before.
    pub fn may_contain_hash(&self, hash: RowHash) -> bool {
        let count = self.bits.len() * 8;
        count > 0
            && hash
                .places(count)
                .all(|place| self.bits[place / 8] & (1 << (place % 8)) != 0)
    }

    /// The bytes that [`RowFilter::from_bytes`] reads: 1, and 1.25 for each row.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.bits.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.bits);
        bytes
    }

    /// Reads a filter. Cost: a copy of the bytes.
    ///
    /// # Errors
    ///
    /// [`JournalError::Filter`] where they are of no format that is known here.
    pub fn from_bytes(bytes: &[u8]) -> Result<RowFilter, JournalError> {
        match bytes {
            [FORMAT, bits @ ..] => Ok(RowFilter {
                bits: bits.to_vec(),
            }),
            other => Err(JournalError::Filter {
                found: other.first().copied(),
                ours: FORMAT,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rewire_schema::{Change, Row, Table, Value, testing};

    fn changeset() -> impl Strategy<Value = Changeset> {
        testing::configuration().prop_flat_map(|state| testing::changeset_on(&state))
    }

    proptest! {
        #[test]
        fn no_row_is_missed(changeset in changeset()) {
            let filter = RowFilter::of(&changeset);
            let read = RowFilter::from_bytes(&filter.to_bytes()).unwrap();
            for change in changeset.iter() {
                prop_assert!(read.may_contain(&change.row().row_key()));
            }
            prop_assert_eq!(read, filter.clone());
            prop_assert_eq!(RowFilter::of_encoded(&crate::encode(&changeset)), Ok(filter));
        }

        #[test]
        fn any_bytes_are_refused_or_asked(bytes in prop::collection::vec(any::<u8>(), 0..40), row in testing::row()) {
            if let Ok(filter) = RowFilter::from_bytes(&bytes) {
                filter.may_contain(&row.row_key());
                prop_assert_eq!(filter.to_bytes(), bytes);
            } else {
                prop_assert_ne!(bytes.first(), Some(&FORMAT));
            }
        }
    }

    fn vpc(name: &str) -> Row {
        let columns = Table::Vpc.definition().columns;
        let mut values = vec![Value::Null; columns.len()];
        values[0] = Value::Text(name.to_owned());
        Row::from_values(Table::Vpc, &values).unwrap()
    }

    fn filter_of(names: std::ops::Range<u32>) -> RowFilter {
        let inserts = names.map(|n| Change::Insert(vpc(&format!("vpc-{n}"))));
        RowFilter::of(&inserts.collect())
    }

    #[test]
    fn other_rows_are_seldom_taken_for_touched() {
        let filter = filter_of(0..2_000);
        let wrong = (2_000..22_000)
            .filter(|n| filter.may_contain(&vpc(&format!("vpc-{n}")).row_key()))
            .count();
        // (1 − e^(−7/10))^7 of 20,000 is 164.
        assert!((100..250).contains(&wrong), "{wrong} of 20,000");
    }

    #[test]
    fn nothing_is_in_the_filter_of_nothing() {
        let filter = RowFilter::of(&Changeset::default());
        assert!(!filter.may_contain(&vpc("blue").row_key()));
        assert_eq!(filter.to_bytes(), [FORMAT]);
    }

    #[test]
    fn unknown_formats_are_refused() {
        let error = |found| JournalError::Filter {
            found,
            ours: FORMAT,
        };
        assert_eq!(RowFilter::from_bytes(&[]), Err(error(None)));
        assert_eq!(RowFilter::from_bytes(&[2, 0]), Err(error(Some(2))));
    }

    /// Filters are stored: these bytes may never change.
    #[test]
    fn a_known_changeset_has_its_known_filter() {
        assert_eq!(filter_of(0..3).to_bytes(), [1, 102, 163, 138, 31]);
    }
}
