//! Every external address has one role: it is that of one static translation, or of port forwards, or of a pool, or of an
//! interface. Port forwards may use an interface's address.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::*;
use super::look_up::LookUp;
use super::routes::covering;
use super::translations::{port_forward_path, static_path};
use super::{Problem, Problems};
use crate::model::{PortForwardRow, StaticNatRow};
use crate::types::{AddressOrPrefix, AddressRange, Name, Prefix};

/// The port forwards of what is sent to one address.
pub(super) fn check_forwards<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    address: IpAddr,
    problems: &mut Problems,
) {
    let forwards = forwards_to(facts, vpc, address);
    for (index, rule) in forwards.iter().enumerate() {
        let same = |other: &&Cow<'_, PortForwardRow>| {
            let protocols = rule.protocol.each().iter();
            other.external_port.overlaps(&rule.external_port)
                && protocols
                    .copied()
                    .any(|p| other.protocol.each().contains(&p))
        };
        if let Some(first) = forwards[..index].iter().find(same) {
            problems.push(Problem::new(
                port_forward_path(&rule.name),
                format!(
                    "{} port {} of {address} in VPC \"{vpc}\" is forwarded by \"{}\" already",
                    rule.protocol, rule.external_port, first.name
                ),
            ));
        }
    }
}

/// Those that name the address, and those that name the interface which has it, by name.
fn forwards_to<'a, L: LookUp>(
    facts: &Facts<'a, L>,
    vpc: &Name,
    address: IpAddr,
) -> Vec<Cow<'a, PortForwardRow>> {
    let rows: &'a L = facts.rows;
    let mut forwards = rows.by::<PortForwardsTo>(&(vpc.clone(), Some(address)));
    if let Some(interface) = facts.vpc(vpc).owner(address) {
        let on = rows.by::<PortForwardsOn>(&(Some(interface.clone()),));
        forwards.extend(on.into_iter().filter(|rule| {
            rule.external_vpc == *vpc
                && rule.external_address.is_none()
                && rule.internal_address.is_ipv4() == address.is_ipv4()
        }));
        forwards.sort_by(|a, b| a.name.cmp(&b.name));
    }
    forwards
}

/// The static translations of these external addresses.
pub(super) fn check_statics<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    external: AddressOrPrefix,
    problems: &mut Problems,
) {
    let statics = facts.rows.by::<StaticsTo>(&(vpc.clone(), external));
    let Some(first) = statics.first() else { return };
    let network = external.prefix().network();
    // A translation of a larger prefix that these addresses are in.
    let around = covering(external.prefix()).skip(1);
    let around = around.flat_map(|prefix| {
        let key = (vpc.clone(), AddressOrPrefix::from(prefix));
        facts.rows.by::<StaticsTo>(&key)
    });
    let around = around.map(|rule| rule.into_owned()).next();
    let forward = forward_into(facts, vpc, network);
    let known = facts.vpc(vpc);
    let own = known
        .addresses
        .iter()
        .find(|(_, own)| network.contains(&own.addr()));
    let range = known.range_meeting(network);
    for rule in &statics {
        let mut clash = |address: &dyn std::fmt::Display, what: String| {
            let path = static_path(&rule.name).join("external_address");
            problems.push(Problem::new(path, format!("{address} is {what}")));
        };
        if first.name != rule.name {
            let name = &first.name;
            clash(
                &external,
                format!("the external address of \"{name}\" already"),
            );
        }
        if let Some(StaticNatRow {
            name,
            external_address,
            ..
        }) = &around
        {
            clash(&external, format!("in {external_address} of \"{name}\""));
        }
        if let Some((name, address)) = &forward {
            clash(
                address,
                format!("the external address of port forward \"{name}\""),
            );
        }
        if let Some((name, own)) = own {
            clash(&own.addr(), format!("the address of interface \"{name}\""));
        }
        if let Some((range, pool)) = range {
            clash(&external, format!("in {range} of pool \"{pool}\""));
        }
    }
}

/// The first port forward of an address in this network, by name. Those of an interface's addresses clash with the
/// interface.
fn forward_into<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    network: IpNet,
) -> Option<(Name, IpAddr)> {
    let forwards = if network.prefix_len() == network.max_prefix_len() {
        let key = (vpc.clone(), Some(network.addr()));
        facts.rows.by::<PortForwardsTo>(&key)
    } else {
        facts.rows.by::<PortForwardsFrom>(&(vpc.clone(),))
    };
    forwards.into_iter().find_map(|rule| {
        let address = rule.external_address?;
        network
            .contains(&address)
            .then(|| (rule.name.clone(), address))
    })
}

/// An address is translated into another VPC by one static translation.
pub(super) fn check_internal<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    internal: AddressOrPrefix,
    outside: &Name,
    problems: &mut Problems,
) {
    let of = |internal| {
        let key = (vpc.clone(), internal, outside.clone());
        facts.rows.by::<StaticsOf>(&key)
    };
    let rules = of(internal);
    let around = covering(internal.prefix()).skip(1);
    let around = around.flat_map(|prefix| of(AddressOrPrefix::from(prefix)));
    let around = around.map(|rule| rule.name.clone()).next();
    for (index, rule) in rules.iter().enumerate() {
        let first = (index > 0).then(|| rules[0].name.clone());
        if let Some(first) = first.or_else(|| around.clone()) {
            let path = static_path(&rule.name).join("internal_address");
            let message =
                format!("{internal} is translated into VPC \"{outside}\" by \"{first}\" already");
            problems.push(Problem::new(path, message));
        }
    }
}

/// Whether two blocks have addresses in common.
pub(super) fn meets(network: IpNet, range: AddressRange) -> bool {
    let (first, last) = (network.network(), network.broadcast());
    first.is_ipv4() == range.first().is_ipv4() && first <= range.last() && range.first() <= last
}

/// Whether a block holds a prefix.
pub(super) fn holds(block: AddressOrPrefix, prefix: Prefix) -> bool {
    block.prefix().network().contains(&prefix.network())
}
