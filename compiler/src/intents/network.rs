//! The tables as intervals of addresses, so that boxes can be cut along them.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use ipnet::IpNet;
use rewire_schema::types::Name;
use rewire_tables::{
    AclIndex, Interface, InterfaceIndex, PeeringIndex, PortForward, Route, StaticNat,
    TableOperation, VpcIndex,
};

use super::acl::AclList;
use super::space::{Interval, number};
use crate::state::State;
use crate::whole::whole;

/// Intervals that are apart, in order, with what is said of each. What lies between them has nothing said of it.
pub(super) type Intervals<V> = Rc<Vec<(Interval<u128>, V)>>;

type Prefixes<V> = Vec<(IpNet, V)>;

/// A port forward of an external address: protocol, port, where to.
type Forward = (u8, u16, PortForward);

/// What the tables of one revision hold, as far as it decides who gets where.
#[derive(Default)]
pub(super) struct Network {
    interfaces: HashMap<InterfaceIndex, Arc<Interface>>,
    acls: HashMap<AclIndex, AclList>,
    /// The ACLs of those peerings that have one.
    peering_acls: HashMap<PeeringIndex, AclIndex>,
    /// The VPCs that learned routes go into, each with a source.
    fed: HashMap<VpcIndex, Name>,
    routes: HashMap<VpcIndex, Prefixes<Rc<Route>>>,
    senders: HashMap<(PeeringIndex, VpcIndex), Prefixes<bool>>,
    /// Static translations by their first external address. They do not overlap.
    statics: BTreeMap<(VpcIndex, IpAddr), Arc<StaticNat>>,
    forwards: BTreeMap<(VpcIndex, IpAddr), Vec<Forward>>,
    /// The intervals that were asked for so far.
    route_intervals: HashMap<(VpcIndex, bool), Intervals<Rc<Route>>>,
    sender_intervals: HashMap<(PeeringIndex, VpcIndex, bool), Intervals<bool>>,
}

impl Network {
    /// What a state compiles to. Cost: the configuration.
    pub(super) fn of(state: &State) -> Network {
        let mut network = Network::default();
        let into = state.configuration.route_source_vpc.keys();
        network.fed = into
            .filter_map(|(source, vpc)| Some((VpcIndex(state.vpcs.get(vpc)?), source.clone())))
            .collect();
        // A state that the compiler holds was compiled, so nothing is wrong with it.
        let operations = whole(0, state).unwrap_or_default();
        operations.into_iter().for_each(|one| network.add(one));
        network
    }

    fn add(&mut self, operation: TableOperation) {
        use TableOperation as Op;
        match operation {
            Op::SetInterface { interface, value } => {
                self.interfaces.insert(interface, value);
            }
            Op::SetAcl {
                acl, name, default, ..
            } => {
                self.acls.entry(acl).or_default().begin(name, default);
            }
            Op::SetAclRule {
                acl,
                sequence,
                rule,
                ..
            } => self.acls.entry(acl).or_default().add(sequence, &rule),
            Op::SetPeering { peering, acl, .. } => {
                self.peering_acls.extend(acl.map(|acl| (peering, acl)));
            }
            Op::SetRoute { vpc, prefix, route } => {
                let routes = self.routes.entry(vpc).or_default();
                routes.push((prefix, Rc::new(route)));
            }
            Op::SetSender {
                peering,
                vpc,
                prefix,
                admitted,
            } => {
                let senders = self.senders.entry((peering, vpc)).or_default();
                senders.push((prefix, admitted));
            }
            Op::SetStaticNat { value } => {
                let key = (value.external_vpc, value.external.network());
                self.statics.insert(key, value);
            }
            Op::SetPortForward { key, value } => {
                let forwards = self.forwards.entry((key.vpc, key.address)).or_default();
                forwards.push((key.protocol, key.port, value));
            }
            // Who a sender is afterwards does not decide whether the packet gets there.
            _ => {}
        }
    }

    /// An interface.
    pub(super) fn interface(&self, interface: InterfaceIndex) -> Option<&Interface> {
        self.interfaces.get(&interface).map(Arc::as_ref)
    }

    /// An ACL.
    pub(super) fn acl(&self, acl: AclIndex) -> Option<&AclList> {
        self.acls.get(&acl)
    }

    /// The ACL that packets meet on their way across a peering.
    pub(super) fn peering_acl(&self, peering: PeeringIndex) -> Option<AclIndex> {
        self.peering_acls.get(&peering).copied()
    }

    /// The source of routes that no revision holds in the table of a VPC.
    pub(super) fn fed_by(&self, vpc: VpcIndex) -> Option<&Name> {
        self.fed.get(&vpc)
    }

    /// The routes of a VPC, by destination.
    pub(super) fn routes(&mut self, vpc: VpcIndex, is_ipv4: bool) -> Intervals<Rc<Route>> {
        let routes = self.routes.get(&vpc);
        let intervals = self.route_intervals.entry((vpc, is_ipv4));
        Rc::clone(intervals.or_insert_with(|| flatten(routes, is_ipv4)))
    }

    /// Whom a side of a peering admits, by sender.
    pub(super) fn senders(
        &mut self,
        peering: PeeringIndex,
        vpc: VpcIndex,
        is_ipv4: bool,
    ) -> Intervals<bool> {
        let senders = self.senders.get(&(peering, vpc));
        let intervals = self.sender_intervals.entry((peering, vpc, is_ipv4));
        Rc::clone(intervals.or_insert_with(|| flatten(senders, is_ipv4)))
    }

