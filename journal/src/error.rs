use rewire_schema::{Mismatch, RowError, Value};

/// Why bytes are not a changeset, or entries are not a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The bytes end in the middle of something.
    #[error("the changeset ends early, at byte {offset}")]
    Truncated {
        /// Where more was expected, in bytes from the start.
        offset: usize,
    },
    /// The encoding is of a version that this program does not know.
    #[error("the changeset is encoded in format {found}; this program reads format {ours}")]
    Format {
        /// The version found.
        found: u8,
        /// The version that is read and written here.
        ours: u8,
    },
    /// The bytes break a rule of the encoding.
    #[error("the changeset is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where, in bytes from the start.
        offset: usize,
        /// The rule that is broken.
        what: &'static str,
    },
    /// The changeset is about a table that the model does not have.
    #[error(
        "the changeset is about table \"{table}\", which the configuration model does not have"
    )]
    UnknownTable {
        /// The table's name.
        table: String,
    },
    /// The changeset is about a column that the model does not have.
    #[error(
        "the changeset is about column \"{column}\" of table {table}, which the configuration model does not have"
    )]
    UnknownColumn {
        /// The table.
        table: &'static str,
        /// The column's name.
        column: String,
    },
    /// The changeset is from before a column that must have a value.
    #[error(
        "the changeset says nothing about column {column} of table {table}, which must have a value"
    )]
    MissingColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// Bytes are not a filter of rows.
    #[error("the filter of rows is {}; this program reads format {ours}", match .found {
        Some(format) => format!("of format {format}"),
        None => "empty".to_owned(),
    })]
    Filter {
        /// The version found; none where there is no byte.
        found: Option<u8>,
        /// The version that is read and written here.
        ours: u8,
    },
    /// The values of a row are not what its columns take.
    #[error(transparent)]
    Row(#[from] RowError),
    /// A value has the meaning of another one, which is how it is written.
    #[error("table {table}, column {column}: {found} is not written as {canonical}")]
    Spelling {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What is written.
        found: Value,
        /// What would be.
        canonical: Value,
    },
    /// A changeset does not fit onto those before it.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// An entry does not continue the chain.
    #[error("the journal is broken at revision {revision}: {fault}")]
    Chain {
        /// The revision of the entry that does not fit.
        revision: u64,
        /// What does not fit.
        fault: ChainFault,
    },
}

/// What about an entry does not continue the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// The revision is not the next one.
    #[error("revision {expected} was expected here")]
    Revision {
        /// The next revision.
        expected: u64,
    },
    /// The parent is not the hash of the entry before.
    #[error("its parent is not the entry before it")]
    Parent,
    /// The hash is not that of the entry's fields.
    #[error("its hash is not that of its contents")]
    Hash,
}
