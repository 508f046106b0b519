//! What rules of ACLs count: the packets and bytes that each has let pass or stopped.
//!
//! Each worker has a counter of its own for each rule, in an array that only the manager makes longer ([`RuleCounts`]). The manager
//! knows which rule has which place in it ([`RuleRegister`]), by the rule's ACL and sequence number, so that a rule keeps its
//! counts through commits, and through tables that are compiled anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};

use rewire_tables::acl::{RuleCounter, RuleCounters, UNCOUNTED};
use rewire_tables::{AclIndex, TableOperation};

use crate::counters::{Counter, WorkerCounters};
use crate::gateway::{GatewayError, Request};

/// Counters in a block: they are made a block at a time.
const BLOCK: usize = 1_024;
/// The most rules that count, with the defaults of their ACLs. Those that come on top do not.
pub const MOST_COUNTED_RULES: usize = BLOCK * BLOCK;

/// The counter of one rule in one worker.
#[derive(Debug, Default)]
struct RuleCount {
    packets: Counter,
    bytes: Counter,
}

/// The counters of all rules in one worker. Counting allocates nothing: a load more than a counter at a fixed place.
#[derive(Debug)]
pub(crate) struct RuleCounts {
    blocks: Box<[OnceLock<Box<[RuleCount]>>]>,
}

impl Default for RuleCounts {
    fn default() -> Self {
        RuleCounts {
            blocks: (0..BLOCK).map(|_| OnceLock::new()).collect(),
        }
    }
}

impl RuleCounts {
    /// Counts a packet wherever it is to be counted. Only the worker calls this.
    #[inline]
    pub(crate) fn count(&self, counters: &RuleCounters, bytes: u64) {
        if *counters == UNCOUNTED {
            return;
        }
        for count in counters.iter().filter_map(|counter| self.at(*counter)) {
            count.packets.add(1);
            count.bytes.add(bytes);
        }
    }

    /// Counts what a card has forwarded.
    pub(crate) fn count_all(&self, counters: &RuleCounters, packets: u64, bytes: u64) {
        for count in counters.iter().filter_map(|counter| self.at(*counter)) {
            count.packets.add(packets);
            count.bytes.add(bytes);
        }
    }

    #[inline]
    fn at(&self, counter: RuleCounter) -> Option<&RuleCount> {
        let place = counter.0.checked_sub(1)? as usize;
        self.blocks.get(place / BLOCK)?.get()?.get(place % BLOCK)
    }

    /// Makes room for a counter.
    fn reserve(&self, counter: RuleCounter) {
        let place = counter.0.saturating_sub(1) as usize;
        if let Some(block) = self.blocks.get(place / BLOCK) {
            block.get_or_init(|| (0..BLOCK).map(|_| RuleCount::default()).collect());
        }
    }
}

/// Packets, and the bytes of their IP packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleTraffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// What a rule has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountedRule {
    /// The ACL's name.
    pub acl: Arc<str>,
    /// The rule's sequence number; none for the default, which stands behind the rules.
    pub rule: Option<u32>,
    /// What it has counted since it is there.
    pub traffic: RuleTraffic,
}

/// Who can be asked what rules have counted, for as long as the gateway runs.
#[derive(Clone, Debug)]
pub struct RuleCountTable(pub(crate) Sender<Request>);

impl RuleCountTable {
    /// What the rules of an ACL have counted, or those of all, in the order of names and sequence numbers. The manager answers between
    /// two changes. Cost: the rules.
    ///
    /// # Errors
    ///
    /// The gateway is stopping.
    pub fn counted(&self, acl: Option<String>) -> Result<Vec<CountedRule>, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::CountedRules(acl, reply);
        self.0.send(request).map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }
}

/// The rule's ACL and sequence number; the default comes last.
type Key = (Arc<str>, Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Rule(u32),
    Default,
}

/// Where a rule counts, and what was counted there by others before it.
#[derive(Clone, Copy, Debug)]
struct Tenant {
    counter: RuleCounter,
    before: RuleTraffic,
}

/// Which rule counts where. The manager's.
#[derive(Debug, Default)]
pub(crate) struct RuleRegister {
    names: HashMap<AclIndex, Arc<str>>,
    tenants: BTreeMap<Key, Tenant>,
    /// How many places there are; the first is 1.
    made: u32,
    /// Places that nobody counts at.
    free: Vec<u32>,
    /// Places that were given up by what is yet to be published.
    left: Vec<u32>,
}

/// The counters of all workers.
pub(crate) type Workers<'a> = &'a [Arc<WorkerCounters>];

