//! What means something, and is all in this dataplane, compiles.

use proptest::prelude::*;
use rewire_schema::meaning;
use rewire_schema::testing::{consistent, row};
use rewire_schema::{Configuration, Row};

use crate::{Compiler, unsupported};

/// What is left of a configuration when all that has no meaning, or is not in this dataplane, is taken out.
pub(super) fn meaningful(mut state: Configuration) -> Configuration {
    loop {
        state = consistent(&state);
        let effective = state.effective().into_owned();
        let mut bad: Vec<Row> = effective
            .rows()
            .filter(|row| unsupported(row.borrowed()).is_some())
            .collect();
        if bad.is_empty() {
            let rows: Vec<Row> = state.rows().collect();
            for problem in meaning::check(&state) {
                let path = problem.path.steps();
                let at = rows
                    .iter()
                    .filter(|row| path.starts_with(row.path().steps()));
                bad.extend(at.max_by_key(|row| row.path().steps().len()).cloned());
            }
        }
        if bad.is_empty() {
            return state;
        }
        bad.iter().for_each(|row| drop(state.remove(row)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_means_something_compiles(rows in prop::collection::vec(row(), 0..500)) {
        let mut state = Configuration::default();
        rows.into_iter().for_each(|row| drop(state.insert(row)));
        let state = meaningful(state);
        prop_assert_eq!(meaning::check(&state), []);
        let compiled = Compiler::compile(state.clone(), 1);
        prop_assert!(compiled.is_ok(), "{}", compiled.unwrap_err());
    }
}
