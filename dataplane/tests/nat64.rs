//! NAT64, as hosts on either side see it: IPv6 clients in VPC blue, IPv4 servers in the internet.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU64;
use std::time::Duration;

use rewire_conntrack::Direction;
use rewire_dataplane::offload::{CardConfig, ModelledCard, OffloadConfig};
use rewire_dataplane::{DropReason, GatewayConfig, VirtualGateway};
use rewire_packet::Protocol;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::pref64::Pref64;
use rewire_packet::tcp::TcpFlags;
use support::nat64::{EXTERNAL, GLOBAL, behind, document, down, up};
use support::v6::{self, BLUE, HOST, RED_HOST};
use support::{BLUE_MAC, HOST_MAC, Ip, L4, Lab, SITE, UPSTREAM_MAC, WAN_MAC, json};

#[test]
fn udp_goes_out_and_comes_back() {
    let mut lab = Lab::new(document());
    let out = down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 20).frame(),
    );
    assert_eq!(
        (out.endpoints(), out.ports()),
        ((EXTERNAL, SITE), (4000, 53))
    );
    assert_eq!((out.ttl, out.link), (63, (WAN_MAC, UPSTREAM_MAC)));
    let back = up(
        &mut lab,
        support::udp((SITE, 53), (EXTERNAL, 4000), 30).frame(),
    );
    assert_eq!(
        (back.endpoints(), back.ports()),
        ((behind(SITE), HOST), (53, 4000))
    );
    assert_eq!((back.hop_limit, back.link), (63, (BLUE_MAC, HOST_MAC)));
    let totals = lab.gateway.totals();
    assert_eq!((totals.connections, totals.mappings), (1, 1));
    // Whoever was not spoken to does not get in.
    let stranger = support::udp((SITE, 54), (EXTERNAL, 4000), 0).frame();
    lab.dropped("wan", stranger, DropReason::NatNoMapping);
}

#[test]
fn a_tcp_connection_lives_and_ends() {
    let mut lab = Lab::new(document());
    let client = |flags| v6::tcp((HOST, 4000), (behind(SITE), 80), flags).frame();
    let server = |flags| support::tcp((SITE, 80), (EXTERNAL, 4000), flags).frame();
    let opened = down(&mut lab, client(TcpFlags::SYN));
    assert_eq!(opened.transport, L4::Tcp(4000, 80, TcpFlags::SYN));
    let answered = up(&mut lab, server(TcpFlags::SYN | TcpFlags::ACK));
    let flags = TcpFlags::SYN | TcpFlags::ACK;
    assert_eq!(answered.transport, v6::L4::Tcp(80, 4000, flags));
    down(&mut lab, client(TcpFlags::ACK));
    let graph = lab.gateway.graph();
    let states: Vec<String> = graph
        .connections6()
        .iter()
        .map(|(_, f)| f.state.to_string())
        .collect();
    assert_eq!(states, ["established"]);
    assert!(graph.connections4().is_empty());
    // A reset begins nothing.
    let late = v6::tcp((HOST, 4001), (behind(SITE), 80), TcpFlags::RST).frame();
    lab.dropped("blue0", late, DropReason::ConnectionInvalid);
}

#[test]
fn pings_keep_their_answers_apart() {
    let mut lab = Lab::new(document());
    let identifier = |ip: &Ip| match ip.transport {
        L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) => identifier,
        ref other => panic!("{other:?}"),
    };
    let one = down(&mut lab, v6::echo(HOST, behind(SITE), 77).frame());
    let other = Ipv6Addr::from_bits(HOST.to_bits() + 1);
    let two = down(&mut lab, v6::echo(other, behind(SITE), 77).frame());
    assert_ne!(identifier(&one), identifier(&two));
    let reply = Icmpv4Repr::EchoReply {
        identifier: identifier(&one),
        sequence: 1,
    };
    let back = up(
        &mut lab,
        support::icmp(SITE, EXTERNAL, reply, b"pong").frame(),
    );
    assert_eq!(back.endpoints(), (behind(SITE), HOST));
    let reply = Icmpv6Repr::EchoReply {
        identifier: 77,
        sequence: 1,
    };
    assert_eq!(back.transport, v6::L4::Icmp(reply, b"pong".to_vec()));
}

