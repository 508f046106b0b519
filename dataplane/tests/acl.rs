//! Access control lists on packets: what comes in and leaves, what follows a connection, what a change of policy ends.

mod support;

use rewire_dataplane::DropReason::{self, AclInDenied, AclOutDenied};
use rewire_packet::MacAddress;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use rewire_tables::acl::AclAction;
use serde_json::Value;
use support::*;

/// Two VPCs, with ACLs and what names them.
fn guarded(acls: Value, interfaces: &[(&str, &str, &str)]) -> Value {
    let mut document = two_vpcs();
    document["acls"] = acls;
    for (interface, field, acl) in interfaces {
        document["interfaces"][interface][field] = json!(acl);
    }
    document
}

fn rules(rules: Value) -> Value {
    json!({ "guard": { "default": "deny", "rules": rules } })
}

const SYN: TcpFlags = TcpFlags::SYN;

#[test]
fn what_a_rule_allows_comes_in_with_its_replies_and_the_rest_does_not() {
    let ssh =
        rules(json!({ "10": { "action": "allow", "protocol": "tcp", "destination_port": 22 } }));
    let mut lab = Lab::new(guarded(ssh, &[("blue0", "acl_in", "guard")]));
    let out = lab.through("blue0", tcp((HOST, 4000), (SITE, 22), SYN).frame(), "wan");
    let back = tcp((SITE, 22), (WAN, out.ports().0), SYN | TcpFlags::ACK);
    lab.through("wan", back.frame(), "blue0");
    lab.through(
        "blue0",
        tcp((HOST, 4000), (SITE, 22), TcpFlags::ACK).frame(),
        "wan",
    );
    for other in [
        tcp((HOST, 4000), (SITE, 23), SYN),
        udp((HOST, 4000), (SITE, 22), 0),
        echo(HOST, SITE, 1),
        // The gateway itself is no exception, nor is what no route leads to.
        echo(HOST, [10, 1, 0, 1].into(), 1),
        tcp((HOST, 4000), ([10, 9, 9, 9].into(), 23), SYN),
    ] {
        lab.dropped("blue0", other.frame(), AclInDenied);
    }
    assert_eq!(
        lab.gateway.graph().connections4().len(),
        1,
        "what is dropped leaves no trace"
    );
    // Another interface has no ACL.
    lab.through("wan", tcp((SITE, 5000), (WAN, 8080), SYN).frame(), "blue0");
}

#[test]
fn icmp_errors_follow_their_connection() {
    let dns =
        rules(json!({ "10": { "action": "allow", "protocol": "udp", "destination_port": 53 } }));
    let both = [
        ("blue0", "acl_in", "guard"),
        ("wan", "acl_in", "guard"),
        ("blue0", "acl_out", "guard"),
    ];
    let mut lab = Lab::new(guarded(dns, &both));
    let out = lab.send("blue0", udp((HOST, 4000), (SITE, 53), 8).frame());
    let sent = Ip::of(&out[0].frame);
    let quoted = &out[0].frame[14..];
    let error = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let unreachable = icmp(SITE, WAN, error, quoted);
    let back = lab.through("wan", unreachable.frame(), "blue0");
    assert_eq!(back.destination, HOST);
    let reply = udp((SITE, 53), (WAN, sent.ports().0), 8);
    lab.through("wan", reply.frame(), "blue0");
    lab.dropped(
        "wan",
        udp((SITE, 54), (WAN, sent.ports().0), 8).frame(),
        AclInDenied,
    );
}

#[test]
fn what_leaves_is_asked_by_its_sender_and_destination_before_nat() {
    let acl = rules(json!({
        "10": { "action": "deny", "sources": ["10.1.0.10"], "destinations": ["198.51.100.1"], "protocol": "udp" },
        "20": { "action": "allow", "from": "blue", "to": "internet", "sources": ["10.1.0.0/24"] },
        // Nobody has this address inside of the gateway.
        "30": { "action": "allow", "sources": ["203.0.113.1"] }
    }));
    let mut lab = Lab::new(guarded(acl, &[("wan", "acl_out", "guard")]));
    lab.dropped(
        "blue0",
        udp((HOST, 4000), (SITE, 53), 0).frame(),
        AclOutDenied,
    );
    lab.through("blue0", tcp((HOST, 4000), (SITE, 80), SYN).frame(), "wan");
    lab.dropped(
        "red0",
        tcp((RED_HOST, 4000), (SITE, 80), SYN).frame(),
        AclOutDenied,
    );
}

