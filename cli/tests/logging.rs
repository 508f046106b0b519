//! The gateway's log as machines read it: lines of JSON, and lines for the journal of systemd.

mod running;
mod session;

use running::Running;
use serde_json::{Value, json};
use session::Session;

/// What a gateway logs in a form, from its start over the commit of a second revision to its end.
fn log_of(format: &str) -> Vec<String> {
    let mut session = Session::with_one_revision();
    let run = ["run", "--virtual", "--metrics", "off", "--console", "off"];
    let run = [&run[..], &["--log-format", format]].concat();
    let mut gateway = Running::spawn_unready(session.command(&run));
    gateway.has_logged("live");
    session.quietly(&["set", "vpcs", "blue", "description", "seen"]);
    session.quietly(&["commit", "-m", "two", "--wait"]);
    gateway.log_to_the_end()
}

#[test]
fn every_line_of_json_is_an_object_and_a_commit_has_its_revision_and_its_trace() {
    let lines: Vec<Value> = log_of("json")
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for key in ["timestamp", "level", "target", "message"] {
            assert!(line[key].is_string(), "{key}: {line}");
        }
    }
    let live: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "live")
        .collect();
    let [start, commit] = live.as_slice() else {
        panic!("two revisions were live: {lines:?}");
    };
    assert_eq!(
        (&start["revision"], &start["span"]),
        (&json!(1), &Value::Null)
    );
    // What concerns a commit stands within it.
    assert_eq!(commit["span"]["revision"], json!(2), "{commit}");
    let trace = commit["span"]["trace_id"].as_str().unwrap_or_default();
    assert!(
        trace.len() == 32 && trace.chars().all(|c| c.is_ascii_hexdigit()),
        "{commit}"
    );
    assert_eq!(commit["revision"], Value::Null, "it is said once: {commit}");
}

#[test]
fn every_line_for_the_journal_has_a_priority_and_no_time() {
    let lines = log_of("journal");
    for line in &lines {
        let rest = line
            .strip_prefix('<')
            .and_then(|line| line.split_once('>'))
            .filter(|(priority, _)| ["3", "4", "6", "7"].contains(priority));
        let (_, rest) = rest.unwrap_or_else(|| panic!("no priority: {line}"));
        let level = rest.split_whitespace().next().unwrap_or_default();
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level),
            "{line}"
        );
        assert!(!line.contains('\u{1b}'), "no colour: {line:?}");
    }
    let commit = lines.iter().find(|line| line.contains("trace_id="));
    let commit = commit.unwrap_or_else(|| panic!("no commit: {lines:?}"));
    assert_eq!(commit.matches("revision=2").count(), 1, "{commit}");
}
