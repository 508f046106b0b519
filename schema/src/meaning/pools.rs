//! Pools of external addresses.

use super::addresses::unusable;
use super::blocks::count;
use super::facts::Facts;
use super::limits::MOST_POOL_ADDRESSES;
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::{PoolRangeRow, PoolRow};
use crate::types::{AddressRange, Name};

fn path(pool: &Name) -> Path {
    Path::new(["nat", "pools", pool.as_str()])
}

fn range_path(pool: &Name, range: AddressRange) -> Path {
    path(pool).join("ranges").join(range)
}

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let key = (name.clone(),);
    let Some(pool) = facts.rows.find::<PoolRow>(&key) else {
        return;
    };
    if pool.address_only && pool.ports.is_some() {
        let message = "a pool that translates addresses only gives out no ports";
        problems.push(Problem::new(path(name).join("ports"), message));
    }
    let mut addresses: u128 = 0;
    for row in facts.rows.below::<PoolRangeRow, _>(key.clone()) {
        addresses = addresses.saturating_add(count(row.range));
        let ends = [row.range.first(), row.range.last()];
        if let Some((end, why)) = ends.iter().find_map(|end| Some((end, unusable(*end)?))) {
            let message = format!("expected addresses of hosts, {end} is {why}");
            problems.push(Problem::new(range_path(name, row.range), message));
        }
    }
    if addresses == 0 {
        let message = "expected at least one address, the pool has none";
        problems.push(Problem::new(path(name), message));
    } else if addresses > MOST_POOL_ADDRESSES {
        let message = format!(
            "the pool has {addresses} addresses, at most {MOST_POOL_ADDRESSES} are possible"
        );
        problems.push(Problem::new(path(name), message));
    }
}

/// The ranges of a VPC's pools are apart, and no interface has an address of theirs.
pub(super) fn check_ranges<L: LookUp>(facts: &Facts<'_, L>, vpc: &Name, problems: &mut Problems) {
    let known = facts.vpc(vpc);
    let mut widest: Option<&(AddressRange, Name)> = None;
    for entry in &known.ranges {
        let (range, pool) = entry;
        if let Some((other, owner)) = widest.filter(|(other, _)| other.overlaps(*range)) {
            problems.push(Problem::new(
                range_path(pool, *range),
                format!("{range} overlaps {other} of pool \"{owner}\" in VPC \"{vpc}\""),
            ));
        }
        if widest.is_none_or(|(other, _)| other.last() < range.last()) {
            widest = Some(entry);
        }
    }
    for (interface, network) in &known.addresses {
        let address = network.addr();
        if let Some((range, pool)) = known.range_holding(address) {
            problems.push(Problem::new(
                range_path(pool, *range),
                format!("{address} is the address of interface \"{interface}\" of VPC \"{vpc}\""),
            ));
        }
    }
}