#[test]
fn destinations_are_those_that_the_sender_knows() {
    let acl = |port: u16| {
        rules(json!({ "10": {
        "action": "allow", "destinations": ["203.0.113.1"], "protocol": "tcp", "destination_port": port
    } }))
    };
    let inward = || tcp((SITE, 5000), (WAN, 8080), SYN).frame();
    let mut lab = Lab::new(guarded(
        acl(8080),
        &[("wan", "acl_in", "guard"), ("blue0", "acl_out", "guard")],
    ));
    lab.through("wan", inward(), "blue0");
    let mut lab = Lab::new(guarded(acl(80), &[("wan", "acl_in", "guard")]));
    lab.dropped("wan", inward(), AclInDenied);
}

#[test]
fn a_connection_that_a_commit_forbids_stops_and_one_that_it_allows_goes_on() {
    let allow = |ports: &str| {
        let rule = json!({ "action": "allow", "protocol": "tcp", "destination_port": ports });
        guarded(
            rules(json!({ "10": rule })),
            &[("blue0", "acl_in", "guard")],
        )
    };
    // The first revision has no ACL at all: connections are known all the same.
    let mut lab = Lab::new(two_vpcs());
    let ssh = lab.through("blue0", tcp((HOST, 4000), (SITE, 22), SYN).frame(), "wan");
    let web = lab.through("blue0", tcp((HOST, 4001), (SITE, 80), SYN).frame(), "wan");
    let reply =
        |port, out: &Ip| tcp((SITE, port), (WAN, out.ports().0), SYN | TcpFlags::ACK).frame();
    lab.commit(allow("22,80"));
    lab.through("wan", reply(22, &ssh), "blue0");
    lab.through("wan", reply(80, &web), "blue0");
    lab.commit(allow("22"));
    // The reply's direction is asked first.
    assert_eq!(lab.send("wan", reply(80, &web)), []);
    lab.dropped(
        "blue0",
        tcp((HOST, 4001), (SITE, 80), TcpFlags::ACK).frame(),
        AclInDenied,
    );
    lab.through("wan", reply(22, &ssh), "blue0");
    let totals = lab.gateway.totals();
    assert_eq!(totals.connections_ended_by_policy, 1);
    assert_eq!(lab.gateway.graph().connections4().len(), 1);
}

#[test]
fn rules_for_single_packets_are_asked_both_ways() {
    let one_way = json!({ "10": {
        "action": "allow", "scope": "packet", "protocol": "udp", "destination_port": 53
    } });
    let mut both = one_way.clone();
    both["20"] =
        json!({ "action": "allow", "scope": "packet", "protocol": "udp", "source_port": 53 });
    let on = [("blue0", "acl_in", "guard"), ("wan", "acl_in", "guard")];
    let mut lab = Lab::new(guarded(rules(one_way), &on));
    let out = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let reply = |out: &Ip| udp((SITE, 53), (WAN, out.ports().0), 0).frame();
    lab.dropped("wan", reply(&out), AclInDenied);
    lab.commit(guarded(rules(both), &on));
    lab.through("wan", reply(&out), "blue0");
    // A rule for single packets also stops those of a connection that was let through as a whole.
    let mut lab = Lab::new(guarded(rules(json!({ "10": { "action": "allow" } })), &on));
    let out = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    lab.through("wan", reply(&out), "blue0");
    lab.commit(guarded(
        json!({
            "guard": { "default": "deny", "rules": { "10": { "action": "allow" } } },
            "no-dns": { "default": "allow", "rules": { "10": {
                "action": "deny", "scope": "packet", "protocol": "udp", "source_port": 53
            } } }
        }),
        &[("blue0", "acl_in", "guard"), ("wan", "acl_in", "no-dns")],
    ));
    lab.dropped("wan", reply(&out), AclInDenied);
    lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
}

