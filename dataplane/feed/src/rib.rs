//! The table of candidates: for each VPC and prefix who offers a route, and whose is in the tables.
//!
//! It stands between those who make routes and the one writer of the tables. The compiler's operations pass through it
//! ([`Rib::absorb`]), what routing daemons say goes into it ([`Rib::update`]), and what comes out are the operations that keep
//! the winners in the tables. No commit and no rewind forgets what was learned (law 6), not even one that begins anew
//! ([`TableOperation::Clear`]).
//!
//! Candidates are told apart by VPC *names*: a compilation may give a VPC another index.
//!
//! # Cost
//!
//! An update costs a look at the hash table of its prefix. A subnet that comes or goes, a next-hop object that changes while
//! routes lead there, a source that changes or goes, and stale routes that expire cost a look at all prefixes of the VPCs
//! concerned, once for all that one call changes.

mod compiled;
mod entry;
mod learned;
mod retold;
mod shown;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ipnet::IpNet;
use rewire_tables::{Interface, InterfaceIndex, TableOperation, Tables, VpcIndex};

use crate::counters::Counters;
use crate::sets::{Connected, Interfaces, Sets};
use crate::source::Source;
use entry::{Entries, Entry, Installed, Key, Key4, Key6, Rules};

#[cfg(test)]
mod tests;

pub use retold::{LearnedCopy, Told};
pub use shown::{Owner, RouteQuery, ShownHop, ShownRoute, ShownRoutes};

/// See the module.
#[derive(Debug, Default)]
pub struct Rib {
    /// By slot. A slot keeps its number for as long as its VPC is there, or a source's table goes into it.
    vpcs: Vec<Vpc>,
    slots: HashMap<Arc<str>, u32>,
    /// Slots that no VPC has.
    free: Vec<u32>,
    /// The slot of each VPC that is in the tables.
    by_index: Vec<Option<u32>>,
    interfaces: Interfaces,
    sources: Vec<Option<Source>>,
    sets: Sets,
    counters: Counters,
    /// VPCs whose entries must be looked at before the call that is going on returns.
    touched: BTreeSet<u32>,
    /// VPCs of which a subnet came or went in the call that is going on.
    relinked: BTreeSet<u32>,
}

/// One VPC.
#[derive(Debug, Default)]
struct Vpc {
    name: Arc<str>,
    index: Option<VpcIndex>,
    connected: Connected,
    distances: HashMap<IpNet, u8>,
    routes4: Entries<Key4>,
    routes6: Entries<Key6>,
}

impl Rib {
    /// A table that knows what the tables hold, all of it compiled. Cost: the routes.
    pub fn of(tables: &Tables, counters: Counters) -> Rib {
        let mut rib = Rib {
            counters,
            ..Rib::default()
        };
        for (index, interface) in tables.interfaces() {
            rib.set_interface(index, Some(Arc::new(interface.clone())));
        }
        for (index, vpc) in tables.vpcs() {
            let slot = rib.slot(&Arc::from(vpc.name()));
            rib.bind(index, slot);
            for (prefix, route) in vpc.routes() {
                rib.learn_connected(slot, prefix, Some(route));
                let entry = Entry {
                    compiled: Some(route.clone()),
                    installed: Installed::Compiled,
                    ..Entry::default()
                };
                match prefix {
                    IpNet::V4(net) => {
                        drop(rib.vpcs[slot as usize].routes4.insert(net.into(), entry))
                    }
                    IpNet::V6(net) => {
                        drop(rib.vpcs[slot as usize].routes6.insert(net.into(), entry))
                    }
                }
            }
            rib.vpcs[slot as usize].distances = vpc.distances().collect();
        }
        rib.relinked.clear();
        rib
    }

    /// When [`expire`](Self::expire) has something to do, on the manager's clock.
    pub fn next_expiry(&self) -> Option<Duration> {
        let sources = self.sources.iter().flatten();
        sources.filter_map(Source::expiry).min()
    }

    /// Whether there is any source.
    pub fn has_sources(&self) -> bool {
        self.sources.iter().any(Option::is_some)
    }

