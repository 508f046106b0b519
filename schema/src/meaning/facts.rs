//! What several rules ask for, gathered once where it is first asked for: the addresses of an interface, and those of a VPC.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;

use super::look_up::{Index, LookUp, indices};
use crate::model::*;
use crate::port::Port;
use crate::types::{AddressOrPrefix, AddressRange, InterfaceAddress, Name, Prefix};

indices! {
    VpcsByVni: VpcRow by (vni: Option<u32>),
    InterfacesOfVpc: InterfaceRow by (vpc: Name),
    InterfacesOnPort: InterfaceRow by (port: Option<Port>),
    InterfacesOn: InterfaceRow by (parent: Option<Name>),
    InterfacesByVlan: InterfaceRow by (parent: Option<Name>, vlan: Option<u16>),
    TunnelsOver: InterfaceRow by (underlay: Option<Name>),
    InterfacesByAclIn: InterfaceRow by (acl_in: Option<Name>),
    InterfacesByAclOut: InterfaceRow by (acl_out: Option<Name>),
    NextHopsByInterface: NextHopRow by (interface: Name),
    LeaksInto: RouteRow by (to_vpc: Option<Name>),
    PoolsOfVpc: PoolRow by (vpc: Name),
    MasqueradesByInterface: MasqueradeRow by (interface: Name),
    MasqueradesByPool: MasqueradeRow by (pool: Option<Name>),
    Nat64sOfVpc: Nat64Row by (vpc: Name),
    Nat64sByPool: Nat64Row by (pool: Name),
    PortForwardsFrom: PortForwardRow by (external_vpc: Name),
    PortForwardsTo: PortForwardRow by (external_vpc: Name, external_address: Option<IpAddr>),
    PortForwardsInto: PortForwardRow by (internal_vpc: Name),
    PortForwardsOn: PortForwardRow by (external_interface: Option<Name>),
    StaticsFrom: StaticNatRow by (external_vpc: Name),
    StaticsTo: StaticNatRow by (external_vpc: Name, external_address: AddressOrPrefix),
    StaticsInto: StaticNatRow by (internal_vpc: Name),
    StaticsOf: StaticNatRow by (internal_vpc: Name, internal_address: AddressOrPrefix, external_vpc: Name),
    RulesBySourceSet: AclRuleRow by (source_set: Option<Name>),
    RulesByDestinationSet: AclRuleRow by (destination_set: Option<Name>),
    IntentsFrom: IntentRow by (from_vpc: Name),
    ProbesIn: ProbeRow by (interface: Name),
}

/// One state, with what is known about it.
pub(super) struct Facts<'a, L> {
    pub(super) rows: &'a L,
    interfaces: RefCell<HashMap<Name, Option<Rc<Interface>>>>,
    vpcs: RefCell<HashMap<Name, Rc<Vpc>>>,
}

/// An interface and its addresses.
pub(super) struct Interface {
    pub(super) row: InterfaceRow,
    /// The addresses with their subnets, in the order of the rows.
    pub(super) addresses: Vec<IpNet>,
}

/// The addresses that are spoken for in a VPC.
pub(super) struct Vpc {
    /// The addresses of its interfaces with their subnets, in the order of the rows.
    pub(super) addresses: Vec<(Name, IpNet)>,
    /// The first interface that has an address.
    owners: HashMap<IpAddr, Name>,
    /// The first interface that a subnet is connected to.
    subnets: HashMap<Prefix, Name>,
    /// The ranges of its pools, ordered by their first address.
    pub(super) ranges: Vec<(AddressRange, Name)>,
}

impl Vpc {
    /// The interface that has this address.
    pub(super) fn owner(&self, address: IpAddr) -> Option<&Name> {
        self.owners.get(&address)
    }

    /// The interface that this prefix is the subnet of.
    pub(super) fn connected(&self, prefix: Prefix) -> Option<&Name> {
        self.subnets.get(&prefix)
    }

    /// The range of the VPC's pools that holds an address. Ranges that overlap are a problem already, so that looking at
    /// the last one that begins before the address is enough.
    pub(super) fn range_holding(&self, address: IpAddr) -> Option<&(AddressRange, Name)> {
        let after = self
            .ranges
            .partition_point(|(range, _)| range.first() <= address);
        let found = self.ranges.get(after.checked_sub(1)?)?;
        found.0.contains(address).then_some(found)
    }

    /// A range of the VPC's pools that has an address of a network.
    pub(super) fn range_meeting(&self, network: IpNet) -> Option<&(AddressRange, Name)> {
        let first = self
            .ranges
            .partition_point(|(range, _)| range.last() < network.network());
        let found = self.ranges.get(first)?;
        super::external::meets(network, found.0).then_some(found)
    }
}

impl<'a, L: LookUp> Facts<'a, L> {
    pub(super) fn new(rows: &'a L) -> Self {
        Facts {
            rows,
            interfaces: RefCell::default(),
            vpcs: RefCell::default(),
        }
    }

    /// An interface with its addresses. Cost: those, when it is first asked for.
    pub(super) fn interface(&self, name: &Name) -> Option<Rc<Interface>> {
        if let Some(known) = self.interfaces.borrow().get(name) {
            return known.clone();
        }
        let key = (name.clone(),);
        let row = self.rows.find::<InterfaceRow>(&key);
        let interface = row.map(|row| {
            let addresses = self.rows.below::<InterfaceAddressRow, _>(key.clone());
            // The prefix length of a subnet fits the family of its address.
            let network = |a: InterfaceAddress| IpNet::new(a.address(), a.subnet().prefix_len());
            Rc::new(Interface {
                addresses: addresses.filter_map(|a| network(a.address).ok()).collect(),
                row: row.into_owned(),
            })
        });
        let mut interfaces = self.interfaces.borrow_mut();
        interfaces.insert(name.clone(), interface.clone());
        interface
    }

    /// The addresses of a VPC. Cost: its interfaces and pools, when it is first asked for.
    pub(super) fn vpc(&self, name: &Name) -> Rc<Vpc> {
        if let Some(known) = self.vpcs.borrow().get(name) {
            return known.clone();
        }
        let vpc = Rc::new(self.addresses_of(name));
        self.vpcs.borrow_mut().insert(name.clone(), vpc.clone());
        vpc
    }

    fn addresses_of(&self, name: &Name) -> Vpc {
        let key = (name.clone(),);
        let mut vpc = Vpc {
            addresses: Vec::new(),
            owners: HashMap::new(),
            subnets: HashMap::new(),
            ranges: Vec::new(),
        };
        for row in self.rows.by::<InterfacesOfVpc>(&key) {
            let Some(interface) = self.interface(&row.name) else {
                continue;
            };
            for network in &interface.addresses {
                vpc.addresses.push((row.name.clone(), *network));
                let owner = vpc.owners.entry(network.addr());
                owner.or_insert_with(|| row.name.clone());
                let subnet = vpc.subnets.entry(Prefix::new(*network));
                subnet.or_insert_with(|| row.name.clone());
            }
        }
        for pool in self.rows.by::<PoolsOfVpc>(&key) {
            let ranges = self.rows.below::<PoolRangeRow, _>(pool.key());
            vpc.ranges
                .extend(ranges.map(|row| (row.range, pool.name.clone())));
        }
        vpc.ranges.sort();
        vpc
    }
}
