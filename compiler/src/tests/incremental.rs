//! What a change leads to, and what it does not touch.

use rewire_schema::model::RouteRow;
use rewire_schema::types::{Prefix, RouteType};
use rewire_schema::{Change, Changeset, Row};
use rewire_tables::{InterfaceIndex, TableOperation};
use serde_json::json;

use super::{Gateway, configuration, lines};
use crate::{Compiler, PortChange};

fn interface(vpc: &str, port: &str, addresses: &[&str]) -> serde_json::Value {
    json!({ "vpc": vpc, "port": port, "mac": "02:00:00:00:00:01", "addresses": addresses })
}

#[test]
fn a_renamed_interface_takes_all_that_is_its_own_along() {
    let named = |name: &str| {
        json!({
            "vpcs": { "blue": { "routes": {
                "0.0.0.0/0": { "next_hops": [{ "interface": name, "via": "10.0.1.254" }] }
            } } },
            "interfaces": { name: {
                "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["10.0.1.1/24"],
                "neighbors": { "10.0.1.7": { "mac": "02:00:00:00:00:07" } }
            } },
            "nat": { "masquerade": { "out": {
                "vpc": "blue", "interface": name, "sources": ["10.0.0.0/8"]
            } } }
        })
    };
    let mut gateway = Gateway::new(named("old"));
    let compiled = gateway.goto(named("new")).unwrap();
    // Another name is another interface: it has an index of its own, and its port is opened again.
    assert!(matches!(
        &compiled.ports[..],
        [PortChange::Close { interface: InterfaceIndex(0) }, PortChange::Open { interface: InterfaceIndex(1), row }]
            if row.name.as_str() == "new"
    ));
    insta::assert_snapshot!("rename", lines(&compiled.operations));
}

#[test]
fn an_interface_that_moves_takes_its_routes_into_the_other_vpc() {
    let in_vpc = |vpc: &str| {
        json!({
            "vpcs": { "blue": {}, "red": {} },
            "interfaces": { "lan": interface(vpc, "null:a", &["10.0.1.1/24", "2001:db8::1/64"]) }
        })
    };
    let mut gateway = Gateway::new(in_vpc("blue"));
    let compiled = gateway.goto(in_vpc("red")).unwrap();
    assert_eq!(compiled.ports, [], "the port stays as it is");
    insta::assert_snapshot!("move", lines(&compiled.operations));
}

#[test]
fn an_interface_moves_and_gets_another_address_at_once() {
    let with = |vpc: &str, address: &str| {
        json!({
            "vpcs": { "blue": {}, "red": {} },
            "interfaces": { "lan": interface(vpc, "null:a", &[address]) }
        })
    };
    let mut gateway = Gateway::new(with("blue", "10.0.1.1/24"));
    gateway.goto(with("red", "10.0.2.1/24")).unwrap();
    gateway.goto(with("blue", "10.0.1.1/24")).unwrap();
}

#[test]
fn what_was_so_before_is_not_set_again() {
    // The subnet is on interface a, before and after; that b has it too is seen in the new state alone.
    let with = |vpc: &str, address: &str| {
        json!({
            "vpcs": { "blue": {}, "red": {} },
            "interfaces": {
                "a": interface("red", "null:a", &["10.0.2.1/24"]),
                "b": interface(vpc, "null:b", &[address])
            }
        })
    };
    let mut gateway = Gateway::new(with("blue", "10.0.1.1/24"));
    let compiled = gateway.goto(with("red", "10.0.2.9/24")).unwrap();
    let sets = |operation: &&TableOperation| matches!(operation, TableOperation::SetRoute { .. });
    let sets: Vec<TableOperation> = compiled.operations.iter().filter(sets).cloned().collect();
    let [TableOperation::SetRoute { prefix, .. }] = &sets[..] else {
        panic!("{sets:?}")
    };
    assert_eq!(prefix.to_string(), "10.0.2.9/32");
}

fn with_pool(ranges: &[&str]) -> serde_json::Value {
    json!({
        "vpcs": { "blue": {}, "internet": {} },
        "interfaces": { "wan": interface("internet", "null:a", &["203.0.113.1/24"]) },
        "nat": {
            "pools": { "public": { "vpc": "internet", "ranges": ranges } },
            "masquerade": { "out": {
                "vpc": "blue", "interface": "wan", "pool": "public",
                "sources": ["10.0.0.0/8", "192.168.0.0/16"]
            } }
        }
    })
}

