//! The check at the cost of the change finds what the check of the whole state does.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use rewire_schema::{
    Changeset, ColumnDefinition, Configuration, Kind, Row, Value, meaning, source, testing,
};

/// The largest part of a configuration that is easily found to have no problems: what a problem is about goes.
fn good(configuration: Configuration) -> Configuration {
    let mut configuration = configuration;
    loop {
        let problems = meaning::check(&configuration);
        if problems.is_empty() {
            return configuration;
        }
        for problem in &problems {
            let steps = problem.path.steps();
            let about = |row: &Row| steps.starts_with(row.path().steps());
            let deepest = configuration.rows().filter(about);
            if let Some(row) = deepest.max_by_key(|row| row.path().steps().len()) {
                configuration.remove(&row);
            }
        }
        configuration = testing::consistent(&configuration);
    }
}

fn good_configuration() -> impl Strategy<Value = Configuration> {
    testing::configuration().prop_map(good)
}

/// A good configuration, and a changeset on it that the database accepts.
fn changed() -> impl Strategy<Value = (Configuration, Changeset)> {
    good_configuration().prop_flat_map(|before| {
        let changesets = testing::changeset_on(&before);
        changesets.prop_map(move |changeset| (before.clone(), changeset))
    })
}

fn after(before: &Configuration, changeset: &Changeset) -> Configuration {
    let mut after = before.clone();
    after.apply(changeset).unwrap();
    after
}

/// A configuration that has one of everything that rules speak of.
static RICH: LazyLock<Configuration> = LazyLock::new(|| {
    let text = include_str!("meaning_documents/good.yaml");
    let source = source::read("good.yaml", text.as_bytes());
    let source = source.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    source.configuration
});

/// What the columns of that configuration hold, by kind of column.
static ELSEWHERE: LazyLock<BTreeMap<String, Vec<Value>>> = LazyLock::new(|| {
    let mut elsewhere: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in RICH.rows() {
        let columns = row.table().definition().columns;
        for (column, value) in columns.iter().zip(row.values()) {
            let values = elsewhere.entry(kind(column)).or_insert(vec![Value::Null]);
            values.push(value);
        }
    }
    elsewhere
});

/// Columns of one kind can take each other's values, and it makes sense to try.
fn kind(column: &ColumnDefinition) -> String {
    let name = match column.kind {
        Kind::Integer { .. } => column.name,
        _ => "",
    };
    format!("{:?} {:?} {name}", column.kind, column.target)
}

/// What can be done to a row, given by numbers that stand for a choice each.
#[derive(Clone, Copy, Debug)]
struct Edit {
    row: prop::sample::Index,
    column: prop::sample::Index,
    other: prop::sample::Index,
    kind: u8,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit =
        (any::<[prop::sample::Index; 3]>(), 0u8..10).prop_map(|([row, column, other], kind)| {
            Edit {
                row,
                column,
                other,
                kind,
            }
        });
    prop::collection::vec(edit, 1..4)
}

/// Deletes a row, deactivates it, or gives a field of it, or of a copy of it, a value that the field has elsewhere.
fn apply(edit: Edit, configuration: &mut Configuration) {
    let rows: Vec<Row> = configuration.rows().collect();
    if rows.is_empty() {
        return;
    }
    let row = edit.row.get(&rows);
    let columns = row.table().definition().columns;
    let changed = match edit.kind {
        0 => {
            configuration.remove(row);
            return;
        }
        1 => {
            let mut row = row.clone();
            *row.marks_mut() = row.marks().with_deactivated(!row.marks().deactivated());
            row
        }
        _ => {
            let mut values = row.values();
            let column = edit.column.index(columns.len() - 2);
            let elsewhere = &ELSEWHERE[&kind(&columns[column])];
            values[column] = edit.other.get(elsewhere).clone();
            // What the column does not take changes nothing.
            let changed = Row::from_values(row.table(), &values).unwrap_or_else(|_| row.clone());
            if columns[column].key && edit.kind > 5 {
                configuration.remove(row);
            }
            changed
        }
    };
    configuration.insert(changed);
}

/// A good configuration of the rich kind, and a changeset that a few edits make of it.
fn edited() -> impl Strategy<Value = (Configuration, Changeset)> {
    (edits(), edits()).prop_map(|(first, second)| {
        let mut before = RICH.clone();
        first.iter().for_each(|edit| apply(*edit, &mut before));
        let before = good(testing::consistent(&before));
        let mut after = before.clone();
        second.iter().for_each(|edit| apply(*edit, &mut after));
        let after = testing::consistent(&after);
        let changeset = Changeset::between(&before, &after);
        (before, changeset)
    })
}

#[test]
fn one_of_everything_is_good() {
    assert_eq!(meaning::check(&RICH), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn a_change_has_the_problems_of_what_it_leads_to((before, changeset) in changed()) {
        let after = after(&before, &changeset);
        let whole = meaning::check(&after);
        prop_assert_eq!(meaning::check_change(&after, &changeset).unwrap(), whole);
    }

    #[test]
    fn an_edit_has_the_problems_of_what_it_leads_to((before, changeset) in edited()) {
        let after = after(&before, &changeset);
        let whole = meaning::check(&after);
        prop_assert_eq!(meaning::check_change(&after, &changeset).unwrap(), whole);
    }

    #[test]
    fn going_back_to_what_was_good_is_good((before, changeset) in changed()) {
        let after = good(after(&before, &changeset));
        let back = Changeset::between(&after, &before);
        prop_assert_eq!(meaning::check_change(&before, &back).unwrap(), []);
    }
}

fn cases() -> u32 {
    let cases = std::env::var("REWIRE_MEANING_CASES").ok();
    cases.and_then(|cases| cases.parse().ok()).unwrap_or(256)
}
