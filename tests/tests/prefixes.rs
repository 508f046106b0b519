//! Prefixes that are others outside, between kernels: NPTv6 (RFC 6296) and IPv4 address by address.

use rewire_tests::documents::{push, two_vpcs};
use rewire_tests::{Lab, tcp_pair};
use serde_json::{Value, json};

/// What blue's host is outside: fd00:1:1:1::10 with the sums of both prefixes made up for in the subnet.
const BLUE_OUTSIDE: &str = "2001:db8:1:cf49::10";

/// Blue has prefixes of its own, which are others outside.
fn document() -> Value {
    let mut document = two_vpcs();
    push(
        &mut document["interfaces"]["blue0"]["addresses"],
        "fd00:1:1:1::1/64",
    );
    push(
        &mut document["interfaces"]["wan0"]["addresses"],
        "2001:db8:ff::1/64",
    );
    document["vpcs"]["blue"]["routes"]["::/0"] =
        json!({ "next_hops": [{ "interface": "wan0", "via": "2001:db8:ff::2" }] });
    document["nat"]["static"] = json!({
        "six": {
            "external_vpc": "internet", "external_address": "2001:db8:1::/48",
            "internal_vpc": "blue", "internal_address": "fd00:1:1::/48", "nptv6": true,
        },
        "four": {
            "external_vpc": "internet", "external_address": "172.16.0.0/12",
            "internal_vpc": "red", "internal_address": "10.0.0.0/12",
        },
    });
    document
}

/// Gives the hosts their addresses, and the outside the way to what is inside.
fn lab() -> Option<Lab> {
    let lab = Lab::with(&document())?;
    for (host, address) in [
        (&lab.blue, "fd00:1:1:1::10/64"),
        (&lab.internet, "2001:db8:ff::2/64"),
    ] {
        host.set("ipv6/conf/eth0/accept_ra", "0");
        host.set("ipv6/conf/eth0/disable_ipv6", "0");
        host.ip(&format!("address add {address} dev eth0 nodad"));
    }
    lab.blue.ip("-6 route add default via fd00:1:1:1::1");
    lab.internet
        .ip("-6 route add 2001:db8:1::/48 via 2001:db8:ff::1");
    lab.internet.ip("route add 172.16.0.0/12 via 203.0.113.1");
    Some(lab)
}

#[test]
fn nptv6_between_kernels() {
    let Some(lab) = lab() else { return };
    lab.blue.ping("2001:db8:ff::2", "-c 3 -i 0.1").assert_all();
    lab.internet.ping(BLUE_OUTSIDE, "-c 3 -i 0.1").assert_all();
    let site = "[2001:db8:ff::2]:80";
    let mut out = tcp_pair(&lab.blue, site, &lab.internet, site).expect("TCP goes out");
    let seen = out.server.peer_addr().expect("it is connected").ip();
    assert_eq!(seen.to_string(), BLUE_OUTSIDE);
    out.talk(100_000);
    let (to, at) = (format!("[{BLUE_OUTSIDE}]:81"), "[fd00:1:1:1::10]:81");
    let mut inward = tcp_pair(&lab.internet, &to, &lab.blue, at).expect("TCP comes in");
    let seen = inward.server.peer_addr().expect("it is connected").ip();
    assert_eq!(seen.to_string(), "2001:db8:ff::2");
    inward.talk(100_000);
    // What it has no address for is refused, and the sender hears of it.
    let none = lab.internet.ping("2001:db8:1:ffff::1", "-c 1 -W 2");
    assert!(none.answered.is_empty(), "{none:?}");
    assert!(none.output.contains("Destination unreachable"), "{none:?}");
}

#[test]
fn a_million_addresses_of_ipv4_between_kernels() {
    let Some(lab) = lab() else { return };
    // 10.2.0.10 is red's host.
    lab.internet.ping("172.18.0.10", "-c 3 -i 0.1").assert_all();
    let site = "198.51.100.1:80";
    let mut out = tcp_pair(&lab.red, site, &lab.internet, site).expect("TCP goes out");
    let seen = out.server.peer_addr().expect("it is connected").ip();
    assert_eq!(seen.to_string(), "172.18.0.10");
    out.talk(100_000);
    let mut inward =
        tcp_pair(&lab.internet, "172.18.0.10:81", &lab.red, "10.2.0.10:81").expect("TCP comes in");
    inward.talk(100_000);
}
