//! Which subjects a change can turn from right to wrong. The one place that says so.
//!
//! A rule reads rows. What it says of a subject can only change when it read, in the state before or in the state after, a
//! row that changed. So what has to be asked again is what reads the rows as they were, looked up in the state before, and
//! what reads them as they are, looked up in the state after.
//!
//! Naming too many subjects costs time, and naming too few lets something wrong be committed: a property test compares
//! what is found with the check of the whole state.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::external::{holds, meets};
use super::facts::*;
use super::look_up::LookUp;
use super::routes::covering;
use super::subject::{Subject, shared};
use crate::model::*;
use crate::types::{AddressOrPrefix, AddressRange, Name, Prefix, RouteType};

/// Gathers what depends on one version of changed rows, in the state that this version belongs to.
pub(super) struct Dependents<'a, L> {
    /// The state.
    pub(super) rows: &'a L,
    /// Whether it is the state before the change.
    pub(super) is_before: bool,
    pub(super) subjects: &'a mut BTreeSet<Subject>,
}

impl<L: LookUp> Dependents<'_, L> {
    fn add(&mut self, subject: Subject) {
        self.subjects.insert(subject);
    }

    fn object(&mut self, key: RowKey) {
        self.add(Subject::Object(key));
    }

    /// Adds what depends on `row`, whose other version is `other` if there is one.
    pub(super) fn of(&mut self, row: &Row, other: Option<&Row>) {
        self.object(row.row_key());
        self.subjects.extend(shared(self.rows, row));
        match row {
            Row::Vpc(row) => {
                if changed(&**row, other, |row| row.vni) {
                    self.of_vni(&row.name);
                }
            }
            Row::AddressSetMember(row) => self.of_set(&row.address_set),
            Row::ServiceEntry(row) => self.object(RowKey::Service((row.service.clone(),))),
            Row::Acl(row) => {
                if changed(&**row, other, |row| row.default_action) {
                    self.of_acl(&row.name);
                }
            }
            Row::AclRuleSource(row) => {
                self.object(RowKey::AclRule((row.acl.clone(), row.sequence)));
            }
            Row::AclRuleDestination(row) => {
                self.object(RowKey::AclRule((row.acl.clone(), row.sequence)));
            }
            Row::Interface(row) => self.of_interface(row, other),
            Row::InterfaceAddress(row) => {
                let key = (row.interface.clone(),);
                self.object(RowKey::Interface(key.clone()));
                if let Some(interface) = self.rows.find::<InterfaceRow>(&key) {
                    self.of_address(&interface.vpc, row);
                }
                self.of_link(&row.interface);
                self.of_external(&row.interface);
            }
            Row::Route(row) => {
                // A route that comes without leading to another VPC ends no way of a packet elsewhere.
                let leaks = row.route_type == RouteType::Vpc;
                if leaks || self.is_before && changed(&**row, other, |row| row.route_type) {
                    self.of_way(&row.vpc, row.prefix);
                }
            }
            Row::NextHop(row) => self.object(RowKey::Route((row.vpc.clone(), row.prefix))),
            Row::PeeringSide(row) => self.peering(&row.peering),
            Row::Expose(row) => self.peering(&row.peering),
            Row::ExposeIp(row) => self.peering(&row.peering),
            Row::ExposeNot(row) => self.peering(&row.peering),
            Row::ExposeAs(row) => self.peering(&row.peering),
            Row::ExposeAsNot(row) => self.peering(&row.peering),
            Row::ExposePort(row) => self.peering(&row.peering),
            Row::Pool(row) => {
                if changed(&**row, other, |row| (row.vpc.clone(), row.address_only)) {
                    let ranges = self.rows.below::<PoolRangeRow, _>(row.key());
                    for range in ranges.collect::<Vec<_>>() {
                        self.of_range(&row.vpc, range.range);
                    }
                    self.masquerades_with(&row.name);
                    for rule in self.rows.by::<Nat64sByPool>(&row.key()) {
                        self.forwards_through(&rule);
                    }
                }
            }
            Row::PoolRange(row) => {
                let key = (row.pool.clone(),);
                if let Some(pool) = self.rows.find::<PoolRow>(&key) {
                    self.of_range(&pool.vpc, row.range);
                }
                self.object(RowKey::Pool(key));
                self.masquerades_with(&row.pool);
            }
            // What is a masquerade's is not NAT64's.
            Row::Masquerade(row) => {
                if let Some(pool) = &row.pool {
                    self.nat64s_with(pool);
                }
            }
            Row::MasqueradeSource(row) => self.masquerade(&row.masquerade),
            Row::MasqueradeDestination(row) => self.masquerade(&row.masquerade),
            Row::ExclusionSource(row) => self.object(RowKey::Exclusion((row.exclusion.clone(),))),
            Row::ExclusionDestination(row) => {
                self.object(RowKey::Exclusion((row.exclusion.clone(),)));
            }
            Row::Nat64(row) => self.nat64s(row),
            Row::Nat64Source(row) => {
                let key = (row.nat64.clone(),);
                if let Some(rule) = self.rows.find::<Nat64Row>(&key) {
                    self.nat64s(&rule);
                }
                self.object(RowKey::Nat64(key));
            }
            Row::PortForward(row) => {
                if let Some(address) = row.external_address {
                    self.statics_around(&row.external_vpc, address);
                }
            }
            Row::PortForwardSource(row) => {
                self.object(RowKey::PortForward((row.port_forward.clone(),)));
            }
            Row::StaticNat(row) => self.of_static(row),
            Row::RouteSourceVpc(row) => {
                self.object(RowKey::RouteSource((row.route_source.clone(),)));
            }
            // What refers to these asks for nothing but that they are there.
            Row::AddressSet(_) | Row::Policer(_) | Row::Shaper(_) => {}
            // These stand for themselves.
            Row::Conntrack(_)
            | Row::Service(_)
            | Row::AclRule(_)
            | Row::Neighbor(_)
            | Row::Peering(_)
            | Row::Exclusion(_)
            | Row::RouteSource(_)
            | Row::Exporter(_)
            | Row::Probe(_)
            | Row::Intent(_) => {}
        }
    }

    /// What depends on the VNI of a VPC.
    fn of_vni(&mut self, vpc: &Name) {
        for interface in self.rows.by::<InterfacesOfVpc>(&(vpc.clone(),)) {
            if let Some(underlay) = &interface.underlay {
                self.object(RowKey::Interface(interface.key()));
                self.add(Subject::Tunnels(underlay.clone()));
            }
        }
    }

    /// What depends on the members of an address set.
    fn of_set(&mut self, set: &Name) {
        let key = (Some(set.clone()),);
        let mut rules = self.rows.by::<RulesBySourceSet>(&key);
        rules.extend(self.rows.by::<RulesByDestinationSet>(&key));
        for rule in rules {
            self.object(RowKey::AclRule(rule.key()));
        }
    }

    /// What depends on the default of an ACL.
    fn of_acl(&mut self, acl: &Name) {
        let key = (Some(acl.clone()),);
        let mut interfaces = self.rows.by::<InterfacesByAclIn>(&key);
        interfaces.extend(self.rows.by::<InterfacesByAclOut>(&key));
        for interface in interfaces {
            self.object(RowKey::Interface(interface.key()));
        }
    }

    fn of_interface(&mut self, row: &InterfaceRow, other: Option<&Row>) {
        if changed(row, other, |row| (row.kind(), row.mtu)) {
            for vlan in self.rows.by::<InterfacesOn>(&(Some(row.name.clone()),)) {
                self.object(RowKey::Interface(vlan.key()));
            }
        }
        if changed(row, other, InterfaceRow::kind) {
            self.of_link(&row.name);
            for probe in self.rows.by::<ProbesIn>(&(row.name.clone(),)) {
                self.object(RowKey::Probe(probe.key()));
            }
        }
        if changed(row, other, |row| row.vpc.clone()) {
            let addresses = self.rows.below::<InterfaceAddressRow, _>(row.key());
            for address in addresses.collect::<Vec<_>>() {
                self.of_address(&row.vpc, &address);
            }
            self.of_external(&row.name);
        }
    }

    /// What depends on what is on the link of an interface.
    fn of_link(&mut self, interface: &Name) {
        let key = (interface.clone(),);
        for neighbor in self
            .rows
            .below::<NeighborRow, _>(key.clone())
            .collect::<Vec<_>>()
        {
            self.object(RowKey::Neighbor(neighbor.key()));
        }
        for hop in self.rows.by::<NextHopsByInterface>(&key) {
            self.object(RowKey::Route((hop.vpc.clone(), hop.prefix)));
        }
    }

    /// What depends on the external addresses that an interface gives to rules, and on their VPC.
    fn of_external(&mut self, interface: &Name) {
        for rule in self
            .rows
            .by::<MasqueradesByInterface>(&(interface.clone(),))
        {
            self.object(RowKey::Masquerade(rule.key()));
        }
        for rule in self.rows.by::<PortForwardsOn>(&(Some(interface.clone()),)) {
            self.object(RowKey::PortForward(rule.key()));
        }
    }

    /// What depends on a VPC having an address on one of its interfaces.
    fn of_address(&mut self, vpc: &Name, row: &InterfaceAddressRow) {
        let (address, subnet) = (row.address.address(), Prefix::new(row.address.subnet()));
        self.add(Subject::Links(vpc.clone()));
        self.add(Subject::Ranges(vpc.clone()));
        self.add(Subject::Forwards(vpc.clone(), address));
        self.object(RowKey::Route((vpc.clone(), subnet)));
        self.statics_around(vpc, address);
        for tunnel in self.rows.by::<TunnelsOver>(&(Some(vpc.clone()),)) {
            self.object(RowKey::Interface(tunnel.key()));
        }
        if self.is_before {
            self.of_way(vpc, subnet);
        }
    }

    /// What depends on where packets of a VPC to a prefix go: the routes of other VPCs that send packets there, directly or
    /// through further ones.
    fn of_way(&mut self, vpc: &Name, prefix: Prefix) {
        let mut known = BTreeSet::from([vpc.clone()]);
        let mut open = vec![vpc.clone()];
        while let Some(vpc) = open.pop() {
            for route in self.rows.by::<LeaksInto>(&(Some(vpc),)) {
                let (a, b) = (route.prefix.network(), prefix.network());
                if !a.contains(&b) && !b.contains(&a) {
                    continue;
                }
                self.object(RowKey::Route(route.key()));
                if known.insert(route.vpc.clone()) {
                    open.push(route.vpc.clone());
                }
            }
        }
    }

    fn peering(&mut self, name: &Name) {
        self.object(RowKey::Peering((name.clone(),)));
    }

    /// What depends on a VPC having a range in one of its pools.
    fn of_range(&mut self, vpc: &Name, range: AddressRange) {
        self.add(Subject::Ranges(vpc.clone()));
        for rule in self.rows.by::<StaticsFrom>(&(vpc.clone(),)) {
            if meets(rule.external_address.prefix().network(), range) {
                self.add(Subject::Statics(vpc.clone(), rule.external_address));
            }
        }
    }

    /// What depends on what else is asked of the packets of a masquerade rule.
    fn masquerade(&mut self, name: &Name) {
        let key = (name.clone(),);
        if let Some(rule) = self.rows.find::<MasqueradeRow>(&key) {
            self.add(Subject::Senders(rule.vpc.clone(), rule.interface.clone()));
        }
        self.object(RowKey::Masquerade(key));
    }

    fn masquerades_with(&mut self, pool: &Name) {
        for rule in self.rows.by::<MasqueradesByPool>(&(Some(pool.clone()),)) {
            self.object(RowKey::Masquerade(rule.key()));
        }
        self.nat64s_with(pool);
    }

    fn nat64s_with(&mut self, pool: &Name) {
        for rule in self.rows.by::<Nat64sByPool>(&(pool.clone(),)) {
            self.object(RowKey::Nat64(rule.key()));
        }
    }

    /// What depends on a NAT64 being for the packets of a VPC: the others there, and the port forwards to hosts of IPv6.
    fn nat64s(&mut self, row: &Nat64Row) {
        for rule in self.rows.by::<Nat64sOfVpc>(&(row.vpc.clone(),)) {
            self.object(RowKey::Nat64(rule.key()));
        }
        self.forwards_through(row);
    }

    /// The port forwards to hosts of IPv6 that lead through a NAT64.
    fn forwards_through(&mut self, row: &Nat64Row) {
        for rule in self.rows.by::<PortForwardsInto>(&(row.vpc.clone(),)) {
            let is_ipv4 = |address: IpAddr| address.is_ipv4();
            if rule.internal_address.is_ipv6() && rule.external_address.is_some_and(is_ipv4) {
                self.object(RowKey::PortForward(rule.key()));
            }
        }
    }

    /// Adds the static translations that an external address is of.
    fn statics_around(&mut self, vpc: &Name, address: IpAddr) {
        for prefix in covering(Prefix::new(address.into())) {
            let external = AddressOrPrefix::from(prefix);
            self.add(Subject::Statics(vpc.clone(), external));
        }
    }

    /// What depends on a static translation: those of smaller prefixes within its own.
    fn of_static(&mut self, row: &StaticNatRow) {
        let (outside, inside) = (&row.external_vpc, &row.internal_vpc);
        if row.external_address.address().is_none() {
            for rule in self.rows.by::<StaticsFrom>(&(outside.clone(),)) {
                if holds(row.external_address, rule.external_address.prefix()) {
                    self.add(Subject::Statics(outside.clone(), rule.external_address));
                }
            }
        }
        if row.internal_address.address().is_none() {
            for rule in self.rows.by::<StaticsInto>(&(inside.clone(),)) {
                let internal = rule.internal_address;
                if rule.external_vpc == *outside && holds(row.internal_address, internal.prefix()) {
                    self.add(Subject::Internal(inside.clone(), internal, outside.clone()));
                }
            }
        }
    }
}

/// Whether what `part` gives differs in the other version of a row, or there is none.
fn changed<R: TableRow, T: PartialEq>(
    row: &R,
    other: Option<&Row>,
    part: impl Fn(&R) -> T,
) -> bool {
    let other = other.and_then(R::borrowed);
    other.is_none_or(|other| part(other) != part(row))
}
