//! What the configuration says: the compiler's operations on their way to the tables, and the sources.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ipnet::IpNet;
use rewire_tables::{Route, TableOperation};

use super::entry::{Entry, Installed, Learned, Rules};
use super::{Connected, Rib, Vpc};
use crate::config::SourceConfig;
use crate::source::Source;

impl Rib {
    /// Takes the compiler's operations of one change over, and appends to `out` those for the tables: the same, but for the
    /// routes, of which the winners are set. Whatever begins anew ends with the learned routes in place.
    pub fn absorb(
        &mut self,
        operations: impl IntoIterator<Item = TableOperation>,
        out: &mut Vec<TableOperation>,
    ) {
        let mut unbound = false;
        for operation in operations {
            match &operation {
                TableOperation::SetRoute { vpc, prefix, route } => {
                    if let Some(slot) = self.slot_of(*vpc) {
                        self.set_compiled(slot, *prefix, Some(route.clone()), out);
                        continue;
                    }
                }
                TableOperation::RemoveRoute { vpc, prefix } => {
                    if let Some(slot) = self.slot_of(*vpc) {
                        self.set_compiled(slot, *prefix, None, out);
                        continue;
                    }
                }
                TableOperation::SetRouteDistance {
                    vpc,
                    prefix,
                    distance,
                } => self.set_distance(*vpc, *prefix, Some(*distance), out),
                TableOperation::RemoveRouteDistance { vpc, prefix } => {
                    self.set_distance(*vpc, *prefix, None, out);
                }
                TableOperation::SetInterface { interface, value } => {
                    self.set_interface(*interface, Some(Arc::clone(value)));
                }
                TableOperation::RemoveInterface { interface } => {
                    self.set_interface(*interface, None);
                }
                TableOperation::SetVpc { vpc, name } => {
                    let slot = self.slot(name);
                    if let Some(old) = self.slot_of(*vpc)
                        && old != slot
                    {
                        self.unbind(old);
                    }
                    self.bind(*vpc, slot);
                    self.touched.insert(slot);
                    self.relinked.insert(slot);
                }
                TableOperation::RemoveVpc { vpc } => {
                    if let Some(slot) = self.slot_of(*vpc) {
                        self.unbind(slot);
                        self.by_index[vpc.position()] = None;
                        unbound = true;
                    }
                }
                TableOperation::Clear => {
                    self.clear();
                    unbound = true;
                }
                _ => {}
            }
            out.push(operation);
        }
        self.settle(out);
        if unbound {
            self.forget_unused_slots();
        }
    }

    /// Takes the sources of a configuration over: those that are no longer there go with all their routes. Called before
    /// [`absorb`](Self::absorb) of the same change.
    pub fn configure(&mut self, sources: &[SourceConfig], out: &mut Vec<TableOperation>) {
        let gone: Vec<u16> = (0u16..)
            .zip(&self.sources)
            .filter(|(_, old)| {
                old.as_ref()
                    .is_some_and(|old| sources.iter().all(|new| new.name != old.config.name))
            })
            .map(|(number, _)| number)
            .collect();
        for number in gone {
            let vpcs = self.vpcs_of(number);
            self.forget(number, &vpcs, |_, _| true);
            self.settle(out);
            if let Some(source) = self.sources[usize::from(number)].take() {
                self.counters.remove(&source.config.name);
            }
        }
        for config in sources {
            let tables = config.tables.iter();
            let mut vpcs: Vec<(u32, u32)> = tables
                .map(|(table, name)| (*table, self.slot(name)))
                .collect();
            vpcs.sort_unstable();
            match self.number_of(&config.name) {
                Some(number) => self.reconfigure(number, config, vpcs),
                None => self.add_source(config, vpcs),
            }
        }
        self.settle(out);
        self.forget_unused_slots();
    }

