//! Walks under a state of which only what packets touch is compiled: all but the routes, and of these the ones that cover an
//! address that is looked up on the way.
//!
//! Which those are is known by walking: each walk names the VPCs and addresses that it looked at, their routes are added, and the
//! packet walks again, until nothing is new. A longest prefix is among those that cover its address, so that the last
//! walk is the one over all tables. Routes are all that a large configuration has by the hundred thousand.
//!
//! Routes that were added for one packet are there for the next: packets that go the same way share them, and what was looked for
//! in vain is not looked for again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rewire_compiler::{Compiler, Errors};
use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::walk::Fact;
use rewire_schema::state::{Rows, StateError};
use rewire_schema::types::{Name, Prefix};
use rewire_schema::{Change, Changeset, Configuration, Row, RowKey, Table};
use rewire_tables::{Route, Tables, Vpc};

use super::{Asked, Walked, input, walk};
use crate::failure::{Code, Failure};

/// An address that was looked up in the routes of a VPC.
type LookedUp = (String, IpAddr);

/// Why there are no tables to walk over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TouchedError {
    /// The state does not compile.
    #[error(transparent)]
    Compile(#[from] Errors),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<TouchedError> for Failure {
    fn from(error: TouchedError) -> Self {
        match error {
            TouchedError::Compile(errors) => Failure::new(Code::Refused, errors.to_string()),
            TouchedError::State(error) => error.into(),
        }
    }
}

/// A state, and tables of what packets have touched of it so far.
pub(crate) struct Touched<'a> {
    rows: &'a dyn Rows,
    revision: u64,
    compiler: Compiler,
    tables: Box<Tables>,
    /// What was looked up, with the routes that cover it.
    known: BTreeSet<LookedUp>,
    /// The slots of routes that were looked at, whether there was a route or not.
    slots: BTreeSet<(Name, Prefix)>,
}

impl<'a> Touched<'a> {
    /// A state that no packet has touched. Cost: its rows without its routes.
    ///
    /// # Errors
    /// The state cannot be read, or does not compile.
    pub(crate) fn new(rows: &'a dyn Rows, revision: u64) -> Result<Self, TouchedError> {
        let mut base = Configuration::default();
        for table in Table::ALL {
            if !matches!(table, Table::Route | Table::NextHop) {
                for row in rows.below(*table, &[])? {
                    base.insert(row);
                }
            }
        }
        let (compiler, compiled) = Compiler::compile(base, revision)?;
        let mut tables = Box::<Tables>::default();
        for operation in &compiled.operations {
            tables.apply(operation);
        }
        Ok(Touched {
            rows,
            revision,
            compiler,
            tables,
            known: BTreeSet::new(),
            slots: BTreeSet::new(),
        })
    }

    /// What is in effect of the state; of its routes, those that were touched.
    pub(crate) fn configuration(&self) -> &Configuration {
        self.compiler.configuration()
    }

    /// The tables so far.
    pub(crate) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// What walks looked up that was not known. Where there is nothing, they are those over all tables.
    pub(crate) fn unknown(&self, walks: &[Walked]) -> BTreeSet<LookedUp> {
        let mut looked_up = looked_up(walks, &self.tables);
        looked_up.retain(|looked_up| !self.known.contains(looked_up));
        looked_up
    }

    /// Adds the routes that cover what was looked up; gives back those of them that are looked up to something else now. What
    /// has walked over no such one has walked as over all tables. Cost: a look-up in the state for every length of a prefix, where no
    /// other address has led to the same.
    ///
    /// # Errors
    /// The state cannot be read, or its routes do not compile.
    pub(crate) fn add(
        &mut self,
        looked_up: BTreeSet<LookedUp>,
    ) -> Result<BTreeSet<LookedUp>, TouchedError> {
        let mut routes = Vec::new();
        for (vpc, address) in &looked_up {
            // What the tables have a name for has one in the state.
            if let Ok(vpc) = vpc.parse::<Name>() {
                self.cover(&vpc, *address, &mut routes)?;
            }
        }
        self.known.extend(looked_up.iter().cloned());
        let mut changed = looked_up;
        changed.retain(|looked_up| routes.iter().any(|route| covers(route, looked_up)));
        if routes.is_empty() {
            return Ok(changed);
        }
        let changeset: Changeset = routes.into_iter().collect();
        let compiled = self.compiler.apply(self.revision, &changeset)?;
        for operation in &compiled.operations {
            self.tables.apply(operation);
        }
        Ok(changed)
    }

