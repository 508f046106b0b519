//! Peerings: two VPCs reach what each exposes to the other.

mod support;

use rewire_dataplane::DropReason;
use rewire_packet::MacAddress;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::tcp::TcpFlags;
use serde_json::Value;
use std::net::Ipv4Addr;
use support::*;

const RED_HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);

/// Blue and red, of which each exposes its own subnet as `blue` and `red` say.
fn peered(blue: Value, red: Value) -> Value {
    let mut document = two_vpcs();
    document["interfaces"]["red0"]["neighbors"]["10.2.0.10"] =
        json!({ "mac": RED_HOST_MAC.to_string() });
    document["peerings"] = json!({ "p": { "sides": {
        "blue": { "expose": { "hosts": blue } },
        "red": { "expose": { "hosts": red } },
    } } });
    document
}

fn plain() -> Value {
    let red = json!({ "ips": ["10.2.0.0/24"], "not": ["10.2.0.64/26"] });
    peered(json!({ "ips": ["10.1.0.0/28"] }), red)
}

fn at(address: &str) -> Ipv4Addr {
    address.parse().unwrap()
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    udp((from, 4000), (to, 53), 0).frame()
}

/// A frame of a host of red, which has an address of blue's.
fn from_red(mut frame: Vec<u8>) -> Vec<u8> {
    frame[..6].copy_from_slice(&RED_MAC.0);
    frame
}

#[test]
fn what_is_exposed_is_reached_and_reaches() {
    let mut lab = Lab::new(plain());
    let out = lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    assert_eq!(out.endpoints(), (HOST, RED_HOST));
    let reply = udp((RED_HOST, 53), (HOST, 4000), 0).frame();
    lab.through("red0", reply, "blue0");
    // The other way round, too.
    lab.through("red0", udp((RED_HOST, 7), (HOST, 7), 0).frame(), "blue0");
}

#[test]
fn senders_that_are_not_exposed_do_not_cross() {
    let mut lab = Lab::new(plain());
    let not_admitted = DropReason::PeeringNotAdmitted;
    lab.dropped("blue0", datagram(at("10.1.0.20"), RED_HOST), not_admitted);
    lab.dropped("red0", datagram(at("10.2.0.65"), HOST), not_admitted);
    assert_eq!(lab.gateway.totals().connections_created, 0);
}

#[test]
fn destinations_that_are_taken_out_are_not_reached() {
    let mut document = plain();
    document["vpcs"]["blue"]["routes"] = json!({});
    let mut lab = Lab::new(document.clone());
    let frame = || datagram(HOST, at("10.2.0.65"));
    let error = lab.through("blue0", frame(), "blue0");
    assert!(matches!(error.transport, L4::Icmp(Icmpv4Repr::Error(_), _)));
    assert_eq!(lab.gateway.dropped_for(DropReason::PeeringNotExposed), 1);
    // Whatever leads there otherwise stands where nothing of the peering does.
    document["vpcs"]["blue"]["routes"]["10.2.0.0/16"] = json!({ "type": "blackhole" });
    lab.commit(document);
    lab.dropped("blue0", frame(), DropReason::RouteBlackhole);
    lab.through("blue0", datagram(HOST, RED_HOST), "red0");
}

#[test]
fn a_packet_crosses_one_peering_and_no_second() {
    let mut document = plain();
    // Red sees all of the internet, and exposes nothing of blue's to it; yet blue's hosts are exposed under red's name.
    document["peerings"]["q"] = json!({ "sides": {
        "red": { "expose": { "all": { "default": true } } },
        "internet": { "expose": { "sites": { "ips": ["198.51.100.0/24"] } } },
    } });
    document["peerings"]["p"]["sides"]["red"]["expose"]["sites"] =
        json!({ "ips": ["198.51.100.0/24"] });
    let mut lab = Lab::new(document);
    lab.dropped("blue0", datagram(HOST, SITE), DropReason::PeeringTransit);
    lab.through("red0", datagram(RED_HOST, SITE), "wan");
}

#[test]
fn static_nat_shows_the_same_addresses_as_others_on_either_side() {
    // Both VPCs have the same subnet. Of blue's, .1 is not shown, so that pairs are shifted.
    let mut document = peered(
        json!({ "nat": "static", "ips": ["10.1.0.8/29"], "not": ["10.1.0.8/32"], "as": ["192.168.1.0/29"], "as_not": ["192.168.1.7/32"] }),
        json!({ "nat": "static", "ips": ["10.1.0.8/29"], "as": ["192.168.2.8/29"] }),
    );
    document["interfaces"]["red0"]["addresses"] = json!(["10.1.0.1/24"]);
    document["interfaces"]["red0"]["neighbors"] =
        json!({ "10.1.0.10": { "mac": RED_HOST_MAC.to_string() } });
    document["nat"] = json!({});
    document["vpcs"]["red"]["routes"] = json!({});
    let mut lab = Lab::new(document.clone());
    let (blue_seen, red_seen) = (at("192.168.1.1"), at("192.168.2.10"));
    let out = lab.through("blue0", datagram(HOST, red_seen), "red0");
    assert_eq!(out.endpoints(), (blue_seen, HOST));
    let reply = udp((HOST, 53), (blue_seen, 4000), 0).frame();
    let back = lab.through("red0", from_red(reply), "blue0");
    assert_eq!(back.endpoints(), (red_seen, HOST));
    // Begun by red.
    let out = lab.through(
        "red0",
        from_red(udp((HOST, 7), (blue_seen, 9), 0).frame()),
        "blue0",
    );
    assert_eq!(out.endpoints(), (red_seen, HOST));
    // Who is not shown does not cross, whoever is asked for.
    let stranger = datagram(at("10.1.0.8"), red_seen);
    lab.dropped("blue0", stranger, DropReason::PeeringNotAdmitted);
    // Addresses of the prefix that nobody has.
    let nobody = datagram(HOST, at("192.168.1.7"));
    let error = lab.through("red0", from_red(nobody), "red0");
    assert!(matches!(error.transport, L4::Icmp(Icmpv4Repr::Error(_), _)));
    // A commit that takes the sender out ends its flows.
    document["peerings"]["p"]["sides"]["blue"]["expose"]["hosts"] =
        json!({ "nat": "static", "ips": ["10.1.0.8/31"], "as": ["192.168.1.0/31"] });
    lab.commit(document);
    let stranger = datagram(HOST, red_seen);
    lab.dropped("blue0", stranger, DropReason::PeeringNotAdmitted);
    // Red's, too, which leads to who is not shown any more.
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 2);
}

