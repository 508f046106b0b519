//! What is in effect of a state in which objects and fields are deactivated: all but those objects, and all below them; a
//! deactivated field is as if it were not given.
//!
//! What is below an object is what stands in it in documents: the routes of a VPC, not the interfaces that belong to it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::changeset::{Change, Changeset};
use crate::model::{Configuration, Row, RowKey, Table};
use crate::state::{Effective, Overlay, Rows, StateError, ancestor_tables, ancestors};

impl Configuration {
    /// The configuration without the objects that are deactivated and all below them, and without deactivated fields. Cost: a
    /// look at each row; a copy of all that is left where anything is deactivated.
    pub fn effective(&self) -> Cow<'_, Configuration> {
        if !self.hides() {
            return Cow::Borrowed(self);
        }
        let deactivated =
            |key: RowKey| self.find(&key).is_some_and(|row| row.marks().deactivated());
        let hidden =
            |row: &Row| row.marks().deactivated() || ancestors(&row.row_key()).any(deactivated);
        let mut effective = Configuration::default();
        for row in self.rows().filter(|row| !hidden(row)) {
            effective.insert(row.in_effect());
        }
        Cow::Owned(effective)
    }
}

impl Row {
    /// The row without its deactivated fields: each is as it would be anyway, and has no marks.
    #[must_use]
    pub fn in_effect(self) -> Row {
        if !self.marks().fields().any_deactivated() {
            return self;
        }
        let mut left = self.marks().fields().clone();
        let mut values = self.values();
        let columns = self.table().definition().columns;
        for field in self.marks().fields().deactivated() {
            let column = columns.iter().position(|column| column.field == field);
            // A field that is required is not deactivated: no row is made with that.
            if let Some(absent) =
                column.and_then(|index| columns[index].absent().map(|value| (index, value)))
            {
                values[absent.0] = absent.1;
            }
            left.remove(field);
        }
        let marks = self.marks().with_fields(left);
        let mut row = Row::from_values(self.table(), &values).unwrap_or(self);
        *row.marks_mut() = marks;
        row
    }
}

/// What a changeset does to what is in effect of the state `before`: deactivating a VPC deletes its routes there. Cost: the
/// changed rows, and all below those that are deactivated or no longer.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn effective_changeset(
    before: &dyn Rows,
    changeset: &Changeset,
) -> Result<Changeset, StateError> {
    effective_changes(before, &Overlay::new(before, changeset), changeset)
}

/// As [`effective_changeset`], where both states can be read.
pub(crate) fn effective_changes(
    before: &dyn Rows,
    after: &dyn Rows,
    changeset: &Changeset,
) -> Result<Changeset, StateError> {
    let mut keys: BTreeSet<RowKey> = BTreeSet::new();
    for change in changeset.iter() {
        let key = change.row().row_key();
        let deactivated = |row: Option<&Row>| row.is_some_and(|row| row.marks().deactivated());
        if deactivated(change.before()) != deactivated(change.after()) {
            for rows in [before, after] {
                add_below(rows, &key, &mut keys)?;
            }
        }
        keys.insert(key);
    }
    let (before, after) = (Effective(before), Effective(after));
    let mut changes = Vec::with_capacity(keys.len());
    for key in keys {
        changes.extend(Change::between(before.find(&key)?, after.find(&key)?));
    }
    Ok(changes.into_iter().collect())
}

/// Adds the keys of all rows below an object.
fn add_below(rows: &dyn Rows, key: &RowKey, keys: &mut BTreeSet<RowKey>) -> Result<(), StateError> {
    let is_below = |table: &&Table| ancestor_tables(**table).contains(&key.table());
    for table in Table::ALL.iter().filter(is_below) {
        let below = rows.below(*table, &key.values())?;
        keys.extend(below.iter().map(Row::row_key));
    }
    Ok(())
}
