//! `rewire watch`, beside a running gateway.

mod running;
mod session;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use running::Running;
use rustix::process::Signal;
use serde_json::Value;
use session::Session;

fn session() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "the first network"]);
    session
}

#[test]
fn rates_are_written_as_often_as_asked_for() {
    let session = session();
    let gateway = Running::start(&session, &[]);
    let output = session
        .command(&["watch", "--count", "2", "--json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (lines, envelope) = text.split_once("{\n").expect("an envelope at the end");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert_eq!(
        (&lines[0]["version"], &lines[0]["received"]["packets"]),
        (&Value::from(1), &Value::from(0.0))
    );
    assert!(lines[1]["seconds"].as_f64() > Some(0.5), "{text}");
    let envelope: Value = serde_json::from_str(&format!("{{{envelope}")).unwrap();
    assert_eq!(envelope["result"]["lines"], 2);
    gateway.end(Signal::TERM);
}

/// A record as RFC 4180 has it, without its end.
fn fields(record: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().unwrap();
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    assert!(!is_quoted, "{record}");
    fields
}

#[test]
fn records_have_the_columns_of_their_header() {
    let mut session = session();
    let gateway = Running::start(&session, &[]);
    let read = |session: &Session, arguments: &[&str]| {
        let output = session.command(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let records: Vec<&str> = text.split_terminator("\r\n").collect();
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
        records.into_iter().map(fields).collect::<Vec<_>>()
    };
    let rates = read(
        &session,
        &["watch", "--count", "2", "--csv", "--interval", "1s"],
    );
    assert_eq!(rates.len(), 3, "{rates:?}");
    assert_eq!(rates[0][..3], ["time", "interface", "seconds"]);
    assert!(
        rates.iter().all(|record| record.len() == rates[0].len()),
        "{rates:?}"
    );
    // The first look is right behind the one that it is compared with.
    assert!(
        rates[2][2]
            .parse::<f64>()
            .is_ok_and(|seconds| seconds > 0.5),
        "{rates:?}"
    );
    // What somebody wrote has commas and quotes.
    let mut watch = session.command(&["watch", "events", "--csv", "--count", "2"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(watch.stdout.take().unwrap());
    let mut lines = output
        .split(b'\n')
        .map(|line| String::from_utf8(line.unwrap()).unwrap());
    let header = fields(lines.next().unwrap().trim_end_matches('\r'));
    assert_eq!(fields(&lines.next().unwrap())[1], "watching");
    session.quietly(&["rewind", "0", "-m", "back, \"to\" nothing"]);
    let record = fields(lines.next().unwrap().trim_end_matches('\r'));
    assert_eq!((header.len(), record.len()), (10, 10));
    assert_eq!((record[1].as_str(), record[2].as_str()), ("revision", "2"));
    assert_eq!(record[5], "back, \"to\" nothing");
    assert!(watch.wait().unwrap().success());
    assert_eq!(session.rewire(&["watch", "--csv", "--json"]), 2);
    gateway.end(Signal::TERM);
}

#[test]
fn a_commit_and_the_gateways_end_are_events() {
    let mut session = session();
    let gateway = Running::start(&session, &[]);
    let mut watch = session.command(&["watch", "events", "--interval", "1s"]);
    let mut watch = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut hears = |text: &str| {
        lines
            .by_ref()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("not heard: {text}"))
    };
    hears("watching: revision 1 live");
    session.quietly(&["rewind", "0", "-m", "back to nothing"]);
    session.quietly(&["rewind", "1", "-m", "and forth"]);
    hears("revision 3 live");
    gateway.end(Signal::TERM);
    hears("the gateway does not answer");
    let gateway = Running::start(&session, &[]);
    hears("the gateway answers again");
    watch.kill().unwrap();
    watch.wait().unwrap();
    gateway.end(Signal::TERM);
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let mut session = session();
    assert_eq!(session.rewire(&["watch"]), 3);
    let gateway = Running::start(&session, &[]);
    assert_eq!(session.rewire(&["watch", "--interface", "nowhere0"]), 2);
    assert_eq!(session.rewire(&["watch", "nonsense"]), 2);
    // A reader that goes away ends it.
    let mut watch = session.command(&["watch"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    drop(watch.stdout.take());
    assert!(watch.wait().unwrap().success());
    gateway.end(Signal::TERM);
}
