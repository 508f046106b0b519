//! What a virtual gateway takes over of another one: neighbors, learned routes, connections.

use std::net::IpAddr;
use std::sync::mpsc;
use std::time::Duration;

use rewire_feed::{Rib, SourceConfig, Told};
use rewire_packet::MacAddress;
use rewire_tables::{TableOperation, Tables};

use super::VirtualGateway;
use crate::change::Change;
use crate::graph::LearnedNeighbor;
use crate::saved_connections::{self, Moment, Restored, SavedFlaw};

/// What a table of candidates makes of a change.
pub(super) fn absorbed(
    rib: &mut Rib,
    (operations, sources): (Vec<TableOperation>, Option<&[SourceConfig]>),
) -> Vec<TableOperation> {
    let mut out = Vec::new();
    if let Some(sources) = sources {
        rib.configure(sources, &mut out);
    }
    rib.absorb(operations, &mut out);
    out
}

impl VirtualGateway {
    /// With a table of candidates, for routes that are learned. For before the first change.
    pub fn learning_routes(mut self) -> Self {
        self.routes = Some(Rib::default());
        self
    }

    /// The tables that a change of a whole state would lead to from nothing, with the routes that were learned here. Cost: the
    /// state and the learned routes.
    pub fn tables_from(&self, change: Change) -> Tables {
        let mut operations = change.operations;
        if let Some(rib) = &self.routes {
            let mut other = Rib::default();
            operations = absorbed(&mut other, (operations, change.sources.as_deref()));
            other.retell(rib.retold(), &mut operations);
        }
        let mut tables = Tables::default();
        for operation in &operations {
            tables.apply(operation);
        }
        tables
    }

    /// Takes over what another gateway has learned of routes, whatever limits say now.
    pub fn take_over_routes(&mut self, told: impl IntoIterator<Item = Told>) {
        let Some(rib) = &mut self.routes else { return };
        let mut operations = Vec::new();
        rib.retell(told, &mut operations);
        self.publisher.extend(operations);
        self.publish();
    }

    /// What another gateway has to take over of routes that were learned here.
    pub fn retold_routes(&self) -> Vec<Told> {
        self.routes.as_ref().map(Rib::retold).unwrap_or_default()
    }

    /// Hears what routing daemons say, in order; all of it is published together. What is stale goes only where that is said.
    pub fn hear_routes(&mut self, told: &[Told]) {
        let Some(rib) = &mut self.routes else { return };
        let mut operations = Vec::new();
        let is_together = |a: &Told, b: &Told| (&a.source, a.session) == (&b.source, b.session);
        for part in told.chunk_by(is_together) {
            if let Some(Told {
                source, session, ..
            }) = part.first()
            {
                let updates = part.iter().map(|told| told.update.clone());
                rib.update(source, *session, updates, Duration::ZERO, &mut operations);
            }
        }
        self.publisher.extend(operations);
        self.publish();
    }

    /// Takes a neighbor over that another gateway has learned, as an operation of its own. Whether it has the interface.
    pub fn learn_neighbor(&mut self, interface: &str, address: IpAddr, mac: MacAddress) -> bool {
        let Some(interface) = self.interface(interface) else {
            return false;
        };
        let neighbor = LearnedNeighbor {
            interface,
            address,
            mac,
            generation: self.publisher.generation(),
        };
        if let Some(operation) = self.neighbors.learn(neighbor, self.now()) {
            self.publisher.append(operation);
            self.publish();
        }
        true
    }

    /// Takes connections over that another gateway had, with their mappings; what became of them. Each is resolved again as the policy
    /// is now. For after the first change, before packets come.
    ///
    /// # Errors
    /// [`SavedFlaw`].
    pub fn restore_connections(&mut self, saved: &[u8]) -> Result<Restored, SavedFlaw> {
        let saved = saved_connections::decode(saved.to_vec())?;
        let now = self.now();
        let workers = self.workers.len() as u16;
        let (reply, answers) = mpsc::sync_channel(workers.into());
        let Some(tables) = self.publisher.current() else {
            return Ok(Restored::default());
        };
        let (shares, homeless) = saved.shares(&tables, &Moment::replayed(now), workers, &reply);
        drop(tables);
        let mut restored = Restored {
            not_owned: homeless,
            ..Restored::default()
        };
        let workers = self.workers.iter_mut().zip(&self.counters);
        for ((worker, counters), share) in workers.zip(shares) {
            worker.graph.restore(&share, now, counters);
            restored += answers.try_recv().unwrap_or_default();
        }
        Ok(restored)
    }
}
