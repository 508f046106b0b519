//! One source as the table of candidates knows it: its configuration, its session, its next-hop objects, its numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use hashbrown::HashMap;

use crate::config::{SourceConfig, distance_of};
use crate::counters::SourceCounters;
use crate::ignored::Ignored;
use crate::sets::Ways;
use crate::update::NextHopObject;

/// Next-hop objects of one session, at most: a daemon that makes them without end cannot fill the memory.
pub(crate) const MOST_OBJECTS: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) config: SourceConfig,
    /// The VPC slots of its tables, in the order of the tables.
    pub(crate) vpcs: Vec<(u32, u32)>,
    /// The session that goes on.
    pub(crate) session: Option<u32>,
    /// When the routes that are stale became so.
    pub(crate) stale_since: Option<Duration>,
    pub(crate) routes: u64,
    /// Of these, those that were not said in this session.
    pub(crate) stale: u64,
    pub(crate) counters: Arc<SourceCounters>,
    objects: HashMap<u32, NextHopObject>,
    /// The groups that an object is a member of.
    groups: HashMap<u32, Vec<u32>>,
}

impl Source {
    pub(crate) fn new(
        config: SourceConfig,
        vpcs: Vec<(u32, u32)>,
        counters: Arc<SourceCounters>,
    ) -> Self {
        Source {
            config,
            vpcs,
            session: None,
            stale_since: None,
            routes: 0,
            stale: 0,
            counters,
            objects: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// The VPC slot of a table.
    pub(crate) fn vpc_of(&self, table: u32) -> Option<u32> {
        let position = self.vpcs.binary_search_by_key(&table, |(table, _)| *table);
        position.ok().map(|position| self.vpcs[position].1)
    }

    /// The distance of its routes of a protocol.
    pub(crate) fn distance(&self, protocol: u8) -> u8 {
        self.config
            .distance
            .unwrap_or_else(|| distance_of(protocol))
    }

    /// Whether it has as many routes as it may have.
    pub(crate) fn is_full(&self) -> bool {
        let most = self.config.most_routes.map_or(u64::MAX, u64::from);
        self.routes >= most
    }

    /// A session begins or ends: all routes are stale until they are said again.
    pub(crate) fn turn(&mut self, session: Option<u32>, now: Duration) {
        self.session = session;
        self.objects = HashMap::new();
        self.groups = HashMap::new();
        self.stale = self.routes;
        self.stale_since = (self.routes > 0).then_some(now);
        if session.is_some() {
            self.counters.refused.store(0, Relaxed);
        }
    }

    /// When what is stale goes.
    pub(crate) fn expiry(&self) -> Option<Duration> {
        self.stale_since
            .map(|since| since.saturating_add(self.config.stale_time))
    }

    /// Makes or changes an object. Gives the numbers of all objects that now lead elsewhere.
    pub(crate) fn set_object(
        &mut self,
        id: u32,
        object: NextHopObject,
    ) -> Result<Vec<u32>, Ignored> {
        if self.objects.get(&id) == Some(&object) {
            return Ok(Vec::new());
        }
        if self.objects.len() >= MOST_OBJECTS && !self.objects.contains_key(&id) {
            return Err(Ignored::Limit);
        }
        self.leave_groups(id);
        if let NextHopObject::Group(members) = &object {
            for (member, _) in members {
                let groups = self.groups.entry(*member).or_default();
                // A group that names a member twice comes twice in a row.
                if groups.last() != Some(&id) {
                    groups.push(id);
                }
            }
        }
        self.objects.insert(id, object);
        Ok(self.and_groups(id))
    }

    /// Takes an object away. Gives the numbers of all objects that now lead elsewhere.
    pub(crate) fn remove_object(&mut self, id: u32) -> Vec<u32> {
        self.leave_groups(id);
        match self.objects.remove(&id) {
            Some(_) => self.and_groups(id),
            None => Vec::new(),
        }
    }

    fn and_groups(&self, id: u32) -> Vec<u32> {
        let groups = self.groups.get(&id).into_iter().flatten().copied();
        std::iter::once(id).chain(groups).collect()
    }

    /// An object that is about to be another one, or none, names no members any more.
    fn leave_groups(&mut self, id: u32) {
        let Some(NextHopObject::Group(members)) = self.objects.get(&id) else {
            return;
        };
        for (member, _) in members {
            if let Some(groups) = self.groups.get_mut(member) {
                groups.retain(|group| *group != id);
                if groups.is_empty() {
                    self.groups.remove(member);
                }
            }
        }
    }

    /// All objects of the session, by their numbers.
    pub(crate) fn objects(&self) -> BTreeMap<u32, &NextHopObject> {
        self.objects
            .iter()
            .map(|(id, object)| (*id, object))
            .collect()
    }

    /// The ways of an object. A group in a group is no way: neither the kernel nor the daemon makes them.
    pub(crate) fn ways(&self, id: u32) -> Ways {
        use NextHopObject::{Blackhole, Group, Unusable};
        let one = |id: &u32| match self.objects.get(id) {
            Some(NextHopObject::Gateway(gateway)) => Some(*gateway),
            _ => None,
        };
        match self.objects.get(&id) {
            Some(NextHopObject::Gateway(gateway)) => Ways::Gateways(vec![(*gateway, 1)]),
            Some(Blackhole) => Ways::Discard(crate::update::Discard::Blackhole),
            Some(Group(members)) => {
                let ways = members
                    .iter()
                    .filter_map(|(id, weight)| Some((one(id)?, *weight)));
                Ways::Gateways(ways.collect())
            }
            Some(Unusable) | None => Ways::Gateways(Vec::new()),
        }
    }

    /// Tells its numbers to whoever reads them.
    pub(crate) fn tell(&self, held_back: u64) {
        self.counters.routes.store(self.routes, Relaxed);
        self.counters.stale.store(self.stale, Relaxed);
        self.counters.held_back.store(held_back, Relaxed);
    }
}
