//! Probes: packets that a commit must not lead astray; and `rewire bisect`, which finds the revision that did.

use serde_json::Value;

mod session;
use session::{Session, assert_transcript};

const PROBES: &str = "
probes:
  out:
    interface: blue0
    source: 10.1.0.5
    destination: 198.51.100.7
    protocol: tcp
    destination_port: 443
    expect: forwarded
    out_interface: wan0
    via: 203.0.113.2
    translated_source: 203.0.113.1
  apart: {interface: blue0, source: 10.1.0.5, destination: 10.2.0.9, expect: dropped}
  alive: {interface: blue0, source: 10.1.0.5, destination: 10.1.0.1, expect: answered}
  web:
    interface: wan0
    source: 198.51.100.7
    destination: 203.0.113.1
    protocol: tcp
    destination_port: 8080
    expect: forwarded
    out_interface: blue0
    via: 10.1.0.10
    translated_destination: 10.1.0.10
    translated_destination_port: 80
";

/// A session whose first revision has probes.
fn with_probes() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    let text = std::fs::read_to_string(session.path("net.yaml")).unwrap();
    session.write("net.yaml", &format!("{text}{PROBES}"));
    session.quietly(&["init"]);
    session.quietly(&[
        "commit",
        "--load",
        "net.yaml",
        "-m",
        "with probes",
        "--no-wait",
    ]);
    session
}

#[test]
fn a_commit_that_leads_a_probe_astray_is_refused_with_its_walk() {
    let mut session = with_probes();
    session.quietly(&["delete", "vpcs", "blue", "routes", "0.0.0.0/0"]);
    assert_eq!(session.rewire(&["commit", "--no-wait"]), 2);
    session.quietly(&["discard"]);
    session.quietly(&["set", "nat", "port_forward", "web", "internal_port", "81"]);
    assert_eq!(session.rewire(&["check"]), 2);
    assert_eq!(session.rewire(&["--json", "commit", "--no-wait"]), 2);
    session.quietly(&["discard"]);
    // What has nothing to do with packets is not asked about; what has, and leads nobody astray, is committed.
    session.quietly(&["set", "vpcs", "red", "description", "the third"]);
    assert_eq!(session.rewire(&["commit", "--no-wait"]), 0);
    assert_transcript!(session);
}

#[test]
fn what_a_probe_wants_is_held_against_what_becomes_of_it() {
    let mut session = with_probes();
    for (field, value) in [
        ("expect", "answered"),
        ("out_interface", "red0"),
        ("via", "203.0.113.9"),
        ("translated_source", "203.0.113.9"),
        ("translated_destination_port", "444"),
    ] {
        // What a packet that is answered cannot want goes with it.
        if field == "expect" {
            session.quietly(&["delete", "probes", "out", "out_interface"]);
            session.quietly(&["delete", "probes", "out", "via"]);
            session.quietly(&["delete", "probes", "out", "translated_source"]);
        }
        session.quietly(&["set", "probes", "out", field, value]);
        assert_eq!(session.rewire(&["check"]), 2, "{field}");
        session.quietly(&["discard"]);
    }
    assert_transcript!(session);
}

#[test]
fn a_document_with_a_probe_that_fails_says_where_it_stands() {
    let mut session = with_probes();
    let text = std::fs::read_to_string(session.path("net.yaml")).unwrap();
    session.write(
        "net.yaml",
        &text.replace(
            "via: 203.0.113.2\n    translated",
            "via: 203.0.113.3\n    translated",
        ),
    );
    assert_eq!(session.rewire(&["check", "net.yaml"]), 2);
    assert!(
        session.transcript().contains("net.yaml:"),
        "{}",
        session.transcript()
    );
}

/// Nobody knows before the commit what a routing daemon will say.
#[test]
fn a_way_by_learned_routes_is_not_told() {
    let mut session = with_probes();
    session.write(
        "bgp.yaml",
        "route_sources: {frr: {type: fpm, listen: '127.0.0.1:2620', vpcs: {blue: {table: 10}}}}\n",
    );
    session.quietly(&["load", "merge", "bgp.yaml"]);
    assert_eq!(session.rewire(&["commit", "--no-wait"]), 2);
    let said = session.transcript();
    assert!(
        said.contains("route source \"frr\" makes routes on the way"),
        "{said}"
    );
}

/// Revisions 2 to 40: number 23 takes the route away, the others are of no interest to the packet.
fn history() -> Session {
    let mut session = Session::with_one_revision();
    for revision in 2..=40 {
        match revision {
            23 => session.quietly(&["delete", "vpcs", "blue", "routes", "0.0.0.0/0"]),
            _ => session.quietly(&[
                "set",
                "vpcs",
                "red",
                "description",
                &format!("number {revision}"),
            ]),
        }
        session.quietly(&["commit", "--no-wait", "-m", &format!("change {revision}")]);
    }
    session
}

const PACKET: &str = "in blue0 10.1.0.5:40000 > 198.51.100.7:443 tcp";

#[test]
fn the_revision_that_broke_it_is_found() {
    let mut session = history();
    assert_eq!(session.rewire(&["bisect", PACKET, "--want", "out wan0"]), 0);
    assert_eq!(
        session.rewire(&[
            "bisect",
            PACKET,
            "--want",
            "forwarded",
            "--good",
            "1",
            "--bad",
            "30"
        ]),
        0
    );
    // Other ends, and other wants.
    assert_eq!(session.rewire(&["bisect", PACKET, "--want", "dropped"]), 1);
    assert_eq!(
        session.rewire(&["bisect", PACKET, "--want", "forwarded", "--good", "25"]),
        1
    );
    assert_eq!(
        session.rewire(&["bisect", PACKET, "--want", "out wan0 via 203.0.113.9"]),
        1
    );
    assert_eq!(
        session.rewire(&["bisect", PACKET, "--want", "dropped nonsense"]),
        2
    );
    assert_transcript!(session);
}

#[test]
fn machines_are_told_what_was_tried() {
    let session = history();
    let mut command = session.command(&["--json", "bisect", PACKET, "--want", "forwarded"]);
    let output = command.output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = &answer["result"];
    assert_eq!(result["revision"], 23, "{answer}");
    assert_eq!(result["before"]["revision"], 22);
    assert_eq!(result["before"]["found"], Value::Null);
    assert_eq!(result["after"]["trace"]["outcome"]["kind"], "dropped");
    // 40, then back by 1, 2, 4, 8, 16 and 32 at most, and halves.
    assert!(result["tried"].as_array().unwrap().len() <= 14, "{result}");
}
