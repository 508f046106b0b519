//! Commits that must be confirmed, and commits that wait for their time. Clocks are not waited for: the stored time is
//! moved instead, as it is when a machine was off.

mod session;

use session::{Session, assert_transcript};

/// Moves every time that the store waits for into the past.
fn time_passes(session: &Session) {
    let store = rusqlite::Connection::open(session.path("rewire.db")).unwrap();
    store
        .execute_batch("UPDATE confirmation SET deadline = 1; UPDATE scheduled SET at = 1 WHERE failed_at IS NULL;")
        .unwrap();
}

/// A session with three VPCs to change, each in a document of its own.
fn session() -> Session {
    let mut s = Session::new();
    for (name, vpcs) in [
        ("a", "a: {}"),
        ("ab", "a: {}, b: {}"),
        ("abc", "a: {}, b: {}, c: {}"),
    ] {
        s.write(&format!("{name}.yaml"), &format!("vpcs: {{{vpcs}}}"));
    }
    s.quietly(&["init"]);
    s.quietly(&["commit", "--load", "a.yaml", "-m", "a"]);
    s
}

#[test]
fn what_nobody_confirms_goes_back_by_itself() {
    let mut s = session();
    s.quietly(&["load", "ab.yaml"]);
    s.rewire(&["commit", "-m", "and b", "--confirm", "5m"]);
    // There is no gateway, and it is said all the same.
    s.rewire(&["status"]);
    time_passes(&s);
    // A look changes nothing; whoever writes next does it first.
    s.rewire(&["show"]);
    s.rewire(&["confirm"]);
    s.rewire(&["show"]);
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn a_row_of_commits_that_are_not_confirmed_goes_back_as_a_whole() {
    let mut s = session();
    s.rewire(&["commit", "--load", "ab.yaml", "--confirm"]);
    s.rewire(&[
        "commit",
        "--load",
        "abc.yaml",
        "--confirm=1h30m",
        "-m",
        "more",
    ]);
    time_passes(&s);
    s.rewire(&["load", "ab.yaml"]);
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn a_confirmation_and_any_later_commit_keep_it() {
    let mut s = session();
    s.quietly(&["commit", "--load", "ab.yaml", "--confirm"]);
    s.rewire(&["confirm"]);
    s.rewire(&["confirm"]);
    s.quietly(&["commit", "--load", "abc.yaml", "--confirm"]);
    // A plain commit confirms, with edits or without.
    s.rewire(&["commit"]);
    s.rewire(&["commit"]);
    s.quietly(&["commit", "--load", "ab.yaml", "--confirm"]);
    s.rewire(&["commit", "--confirm", "2h"]);
    s.rewire(&["commit", "--load", "a.yaml"]);
    s.rewire(&["confirm"]);
    time_passes(&s);
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn a_rewind_may_have_to_be_confirmed_too() {
    let mut s = session();
    s.quietly(&["commit", "--load", "ab.yaml"]);
    s.rewire(&["rewind", "-1", "--confirm", "90s"]);
    time_passes(&s);
    s.rewire(&["discard"]);
    s.rewire(&["diff", "2", "running"]);
    assert_transcript!(s);
}

#[test]
fn a_commit_waits_for_its_time() {
    let mut s = session();
    s.quietly(&["load", "ab.yaml"]);
    s.rewire(&["commit", "-m", "tonight", "--at", "+2h"]);
    s.rewire(&["candidates"]);
    s.rewire(&["scheduled"]);
    s.write("other.yaml", "vpcs: {a: {description: others go on}}");
    s.quietly(&["commit", "--load", "other.yaml", "-m", "meanwhile"]);
    time_passes(&s);
    s.rewire(&["scheduled"]);
    s.rewire(&["show"]);
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn a_rewind_waits_for_its_time() {
    let mut s = session();
    s.quietly(&["commit", "--load", "ab.yaml"]);
    s.rewire(&["rewind", "-1", "--at", "+2h", "-m", "back tonight"]);
    s.rewire(&["scheduled"]);
    time_passes(&s);
    s.rewire(&["scheduled"]);
    s.rewire(&["log"]);
    s.rewire(&["diff", "1", "3"]);
    assert_transcript!(s);
}

/// What others committed since stays; where they changed the same, it is refused.
#[test]
fn a_rewind_whose_time_comes_undoes_nothing_that_came_later() {
    let mut s = session();
    s.quietly(&["commit", "--load", "ab.yaml"]);
    s.rewire(&["rewind", "1", "--at", "+2h", "--confirm"]);
    s.quietly(&["set", "vpcs.later.description", "not yet there"]);
    s.quietly(&["commit", "-m", "meanwhile"]);
    time_passes(&s);
    s.rewire(&["scheduled"]);
    s.rewire(&["diff", "2", "running"]);
    s.rewire(&["confirm"]);
    s.rewire(&["rewind", "2", "--at", "+2h", "-m", "and again"]);
    s.quietly(&["delete", "vpcs.later"]);
    s.quietly(&["commit", "-m", "the same"]);
    s.quietly(&["set", "vpcs.b.description", "theirs"]);
    s.quietly(&["commit", "-m", "and more"]);
    time_passes(&s);
    s.rewire(&["scheduled"]);
    s.rewire(&["log"]);
    assert_transcript!(s);
}

#[test]
fn what_is_refused_when_its_time_comes_stays_until_it_is_cancelled() {
    let mut s = session();
    s.write("mine.yaml", "vpcs: {a: {description: mine}}");
    s.write("theirs.yaml", "vpcs: {a: {description: theirs}}");
    s.rewire(&[
        "commit",
        "--load",
        "mine.yaml",
        "--at",
        "2099-01-01T00:00",
        "-m",
        "mine",
    ]);
    s.quietly(&["commit", "--load", "theirs.yaml"]);
    time_passes(&s);
    s.rewire(&["scheduled"]);
    s.rewire(&["scheduled", "--cancel", "1"]);
    s.rewire(&["scheduled", "--cancel", "1"]);
    s.rewire(&["scheduled"]);
    assert_transcript!(s);
}

#[test]
fn times_that_are_none_are_refused() {
    let mut s = session();
    s.quietly(&["load", "ab.yaml"]);
    for arguments in [
        &["commit", "--at", "2001-01-01T00:00"][..],
        &["commit", "--at", "soon"],
        &["commit", "--at", "2026-02-30T12:00"],
        &["commit", "--confirm", "ten minutes"],
        &["commit", "--confirm", "10"],
        &["commit", "--confirm=0s"],
        &["rewind", "0", "--at", "2001-01-01T00:00"],
    ] {
        assert_eq!(s.rewire(arguments), 2, "{arguments:?}");
    }
    s.write(
        "bad.yaml",
        "vpcs: {a: {routes: {0.0.0.0/0: {next_hops: [{interface: none}]}}}}",
    );
    assert_eq!(
        s.rewire(&["commit", "--load", "bad.yaml", "--at", "+1h"]),
        2
    );
    s.rewire(&["scheduled"]);
    assert_transcript!(s);
}
