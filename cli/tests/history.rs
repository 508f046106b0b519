//! What was, who did it, and the ways back.

mod session;

use session::{Session, assert_transcript};

/// Four revisions of three people.
fn session() -> Session {
    let mut s = Session::new();
    s.quietly(&["init"]);
    for (number, (author, vpcs)) in [
        ("ada", "{a: {description: one}, b: {}}"),
        ("bob", "{a: {description: two}, b: {}}"),
        (
            "eve",
            "{a: {description: two}, b: {description: bee}, c: {}}",
        ),
        ("ada", "{a: {description: two}, c: {description: sea}}"),
    ]
    .into_iter()
    .enumerate()
    {
        s.write("next.yaml", &format!("vpcs: {vpcs}"));
        let message = format!("change {}", number + 1);
        s.quietly(&[
            "commit",
            "--load",
            "next.yaml",
            "-m",
            &message,
            "--author",
            author,
        ]);
    }
    s
}

#[test]
fn revisions_are_looked_at_one_by_one() {
    let mut s = session();
    s.rewire(&["show", "revision", "3"]);
    s.rewire(&["show", "revision", "-1"]);
    s.rewire(&["show", "revision"]);
    s.rewire(&["show", "revision", "0"]);
    s.rewire(&["show", "revision", "9"]);
    s.rewire(&["show", "running", "3"]);
    s.rewire(&["log", "-n", "2"]);
    s.rewire(&["log", "--before", "3"]);
    s.rewire(&["log", "vpcs.a"]);
    s.rewire(&["log", "vpcs", "b"]);
    s.rewire(&["log", "vpcs.a.description"]);
    s.rewire(&["log", "vpcs.nobody"]);
    s.rewire(&["log", "vpcs", "a", "route"]);
    s.rewire(&["diff", "1", "2", "vpcs", "a", "describtion"]);
    assert_transcript!(s);
}

#[test]
fn blame_names_who_gave_each_field_its_value() {
    let mut s = session();
    s.rewire(&["blame"]);
    s.rewire(&["blame", "vpcs.a"]);
    s.rewire(&["blame", "vpcs", "a", "description"]);
    s.rewire(&["blame", "vpcs.b"]);
    s.rewire(&["journal", "prune", "3"]);
    s.rewire(&["blame"]);
    assert_transcript!(s);
}

#[test]
fn a_rollback_only_loads_the_candidate() {
    let mut s = session();
    s.rewire(&["rollback", "1"]);
    s.rewire(&["diff"]);
    s.rewire(&["rollback"]);
    s.rewire(&["commit"]);
    s.rewire(&["rollback", "9"]);
    s.rewire(&["rollback", "candidate"]);
    s.quietly(&["tag", "good", "2"]);
    s.rewire(&["rollback", "good"]);
    s.rewire(&["commit", "-m", "back to what was good"]);
    s.rewire(&["diff", "good", "running"]);
    assert_transcript!(s);
}

#[test]
fn one_old_commit_is_undone_or_who_depends_on_it_is_named() {
    let mut s = session();
    s.rewire(&["revert", "2"]);
    s.rewire(&["diff"]);
    s.rewire(&["revert", "2", "-m", "two was wrong"]);
    s.rewire(&["revert", "2"]);
    s.rewire(&["revert", "3"]);
    s.rewire(&["revert", "3", "--json"]);
    s.rewire(&["revert", "0"]);
    s.rewire(&["revert", "77"]);
    s.rewire(&["log", "-n", "1"]);
    s.rewire(&["show", "revision"]);
    assert_transcript!(s);
}

#[test]
fn tags_name_revisions_everywhere() {
    let mut s = session();
    s.rewire(&["tags"]);
    s.rewire(&["tag", "before-the-fair", "2"]);
    s.rewire(&["tag", "now"]);
    s.rewire(&["tags"]);
    s.rewire(&["diff", "before-the-fair", "now"]);
    s.rewire(&["show", "before-the-fare"]);
    s.rewire(&["tag", "now", "1"]);
    for name in ["candidate", "running", "revision", "42", "not a name", "-x"] {
        assert_eq!(s.rewire(&["tag", name]), 2);
    }
    s.rewire(&["tag", "later", "9"]);
    s.rewire(&["tag", "--delete", "now"]);
    s.rewire(&["tag", "--delete", "now"]);
    s.rewire(&["rewind", "before-the-fair"]);
    assert_transcript!(s);
}

#[test]
fn the_journal_is_verified_and_shortened() {
    let mut s = session();
    s.rewire(&["journal", "verify"]);
    s.quietly(&["tag", "first", "1"]);
    s.rewire(&["journal", "prune", "2"]);
    s.rewire(&["journal", "prune", "9"]);
    s.rewire(&["journal", "prune", "running"]);
    s.rewire(&["journal", "prune", "2", "--force"]);
    s.rewire(&["journal", "prune", "1"]);
    s.rewire(&["journal", "verify"]);
    s.rewire(&["show", "2"]);
    s.rewire(&["show", "1"]);
    s.rewire(&["rewind", "1"]);
    s.rewire(&["revert", "1"]);
    s.rewire(&["log"]);
    let damage = rusqlite::Connection::open(s.path("rewire.db")).unwrap();
    damage
        .execute_batch(
            "PRAGMA foreign_keys = OFF; UPDATE vpc SET description = 'x' WHERE name = 'a'",
        )
        .unwrap();
    drop(damage);
    assert_eq!(s.rewire(&["journal", "verify"]), 3);
    assert_transcript!(s);
}

