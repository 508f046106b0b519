//! What goes wrong, what is said about it, and that nothing else happens.

mod session;

use rewire_configdb::{CandidateEdit, Store};
use rewire_schema::model::{InterfaceRow, VpcRow};
use rewire_schema::{Change, Changeset};
use session::{Session, assert_transcript};

#[test]
fn a_bad_document_is_refused_with_all_its_errors_and_the_store_untouched() {
    let mut s = Session::with_one_revision();
    s.quietly(&["load", "net.yaml"]);
    let before = std::fs::read(s.path("rewire.db")).unwrap();
    s.write(
        "shape.yaml",
        "vpcs:\n  blue: {}\n  blue: {}\ninterfaces:\n  wan:\n    vcp: blue\n    port: eth0\n    mtu: 20000\n",
    );
    s.write(
        "meaning.yaml",
        "vpcs:\n  blue:\n    routes:\n      0.0.0.0/0:\n        next_hops:\n          - interface: wam\n\
         interfaces:\n  wan:\n    vpc: blu\n    port: tap:wan\n    mac: 02:00:00:00:00:01\n",
    );
    s.write("syntax.yaml", "vpcs:\n  blue: [\n");
    for file in ["shape.yaml", "meaning.yaml", "syntax.yaml"] {
        assert_eq!(s.rewire(&["load", file]), 2);
        assert_eq!(s.rewire(&["check", file]), 2);
    }
    assert_eq!(s.rewire_with_input(&["load", "-"], "- a list"), 2);
    assert_eq!(s.rewire(&["load", "none.yaml"]), 2);
    assert_eq!(s.rewire(&["load", "."]), 2);
    assert_eq!(std::fs::read(s.path("rewire.db")).unwrap(), before);
    assert_transcript!(s);
}

#[test]
fn a_document_needs_no_store_to_be_checked() {
    let mut s = Session::new();
    s.example("net.yaml");
    s.rewire(&["check", "net.yaml"]);
    s.rewire_with_input(&["check", "-"], "{}");
    assert!(!s.path("rewire.db").exists());
    assert_transcript!(s);
}

#[test]
fn there_must_be_a_store() {
    let mut s = Session::new();
    s.example("net.yaml");
    for args in [
        &["load", "net.yaml"][..],
        &["show"],
        &["diff"],
        &["check"],
        &["commit", "-m", "x"],
        &["log"],
        &["rewind", "1", "--store", "other.db"],
    ] {
        assert_eq!(s.rewire(args), 3);
    }
    assert_eq!(std::fs::read_dir(s.path("")).unwrap().count(), 1);
    assert_transcript!(s);
}

#[test]
fn what_is_no_store_of_ours_is_left_alone() {
    let mut s = Session::new();
    s.write("notes.txt", "buy milk\n");
    let foreign = rusqlite::Connection::open(s.path("music.db")).unwrap();
    foreign
        .execute_batch("CREATE TABLE song (title TEXT)")
        .unwrap();
    drop(foreign);
    s.quietly(&["init", "future.db"]);
    let newer = rusqlite::Connection::open(s.path("future.db")).unwrap();
    newer.execute_batch("PRAGMA user_version = 9999").unwrap();
    drop(newer);
    for file in ["notes.txt", "music.db", "future.db", "."] {
        let before = std::fs::read(s.path(file)).ok();
        assert_eq!(s.rewire(&["log", "--store", file]), 3);
        assert_eq!(s.rewire(&["init", file]), 1);
        assert_eq!(std::fs::read(s.path(file)).ok(), before);
    }
    assert_transcript!(s);
}

