//! The bytes of a changeset, format 1.
//!
//! ```text
//! changeset  format:u8  tables:list(table)  changes:list(change)
//! table      name:text  columns:list(text)                        the tables that occur, in the changes' order
//! change     table:varint(index)  0 row                           insert
//!            table:varint(index)  1 row  list(changed)            update: the row before, and what is different after
//!            table:varint(index)  2 row                           delete
//! row        a value for each of the table's columns, in the order given above
//! changed    column:varint(index)  value                          ascending, never of the key, never the same value
//! value      0                                                    NULL
//!            1 varint                                             integer, zigzag
//!            2 text
//! list(x)    varint(length) x*
//! text       varint(length in bytes) UTF-8
//! varint     unsigned LEB128, shortest form
//! ```
//!
//! Equal changesets have equal bytes. The order of tables and columns is that of the model at the time of writing.

use rewire_schema::{Change, Changeset, Table, Value};

use crate::error::JournalError;
use crate::recorded::{
    DELETE, FORMAT, INSERT, NO_TABLE, RecordedTable, TRAILING, UPDATE, read_tables,
};
use crate::wire::{Reader, put_text, put_value, put_varint};

/// The bytes of a changeset. Equal changesets have equal bytes. Cost: the changeset.
pub fn encode(changeset: &Changeset) -> Vec<u8> {
    let mut tables: Vec<Table> = Vec::new();
    // Changes are ordered by table, so a table that is not the last one seen is new.
    for table in changeset.iter().map(|change| change.row().table()) {
        if tables.last() != Some(&table) {
            tables.push(table);
        }
    }
    let mut out = vec![FORMAT];
    put_varint(&mut out, tables.len() as u64);
    for table in &tables {
        let definition = table.definition();
        put_text(&mut out, definition.name);
        put_varint(&mut out, definition.columns.len() as u64);
        for column in definition.columns {
            put_text(&mut out, column.name);
        }
    }
    put_varint(&mut out, changeset.len() as u64);
    let mut index = 0;
    for change in changeset.iter() {
        if tables[index] != change.row().table() {
            index += 1;
        }
        put_varint(&mut out, index as u64);
        match change {
            Change::Insert(row) => {
                out.push(INSERT);
                row.values()
                    .iter()
                    .for_each(|value| put_value(&mut out, value));
            }
            Change::Delete(row) => {
                out.push(DELETE);
                row.values()
                    .iter()
                    .for_each(|value| put_value(&mut out, value));
            }
            Change::Update { before, after } => {
                out.push(UPDATE);
                let before = before.values();
                before.iter().for_each(|value| put_value(&mut out, value));
                let after = after.values();
                let changed = || {
                    (0..)
                        .zip(before.iter().zip(&after))
                        .filter(|(_, (b, a))| b != a)
                };
                put_varint(&mut out, changed().count() as u64);
                for (column, (_, after)) in changed() {
                    put_varint(&mut out, column);
                    put_value(&mut out, after);
                }
            }
        }
    }
    out
}

/// Reads a changeset from its bytes. Any bytes may be given; memory stays within a constant factor of their length.
///
/// Columns that were added to the model since the bytes were written are read as NULL. Cost: the changeset.
///
/// # Errors
///
/// Every variant of [`JournalError`] but [`JournalError::Chain`].
pub fn decode(bytes: &[u8]) -> Result<Changeset, JournalError> {
    let mut reader = Reader::new(bytes);
    let tables = read_tables(&mut reader)?;
    let count = reader.count()?;
    let mut changes = Changes {
        spaces: tables.iter().map(RecordedTable::space).collect(),
        tables,
        reader,
        left: count,
        error: None,
    };
    let changeset: Changeset = changes.by_ref().collect();
    let Changes { reader, error, .. } = changes;
    if let Some(error) = error {
        return Err(error);
    }
    if !reader.is_empty() {
        return Err(reader.malformed(TRAILING));
    }
    if changeset.len() != count {
        return Err(reader.malformed("a row is changed twice"));
    }
    Ok(changeset)
}

/// Reads changes in turn. An iterator that says how many there are, so that they are gathered in one piece.
struct Changes<'a> {
    reader: Reader<'a>,
    tables: Vec<RecordedTable>,
    spaces: Vec<Vec<Value>>,
    /// How many are said to follow.
    left: usize,
    /// Why the iterator ended early.
    error: Option<JournalError>,
}

impl Changes<'_> {
    fn read(&mut self) -> Result<Change, JournalError> {
        let index = self.reader.index()?;
        let (Some(table), Some(space)) = (self.tables.get(index), self.spaces.get_mut(index))
        else {
            return Err(self.reader.malformed(NO_TABLE));
        };
        table.read_change(&mut self.reader, space)
    }
}

