//! Look-ups in the state of any revision, against that state in memory.

mod common;

use common::*;
use proptest::prelude::*;
use rewire_configdb::{Error, Store};
use rewire_schema::state::Rows;
use rewire_schema::{Configuration, Table, Value, testing};

fn same(store: &Store, revision: u64, state: &Configuration) -> Result<(), TestCaseError> {
    let reader = store.reader(revision).unwrap();
    for table in Table::ALL {
        let all = state.rows_of(*table).collect::<Vec<_>>();
        prop_assert_eq!(&reader.below(*table, &[]).unwrap(), &all);
        for most in [0, 1, 2, all.len()] {
            let some = reader.some_below(*table, &[], most).unwrap();
            prop_assert_eq!(some.len(), most.min(all.len()));
            prop_assert!(some.is_sorted() && some.iter().all(|row| all.contains(row)));
        }
        for row in &all {
            let key = row.row_key();
            prop_assert_eq!(reader.find(&key).unwrap(), Some(row.clone()));
            let first = &key.values()[..1];
            prop_assert_eq!(
                reader.below(*table, first).unwrap(),
                Rows::below(state, *table, first).unwrap()
            );
            let values = row.values();
            for reference in table.definition().references {
                let named = reference.columns.iter();
                let named: Vec<Value> = named
                    .map(|column| values[table.definition().position(column).unwrap()].clone())
                    .collect();
                prop_assert_eq!(
                    reader.by(*table, reference.columns, &named).unwrap(),
                    state.by(*table, reference.columns, &named).unwrap()
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_revision_can_be_looked_into(
        states in proptest::collection::vec(testing::configuration(), 1..4),
    ) {
        let (_folder, path) = folder();
        let mut store = Store::create(&path).unwrap();
        let mut model = vec![Configuration::default()];
        for state in states {
            if commit_target(&mut store, &state).unwrap().is_some() {
                model.push(state);
            }
        }
        for (revision, state) in (0..).zip(&model) {
            same(&store, revision, state)?;
        }
        for row in model.iter().flat_map(Configuration::rows) {
            // What is in one state need not be in another.
            let there = model.last().unwrap().find(&row.row_key());
            let head = store.head().unwrap();
            prop_assert_eq!(store.reader(head).unwrap().find(&row.row_key()).unwrap(), there);
        }
        let beyond = store.reader(model.len() as u64).err();
        prop_assert!(matches!(beyond, Some(Error::NoSuchRevision { .. })), "{:?}", beyond);
    }
}