impl RuleRegister {
    /// Says in operations where rules count, before they are published. A rule that is there already counts on where it did.
    pub(crate) fn follow(&mut self, operations: &mut [TableOperation], workers: Workers<'_>) {
        let is_of_acls = |operation: &TableOperation| {
            use TableOperation::{Clear, RemoveAcl, RemoveAclRule, SetAcl, SetAclRule};
            matches!(
                operation,
                Clear | SetAcl { .. } | SetAclRule { .. } | RemoveAcl { .. } | RemoveAclRule { .. }
            )
        };
        if !operations.iter().any(is_of_acls) {
            return;
        }
        // By now workers have left the tables in which these were in use.
        self.free.append(&mut self.left);
        // Those of tables that are made anew: most of them are named again.
        let mut known = BTreeMap::new();
        for operation in operations {
            match operation {
                TableOperation::Clear => {
                    self.names.clear();
                    known.append(&mut self.tenants);
                }
                TableOperation::SetAcl {
                    acl, name, counter, ..
                } => {
                    self.names.insert(*acl, Arc::clone(name));
                    *counter = self.enter(*acl, Place::Default, &mut known, workers);
                }
                TableOperation::SetAclRule {
                    acl,
                    sequence,
                    counter,
                    ..
                } => *counter = self.enter(*acl, Place::Rule(*sequence), &mut known, workers),
                TableOperation::RemoveAclRule { acl, sequence } => {
                    if let Some(name) = self.names.get(acl) {
                        let key = (Arc::clone(name), Place::Rule(*sequence));
                        let tenant = self.tenants.remove(&key);
                        self.left.extend(tenant.map(|tenant| tenant.counter.0));
                    }
                }
                TableOperation::RemoveAcl { acl } => {
                    if let Some(name) = self.names.remove(acl) {
                        let whole = (Arc::clone(&name), Place::Rule(0))..=(name, Place::Default);
                        let gone = self.tenants.extract_if(whole, |_, _| true);
                        self.left.extend(gone.map(|(_, tenant)| tenant.counter.0));
                    }
                }
                _ => {}
            }
        }
        let gone = known.into_values().map(|tenant| tenant.counter.0);
        self.left.extend(gone);
    }

    /// Where a rule counts: where it did, or else at a place that is free.
    fn enter(
        &mut self,
        acl: AclIndex,
        place: Place,
        known: &mut BTreeMap<Key, Tenant>,
        workers: Workers<'_>,
    ) -> RuleCounter {
        let Some(name) = self.names.get(&acl) else {
            return RuleCounter::NONE;
        };
        let key = (Arc::clone(name), place);
        if let Some(tenant) = self.tenants.get(&key) {
            return tenant.counter;
        }
        let tenant = known.remove(&key).or_else(|| self.make(workers));
        if let Some(tenant) = tenant {
            self.tenants.insert(key, tenant);
        }
        tenant.map_or(RuleCounter::NONE, |tenant| tenant.counter)
    }

    fn make(&mut self, workers: Workers<'_>) -> Option<Tenant> {
        let place = self.free.pop().or_else(|| {
            let is_room = (self.made as usize) < MOST_COUNTED_RULES;
            self.made += u32::from(is_room);
            is_room.then_some(self.made)
        })?;
        let counter = RuleCounter(place);
        for worker in workers {
            worker.rules.reserve(counter);
        }
        Some(Tenant {
            counter,
            before: sum(workers, counter),
        })
    }

    /// What the rules of an ACL have counted, or those of all, in the order of names and sequence numbers. Cost: the rules.
    pub(crate) fn counted(&self, acl: Option<&str>, workers: Workers<'_>) -> Vec<CountedRule> {
        let of_acl = |key: &Key| acl.is_none_or(|acl| *key.0 == *acl);
        let tenants = self.tenants.iter().filter(|(key, _)| of_acl(key));
        let counted = tenants.map(|((acl, place), tenant)| {
            let sum = sum(workers, tenant.counter);
            CountedRule {
                acl: Arc::clone(acl),
                rule: match place {
                    Place::Rule(sequence) => Some(*sequence),
                    Place::Default => None,
                },
                traffic: RuleTraffic {
                    packets: sum.packets.wrapping_sub(tenant.before.packets),
                    bytes: sum.bytes.wrapping_sub(tenant.before.bytes),
                },
            }
        });
        counted.collect()
    }
}

/// What all workers have counted at a place, ever.
fn sum(workers: Workers<'_>, counter: RuleCounter) -> RuleTraffic {
    let counts = workers.iter().filter_map(|worker| worker.rules.at(counter));
    counts.fold(RuleTraffic::default(), |sum, count| RuleTraffic {
        packets: sum.packets.wrapping_add(count.packets.get()),
        bytes: sum.bytes.wrapping_add(count.bytes.get()),
    })
}

#[cfg(test)]
mod tests;
