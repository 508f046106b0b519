//! What sources have said, as far as it still counts, in the words that tell it to another table of candidates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rewire_tables::TableOperation;

use super::entry::{Candidate, Entries, Key, Key4, Key6};
use super::{Rib, Vpc};
use crate::sets::{Set, SetTo, Ways};
use crate::source::Source;
use crate::update::{Destination, LearnedRoute, NextHopObject, Update};

/// One update, and who said it in which session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The source's name.
    pub source: Arc<str>,
    /// The session's number.
    pub session: u32,
    /// What was said.
    pub update: Update,
}

/// What was learned, at one moment: all that it takes to [tell](Self::told) it again, as it lay there. To make it is one pass over the
/// table; what is long about telling is done by whoever has it.
#[derive(Debug, Default)]
pub struct LearnedCopy {
    /// By number.
    sources: Vec<Option<SourceCopy>>,
    /// Where a candidate leads, by the number of its set.
    destinations: Vec<Option<Destination>>,
    routes4: Vec<(u32, Key4, Candidate)>,
    routes6: Vec<(u32, Key6, Candidate)>,
}

/// A source of it.
#[derive(Debug)]
struct SourceCopy {
    name: Arc<str>,
    /// Its tables, by the slot of the VPC.
    tables: BTreeMap<u32, u32>,
    session: Option<u32>,
    objects: BTreeMap<u32, NextHopObject>,
}

impl Rib {
    /// What a table of candidates that knows nothing has to be [told](Self::retell) to come to the same: see [`LearnedCopy::told`].
    ///
    /// Cost: the learned routes, sorted.
    pub fn retold(&self) -> Vec<Told> {
        self.copied().told()
    }

    /// What was learned, as it is now. Cost: one pass over the table, 32 bytes for each learned route of IPv4 and 48 of IPv6, and the
    /// next hops.
    pub fn copied(&self) -> LearnedCopy {
        let sources = self.sources.iter().map(|source| {
            let source = source.as_ref()?;
            // Of several tables that go into one VPC, any will do.
            let slots = source.vpcs.iter().rev();
            let objects = source.objects().into_iter();
            Some(SourceCopy {
                name: Arc::clone(&source.config.name),
                tables: slots.map(|(table, slot)| (*slot, *table)).collect(),
                session: source.session,
                objects: objects.map(|(id, object)| (id, object.clone())).collect(),
            })
        });
        let entries = |of: fn(&Vpc) -> usize| self.vpcs.iter().map(of).sum();
        let mut copy = LearnedCopy {
            sources: sources.collect(),
            destinations: self.sets.all().map(|set| Some(self.said(set?))).collect(),
            routes4: Vec::with_capacity(entries(|vpc| vpc.routes4.len())),
            routes6: Vec::with_capacity(entries(|vpc| vpc.routes6.len())),
        };
        for (slot, vpc) in (0..).zip(&self.vpcs) {
            learned(&vpc.routes4, slot, &mut copy.routes4);
            learned(&vpc.routes6, slot, &mut copy.routes6);
        }
        copy
    }

    /// Where a set leads. An object counts in its own session alone: of another one is told what it was.
    fn said(&self, set: &Set) -> Destination {
        let source = self.sources.get(usize::from(set.key.source));
        let current = source
            .and_then(Option::as_ref)
            .and_then(|source| source.session);
        match &set.key.to {
            SetTo::Object { session, id } if Some(*session) == current => Destination::Object(*id),
            SetTo::Gateway(gateway) => Destination::Gateway(*gateway),
            SetTo::Gateways(gateways) => Destination::Gateways(gateways.clone()),
            SetTo::Discard(discard) => Destination::Discard(*discard),
            SetTo::Object { .. } => match &set.ways {
                Ways::Discard(discard) => Destination::Discard(*discard),
                Ways::Gateways(gateways) => Destination::Gateways(gateways.as_slice().into()),
            },
        }
    }

