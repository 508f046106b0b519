//! Which entities may derive to something else when rows change. The one place that says so.
//!
//! An entity is derived by reading rows and reverse indices. If it derives to one thing in the old state and to another in the new
//! one, then it read something, in one of the two, that a changed row stands behind. So what depends on a change
//! is what depends on its rows in the old state, and what does in the new one.
//!
//! Naming too many entities costs time, and naming too few breaks law 4. What follows names an entity
//! - for its own row, and the rows below it;
//! - for each [link](links) that a row makes, which is how a row reaches the slots that it claims and, where only one
//!   can have something, the others who want it;
//! - for what lies within a slot and is derived from all that is around it: what peerings take out of what they expose, and
//!   senders that are masqueraded;
//! - for what is joined with others in one entry: masquerades of the same senders, exclusions of one VPC, its NAT64;
//! - for each name that comes or goes, and for what stands under it: the addresses of an interface, the ranges of a
//!   pool, the members of an address set, the entries of a service.

use std::collections::BTreeSet;

use rewire_schema::types::{Name, Prefix};
use rewire_schema::{Changeset, Row, Table};

use crate::entity::Entity;
use crate::exposes::{ExposeKey, Exposed, exposes_behind, exposes_of};
use crate::references::{Key, Link, forwards_on, links, masquerade_key, masquerade_slot};
use crate::state::{LEAST_ADDRESS, State, least_prefix, sources_of};

/// The entities that depend on the rows of a changeset in this state, in order.
pub(crate) fn dependents(state: &State, changeset: &Changeset) -> Vec<Entity> {
    let mut dependents = Dependents::new(state);
    for change in changeset.iter() {
        let comes_or_goes = change.before().is_none() || change.after().is_none();
        for row in change.before().into_iter().chain(change.after()) {
            dependents.of_row(row);
            for link in forwards_on(&state.configuration, row) {
                dependents.of_link(link);
            }
            if comes_or_goes {
                dependents.of_name(row);
            }
        }
        if let (Some(Row::Interface(before)), Some(Row::Interface(after))) =
            (change.before(), change.after())
            && (before.kind(), before.disabled) != (after.kind(), after.disabled)
        {
            dependents.of_next_hops(&after.name);
        }
    }
    dependents.finish()
}

/// Every entity of a state, in order, but for slots that static routes have for themselves and for the distances of routes. Each has
/// a row of its own or is linked to one.
pub(crate) fn all_but_static_routes(state: &State) -> Vec<Entity> {
    let mut dependents = Dependents::new(state);
    let tables = Table::ALL.iter().copied();
    let tables = tables.filter(|table| !matches!(table, Table::Route | Table::NextHop));
    for row in tables.flat_map(|table| state.configuration.rows_of(table)) {
        dependents.of_row(&row);
    }
    dependents.finish()
}

struct Dependents<'a> {
    state: &'a State,
    entities: Vec<Entity>,
    /// All that depends on these is asked for once, at the end.
    keys: BTreeSet<Key>,
    /// What depends on these is asked for once, at the end: each stands on many rows.
    exposes: BTreeSet<ExposeKey>,
}

impl<'a> Dependents<'a> {
    fn new(state: &'a State) -> Self {
        Dependents {
            state,
            entities: Vec::new(),
            keys: BTreeSet::new(),
            exposes: BTreeSet::new(),
        }
    }

