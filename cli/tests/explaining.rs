//! `rewire explain`: from what the tables hold to who wrote it.

mod session;

use session::{Session, assert_transcript};

const NETWORK: &str = "
vpcs:
  blue: {routes: {0.0.0.0/0: {next_hops: [{interface: wan, via: 203.0.113.2}]}, 10.9.0.0/16: {type: vpc, to_vpc: red}}}
  red: {routes: {10.9.1.0/24: {type: blackhole}}}
  internet: {}
interfaces:
  lan: {vpc: blue, port: 'null:lan', mac: '02:00:00:00:00:01', addresses: [10.1.0.1/24], acl_in: guard, neighbors: {10.1.0.9: {mac: '02:00:00:00:00:09'}}}
  red0: {vpc: red, port: 'null:red', mac: '02:00:00:00:00:02', addresses: [10.2.0.1/24]}
  wan: {vpc: internet, port: 'null:wan', mac: '02:00:00:00:00:03', addresses: [203.0.113.1/24]}
address_sets: {admins: {members: [10.1.0.9, 10.1.0.64/26]}}
acls: {guard: {default: allow, rules: {10: {action: deny, protocol: tcp, destination_port: 25}, 20: {action: reject, source_set: admins}}}}
nat:
  pools: {public: {vpc: internet, ranges: [203.0.113.64-203.0.113.65]}}
  masquerade: {out: {vpc: blue, interface: wan, pool: public, sources: [10.1.0.0/24]}}
  port_forward: {web: {protocol: tcp, external_vpc: internet, external_address: 203.0.113.1, external_port: 80, internal_vpc: blue, internal_address: 10.1.0.9}}
  static: {mail: {external_vpc: internet, external_address: 203.0.113.9, internal_vpc: blue, internal_address: 10.1.0.20}}
";

const PEERING: &str = "
peerings:
  p:
    sides:
      blue: {expose: {hosts: {ips: [10.1.0.0/24]}}}
      red: {expose: {hosts: {ips: [10.2.0.0/24], not: [10.2.0.64/26]}, some: {nat: static, ips: [10.3.0.1/32], as: [10.4.0.1/32]}}}
";

#[test]
fn every_entry_is_led_back_to_its_rows_and_their_authors() {
    let mut s = Session::new();
    s.quietly(&["init"]);
    s.write("network.yaml", NETWORK);
    let commit = [
        "commit",
        "--load",
        "network.yaml",
        "-m",
        "the network",
        "--author",
        "ada",
    ];
    s.quietly(&commit);
    s.write("peering.yaml", &format!("{NETWORK}{PEERING}"));
    let commit = [
        "commit",
        "--load",
        "peering.yaml",
        "-m",
        "peer them",
        "--author",
        "bob",
    ];
    s.quietly(&commit);
    s.quietly(&["set", "vpcs.blue.routes.10.9.0.0/16.description", "leaks"]);
    s.quietly(&["commit", "-m", "say so", "--author", "eve"]);
    for address in [
        "10.2.0.9",
        "10.9.1.1",
        "198.51.100.1",
        "10.2.0.65",
        "2001:db8::1",
    ] {
        s.rewire(&["explain", "route", "blue", address]);
    }
    s.rewire(&["explain", "route", "internet", "203.0.113.64/31"]);
    s.rewire(&["explain", "route", "blue", "10.2.0.64/26"]);
    s.rewire(&["explain", "interface", "lan"]);
    s.rewire(&["explain", "acl", "guard"]);
    s.rewire(&["explain", "acl", "guard", "20"]);
    for rule in ["out", "web", "mail", "public"] {
        s.rewire(&["explain", "nat", rule]);
    }
    s.rewire(&["explain", "peering", "p"]);
    // What there is not.
    s.rewire(&["explain", "route", "green", "10.2.0.9"]);
    s.rewire(&["explain", "route", "blue", "10.2.0.0/33"]);
    s.rewire(&["explain", "interface", "none"]);
    s.rewire(&["explain", "acl", "none"]);
    s.rewire(&["explain", "acl", "guard", "30"]);
    s.rewire(&["explain", "nat", "none"]);
    s.rewire(&["explain", "peering", "none"]);
    assert_transcript!(s);
}
