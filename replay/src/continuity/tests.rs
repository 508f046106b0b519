//! Breaches that are planted, and found. What the tables want, and what the gateway does, come from different configurations.

use std::net::IpAddr;
use std::sync::Arc;

use rewire_compiler::Compiler;
use rewire_dataplane::{Change, GatewayConfig, Told, route_sources};
use rewire_feed::{Destination, Discard, LearnedRoute, Update};
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
        "route_sources": { "frr": { "listen": "127.0.0.1:2620", "vpcs": { "blue": { "table": 254 } } } },
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

/// The same network with a pool whose senders have an address of their own each, and keep their ports.
fn addresses_only() -> Value {
    let mut document = network(true, Some(64));
    document["nat"]["pools"]["public"]["address_only"] = json!(true);
    document
}

/// Makes a configuration live, as a gateway does that begins with it: connections stay.
fn commit(gateway: &mut VirtualGateway, revision: u64, document: &Value) {
    let configuration = Arc::new(from_document(document).expect("a configuration"));
    let (_, compiled) =
        Compiler::compile(Arc::clone(&configuration), revision).expect("it compiles");
    let mut change = Change::from(compiled.into_parts());
    change.sources = Some(route_sources(&configuration));
    gateway.apply(change);
    let mac = MacAddress([2, 0, 0, 0, 9, 9]);
    for neighbor in ["203.0.113.2", "2001:db8:f::2"] {
        gateway.learn_neighbor("wan", neighbor.parse().expect("an address"), mac);
    }
}

fn gateway(workers: u16, document: &Value) -> VirtualGateway {
    let gateway = VirtualGateway::among(&GatewayConfig::default(), 0, workers);
    let mut gateway = gateway.learning_routes();
    gateway.note_ended_by_policy();
    commit(&mut gateway, 1, document);
    gateway
}

/// Lets a gateway hear what becomes of the ways out.
fn hear(gateway: &mut VirtualGateway, is_reachable: bool) {
    let prefixes = ["198.51.100.0/24", "2001:db8:51::/48"];
    let updates = prefixes.map(|prefix| {
        let (table, prefix) = (254, prefix.parse().expect("a prefix"));
        match is_reachable {
            true => Update::RemoveRoute { table, prefix },
            false => Update::SetRoute(LearnedRoute {
                table,
                prefix,
                protocol: 186,
                to: Destination::Discard(Discard::Blackhole),
            }),
        }
    });
    let told = [Update::Up].into_iter().chain(updates).map(|update| Told {
        source: "frr".into(),
        session: 1,
        update,
    });
    gateway.hear_routes(&Vec::from_iter(told));
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

/// Of one worker, and of several: then all connections are the third one's.
const WORKERS: [u16; 2] = [1, 3];

/// Some connections under a configuration, and the next one, as it is meant and as it is: what is found when it becomes live.
fn at_commit(
    workers: u16,
    before: &Value,
    meant: &Value,
    made: &Value,
) -> (VirtualGateway, Continuity, Option<Result<(), Found>>) {
    let mut gateway = gateway(workers, before);
    let mut continuity = Continuity::new(0, workers);
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
    let other = self::gateway(1, meant);
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
    for workers in WORKERS {
        for (meant, left) in [
            (network(true, Some(64)), 4),
            (network(false, Some(64)), 0),
            (network(true, Some(65)), 4),
        ] {
            let before = network(true, Some(64));
            let (mut gateway, mut continuity, found) = at_commit(workers, &before, &meant, &meant);
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
}

#[test]
fn connections_that_are_allowed_and_would_be_ended_are_found() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        let (.., found) = at_commit(workers, &allows, &allows, &network(false, Some(64)));
        assert_eq!(
            message(found.expect("they are held against it")),
            "a connection that the configuration allows is not to go on"
        );
    }
}

#[test]
fn connections_that_are_forbidden_and_would_go_on_are_found() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        for meant in [
            network(false, Some(64)),
            network(true, Some(65)),
            network(true, None),
        ] {
            let (.., found) = at_commit(workers, &allows, &meant, &allows);
            assert_eq!(
                message(found.expect("they are held against it")),
                "a connection that the configuration forbids is to go on"
            );
        }
    }
}

#[test]
fn connections_that_are_allowed_and_were_ended_are_found() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        let (mut gateway, mut continuity, found) = at_commit(workers, &allows, &allows, &allows);
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
}

#[test]
fn connections_that_are_forgotten_are_found() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        let (_, mut continuity, _) = at_commit(workers, &allows, &allows, &allows);
        let mut forgetful = self::gateway(workers, &allows);
        let (message, lines) = continuity.end(&mut forgetful).expect_err("a breach");
        assert_eq!(
            message,
            "a connection that the configuration allows is gone"
        );
        // Of TCP, its ends may have done that.
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}

#[test]
fn translations_that_have_changed_are_found() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        let (_, mut continuity, _) = at_commit(workers, &allows, &allows, &allows);
        // Where the same places have others.
        let mut other = self::gateway(workers, &network(true, Some(65)));
        packets(&mut other, &mut Continuity::new(0, workers));
        assert_eq!(
            message(continuity.end(&mut other)),
            "a connection has another translation than before"
        );
    }
}

#[test]
fn packets_of_connections_that_are_forbidden_are_found() {
    for workers in WORKERS {
        let (allows, forbids) = (network(true, Some(64)), network(false, Some(64)));
        let (mut gateway, mut continuity, found) = at_commit(workers, &allows, &forbids, &forbids);
        assert_eq!(found, Some(Ok(())));
        // Nobody has said so, and no connection was held against the one before.
        commit(&mut gateway, 3, &allows);
        assert_eq!(packets(&mut gateway, &mut continuity), 4);
        let (message, lines) = continuity.burst(&mut gateway).expect_err("a breach");
        assert_eq!(message, PASSED);
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(self::message(continuity.end(&mut gateway)), PASSED);
    }
}

