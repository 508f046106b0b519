//! Neighbor discovery: whom the gateway answers, whom it learns, whom it asks.

mod support;

use std::net::Ipv6Addr;
use std::time::Duration;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::ndp::{NdpRepr, solicited_node};
use rewire_packet::{MacAddress, Protocol};
use support::v6::{self, *};
use support::{BLUE_MAC, HOST_MAC, Lab, RED_MAC, WAN_MAC, two_vpcs};

const ASKER: MacAddress = MacAddress([2, 9, 9, 9, 9, 9]);
const RED_HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 2]);

fn neighbor(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, last)
}

#[test]
fn the_gateway_answers_for_its_own_and_its_nat_addresses() {
    let mut lab = Lab::new(two_vpcs());
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 3);
    for target in [WAN, MAIL, link_local] {
        let question = solicitation(neighbor(0x77), ASKER, target).frame();
        let answer = lab.through6("wan", question, "wan");
        assert_eq!(answer.endpoints(), (target, neighbor(0x77)));
        assert_eq!(answer.link, (WAN_MAC, ASKER));
        assert_eq!(answer.hop_limit, 255);
        let expected = NdpRepr::Advertisement {
            target,
            router: true,
            solicited: true,
            overrides: true,
            target_link_address: Some(WAN_MAC),
        };
        assert_eq!(answer.ndp(), expected);
    }
    // Another's address; this VPC's, but of another link; this link's, but of another interface's MAC address.
    for target in [neighbor(0x50), BLUE, BLUE_LINK_LOCAL] {
        let question = solicitation(neighbor(0x78), ASKER, target).frame();
        lab.dropped("wan", question, DropReason::NdpNotForUs);
    }
    let totals = lab.gateway.totals();
    assert_eq!(totals.connections_created, 0, "nothing is tracked");
}

#[test]
fn a_neighbor_that_is_sure_of_us_need_not_say_where_it_is() {
    let mut lab = Lab::new(two_vpcs());
    let message = NdpRepr::Solicitation {
        target: BLUE,
        source_link_address: None,
    };
    let mut probe = v6::ndp(HOST_LINK_LOCAL, BLUE, message);
    probe.link_source = ASKER;
    let answer = lab.through6("blue0", probe.frame(), "blue0");
    assert_eq!(answer.endpoints(), (BLUE, HOST_LINK_LOCAL));
    assert_eq!(answer.link, (BLUE_MAC, ASKER));
}

#[test]
fn a_probe_for_duplicates_is_answered_to_everybody() {
    let mut lab = Lab::new(two_vpcs());
    for target in [BLUE, BLUE_LINK_LOCAL] {
        let probe = solicitation(Ipv6Addr::UNSPECIFIED, ASKER, target).frame();
        let answer = lab.through6("blue0", probe, "blue0");
        assert_eq!(answer.endpoints(), (target, ALL_NODES));
        assert_eq!(answer.link.1, MacAddress([0x33, 0x33, 0, 0, 0, 1]));
        assert!(
            matches!(answer.ndp(), NdpRepr::Advertisement { solicited: false, overrides: true, target: t, .. } if t == target)
        );
    }
    let other = solicitation(Ipv6Addr::UNSPECIFIED, ASKER, HOST).frame();
    lab.dropped("blue0", other, DropReason::NdpNotForUs);
}

#[test]
fn packets_wait_for_their_neighbor_and_leave_in_order() {
    let mut lab = Lab::new(two_vpcs());
    // Replies to red wait, because its host's address is not known yet.
    let outs: Vec<_> = (0..3u16)
        .map(|n| {
            let out = udp((RED_HOST, 4000 + n), (SITE, 53), 0).frame();
            lab.through6("red0", out, "wan")
        })
        .collect();
    let replies = outs
        .iter()
        .map(|out| ("wan", udp((SITE, 53), (WAN, out.ports().0), 0).frame()));
    let sent = lab.burst(replies.collect::<Vec<_>>());
    assert_eq!(sent.len(), 1, "one question for all of them");
    let question = v6::Ip::of(&sent[0].frame);
    let group = solicited_node(RED_HOST);
    assert_eq!(question.endpoints(), (RED, group));
    let link = (RED_MAC, MacAddress::from_ipv6_multicast(group));
    assert_eq!((question.link, question.hop_limit), (link, 255));
    let expected = NdpRepr::Solicitation {
        target: RED_HOST,
        source_link_address: Some(RED_MAC),
    };
    assert_eq!(question.ndp(), expected);
    assert_eq!(lab.gateway.totals().held, 3);
    let answer = advertisement(RED_HOST, RED_HOST_MAC, RED).frame();
    let sent = lab.send("red0", answer);
    let packets: Vec<_> = sent.iter().map(|sent| v6::Ip::of(&sent.frame)).collect();
    let order: Vec<_> = packets.iter().map(|packet| packet.ports().1).collect();
    assert_eq!(order, [4000, 4001, 4002]);
    let link = (RED_MAC, RED_HOST_MAC);
    assert!(packets.iter().all(|packet| packet.link == link));
    assert_eq!(lab.gateway.totals().held, 0);
    // Known by now: the next one does not wait.
    let next = udp((SITE, 53), (WAN, outs[0].ports().0), 0).frame();
    lab.through6("wan", next, "red0");
}

