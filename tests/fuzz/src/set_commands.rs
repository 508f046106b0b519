//! Commands that edit a configuration, one a line.

use rewire_schema::edit::words::split;
use rewire_schema::edit::{Edits, complete, parse_script, to_set_commands};
use rewire_schema::{Configuration, Row};

use crate::with;

/// Reads commands, does them to a configuration, writes what came of it as commands and does those. Completes the last
/// line. Gives whether all of it could be done.
pub fn run(bytes: &[u8]) -> bool {
    let base = crate::base();
    let mut edits = Edits::default();
    let done = match parse_script("fuzz", bytes) {
        Ok(script) => match script.apply(base, &mut edits) {
            Ok(()) => true,
            Err(errors) => {
                assert!(!errors.render(true).is_empty());
                assert_eq!(
                    edits,
                    Edits::default(),
                    "a script that fails changes nothing"
                );
                false
            }
        },
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(!errors.render(true).is_empty());
            false
        }
    };

    let kept = Edits::new(edits.changeset.clone(), &edits.drafts_text());
    assert_eq!(kept.as_ref().ok(), Some(&edits));
    let text = edits.to_set_commands();
    assert_eq!(done_to(base, &text), edits, "{text}");

    let after = with(base, &edits.changeset);
    let text = to_set_commands(&after);
    let again = done_to(&Configuration::default(), &text);
    assert!(again.drafts.is_empty(), "{text}");
    let rows: Vec<Row> = again
        .changeset
        .iter()
        .filter_map(|c| c.after().cloned())
        .collect();
    assert_eq!(rows, after.rows().collect::<Vec<Row>>(), "{text}");

    complete_last_line(base, &edits, &String::from_utf8_lossy(bytes));
    done
}

fn done_to(base: &Configuration, text: &str) -> Edits {
    let mut edits = Edits::default();
    let script = parse_script("again", text.as_bytes());
    let script = script.unwrap_or_else(|errors| panic!("what was written is not read: {errors}"));
    if let Err(errors) = script.apply(base, &mut edits) {
        panic!("what was written cannot be done: {errors}");
    }
    edits
}

/// Every candidate goes on from what is typed.
fn complete_last_line(base: &Configuration, edits: &Edits, text: &str) {
    let line = text.lines().last().unwrap_or_default();
    let words = match split(line) {
        Ok(words) => words,
        Err(open) => open.words,
    };
    let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let Some((partial, before)) = words.split_last() else {
        return;
    };
    if let Ok(completion) = complete(base, edits, &[] as &[&str], before, partial) {
        for candidate in &completion.candidates {
            assert!(
                candidate.text.starts_with(partial),
                "{candidate:?} for {partial:?}"
            );
        }
    }
}