#[test]
fn a_connection_that_begins_anew_is_another() {
    for workers in WORKERS {
        let (allows, forbids) = (network(true, Some(64)), network(false, Some(64)));
        let (mut gateway, mut continuity, _) = at_commit(workers, &allows, &forbids, &forbids);
        // They end, and begin anew within one burst of the next revision.
        assert_eq!(packets(&mut gateway, &mut continuity), 0);
        commit(&mut gateway, 3, &allows);
        assert_eq!(packets(&mut gateway, &mut continuity), 4);
        assert_eq!(continuity.burst(&mut gateway), Ok(()));
        assert_eq!(continuity.end(&mut gateway), Ok(()));
    }
}

#[test]
fn what_changes_no_policy_is_not_looked_at() {
    for workers in WORKERS {
        let allows = network(true, Some(64));
        let (mut gateway, mut continuity, _) = at_commit(workers, &allows, &allows, &allows);
        continuity.before(&mut gateway);
        let found = gateway.with_tables(|tables| {
            continuity.generation = tables.policy_generation();
            continuity.after(&gateway, tables)
        });
        assert_eq!(found, Some(None));
    }
}

#[test]
fn whose_an_external_port_is_decides_what_goes_on() {
    let (before, meant) = (network(true, Some(64)), addresses_only());
    // Such a pool is the first worker's alone: of what another one has given out, that one knows nothing.
    let (.., found) = at_commit(3, &before, &meant, &before);
    assert_eq!(
        message(found.expect("they are held against it")),
        "a connection that the configuration forbids is to go on"
    );
    for workers in WORKERS {
        let (mut gateway, mut continuity, found) = at_commit(workers, &before, &meant, &meant);
        assert_eq!(found, Some(Ok(())));
        let decided = Judged {
            decided: 4,
            undecided: 0,
        };
        assert_eq!(continuity.judged, decided);
        // They begin anew at the first worker, with the ports that they had; or go on there.
        assert_eq!(packets(&mut gateway, &mut continuity), 4);
        assert_eq!(continuity.burst(&mut gateway), Ok(()));
        assert_eq!(continuity.end(&mut gateway), Ok(()));
    }
}

/// Some connections, and what is heard of the ways out, as it is meant and as it is: what is found when it is in the tables.
fn at_hearing(
    workers: u16,
    meant: bool,
    made: bool,
) -> (VirtualGateway, Continuity, Option<Result<(), Found>>) {
    let allows = network(true, Some(64));
    let (mut gateway, mut continuity, found) = at_commit(workers, &allows, &allows, &allows);
    assert_eq!(found, Some(Ok(())));
    hear(&mut gateway, made);
    assert_eq!(continuity.end(&mut gateway), Ok(()));
    continuity.before(&mut gateway);
    let mut other = self::gateway(1, &allows);
    // Another change of policy than the one that was judged by last.
    commit(&mut other, 2, &allows);
    hear(&mut other, meant);
    let found = other.with_tables(|tables| continuity.after(&gateway, tables));
    (gateway, continuity, found.flatten())
}

#[test]
fn routes_that_are_learned_and_not_followed_are_found() {
    for workers in WORKERS {
        let (.., found) = at_hearing(workers, false, true);
        assert_eq!(
            message(found.expect("they are held against it")),
            "a connection that the configuration forbids is to go on"
        );
        let (.., found) = at_hearing(workers, true, false);
        assert_eq!(
            message(found.expect("they are held against it")),
            "a connection that the configuration allows is not to go on"
        );
    }
}

#[test]
fn packets_that_pass_although_their_route_is_withdrawn_are_found() {
    for workers in WORKERS {
        let (mut gateway, mut continuity, found) = at_hearing(workers, false, false);
        assert_eq!(found, Some(Ok(())));
        // Nobody has said so.
        hear(&mut gateway, true);
        assert_eq!(packets(&mut gateway, &mut continuity), 4);
        assert_eq!(
            message(continuity.burst(&mut gateway)),
            "a packet has passed of a connection that the configuration forbids"
        );
    }
}

#[test]
fn what_a_withdrawn_route_has_ended_is_no_breach() {
    for workers in WORKERS {
        let (mut gateway, mut continuity, found) = at_hearing(workers, false, false);
        assert_eq!(found, Some(Ok(())));
        assert_eq!(packets(&mut gateway, &mut continuity), 0);
        assert_eq!(continuity.burst(&mut gateway), Ok(()));
        // The way is there again, and that is not looked at: what was decided does not hold any more.
        hear(&mut gateway, true);
        assert_eq!(
            gateway.with_tables(|t| continuity.is_outdated(t)),
            Some(true)
        );
        assert_eq!(continuity.end(&mut gateway), Ok(()));
        assert_eq!(packets(&mut gateway, &mut continuity), 4);
        assert_eq!(continuity.burst(&mut gateway), Ok(()));
        assert_eq!(continuity.end(&mut gateway), Ok(()));
    }
}

#[test]
fn a_look_is_paid_for_before_the_next() {
    let (gateway, mut continuity, _) = at_hearing(1, true, true);
    assert!(continuity.is_due(0));
    continuity.pay(&gateway, 100);
    assert!(!continuity.is_due(100 + 4 * PAID_BY - 1));
    assert!(continuity.is_due(100 + 4 * PAID_BY + 2 * u64::from(MOST)));
}