#[test]
fn a_neighbor_that_does_not_answer_is_reported_to_the_sender() {
    let mut lab = Lab::new(two_vpcs());
    let nobody = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x99);
    let sent = lab.one("blue0", udp((HOST, 1), (nobody, 1), 0).frame(), "blue0");
    assert_eq!(v6::Ip::of(&sent).ndp().target(), nobody);
    let mut asked = 1;
    let mut errors = Vec::new();
    for _ in 0..4 {
        for sent in lab.wait(Duration::from_secs(1)) {
            let packet = v6::Ip::of(&sent.frame);
            match packet.transport {
                L4::Ndp(_) => asked += 1,
                _ => errors.push(packet),
            }
        }
    }
    assert_eq!((asked, errors.len()), (3, 1));
    assert_eq!(errors[0].error(), Icmpv6Error::AddressUnreachable);
    assert_eq!(errors[0].endpoints(), (BLUE, HOST));
    assert_eq!(lab.gateway.dropped_for(DropReason::NeighborUnreachable), 1);
}

/// The MAC address that an echo reply to this neighbor of red's leaves for; none, where the gateway asks for it first.
fn known_as(lab: &mut Lab, host: Ipv6Addr) -> Option<MacAddress> {
    let reply = lab.through6("red0", echo(host, RED, 1).frame(), "red0");
    match reply.transport {
        L4::Ndp(_) => None,
        _ => Some(reply.link.1),
    }
}

#[test]
fn who_speaks_to_us_is_learned_and_who_does_not_is_not() {
    let mut lab = Lab::new(two_vpcs());
    let unasked = |host, overrides| {
        let message = NdpRepr::Advertisement {
            target: host,
            router: false,
            solicited: false,
            overrides,
            target_link_address: Some(ASKER),
        };
        let mut build = v6::ndp(host, ALL_NODES, message);
        build.link_source = ASKER;
        build.frame()
    };
    // Nobody asked, and nobody knows it.
    lab.dropped("red0", unasked(RED_HOST, true), DropReason::NdpNotForUs);
    let between = solicitation(
        RED_HOST,
        ASKER,
        Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 0x66),
    );
    lab.dropped("red0", between.frame(), DropReason::NdpNotForUs);
    // It asks for us.
    let question = solicitation(RED_HOST, RED_HOST_MAC, RED).frame();
    lab.through6("red0", question, "red0");
    assert_eq!(known_as(&mut lab, RED_HOST), Some(RED_HOST_MAC));
    // By now it is known: what it says of itself counts, if it means it.
    assert_eq!(lab.send("red0", unasked(RED_HOST, false)), []);
    assert_eq!(known_as(&mut lab, RED_HOST), Some(RED_HOST_MAC));
    assert_eq!(lab.send("red0", unasked(RED_HOST, true)), []);
    assert_eq!(known_as(&mut lab, RED_HOST), Some(ASKER));
    // One from another subnet is answered, and not learned.
    let stranger = Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 1);
    lab.gateway.advance(Duration::from_secs(1));
    let mut question = solicitation(stranger, RED_HOST_MAC, RED);
    question.link_source = RED_HOST_MAC;
    lab.through6("red0", question.frame(), "red0");
    let (_, learned) = lab
        .gateway
        .with_tables(|tables| tables.neighbor_counts())
        .expect("tables");
    assert_eq!(learned, 1);
    // Whoever claims an address of ours is not believed.
    let claim = v6::ndp(
        RED,
        RED,
        NdpRepr::Advertisement {
            target: RED,
            router: false,
            solicited: true,
            overrides: true,
            target_link_address: Some(ASKER),
        },
    );
    assert_eq!(lab.send("red0", claim.frame()), []);
    let learned = lab.gateway.with_tables(|tables| tables.neighbor_counts());
    assert_eq!(learned.map(|(_, learned)| learned), Some(1));
}

#[test]
fn messages_that_may_not_be_believed_are_dropped_by_name() {
    let mut lab = Lab::new(two_vpcs());
    let good = || solicitation(HOST, HOST_MAC, BLUE);
    let mut frame = good().frame();
    let last = frame.len() - 1;
    frame[last] ^= 1;
    lab.dropped("blue0", frame, DropReason::NdpMalformed);
    lab.dropped("blue0", good().hops(254).frame(), DropReason::NdpMalformed);
    // In a fragment.
    let mut fragment = vec![0; 8];
    fragment[3] = 1;
    let cut = good().extension(Protocol::FRAGMENT, fragment);
    lab.dropped("blue0", cut.frame(), DropReason::NdpMalformed);
    // From nobody, with an address.
    let message = NdpRepr::Solicitation {
        target: BLUE,
        source_link_address: Some(HOST_MAC),
    };
    for source in [Ipv6Addr::UNSPECIFIED, ALL_NODES, Ipv6Addr::LOCALHOST] {
        let mut build = v6::ndp(source, solicited_node(BLUE), message);
        build.link_source = HOST_MAC;
        lab.dropped("blue0", build.frame(), DropReason::NdpMalformed);
    }
    // Router solicitation, router advertisement, redirect, listener reports of both versions.
    for message_type in [133, 134, 137, 131, 143] {
        let message = Icmpv6Repr::Other {
            message_type,
            code: 0,
            rest: 0,
        };
        let destination = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
        let build = icmp(HOST_LINK_LOCAL, destination, message, &[0; 16]).hops(255);
        lab.dropped("blue0", build.frame(), DropReason::NdpNotForUs);
    }
    // None of it is forwarded, not even where somebody wants that.
    let message = NdpRepr::Solicitation {
        target: SITE,
        source_link_address: Some(HOST_MAC),
    };
    let stranger = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x55);
    let away = v6::ndp(stranger, SITE, message);
    lab.dropped("blue0", away.frame(), DropReason::NdpNotForUs);
}
