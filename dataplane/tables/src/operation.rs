//! Table operations: the steps from one generation to the next. Small and deterministic, because each runs twice, once
//! on either half. An operation writes and does not read: what it leaves behind does not depend on what was there, so that a
//! later one with the same key undoes it whole.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rewire_packet::ethernet::MacAddress;

use crate::acl::{Acl, AclDefault, AclRule, RuleCounter};
use crate::index::{AclIndex, InterfaceIndex, PeeringIndex, VpcIndex};
use crate::limits::ConnectionLimits;
use crate::lpm::Lpm;
use crate::nat::{
    Exclusion, MasqueradeList, MasqueradeRules, Nat64, PortForward, PortForwardKey, StaticNat,
};
use crate::peering::Peering;
use crate::route::Route;
use crate::tables::{Interface, Tables, Vpc};
use crate::timeouts::VpcTimeouts;

/// One step. Setting what is there replaces it; removing what is not there does nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TableOperation {
    /// Forgets all policy, to begin anew from nothing. What was learned stays.
    Clear,
    /// The tables are now those of this revision.
    SetRevision { revision: u64 },
    /// Makes or renames a VPC.
    SetVpc { vpc: VpcIndex, name: Arc<str> },
    /// Removes a VPC with all its routes.
    RemoveVpc { vpc: VpcIndex },
    /// Sets the limits of the connections that begin in a VPC.
    SetConnectionLimits {
        vpc: VpcIndex,
        limits: ConnectionLimits,
    },
    /// Forgets them again.
    RemoveConnectionLimits { vpc: VpcIndex },
    /// Sets the time-outs of connections that begin in a VPC.
    SetTimeouts {
        vpc: VpcIndex,
        timeouts: Arc<VpcTimeouts>,
    },
    /// Forgets them again.
    RemoveTimeouts { vpc: VpcIndex },
    /// Makes or changes an interface.
    SetInterface {
        interface: InterfaceIndex,
        value: Arc<Interface>,
    },
    /// Removes an interface with the neighbors that were learned there.
    RemoveInterface { interface: InterfaceIndex },
    /// Makes or changes a route.
    SetRoute {
        vpc: VpcIndex,
        prefix: IpNet,
        route: Route,
    },
    /// Removes a route.
    RemoveRoute { vpc: VpcIndex, prefix: IpNet },
    /// Says how far the configuration's route of a prefix stands behind learned ones. Without it, 1.
    SetRouteDistance {
        vpc: VpcIndex,
        prefix: IpNet,
        distance: u8,
    },
    /// Forgets that again.
    RemoveRouteDistance { vpc: VpcIndex, prefix: IpNet },
    /// Sets a neighbor by hand.
    SetNeighbor {
        interface: InterfaceIndex,
        address: IpAddr,
        mac: MacAddress,
    },
    /// Removes a neighbor that was set by hand.
    RemoveNeighbor {
        interface: InterfaceIndex,
        address: IpAddr,
    },
    /// A neighbor was learned.
    LearnNeighbor {
        interface: InterfaceIndex,
        address: IpAddr,
        mac: MacAddress,
    },
    /// A learned neighbor is forgotten.
    ForgetNeighbor {
        interface: InterfaceIndex,
        address: IpAddr,
    },
    /// Makes or changes a port forward.
    SetPortForward {
        key: PortForwardKey,
        value: PortForward,
    },
    /// Removes a port forward.
    RemovePortForward { key: PortForwardKey },
    /// Makes a static translation. One that shares its external or internal key must have been removed before.
    SetStaticNat { value: Arc<StaticNat> },
    /// Removes a static translation.
    RemoveStaticNat { value: Arc<StaticNat> },
    /// Makes or changes an ACL. Its rules stay as they are.
    SetAcl {
        acl: AclIndex,
        name: Arc<str>,
        default: AclDefault,
        /// Where its default counts.
        counter: RuleCounter,
    },
    /// Removes an ACL with all its rules.
    RemoveAcl { acl: AclIndex },
    /// Makes or changes a rule of an ACL.
    SetAclRule {
        acl: AclIndex,
        sequence: u32,
        rule: Arc<AclRule>,
        /// Where it counts.
        counter: RuleCounter,
    },
    /// Removes a rule of an ACL.
    RemoveAclRule { acl: AclIndex, sequence: u32 },
    /// Makes or changes the masquerade rules of some senders.
    SetMasquerade {
        vpc: VpcIndex,
        interface: InterfaceIndex,
        source: IpNet,
        rules: MasqueradeList,
    },
    /// Removes the masquerade rules of some senders.
    RemoveMasquerade {
        vpc: VpcIndex,
        interface: InterfaceIndex,
        source: IpNet,
    },
    /// Makes or changes all exclusions of a VPC.
    SetExclusions {
        vpc: VpcIndex,
        rules: Arc<[Exclusion]>,
    },
    /// Removes all exclusions of a VPC.
    RemoveExclusions { vpc: VpcIndex },
    /// Makes or changes all NAT64 of a VPC's clients, in the order in which they are asked.
    SetNat64 { vpc: VpcIndex, rules: Arc<[Nat64]> },
    /// Removes all NAT64 of a VPC's clients.
    RemoveNat64 { vpc: VpcIndex },
    /// Makes a peering, or changes its name or its ACL. What is said of its senders stays.
    SetPeering {
        peering: PeeringIndex,
        name: Arc<str>,
        acl: Option<AclIndex>,
    },
    /// Removes a peering with all that is said of its senders.
    RemovePeering { peering: PeeringIndex },
    /// Says whether senders of one side of a peering may cross.
    SetSender {
        peering: PeeringIndex,
        vpc: VpcIndex,
        prefix: IpNet,
        admitted: bool,
    },
    /// Says nothing of these senders any more.
    RemoveSender {
        peering: PeeringIndex,
        vpc: VpcIndex,
        prefix: IpNet,
    },
    /// Makes or changes the masquerade rule of senders of one side of a peering.
    SetPeeringMasquerade {
        peering: PeeringIndex,
        vpc: VpcIndex,
        source: IpNet,
        rules: MasqueradeList,
    },
    /// Removes the masquerade rule of senders of one side of a peering.
    RemovePeeringMasquerade {
        peering: PeeringIndex,
        vpc: VpcIndex,
        source: IpNet,
    },
}

