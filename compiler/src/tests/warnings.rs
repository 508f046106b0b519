//! What is probably not what somebody wanted, said of a whole configuration and of a change.

use rewire_schema::{Changeset, Configuration};
use serde_json::{Value, json};

use super::configuration;
use crate::{warnings, warnings_of_change};

fn odd() -> Value {
    json!({
        "vpcs": {
            "blue": { "routes": {
                "0.0.0.0/0": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }, { "interface": "dsl", "via": "198.51.100.2" }] },
                "10.0.1.1/32": { "type": "blackhole" },
                "10.2.0.0/24": { "type": "blackhole" },
                "10.3.0.0/24": { "type": "blackhole", "deactivated": true }
            } },
            "red": {}
        },
        "interfaces": {
            "lan": { "vpc": "blue", "port": "null:c", "mac": "02:00:00:00:00:03", "addresses": ["10.0.1.1/24"] },
            "wan": { "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["203.0.113.1/24"] },
            "dsl": { "vpc": "blue", "port": "null:b", "mac": "02:00:00:00:00:02", "addresses": ["198.51.100.1/24"], "disabled": true }
        },
        "nat": {
            "pools": {
                "used": { "vpc": "blue", "ranges": ["203.0.113.64"] },
                "spare": { "vpc": "blue", "ranges": ["203.0.113.65"] }
            },
            "masquerade": { "out": { "vpc": "red", "interface": "wan", "pool": "used", "sources": ["10.0.0.0/8"] } }
        },
        "address_sets": { "servers": { "members": ["10.0.0.0/24"] } },
        "services": { "web": { "entries": [{ "protocol": "tcp", "destination_port": 80 }] } },
        "peerings": { "p": { "sides": {
            "red": { "expose": { "nets": { "ips": ["10.2.0.0/24", "10.3.0.0/24"] } } },
            "blue": { "expose": { "nets": { "ips": ["10.0.1.0/24"] } } }
        } } }
    })
}

fn lines(found: Vec<rewire_schema::Problem>) -> String {
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn what_is_odd_is_named() {
    let state = configuration(odd());
    insta::assert_snapshot!("warnings", lines(warnings(&state)));
    // All of it is new, so that the change says the same.
    let changeset = Changeset::between(&Configuration::default(), &state);
    let of_change = warnings_of_change(&state, &changeset).unwrap();
    assert_eq!(of_change, warnings(&state));
}

#[test]
fn a_change_warns_of_what_it_has_to_do_with() {
    let before = configuration(odd());
    let to = |pointer: &str, value: Value| {
        let mut document = odd();
        let (above, name) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(above).unwrap()[name] = value;
        let after = configuration(document);
        let changeset = Changeset::between(&before, &after);
        lines(warnings_of_change(&after, &changeset).unwrap())
    };
    assert_eq!(to("/interfaces/lan/mtu", 1400.into()), "");
    // The masquerade that named it goes to another pool.
    assert_eq!(
        to("/nat/masquerade/out/pool", "spare".into()),
        "nat.pools.used: no masquerade and no NAT64 names it"
    );
}
