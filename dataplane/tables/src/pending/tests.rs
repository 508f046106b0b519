use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;
use rewire_packet::ethernet::MacAddress;

use super::*;
use crate::acl::{
    AclAction, AclDecision, AclDefault, AclRule, AclScope, PacketPattern, RuleCounter,
};
use crate::limits::ConnectionLimits;
use crate::nat::{Condition, Exclusion, Masquerade, MasqueradeList, PortForward, StaticNat};
use crate::route::Route;
use crate::tables::{Interface, Tables};
use crate::timeouts::VpcTimeouts;

/// A prefix of few, with bits behind its length.
fn prefix() -> impl Strategy<Value = IpNet> {
    let text = ["10.0.0.0/8", "10.1.2.3/8", "10.0.0.0/16", "2001:db8::/32"];
    prop::sample::select(text.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn address() -> impl Strategy<Value = IpAddr> {
    (1u8..3).prop_map(|last| [192, 0, 2, last].into())
}

/// One address, or 256 of them.
fn block(first: u8, last: u8) -> IpNet {
    let length = if last == 1 { 24 } else { 32 };
    IpNet::new([first, 0, last, 0].into(), length).unwrap()
}

/// Operations on so few things that most of them meet.
pub(crate) fn operation() -> impl Strategy<Value = TableOperation> {
    use TableOperation as Op;
    let vpc = || (0u16..3).prop_map(VpcIndex);
    let interface = || (0u16..3).prop_map(InterfaceIndex);
    let peering = || (0u16..3).prop_map(PeeringIndex);
    let mac = || (0u8..4).prop_map(|last| MacAddress([2, 0, 0, 0, 0, last]));
    let name = || prop::sample::select(vec!["a", "b"]).prop_map(Arc::<str>::from);
    let rule = move || {
        name().prop_map(|name| MasqueradeList::from([Arc::new(Masquerade::new(name, Vec::new()))]))
    };
    let forward = || {
        (vpc(), address(), 0u16..2).prop_map(|(vpc, address, port)| PortForwardKey {
            vpc,
            protocol: 6,
            address,
            port,
        })
    };
    let route = prop::sample::select(vec![Route::Local, Route::Blackhole, Route::Unreachable]);
    // As the compiler makes them, every translation has addresses of its own.
    let translation = || {
        (1u8..4, name()).prop_map(|(last, name)| {
            Arc::new(StaticNat {
                name,
                external_vpc: VpcIndex(0),
                external: block(203, last),
                internal_vpc: VpcIndex(1),
                internal: block(10, last),
                nptv6: false,
                idle_timeout: None,
                peering: None,
            })
        })
    };
    let routes = prop_oneof![
        (vpc(), prefix(), route).prop_map(|(vpc, prefix, route)| Op::SetRoute {
            vpc,
            prefix,
            route
        }),
        (vpc(), prefix()).prop_map(|(vpc, prefix)| Op::RemoveRoute { vpc, prefix }),
        (vpc(), prefix(), 1u8..4).prop_map(|(vpc, prefix, distance)| Op::SetRouteDistance {
            vpc,
            prefix,
            distance
        }),
        (vpc(), prefix()).prop_map(|(vpc, prefix)| Op::RemoveRouteDistance { vpc, prefix }),
    ];
    let owners = prop_oneof![
        Just(Op::Clear),
        any::<u64>().prop_map(|revision| Op::SetRevision { revision }),
        (vpc(), name()).prop_map(|(vpc, name)| Op::SetVpc { vpc, name }),
        vpc().prop_map(|vpc| Op::RemoveVpc { vpc }),
        (vpc(), prop::option::of(1u32..3)).prop_map(|(vpc, most)| Op::SetConnectionLimits {
            vpc,
            limits: ConnectionLimits {
                most: most.and_then(NonZeroU32::new),
                most_per_source: None,
            },
        }),
        vpc().prop_map(|vpc| Op::RemoveConnectionLimits { vpc }),
        (interface(), vpc(), name()).prop_map(|(interface, vpc, name)| Op::SetInterface {
            interface,
            value: Arc::new(Interface {
                name,
                vpc,
                mac: MacAddress([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                addresses: Vec::new(),
                acl_in: None,
                acl_out: None,
            }),
        }),
        interface().prop_map(|interface| Op::RemoveInterface { interface }),
        (
            peering(),
            name(),
            prop::option::of((0u16..2).prop_map(AclIndex))
        )
            .prop_map(|(peering, name, acl)| Op::SetPeering { peering, name, acl }),
        peering().prop_map(|peering| Op::RemovePeering { peering }),
    ];
    let neighbors = prop_oneof![
        (interface(), address(), mac()).prop_map(|(interface, address, mac)| Op::SetNeighbor {
            interface,
            address,
            mac
        }),
        (interface(), address())
            .prop_map(|(interface, address)| Op::RemoveNeighbor { interface, address }),
        (interface(), address(), mac()).prop_map(|(interface, address, mac)| Op::LearnNeighbor {
            interface,
            address,
            mac
        }),
        (interface(), address())
            .prop_map(|(interface, address)| Op::ForgetNeighbor { interface, address }),
    ];
    let nat = prop_oneof![
        (forward(), vpc(), name()).prop_map(|(key, vpc, name)| Op::SetPortForward {
            key,
            value: PortForward {
                name,
                vpc,
                address: [10, 0, 0, 1].into(),
                port: 80,
                sources: None,
                idle_timeout: None,
                peering: None,
            },
        }),
        forward().prop_map(|key| Op::RemovePortForward { key }),
        translation().prop_map(|value| Op::SetStaticNat { value }),
        translation().prop_map(|value| Op::RemoveStaticNat { value }),
        (vpc(), interface(), prefix(), rule()).prop_map(|(vpc, interface, source, rules)| {
            Op::SetMasquerade {
                vpc,
                interface,
                source,
                rules,
            }
        }),
        (vpc(), interface(), prefix()).prop_map(|(vpc, interface, source)| {
            Op::RemoveMasquerade {
                vpc,
                interface,
                source,
            }
        }),
    ];
    let exclusions = prop_oneof![
        (vpc(), prop::collection::vec((name(), interface()), 1..3)).prop_map(|(vpc, rules)| {
            let rule = |(name, interface)| Exclusion {
                name,
                interface: Some(interface),
                condition: Condition {
                    sources: None,
                    destinations: None,
                    packets: [PacketPattern::default()].into(),
                },
            };
            Op::SetExclusions {
                vpc,
                rules: rules.into_iter().map(rule).collect(),
            }
        }),
        vpc().prop_map(|vpc| Op::RemoveExclusions { vpc }),
        (vpc(), 0u64..2).prop_map(|(vpc, seconds)| Op::SetTimeouts {
            vpc,
            timeouts: Arc::new(VpcTimeouts {
                other: Some(std::time::Duration::from_secs(seconds)),
                ..VpcTimeouts::default()
            }),
        }),
        vpc().prop_map(|vpc| Op::RemoveTimeouts { vpc }),
    ];
    let peerings = prop_oneof![
        (peering(), vpc(), prefix(), any::<bool>()).prop_map(|(peering, vpc, prefix, admitted)| {
            Op::SetSender {
                peering,
                vpc,
                prefix,
                admitted,
            }
        }),
        (peering(), vpc(), prefix()).prop_map(|(peering, vpc, prefix)| Op::RemoveSender {
            peering,
            vpc,
            prefix
        }),
        (peering(), vpc(), prefix(), rule()).prop_map(|(peering, vpc, source, rules)| {
            Op::SetPeeringMasquerade {
                peering,
                vpc,
                source,
                rules,
            }
        }),
        (peering(), vpc(), prefix()).prop_map(|(peering, vpc, source)| {
            Op::RemovePeeringMasquerade {
                peering,
                vpc,
                source,
            }
        }),
    ];
    let acl = || (0u16..3).prop_map(AclIndex);
    let acls = prop_oneof![
        (acl(), name(), any::<bool>()).prop_map(|(acl, name, allow)| Op::SetAcl {
            acl,
            name,
            default: if allow {
                AclDefault::Allow
            } else {
                AclDefault::Deny
            },
            counter: RuleCounter::NONE,
        }),
        acl().prop_map(|acl| Op::RemoveAcl { acl }),
        (acl(), 0u32..3, any::<bool>()).prop_map(|(acl, sequence, log)| Op::SetAclRule {
            acl,
            sequence,
            rule: Arc::new(acl_rule(log)),
            counter: RuleCounter::NONE,
        }),
        (acl(), 0u32..3).prop_map(|(acl, sequence)| Op::RemoveAclRule { acl, sequence }),
    ];
    prop_oneof![3 => routes, 2 => owners, 2 => neighbors, 2 => nat, 1 => exclusions, 2 => peerings, 2 => acls]
}

fn acl_rule(log: bool) -> AclRule {
    AclRule {
        decision: AclDecision {
            action: AclAction::Deny,
            scope: AclScope::Flow,
            log,
        },
        from: None,
        to: None,
        sources: None,
        destinations: None,
        packets: Arc::new([]),
    }
}

/// All that the tables say.
pub(crate) fn contents(
    tables: &Tables,
) -> (Vec<String>, Vec<(InterfaceIndex, IpAddr, MacAddress)>, u64) {
    let learned = tables.learned_neighbors.iter();
    let mut learned: Vec<_> = learned
        .map(|((interface, address), mac)| (*interface, *address, *mac))
        .collect();
    learned.sort_unstable();
    (tables.canonical_lines(), learned, tables.revision())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// From whatever tables, and more than once, as when a publication is late for long.
    #[test]
    fn what_is_left_leads_where_all_of_it_led(
        before in prop::collection::vec(operation(), 0..40),
        batches in prop::collection::vec(prop::collection::vec(operation(), 0..30), 1..4),
    ) {
        let mut plain = Tables::default();
        before.iter().for_each(|operation| plain.apply(operation));
        let mut compacted = plain.clone();
        let mut left = Vec::new();
        for batch in batches {
            batch.iter().for_each(|operation| plain.apply(operation));
            left.extend(batch);
            compact(&mut left);
            let keys: HashSet<Key> = left.iter().map(Key::of).collect();
            prop_assert_eq!(keys.len(), left.len(), "one operation a key");
        }
        left.iter().for_each(|operation| compacted.apply(operation));
        prop_assert_eq!(contents(&plain), contents(&compacted));
    }
}

#[test]
fn memory_is_bounded_by_what_changes_however_often_it_does() {
    const PREFIXES: u32 = 40_000;
    let mut pending = Pending::default();
    let mut plain = Tables::default();
    let mut most = 0;
    // A session that flaps: all prefixes come and go, eight times.
    for step in 0..8 * PREFIXES {
        let prefix = ipnet::Ipv4Net::new(((step % PREFIXES) << 8).into(), 24).unwrap();
        let (vpc, prefix) = (VpcIndex(0), prefix.into());
        let operation = match step / PREFIXES % 2 {
            0 => TableOperation::SetRoute {
                vpc,
                prefix,
                route: Route::Blackhole,
            },
            _ if step % 3 == 0 => TableOperation::RemoveRoute { vpc, prefix },
            _ => TableOperation::SetRoute {
                vpc,
                prefix,
                route: Route::Unreachable,
            },
        };
        plain.apply(&operation);
        pending.push(operation);
        most = most.max(pending.operations.capacity());
    }
    // A vector doubles its room: twice the keys, and that twice.
    assert!(most <= 4 * PREFIXES as usize, "{most}");
    let mut compacted = Tables::default();
    let (operations, policy) = pending.take();
    operations
        .iter()
        .for_each(|operation| compacted.apply(operation));
    assert!(policy);
    assert_eq!(compacted.digest(), plain.digest());
    assert!(pending.is_empty());
}
