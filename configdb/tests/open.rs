//! Making and opening: what is a store, what is not, and that looking at it leaves it alone.

mod common;

use std::fs;
use std::path::Path;

use common::*;
use rewire_configdb::{Error, LogQuery, SCHEMA_VERSION, Store};

/// Everything in a folder: names and contents.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut contents: Vec<_> = entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect();
    contents.sort();
    contents
}

/// Opens in both ways, expects a refusal that leaves the folder as it is, and gives the text without the path.
fn refusal(path: &Path) -> String {
    let folder = path.parent().unwrap();
    let before = contents(folder);
    let error = Store::open(path).unwrap_err();
    let read_only = Store::open_read_only(path).unwrap_err();
    assert_eq!(contents(folder), before);
    assert_eq!(read_only.to_string(), error.to_string());
    error.to_string().replace(path.to_str().unwrap(), "PATH")
}

#[test]
fn a_new_store_is_empty_and_opens_again() {
    let (folder, path) = folder();
    let store = Store::create(&path).unwrap();
    assert_eq!(store.head().unwrap(), 0);
    assert!(store.configuration().unwrap().is_empty());
    assert!(store.log(LogQuery::last(10)).unwrap().is_empty());
    store.verify().unwrap();
    let identity = store.identity();
    drop(store);
    // One file: nothing is left of the making, and the log is folded in.
    let names: Vec<String> = contents(folder.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["gateway.db"]);
    assert_eq!(Store::open(&path).unwrap().identity(), identity);
    assert_eq!(Store::open_read_only(&path).unwrap().identity(), identity);
    let other = Store::create(folder.path().join("other.db")).unwrap();
    assert_ne!(other.identity(), identity);
}

#[test]
fn a_store_is_made_where_nothing_is() {
    let (folder, path) = folder();
    for (in_the_way, name) in [
        ("gateway.db", "file"),
        ("gateway.db-wal", "log"),
        ("gateway.db-journal", "journal"),
    ] {
        let in_the_way = folder.path().join(in_the_way);
        fs::write(&in_the_way, name).unwrap();
        let before = contents(folder.path());
        assert!(
            matches!(Store::create(&path), Err(Error::Exists { path }) if path == in_the_way),
            "{name}"
        );
        assert_eq!(contents(folder.path()), before);
        fs::remove_file(in_the_way).unwrap();
    }
    Store::create(&path).unwrap();
    let before = contents(folder.path());
    assert!(matches!(Store::create(&path), Err(Error::Exists { .. })));
    assert_eq!(contents(folder.path()), before);
    assert!(matches!(
        Store::create(folder.path().join("no/such.db")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn names_may_hold_what_uris_give_meaning_to() {
    let (folder, _) = folder();
    let path = folder.path().join("100% a?b#c 'd' é.db");
    let mut store = Store::create(&path).unwrap();
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    assert_eq!(store.log(LogQuery::last(1)).unwrap().len(), 1);
    assert!(path.is_file());
}

#[test]
fn what_is_no_store_is_named_and_left_alone() {
    let (folder, path) = folder();
    insta::assert_snapshot!(refusal(&path), @"there is no store at PATH");
    assert!(matches!(Store::open(&path), Err(Error::Missing { .. })));
    assert!(matches!(
        Store::open(folder.path().join("no/such.db")),
        Err(Error::Missing { .. })
    ));

    fs::create_dir(&path).unwrap();
    insta::assert_snapshot!(refusal(&path), @"PATH is not a rewire store: it is a directory");
    fs::remove_dir(&path).unwrap();

    fs::write(&path, "").unwrap();
    insta::assert_snapshot!(refusal(&path), @"PATH is not a rewire store: it is empty");

    fs::write(&path, "vpcs:\n  blue: {}\n".repeat(100)).unwrap();
    insta::assert_snapshot!(refusal(&path), @"PATH is not a rewire store: it is a text file");

    fs::write(&path, [0x7f, b'E', b'L', b'F', 0, 0xff].repeat(300)).unwrap();
    insta::assert_snapshot!(refusal(&path), @"PATH is not a rewire store: it is not an SQLite database");

    fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1);")
        .unwrap();
    drop(foreign);
    insta::assert_snapshot!(
        refusal(&path),
        @"PATH is not a rewire store: it is an SQLite database that belongs to no particular application"
    );
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign
        .execute_batch("PRAGMA application_id = 0x47504b47")
        .unwrap();
    drop(foreign);
    insta::assert_snapshot!(
        refusal(&path),
        @"PATH is not a rewire store: it is an SQLite database of another application (application_id 0x47504b47)"
    );
}

#[test]
fn a_newer_store_is_left_alone() {
    let (_folder, path) = folder();
    drop(Store::create(&path).unwrap());
    let version = |version: u32| {
        let newer = rusqlite::Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", version).unwrap();
        newer.close().unwrap();
    };
    const NEWER: u32 = SCHEMA_VERSION + 7;
    version(NEWER);
    // Not a snapshot: these numbers change with every migration.
    assert_eq!(
        refusal(&path),
        format!(
            "PATH is a store of schema version {NEWER}; this program knows versions up to {SCHEMA_VERSION}"
        )
    );
    assert!(matches!(
        Store::open(&path),
        Err(Error::Newer {
            store: NEWER,
            ours: SCHEMA_VERSION,
            ..
        })
    ));
    version(1);
    insta::assert_snapshot!(refusal(&path), @"PATH is not a rewire store: its schema version is 1, which no store has");
}

/// A migration that is committed but still stands in the log counts too.
#[test]
fn a_store_that_is_newer_only_in_its_log_is_recognised() {
    let (_folder, path) = folder();
    drop(Store::create(&path).unwrap());
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer
        .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
        .unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Newer { .. })));
    drop(newer);
}

#[test]
fn a_store_opened_for_reading_cannot_be_written() {
    let (_folder, path) = folder();
    let mut writer = Store::create(&path).unwrap();
    commit(&mut writer, &insert([vpc("blue", None)])).unwrap();
    let mut reader = Store::open_read_only(&path).unwrap();
    assert_eq!(reader.head().unwrap(), 1);
    let changeset = insert([vpc("red", None)]);
    let error = commit(&mut reader, &changeset).unwrap_err();
    assert!(matches!(error, Error::Sqlite { .. }), "{error:?}");
    assert_eq!(writer.head().unwrap(), 1);
}

/// The locks of SQLite's rollback mode that this process holds on a file: a WAL connection keeps a shared one while it is
/// open, which tells others that they are not the last.
fn shared_locks(path: &Path) -> usize {
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks
        .lines()
        .filter(|line| line.contains(&inode) && line.contains(" READ "))
        .count()
}

/// Closing any file descriptor of a file drops all locks of the process on it, whoever took them.
#[test]
fn looking_at_a_store_keeps_the_locks_that_are_held_on_it() {
    let (_folder, path) = folder();
    let store = Store::create(&path).unwrap();
    assert_eq!(shared_locks(&path), 1);
    drop(Store::open(&path).unwrap());
    Store::create(&path).unwrap_err();
    assert_eq!(shared_locks(&path), 1);
    drop(store);
    assert_eq!(shared_locks(&path), 0);
}
