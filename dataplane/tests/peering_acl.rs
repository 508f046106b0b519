//! ACLs of peerings on packets: who crosses, either way, and what a change of the policy ends.

mod support;

use rewire_dataplane::DropReason::{AclInDenied, AclPeeringDenied, PeeringNotAdmitted};
use rewire_packet::MacAddress;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use rewire_tables::acl::AclAction;
use serde_json::Value;
use std::net::Ipv4Addr;
use support::*;

const RED_HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);
const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;

/// Blue and red, each of which exposes its own subnet, with an ACL between them.
fn guarded(default: &str, rules: Value) -> Value {
    let mut document = two_vpcs();
    document["interfaces"]["red0"]["neighbors"] = json!({
        "10.2.0.10": { "mac": RED_HOST_MAC.to_string() },
        "fd00:2::10": { "mac": RED_HOST_MAC.to_string() },
    });
    document["acls"] = json!({ "between": { "default": default, "rules": rules } });
    document["peerings"] = json!({ "p": { "acl": "between", "sides": {
        "blue": { "expose": { "hosts": { "ips": ["10.1.0.0/28", "fd00:1::/64"] } } },
        "red": { "expose": { "hosts": { "ips": ["10.2.0.0/24", "fd00:2::/64"] } } },
    } } });
    document
}

fn ssh_to_red() -> Value {
    json!({ "10": {
        "action": "allow", "from": "blue", "to": "red", "protocol": "tcp", "destination_port": 22
    } })
}

fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    udp((from, 4000), (to, 53), 0).frame()
}

#[test]
fn what_a_rule_allows_crosses_with_its_replies_and_the_rest_does_not() {
    let mut lab = Lab::new(guarded("deny", ssh_to_red()));
    let there = |flags| tcp((HOST, 4000), (RED_HOST, 22), flags).frame();
    lab.through("blue0", there(SYN), "red0");
    let back = tcp((RED_HOST, 22), (HOST, 4000), SYN | ACK).frame();
    lab.through("red0", back, "blue0");
    lab.through("blue0", there(ACK), "red0");
    for (interface, other) in [
        ("blue0", tcp((HOST, 4000), (RED_HOST, 23), SYN).frame()),
        ("blue0", datagram(HOST, RED_HOST)),
        // The rule is for the other direction.
        ("red0", tcp((RED_HOST, 4000), (HOST, 22), SYN).frame()),
    ] {
        lab.dropped(interface, other, AclPeeringDenied);
    }
    // What does not cross is not asked about.
    lab.through("blue0", datagram(HOST, SITE), "wan");
    assert_eq!(lab.gateway.graph().connections4().len(), 2);
}

#[test]
fn ipv6_crosses_by_the_same_rules() {
    use support::v6;
    let mut lab = Lab::new(guarded("deny", ssh_to_red()));
    let ssh = v6::tcp((v6::HOST, 4000), (v6::RED_HOST, 22), SYN).frame();
    lab.one("blue0", ssh, "red0");
    let back = v6::tcp((v6::RED_HOST, 22), (v6::HOST, 4000), SYN | ACK).frame();
    lab.one("red0", back, "blue0");
    let other = v6::udp((v6::HOST, 4000), (v6::RED_HOST, 22), 0).frame();
    lab.dropped("blue0", other, AclPeeringDenied);
    let inward = v6::tcp((v6::RED_HOST, 4001), (v6::HOST, 22), SYN).frame();
    lab.dropped("red0", inward, AclPeeringDenied);
}

#[test]
fn what_is_exposed_passes_by_default_where_the_default_says_so() {
    let rules = json!({ "10": {
        "action": "deny", "from": "red", "protocol": "tcp", "destination_port": 25
    } });
    let mut lab = Lab::new(guarded("deny_unless_exposed", rules.clone()));
    lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    let mail = |from, to| tcp((from, 4000), (to, 25), SYN).frame();
    lab.through("blue0", mail(HOST, RED_HOST), "red0");
    lab.dropped("red0", mail(RED_HOST, HOST), AclPeeringDenied);
    // Who is not exposed does not cross, whatever the ACL says of those who are.
    let stranger = || datagram([10, 1, 0, 20].into(), RED_HOST);
    lab.dropped("blue0", stranger(), PeeringNotAdmitted);
    let mut lab = Lab::new(guarded("allow", rules));
    lab.dropped("blue0", stranger(), PeeringNotAdmitted);
    lab.through("red0", datagram(RED_HOST, HOST), "blue0");
}