    /// The static translation of an external address.
    pub(super) fn static_at(&self, vpc: VpcIndex, address: IpAddr) -> Option<&Arc<StaticNat>> {
        let until = (vpc, IpAddr::V4(Ipv4Addr::UNSPECIFIED))..=(vpc, address);
        let (_, rule) = self.statics.range(until).next_back()?;
        rule.external.contains(&address).then_some(rule)
    }

    /// The port forwards of an external address.
    pub(super) fn forwards_at(&self, vpc: VpcIndex, address: IpAddr) -> &[Forward] {
        let forwards = self.forwards.get(&(vpc, address));
        forwards.map_or(&[], Vec::as_slice)
    }

    /// The external addresses of NAT between two of one family, both included: apart and in order, cut where other rules begin.
    pub(super) fn external(
        &self,
        vpc: VpcIndex,
        (first, last): Interval<IpAddr>,
    ) -> Vec<Interval<u128>> {
        let range = (vpc, first)..=(vpc, last);
        let forwards = self.forwards.range(range.clone());
        let single: Vec<u128> = forwards.map(|((_, a), _)| number(*a)).collect();
        let around = self.static_at(vpc, first);
        let within = self.statics.range(range).map(|(_, rule)| rule);
        let within = within.filter(|rule| rule.external.network() > first);
        let mut all: Vec<Interval<u128>> = Vec::new();
        for rule in around.into_iter().chain(within) {
            let end = number(rule.external.broadcast().min(last));
            let mut next = Some(number(rule.external.network().max(first)));
            for &at in &single {
                if let Some(begin) = next.filter(|begin| (*begin..=end).contains(&at)) {
                    if begin < at {
                        all.push((begin, at - 1));
                    }
                    next = at.checked_add(1);
                }
            }
            all.extend(next.filter(|begin| *begin <= end).map(|begin| (begin, end)));
        }
        all.extend(single.into_iter().map(|at| (at, at)));
        all.sort_unstable();
        all
    }
}

/// Prefixes as the intervals of those addresses for which each is the longest.
fn flatten<V: Clone>(prefixes: Option<&Prefixes<V>>, is_ipv4: bool) -> Intervals<V> {
    let family = |net: &&(IpNet, V)| net.0.addr().is_ipv4() == is_ipv4;
    let mut sorted: Vec<&(IpNet, V)> = prefixes.into_iter().flatten().filter(family).collect();
    sorted.sort_by_key(|(net, _)| (number(net.network()), net.prefix_len()));
    let mut intervals = Vec::new();
    // Those that hold the place, the longest last; and the first address that is not said of yet.
    let mut open: Vec<(u128, &V)> = Vec::new();
    let mut at = 0u128;
    fn close<V: Clone>(
        open: &mut Vec<(u128, &V)>,
        at: &mut u128,
        intervals: &mut Vec<(Interval<u128>, V)>,
        until: Option<u128>,
    ) {
        while let Some((last, value)) = open.last().copied() {
            if until.is_some_and(|until| last >= until) {
                break;
            }
            if *at <= last {
                intervals.push(((*at, last), value.clone()));
            }
            open.pop();
            match last.checked_add(1) {
                Some(next) => *at = (*at).max(next),
                // Nothing comes after the last address there is.
                None => return,
            }
        }
    }
    for (net, value) in sorted {
        let (first, last) = (number(net.network()), number(net.broadcast()));
        close(&mut open, &mut at, &mut intervals, Some(first));
        if let Some((_, around)) = open.last()
            && at < first
        {
            intervals.push(((at, first - 1), (*around).clone()));
        }
        at = first;
        open.push((last, value));
    }
    close(&mut open, &mut at, &mut intervals, None);
    Rc::new(intervals)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle: the longest prefix of each address, by looking at all of them.
        #[test]
        fn intervals_say_what_the_longest_prefix_says(
            prefixes in prop::collection::btree_map((0u32..64, 26u8..=32), 0u8..9, 0..12),
            all in prop::option::of(0u8..9),
            end in prop::option::of(0u8..9),
        ) {
            let mut nets: BTreeMap<IpNet, u8> = BTreeMap::new();
            for ((bits, length), value) in prefixes {
                let net = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap();
                nets.insert(net.trunc().into(), value);
            }
            nets.extend(all.map(|value| ("0.0.0.0/0".parse().unwrap(), value)));
            nets.extend(end.map(|value| ("255.255.255.255/32".parse().unwrap(), value)));
            let prefixes: Prefixes<u8> = nets.clone().into_iter().collect();
            let intervals = flatten(Some(&prefixes), true);
            for pair in intervals.windows(2) {
                prop_assert!(pair[0].0.1 < pair[1].0.0, "apart and in order");
            }
            for bits in (0..70).chain([u32::MAX - 1, u32::MAX]) {
                let address = IpAddr::V4(Ipv4Addr::from_bits(bits));
                let best = nets.iter().filter(|(net, _)| net.contains(&address));
                let best = best.max_by_key(|(net, _)| net.prefix_len()).map(|(_, value)| *value);
                let at = u128::from(bits);
                let found = intervals.iter().find(|((first, last), _)| *first <= at && at <= *last);
                prop_assert_eq!(found.map(|(_, value)| *value), best, "{}", address);
            }
        }
    }
}
