//! What is deactivated, disabled, or several things in one: what the tables hold for it.

use rewire_schema::{Configuration, Table, testing};
use rewire_tables::TableOperation;
use serde_json::{Value, json};

use super::{Gateway, configuration, lines};
use crate::{Compiler, PortChange, unsupported};

fn document() -> Value {
    json!({
        "vpcs": { "blue": { "routes": { "0.0.0.0/0": { "next_hops": [
            { "interface": "wan", "via": "203.0.113.2" }, { "interface": "dsl", "via": "198.51.100.2" }
        ] } } } },
        "interfaces": {
            "wan": { "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["203.0.113.1/24"] },
            "dsl": { "vpc": "blue", "port": "null:b", "mac": "02:00:00:00:00:02", "addresses": ["198.51.100.1/24"] }
        }
    })
}

/// The document with another value at a pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = document();
    let (above, name) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(above).unwrap()[name] = value;
    document
}

fn ports(compiled: &crate::Compiled) -> Vec<&'static str> {
    let kind = |change: &PortChange| match change {
        PortChange::Close { .. } => "close",
        PortChange::Open { .. } => "open",
    };
    compiled.ports.iter().map(kind).collect()
}

#[test]
fn what_is_deactivated_is_kept_and_ignored() {
    let mut gateway = Gateway::new(document());
    let before = gateway.tables.digest();
    let deactivated = with("/interfaces/dsl/deactivated", true.into());
    // A route still leads there.
    let error = gateway.goto(deactivated.clone()).unwrap_err().to_string();
    assert_eq!(
        error,
        "vpcs.blue.routes.0.0.0.0/0.next_hops[1].interface: there is no interface \"dsl\""
    );
    let mut both = deactivated;
    both["vpcs"]["blue"]["routes"]["0.0.0.0/0"]["next_hops"][1]["deactivated"] = true.into();
    let compiled = gateway.goto(both.clone()).unwrap();
    assert_eq!(ports(&compiled), ["close"]);
    insta::assert_snapshot!("deactivated", lines(&compiled.operations));
    // It is still there, but not in effect.
    assert_eq!(gateway.compiler.stored().as_ref(), &configuration(both));
    assert_eq!(gateway.compiler.configuration().interface.len(), 1);
    // A change of what is not in effect changes nothing but what is stored.
    let mut hidden = gateway.compiler.stored().into_owned();
    for row in hidden.interface.values_mut() {
        row.mtu = if row.name.as_str() == "dsl" {
            9000
        } else {
            1500
        };
    }
    let compiled = gateway.go(hidden).unwrap();
    assert_eq!(
        (lines(&compiled.operations).as_str(), compiled.ports.len()),
        ("", 0)
    );
    let compiled = gateway.goto(document()).unwrap();
    assert_eq!(ports(&compiled), ["open"]);
    assert_eq!(gateway.tables.digest(), before);
}

#[test]
fn all_below_a_deactivated_object_goes_with_it() {
    let mut gateway = Gateway::new(document());
    let compiled = gateway
        .goto(with(
            "/vpcs/blue/routes/0.0.0.0~10/deactivated",
            true.into(),
        ))
        .unwrap();
    assert!(matches!(
        compiled.operations[1..],
        [TableOperation::RemoveRoute { .. }]
    ));
    assert_eq!(gateway.compiler.configuration().route_next_hop.len(), 0);
    assert_eq!(gateway.compiler.stored().route_next_hop.len(), 2);
}

#[test]
fn a_disabled_interface_is_down() {
    let mut gateway = Gateway::new(document());
    let compiled = gateway
        .goto(with("/interfaces/dsl/disabled", true.into()))
        .unwrap();
    assert_eq!(ports(&compiled), ["close"]);
    insta::assert_snapshot!("disabled", lines(&compiled.operations));
    let both = |disabled: bool| {
        let mut document = with("/interfaces/dsl/disabled", true.into());
        document["interfaces"]["wan"]["disabled"] = disabled.into();
        document
    };
    // Without any next hop that is up, the route is not used.
    gateway.goto(both(true)).unwrap();
    assert!(
        !gateway
            .tables
            .canonical_lines()
            .join("\n")
            .contains("0.0.0.0/0")
    );
    gateway.goto(both(false)).unwrap();
    let compiled = gateway.goto(document()).unwrap();
    assert_eq!(ports(&compiled), ["open"]);
}

