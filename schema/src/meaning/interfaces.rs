//! Interfaces by themselves: the fields of their type, their ports, VLANs and tunnels, their addresses and neighbors.

use std::collections::HashMap;
use std::net::IpAddr;

use super::addresses::{family, on_link, unusable, unusable_in};
use super::facts::{Facts, Interface, InterfacesByVlan, InterfacesOnPort, TunnelsOver, VpcsByVni};
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::*;
use crate::port::Port;
use crate::types::{AclDefault, InterfaceType, Name};

pub(super) fn path(name: &Name) -> Path {
    Path::new(["interfaces", name.as_str()])
}

pub(super) fn check<L: LookUp>(facts: &Facts<'_, L>, name: &Name, problems: &mut Problems) {
    let Some(interface) = facts.interface(name) else {
        return;
    };
    let row = &interface.row;
    fields_of_type(row, problems);
    if !(SMALLEST_MTU..=LARGEST_MTU).contains(&row.mtu) {
        let message = format!(
            "expected {SMALLEST_MTU} to {LARGEST_MTU}, found {}",
            row.mtu
        );
        problems.push(Problem::new(path(name).join("mtu"), message));
    }
    match row.kind() {
        InterfaceType::Vlan => check_parent(facts, row, problems),
        InterfaceType::Vxlan => check_tunnel(facts, row, problems),
        InterfaceType::Physical | InterfaceType::Loopback => {}
    }
    for (field, acl) in [("acl_in", &row.acl_in), ("acl_out", &row.acl_out)] {
        let acl = acl
            .clone()
            .and_then(|acl| facts.rows.find::<AclRow>(&(acl,)));
        if let Some(acl) = acl.filter(|a| a.default_action == AclDefault::DenyUnlessExposed) {
            let message = format!("the default of ACL \"{}\" is for peerings", acl.name);
            problems.push(Problem::new(path(name).join(field), message));
        }
    }
    own_addresses(facts, &interface, problems);
}

/// Each type has fields that it needs, and fields that mean nothing to it.
fn fields_of_type(row: &InterfaceRow, problems: &mut Problems) {
    use InterfaceType::{Physical, Vlan, Vxlan};
    let kind = row.kind();
    // The field, whether it is there, who needs it, and who may have it as well.
    let fields: [(&str, bool, &[InterfaceType], &[InterfaceType]); 8] = [
        ("port", row.port.is_some(), &[Physical], &[]),
        ("mac", row.mac.is_some(), &[Physical, Vxlan], &[Vlan]),
        ("parent", row.parent.is_some(), &[Vlan], &[]),
        ("vlan", row.vlan.is_some(), &[Vlan], &[]),
        ("vni", row.vni.is_some(), &[], &[Vxlan]),
        ("local", row.local_address.is_some(), &[Vxlan], &[]),
        ("remote", row.remote_address.is_some(), &[], &[Vxlan]),
        ("underlay", row.underlay.is_some(), &[Vxlan], &[]),
    ];
    for (field, is_there, needed, allowed) in fields {
        if needed.contains(&kind) && !is_there {
            let article = if field == "underlay" { "an" } else { "a" };
            let message = format!("a {kind} interface needs {article} {field}");
            problems.push(Problem::new(path(&row.name), message));
        } else if is_there && !needed.contains(&kind) && !allowed.contains(&kind) {
            let message = format!("a {kind} interface has no {field}");
            problems.push(
                Problem::new(path(&row.name).join(field), message)
                    .help(format!("leave {field} out, or change the type")),
            );
        }
    }
}

fn check_parent<L: LookUp>(facts: &Facts<'_, L>, row: &InterfaceRow, problems: &mut Problems) {
    let Some(parent) = &row.parent else { return };
    let Some(parent) = facts.interface(parent) else {
        return;
    };
    let (name, kind) = (&parent.row.name, parent.row.kind());
    if kind != InterfaceType::Physical {
        let message = format!("expected a physical interface, \"{name}\" is of type {kind}");
        problems.push(Problem::new(path(&row.name).join("parent"), message));
    } else if row.mtu > parent.row.mtu {
        let message = format!(
            "expected at most the {} of its parent \"{name}\", found {}",
            parent.row.mtu, row.mtu
        );
        problems.push(Problem::new(path(&row.name).join("mtu"), message));
    }
}

fn check_tunnel<L: LookUp>(facts: &Facts<'_, L>, row: &InterfaceRow, problems: &mut Problems) {
    if vni(facts, row).is_none() && facts.rows.find::<VpcRow>(&(row.vpc.clone(),)).is_some() {
        let message = format!("neither the interface nor VPC \"{}\" has a VNI", row.vpc);
        problems.push(Problem::new(path(&row.name), message).help("give one of them a vni"));
    }
    let Some(local) = row.local_address else {
        return;
    };
    if let Some(remote) = row.remote_address {
        let message = if let Some(why) = unusable(remote) {
            format!("expected the address of a host, {remote} is {why}")
        } else if remote.is_ipv4() != local.is_ipv4() {
            let family = family(local);
            format!("expected an {family} address like local {local}, found {remote}")
        } else if remote == local {
            format!("{remote} is the tunnel's own end")
        } else {
            String::new()
        };
        if !message.is_empty() {
            problems.push(Problem::new(path(&row.name).join("remote"), message));
        }
    }
    if let Some(underlay) = &row.underlay
        && facts.vpc(underlay).owner(local).is_none()
    {
        let message = format!("no interface of VPC \"{underlay}\" has {local}");
        problems.push(Problem::new(path(&row.name).join("local"), message));
    }
}

