//! Rules that no packet can reach, because of those before them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::acl::boxes::{RuleBox, Upper, boxes};
use crate::acl::rule::AclRule;
use crate::acl::{Acl, AclFamily, Bits};

/// Pieces of a rule that are left, at most, before it counts as not told.
const MOST_PIECES: usize = 256;

impl Acl {
    /// The rules before this one that together take every packet that it matches, in order. None where some packet reaches
    /// it, where it matches none at all, or where that would take too long to tell. Cost: the rules before it.
    pub fn shadowed_by(&self, sequence: u32) -> Option<Vec<u32>> {
        let rule = self.rules.get(&sequence)?;
        let before: Vec<(u32, &AclRule)> = self
            .rules
            .range(..sequence)
            .filter(|(_, earlier)| spans_vpcs(earlier, rule))
            .map(|(sequence, earlier)| (*sequence, earlier.as_ref()))
            .collect();
        let (mut by, mut matches_any) = (Vec::new(), false);
        for taken in [
            taken_by::<Ipv4Addr>(rule, &before),
            taken_by::<Ipv6Addr>(rule, &before),
        ] {
            match taken {
                Taken::Nothing => {}
                Taken::By(rules) => {
                    matches_any = true;
                    by.extend(rules);
                }
                Taken::NotAll => return None,
            }
        }
        by.sort_unstable();
        by.dedup();
        matches_any.then_some(by)
    }
}

/// Whether an earlier rule takes packets of every VPC, to every VPC, that a rule matches.
fn spans_vpcs(earlier: &AclRule, rule: &AclRule) -> bool {
    let spans = |wide: Option<_>, narrow: Option<_>| wide.is_none() || wide == narrow;
    spans(earlier.from, rule.from) && spans(earlier.to, rule.to)
}

/// What becomes of a rule's packets of one family.
enum Taken {
    /// There are none.
    Nothing,
    /// These rules take them all.
    By(Vec<u32>),
    /// Some are left, or it cannot be told.
    NotAll,
}

fn taken_by<A: AclFamily>(rule: &AclRule, before: &[(u32, &AclRule)]) -> Taken {
    // Where these hold more than the rule matches, the rule is taken if they are.
    let mut left = boxes::<A>(rule).boxes;
    if left.is_empty() {
        return Taken::Nothing;
    }
    let mut by = Vec::new();
    for (sequence, earlier) in before {
        let taken = boxes::<A>(earlier);
        // Where these hold more than the rule matches, they say nothing.
        if !taken.exact {
            continue;
        }
        let mut takes = false;
        for area in &taken.boxes {
            if !left.iter().any(|piece| meet(piece, area)) {
                continue;
            }
            takes = true;
            let pieces = std::mem::take(&mut left);
            for piece in pieces {
                subtract(piece, area, &mut left);
            }
            if left.len() > MOST_PIECES {
                return Taken::NotAll;
            }
        }
        if takes {
            by.push(*sequence);
        }
        if left.is_empty() {
            return Taken::By(by);
        }
    }
    Taken::NotAll
}

