//! The whole compile: what the tables hold for a state, from nothing.
//!
//! Static routes are nearly all of a large configuration, and nearly all of them are alone in their slots: what the tables hold for
//! such a slot comes from its own rows. These come in the order of their keys, so that routes and next hops are gone through side by
//! side, and nothing is looked up or sorted. Every other entity, and every slot that anything else lays claim to, is derived like
//! those of a change.

use std::collections::HashMap;
use std::iter::Peekable;
use std::mem;
use std::net::IpAddr;
use std::ops::{Bound, Range};
use std::sync::{Mutex, PoisonError};

use rewire_schema::model::{NextHopRow, RouteRow};
use rewire_schema::types::{Name, Prefix, RouteType};
use rewire_tables::{Route, TableOperation, VpcIndex};

use crate::dependencies::all_but_static_routes;
use crate::derive::{Derivation, derive};
use crate::entity::Entity;
use crate::entries::Entries;
use crate::error::{CompileError, Errors};
use crate::operations::operations;
use crate::parallel::share_out;
use crate::state::State;

/// The operations that lead from empty tables to those of a state. All that is wrong is reported. Cost: the state.
pub(crate) fn whole(revision: u64, state: &State) -> Result<Vec<TableOperation>, Errors> {
    let entities = all_but_static_routes(state);
    let (entries, mut errors) = match derive(state, &entities) {
        Ok(entries) => (entries, Vec::new()),
        Err(errors) => (Vec::new(), errors.iter().cloned().collect()),
    };
    let entries = entries.into_iter().map(|after| (Entries::NONE, after));
    // Routes come behind all else. The first part of them is put right there: they take up much memory.
    let head = Mutex::new(operations(revision, entries));
    let rows: Vec<&RouteRow> = state.configuration.route.values().collect();
    let parts = share_out(rows.len(), |range| {
        let mut walk = Walk::new(state, slots_of(&entities), &rows, &range);
        if range.start == 0 {
            walk.operations = mem::take(&mut head.lock().unwrap_or_else(PoisonError::into_inner));
            walk.operations.reserve_exact(rows.len());
        } else {
            walk.operations.reserve_exact(range.len());
        }
        rows[range].iter().for_each(|row| walk.route(row));
        walk.orphans(None);
        (walk.operations, walk.errors)
    });
    let mut operations = Vec::new();
    for (part, wrong) in parts {
        match operations.is_empty() {
            true => operations = part,
            false => operations.extend(part),
        }
        errors.extend(wrong);
    }
    Errors::check(errors)?;
    Ok(operations)
}

/// The entities that are slots of route tables. They are together, because entities are in order.
fn slots_of(entities: &[Entity]) -> &[Entity] {
    let is_slot = |entity: &Entity| matches!(entity, Entity::Route(..));
    let start = entities.iter().position(is_slot).unwrap_or(entities.len());
    let count = entities[start..]
        .iter()
        .take_while(|entity| is_slot(entity));
    &entities[start..start + count.count()]
}

/// A prefix in a VPC's route table, by the rows that speak of it.
type Slot<'a> = (&'a Name, Prefix);

fn slot_of_route(row: &RouteRow) -> Slot<'_> {
    (&row.vpc, row.prefix)
}

fn slot_of_hop(row: &NextHopRow) -> Slot<'_> {
    (&row.vpc, row.prefix)
}

fn slot_of(entity: &Entity) -> Option<Slot<'_>> {
    match entity {
        Entity::Route(vpc, prefix) => Some((vpc, *prefix)),
        _ => None,
    }
}

/// A single next hop as its row says it: interface, router and weight.
type Way<'a> = (&'a Name, Option<IpAddr>, Option<u16>);

/// Goes through a range of the static routes, with their next hops and the slots that are left out beside them.
struct Walk<'a> {
    derivation: Derivation<'a>,
    hops: Peekable<Box<dyn Iterator<Item = &'a NextHopRow> + 'a>>,
    /// The next hops of one route.
    own: Vec<&'a NextHopRow>,
    left_out: Peekable<std::slice::Iter<'a, Entity>>,
    /// What single next hops lead to: routes share it. None for those that are not used.
    ways: HashMap<Way<'a>, Option<Route>>,
    /// The last VPC with its index.
    vpc: Option<(&'a Name, Option<VpcIndex>)>,
    operations: Vec<TableOperation>,
    errors: Vec<CompileError>,
}