#[test]
fn rules_see_addresses_as_the_sender_knows_them() {
    let mut document = guarded(
        "deny",
        json!({
            "10": { "action": "allow", "from": "blue", "sources": ["10.1.0.10"],
                    "destinations": ["192.168.2.10"], "protocol": "udp" },
            // What either end is called behind the translation matches nothing.
            "20": { "action": "allow", "sources": ["192.168.1.10"] },
            "30": { "action": "allow", "from": "blue", "destinations": ["10.2.0.10"] },
            "40": { "action": "allow", "from": "red", "sources": ["10.2.0.10"],
                    "destinations": ["192.168.1.10"], "protocol": "tcp", "destination_port": 2222 },
        }),
    );
    let seen = |ips: &str, seen: &str| json!({ "nat": "static", "ips": [ips], "as": [seen] });
    let sides = &mut document["peerings"]["p"]["sides"];
    sides["blue"]["expose"] = json!({ "all": seen("10.1.0.0/28", "192.168.1.0/28") });
    sides["red"]["expose"] = json!({ "all": seen("10.2.0.0/24", "192.168.2.0/24") });
    let mut lab = Lab::new(document);
    let (blue_seen, red_seen) = ([192, 168, 1, 10].into(), [192, 168, 2, 10].into());
    let out = lab.through("blue0", datagram(HOST, red_seen), "red0");
    assert_eq!(out.endpoints(), (blue_seen, RED_HOST));
    let reply = udp((RED_HOST, 53), (blue_seen, 4000), 0).frame();
    lab.through("red0", reply, "blue0");
    let other = tcp((HOST, 4000), (red_seen, 22), SYN).frame();
    lab.dropped("blue0", other, AclPeeringDenied);
    let inward = |port| tcp((RED_HOST, 5000), (blue_seen, port), SYN).frame();
    lab.through("red0", inward(2222), "blue0");
    lab.dropped("red0", inward(22), AclPeeringDenied);
}

#[test]
fn what_a_peering_masquerades_and_forwards_is_asked_about() {
    let mut document = guarded(
        "deny",
        json!({
            "10": { "action": "allow", "from": "blue", "protocol": "udp", "destination_port": 53 },
            "20": { "action": "allow", "from": "red", "destinations": ["10.9.0.0"],
                    "protocol": "tcp", "destination_port": 2222 },
        }),
    );
    document["peerings"]["p"]["sides"]["blue"]["expose"] = json!({
        "out": { "nat": "masquerade", "ips": ["10.1.0.0/24"], "as": ["10.9.0.0/32"] },
        "ssh": { "nat": "port_forward", "ips": ["10.1.0.10/32"], "as": ["10.9.0.0/32"], "ports": [
            { "protocol": "tcp", "port": 22, "as": 2222 }, { "protocol": "tcp", "port": 80, "as": 8080 },
        ] },
    });
    let mut lab = Lab::new(document);
    let shared: Ipv4Addr = [10, 9, 0, 0].into();
    let out = lab.through("blue0", datagram(HOST, RED_HOST), "red0");
    assert_eq!(out.source, shared);
    let reply = udp((RED_HOST, 53), (shared, out.ports().0), 0).frame();
    lab.through("red0", reply, "blue0");
    let other = udp((HOST, 4000), (RED_HOST, 54), 0).frame();
    lab.dropped("blue0", other, AclPeeringDenied);
    let inward = |port| tcp((RED_HOST, 5000), (shared, port), SYN).frame();
    lab.through("red0", inward(2222), "blue0");
    lab.dropped("red0", inward(8080), AclPeeringDenied);
}

