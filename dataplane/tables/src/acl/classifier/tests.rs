use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::CROWD;
use crate::VpcIndex;
use crate::acl::code_path::Instructions;
use crate::acl::samples::{allow, key, v4};
use crate::acl::{
    Acl, AclAction, AclDecision, AclDefault, AclFamily, AclKey, AclRule, AclScope, AddressRanges,
    NO_PORT, PacketPattern, PortRange,
};

/// Where ranges begin and end, and packets come from: few, so that they meet.
const V4: &[u32] = &[
    0,
    1,
    0x0a00_0000,
    0x0a00_0001,
    0x0a00_00ff,
    0x0a00_0100,
    0x0a00_01ff,
    0x0aff_ffff,
    0x0b00_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xc0a8_0001,
    0xffff_fffe,
    u32::MAX,
];
const PORTS: &[u16] = &[
    0, 1, 22, 53, 79, 80, 81, 255, 256, 1023, 1024, 0x0800, 65534, 65535,
];

fn v6(bits: u32) -> Ipv6Addr {
    // The same corners, spread over the whole width.
    let bits = u128::from(bits);
    Ipv6Addr::from_bits(bits << 96 | (bits & 0xff) << 60 | bits & 0xffff)
}

fn range() -> impl Strategy<Value = RangeInclusive<IpAddr>> {
    let prefix = (select(V4), 0u32..=32).prop_map(|(address, length)| {
        let host = u32::MAX.checked_shr(length).unwrap_or_default();
        (address & !host, address | host)
    });
    let range = (select(V4), select(V4)).prop_map(|(a, b)| (a.min(b), a.max(b)));
    (prop_oneof![3 => prefix, 1 => range], any::<bool>()).prop_map(|((first, last), is_v4)| {
        match is_v4 {
            true => v4(first, last),
            false => v6(first).into()..=v6(last).into(),
        }
    })
}

fn addresses() -> impl Strategy<Value = Option<Arc<AddressRanges>>> {
    let some =
        |number| vec(range(), number).prop_map(|ranges| Some(Arc::new(AddressRanges::new(ranges))));
    prop_oneof![2 => Just(None), 6 => some(0..4), 1 => some(30..60)]
}

fn ports() -> impl Strategy<Value = Box<[PortRange]>> {
    let range = (select(PORTS), select(PORTS)).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let one = select(PORTS).prop_map(|port| (port, port));
    let some = vec(prop_oneof![one, range], 1..3);
    prop_oneof![2 => Just(Box::default()), 3 => some.prop_map(Into::into)]
}

fn pattern() -> impl Strategy<Value = PacketPattern> {
    let protocol = prop_oneof![Just(None), select(&[1u8, 6, 17, 58][..]).prop_map(Some)];
    (protocol, ports(), ports()).prop_map(|(protocol, source_ports, destination_ports)| {
        PacketPattern {
            protocol,
            source_ports,
            destination_ports,
        }
    })
}

fn vpc() -> impl Strategy<Value = Option<VpcIndex>> {
    prop_oneof![4 => Just(None), 1 => (0u16..3).prop_map(|vpc| Some(VpcIndex(vpc)))]
}

fn rule() -> impl Strategy<Value = Arc<AclRule>> {
    let decision = (
        select(&[AclAction::Allow, AclAction::Deny, AclAction::Reject][..]),
        select(&[AclScope::Flow, AclScope::Packet][..]),
        any::<bool>(),
    );
    let patterns =
        prop_oneof![8 => vec(pattern(), 1..3), 1 => vec(pattern(), 20..30), 1 => Just(Vec::new())];
    (decision, vpc(), vpc(), addresses(), addresses(), patterns).prop_map(
        |((action, scope, log), from, to, sources, destinations, packets)| {
            Arc::new(AclRule {
                decision: AclDecision { action, scope, log },
                from,
                to,
                sources,
                destinations,
                packets: packets.into(),
            })
        },
    )
}

/// A packet, as places in the lists of corners.
fn packet() -> impl Strategy<Value = (AclKey<Ipv4Addr>, AclKey<Ipv6Addr>)> {
    let port = || prop_oneof![4 => select(PORTS).prop_map(u32::from), 1 => Just(NO_PORT)];
    let protocol = select(&[1u8, 6, 17, 47, 58][..]);
    (
        select(V4),
        select(V4),
        protocol,
        port(),
        port(),
        0u16..3,
        vpc(),
    )
        .prop_map(
            |(source, destination, protocol, source_port, destination_port, from, to)| {
                let key = AclKey {
                    from: VpcIndex(from),
                    to,
                    source: Ipv4Addr::from(source),
                    destination: Ipv4Addr::from(destination),
                    protocol,
                    source_port,
                    destination_port,
                };
                let key6 = AclKey {
                    source: v6(source),
                    destination: v6(destination),
                    from: key.from,
                    to,
                    protocol,
                    source_port,
                    destination_port,
                };
                (key, key6)
            },
        )
}