#[test]
fn a_masquerade_lets_out_and_a_port_forward_in() {
    let mut document = peered(
        json!({ "nat": "masquerade", "ips": ["10.1.0.0/24"], "as": ["10.9.0.0/31"] }),
        json!({ "ips": ["10.2.0.0/24"] }),
    );
    document["peerings"]["p"]["sides"]["blue"]["expose"]["ssh"] = json!({
        "nat": "port_forward", "ips": ["10.1.0.10/32"], "as": ["10.9.0.0/32"],
        "ports": [{ "protocol": "tcp", "port": 22, "as": 2222 }]
    });
    let mut lab = Lab::new(document.clone());
    let out = lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    assert!(
        [at("10.9.0.0"), at("10.9.0.1")].contains(&out.source),
        "{out:?}"
    );
    let reply = udp((RED_HOST, 53), (out.source, out.ports().0), 0).frame();
    let back = lab.through("red0", reply, "blue0");
    assert_eq!(
        (back.endpoints(), back.ports()),
        ((RED_HOST, HOST), (53, 4000))
    );
    // Nobody begins a connection to who is masqueraded, but to the port.
    let (shared, own) = (at("10.9.0.0"), at("10.1.0.10"));
    let frame = datagram(RED_HOST, shared);
    lab.dropped("red0", frame, DropReason::NatNoMapping);
    lab.through("red0", datagram(RED_HOST, own), "red0");
    let syn = tcp((RED_HOST, 5000), (shared, 2222), TcpFlags::SYN).frame();
    let to = lab.through("red0", syn, "blue0");
    assert_eq!((to.endpoints(), to.ports()), ((RED_HOST, own), (5000, 22)));
    let answer = tcp((own, 22), (RED_HOST, 5000), TcpFlags::SYN | TcpFlags::ACK).frame();
    let answer = lab.through("blue0", answer, "red0");
    assert_eq!((answer.source, answer.ports()), (shared, (2222, 5000)));
    // Other generations of the same policy keep both.
    document["vpcs"]["blue"]["routes"]["172.16.0.0/12"] = json!({ "type": "blackhole" });
    lab.commit(document);
    let again = lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    assert_eq!((again.source, again.ports()), (out.source, out.ports()));
    let syn = tcp((RED_HOST, 5000), (shared, 2222), TcpFlags::ACK).frame();
    lab.through("red0", syn, "blue0");
    assert_eq!(lab.gateway.totals().connections_kept, 2);
}

#[test]
fn the_default_is_what_nothing_else_matches_and_the_lowest_metric_wins() {
    let mut document = plain();
    let side = |expose: Value| json!({ "expose": { "it": expose } });
    let blue = || side(json!({ "ips": ["10.1.0.0/24"] }));
    document["vpcs"]["blue"]["routes"] = json!({});
    document["peerings"] = json!({
        "far": { "sides": { "blue": blue(), "internet": side(json!({ "default": true, "metric": 10 })) } },
        "near": { "sides": { "blue": blue(), "red": side(json!({ "ips": ["10.2.0.0/24", "198.51.100.0/24"], "metric": 1 })) } },
        "also": { "sides": { "blue": blue(), "internet": side(json!({ "ips": ["198.51.100.0/24"], "metric": 0 })) } },
    });
    let mut lab = Lab::new(document.clone());
    lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    let out = lab.through("blue0", datagram(HOST, SITE), "wan");
    assert_eq!(out.source, WAN, "masqueraded by the interface it leaves by");
    document["peerings"]["also"]["sides"]["internet"]["expose"]["it"]["metric"] = 2.into();
    let mut lab = Lab::new(document);
    // Red has a way out of its own, and its masquerade is of its own hosts.
    let out = lab.through("blue0", datagram(HOST, SITE), "wan");
    assert_eq!(out.link.1, UPSTREAM_MAC);
}

#[test]
fn a_commit_that_takes_the_peering_ends_its_flows() {
    let mut lab = Lab::new(plain());
    lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    let mut document = plain();
    document["peerings"]["p"]["sides"]["red"]["expose"]["hosts"] =
        json!({ "ips": ["10.2.0.0/29"] });
    lab.commit(document);
    lab.through("blue0", datagram(HOST, RED_HOST), "blue0");
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}
