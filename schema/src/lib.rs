//! The configuration model: its types, its JSON Schema, its SQL migrations. One definition.
//!
//! [`model`] defines every object once. From it come the types that documents are read into ([`Document`]), their JSON
//! Schema ([`json_schema`]), the rows that the database stores ([`Row`], [`Configuration`]) and the descriptions of the
//! tables ([`Table::definition`]), which the SQL in `migrations/` is tested against. A [`Changeset`] is the difference
//! of two states.

pub mod changeset;
pub mod document;
pub mod model;
mod object;
pub mod port;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod types;
pub mod value;

pub use changeset::{Change, Changeset, Mismatch, RowKey};
pub use document::Path;
pub use model::{Configuration, Document, Row, Table};
pub use table::{ColumnDefinition, Reference, RowError, TableDefinition};
pub use value::{Column, SqlType, Value};

/// The JSON Schema of documents, in draft 2020-12.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}
