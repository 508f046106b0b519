//! Network address translation: every external address has one role, and every rule can do its work.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::addresses::{family, unusable};
use super::{Facts, Problem};
use crate::document::Path;
use crate::model::{Configuration, MasqueradeRow, PortForwardRow, Row};
use crate::types::{AddressRange, Name, Prefix};

pub(super) fn check(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    let pools = Pools::new(facts.configuration);
    pools.check(facts, problems);
    masquerade(facts, &pools, problems);
    translations(facts.configuration, problems);
    external_roles(facts, &pools, problems);
}

/// The ranges of all pools by the VPC that they belong to, ordered by their first address.
struct Pools<'a> {
    by_vpc: BTreeMap<&'a Name, Vec<(AddressRange, &'a Name)>>,
    /// The ranges of each pool.
    by_pool: BTreeMap<&'a Name, Vec<AddressRange>>,
}

fn range_path(pool: &Name, range: AddressRange) -> Path {
    Path::new(["nat", "pools", pool.as_str(), "ranges"]).join(range)
}

impl<'a> Pools<'a> {
    fn new(configuration: &'a Configuration) -> Self {
        let mut by_vpc: BTreeMap<&Name, Vec<(AddressRange, &Name)>> = BTreeMap::new();
        let mut by_pool: BTreeMap<&Name, Vec<AddressRange>> = BTreeMap::new();
        for row in configuration.nat_pool_range.values() {
            by_pool.entry(&row.pool).or_default().push(row.range);
            if let Some(pool) = configuration.nat_pool.get(&(row.pool.clone(),)) {
                let list = by_vpc.entry(&pool.vpc).or_default();
                list.push((row.range, &row.pool));
            }
        }
        by_vpc.values_mut().for_each(|list| list.sort());
        Pools { by_vpc, by_pool }
    }

    /// The range of a VPC's pools that holds an address. Ranges that overlap are a problem already, so that looking at
    /// the last one that begins before the address is enough.
    fn holding(&self, vpc: &Name, address: IpAddr) -> Option<(AddressRange, &'a Name)> {
        let list = self.by_vpc.get(vpc)?;
        let after = list.partition_point(|(range, _)| range.first() <= address);
        let found = list.get(after.checked_sub(1)?)?;
        found.0.contains(address).then_some(*found)
    }

    fn check(&self, facts: &Facts<'_>, problems: &mut Vec<Problem>) {
        for pool in facts.configuration.nat_pool.values() {
            if !self.by_pool.contains_key(&pool.name) {
                let message = "expected at least one address, the pool has none";
                problems.push(Problem::new(Row::from(pool.clone()).path(), message));
            }
        }
        for (vpc, list) in &self.by_vpc {
            let mut widest: Option<(AddressRange, &Name)> = None;
            for (range, pool) in list {
                for end in [range.first(), range.last()] {
                    if let Some(why) = unusable(end) {
                        let message = format!("expected addresses of hosts, {end} is {why}");
                        problems.push(Problem::new(range_path(pool, *range), message));
                        break;
                    }
                }
                if let Some((other, owner)) = widest.filter(|(other, _)| other.overlaps(*range)) {
                    problems.push(Problem::new(
                        range_path(pool, *range),
                        format!("{range} overlaps {other} of pool \"{owner}\" in VPC \"{vpc}\""),
                    ));
                }
                if widest.is_none_or(|(other, _)| other.last() < range.last()) {
                    widest = Some((*range, pool));
                }
            }
        }
    }
}

