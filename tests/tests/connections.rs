//! `rewire show connections` and `rewire clear connections`, of a gateway with traffic between namespaces.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, tcp_pair, until};
use rustix::process::Signal;
use serde_json::Value;

fn connections(lab: &Lab, options: &[&str]) -> Value {
    let text = lab
        .rewire(&[&["show", "connections", "--json"], options].concat())
        .good();
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["result"].take()
}

#[test]
fn connections_are_shown_and_cleared() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut blue = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("blue goes out");
    let mut red = tcp_pair(
        &lab.red,
        "198.51.100.1:81",
        &lab.internet,
        "198.51.100.1:81",
    )
    .expect("red goes out");
    let mut inward = tcp_pair(&lab.internet, "203.0.113.1:8080", &lab.blue, "10.1.0.10:80")
        .expect("TCP comes in");
    blue.talk(100_000);
    red.talk(1000);
    inward.talk(1000);
    lab.blue.ping("198.51.100.1", "-c 1").assert_all();
    let said = lab
        .rewire(&["show", "connections", "--protocol", "tcp"])
        .good();
    assert!(said.contains("10.1.0.10:"), "{said}");
    assert!(said.contains("to 10.1.0.10:80"), "{said}");
    assert!(
        said.ends_with("3 tcp established  1 from blue, 1 from internet, 1 from red\n"),
        "{said}"
    );
    let found = connections(
        &lab,
        &["--vpc", "blue", "--state", "established", "--translated"],
    );
    assert_eq!(
        (&found["version"], &found["count"]),
        (&1.into(), &2.into()),
        "{found}"
    );
    let most = &found["connections"][0];
    assert_eq!(most["original"]["source"], "10.1.0.10");
    assert_eq!(most["reply"]["destination"], "203.0.113.1");
    assert!(most["original"]["bytes"].as_u64() > Some(100_000), "{most}");
    let count = |options: &[&str]| connections(&lab, options)["count"].as_u64();
    assert_eq!(count(&["--port", "8080"]), Some(1));
    assert_eq!(count(&["--address", "10.2.0.0/24"]), Some(1));
    assert_eq!(count(&["--interface", "wan0"]), Some(1));
    assert_eq!(count(&["--protocol", "icmp", "--vpc", "blue"]), Some(1));
    assert_eq!(count(&["--older-than", "1h"]), Some(0));
    let talkers = connections(&lab, &["--protocol", "tcp", "--top", "1"]);
    assert_eq!(talkers["talker_count"], 3);
    assert_eq!(talkers["talkers"][0]["address"], "10.1.0.10");
    // Without options somebody must be asked, and nobody is there.
    let refused = lab.rewire(&["clear", "connections"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    // Red's ends, and only that: its own packets may begin it anew, those from outside may not.
    let cleared = lab.rewire(&["clear", "connections", "--vpc", "red"]).good();
    assert_eq!(cleared, "1 connections have ended\n");
    red.server
        .write_all(b"still there?")
        .expect("the kernel buffers it");
    red.client
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a time-out");
    let error = red.client.read(&mut [0; 16]).expect_err("it has ended");
    assert!(
        [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
        "{error}"
    );
    blue.talk(1000);
    inward.talk(1000);
    let metrics = lab.metrics();
    assert_eq!(metrics.sum("rewire_connections_cleared_total"), 1.0);
    assert!(metrics.sum("rewire_vpc_connections") >= 2.0);
    assert!(metrics.sum("rewire_connection_states") >= 2.0);
    lab.rewire(&["clear", "connections", "--all"]).good();
    assert_eq!(connections(&lab, &["--protocol", "tcp"])["count"], 0);
}

/// Translated both ways, talked to from outside first: without its connection no packet would find its way in.
#[test]
fn connections_survive_a_restart_of_the_gateway() {
    let Some(mut lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    // Both behind one address, from the same port: one of them has another on the outside.
    let mut pairs = Vec::new();
    for (host, to) in [
        (&lab.blue, "198.51.100.1:80"),
        (&lab.red, "198.51.100.1:81"),
    ] {
        pairs.push(tcp_pair(host, to, &lab.internet, to).expect("it goes out"));
    }
    pairs.push(
        tcp_pair(&lab.internet, "203.0.113.1:8080", &lab.blue, "10.1.0.10:80")
            .expect("TCP comes in"),
    );
    for pair in &mut pairs {
        pair.talk(1000);
    }
    let before = connections(&lab, &["--protocol", "tcp", "--sort", "age"]);
    assert!(lab.stop_gateway(Signal::TERM).success());
    // Meanwhile the ends go on: their kernels send again until somebody answers.
    for pair in &mut pairs {
        pair.server
            .write_all(b"still there?")
            .expect("the kernel buffers it");
    }
    lab.start_gateway();
    until("its connections are back", || {
        (connections(&lab, &["--protocol", "tcp"])["count"] == 3).then_some(())
    });
    for pair in &mut pairs {
        let mut heard = [0; 12];
        pair.client
            .read_exact(&mut heard)
            .expect("from outside, or from the server");
        assert_eq!(&heard, b"still there?");
        pair.talk(100_000);
    }
    let after = connections(&lab, &["--protocol", "tcp", "--sort", "age"]);
    let ends = |shown: &Value| -> Vec<String> {
        let all = shown["connections"].as_array().expect("a list");
        let ends = |one: &Value| {
            let of = |way: &str| {
                let one = &one[way];
                format!(
                    "{} {} {} {}",
                    one["source"], one["source_port"], one["destination"], one["destination_port"]
                )
            };
            format!("{} > {}", of("original"), of("reply"))
        };
        let mut all: Vec<_> = all.iter().map(ends).collect();
        all.sort();
        all
    };
    assert_eq!(
        ends(&after),
        ends(&before),
        "nothing is translated differently"
    );
    let age = |shown: &Value| shown["connections"][0]["age_seconds"].as_u64();
    assert!(age(&after) >= age(&before), "ages go on");
    let log = lab.log().join("\n");
    assert!(log.contains("connections go on"), "{log}");
}