#[test]
fn who_is_rejected_is_told() {
    let acl = json!({ "guard": { "default": "reject", "rules": {
        "10": { "action": "deny", "protocol": "icmp" }
    } } });
    let mut lab = Lab::new(guarded(acl, &[("blue0", "acl_in", "guard")]));
    let said = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "blue0");
    assert_eq!(said.endpoints(), ([10, 1, 0, 1].into(), HOST));
    let L4::Icmp(Icmpv4Repr::Error(Icmpv4Error::CommunicationProhibited), _) = said.transport
    else {
        panic!("{said:?}")
    };
    let said = lab.through("blue0", tcp((HOST, 4000), (SITE, 22), SYN).frame(), "blue0");
    assert_eq!(
        said.endpoints(),
        (SITE, HOST),
        "as if the other end had said it"
    );
    assert_eq!(
        said.transport,
        L4::Tcp(22, 4000, TcpFlags::RST | TcpFlags::ACK)
    );
    let said = lab.through(
        "blue0",
        tcp((HOST, 4000), (SITE, 22), TcpFlags::ACK).frame(),
        "blue0",
    );
    assert_eq!(said.transport, L4::Tcp(22, 4000, TcpFlags::RST));
    // A reset is not answered with one, and what is denied not at all.
    lab.dropped(
        "blue0",
        tcp((HOST, 4000), (SITE, 22), TcpFlags::RST).frame(),
        DropReason::ConnectionInvalid,
    );
    lab.dropped("blue0", echo(HOST, SITE, 1).frame(), AclInDenied);

    use support::v6;
    let out = lab.one(
        "blue0",
        v6::tcp((v6::HOST, 4000), (v6::SITE, 22), SYN).frame(),
        "blue0",
    );
    let said = v6::Ip::of(&out);
    assert_eq!((said.source, said.destination), (v6::SITE, v6::HOST));
    assert_eq!(
        said.transport,
        v6::L4::Tcp(22, 4000, TcpFlags::RST | TcpFlags::ACK)
    );
}

#[test]
fn ipv6_is_asked_by_the_same_rules() {
    use support::v6;
    let acl = rules(json!({
        "10": { "action": "allow", "sources": ["fd00:1::/64"], "protocol": "tcp", "destination_port": 22 },
        "20": { "action": "allow", "protocol": "icmpv6", "icmp_type": 128 }
    }));
    let mut lab = Lab::new(guarded(acl, &[("blue0", "acl_in", "guard")]));
    lab.one(
        "blue0",
        v6::tcp((v6::HOST, 4000), (v6::SITE, 22), SYN).frame(),
        "wan",
    );
    lab.one("blue0", v6::echo(v6::HOST, v6::SITE, 7).frame(), "wan");
    // The gateway's own link-local address answers what is allowed, and nothing else.
    lab.one(
        "blue0",
        v6::echo(v6::HOST_LINK_LOCAL, v6::BLUE_LINK_LOCAL, 7).frame(),
        "blue0",
    );
    lab.dropped(
        "blue0",
        v6::udp((v6::HOST, 4000), (v6::SITE, 22), 0).frame(),
        AclInDenied,
    );
    lab.dropped(
        "blue0",
        v6::udp((v6::HOST_LINK_LOCAL, 4000), (v6::BLUE_LINK_LOCAL, 22), 0).frame(),
        AclInDenied,
    );
}

#[test]
fn types_and_codes_of_icmp() {
    let acl = rules(json!({ "10": { "action": "allow", "protocol": "icmp", "icmp_type": 8 } }));
    let mut lab = Lab::new(guarded(acl, &[("blue0", "acl_in", "guard")]));
    let out = lab.through("blue0", echo(HOST, SITE, 9).frame(), "wan");
    let L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) = out.transport else {
        panic!("{out:?}")
    };
    let reply = Icmpv4Repr::EchoReply {
        identifier,
        sequence: 1,
    };
    lab.through("wan", icmp(SITE, WAN, reply, b"ping").frame(), "blue0");
    // The gateway answers it, too: what it says itself is not asked about.
    lab.through(
        "blue0",
        echo(HOST, [10, 1, 0, 1].into(), 9).frame(),
        "blue0",
    );
    // A connection that is resolved again is asked for by the type that began it.
    let mut next = guarded(
        rules(
            json!({ "10": { "action": "allow", "protocol": "icmp", "icmp_type": 8, "icmp_code": 0 } }),
        ),
        &[("blue0", "acl_in", "guard")],
    );
    lab.commit(next.clone());
    lab.through("blue0", echo(HOST, SITE, 9).frame(), "wan");
    assert_eq!(lab.gateway.totals().connections_kept, 1);
    next["acls"]["guard"]["rules"]["10"]["icmp_code"] = json!(1);
    lab.commit(next);
    lab.dropped("blue0", echo(HOST, SITE, 9).frame(), AclInDenied);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

/// The frames of a datagram that was cut: the first with its ports, and the other.
fn fragments(source: (std::net::Ipv4Addr, u16), to: (std::net::Ipv4Addr, u16)) -> [Vec<u8>; 2] {
    let whole = udp(source, to, 32);
    let packet = whole.packet();
    let payload = &packet[20..];
    let cut = |offset: usize, bytes: &[u8], more| {
        let mut part = whole.clone().with_payload(bytes);
        part.ip.dont_fragment = false;
        part.ip.more_fragments = more;
        part.ip.fragment_offset = (offset / 8) as u16;
        part.ip.identification = 7;
        part.frame()
    };
    [cut(0, &payload[..24], true), cut(24, &payload[24..], false)]
}