    /// What depends on the fields of a row.
    fn of_row(&mut self, row: &Row) {
        match row {
            Row::Vpc(row) => self.entities.push(Entity::Vpc(row.name.clone())),
            Row::Conntrack(row) => self.entities.extend([
                Entity::ConnectionLimits(row.vpc.clone()),
                Entity::Timeouts(row.vpc.clone()),
            ]),
            Row::Interface(row) => self.entities.push(Entity::Interface(row.name.clone())),
            Row::InterfaceAddress(row) => {
                self.entities.push(Entity::Interface(row.interface.clone()));
                self.keys.insert(Key::Interface(row.interface.clone()));
            }
            Row::Neighbor(row) => {
                self.entities
                    .push(Entity::Neighbor(row.interface.clone(), row.address));
            }
            Row::Route(row) => {
                self.entities
                    .push(Entity::Route(row.vpc.clone(), row.prefix));
                if row.distance.is_some() {
                    self.entities
                        .push(Entity::RouteDistance(row.vpc.clone(), row.prefix));
                }
            }
            Row::NextHop(row) => self
                .entities
                .push(Entity::Route(row.vpc.clone(), row.prefix)),
            Row::Pool(row) => {
                self.entities.push(Entity::Pool(row.name.clone()));
                self.keys.insert(Key::Pool(row.name.clone()));
            }
            Row::PoolRange(row) => {
                self.entities.push(Entity::Pool(row.pool.clone()));
                self.keys.insert(Key::Pool(row.pool.clone()));
            }
            // Its sources are linked to it.
            Row::Masquerade(_) => {}
            Row::MasqueradeSource(row) => {
                self.entities
                    .push(Entity::Masquerade(row.masquerade.clone(), row.prefix));
            }
            Row::MasqueradeDestination(row) => self.masquerade(&row.masquerade),
            Row::Exclusion(row) => self.entities.push(Entity::Exclusion(row.name.clone())),
            Row::ExclusionSource(row) => {
                self.entities.push(Entity::Exclusion(row.exclusion.clone()));
            }
            Row::ExclusionDestination(row) => {
                self.entities.push(Entity::Exclusion(row.exclusion.clone()));
            }
            Row::Nat64(row) => self.entities.push(Entity::Nat64(row.name.clone())),
            Row::Nat64Source(row) => self.entities.push(Entity::Nat64(row.nat64.clone())),
            Row::PortForward(row) => self.entities.push(Entity::PortForward(row.name.clone())),
            Row::PortForwardSource(row) => {
                self.entities
                    .push(Entity::PortForward(row.port_forward.clone()));
            }
            Row::StaticNat(row) => self.entities.push(Entity::StaticNat(row.name.clone())),
            Row::Acl(row) => self.entities.push(Entity::Acl(row.name.clone())),
            Row::AclRule(row) => self.acl_rule(&row.acl, row.sequence),
            Row::AclRuleSource(row) => self.acl_rule(&row.acl, row.sequence),
            Row::AclRuleDestination(row) => self.acl_rule(&row.acl, row.sequence),
            // An address set is worked out once, and then all rules that name it.
            Row::AddressSetMember(row) => {
                self.keys.insert(Key::AddressSet(row.address_set.clone()));
            }
            Row::ServiceEntry(row) => {
                self.keys.insert(Key::Service(row.service.clone()));
            }
            Row::Peering(row) => self.entities.push(Entity::Peering(row.name.clone())),
            Row::PeeringSide(row) => self.entities.push(Entity::Peering(row.peering.clone())),
            // What is exposed is below, and the rest not in this dataplane.
            _ => {}
        }
        let behind = |row| exposes_behind(&self.state.configuration, row);
        self.exposes.extend(behind(row));
        for link in links(&self.state.configuration, row) {
            self.of_link(link);
        }
    }

    /// All sources of a masquerade rule, and whoever may be for the same packets.
    fn masquerade(&mut self, rule: &Name) {
        let configuration = &self.state.configuration;
        let row = configuration.masquerade.get(&(rule.clone(),));
        for source in sources_of(configuration, rule) {
            self.entities.push(Entity::Masquerade(rule.clone(), source));
            self.keys.extend(row.map(|row| masquerade_key(row, source)));
        }
    }

