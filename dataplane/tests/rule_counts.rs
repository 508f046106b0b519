//! What rules of ACLs count: what they stop, what they let pass, and what follows that.

mod support;

use rewire_compiler::Compiler;
use rewire_dataplane::DropReason::{AclInDenied, AclOutDenied, AclPeeringDenied};
use rewire_packet::MacAddress;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use rewire_schema::from_document;
use rewire_tables::TableOperation;
use serde_json::Value;
use support::*;

const SYN: TcpFlags = TcpFlags::SYN;
const ACK: TcpFlags = TcpFlags::ACK;

/// Two VPCs, with an ACL on what comes in by blue0.
fn guarded(rules: Value) -> Value {
    let mut document = two_vpcs();
    document["acls"] = json!({ "guard": { "default": "deny", "rules": rules } });
    document["interfaces"]["blue0"]["acl_in"] = json!("guard");
    document
}

/// The packets that each rule of an ACL has counted, the default last.
fn packets(lab: &Lab, acl: &str) -> Vec<(Option<u32>, u64)> {
    let counted = lab.gateway.counted_rules(Some(acl));
    assert!(counted.iter().all(|rule| &*rule.acl == acl));
    let counted = counted.iter().map(|rule| (rule.rule, rule.traffic.packets));
    counted.collect()
}

fn web() -> Value {
    json!({
        "10": { "action": "allow", "protocol": "tcp", "destination_port": 80 },
        "20": { "action": "reject", "protocol": "tcp" },
    })
}

fn segment(port: u16, flags: TcpFlags) -> Vec<u8> {
    tcp((HOST, 4000), (SITE, port), flags).frame()
}

#[test]
fn a_connection_counts_on_the_rule_that_let_it_in_both_ways() {
    let mut lab = Lab::new(guarded(web()));
    let out = lab.through("blue0", segment(80, SYN), "wan");
    let back = tcp((SITE, 80), (WAN, out.ports().0), SYN | ACK).frame();
    lab.through("wan", back.clone(), "blue0");
    lab.through("blue0", segment(80, ACK), "wan");
    lab.through("blue0", segment(22, SYN), "blue0");
    for _ in 0..3 {
        lab.dropped("blue0", echo(HOST, SITE, 1).frame(), AclInDenied);
    }
    let counted = lab.gateway.counted_rules(Some("guard"));
    let seen: Vec<_> = counted
        .iter()
        .map(|rule| (rule.rule, rule.traffic.packets))
        .collect();
    assert_eq!(seen, [(Some(10), 3), (Some(20), 1), (None, 3)]);
    let bytes = segment(80, SYN).len() + back.len() + segment(80, ACK).len() - 3 * 14;
    assert_eq!(counted[0].traffic.bytes, bytes as u64);
    assert_eq!(lab.gateway.counted_rules(None), counted);
    assert_eq!(lab.gateway.counted_rules(Some("other")), []);
    // So does an ICMP error about it.
    let sent = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let again = lab.send("blue0", segment(80, ACK));
    let error = icmp(SITE, WAN, sent, &again[0].frame[14..]);
    lab.through("wan", error.frame(), "blue0");
    assert_eq!(packets(&lab, "guard")[0], (Some(10), 5));
}

#[test]
fn what_is_for_the_gateway_or_leads_nowhere_counts_too() {
    let mut lab = Lab::new(guarded(json!({ "10": { "action": "allow" } })));
    lab.through(
        "blue0",
        echo(HOST, [10, 1, 0, 1].into(), 1).frame(),
        "blue0",
    );
    let nowhere = udp((HOST, 4000), ([10, 200, 0, 1].into(), 53), 0).frame();
    lab.through("blue0", nowhere, "blue0");
    assert_eq!(packets(&lab, "guard"), [(Some(10), 2), (None, 0)]);
}

#[test]
fn what_waits_for_its_neighbor_counts_once() {
    let mut document = guarded(json!({ "10": { "action": "allow" } }));
    document["vpcs"]["blue"]["routes"][format!("{RED_HOST}/32")] =
        json!({ "next_hops": [{ "interface": "red0" }] });
    let mut lab = Lab::new(document);
    let packet = || ("blue0", udp((HOST, 4000), (RED_HOST, 53), 0).frame());
    let sent = lab.burst([packet(), packet()]);
    let request = arp_of(&sent[0]);
    assert_eq!(packets(&lab, "guard"), [(Some(10), 0), (None, 0)]);
    let host = MacAddress([2, 0, 0, 0, 1, 2]);
    lab.send("red0", arp_frame(RED_MAC, &request.reply(host)));
    assert_eq!(packets(&lab, "guard"), [(Some(10), 2), (None, 0)]);
}

