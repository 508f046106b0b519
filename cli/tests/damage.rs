//! A store that is damaged under a running gateway: the last good tables stay, and it says so.

mod running;
mod session;

use running::{Running, ask, connect};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};
use session::Session;

fn status(session: &Session) -> Value {
    ask(&mut connect(session), &json!({"request": "status"}))
}

fn damage(session: &Session, sql: &str) {
    let connection = Connection::open(session.path("rewire.db")).unwrap();
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        connection
            .execute_batch(&format!("DROP TRIGGER {trigger}"))
            .unwrap();
    }
    assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
}

/// A gateway that is live with revision 1, and learns of revision 2 when `sql` has damaged it.
fn damaged_behind_its_back(sql: &str) {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "good"]);
    let mut gateway = Running::start(&session, &[]);
    gateway.signal(Signal::STOP);
    session.quietly(&["rewind", "0", "--no-wait"]);
    damage(&session, sql);
    gateway.signal(Signal::CONT);
    gateway.has_logged("alarm: revision 2 is damaged, the last good tables stay");
    let status = status(&session);
    assert_eq!(status["revision"], 1, "{status}");
    let alarm = status["alarm"].as_str().unwrap();
    assert!(alarm.contains("revision 2 is damaged"), "{alarm}");
    assert!(alarm.contains("journal verify"), "{alarm}");
    gateway.end(Signal::TERM);
    assert_ne!(session.rewire(&["journal", "verify"]), 0);
    let said = session.transcript();
    assert!(said.contains("revision 2"), "{said}");
}

#[test]
fn an_entry_with_another_changeset_is_not_taken_over() {
    damaged_behind_its_back(
        "UPDATE journal SET changeset = (SELECT changeset FROM journal WHERE revision = 1) WHERE revision = 2",
    );
}

#[test]
fn an_entry_with_another_digest_is_not_taken_over() {
    damaged_behind_its_back("UPDATE journal SET state_digest = randomblob(32) WHERE revision = 2");
}

#[test]
fn an_entry_with_another_author_is_not_taken_over() {
    damaged_behind_its_back("UPDATE journal SET author = 'mallory' WHERE revision = 2");
}

#[test]
fn rows_that_are_not_the_state_on_record_are_not_taken_over() {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "good"]);
    damage(
        &session,
        "UPDATE interface SET mtu = mtu - 1 WHERE name = (SELECT min(name) FROM interface)",
    );
    let run = ["run", "--virtual", "--metrics", "127.0.0.1:0"];
    let mut gateway = Running::spawn_unready(session.command(&run));
    gateway.has_logged("alarm: revision 1 is damaged");
    let status = status(&session);
    assert_eq!(status["revision"], Value::Null, "{status}");
    gateway.end(Signal::TERM);
}

#[test]
fn a_gateway_that_lags_behind_a_prune_takes_the_whole_over() {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "good"]);
    let mut gateway = Running::start(&session, &[]);
    gateway.signal(Signal::STOP);
    for to in ["0", "1", "0", "1"] {
        session.quietly(&["rewind", to, "--no-wait"]);
    }
    session.quietly(&["journal", "prune", "4"]);
    gateway.signal(Signal::CONT);
    gateway.has_logged("live revision=5");
    let status = status(&session);
    assert_eq!(
        (&status["revision"], &status["alarm"]),
        (&json!(5), &Value::Null),
        "{status}"
    );
    gateway.end(Signal::TERM);
}
