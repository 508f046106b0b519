//! The state at one revision: the configuration, and the indices that go with it. Steps go forward and back.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use rewire_schema::model::*;
use rewire_schema::types::{AddressRange, Addresses, InterfaceAddress, Name, Prefix};
use rewire_schema::{Change, Changeset, Mismatch, Path, Row, Table};

use crate::error::CompileError;
use crate::exposes::{ExposeKey, Exposed, exposes_touched};
use crate::indices::{Allocation, Indices};
use crate::references::{References, forwards_on, links};

/// A configuration with its indices, dense and reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Shared with whoever looks at it while it is compiled. A step changes it in place once nobody does any more.
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) references: References,
    pub(crate) vpcs: Indices,
    pub(crate) interfaces: Indices,
    pub(crate) acls: Indices,
    pub(crate) peerings: Indices,
}

/// A changeset that fits onto a state, with the indices that it takes there.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    changeset: &'a Changeset,
    vpcs: Allocation,
    interfaces: Allocation,
    acls: Allocation,
    peerings: Allocation,
}

impl State {
    /// The state of a whole configuration.
    pub(crate) fn of(configuration: Arc<Configuration>) -> Result<State, CompileError> {
        let mut state = State::default();
        let vpcs = configuration
            .vpc
            .values()
            .map(|row| row.name.clone())
            .collect();
        let interfaces = configuration
            .interface
            .values()
            .map(|row| row.name.clone())
            .collect();
        let acls = configuration
            .acl
            .values()
            .map(|row| row.name.clone())
            .collect();
        let vpcs = allocate(&state.vpcs, VPCS, vpcs, Vec::new())?;
        let interfaces = allocate(&state.interfaces, INTERFACES, interfaces, Vec::new())?;
        let acls = allocate(&state.acls, ACLS, acls, Vec::new())?;
        let peerings = configuration.peering.keys().map(|(name,)| name.clone());
        let peerings = peerings.collect();
        let peerings = allocate(&state.peerings, PEERINGS, peerings, Vec::new())?;
        state.vpcs.forward(&vpcs);
        state.interfaces.forward(&interfaces);
        state.peerings.forward(&peerings);
        state.acls.forward(&acls);
        for row in Table::ALL
            .iter()
            .flat_map(|table| rows_with_links(&configuration, *table))
        {
            // A link that two rows make comes twice, and is there once.
            for link in links(&configuration, &row) {
                state.references.insert(link);
            }
        }
        state
            .references
            .count_next_hops(configuration.route_next_hop.values());
        state.configuration = configuration;
        let exposes = state.configuration.peering_expose.keys().cloned();
        let exposes: BTreeSet<ExposeKey> = exposes.collect();
        state.insert_links_of(&exposes);
        Ok(state)
    }

