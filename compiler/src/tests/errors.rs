//! What does not compile, said so that a person finds it.

use rewire_schema::model::VpcRow;
use rewire_schema::{Change, Changeset, Configuration};
use serde_json::{Value, json};

use super::{Gateway, configuration};
use crate::{CompileError, Compiler, MOST_INDICES};

/// What compiling the document says, whole and from nothing by its changeset.
fn errors(document: Value) -> String {
    let state = configuration(document);
    let whole = Compiler::compile(state.clone(), 1).unwrap_err();
    let changeset = Changeset::between(&Configuration::default(), &state);
    let mut compiler = Compiler::new();
    assert_eq!(compiler.check(&changeset), Err(whole.clone()));
    assert_eq!(compiler.apply(1, &changeset), Err(whole.clone()));
    assert_eq!(compiler, Compiler::new());
    whole.to_string()
}

#[test]
fn names_that_lead_nowhere() {
    let message = errors(json!({
        "vpcs": { "blue": { "routes": { "0.0.0.0/0": { "next_hops": [{ "interface": "gone" }] } } } },
        "interfaces": { "lan": {
            "vpc": "green", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["10.0.1.1/24"]
        } },
        "nat": {
            "pools": { "public": { "vpc": "nowhere", "ranges": ["198.51.100.1"] } },
            "masquerade": {
                "a": { "vpc": "pink", "interface": "lan", "sources": ["10.0.0.0/8"] },
                "b": { "vpc": "blue", "interface": "wan", "sources": ["10.0.0.0/8", "11.0.0.0/8"] },
                "c": { "vpc": "blue", "interface": "lan", "pool": "none", "sources": ["10.0.0.0/8"] }
            },
            "port_forward": { "f": {
                "protocol": "udp", "external_vpc": "blue", "external_address": "203.0.113.1",
                "external_port": 53, "internal_vpc": "grey", "internal_address": "10.0.1.9",
                "internal_port": 53
            } },
            "static": { "s": {
                "external_vpc": "grey", "external_address": "203.0.113.1",
                "internal_vpc": "blue", "internal_address": "10.0.1.9"
            } }
        }
    }));
    insta::assert_snapshot!("unknown", message);
}

#[test]
fn rules_that_mean_nothing() {
    let message = errors(json!({
        "vpcs": { "blue": { "routes": { "0.0.0.0/0": {} } } },
        "interfaces": { "wan": {
            "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["203.0.113.1/24"]
        } },
        "nat": {
            "pools": {
                "large": { "vpc": "blue", "ranges": ["10.0.0.0-10.0.255.255", "10.9.0.1"] },
                "vast": { "vpc": "blue", "ranges": ["::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::1"] }
            },
            "masquerade": {
                "a": { "vpc": "blue", "interface": "wan", "sources": ["10.0.0.0/8", "2001:db8::/32"] },
                "b": { "vpc": "blue", "interface": "wan", "sources": ["10.0.0.0/8", "11.0.0.0/8"] }
            },
            "static": { "s": {
                "external_vpc": "blue", "external_address": "203.0.113.1",
                "internal_vpc": "blue", "internal_address": "2001:db8::9"
            } }
        }
    }));
    insta::assert_snapshot!("senseless", message);
}

#[test]
fn rules_for_the_same_packets() {
    let forward = json!({
        "protocol": "tcp", "external_vpc": "blue", "external_address": "203.0.113.1",
        "external_port": 80, "internal_vpc": "blue", "internal_address": "10.0.1.9", "internal_port": 80
    });
    let one_to_one = |external: &str, internal: &str| {
        json!({
            "external_vpc": "blue", "external_address": external,
            "internal_vpc": "blue", "internal_address": internal
        })
    };
    let message = errors(json!({
        "vpcs": { "blue": {} },
        "nat": {
            "port_forward": { "a": forward, "b": forward },
            "static": {
                "a": one_to_one("203.0.113.2", "10.0.1.2"),
                "same_external": one_to_one("203.0.113.2", "10.0.1.3"),
                "same_internal": one_to_one("203.0.113.4", "10.0.1.2")
            }
        }
    }));
    insta::assert_snapshot!("ambiguous", message);
}

#[test]
fn taking_away_what_is_referred_to_is_refused_and_points_at_who_refers() {
    let document = json!({
        "vpcs": {
            "blue": { "routes": { "0.0.0.0/0": { "next_hops": [{ "interface": "wan" }] } } },
            "internet": {}
        },
        "interfaces": { "wan": {
            "vpc": "internet", "port": "null:a", "mac": "02:00:00:00:00:01",
            "addresses": ["203.0.113.1/24"], "neighbors": { "203.0.113.2": { "mac": "02:00:00:00:00:02" } }
        } }
    });
    let mut gateway = Gateway::new(document);
    let before = gateway.compiler.clone();
    let mut to = gateway.compiler.configuration().clone();
    to.interface.clear();
    let first = gateway.go(to.clone()).unwrap_err().to_string();
    to.vpc.clear();
    let second = gateway.go(to).unwrap_err().to_string();
    assert_eq!(gateway.compiler, before);
    insta::assert_snapshot!("referred", format!("{first}\n---\n{second}"));
}

#[test]
fn a_changeset_that_does_not_follow_is_refused() {
    let mut gateway = Gateway::new(json!({ "vpcs": { "blue": {} } }));
    let before = gateway.compiler.clone();
    let blue = VpcRow {
        description: Some("other".parse().unwrap()),
        ..VpcRow::new("blue".parse().unwrap())
    };
    let changeset = Changeset::from_iter([Change::Delete(blue.into())]);
    let errors = gateway.compiler.apply(2, &changeset).unwrap_err();
    assert!(matches!(
        errors.iter().next(),
        Some(CompileError::Changeset(_))
    ));
    assert_eq!(errors.iter().next().unwrap().path(), None);
    assert_eq!(gateway.compiler, before);
}

#[test]
fn there_is_an_end_of_indices() {
    let mut state = Configuration::default();
    for number in 0..u32::from(MOST_INDICES) {
        let name = format!("v{number}").parse().unwrap();
        state.insert(VpcRow::new(name).into());
    }
    let (mut compiler, compiled) = Compiler::compile(state.clone(), 1).unwrap();
    assert_eq!(compiled.operations.len(), usize::from(MOST_INDICES) + 1);
    let one_more = VpcRow::new("w".parse().unwrap());
    let changeset = Changeset::from_iter([Change::Insert(one_more.clone().into())]);
    let incremental = compiler.apply(2, &changeset).unwrap_err();
    state.insert(one_more.into());
    assert_eq!(incremental, Compiler::compile(state, 2).unwrap_err());
    assert_eq!(
        incremental.to_string(),
        "vpcs.w: there can be at most 65535 VPCs"
    );
}
