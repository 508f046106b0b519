//! What is kept beside changesets in short, made anew from their bytes.

use rewire_schema::{Row, RowError, Table, Value};

use crate::digest::{RowHasher, StateDigest};
use crate::error::JournalError;
use crate::filter::{RowFilter, RowHash};
use crate::recorded::for_each_change;
use rewire_schema::RawValue;

/// The digest of a state, followed through encoded changesets, which are read value by value on the way: that each is what
/// its column takes, and spelled as this program spells it.
#[derive(Debug)]
pub struct Recount {
    digest: StateDigest,
    hasher: RowHasher,
    spelling: Spelling,
    buffer: Vec<u8>,
    hashes: Vec<RowHash>,
}

/// What an encoded changeset says, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The number of new rows.
    pub inserted: u64,
    /// The number of rows with other values.
    pub updated: u64,
    /// The number of rows that are gone.
    pub deleted: u64,
    /// The filter of all of them.
    pub filter: RowFilter,
}

impl Recount {
    /// From a state with this digest on.
    pub fn from(digest: StateDigest) -> Recount {
        Recount {
            digest,
            hasher: RowHasher::new(),
            spelling: Spelling::default(),
            buffer: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// The digest of the state that was reached.
    pub fn digest(&self) -> StateDigest {
        self.digest
    }

    /// Follows the next changeset. Cost: its bytes; no row is made. After an error, nothing more can be followed.
    ///
    /// # Errors
    ///
    /// As [`decode`](crate::decode), but that no two changes are compared; and [`JournalError::Spelling`].
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Summary, JournalError> {
        let Recount {
            digest,
            hasher,
            spelling,
            buffer,
            hashes,
        } = self;
        hashes.clear();
        let (mut inserted, mut updated, mut deleted) = (0, 0, 0);
        for_each_change(bytes, |change| {
            let (table, definition) = (change.table, change.definition);
            for values in [change.before, change.after].into_iter().flatten() {
                spelling.expect(table, values)?;
            }
            if let Some(before) = change.before {
                digest.remove_hash(hasher.hash_values(definition, before.iter().copied()));
            }
            if let Some(after) = change.after {
                digest.add_hash(hasher.hash_values(definition, after.iter().copied()));
            }
            match (change.before, change.after) {
                (None, _) => inserted += 1,
                (Some(_), Some(_)) => updated += 1,
                (Some(_), None) => deleted += 1,
            }
            // The rows before and after have the same key.
            if let Some(row) = change.after.or(change.before) {
                let key = row[..definition.key_len()].iter().copied();
                hashes.push(RowHash::of_values(definition, key, buffer));
            }
            Ok(())
        })?;
        Ok(Summary {
            inserted,
            updated,
            deleted,
            filter: RowFilter::of_hashes(hashes),
        })
    }

    /// Puts a row in, by the values of its table's columns. Cost: the row.
    ///
    /// # Errors
    ///
    /// [`JournalError::Row`] and [`JournalError::Spelling`], as [`Recount::follow`].
    pub fn add(&mut self, table: Table, values: &[RawValue<'_>]) -> Result<(), JournalError> {
        self.spelling.expect(table, values)?;
        let hash = self
            .hasher
            .hash_values(table.definition(), values.iter().copied());
        self.digest.add_hash(hash);
        Ok(())
    }
}

/// Whether values are what their columns take, and written as they are stored. Rows that follow each other have much in
/// common: a value that is the last one of its column again is not looked at twice.
#[derive(Debug, Default)]
struct Spelling {
    /// For each column of each table, the last text that was good.
    good: Vec<Vec<String>>,
}

impl Spelling {
    fn expect(&mut self, table: Table, values: &[RawValue<'_>]) -> Result<(), JournalError> {
        let definition = table.definition();
        let number = table as usize;
        if self.good.len() <= number {
            self.good.resize(number + 1, Vec::new());
        }
        let good = &mut self.good[number];
        good.resize(definition.columns.len(), String::new());
        for ((value, column), good) in values.iter().zip(definition.columns).zip(good) {
            if let RawValue::Text(text) = value {
                // At first, none was good.
                if text == good && !good.is_empty() {
                    continue;
                }
                if (column.is_canonical_text)(text) {
                    good.clear();
                    good.push_str(text);
                    continue;
                }
            }
            let value = Value::from(*value);
            let canonical = (column.canonical)(&value).map_err(|reason| RowError::Value {
                table: definition.name,
                column: column.name,
                reason,
            })?;
            if canonical != value {
                return Err(JournalError::Spelling {
                    table: definition.name,
                    column: column.name,
                    found: value,
                    canonical,
                });
            }
        }
        match values.last() {
            None | Some(RawValue::Null) => Ok(()),
            Some(_) => expect_row(table, values),
        }
    }
}

/// The last column has the marks of single fields, which are good or not by the values of the others. They are rare: the whole
/// row is read.
#[cold]
fn expect_row(table: Table, values: &[RawValue<'_>]) -> Result<(), JournalError> {
    let values: Vec<Value> = values.iter().copied().map(Value::from).collect();
    let row = Row::from_values(table, &values)?;
    let definition = table.definition();
    let canonical = row.values().into_iter();
    for ((canonical, found), column) in canonical.zip(values).zip(definition.columns) {
        if canonical != found {
            return Err(JournalError::Spelling {
                table: definition.name,
                column: column.name,
                found,
                canonical,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode;
    use proptest::prelude::*;
    use rewire_schema::{Change, Changeset, Configuration, Row, testing};

    proptest! {
        #[test]
        fn a_recount_is_what_was_counted(
            (before, changeset) in testing::configuration()
                .prop_flat_map(|state| (Just(state.clone()), testing::changeset_on(&state)))
        ) {
            let mut recount = Recount::from(StateDigest::EMPTY);
            for row in before.rows() {
                let values = row.values();
                let values: Vec<_> = values.iter().map(RawValue::from).collect();
                prop_assert_eq!(recount.add(row.table(), &values), Ok(()));
            }
            prop_assert_eq!(recount.digest(), StateDigest::of(&before));
            let of = |kind: fn(&Change) -> bool| changeset.iter().filter(|change| kind(change)).count() as u64;
            let expected = Summary {
                inserted: of(|change| matches!(change, Change::Insert(_))),
                updated: of(|change| matches!(change, Change::Update { .. })),
                deleted: of(|change| matches!(change, Change::Delete(_))),
                filter: RowFilter::of(&changeset),
            };
            prop_assert_eq!(recount.follow(&encode(&changeset)), Ok(expected));
            let mut after = before;
            after.apply(&changeset).unwrap();
            prop_assert_eq!(recount.digest(), StateDigest::of(&after));
        }

        /// What is read without a complaint is what it says: writing it gives the same bytes, where nothing but a value was
        /// changed.
        #[test]
        fn damaged_values_are_refused_or_good(
            state in testing::configuration(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        ) {
            let whole = encode(&Changeset::between(&Configuration::default(), &state));
            let mut bytes = whole.clone();
            for (index, byte) in damage {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            let mut recount = Recount::from(StateDigest::EMPTY);
            if let (Ok(_), Ok(read)) = (recount.follow(&bytes), crate::decode(&bytes)) {
                let mut digest = StateDigest::EMPTY;
                digest.apply(&read);
                prop_assert_eq!(recount.digest(), digest);
            }
        }
    }

    #[test]
    fn another_spelling_of_a_value_is_told() {
        let columns = Table::InterfaceAddress.definition().columns.len();
        let mut values = vec![Value::Null; columns];
        values[0] = Value::Text("wan".to_owned());
        values[1] = Value::Text("2001:db8::1/64".to_owned());
        let row = Row::from_values(Table::InterfaceAddress, &values).unwrap();
        let mut bytes = encode(&[Change::Insert(row)].into_iter().collect());
        let at = bytes
            .windows(3)
            .position(|window| window == b"db8")
            .unwrap();
        bytes[at + 1] = b'B';
        let error = Recount::from(StateDigest::EMPTY)
            .follow(&bytes)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "table interface_address, column address: 2001:dB8::1/64 is not written as 2001:db8::1/64"
        );
        bytes[at] = b'x';
        let error = Recount::from(StateDigest::EMPTY)
            .follow(&bytes)
            .unwrap_err();
        assert!(matches!(error, JournalError::Row(_)), "{error}");
    }
}