    /// The routes of a VPC that cover an address, with their next hops, but for those that were looked at already.
    fn cover(
        &mut self,
        vpc: &Name,
        address: IpAddr,
        routes: &mut Vec<Change>,
    ) -> Result<(), StateError> {
        for length in 0..=IpNet::from(address).max_prefix_len() {
            let Ok(around) = IpNet::new(address, length) else {
                continue;
            };
            let slot = (vpc.clone(), Prefix::new(around.trunc()));
            if !self.slots.insert(slot.clone()) {
                continue;
            }
            let key = RowKey::Route(slot);
            if let Some(route) = self.rows.find(&key)? {
                routes.push(Change::Insert(route));
                let next_hops = self.rows.below(Table::NextHop, &key.values())?;
                routes.extend(next_hops.into_iter().map(Change::Insert));
            }
        }
        Ok(())
    }
}

/// The walk of a packet under a state, and that of its reply if it is asked for and there is any, with the tables that they walked over.
///
/// Cost: the rows of the state without its routes; for each address on the way a look-up for every length of a prefix.
///
/// # Errors
/// The state does not compile, or it is not known which interface receives the packet.
pub(crate) fn walks(
    rows: &dyn Rows,
    revision: u64,
    asked: &Asked,
    (assumes_neighbors, wants_reply): (bool, bool),
) -> Result<(Box<Tables>, Vec<Walked>), Failure> {
    let mut touched = Touched::new(rows, revision)?;
    loop {
        let mut trial = Trial::new(Instant(0), assumes_neighbors);
        let mut walks = vec![walk(&touched.tables, asked, &mut trial)?];
        if wants_reply && let Some(reply) = input::reply(&walks[0]) {
            walks.push(walk(&touched.tables, &reply, &mut trial)?);
        }
        let unknown = touched.unknown(&walks);
        if touched.add(unknown)?.is_empty() {
            return Ok((touched.tables, walks));
        }
    }
}

/// Whether a change is of a route that an address in a VPC may be looked up to.
fn covers(change: &Change, (vpc, address): &LookedUp) -> bool {
    match change.row() {
        Row::Route(route) => route.vpc.as_str() == vpc && route.prefix.network().contains(address),
        _ => false,
    }
}

/// What was looked up on the way, and might have been: each address of the packets in each VPC that they came to.
fn looked_up(walks: &[Walked], tables: &Tables) -> BTreeSet<LookedUp> {
    let mut vpcs = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let of_interface = |name: &str| {
        let mut named = tables.interfaces().filter(|(_, i)| *i.name == *name);
        named
            .next()
            .map(|(_, i)| tables.vpc(i.vpc).name().to_owned())
    };
    for step in walks.iter().flat_map(|walked| &walked.walk.steps) {
        match &step.fact {
            Fact::Received { vpc, .. } => {
                vpcs.insert(vpc.to_string());
            }
            Fact::Header(header) => addresses.extend([header.source, header.destination]),
            Fact::Destination { to, vpc, .. } => {
                vpcs.insert(vpc.to_string());
                addresses.insert(to.0);
            }
            Fact::ChangesFamily {
                destination, vpc, ..
            }
            | Fact::Lookup {
                vpc, destination, ..
            } => {
                vpcs.insert(vpc.to_string());
                addresses.insert(*destination);
            }
            Fact::NextHop { interface, .. } | Fact::TurnsRound { interface } => {
                vpcs.extend(of_interface(interface));
            }
            Fact::Crossing { from, to, .. } => vpcs.extend([from.to_string(), to.to_string()]),
            Fact::Source { to, .. } => {
                addresses.insert(to.0);
            }
            _ => {}
        }
    }
    // A way that was stopped does not say through which VPCs it came.
    let mut open: Vec<String> = vpcs.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let named = tables.vpcs().find(|(_, vpc)| vpc.name() == name);
        for route in named
            .iter()
            .flat_map(|(_, vpc)| addresses.iter().map(|address| route(vpc, *address)))
        {
            let next = match route {
                Some(Route::Vpc(next) | Route::Peering { vpc: next, .. }) => tables.vpc(*next),
                _ => continue,
            };
            if vpcs.insert(next.name().to_owned()) {
                open.push(next.name().to_owned());
            }
        }
    }
    let pairs = vpcs.iter().flat_map(|vpc| {
        let addresses = addresses.iter();
        addresses.map(move |address| (vpc.clone(), *address))
    });
    pairs.collect()
}

/// The route of an address in a VPC.
fn route(vpc: &Vpc, address: IpAddr) -> Option<&Route> {
    match address {
        IpAddr::V4(address) => vpc.route(address),
        IpAddr::V6(address) => vpc.route(address),
    }
}

#[cfg(test)]
mod tests;
