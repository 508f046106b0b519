//! What an encoded changeset holds, as it was recorded: its tables and columns found in today's model, and its changes one
//! by one.

use rewire_schema::{Change, Row, Table, TableDefinition, Value};

use crate::error::JournalError;
use crate::wire::{RawValue, Reader};

pub(crate) const FORMAT: u8 = 1;

pub(crate) const INSERT: u8 = 0;
pub(crate) const UPDATE: u8 = 1;
pub(crate) const DELETE: u8 = 2;

/// A table as an encoded changeset names it, found in the model.
pub(crate) struct RecordedTable {
    pub(crate) table: Table,
    definition: &'static TableDefinition,
    /// For each recorded column, its place in the model's table.
    pub(crate) columns: Vec<usize>,
}

impl RecordedTable {
    fn read(reader: &mut Reader<'_>) -> Result<Self, JournalError> {
        let name = reader.text()?;
        let table = Table::named(name).ok_or_else(|| JournalError::UnknownTable {
            table: name.to_owned(),
        })?;
        let definition = table.definition();
        let mut columns = Vec::with_capacity(definition.columns.len());
        for _ in 0..reader.count()? {
            let name = reader.text()?;
            let place = definition
                .columns
                .iter()
                .position(|c| c.name == name)
                .ok_or_else(|| JournalError::UnknownColumn {
                    table: definition.name,
                    column: name.to_owned(),
                })?;
            if columns.contains(&place) {
                return Err(reader.malformed("a column occurs twice"));
            }
            columns.push(place);
        }
        // A column that was added since is NULL in everything older.
        let missing = |(place, column): (usize, &rewire_schema::ColumnDefinition)| {
            (!column.nullable && !columns.contains(&place)).then_some(column.name)
        };
        if let Some(column) = definition.columns.iter().enumerate().find_map(missing) {
            return Err(JournalError::MissingColumn {
                table: definition.name,
                column,
            });
        }
        Ok(RecordedTable {
            table,
            definition,
            columns,
        })
    }

    /// Space for the values of a row. What is not recorded stays NULL.
    pub(crate) fn space(&self) -> Vec<Value> {
        vec![Value::Null; self.definition.columns.len()]
    }

    fn row(&self, values: &[Value]) -> Result<Row, JournalError> {
        Ok(Row::from_values(self.table, values)?)
    }

    /// Reads a change, with the values of its row in the table's [`RecordedTable::space`], where texts find the memory of
    /// those before them.
    pub(crate) fn read_change(
        &self,
        reader: &mut Reader<'_>,
        values: &mut [Value],
    ) -> Result<Change, JournalError> {
        let tag = reader.byte()?;
        for place in &self.columns {
            reader.value_into(&mut values[*place])?;
        }
        let row = self.row(values)?;
        match tag {
            INSERT => Ok(Change::Insert(row)),
            DELETE => Ok(Change::Delete(row)),
            UPDATE => {
                self.read_changed(reader, |reader, place| {
                    reader.value_into(&mut values[place])
                })?;
                let after = self.row(values)?;
                if row == after {
                    return Err(reader.malformed("an update changes nothing"));
                }
                Ok(Change::Update { before: row, after })
            }
            _ => Err(reader.malformed(UNKNOWN_TAG)),
        }
    }

    /// Reads the columns that an update changes: `read` takes the value of each, which goes to this place in the row.
    fn read_changed<'a>(
        &self,
        reader: &mut Reader<'a>,
        mut read: impl FnMut(&mut Reader<'a>, usize) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut least = 0;
        for _ in 0..reader.count()? {
            let column = reader.index()?;
            if column < least {
                return Err(reader.malformed("changed columns are out of order"));
            }
            let place = *self
                .columns
                .get(column)
                .ok_or_else(|| reader.malformed("there is no such column"))?;
            if self.definition.columns[place].key {
                return Err(reader.malformed("an update changes the key"));
            }
            read(reader, place)?;
            least = column + 1;
        }
        Ok(())
    }

    /// Passes over a change without reading its values. Hands those of the key to `key` as they are encoded, in the order in
    /// which they are recorded, each with its place in the row.
    pub(crate) fn skip_change<'a>(
        &self,
        reader: &mut Reader<'a>,
        mut key: impl FnMut(usize, &'a [u8]),
    ) -> Result<(), JournalError> {
        let tag = reader.byte()?;
        for place in &self.columns {
            let start = *reader;
            reader.skip_value()?;
            if self.definition.columns[*place].key {
                key(*place, reader.since(start));
            }
        }
        match tag {
            INSERT | DELETE => Ok(()),
            UPDATE => {
                for _ in 0..reader.count()? {
                    reader.index()?;
                    reader.skip_value()?;
                }
                Ok(())
            }
            _ => Err(reader.malformed(UNKNOWN_TAG)),
        }
    }
}

const UNKNOWN_TAG: &str = "a change has an unknown tag";
pub(crate) const NO_TABLE: &str = "there is no such table";
pub(crate) const TRAILING: &str = "bytes follow after the last change";

/// Reads what comes before the changes: the format and the tables that occur.
pub(crate) fn read_tables(reader: &mut Reader<'_>) -> Result<Vec<RecordedTable>, JournalError> {
    let format = reader.byte()?;
    if format != FORMAT {
        return Err(JournalError::Format {
            found: format,
            ours: FORMAT,
        });
    }
    let mut tables: Vec<RecordedTable> = Vec::new();
    for _ in 0..reader.count()? {
        let table = RecordedTable::read(reader)?;
        if tables.iter().any(|t| t.table == table.table) {
            return Err(reader.malformed("a table occurs twice"));
        }
        tables.push(table);
    }
    Ok(tables)
}

/// A change as it is recorded: its rows' values in the order of the model's columns.
pub(crate) struct RawChange<'r, 'a> {
    pub(crate) table: Table,
    pub(crate) definition: &'static TableDefinition,
    pub(crate) before: Option<&'r [RawValue<'a>]>,
    pub(crate) after: Option<&'r [RawValue<'a>]>,
}

/// Goes through the changes of an encoded changeset without making rows of them. Values are given as they are spelled,
/// whether or not they are what their columns take.
pub(crate) fn for_each_change<'a>(
    bytes: &'a [u8],
    mut visit: impl FnMut(RawChange<'_, 'a>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut reader = Reader::new(bytes);
    let tables = read_tables(&mut reader)?;
    let (mut row, mut changed) = (Vec::new(), Vec::new());
    for _ in 0..reader.count()? {
        let index = reader.index()?;
        let table = tables
            .get(index)
            .ok_or_else(|| reader.malformed(NO_TABLE))?;
        let tag = reader.byte()?;
        row.clear();
        row.resize(table.definition.columns.len(), RawValue::Null);
        for place in &table.columns {
            row[*place] = reader.raw()?;
        }
        let (before, after) = match tag {
            INSERT => (None, Some(&row)),
            DELETE => (Some(&row), None),
            UPDATE => {
                changed.clone_from(&row);
                table.read_changed(&mut reader, |reader, place| {
                    changed[place] = reader.raw()?;
                    Ok(())
                })?;
                (Some(&row), Some(&changed))
            }
            _ => return Err(reader.malformed(UNKNOWN_TAG)),
        };
        visit(RawChange {
            table: table.table,
            definition: table.definition,
            before: before.map(Vec::as_slice),
            after: after.map(Vec::as_slice),
        })?;
    }
    if !reader.is_empty() {
        return Err(reader.malformed(TRAILING));
    }
    Ok(())
}