    fn of_link(&mut self, link: Link) {
        match link {
            Link::Claims((vpc, prefix), _) => self.entities.push(Entity::Route(vpc, prefix)),
            Link::Depends(key, entity) => {
                self.entities.push(entity);
                if key.is_exclusive() {
                    self.keys.insert(key);
                }
            }
            Link::NextHop(_) => {}
            Link::Hole((vpc, prefix), _) => self.entities.push(Entity::Route(vpc, prefix)),
            Link::Masquerades((vpc, interface, prefix), _) => {
                self.entities
                    .push(Entity::Masqueraded(vpc, interface, prefix));
            }
            Link::Sends((peering, vpc, prefix), ..) => {
                self.entities.push(Entity::Sender(peering, vpc, prefix));
            }
        }
    }

    fn acl_rule(&mut self, acl: &Name, sequence: u32) {
        self.entities.push(Entity::AclRule(acl.clone(), sequence));
    }

    /// What depends on the name of a row being there.
    fn of_name(&mut self, row: &Row) {
        let State {
            configuration,
            references,
            ..
        } = self.state;
        match row {
            Row::Vpc(row) => {
                self.keys.insert(Key::Vpc(row.name.clone()));
                if configuration.conntrack.contains_key(&(row.name.clone(),)) {
                    self.entities
                        .push(Entity::ConnectionLimits(row.name.clone()));
                }
                let start = (row.name.clone(), least_prefix());
                let routes = configuration
                    .route
                    .range(start.clone()..)
                    .map(|(slot, _)| slot);
                let claimed = references.claims.from(start).map(|(slot, _)| slot);
                for slots in [
                    &mut routes.into_iter() as &mut dyn Iterator<Item = _>,
                    &mut claimed.into_iter(),
                ] {
                    let slots = slots.take_while(|(vpc, _)| *vpc == row.name);
                    self.entities
                        .extend(slots.map(|(vpc, prefix)| Entity::Route(vpc.clone(), *prefix)));
                }
                let distant = configuration
                    .route
                    .range((row.name.clone(), least_prefix())..);
                let distant = distant
                    .take_while(|((vpc, _), _)| *vpc == row.name)
                    .filter(|(_, route)| route.distance.is_some());
                self.entities.extend(
                    distant.map(|((vpc, prefix), _)| Entity::RouteDistance(vpc.clone(), *prefix)),
                );
            }
            Row::Interface(row) => {
                self.keys.insert(Key::Interface(row.name.clone()));
                let neighbors = configuration
                    .neighbor
                    .range((row.name.clone(), LEAST_ADDRESS)..);
                let neighbors = neighbors
                    .map(|(key, _)| key)
                    .take_while(|(name, _)| *name == row.name);
                self.entities
                    .extend(neighbors.map(|(name, ip)| Entity::Neighbor(name.clone(), *ip)));
                if !configuration.interface.contains_key(&(row.name.clone(),)) {
                    // This will be refused. Who still leads there is looked for, to point at it.
                    self.of_next_hops(&row.name);
                }
            }
            Row::Pool(row) => {
                self.keys.insert(Key::Pool(row.name.clone()));
            }
            Row::Acl(row) => {
                self.keys.insert(Key::Acl(row.name.clone()));
            }
            Row::AddressSet(row) => {
                self.keys.insert(Key::AddressSet(row.name.clone()));
            }
            Row::Service(row) => {
                self.keys.insert(Key::Service(row.name.clone()));
            }
            Row::Peering(row) => {
                self.exposes
                    .extend(exposes_of(configuration, &row.name).cloned());
            }
            _ => {}
        }
    }

    /// The routes that lead to an interface. Cost: all next hops, where there is any.
    fn of_next_hops(&mut self, interface: &Name) {
        if self.state.references.has_next_hop(interface) {
            let hops = self.state.configuration.route_next_hop.values();
            let hops = hops.filter(|hop| hop.interface == *interface);
            self.entities
                .extend(hops.map(|hop| Entity::Route(hop.vpc.clone(), hop.prefix)));
        }
    }

