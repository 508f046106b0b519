//! A store whose values can be changed behind its back, a byte at a time.

use std::fmt;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::world::{Files, read_files, scratch, write_files};

/// A closed store.
pub(crate) struct Original {
    files: Files,
    name: String,
}

/// A value in the database.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) table: String,
    pub(crate) column: String,
    /// The row's columns and values, by which it is found.
    row: Vec<(String, Value)>,
    value: Value,
}

impl Original {
    /// Takes what nobody has open.
    pub(crate) fn new(path: &Path) -> Original {
        // What is still in the log goes into the file.
        drop(Connection::open(path).unwrap());
        let files = read_files(path.parent().unwrap());
        assert_eq!(files.len(), 1, "it is open: {:?}", files.keys());
        let name = files.keys().next().unwrap().clone();
        Original { files, name }
    }

    /// Does something with a copy.
    pub(crate) fn with_copy<T>(&self, use_it: impl FnOnce(&Path) -> T) -> T {
        let folder = scratch();
        write_files(folder.path(), &self.files);
        use_it(&folder.path().join(&self.name))
    }

    /// The tables of the configuration.
    pub(crate) fn tables(&self) -> Vec<String> {
        let all = rewire_schema::Table::ALL.iter();
        all.map(|table| table.definition().name.to_owned())
            .collect()
    }

    /// Every value of a table.
    pub(crate) fn places(&self, table: &str) -> Vec<Place> {
        self.with_copy(|path| {
            let connection = Connection::open(path).unwrap();
            let sql = format!("SELECT * FROM {table}");
            let mut statement = connection.prepare(&sql).unwrap();
            let columns: Vec<String> = statement
                .column_names()
                .into_iter()
                .map(str::to_owned)
                .collect();
            let mut places = Vec::new();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values = columns.iter().enumerate();
                let row: Vec<(String, Value)> = values
                    .map(|(index, column)| (column.clone(), row.get(index).unwrap()))
                    .collect();
                places.extend(row.iter().map(|(column, value)| Place {
                    table: table.to_owned(),
                    column: column.clone(),
                    row: row.clone(),
                    value: value.clone(),
                }));
            }
            places
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, first) = &self.row[0];
        let Place {
            table,
            column,
            value,
            ..
        } = self;
        write!(f, "{table} {first:?}, {column} {value:?}")
    }
}

impl Place {
    /// How many of its bytes can be changed. A number has eight. Nothing at all has one: that there is nothing.
    pub(crate) fn bytes(&self) -> usize {
        match &self.value {
            Value::Null => 1,
            Value::Integer(_) | Value::Real(_) => 8,
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
        }
    }

    /// The number in a column of the same row.
    pub(crate) fn number(&self, column: &str) -> u64 {
        let found = self.row.iter().find(|(name, _)| name == column);
        match found {
            Some((_, Value::Integer(number))) => u64::try_from(*number).unwrap(),
            other => panic!("{column} is {other:?}"),
        }
    }

    /// Changes the bits of `mask` in one byte. Says whether that was possible: where two rows would be one, it is not.
    pub(crate) fn flip(&self, path: &Path, byte: usize, mask: u8) -> bool {
        let flipped = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[byte] ^= mask;
            bytes
        };
        let (value, to) = match &self.value {
            // Text or a number, as the column takes it.
            Value::Null => (Value::Integer(mask.into()), "?1"),
            Value::Integer(number) => {
                let bytes = flipped(&number.to_le_bytes());
                let number = i64::from_le_bytes(bytes.try_into().unwrap());
                (Value::Integer(number), "?1")
            }
            // Text that is none can come to be only in this way.
            Value::Text(text) => (Value::Blob(flipped(text.as_bytes())), "CAST(?1 AS TEXT)"),
            Value::Blob(bytes) => (Value::Blob(flipped(bytes)), "?1"),
            Value::Real(_) => panic!("there are no such columns"),
        };
        let conditions: Vec<String> = (2..)
            .zip(&self.row)
            .map(|(number, (column, _))| format!("{column} IS ?{number}"))
            .collect();
        let Place { table, column, .. } = self;
        let conditions = conditions.join(" AND ");
        let sql = format!("UPDATE {table} SET {column} = {to} WHERE {conditions}");
        let values = std::iter::once(&value).chain(self.row.iter().map(|(_, value)| value));
        let connection = Connection::open(path).unwrap();
        // What keeps the history stays, and keeps nobody from changing it here.
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .unwrap();
        connection
            .execute_batch(
                "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON",
            )
            .unwrap();
        match connection.execute(&sql, params_from_iter(values)) {
            Ok(rows) => {
                assert_eq!(rows, 1, "{self:?}");
                true
            }
            Err(error) => {
                let code = error.sqlite_error_code();
                assert_eq!(code, Some(rusqlite::ErrorCode::ConstraintViolation));
                false
            }
        }
    }
}
