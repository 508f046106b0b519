//! What a host behind the gateway finds out about its NAT (RFC 5780), by coturn's client and server.

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, StunServer, nat_discovery};
use serde_json::Value;

/// The demo's world, the STUN server in it, and what blue is told.
fn discover(options: &[&str]) -> Option<Vec<String>> {
    discover_in(&two_vpcs(), options)
}

/// The same with another configuration.
fn discover_in(document: &Value, options: &[&str]) -> Option<Vec<String>> {
    let lab = Lab::with(document)?;
    // A second address for blue, for those who look for collisions.
    lab.blue.ip("address add 10.1.0.11/24 dev eth0");
    let _server = StunServer::start(&lab);
    Some(nat_discovery(&lab, options))
}

/// The mapped addresses that the server has told of, in their order.
fn mapped<'a>(lines: &'a [String]) -> Vec<&'a str> {
    let after = |line: &'a str| Some(line.split_once("UDP reflexive addr: ")?.1);
    lines.iter().filter_map(|line| after(line)).collect()
}

#[track_caller]
fn assert_said(lines: &[String], verdict: &str) {
    assert!(lines.iter().any(|line| line == verdict), "{lines:#?}");
}

#[test]
fn mapping_is_endpoint_independent() {
    let Some(lines) = discover(&["-m", "-L", "10.1.0.10", "-l", "4000"]) else {
        return;
    };
    assert_said(&lines, "NAT with Endpoint Independent Mapping!");
    // To either address of the server, and the port is kept, for it is free.
    assert_eq!(mapped(&lines), ["203.0.113.1:4000"; 2]);
}

#[test]
fn filtering_is_address_and_port_dependent() {
    let Some(lines) = discover(&["-f"]) else {
        return;
    };
    assert_said(&lines, "NAT with Address and Port Dependent Filtering!");
}

/// What is found out about the filtering of a masquerade that is told to filter so.
fn filtering_found(filtering: &str, verdict: &str) {
    let mut document = two_vpcs();
    document["nat"]["masquerade"]["blue-out"]["filtering"] = filtering.into();
    if let Some(lines) = discover_in(&document, &["-m", "-f"]) {
        assert_said(&lines, verdict);
        assert_said(&lines, "NAT with Endpoint Independent Mapping!");
    }
}

#[test]
fn filtering_is_address_dependent_where_it_is_configured() {
    filtering_found("address_dependent", "NAT with Address Dependent Filtering!");
}

#[test]
fn filtering_is_endpoint_independent_where_it_is_configured() {
    filtering_found(
        "endpoint_independent",
        "NAT with Endpoint Independent Filtering!",
    );
}

/// It asks by one socket for the mapping of the other one to be answered by way of the gateway (RFC 5780, section 3.4).
#[test]
fn a_host_reaches_its_own_mapping() {
    let mut document = two_vpcs();
    document["nat"]["masquerade"]["blue-out"]["filtering"] = "endpoint_independent".into();
    let Some(lines) = discover_in(&document, &["-H"]) else {
        return;
    };
    let answer =
        |line: &String| line.starts_with("Received a request (maybe a successful hairpinning)");
    assert!(lines.iter().any(answer), "{lines:#?}");
}

#[test]
fn a_mapping_outlives_a_pause() {
    // After the pause the server is asked to answer to the mapping of another socket: the answer comes only if it still is there.
    let Some(lines) = discover(&["-t", "-T", "2"]) else {
        return;
    };
    let answers = lines
        .iter()
        .filter(|line| line.starts_with("RFC 5780 response"));
    assert_eq!(answers.count(), 2, "{lines:#?}");
}

#[test]
fn a_mapping_lives_as_configured() {
    let mut document = two_vpcs();
    document["nat"]["masquerade"]["blue-out"]["idle_timeout"] = "1s".into();
    let Some(lines) = discover_in(&document, &["-t", "-T", "3"]) else {
        return;
    };
    let answers = lines
        .iter()
        .filter(|line| line.starts_with("RFC 5780 response"));
    assert_eq!(answers.count(), 1, "{lines:#?}");
}

#[test]
fn hosts_that_use_the_same_port_are_told_apart() {
    let Some(lines) = discover(&["-c", "-L", "10.1.0.10", "-l", "4000", "-A", "10.1.0.11"]) else {
        return;
    };
    let [first, second] = mapped(&lines)[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(first, "203.0.113.1:4000");
    let (address, port) = second.split_once(':').unwrap_or_default();
    assert!(address == "203.0.113.1" && port != "4000", "{lines:#?}");
}
