//! Merging: two changesets that start at one state, field by field.
//!
//! It is what a commit does whose candidate is based on an older revision (ours is the candidate, theirs everything
//! that was committed since), and what `revert N` does (ours is the inverse of entry N, theirs everything after N): in
//! both cases ours shall follow theirs and still do what it meant.
//!
//! A row is merged by its fields, so that two people can change different fields of one interface. Rows that only one
//! of them touched are that one's. What only the whole can tell, such as a route that now leaves by an interface that
//! the other one deleted, is not found here: the store's foreign keys and the meaning check refuse it.
//!
//! # Lists by position
//!
//! Next hops of a route, or entries of a service, have no name but their position. An insertion in the middle moves all that follow, so that the
//! same position means another next hop on each side, and a merge by position would mix up two of them or leave a gap.
//! Therefore **a list is one value**: where both sides changed the same list, and not in the same way, all of its
//! positions that differ are conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::changeset::{Change, Changeset};
use crate::document::Path;
use crate::marks::{FieldMarks, Marks};
use crate::model::{Row, RowKey, Table};
use crate::table::ColumnDefinition;
use crate::value::{Column, Kind, Value};

/// A row, or a field of it, that both sides changed, and not in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The row.
    pub key: RowKey,
    /// Where the row stands in a document.
    pub path: Path,
    /// The column of the field; none where the whole row conflicts. [`Conflict::place`] has its name in documents.
    pub field: Option<&'static str>,
    /// The name of the field whose annotations conflict, where those do: the column is that of the marks then.
    pub marked: Option<String>,
    /// What it was in the state that both started at.
    pub base: Side,
    /// What ours made of it.
    pub ours: Side,
    /// What theirs made of it.
    pub theirs: Side,
}

/// What one side of a conflict has in the place of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// There is no such row.
    Absent,
    /// The field has this value.
    Value(Value),
    /// The row is there.
    Row(Box<Row>),
}

impl Side {
    fn of_row(row: Option<&Row>) -> Side {
        row.map_or(Side::Absent, |row| Side::Row(Box::new(row.clone())))
    }
    fn row(&self) -> Option<&Row> {
        match self {
            Side::Row(row) => Some(row),
            Side::Absent | Side::Value(_) => None,
        }
    }
}

/// The changeset that follows `theirs` and does what `ours` meant. Both must start at the same state; the result starts
/// at the state that theirs leads to.
///
/// - A row that only ours touched is changed as ours says.
/// - A field that only one of them changed is as that one left it.
/// - What both changed in the same way, or both deleted, is done already.
/// - Marks of fields are merged field by field; a field that one of them set back to what it is anyway loses its marks.
///
/// A result without changes says that theirs did everything that ours meant.
///
/// Cost: a copy of ours, and the smaller of the two times the logarithm of the larger. Where the smaller touches a list,
/// one pass over the larger.
///
/// # Errors
///
/// Every conflict, ordered by row and column: a field that both changed to different values, or that both gave to a
/// new row; a row that one changed and the other deleted; a list that both changed.
pub fn rebase(ours: &Changeset, theirs: &Changeset) -> Result<Changeset, Vec<Conflict>> {
    let (few, many) = if ours.len() <= theirs.len() {
        (ours, theirs)
    } else {
        (theirs, ours)
    };
    // What becomes of the rows that both touched; ours says what becomes of all others.
    let mut merged: BTreeMap<RowKey, Option<Change>> = BTreeMap::new();
    let mut conflicts = Vec::new();

    for change in few.iter().filter(|change| !is_list(change.row().table())) {
        let key = change.row().row_key();
        if let (Some(ours), Some(theirs)) = (ours.get(&key), theirs.get(&key)) {
            match merge_row(&key, ours, theirs) {
                Ok(change) => drop(merged.insert(key, change)),
                Err(found) => conflicts.extend(found),
            }
        }
    }

    let lists: BTreeSet<List> = few.iter().filter_map(|c| list_of(c.row())).collect();
    if !lists.is_empty() && many.iter().any(|c| is_list(c.row().table())) {
        let (ours, theirs) = (changes_in(&lists, ours), changes_in(&lists, theirs));
        for (list, ours) in ours {
            match theirs.get(&list) {
                None => {}
                Some(theirs) if ours == *theirs => {
                    merged.extend(ours.into_keys().map(|key| (key, None)));
                }
                Some(theirs) => conflicts.extend(list_conflicts(&ours, theirs)),
            }
        }
    }

    if !conflicts.is_empty() {
        conflicts.sort_by(|a, b| a.key.cmp(&b.key));
        return Err(conflicts);
    }
    if merged.is_empty() {
        return Ok(ours.clone());
    }
    let kept = ours
        .iter()
        .filter_map(|change| match merged.remove(&change.row().row_key()) {
            Some(change) => change,
            None => Some(change.clone()),
        });
    Ok(kept.collect())
}