#[test]
fn rules_for_single_packets_are_asked_both_ways() {
    let one_way = json!({ "10": {
        "action": "allow", "scope": "packet", "from": "blue", "protocol": "udp", "destination_port": 53
    } });
    let mut both = one_way.clone();
    both["20"] = json!({
        "action": "allow", "scope": "packet", "from": "red", "to": "blue", "protocol": "udp", "source_port": 53
    });
    // Translated or not: what crosses back is led by its connection.
    let seen = json!({ "nat": "static", "ips": ["10.2.0.0/24"], "as": ["192.168.2.0/24"] });
    for (expose, to) in [
        (json!({ "ips": ["10.2.0.0/24"] }), RED_HOST),
        (seen, Ipv4Addr::new(192, 168, 2, 10)),
    ] {
        let document = |rules: &Value| {
            let mut document = guarded("deny", rules.clone());
            document["peerings"]["p"]["sides"]["red"]["expose"]["hosts"] = expose.clone();
            document
        };
        let mut lab = Lab::new(document(&one_way));
        lab.through("blue0", datagram(HOST, to), "red0");
        lab.through("blue0", datagram(HOST, to), "red0");
        let reply = || udp((RED_HOST, 53), (HOST, 4000), 0).frame();
        lab.dropped("red0", reply(), AclPeeringDenied);
        lab.commit(document(&both));
        lab.through("red0", reply(), "blue0");
        // Such a rule stops single packets of a connection that was let through as a whole, either way.
        let mut lab = Lab::new(document(&json!({ "10": { "action": "allow" } })));
        lab.through("blue0", datagram(HOST, to), "red0");
        lab.through("red0", reply(), "blue0");
        let mut none_back = json!({ "10": { "action": "allow" } });
        none_back["5"] = json!({ "action": "deny", "scope": "packet", "from": "red" });
        lab.commit(document(&none_back));
        lab.dropped("red0", reply(), AclPeeringDenied);
        lab.through("blue0", datagram(HOST, to), "red0");
        assert_eq!(lab.gateway.totals().connections_ended_by_policy, 0);
    }
}

#[test]
fn a_connection_that_a_commit_forbids_stops_and_one_that_it_allows_goes_on() {
    let allow = |ports: &str| {
        let mut rules = ssh_to_red();
        rules["10"]["destination_port"] = json!(ports);
        guarded("deny", rules)
    };
    // The first revision has no ACL between them.
    let mut open = allow("22");
    open["peerings"]["p"].as_object_mut().unwrap().remove("acl");
    let mut lab = Lab::new(open.clone());
    let there = |port, flags| tcp((HOST, 4000), (RED_HOST, port), flags).frame();
    let back = |port| tcp((RED_HOST, port), (HOST, 4000), SYN | ACK).frame();
    for port in [22, 80, 443] {
        lab.through("blue0", there(port, SYN), "red0");
        lab.through("red0", back(port), "blue0");
    }
    // The peering gets its ACL.
    lab.commit(allow("22,80"));
    lab.through("red0", back(22), "blue0");
    lab.through("blue0", there(80, ACK), "red0");
    lab.dropped("blue0", there(443, ACK), AclPeeringDenied);
    // A rule of the ACL changes. The reply is asked first, and opens nothing by itself.
    lab.commit(allow("22"));
    lab.dropped(
        "red0",
        back(80),
        rewire_dataplane::DropReason::ConnectionInvalid,
    );
    lab.through("red0", back(22), "blue0");
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 2);
    // An address set that a rule names.
    let by_set = |member: &str| {
        let mut document = allow("22");
        document["acls"]["between"]["rules"]["10"]["source_set"] = json!("admins");
        document["address_sets"] = json!({ "admins": { "members": [member] } });
        document
    };
    lab.commit(by_set("10.1.0.8/29"));
    lab.through("blue0", there(22, ACK), "red0");
    lab.commit(by_set("10.1.0.0/29"));
    lab.dropped("blue0", there(22, ACK), AclPeeringDenied);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 3);
    lab.commit(open);
    lab.through("blue0", there(22, SYN), "red0");
}

