//! Look-ups against what they mean: going through all rows.

use proptest::prelude::*;
use rewire_schema::edit::Draft;
use rewire_schema::state::{Effective, ancestors, referring};
use rewire_schema::{Changeset, Configuration, Overlay, Row, RowKey, Rows, Table, Value};
use rewire_schema::{effective_changeset, testing};

fn values(row: &Row, columns: &[&str]) -> Vec<Value> {
    let definition = row.table().definition();
    let all = row.values();
    let value = |name: &&str| all[definition.position(name).unwrap()].clone();
    columns.iter().map(value).collect()
}

/// Every look-up into `found` gives what going through the rows of `expected` does. Keys and values are those of `asked`.
fn same(found: &dyn Rows, expected: &Configuration, asked: &Configuration) {
    for row in asked.rows() {
        let key = row.row_key();
        assert_eq!(found.find(&key).unwrap(), expected.find(&key));
        for length in 0..=key.values().len() {
            let prefix = &key.values()[..length];
            let begins = |row: &Row| row.row_key().values().starts_with(prefix);
            let rows: Vec<Row> = expected.rows_of(row.table()).filter(begins).collect();
            assert_eq!(found.below(row.table(), prefix).unwrap(), rows);
        }
        let definition = row.table().definition();
        let references = definition.references.iter().map(|r| r.columns);
        for columns in references.chain(definition.unique.iter().copied()) {
            let wanted = values(&row, columns);
            let has = |row: &Row| values(row, columns) == wanted;
            let rows: Vec<Row> = expected.rows_of(row.table()).filter(has).collect();
            assert_eq!(found.by(row.table(), columns, &wanted).unwrap(), rows);
        }
    }
}

/// Whether a row is left when what is deactivated is ignored.
fn counts(configuration: &Configuration, row: &Row) -> bool {
    let deactivated = |key: RowKey| {
        let row = configuration.find(&key);
        row.is_some_and(|row| row.marks().deactivated())
    };
    !row.marks().deactivated() && !ancestors(&row.row_key()).any(deactivated)
}

/// The row as if the deactivated fields had never been given.
fn without_deactivated_fields(row: Row) -> Row {
    let mut fields = Draft::of(&row);
    for (index, column) in row.table().definition().columns.iter().enumerate() {
        let mark = row.marks().fields().get(column.field);
        if mark.is_some_and(|mark| mark.deactivated) {
            fields.clear(index);
        }
    }
    fields
        .row()
        .unwrap()
        .expect("what is required is never deactivated")
}

fn both(a: &Configuration, b: &Configuration) -> Configuration {
    let mut both = a.clone();
    b.rows().for_each(|row| drop(both.insert(row)));
    both
}

/// A configuration in which some rows are deactivated.
fn marked() -> impl Strategy<Value = Configuration> {
    (
        testing::configuration(),
        prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    )
        .prop_map(|(mut configuration, chosen)| {
            let rows: Vec<Row> = configuration.rows().collect();
            for index in chosen.iter().filter(|_| !rows.is_empty()) {
                let mut row = index.get(&rows).clone();
                *row.marks_mut() = row.marks().with_deactivated(true);
                configuration.insert(row);
            }
            configuration
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_configuration_finds_its_rows(configuration in testing::configuration(), other in testing::configuration()) {
        same(&configuration, &configuration, &both(&configuration, &other));
    }

    #[test]
    fn edits_on_a_state_look_like_the_state_that_they_lead_to(
        before in testing::configuration(),
        after in testing::configuration(),
    ) {
        let edits = Changeset::between(&before, &after);
        same(&Overlay::new(&before, &edits), &after, &both(&before, &after));
        let back = edits.inverse();
        same(&Overlay::new(&Overlay::new(&before, &edits), &back), &before, &both(&before, &after));
    }

    #[test]
    fn the_change_of_what_is_in_effect_is_the_difference(before in marked(), after in marked()) {
        let changeset = Changeset::between(&before, &after);
        let expected = Changeset::between(&before.effective(), &after.effective());
        prop_assert_eq!(effective_changeset(&before, &changeset).unwrap(), expected);
    }

    #[test]
    fn deactivating_and_activating_again_is_a_change_of_all_below(
        (before, chosen) in (testing::configuration(), any::<prop::sample::Index>()),
    ) {
        let rows: Vec<Row> = before.rows().collect();
        prop_assume!(!rows.is_empty());
        let mut row = chosen.get(&rows).clone();
        *row.marks_mut() = row.marks().with_deactivated(!row.marks().deactivated());
        let mut after = before.clone();
        after.insert(row);
        let changeset = Changeset::between(&before, &after);
        let expected = Changeset::between(&before.effective(), &after.effective());
        prop_assert_eq!(effective_changeset(&before, &changeset).unwrap(), expected);
    }

    #[test]
    fn what_is_deactivated_is_ignored_with_all_below_it(configuration in marked()) {
        let mut expected = Configuration::default();
        let left = configuration.rows().filter(|row| counts(&configuration, row));
        left.for_each(|row| drop(expected.insert(without_deactivated_fields(row))));
        same(&Effective(&configuration), &expected, &configuration);
        prop_assert_eq!(configuration.effective().into_owned(), expected);
    }

    #[test]
    fn who_refers_to_a_row_names_it(configuration in testing::configuration()) {
        for target in configuration.rows() {
            let name = target.table().definition().name;
            let key = target.row_key();
            let names = |row: &Row| {
                let mut references = row.table().definition().references.iter();
                references.any(|r| r.table == name && values(row, r.columns) == key.values())
            };
            let expected: Vec<Row> = configuration.rows().filter(names).collect();
            prop_assert_eq!(referring(&configuration, &key).unwrap(), expected);
        }
    }
}

#[test]
fn a_key_of_another_shape_finds_nothing() {
    let configuration = Configuration::default();
    let too_long = vec![Value::Text("a".to_owned()); 3];
    assert_eq!(configuration.below(Table::Vpc, &too_long), []);
    assert_eq!(configuration.below(Table::Route, &[Value::Integer(1)]), []);
}

#[test]
fn a_next_hop_stands_in_its_route_and_that_in_its_vpc() {
    let text = |text: &str| Value::Text(text.to_owned());
    let key = [text("blue"), text("10.0.0.0/8"), Value::Integer(0)];
    let hop = RowKey::from_values(Table::NextHop, &key).unwrap();
    let above: Vec<RowKey> = ancestors(&hop).collect();
    assert_eq!(
        above,
        [
            RowKey::from_values(Table::Vpc, &key[..1]).unwrap(),
            RowKey::from_values(Table::Route, &key[..2]).unwrap(),
        ]
    );
}
