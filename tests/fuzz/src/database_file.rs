//! Database files: whole ones, and those of a store in which bytes were changed.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rewire_configdb::{CandidateEdit, CommitRequest, Error, LogQuery, Store, Touching, Unchecked};
use rewire_schema::{Changeset, Configuration, RowKey};

/// What each database file begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// A store as a program of schema version 2 left it, which has to be migrated.
const VERSION_2: &[u8] = include_bytes!("../../../configdb/tests/stores/version-2.db");

/// Opens a file as a store and asks it everything. Bytes that are no database are taken for changes to a good one: the
/// first byte says of which, and then each four say where (three bytes) and what. Gives whether the store is in order.
pub fn run(bytes: &[u8]) -> bool {
    if bytes.starts_with(MAGIC) || bytes.is_empty() {
        return ask(bytes);
    }
    let mut file = match bytes[0] % 2 {
        0 => VERSION_2.to_vec(),
        _ => good_store().to_vec(),
    };
    for change in bytes[1..].chunks_exact(4) {
        let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % file.len();
        file[place] = change[3];
    }
    ask(&file)
}

fn ask(file: &[u8]) -> bool {
    let folder = tempfile::tempdir().expect("there is room for a file");
    let path = folder.path().join("store.db");
    fs::write(&path, file).expect("there is room for a file");
    // What was asked is looked at for panics alone: a damaged file may say anything until it is verified.
    if let Ok(store) = Store::open_read_only(&path) {
        let _ = questions(&store);
    }
    let Ok(mut store) = Store::open(&path) else {
        return false;
    };
    let in_order = store.verify().is_ok();
    if in_order {
        let head = store.head().expect("a store in order has a head");
        let state = store.configuration().expect("its state can be read");
        assert_eq!(store.configuration_at(head).ok(), Some(state));
    }
    let _ = questions(&store);
    let _ = changes(&mut store);
    in_order
}

fn questions(store: &Store) -> Result<(), Error> {
    let (head, state) = store.head_and_configuration()?;
    for revision in head.saturating_sub(3)..=head {
        let _ = store.entry(revision).map(|entry| entry.decode_changeset());
        let _ = store.configuration_at(revision);
        let _ = store.revert_changeset(revision);
    }
    let keys: Vec<RowKey> = state.rows().take(3).map(|row| row.row_key()).collect();
    let _ = store.blame(&keys);
    let _ = store.log(LogQuery::last(10));
    let _ = store.log(LogQuery {
        touching: Some(Touching::Rows(&keys)),
        ..LogQuery::last(10)
    });
    let _ = store.tags();
    let _ = store.candidates().map(|candidates| {
        candidates
            .iter()
            .map(|c| store.candidate(&c.name).is_ok())
            .collect::<Vec<bool>>()
    });
    let _ = store.scheduled();
    let _ = store.lock_holder();
    let _ = store.pending_confirmation();
    let _ = store.next_deadline();
    let _ = store.export(1..=head, std::io::sink());
    Ok(())
}

fn changes(store: &mut Store) -> Result<(), Error> {
    let _ = store.settle(&mut Unchecked);
    let back = store.rewind_changeset(0)?;
    let head = store.head()?;
    let _ = store.commit(CommitRequest::new(head, &back, "fuzz", ""), &mut Unchecked);
    let _ = store.prune(1, true);
    Ok(())
}

/// A store of this version with something of everything.
fn good_store() -> &'static [u8] {
    static STORE: OnceLock<Vec<u8>> = OnceLock::new();
    STORE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("there is room for a file");
        let path = folder.path().join("store.db");
        fill(&path).expect("the store can be made");
        fs::read(&path).expect("the store was made")
    })
}

fn fill(path: &Path) -> Result<(), Error> {
    let mut store = Store::create(path)?.with_clock(|| 1_700_000_000_000_000);
    let all = Changeset::between(&Configuration::default(), crate::base());
    store.commit(
        CommitRequest::new(0, &all, "ada", "everything"),
        &mut Unchecked,
    )?;
    let back = all.inverse();
    let request = CommitRequest {
        confirm: Some(Duration::from_secs(600)),
        ..CommitRequest::new(1, &back, "ben", "nothing")
    };
    store.commit(request, &mut Unchecked)?;
    store.tag("first", 1, "ada")?;
    store.schedule(CommitRequest::new(2, &all, "eve", "later"), i64::MAX / 2)?;
    let edit = CandidateEdit {
        base: 2,
        changeset: &all,
        drafts: "",
        author: "ada",
        expected_version: None,
    };
    store.save_candidate("ada", edit)?;
    Ok(())
}
