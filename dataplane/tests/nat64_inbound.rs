//! Connections that begin outside, in IPv4, and lead to a host of IPv6: by port forwards, which are NAT64's static bindings (RFC 6146,
//! section 3.1), and to mappings that let them in (section 3.5). What mappings let in is held against the RFC's words in `filtering`.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::tcp::TcpFlags;
use support::nat64::{EXTERNAL, ROUTER, behind, cut4, document, down, forwarding, to_forward, up};
use support::v6::{self, BLUE, HOST};
use support::{HOST_MAC, L4, Lab, SITE, WAN, json};

const SYN: TcpFlags = TcpFlags::SYN;

fn syn_ack() -> TcpFlags {
    TcpFlags::SYN | TcpFlags::ACK
}

/// With a change that no connection minds.
fn touched(mut document: serde_json::Value) -> serde_json::Value {
    document["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    document
}

/// A commit, and so many bursts that every connection has been resolved.
fn resolve(lab: &mut Lab, document: serde_json::Value) {
    lab.commit(document);
    (0..10).for_each(|_| drop(lab.burst([])));
}

#[test]
fn a_port_forward_leads_to_a_host_of_ipv6_and_back() {
    for (address, port) in [(EXTERNAL, 8443), (WAN, 8444)] {
        let mut lab = Lab::new(forwarding());
        let client = |flags| support::tcp((SITE, 5000), (address, port), flags).frame();
        let server = |flags| v6::tcp((HOST, 443), (behind(SITE), 5000), flags).frame();
        let seen = up(&mut lab, client(SYN));
        assert_eq!(seen.endpoints(), (behind(SITE), HOST));
        assert_eq!(seen.transport, v6::L4::Tcp(5000, 443, SYN));
        assert_eq!((seen.hop_limit, seen.link.1), (63, HOST_MAC));
        let answer = down(&mut lab, server(syn_ack()));
        assert_eq!(answer.endpoints(), (address, SITE));
        assert_eq!(answer.transport, L4::Tcp(port, 5000, syn_ack()));
        up(&mut lab, client(TcpFlags::ACK));
        let graph = lab.gateway.graph();
        assert!(graph.connections4().is_empty());
        let connections = graph.connections6().iter();
        let states: Vec<String> = connections.map(|(_, f)| f.state.to_string()).collect();
        assert_eq!(states, ["established"]);
        assert_eq!(lab.gateway.totals().mappings, 0);
        // Nothing begins with a reset, and nothing is behind another port.
        let reset = support::tcp((SITE, 5001), (address, port), TcpFlags::RST).frame();
        lab.dropped("wan", reset, DropReason::ConnectionInvalid);
        let other = support::tcp((SITE, 5000), (EXTERNAL, 8445), SYN).frame();
        lab.dropped("wan", other, DropReason::NatNoMapping);
    }
}

/// The host of a port forward is a client like any other, with an external port of its own.
#[test]
fn the_hosts_own_connections_do_not_use_the_forward() {
    let mut lab = Lab::new(forwarding());
    let out = v6::udp((HOST, 443), (behind(SITE), 53), 0);
    let out = down(&mut lab, out.frame());
    assert_eq!(out.source, EXTERNAL);
    assert_ne!(out.ports().0, 8443);
    // And no client is given the forward's port, though it asks for it.
    let client = v6::udp((HOST, 8443), (behind(SITE), 53), 0);
    assert_ne!(down(&mut lab, client.frame()).ports().0, 8443);
}

#[test]
fn only_the_senders_of_a_forward_get_in() {
    let mut document = forwarding();
    document["nat"]["port_forward"]["six"]["sources"] = json!(["198.51.100.0/31"]);
    let mut lab = Lab::new(document);
    up(&mut lab, to_forward(5000).frame());
    let stranger = support::udp((ROUTER, 5000), (EXTERNAL, 8443), 0).frame();
    lab.dropped("wan", stranger, DropReason::NatNoMapping);
}

/// A sender that no address of the prefix stands for does not get in (RFC 6052, section 3.1).
#[test]
fn the_well_known_prefix_shows_global_senders_alone() {
    let mut document = forwarding();
    let own = &mut document["nat"]["nat64"]["own"];
    own.as_object_mut().unwrap().remove("prefix");
    let mut lab = Lab::new(document);
    lab.dropped("wan", to_forward(5000).frame(), DropReason::NatNoMapping);
    let dns = Ipv4Addr::new(8, 8, 8, 8);
    let seen = up(
        &mut lab,
        support::udp((dns, 53), (EXTERNAL, 8443), 8).frame(),
    );
    let prefix = rewire_packet::pref64::Pref64::WELL_KNOWN;
    assert_eq!(seen.endpoints(), (prefix.embed(dns), HOST));
}

/// Law 6: what is still led there goes on, what is not ends.
#[test]
fn connections_follow_the_policy() {
    let mut lab = Lab::new(forwarding());
    up(&mut lab, to_forward(5000).frame());
    resolve(&mut lab, touched(forwarding()));
    let totals = lab.gateway.totals();
    assert_eq!(
        (totals.connections_kept, totals.connections_ended_by_policy),
        (1, 0)
    );
    up(&mut lab, to_forward(5000).frame());
    assert_eq!(lab.gateway.totals().connections, 1);
    // To another port: the connection begins anew.
    let mut elsewhere = forwarding();
    elsewhere["nat"]["port_forward"]["six"]["internal_port"] = json!(444);
    resolve(&mut lab, elsewhere);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
    let seen = up(&mut lab, to_forward(5000).frame());
    assert_eq!(seen.ports(), (5000, 444));
    // Behind another prefix.
    let mut renumbered = forwarding();
    renumbered["nat"]["nat64"]["own"]["prefix"] = json!("2001:db8:65::/96");
    renumbered["nat"]["port_forward"]["six"]["internal_port"] = json!(444);
    resolve(&mut lab, renumbered);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 2);
    // Without the forward.
    resolve(&mut lab, document());
    lab.dropped("wan", to_forward(5000).frame(), DropReason::NatNoMapping);
    assert_eq!(lab.gateway.totals().connections, 0);
}

