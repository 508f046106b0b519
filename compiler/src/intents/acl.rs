//! What ACLs make of a box: which part of it each rule lets pass, and which it stops.
//!
//! ACLs see a packet as it came, before NAT, with the VPCs that it comes from and goes to. Of ICMP, the type and the code stand
//! in the place of the destination port, and 0 in that of the source port; of other protocols without ports, a rule that
//! says something of ports matches nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewire_tables::acl::{AclAction, AclDefault, AddressRanges, PacketPattern, PortRange};
use rewire_tables::{AclIndex, AclRule, VpcIndex};

use super::space::{Entry, ICMP, Interval, PORT_PROTOCOLS, number};
use super::walk::{Budget, Stop};

/// An ACL as its rules say it.
#[derive(Default)]
pub(super) struct AclList {
    pub(super) name: Arc<str>,
    default: Option<AclDefault>,
    rules: BTreeMap<u32, Rule>,
}

struct Rule {
    passes: bool,
    from: Option<VpcIndex>,
    to: Option<VpcIndex>,
    /// Senders and destinations of both families; none for any.
    sources: Option<Families>,
    destinations: Option<Families>,
    patterns: Arc<[PacketPattern]>,
}

/// Intervals of IPv4 and of IPv6 addresses, in order, apart.
struct Families([Vec<Interval<u128>>; 2]);

/// Where packets meet an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Interface,
    Peering,
}

/// One rule's word, or the default's, about a packet on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) acl: AclIndex,
    /// The rule's sequence number; none for the default.
    pub(super) rule: Option<u32>,
    pub(super) passes: bool,
}

impl AclList {
    pub(super) fn begin(&mut self, name: Arc<str>, default: AclDefault) {
        self.name = name;
        self.default = Some(default);
    }

    pub(super) fn add(&mut self, sequence: u32, rule: &AclRule) {
        let families = |ranges: &Option<Arc<AddressRanges>>| ranges.as_deref().map(Families::of);
        let rule = Rule {
            passes: rule.decision.action == AclAction::Allow,
            from: rule.from,
            to: rule.to,
            sources: families(&rule.sources),
            destinations: families(&rule.destinations),
            patterns: Arc::clone(&rule.packets),
        };
        self.rules.insert(sequence, rule);
    }
}

impl Families {
    fn of(ranges: &AddressRanges) -> Families {
        let of = |is_ipv4| {
            let family = ranges.iter().filter(|r| r.start().is_ipv4() == is_ipv4);
            family
                .map(|range| (number(*range.start()), number(*range.end())))
                .collect()
        };
        Families([of(true), of(false)])
    }

    /// Those that share something with an interval.
    fn meeting(&self, is_ipv4: bool, whole: Interval<u128>) -> &[Interval<u128>] {
        let all = &self.0[usize::from(!is_ipv4)];
        let begin = all.partition_point(|(_, last)| *last < whole.0);
        let end = all.partition_point(|(first, _)| *first <= whole.1);
        &all[begin..end.max(begin)]
    }
}

impl AclList {
    /// The parts of a box by what the list says of each, in the order of its rules, where it is met.
    pub(super) fn judged(
        &self,
        (acl, place): (AclIndex, Place),
        (from, to): (VpcIndex, VpcIndex),
        whole: Entry,
        budget: &mut Budget,
    ) -> Result<Vec<(Entry, Word)>, Stop> {
        let mut judged = Vec::new();
        let mut left = vec![whole];
        for (sequence, rule) in &self.rules {
            let is_of = |wanted: Option<VpcIndex>, vpc| wanted.is_none_or(|wanted| wanted == vpc);
            if !is_of(rule.from, from) || !is_of(rule.to, to) {
                continue;
            }
            let word = Word {
                acl,
                rule: Some(*sequence),
                passes: rule.passes,
            };
            let mut next = Vec::with_capacity(left.len());
            for entry in left {
                let mut rest = vec![entry];
                for part in rule.boxes(&entry, budget)? {
                    budget.take(rest.len())?;
                    let mut remains = Vec::with_capacity(rest.len());
                    for piece in rest {
                        judged.extend(piece.shared(&part).map(|both| (both, word)));
                        remains.extend(piece.without(&part));
                    }
                    rest = remains;
                }
                next.extend(rest);
            }
            left = next;
            if left.is_empty() {
                break;
            }
        }
        let word = Word {
            acl,
            rule: None,
            passes: match self.default {
                Some(AclDefault::Allow) | None => true,
                Some(AclDefault::Deny | AclDefault::Reject) => false,
                // What gets across is exposed at both ends.
                Some(AclDefault::DenyUnlessExposed) => place == Place::Peering,
            },
        };
        judged.extend(left.into_iter().map(|entry| (entry, word)));
        Ok(judged)
    }
}