#[test]
fn a_loopback_has_addresses_and_no_link() {
    let loopback = json!({ "type": "loopback", "vpc": "blue", "addresses": ["192.0.2.1/24", "2001:db8::1/128"] });
    let mut gateway = Gateway::new(document());
    let compiled = gateway.goto(with("/interfaces/lo", loopback)).unwrap();
    assert!(compiled.ports.is_empty());
    insta::assert_snapshot!("loopback", lines(&compiled.operations));
    let loopback = json!({ "type": "loopback", "vpc": "blue" });
    let error = gateway.goto(with("/interfaces/dsl", loopback)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "vpcs.blue.routes.0.0.0.0/0.next_hops[1].interface: interface \"dsl\" is a loopback: nothing is on its link"
    );
}

#[test]
fn ports_and_addresses_have_an_entry_each() {
    let nat = |external: &str, internal: Value, prefix: &str| {
        let mut document = document();
        document["nat"] = json!({
            "port_forward": { "web": {
                "protocol": "tcp_udp", "external_vpc": "blue", "external_address": "203.0.113.1", "external_port": external,
                "internal_vpc": "blue", "internal_address": "10.0.0.9", "internal_port": internal
            } },
            "static": { "servers": {
                "external_vpc": "blue", "external_address": format!("192.0.2.{prefix}"),
                "internal_vpc": "blue", "internal_address": format!("10.9.9.{prefix}")
            } }
        });
        document
    };
    let mut gateway = Gateway::new(nat("80,8000-8001", "81,9000-9001".into(), "4/30"));
    insta::assert_snapshot!("several", gateway.tables.canonical_lines().join("\n"));
    // What stays is left alone.
    let compiled = gateway
        .goto(nat("80,8000", "81,9000".into(), "4/31"))
        .unwrap();
    insta::assert_snapshot!("fewer", lines(&compiled.operations));
    gateway.goto(nat("80", Value::Null, "4")).unwrap();

    let error = |document| {
        let mut compiler = Compiler::new();
        let to = configuration(document);
        let changeset = rewire_schema::Changeset::between(&Configuration::default(), &to);
        let errors = Compiler::compile(to, 1).unwrap_err();
        assert_eq!(compiler.apply(1, &changeset), Err(errors.clone()));
        errors.to_string()
    };
    assert_eq!(
        error(nat("80-82", 80.into(), "4/30")),
        "nat.port_forward.web: 3 external ports cannot lead to 1 internal ones"
    );
    assert_eq!(
        error(nat("1-9000", Value::Null, "4/30")),
        "nat.port_forward.web: 18000 ports, at most 16384 are possible"
    );
    let mut uneven = nat("80", Value::Null, "4/30");
    uneven["nat"]["static"]["servers"]["internal_address"] = "10.9.9.4/31".into();
    assert_eq!(
        error(uneven.clone()),
        "nat.static.servers: 192.0.2.4/30 and 10.9.9.4/31 are not of one length"
    );
    uneven["nat"]["static"]["servers"]["nptv6"] = true.into();
    assert_eq!(
        error(uneven),
        "nat.static.servers.nptv6: only IPv6 prefixes of at most 64 bits are translated so"
    );
}

/// Every field of every table, alone in its row: what is refused, and in which words.
#[test]
fn what_is_not_in_this_dataplane_is_refused_by_name() {
    let mut lines = Vec::new();
    for table in Table::ALL {
        let row = testing::sample(*table);
        if let Some((None, what)) = unsupported(row.borrowed()) {
            lines.push(format!("{}: {what}", table.definition().name));
            continue;
        }
        for (index, column) in table.definition().columns.iter().enumerate() {
            for value in testing::values(column) {
                let mut values = row.values();
                values[index] = value.clone();
                let changed = rewire_schema::Row::from_values(*table, &values).unwrap();
                if let Some((Some(field), what)) = unsupported(changed.borrowed()) {
                    assert_eq!(field, column.field);
                    let line = format!("{}.{field}: {what}", table.definition().name);
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
            }
        }
    }
    insta::assert_snapshot!("unsupported", lines.join("\n"));
}
