//! The links of a VPC: an address is on one interface, and so is every destination.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::addresses::is_link_local;
use super::facts::Facts;
use super::look_up::LookUp;
use super::{Problem, Problems, interfaces};
use crate::document::Path;
use crate::types::Name;

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, vpc: &Name, problems: &mut Problems) {
    let addresses = &facts.vpc(vpc).addresses;
    owners(vpc, addresses, problems);
    subnets(vpc, addresses, problems);
}

fn path(interface: &Name, address: &IpNet) -> Path {
    interfaces::path(interface).join("addresses").join(address)
}

/// An address is that of one interface. Link-local addresses are on every link.
fn owners(vpc: &Name, addresses: &[(Name, IpNet)], problems: &mut Problems) {
    let mut owners: HashMap<(Option<&Name>, IpAddr), &Name> = HashMap::new();
    for (interface, network) in addresses {
        let address = network.addr();
        let link = is_link_local(address).then_some(interface);
        let message = match owners.insert((link, address), interface) {
            Some(other) if other == interface => {
                format!("the interface has {address} twice, with different prefix lengths")
            }
            Some(other) => format!("interface \"{other}\" of VPC \"{vpc}\" has {address} already"),
            None => continue,
        };
        problems.push(Problem::new(path(interface, network), message));
    }
}

/// The subnets of two interfaces must be apart: a destination would be on two links.
fn subnets(vpc: &Name, addresses: &[(Name, IpNet)], problems: &mut Problems) {
    let local = |entry: &&(Name, IpNet)| !is_link_local(entry.1.addr());
    let subnets = addresses.iter().filter(local);
    let mut list: Vec<(IpNet, &Name, IpNet)> = subnets
        .map(|(interface, network)| (network.trunc(), interface, *network))
        .collect();
    // A subnet comes right after those that hold it; those that may hold the next one are kept open.
    list.sort();
    let mut open: Vec<&(IpNet, &Name, IpNet)> = Vec::new();
    for entry in &list {
        let (subnet, interface, address) = entry;
        open.retain(|(outer, _, _)| outer.contains(subnet));
        if let Some((outer, other, _)) = open.iter().find(|(_, other, _)| other != interface) {
            problems.push(Problem::new(
                path(interface, address),
                format!(
                    "subnet {subnet} overlaps {outer} of interface \"{other}\" in VPC \"{vpc}\""
                ),
            ));
        }
        open.push(entry);
    }
}