impl Rule {
    /// The packets of a box that the rule matches, as boxes, which may share some.
    fn boxes(&self, whole: &Entry, budget: &mut Budget) -> Result<Vec<Entry>, Stop> {
        let is_ipv4 = whole.is_ipv4;
        let any = |interval| vec![interval];
        let meeting = |families: &Option<Families>, whole: Interval<u128>| match families {
            None => any(whole),
            Some(families) => families.meeting(is_ipv4, whole).to_vec(),
        };
        let sources = meeting(&self.sources, whole.source);
        let destinations = meeting(&self.destinations, whole.destination);
        if sources.is_empty() || destinations.is_empty() {
            budget.take(1)?;
            return Ok(Vec::new());
        }
        let uppers: Vec<Upper> = self
            .patterns
            .iter()
            .flat_map(uppers)
            .filter(|upper| {
                upper.protocols.0 <= whole.protocols.1 && whole.protocols.0 <= upper.protocols.1
            })
            .collect();
        let number = sources.len() * destinations.len() * uppers.len();
        budget.take(number.max(1))?;
        let mut boxes = Vec::with_capacity(number);
        for source in &sources {
            for destination in &destinations {
                boxes.extend(uppers.iter().map(|upper| Entry {
                    is_ipv4,
                    source: *source,
                    destination: *destination,
                    protocols: upper.protocols,
                    source_ports: upper.source_ports,
                    ports: upper.ports,
                }));
            }
        }
        Ok(boxes)
    }
}

/// What is above IP, as intervals.
struct Upper {
    protocols: Interval<u8>,
    source_ports: Interval<u16>,
    ports: Interval<u16>,
}

const EVERY: PortRange = (0, u16::MAX);

/// What a pattern matches, protocol by protocol where it says something of ports.
fn uppers(pattern: &PacketPattern) -> Vec<Upper> {
    let or_every = |ranges: &[PortRange]| match ranges {
        [] => vec![EVERY],
        ranges => ranges.to_vec(),
    };
    if pattern.source_ports.is_empty() && pattern.destination_ports.is_empty() {
        let protocols = pattern
            .protocol
            .map_or((0, u8::MAX), |number| (number, number));
        return vec![Upper {
            protocols,
            source_ports: EVERY,
            ports: EVERY,
        }];
    }
    let mut uppers = Vec::new();
    let destination_ports = or_every(&pattern.destination_ports);
    let source_ports = or_every(&pattern.source_ports);
    let speaks_of = |number: u8| pattern.protocol.is_none_or(|wanted| wanted == number);
    for number in PORT_PROTOCOLS.into_iter().filter(|n| speaks_of(*n)) {
        for source_ports in &source_ports {
            uppers.extend(destination_ports.iter().map(|ports| Upper {
                protocols: (number, number),
                source_ports: *source_ports,
                ports: *ports,
            }));
        }
    }
    if source_ports.iter().any(|(first, _)| *first == 0) {
        for (number, _) in ICMP.into_iter().filter(|(n, _)| speaks_of(*n)) {
            uppers.extend(destination_ports.iter().map(|ports| Upper {
                protocols: (number, number),
                source_ports: EVERY,
                ports: *ports,
            }));
        }
    }
    uppers
}