#[test]
fn a_range_of_a_pool_reaches_the_masquerades_onto_it() {
    let mut gateway = Gateway::new(with_pool(&["198.51.100.8-198.51.100.11"]));
    let to = with_pool(&["198.51.100.8-198.51.100.11", "198.51.100.77"]);
    let compiled = gateway.goto(to).unwrap();
    insta::assert_snapshot!("pool", lines(&compiled.operations));
}

#[test]
fn the_first_address_of_an_interface_reaches_the_masquerades_onto_it() {
    let onto = |addresses: &[&str]| {
        json!({
            "vpcs": { "blue": {} },
            "interfaces": { "wan": interface("blue", "null:a", addresses) },
            "nat": { "masquerade": { "out": {
                "vpc": "blue", "interface": "wan", "sources": ["10.0.0.0/8"]
            } } }
        })
    };
    let mut gateway = Gateway::new(onto(&["203.0.113.9/24"]));
    let masquerades = |operations: &[TableOperation]| {
        operations
            .iter()
            .filter(|o| matches!(o, TableOperation::SetMasquerade { .. }))
            .count()
    };
    // A later address changes nothing, an earlier one does.
    let later = gateway
        .goto(onto(&["203.0.113.9/24", "203.0.113.10/24"]))
        .unwrap();
    assert_eq!(masquerades(&later.operations), 0);
    let earlier = gateway
        .goto(onto(&["203.0.113.9/24", "203.0.113.2/24"]))
        .unwrap();
    assert_eq!(masquerades(&earlier.operations), 1);
}

#[test]
fn what_a_stronger_claim_hid_comes_back() {
    let with = |addresses: &[&str]| {
        json!({
            "vpcs": { "blue": { "routes": {
                "10.0.1.0/24": { "type": "blackhole" },
                "10.0.1.1/32": { "type": "unreachable" },
            } } },
            "interfaces": { "lan": interface("blue", "null:a", addresses) }
        })
    };
    let mut gateway = Gateway::new(with(&[]));
    gateway.goto(with(&["10.0.1.1/24"])).unwrap();
    let compiled = gateway.goto(with(&[])).unwrap();
    insta::assert_snapshot!("hidden", lines(&compiled.operations));
}

#[test]
fn one_route_of_ten_thousand_is_one_operation() {
    let mut state = configuration(json!({ "vpcs": { "blue": {}, "red": {} } }));
    let route = |number: u32, route_type| {
        let prefix: Prefix = format!("10.{}.{}.0/24", number >> 8, number & 255)
            .parse()
            .unwrap();
        RouteRow {
            route_type,
            ..RouteRow::unicast("blue".parse().unwrap(), prefix)
        }
    };
    for number in 0..10_000 {
        state.insert(route(number, RouteType::Blackhole).into());
    }
    let (mut compiler, _) = Compiler::compile(state, 1).unwrap();
    let mut operations = |change: Change| {
        let changeset = Changeset::from_iter([change]);
        let compiled = compiler.apply(2, &changeset).unwrap();
        assert_eq!(
            compiled.operations[0],
            TableOperation::SetRevision { revision: 2 }
        );
        lines(&compiled.operations)
    };
    let new = Row::from(route(10_000, RouteType::Blackhole));
    let changed = Row::from(route(10_000, RouteType::Unreachable));
    assert_eq!(
        [
            operations(Change::Insert(new.clone())),
            operations(Change::Update {
                before: new,
                after: changed.clone()
            }),
            operations(Change::Delete(changed)),
        ],
        [
            "SetRoute { vpc: VpcIndex(0), prefix: 10.39.16.0/24, route: Blackhole }",
            "SetRoute { vpc: VpcIndex(0), prefix: 10.39.16.0/24, route: Unreachable }",
            "RemoveRoute { vpc: VpcIndex(0), prefix: 10.39.16.0/24 }",
        ]
    );
}

