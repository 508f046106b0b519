//! What each kind of object derives to, as the tables' canonical lines.

use serde_json::{Value, json};

use super::Gateway;

fn tables(document: Value) -> String {
    Gateway::new(document).tables.canonical_lines().join("\n")
}

#[test]
fn two_vpcs_and_the_internet() {
    insta::assert_snapshot!(
        "two_vpcs",
        tables(json!({
            "vpcs": {
                "blue": { "routes": { "0.0.0.0/0": {
                    "next_hops": [{ "interface": "wan", "via": "203.0.113.254" }]
                } } },
                "red": { "routes": { "0.0.0.0/0": {
                    "next_hops": [{ "interface": "wan", "via": "203.0.113.254" }]
                } } },
                "internet": {}
            },
            "interfaces": {
                "blue0": {
                    "vpc": "blue", "port": "af_packet:rw-blue", "mac": "02:00:00:00:01:01",
                    "addresses": ["10.0.1.1/24"]
                },
                "red0": {
                    "vpc": "red", "port": "af_packet:rw-red", "mac": "02:00:00:00:02:01",
                    "addresses": ["10.0.1.1/24"]
                },
                "wan": {
                    "vpc": "internet", "port": "af_packet:rw-wan", "mac": "02:00:00:00:03:01",
                    "addresses": ["203.0.113.1/24"]
                }
            },
            "nat": {
                "masquerade": {
                    "blue-out": { "vpc": "blue", "interface": "wan", "sources": ["10.0.1.0/24"] },
                    "red-out": { "vpc": "red", "interface": "wan", "sources": ["10.0.1.0/24"] }
                },
                "port_forward": { "web": {
                    "protocol": "tcp", "external_vpc": "internet", "external_address": "203.0.113.1",
                    "external_port": 8080, "internal_vpc": "blue", "internal_address": "10.0.1.10",
                    "internal_port": 80
                } }
            }
        }))
    );
}

#[test]
fn interfaces_and_their_subnets() {
    insta::assert_snapshot!(
        "interfaces",
        tables(json!({
            "vpcs": { "blue": {} },
            "interfaces": { "lan": {
                "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01", "mtu": 9000,
                "addresses": [
                    "10.0.1.1/24", "10.0.2.1/30", "10.0.3.1/31", "10.0.4.1/32",
                    "2001:db8:1::1/64", "2001:db8:2::1/127", "2001:db8:3::1/128"
                ],
                "neighbors": {
                    "10.0.1.7": { "mac": "02:00:00:00:00:07" },
                    "2001:db8:1::7": { "mac": "02:00:00:00:00:08" }
                }
            } }
        }))
    );
}

#[test]
fn static_routes() {
    insta::assert_snapshot!(
        "routes",
        tables(json!({
            "vpcs": {
                "blue": { "routes": {
                    "0.0.0.0/0": { "next_hops": [
                        { "interface": "b", "via": "10.0.2.254" },
                        { "interface": "a", "via": "10.0.1.254", "weight": 3 },
                        { "interface": "a" }
                    ] },
                    "10.66.0.0/16": { "type": "blackhole" },
                    "10.67.0.0/16": { "type": "unreachable" },
                    "2001:db8::/32": { "next_hops": [{ "interface": "a", "via": "fe80::1" }] },
                    // Hidden by what is connected.
                    "10.0.1.0/24": { "type": "blackhole" },
                    "10.0.1.255/32": { "type": "blackhole" },
                    "10.0.1.1/32": { "type": "blackhole" }
                } },
                "red": {}
            },
            "interfaces": {
                "a": {
                    "vpc": "blue", "port": "null:a", "mac": "02:00:00:00:00:01",
                    "addresses": ["10.0.1.1/24"]
                },
                // A route may leave by an interface of another VPC.
                "b": {
                    "vpc": "red", "port": "null:b", "mac": "02:00:00:00:00:02",
                    "addresses": ["10.0.2.1/24"]
                }
            }
        }))
    );
}

#[test]
fn nat_and_its_external_addresses() {
    insta::assert_snapshot!(
        "nat",
        tables(json!({
            "vpcs": {
                "blue": {},
                "internet": { "routes": { "198.51.100.64/26": { "type": "blackhole" } } }
            },
            "interfaces": { "wan": {
                "vpc": "internet", "port": "null:a", "mac": "02:00:00:00:00:01",
                "addresses": ["203.0.113.5/24", "203.0.113.1/24", "2001:db8::2/64", "2001:db8::1/64"]
            } },
            "nat": {
                "pools": { "public": { "vpc": "internet", "ranges": [
                    "198.51.100.10-198.51.100.20", "198.51.100.64-198.51.100.127", "2001:db8::ffff"
                ] } },
                "masquerade": {
                    "onto-interface": {
                        "vpc": "blue", "interface": "wan", "sources": ["10.0.0.0/8", "2001:db8:8::/48"]
                    },
                    "onto-pool": {
                        "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.1.0.0/16"]
                    }
                },
                "port_forward": {
                    "dns": {
                        "protocol": "udp", "external_vpc": "internet",
                        "external_address": "203.0.113.40", "external_port": 53,
                        "internal_vpc": "blue", "internal_address": "10.0.1.53", "internal_port": 5353
                    },
                    "web": {
                        "protocol": "tcp", "external_vpc": "internet",
                        "external_address": "203.0.113.1", "external_port": 80,
                        "internal_vpc": "blue", "internal_address": "10.0.1.10", "internal_port": 8080
                    }
                },
                "static": { "mail": {
                    "external_vpc": "internet", "external_address": "203.0.113.30",
                    "internal_vpc": "blue", "internal_address": "10.0.1.30"
                } }
            }
        }))
    );
}
