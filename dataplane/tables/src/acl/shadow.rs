//! Rules that no packet can reach, because of those before them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::acl::boxes::{Boxes, RuleBox, Upper, boxes};
use crate::acl::rule::AclRule;
use crate::acl::{Acl, AclFamily, Bits};

/// Pieces of a rule that are left, at most, before it counts as not told.
const MOST_PIECES: usize = 256;

/// A rule that no packet reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Its sequence number.
    pub rule: u32,
    /// The rules before it that together take every packet that it matches, in order.
    pub by: Vec<u32>,
}

/// A rule with its boxes.
struct Boxed<'a, N> {
    sequence: u32,
    rule: &'a AclRule,
    boxes: Boxes<N>,
}

impl Acl {
    /// The rules that no packet reaches, in order. A rule that matches no packet at all is left out, and so is one for which it
    /// would take too long to tell. None where the rules have more boxes than `most`. Cost: the square of the boxes.
    pub fn shadowed(&self, most: usize) -> Option<Vec<Shadowed>> {
        if self.boxes() > most {
            return None;
        }
        let v4 = self.boxed::<Ipv4Addr>();
        let v6 = self.boxed::<Ipv6Addr>();
        let shadowed = (0..v4.len()).filter_map(|place| {
            let by = both(taken_by(&v4, place), taken_by(&v6, place))?;
            let rule = v4[place].sequence;
            Some(Shadowed { rule, by })
        });
        Some(shadowed.collect())
    }

    fn boxed<A: AclFamily>(&self) -> Vec<Boxed<'_, A::Bits>> {
        self.rules
            .iter()
            .map(|(sequence, rule)| Boxed {
                sequence: *sequence,
                rule,
                boxes: boxes::<A>(rule),
            })
            .collect()
    }
}

