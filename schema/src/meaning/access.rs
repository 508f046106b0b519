//! Rules of access control lists.

use super::facts::Facts;
use super::look_up::LookUp;
use super::packets::{BOTH, Families, Packets, agree, families};
use super::{Problem, Problems};
use crate::model::*;
use crate::types::Name;

pub(super) fn check_rule<L: LookUp>(
    facts: &Facts<'_, L>,
    acl: &Name,
    sequence: u32,
    problems: &mut Problems,
) {
    let key = (acl.clone(), sequence);
    let Some(rule) = facts.rows.find::<AclRuleRow>(&key) else {
        return;
    };
    let path = || super::path(&*rule);
    let packets = Packets {
        protocol: rule.protocol,
        source_port: rule.source_port.as_ref(),
        destination_port: rule.destination_port.as_ref(),
        icmp_type: rule.icmp_type,
        icmp_code: rule.icmp_code,
    };
    packets.check(&path, problems);
    if let (Some(service), Some(field)) = (&rule.service, packets.names().next()) {
        let message =
            format!("service \"{service}\" says what packets look like, and so does {field}");
        problems.push(Problem::new(path().join("service"), message).help("leave one of them out"));
    }
    let sources = facts.rows.below::<AclRuleSourceRow, _>(key.clone());
    let sources = sources.map(|row| row.addresses.range().first().is_ipv4());
    let destinations = facts.rows.below::<AclRuleDestinationRow, _>(key.clone());
    let destinations = destinations.map(|row| row.addresses.range().first().is_ipv4());
    let of_set = |set: &Option<Name>| {
        let members = set.iter().flat_map(|set| members(facts, set));
        members.collect::<Vec<bool>>()
    };
    let sources = families(sources.chain(of_set(&rule.source_set)));
    let destinations = families(destinations.chain(of_set(&rule.destination_set)));
    let protocol: Families = match packets.family() {
        Some(is_ipv4) => (is_ipv4, !is_ipv4),
        None => BOTH,
    };
    if !agree(&[sources, destinations]) {
        let message = "no packet matches: sources and destinations are of different families";
        problems.push(Problem::new(path(), message));
    } else if !agree(&[sources, destinations, protocol]) {
        let message = "no packet matches: protocol and addresses are of different families";
        problems.push(Problem::new(path(), message));
    }
}

/// Whether each member of a set is IPv4.
fn members<L: LookUp>(facts: &Facts<'_, L>, set: &Name) -> Vec<bool> {
    let members = facts.rows.below::<AddressSetMemberRow, _>((set.clone(),));
    members
        .map(|row| row.addresses.range().first().is_ipv4())
        .collect()
}