/// What ours has left to do in a row that both changed; none where theirs did all of it.
fn merge_row(
    key: &RowKey,
    ours: &Change,
    theirs: &Change,
) -> Result<Option<Change>, Vec<Conflict>> {
    let row_conflict = || {
        vec![Conflict::of_rows(
            key,
            ours.before(),
            ours.after(),
            theirs.after(),
        )]
    };
    if ours.before() != theirs.before() {
        // They do not start at the same state: the caller's mistake, which must not become a wrong row.
        return Err(row_conflict());
    }
    if ours.after() == theirs.after() {
        return Ok(None);
    }
    let (Some(our_row), Some(their_row)) = (ours.after(), theirs.after()) else {
        return Err(row_conflict());
    };
    let base = ours.before().map(Row::values);
    let base_marks = ours.before().map(|row| row.marks().clone());
    let base_marks = base_marks.unwrap_or_default();
    let (our_values, their_values) = (our_row.values(), their_row.values());
    let mut values = their_values.clone();
    let mut conflicts = Vec::new();
    for (index, column) in our_row.table().definition().columns.iter().enumerate() {
        let base = base.as_ref().map(|values| &values[index]);
        let (ours, theirs) = (&our_values[index], &their_values[index]);
        if ours == theirs || base == Some(ours) {
            continue;
        }
        let mut conflict = |marked, base: Option<&Value>, ours: &Value, theirs: &Value| {
            conflicts.push(Conflict {
                key: key.clone(),
                path: our_row.path(),
                field: Some(column.name),
                marked,
                base: base.map_or(Side::Absent, |value| Side::Value(value.clone())),
                ours: Side::Value(ours.clone()),
                theirs: Side::Value(theirs.clone()),
            });
        };
        if let Kind::FieldMarks = column.kind {
            let (merged, notes) = merge_marks(&base_marks, our_row.marks(), their_row.marks());
            for (field, [base, ours, theirs]) in notes {
                conflict(Some(field), Some(&base), &ours, &theirs);
            }
            values[index] = merged.to_value();
        } else if base == Some(theirs) {
            values[index] = ours.clone();
        } else {
            conflict(None, base, ours, theirs);
        }
    }
    if !conflicts.is_empty() {
        return Err(conflicts);
    }
    settle_marks(our_row.table(), &mut values);
    // Each value comes from a row, so that this does not fail.
    let row = Row::from_values(our_row.table(), &values).map_err(|_| row_conflict())?;
    Ok(Change::between(Some(their_row.clone()), Some(row)))
}

/// The annotations of a field that conflict: those of base, ours and theirs.
type Notes = (String, [Value; 3]);

/// What both made of the marks of fields, part by part. Whether a field is deactivated is as the side says that changed it;
/// annotations conflict where both changed one, and not in the same way.
fn merge_marks(base: &Marks, ours: &Marks, theirs: &Marks) -> (FieldMarks, Vec<Notes>) {
    let (base, ours, theirs) = (base.fields(), ours.fields(), theirs.fields());
    let fields: BTreeSet<&str> = ours
        .iter()
        .chain(theirs.iter())
        .map(|(field, _)| field)
        .collect();
    let mut merged = FieldMarks::default();
    let mut notes = Vec::new();
    for field in fields {
        let [base, ours, theirs] =
            [base, ours, theirs].map(|marks| marks.get(field).cloned().unwrap_or_default());
        let mut mark = theirs.clone();
        if ours.deactivated != base.deactivated {
            mark.deactivated = ours.deactivated;
        }
        let all = [&base, &ours, &theirs].map(|mark| &mark.annotation);
        match all {
            [base, ours, theirs] if ours == theirs || base == ours => {}
            [base, ours, theirs] if base == theirs => mark.annotation.clone_from(ours),
            all => notes.push((field.to_owned(), all.map(Column::to_value))),
        }
        merged.set(field, mark);
    }
    (merged, notes)
}

