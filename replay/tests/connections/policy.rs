//! Configurations that differ in what they allow.

use proptest::prelude::*;
use serde_json::{Value, json};

/// The tables of a routing daemon.
pub(crate) const BLUE: u32 = 254;
pub(crate) const RED: u32 = 7;

/// What a revision may have otherwise than another.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) route: &'static str,
    pub(crate) route6: &'static str,
    /// Where the port forward leads.
    pub(crate) forward: Option<u16>,
    /// The external port of a second one, of UDP: perhaps one that a connection is translated to.
    pub(crate) second: Option<u16>,
    pub(crate) masquerade: Option<Masquerade>,
    pub(crate) mail: bool,
    pub(crate) nat64: Option<Nat64>,
    /// What an ACL denies: the protocol, from which source port on, in which direction, each packet or the first ones, and how.
    pub(crate) deny: Option<(&'static str, u16, &'static str, &'static str, &'static str)>,
    pub(crate) most_per_source: Option<u32>,
    pub(crate) red: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Nat64 {
    pub(crate) filtering: Option<&'static str>,
    /// Where the port forward to a host of IPv6 leads.
    pub(crate) forward: Option<u16>,
}

fn nat64() -> impl Strategy<Value = Nat64> {
    let filtering = prop_oneof![Just("endpoint_independent"), Just("address_dependent")];
    (
        prop::option::weighted(0.5, filtering),
        prop::option::weighted(0.6, prop_oneof![3 => Just(80_u16), 1 => Just(81)]),
    )
        .prop_map(|(filtering, forward)| Nat64 { filtering, forward })
}

#[derive(Clone, Debug)]
pub(crate) struct Masquerade {
    /// How many addresses there are; the interface's own, if none.
    pub(crate) addresses: u8,
    pub(crate) ports: Option<&'static str>,
    pub(crate) filtering: Option<&'static str>,
    pub(crate) idle_timeout: Option<&'static str>,
    pub(crate) parity: bool,
    pub(crate) excludes: bool,
}

fn masquerade() -> impl Strategy<Value = Masquerade> {
    let ports = prop_oneof![Just("1024-1400"), Just("30000-31000")];
    let filtering = prop_oneof![Just("endpoint_independent"), Just("address_dependent")];
    (
        prop_oneof![3 => Just(0_u8), 1 => Just(1), 1 => Just(3)],
        prop::option::weighted(0.3, ports),
        prop::option::weighted(0.3, filtering),
        prop::option::weighted(0.3, prop_oneof![Just("1s"), Just("1h")]),
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(addresses, ports, filtering, idle_timeout, parity, excludes)| Masquerade {
                addresses,
                ports,
                filtering,
                idle_timeout,
                parity,
                excludes,
            },
        )
}

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let deny = (
        prop_oneof![Just("udp"), Just("tcp")],
        1024..1100_u16,
        prop_oneof![Just("acl_in"), Just("acl_out")],
        prop_oneof![Just("packet"), Just("flow")],
        prop_oneof![Just("deny"), Just("reject")],
    );
    let way = || prop_oneof![5 => Just("wan"), 1 => Just("blackhole"), 1 => Just("red"), 1 => Just("unreachable")];
    (
        (way(), way()),
        prop::option::weighted(0.7, prop_oneof![3 => Just(80_u16), 1 => Just(81)]),
        prop::option::weighted(0.4, 1024..1100_u16),
        prop::option::weighted(0.85, masquerade()),
        prop::bool::weighted(0.7),
        prop::option::weighted(0.6, nat64()),
        prop::option::weighted(0.4, deny),
        prop::option::weighted(0.2, 1..40_u32),
        prop::bool::weighted(0.8),
    )
        .prop_map(
            |(
                (route, route6),
                forward,
                second,
                masquerade,
                mail,
                nat64,
                deny,
                most_per_source,
                red,
            )| Policy {
                route,
                route6,
                forward,
                second,
                masquerade,
                mail,
                nat64,
                deny,
                most_per_source,
                red,
            },
        )
}

/// A way to the outside, or not.
fn way(to: &str, via: &str) -> Value {
    match to {
        "wan" => json!({ "next_hops": [{ "interface": "wan", "via": via }] }),
        "red" => json!({ "next_hops": [{ "interface": "blue1" }] }),
        other => json!({ "type": other }),
    }
}

