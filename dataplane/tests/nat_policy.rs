//! Which packets a rule of NAT is for, and which ports and addresses it gives out, as hosts on either side see it.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use rewire_dataplane::DropReason;
use rewire_packet::tcp::TcpFlags;
use support::*;

/// Two VPCs behind one address, with other masquerades for blue, exclusions and pools.
fn with(masquerades: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    let mut document = two_vpcs();
    document["nat"]["masquerade"] = json!({});
    for (name, rule) in masquerades.as_object().unwrap() {
        let mut rule = rule.clone();
        rule["vpc"] = json!("blue");
        rule["interface"] = json!("wan");
        document["nat"]["masquerade"][name] = rule;
    }
    for (section, objects) in more.as_object().unwrap() {
        document["nat"][section] = objects.clone();
    }
    document
}

const OTHER_SITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 130);

#[test]
fn a_masquerade_asks_for_protocol_port_and_destination() {
    let document = with(
        json!({
            "all": { "sources": ["10.1.0.0/24"] },
            "dns": { "sources": ["10.1.0.0/24"], "pool": "near", "protocol": "udp", "source_port": 5353 },
            "far": { "sources": ["10.1.0.0/24"], "pool": "far", "destinations": ["198.51.100.128/25"] },
        }),
        json!({ "pools": {
            "near": { "vpc": "internet", "ranges": ["203.0.113.20"] },
            "far": { "vpc": "internet", "ranges": ["203.0.113.30"] },
        } }),
    );
    let mut lab = Lab::new(document);
    let mut source = |build: Build| lab.through("blue0", build.frame(), "wan").source;
    let near = Ipv4Addr::new(203, 0, 113, 20);
    let far = Ipv4Addr::new(203, 0, 113, 30);
    assert_eq!(source(udp((HOST, 4000), (SITE, 53), 0)), WAN);
    assert_eq!(source(udp((HOST, 5353), (SITE, 53), 0)), near);
    assert_eq!(source(tcp((HOST, 5353), (SITE, 53), TcpFlags::SYN)), WAN);
    assert_eq!(source(udp((HOST, 4001), (OTHER_SITE, 53), 0)), far);
    assert_eq!(source(echo(HOST, OTHER_SITE, 1)), far);
    assert_eq!(source(echo(HOST, SITE, 1)), WAN);
    // One endpoint that is for several rules, by where it sends, has a mapping for each.
    assert_eq!(source(udp((HOST, 5353), (OTHER_SITE, 53), 0)), far);
    assert_eq!(source(udp((HOST, 5353), (SITE, 54), 0)), near);
}

#[test]
fn what_is_excluded_keeps_its_source_and_has_its_replies() {
    let excluded = |destinations: &[&str]| {
        with(
            json!({ "all": { "sources": ["10.1.0.0/24"] } }),
            json!({ "exclusions": { "site": {
                "vpc": "blue", "interface": "wan", "destinations": destinations
            } } }),
        )
    };
    let mut lab = Lab::new(excluded(&["198.51.100.128/25"]));
    let out = lab.through(
        "blue0",
        udp((HOST, 4000), (OTHER_SITE, 53), 0).frame(),
        "wan",
    );
    assert_eq!((out.source, out.ports()), (HOST, (4000, 53)));
    let translated = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_eq!(translated.source, WAN);
    // A static translation is no exception.
    let mail = Ipv4Addr::new(10, 1, 0, 20);
    let out = lab.through("blue0", udp((mail, 25), (OTHER_SITE, 25), 0).frame(), "wan");
    assert_eq!(out.source, mail);
    // Where the exclusion goes, so does the connection: what it would be now is another.
    assert_eq!(lab.gateway.totals().connections, 3);
    lab.commit(excluded(&["192.0.2.0/24"]));
    let out = lab.through(
        "blue0",
        udp((HOST, 4000), (OTHER_SITE, 53), 0).frame(),
        "wan",
    );
    assert_eq!(out.source, WAN);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 2);
    // And what is not touched goes on.
    let kept = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_eq!(kept.ports(), translated.ports());
}