/// Takes away the marks of fields that one side set back to what they are anyway.
fn settle_marks(table: Table, values: &mut [Value]) {
    let Some(Ok(mut marks)) = values.last().map(FieldMarks::from_value) else {
        return;
    };
    if !marks.settle(table.definition(), values).is_empty()
        && let Some(last) = values.last_mut()
    {
        *last = marks.to_value();
    }
}

/// A list by position: its table, and the key without the position.
type List = (Table, Vec<Value>);

/// Whether a table's objects stand in a list: the last step of their place is an index.
fn is_list(table: Table) -> bool {
    table.definition().place.ends_with(']')
}

/// The list that a row is a position of.
fn list_of(row: &Row) -> Option<List> {
    let table = row.table();
    is_list(table).then(|| {
        let mut values = row.values();
        values.truncate(table.definition().key_len() - 1);
        (table, values)
    })
}

type ChangesOfList<'a> = BTreeMap<RowKey, &'a Change>;

/// The changes of each of the wanted lists.
fn changes_in<'a>(
    wanted: &BTreeSet<List>,
    changeset: &'a Changeset,
) -> BTreeMap<List, ChangesOfList<'a>> {
    let mut found: BTreeMap<List, ChangesOfList<'a>> = BTreeMap::new();
    for change in changeset.iter() {
        if let Some(list) = list_of(change.row()).filter(|list| wanted.contains(list)) {
            let changes = found.entry(list).or_default();
            changes.insert(change.row().row_key(), change);
        }
    }
    found
}

/// The positions of a list that both changed which are not the same on both sides.
fn list_conflicts(ours: &ChangesOfList<'_>, theirs: &ChangesOfList<'_>) -> Vec<Conflict> {
    let keys: BTreeSet<&RowKey> = ours.keys().chain(theirs.keys()).collect();
    let conflict = |key: &RowKey| {
        let (ours, theirs) = (ours.get(key), theirs.get(key));
        let base = ours.or(theirs).and_then(|change| change.before());
        // Who did not touch a position has what was there.
        let ours = ours.map_or(base, |change| change.after());
        let theirs = theirs.map_or(base, |change| change.after());
        (ours != theirs).then(|| Conflict::of_rows(key, base, ours, theirs))
    };
    keys.into_iter().filter_map(conflict).collect()
}

impl Conflict {
    fn of_rows(
        key: &RowKey,
        base: Option<&Row>,
        ours: Option<&Row>,
        theirs: Option<&Row>,
    ) -> Conflict {
        let any = base.or(ours).or(theirs);
        Conflict {
            key: key.clone(),
            path: any.map(Row::path).unwrap_or_default(),
            field: None,
            marked: None,
            base: Side::of_row(base),
            ours: Side::of_row(ours),
            theirs: Side::of_row(theirs),
        }
    }

    /// Where in a document the conflict stands: the field, or the row where it conflicts as a whole.
    pub fn place(&self) -> Path {
        match self.field {
            Some(column) => {
                let definition = self.key.table().definition();
                let column = definition.columns.iter().find(|c| c.name == column);
                let place = self.path.join(column.map_or("", |column| column.field));
                match &self.marked {
                    Some(field) => place.join(field).join(ColumnDefinition::ANNOTATION.field),
                    None => place,
                }
            }
            None => self.path.clone(),
        }
    }
}

impl fmt::Display for Conflict {
    /// One line: `interfaces.wan.mtu: base 1500, ours 9000, theirs 1400`. Of rows, the fields that tell them apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [&self.base, &self.ours, &self.theirs];
        let rows: Vec<&Row> = sides.iter().filter_map(|side| side.row()).collect();
        let [base, ours, theirs] = sides.map(|side| side.text(&rows));
        write!(
            f,
            "{}: base {base}, ours {ours}, theirs {theirs}",
            self.place()
        )
    }
}

impl Side {
    /// What a person is shown, beside the rows that there are.
    fn text(&self, rows: &[&Row]) -> String {
        let row = match self {
            Side::Absent => return "none".to_owned(),
            Side::Value(value) => return value.to_string(),
            Side::Row(row) => row,
        };
        let alike = rows.iter().all(|other| *other == &**row);
        let fields: Vec<String> = row
            .fields()
            .into_iter()
            .enumerate()
            .filter(|(index, (_, value))| {
                if alike {
                    *value != Value::Null
                } else {
                    rows.iter().any(|row| row.fields()[*index].1 != *value)
                }
            })
            .map(|(_, (name, value))| format!("{name} {value}"))
            .collect();
        if fields.is_empty() {
            "present".to_owned()
        } else {
            format!("{{{}}}", fields.join(", "))
        }
    }
}