    fn add_source(&mut self, config: &SourceConfig, vpcs: Vec<(u32, u32)>) {
        let counters = self.counters.of(&config.name);
        let source = Some(Source::new(config.clone(), vpcs, counters));
        match self.sources.iter().position(Option::is_none) {
            Some(free) => self.sources[free] = source,
            // The model has no more names than this, by far; one more source learns nothing.
            None if self.sources.len() >= usize::from(u16::MAX) => {}
            None => self.sources.push(source),
        }
    }

    /// A source's tables, distance or limits change. The routes of a table that goes elsewhere go: its session begins anew, and
    /// they are said again.
    fn reconfigure(&mut self, number: u16, config: &SourceConfig, vpcs: Vec<(u32, u32)>) {
        let Some(Some(source)) = self.sources.get_mut(usize::from(number)) else {
            return;
        };
        let before = std::mem::replace(&mut source.vpcs, vpcs);
        let moved: BTreeSet<u32> = before
            .iter()
            .filter(|both| !source.vpcs.contains(both))
            .map(|(_, slot)| *slot)
            .collect();
        let old = std::mem::replace(&mut source.config, config.clone());
        if old.distance != config.distance {
            let vpcs = source.vpcs.iter().map(|(_, slot)| *slot);
            self.touched.extend(vpcs);
        }
        let moved: Vec<u32> = moved.into_iter().collect();
        self.forget(number, &moved, |_, _| true);
    }

    /// Brings the clock to `now`: what was stale for too long goes. Gives the names of the sources that it was of.
    pub fn expire(&mut self, now: Duration, out: &mut Vec<TableOperation>) -> Vec<Arc<str>> {
        let mut names = Vec::new();
        for position in 0..self.sources.len() {
            let Some(Some(source)) = self.sources.get(position) else {
                continue;
            };
            if source.expiry().is_some_and(|expiry| now >= expiry) {
                names.push(Arc::clone(&source.config.name));
                self.expire_source(position as u16);
            }
        }
        self.settle(out);
        names
    }

    /// Lets go of what a source has not said in the session that goes on. [`settle`](Self::settle) tells the tables.
    pub(super) fn expire_source(&mut self, number: u16) {
        let Some(Some(source)) = self.sources.get_mut(usize::from(number)) else {
            return;
        };
        source.stale_since = None;
        let session = source.session;
        if source.stale > 0 {
            tracing::warn!(
                source = &*source.config.name,
                routes = source.stale,
                "routes that were not said again in time are gone"
            );
            let vpcs = self.vpcs_of(number);
            self.forget(number, &vpcs, |candidate, _| {
                Some(candidate.session) != session
            });
        }
    }

    /// The number of a source.
    pub(super) fn number_of(&self, name: &str) -> Option<u16> {
        let is_it = |source: &Option<Source>| {
            source
                .as_ref()
                .is_some_and(|source| *source.config.name == *name)
        };
        self.sources
            .iter()
            .position(is_it)
            .map(|position| position as u16)
    }

    fn vpcs_of(&self, number: u16) -> Vec<u32> {
        let source = self
            .sources
            .get(usize::from(number))
            .and_then(Option::as_ref);
        source.map_or_else(Vec::new, |source| {
            source.vpcs.iter().map(|(_, slot)| *slot).collect()
        })
    }

    /// Takes a source's routes out of some VPCs. [`settle`](Self::settle) tells the tables.
    fn forget(
        &mut self,
        number: u16,
        vpcs: &[u32],
        goes: impl Fn(&super::entry::Candidate, u32) -> bool,
    ) {
        let (mut routes, mut stale) = (0, 0);
        let Rib {
            vpcs: all,
            sets,
            sources,
            ..
        } = self;
        let Some(Some(source)) = sources.get_mut(usize::from(number)) else {
            return;
        };
        for slot in vpcs {
            let Some(vpc) = all.get_mut(*slot as usize) else {
                continue;
            };
            let learned = |learned: &mut Learned| {
                learned.take(|candidate| {
                    let takes = candidate.source == number && goes(candidate, *slot);
                    if takes {
                        sets.give_back(candidate.set);
                        routes += 1;
                        stale += u64::from(Some(candidate.session) != source.session);
                    }
                    takes
                });
            };
            let four = vpc.routes4.values_mut().map(|entry| &mut entry.learned);
            let six = vpc.routes6.values_mut().map(|entry| &mut entry.learned);
            four.chain(six).for_each(learned);
        }
        source.routes -= routes;
        source.stale -= stale;
        self.touched.extend(vpcs);
    }

