//! What routing daemons say, one update at a time.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ipnet::IpNet;
use rewire_tables::TableOperation;

use super::Rib;
use super::entry::{Candidate, Learned};
use crate::ignored::Ignored;
use crate::sets::{self, SetKey, SetTo, Ways, set_to};
use crate::update::{LearnedRoute, NextHopObject, Update};

impl Rib {
    /// Takes updates of a source's session over, in order, and appends to `out` what the tables must do. What is said in a session
    /// that is over, or by a source that is no more, is ignored. Updates may come twice, and removals for what never was.
    pub fn update(
        &mut self,
        source: &str,
        session: u32,
        updates: impl IntoIterator<Item = Update>,
        now: Duration,
        out: &mut Vec<TableOperation>,
    ) {
        let Some(number) = self.number_of(source) else {
            return;
        };
        for update in updates {
            if let Err(reason) = self.step(number, session, update, now, out)
                && let Some(Some(source)) = self.sources.get(usize::from(number))
            {
                source.counters.ignore(reason);
                if reason == Ignored::Limit && source.counters.refused.fetch_add(1, Relaxed) == 0 {
                    tracing::error!(
                        source = &*source.config.name,
                        routes = source.routes,
                        "alarm: the source has as many routes as it may have; more are refused"
                    );
                }
            }
        }
        self.settle(out);
    }

    pub(super) fn step(
        &mut self,
        number: u16,
        session: u32,
        update: Update,
        now: Duration,
        out: &mut Vec<TableOperation>,
    ) -> Result<(), Ignored> {
        let Some(Some(source)) = self.sources.get_mut(usize::from(number)) else {
            return Err(Ignored::Session);
        };
        let is_current = source.session == Some(session);
        match update {
            Update::Up => source.turn(Some(session), now),
            Update::Down if is_current => source.turn(None, now),
            Update::Expired => self.expire_source(number),
            _ if !is_current => return Err(Ignored::Session),
            Update::Down => {}
            Update::SetRoute(route) => return self.set_route(number, session, route, now, out),
            Update::RemoveRoute { table, prefix } => {
                let slot = source.vpc_of(table).ok_or(Ignored::Table)?;
                self.remove_route(number, session, slot, prefix, out);
            }
            Update::SetNextHop { id, object } => self.set_next_hop(number, session, id, object)?,
            Update::RemoveNextHop { id } => {
                let changed = source.remove_object(id);
                self.change_objects(number, session, changed);
            }
        }
        Ok(())
    }

    fn set_route(
        &mut self,
        number: u16,
        session: u32,
        route: LearnedRoute,
        now: Duration,
        out: &mut Vec<TableOperation>,
    ) -> Result<(), Ignored> {
        let LearnedRoute {
            table,
            prefix,
            protocol,
            to,
        } = route;
        let Rib {
            vpcs,
            sources,
            sets,
            interfaces,
            ..
        } = self;
        let Some(Some(source)) = sources.get_mut(usize::from(number)) else {
            return Err(Ignored::Session);
        };
        let slot = source.vpc_of(table).ok_or(Ignored::Table)?;
        let Some(vpc) = vpcs.get(slot as usize) else {
            return Err(Ignored::Table);
        };
        let key = SetKey {
            vpc: slot,
            source: number,
            is_ipv4: prefix.addr().is_ipv4(),
            to: set_to(to, session),
        };
        let is_ipv4 = key.is_ipv4;
        let set = match sets.find(&key) {
            Some(known) => sets.take_again(known),
            None => {
                let ways = match &key.to {
                    SetTo::Object { id, .. } => source.ways(*id),
                    SetTo::Gateway(gateway) => Ways::Gateways(vec![(*gateway, 1)]),
                    SetTo::Gateways(gateways) => Ways::Gateways(gateways.to_vec()),
                    SetTo::Discard(discard) => Ways::Discard(*discard),
                };
                let route = sets::resolve(&ways, is_ipv4, &vpc.connected, interfaces);
                sets.add(key, ways, route)
            }
        };
        let candidate = Candidate {
            set,
            session,
            since: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            source: number,
            protocol,
        };
        let is_full = source.is_full();
        let mut replaced = Ok(None);
        self.with_entry(slot, prefix, |entry, rules| {
            let known = entry.learned.as_slice().iter();
            let same = known.clone().find(|known| known.source == number).copied();
            if is_full && same.is_none() {
                replaced = Err(Ignored::Limit);
                return;
            }
            // What is said again in the same words is as old as before.
            let since = same.filter(|same| (same.set, same.protocol) == (set, protocol));
            let since = since.map_or(candidate.since, |same| same.since);
            replaced = Ok(entry.learned.put(Candidate { since, ..candidate }));
            rules.sync(prefix, entry, false, out);
        });
        let Some(Some(source)) = self.sources.get_mut(usize::from(number)) else {
            return Err(Ignored::Session);
        };
        match replaced {
            Ok(Some(old)) => {
                source.stale -= u64::from(old.session != session);
                self.sets.give_back(old.set);
            }
            Ok(None) => source.routes += 1,
            Err(reason) => {
                self.sets.give_back(set);
                return Err(reason);
            }
        }
        Ok(())
    }

    fn remove_route(
        &mut self,
        number: u16,
        session: u32,
        slot: u32,
        prefix: IpNet,
        out: &mut Vec<TableOperation>,
    ) {
        let mut removed = None;
        self.with_entry(slot, prefix, |entry, rules| {
            if matches!(entry.learned, Learned::None) {
                return;
            }
            entry.learned.take(|candidate| {
                let takes = candidate.source == number;
                if takes {
                    removed = Some(*candidate);
                }
                takes
            });
            rules.sync(prefix, entry, false, out);
        });
        if let (Some(old), Some(Some(source))) =
            (removed, self.sources.get_mut(usize::from(number)))
        {
            source.routes -= 1;
            source.stale -= u64::from(old.session != session);
            self.sets.give_back(old.set);
        }
    }

    fn set_next_hop(
        &mut self,
        number: u16,
        session: u32,
        id: u32,
        object: NextHopObject,
    ) -> Result<(), Ignored> {
        let Some(Some(source)) = self.sources.get_mut(usize::from(number)) else {
            return Err(Ignored::Session);
        };
        let changed = source.set_object(id, object)?;
        self.change_objects(number, session, changed);
        Ok(())
    }

    /// Objects lead elsewhere now: so do the sets that are made of them.
    fn change_objects(&mut self, number: u16, session: u32, changed: Vec<u32>) {
        let Rib {
            vpcs,
            sources,
            sets,
            interfaces,
            touched,
            ..
        } = self;
        let Some(Some(source)) = sources.get(usize::from(number)) else {
            return;
        };
        for id in changed {
            let slots = source.vpcs.iter().map(|(_, slot)| *slot);
            for (slot, is_ipv4) in slots.flat_map(|slot| [(slot, true), (slot, false)]) {
                let key = SetKey {
                    vpc: slot,
                    source: number,
                    is_ipv4,
                    to: SetTo::Object { session, id },
                };
                let (Some(set), Some(vpc)) = (sets.find(&key), vpcs.get(slot as usize)) else {
                    continue;
                };
                let ways = source.ways(id);
                let route = sets::resolve(&ways, is_ipv4, &vpc.connected, interfaces);
                if sets.resolve(set, Some(ways), route) {
                    touched.insert(slot);
                }
            }
        }
    }
}
