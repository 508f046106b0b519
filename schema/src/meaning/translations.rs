//! Port forwards and static translations by themselves: two hosts of one family, and not the same.

use std::net::IpAddr;

use super::addresses::{family, unusable};
use super::facts::Facts;
use super::limits::{MOST_FORWARDED_PORTS, MOST_STATIC_ADDRESSES};
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::{PortForwardRow, PortForwardSourceRow, StaticNatRow};
use crate::types::Name;

pub(super) fn port_forward_path(name: &Name) -> Path {
    Path::new(["nat", "port_forward", name.as_str()])
}

pub(super) fn static_path(name: &Name) -> Path {
    Path::new(["nat", "static", name.as_str()])
}

fn host(path: &Path, field: &str, address: IpAddr, problems: &mut Problems) {
    if let Some(why) = unusable(address) {
        let message = format!("expected the address of a host, {address} is {why}");
        problems.push(Problem::new(path.join(field), message));
    }
}

pub(super) fn check_port_forward<L: LookUp>(
    facts: &Facts<'_, L>,
    name: &Name,
    problems: &mut Problems,
) {
    let key = (name.clone(),);
    let Some(rule) = facts.rows.find::<PortForwardRow>(&key) else {
        return;
    };
    let path = port_forward_path(name);
    let internal = rule.internal_address;
    host(&path, "internal_address", internal, problems);
    match (rule.external_address, &rule.external_interface) {
        (Some(_), Some(_)) => {
            let message = "the interface's addresses, or this one: not both";
            let problem = Problem::new(path.join("external_address"), message);
            problems.push(problem.help("leave external_address or external_interface out"));
        }
        (None, None) => {
            let message = "packets are sent to an address: it says none";
            let problem = Problem::new(path.clone(), message);
            problems.push(problem.help("give it an external_address or an external_interface"));
        }
        (Some(external), None) => {
            host(&path, "external_address", external, problems);
            check_sides(&path, &rule, external, problems);
        }
        (None, Some(interface)) => check_interface(facts, &path, &rule, interface, problems),
    }
    if let Some(ports) = &rule.internal_port
        && ports.count() != rule.external_port.count()
    {
        let message = format!(
            "expected as many ports as external_port has ({}), found {}",
            rule.external_port.count(),
            ports.count()
        );
        problems.push(Problem::new(path.join("internal_port"), message));
    }
    let ports = rule.external_port.count() * rule.protocol.each().len() as u32;
    if ports > MOST_FORWARDED_PORTS {
        let message = format!("expected at most {MOST_FORWARDED_PORTS} ports, found {ports}");
        let problem = Problem::new(path.join("external_port"), message);
        problems.push(problem.help("ports count for either protocol; take a static translation"));
    }
    for source in facts.rows.below::<PortForwardSourceRow, _>(key.clone()) {
        if source.addresses.range().first().is_ipv4() != internal.is_ipv4() {
            let message = format!(
                "expected {} addresses like internal_address {internal}, found {}",
                family(internal),
                source.addresses
            );
            problems.push(Problem::new(super::path(&*source), message));
        }
    }
}

fn check_sides(path: &Path, rule: &PortForwardRow, external: IpAddr, problems: &mut Problems) {
    let internal = rule.internal_address;
    let mut wrong = |message| problems.push(Problem::new(path.join("internal_address"), message));
    if external.is_ipv4() != internal.is_ipv4() {
        wrong(format!(
            "expected an {} address like external_address {external}, found {internal}",
            family(external)
        ));
    }
    if external == internal && rule.external_vpc == rule.internal_vpc {
        let vpc = &rule.internal_vpc;
        wrong(format!("{internal} of VPC \"{vpc}\" would lead to itself"));
    }
}

fn check_interface<L: LookUp>(
    facts: &Facts<'_, L>,
    path: &Path,
    rule: &PortForwardRow,
    interface: &Name,
    problems: &mut Problems,
) {
    let Some(interface) = facts.interface(interface) else {
        return;
    };
    let mut wrong = |message| problems.push(Problem::new(path.join("external_interface"), message));
    let (name, vpc) = (&interface.row.name, &interface.row.vpc);
    if *vpc != rule.external_vpc {
        let outside = &rule.external_vpc;
        wrong(format!(
            "interface \"{name}\" belongs to VPC \"{vpc}\", not to \"{outside}\""
        ));
    }
    let internal = rule.internal_address;
    let mut own = interface.addresses.iter().map(|n| n.addr());
    if !own.any(|address| address.is_ipv4() == internal.is_ipv4()) {
        let family = family(internal);
        wrong(format!(
            "interface \"{name}\" has no {family} address, as internal_address {internal} is"
        ));
    }
    let mut own = interface.addresses.iter().map(|n| n.addr());
    if *vpc == rule.internal_vpc && own.any(|address| address == internal) {
        wrong(format!("{internal} of VPC \"{vpc}\" would lead to itself"));
    }
}

pub(super) fn check_static<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(rule) = facts.rows.find::<StaticNatRow>(&(name.clone(),)) else {
        return;
    };
    let path = static_path(name);
    let (outside, inside) = (rule.external_address, rule.internal_address);
    let (external, internal) = (outside.prefix().network(), inside.prefix().network());
    host(&path, "external_address", external.addr(), problems);
    host(&path, "internal_address", internal.addr(), problems);
    let host_bits = u32::from(external.max_prefix_len() - external.prefix_len());
    if host_bits > MOST_STATIC_ADDRESSES.ilog2() {
        let message =
            format!("expected at most {MOST_STATIC_ADDRESSES} addresses, found {outside}");
        let problem = Problem::new(path.join("external_address"), message);
        problems.push(problem.help("take several rules for smaller prefixes"));
    }
    let mut wrong = |message| problems.push(Problem::new(path.join("internal_address"), message));
    if external.addr().is_ipv4() != internal.addr().is_ipv4() {
        wrong(format!(
            "expected an {} address like external_address {outside}, found {inside}",
            family(external.addr())
        ));
    } else if external.prefix_len() != internal.prefix_len() {
        wrong(format!(
            "expected as many addresses as external_address {outside}, found {inside}"
        ));
    } else if external == internal && rule.external_vpc == rule.internal_vpc {
        let vpc = &rule.internal_vpc;
        wrong(format!("{inside} of VPC \"{vpc}\" would lead to itself"));
    }
}
