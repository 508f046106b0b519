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

/// A session with a revision that is live in a gateway that recounts every second.
fn recounting() -> (Session, Running) {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "good"]);
    let gateway = Running::start(&session, &["--scrub-every", "1s"]);
    (session, gateway)
}

/// Waits until the gateway says this about itself.
fn wait_until(session: &Session, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = std::time::Instant::now() + running::PATIENCE;
    loop {
        let status = status(session);
        if is(&status) {
            return status;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "not {what}: {status:#}"
        );
    }
}

/// Nothing is committed, and nothing else reads the row.
#[test]
fn a_byte_that_changes_under_a_running_gateway_is_found() {
    let (mut session, mut gateway) = recounting();
    let path = session.path("rewire.db");
    let connection = Connection::open(&path).unwrap();
    // The rows are in the file, and not in the log.
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    let mac: String = connection
        .query_row("SELECT min(mac) FROM interface", [], |row| row.get(0))
        .unwrap();
    drop(connection);
    // In the rows alone: in a changeset a text stands behind its kind and its length.
    let in_changeset = [2, u8::try_from(mac.len()).unwrap()];
    let flip = |from: &str, to: &str| {
        let mut bytes = std::fs::read(&path).unwrap();
        let places: Vec<usize> = (2..bytes.len() - from.len())
            .filter(|place| bytes[*place..].starts_with(from.as_bytes()))
            .filter(|place| bytes[place - 2..*place] != in_changeset)
            .collect();
        assert_ne!(places, [0; 0]);
        for place in places {
            bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    };
    let other = format!("{}f", &mac[..mac.len() - 1]);
    assert_ne!(mac, other);
    flip(&mac, &other);
    gateway.has_logged("alarm: revision 1 is damaged in the store, the last good tables stay");
    let damaged = wait_until(&session, "an alarm", |status| !status["alarm"].is_null());
    assert_eq!(damaged["revision"], 1, "{damaged:#}");
    let alarm = damaged["alarm"].as_str().unwrap();
    assert!(alarm.contains("journal verify"), "{alarm}");

    // What is committed meanwhile is not taken over, and who waits for it is told.
    let code = session.rewire(&["set", "vpcs.late.description", "later"]);
    assert_eq!(code, 0);
    assert_eq!(session.rewire(&["commit", "-m", "late"]), 4);
    let told = session.transcript();
    assert!(told.contains("is damaged in the store"), "{told}");
    assert_eq!(status(&session)["revision"], 1);

    // When the byte is what it was, everything goes on.
    let connection = Connection::open(&path).unwrap();
    connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(connection);
    flip(&other, &mac);
    gateway.has_logged("what is stored is in order again");
    let repaired = wait_until(&session, "live", |status| status["revision"] == 2);
    assert_eq!(repaired["alarm"], Value::Null, "{repaired:#}");
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
    gateway.has_logged("revision=5");
    let status = status(&session);
    assert_eq!(
        (&status["revision"], &status["alarm"]),
        (&json!(5), &Value::Null),
        "{status}"
    );
    gateway.end(Signal::TERM);
}
