//! Access control lists between real kernels: what is allowed goes through with its replies, what is rejected is told so, and
//! a commit ends what it forbids.

use std::io::{ErrorKind, Write};

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, tcp_pair, until};
use serde_json::{Value, json};

/// The demo's document, where blue's hosts may do what these rules say.
fn guarded(rules: Value) -> Value {
    let mut document = two_vpcs();
    document["acls"] = json!({ "guard": { "default": "reject", "rules": rules } });
    document["interfaces"]["blue0"]["acl_in"] = json!("guard");
    document
}

/// The packets and bytes that each rule of an ACL has counted, its default last.
fn counted(lab: &Lab, acl: &str) -> Vec<(Value, u64, u64)> {
    let answer = lab.rewire(&["show", "acls", acl, "--json"]).good();
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let rules = answer["result"]["rules"].as_array().expect("rules");
    let number = |value: &Value| value.as_u64().expect("a number");
    rules
        .iter()
        .map(|rule| {
            let [packets, bytes] = [&rule["packets"], &rule["bytes"]].map(number);
            (rule["rule"].clone(), packets, bytes)
        })
        .collect()
}

fn ssh(action: &str) -> Value {
    json!({ "10": { "action": action, "protocol": "tcp", "destination_port": 22, "log": true } })
}

#[test]
fn ssh_goes_through_and_nothing_else_until_a_commit_forbids_it() {
    let Some(lab) = Lab::with(&guarded(ssh("allow"))) else {
        return;
    };
    let mut tcp = tcp_pair(
        &lab.blue,
        "198.51.100.1:22",
        &lab.internet,
        "198.51.100.1:22",
    )
    .expect("the ACL allows it");
    tcp.talk(100_000);
    let refused = tcp_pair(
        &lab.blue,
        "198.51.100.1:23",
        &lab.internet,
        "198.51.100.1:23",
    );
    let error = refused.expect_err("the ACL rejects it");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    let ping = lab.blue.ping("198.51.100.1", "-c 2 -i 0.2 -W 1");
    ping.assert_refused("10.1.0.1", "Packet filtered");
    // Packets of the connection, both ways, count on the rule that let it in; the others on the default.
    let before = counted(&lab, "guard");
    let [(rule, _, bytes), (default, refused, _)] = &before[..] else {
        panic!("{before:?}");
    };
    assert_eq!((rule, default), (&json!(10), &Value::Null));
    assert!(*bytes > 200_000 && *refused >= 3, "{before:?}");
    // Red has no ACL.
    lab.red.ping("198.51.100.1", "-c 2 -i 0.2").assert_all();
    until("the log tells of the connection", || {
        let log = lab.log();
        let told = log
            .iter()
            .any(|line| line.contains("an ACL has decided") && line.contains("guard"));
        told.then_some(())
    });

    let denied = |lab: &Lab| {
        lab.metrics()
            .labelled("rewire_dropped_packets_total", "reason", "acl_in_denied")
    };
    let before = denied(&lab);
    lab.commit(&guarded(ssh("deny")));
    (&tcp.client)
        .write_all(b"still there?")
        .expect("the kernel buffers it");
    until("the packet is dropped, by name", || {
        (denied(&lab) > before).then_some(())
    });
    tcp.server
        .set_nonblocking(true)
        .expect("a socket that does not wait");
    let error = std::io::Read::read(&mut (&tcp.server), &mut [0; 16])
        .expect_err("a forbidden connection goes on");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    tcp.server.set_nonblocking(false).expect("one that does");

    // Going back lets it go on: the kernel sends again what was lost.
    lab.rewire(&["rewind", "1"]).good();
    let mut heard = [0; 12];
    std::io::Read::read_exact(&mut (&tcp.server), &mut heard).expect("it goes on");
    assert_eq!(&heard, b"still there?");
    tcp.talk(1000);
}

#[test]
fn the_acl_of_a_peering_stands_between_two_vpcs() {
    let mut document = two_vpcs();
    document["acls"] = json!({ "between": { "default": "reject", "rules": {
        "10": { "action": "allow", "from": "blue", "to": "red", "protocol": "tcp", "destination_port": 22 },
    } } });
    document["peerings"] = json!({ "p": { "acl": "between", "sides": {
        "blue": { "expose": { "hosts": { "ips": ["10.1.0.0/24"] } } },
        "red": { "expose": { "hosts": { "ips": ["10.2.0.0/24"] } } },
    } } });
    let Some(lab) = Lab::with(&document) else {
        return;
    };
    let connect = |port: u16| {
        let red = format!("10.2.0.10:{port}");
        tcp_pair(&lab.blue, &red, &lab.red, &red)
    };
    let mut tcp = connect(22).expect("the ACL allows it");
    tcp.talk(10_000);
    let error = connect(23).expect_err("the ACL rejects it");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    let back = tcp_pair(&lab.red, "10.1.0.10:22", &lab.blue, "10.1.0.10:22");
    let error = back.expect_err("the rule is for the other direction");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    let counted = counted(&lab, "between");
    let packets: Vec<(Value, bool)> = counted
        .iter()
        .map(|(rule, packets, _)| (rule.clone(), *packets > 0))
        .collect();
    assert_eq!(packets, [(json!(10), true), (Value::Null, true)]);
    let denied = lab.metrics();
    let denied = denied.labelled(
        "rewire_dropped_packets_total",
        "reason",
        "acl_peering_denied",
    );
    assert!(denied >= 2.0, "{denied}");

    // Without the ACL, all that is exposed is reached.
    document["peerings"]["p"]
        .as_object_mut()
        .expect("a map")
        .remove("acl");
    lab.commit(&document);
    tcp.talk(1000);
    connect(23).expect("nothing stands between").talk(1000);
}