    fn set_compiled(
        &mut self,
        slot: u32,
        prefix: IpNet,
        route: Option<Route>,
        out: &mut Vec<TableOperation>,
    ) {
        self.learn_connected(slot, prefix, route.as_ref());
        self.with_entry(slot, prefix, |entry, rules| {
            let changed = entry.compiled != route;
            entry.compiled = route;
            rules.sync(prefix, entry, changed, out);
        });
    }

    /// Works on an entry, made where there is none, and lets go of it where it is over.
    pub(super) fn with_entry(
        &mut self,
        slot: u32,
        prefix: IpNet,
        work: impl FnOnce(&mut Entry, Rules<'_>),
    ) {
        let Some(((four, six), rules)) = self.vpc_and_rules(slot) else {
            return;
        };
        match prefix {
            IpNet::V4(net) => super::work_on(four, net.into(), rules, work),
            IpNet::V6(net) => super::work_on(six, net.into(), rules, work),
        }
    }

    /// Keeps up which subnets are on links.
    pub(super) fn learn_connected(&mut self, slot: u32, prefix: IpNet, route: Option<&Route>) {
        let Some(vpc) = self.vpcs.get_mut(slot as usize) else {
            return;
        };
        let link = match route {
            Some(Route::Forward(hops)) => {
                let mut hops = hops.iter();
                let first = hops.next().filter(|hop| hop.via().is_none());
                first
                    .filter(|_| hops.next().is_none())
                    .map(|hop| hop.interface())
            }
            _ => None,
        };
        // A static route may lead to a link without a router, too. Only an interface's own subnets count.
        let link = link.filter(|link| {
            let interface = self
                .interfaces
                .get(link.position())
                .and_then(Option::as_ref);
            interface.is_some_and(|interface| {
                Some(interface.vpc) == vpc.index
                    && interface.addresses.iter().any(|net| net.trunc() == prefix)
            })
        });
        let before = match link {
            Some(interface) => vpc.connected.insert(prefix, interface),
            None => vpc.connected.remove(&prefix),
        };
        if before != link {
            self.relinked.insert(slot);
        }
    }

    fn set_distance(
        &mut self,
        vpc: rewire_tables::VpcIndex,
        prefix: IpNet,
        distance: Option<u8>,
        out: &mut Vec<TableOperation>,
    ) {
        let Some(slot) = self.slot_of(vpc) else {
            return;
        };
        let distances = &mut self.vpcs[slot as usize].distances;
        match distance {
            Some(distance) => distances.insert(prefix, distance),
            None => distances.remove(&prefix),
        };
        self.with_entry(slot, prefix, |entry, rules| {
            rules.sync(prefix, entry, false, out);
        });
    }

    /// A VPC is no longer in the tables, and its routes went with it. What was learned for its name stays.
    fn unbind(&mut self, slot: u32) {
        let Some(vpc) = self.vpcs.get_mut(slot as usize) else {
            return;
        };
        vpc.forget_compiled();
        self.relinked.insert(slot);
    }

    /// The tables are empty. So is all that is compiled.
    fn clear(&mut self) {
        for (slot, vpc) in (0u32..).zip(&mut self.vpcs) {
            vpc.forget_compiled();
            self.touched.insert(slot);
            self.relinked.insert(slot);
        }
        self.by_index.clear();
        self.interfaces.clear();
    }
}

impl Vpc {
    fn forget_compiled(&mut self) {
        self.index = None;
        self.connected = Connected::new();
        self.distances = HashMap::new();
        let over = |entry: &mut Entry| {
            entry.compiled = None;
            entry.installed = Installed::Nothing;
            !Rules::is_over(entry)
        };
        self.routes4.retain(|_, entry| over(entry));
        self.routes6.retain(|_, entry| over(entry));
    }
}
