//! What routers say to senders, seen by the senders' kernels.

use std::process::Command;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, Namespace, tcp_pair};

#[test]
fn the_gateway_is_a_hop_on_the_way() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -W 1 -t 1")
        .assert_refused("10.1.0.1", "Time to live exceeded");
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -t 2")
        .assert_all();
}

#[test]
fn packets_too_large_for_the_way_out_are_answered_and_tcp_learns() {
    let mut document = two_vpcs();
    document["interfaces"]["wan0"]["mtu"] = 1000.into();
    let Some(lab) = Lab::with(&document) else {
        return;
    };
    lab.internet.ip("link set eth0 mtu 1000");
    // 972 bytes and 28 of headers are just 1000.
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -M do -s 972")
        .assert_all();
    let ping = lab.blue.ping("198.51.100.1", "-c 1 -W 1 -M do -s 973");
    ping.assert_refused("10.1.0.1", "(mtu = 1000)");
    let mut tcp = tcp_pair(
        &lab.red,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("TCP goes out");
    tcp.talk(200_000);
}

#[test]
fn what_a_router_outside_says_is_translated_back() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    // A narrow link beyond the internet's router.
    lab.internet.set("ipv4/ip_forward", "1");
    lab.internet.ip("link add narrow type veth peer name end");
    lab.internet.ip("address add 192.0.2.1/24 dev narrow");
    lab.internet.ip("link set narrow mtu 1000 up");
    lab.internet.ip("link set end up");
    // The masquerade of the worker that forwards can keep one of these identifiers, and has to change the other.
    for identifier in [2560, 2624] {
        let narrow = format!("-c 1 -W 1 -M do -s 1200 -e {identifier}");
        let ping = lab.blue.ping("192.0.2.9", &narrow);
        ping.assert_refused("203.0.113.2", "(mtu = 1000)");
        // The host remembers what it was told.
        lab.blue.ip("route flush cache");
    }
    // Nobody there: the router gives up after its own attempts at ARP.
    lab.internet.set("ipv4/neigh/narrow/retrans_time_ms", "100");
    let ping = lab.red.ping("192.0.2.9", "-c 1 -W 5 -s 100");
    ping.assert_refused("203.0.113.2", "Destination Host Unreachable");
}

#[test]
fn traceroute_sees_every_hop_through_nat() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    // A host beyond the internet's router.
    lab.internet.set("ipv4/ip_forward", "1");
    lab.internet.ip("link add beyond type veth peer name end");
    lab.internet.ip("address add 192.0.2.1/24 dev beyond");
    lab.internet.ip("link set beyond up");
    let end = Namespace::new("end");
    lab.internet
        .ip(&format!("link set end netns {}", end.name()));
    end.ip("address add 192.0.2.9/24 dev end");
    end.ip("link set end up");
    end.ip("route add default via 192.0.2.1");
    // By UDP to closed ports, by echo requests, by SYNs to a closed port.
    for method in ["--udp", "--icmp", "--tcp"] {
        let mut command = Command::new("traceroute");
        command.args(["-n", "-q", "1", "-w", "2", "-m", "5", method, "192.0.2.9"]);
        let mut traceroute = lab.blue.start(command);
        assert!(traceroute.finish().success());
        let lines = traceroute.lines();
        let hops = lines
            .iter()
            .filter_map(|line| line.split_whitespace().nth(1));
        let hops: Vec<&str> = hops.skip(1).collect();
        assert_eq!(
            hops,
            ["10.1.0.1", "203.0.113.2", "192.0.2.9"],
            "{method}: {lines:#?}"
        );
    }
}
