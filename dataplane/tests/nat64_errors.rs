//! ICMP errors through NAT64, and what the gateway itself says of packets that it does not translate.

mod support;

use std::net::Ipv4Addr;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::ipv4::Ipv4View;
use support::nat64::{EXTERNAL, ROUTER, behind, document, down, up};
use support::v6::{self, BLUE, HOST};
use support::{Ip, L4, Lab, SITE, WAN, json};

#[test]
fn errors_from_ipv4_reach_the_client_about_what_it_sent() {
    let mut lab = Lab::new(document());
    let sent = v6::udp((HOST, 4000), (behind(SITE), 33434), 40);
    let out = lab.one("blue0", sent.clone().frame(), "wan");
    let quote = &out[14..];
    for (error, becomes) in [
        (Icmpv4Error::TtlExceeded, Icmpv6Error::HopLimitExceeded),
        (Icmpv4Error::PortUnreachable, Icmpv6Error::PortUnreachable),
        (
            Icmpv4Error::FragmentationNeeded { next_hop_mtu: 1300 },
            Icmpv6Error::PacketTooBig { mtu: 1320 },
        ),
    ] {
        let message = support::icmp(ROUTER, EXTERNAL, Icmpv4Repr::Error(error), quote);
        let heard = up(&mut lab, message.frame());
        assert_eq!(heard.endpoints(), (behind(ROUTER), HOST));
        let v6::L4::Icmp(Icmpv6Repr::Error(error), quoted) = heard.transport else {
            panic!("{heard:?}")
        };
        assert_eq!(error, becomes);
        // But for the hop that it has come.
        let mut expected = sent.packet();
        expected[7] -= 1;
        assert_eq!(quoted, expected);
    }
    // About what nobody sent.
    let mut stranger = quote.to_vec();
    stranger[20] ^= 1;
    let error = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let message = support::icmp(ROUTER, EXTERNAL, error, &stranger);
    lab.dropped("wan", message.frame(), DropReason::IcmpErrorUnrelated);
}

#[test]
fn errors_from_ipv6_reach_the_server() {
    let mut lab = Lab::new(document());
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    let sent = support::udp((SITE, 53), (EXTERNAL, 4000), 40);
    let delivered = lab.one("wan", sent.clone().frame(), "blue0");
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = v6::icmp(HOST, behind(SITE), error, &delivered[14..]);
    let heard = down(&mut lab, message.frame());
    assert_eq!(heard.endpoints(), (EXTERNAL, SITE));
    let L4::Icmp(Icmpv4Repr::Error(Icmpv4Error::PortUnreachable), quoted) = heard.transport else {
        panic!("{heard:?}")
    };
    let mut expected = sent.ttl(63).packet();
    // Whether it might be fragmented, IPv6 does not say.
    expected[6..8].copy_from_slice(&quoted[6..8]);
    Ipv4View::new_checked(&mut expected[..])
        .unwrap()
        .fill_checksum();
    assert_eq!(quoted, expected);
}

/// An error that quotes the far side's addresses as the table has them is nobody's.
#[test]
fn errors_that_quote_what_is_on_no_wire_are_unrelated() {
    let mut document = document();
    // Clients and the pool in one VPC, so that the key of the far side is in reach.
    document["nat"]["pools"]["near"] = json!({ "vpc": "blue", "ranges": ["203.0.113.90"] });
    document["nat"]["nat64"]["own"]["pool"] = json!("near");
    document["vpcs"]["blue"]["routes"]["198.51.100.0/24"] =
        json!({ "next_hops": [{ "interface": "blue0", "via": "10.1.0.10" }] });
    let mut lab = Lab::new(document);
    let out = lab.through(
        "blue0",
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
        "blue0",
    );
    let (external, site) = (out.source.to_ipv6_mapped(), SITE.to_ipv6_mapped());
    let quoted = v6::udp((external, out.ports().0), (site, 53), 0).packet();
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = v6::icmp(HOST, BLUE, error, &quoted);
    lab.dropped("blue0", message.frame(), DropReason::IcmpErrorUnrelated);
}

/// What the gateway itself refuses on the way in IPv4, it says in IPv6.
#[test]
fn the_gateway_speaks_to_the_client_in_its_own_family() {
    let mut lab = Lab::new(document());
    let last = v6::udp((HOST, 4000), (behind(SITE), 53), 0).hops(1);
    let answer = lab.through6("blue0", last.frame(), "blue0");
    assert_eq!(
        (answer.endpoints(), answer.error()),
        ((BLUE, HOST), Icmpv6Error::HopLimitExceeded)
    );
    // 1,430 bytes of IPv6 are 1,410 of IPv4, and the link takes 1,400.
    let large = v6::udp((HOST, 4000), (behind(SITE), 53), 1382);
    let answer = lab.through6("blue0", large.frame(), "blue0");
    assert_eq!(answer.error(), Icmpv6Error::PacketTooBig { mtu: 1420 });
    let nowhere = v6::udp((HOST, 4000), (behind(Ipv4Addr::new(9, 9, 9, 9)), 53), 0);
    let answer = lab.through6("blue0", nowhere.frame(), "blue0");
    assert_eq!(answer.error(), Icmpv6Error::NoRoute);
    // Nothing of it is left.
    assert_eq!(
        (
            lab.gateway.totals().connections,
            lab.gateway.totals().mappings
        ),
        (0, 0)
    );
}

#[test]
fn the_gateway_speaks_to_the_server_in_its_own_family() {
    let mut lab = Lab::new(document());
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    let last = support::udp((SITE, 53), (EXTERNAL, 4000), 0).ttl(1);
    let answer = lab.through("wan", last.frame(), "wan");
    let error = |ip: &Ip| match ip.transport {
        L4::Icmp(Icmpv4Repr::Error(error), _) => error,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(
        (answer.endpoints(), error(&answer)),
        ((WAN, SITE), Icmpv4Error::TtlExceeded)
    );
}