fn masquerade(facts: &Facts<'_>, pools: &Pools<'_>, problems: &mut Vec<Problem>) {
    let configuration = facts.configuration;
    let mut owners: HashMap<(&Name, &Name, Prefix), &Name> = HashMap::new();
    for rule in configuration.masquerade.values() {
        let path = || Row::from(rule.clone()).path();
        let external = external_addresses(facts, pools, rule, problems);
        let mut sources = configuration
            .masquerade_source
            .range((rule.name.clone(), smallest_prefix())..)
            .map(|(_, source)| source)
            .take_while(|source| source.masquerade == rule.name)
            .peekable();
        if sources.peek().is_none() {
            let message = "expected at least one source, the rule has none";
            problems.push(Problem::new(path(), message));
        }
        for source in sources {
            let at = || Row::from(source.clone()).path();
            let key = (&rule.vpc, &rule.interface, source.prefix);
            let first = *owners.entry(key).or_insert(&rule.name);
            if first != &rule.name {
                problems.push(Problem::new(
                    at(),
                    format!(
                        "rule \"{first}\" masquerades {} from VPC \"{}\" on \"{}\" already",
                        source.prefix, rule.vpc, rule.interface
                    ),
                ));
            }
            let network = source.prefix.network().network();
            if let Some(external) = &external
                && !external.iter().any(|a| a.is_ipv4() == network.is_ipv4())
            {
                let holder = match &rule.pool {
                    Some(pool) => format!("pool \"{pool}\""),
                    None => format!("interface \"{}\"", rule.interface),
                };
                let family = family(network);
                problems.push(
                    Problem::new(
                        at(),
                        format!(
                            "no external address for {}: {holder} has no {family} address",
                            source.prefix
                        ),
                    )
                    .help(format!(
                        "give {holder} an {family} address, or take the source out"
                    )),
                );
            }
        }
    }
}

/// The smallest prefix in the order of prefixes, where a range of rows begins.
fn smallest_prefix() -> Prefix {
    Prefix::new(ipnet::IpNet::V4(ipnet::Ipv4Net::default()))
}

/// One external address of each family that a rule has; none where a reference leads nowhere.
fn external_addresses(
    facts: &Facts<'_>,
    pools: &Pools<'_>,
    rule: &MasqueradeRow,
    problems: &mut Vec<Problem>,
) -> Option<Vec<IpAddr>> {
    let outside = facts.vpc_of(&rule.interface)?;
    let Some(name) = &rule.pool else {
        let own = facts.addresses_of(&rule.interface);
        return Some(own.iter().map(|network| network.addr()).collect());
    };
    let pool = facts.configuration.nat_pool.get(&(name.clone(),))?;
    if pool.vpc != *outside {
        problems.push(Problem::new(
            Row::from(rule.clone()).path().join("pool"),
            format!(
                "pool \"{name}\" belongs to VPC \"{}\", interface \"{}\" to VPC \"{outside}\"",
                pool.vpc, rule.interface
            ),
        ));
    }
    let ranges = pools.by_pool.get(name).into_iter().flatten();
    Some(ranges.map(|range| range.first()).collect())
}

/// Port forwards and static translations: two hosts of one family, and not the same.
fn translations(configuration: &Configuration, problems: &mut Vec<Problem>) {
    let forwards = configuration.port_forward.values().map(|r| {
        (
            Row::from(r.clone()),
            (&r.external_vpc, r.external_address),
            (&r.internal_vpc, Some(r.internal_address)),
        )
    });
    let statics = configuration.static_nat.values().map(|r| {
        (
            Row::from(r.clone()),
            (&r.external_vpc, r.external_address.address()),
            (&r.internal_vpc, r.internal_address.address()),
        )
    });
    for (row, external, internal) in forwards.chain(statics) {
        let (Some(outer), Some(inner)) = (external.1, internal.1) else {
            continue;
        };
        for (field, address) in [("external_address", outer), ("internal_address", inner)] {
            if let Some(why) = unusable(address) {
                problems.push(Problem::new(
                    row.path().join(field),
                    format!("expected the address of a host, {address} is {why}"),
                ));
            }
        }
        if outer.is_ipv4() != inner.is_ipv4() {
            problems.push(Problem::new(
                row.path().join("internal_address"),
                format!(
                    "expected an {} address like external_address {outer}, found {inner}",
                    family(outer),
                ),
            ));
        }
        if external == internal {
            problems.push(Problem::new(
                row.path().join("internal_address"),
                format!("{inner} of VPC \"{}\" would lead to itself", internal.0),
            ));
        }
    }
}

