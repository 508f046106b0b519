//! NAT64: a prefix that IPv4 addresses can be embedded behind, and a pool that nobody else uses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::addresses::family;
use super::facts::{Facts, MasqueradesByPool, Nat64sOfVpc};
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::*;
use crate::types::{Addresses, Name, Prefix};

/// The prefix of a NAT64 that names none (RFC 6052 section 2.1).
const WELL_KNOWN: &str = "64:ff9b::/96";

fn path(rule: &Name) -> Path {
    Path::new(["nat", "nat64", rule.as_str()])
}

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(rule) = facts.rows.find::<Nat64Row>(&(name.clone(),)) else {
        return;
    };
    if let Some(prefix) = rule.prefix
        && let Err(message) = check_prefix(prefix)
    {
        let help = "lengths of 32, 40, 48, 56, 64 and 96 bits are possible (RFC 6052)";
        let path = path(name).join("prefix");
        problems.push(Problem::new(path, message).help(help));
    }
    check_pool(facts, &rule, problems);
    let sources = sources_of(facts, name);
    for source in &sources {
        let first = source.range().first();
        if first.is_ipv4() {
            let message = format!("expected IPv6 clients, {source} is {}", family(first));
            problems.push(Problem::new(
                path(name).join("sources").join(source),
                message,
            ));
        }
    }
    let same = facts.rows.by::<Nat64sOfVpc>(&(rule.vpc.clone(),));
    let same = same.iter().find(|other| {
        other.name < *name
            && shown(other.prefix) == shown(rule.prefix)
            && sources_of(facts, &other.name) == sources
    });
    if let Some(other) = same {
        let message = format!(
            "\"{}\" translates what these clients of VPC \"{}\" send to {} already",
            other.name,
            rule.vpc,
            shown(rule.prefix),
        );
        problems.push(Problem::new(path(name), message));
    }
}

/// Whether a NAT64 is for an IPv6 host, whose IPv4 packets are routed in a VPC.
pub(super) fn serves<L: LookUp>(
    facts: &Facts<'_, L>,
    (vpc, host): (&Name, IpAddr),
    outside: &Name,
) -> bool {
    facts
        .rows
        .by::<Nat64sOfVpc>(&(vpc.clone(),))
        .iter()
        .any(|rule| {
            let pool = facts.rows.find::<PoolRow>(&(rule.pool.clone(),));
            let sources = sources_of(facts, &rule.name);
            let is_for = sources.is_empty() || sources.iter().any(|s| s.range().contains(host));
            is_for && pool.is_some_and(|pool| pool.vpc == *outside)
        })
}

fn shown(prefix: Option<Prefix>) -> String {
    prefix.map_or_else(|| WELL_KNOWN.to_owned(), |prefix| prefix.to_string())
}

fn sources_of<L: LookUp>(facts: &Facts<'_, L>, rule: &Name) -> BTreeSet<Addresses> {
    let rows = facts.rows.below::<Nat64SourceRow, _>((rule.clone(),));
    rows.map(|row| row.addresses).collect()
}

/// Whether IPv4 addresses can be embedded behind a prefix; what keeps them from it.
fn check_prefix(prefix: Prefix) -> Result<(), String> {
    let network = prefix.network();
    let std::net::IpAddr::V6(address) = network.network() else {
        return Err(format!("expected an IPv6 prefix, {prefix} is IPv4"));
    };
    let length = network.prefix_len();
    if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
        return Err(format!("no IPv4 address can stand behind {length} bits"));
    }
    // The ninth byte is zero in every address.
    if address.octets()[8] != 0 {
        return Err(format!("bits 64 to 71 of {prefix} are not zero"));
    }
    Ok(())
}

fn check_pool<L: LookUp>(facts: &Facts<'_, L>, rule: &Nat64Row, problems: &mut Problems) {
    let name = &rule.pool;
    let key = (name.clone(),);
    let Some(pool) = facts.rows.find::<PoolRow>(&key) else {
        return;
    };
    let mut refuse = |message: String| {
        problems.push(Problem::new(path(&rule.name).join("pool"), message));
    };
    if pool.address_only {
        refuse(format!(
            "pool \"{name}\" translates addresses only, and NAT64 takes ports"
        ));
    }
    let mut ranges = facts.rows.below::<PoolRangeRow, _>(key);
    if !ranges.any(|row| row.range.first().is_ipv4()) {
        refuse(format!("pool \"{name}\" has no IPv4 address"));
    }
    if let Some(other) = facts
        .rows
        .by::<MasqueradesByPool>(&(Some(name.clone()),))
        .first()
    {
        refuse(format!(
            "pool \"{name}\" is that of masquerade \"{}\": its ports would be given out twice",
            other.name
        ));
    }
}
