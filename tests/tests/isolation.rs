//! What there is no route for does not happen, and who tries is told.

use std::io::ErrorKind;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, tcp_pair};

#[test]
fn vpcs_and_the_internet_are_apart() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue
        .ping("10.2.0.10", "-c 2 -i 0.1 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");
    lab.red
        .ping("10.1.0.10", "-c 2 -i 0.1 -W 1")
        .assert_refused("10.2.0.1", "Unreachable");
    lab.internet
        .ping("10.1.0.10", "-c 2 -i 0.1 -W 1")
        .assert_refused("203.0.113.1", "Unreachable");
    let tcp = tcp_pair(&lab.blue, "10.2.0.10:80", &lab.red, "10.2.0.10:80");
    let refused = tcp.map(drop).expect_err("blue reaches red");
    let kinds = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
    assert!(kinds.contains(&refused.kind()), "{refused}");
}

#[test]
fn the_gateway_answers_for_its_own_addresses_only() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue.ping("10.1.0.1", "-c 2 -i 0.1").assert_all();
    lab.internet.ping("203.0.113.1", "-c 2 -i 0.1").assert_all();
    // Nobody has these: on the link, no ARP answer; beyond, no route.
    let silence = lab.internet.ping("203.0.113.77", "-c 1 -W 1");
    assert!(silence.answered.is_empty(), "{}", silence.output);
    lab.blue
        .ping("10.2.0.1", "-c 1 -W 1")
        .assert_refused("10.1.0.1", "Unreachable");
}

/// What all the other tests stand on: whatever passes, passes through the gateway.
#[test]
fn without_a_gateway_nothing_passes() {
    let Some(lab) = Lab::new() else { return };
    for (host, address) in [
        (&lab.blue, "10.1.0.1"),
        (&lab.blue, "198.51.100.1"),
        (&lab.internet, "10.1.0.10"),
    ] {
        let ping = host.ping(address, "-c 1 -W 1");
        assert!(ping.answered.is_empty(), "{}", ping.output);
    }
}
