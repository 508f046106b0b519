//! The same walk for the other family: neighbor discovery, routes, NAT, errors.

use rewire_tests::documents::{push, two_vpcs};
use rewire_tests::{Lab, tcp_pair, udp_echo};
use serde_json::{Value, json};

/// Two VPCs with IPv6 beside IPv4. Blue's addresses are routed, and known outside; red's are masqueraded.
fn dual_stack() -> Value {
    let mut document = two_vpcs();
    for (interface, address) in [
        ("blue0", "2001:db8:1::1/64"),
        ("red0", "fd00:2::1/64"),
        ("wan0", "2001:db8:ff::1/64"),
    ] {
        push(&mut document["interfaces"][interface]["addresses"], address);
    }
    let out = json!({ "next_hops": [{ "interface": "wan0", "via": "2001:db8:ff::2" }] });
    route(&mut document, "blue", "::/0", out.clone());
    route(&mut document, "red", "::/0", out);
    route(
        &mut document,
        "red",
        "2001:db8:1::/64",
        json!({ "type": "unreachable" }),
    );
    // What blue has is on blue's link.
    route(
        &mut document,
        "internet",
        "2001:db8:1::/64",
        json!({ "next_hops": [{ "interface": "blue0" }] }),
    );
    document["nat"]["masquerade"]["red-out-6"] =
        json!({ "vpc": "red", "interface": "wan0", "sources": ["fd00:2::/64"] });
    document
}

fn route(document: &mut Value, vpc: &str, prefix: &str, route: Value) {
    document["vpcs"][vpc]["routes"][prefix] = route;
}

/// Gives the hosts their addresses.
fn lab() -> Option<Lab> {
    let lab = Lab::with(&dual_stack())?;
    for (host, address, router) in [
        (&lab.blue, "2001:db8:1::10/64", "2001:db8:1::1"),
        (&lab.red, "fd00:2::10/64", "fd00:2::1"),
        (&lab.internet, "2001:db8:ff::2/64", "2001:db8:ff::1"),
    ] {
        host.set("ipv6/conf/eth0/accept_ra", "0");
        host.set("ipv6/conf/eth0/disable_ipv6", "0");
        // Good at once: nobody else can have it.
        host.ip(&format!("address add {address} dev eth0 nodad"));
        host.ip(&format!("-6 route add default via {router}"));
    }
    Some(lab)
}

#[test]
fn routed_and_masqueraded_traffic_passes() {
    let Some(lab) = lab() else { return };
    lab.blue.ping("2001:db8:1::1", "-c 2 -i 0.1").assert_all();
    lab.blue.ping("2001:db8:ff::2", "-c 3 -i 0.1").assert_all();
    lab.internet
        .ping("2001:db8:1::10", "-c 3 -i 0.1")
        .assert_all();
    let site = "[2001:db8:ff::2]:80";
    for (host, seen) in [(&lab.blue, "2001:db8:1::10"), (&lab.red, "2001:db8:ff::1")] {
        let mut tcp = tcp_pair(host, site, &lab.internet, site).expect("TCP goes out");
        assert_eq!(
            tcp.server
                .peer_addr()
                .expect("it is connected")
                .ip()
                .to_string(),
            seen
        );
        tcp.talk(100_000);
    }
}

#[test]
fn errors_come_from_the_gateway() {
    let Some(lab) = lab() else { return };
    let refused = lab.red.ping("2001:db8:1::10", "-c 2 -i 0.1 -W 1");
    refused.assert_refused("fd00:2::1", "unreachable");
    let expired = lab.blue.ping("2001:db8:ff::2", "-c 1 -W 1 -t 1");
    expired.assert_refused("2001:db8:1::1", "Time exceeded: Hop limit");
}

#[test]
fn fragments_are_masqueraded_both_ways() {
    let Some(lab) = lab() else { return };
    // Red's kernel cuts what is larger than its link, and the internet's kernel its answers.
    lab.red
        .ping("2001:db8:ff::2", "-c 5 -i 0.1 -s 4000")
        .assert_all();
    udp_echo(
        &lab.red,
        "[::]:0",
        &lab.internet,
        "[2001:db8:ff::2]:53",
        8000,
    );
    let metrics = lab.metrics();
    assert!(
        metrics.sum("rewire_held_packets") < 0.5,
        "something is left"
    );
}
