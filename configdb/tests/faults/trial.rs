//! One verb on one disk that fails at one call.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewire_configdb::Error;

use crate::common::{insert, text, vpc};
use crate::layer::{Faults, Lasting, What};
use crate::setting;
use crate::verb::{Desk, NAME, On, Verb, commit, furnish, journal_with_more};
use crate::vfs::Call;
use crate::world::{Files, World, read_files, scratch, write_files};

/// What verbs begin on, and what each leads to on a disk that works.
pub(crate) struct Start {
    files: Files,
    journal: Arc<[u8]>,
}

/// What a verb does on a disk that works.
pub(crate) struct Expected {
    said: String,
    before: Option<World>,
    after: Option<World>,
}

/// Which calls failed first, and how often.
pub(crate) type Struck = BTreeMap<Call, usize>;

impl Start {
    pub(crate) fn new() -> Start {
        let folder = scratch();
        let desk = furnish(folder.path());
        // As a writer leaves it that does not come to an end: with its log.
        let files = read_files(folder.path());
        assert_eq!(files.len(), 2, "{:?}", files.keys());
        drop(desk);
        let journal = journal_with_more(&files);
        Start { files, journal }
    }

    fn files(&self, on: On) -> Files {
        match on {
            On::Nothing | On::Journal => Files::new(),
            On::File | On::Store => self.files.clone(),
            On::OldFile => {
                let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/version-2.db");
                [(NAME.to_owned(), std::fs::read(old).unwrap())].into()
            }
        }
    }

    pub(crate) fn expected(&self, verb: &Verb) -> Expected {
        let folder = scratch();
        write_files(folder.path(), &self.files(verb.on));
        let mut desk = Desk::new(folder.path(), Arc::clone(&self.journal));
        prepare(verb, &mut desk);
        let before = world(&desk);
        Expected {
            said: (verb.act)(&mut desk).unwrap(),
            before,
            after: world(&desk),
        }
    }
}

fn prepare(verb: &Verb, desk: &mut Desk) {
    if verb.on == On::Store {
        (verb.before)(desk.open().unwrap());
    }
}

/// What is there, by the eyes of somebody who comes now; none where there is no store.
fn world(desk: &Desk) -> Option<World> {
    match World::of(&desk.path) {
        Err(Error::Missing { .. }) => None,
        result => Some(result.unwrap()),
    }
}

/// Whether an error says that the disk failed, and nothing that is not true.
pub(crate) fn blames_the_disk(error: &Error) -> bool {
    matches!(error, Error::Sqlite { .. } | Error::Io { .. })
}

/// Does a verb once for each call to the disk that it makes; that call fails.
pub(crate) fn every_call(
    faults: &Faults,
    start: &Start,
    verb: &Verb,
    what: What,
    lasting: Lasting,
) -> Struck {
    let expected = start.expected(verb);
    let mut struck = Struck::new();
    let step = match setting("REWIRE_THOROUGH", 0) {
        0 => usual_step(verb.on, what, lasting),
        _ => 1,
    };
    for calls in (0..).step_by(step) {
        let place = format!("{}, {what:?} after {calls} calls, {lasting:?}", verb.name);
        let folder = scratch();
        write_files(folder.path(), &start.files(verb.on));
        let mut desk = Desk::new(folder.path(), Arc::clone(&start.journal));
        prepare(verb, &mut desk);
        faults.arm(what, calls, lasting);
        let result = (verb.act)(&mut desk);
        let Some(call) = faults.disarm() else {
            assert_eq!(result.unwrap(), expected.said, "{place}");
            break;
        };
        *struck.entry(call).or_default() += 1;
        let place = format!("{place}, {call:?}: {}", describe(&result));
        let done = judge(result, &desk, &expected, &place);
        go_on(verb, done, &mut desk, &expected, &place);
    }
    struck
}

/// What fails for good fails in much the same way wherever it begins; and making a store takes hundreds of calls, most of
/// which are the same with a journal and without.
fn usual_step(on: On, what: What, lasting: Lasting) -> usize {
    match (on, lasting) {
        (On::Journal, Lasting::Once) => 3,
        (On::OldFile, Lasting::Once) if what == What::Full => 4,
        (_, Lasting::Once) => 1,
        (On::File | On::Store, Lasting::ForGood) => 4,
        (On::Nothing | On::Journal | On::OldFile, Lasting::ForGood) => 12,
    }
}

fn describe(result: &Result<String, Error>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => text(error),
    }
}

/// What was acknowledged is there, and true; what was not is there whole or not at all. Gives whether it is there.
fn judge(result: Result<String, Error>, desk: &Desk, expected: &Expected, place: &str) -> bool {
    let found = world(desk);
    match result {
        Ok(said) => {
            assert_eq!(said, expected.said, "{place}");
            assert_eq!(found, expected.after, "{place}");
        }
        Err(error) => {
            assert!(blames_the_disk(&error), "{place}: {error:?}");
            assert!(
                found == expected.before || found == expected.after,
                "{place}: {found:?}"
            );
        }
    }
    found == expected.after
}

/// The disk works again: so does the store that was open all the time, or is opened now.
fn go_on(verb: &Verb, done: bool, desk: &mut Desk, expected: &Expected, place: &str) {
    let reads = expected.before == expected.after;
    if reads || !done {
        let again = (verb.act)(desk).unwrap_or_else(|error| panic!("{place}, then {error:?}"));
        assert_eq!(again, expected.said, "{place}");
    }
    let committed = commit(desk.open().unwrap(), &insert([vpc("later", None)])).unwrap();
    desk.store = None;
    let mut last = expected.after.clone().unwrap();
    last.revisions
        .push((committed.revision, committed.state_digest, committed.hash));
    // A plain commit confirms.
    last.confirmation = None;
    assert_eq!(world(desk), Some(last), "{place}");
    let known = ["gateway.db", "gateway.db-wal"];
    let files = read_files(desk.path.parent().unwrap());
    for name in files.keys() {
        assert!(known.contains(&name.as_str()), "{place} left {name} behind");
    }
}