#[test]
fn a_client_keeps_its_endpoint_towards_all_servers() {
    let mut lab = Lab::new(document());
    let other = Ipv4Addr::new(198, 51, 100, 7);
    let one = down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    let two = down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(other), 99), 0).frame(),
    );
    assert_eq!((one.source, one.ports().0), (two.source, two.ports().0));
    assert_eq!(lab.gateway.totals().mappings, 1);
}

#[test]
fn the_well_known_prefix_stands_for_global_addresses_and_its_own_clients() {
    let mut lab = Lab::new(document());
    let dns = Ipv4Addr::new(8, 8, 8, 8);
    let to = |address| Pref64::WELL_KNOWN.embed(address);
    let red = |lab: &mut Lab, frame| lab.through("red0", frame, "wan");
    let out = red(
        &mut lab,
        v6::udp((RED_HOST, 4000), (to(dns), 53), 0).frame(),
    );
    assert_eq!(out.endpoints(), (GLOBAL, dns));
    // SITE is not global (RFC 6052, section 3.1).
    let refused = v6::udp((RED_HOST, 4000), (to(SITE), 53), 0).frame();
    lab.dropped("red0", refused, DropReason::NatNoMapping);
    // Another client has no NAT64.
    let stranger = Ipv6Addr::from_bits(RED_HOST.to_bits() | 1 << 32);
    let refused = v6::udp((stranger, 4000), (to(dns), 53), 0).frame();
    lab.dropped("red0", refused, DropReason::NatNoMapping);
}

