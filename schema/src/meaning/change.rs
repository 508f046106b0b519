//! The check at the cost of the change.

use std::collections::BTreeSet;

use super::dependencies::Dependents;
use super::facts::Facts;
use super::look_up::Through;
use super::{Problem, check, ordered, references};
use crate::changeset::{Change, Changeset};
use crate::effective::effective_changes;
use crate::model::{Configuration, Row, Table};
use crate::state::{Effective, Overlay, Rows, StateError};

/// Below so many changes nobody asks whether the whole check would be cheaper.
const FEW: usize = 1000;

/// The problems of the state `after`, which `changeset` has led to. It finds what [`check`] finds where the state before had
/// no problems; problems of the state before that the change does not touch are not found.
///
/// Cost: the changed rows and what depends on them, through keys and [`LOOK_UPS`](super::LOOK_UPS). A changeset of more
/// than a tenth of the rows is checked by checking the whole state.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn check_change(after: &dyn Rows, changeset: &Changeset) -> Result<Vec<Problem>, StateError> {
    check_change_and(after, changeset, &|_| None)
}

/// As [`check_change`], and with a rule of one's own about single rows, which is asked of every changed row that is in effect
/// now.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn check_change_and(
    after: &dyn Rows,
    changeset: &Changeset,
    rule: &dyn Fn(&Row) -> Option<Problem>,
) -> Result<Vec<Problem>, StateError> {
    if changeset.len() > FEW && changeset.len() > rows_in(after)? / 10 {
        let configuration = gather(after, changeset)?;
        let mut problems = check(&configuration);
        problems.extend(
            configuration
                .effective()
                .rows()
                .filter_map(|row| rule(&row)),
        );
        return Ok(ordered(problems));
    }
    // The changed rows need not be read again.
    let after = &Overlay::new(after, changeset);
    let inverse = changeset.inverse();
    let before = &Overlay::new(after, &inverse);
    let changes = effective_changes(before, after, changeset)?;
    let (before, in_effect) = (&Effective(before), &Effective(after));
    let mut subjects = BTreeSet::new();
    for (rows, is_before) in [(before, true), (in_effect, false)] {
        let rows = Through::new(rows);
        let mut dependents = Dependents {
            rows: &rows,
            is_before,
            subjects: &mut subjects,
        };
        for change in changes.iter() {
            let (mut row, mut other) = (change.before(), change.after());
            if !is_before {
                std::mem::swap(&mut row, &mut other);
            }
            if let Some(row) = row {
                dependents.of(row, other);
            }
        }
        rows.finish()?;
    }
    let mut problems = Vec::new();
    references::check_change(after, changeset, &changes, &mut problems)?;
    let rows = Through::new(in_effect);
    let facts = Facts::new(&rows);
    for subject in &subjects {
        subject.check(&facts, &mut problems);
    }
    drop(facts);
    rows.finish()?;
    problems.extend(changes.iter().filter_map(Change::after).filter_map(rule));
    Ok(ordered(problems))
}

fn rows_in(rows: &dyn Rows) -> Result<usize, StateError> {
    let mut sum = 0;
    for table in Table::ALL {
        sum += rows.most(*table)?;
    }
    Ok(sum)
}

/// The whole state. Tables whose rows are all among the changed ones need not be read.
fn gather(after: &dyn Rows, changeset: &Changeset) -> Result<Configuration, StateError> {
    let mut configuration = Configuration::default();
    for table in Table::ALL {
        let changed = || changeset.below(*table, &[]).filter_map(Change::after);
        let rows = if changed().count() == after.most(*table)? {
            changed().cloned().collect()
        } else {
            after.below(*table, &[])?
        };
        for row in rows {
            configuration.insert(row);
        }
    }
    Ok(configuration)
}