    /// Takes over what another table of candidates has [told](Self::retold), whatever limits of routes say now: what was taken stays
    /// where a limit goes down. Appends to `out` what the tables must do.
    pub fn retell(&mut self, told: impl IntoIterator<Item = Told>, out: &mut Vec<TableOperation>) {
        let limit = |source: &mut Option<Source>| {
            source
                .as_mut()
                .and_then(|source| source.config.most_routes.take())
        };
        let limits: Vec<Option<u32>> = self.sources.iter_mut().map(limit).collect();
        for Told {
            source,
            session,
            update,
        } in told
        {
            if let Some(number) = self.number_of(&source) {
                // What is said of a table that the source does not have any more is ignored.
                let _ = self.step(number, session, update, Duration::ZERO, out);
            }
        }
        self.settle(out);
        for (source, limit) in self.sources.iter_mut().zip(limits) {
            if let Some(source) = source {
                source.config.most_routes = limit;
            }
        }
    }
}

/// The candidates of one family in a VPC's slot.
fn learned<K: Key>(entries: &Entries<K>, slot: u32, routes: &mut Vec<(u32, K, Candidate)>) {
    for (key, entry) in entries {
        let candidates = entry.learned.as_slice().iter();
        routes.extend(candidates.map(|candidate| (slot, *key, *candidate)));
    }
}

impl LearnedCopy {
    /// Sessions, next-hop objects, routes: in the words that tell them to a table of candidates that knows nothing. What is stale is told in
    /// the session that it was said in, and where it led when that ended. Sources are told by their names: nothing of it follows the
    /// order of a hash table, nor the numbers that sources have, which say who came and went before.
    ///
    /// Cost: the learned routes, sorted.
    pub fn told(self) -> Vec<Told> {
        let mut told = Vec::new();
        let sources = (0u16..).zip(&self.sources);
        let mut sources: Vec<(u16, &SourceCopy)> = sources
            .filter_map(|(number, source)| Some((number, source.as_ref()?)))
            .collect();
        sources.sort_by_key(|(_, source)| &source.name);
        for (number, source) in sources {
            self.told_of(number, source, &mut told);
        }
        told
    }

    fn told_of(&self, number: u16, source: &SourceCopy, told: &mut Vec<Told>) {
        let mut routes = Vec::new();
        self.routes_of(&self.routes4, (number, source), &mut routes);
        self.routes_of(&self.routes6, (number, source), &mut routes);
        let is_current = |session: u32| source.session == Some(session);
        routes.sort_by_cached_key(|(session, route)| {
            (is_current(*session), *session, route.table, route.prefix)
        });
        let mut say = |session, update| {
            told.push(Told {
                source: Arc::clone(&source.name),
                session,
                update,
            });
        };
        let mut last = None;
        for (session, route) in routes {
            if last.replace(session) != Some(session) {
                say(session, Update::Up);
                if is_current(session) {
                    source.say_objects(session, &mut say);
                }
            }
            say(session, Update::SetRoute(route));
        }
        match (source.session, last) {
            (None, Some(last)) => say(last, Update::Down),
            (Some(session), last) if last != Some(session) => {
                say(session, Update::Up);
                source.say_objects(session, &mut say);
            }
            _ => {}
        }
    }

    /// A source's routes of one family, with their sessions.
    fn routes_of<K: Key>(
        &self,
        copied: &[(u32, K, Candidate)],
        (number, source): (u16, &SourceCopy),
        routes: &mut Vec<(u32, LearnedRoute)>,
    ) {
        let own = copied.iter().filter(|(.., one)| one.source == number);
        routes.extend(own.filter_map(|(slot, key, candidate)| {
            let to = self.destinations.get(candidate.set as usize);
            let route = LearnedRoute {
                table: *source.tables.get(slot)?,
                prefix: key.net(),
                protocol: candidate.protocol,
                to: to
                    .cloned()
                    .flatten()
                    .unwrap_or(Destination::Gateways([].into())),
            };
            Some((candidate.session, route))
        }));
    }
}

impl SourceCopy {
    fn say_objects(&self, session: u32, say: &mut impl FnMut(u32, Update)) {
        for (id, object) in &self.objects {
            let (id, object) = (*id, object.clone());
            say(session, Update::SetNextHop { id, object });
        }
    }
}