/// An external address is that of one static translation, or of port forwards, or of a pool, or of an interface.
/// Port forwards may use an interface's address.
fn external_roles(facts: &Facts<'_>, pools: &Pools<'_>, problems: &mut Vec<Problem>) {
    let configuration = facts.configuration;
    let mut own: HashMap<(&Name, IpAddr), &Name> = HashMap::new();
    for (interface, networks) in &facts.addresses {
        if let Some(vpc) = facts.vpc_of(interface) {
            own.extend(networks.iter().map(|n| ((vpc, n.addr()), *interface)));
        }
    }
    let mut taken: Vec<_> = own.iter().collect();
    taken.sort();
    for ((vpc, address), interface) in taken {
        if let Some((range, pool)) = pools.holding(vpc, *address) {
            problems.push(Problem::new(
                range_path(pool, range),
                format!("{address} is the address of interface \"{interface}\" of VPC \"{vpc}\""),
            ));
        }
    }
    let mut forwards: HashMap<_, Vec<&PortForwardRow>> = HashMap::new();
    let mut forwarded: HashMap<(&Name, IpAddr), &Name> = HashMap::new();
    for rule in configuration.port_forward.values() {
        let Some(address) = rule.external_address else {
            continue;
        };
        forwarded
            .entry((&rule.external_vpc, address))
            .or_insert(&rule.name);
        let key = (&rule.external_vpc, address, rule.protocol);
        let others = forwards.entry(key).or_default();
        let taken = |other: &&&PortForwardRow| other.external_port.overlaps(&rule.external_port);
        if let Some(first) = others.iter().find(taken) {
            problems.push(Problem::new(
                Row::from(rule.clone()).path(),
                format!(
                    "{} port {} of {} in VPC \"{}\" is forwarded by \"{}\" already",
                    rule.protocol, rule.external_port, address, rule.external_vpc, first.name
                ),
            ));
        }
        others.push(rule);
    }
    let mut externals: HashMap<(&Name, IpAddr), &Name> = HashMap::new();
    let mut internals: HashMap<(&Name, IpAddr, &Name), &Name> = HashMap::new();
    for rule in configuration.static_nat.values() {
        let (Some(address), Some(internal)) = (
            rule.external_address.address(),
            rule.internal_address.address(),
        ) else {
            continue;
        };
        let vpc = &rule.external_vpc;
        let at = |field: &str| Row::from(rule.clone()).path().join(field);
        let mut clash = |field: &str, address: IpAddr, what: String| {
            problems.push(Problem::new(at(field), format!("{address} is {what}")));
        };
        let first = *externals.entry((vpc, address)).or_insert(&rule.name);
        if first != &rule.name {
            clash(
                "external_address",
                address,
                format!("the external address of \"{first}\" already"),
            );
        }
        if let Some(forward) = forwarded.get(&(vpc, address)) {
            let what = format!("the external address of port forward \"{forward}\"");
            clash("external_address", address, what);
        }
        if let Some(interface) = own.get(&(vpc, address)) {
            clash(
                "external_address",
                address,
                format!("the address of interface \"{interface}\""),
            );
        }
        if let Some((range, pool)) = pools.holding(vpc, address) {
            clash(
                "external_address",
                address,
                format!("in {range} of pool \"{pool}\""),
            );
        }
        let inside = (&rule.internal_vpc, internal, vpc);
        let first = *internals.entry(inside).or_insert(&rule.name);
        if first != &rule.name {
            let what = format!("translated into VPC \"{vpc}\" by \"{first}\" already");
            clash("internal_address", internal, what);
        }
    }
}
