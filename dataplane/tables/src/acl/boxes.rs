//! From a rule to boxes: products of one range a field, which is what tables hold.

use std::sync::Arc;

use crate::acl::key::NO_PORT;
use crate::acl::rule::{AclRule, AddressRanges, PacketPattern, PortRange};
use crate::acl::{AclFamily, Bits};

/// Boxes that one rule becomes, at most, unless one of its fields alone has more ranges.
const MOST_BOXES: usize = 1024;

/// Protocol, source port and destination port: one range each, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Upper {
    pub protocol: (u8, u8),
    pub source_port: (u32, u32),
    pub destination_port: (u32, u32),
}

/// One range a field, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RuleBox<N> {
    pub source: (N, N),
    pub destination: (N, N),
    pub upper: Upper,
}

/// The boxes of a rule for one family, and whether they hold exactly what matches: otherwise they hold more, and the rule
/// itself has to be asked.
pub(super) struct Boxes<N> {
    pub boxes: Vec<RuleBox<N>>,
    pub exact: bool,
}

/// The boxes that a rule becomes. Where it has many ranges in several fields, so that their product would be too large,
/// fields are taken as one range each: first the ports, then whichever of source and destination has fewer ranges, then
/// all above IP.
pub(super) fn boxes<A: AclFamily>(rule: &AclRule) -> Boxes<A::Bits> {
    let mut sources = ranges::<A>(rule.sources.as_ref());
    let mut destinations = ranges::<A>(rule.destinations.as_ref());
    let mut uppers: Vec<Upper> = rule.packets.iter().flat_map(uppers).collect();
    let mut exact = true;
    let too_many = |s: &Vec<_>, d: &Vec<_>, u: &Vec<_>| {
        s.len().saturating_mul(d.len()).saturating_mul(u.len()) > MOST_BOXES
    };
    if too_many(&sources, &destinations, &uppers) && uppers.len() > rule.packets.len() {
        uppers = rule
            .packets
            .iter()
            .filter_map(|pattern| upper_hull(&self::uppers(pattern).collect::<Vec<_>>()))
            .collect();
        exact = false;
    }
    if too_many(&sources, &destinations, &uppers) && sources.len().min(destinations.len()) > 1 {
        let fewer = match sources.len() <= destinations.len() {
            true => &mut sources,
            false => &mut destinations,
        };
        *fewer = hull(fewer).into_iter().collect();
        exact = false;
    }
    if too_many(&sources, &destinations, &uppers) && uppers.len() > 1 {
        uppers = upper_hull(&uppers).into_iter().collect();
        exact = false;
    }
    let mut boxes = Vec::with_capacity(sources.len() * destinations.len() * uppers.len());
    for &source in &sources {
        for &destination in &destinations {
            boxes.extend(uppers.iter().map(|&upper| RuleBox {
                source,
                destination,
                upper,
            }));
        }
    }
    Boxes { boxes, exact }
}

fn ranges<A: AclFamily>(set: Option<&Arc<AddressRanges>>) -> Vec<(A::Bits, A::Bits)> {
    match set {
        Some(set) => A::ranges(set).to_vec(),
        None => vec![(A::Bits::default(), A::Bits::MAX)],
    }
}

/// What a pattern says, one by one. Any port is also none.
fn uppers(pattern: &PacketPattern) -> impl Iterator<Item = Upper> + '_ {
    fn each(ports: &[PortRange]) -> impl Iterator<Item = (u32, u32)> + Clone {
        let any = ports.is_empty().then_some((0, NO_PORT));
        let ports = ports
            .iter()
            .map(|&(first, last)| (first.into(), last.into()));
        any.into_iter().chain(ports)
    }
    let protocol = pattern
        .protocol
        .map_or((0, u8::MAX), |number| (number, number));
    each(&pattern.source_ports).flat_map(move |source_port| {
        each(&pattern.destination_ports).map(move |destination_port| Upper {
            protocol,
            source_port,
            destination_port,
        })
    })
}

/// The least range that holds all of these.
fn hull<T: Copy + Ord>(ranges: &[(T, T)]) -> Option<(T, T)> {
    let first = ranges.iter().map(|(first, _)| *first).min()?;
    let last = ranges.iter().map(|(_, last)| *last).max()?;
    Some((first, last))
}

fn upper_hull(uppers: &[Upper]) -> Option<Upper> {
    fn of<T: Copy + Ord>(uppers: &[Upper], field: impl Fn(&Upper) -> (T, T)) -> Option<(T, T)> {
        hull(&uppers.iter().map(field).collect::<Vec<_>>())
    }
    Some(Upper {
        protocol: of(uppers, |upper| upper.protocol)?,
        source_port: of(uppers, |upper| upper.source_port)?,
        destination_port: of(uppers, |upper| upper.destination_port)?,
    })
}
