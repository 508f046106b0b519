//! What a virtual gateway tells of itself: counters, logs, tables, connections.

use std::sync::Arc;

use rewire_conntrack::offload::Latencies;
use rewire_tables::{Tables, TablesDigest};

use super::VirtualGateway;
use crate::buffer::MemoryPool;
use crate::counters::{Account, Totals};
use crate::drop_reason::DropReason;
use crate::graph::{AclLogEntry, EndedByPolicy, Graph, LogEntry, PortsExhausted};
use crate::resolutions::Resolved;
use crate::rule_counts::CountedRule;

impl VirtualGateway {
    /// What rules of ACLs have logged since this was asked last.
    pub fn take_logged(&mut self) -> Vec<AclLogEntry> {
        let is_acl = |entry: &mut LogEntry| matches!(entry, LogEntry::Acl(_));
        let entries = self.logged.extract_if(.., is_acl);
        let acl = |entry| match entry {
            LogEntry::Acl(entry) => Some(entry),
            LogEntry::PortsExhausted(_) => None,
        };
        entries.filter_map(acl).collect()
    }

    /// What was logged of ports that are used up since this was asked last.
    pub fn take_exhausted(&mut self) -> Vec<PortsExhausted> {
        let is_it = |entry: &mut LogEntry| matches!(entry, LogEntry::PortsExhausted(_));
        let entries = self.logged.extract_if(.., is_it);
        let exhausted = |entry| match entry {
            LogEntry::PortsExhausted(entry) => Some(entry),
            LogEntry::Acl(_) => None,
        };
        entries.filter_map(exhausted).collect()
    }

    /// What became of all packets so far. Cost: the drop reasons.
    pub fn account(&self) -> Account {
        let mut all = Account::default();
        for counters in &self.counters {
            all += counters.account();
        }
        all
    }

    /// All counters.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }

    /// Connections that have timed out so far, and that have made way for others.
    pub fn connections_gone(&self) -> (u64, u64) {
        let counters = || self.counters.iter();
        (
            counters().map(|one| one.connections_expired.get()).sum(),
            counters().map(|one| one.connections_evicted.get()).sum(),
        )
    }

    /// What became of connections when a revision changed the policy; none where another has taken its place.
    pub fn resolved(&self, revision: u64) -> Option<Resolved> {
        let mut resolved = Resolved::default();
        for counters in &self.counters {
            resolved += counters.resolved(revision)?;
        }
        Some(resolved)
    }

    /// What the rules of an ACL have counted, or those of all.
    pub fn counted_rules(&self, acl: Option<&str>) -> Vec<CountedRule> {
        self.rules.counted(acl, &self.counters)
    }

    /// The packets dropped for one reason so far.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        let counters = self.counters.iter();
        counters
            .map(|counters| counters.dropped(reason).get())
            .sum()
    }

    /// Looks into the tables as they are now.
    pub fn with_tables<T>(&self, look: impl FnOnce(&Tables) -> T) -> Option<T> {
        self.publisher.current().map(|tables| look(&tables))
    }

    /// The digest of the tables as they are now.
    pub fn digest(&self) -> Option<TablesDigest> {
        self.with_tables(Tables::digest)
    }

    /// How long rules took to come and go, where there is a card.
    pub fn offload_latencies(&self) -> Option<Arc<Latencies>> {
        self.card.as_ref().map(|card| card.engine.latencies())
    }

    /// Notes from now on which connections a change of policy ends.
    pub fn note_ended_by_policy(&mut self) {
        for worker in &mut self.workers {
            worker.graph.note_ended_by_policy();
        }
    }

    /// The connections that a change of policy has ended since this was asked last, each with its worker.
    pub fn take_ended_by_policy(&mut self) -> Vec<(u16, EndedByPolicy)> {
        let workers = (0..).zip(&mut self.workers);
        let ended = workers.flat_map(|(number, worker)| {
            let ended = worker.graph.take_ended_by_policy();
            ended.into_iter().map(move |ended| (number, ended))
        });
        ended.collect()
    }

    /// The first worker's graph, with its connections.
    pub fn graph(&self) -> &Graph<MemoryPool> {
        &self.workers[0].graph
    }

    /// The graphs of all workers, in the order of their numbers.
    pub fn graphs(&self) -> impl Iterator<Item = &Graph<MemoryPool>> {
        self.workers.iter().map(|worker| &worker.graph)
    }
}