#[test]
fn a_description_reaches_nothing() {
    let described = |text: &str| {
        json!({
            "vpcs": { "blue": {
                "description": text,
                "routes": { "10.0.0.0/8": { "description": text, "type": "blackhole" } }
            } },
            "interfaces": { "lan": {
                "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "description": text
            } }
        })
    };
    let mut gateway = Gateway::new(described("before"));
    let compiled = gateway.goto(described("after")).unwrap();
    assert_eq!(
        compiled.operations,
        [TableOperation::SetRevision { revision: 2 }]
    );
    assert_eq!(compiled.ports, []);
}

#[test]
fn a_vpc_takes_its_routes_with_it() {
    let mut gateway = Gateway::new(json!({
        "vpcs": {
            "blue": { "routes": { "10.0.0.0/8": { "type": "blackhole" } } },
            "red": { "routes": { "10.0.0.0/8": { "type": "blackhole" } } }
        },
        "interfaces": { "lan": interface("blue", "null:a", &["10.0.1.1/24"]) }
    }));
    let compiled = gateway
        .goto(json!({ "vpcs": { "red": { "routes": { "10.0.0.0/8": { "type": "blackhole" } } } } }))
        .unwrap();
    assert_eq!(
        lines(&compiled.operations),
        "RemoveInterface { interface: InterfaceIndex(0) }\nRemoveVpc { vpc: VpcIndex(0) }"
    );
    // A new VPC gets the free index, and none of the routes of the one that had it.
    gateway
        .goto(json!({ "vpcs": { "green": {}, "red": {} } }))
        .unwrap();
    assert_eq!(
        gateway
            .compiler
            .vpc_index(&"green".parse().unwrap())
            .unwrap()
            .0,
        0
    );
}

#[test]
fn rules_that_swap_what_only_one_can_have_end_up_with_it() {
    let swapped = |a: u16, b: u16, x: &str, y: &str| {
        let forward = |port: u16| {
            json!({
                "protocol": "tcp", "external_vpc": "internet", "external_address": "203.0.113.1",
                "external_port": port, "internal_vpc": "blue", "internal_address": "10.0.1.9",
                "internal_port": 80
            })
        };
        let one_to_one = |external: &str, internal: &str| {
            json!({
                "external_vpc": "internet", "external_address": external,
                "internal_vpc": "blue", "internal_address": internal
            })
        };
        json!({
            "vpcs": { "blue": {}, "internet": {} },
            "nat": {
                "port_forward": { "a": forward(a), "b": forward(b) },
                "static": { "a": one_to_one(x, "10.0.1.2"), "b": one_to_one(y, "10.0.1.3") }
            }
        })
    };
    let mut gateway = Gateway::new(swapped(80, 443, "203.0.113.2", "203.0.113.3"));
    gateway
        .goto(swapped(443, 80, "203.0.113.3", "203.0.113.2"))
        .unwrap();
    gateway
        .goto(swapped(443, 8080, "203.0.113.4", "203.0.113.3"))
        .unwrap();
}

#[test]
fn a_port_that_changes_is_closed_and_opened() {
    let on = |ports: [&str; 2]| {
        json!({
            "vpcs": { "blue": {} },
            "interfaces": {
                "a": interface("blue", ports[0], &["10.0.1.1/24"]),
                "b": interface("blue", ports[1], &["10.0.2.1/24"])
            }
        })
    };
    let mut gateway = Gateway::new(on(["null:a", "null:b"]));
    let compiled = gateway.goto(on(["null:b", "null:a"])).unwrap();
    assert_eq!(
        lines(&compiled.operations),
        "",
        "the tables know nothing of ports"
    );
    let ports: Vec<String> = compiled
        .ports
        .iter()
        .map(|change| match change {
            PortChange::Close { interface } => format!("close {interface}"),
            PortChange::Open { interface, row } => {
                let port = row.port.as_ref().unwrap();
                format!("open {interface} {} {port}", row.name)
            }
        })
        .collect();
    assert_eq!(
        ports,
        [
            "close #0",
            "close #1",
            "open #0 a null:b",
            "open #1 b null:a"
        ]
    );
    let names: Vec<&str> = gateway
        .compiler
        .ports()
        .map(|(_, row)| row.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
}