/// The slot at `position`, made when it is not there.
fn slot<T: Default>(slots: &mut Vec<T>, position: usize) -> &mut T {
    if slots.len() <= position {
        slots.resize_with(position + 1, T::default);
    }
    &mut slots[position]
}

fn insert<V: Clone + Eq + std::hash::Hash>(
    lpm4: &mut Lpm<std::net::Ipv4Addr, V>,
    lpm6: &mut Lpm<std::net::Ipv6Addr, V>,
    prefix: IpNet,
    value: &V,
) -> bool {
    match prefix {
        IpNet::V4(net) => lpm4.insert(net.network(), net.prefix_len(), value),
        IpNet::V6(net) => lpm6.insert(net.network(), net.prefix_len(), value),
    }
}

fn remove<V: Clone + Eq + std::hash::Hash>(
    lpm4: &mut Lpm<std::net::Ipv4Addr, V>,
    lpm6: &mut Lpm<std::net::Ipv6Addr, V>,
    prefix: IpNet,
) -> bool {
    match prefix {
        IpNet::V4(net) => lpm4.remove(net.network(), net.prefix_len()),
        IpNet::V6(net) => lpm6.remove(net.network(), net.prefix_len()),
    }
}

/// The VPC and the family of a route that is set.
fn set_route(operation: &TableOperation) -> Option<(VpcIndex, bool)> {
    match operation {
        TableOperation::SetRoute { vpc, prefix, .. } => {
            Some((*vpc, matches!(prefix, IpNet::V4(_))))
        }
        _ => None,
    }
}

/// Routes of one VPC and family that follow each other are put in at once, if there are so many.
const MANY_ROUTES: usize = 8;

impl Tables {
    /// Takes operations over, in order. Cost: that of each; routes that are set in the order of their prefixes take far less.
    pub fn apply_all(&mut self, mut operations: &[TableOperation]) {
        while let Some(first) = operations.first() {
            let table = set_route(first);
            let same = |operation: &&TableOperation| set_route(operation) == table;
            let count = match table {
                Some(_) => operations.iter().take_while(same).count(),
                None => 1,
            };
            let (these, rest) = operations.split_at(count);
            match table {
                Some((vpc, _)) if count >= MANY_ROUTES => self.set_routes(vpc, these),
                _ => these.iter().for_each(|operation| self.apply(operation)),
            }
            operations = rest;
        }
    }