#[test]
fn each_acl_on_the_way_counts_as_far_as_the_packet_gets() {
    let mut document = guarded(json!({ "10": { "action": "allow" } }));
    document["interfaces"]["red0"]["neighbors"] =
        json!({ "10.2.0.10": { "mac": HOST_MAC.to_string() } });
    document["acls"]["between"] = json!({ "default": "deny_unless_exposed", "rules": { "10": { "action": "deny", "protocol": "tcp" } } });
    document["acls"]["exit"] = json!({ "default": "allow", "rules": {
        "10": { "action": "deny", "protocol": "udp", "destination_port": 53 },
    } });
    document["interfaces"]["red0"]["acl_out"] = json!("exit");
    document["peerings"] = json!({ "p": { "acl": "between", "sides": {
        "blue": { "expose": { "hosts": { "ips": ["10.1.0.0/24"] } } },
        "red": { "expose": { "hosts": { "ips": ["10.2.0.0/24"] } } },
    } } });
    let mut lab = Lab::new(document);
    let to_red = |port| udp((HOST, 4000), (RED_HOST, port), 0).frame();
    lab.dropped(
        "blue0",
        tcp((HOST, 4000), (RED_HOST, 22), SYN).frame(),
        AclPeeringDenied,
    );
    lab.dropped("blue0", to_red(53), AclOutDenied);
    lab.through("blue0", to_red(54), "red0");
    lab.through(
        "red0",
        udp((RED_HOST, 54), (HOST, 4000), 0).frame(),
        "blue0",
    );
    assert_eq!(packets(&lab, "guard"), [(Some(10), 4), (None, 0)]);
    assert_eq!(packets(&lab, "between"), [(Some(10), 1), (None, 3)]);
    assert_eq!(packets(&lab, "exit"), [(Some(10), 1), (None, 2)]);
}

#[test]
fn rules_for_single_packets_count_those() {
    let rules = json!({
        "10": { "action": "allow", "protocol": "udp", "destination_port": 53 },
        "20": { "action": "allow", "scope": "packet", "protocol": "tcp" },
    });
    let mut lab = Lab::new(guarded(rules.clone()));
    let out = lab.through("blue0", segment(80, SYN), "wan");
    // No ACL speaks of what comes back.
    let back = tcp((SITE, 80), (WAN, out.ports().0), SYN | ACK).frame();
    lab.through("wan", back, "blue0");
    lab.through("blue0", segment(80, ACK), "wan");
    let query = || udp((HOST, 4000), (SITE, 53), 0).frame();
    lab.through("blue0", query(), "wan");
    assert_eq!(
        packets(&lab, "guard"),
        [(Some(10), 1), (Some(20), 2), (None, 0)]
    );
    // One that stops packets of a connection takes them from the rule that let it in.
    let mut stops = rules;
    stops["5"] = json!({ "action": "deny", "scope": "packet", "protocol": "udp" });
    lab.commit(guarded(stops));
    // The connection is forbidden as a whole: its first packet would be stopped.
    lab.dropped("blue0", query(), AclInDenied);
    let counted = [(Some(5), 1), (Some(10), 1), (Some(20), 2), (None, 0)];
    assert_eq!(packets(&lab, "guard"), counted);
}

#[test]
fn a_rule_that_stays_counts_on_through_commits_and_one_that_comes_back_anew() {
    let mut lab = Lab::new(guarded(web()));
    let count = |lab: &mut Lab| {
        lab.through("blue0", segment(80, SYN), "wan");
    };
    count(&mut lab);
    // Other rules come and go around it, and it is changed itself.
    let mut other = web();
    other["5"] = json!({ "action": "deny", "protocol": "icmp" });
    other.as_object_mut().unwrap().remove("20");
    lab.commit(guarded(other.clone()));
    count(&mut lab);
    assert_eq!(lab.gateway.totals().connections_kept, 1);
    lab.dropped("blue0", echo(HOST, SITE, 1).frame(), AclInDenied);
    other["10"]["destination_port"] = json!("80-90");
    lab.commit(guarded(other.clone()));
    count(&mut lab);
    assert_eq!(
        packets(&lab, "guard"),
        [(Some(5), 1), (Some(10), 3), (None, 0)]
    );
    // A connection counts where the policy of now lets it in: rule 6 goes before rule 10.
    other["6"] = json!({ "action": "allow", "protocol": "tcp", "destination_port": 80 });
    lab.commit(guarded(other.clone()));
    count(&mut lab);
    let counted = [(Some(5), 1), (Some(6), 1), (Some(10), 3), (None, 0)];
    assert_eq!(packets(&lab, "guard"), counted);
    // The tables are made anew, as after a fault.
    let (_, whole) = Compiler::compile(from_document(&guarded(other.clone())).unwrap(), 9).unwrap();
    let (mut operations, ports) = whole.into_parts();
    operations.insert(0, TableOperation::Clear);
    lab.gateway.apply((operations, ports));
    count(&mut lab);
    let counted = [(Some(5), 1), (Some(6), 2), (Some(10), 3), (None, 0)];
    assert_eq!(packets(&lab, "guard"), counted);
    // Who comes takes the place of who went, and none of the counts.
    lab.commit(guarded(web()));
    lab.commit(guarded(other));
    assert_eq!(
        packets(&lab, "guard"),
        [(Some(5), 0), (Some(6), 0), (Some(10), 3), (None, 0)]
    );
    count(&mut lab);
    assert_eq!(packets(&lab, "guard")[1], (Some(6), 1));
}
