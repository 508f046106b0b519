//! `rewire trace`: where a packet would go, node by node, and who decided it so.

mod session;

use session::Session;

const NETWORK: &str = "
vpcs:
  blue: {routes: {0.0.0.0/0: {type: vpc, to_vpc: internet}, '::/0': {type: vpc, to_vpc: internet}, 10.9.0.0/16: {type: blackhole}, 10.8.0.0/16: {type: unreachable}}}
  six: {}
  internet: {routes: {0.0.0.0/0: {next_hops: [{interface: wan, via: 203.0.113.2}]}, '::/0': {next_hops: [{interface: wan, via: '2001:db8::2'}]}}}
interfaces:
  lan: {vpc: blue, port: 'null:lan', mac: '02:00:00:00:00:01', addresses: [10.1.0.1/24, 'fd00::1/64'], acl_in: guard, neighbors: {10.1.0.9: {mac: '02:00:00:00:00:09'}}}
  lan6: {vpc: six, port: 'null:six', mac: '02:00:00:00:00:02', addresses: ['fd06::1/64']}
  wan: {vpc: internet, port: 'null:wan', mac: '02:00:00:00:00:03', mtu: 1280, addresses: [203.0.113.1/24, '2001:db8::1/64'], neighbors: {203.0.113.2: {mac: '02:00:00:00:00:fe'}}}
acls: {guard: {default: allow, rules: {10: {action: deny, protocol: tcp, destination_port: 25}, 20: {action: reject, protocol: udp, destination_port: 53}}}}
nat:
  pools: {public: {vpc: internet, ranges: [203.0.113.64-203.0.113.65]}, six: {vpc: internet, ranges: [203.0.113.80]}}
  masquerade: {out: {vpc: blue, interface: wan, pool: public, sources: [10.1.0.0/24]}}
  port_forward:
    web: {protocol: tcp, external_vpc: internet, external_address: 203.0.113.1, external_port: 80, internal_vpc: blue, internal_address: 10.1.0.9}
    web6: {protocol: tcp, external_vpc: internet, external_address: 203.0.113.1, external_port: 8080, internal_vpc: six, internal_address: 'fd06::9', internal_port: 80}
  static: {mail: {external_vpc: internet, external_address: 203.0.113.9, internal_vpc: blue, internal_address: 10.1.0.20}}
  nat64: {six: {vpc: six, pool: six}}
";

#[track_caller]
fn assert_transcript(s: &Session) {
    let mut settings = s.settings();
    settings.add_filter(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", "[TIME]");
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    settings.bind(|| insta::assert_snapshot!(name, s.transcript()));
}

fn network() -> Session {
    let mut s = Session::new();
    s.quietly(&["init"]);
    s.write("network.yaml", NETWORK);
    s.quietly(&[
        "commit",
        "--load",
        "network.yaml",
        "-m",
        "the network",
        "--no-wait",
    ]);
    s
}

#[test]
fn a_page_tells_each_decision_and_who_made_it() {
    let mut s = network();
    for packet in [
        // Out through the masquerade; the neighbor is known.
        "in lan 10.1.0.5:40000 > 1.1.1.1:443 tcp syn",
        // The interface is known by the sender.
        "10.1.0.20 > 1.1.1.1 icmp echo id 7",
        // In by the port forward.
        "in wan 198.51.100.7:5555 > 203.0.113.1:80",
        // IPv6, to a neighbor that is assumed.
        "in lan [fd00::5]:4000 > [2001:db8:1::1]:80 udp",
        // Into the other family.
        "in lan6 [fd06::5]:4000 > [64:ff9b::101:101]:80 tcp",
        // And out of it, by a port forward.
        "in wan 1.1.1.1:5555 > 203.0.113.1:8080 tcp",
        // Refused by ACLs and routes.
        "10.1.0.5:40000 > 1.1.1.1:25",
        "10.1.0.5:40000 > 1.1.1.1:53 udp",
        "10.1.0.5:40000 > 10.9.1.1:80",
        "10.1.0.5:40000 > 10.8.1.1:80",
        "in wan 198.51.100.7:5555 > 203.0.113.70:80",
        // To the gateway itself.
        "10.1.0.5 > 10.1.0.1",
        // Too far, too large, and cut.
        "10.1.0.5:40000 > 1.1.1.1:443 tcp ttl 1",
        "10.1.0.5:40000 > 1.1.1.1:443 udp len 1400",
        "10.1.0.5:40000 > 1.1.1.1:443 udp len 1400 may-fragment",
        // A fragment whose first one is missing; a segment of no connection.
        "10.1.0.5 > 1.1.1.1 udp frag 1480 len 40",
        "in wan 198.51.100.7:5555 > 203.0.113.9:25 tcp rst",
        // For somebody else's station.
        "10.1.0.5:1 > 1.1.1.1:2 to 02:00:00:00:00:77",
    ] {
        s.rewire(&["trace", packet]);
    }
    assert_transcript(&s);
}

#[test]
fn replies_neighbors_frames_and_machines() {
    let mut s = network();
    s.rewire(&["trace", "--reply", "10.1.0.5:40000 > 1.1.1.1:443"]);
    s.rewire(&[
        "trace",
        "--resolve",
        "no",
        "in wan 203.0.113.2:1 > 203.0.113.9:25",
    ]);
    // An ARP question for the gateway.
    let arp = "ffffffffffff 020000000055 0806 0001 0800 06 04 0001 020000000055 0a010005 000000000000 0a010001";
    s.rewire(&["trace", "--in", "lan", "--hex", arp]);
    s.rewire(&["trace", "--json", "10.1.0.5:40000 > 1.1.1.1:443"]);
    // What cannot be asked.
    s.rewire(&["trace", "in lan 10.1.0.5:40000 > 1.1.1.1:443 tpc"]);
    s.rewire(&["trace", "in la 10.1.0.5:40000 > 1.1.1.1:443"]);
    s.rewire(&["trace", "10.99.0.5:40000 > 1.1.1.1:443"]);
    s.rewire(&["trace", "--hex", "0x"]);
    s.rewire(&["trace", "--pcap", "none.pcap"]);
    s.rewire(&["trace", "--on", "7", "10.1.0.5:40000 > 1.1.1.1:443"]);
    assert_transcript(&s);
}

#[test]
fn two_states_part_where_the_first_decision_differs() {
    let mut s = network();
    s.quietly(&["set", "vpcs.blue.routes.1.1.1.0/24.type", "blackhole"]);
    s.rewire(&["trace", "--on", "candidate", "10.1.0.5:40000 > 1.1.1.1:443"]);
    assert_eq!(
        s.rewire(&[
            "trace",
            "--diff",
            "running",
            "candidate",
            "10.1.0.5:40000 > 1.1.1.1:443"
        ]),
        1
    );
    assert_eq!(
        s.rewire(&[
            "trace",
            "--diff",
            "running",
            "candidate",
            "10.1.0.5:40000 > 8.8.8.8:443"
        ]),
        0
    );
    s.quietly(&["commit", "-m", "a hole", "--author", "bob", "--no-wait"]);
    s.rewire(&["trace", "10.1.0.5:40000 > 1.1.1.1:443"]);
    s.rewire(&["trace", "--on", "1", "10.1.0.5:40000 > 1.1.1.1:443"]);
    assert_transcript(&s);
}