impl<'a> Walk<'a> {
    /// Begins with the first of a range of routes; the first range of all begins with the first next hop.
    fn new(
        state: &'a State,
        left_out: &'a [Entity],
        rows: &[&'a RouteRow],
        range: &Range<usize>,
    ) -> Self {
        let first = rows.get(range.start).filter(|_| range.start > 0);
        let key = |row: &&RouteRow| (row.vpc.clone(), row.prefix, 0);
        let from = first.map_or(Bound::Unbounded, |row| Bound::Included(key(row)));
        let to = rows.get(range.end).map(key);
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let hops = state.configuration.route_next_hop.range((from, to));
        let hops: Box<dyn Iterator<Item = _>> = Box::new(hops.map(|(_, hop)| hop));
        let behind =
            |entity: &Entity| first.is_some_and(|row| slot_of(entity) < Some(slot_of_route(row)));
        let start = left_out.partition_point(behind);
        Walk {
            derivation: Derivation::new(state),
            hops: hops.peekable(),
            own: Vec::new(),
            left_out: left_out[start..].iter().peekable(),
            ways: HashMap::new(),
            vpc: None,
            operations: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Takes a route with its next hops.
    fn route(&mut self, row: &'a RouteRow) {
        let slot = slot_of_route(row);
        self.orphans(Some(slot));
        self.own.clear();
        while let Some(hop) = self.hops.next_if(|hop| slot_of_hop(hop) == slot) {
            self.own.push(hop);
        }
        let vpc = self.vpc(&row.vpc);
        if !self.is_left_out(slot) {
            match self.lead(row, vpc) {
                Ok(route) => {
                    let set = vpc.zip(route).map(|(vpc, route)| TableOperation::SetRoute {
                        vpc,
                        prefix: row.prefix.network(),
                        route,
                    });
                    self.operations.extend(set);
                }
                Err(error) => self.errors.push(error),
            }
        }
        let set = vpc.zip(row.distance);
        let set = set.map(|(vpc, distance)| TableOperation::SetRouteDistance {
            vpc,
            prefix: row.prefix.network(),
            distance,
        });
        self.operations.extend(set);
    }

    /// Passes next hops before a slot, which have no route.
    fn orphans(&mut self, before: Option<Slot<'_>>) {
        let is_before = |hop: &&NextHopRow| before.is_none_or(|slot| slot_of_hop(hop) < slot);
        while let Some(hop) = self.hops.next_if(is_before) {
            let error = self.derivation.static_route(&hop.vpc, hop.prefix).err();
            self.errors.extend(error);
            while self
                .hops
                .next_if(|next| slot_of_hop(next) == slot_of_hop(hop))
                .is_some()
            {}
        }
    }

    fn is_left_out(&mut self, slot: Slot<'_>) -> bool {
        while self
            .left_out
            .next_if(|entity| slot_of(entity) < Some(slot))
            .is_some()
        {}
        self.left_out.peek().and_then(|entity| slot_of(entity)) == Some(slot)
    }

    fn vpc(&mut self, name: &'a Name) -> Option<VpcIndex> {
        match self.vpc {
            Some((last, index)) if last == name => index,
            _ => {
                let index = self.derivation.state.vpcs.get(name).map(VpcIndex);
                self.vpc = Some((name, index));
                index
            }
        }
    }

    /// What a route with the next hops at hand leads to.
    fn lead(
        &mut self,
        row: &RouteRow,
        vpc: Option<VpcIndex>,
    ) -> Result<Option<Route>, CompileError> {
        let way = match (&*self.own, vpc, row.route_type) {
            ([hop], Some(_), RouteType::Unicast) => Some((&hop.interface, hop.via, hop.weight)),
            _ => None,
        };
        if let Some(known) = way.and_then(|way| self.ways.get(&way)) {
            return Ok(known.clone());
        }
        let route = self.derivation.route_of(row, self.own.iter().copied())?;
        if let Some(way) = way {
            self.ways.insert(way, route.clone());
        }
        Ok(route)
    }
}
