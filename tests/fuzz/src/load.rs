//! Documents onto what is there already.

use rewire_schema::load::{LoadError, Mode, load};
use rewire_schema::source::read_shape;

use crate::with;

/// Loads a document in every mode onto a configuration. What it changes fits, and loading it again changes nothing more.
/// Gives whether it can be merged.
pub fn run(bytes: &[u8]) -> bool {
    let base = crate::base();
    let taken = |mode| match load("fuzz", bytes, mode, base) {
        Ok(changeset) => {
            let after = with(base, &changeset);
            let again = load("fuzz", bytes, mode, &after);
            assert!(
                again.as_ref().is_ok_and(|again| again.is_empty()),
                "{mode:?} again: {again:?}"
            );
            Some(after)
        }
        Err(LoadError::Document(errors)) => {
            assert!(!errors.is_empty());
            assert!(!errors.render(true).is_empty());
            None
        }
        Err(LoadError::State(error)) => panic!("a configuration in memory can be read: {error}"),
    };
    let whole = taken(Mode::Override);
    let read = read_shape("fuzz", bytes).ok();
    assert_eq!(whole, read.map(|source| source.configuration));
    taken(Mode::Replace);
    taken(Mode::Patch);
    taken(Mode::Merge).is_some()
}
