//! Who made a row what it is: the last revision that changed each of its fields.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rewire_journal::{RowFilter, WantedRows};
use rewire_schema::{Change, Changeset, Row, RowKey};
use rusqlite::Connection;

use crate::error::Error;
use crate::journal;
use crate::rows;
use crate::store::Store;

/// Which revisions made a row what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The row.
    pub key: RowKey,
    /// The revision that inserted it; none where that was pruned.
    pub created: Option<u64>,
    /// For each column that is not of the key, the last revision that changed it, or inserted the row; none where that
    /// was pruned.
    pub fields: Vec<(&'static str, Option<u64>)>,
    /// For each field that is marked, by its name in documents, the last revision that changed its marks.
    pub marks: Vec<(String, Option<u64>)>,
}

/// A row whose history is being looked for.
struct Wanted {
    blame: Blame,
    /// How many fields, and the creation, are not found yet.
    open: usize,
}

impl Wanted {
    fn new(row: &Row) -> Self {
        let definition = row.table().definition();
        let columns = definition.columns.iter().filter(|column| !column.key);
        let fields: Vec<_> = columns.map(|column| (column.name, None)).collect();
        let marks = row.marks().fields().iter();
        let marks: Vec<_> = marks.map(|(field, _)| (field.to_owned(), None)).collect();
        Wanted {
            open: fields.len() + marks.len() + 1,
            blame: Blame {
                key: row.row_key(),
                created: None,
                fields,
                marks,
            },
        }
    }

    fn found(&mut self, revision: u64, change: &Change) {
        let changed = changed_columns(change);
        for (name, since) in &mut self.blame.fields {
            if since.is_none() && changed.contains(name) {
                *since = Some(revision);
                self.open -= 1;
            }
        }
        for (field, since) in &mut self.blame.marks {
            let mark =
                |row: Option<&Row>| row.and_then(|row| row.marks().fields().get(field).cloned());
            if since.is_none() && mark(change.before()) != mark(change.after()) {
                *since = Some(revision);
                self.open -= 1;
            }
        }
        if matches!(change, Change::Insert(_)) {
            self.blame.created = Some(revision);
            self.open = 0;
        }
    }
}

/// The columns, other than those of the key, that a change gives a value to or another one.
fn changed_columns(change: &Change) -> Vec<&'static str> {
    let columns = change.row().table().definition().columns.iter();
    let names = columns
        .filter(|column| !column.key)
        .map(|column| column.name);
    let fields = |row: &Row| {
        let definition = row.table().definition();
        row.values().split_off(definition.key_len())
    };
    match change {
        Change::Insert(_) | Change::Delete(_) => names.collect(),
        Change::Update { before, after } => names
            .zip(fields(before).into_iter().zip(fields(after)))
            .filter_map(|(name, (before, after))| (before != after).then_some(name))
            .collect(),
    }
}

impl Store {
    /// Which revisions made rows what they are now, in the order of `keys`; rows that do not exist are left out. A rewind
    /// or a revert counts as the revision that it is, not as the one whose values it took.
    ///
    /// Cost: a look at a short filter of each entry, backwards until everything is found, and the changesets that touch
    /// one of the rows.
    ///
    /// # Errors
    ///
    /// [`Error::Journal`], [`Error::Sqlite`], [`Error::Damaged`].
    pub fn blame(&self, keys: &[RowKey]) -> Result<Vec<Blame>, Error> {
        let snapshot = self.snapshot()?;
        let mut existing = Vec::with_capacity(keys.len());
        for key in keys {
            existing.extend(rows::find(&snapshot, key)?);
        }
        of_rows(&snapshot, &existing)
    }
}

/// As [`Store::blame`], of rows that exist.
pub(crate) fn of_rows(connection: &Connection, rows: &[Row]) -> Result<Vec<Blame>, Error> {
    let keys: Vec<RowKey> = rows.iter().map(Row::row_key).collect();
    let mut blames: BTreeMap<&RowKey, Wanted> =
        keys.iter().zip(rows.iter().map(Wanted::new)).collect();
    let mut open: WantedRows = keys.iter().cloned().collect();
    let head = journal::revision(connection)?;
    journal::for_each_filter_backwards(connection, head, |revision, touched| {
        if open.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        for change in changes_of(connection, revision, touched, &open)?.iter() {
            let key = change.row().row_key();
            if let Some(wanted) = blames.get_mut(&key) {
                wanted.found(revision, change);
                if wanted.open == 0 {
                    open.remove(&key);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    let blame = |key| blames.get(key).map(|wanted| wanted.blame.clone());
    Ok(keys.iter().filter_map(blame).collect())
}

/// The last revision after `base` up to `head` that changed a row, or a column of it.
pub(crate) fn last_change(
    connection: &Connection,
    key: &RowKey,
    column: Option<&'static str>,
    base: u64,
    head: u64,
) -> Result<Option<u64>, Error> {
    let wanted = WantedRows::from_iter([key.clone()]);
    let last = journal::for_each_filter_backwards(connection, head, |revision, touched| {
        if revision <= base {
            return Ok(ControlFlow::Break(None));
        }
        let changes = changes_of(connection, revision, touched, &wanted)?;
        let hit = changes
            .iter()
            .any(|change| column.is_none_or(|column| changed_columns(change).contains(&column)));
        Ok(match hit {
            true => ControlFlow::Break(Some(revision)),
            false => ControlFlow::Continue(()),
        })
    })?;
    Ok(last.flatten())
}

/// What a revision changed of these rows. Only where its filter does not rule them all out is its changeset looked
/// through.
pub(crate) fn changes_of(
    connection: &Connection,
    revision: u64,
    touched: &[u8],
    wanted: &WantedRows,
) -> Result<Changeset, Error> {
    let unreadable = |source| journal::unreadable(revision, source);
    let filter = RowFilter::from_bytes(touched).map_err(unreadable)?;
    if !wanted.may_be_in(&filter) {
        return Ok(Changeset::default());
    }
    journal::with_changeset_bytes(connection, revision, |bytes| {
        rewire_journal::find(bytes, wanted).map_err(unreadable)
    })
}