/// A neighbor that has to be found first, on either side: the packet waits as it came, and goes on translated.
#[test]
fn packets_wait_for_their_neighbor() {
    let mut document = document();
    document["interfaces"]["wan"]["neighbors"] = json!({});
    document["interfaces"]["blue0"]["neighbors"] = json!({});
    let mut lab = Lab::new(document);
    let question = lab.send(
        "blue0",
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    assert_eq!(question.len(), 1);
    let arp = support::arp_of(&question[0]);
    let answer = arp.reply(UPSTREAM_MAC);
    let sent = lab.send("wan", support::arp_frame(WAN_MAC, &answer));
    assert_eq!(sent.len(), 1);
    assert_eq!(Ip::of(&sent[0].frame).endpoints(), (EXTERNAL, SITE));
    let question = lab.send("wan", support::udp((SITE, 53), (EXTERNAL, 4000), 0).frame());
    assert_eq!(v6::Ip::of(&question[0].frame).ndp().target(), HOST);
    let found = lab.send("blue0", v6::advertisement(HOST, HOST_MAC, BLUE).frame());
    assert_eq!(
        v6::Ip::of(&found[0].frame).endpoints(),
        (behind(SITE), HOST)
    );
}

/// Law 6: what is still allowed keeps its translation, what is not ends.
#[test]
fn connections_follow_the_policy() {
    let mut lab = Lab::new(document());
    let packet = || v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame();
    let first = down(&mut lab, packet());
    let mut other = document();
    other["nat"]["nat64"]["own"]["description"] = json!("the same");
    other["nat"]["nat64"]["own"]["idle_timeout"] = json!("1h");
    lab.commit(other.clone());
    let second = down(&mut lab, packet());
    assert_eq!(
        (first.source, first.ports()),
        (second.source, second.ports())
    );
    // Another pool: the connection begins anew.
    other["nat"]["pools"]["shared"]["ranges"] = json!(["203.0.113.80"]);
    lab.commit(other.clone());
    let third = down(&mut lab, packet());
    assert_eq!(third.source, Ipv4Addr::new(203, 0, 113, 80));
    assert_eq!(lab.gateway.totals().connections, 1);
    other["nat"]["nat64"].as_object_mut().unwrap().remove("own");
    lab.commit(other);
    let answer = support::udp((SITE, 53), (third.source, 4000), 0).frame();
    lab.dropped("wan", answer, DropReason::NatNoMapping);
}

#[test]
fn acls_see_either_side_in_its_own_family() {
    let mut document = document();
    document["acls"] = json!({
        "in": { "default": "deny", "rules": {
            "10": { "action": "allow", "sources": ["fd00:1::/64"], "destinations": ["2001:db8:64::/96"] },
        } },
        "out": { "default": "allow", "rules": {
            "10": { "action": "reject", "destinations": ["198.51.100.7"] },
        } },
    });
    document["interfaces"]["blue0"]["acl_in"] = json!("in");
    document["interfaces"]["wan"]["acl_out"] = json!("out");
    let mut lab = Lab::new(document);
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    up(
        &mut lab,
        support::udp((SITE, 53), (EXTERNAL, 4000), 0).frame(),
    );
    let stranger = Ipv6Addr::from_bits(HOST.to_bits() | 1 << 64);
    let refused = v6::udp((stranger, 4000), (behind(SITE), 53), 0);
    lab.dropped("blue0", refused.frame(), DropReason::AclInDenied);
    let refused = v6::udp(
        (HOST, 4000),
        (behind(Ipv4Addr::new(198, 51, 100, 7)), 53),
        0,
    );
    let answer = lab.through6("blue0", refused.frame(), "blue0");
    assert_eq!(answer.error(), Icmpv6Error::AdministrativelyProhibited);
    let refused = v6::tcp(
        (HOST, 4000),
        (behind(Ipv4Addr::new(198, 51, 100, 7)), 53),
        TcpFlags::SYN,
    );
    let answer = lab.through6("blue0", refused.frame(), "blue0");
    assert_eq!(answer.ports(), (53, 4000));
}

#[test]
fn ports_that_are_used_up_are_said() {
    let mut document = document();
    document["nat"]["nat64"]["own"]["ports"] = json!("5000");
    let mut lab = Lab::new(document);
    let out = down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    assert_eq!(out.ports(), (5000, 53));
    let second = v6::udp((HOST, 4001), (behind(SITE), 53), 0);
    let answer = lab.through6("blue0", second.frame(), "blue0");
    assert_eq!(answer.error(), Icmpv6Error::AdministrativelyProhibited);
}

#[test]
fn other_protocols_are_refused_by_name() {
    let mut lab = Lab::new(document());
    let packet = v6::Build::new(HOST, behind(SITE), Protocol::GRE, vec![0; 20]);
    lab.dropped("blue0", packet.frame(), DropReason::Nat64Untranslatable);
}

/// A rule of the card has keys and rewrites of one family: none is made for what changes its family, however long it lasts.
#[test]
fn no_card_is_handed_what_changes_its_family() {
    let config = support::small(GatewayConfig {
        offload: Some(OffloadConfig {
            packets: 2,
            again: NonZeroU64::MIN,
            idle_after: Duration::from_secs(30),
            flows: 64,
            requests: 16,
            query_every: Duration::from_secs(1),
        }),
        ..GatewayConfig::default()
    });
    let card = ModelledCard::new(CardConfig::default());
    let control = Box::new(card.clone());
    let gateway = VirtualGateway::with_card(&config, card.clone(), control);
    let mut document = document();
    document["nat"]["port_forward"]["six"] = json!({
        "protocol": "udp", "external_vpc": "internet", "external_address": EXTERNAL.to_string(), "external_port": 443,
        "internal_vpc": "blue", "internal_address": HOST.to_string(),
    });
    let mut lab = Lab::of(gateway, document);
    // One that stays in its family, beside it: the card is in use.
    let plain = v6::udp((HOST, 5000), (v6::SITE, 53), 20);
    let answer = v6::udp((v6::SITE, 53), (v6::WAN, 5000), 20);
    for _ in 0..50 {
        lab.send("blue0", plain.frame());
        lab.send("wan", answer.frame());
        down(
            &mut lab,
            v6::udp((HOST, 4000), (behind(SITE), 53), 20).frame(),
        );
        up(
            &mut lab,
            support::udp((SITE, 53), (EXTERNAL, 4000), 30).frame(),
        );
        // One that begins outside.
        up(
            &mut lab,
            support::udp((SITE, 6000), (EXTERNAL, 443), 30).frame(),
        );
        let answer = v6::udp((HOST, 443), (behind(SITE), 6000), 30);
        assert_eq!(down(&mut lab, answer.frame()).ports(), (443, 6000));
        lab.wait(Duration::from_millis(10));
    }
    let installed = card.installed();
    assert!(!installed.is_empty());
    let is_plain = |rule: &rewire_conntrack::offload::Rule| {
        [rule.pattern.source.1, rule.pattern.destination.1].contains(&5000)
    };
    assert!(installed.iter().all(is_plain), "{installed:?}");
    let graph = lab.gateway.graph();
    let mut translated = graph
        .connections6()
        .iter()
        .filter(|(_, flow)| flow.original.destination == behind(SITE));
    let (id, flow) = translated.next().unwrap();
    let inbound = graph.connections6().iter();
    let mut inbound = inbound.filter(|(_, flow)| flow.reply.destination == behind(SITE));
    let (other, _) = inbound.next().unwrap();
    assert!(!graph.connections6().is_offloaded(id));
    assert!(!graph.connections6().is_offloaded(other));
    assert_eq!(flow.traffic(Direction::Original).packets, 50);
}

mod there_and_back {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    struct Exchange {
        tcp: bool,
        client: u8,
        port: u16,
        server: u8,
        data: usize,
        hops: u8,
    }

    fn exchange() -> impl Strategy<Value = Exchange> {
        let ports = 1024..1040u16;
        (any::<bool>(), 0..3u8, ports, 1..4u8, 0..1300usize, 2..255u8).prop_map(
            |(tcp, client, port, server, data, hops)| Exchange {
                tcp,
                client,
                port,
                server,
                data,
                hops,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// What a client sends comes out as it would have been built of IPv4 between the ends that the gateway chose; and what the
        /// server sends, the other way. An endpoint has one external endpoint, and no other one has it.
        #[test]
        fn is_the_identity_on_what_both_families_say(exchanges in prop::collection::vec(exchange(), 1..30)) {
            let mut document = document();
            for n in 0..3 {
                document["interfaces"]["blue0"]["neighbors"][format!("fd00:1::2{n}")] =
                    json!({ "mac": HOST_MAC.to_string() });
            }
            let mut lab = Lab::new(document);
            let mut given = std::collections::HashMap::new();
            for Exchange { tcp, client, port, server, data, hops } in exchanges {
                let client = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x20 + u16::from(client));
                let server = Ipv4Addr::new(198, 51, 100, server);
                let six = ((client, port), (behind(server), 53));
                let sent = match tcp {
                    true => v6::tcp(six.0, six.1, TcpFlags::SYN),
                    false => v6::udp(six.0, six.1, data),
                };
                let out = lab.one("blue0", sent.hops(hops).frame(), "wan");
                let seen = Ip::of(&out);
                prop_assert_eq!(seen.ttl, hops - 1);
                let external = (seen.source, seen.ports().0);
                let holder = given.entry((tcp, external)).or_insert((client, port));
                prop_assert_eq!(*holder, (client, port));
                let four = (external, (server, 53));
                let built = match tcp {
                    true => support::tcp(four.0, four.1, TcpFlags::SYN),
                    false => support::udp(four.0, four.1, data),
                };
                prop_assert_eq!(&out[34..], &built.packet()[20..]);
                let answer = match tcp {
                    true => support::tcp(four.1, four.0, TcpFlags::SYN | TcpFlags::ACK),
                    false => support::udp(four.1, four.0, data.min(1200)),
                };
                let back = lab.one("wan", answer.ttl(hops).frame(), "blue0");
                prop_assert_eq!(v6::Ip::of(&back).hop_limit, hops - 1);
                let built = match tcp {
                    true => v6::tcp(six.1, six.0, TcpFlags::SYN | TcpFlags::ACK),
                    false => v6::udp(six.1, six.0, data.min(1200)),
                };
                prop_assert_eq!(&back[54..], &built.packet()[40..]);
            }
        }
    }
}