#[test]
fn a_forward_says_how_long_its_connections_live() {
    let mut document = forwarding();
    document["nat"]["port_forward"]["six"]["idle_timeout"] = json!("10s");
    let mut lab = Lab::new(document);
    up(&mut lab, to_forward(5000).frame());
    lab.wait(Duration::from_secs(8));
    assert_eq!(lab.gateway.totals().connections, 1);
    lab.wait(Duration::from_secs(4));
    assert_eq!(lab.gateway.totals().connections, 0);
}

#[test]
fn errors_reach_either_end_about_what_it_sent() {
    let mut lab = Lab::new(forwarding());
    let sent = to_forward(5000);
    let delivered = lab.one("wan", sent.clone().frame(), "blue0");
    // The host says so.
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = v6::icmp(HOST, behind(SITE), error, &delivered[14..]);
    let heard = down(&mut lab, message.frame());
    assert_eq!(heard.endpoints(), (EXTERNAL, SITE));
    let L4::Icmp(Icmpv4Repr::Error(Icmpv4Error::PortUnreachable), quoted) = heard.transport else {
        panic!("{heard:?}")
    };
    let expected = sent.packet();
    assert_eq!(quoted[12..], expected[12..], "addresses, ports and data");
    // A router on the way back does.
    let answer = v6::udp((HOST, 443), (behind(SITE), 5000), 8);
    let out = lab.one("blue0", answer.clone().frame(), "wan");
    let error = Icmpv4Repr::Error(Icmpv4Error::TtlExceeded);
    let message = support::icmp(ROUTER, EXTERNAL, error, &out[14..]);
    let heard = up(&mut lab, message.frame());
    assert_eq!(heard.endpoints(), (behind(ROUTER), HOST));
    let v6::L4::Icmp(Icmpv6Repr::Error(Icmpv6Error::HopLimitExceeded), quoted) = heard.transport
    else {
        panic!("{heard:?}")
    };
    let mut expected = answer.packet();
    expected[7] -= 1;
    assert_eq!(quoted, expected);
    // What the gateway itself refuses is said in the sender's family.
    let last = to_forward(5000).ttl(1);
    let told = lab.through("wan", last.frame(), "wan");
    assert_eq!(told.endpoints(), (WAN, SITE));
    assert!(matches!(
        told.transport,
        L4::Icmp(Icmpv4Repr::Error(Icmpv4Error::TtlExceeded), _)
    ));
    let last = v6::udp((HOST, 443), (behind(SITE), 5000), 8).hops(1);
    let told = lab.through6("blue0", last.frame(), "blue0");
    assert_eq!(
        (told.endpoints(), told.error()),
        ((BLUE, HOST), Icmpv6Error::HopLimitExceeded)
    );
}