    /// What depends on an expose: its translations, the slots that it claims or makes holes in, its senders.
    fn of_expose(&mut self, key: ExposeKey) {
        let exposed = Exposed::of(&self.state.configuration, &key);
        let links = exposed.map(|exposed| exposed.links(&key));
        links
            .into_iter()
            .flatten()
            .for_each(|link| self.of_link(link));
        self.entities.push(Entity::Expose(key));
    }

    /// What has its entry elsewhere, together with others.
    fn joined(&mut self) {
        let configuration = &self.state.configuration;
        let mut joined = Vec::new();
        for entity in &self.entities {
            match entity {
                Entity::Masquerade(rule, source) => {
                    let row = configuration.masquerade.get(&(rule.clone(),));
                    joined.extend(row.map(|row| {
                        let (vpc, interface, source) = masquerade_slot(row, *source);
                        Entity::Masqueraded(vpc, interface, source)
                    }));
                }
                Entity::Exclusion(rule) => {
                    let row = configuration.nat_exclusion.get(&(rule.clone(),));
                    joined.extend(row.map(|row| Entity::Exclusions(row.vpc.clone())));
                }
                Entity::Nat64(rule) => {
                    let row = configuration.nat64.get(&(rule.clone(),));
                    joined.extend(row.map(|row| Entity::Nat64s(row.vpc.clone())));
                }
                _ => {}
            }
        }
        self.entities.extend(joined);
    }

    /// What lies within slots and is derived from all that is around it: holes in what exposes claim, their senders, and those
    /// that are masqueraded.
    fn within(&mut self) {
        let references = &self.state.references;
        let mut inner = Vec::new();
        for entity in &self.entities {
            match entity {
                Entity::Masqueraded(vpc, interface, outer) => {
                    let start = (vpc.clone(), interface.clone(), *outer);
                    let slots = references.masquerades.from(start).map(|(slot, _)| slot);
                    let slots = slots.take_while(|(v, i, prefix)| {
                        (v, i) == (vpc, interface) && holds(*outer, *prefix)
                    });
                    inner.extend(slots.map(|(vpc, interface, prefix)| {
                        Entity::Masqueraded(vpc.clone(), interface.clone(), *prefix)
                    }));
                }
                Entity::Route(vpc, outer) => {
                    let holes = references.holes.from((vpc.clone(), *outer));
                    let slots = holes.map(|(slot, _)| slot);
                    let slots = slots.take_while(|(v, p)| v == vpc && holds(*outer, *p));
                    inner.extend(slots.map(|(vpc, prefix)| Entity::Route(vpc.clone(), *prefix)));
                }
                Entity::Sender(peering, vpc, outer) => {
                    let start = (peering.clone(), vpc.clone(), *outer);
                    let slots = references.senders.from(start).map(|(slot, _)| slot);
                    let slots = slots.take_while(|(p, v, prefix)| {
                        (p, v) == (peering, vpc) && holds(*outer, *prefix)
                    });
                    inner.extend(
                        slots.map(|(p, v, prefix)| Entity::Sender(p.clone(), v.clone(), *prefix)),
                    );
                }
                _ => {}
            }
        }
        self.entities.extend(inner);
    }

    fn finish(mut self) -> Vec<Entity> {
        for key in std::mem::take(&mut self.exposes) {
            self.of_expose(key);
        }
        for key in &self.keys {
            self.entities
                .extend(self.state.references.dependents_within(key).cloned());
        }
        // The entities of a table's rows come in order: to sort them is to merge a few long runs.
        self.joined();
        self.entities.sort();
        self.entities.dedup();
        self.within();
        self.entities.sort();
        self.entities.dedup();
        self.entities
    }
}

/// Whether a prefix that comes after `outer` in their order lies within it.
fn holds(outer: Prefix, inner: Prefix) -> bool {
    outer.network().contains(&inner.network())
}
