//! Breaches that are planted, and found. What the tables want, and what the gateway does, come from different configurations.

use std::net::IpAddr;
use std::sync::Arc;

use rewire_compiler::Compiler;
use rewire_dataplane::GatewayConfig;
use rewire_packet::MacAddress;
use rewire_schema::from_document;
use serde_json::{Value, json};

use super::*;
use crate::generator::frame::{SYN, TCP, UDP};

/// Hosts inside, behind a masquerade or not, and a way out; or none.
fn network(way_out: bool, external: Option<u8>) -> Value {
    let via = |via: &str| json!({ "next_hops": [{ "interface": "wan", "via": via }] });
    let way = |address: &str| match way_out {
        true => via(address),
        false => json!({ "type": "blackhole" }),
    };
    let mut document = json!({
        "vpcs": {
            "blue": { "routes": { "0.0.0.0/0": way("203.0.113.2"), "::/0": way("2001:db8:f::2") } },
            "internet": { "routes": { "198.51.100.0/24": via("203.0.113.2"), "2001:db8:51::/48": via("2001:db8:f::2") } }
        },
        "interfaces": {
            "blue0": {
                "vpc": "blue", "port": "null:blue", "mac": "02:00:00:00:00:01", "addresses": ["10.1.0.1/24", "fd00:1::1/64"]
            },
            "wan": {
                "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:02",
                "addresses": ["203.0.113.1/24", "2001:db8:f::1/64"]
            }
        }
    });
    if let Some(host) = external {
        let ranges = json!([format!("203.0.113.{host}"), format!("2001:db8:f::{host}")]);
        document["nat"] = json!({
            "pools": { "public": { "vpc": "internet", "ranges": ranges } },
            "masquerade": { "out": {
                "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.1.0.0/24", "fd00:1::/64"]
            } }
        });
    }
    document
}

/// Makes a configuration live, as a gateway does that begins with it: connections stay.
fn commit(gateway: &mut VirtualGateway, revision: u64, document: &Value) {
    let state = Arc::new(from_document(document).expect("a configuration"));
    let (_, compiled) = Compiler::compile(state, revision).expect("it compiles");
    gateway.apply(compiled.into_parts());
    let mac = MacAddress([2, 0, 0, 0, 9, 9]);
    for neighbor in ["203.0.113.2", "2001:db8:f::2"] {
        gateway.learn_neighbor("wan", neighbor.parse().expect("an address"), mac);
    }
}

fn gateway(document: &Value) -> VirtualGateway {
    gateway_of(1, document)
}

fn gateway_of(workers: u16, document: &Value) -> VirtualGateway {
    let mut gateway = VirtualGateway::among(&GatewayConfig::default(), 0, workers);
    gateway.note_ended_by_policy();
    commit(&mut gateway, 1, document);
    gateway
}

/// The packets of some connections, one each; how many leave.
fn packets(gateway: &mut VirtualGateway, continuity: &mut Continuity) -> usize {
    let blue0 = gateway.interface("blue0").expect("an interface");
    let ends = [
        ("10.1.0.10", "198.51.100.7"),
        ("fd00:1::10", "2001:db8:51::7"),
    ];
    let ends =
        ends.map(|(from, to)| [from, to].map(|text| text.parse::<IpAddr>().expect("an address")));
    let frames = ends.iter().flat_map(|[source, destination]| {
        [(TCP, SYN), (UDP, 0)].map(|(protocol, kind)| {
            let packet = crate::generator::frame::Packet {
                source: *source,
                destination: *destination,
                protocol,
                ports: [4000, 53],
                sequence: 7,
                acknowledgment: 0,
                kind,
                data: 0,
            };
            let mut frame = Vec::new();
            packet.write(&mut frame, [[2, 0, 0, 0, 8, 8], [2, 0, 0, 0, 0, 1]]);
            (blue0, frame)
        })
    });
    let sent = gateway.step(frames.collect::<Vec<_>>());
    for one in &sent {
        continuity.passing.leaves(one.interface, &one.frame);
    }
    sent.len()
}

/// Some connections under a configuration, and the next one, as it is meant and as it is: what is found when it becomes live.
fn at_commit(
    before: &Value,
    meant: &Value,
    made: &Value,
) -> (VirtualGateway, Continuity, Option<Result<(), Found>>) {
    let mut gateway = gateway(before);
    let mut continuity = Continuity::new(0);
    assert_eq!(packets(&mut gateway, &mut continuity), 4);
    continuity.before(&mut gateway);
    commit(&mut gateway, 2, made);
    let found = after(&mut continuity, &gateway, meant);
    (gateway, continuity, found)
}

fn after(
    continuity: &mut Continuity,
    gateway: &VirtualGateway,
    meant: &Value,
) -> Option<Result<(), Found>> {
    let other = self::gateway(meant);
    let found = other.with_tables(|tables| continuity.after(gateway, tables));
    found.flatten()
}