/// Where it comes in, an ACL sees what was sent; where it leaves, what the host gets.
#[test]
fn acls_see_either_side_in_its_own_family() {
    let mut document = forwarding();
    document["acls"] = json!({
        "in": { "default": "deny", "rules": {
            "10": { "action": "allow", "protocol": "udp", "destinations": [EXTERNAL.to_string()], "destination_port": 8443 },
        } },
        "out": { "default": "deny", "rules": {
            "10": {
                "action": "allow", "protocol": "udp", "sources": [format!("{}/128", behind(SITE))],
                "destinations": [HOST.to_string()], "destination_port": 443,
            },
        } },
    });
    document["interfaces"]["wan"]["acl_in"] = json!("in");
    document["interfaces"]["blue0"]["acl_out"] = json!("out");
    let mut lab = Lab::new(document.clone());
    up(&mut lab, to_forward(5000).frame());
    let by_own = support::udp((SITE, 5000), (WAN, 8444), 0).frame();
    lab.dropped("wan", by_own, DropReason::AclInDenied);
    let stranger = support::udp((ROUTER, 5000), (EXTERNAL, 8443), 0).frame();
    lab.dropped("wan", stranger, DropReason::AclOutDenied);
    // The same is seen when the policy has changed.
    resolve(&mut lab, touched(document.clone()));
    assert_eq!(lab.gateway.totals().connections_kept, 1);
    document["acls"]["out"]["rules"]["10"]["destination_port"] = json!(8443);
    resolve(&mut lab, document);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

/// A client of the NAT64 reaches the host by its external address, too.
#[test]
fn a_forward_is_reached_from_inside() {
    let mut document = forwarding();
    document["interfaces"]["blue0"]["neighbors"]["fd00:1::11"] =
        json!({ "mac": HOST_MAC.to_string() });
    let other = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);
    for (address, port) in [(EXTERNAL, 8443), (WAN, 8444)] {
        let mut lab = Lab::new(document.clone());
        let sent = v6::udp((other, 5000), (behind(address), port), 0);
        let seen = lab.through6("blue0", sent.frame(), "blue0");
        assert_eq!(seen.endpoints(), (behind(EXTERNAL), HOST));
        let external = seen.ports().0;
        assert_eq!(seen.ports().1, 443);
        let answer = v6::udp((HOST, 443), (behind(EXTERNAL), external), 0);
        let back = lab.through6("blue0", answer.frame(), "blue0");
        assert_eq!(back.endpoints(), (behind(address), other));
        assert_eq!(back.ports(), (port, 5000));
        assert_eq!(lab.gateway.totals().connections, 2);
    }
}

/// A datagram in pieces finds the host, whichever piece comes first.
#[test]
fn fragments_follow_the_first() {
    let whole = support::udp((SITE, 5000), (EXTERNAL, 8443), 64).may_fragment();
    let pieces = cut4(&whole);
    for order in [[0, 1], [1, 0]] {
        let mut lab = Lab::new(forwarding());
        let mut out: Vec<_> = order
            .iter()
            .flat_map(|place| lab.send("wan", pieces[*place].clone()))
            .collect();
        out.extend(lab.burst([]));
        let ends: Vec<_> = out
            .iter()
            .map(|s| v6::Ip::of(&s.frame).endpoints())
            .collect();
        assert_eq!(ends, [(behind(SITE), HOST); 2], "{order:?}");
    }
}