/// The VXLAN network identifier that the packets of a tunnel carry.
fn vni<L: LookUp>(facts: &Facts<'_, L>, row: &InterfaceRow) -> Option<u32> {
    let of_vpc = || facts.rows.find::<VpcRow>(&(row.vpc.clone(),))?.vni;
    row.vni.or_else(of_vpc)
}

fn own_addresses<L: LookUp>(facts: &Facts<'_, L>, interface: &Interface, problems: &mut Problems) {
    let key = (interface.row.name.clone(),);
    for row in facts.rows.below::<InterfaceAddressRow, _>(key.clone()) {
        let (address, subnet) = (row.address.address(), row.address.subnet());
        let why = match (unusable(address), unusable_in(&subnet, address)) {
            (Some(why), _) => why.to_owned(),
            (None, Some(why)) => format!("{why} of {subnet}"),
            (None, None) => continue,
        };
        let message = format!("expected the address of a host, {address} is {why}");
        problems.push(Problem::new(super::path(&*row), message));
    }
}

/// Stands for all ports that only one interface can have: two drivers of one kernel interface are one.
pub(super) fn owner(port: &Port) -> Port {
    match port {
        Port::Tap { interface } => Port::AfPacket {
            interface: interface.clone(),
        },
        port => port.clone(),
    }
}

pub(super) fn check_port<L: LookUp>(facts: &Facts<'_, L>, owner: &Port, problems: &mut Problems) {
    let mut sharing = facts.rows.by::<InterfacesOnPort>(&(Some(owner.clone()),));
    if let Port::AfPacket { interface } = owner {
        let interface = interface.clone();
        let tap = Some(Port::Tap { interface });
        sharing.extend(facts.rows.by::<InterfacesOnPort>(&(tap,)));
        sharing.sort_by(|a, b| a.name.cmp(&b.name));
    }
    let Some((first, others)) = sharing.split_first() else {
        return;
    };
    for row in others {
        if let Some(port) = &row.port {
            let message = format!("{port} is the port of interface \"{}\" already", first.name);
            problems.push(Problem::new(path(&row.name).join("port"), message));
        }
    }
}

/// A VLAN of a physical interface is one interface.
pub(super) fn check_vlan<L: LookUp>(
    facts: &Facts<'_, L>,
    parent: &Name,
    vlan: u16,
    problems: &mut Problems,
) {
    let key = (Some(parent.clone()), Some(vlan));
    let sharing = facts.rows.by::<InterfacesByVlan>(&key);
    let Some((first, others)) = sharing.split_first() else {
        return;
    };
    for row in others {
        let first = &first.name;
        let message = format!("interface \"{first}\" is VLAN {vlan} of \"{parent}\" already");
        problems.push(Problem::new(path(&row.name).join("vlan"), message));
    }
}

/// A VXLAN network identifier is that of one VPC.
pub(super) fn check_vni<L: LookUp>(facts: &Facts<'_, L>, vni: u32, problems: &mut Problems) {
    let sharing = facts.rows.by::<VpcsByVni>(&(Some(vni),));
    let Some((first, others)) = sharing.split_first() else {
        return;
    };
    for row in others {
        let message = format!("{vni} is the VNI of VPC \"{}\" already", first.name);
        problems.push(Problem::new(super::path(&**row).join("vni"), message));
    }
}

/// The tunnels over a VPC are told apart by their ends and their VNI.
pub(super) fn check_tunnels<L: LookUp>(
    facts: &Facts<'_, L>,
    underlay: &Name,
    problems: &mut Problems,
) {
    let mut ends: HashMap<_, Name> = HashMap::new();
    for row in facts.rows.by::<TunnelsOver>(&(Some(underlay.clone()),)) {
        let (Some(local), Some(vni)) = (row.local_address, vni(facts, &row)) else {
            continue;
        };
        let key = (local, row.remote_address, vni);
        let first = ends.entry(key).or_insert_with(|| row.name.clone());
        if *first != row.name {
            let message = format!(
                "interface \"{first}\" has VNI {vni} on {local} of VPC \"{underlay}\" already"
            );
            problems.push(Problem::new(path(&row.name), message));
        }
    }
}

pub(super) fn check_neighbor<L: LookUp>(
    facts: &Facts<'_, L>,
    interface: &Name,
    address: IpAddr,
    problems: &mut Problems,
) {
    let Some(row) = facts
        .rows
        .find::<NeighborRow>(&(interface.clone(), address))
    else {
        return;
    };
    let Some(interface) = facts.interface(interface) else {
        return;
    };
    let why = if interface.row.kind() == InterfaceType::Loopback {
        Err("a loopback interface is on no link: it has no neighbors".to_owned())
    } else {
        on_link(&interface.addresses, address)
    };
    if let Err(why) = why {
        problems.push(Problem::new(super::path(&*row), why));
    }
}