#[test]
fn the_journal_goes_into_a_file_and_out_again() {
    let mut s = session();
    s.rewire(&["journal", "export", "all.journal"]);
    s.rewire(&["journal", "export", "all.journal"]);
    s.rewire(&["journal", "export", "end.journal", "--from", "4"]);
    s.rewire(&["journal", "export", "start.journal", "--to", "-1"]);
    s.rewire(&["journal", "export", "none.journal", "--to", "9"]);
    assert!(!s.path("none.journal").exists());
    s.rewire(&["journal", "import", "all.journal"]);
    s.rewire(&["journal", "import", "end.journal", "--store", "copy.db"]);
    s.rewire(&["journal", "import", "start.journal", "--store", "copy.db"]);
    s.rewire(&["journal", "import", "end.journal", "--store", "copy.db"]);
    s.rewire(&["journal", "verify", "--store", "copy.db"]);
    s.rewire(&["log", "--store", "copy.db"]);
    s.rewire(&["rewind", "1"]);
    s.rewire(&["journal", "export", "long.journal"]);
    s.rewire(&["rewind", "2", "--store", "copy.db"]);
    s.rewire(&["journal", "import", "long.journal", "--store", "copy.db"]);
    s.quietly(&["init", "other.db"]);
    s.rewire(&["journal", "import", "all.journal", "--store", "other.db"]);
    let mut bytes = std::fs::read(s.path("all.journal")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(s.path("flipped.journal"), &bytes).unwrap();
    std::fs::write(s.path("short.journal"), &bytes[..middle]).unwrap();
    s.write("text.journal", "buy milk\n");
    for file in [
        "flipped.journal",
        "short.journal",
        "text.journal",
        "no.journal",
        ".",
    ] {
        assert_eq!(
            s.rewire(&["journal", "import", file, "--store", "new.db"]),
            2,
            "{file}"
        );
        assert!(!s.path("new.db").exists());
    }
    let mut settings = s.settings();
    settings.add_filter(r"\b[0-9a-f]{32}\b", "[IDENTITY]");
    settings.add_filter(r"at byte \d+", "at byte [BYTE]");
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

/// A store that is lost, and made again of what was exported after it was pruned.
#[test]
fn a_pruned_store_is_made_again_of_its_export() {
    let mut s = session();
    s.rewire(&["journal", "prune", "2"]);
    s.rewire(&["journal", "export", "pruned.journal"]);
    s.rewire(&["journal", "export", "end.journal", "--from", "4"]);
    s.rewire(&["journal", "import", "end.journal", "--store", "copy.db"]);
    s.rewire(&["journal", "import", "pruned.journal", "--store", "copy.db"]);
    s.rewire(&["journal", "verify", "--store", "copy.db"]);
    s.rewire(&["log", "--store", "copy.db"]);
    s.quietly(&["journal", "export", "again.journal", "--store", "copy.db"]);
    let read = |name| std::fs::read(s.path(name)).unwrap();
    assert!(read("pruned.journal") == read("again.journal"));
    s.rewire(&["diff", "2", "3", "--store", "copy.db"]);
    s.rewire(&["rewind", "2", "--store", "copy.db"]);
    s.rewire(&["rewind", "1", "--store", "copy.db"]);
    s.rewire(&["journal", "import", "pruned.journal", "--store", "copy.db"]);
    let settings = s.settings();
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

/// A journal whose chain is good, and whose last state no gateway can use: another program's.
#[test]
fn an_import_is_checked_like_a_commit() {
    let mut s = session();
    {
        let mut store = rewire_configdb::Store::open(s.path("rewire.db")).unwrap();
        let bad = "vpcs: {blue: {routes: {0.0.0.0/0: {}, 10.0.0.0/8: {}}}}";
        let bad = rewire_schema::source::read_shape("bad", bad.as_bytes()).unwrap();
        let (base, now) = store.head_and_configuration().unwrap();
        let changeset = rewire_schema::Changeset::between(&now, &bad.configuration);
        let request = rewire_configdb::CommitRequest::new(base, &changeset, "eve", "elsewhere");
        store
            .commit(request, &mut rewire_configdb::Unchecked)
            .unwrap();
    }
    s.rewire(&["journal", "export", "all.journal"]);
    s.rewire(&["journal", "export", "good.journal", "--to", "-1"]);
    assert_eq!(
        s.rewire(&["journal", "import", "all.journal", "--store", "copy.db"]),
        2
    );
    assert!(!s.path("copy.db").exists());
    s.rewire(&["journal", "import", "good.journal", "--store", "copy.db"]);
    assert_eq!(
        s.rewire(&["journal", "import", "all.journal", "--store", "copy.db"]),
        2
    );
    s.rewire(&[
        "--json",
        "journal",
        "import",
        "all.journal",
        "--store",
        "copy.db",
    ]);
    s.rewire(&["journal", "verify", "--store", "copy.db"]);
    // Once it is history, it is.
    s.quietly(&["rewind", "-1"]);
    s.quietly(&["journal", "export", "later.journal"]);
    s.rewire(&["journal", "import", "later.journal", "--store", "copy.db"]);
    let settings = s.settings();
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}