#[test]
fn a_fragment_passes_with_its_first_and_the_first_by_its_ports() {
    let acl =
        rules(json!({ "10": { "action": "allow", "protocol": "udp", "destination_port": 53 } }));
    let mut document = guarded(acl, &[("blue0", "acl_in", "guard")]);
    document["nat"]["masquerade"] = json!({});
    let mut lab = Lab::new(document);
    let [first, later] = fragments((HOST, 4000), (SITE, 53));
    assert_eq!(lab.send("blue0", later), [], "it waits for the first");
    assert_eq!(lab.send("blue0", first).len(), 2);
    let [other, later] = fragments((HOST, 4000), (SITE, 22));
    lab.dropped("blue0", other, AclInDenied);
    lab.dropped("blue0", later, AclInDenied);
    lab.dropped(
        "blue0",
        udp((HOST, 4000), (SITE, 22), 0).frame(),
        AclInDenied,
    );
}

#[test]
fn a_reply_in_fragments_follows_the_whole_question() {
    let acl = json!({
        "guard": { "default": "deny", "rules": {
            "10": { "action": "allow", "protocol": "udp", "destination_port": 53 }
        } },
        "nothing": {}
    });
    let on = [("blue0", "acl_in", "guard"), ("wan", "acl_in", "nothing")];
    let mut document = guarded(acl, &on);
    document["nat"]["masquerade"] = json!({});
    document["vpcs"]["internet"]["routes"]["10.1.0.0/24"] =
        json!({ "next_hops": [{ "interface": "blue0" }] });
    let mut lab = Lab::new(document);
    lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let [first, later] = fragments((SITE, 53), (HOST, 4000));
    lab.one("wan", first, "blue0");
    lab.one("wan", later, "blue0");
    let [other, _] = fragments((SITE, 54), (HOST, 4000));
    lab.dropped("wan", other, AclInDenied);
}

#[test]
fn decisions_are_logged_once_for_each_flow_and_not_without_bound() {
    let acl = rules(json!({
        "10": { "action": "allow", "log": true, "protocol": "udp" },
        "20": { "action": "deny", "log": true, "protocol": "tcp" }
    }));
    let mut lab = Lab::new(guarded(acl, &[("blue0", "acl_in", "guard")]));
    for _ in 0..3 {
        lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    }
    lab.dropped(
        "blue0",
        tcp((HOST, 4000), (SITE, 22), SYN).frame(),
        AclInDenied,
    );
    let logged = lab.gateway.take_logged();
    let seen: Vec<_> = logged
        .iter()
        .map(|entry| (entry.rule, entry.action))
        .collect();
    assert_eq!(seen, [(10, AclAction::Allow), (20, AclAction::Deny)]);
    assert_eq!(
        (logged[0].key.source_port, logged[0].key.destination_port),
        (4000, 53)
    );
    for port in 0..500 {
        lab.dropped(
            "blue0",
            tcp((HOST, 5000 + port), (SITE, 22), SYN).frame(),
            AclInDenied,
        );
    }
    let logged = lab.gateway.take_logged().len();
    assert!((90..=110).contains(&logged), "{logged}");
    assert_eq!(lab.gateway.totals().log_lost, 500 - logged as u64);
}

#[test]
fn a_flow_that_waits_for_its_neighbor_is_logged_once() {
    let acl = rules(json!({ "10": { "action": "allow", "log": true } }));
    let mut document = guarded(acl, &[("blue0", "acl_in", "guard")]);
    document["vpcs"]["blue"]["routes"][format!("{RED_HOST}/32")] =
        json!({ "next_hops": [{ "interface": "red0" }] });
    let mut lab = Lab::new(document);
    let packet = |port| ("blue0", udp((HOST, port), (RED_HOST, 53), 0).frame());
    // Two of one flow in one burst, one of another, and one more of the first.
    let sent = lab.burst([packet(4000), packet(4000), packet(4001)]);
    assert_eq!(sent.len(), 1, "one question for all of them");
    let request = arp_of(&sent[0]);
    assert!(lab.burst([packet(4000)]).is_empty());
    assert_eq!(lab.gateway.totals().held, 4);
    let host = MacAddress([2, 0, 0, 0, 1, 2]);
    let sent = lab.send("red0", arp_frame(RED_MAC, &request.reply(host)));
    assert_eq!(sent.len(), 4);
    let logged = lab.gateway.take_logged();
    let ports: Vec<_> = logged.iter().map(|entry| entry.key.source_port).collect();
    assert_eq!(ports, [4000, 4001]);
}