impl Iterator for Changes<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        if self.left == 0 || self.error.is_some() {
            return None;
        }
        self.left -= 1;
        self.read().map_err(|error| self.error = Some(error)).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Whatever the bytes claim, a change takes three at least: its table, what it is, and a value.
        (self.left.min(self.reader.remaining() / 3), Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rewire_schema::{Row, testing};

    fn changeset() -> impl Strategy<Value = Changeset> {
        testing::configuration().prop_flat_map(|state| testing::changeset_on(&state))
    }

    fn vpc_header(name: &str, columns: &[&str]) -> Vec<u8> {
        let mut out = vec![FORMAT, 1];
        put_text(&mut out, name);
        put_varint(&mut out, columns.len() as u64);
        columns.iter().for_each(|column| put_text(&mut out, column));
        out
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(changeset in changeset()) {
            prop_assert_eq!(decode(&encode(&changeset)), Ok(changeset));
        }

        #[test]
        fn bytes_are_equal_just_where_changesets_are(a in changeset(), b in changeset()) {
            // The other order of insertion must not show.
            let reversed: Changeset = a.iter().rev().cloned().collect();
            prop_assert_eq!(encode(&reversed), encode(&a));
            prop_assert_eq!(encode(&a) == encode(&b), a == b);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        /// Damaged bytes get further into the decoder than random ones. What they still say, they say stably.
        #[test]
        fn damaged_bytes_are_refused_or_read(
            changeset in changeset(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = encode(&changeset);
            let mut bytes = whole.clone();
            for (index, byte) in damage {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(read) = decode(&bytes) {
                prop_assert_eq!(decode(&encode(&read)), Ok(read));
            }
            let cut = cut.index(whole.len());
            prop_assert!(decode(&whole[..cut]).is_err());
        }
    }

    #[test]
    fn huge_counts_do_not_allocate() {
        let mut bytes = vec![FORMAT];
        put_varint(&mut bytes, u64::MAX >> 1);
        assert_eq!(
            decode(&bytes),
            Err(JournalError::Truncated {
                offset: bytes.len()
            })
        );
        let mut bytes = vec_of_text_longer_than_its_bytes();
        assert!(matches!(
            decode(&bytes),
            Err(JournalError::Truncated { .. })
        ));
        bytes.clear();
        assert_eq!(decode(&bytes), Err(JournalError::Truncated { offset: 0 }));
    }

    fn vec_of_text_longer_than_its_bytes() -> Vec<u8> {
        let mut bytes = vec![FORMAT, 1];
        put_varint(&mut bytes, u64::from(u32::MAX));
        bytes
    }

    #[test]
    fn what_the_model_does_not_know_is_named() {
        assert_eq!(
            decode(&vpc_header("vrf", &["name"])),
            Err(JournalError::UnknownTable {
                table: "vrf".into()
            })
        );
        assert_eq!(
            decode(&vpc_header("vpc", &["name", "colour"])),
            Err(JournalError::UnknownColumn {
                table: "vpc",
                column: "colour".into()
            })
        );
        assert_eq!(
            decode(&vpc_header("vpc", &["description"])),
            Err(JournalError::MissingColumn {
                table: "vpc",
                column: "name"
            })
        );
        assert_eq!(
            decode(&[9]),
            Err(JournalError::Format {
                found: 9,
                ours: FORMAT
            })
        );
    }

    #[test]
    fn an_entry_from_before_a_nullable_column_reads_with_null() {
        // `description` did not exist yet.
        let mut bytes = vpc_header("vpc", &["name"]);
        bytes.extend([1, 0, INSERT]);
        put_value(&mut bytes, &Value::Text("blue".into()));
        let mut values = vec![Value::Null; Table::Vpc.definition().columns.len()];
        values[0] = Value::Text("blue".into());
        let row = Row::from_values(Table::Vpc, &values).unwrap();
        assert_eq!(
            decode(&bytes),
            Ok([Change::Insert(row)].into_iter().collect())
        );
    }

    #[test]
    fn a_row_that_is_changed_twice_is_refused() {
        let mut bytes = vpc_header("vpc", &["name"]);
        bytes.push(2);
        for _ in 0..2 {
            bytes.extend([0, INSERT]);
            put_value(&mut bytes, &Value::Text("blue".into()));
        }
        assert!(matches!(
            decode(&bytes),
            Err(JournalError::Malformed {
                what: "a row is changed twice",
                ..
            })
        ));
    }
}