    /// Prepares a step: every row must be as the changeset says, and every new VPC, interface and ACL must find an index.
    pub(crate) fn step<'a>(&self, changeset: &'a Changeset) -> Result<Step<'a>, CompileError> {
        let (mut vpcs, mut interfaces) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let mut acls = (Vec::new(), Vec::new());
        let mut peerings = (Vec::new(), Vec::new());
        for change in changeset.iter() {
            let found = self.configuration.get(change.row());
            if found.as_ref() != change.before() {
                let expected = change.before().cloned().map(Box::new);
                return Err(Mismatch {
                    expected,
                    found: found.map(Box::new),
                }
                .into());
            }
            match change {
                Change::Insert(Row::Vpc(row)) => vpcs.0.push(row.name.clone()),
                Change::Delete(Row::Vpc(row)) => vpcs.1.push(row.name.clone()),
                Change::Insert(Row::Interface(row)) => interfaces.0.push(row.name.clone()),
                Change::Delete(Row::Interface(row)) => interfaces.1.push(row.name.clone()),
                Change::Insert(Row::Acl(row)) => acls.0.push(row.name.clone()),
                Change::Delete(Row::Acl(row)) => acls.1.push(row.name.clone()),
                Change::Insert(Row::Peering(row)) => peerings.0.push(row.name.clone()),
                Change::Delete(Row::Peering(row)) => peerings.1.push(row.name.clone()),
                _ => {}
            }
        }
        Ok(Step {
            changeset,
            vpcs: allocate(&self.vpcs, VPCS, vpcs.0, vpcs.1)?,
            interfaces: allocate(&self.interfaces, INTERFACES, interfaces.0, interfaces.1)?,
            acls: allocate(&self.acls, ACLS, acls.0, acls.1)?,
            peerings: allocate(&self.peerings, PEERINGS, peerings.0, peerings.1)?,
        })
    }

    /// Takes a step that was prepared in this state.
    pub(crate) fn forward(&mut self, step: &Step<'_>) {
        self.vpcs.forward(&step.vpcs);
        self.interfaces.forward(&step.interfaces);
        self.acls.forward(&step.acls);
        self.peerings.forward(&step.peerings);
        let exposes = exposes_touched(&self.configuration, step.changeset);
        self.remove_links_of(&exposes);
        for change in step.changeset.iter() {
            self.replace(change.before(), change.after());
        }
        self.insert_links_of(&exposes);
    }

    /// Takes the step back: everything is as it was.
    pub(crate) fn backward(&mut self, step: &Step<'_>) {
        let exposes = exposes_touched(&self.configuration, step.changeset);
        self.remove_links_of(&exposes);
        for change in step.changeset.iter().rev() {
            self.replace(change.after(), change.before());
        }
        self.acls.backward(&step.acls);
        self.insert_links_of(&exposes);
        self.peerings.backward(&step.peerings);
        self.interfaces.backward(&step.interfaces);
        self.vpcs.backward(&step.vpcs);
    }

    fn insert_links_of(&mut self, exposes: &BTreeSet<ExposeKey>) {
        for key in exposes {
            let links = Exposed::of(&self.configuration, key).map(|exposed| exposed.links(key));
            for link in links.into_iter().flatten() {
                self.references.insert(link);
            }
        }
    }

    fn remove_links_of(&mut self, exposes: &BTreeSet<ExposeKey>) {
        for key in exposes {
            let links = Exposed::of(&self.configuration, key).map(|exposed| exposed.links(key));
            for link in links.into_iter().flatten() {
                self.references.remove(link);
            }
        }
    }

    fn replace(&mut self, before: Option<&Row>, after: Option<&Row>) {
        if let Some(before) = before {
            let forwards = forwards_on(&self.configuration, before);
            for link in links(&self.configuration, before)
                .into_iter()
                .chain(forwards)
            {
                self.references.remove(link);
            }
            Arc::make_mut(&mut self.configuration).remove(before);
        }
        if let Some(after) = after {
            Arc::make_mut(&mut self.configuration).insert(after.clone());
            let forwards = forwards_on(&self.configuration, after);
            for link in links(&self.configuration, after)
                .into_iter()
                .chain(forwards)
            {
                self.references.insert(link);
            }
        }
    }
}

/// The rows of a table that have links, but for next hops, which are counted. A copy is made of no other: there may be a
/// million routes.
fn rows_with_links(
    configuration: &Configuration,
    table: Table,
) -> Box<dyn Iterator<Item = Row> + '_> {
    match table {
        Table::NextHop => Box::new(std::iter::empty()),
        Table::Route => {
            let routes = configuration.route.values();
            let leading = routes.filter(|route| route.to_vpc.is_some());
            Box::new(leading.cloned().map(Row::from))
        }
        table => configuration.rows_of(table),
    }
}

/// Where the rows of one kind stand in documents, and what one of them is called.
type Kind = (&'static str, &'static str);
const VPCS: Kind = ("vpcs", "VPC");
const INTERFACES: Kind = ("interfaces", "interface");
const ACLS: Kind = ("acls", "ACL");
const PEERINGS: Kind = ("peerings", "peering");

fn allocate(
    indices: &Indices,
    (section, kind): Kind,
    added: Vec<Name>,
    removed: Vec<Name>,
) -> Result<Allocation, CompileError> {
    indices
        .allocate(added, removed)
        .map_err(|name| CompileError::TooMany {
            path: Path::new([section, name.as_str()]),
            kind,
        })
}

/// The least prefix in the order of prefixes, where those of a name begin.
pub(crate) fn least_prefix() -> Prefix {
    Prefix::new(IpNet::V4(Ipv4Net::default()))
}

/// The least address in the order of addresses.
pub(crate) const LEAST_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The least range in the order of ranges.
fn least_range() -> AddressRange {
    "0.0.0.0".parse().expect("one address is a range")
}

/// The addresses of an interface in order: IPv4 before IPv6, then as numbers, then by the length of the subnet's prefix.
pub(crate) fn addresses_of<'a>(
    configuration: &'a Configuration,
    interface: &'a Name,
) -> impl Iterator<Item = InterfaceAddress> + 'a {
    let least = InterfaceAddress::new(IpNet::V4(Ipv4Net::default()));
    let rows = configuration
        .interface_address
        .range((interface.clone(), least)..);
    rows.take_while(move |((name, _), _)| name == interface)
        .map(|((_, address), _)| *address)
}

/// The ranges of a pool in order.
pub(crate) fn ranges_of<'a>(
    configuration: &'a Configuration,
    pool: &'a Name,
) -> impl Iterator<Item = AddressRange> + 'a {
    let rows = configuration
        .nat_pool_range
        .range((pool.clone(), least_range())..);
    rows.take_while(move |((name, _), _)| name == pool)
        .map(|((_, range), _)| *range)
}

