//! What an encoded changeset holds, as it was recorded: its tables and columns found in today's model, and its changes one
//! by one.

use rewire_schema::{Change, Row, Table, TableDefinition, Value};

use crate::error::JournalError;
use rewire_schema::RawValue;

use crate::wire::{Reader, put_value};

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
    /// Whether that is the model's order.
    is_in_order: bool,
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
        let is_in_order = columns.iter().enumerate().all(|(at, place)| at == *place);
        Ok(RecordedTable {
            is_in_order,
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

    /// Reads the values of a row, in the order of the model's columns.
    fn read_row<'a>(
        &self,
        reader: &mut Reader<'a>,
        row: &mut Vec<RawValue<'a>>,
    ) -> Result<(), JournalError> {
        row.clear();
        row.resize(self.definition.columns.len(), RawValue::Null);
        for place in &self.columns {
            row[*place] = reader.raw()?;
        }
        Ok(())
    }

    /// Copies a row whose values are in order: what [`encode_row`] makes of them.
    fn copy_row(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<usize, JournalError> {
        begin_row(self.table, out);
        let start = *reader;
        let keys = self.definition.key_len();
        for _ in 0..keys {
            reader.skip_value()?;
        }
        let key_len = out.len() + reader.since(start).len();
        for _ in keys..self.columns.len() {
            reader.skip_value()?;
        }
        out.extend_from_slice(reader.since(start));
        for _ in self.columns.len()..self.definition.columns.len() {
            put_value(out, RawValue::Null);
        }
        Ok(key_len)
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
        table.read_row(&mut reader, &mut row)?;
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

/// A change as the bytes of its rows; see [`encode_row`].
pub(crate) struct EncodedChange<'r> {
    /// How many bytes of either row are its key.
    pub(crate) key_len: usize,
    pub(crate) before: Option<&'r [u8]>,
    pub(crate) after: Option<&'r [u8]>,
}

/// Goes through the changes of an encoded changeset as [`for_each_change`] does, but gives rows as bytes. Where columns were
/// recorded in the model's order, which they are unless the model has changed, these are copied, and texts are not looked
/// at: not even whether they are UTF-8.
pub(crate) fn for_each_encoded_change(
    bytes: &[u8],
    mut visit: impl FnMut(EncodedChange<'_>) -> Result<(), JournalError>,
) -> Result<(), JournalError> {
    let mut reader = Reader::new(bytes);
    let tables = read_tables(&mut reader)?;
    let (mut before, mut after, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..reader.count()? {
        let index = reader.index()?;
        let table = tables
            .get(index)
            .ok_or_else(|| reader.malformed(NO_TABLE))?;
        let tag = reader.byte()?;
        let start = reader;
        let key_len = match table.is_in_order && tag != UPDATE {
            true => table.copy_row(&mut reader, &mut before)?,
            false => {
                table.read_row(&mut reader, &mut values)?;
                encode_row(table.table, values.iter().copied(), &mut before)
            }
        };
        let (before, after) = match tag {
            INSERT => (None, Some(&*before)),
            DELETE => (Some(&*before), None),
            UPDATE => {
                table.read_changed(&mut reader, |reader, place| {
                    values[place] = reader.raw()?;
                    Ok(())
                })?;
                encode_row(table.table, values.iter().copied(), &mut after);
                (Some(&*before), Some(&*after))
            }
            _ => return Err(start.malformed(UNKNOWN_TAG)),
        };
        visit(EncodedChange {
            key_len,
            before,
            after,
        })?;
    }
    if !reader.is_empty() {
        return Err(reader.malformed(TRAILING));
    }
    Ok(())
}

/// Writes a row over other bytes, so that equal rows have equal bytes, whichever model wrote them: the table's number and
/// the values in the order of the model's columns. Gives how many bytes are of its key, which comes first.
pub(crate) fn encode_row<'a>(
    table: Table,
    values: impl IntoIterator<Item = RawValue<'a>>,
    out: &mut Vec<u8>,
) -> usize {
    begin_row(table, out);
    let mut key_len = 0;
    for (value, column) in values.into_iter().zip(table.definition().columns) {
        put_value(out, value);
        if column.key {
            key_len = out.len();
        }
    }
    key_len
}

fn begin_row(table: Table, out: &mut Vec<u8>) {
    out.clear();
    out.extend((table as u16).to_le_bytes());
}

/// Reads what [`encode_row`] wrote.
pub(crate) fn decode_row(bytes: &[u8]) -> Result<Row, JournalError> {
    let mut reader = Reader::new(bytes);
    let number = usize::from(u16::from_le_bytes(reader.array()?));
    let table = Table::ALL
        .get(number)
        .ok_or_else(|| reader.malformed(NO_TABLE))?;
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(reader.raw()?.into());
    }
    Ok(Row::from_values(*table, &values)?)
}