/// The oracle: every rule is tried in turn.
fn agrees<A: AclFamily>(acl: &Acl, keys: &[AclKey<A>]) -> Result<(), TestCaseError> {
    for key in keys {
        prop_assert_eq!(acl.lookup(key), acl.scan(key), "{:?}", key);
    }
    let mut together = Vec::new();
    acl.lookup_batch(keys, |index, verdict| together.push((index, verdict)));
    let one_by_one: Vec<_> = keys.iter().map(|key| acl.lookup(key)).enumerate().collect();
    prop_assert_eq!(&together, &one_by_one);
    let mut portable = Vec::new();
    A::classifier(acl).find_batch_by(Instructions::Portable, keys, |_, found| {
        portable.push(found.map(|(sequence, _)| sequence));
    });
    let rules: Vec<_> = one_by_one.iter().map(|(_, verdict)| verdict.rule).collect();
    prop_assert_eq!(portable, rules, "on every processor");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("REWIRE_ACLS").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
    ))]

    #[test]
    fn equals_a_linear_scan_after_every_change(
        changes in vec((0u32..40, prop::option::weighted(0.7, rule())), 1..80),
        packets in vec(packet(), 1..64),
    ) {
        let (keys4, keys6): (Vec<_>, Vec<_>) = packets.into_iter().unzip();
        let mut acl = Acl::new("a".into(), AclDefault::Deny);
        for (sequence, change) in changes {
            match change {
                Some(rule) => acl.set_rule(sequence, rule),
                None => acl.remove_rule(sequence),
            }
            agrees(&acl, &keys4)?;
            agrees(&acl, &keys6)?;
        }
        let packet_rules = acl.rules().filter(|(_, rule)| rule.decision.scope == AclScope::Packet);
        prop_assert_eq!(acl.has_packet_rules(), packet_rules.count() > 0);
        let sequences: Vec<u32> = acl.rules().map(|(sequence, _)| sequence).collect();
        for sequence in sequences {
            acl.remove_rule(sequence);
            agrees(&acl, &keys4)?;
        }
        prop_assert_eq!(acl.memory(), Acl::default().memory(), "nothing is left behind");
    }

    #[test]
    fn sets_of_addresses_are_what_was_put_in(ranges in vec(range(), 0..40)) {
        let set = AddressRanges::new(ranges.clone());
        for &corner in V4 {
            for address in [IpAddr::from(Ipv4Addr::from(corner)), v6(corner).into()] {
                let holds = match address {
                    IpAddr::V4(address) => set.contains(address),
                    IpAddr::V6(address) => set.contains(address),
                };
                prop_assert_eq!(holds, ranges.iter().any(|range| range.contains(&address)));
            }
        }
        let kept: Vec<_> = set.iter().collect();
        for pair in kept.windows(2) {
            prop_assert!(pair[0].end() < pair[1].start());
        }
    }
}

fn hosts(number: u32, step: u32) -> Vec<RangeInclusive<IpAddr>> {
    let host = |n: u32| 0x0a00_0000 + n * step;
    (0..number).map(|n| v4(host(n), host(n))).collect()
}

#[test]
fn large_sets_on_both_sides_do_not_multiply() {
    let mut acl = Acl::new("a".into(), AclDefault::Deny);
    let rule = allow(
        Some(hosts(3000, 2)),
        Some(hosts(5000, 3)),
        PacketPattern::default(),
    );
    acl.set_rule(10, rule.into());
    assert!(acl.v4.boxes <= 5000);
    for (source, destination) in [
        (0, 0),
        (2, 3),
        (1, 3),
        (2, 4),
        (5998, 14_997),
        (6000, 3),
        (2, 15_000),
    ] {
        let key = key(0x0a00_0000 + source, 0x0a00_0000 + destination);
        assert_eq!(acl.lookup(&key), acl.scan(&key), "{key:?}");
    }
}

#[test]
fn many_rules_of_a_kind_share_few_tables() {
    let mut acl = Acl::new("a".into(), AclDefault::Deny);
    for n in 0..4000u32 {
        let source = 0x0a00_0000 + n;
        let length = 8 + n % 17;
        let host = u32::MAX >> length;
        let network = (n.wrapping_mul(0x9e37_79b9)) & !host;
        let pattern = PacketPattern {
            protocol: Some(6),
            ..PacketPattern::default()
        };
        let destination = v4(network, network | host);
        let rule = allow(
            Some(vec![v4(source, source)]),
            Some(vec![destination]),
            pattern,
        );
        acl.set_rule(n, rule.into());
    }
    assert!(acl.v4.table_count() <= 12, "{}", acl.v4.table_count());
    for n in 0..4000 {
        let key = key(0x0a00_0000 + n, n.wrapping_mul(0x9e37_79b9));
        assert_eq!(acl.lookup(&key).rule, Some(n));
    }
}

#[test]
fn rules_that_nothing_tells_apart_are_found_in_order() {
    let mut acl = Acl::new("a".into(), AclDefault::Deny);
    let numbers = 8 * CROWD as u32;
    for n in (0..numbers).rev() {
        let pattern = PacketPattern {
            protocol: Some(6),
            destination_ports: [(n as u16, 60_000)].into(),
            ..PacketPattern::default()
        };
        acl.set_rule(n, allow(None, None, pattern).into());
    }
    assert_eq!(acl.lookup(&key(1, 2)).rule, Some(0));
    for n in 0..numbers {
        acl.remove_rule(n);
        let expected = (n + 1 < numbers).then_some(n + 1);
        assert_eq!(acl.lookup(&key(1, 2)).rule, expected);
    }
}
