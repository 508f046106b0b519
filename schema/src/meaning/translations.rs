//! Port forwards and static translations by themselves: two hosts of one family, and not the same.

use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{family, unusable};
use super::facts::Facts;
use super::limits::{LONGEST_NPTV6_PREFIX, MOST_FORWARDED_PORTS};
use super::look_up::LookUp;
use super::{Problem, Problems, nat64};
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
            check_sides(facts, &path, &rule, external, problems);
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
    // Senders are of the family that they send to, which may be another than the host's.
    let (field, like) = match rule.external_address {
        Some(external) if external.is_ipv4() != internal.is_ipv4() => {
            ("external_address", external)
        }
        _ => ("internal_address", internal),
    };
    for source in facts.rows.below::<PortForwardSourceRow, _>(key.clone()) {
        if source.addresses.range().first().is_ipv4() != like.is_ipv4() {
            let message = format!(
                "expected {} addresses like {field} {like}, found {}",
                family(like),
                source.addresses
            );
            problems.push(Problem::new(super::path(&*source), message));
        }
    }
}

fn check_sides<L: LookUp>(
    facts: &Facts<'_, L>,
    path: &Path,
    rule: &PortForwardRow,
    external: IpAddr,
    problems: &mut Problems,
) {
    let internal = rule.internal_address;
    let (inside, outside) = (&rule.internal_vpc, &rule.external_vpc);
    let wrong = |message| Problem::new(path.join("internal_address"), message);
    if external.is_ipv4() != internal.is_ipv4()
        && !(external.is_ipv4() && nat64::serves(facts, (inside, internal), outside))
    {
        let problem = wrong(format!(
            "expected an {} address like external_address {external}, found {internal}",
            family(external)
        ));
        problems.push(match external.is_ipv4() {
            true => problem.help(format!(
                "a host of IPv6 is reached through NAT64: VPC \"{inside}\" has none that is for {internal} and has its pool in VPC \"{outside}\""
            )),
            false => problem,
        });
    }
    if external == internal && outside == inside {
        problems.push(wrong(format!(
            "{internal} of VPC \"{inside}\" would lead to itself"
        )));
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

/// The first address of a prefix and its last one are those of hosts.
fn hosts(path: &Path, field: &str, prefix: IpNet, problems: &mut Problems) {
    let before = problems.len();
    host(path, field, prefix.network(), problems);
    if problems.len() == before && prefix.network() != prefix.broadcast() {
        host(path, field, prefix.broadcast(), problems);
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The calculation of RFC 6296 (section 3.1) is one of 64 bits.
fn check_nptv6(path: &Path, prefixes: [IpNet; 2], problems: &mut Problems) {
    let fields = ["external_address", "internal_address"];
    for (field, prefix) in fields.into_iter().zip(prefixes) {
        if prefix.addr().is_ipv4() || prefix.prefix_len() > LONGEST_NPTV6_PREFIX {
            let message = format!(
                "expected an IPv6 prefix of at most {LONGEST_NPTV6_PREFIX} bits for NPTv6, found {prefix}"
            );
            problems.push(Problem::new(path.join(field), message));
        }
    }
}

pub(super) fn check_static<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(rule) = facts.rows.find::<StaticNatRow>(&(name.clone(),)) else {
        return;
    };
    let path = static_path(name);
    let (outside, inside) = (rule.external_address, rule.internal_address);
    let (external, internal) = (outside.prefix().network(), inside.prefix().network());
    hosts(&path, "external_address", external, problems);
    hosts(&path, "internal_address", internal, problems);
    if rule.nptv6 {
        check_nptv6(&path, [external, internal], problems);
    }
    let mut wrong = |message| problems.push(Problem::new(path.join("internal_address"), message));
    if external.addr().is_ipv4() != internal.addr().is_ipv4() {
        wrong(format!(
            "expected an {} address like external_address {outside}, found {inside}",
            family(external.addr())
        ));
    } else if external.prefix_len() != internal.prefix_len() && !rule.nptv6 {
        wrong(format!(
            "expected as many addresses as external_address {outside}, found {inside}"
        ));
    } else if overlap(external, internal) && rule.external_vpc == rule.internal_vpc {
        let vpc = &rule.internal_vpc;
        wrong(format!("{inside} of VPC \"{vpc}\" would lead to itself"));
    }
}
