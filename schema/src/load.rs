//! Documents onto what is there already: merge, replace, override, patch.
//!
//! | mode | what the document says | what it does not say |
//! |---|---|---|
//! | [`Mode::Merge`] | is set or added; sets unite, a list that is given replaces the list | stays |
//! | [`Mode::Replace`] | each outermost object (an entry of an outermost map: a VPC, an interface, a pool…) takes the place of the one of that name, with all below it | other outermost objects stay |
//! | [`Mode::Override`] | is the whole configuration | goes |
//! | [`Mode::Patch`] | is set or added; `null` takes away; lists and sets that are given replace those before (RFC 7396, JSON merge patch) | stays |
//!
//! In a merge and a patch, an object that exists need not be said whole: its fields stay as they are. One that is new must
//! be complete, and what its fields are where nothing is said is their default. An object in a list is always said whole. A
//! member of a set that is there already keeps its marks in a merge, unless the document says them. A patch takes one
//! member of a set away by giving the set without it.
//!
//! What the result means is not asked here: a candidate may be inconsistent until it is committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::changeset::{Change, Changeset};
use crate::meaning::Problem;
use crate::model::{Configuration, Row, RowKey, Table};
use crate::source::{self, Diagnostics, Failure, Target, Text, Way};
use crate::state::{Rows, StateError};
use crate::value::Value;

/// What a document means for what is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// What is said is set or added; nothing goes.
    Merge,
    /// Outermost objects that are said take the places of those before, whole.
    Replace,
    /// The document is the whole configuration.
    Override,
    /// What is said is set or added, and null takes away.
    Patch,
}

/// Why a document was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Something is wrong with the document.
    #[error(transparent)]
    Document(#[from] Diagnostics),
    /// What is there already cannot be read.
    #[error("what is there already cannot be read: {0}")]
    State(#[from] StateError),
}

/// What a document changes, and its text.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the document changes.
    pub changeset: Changeset,
    text: Arc<Text>,
}

impl Loaded {
    /// Problems of the configuration that the changeset leads to, with their places in the document. A problem elsewhere has
    /// that of the nearest thing that the document says. Cost: the text, and the problems.
    pub fn diagnose(&self, problems: Vec<Problem>) -> Diagnostics {
        let list = source::located(self.text.as_str(), problems);
        Diagnostics::new(self.text.clone(), list)
    }
}

/// Reads a document in YAML or JSON, and what it changes in `base`. `name` is what errors call it. Cost: the text, and the
/// rows that it says or takes away; for [`Mode::Override`] also the base.
///
/// # Errors
///
/// Everything that is wrong with the document, or that `base` cannot be read.
pub fn load(name: &str, bytes: &[u8], mode: Mode, base: &dyn Rows) -> Result<Changeset, LoadError> {
    let loaded = load_with(name, bytes.to_vec(), mode, base, &mut |_, _| {})?;
    Ok(loaded.changeset)
}

/// Loads like [`load`], takes the bytes over, keeps the text for the places of problems, and calls `progress` now and then with the number of
/// bytes that are read, and of all.
///
/// # Errors
///
/// Those of [`load`].
pub fn load_with(
    name: &str,
    bytes: Vec<u8>,
    mode: Mode,
    base: &dyn Rows,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Loaded, LoadError> {
    if mode == Mode::Override {
        let source = source::read_with(name, bytes, progress)?;
        let changeset = difference(base, &source.configuration)?;
        let text = source.into_text();
        return Ok(Loaded { changeset, text });
    }
    let text = source::text(name, bytes)?;
    let way = Way {
        whole: false,
        patch: mode == Mode::Patch,
        entries: mode == Mode::Replace,
    };
    let onto = || Onto {
        base,
        changes: BTreeMap::new(),
        cleared: BTreeMap::new(),
    };
    match source::rows(&text, way, &onto, progress) {
        Ok(onto) => Ok(Loaded {
            changeset: onto.changeset(),
            text,
        }),
        Err(Failure::State(error)) => Err(error.into()),
        Err(Failure::Document { findings, .. }) => {
            Err(Diagnostics::new(text, findings.list).into())
        }
    }
}

/// What leads from all of `base` to `after`. Cost: both, in time; the difference and one table, in memory.
fn difference(base: &dyn Rows, after: &Configuration) -> Result<Changeset, StateError> {
    let mut changeset = Changeset::default();
    for table in Table::ALL {
        let before = base.below(*table, &[])?.into_iter();
        changeset.compare(before, after.rows_of(*table));
    }
    Ok(changeset)
}

/// What a document changes in a base, while it is read.
struct Onto<'a> {
    base: &'a dyn Rows,
    /// What was before and what is after, for every row that the document says; equal rows included.
    changes: BTreeMap<RowKey, Option<Change>>,
    /// The rows that give way, unless the document says them again.
    cleared: BTreeMap<RowKey, Row>,
}

impl Onto<'_> {
    fn changeset(self) -> Changeset {
        let said = self.changes.into_values().flatten();
        let gone = self.cleared.into_values().map(Change::Delete);
        said.chain(gone).collect()
    }
}

impl Target for Onto<'_> {
    fn before(&mut self, key: &RowKey) -> Result<Option<Row>, StateError> {
        self.base.find(key)
    }

    fn count(&mut self, table: Table, key: &[Value]) -> Result<usize, StateError> {
        Ok(self.base.below(table, key)?.len())
    }

    fn clear(&mut self, table: Table, key: &[Value]) -> Result<(), StateError> {
        let rows = self.base.below(table, key)?;
        let rows = rows.into_iter().map(|row| (row.row_key(), row));
        self.cleared.extend(rows);
        Ok(())
    }

    fn put(&mut self, row: Row, before: Option<Row>) -> bool {
        let key = row.row_key();
        let before = before.or_else(|| self.cleared.remove(&key));
        let change = Change::between(before, Some(row));
        self.changes.insert(key, change).is_none()
    }
}
