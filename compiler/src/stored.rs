//! The configuration as it is stored, deactivated objects and all, kept in two parts: what is in effect, which is compiled,
//! and the rows that are not in effect, or not as they are stored, because a field of theirs is deactivated. Most configurations
//! hide little or nothing, so that this costs no second copy.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use rewire_schema::effective::effective_changeset;
use rewire_schema::state::{Rows, StateError};
use rewire_schema::{Change, Changeset, Configuration, Mismatch, Row, RowKey, Table, Value};

/// A stored configuration in its two parts. A row that both have is stored as it is among the hidden ones.
pub(crate) struct Stored<'a> {
    pub(crate) effective: &'a Configuration,
    pub(crate) hidden: &'a Configuration,
}

impl Rows for Stored<'_> {
    fn find(&self, key: &RowKey) -> Result<Option<Row>, StateError> {
        Ok(self.row(key))
    }

    fn below(&self, table: Table, key_prefix: &[Value]) -> Result<Vec<Row>, StateError> {
        let effective = self.effective.below(table, key_prefix);
        Ok(self.both(effective, self.hidden.below(table, key_prefix)))
    }

    fn by(
        &self,
        table: Table,
        columns: &[&'static str],
        values: &[Value],
    ) -> Result<Vec<Row>, StateError> {
        let effective = Rows::by(self.effective, table, columns, values)?;
        Ok(self.both(effective, Rows::by(self.hidden, table, columns, values)?))
    }
}

/// What a stored changeset does to the two parts.
#[derive(Debug)]
pub(crate) struct Split<'a> {
    /// What it does to what is in effect.
    pub(crate) effective: Cow<'a, Changeset>,
    /// What it does to what is hidden.
    pub(crate) hidden: Changeset,
}

impl Stored<'_> {
    fn row(&self, key: &RowKey) -> Option<Row> {
        let effective = || self.effective.find(key);
        self.hidden.find(key).or_else(effective)
    }

    /// Rows of both parts, in the order of their keys.
    fn both(&self, mut effective: Vec<Row>, hidden: Vec<Row>) -> Vec<Row> {
        effective.retain(|row| !self.hidden.contains(&row.row_key()));
        effective.extend(hidden);
        effective.sort_by_cached_key(Row::row_key);
        effective
    }

    /// Splits a changeset that follows this configuration. Cost: the changed rows, and all below those that are deactivated
    /// or no longer.
    pub(crate) fn split<'c>(&self, changeset: &'c Changeset) -> Result<Split<'c>, Mismatch> {
        for change in changeset.iter() {
            let found = self.row(&change.row().row_key());
            if found.as_ref() != change.before() {
                return Err(Mismatch {
                    expected: change.before().cloned().map(Box::new),
                    found: found.map(Box::new),
                });
            }
        }
        let deactivates = |change: &Change| {
            let rows = change.before().into_iter().chain(change.after());
            rows.into_iter().any(|row| row.marks().hides())
        };
        if self.hidden.is_empty() && !changeset.iter().any(deactivates) {
            return Ok(Split {
                effective: Cow::Borrowed(changeset),
                hidden: Changeset::default(),
            });
        }
        let effective = effective_changeset(self, changeset).expect("memory can always be read");
        let keys: BTreeSet<RowKey> = changeset
            .iter()
            .chain(effective.iter())
            .map(|change| change.row().row_key())
            .collect();
        let mut hidden = Changeset::default();
        for key in keys {
            let stored = match changeset.get(&key) {
                Some(change) => change.after().cloned(),
                None => self.row(&key),
            };
            let in_effect = match effective.get(&key) {
                Some(change) => change.after().cloned(),
                None => self.effective.find(&key),
            };
            let before = self.hidden.find(&key);
            let after = stored.filter(|row| in_effect.as_ref() != Some(row));
            if let Some(change) = Change::between(before, after) {
                hidden.push(change)?;
            }
        }
        Ok(Split {
            effective: Cow::Owned(effective),
            hidden,
        })
    }
}

/// A whole configuration in its two parts: what is in effect, and what is hidden.
pub(crate) fn parts(configuration: Arc<Configuration>) -> (Arc<Configuration>, Configuration) {
    let effective = match configuration.effective() {
        Cow::Borrowed(_) => return (configuration, Configuration::default()),
        Cow::Owned(effective) => Arc::new(effective),
    };
    let mut hidden = Arc::unwrap_or_clone(configuration);
    for row in effective.rows() {
        if hidden.get(&row).as_ref() == Some(&row) {
            hidden.remove(&row);
        }
    }
    (effective, hidden)
}
