//! Descriptions of tables: what the macros of `object.rs` make, what SQL is checked against, and what generic code
//! over all tables (the store, the journal's encoding) goes by.

use crate::value::{Column, SqlType, Value};

/// A table: its name, its columns (the key first) and what they refer to.
#[derive(Clone, Copy, Debug)]
pub struct TableDefinition {
    /// The table's name in SQL.
    pub name: &'static str,
    /// All columns, those of the key first.
    pub columns: &'static [ColumnDefinition],
    /// The foreign keys.
    pub references: &'static [Reference],
}

impl TableDefinition {
    /// The number of columns that make the key; they come first.
    pub fn key_len(&self) -> usize {
        self.columns.iter().take_while(|c| c.key).count()
    }
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDefinition {
    /// The column's name, the same as its field's name in documents.
    pub name: &'static str,
    /// Its declared type.
    pub sql_type: SqlType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether it belongs to the key.
    pub key: bool,
}

impl ColumnDefinition {
    /// The column of a field of type `T`.
    pub const fn new<T: Column>(name: &'static str, key: bool) -> Self {
        ColumnDefinition {
            name,
            sql_type: T::SQL_TYPE,
            nullable: T::NULLABLE,
            key,
        }
    }
}

/// A foreign key: `columns` name a row of `table` by its whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The referring columns.
    pub columns: &'static [&'static str],
    /// The table that is referred to.
    pub table: &'static str,
}

/// Why stored values are not a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The number of values is not that of the columns.
    #[error("table {table}: expected {expected} values, found {found}")]
    Count {
        /// The table.
        table: &'static str,
        /// Its number of columns.
        expected: usize,
        /// The number of values given.
        found: usize,
    },
    /// A value is not what its column takes.
    #[error("table {table}, column {column}: {reason}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
}

/// Reads the values of one row in turn.
pub(crate) struct Values<'a> {
    table: &'static TableDefinition,
    values: &'a [Value],
    next: usize,
}

impl<'a> Values<'a> {
    pub(crate) fn new(
        table: &'static TableDefinition,
        values: &'a [Value],
    ) -> Result<Self, RowError> {
        let expected = table.columns.len();
        if values.len() != expected {
            return Err(RowError::Count {
                table: table.name,
                expected,
                found: values.len(),
            });
        }
        Ok(Values {
            table,
            values,
            next: 0,
        })
    }

    pub(crate) fn next<T: Column>(&mut self) -> Result<T, RowError> {
        let index = self.next;
        self.next += 1;
        T::from_value(&self.values[index]).map_err(|reason| RowError::Value {
            table: self.table.name,
            column: self.table.columns[index].name,
            reason,
        })
    }
}
