//! `commit --confirm --auto`: a commit that its probes confirm, asked of the running gateway, or that is gone back from.

use std::process::Stdio;

mod running;
mod session;
use running::Running;
use rustix::process::Signal;
use session::Session;

const PROBE: &str = "
probes:
  out: {interface: blue0, source: 10.1.0.5, destination: 198.51.100.7, expect: forwarded, out_interface: wan0}
";

/// A session whose probe passes where the router's address is known, and is let through where it is assumed.
fn session() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    let text = std::fs::read_to_string(session.path("net.yaml")).unwrap();
    session.write("net.yaml", &format!("{text}{PROBE}"));
    session.quietly(&["init"]);
    session.quietly(&["commit", "--load", "net.yaml", "--no-wait"]);
    session
}

const NEIGHBOR: [&str; 6] = [
    "interfaces",
    "wan0",
    "neighbors",
    "203.0.113.2",
    "mac",
    "02:00:00:00:09:09",
];

fn know_the_router(session: &mut Session) {
    session.quietly(&[&["set"][..], &NEIGHBOR].concat());
}

#[test]
fn probes_that_pass_in_the_gateway_confirm() {
    let mut session = session();
    let gateway = Running::start(&session, &[]);
    assert_eq!(session.rewire(&["show", "probes"]), 0);
    assert!(
        session.transcript().contains("FAILS"),
        "{}",
        session.transcript()
    );
    know_the_router(&mut session);
    assert_eq!(session.rewire(&["commit", "--confirm", "10m", "--auto"]), 0);
    let said = session.transcript();
    assert!(
        said.contains("revision 2 confirmed: its probe passes in the gateway"),
        "{said}"
    );
    assert_eq!(session.rewire(&["confirm"]), 1, "nothing waits any more");
    assert_eq!(session.rewire(&["show", "probes"]), 0);
    let said = session.transcript();
    assert!(said.contains("out    passes"), "{said}");
    gateway.end(Signal::TERM);
    // Without a gateway, it would not pass before somebody has answered; it is let through.
    assert_eq!(session.rewire(&["--json", "show", "probes"]), 0);
    assert!(
        session.transcript().contains("\"live\": false"),
        "{}",
        session.transcript()
    );
}

#[test]
fn a_probe_that_fails_until_the_deadline_takes_the_commit_back() {
    let mut session = session();
    know_the_router(&mut session);
    session.quietly(&["commit", "--no-wait"]);
    let gateway = Running::start(&session, &[]);
    session.quietly(&[&["delete"][..], &NEIGHBOR[..4]].concat());
    let mut command = session.command(&["commit", "--confirm", "10m", "--auto"]);
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // What is said once it is live comes before the probes are asked; then the deadline may come.
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("revision 3 live") {
        line.clear();
        let length = std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
        assert!(length > 0, "it has ended");
    }
    session.quietly(&["commit", "--confirm", "3s", "--no-wait"]);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(4));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("1 of 1 probes failed"), "{said}");
    // With its walk.
    assert!(
        said.contains("probes.out: the packet is to be forwarded by wan0, and is held")
            && said.contains("ethernet_input"),
        "{said}"
    );
    assert_eq!(session.rewire(&["diff", "2", "running"]), 0);
    let said = session.transcript();
    assert!(said.contains("no difference"), "{said}");
    gateway.end(Signal::TERM);
}

/// The deadline is the store's: it does not need who set it.
#[test]
fn whoever_waits_may_die() {
    let mut session = session();
    know_the_router(&mut session);
    session.quietly(&["commit", "--no-wait"]);
    let mut gateway = Running::start(&session, &[]);
    session.quietly(&[&["delete"][..], &NEIGHBOR[..4]].concat());
    let mut command = session.command(&["commit", "--confirm", "2s", "--auto"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    assert!(line.contains("revision 3 committed"), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    gateway.has_logged("not confirmed in time");
    gateway.end(Signal::TERM);
}

#[test]
fn nothing_is_committed_that_nothing_would_confirm() {
    let mut session = session();
    know_the_router(&mut session);
    assert_eq!(
        session.rewire(&["commit", "--confirm", "--auto"]),
        3,
        "no gateway runs"
    );
    assert_eq!(
        session.rewire(&["commit", "--auto"]),
        2,
        "nothing would be gone back from"
    );
    assert_eq!(
        session.rewire(&["commit", "--confirm", "--auto", "--at", "+1h"]),
        2
    );
    session.quietly(&["delete", "probes", "out"]);
    assert_eq!(
        session.rewire(&["commit", "--confirm", "--auto"]),
        2,
        "no probes"
    );
    assert_eq!(session.rewire(&["log"]), 0);
    assert!(
        !session.transcript().contains("\n2  "),
        "{}",
        session.transcript()
    );
}

/// A directory that is kept applied is confirmed, and gone back from, in the same way.
#[test]
fn probes_confirm_what_a_directory_says() {
    let mut session = session();
    let gateway = Running::start(&session, &[]);
    let text = std::fs::read_to_string(session.path("net.yaml")).unwrap();
    let known = text.replace(
        "addresses: [203.0.113.1/24]",
        "addresses: [203.0.113.1/24]\n    neighbors: {203.0.113.2: {mac: '02:00:00:00:09:09'}}",
    );
    assert_ne!(text, known);
    std::fs::create_dir(session.path("conf")).unwrap();
    session.write("conf/net.yaml", &known);
    let mut command = session.command(&[
        "apply",
        "--watch",
        "conf",
        "--json",
        "--quiet-time",
        "20",
        "--confirm",
        "10m",
        "--auto",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut lines = std::io::BufRead::lines(stdout).map_while(Result::ok);
    let mut hears = |state: &str, revision: u64| {
        let mut lines = lines
            .by_ref()
            .map(|line| serde_json::from_str(&line).unwrap());
        lines
            .find(|line: &serde_json::Value| line["state"] == state && line["revision"] == revision)
            .unwrap_or_else(|| panic!("never {state} at {revision}"))
    };
    hears("applied", 2);
    // The router is not known any more: the probe's packet waits for it.
    session.write("conf/net.yaml", &text);
    hears("confirming", 3);
    session.quietly(&["commit", "--confirm", "3s", "--no-wait"]);
    let refused = hears("refused", 4);
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("1 of 1 probes failed") && said.contains("ethernet_input"),
        "{said}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    gateway.end(Signal::TERM);
}
