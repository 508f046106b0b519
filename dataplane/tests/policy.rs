//! What a commit does to connections: law 6.

mod support;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::tcp::TcpFlags;
use support::*;

fn without(mut document: serde_json::Value, pointer: &str, key: &str) -> serde_json::Value {
    let object = document
        .pointer_mut(pointer)
        .and_then(|o| o.as_object_mut())
        .expect("there");
    object.remove(key).expect("there");
    document
}

#[test]
fn a_flow_that_the_new_policy_allows_keeps_its_translation() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    // Another rule goes, another VPC's masquerade goes, a route comes.
    let mut next = without(two_vpcs(), "/nat/port_forward", "web");
    next = without(next, "/nat/masquerade", "red-out");
    next["vpcs"]["blue"]["routes"]["172.16.0.0/12"] = json!({ "type": "blackhole" });
    lab.commit(next);
    // The reply's direction is asked first.
    let back = lab.through(
        "wan",
        udp((SITE, 53), (WAN, out.ports().0), 0).frame(),
        "blue0",
    );
    assert_eq!(back.ports().1, 4000);
    let again = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_eq!(again.ports(), out.ports());
    let totals = lab.gateway.totals();
    assert_eq!(
        (totals.connections_kept, totals.connections_ended_by_policy),
        (1, 0)
    );
}

#[test]
fn echoes_go_on_under_a_policy_that_allows_them() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through("blue0", echo(HOST, SITE, 9).frame(), "wan");
    lab.commit(without(two_vpcs(), "/nat/port_forward", "web"));
    let L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) = out.transport else {
        panic!("{out:?}")
    };
    let reply = Icmpv4Repr::EchoReply {
        identifier,
        sequence: 1,
    };
    lab.through("wan", icmp(SITE, WAN, reply, b"ping").frame(), "blue0");
    assert_eq!(lab.gateway.totals().connections_kept, 1);
}

#[test]
fn a_flow_that_the_new_policy_forbids_stops_at_once() {
    let mut lab = Lab::new(two_vpcs());
    lab.through(
        "wan",
        tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN).frame(),
        "blue0",
    );
    lab.commit(without(two_vpcs(), "/nat/port_forward", "web"));
    // Inward, nothing is there any more; the sender of a segment is not told that its connection is dead.
    let ack = tcp((SITE, 5000), (WAN, 8080), TcpFlags::ACK);
    lab.dropped("wan", ack.frame(), DropReason::LocalNoService);
    // Outward, the answer belongs to no connection.
    let syn_ack = tcp((HOST, 80), (SITE, 5000), TcpFlags::SYN | TcpFlags::ACK);
    lab.dropped("blue0", syn_ack.frame(), DropReason::ConnectionInvalid);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

#[test]
fn a_flow_whose_external_address_goes_ends() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let mut next = two_vpcs();
    next["nat"]["pools"]["public"] = json!({ "vpc": "internet", "ranges": ["203.0.113.64-203.0.113.65", "2001:db8:f::40-2001:db8:f::41"] });
    next["nat"]["masquerade"]["blue-out"]["pool"] = json!("public");
    lab.commit(next);
    let moved = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_ne!(moved.source, out.source);
    assert!(moved.source.to_string().starts_with("203.0.113.6"));
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

#[test]
fn a_blackhole_and_its_rewind() {
    let mut lab = Lab::new(two_vpcs());
    let frame = || udp((HOST, 4000), (SITE, 53), 0).frame();
    let out = lab.through("blue0", frame(), "wan");
    let mut broken = two_vpcs();
    broken["vpcs"]["blue"]["routes"]["0.0.0.0/0"] = json!({ "type": "blackhole" });
    lab.commit(broken);
    lab.dropped("blue0", frame(), DropReason::RouteBlackhole);
    lab.commit(two_vpcs());
    let healed = lab.through("blue0", frame(), "wan");
    assert_eq!(
        healed.ports(),
        out.ports(),
        "the same mapping is free again"
    );
}

#[test]
fn what_was_learned_outlives_every_commit() {
    use rewire_packet::MacAddress;
    use rewire_packet::arp::ArpRepr;
    let mut lab = Lab::new(two_vpcs());
    let host = MacAddress([2, 0, 0, 0, 1, 2]);
    let ask = ArpRepr::request(host, RED_HOST, "10.2.0.1".parse().unwrap());
    lab.send("red0", arp_frame(MacAddress::BROADCAST, &ask));
    lab.commit(without(two_vpcs(), "/nat/port_forward", "web"));
    lab.commit(two_vpcs());
    let pong = lab.through(
        "red0",
        echo(RED_HOST, "10.2.0.1".parse().unwrap(), 1).frame(),
        "red0",
    );
    assert_eq!(pong.link.1, host);
    // But not the removal of its interface.
    let mut next = without(two_vpcs(), "/interfaces", "red0");
    next = without(next, "/nat/masquerade", "red-out");
    lab.commit(next);
    lab.commit(two_vpcs());
    let sent = lab.send(
        "red0",
        echo(RED_HOST, "10.2.0.1".parse().unwrap(), 1).frame(),
    );
    assert_eq!(arp_of(&sent[0]).target_protocol, RED_HOST);
}
