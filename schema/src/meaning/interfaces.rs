//! Interfaces: ports, MTU, addresses, subnets, neighbors.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::{is_link_local, on_link, unusable, unusable_in};
use super::{Facts, Problem};
use crate::document::Path;
use crate::model::{LARGEST_MTU, Row, SMALLEST_MTU};
use crate::port::Port;
use crate::types::{InterfaceType, Name};

pub(super) fn check(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    ports_and_mtu(facts, problems);
    own_addresses(facts, problems);
    subnets(facts, problems);
    neighbors(facts, problems);
}

fn interface_path(name: &Name) -> Path {
    Path::new(["interfaces", name.as_str()])
}

/// What two interfaces cannot share.
#[derive(PartialEq, Eq, Hash)]
enum PortOwner<'a> {
    KernelInterface(&'a str),
    Port(&'a Port),
}

fn ports_and_mtu(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    let mut ports: HashMap<PortOwner<'_>, &Name> = HashMap::new();
    for row in facts.configuration.interface.values() {
        if !(SMALLEST_MTU..=LARGEST_MTU).contains(&row.mtu) {
            problems.push(Problem::new(
                interface_path(&row.name).join("mtu"),
                format!(
                    "expected {SMALLEST_MTU} to {LARGEST_MTU}, found {}",
                    row.mtu
                ),
            ));
        }
        if row.kind() == InterfaceType::Physical {
            for (field, is_there) in [("port", row.port.is_some()), ("mac", row.mac.is_some())] {
                if !is_there {
                    let message = format!("a physical interface needs a {field}");
                    problems.push(Problem::new(interface_path(&row.name), message));
                }
            }
        }
        let Some(port) = &row.port else { continue };
        let owner = match port {
            Port::AfPacket { interface } | Port::Tap { interface } => {
                PortOwner::KernelInterface(interface)
            }
            port => PortOwner::Port(port),
        };
        let first = *ports.entry(owner).or_insert(&row.name);
        if first != &row.name {
            problems.push(Problem::new(
                interface_path(&row.name).join("port"),
                format!("{port} is the port of interface \"{first}\" already"),
            ));
        }
    }
}

fn own_addresses(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    // By VPC; link-local addresses by interface.
    let mut owners: HashMap<(&Name, Option<&Name>, IpAddr), &Name> = HashMap::new();
    for row in facts.configuration.interface_address.values() {
        let (address, subnet) = (row.address.address(), row.address.subnet());
        let path = || Row::from(row.clone()).path();
        if let Some(why) = unusable(address) {
            let message = format!("expected the address of a host, {address} is {why}");
            problems.push(Problem::new(path(), message));
        } else if let Some(why) = unusable_in(&subnet, address) {
            let message = format!("expected the address of a host, {address} is {why} of {subnet}");
            problems.push(Problem::new(path(), message));
        }
        let Some(vpc) = facts.vpc_of(&row.interface) else {
            continue;
        };
        let link = is_link_local(address).then_some(&row.interface);
        match owners.insert((vpc, link, address), &row.interface) {
            Some(other) if *other == row.interface => problems.push(Problem::new(
                path(),
                format!("the interface has {address} twice, with different prefix lengths"),
            )),
            Some(other) => problems.push(Problem::new(
                path(),
                format!("interface \"{other}\" of VPC \"{vpc}\" has {address} already"),
            )),
            None => {}
        }
    }
}

/// The subnets of two interfaces of one VPC must be apart: a destination would be on two links.
fn subnets(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    let mut by_vpc: BTreeMap<&Name, Vec<(IpNet, &Name, IpNet)>> = BTreeMap::new();
    for (interface, networks) in &facts.addresses {
        let Some(vpc) = facts.vpc_of(interface) else {
            continue;
        };
        for network in networks.iter().filter(|n| !is_link_local(n.addr())) {
            let list = by_vpc.entry(vpc).or_default();
            list.push((network.trunc(), interface, *network));
        }
    }
    for (vpc, mut list) in by_vpc {
        // A subnet comes right after those that hold it; those that may hold the next one are kept open.
        list.sort();
        let mut open: Vec<&(IpNet, &Name, IpNet)> = Vec::new();
        for entry in &list {
            let (subnet, interface, address) = entry;
            open.retain(|(outer, _, _)| outer.contains(subnet));
            if let Some((outer, other, _)) = open.iter().find(|(_, other, _)| other != interface) {
                let path = interface_path(interface).join("addresses").join(address);
                problems.push(Problem::new(
                    path,
                    format!(
                        "subnet {subnet} overlaps {outer} of interface \"{other}\" in VPC \"{vpc}\""
                    ),
                ));
            }
            open.push(entry);
        }
    }
}

fn neighbors(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    for row in facts.configuration.neighbor.values() {
        if facts.vpc_of(&row.interface).is_none() {
            continue;
        }
        if let Err(why) = on_link(facts.addresses_of(&row.interface), row.address) {
            problems.push(Problem::new(Row::from(row.clone()).path(), why));
        }
    }
}
