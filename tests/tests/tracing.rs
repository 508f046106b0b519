//! A running gateway is asked where packets would go, and its own packets are watched, between real kernels.

use std::process::Command;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, Namespace, tcp_pair, udp_echoes};
use serde_json::Value;

fn json(lab: &Lab, arguments: &[&str]) -> Value {
    let answer = lab.rewire(arguments).good();
    serde_json::from_str(&answer).expect("JSON")
}

/// The gateway knows its neighbors and connections; asking changes nothing.
#[test]
fn a_running_gateway_says_where_a_packet_would_go_now() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let remote = "198.51.100.1:7000";
    let mut tcp = tcp_pair(&lab.blue, remote, &lab.internet, remote).expect("it goes through");
    tcp.talk(1000);
    let client = tcp.client.local_addr().expect("an address");
    let packet = format!("in blue0 {client} > {remote} tcp ack");
    let before = lab.metrics();
    let answer = json(&lab, &["trace", "--json", &packet]);
    let steps = answer["result"]["steps"].as_array().expect("steps");
    let fact = |kind: &str| steps.iter().find(|step| step["fact"] == kind);
    let connection = fact("connection").expect("it belongs to one");
    assert_eq!(connection["details"]["relation"], "established");
    assert_eq!(connection["details"]["connection"]["state"], "established");
    let neighbor = fact("neighbor").expect("a neighbor");
    assert_eq!(neighbor["details"]["assumed"], false, "{neighbor}");
    assert_eq!(answer["result"]["state"]["name"], "gateway");
    // One that would begin a connection has begun none.
    let other = json(
        &lab,
        &[
            "trace",
            "--json",
            "in blue0 10.1.0.10:4 > 198.51.100.1:5 udp",
        ],
    );
    assert_eq!(other["result"]["outcome"]["kind"], "forwarded");
    let after = lab.metrics();
    let connections = "rewire_connections_created_total";
    assert_eq!(before.sum(connections), after.sum(connections));
    tcp.talk(1000);
}

/// A port that somebody else has is not given out again, and an endpoint that has one keeps it, whoever it speaks to.
#[test]
fn a_trial_shows_the_port_that_the_sender_has() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let talk = |host: &Namespace, from: &str| {
        udp_echoes(host, from, &lab.internet, "198.51.100.1:53", 8, 1);
    };
    talk(&lab.red, "10.2.0.10:4000");
    talk(&lab.blue, "10.1.0.10:4000");
    let shown = json(&lab, &["show", "connections", "--json"]);
    let connections = shown["result"]["connections"].as_array().expect("a list");
    let source = "10.1.0.10";
    let blue = connections
        .iter()
        .find(|one| one["original"]["source"] == source);
    let blue = blue.expect("it has one");
    let port = &blue["reply"]["destination_port"];
    assert_ne!(port, &Value::from(4000), "red has it: {blue}");
    let trace = |packet: &str| {
        let answer = json(&lab, &["trace", "--json", packet]);
        let steps = answer["result"]["steps"]
            .as_array()
            .cloned()
            .expect("steps");
        let fact = |kind: &str| steps.iter().find(|step| step["fact"] == kind).cloned();
        let source = fact("source").expect("it is translated");
        (
            fact("began").is_some(),
            source["details"]["to"]["port"].clone(),
        )
    };
    // To somebody else: a connection of its own, by the same mapping.
    let other = trace("in blue0 10.1.0.10:4000 > 198.51.100.9:99 udp");
    assert_eq!(other, (true, port.clone()));
    // Of an endpoint that has none, its own port.
    let new = trace("in blue0 10.1.0.10:4001 > 198.51.100.9:99 udp");
    assert_eq!(new, (true, 4001.into()));
}

/// The real walk of real packets, and captures that tshark reads.
#[test]
fn packets_of_a_running_gateway_are_watched_and_go_on() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue.ping("198.51.100.1", "-c 1 -W 2").assert_all();
    let ping = lab.blue.keep_pinging("198.51.100.1");
    let live = json(
        &lab,
        &[
            "trace",
            "--live",
            "--count",
            "2",
            "--json",
            "icmp[icmptype] = icmp-echo",
        ],
    );
    let walks = live["result"]["walks"].as_array().expect("walks");
    assert_eq!(walks.len(), 2, "{live}");
    for walk in walks {
        assert_eq!(walk["outcome"]["kind"], "forwarded", "{walk}");
        assert_eq!(walk["interface"], "blue0");
        let packet = walk["sent"][0]["packet"].as_str().expect("a packet");
        assert!(packet.contains("> 198.51.100.1 icmp echo"), "{packet}");
    }
    let file = std::env::temp_dir().join(format!("rewire-capture-{}.pcapng", std::process::id()));
    let name = file.to_str().expect("a name");
    lab.rewire(&[
        "capture", "icmp", "--at", "blue0", "--count", "6", "-w", name,
    ])
    .good();
    let tshark = Command::new("tshark")
        .args([
            "-r",
            name,
            "-T",
            "fields",
            "-e",
            "frame.interface_name",
            "-e",
            "icmp.type",
        ])
        .output();
    if let Ok(read) = tshark {
        let read = String::from_utf8_lossy(&read.stdout).into_owned();
        assert_eq!(read.lines().count(), 6, "{read}");
        assert!(
            read.lines().all(|line| line.starts_with("blue0\t")),
            "{read}"
        );
        assert!(read.contains("\t8") && read.contains("\t0"), "{read}");
    }
    let _ = std::fs::remove_file(&file);
    // Nothing was lost by being watched.
    ping.stop().assert_all();
}
