//! Masquerade and exclusions: every sender has an external address of its family, and one rule that is for it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use super::addresses::family;
use super::facts::{Facts, MasqueradesByInterface};
use super::look_up::LookUp;
use super::packets::{Packets, agree, families};
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::*;
use crate::types::{Addresses, Name, Prefix};

fn path(rule: &Name) -> Path {
    Path::new(["nat", "masquerade", rule.as_str()])
}

fn source_path(rule: &Name, prefix: Prefix) -> Path {
    path(rule).join("sources").join(prefix)
}

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let key = (name.clone(),);
    let Some(rule) = facts.rows.find::<MasqueradeRow>(&key) else {
        return;
    };
    let packets = Packets {
        protocol: rule.protocol,
        source_port: rule.source_port.as_ref(),
        ..Packets::default()
    };
    packets.check(&|| path(name), problems);
    let external = external_addresses(facts, &rule, problems);
    let mut sources = Vec::new();
    for source in facts.rows.below::<MasqueradeSourceRow, _>(key.clone()) {
        let network = source.prefix.network().network();
        sources.push(network.is_ipv4());
        let same_family = |a: &IpAddr| a.is_ipv4() == network.is_ipv4();
        if external.as_ref().is_none_or(|e| e.iter().any(same_family)) {
            continue;
        }
        let holder = match &rule.pool {
            Some(pool) => format!("pool \"{pool}\""),
            None => format!("interface \"{}\"", rule.interface),
        };
        let family = family(network);
        let message = format!(
            "no external address for {}: {holder} has no {family} address",
            source.prefix
        );
        let help = format!("give {holder} an {family} address, or take the source out");
        problems.push(Problem::new(source_path(name, source.prefix), message).help(help));
    }
    if sources.is_empty() {
        let message = "expected at least one source, the rule has none";
        problems.push(Problem::new(path(name), message));
    }
    let destinations = destinations(facts, name);
    let destinations = destinations.iter().map(|d| d.range().first().is_ipv4());
    if !agree(&[families(sources.into_iter()), families(destinations)]) {
        let message = "no packet matches: sources and destinations are of different families";
        problems.push(Problem::new(path(name), message));
    }
}

fn destinations<L: LookUp>(facts: &Facts<'_, L>, rule: &Name) -> BTreeSet<Addresses> {
    let rows = facts
        .rows
        .below::<MasqueradeDestinationRow, _>((rule.clone(),));
    rows.map(|row| row.addresses).collect()
}

/// The external addresses of a rule, the first one of each range; none where a reference leads nowhere.
fn external_addresses<L: LookUp>(
    facts: &Facts<'_, L>,
    rule: &MasqueradeRow,
    problems: &mut Problems,
) -> Option<Vec<IpAddr>> {
    let interface = facts.interface(&rule.interface)?;
    let Some(name) = &rule.pool else {
        return Some(interface.addresses.iter().map(|n| n.addr()).collect());
    };
    let key = (name.clone(),);
    let pool = facts.rows.find::<PoolRow>(&key)?;
    let outside = &interface.row.vpc;
    if pool.vpc != *outside {
        problems.push(Problem::new(
            path(&rule.name).join("pool"),
            format!(
                "pool \"{name}\" belongs to VPC \"{}\", interface \"{}\" to VPC \"{outside}\"",
                pool.vpc, rule.interface
            ),
        ));
    }
    if pool.address_only && rule.ports.is_some() {
        let message = format!("pool \"{name}\" translates addresses only, and gives out no ports");
        problems.push(Problem::new(path(&rule.name).join("ports"), message));
    }
    let ranges = facts.rows.below::<PoolRangeRow, _>(key.clone());
    Some(ranges.map(|row| row.range.first()).collect())
}

/// No two rules are for the same packets. Of two that differ in what else they ask for, the order decides.
pub(super) fn check_senders<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    interface: &Name,
    problems: &mut Problems,
) {
    let mut owners: HashMap<_, Name> = HashMap::new();
    for rule in facts
        .rows
        .by::<MasqueradesByInterface>(&(interface.clone(),))
    {
        if rule.vpc != *vpc {
            continue;
        }
        let more = (
            rule.protocol,
            rule.source_port.clone(),
            destinations(facts, &rule.name),
        );
        for source in facts.rows.below::<MasqueradeSourceRow, _>(rule.key()) {
            let key = (source.prefix, more.clone());
            let first = owners.entry(key).or_insert_with(|| rule.name.clone());
            if *first != rule.name {
                problems.push(Problem::new(
                    source_path(&rule.name, source.prefix),
                    format!(
                        "rule \"{first}\" masquerades {} from VPC \"{vpc}\" on \"{interface}\" already",
                        source.prefix
                    ),
                ));
            }
        }
    }
}

pub(super) fn check_exclusion<L: LookUp>(
    facts: &Facts<'_, L>,
    name: &Name,
    problems: &mut Problems,
) {
    let key = (name.clone(),);
    let Some(rule) = facts.rows.find::<ExclusionRow>(&key) else {
        return;
    };
    let packets = Packets {
        protocol: rule.protocol,
        source_port: rule.source_port.as_ref(),
        destination_port: rule.destination_port.as_ref(),
        ..Packets::default()
    };
    packets.check(&|| super::path(&*rule), problems);
    let sources = facts.rows.below::<ExclusionSourceRow, _>(key.clone());
    let sources = families(sources.map(|row| row.addresses.range().first().is_ipv4()));
    let destinations = facts.rows.below::<ExclusionDestinationRow, _>(key.clone());
    let destinations = families(destinations.map(|row| row.addresses.range().first().is_ipv4()));
    if !agree(&[sources, destinations]) {
        let message = "no packet matches: sources and destinations are of different families";
        problems.push(Problem::new(super::path(&*rule), message));
    }
}