/// The sources of a masquerade rule in order.
pub(crate) fn sources_of<'a>(
    configuration: &'a Configuration,
    masquerade: &'a Name,
) -> impl Iterator<Item = Prefix> + 'a {
    let rows = configuration
        .masquerade_source
        .range((masquerade.clone(), least_prefix())..);
    rows.take_while(move |((name, _), _)| name == masquerade)
        .map(|((_, prefix), _)| *prefix)
}

/// The destinations of a masquerade rule in order.
pub(crate) fn destinations_of<'a>(
    configuration: &'a Configuration,
    masquerade: &'a Name,
) -> impl Iterator<Item = Addresses> + 'a {
    let rows = configuration
        .masquerade_destination
        .range((masquerade.clone(), least_range().into())..);
    rows.take_while(move |((name, _), _)| name == masquerade)
        .map(|((_, addresses), _)| *addresses)
}

/// The senders and the destinations of an exclusion in order.
pub(crate) fn excluded_addresses_of(
    configuration: &Configuration,
    exclusion: &Name,
) -> (Vec<Addresses>, Vec<Addresses>) {
    let start = (exclusion.clone(), Addresses::from(least_range()));
    let sources = configuration.nat_exclusion_source.range(start.clone()..);
    let destinations = configuration.nat_exclusion_destination.range(start..);
    (
        below(sources.map(|(key, _)| key), exclusion),
        below(destinations.map(|(key, _)| key), exclusion),
    )
}

/// The clients of a NAT64 in order; none for all.
pub(crate) fn nat64_sources_of(configuration: &Configuration, rule: &Name) -> Vec<Addresses> {
    let start = (rule.clone(), Addresses::from(least_range()));
    let sources = configuration.nat64_source.range(start..);
    below(sources.map(|(key, _)| key), rule)
}

/// The senders of a port forward in order; none for all.
pub(crate) fn forward_sources_of(configuration: &Configuration, forward: &Name) -> Vec<Addresses> {
    let start = (forward.clone(), Addresses::from(least_range()));
    let sources = configuration.port_forward_source.range(start..);
    below(sources.map(|(key, _)| key), forward)
}

/// The addresses among keys that begin with a name.
fn below<'a>(keys: impl Iterator<Item = &'a (Name, Addresses)>, name: &Name) -> Vec<Addresses> {
    keys.take_while(|(of, _)| of == name)
        .map(|(_, addresses)| *addresses)
        .collect()
}

/// The members of an address set in order.
pub(crate) fn members_of<'a>(
    configuration: &'a Configuration,
    set: &'a Name,
) -> impl Iterator<Item = Addresses> + 'a {
    let rows = configuration
        .address_set_member
        .range((set.clone(), least_range().into())..);
    rows.take_while(move |((name, _), _)| name == set)
        .map(|((_, addresses), _)| *addresses)
}

/// The entries of a service in order.
pub(crate) fn service_entries_of<'a>(
    configuration: &'a Configuration,
    service: &Name,
) -> impl Iterator<Item = &'a ServiceEntryRow> + use<'a> {
    let key = |position| (service.clone(), position);
    configuration
        .service_entry
        .range(key(0)..=key(u16::MAX))
        .map(|(_, row)| row)
}

/// The senders and the destinations of a rule of an ACL, as far as the rule itself says them.
pub(crate) fn rule_addresses_of(
    configuration: &Configuration,
    acl: &Name,
    sequence: u32,
) -> (Vec<Addresses>, Vec<Addresses>) {
    fn of_rule<'a, V: 'a>(
        rows: impl Iterator<Item = (&'a (Name, u32, Addresses), V)>,
        rule: (&Name, u32),
    ) -> Vec<Addresses> {
        rows.take_while(|((acl, sequence, _), _)| (acl, *sequence) == rule)
            .map(|((_, _, addresses), _)| *addresses)
            .collect()
    }
    let start = (acl.clone(), sequence, Addresses::from(least_range()));
    let sources = configuration.acl_rule_source.range(start.clone()..);
    let destinations = configuration.acl_rule_destination.range(start..);
    let rule = (acl, sequence);
    (of_rule(sources, rule), of_rule(destinations, rule))
}

/// The next hops of a route in order.
pub(crate) fn next_hops_of<'a>(
    configuration: &'a Configuration,
    vpc: &Name,
    prefix: Prefix,
) -> impl Iterator<Item = &'a NextHopRow> {
    let key = |position| (vpc.clone(), prefix, position);
    configuration
        .route_next_hop
        .range(key(0)..=key(u16::MAX))
        .map(|(_, row)| row)
}
