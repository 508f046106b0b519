//! How much of something there can be, whatever the machine.

use super::facts::Facts;
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::{AclRow, ConntrackRow, InterfaceRow, PeeringRow, TableRow, VpcRow};
use crate::types::Name;

/// The most addresses that a pool can have: what the gateway keeps account of.
pub const MOST_POOL_ADDRESSES: u128 = 65_536;
/// The most ports of a port forward, counted for either protocol: each has an entry of its own.
pub const MOST_FORWARDED_PORTS: u32 = 16_384;
/// The most addresses that an expose of a peering translates one to one: each has an entry of its own.
pub const MOST_STATIC_ADDRESSES: u32 = 4_096;
/// The longest prefixes that NPTv6 translates: RFC 6296 calculates with 64 bits.
pub const LONGEST_NPTV6_PREFIX: u8 = 64;
/// The most VPCs whose routes one packet is looked up in.
pub const MOST_LOOKUPS: usize = 32;
/// The most VPCs that are in effect at once: tables number them with 16 bits.
pub const MOST_VPCS: usize = 65_535;
/// The most interfaces that are in effect at once: tables number them with 16 bits.
pub const MOST_INTERFACES: usize = 65_535;
/// The most peerings that are in effect at once: tables number them with 16 bits.
pub const MOST_PEERINGS: usize = 65_535;

/// The most ACLs that are in effect at once: tables number them with 16 bits.
pub const MOST_ACLS: usize = 65_535;

pub(super) fn check_vpcs<L: LookUp>(facts: &Facts<'_, L>, problems: &mut Problems) {
    check::<VpcRow, L>(facts, MOST_VPCS, "vpcs", "VPCs", problems);
}

pub(super) fn check_interfaces<L: LookUp>(facts: &Facts<'_, L>, problems: &mut Problems) {
    let most = MOST_INTERFACES;
    check::<InterfaceRow, L>(facts, most, "interfaces", "interfaces", problems);
}

pub(super) fn check_acls<L: LookUp>(facts: &Facts<'_, L>, problems: &mut Problems) {
    check::<AclRow, L>(facts, MOST_ACLS, "acls", "ACLs", problems);
}

pub(super) fn check_peerings<L: LookUp>(facts: &Facts<'_, L>, problems: &mut Problems) {
    check::<PeeringRow, L>(facts, MOST_PEERINGS, "peerings", "peerings", problems);
}

fn check<R: TableRow, L: LookUp>(
    facts: &Facts<'_, L>,
    most: usize,
    section: &str,
    what: &str,
    problems: &mut Problems,
) {
    if facts.rows.most::<R>() <= most {
        return;
    }
    let count = facts.rows.all::<R>().count();
    if count > most {
        let message = format!("expected at most {most} {what}, found {count}");
        problems.push(Problem::new(Path::new([section]), message));
    }
}

/// A connection that lives no time at all is none.
pub(super) fn check_conntrack<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    problems: &mut Problems,
) {
    let Some(row) = facts.rows.find::<ConntrackRow>(&(vpc.clone(),)) else {
        return;
    };
    let times = [
        ("tcp_established", row.tcp_established),
        ("tcp_partially_open", row.tcp_partially_open),
        ("tcp_partially_closed", row.tcp_partially_closed),
        ("tcp_reset", row.tcp_reset),
        ("udp_replied", row.udp_replied),
        ("udp_unreplied", row.udp_unreplied),
        ("icmp_query", row.icmp_query),
        ("other", row.other),
    ];
    for (field, _) in times
        .iter()
        .filter(|(_, time)| time.is_some_and(|t| t.as_millis() == 0))
    {
        let message = "expected a time longer than none";
        problems.push(Problem::new(super::path(&*row).join(field), message));
    }
}
