//! The configuration model: its types, its JSON Schema, its SQL migrations. One definition.
//!
//! [`model`] defines every object once. From it come the rows that the database stores ([`Row`], [`Configuration`]), the
//! descriptions of the tables ([`Table::definition`]), which the SQL in `migrations/` is tested against, and from those the
//! [`outline`] of documents, along which they are read and written, and their JSON Schema ([`json_schema`]). A
//! [`Changeset`] is the difference of two states.
//!
//! [`source::read`] reads a document from text and says everything that is wrong with it, each error at its line and
//! column; [`meaning::check`] says what neither the JSON Schema nor SQL can.

pub mod changeset;
pub mod document;
pub mod edit;
pub mod effective;
pub mod format;
mod json_schema;
pub mod load;
pub mod marks;
pub mod meaning;
pub mod merge;
pub mod model;
mod object;
mod order;
pub mod outline;
pub mod port;
pub mod source;
pub mod state;
mod suggestion;
pub mod table;
#[cfg(feature = "testing")]
pub mod testing;
pub mod types;
pub mod value;

pub use changeset::{Change, Changeset, Mismatch};
pub use document::{Path, from_document, to_document};
pub use effective::effective_changeset;
pub use json_schema::{json_schema, json_schema_text};
pub use marks::{FieldMark, FieldMarks, Marks};
pub use meaning::Problem;
pub use model::{Configuration, Row, RowKey, RowList, RowRef, Table, TableRow};
pub use state::{Overlay, Rows, StateError};
pub use table::{ColumnDefinition, Reference, RowError, Step, TableDefinition};
pub use value::{Column, FieldError, Kind, RawValue, SqlType, Value};
