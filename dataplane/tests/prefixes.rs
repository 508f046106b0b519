//! Whole prefixes translated into others: of IPv4 and IPv6 address by address, and as NPTv6 (RFC 6296).

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::tcp::TcpFlags;
use serde_json::{Value, json};
use support::v6::{self, HOST, L4, SITE, UPSTREAM, WAN};
use support::{HOST_MAC, Lab, two_vpcs};

/// The prefixes of RFC 6296, section 3.6.
const INTERNAL: &str = "fd01:203:405::/48";
const EXTERNAL: &str = "2001:db8:1::/48";

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// Blue has more networks behind its host; `rule` is a static translation of theirs.
fn with(rule: Value) -> Value {
    let mut document = two_vpcs();
    let behind = json!({ "next_hops": [{ "interface": "blue0", "via": "fd00:1::10" }] });
    document["vpcs"]["blue"]["routes"]["fd01::/16"] = behind;
    let behind = json!({ "next_hops": [{ "interface": "blue0", "via": "10.1.0.10" }] });
    document["vpcs"]["blue"]["routes"]["10.64.0.0/10"] = behind;
    document["nat"]["static"]["whole"] =
        json!({ "external_vpc": "internet", "internal_vpc": "blue" });
    for (field, value) in rule.as_object().expect("fields") {
        document["nat"]["static"]["whole"][field] = value.clone();
    }
    document
}

fn nptv6(internal: &str, external: &str) -> Value {
    with(json!({ "external_address": external, "internal_address": internal, "nptv6": true }))
}

/// All behind the addresses of an IPv6 packet in an Ethernet frame.
fn behind_addresses(frame: &[u8]) -> &[u8] {
    &frame[14 + 40..]
}

#[test]
fn nptv6_changes_addresses_and_nothing_behind_them() {
    let mut lab = Lab::new(nptv6(INTERNAL, EXTERNAL));
    // RFC 6296, section 3.6.
    let (inside, outside) = (
        address("fd01:203:405:1::1234"),
        address("2001:db8:1:d550::1234"),
    );
    for frame in [
        v6::udp((inside, 4000), (SITE, 53), 20).frame(),
        v6::tcp((inside, 4000), (SITE, 80), TcpFlags::SYN).frame(),
        v6::echo(inside, SITE, 7).frame(),
    ] {
        let sent = lab.one("blue0", frame.clone(), "wan");
        assert_eq!(v6::Ip::of(&sent).endpoints(), (outside, SITE));
        // Ports and identifiers as well as checksums.
        assert_eq!(behind_addresses(&sent), behind_addresses(&frame));
    }
    // Whoever is outside begins as well.
    let inward = v6::udp((SITE, 99), (outside, 5000), 20).frame();
    let came = lab.one("wan", inward.clone(), "blue0");
    assert_eq!(v6::Ip::of(&came).endpoints(), (SITE, inside));
    assert_eq!(v6::Ip::of(&came).link.1, HOST_MAC);
    assert_eq!(behind_addresses(&came), behind_addresses(&inward));
}

#[test]
fn nptv6_of_long_prefixes_of_different_lengths() {
    let mut lab = Lab::new(nptv6(INTERNAL, "2001:db8:1:ff00::/56"));
    let (inside, outside) = (
        address("fd01:203:405:1::1234"),
        address("2001:db8:1:ff01:d64e::1234"),
    );
    let out = lab.through6("blue0", v6::udp((inside, 1), (SITE, 2), 9).frame(), "wan");
    assert_eq!(out.endpoints(), (outside, SITE));
    let back = lab.through6("wan", v6::udp((SITE, 2), (outside, 1), 9).frame(), "blue0");
    assert_eq!(back.endpoints(), (SITE, inside));
    // A subnet that the external prefix has no room for.
    let beyond = v6::udp((address("fd01:203:405:100::1"), 1), (SITE, 2), 9);
    refused(&mut lab, "blue0", beyond.frame());
}

fn refused(lab: &mut Lab, from: &str, frame: Vec<u8>) {
    let before = lab.drops();
    let answer = lab.through6(from, frame, from);
    assert_eq!(answer.error(), Icmpv6Error::AddressUnreachable);
    let count = |drops: &[(DropReason, u64)]| {
        let is_it = |(reason, _): &&(DropReason, u64)| *reason == DropReason::NatPrefixUnmapped;
        drops.iter().find(is_it).map_or(0, |(_, count)| *count)
    };
    assert_eq!(count(&lab.drops()), count(&before) + 1);
}

#[test]
fn what_nptv6_has_no_address_for_is_refused() {
    let mut lab = Lab::new(nptv6(INTERNAL, EXTERNAL));
    let ones = v6::udp((address("fd01:203:405:ffff::1"), 1), (SITE, 2), 9);
    refused(&mut lab, "blue0", ones.frame());
    let ones = v6::udp((SITE, 2), (address("2001:db8:1:ffff::1"), 1), 9);
    refused(&mut lab, "wan", ones.frame());
    assert_eq!(lab.gateway.totals().connections, 0);
}

#[test]
fn errors_about_translated_packets_find_back_and_hide_the_inside() {
    let mut lab = Lab::new(nptv6(INTERNAL, EXTERNAL));
    let (inside, outside) = (
        address("fd01:203:405:1::1234"),
        address("2001:db8:1:d550::1234"),
    );
    let out = v6::udp((inside, 4000), (SITE, 33434), 12);
    let sent = lab.send("blue0", out.frame());
    let error = Icmpv6Repr::Error(Icmpv6Error::PacketTooBig { mtu: 1300 });
    let message = v6::icmp(UPSTREAM, outside, error, &sent[0].frame[14..]);
    let back = lab.through6("wan", message.frame(), "blue0");
    assert_eq!(back.endpoints(), (UPSTREAM, inside));
    let L4::Icmp(_, quote) = &back.transport else {
        panic!("{back:?}")
    };
    assert_eq!(quote[..], out.clone().hops(63).packet()[..]);
    // The other way: from a host inside about what came in.
    let came = lab.send("wan", v6::udp((SITE, 99), (outside, 5000), 4).frame());
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = v6::icmp(inside, SITE, error, &came[0].frame[14..]);
    let out = lab.through6("blue0", message.frame(), "wan");
    assert_eq!(out.endpoints(), (outside, SITE));
}