#[test]
fn an_acl_in_goes_before_and_who_is_rejected_is_told() {
    let mut document = guarded("reject", ssh_to_red());
    document["acls"]["door"] =
        json!({ "default": "allow", "rules": { "10": { "action": "deny", "protocol": "udp" } } });
    document["interfaces"]["blue0"]["acl_in"] = json!("door");
    let mut lab = Lab::new(document);
    lab.dropped("blue0", datagram(HOST, RED_HOST), AclInDenied);
    let said = lab.through("blue0", echo(HOST, RED_HOST, 1).frame(), "blue0");
    let prohibited = Icmpv4Error::CommunicationProhibited;
    assert!(
        matches!(said.transport, L4::Icmp(Icmpv4Repr::Error(error), _) if error == prohibited),
        "{said:?}"
    );
    let web = tcp((HOST, 4000), (RED_HOST, 80), SYN).frame();
    let said = lab.through("blue0", web, "blue0");
    assert_eq!(said.transport, L4::Tcp(80, 4000, TcpFlags::RST | ACK));
    assert_eq!(lab.gateway.dropped_for(AclPeeringDenied), 2);
    // Of what nobody has behind the peering, the ACL speaks before a router does.
    let nobody = lab.through("red0", datagram(RED_HOST, [10, 1, 0, 15].into()), "red0");
    assert!(
        matches!(nobody.transport, L4::Icmp(Icmpv4Repr::Error(error), _) if error == prohibited),
        "{nobody:?}"
    );
}

#[test]
fn decisions_are_logged_with_the_acl_of_the_peering() {
    let mut rules = ssh_to_red();
    rules["10"]["log"] = json!(true);
    rules["20"] = json!({ "action": "deny", "log": true });
    let mut lab = Lab::new(guarded("deny", rules));
    for flags in [SYN, SYN, SYN] {
        let frame = tcp((HOST, 4000), (RED_HOST, 22), flags).frame();
        lab.through("blue0", frame, "red0");
    }
    lab.dropped("red0", datagram(RED_HOST, HOST), AclPeeringDenied);
    let logged = lab.gateway.take_logged();
    let seen = logged.iter().map(|entry| (entry.rule, entry.action));
    let seen: Vec<_> = seen.collect();
    assert_eq!(seen, [(10, AclAction::Allow), (20, AclAction::Deny)]);
}

#[test]
fn two_peerings_have_an_acl_each_and_a_commit_swaps_them() {
    let document = |red: &str, internet: &str| {
        let mut document = guarded("deny", ssh_to_red());
        document["acls"]["web"] = json!({ "rules": { "10": {
            "action": "allow", "protocol": "tcp", "destination_port": 80
        } } });
        document["acls"]["ssh"] = json!({ "rules": { "10": {
            "action": "allow", "protocol": "tcp", "destination_port": 22
        } } });
        document["vpcs"]["blue"]["routes"] = json!({});
        document["peerings"]["q"] = json!({ "acl": internet, "sides": {
            "blue": { "expose": { "hosts": { "ips": ["10.1.0.0/28"] } } },
            "internet": { "expose": { "sites": { "ips": ["198.51.100.0/24"] } } },
        } });
        document["peerings"]["p"]["acl"] = json!(red);
        document
    };
    let mut lab = Lab::new(document("ssh", "web"));
    let to = |site, port| tcp((HOST, 4000), (site, port), SYN).frame();
    lab.through("blue0", to(RED_HOST, 22), "red0");
    lab.dropped("blue0", to(RED_HOST, 80), AclPeeringDenied);
    lab.through("blue0", to(SITE, 80), "wan");
    lab.dropped("blue0", to(SITE, 22), AclPeeringDenied);
    lab.commit(document("web", "ssh"));
    lab.dropped("blue0", to(RED_HOST, 22), AclPeeringDenied);
    lab.through("blue0", to(RED_HOST, 80), "red0");
    lab.dropped("blue0", to(SITE, 80), AclPeeringDenied);
    lab.through("blue0", to(SITE, 22), "wan");
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 2);
}
