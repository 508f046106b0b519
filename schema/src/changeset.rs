//! Changesets: the rows that differ between two states, each with before and after. The currency of the whole system.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::model::{Configuration, Row, RowKey, Table};
use crate::value::Value;

/// What happened to one row. Both rows have the same table and key, and they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The row is new.
    Insert(Row),
    /// The row's fields changed.
    Update {
        /// The row as it was.
        before: Row,
        /// The row as it is.
        after: Row,
    },
    /// The row is gone.
    Delete(Row),
}

impl Change {
    /// The change between two states of one row; none where they are equal.
    pub fn between(before: Option<Row>, after: Option<Row>) -> Option<Change> {
        match (before, after) {
            (None, None) => None,
            (None, Some(after)) => Some(Change::Insert(after)),
            (Some(before), None) => Some(Change::Delete(before)),
            (Some(before), Some(after)) if before == after => None,
            (Some(before), Some(after)) => Some(Change::Update { before, after }),
        }
    }
    /// The row as it was before, if it was.
    pub fn before(&self) -> Option<&Row> {
        match self {
            Change::Insert(_) => None,
            Change::Update { before, .. } | Change::Delete(before) => Some(before),
        }
    }
    /// The row as it is after, if it is.
    pub fn after(&self) -> Option<&Row> {
        match self {
            Change::Insert(after) | Change::Update { after, .. } => Some(after),
            Change::Delete(_) => None,
        }
    }
    /// Either of the two rows: they agree in table and key.
    pub fn row(&self) -> &Row {
        match self {
            Change::Insert(row) | Change::Delete(row) | Change::Update { after: row, .. } => row,
        }
    }
    /// The change that undoes this one.
    pub fn inverse(&self) -> Change {
        match self.clone() {
            Change::Insert(row) => Change::Delete(row),
            Change::Delete(row) => Change::Insert(row),
            Change::Update { before, after } => Change::Update {
                before: after,
                after: before,
            },
        }
    }
}

/// A set of changes with at most one a row, ordered by table (parents first) and key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changeset(BTreeMap<RowKey, Change>);

/// Two changes that cannot follow each other: the second expects another row than the first leaves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change does not fit: {} is {found:?}, the change expects {expected:?}", expected_path(.expected, .found))]
pub struct Mismatch {
    /// The row that the change expects to find.
    pub expected: Option<Box<Row>>,
    /// The row that is there.
    pub found: Option<Box<Row>>,
}

fn expected_path(expected: &Option<Box<Row>>, found: &Option<Box<Row>>) -> String {
    expected
        .as_ref()
        .or(found.as_ref())
        .map(|row| row.path().to_string())
        .unwrap_or_default()
}

impl Changeset {
    /// The changeset that leads from one state to another. Cost: both states, in time; the difference, in memory.
    pub fn between(before: &Configuration, after: &Configuration) -> Changeset {
        let mut changeset = Changeset::default();
        for table in Table::ALL {
            changeset.compare(before.rows_of(*table), after.rows_of(*table));
        }
        changeset
    }

    /// Adds what leads from some rows to others. Both are all of one table, in the order of its key, and no change of that
    /// table is here yet. Cost: both, in time; the difference, in memory.
    pub(crate) fn compare(
        &mut self,
        before: impl Iterator<Item = Row>,
        after: impl Iterator<Item = Row>,
    ) {
        let (mut before, mut after) = (before.peekable(), after.peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(before), Some(after)) => before.row_key().cmp(&after.row_key()),
            };
            let before = before.next_if(|_| order.is_le());
            let after = after.next_if(|_| order.is_ge());
            if let Some(change) = Change::between(before, after) {
                self.0.insert(change.row().row_key(), change);
            }
        }
    }

    /// The changes, by table (parents first) and key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Change> + ExactSizeIterator {
        self.0.values()
    }
    /// The number of changed rows.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The change of one row.
    pub fn get(&self, key: &RowKey) -> Option<&Change> {
        self.0.get(key)
    }
    /// The changes of rows of a table whose keys begin with these values, in the order of their keys.
    pub fn below<'a>(
        &'a self,
        table: Table,
        key_prefix: &'a [Value],
    ) -> impl Iterator<Item = &'a Change> {
        let start = RowKey::starting(table, key_prefix);
        let from = start.map(|start| self.0.range(start..));
        from.into_iter()
            .flatten()
            .take_while(move |(key, _)| {
                key.table() == table && key.values().starts_with(key_prefix)
            })
            .map(|(_, change)| change)
    }
    /// The changeset that undoes this one.
    pub fn inverse(&self) -> Changeset {
        Changeset(
            self.0
                .iter()
                .map(|(key, change)| (key.clone(), change.inverse()))
                .collect(),
        )
    }

    /// Adds a change that happens after all that are here, merging it with an earlier change of the same row.
    pub fn push(&mut self, change: Change) -> Result<(), Mismatch> {
        match self.0.entry(change.row().row_key()) {
            Entry::Vacant(entry) => {
                entry.insert(change);
            }
            Entry::Occupied(mut entry) => {
                if entry.get().after() != change.before() {
                    return Err(Mismatch {
                        expected: change.before().cloned().map(Box::new),
                        found: entry.get().after().cloned().map(Box::new),
                    });
                }
                let before = entry.get().before().cloned();
                match Change::between(before, change.after().cloned()) {
                    Some(merged) => *entry.get_mut() = merged,
                    None => {
                        entry.remove();
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds a changeset that happens after this one. Cost: the added one.
    pub fn then(&mut self, later: &Changeset) -> Result<(), Mismatch> {
        later
            .iter()
            .try_for_each(|change| self.push(change.clone()))
    }
}

impl FromIterator<Change> for Changeset {
    /// Gathers changes of different rows. Of several changes of one row the last one stays.
    fn from_iter<T: IntoIterator<Item = Change>>(changes: T) -> Self {
        Changeset(
            changes
                .into_iter()
                .map(|c| (c.row().row_key(), c))
                .collect(),
        )
    }
}

impl Configuration {
    /// Takes a changeset over, at the cost of the change. Where a row is not as the changeset says, nothing is changed.
    pub fn apply(&mut self, changeset: &Changeset) -> Result<(), Mismatch> {
        for change in changeset.iter() {
            let found = self.get(change.row());
            if found.as_ref() != change.before() {
                return Err(Mismatch {
                    expected: change.before().cloned().map(Box::new),
                    found: found.map(Box::new),
                });
            }
        }
        for change in changeset.iter() {
            match change.after() {
                Some(after) => drop(self.insert(after.clone())),
                None => drop(self.remove(change.row())),
            }
        }
        Ok(())
    }
}
