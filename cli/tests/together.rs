//! Several people at once: private candidates, merging, conflicts, the exclusive lock.

mod session;

use std::process::{Child, Command};

use session::{Session, assert_transcript};

fn session() -> Session {
    let mut s = Session::new();
    s.quietly(&["init"]);
    s.write("base.yaml", "vpcs: {a: {description: the first}, b: {}}");
    s.quietly(&["commit", "--load", "base.yaml", "-m", "base"]);
    s.write("ada.yaml", "vpcs: {a: {description: ada's}, b: {}, c: {}}");
    s.write(
        "bob.yaml",
        "vpcs: {a: {description: the first}, b: {description: bob's}}",
    );
    s.write("eve.yaml", "vpcs: {a: {description: eve's}, b: {}}");
    s.write("tom.yaml", "vpcs: {b: {}}");
    s
}

#[test]
fn candidates_are_private_and_the_second_to_commit_merges() {
    let mut s = session();
    s.rewire(&["load", "ada.yaml", "--candidate", "ada"]);
    s.rewire(&["load", "bob.yaml", "--candidate", "bob", "--author", "bob"]);
    s.rewire(&["candidates", "--candidate", "bob"]);
    s.rewire(&["diff", "candidate:ada", "candidate:bob"]);
    s.rewire(&["commit", "--candidate", "ada", "-m", "ada's"]);
    s.rewire(&["check", "--candidate", "bob"]);
    s.rewire(&[
        "commit",
        "--candidate",
        "bob",
        "-m",
        "too late",
        "--no-merge",
    ]);
    s.rewire(&[
        "commit",
        "--candidate",
        "bob",
        "-m",
        "bob's",
        "--author",
        "bob",
    ]);
    s.rewire(&["show"]);
    s.rewire(&["candidates"]);
    assert_transcript!(s);
}

#[test]
fn a_conflict_shows_base_ours_and_theirs_and_changes_nothing() {
    let mut s = session();
    s.quietly(&["load", "eve.yaml", "--candidate", "eve"]);
    s.quietly(&["load", "tom.yaml", "--candidate", "tom"]);
    s.quietly(&["commit", "--load", "ada.yaml", "-m", "ada's"]);
    for name in ["eve", "tom"] {
        assert_eq!(s.rewire(&["check", "--candidate", name]), 5);
        assert_eq!(s.rewire(&["commit", "--candidate", name, "-m", "x"]), 5);
    }
    s.rewire(&["commit", "--candidate", "eve", "--json"]);
    s.rewire(&["log", "-n", "1"]);
    s.rewire(&["candidates"]);
    s.rewire(&["discard", "--candidate", "eve"]);
    s.rewire(&["discard", "--candidate", "eve"]);
    assert_transcript!(s);
}

#[test]
fn the_own_candidate_has_the_name_of_the_user() {
    let s = session();
    let list = |user: &[(&str, &str)]| {
        let mut command = s.command(&["candidates", "--json"]);
        let output = command.envs(user.iter().copied()).output().unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["result"]["candidate"].as_str().unwrap().to_owned()
    };
    assert_eq!(list(&[]), "default");
    assert_eq!(list(&[("USER", "bob")]), "bob");
    assert_eq!(list(&[("USER", "root"), ("SUDO_USER", "bob")]), "bob");
    assert_eq!(
        list(&[("USER", "bob"), ("REWIRE_CANDIDATE", "night")]),
        "night"
    );
}

/// A process that holds the lock in the name of nobody here.
struct Other(Child);

impl Other {
    fn start() -> Other {
        Other(Command::new("sleep").arg("600").spawn().unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn the_lock_keeps_others_out_names_its_holder_and_dies_with_its_process() {
    let mut s = session();
    s.quietly(&["load", "bob.yaml"]);
    let other = Other::start();
    let pid = other.0.id().to_string();
    s.rewire(&["lock", "-m", "the window", "--author", "eve", "--pid", &pid]);
    for arguments in [
        &["commit", "-m", "x"][..],
        &["commit", "-m", "x", "--at", "+1h"],
        &["rewind", "0"],
        &["revert", "1", "--commit"],
        &["lock"],
        &["unlock"],
    ] {
        assert_eq!(s.rewire(arguments), 6, "{arguments:?}");
    }
    // Looking, editing and checking go on.
    for arguments in [&["load", "ada.yaml"][..], &["check"], &["diff"]] {
        assert_eq!(s.rewire(arguments), 0);
    }
    drop(other);
    s.rewire(&["commit", "-m", "the lock died"]);
    let mut settings = s.settings();
    settings.add_filter(r"--pid \d+", "--pid [PID]");
    settings.add_filter(r"process \d+", "process [PID]");
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

#[test]
fn who_holds_the_lock_commits_and_gives_it_back() {
    let mut s = session();
    s.quietly(&["load", "bob.yaml"]);
    // This test is the process that runs the commands, and so the one that holds the lock.
    s.rewire(&["lock", "-m", "the window"]);
    s.rewire(&["lock", "-m", "still"]);
    s.rewire(&["commit", "-m", "inside"]);
    s.rewire(&["unlock"]);
    s.rewire(&["unlock"]);
    let other = Other::start();
    s.quietly(&[
        "lock",
        "--author",
        "eve",
        "--pid",
        &other.0.id().to_string(),
    ]);
    s.rewire(&["unlock", "--force"]);
    s.rewire(&["lock", "--pid", "4294967295"]);
    let mut settings = s.settings();
    settings.add_filter(r"process \d+", "process [PID]");
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}
