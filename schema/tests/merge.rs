//! Merging against a naive three-way merge of whole configurations.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rewire_schema::merge::{Conflict, Side, rebase};
use rewire_schema::model::NextHopRow;
use rewire_schema::{Changeset, Configuration, Row, RowKey, Step, Table, Value, testing};
use rewire_schema::{FieldMark, FieldMarks};

/// A state and two changesets that start at it.
fn fork() -> impl Strategy<Value = (Configuration, Changeset, Changeset)> {
    let any = testing::configuration().prop_flat_map(|state| {
        let ours = testing::changeset_on(&state);
        let theirs = testing::changeset_on(&state);
        (Just(state), ours, theirs)
    });
    prop_oneof![2 => any, 1 => fork_of_lists()]
}

/// Two routes with lists of next hops, which random rows seldom touch from both sides.
fn fork_of_lists() -> impl Strategy<Value = (Configuration, Changeset, Changeset)> {
    let pattern = state(BASE);
    let hops: Vec<_> = pattern.route_next_hop.values().cloned().collect();
    let lists = move || {
        let (pattern, hops) = (pattern.clone(), hops.clone());
        let list = || prop::collection::vec(prop::sample::select(hops.clone()), 0..4);
        prop::collection::vec(list(), 2).prop_map(move |lists| {
            let mut state = pattern.clone();
            state.route_next_hop.clear();
            for (route, list) in state.route.clone().into_values().zip(lists) {
                for (position, hop) in (0..).zip(list) {
                    let prefix = route.prefix;
                    state.insert(
                        NextHopRow {
                            prefix,
                            position,
                            ..hop
                        }
                        .into(),
                    );
                }
            }
            state
        })
    };
    // Often a side leaves everything as it was.
    let side = prop_oneof![2 => lists().prop_map(Some), 1 => Just(None)];
    (lists(), side.clone(), side).prop_map(|(base, ours, theirs)| {
        let change = |to: Option<Configuration>| {
            to.map_or_else(Changeset::default, |to| Changeset::between(&base, &to))
        };
        let (ours, theirs) = (change(ours), change(theirs));
        (base, ours, theirs)
    })
}

const BASE: &str = r#"
vpcs:
  blue:
    routes:
      0.0.0.0/0:
        next_hops:
          - { interface: wan, via: 203.0.113.1 }
          - { interface: wan, via: 203.0.113.2 }
      10.0.0.0/8: { next_hops: [{ interface: wan }] }
  red: {}
interfaces:
  wan:
    vpc: blue
    port: "null:a"
    mac: "02:00:00:00:00:01"
    mtu: 1500
"#;

fn state(text: &str) -> Configuration {
    let source = rewire_schema::source::read_shape("test", text.as_bytes());
    source
        .expect("the document has the right shape")
        .configuration
}

fn with(state: &Configuration, changeset: &Changeset) -> Configuration {
    let mut after = state.clone();
    after.apply(changeset).expect("the changeset fits");
    after
}

/// A part of a configuration that is merged for itself: a row, or a list with all of its positions.
type Unit = (Table, Vec<Value>);

/// Whether a table's rows have no name but their position.
fn is_list(table: Table) -> bool {
    let last = table.definition().steps().last();
    matches!(last, Some(Step::Position(_)))
}

/// What is merged, as a person would write it down: each row under its key, each list whole.
fn units(state: &Configuration) -> BTreeMap<Unit, Vec<Row>> {
    let mut units: BTreeMap<Unit, Vec<Row>> = BTreeMap::new();
    for row in state.rows() {
        let table = row.table();
        // The last column of a list's key is the position.
        let key_length = table.definition().key_len() - usize::from(is_list(table));
        let key = row.values()[..key_length].to_vec();
        units.entry((table, key)).or_default().push(row);
    }
    units
}

/// The three-way merge of one value; none is a conflict.
fn three_way<T: PartialEq + Clone>(base: &T, ours: &T, theirs: &T) -> Option<T> {
    if ours == theirs || ours == base {
        Some(theirs.clone())
    } else {
        (theirs == base).then(|| ours.clone())
    }
}