    /// Takes routes of one VPC over.
    fn set_routes(&mut self, vpc: VpcIndex, operations: &[TableOperation]) {
        let vpc = slot(&mut self.vpcs, vpc.position());
        let routes = || {
            operations.iter().filter_map(|operation| match operation {
                TableOperation::SetRoute { prefix, route, .. } => Some((prefix, route)),
                _ => None,
            })
        };
        vpc.routes4
            .extend(routes().filter_map(|(prefix, route)| match prefix {
                IpNet::V4(net) => Some((net.network(), net.prefix_len(), route)),
                IpNet::V6(_) => None,
            }));
        vpc.routes6
            .extend(routes().filter_map(|(prefix, route)| match prefix {
                IpNet::V6(net) => Some((net.network(), net.prefix_len(), route)),
                IpNet::V4(_) => None,
            }));
    }

    /// Takes one operation over.
    pub fn apply(&mut self, operation: &TableOperation) {
        use TableOperation as Op;
        match operation {
            Op::Clear => {
                let learned = std::mem::take(&mut self.learned_neighbors);
                *self = Tables {
                    revision: self.revision,
                    generation: self.generation,
                    policy_generation: self.policy_generation,
                    learned_neighbors: learned,
                    ..Tables::default()
                };
            }
            Op::SetRevision { revision } => self.revision = *revision,
            Op::SetVpc { vpc, name } => {
                slot(&mut self.vpcs, vpc.position()).name = Some(Arc::clone(name));
            }
            Op::RemoveVpc { vpc } => {
                *slot(&mut self.vpcs, vpc.position()) = Vpc::default();
                while self.vpcs.last().is_some_and(Vpc::is_unused) {
                    self.vpcs.pop();
                }
            }
            Op::SetConnectionLimits { vpc, limits } => {
                slot(&mut self.vpcs, vpc.position()).limits = Some(*limits);
            }
            Op::RemoveConnectionLimits { vpc } => {
                if let Some(vpc) = self.vpcs.get_mut(vpc.position()) {
                    vpc.limits = None;
                }
            }
            Op::SetTimeouts { vpc, timeouts } => {
                slot(&mut self.vpcs, vpc.position()).timeouts = Some(Arc::clone(timeouts));
            }
            Op::RemoveTimeouts { vpc } => {
                if let Some(vpc) = self.vpcs.get_mut(vpc.position()) {
                    vpc.timeouts = None;
                }
            }
            Op::SetInterface { interface, value } => {
                let slot = slot(&mut self.interfaces, interface.position());
                let before = slot.replace(Arc::clone(value));
                self.offloading += usize::from(value.offload);
                self.offloading -= usize::from(before.is_some_and(|before| before.offload));
            }
            Op::RemoveInterface { interface } => {
                let before = slot(&mut self.interfaces, interface.position()).take();
                self.offloading -= usize::from(before.is_some_and(|before| before.offload));
                self.learned_neighbors
                    .retain(|(owner, _), _| owner != interface);
                while matches!(self.interfaces.last(), Some(None)) {
                    self.interfaces.pop();
                }
            }
            Op::SetRoute { vpc, prefix, route } => {
                let vpc = slot(&mut self.vpcs, vpc.position());
                insert(&mut vpc.routes4, &mut vpc.routes6, *prefix, route);
            }
            Op::RemoveRoute { vpc, prefix } => {
                if let Some(vpc) = self.vpcs.get_mut(vpc.position()) {
                    remove(&mut vpc.routes4, &mut vpc.routes6, *prefix);
                }
            }
            Op::SetRouteDistance {
                vpc,
                prefix,
                distance,
            } => {
                let vpc = slot(&mut self.vpcs, vpc.position());
                vpc.distances.insert(*prefix, *distance);
            }
            Op::RemoveRouteDistance { vpc, prefix } => {
                if let Some(vpc) = self.vpcs.get_mut(vpc.position()) {
                    vpc.distances.remove(prefix);
                }
            }
            Op::SetNeighbor {
                interface,
                address,
                mac,
            } => {
                self.static_neighbors.insert((*interface, *address), *mac);
            }
            Op::RemoveNeighbor { interface, address } => {
                self.static_neighbors.remove(&(*interface, *address));
            }
            Op::LearnNeighbor {
                interface,
                address,
                mac,
            } => {
                self.learned_neighbors.insert((*interface, *address), *mac);
            }
            Op::ForgetNeighbor { interface, address } => {
                self.learned_neighbors.remove(&(*interface, *address));
            }
            Op::SetPortForward { key, value } => {
                self.nat.set_port_forward(*key, value.clone());
            }
            Op::RemovePortForward { key } => {
                self.nat.remove_port_forward(key);
            }
            Op::SetStaticNat { value } => {
                let (inside, outside) = (value.internal_vpc, value.external_vpc);
                let nat = &mut self.nat;
                nat.static_by_external
                    .insert(outside, value.external, Arc::clone(value));
                nat.static_by_internal
                    .insert((inside, outside), value.internal, Arc::clone(value));
            }
            Op::RemoveStaticNat { value } => {
                let (inside, outside) = (value.internal_vpc, value.external_vpc);
                self.nat.static_by_external.remove(outside, value.external);
                self.nat
                    .static_by_internal
                    .remove((inside, outside), value.internal);
            }
            Op::SetAcl {
                acl,
                name,
                default,
                counter,
            } => {
                let acl = slot(&mut self.acls, acl.position());
                acl.set(Arc::clone(name), *default);
                acl.set_counter(None, *counter);
            }
            Op::RemoveAcl { acl } => {
                *slot(&mut self.acls, acl.position()) = Acl::default();
                // Another one's rules may be there ahead of its name.
                let is_empty = |acl: &Acl| acl.name.is_none() && acl.rules().next().is_none();
                while self.acls.last().is_some_and(is_empty) {
                    self.acls.pop();
                }
            }
            Op::SetAclRule {
                acl,
                sequence,
                rule,
                counter,
            } => {
                let acl = slot(&mut self.acls, acl.position());
                acl.set_rule(*sequence, Arc::clone(rule));
                acl.set_counter(Some(*sequence), *counter);
            }
            Op::RemoveAclRule { acl, sequence } => {
                if let Some(acl) = self.acls.get_mut(acl.position()) {
                    acl.remove_rule(*sequence);
                }
            }
            Op::SetMasquerade {
                vpc,
                interface,
                source,
                rules,
            } => {
                let by_source: &mut MasqueradeRules =
                    self.nat.masquerades.entry((*vpc, *interface)).or_default();
                insert(&mut by_source.rules4, &mut by_source.rules6, *source, rules);
            }
            Op::RemoveMasquerade {
                vpc,
                interface,
                source,
            } => {
                let key = (*vpc, *interface);
                if let Some(rules) = self.nat.masquerades.get_mut(&key) {
                    remove(&mut rules.rules4, &mut rules.rules6, *source);
                    if rules.is_empty() {
                        self.nat.masquerades.remove(&key);
                    }
                }
            }
            Op::SetExclusions { vpc, rules } => {
                self.nat.exclusions.insert(*vpc, Arc::clone(rules));
            }
            Op::RemoveExclusions { vpc } => {
                self.nat.exclusions.remove(vpc);
            }
            Op::SetNat64 { vpc, rules } => {
                self.nat.nat64.insert(*vpc, Arc::clone(rules));
            }
            Op::RemoveNat64 { vpc } => {
                self.nat.nat64.remove(vpc);
            }
            Op::SetPeering { peering, name, acl } => {
                let peering = slot(&mut self.peerings, peering.position());
                peering.name = Some(Arc::clone(name));
                peering.acl = *acl;
            }
            Op::RemovePeering { peering } => {
                *slot(&mut self.peerings, peering.position()) = Peering::default();
                while self.peerings.last().is_some_and(Peering::is_unused) {
                    self.peerings.pop();
                }
            }
            Op::SetSender {
                peering,
                vpc,
                prefix,
                admitted,
            } => {
                let peering = slot(&mut self.peerings, peering.position());
                peering.side_mut(*vpc).set_sender(*prefix, *admitted);
            }
            Op::RemoveSender {
                peering,
                vpc,
                prefix,
            } => {
                if let Some(peering) = self.peerings.get_mut(peering.position()) {
                    peering.side_mut(*vpc).remove_sender(*prefix);
                    peering.forget_if_empty(*vpc);
                }
            }
            Op::SetPeeringMasquerade {
                peering,
                vpc,
                source,
                rules,
            } => {
                let peering = slot(&mut self.peerings, peering.position());
                let by_source = &mut peering.side_mut(*vpc).masquerades;
                insert(&mut by_source.rules4, &mut by_source.rules6, *source, rules);
            }
            Op::RemovePeeringMasquerade {
                peering,
                vpc,
                source,
            } => {
                if let Some(peering) = self.peerings.get_mut(peering.position()) {
                    let rules = &mut peering.side_mut(*vpc).masquerades;
                    remove(&mut rules.rules4, &mut rules.rules6, *source);
                    peering.forget_if_empty(*vpc);
                }
            }
        }
    }
}