/// The rules that take a rule's packets of both families. None where some packet is left, or where it has none.
fn both(v4: Taken, v6: Taken) -> Option<Vec<u32>> {
    let mut by = match (v4, v6) {
        (Taken::NotAll, _) | (_, Taken::NotAll) | (Taken::Nothing, Taken::Nothing) => return None,
        (Taken::By(by), Taken::Nothing) | (Taken::Nothing, Taken::By(by)) => by,
        (Taken::By(v4), Taken::By(v6)) => [v4, v6].concat(),
    };
    by.sort_unstable();
    by.dedup();
    Some(by)
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

/// What the rules before one take of its packets.
fn taken_by<N: Bits>(rules: &[Boxed<'_, N>], place: usize) -> Taken {
    let Some(this) = rules.get(place) else {
        return Taken::Nothing;
    };
    // Where these hold more than the rule matches, the rule is taken if they are.
    let mut left = this.boxes.boxes.clone();
    if left.is_empty() {
        return Taken::Nothing;
    }
    let mut by = Vec::new();
    for earlier in &rules[..place] {
        // Where its boxes hold more than an earlier rule matches, they say nothing.
        if !earlier.boxes.exact || !spans_vpcs(earlier.rule, this.rule) {
            continue;
        }
        let mut takes = false;
        for area in &earlier.boxes.boxes {
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
            by.push(earlier.sequence);
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

/// A range that another one cuts.
struct Cut<T> {
    /// What lies below the other, and what lies above it.
    outside: [Option<(T, T)>; 2],
    /// What both have.
    inside: (T, T),
}

/// Cuts a range by another that it meets.
fn cut<T: Copy + Ord>(
    range: (T, T),
    by: (T, T),
    (before, after): (impl Fn(T) -> T, impl Fn(T) -> T),
) -> Cut<T> {
    let below = (range.0 < by.0).then(|| (range.0, before(by.0)));
    let above = (by.1 < range.1).then(|| (after(by.1), range.1));
    Cut {
        outside: [below, above],
        inside: (range.0.max(by.0), range.1.min(by.1)),
    }
}

/// Puts what is left of a piece into `left`.
fn subtract<N: Bits>(piece: RuleBox<N>, area: &RuleBox<N>, left: &mut Vec<RuleBox<N>>) {
    if !meet(&piece, area) {
        left.push(piece);
        return;
    }
    // Field by field: what lies outside is left, and what lies inside is looked at by the next.
    let mut rest = piece;
    let steps = || (N::before, N::after);
    let source = cut(rest.source, area.source, steps());
    for source in source.outside.into_iter().flatten() {
        left.push(RuleBox { source, ..rest });
    }
    rest.source = source.inside;
    let destination = cut(rest.destination, area.destination, steps());
    for destination in destination.outside.into_iter().flatten() {
        left.push(RuleBox {
            destination,
            ..rest
        });
    }
    rest.destination = destination.inside;
    let (upper, by) = (rest.upper, &area.upper);
    let mut push = |upper| left.push(RuleBox { upper, ..rest });
    let protocol = cut(upper.protocol, by.protocol, (|p: u8| p - 1, |p: u8| p + 1));
    for protocol in protocol.outside.into_iter().flatten() {
        push(Upper { protocol, ..upper });
    }
    let upper = Upper {
        protocol: protocol.inside,
        ..upper
    };
    let steps = || (|p: u32| p - 1, |p: u32| p + 1);
    let source_port = cut(upper.source_port, by.source_port, steps());
    for source_port in source_port.outside.into_iter().flatten() {
        push(Upper {
            source_port,
            ..upper
        });
    }
    let upper = Upper {
        source_port: source_port.inside,
        ..upper
    };
    let destination_port = cut(upper.destination_port, by.destination_port, steps());
    for destination_port in destination_port.outside.into_iter().flatten() {
        push(Upper {
            destination_port,
            ..upper
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::VpcIndex;
    use crate::acl::samples::{allow, key, v4};
    use crate::acl::{AclDefault, AclKey, AddressRanges, PacketPattern};

    /// A world of few packets: addresses 0 to 7, ports 0 to 3 and beyond, two protocols and others.
    fn rule() -> impl Strategy<Value = AclRule> {
        let addresses = prop_oneof![
            1 => Just(None),
            3 => proptest::collection::vec((0u32..8, 0u32..8), 1..3).prop_map(Some)
        ];
        let ports = prop_oneof![1 => Just(None), 2 => (0u16..4, 0u16..4).prop_map(Some)];
        let protocol = select(&[None, Some(6), Some(17)][..]);
        (addresses.clone(), addresses, ports, protocol).prop_map(
            |(sources, destinations, ports, protocol)| {
                let set = |ranges: Option<Vec<(u32, u32)>>| {
                    let range = |(a, b): (u32, u32)| {
                        let last = if b == 7 && a == 0 { u32::MAX } else { a.max(b) };
                        v4(a.min(b), last)
                    };
                    ranges.map(|ranges| ranges.into_iter().map(range).collect())
                };
                let pattern = PacketPattern {
                    protocol,
                    destination_ports: ports
                        .map(|(a, b)| (a.min(b), a.max(b)))
                        .into_iter()
                        .collect(),
                    ..PacketPattern::default()
                };
                allow(set(sources), set(destinations), pattern)
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
                            protocol,
                            destination_port,
                            ..key(source, destination)
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
            for (number, mut rule) in rules.into_iter().enumerate() {
                // Rules of IPv6 are left out: a rule for any address has some that the world has not.
                let all = || Some(Arc::new(AddressRanges::new([v4(0, u32::MAX)])));
                rule.sources = rule.sources.or_else(all);
                acl.set_rule(number as u32, rule.into());
            }
            let packets = packets();
            let shadowed = acl.shadowed(usize::MAX).unwrap();
            for (sequence, rule) in acl.rules() {
                let mut matching = packets.iter().filter(|packet| rule.matches(packet)).peekable();
                let is_dead = matching.peek().is_some()
                    && matching.all(|packet| acl.scan(packet).rule != Some(sequence));
                let found = shadowed.iter().find(|shadowed| shadowed.rule == sequence);
                prop_assert_eq!(found.is_some(), is_dead, "{}: {:?}", sequence, rule);
                for &other in found.iter().flat_map(|shadowed| &shadowed.by) {
                    prop_assert!(other < sequence);
                }
            }
        }
    }

    #[test]
    fn only_a_rule_for_as_many_vpcs_shadows() {
        let any = allow(None, None, PacketPattern::default());
        let of_blue = AclRule {
            from: Some(VpcIndex(0)),
            ..any.clone()
        };
        let mut acl = Acl::new("a".into(), AclDefault::Deny);
        acl.set_rule(10, of_blue.clone().into());
        acl.set_rule(20, any.clone().into());
        assert_eq!(acl.shadowed(10), Some(Vec::new()));
        acl.set_rule(30, of_blue.into());
        let shadowed = Shadowed {
            rule: 30,
            by: vec![10],
        };
        assert_eq!(acl.shadowed(3), Some(vec![shadowed]));
        assert_eq!(acl.shadowed(2), None, "three boxes are too many");
    }
}
