//! Offload between real kernels: flows come to the card and go again as the configuration, and whoever runs the gateway, says;
//! and what is counted of them is what the kernels at both ends have counted.

use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Exchange, Lab, tcp_pair, udp_echoes, until};
use serde_json::{Value, json};

/// The demo's document, where flows between these interfaces are offloaded.
fn offloading(interfaces: &[&str]) -> Value {
    let mut document = two_vpcs();
    for interface in interfaces {
        document["interfaces"][interface]["offload"] = json!(true);
    }
    document
}

/// A gateway with a card in software in front of its ports, and this document.
fn lab(document: &Value) -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.start_gateway_with(&["--modelled-card"]);
    lab.commit(document);
    Some(lab)
}

fn connections(lab: &Lab, options: &[&str]) -> Value {
    let options = [&["show", "connections", "--json"], options].concat();
    let text = lab.rewire(&options).good();
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["result"].take()
}

fn offloaded(lab: &Lab) -> u64 {
    let count = &connections(lab, &["--offloaded"])["count"];
    count.as_u64().expect("a number")
}

fn web(lab: &Lab) -> Exchange {
    let to = "198.51.100.1:80";
    tcp_pair(&lab.blue, to, &lab.internet, to).expect("blue goes out")
}

/// Talks until the connection is in the card.
#[track_caller]
fn talk_into_the_card(lab: &Lab, tcp: &mut Exchange) {
    until("the connection is offloaded", || {
        tcp.talk(100_000);
        let rules = lab.metrics().sum("rewire_offload_rules");
        (offloaded(lab) == 1 && rules == 2.0).then_some(())
    });
}

/// What is gone from the card is so for good: nothing is left of it.
#[track_caller]
fn nothing_is_left(lab: &Lab) {
    until("the rules are gone", || {
        let metrics = lab.metrics();
        let left = metrics.sum("rewire_offload_rules") + metrics.sum("rewire_offload_flows");
        (left == 0.0 && offloaded(lab) == 0).then_some(())
    });
}

#[test]
fn a_flow_counts_what_the_kernels_at_both_ends_have_counted() {
    let Some(lab) = lab(&offloading(&["blue0", "wan0"])) else {
        return;
    };
    // They stay open to the end: a farewell would count for whoever comes next.
    let (mut pairs, mut sockets) = (Vec::new(), Vec::new());
    for protocol in ["tcp", "udp"] {
        let before = [&lab.blue, &lab.internet].map(|host| host.ip_bytes());
        if protocol == "tcp" {
            let mut tcp = web(&lab);
            talk_into_the_card(&lab, &mut tcp);
            tcp.talk(1_000_000);
            pairs.push(tcp);
        } else {
            let to = "198.51.100.1:53";
            let from = "10.1.0.10:4000";
            sockets.push(udp_echoes(&lab.blue, from, &lab.internet, to, 1000, 300));
        }
        let found = until("all is counted", || {
            let found = connections(&lab, &["--protocol", protocol])["connections"][0].take();
            let bytes = |direction: &str| found[direction]["bytes"].as_u64().unwrap_or_default();
            let [blue, internet] = [&lab.blue, &lab.internet].map(|host| host.ip_bytes());
            // What has reached a host has passed the gateway, and nothing else came from there.
            let reached = [
                internet.received - before[1].received,
                blue.received - before[0].received,
            ];
            let is_it = [bytes("original"), bytes("reply")] == reached;
            // None of these is lost on a cable: what one end sends reaches the other.
            let sent = [blue.sent - before[0].sent, internet.sent - before[1].sent];
            (is_it && (protocol == "tcp" || sent == reached)).then_some(found)
        });
        assert_eq!(found["offloaded"], true, "{found}");
    }
    let status = lab.status();
    let offload = &status["offload"];
    assert_eq!(offload["flows"], 2, "{offload}");
    assert!(offload["share_of_bytes"].as_f64() > Some(90.0), "{offload}");
    let wan = lab.metrics();
    // What the card has forwarded counts as received and transmitted by the interfaces, too.
    for name in ["blue0", "wan0"] {
        let received = wan.labelled("rewire_interface_received_bytes_total", "interface", name);
        assert!(received > 1_000_000.0, "{name}: {received}");
    }
    let said = lab.rewire(&["show", "connections"]).good();
    assert!(said.contains("CARD\n") && said.contains(" yes\n"), "{said}");
    let said = lab.rewire(&["status"]).good();
    assert!(said.contains("offload"), "{said}");
}

#[test]
fn what_a_commit_forbids_leaves_the_card() {
    let Some(lab) = lab(&offloading(&["blue0", "wan0"])) else {
        return;
    };
    let mut tcp = web(&lab);
    talk_into_the_card(&lab, &mut tcp);
    let mut document = offloading(&["blue0", "wan0"]);
    document["acls"] = json!({ "guard": { "rules": {
        "10": { "action": "deny", "protocol": "tcp", "destination_port": 80 },
        "20": { "action": "allow" },
    } } });
    document["interfaces"]["blue0"]["acl_in"] = json!("guard");
    let said = lab.commit(&document);
    let report = "connections: 0 still allowed, 1 ended (1 of them in the card)\n";
    assert!(said.ends_with(report), "{said}");
    nothing_is_left(&lab);
    for (mut writer, mut reader) in [(&tcp.client, &tcp.server), (&tcp.server, &tcp.client)] {
        writer
            .write_all(b"still there?")
            .expect("the kernel buffers it");
        reader
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a time-out");
        let error = reader
            .read(&mut [0; 16])
            .expect_err("a forbidden connection goes on");
        let silent = [ErrorKind::WouldBlock, ErrorKind::TimedOut];
        assert!(silent.contains(&error.kind()), "{error}");
    }
}

#[test]
fn what_is_cleared_leaves_the_card() {
    let Some(lab) = lab(&offloading(&["blue0", "wan0"])) else {
        return;
    };
    let mut tcp = web(&lab);
    talk_into_the_card(&lab, &mut tcp);
    let cleared = lab.rewire(&["clear", "connections", "--offloaded"]).good();
    assert_eq!(cleared, "1 connections have ended\n");
    nothing_is_left(&lab);
}

#[test]
fn commits_switch_offload_on_and_off_under_traffic() {
    let Some(lab) = lab(&two_vpcs()) else {
        return;
    };
    let mut tcp = web(&lab);
    tcp.talk(100_000);
    assert_eq!(offloaded(&lab), 0, "nobody has asked for it");
    assert!(lab.status()["offload"].is_null());
    let is_over = AtomicBool::new(false);
    let in_card = |lab: &Lab| lab.metrics().sum("rewire_offload_packets_total");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                tcp.talk(50_000);
            }
        });
        let end = EndOf(&is_over);
        for round in 0..2 {
            // One end of a flow alone is not enough.
            lab.commit(&offloading(&["wan0"]));
            nothing_is_left(&lab);
            let before = in_card(&lab);
            lab.commit(&offloading(&["blue0", "wan0"]));
            until("the card forwards", || {
                (offloaded(&lab) == 1 && in_card(&lab) > before).then_some(())
            });
            lab.commit(&two_vpcs());
            nothing_is_left(&lab);
            assert!(in_card(&lab) > before, "round {round}");
        }
        drop(end);
    });
    tcp.talk(10_000);
    // No packet was lost on the way from the core to the card and back: the kernels would have sent it again.
    assert_eq!(connections(&lab, &["--protocol", "tcp"])["count"], 1);
}

/// Ends a thread, even when the test fails beside it.
struct EndOf<'a>(&'a AtomicBool);

impl Drop for EndOf<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
