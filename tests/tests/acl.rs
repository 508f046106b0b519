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
