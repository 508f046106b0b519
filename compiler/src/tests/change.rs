//! The check of a change, with the rule about what is not in this dataplane, finds what the check of the whole does.

use proptest::prelude::*;
use proptest::sample::Index;
use rewire_schema::testing::{consistent, row};
use rewire_schema::{Changeset, Configuration, Problem, Row, meaning};

use super::law::meaningful;
use crate::not_yet;

/// What is wrong with a whole configuration, in the order of the check of a change.
fn problems(state: &Configuration) -> Vec<Problem> {
    let mut problems = meaning::check(state);
    problems.extend(state.effective().rows().filter_map(|row| not_yet(&row)));
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

/// Deactivates objects, and activates those that are.
fn toggle(state: &mut Configuration, which: &[Index]) {
    let rows: Vec<Row> = state.rows().collect();
    if rows.is_empty() {
        return;
    }
    for index in which {
        let mut row = index.get(&rows).clone();
        *row.marks_mut() = row.marks().with_deactivated(!row.marks().deactivated());
        state.insert(row);
    }
}

fn remove(state: &mut Configuration, which: &[Index]) {
    let rows: Vec<Row> = state.rows().collect();
    if !rows.is_empty() {
        let removed = which.iter().map(|index| index.get(&rows));
        removed.for_each(|row| drop(state.remove(row)));
    }
}

fn places() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_change_has_the_problems_of_what_it_leads_to(
        rows in prop::collection::vec(row(), 0..300),
        hidden in places(),
        added in prop::collection::vec(row(), 0..8),
        removed in prop::collection::vec(any::<Index>(), 0..3),
        toggled in places(),
    ) {
        let mut before = Configuration::default();
        rows.into_iter().for_each(|row| drop(before.insert(row)));
        // What is deactivated may be what is not in this dataplane, until it is activated.
        let mut before = consistent(&before);
        toggle(&mut before, &hidden);
        let before = meaningful(before);
        prop_assert_eq!(problems(&before), []);
        let mut after = before.clone();
        remove(&mut after, &removed);
        added.into_iter().for_each(|row| drop(after.insert(row)));
        toggle(&mut after, &toggled);
        let after = consistent(&after);
        let changeset = Changeset::between(&before, &after);
        let found = meaning::check_change_and(&after, &changeset, &not_yet).unwrap();
        prop_assert_eq!(found, problems(&after));
    }
}