    /// The slot of a VPC, made where there is none.
    fn slot(&mut self, name: &Arc<str>) -> u32 {
        if let Some(slot) = self.slots.get(name) {
            return *slot;
        }
        let vpc = Vpc {
            name: Arc::clone(name),
            ..Vpc::default()
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.vpcs[slot as usize] = vpc;
                slot
            }
            None => {
                self.vpcs.push(vpc);
                self.vpcs.len() as u32 - 1
            }
        };
        self.slots.insert(Arc::clone(name), slot);
        slot
    }

    /// Forgets VPCs that are neither in the tables nor any source's.
    fn forget_unused_slots(&mut self) {
        let sources = self.sources.iter().flatten();
        let used: BTreeSet<u32> = sources
            .flat_map(|source| source.vpcs.iter().map(|(_, slot)| *slot))
            .collect();
        let (vpcs, free) = (&mut self.vpcs, &mut self.free);
        self.slots.retain(|_, slot| {
            let vpc = &mut vpcs[*slot as usize];
            let stays = vpc.index.is_some() || used.contains(slot);
            if !stays {
                *vpc = Vpc::default();
                free.push(*slot);
            }
            stays
        });
    }

    fn bind(&mut self, index: VpcIndex, slot: u32) {
        let position = index.position();
        if self.by_index.len() <= position {
            self.by_index.resize(position + 1, None);
        }
        self.by_index[position] = Some(slot);
        self.vpcs[slot as usize].index = Some(index);
    }

    fn slot_of(&self, index: VpcIndex) -> Option<u32> {
        self.by_index.get(index.position()).copied().flatten()
    }

    fn set_interface(&mut self, index: InterfaceIndex, value: Option<Arc<Interface>>) {
        let position = index.position();
        if self.interfaces.len() <= position {
            self.interfaces.resize(position + 1, None);
        }
        let before = std::mem::replace(&mut self.interfaces[position], value);
        let after = self.interfaces[position].as_ref();
        let matters = |one: &Arc<Interface>| (Arc::clone(&one.name), one.addresses.clone());
        if before.as_ref().map(matters) != after.map(matters) {
            let vpcs = [before.as_ref().map(|one| one.vpc), after.map(|one| one.vpc)];
            for vpc in vpcs.into_iter().flatten() {
                self.relinked.extend(self.slot_of(vpc));
            }
        }
    }

    /// Looks at every entry of the VPCs that were touched, and at every set of those that were relinked: what ends each call.
    fn settle(&mut self, out: &mut Vec<TableOperation>) {
        for slot in std::mem::take(&mut self.relinked) {
            let Some(vpc) = self.vpcs.get(slot as usize) else {
                continue;
            };
            let sets = self.sets.iter().filter(|(_, set)| set.key.vpc == slot);
            let resolved: Vec<_> = sets
                .map(|(number, set)| {
                    let is_ipv4 = set.key.is_ipv4;
                    let route =
                        crate::sets::resolve(&set.ways, is_ipv4, &vpc.connected, &self.interfaces);
                    (number, route)
                })
                .collect();
            for (number, route) in resolved {
                if self.sets.resolve(number, None, route) {
                    self.touched.insert(slot);
                }
            }
        }
        for slot in std::mem::take(&mut self.touched) {
            let Some((vpc, rules)) = self.vpc_and_rules(slot) else {
                continue;
            };
            let (mut four, mut six) = vpc;
            sync_all(&mut four, rules, out);
            sync_all(&mut six, rules, out);
        }
        for (position, source) in self.sources.iter().enumerate() {
            if let Some(source) = source {
                source.tell(self.sets.held_back(position as u16));
            }
        }
    }

    /// The entries of a VPC, and what says who wins there.
    #[allow(clippy::type_complexity)]
    fn vpc_and_rules(
        &mut self,
        slot: u32,
    ) -> Option<((&mut Entries<Key4>, &mut Entries<Key6>), Rules<'_>)> {
        let vpc = self.vpcs.get_mut(slot as usize)?;
        let rules = Rules {
            sets: &self.sets,
            sources: &self.sources,
            connected: &vpc.connected,
            distances: &vpc.distances,
            vpc: vpc.index,
        };
        Some(((&mut vpc.routes4, &mut vpc.routes6), rules))
    }
}

/// Looks at every entry that somebody has learned, and lets go of those that are over.
fn sync_all<K: Key>(
    entries: &mut &mut Entries<K>,
    rules: Rules<'_>,
    out: &mut Vec<TableOperation>,
) {
    entries.retain(|key, entry| {
        rules.sync(key.net(), entry, false, out);
        !Rules::is_over(entry)
    });
}

/// Works on an entry, made where there is none, and lets go of it where it is over.
fn work_on<K: Key>(
    entries: &mut Entries<K>,
    key: K,
    rules: Rules<'_>,
    work: impl FnOnce(&mut Entry, Rules<'_>),
) {
    use hashbrown::hash_map::Entry::{Occupied, Vacant};
    match entries.entry(key) {
        Occupied(mut found) => {
            work(found.get_mut(), rules);
            if Rules::is_over(found.get()) {
                found.remove();
            }
        }
        Vacant(vacant) => {
            let mut entry = Entry::default();
            work(&mut entry, rules);
            if !Rules::is_over(&entry) {
                vacant.insert(entry);
            }
        }
    }
}