#[test]
fn what_is_excluded_wherever_it_leaves_keeps_its_destination_too() {
    let document = with(
        json!({ "all": { "sources": ["10.1.0.0/24"] } }),
        json!({ "exclusions": { "scanner": {
            "vpc": "internet", "sources": ["198.51.100.130"], "protocol": "tcp", "destination_port": "8000-8100"
        } } }),
    );
    let mut lab = Lab::new(document);
    let syn = |from| tcp((from, 5000), (WAN, 8080), TcpFlags::SYN).frame();
    lab.dropped("wan", syn(OTHER_SITE), DropReason::LocalNoService);
    assert_eq!(lab.through("wan", syn(SITE), "blue0").destination, HOST);
}

#[test]
fn ports_are_those_of_the_rule_and_a_rule_without_any_left_says_so() {
    let ports = |ports: &str| {
        with(
            json!({ "all": { "sources": ["10.1.0.0/24"], "ports": ports } }),
            json!({}),
        )
    };
    let mut lab = Lab::new(ports("2000-2001"));
    let host = |last| Ipv4Addr::new(10, 1, 0, last);
    let mut given = Vec::new();
    for last in [10, 11] {
        let out = lab.through(
            "blue0",
            udp((host(last), 4000), (SITE, 53), 0).frame(),
            "wan",
        );
        given.push(out.ports().0);
    }
    given.sort_unstable();
    assert_eq!(given, [2000, 2001]);
    lab.send("blue0", udp((host(12), 4000), (SITE, 53), 0).frame());
    assert_eq!(lab.gateway.dropped_for(DropReason::NatPortsExhausted), 1);
    // Of TCP there are as many.
    let out = lab.through(
        "blue0",
        tcp((host(12), 4000), (SITE, 80), TcpFlags::SYN).frame(),
        "wan",
    );
    assert!((2000..=2001).contains(&out.ports().0));
    given.push(out.ports().0);
    // A policy with other ports ends what has a port outside of them, and no more.
    lab.commit(ports("2001-2002"));
    for last in [10, 11] {
        let out = lab.through(
            "blue0",
            udp((host(last), 4000), (SITE, 53), 0).frame(),
            "wan",
        );
        assert!((2001..=2002).contains(&out.ports().0));
    }
    let outside = given.iter().filter(|port| **port == 2000).count();
    let ended = lab.gateway.totals().connections_ended_by_policy;
    assert_eq!(ended, outside as u64);
}

#[test]
fn a_pool_that_translates_addresses_alone_gives_each_sender_one() {
    let document = with(
        json!({ "all": { "sources": ["10.1.0.0/24"], "pool": "basic" } }),
        json!({ "pools": { "basic": {
            "vpc": "internet", "ranges": ["203.0.113.20-203.0.113.21"], "address_only": true
        } } }),
    );
    let mut lab = Lab::new(document);
    let host = |last| Ipv4Addr::new(10, 1, 0, last);
    let first = lab.through("blue0", udp((HOST, 53), (SITE, 53), 0).frame(), "wan");
    assert_eq!(first.ports(), (53, 53));
    let other = lab.through("blue0", udp((host(11), 53), (SITE, 53), 0).frame(), "wan");
    assert_eq!(other.ports(), (53, 53));
    assert_ne!(first.source, other.source);
    lab.send("blue0", udp((host(12), 53), (SITE, 53), 0).frame());
    assert_eq!(lab.gateway.dropped_for(DropReason::NatPortsExhausted), 1);
    // Whatever else the host sends has the same address: fragments and protocols without ports, too.
    let mut fragment = udp((HOST, 60_000), (SITE, 99), 8);
    fragment.ip.more_fragments = true;
    fragment.ip.dont_fragment = false;
    let sent = lab.send("blue0", fragment.frame());
    assert_eq!(sent.len(), 1, "{:?}", lab.drops());
    assert_eq!(Ip::of(&sent[0].frame).source, first.source);
    let again = lab.through(
        "blue0",
        tcp((HOST, 9), (SITE, 9), TcpFlags::SYN).frame(),
        "wan",
    );
    assert_eq!((again.source, again.ports()), (first.source, (9, 9)));
    let back = lab.through(
        "wan",
        udp((SITE, 53), (first.source, 53), 0).frame(),
        "blue0",
    );
    assert_eq!(back.destination, HOST);
}