#[test]
fn a_store_that_another_process_writes_to_is_busy() {
    let mut s = Session::with_one_revision();
    let other = rusqlite::Connection::open(s.path("rewire.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Readers do not wait.
    assert_eq!(s.rewire(&["log", "-n", "0"]), 0);
    assert_eq!(s.rewire(&["rewind", "0"]), 3);
    assert_transcript!(s);
}

#[test]
fn nothing_to_do_is_said() {
    let mut s = Session::with_one_revision();
    for args in [
        &["commit", "-m", "x"][..],
        &["check"],
        &["show", "candidate"],
        &["diff", "candidate"],
        &["rewind", "1"],
    ] {
        assert_eq!(s.rewire(args), 1);
    }
    assert_eq!(s.rewire(&["load", "net.yaml"]), 0);
    assert_eq!(s.rewire(&["check"]), 0);
    assert_eq!(s.rewire(&["commit", "-m", "no change"]), 1);
    assert_transcript!(s);
}

#[test]
fn wrong_arguments_are_explained() {
    let mut s = Session::with_one_revision();
    for args in [
        &[][..],
        &["comit"],
        &["commit", "-m", "x", "--timeout", "soon"],
        &["commit", "--candidate", "not a name"],
        &["show", "tomorrow"],
        &["show", "2"],
        &["diff", "1", "7"],
        &["rewind", "2"],
        &["rewind", "-2"],
        &["rewind", "candidate"],
        &["show", "~2"],
        &["show", "--2"],
        &["completions", "tcsh"],
        &["show", "--format", "xml"],
    ] {
        assert_eq!(s.rewire(args), 2, "{args:?}");
    }
    assert_transcript!(s);
}

/// A candidate that no document can be: made by other means than `load`.
#[test]
fn a_bad_candidate_is_never_committed() {
    let mut s = Session::with_one_revision();
    let interface = |name: &str, vpc: &str, port: &str| {
        InterfaceRow::physical(
            name.parse().unwrap(),
            vpc.parse().unwrap(),
            port.parse().unwrap(),
            "02:00:00:00:00:01".parse().unwrap(),
        )
    };
    let vpc = VpcRow {
        description: Some("red".parse().unwrap()),
        ..VpcRow::new("tests".parse().unwrap())
    };
    let refused: [Changeset; 2] = [
        // SQL lets it through, its meaning does not.
        Changeset::from_iter([
            Change::Insert(vpc.into()),
            Change::Insert(interface("a", "tests", "tap:rw-wan").into()),
        ]),
        // SQL refuses it, too.
        Changeset::from_iter([Change::Insert(interface("a", "nowhere", "ring:a").into())]),
    ];
    for changeset in refused {
        let edit = CandidateEdit {
            base: 1,
            changeset: &changeset,
            drafts: "",
            author: "ada",
            expected_version: None,
        };
        let mut store = Store::open(s.path("rewire.db")).unwrap();
        store.save_candidate("default", edit).unwrap();
        drop(store);
        assert_eq!(s.rewire(&["check"]), 2);
        // All of it has the problems of what is changed.
        let said = |args: &[&str]| {
            let output = s.command(args).output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            (output.status.code(), text)
        };
        assert_eq!(said(&["check", "--full"]), said(&["check"]));
        assert_eq!(s.rewire(&["commit", "-m", "x"]), 2);
    }
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn junk_is_refused_wherever_it_is_given() {
    let mut s = Session::with_one_revision();
    let junk: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for name in ["junk.yaml", "junk.db", "junk.journal"] {
        std::fs::write(s.path(name), &junk).unwrap();
    }
    std::fs::write(s.path("nul.yaml"), b"vpcs: {bl\0ue: {}}").unwrap();
    std::fs::write(
        s.path("latin.yaml"),
        b"vpcs: {blue: {description: caf\xe9}}",
    )
    .unwrap();
    s.write("deep.yaml", &"[".repeat(100_000));
    for file in ["junk.yaml", "nul.yaml", "latin.yaml", "deep.yaml"] {
        assert_eq!(s.rewire(&["load", file]), 2, "{file}");
        assert_eq!(s.rewire(&["commit", "--load", file]), 2, "{file}");
    }
    assert_eq!(s.rewire(&["journal", "import", "junk.journal"]), 2);
    assert_eq!(s.rewire(&["log", "--store", "junk.db"]), 3);
    assert_eq!(s.rewire(&["commit", "--store", "junk.db"]), 3);
    assert_eq!(
        s.rewire(&["journal", "import", "junk.journal", "--store", "junk.db"]),
        3
    );
    assert_eq!(std::fs::read(s.path("junk.db")).unwrap(), junk);
    let log = s.command(&["log", "--json"]).output().unwrap();
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).unwrap();
    assert_eq!(log["result"]["revisions"].as_array().unwrap().len(), 1);
    assert_transcript!(s);
}

#[test]
fn what_cannot_be_written_is_said() {
    let mut s = Session::with_one_revision();
    s.rewire(&["init", "no/such/folder.db"]);
    // A place where not even root makes files.
    s.rewire(&["init", "/proc/rewire.db"]);
    s.rewire(&["journal", "export", "/proc/rewire.journal"]);
    s.rewire(&["journal", "export", "net.yaml"]);
    s.rewire(&["man", "/proc"]);
    std::os::unix::fs::symlink("nowhere.db", s.path("dangling.db")).unwrap();
    s.rewire(&["init", "dangling.db"]);
    s.rewire(&["log", "--store", "dangling.db"]);
    assert_transcript!(s);
}

#[test]
fn every_reference_that_a_commit_would_break_is_told_on_a_line_of_its_own() {
    let mut s = Session::new();
    s.example("net.yaml");
    s.quietly(&["init"]);
    s.quietly(&["load", "net.yaml"]);
    s.quietly(&["commit", "-m", "good"]);
    s.quietly(&["delete", "interfaces", "wan0"]);
    s.rewire(&["commit", "-m", "bad"]);
    s.rewire(&["commit", "-m", "bad", "--json"]);
    s.rewire(&["set", "interfaces", "blue0", "mtu", "large"]);
    s.settings()
        .bind(|| insta::assert_snapshot!(s.transcript()));
}