fn overlap<T: PartialOrd>(a: &(T, T), b: &(T, T)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

fn meet<N: Bits>(a: &RuleBox<N>, b: &RuleBox<N>) -> bool {
    let (x, y) = (&a.upper, &b.upper);
    overlap(&a.source, &b.source)
        && overlap(&a.destination, &b.destination)
        && overlap(&x.protocol, &y.protocol)
        && overlap(&x.source_port, &y.source_port)
        && overlap(&x.destination_port, &y.destination_port)
}

/// What is below, within and above the other range. The two meet.
fn cut<T: Copy + Ord>(
    range: (T, T),
    by: (T, T),
    (before, after): (impl Fn(T) -> T, impl Fn(T) -> T),
) -> ([Option<(T, T)>; 2], (T, T)) {
    let below = (range.0 < by.0).then(|| (range.0, before(by.0)));
    let above = (by.1 < range.1).then(|| (after(by.1), range.1));
    ([below, above], (range.0.max(by.0), range.1.min(by.1)))
}

/// Puts what is left of a piece into `left`.
fn subtract<N: Bits>(piece: RuleBox<N>, area: &RuleBox<N>, left: &mut Vec<RuleBox<N>>) {
    if !meet(&piece, area) {
        left.push(piece);
        return;
    }
    let RuleBox {
        mut source,
        mut destination,
        upper,
    } = piece;
    let steps = || (N::before, N::after);
    let (outside, inside) = cut(source, area.source, steps());
    for source in outside.into_iter().flatten() {
        left.push(RuleBox { source, ..piece });
    }
    source = inside;
    let (outside, inside) = cut(destination, area.destination, steps());
    for destination in outside.into_iter().flatten() {
        left.push(RuleBox {
            source,
            destination,
            upper,
        });
    }
    destination = inside;
    let mut push = |upper| {
        left.push(RuleBox {
            source,
            destination,
            upper,
        });
    };
    let steps = (|p: u8| p - 1, |p: u8| p + 1);
    let (outside, protocol) = cut(upper.protocol, area.upper.protocol, steps);
    for protocol in outside.into_iter().flatten() {
        push(Upper { protocol, ..upper });
    }
    let steps = || (|p: u32| p - 1, |p: u32| p + 1);
    let (outside, source_port) = cut(upper.source_port, area.upper.source_port, steps());
    for source_port in outside.into_iter().flatten() {
        push(Upper {
            protocol,
            source_port,
            ..upper
        });
    }
    let ports = area.upper.destination_port;
    let (outside, _) = cut(upper.destination_port, ports, steps());
    for destination_port in outside.into_iter().flatten() {
        push(Upper {
            protocol,
            source_port,
            destination_port,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::VpcIndex;
    use crate::acl::{
        AclAction, AclDecision, AclDefault, AclKey, AclScope, AddressRanges, PacketPattern,
    };

    /// A world of few packets: addresses 0 to 7, ports 0 to 3 and beyond, two protocols and others.
    fn rule() -> impl Strategy<Value = Arc<AclRule>> {
        let addresses = prop_oneof![
            1 => Just(None),
            3 => proptest::collection::vec((0u32..8, 0u32..8), 1..3).prop_map(Some)
        ];
        let ports = prop_oneof![1 => Just(None), 2 => (0u16..4, 0u16..4).prop_map(Some)];
        let protocol = select(&[None, Some(6), Some(17)][..]);
        (addresses.clone(), addresses, ports, protocol).prop_map(
            |(sources, destinations, ports, protocol)| {
                let set = |ranges: Option<Vec<(u32, u32)>>| {
                    ranges.map(|ranges| {
                        let address = |n: u32| IpAddr::from(Ipv4Addr::from(n));
                        Arc::new(AddressRanges::new(ranges.into_iter().map(|(a, b)| {
                            let last = if b == 7 && a == 0 { u32::MAX } else { a.max(b) };
                            address(a.min(b))..=address(last)
                        })))
                    })
                };
                Arc::new(AclRule {
                    decision: AclDecision {
                        action: AclAction::Allow,
                        scope: AclScope::Flow,
                        log: false,
                    },
                    from: None,
                    to: None,
                    sources: set(sources),
                    destinations: set(destinations),
                    packets: [PacketPattern {
                        protocol,
                        source_ports: Box::default(),
                        destination_ports: ports
                            .map(|(a, b)| (a.min(b), a.max(b)))
                            .into_iter()
                            .collect(),
                    }]
                    .into(),
                })
            },
        )
    }

    /// Every packet of the world, and one beyond each of its ends.
    fn packets() -> Vec<AclKey<Ipv4Addr>> {
        let mut packets = Vec::new();
        let addresses: Vec<u32> = (0..8).chain([u32::MAX]).collect();
        for &source in &addresses {
            for &destination in &addresses {
                for protocol in [6, 17, 50] {
                    for destination_port in [0, 1, 2, 3, 4, crate::acl::NO_PORT] {
                        packets.push(AclKey {
                            from: VpcIndex(0),
                            to: None,
                            source: source.into(),
                            destination: destination.into(),
                            protocol,
                            source_port: 1,
                            destination_port,
                        });
                    }
                }
            }
        }
        packets
    }

    proptest! {
        #[test]
        fn a_rule_is_shadowed_where_no_packet_reaches_it(rules in proptest::collection::vec(rule(), 1..8)) {
            let mut acl = Acl::new("a".into(), AclDefault::Deny);
            for (number, rule) in rules.iter().enumerate() {
                // Rules of IPv6 are left out: a rule for any address has some that the world has not.
                let mut rule = AclRule::clone(rule);
                rule.sources = rule.sources.or_else(|| {
                    let all = IpAddr::from(Ipv4Addr::UNSPECIFIED)..=Ipv4Addr::BROADCAST.into();
                    Some(Arc::new(AddressRanges::new([all])))
                });
                acl.set_rule(number as u32, rule.into());
            }
            let packets = packets();
            for (sequence, rule) in acl.rules() {
                let mut matching = packets.iter().filter(|packet| rule.matches(packet)).peekable();
                let is_dead = matching.peek().is_some()
                    && matching.all(|packet| acl.scan(packet).rule != Some(sequence));
                let by = acl.shadowed_by(sequence);
                prop_assert_eq!(by.is_some(), is_dead, "{}: {:?}", sequence, rule);
                for &other in by.iter().flatten() {
                    prop_assert!(other < sequence);
                }
            }
        }
    }

    #[test]
    fn only_a_rule_for_as_many_vpcs_shadows() {
        let any = AclRule {
            decision: AclDecision {
                action: AclAction::Deny,
                scope: AclScope::Flow,
                log: false,
            },
            from: None,
            to: None,
            sources: None,
            destinations: None,
            packets: [PacketPattern::default()].into(),
        };
        let of_blue = AclRule {
            from: Some(VpcIndex(0)),
            ..any.clone()
        };
        let mut acl = Acl::new("a".into(), AclDefault::Deny);
        acl.set_rule(10, of_blue.clone().into());
        acl.set_rule(20, any.clone().into());
        assert_eq!(acl.shadowed_by(20), None);
        acl.set_rule(30, of_blue.into());
        assert_eq!(acl.shadowed_by(30), Some(vec![10]));
        assert_eq!(acl.shadowed_by(10), None);
        assert_eq!(acl.shadowed_by(40), None);
    }
}
