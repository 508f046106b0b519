//! Routes into another VPC's table.

mod support;

use rewire_dataplane::DropReason;
use rewire_packet::MacAddress;
use serde_json::Value;
use support::*;

const RED_HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);

/// Two VPCs, of which blue looks red's addresses up in red.
fn leaking() -> Value {
    let mut document = two_vpcs();
    document["vpcs"]["blue"]["routes"]["10.2.0.0/16"] = into("red");
    document["interfaces"]["red0"]["neighbors"]["10.2.0.10"] =
        json!({ "mac": RED_HOST_MAC.to_string() });
    document
}

fn into(vpc: &str) -> Value {
    json!({ "type": "vpc", "to_vpc": vpc })
}

#[test]
fn a_packet_goes_on_in_the_other_table_and_its_reply_comes_back_without_a_route() {
    let mut lab = Lab::new(leaking());
    let out = lab.through(
        "blue0",
        udp((HOST, 4000), (RED_HOST, 53), 0).frame(),
        "red0",
    );
    assert_eq!(out.endpoints(), (HOST, RED_HOST), "nothing is translated");
    assert_eq!(out.link, (RED_MAC, RED_HOST_MAC));
    // Red itself has no way to blue: its own flows end here, replies pass.
    lab.through(
        "red0",
        udp((RED_HOST, 53), (HOST, 4000), 0).frame(),
        "blue0",
    );
    lab.through("red0", udp((RED_HOST, 9), (HOST, 4000), 0).frame(), "red0");
    assert_eq!(lab.gateway.dropped_for(DropReason::RouteUnreachable), 1);
}

#[test]
fn the_last_table_decides() {
    let mut document = leaking();
    document["vpcs"]["red"]["routes"]["10.2.7.0/24"] = json!({ "type": "blackhole" });
    let mut lab = Lab::new(document);
    let to = |address: &str| udp((HOST, 4000), (address.parse().unwrap(), 53), 0).frame();
    lab.dropped("blue0", to("10.2.7.1"), DropReason::RouteBlackhole);
    lab.dropped("blue0", to("10.2.0.255"), DropReason::SubnetBroadcast);
    // The gateway's address in red answers blue, in blue.
    let own = "10.2.0.1".parse().unwrap();
    let pong = lab.through("blue0", echo(HOST, own, 1).frame(), "blue0");
    assert_eq!(pong.endpoints(), (own, HOST));
}

#[test]
fn a_way_through_several_vpcs_ends_where_it_is_masqueraded() {
    let mut document = leaking();
    document["vpcs"]["red"]["routes"]["192.168.0.0/16"] = into("internet");
    document["vpcs"]["blue"]["routes"]["192.168.0.0/16"] = into("red");
    document["vpcs"]["internet"]["routes"]["192.168.0.0/16"] =
        json!({ "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] });
    let mut lab = Lab::new(document);
    let site = "192.168.1.1".parse().unwrap();
    let out = lab.through("blue0", udp((HOST, 4000), (site, 53), 0).frame(), "wan");
    assert_eq!(out.source, WAN, "by blue's own masquerade");
    let back = udp((site, 53), (WAN, out.ports().0), 0);
    let back = lab.through("wan", back.frame(), "blue0");
    assert_eq!((back.destination, back.ports().1), (HOST, 4000));
}

#[test]
fn a_commit_that_takes_the_way_ends_its_flows() {
    let mut lab = Lab::new(leaking());
    let frame = || udp((HOST, 4000), (RED_HOST, 53), 0).frame();
    lab.through("blue0", frame(), "red0");
    // Another generation that still has the way keeps the flow.
    let mut other = leaking();
    other["vpcs"]["blue"]["routes"]["172.16.0.0/12"] = into("red");
    lab.commit(other);
    lab.through("blue0", frame(), "red0");
    assert_eq!(lab.gateway.totals().connections_kept, 1);
    lab.commit(two_vpcs());
    lab.through("blue0", frame(), "blue0");
    assert_eq!(lab.gateway.dropped_for(DropReason::RouteUnreachable), 1);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

#[test]
fn a_packet_that_would_go_round_is_dropped() {
    // A store refuses this: the data path has a bound of its own.
    let mut document = leaking();
    document["vpcs"]["red"]["routes"]["10.2.9.0/24"] = into("blue");
    document["vpcs"]["blue"]["routes"]["fd00:9::/32"] = into("red");
    document["vpcs"]["red"]["routes"]["fd00:9::/32"] = into("blue");
    let mut lab = Lab::new(document);
    let to = "10.2.9.1".parse().unwrap();
    let frame = udp((HOST, 4000), (to, 53), 0).frame();
    lab.dropped("blue0", frame, DropReason::RouteTooLong);
}