fn message(found: Result<(), Found>) -> String {
    let (message, lines) = found.expect_err("a breach");
    assert!(!lines.is_empty());
    message
}

#[test]
fn what_is_as_it_should_be_is_not_told() {
    for (meant, left) in [
        (network(true, Some(64)), 4),
        (network(false, Some(64)), 0),
        (network(true, Some(65)), 4),
    ] {
        let before = network(true, Some(64));
        let (mut gateway, mut continuity, found) = at_commit(&before, &meant, &meant);
        assert_eq!(found, Some(Ok(())));
        assert_eq!(
            continuity.judged,
            Judged {
                decided: 4,
                undecided: 0
            }
        );
        assert_eq!(packets(&mut gateway, &mut continuity), left);
        assert_eq!(continuity.burst(&mut gateway), Ok(()));
        assert_eq!(continuity.end(&mut gateway), Ok(()));
    }
}

#[test]
fn connections_that_are_allowed_and_would_be_ended_are_found() {
    let allows = network(true, Some(64));
    let (.., found) = at_commit(&allows, &allows, &network(false, Some(64)));
    assert_eq!(
        message(found.expect("they are held against it")),
        "a connection that the configuration allows is not to go on"
    );
}

#[test]
fn connections_that_are_forbidden_and_would_go_on_are_found() {
    let allows = network(true, Some(64));
    for meant in [
        network(false, Some(64)),
        network(true, Some(65)),
        network(true, None),
    ] {
        let (.., found) = at_commit(&allows, &meant, &allows);
        assert_eq!(
            message(found.expect("they are held against it")),
            "a connection that the configuration forbids is to go on"
        );
    }
}

#[test]
fn connections_that_are_allowed_and_were_ended_are_found() {
    let allows = network(true, Some(64));
    let (mut gateway, mut continuity, found) = at_commit(&allows, &allows, &allows);
    assert_eq!(found, Some(Ok(())));
    // Nobody has said so.
    commit(&mut gateway, 3, &network(false, Some(64)));
    assert_eq!(packets(&mut gateway, &mut continuity), 0);
    assert_eq!(continuity.burst(&mut gateway), Ok(()));
    assert_eq!(
        message(continuity.end(&mut gateway)),
        "a connection that the configuration allows was ended"
    );
}

#[test]
fn connections_that_are_forgotten_are_found() {
    let allows = network(true, Some(64));
    let (_, mut continuity, _) = at_commit(&allows, &allows, &allows);
    let mut forgetful = self::gateway(&allows);
    let (message, lines) = continuity.end(&mut forgetful).expect_err("a breach");
    assert_eq!(
        message,
        "a connection that the configuration allows is gone"
    );
    // Of TCP, its ends may have done that.
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[test]
fn translations_that_have_changed_are_found() {
    let allows = network(true, Some(64));
    let (_, mut continuity, _) = at_commit(&allows, &allows, &allows);
    // Where the same places have others.
    let mut other = self::gateway(&network(true, Some(65)));
    packets(&mut other, &mut Continuity::new(0));
    assert_eq!(
        message(continuity.end(&mut other)),
        "a connection has another translation than before"
    );
}

#[test]
fn packets_of_connections_that_are_forbidden_are_found() {
    let (allows, forbids) = (network(true, Some(64)), network(false, Some(64)));
    let (mut gateway, mut continuity, found) = at_commit(&allows, &forbids, &forbids);
    assert_eq!(found, Some(Ok(())));
    // Nobody has said so, and no connection was held against the one before.
    commit(&mut gateway, 3, &allows);
    assert_eq!(packets(&mut gateway, &mut continuity), 4);
    let (message, lines) = continuity.burst(&mut gateway).expect_err("a breach");
    assert_eq!(message, PASSED);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(self::message(continuity.end(&mut gateway)), PASSED);
}

#[test]
fn a_connection_that_begins_anew_is_another() {
    let (allows, forbids) = (network(true, Some(64)), network(false, Some(64)));
    let (mut gateway, mut continuity, _) = at_commit(&allows, &forbids, &forbids);
    // They end, and begin anew within one burst of the next revision.
    assert_eq!(packets(&mut gateway, &mut continuity), 0);
    commit(&mut gateway, 3, &allows);
    assert_eq!(packets(&mut gateway, &mut continuity), 4);
    assert_eq!(continuity.burst(&mut gateway), Ok(()));
    assert_eq!(continuity.end(&mut gateway), Ok(()));
}

#[test]
fn what_changes_no_policy_is_not_looked_at() {
    let allows = network(true, Some(64));
    let (mut gateway, mut continuity, _) = at_commit(&allows, &allows, &allows);
    continuity.before(&mut gateway);
    let found = gateway.with_tables(|tables| {
        continuity.generation = tables.policy_generation();
        continuity.after(&gateway, tables)
    });
    assert_eq!(found, Some(None));
}