#[test]
fn nptv6_turns_hairpins_round() {
    let mut lab = Lab::new(nptv6(INTERNAL, EXTERNAL));
    let (one, other) = (address("fd01:203:405:1::1"), address("fd01:203:405:2::2"));
    let (one_outside, other_outside) =
        (address("2001:db8:1:d550::1"), address("2001:db8:1:d551::2"));
    let there = v6::udp((one, 1), (other_outside, 2), 3).frame();
    let there = lab.through6("blue0", there, "blue0");
    assert_eq!(there.endpoints(), (one_outside, other));
    let back = v6::udp((other, 2), (one_outside, 1), 3).frame();
    let back = lab.through6("blue0", back, "blue0");
    assert_eq!(back.endpoints(), (other_outside, one));
    assert_eq!(lab.gateway.totals().connections, 1);
}

#[test]
fn a_prefix_of_millions_is_translated_address_by_address() {
    let rule = json!({ "external_address": "100.64.0.0/10", "internal_address": "10.64.0.0/10" });
    let mut lab = Lab::new(with(rule));
    for (inside, outside) in [
        ([10, 64, 0, 0], [100, 64, 0, 0]),
        ([10, 100, 3, 7], [100, 100, 3, 7]),
        ([10, 127, 255, 255], [100, 127, 255, 255]),
    ] {
        let [inside, outside] = [inside, outside].map(Ipv4Addr::from);
        let frame = support::udp((inside, 4000), (support::SITE, 53), 8).frame();
        let out = lab.through("blue0", frame, "wan");
        assert_eq!(out.endpoints(), (outside, support::SITE));
        assert_eq!(out.ports(), (4000, 53));
        let frame = support::tcp((support::SITE, 9), (outside, 80), TcpFlags::SYN).frame();
        let came = lab.through("wan", frame, "blue0");
        assert_eq!(came.endpoints(), (support::SITE, inside));
    }
    // Beyond it, others have their say.
    let frame = support::udp((support::HOST, 4000), (support::SITE, 53), 8).frame();
    assert_eq!(lab.through("blue0", frame, "wan").source, support::WAN);
}

#[test]
fn prefixes_of_ipv6_without_nptv6_keep_the_place() {
    let rule = json!({ "external_address": "2001:db8:2::/48", "internal_address": "fd01:2::/48" });
    let mut lab = Lab::new(with(rule));
    let (inside, outside) = (address("fd01:2:0:5::77"), address("2001:db8:2:5::77"));
    let out = lab.through6("blue0", v6::udp((inside, 1), (SITE, 2), 3).frame(), "wan");
    assert_eq!(out.endpoints(), (outside, SITE));
    let back = lab.through6("wan", v6::udp((SITE, 2), (outside, 1), 3).frame(), "blue0");
    assert_eq!(back.endpoints(), (SITE, inside));
    // All others of blue are masqueraded.
    let other = lab.through6("blue0", v6::udp((HOST, 1), (SITE, 2), 3).frame(), "wan");
    assert_eq!(other.source, WAN);
}

#[test]
fn a_connection_ends_with_the_mapping_that_it_has_and_goes_on_with_the_same_one() {
    let mut lab = Lab::new(nptv6(INTERNAL, EXTERNAL));
    let inside = address("fd01:203:405:1::1234");
    let outward = || v6::udp((inside, 4000), (SITE, 53), 20).frame();
    lab.through6("blue0", outward(), "wan");
    let resolved = |lab: &Lab| {
        let totals = lab.gateway.totals();
        (totals.connections_kept, totals.connections_ended_by_policy)
    };
    let mut same = nptv6(INTERNAL, EXTERNAL);
    same["nat"]["port_forward"] = json!({});
    lab.commit(same);
    lab.through6("blue0", outward(), "wan");
    assert_eq!(resolved(&lab), (1, 0));
    // Another external prefix: the next packet begins anew.
    lab.commit(nptv6(INTERNAL, "2001:db8:2::/48"));
    let out = lab.through6("blue0", outward(), "wan");
    assert_eq!(out.source, address("2001:db8:2:d54f::1234"));
    assert_eq!(resolved(&lab), (1, 1));
    let old = v6::udp((SITE, 53), (address("2001:db8:1:d550::1234"), 4000), 1);
    lab.through6("wan", old.frame(), "wan");
}

#[test]
fn an_error_from_outside_finds_its_way_through_a_prefix_of_ipv4() {
    let rule = json!({ "external_address": "100.64.0.0/10", "internal_address": "10.64.0.0/10" });
    let mut lab = Lab::new(with(rule));
    let (inside, outside) = (Ipv4Addr::new(10, 65, 2, 3), Ipv4Addr::new(100, 65, 2, 3));
    let out = support::udp((inside, 4000), (support::SITE, 33434), 12);
    let sent = lab.send("blue0", out.frame());
    let error = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let message = support::icmp(support::SITE, outside, error, &sent[0].frame[14..]);
    let back = lab.through("wan", message.frame(), "blue0");
    assert_eq!(back.endpoints(), (support::SITE, inside));
}