#[test]
fn a_port_forward_is_for_its_senders_and_for_the_addresses_of_its_interface() {
    let document = with(
        json!({ "all": { "sources": ["10.1.0.0/24"] } }),
        json!({ "port_forward": { "web": {
            "protocol": "tcp", "external_vpc": "internet", "external_interface": "wan", "external_port": 8080,
            "internal_vpc": "blue", "internal_address": "10.1.0.10", "internal_port": 80,
            "sources": ["198.51.100.0/25"],
        } } }),
    );
    let mut lab = Lab::new(document.clone());
    let syn = |from, port| tcp((from, port), (WAN, 8080), TcpFlags::SYN).frame();
    let inside = lab.through("wan", syn(SITE, 5000), "blue0");
    assert_eq!((inside.destination, inside.ports()), (HOST, (5000, 80)));
    lab.dropped("wan", syn(OTHER_SITE, 5000), DropReason::LocalNoService);
    // No masquerade takes the port, whoever it is forwarded for.
    let out = tcp((HOST, 8080), (OTHER_SITE, 80), TcpFlags::SYN);
    assert_ne!(lab.through("blue0", out.frame(), "wan").ports().0, 8080);
    // The sender is no longer one it is for: the connection ends.
    let mut narrower = document;
    narrower["nat"]["port_forward"]["web"]["sources"] = json!(["198.51.100.128/25"]);
    lab.commit(narrower);
    let ack = tcp((SITE, 5000), (WAN, 8080), TcpFlags::ACK);
    assert_eq!(lab.send("wan", ack.frame()), []);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
    let inside = lab.through("wan", syn(OTHER_SITE, 5001), "blue0");
    assert_eq!(inside.destination, HOST);
}

#[test]
fn a_connection_lives_as_long_as_its_rule_or_its_vpc_says() {
    let said = |rule: &str, vpc: &str| {
        let mut document = with(
            json!({ "all": { "sources": ["10.1.0.0/25"], "idle_timeout": rule } }),
            json!({ "port_forward": { "dns": {
                "protocol": "udp", "external_vpc": "internet", "external_address": "203.0.113.1",
                "external_port": 53, "internal_vpc": "blue", "internal_address": "10.1.0.10",
                "idle_timeout": "20s",
            } } }),
        );
        document["vpcs"]["blue"]["conntrack"] = json!({ "udp_unreplied": vpc });
        document
    };
    let mut lab = Lab::new(said("30s", "60s"));
    let unruled = Ipv4Addr::new(10, 1, 0, 200);
    lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    lab.through("blue0", udp((unruled, 4000), (SITE, 53), 0).frame(), "wan");
    lab.through("wan", udp((SITE, 4000), (WAN, 53), 0).frame(), "blue0");
    let live = |lab: &mut Lab, seconds: u64| {
        // Step by step, since one call looks at a part of all connections.
        (0..seconds).for_each(|_| drop(lab.wait(Duration::from_secs(1))));
        lab.gateway.totals().connections
    };
    assert_eq!(live(&mut lab, 15), 3);
    assert_eq!(live(&mut lab, 10), 2, "the port forward's is gone");
    assert_eq!(live(&mut lab, 10), 1, "and the masquerade's");
    assert_eq!(live(&mut lab, 20), 1);
    assert_eq!(live(&mut lab, 10), 0, "and the VPC's");
    // A policy that says less is for those that are there, too.
    lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    lab.commit(said("5s", "60s"));
    assert_eq!(live(&mut lab, 3), 1);
    assert_eq!(live(&mut lab, 5), 0);
}
