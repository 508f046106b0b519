//! What a running gateway does by the clock, and how it tells everyone.

mod running;
mod session;

use std::process::Command;

use running::{Running, ask, connect};
use rustix::process::Signal;
use serde_json::json;
use session::Session;

/// Moves every time that the store waits for into the past. The gateway sees that the store has changed.
fn time_passes(session: &Session) {
    let store = rusqlite::Connection::open(session.path("rewire.db")).unwrap();
    store
        .execute_batch("UPDATE confirmation SET deadline = 1; UPDATE scheduled SET at = 1 WHERE failed_at IS NULL;")
        .unwrap();
}

fn settings(session: &Session) -> insta::Settings {
    let mut settings = session.settings();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[METRICS]");
    settings.add_filter(r"up \d+ s", "up [TIME]");
    settings.add_filter(r"process \d+", "process [PID]");
    settings
}

#[test]
fn it_goes_back_by_itself_and_says_so_to_everyone() {
    let mut s = Session::with_one_revision();
    let mut gateway = Running::start(&s, &[]);
    s.write("empty.yaml", "{}");
    s.rewire(&["commit", "--load", "empty.yaml", "--confirm", "10m"]);
    s.rewire(&["status"]);
    time_passes(&s);
    gateway
        .has_logged("revision 2 was not confirmed in time: gone back to revision 1 as revision 3");
    let live = ask(
        &mut connect(&s),
        &json!({"request": "follow", "revision": 3}),
    );
    assert_eq!(live["live"], json!(true), "{live}");
    s.rewire(&["status"]);
    s.rewire(&["log"]);
    gateway.end(Signal::TERM);
    settings(&s).bind(|| insta::assert_snapshot!(s.transcript()));
}

#[test]
fn a_deadline_is_met_without_another_commit_to_wake_it() {
    let mut s = Session::with_one_revision();
    let mut gateway = Running::start(&s, &[]);
    s.write("empty.yaml", "{}");
    s.quietly(&["commit", "--load", "empty.yaml", "--confirm", "1s"]);
    gateway
        .has_logged("revision 2 was not confirmed in time: gone back to revision 1 as revision 3");
    gateway.end(Signal::TERM);
}

#[test]
fn what_was_due_while_it_was_off_is_done_at_its_start() {
    let mut s = Session::with_one_revision();
    s.write("empty.yaml", "{}");
    s.quietly(&["commit", "--load", "empty.yaml", "--confirm"]);
    time_passes(&s);
    let gateway = Running::start(&s, &[]);
    let live = ask(
        &mut connect(&s),
        &json!({"request": "follow", "revision": 3}),
    );
    assert_eq!(live["live"], json!(true), "{live}");
    let status = ask(&mut connect(&s), &json!({"request": "status"}));
    let text = "revision 2 was not confirmed in time: gone back to revision 1 as revision 3";
    assert_eq!(status["events"][0]["text"], json!(text), "{status:#}");
    gateway.end(Signal::TERM);
}

#[test]
fn scheduled_commits_come_in_time_and_the_lock_is_shown() {
    let mut s = Session::with_one_revision();
    s.write("empty.yaml", "{}");
    let mut gateway = Running::start(&s, &[]);
    s.rewire(&[
        "commit",
        "--load",
        "empty.yaml",
        "--at",
        "+1h",
        "-m",
        "away with it",
    ]);
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    s.quietly(&["lock", "-m", "the window", "--pid", &other.id().to_string()]);
    // Nobody need wait: the gateway answers `follow` after it has looked at the store.
    ask(
        &mut connect(&s),
        &json!({"request": "follow", "revision": 1}),
    );
    let seen = || ask(&mut connect(&s), &json!({"request": "status"}));
    let deadline = std::time::Instant::now() + running::PATIENCE;
    while seen()["lock"].is_null() {
        assert!(std::time::Instant::now() < deadline, "the lock is not seen");
    }
    s.rewire(&["status"]);
    other.kill().unwrap();
    other.wait().unwrap();
    time_passes(&s);
    gateway.has_logged("scheduled commit 1 of ada is done: revision 2");
    gateway.end(Signal::TERM);
    settings(&s).bind(|| insta::assert_snapshot!(s.transcript()));
}