impl Policy {
    pub(crate) fn document(&self) -> Value {
        let outside = |to: &str| json!({ "0.0.0.0/0": way(to, "203.0.113.2"), "::/0": way(to, "2001:db8:f::2") });
        let mut blue = outside(self.route);
        blue["::/0"] = way(self.route6, "2001:db8:f::2");
        let mut document = json!({
            "vpcs": {
                "blue": { "routes": blue },
                "internet": { "routes": {
                    "198.51.100.0/24": way("wan", "203.0.113.2"), "2001:db8:51::/48": way("wan", "2001:db8:f::2")
                } }
            },
            "interfaces": {
                "blue0": {
                    "vpc": "blue", "port": "null:blue", "mac": "02:00:00:00:00:01",
                    "addresses": ["10.1.0.1/24", "fd00:1::1/64"]
                },
                "blue1": {
                    "vpc": "blue", "port": "null:blue1", "mac": "02:00:00:00:00:04", "addresses": ["10.3.0.1/24", "fd00:3::1/64"]
                },
                "wan": {
                    "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03",
                    "addresses": ["203.0.113.1/24", "2001:db8:f::1/64"]
                }
            },
            "nat": { "masquerade": {}, "port_forward": {}, "static": {} }
        });
        if let Some(most) = self.most_per_source {
            document["vpcs"]["blue"]["conntrack"] = json!({ "most_per_source": most });
        }
        if self.red {
            document["vpcs"]["red"] = json!({ "routes": outside("wan") });
            document["interfaces"]["red0"] = json!({
                "vpc": "red", "port": "null:red", "mac": "02:00:00:00:00:02", "addresses": ["10.2.0.1/24", "fd00:2::1/64"]
            });
            document["nat"]["masquerade"]["red-out"] = json!({ "vpc": "red", "interface": "wan", "sources": ["10.2.0.0/24", "fd00:2::/64"] });
        }
        if let Some(rule) = &self.masquerade {
            document["nat"]["masquerade"]["blue-out"] = rule.document(&mut document["nat"]);
        }
        let forwards = &mut document["nat"]["port_forward"];
        if let Some(port) = self.forward {
            forwards["web"] = forward("tcp", 8080, port);
        }
        if let Some(port) = self.second {
            forwards["second"] = forward("udp", port, 9);
        }
        if self.mail {
            document["nat"]["static"]["mail"] = json!({
                "external_vpc": "internet", "external_address": "203.0.113.9",
                "internal_vpc": "blue", "internal_address": "10.1.0.20"
            });
        }
        if let Some(nat64) = self.nat64 {
            document["nat"]["pools"]["far"] =
                json!({ "vpc": "internet", "ranges": ["203.0.113.72-203.0.113.73"] });
            let own = &mut document["nat"]["nat64"]["own"];
            *own = json!({ "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "far" });
            if let Some(filtering) = nat64.filtering {
                own["filtering"] = json!(filtering);
            }
            if let Some(port) = nat64.forward {
                let six = &mut document["nat"]["port_forward"]["six"];
                *six = forward("tcp", 8081, port);
                six["internal_address"] = json!("fd00:1::10");
            }
        }
        document["route_sources"] = json!({ "frr": {
            "listen": "127.0.0.1:2620", "vpcs": { "blue": { "table": BLUE } }
        } });
        if self.red {
            document["route_sources"]["frr"]["vpcs"]["red"] = json!({ "table": RED });
        }
        if let Some((protocol, port, place, scope, action)) = self.deny {
            document["acls"] = json!({ "guard": { "default": "allow", "rules": { "10": {
                "action": action, "scope": scope, "protocol": protocol, "source_port": format!("{port}-1110")
            } } } });
            let interface = if place == "acl_in" { "blue0" } else { "wan" };
            document["interfaces"][interface][place] = json!("guard");
        }
        document
    }
}

impl Masquerade {
    fn document(&self, nat: &mut Value) -> Value {
        let mut rule = json!({ "vpc": "blue", "interface": "wan", "sources": ["10.1.0.0/24", "10.3.0.0/24", "fd00:1::/64"] });
        if self.addresses > 0 {
            let last = 63 + self.addresses;
            let ranges = json!([
                format!("203.0.113.64-203.0.113.{last}"),
                format!("2001:db8:f::64")
            ]);
            nat["pools"]["public"] = json!({ "vpc": "internet", "ranges": ranges });
            rule["pool"] = json!("public");
        }
        for (field, value) in [
            ("ports", self.ports),
            ("filtering", self.filtering),
            ("idle_timeout", self.idle_timeout),
        ] {
            if let Some(value) = value {
                rule[field] = json!(value);
            }
        }
        if self.parity {
            rule["preserve_parity"] = json!(true);
        }
        if self.excludes {
            nat["exclusions"] =
                json!({ "some": { "vpc": "blue", "destinations": ["198.51.100.0/25"] } });
        }
        rule
    }
}

fn forward(protocol: &str, external: u16, internal: u16) -> Value {
    json!({
        "protocol": protocol, "external_vpc": "internet", "external_address": "203.0.113.1", "external_port": external,
        "internal_vpc": "blue", "internal_address": "10.1.0.10", "internal_port": internal
    })
}

/// A policy that lets everything out.
pub(crate) fn plain() -> Policy {
    Policy {
        route: "wan",
        route6: "wan",
        forward: Some(80),
        second: None,
        masquerade: Some(Masquerade {
            addresses: 0,
            ports: None,
            filtering: None,
            idle_timeout: None,
            parity: false,
            excludes: false,
        }),
        mail: true,
        nat64: Some(Nat64 {
            filtering: None,
            forward: Some(80),
        }),
        deny: None,
        most_per_source: None,
        red: true,
    }
}