/// The merged configuration, or every place of a conflict: a row, and the column where it is of a field.
fn naive(
    base: &Configuration,
    ours: &Configuration,
    theirs: &Configuration,
) -> Result<Configuration, BTreeSet<(RowKey, Option<&'static str>)>> {
    let (base, ours, theirs) = (units(base), units(ours), units(theirs));
    let all: BTreeSet<&Unit> = base
        .keys()
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    let mut merged = Configuration::default();
    let mut conflicts = BTreeSet::new();
    for unit in all {
        let of = |side: &BTreeMap<Unit, Vec<Row>>| side.get(unit).cloned().unwrap_or_default();
        let (base, ours, theirs) = (of(&base), of(&ours), of(&theirs));
        if let Some(rows) = three_way(&base, &ours, &theirs) {
            rows.into_iter().for_each(|row| drop(merged.insert(row)));
            continue;
        }
        let table = unit.0;
        if is_list(table) {
            for row in base.iter().chain(&ours).chain(&theirs) {
                let at = |rows: &[Row]| rows.iter().find(|r| r.row_key() == row.row_key()).cloned();
                if at(&ours) != at(&theirs) {
                    conflicts.insert((row.row_key(), None));
                }
            }
            continue;
        }
        let (Some(our_row), Some(their_row)) = (ours.first(), theirs.first()) else {
            let row = base
                .first()
                .expect("one side changed it, the other deleted it");
            conflicts.insert((row.row_key(), None));
            continue;
        };
        let mut values = Vec::new();
        for (index, column) in table.definition().columns.iter().enumerate() {
            let base = base.first().map(|row| row.values()[index].clone());
            if column.name == "marks" {
                // Part by part, in the next step.
                values.push(Value::Null);
                continue;
            }
            let ours = Some(our_row.values()[index].clone());
            let theirs = Some(their_row.values()[index].clone());
            match three_way(&base, &ours, &theirs) {
                Some(value) => values.extend(value),
                None => drop(conflicts.insert((our_row.row_key(), Some(column.name)))),
            }
        }
        let marks = naive_marks(base.first(), our_row, their_row);
        if marks.is_none() {
            conflicts.insert((our_row.row_key(), Some("marks")));
        }
        if let (true, Some(marks)) = (values.len() == table.definition().columns.len(), marks) {
            let row = Row::from_values(table, &values).expect("its values are of rows");
            merged.insert(with_marks(row, marks));
        }
    }
    if conflicts.is_empty() {
        Ok(merged)
    } else {
        Err(conflicts)
    }
}

/// The merged marks of fields: whether each is deactivated, and what is noted about it. None where notes conflict.
fn naive_marks(
    base: Option<&Row>,
    ours: &Row,
    theirs: &Row,
) -> Option<Vec<(&'static str, FieldMark)>> {
    let mut merged = Vec::new();
    for column in ours.table().definition().columns {
        let of = |row: Option<&Row>| {
            let mark = row.and_then(|row| row.marks().fields().get(column.field).cloned());
            mark.unwrap_or_default()
        };
        let (base, ours, theirs) = (of(base), of(Some(ours)), of(Some(theirs)));
        let mark = FieldMark {
            deactivated: three_way(&base.deactivated, &ours.deactivated, &theirs.deactivated)?,
            annotation: three_way(&base.annotation, &ours.annotation, &theirs.annotation)?,
        };
        merged.push((column.field, mark));
    }
    Some(merged)
}

