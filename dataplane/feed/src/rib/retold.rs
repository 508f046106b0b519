//! What sources have said, as far as it still counts, in the words that tell it to another table of candidates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rewire_tables::TableOperation;

use super::Rib;
use super::entry::{Candidate, Entries, Entry, Key};
use crate::sets::{SetTo, Ways};
use crate::source::Source;
use crate::update::{Destination, LearnedRoute, Update};

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

impl Rib {
    /// What a table of candidates that knows nothing has to be [told](Self::retell) to come to the same: sessions, next-hop objects,
    /// routes. What is stale is told in the session that it was said in, and where it led when that ended. Nothing of it follows the
    /// order of a hash table.
    ///
    /// Cost: the learned routes, sorted.
    pub fn retold(&self) -> Vec<Told> {
        let mut told = Vec::new();
        for (number, source) in (0u16..).zip(&self.sources) {
            if let Some(source) = source {
                self.retold_of(number, source, &mut told);
            }
        }
        told
    }

    fn retold_of(&self, number: u16, source: &Source, told: &mut Vec<Told>) {
        // Of several tables that go into one VPC, any will do.
        let slots = source.vpcs.iter().rev();
        let tables: BTreeMap<u32, u32> = slots.map(|(table, slot)| (*slot, *table)).collect();
        let mut routes = Vec::new();
        for (slot, table) in tables {
            if let Some(vpc) = self.vpcs.get(slot as usize) {
                self.learned_from(&vpc.routes4, number, table, &mut routes);
                self.learned_from(&vpc.routes6, number, table, &mut routes);
            }
        }
        let is_current = |session: u32| source.session == Some(session);
        routes.sort_by_cached_key(|(session, route)| {
            (is_current(*session), *session, route.table, route.prefix)
        });
        let mut say = |session, update| {
            told.push(Told {
                source: Arc::clone(&source.config.name),
                session,
                update,
            });
        };
        let mut last = None;
        for (session, route) in routes {
            if last.replace(session) != Some(session) {
                say(session, Update::Up);
                if is_current(session) {
                    say_objects(source, session, &mut say);
                }
            }
            say(session, Update::SetRoute(route));
        }
        match (source.session, last) {
            (None, Some(last)) => say(last, Update::Down),
            (Some(session), last) if last != Some(session) => {
                say(session, Update::Up);
                say_objects(source, session, &mut say);
            }
            _ => {}
        }
    }

    /// A source's candidates of one family, with their sessions.
    fn learned_from<K: Key>(
        &self,
        entries: &Entries<K>,
        number: u16,
        table: u32,
        routes: &mut Vec<(u32, LearnedRoute)>,
    ) {
        let learned = entries.iter().flat_map(|(key, entry): (&K, &Entry)| {
            let candidates = entry.learned.as_slice().iter();
            let own = candidates.filter(|candidate| candidate.source == number);
            own.map(|candidate| (key.net(), candidate))
        });
        routes.extend(learned.map(|(prefix, candidate)| {
            let route = LearnedRoute {
                table,
                prefix,
                protocol: candidate.protocol,
                to: self.said_destination(candidate),
            };
            (candidate.session, route)
        }));
    }

    /// Where a candidate leads. An object counts in its own session alone: of another one is told what it was.
    fn said_destination(&self, candidate: &Candidate) -> Destination {
        let Some(set) = self.sets.get(candidate.set) else {
            return Destination::Gateways([].into());
        };
        let source = self.sources.get(usize::from(candidate.source));
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

fn say_objects(source: &Source, session: u32, say: &mut impl FnMut(u32, Update)) {
    for (id, object) in source.objects() {
        let object = object.clone();
        say(session, Update::SetNextHop { id, object });
    }
}
