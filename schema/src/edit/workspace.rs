//! One command's view of what it edits: the state, the edits before it, and its own changes. They reach the edits
//! together, when all of the command is done.

use std::collections::BTreeMap;

use crate::changeset::{Change, Changeset};
use crate::edit::edits::{Draft, Edits};
use crate::edit::error::EditError;
use crate::model::{Row, RowKey, Table};
use crate::state::{Overlay, Rows, StateError};
use crate::value::Value;

pub(crate) struct Workspace<'a> {
    before: Overlay<'a>,
    drafts_before: &'a BTreeMap<RowKey, Draft>,
    changes: Changeset,
    drafts: BTreeMap<RowKey, Option<Draft>>,
}

/// What a command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) changes: Changeset,
    pub(crate) drafts: BTreeMap<RowKey, Option<Draft>>,
}

impl<'a> Workspace<'a> {
    pub(crate) fn new(rows: &'a dyn Rows, edits: &'a Edits) -> Self {
        Workspace {
            before: Overlay::new(rows, &edits.changeset),
            drafts_before: &edits.drafts,
            changes: Changeset::default(),
            drafts: BTreeMap::new(),
        }
    }

    pub(crate) fn finish(self) -> Outcome {
        Outcome {
            changes: self.changes,
            drafts: self.drafts,
        }
    }

    pub(crate) fn row(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.after().cloned()),
            None => self.before.find(key),
        }
    }

    pub(crate) fn draft(&self, key: &RowKey) -> Option<&Draft> {
        match self.drafts.get(key) {
            Some(draft) => draft.as_ref(),
            None => self.drafts_before.get(key),
        }
    }

    /// The object of this key as far as it is given. Where a row appeared beneath a draft, since somebody else made it,
    /// both count, the draft first.
    pub(crate) fn object(&self, key: &RowKey) -> Result<Option<Draft>, StateError> {
        let row = self.row(key)?.map(|row| Draft::of(&row));
        let Some(draft) = self.draft(key) else {
            return Ok(row);
        };
        let mut object = row.unwrap_or_else(|| Draft::new(key.clone()));
        for (column, value) in draft.given() {
            object.set(column, value.clone());
        }
        Ok(Some(object))
    }

    pub(crate) fn exists(&self, key: &RowKey) -> Result<bool, StateError> {
        Ok(self.draft(key).is_some() || self.row(key)?.is_some())
    }

    /// Puts an object in, as a row where it is complete, otherwise as a draft.
    pub(crate) fn put(&mut self, object: Draft) -> Result<(), EditError> {
        let key = object.key().clone();
        let row = object.row()?;
        let draft = row.is_none().then_some(object);
        self.set_row(&key, row)?;
        self.set_draft(key, draft);
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &RowKey) -> Result<(), EditError> {
        self.set_row(key, None)?;
        self.set_draft(key.clone(), None);
        Ok(())
    }

    fn set_row(&mut self, key: &RowKey, after: Option<Row>) -> Result<(), EditError> {
        let before = self.row(key)?;
        if let Some(change) = Change::between(before, after) {
            self.changes.push(change)?;
        }
        Ok(())
    }

    fn set_draft(&mut self, key: RowKey, draft: Option<Draft>) {
        if self.draft(&key) == draft.as_ref() {
            return;
        }
        match self.drafts_before.get(&key) == draft.as_ref() {
            true => drop(self.drafts.remove(&key)),
            false => drop(self.drafts.insert(key, draft)),
        }
    }

    /// The keys of all objects of a table whose keys begin with these values, in their order.
    pub(crate) fn keys_below(
        &self,
        table: Table,
        prefix: &[Value],
    ) -> Result<Vec<RowKey>, StateError> {
        let rows = Overlay::new(&self.before, &self.changes).below(table, prefix)?;
        Ok(self.with_drafts(&rows, table, prefix))
    }

    /// At most so many of them, and all that are not complete: for suggestions.
    pub(crate) fn some_keys_below(
        &self,
        table: Table,
        prefix: &[Value],
        most: usize,
    ) -> Result<Vec<RowKey>, StateError> {
        let rows = Overlay::new(&self.before, &self.changes).some_below(table, prefix, most)?;
        Ok(self.with_drafts(&rows, table, prefix))
    }

    fn with_drafts(&self, rows: &[Row], table: Table, prefix: &[Value]) -> Vec<RowKey> {
        let mut keys: Vec<RowKey> = rows.iter().map(Row::row_key).collect();
        let drafts = self.drafts_below(table, prefix);
        if !drafts.is_empty() {
            keys.extend(drafts);
            keys.sort();
            keys.dedup();
        }
        keys
    }

    fn drafts_below(&self, table: Table, prefix: &[Value]) -> Vec<RowKey> {
        let begins = |key: &&RowKey| key.table() == table && key.values().starts_with(prefix);
        let before = self.drafts_before.keys();
        let before = before.filter(|key| !self.drafts.contains_key(key));
        let now = self.drafts.iter().filter(|(_, draft)| draft.is_some());
        let keys = before.chain(now.map(|(key, _)| key));
        keys.filter(begins).cloned().collect()
    }

    /// The keys of all drafts.
    pub(crate) fn drafts(&self) -> Vec<RowKey> {
        let mut keys = Vec::new();
        for table in Table::ALL {
            keys.extend(self.drafts_below(*table, &[]));
        }
        keys
    }

    /// The rows of a table that have these values in these columns.
    pub(crate) fn rows_by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        Overlay::new(&self.before, &self.changes).by(table, columns, values)
    }
}

impl Edits {
    /// Takes over what a command did.
    pub(crate) fn take(&mut self, outcome: &Outcome) -> Result<(), EditError> {
        self.changeset.then(&outcome.changes)?;
        for (key, draft) in &outcome.drafts {
            match draft {
                Some(draft) => drop(self.drafts.insert(key.clone(), draft.clone())),
                None => drop(self.drafts.remove(key)),
            }
        }
        Ok(())
    }
}