/// The row with these marks, as far as the fields are set.
fn with_marks(mut row: Row, marks: Vec<(&'static str, FieldMark)>) -> Row {
    let columns = row.table().definition().columns;
    let values = row.values();
    let mut fields = FieldMarks::default();
    for (field, mark) in marks {
        let mut set = columns
            .iter()
            .zip(&values)
            .filter(|(c, v)| c.absent().as_ref() != Some(v));
        if set.any(|(column, _)| column.field == field) {
            fields.set(field, mark);
        }
    }
    *row.marks_mut() = row.marks().with_fields(fields);
    row
}

fn places(conflicts: &[Conflict]) -> BTreeSet<(RowKey, Option<&'static str>)> {
    conflicts.iter().map(|c| (c.key.clone(), c.field)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_merge_is_the_naive_one((state, ours, theirs) in fork()) {
        let after_theirs = with(&state, &theirs);
        let expected = naive(&state, &with(&state, &ours), &after_theirs);
        match (rebase(&ours, &theirs), expected) {
            (Ok(rebased), Ok(expected)) => prop_assert_eq!(with(&after_theirs, &rebased), expected),
            (Err(found), Err(expected)) => {
                prop_assert_eq!(places(&found), expected);
                prop_assert!(found.is_sorted_by(|a, b| a.key <= b.key));
                for conflict in &found {
                    prop_assert_ne!(&conflict.ours, &conflict.theirs);
                }
            }
            (found, expected) => prop_assert!(false, "found {found:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn both_orders_lead_to_one_state((state, ours, theirs) in fork()) {
        match (rebase(&ours, &theirs), rebase(&theirs, &ours)) {
            (Ok(after_theirs), Ok(after_ours)) => prop_assert_eq!(
                with(&with(&state, &theirs), &after_theirs),
                with(&with(&state, &ours), &after_ours)
            ),
            (Err(one), Err(other)) => {
                prop_assert_eq!(one.len(), other.len());
                for (one, other) in one.into_iter().zip(other) {
                    let (ours, theirs) = (other.theirs, other.ours);
                    prop_assert_eq!(one, Conflict { ours, theirs, ..other });
                }
            }
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }

    #[test]
    fn nothing_and_oneself((_, ours, _) in fork()) {
        let nothing = Changeset::default();
        prop_assert_eq!(rebase(&ours, &nothing), Ok(ours.clone()));
        prop_assert_eq!(rebase(&nothing, &ours), Ok(nothing.clone()));
        prop_assert_eq!(rebase(&ours, &ours), Ok(nothing));
    }

    /// Undoing the last revision is its inverse; undoing what was undone already is nothing.
    #[test]
    fn a_revert_of_the_last_revision_is_its_inverse((_, entry, _) in fork()) {
        let undo = entry.inverse();
        prop_assert_eq!(rebase(&undo, &Changeset::default()), Ok(undo.clone()));
        prop_assert_eq!(rebase(&undo, &undo), Ok(Changeset::default()));
    }
}

/// The random forks reach both outcomes of the merge often enough to mean something.
#[test]
fn random_forks_merge_and_conflict() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut merged, mut field, mut row, mut list) = (0, 0, 0, 0);
    for _ in 0..500 {
        let (_, ours, theirs) = fork()
            .new_tree(&mut runner)
            .expect("it generates")
            .current();
        match rebase(&ours, &theirs) {
            Ok(rebased) => merged += usize::from(rebased != ours),
            Err(conflicts) => {
                let in_list = |c: &Conflict| is_list(c.key.table());
                field += usize::from(conflicts.iter().any(|c| c.field.is_some()));
                row += usize::from(conflicts.iter().any(|c| c.field.is_none() && !in_list(c)));
                list += usize::from(conflicts.iter().any(in_list));
            }
        }
    }
    assert!(
        merged > 20 && field > 20 && row > 20 && list > 20,
        "merged {merged}, conflicts of fields {field}, of rows {row}, of lists {list}"
    );
}

/// Merging takes a list for the rows of one table that share all of their key but its last column.
#[test]
fn nothing_stands_below_a_position() {
    for table in Table::ALL {
        let definition = table.definition();
        let steps: Vec<Step> = definition.steps().collect();
        for (index, step) in steps.iter().enumerate() {
            if let Step::Position(column) = step {
                assert_eq!(index + 1, steps.len(), "{}", definition.name);
                assert_eq!(column + 1, definition.key_len(), "{}", definition.name);
            }
        }
    }
}

mod by_hand {
    use super::*;

    /// The merge of two edited documents: what follows theirs, or the lines of the conflicts.
    fn merge(ours: &str, theirs: &str) -> Result<Configuration, Vec<String>> {
        let (base, ours, theirs) = (state(BASE), state(ours), state(theirs));
        let change = |to: &Configuration| Changeset::between(&base, to);
        match rebase(&change(&ours), &change(&theirs)) {
            Ok(rebased) => Ok(with(&theirs, &rebased)),
            Err(conflicts) => Err(conflicts.iter().map(Conflict::to_string).collect()),
        }
    }

    #[test]
    fn fields_of_one_row_merge() {
        let ours = BASE.replace("mtu: 1500", "mtu: 9000");
        let theirs = BASE.replace("null:a", "null:b");
        let both = theirs.replace("mtu: 1500", "mtu: 9000");
        assert_eq!(merge(&ours, &theirs), Ok(state(&both)));
    }

    #[test]
    fn a_field_that_both_changed_is_shown_with_its_three_values() {
        let ours = BASE.replace("mtu: 1500", "mtu: 9000");
        let theirs = BASE.replace("mtu: 1500", "mtu: 1400");
        let line = "interfaces.wan.mtu: base 1500, ours 9000, theirs 1400";
        assert_eq!(merge(&ours, &theirs), Err(vec![line.to_owned()]));
    }

    #[test]
    fn a_row_that_both_made_conflicts_where_it_differs() {
        let ours = BASE.replace("red: {}", "red: {}\n  green: { description: meadow }");
        let theirs = BASE.replace("red: {}", "red: {}\n  green: { description: forest }");
        let line = "vpcs.green.description: base none, ours meadow, theirs forest";
        assert_eq!(merge(&ours, &theirs), Err(vec![line.to_owned()]));
        assert_eq!(merge(&ours, &ours), Ok(state(&ours)));
    }

    #[test]
    fn changed_here_and_deleted_there_is_a_conflict_of_the_row() {
        let ours = BASE.replace("red: {}", "red: { description: fire }");
        let theirs = BASE.replace("  red: {}\n", "");
        let line = "vpcs.red: base {description none}, ours {description fire}, theirs none";
        assert_eq!(merge(&ours, &theirs), Err(vec![line.to_owned()]));
        let line = "vpcs.red: base {description none}, ours none, theirs {description fire}";
        assert_eq!(merge(&theirs, &ours), Err(vec![line.to_owned()]));
    }

    /// By position this would merge: ours takes the first next hop away, theirs leads the first one elsewhere, and the
    /// next hop that theirs meant would be gone.
    #[test]
    fn a_list_is_one_value() {
        let ours = BASE.replace("          - { interface: wan, via: 203.0.113.1 }\n", "");
        let theirs = BASE.replace(
            "- { interface: wan, via: 203.0.113.2 }",
            "- { interface: wan, via: 203.0.113.2 }\n          - { interface: wan, via: 203.0.113.3 }",
        );
        assert_eq!(
            merge(&ours, &theirs),
            Err(vec![
                "vpcs.blue.routes.0.0.0.0/0.next_hops[0]: base {via 203.0.113.1}, ours {via 203.0.113.2}, \
                 theirs {via 203.0.113.1}"
                    .to_owned(),
                "vpcs.blue.routes.0.0.0.0/0.next_hops[1]: base {interface wan, via 203.0.113.2}, ours none, \
                 theirs {interface wan, via 203.0.113.2}"
                    .to_owned(),
                "vpcs.blue.routes.0.0.0.0/0.next_hops[2]: base none, ours none, \
                 theirs {interface wan, via 203.0.113.3}"
                    .to_owned(),
            ])
        );
    }

    /// Entries of a service have no name but their position either, and whoever deletes the service has deleted the whole
    /// list, which the other one still counts on.
    #[test]
    fn a_list_that_goes_with_its_owner_conflicts_with_a_change_of_it() {
        let two = format!(
            "{BASE}services:\n  web:\n    entries:\n      - {{ protocol: icmp }}\n      - {{ protocol: 99 }}\n"
        );
        let one = two.replace("      - { protocol: 99 }\n", "");
        let (two, one, none) = (state(&two), state(&one), state(BASE));
        let (delete, shorten) = (
            Changeset::between(&two, &none),
            Changeset::between(&two, &one),
        );
        for (ours, theirs) in [(&delete, &shorten), (&shorten, &delete)] {
            let conflicts = rebase(ours, theirs).expect_err("both changed the list");
            // What both deleted is no conflict.
            let places: Vec<_> = conflicts.iter().map(|c| c.path.to_string()).collect();
            assert_eq!(places, ["services.web.entries[0]"]);
        }
    }

    #[test]
    fn changesets_of_different_states_are_refused_not_mixed() {
        let base = state(BASE);
        let elsewhere = state(&BASE.replace("mtu: 1500", "mtu: 1280"));
        let ours = Changeset::between(&base, &state(&BASE.replace("mtu: 1500", "mtu: 9000")));
        let theirs = Changeset::between(&elsewhere, &state(&BASE.replace("null:a", "null:b")));
        let conflicts = rebase(&ours, &theirs).expect_err("they do not start at one state");
        assert!(matches!(conflicts[0].theirs, Side::Row(_)));
        assert_eq!(conflicts[0].field, None);
    }
}
