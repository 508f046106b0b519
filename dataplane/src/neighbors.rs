//! The neighbors that workers have learned: state, not policy. No commit forgets them, but the removal of their
//! interface does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, TableOperation};

use crate::clock::Instant;
use crate::graph::LearnedNeighbor;

/// Learned neighbors with the time at which each was heard of last. The number is bounded: a flood of ARP cannot fill
/// the memory.
#[derive(Debug)]
pub(crate) struct LearnedNeighbors {
    entries: BTreeMap<(InterfaceIndex, IpAddr), (MacAddress, Instant)>,
    /// The interfaces that are in the tables: what a worker learned on one that has gone since is not taken over.
    interfaces: BTreeSet<InterfaceIndex>,
    lifetime: Duration,
    next_expiry: Instant,
}

/// Neighbors that are remembered, at most.
const MOST_NEIGHBORS: usize = 65_536;

impl LearnedNeighbors {
    pub(crate) fn new(lifetime: Duration) -> Self {
        LearnedNeighbors {
            entries: BTreeMap::new(),
            interfaces: BTreeSet::new(),
            lifetime,
            next_expiry: Instant(u64::MAX),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes a neighbor over; the operation that tells the tables, where it is new or has moved.
    pub(crate) fn learn(
        &mut self,
        neighbor: LearnedNeighbor,
        now: Instant,
    ) -> Option<TableOperation> {
        let LearnedNeighbor {
            interface,
            address,
            mac,
        } = neighbor;
        if !self.interfaces.contains(&interface) {
            return None;
        }
        let key = (interface, address);
        if !self.entries.contains_key(&key) && self.entries.len() >= MOST_NEIGHBORS {
            return None;
        }
        self.next_expiry = self.next_expiry.min(now.saturating_add(self.lifetime));
        let before = self.entries.insert(key, (mac, now));
        let changed = before.is_none_or(|(known, _)| known != mac);
        changed.then_some(TableOperation::LearnNeighbor {
            interface,
            address,
            mac,
        })
    }

    /// Forgets what was not heard of for a lifetime. The next packet for such a neighbor asks again, and waits.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<TableOperation> {
        if now < self.next_expiry {
            return Vec::new();
        }
        let lifetime = self.lifetime;
        let mut operations = Vec::new();
        self.entries
            .retain(|&(interface, address), &mut (_, heard)| {
                let keep = now < heard.saturating_add(lifetime);
                if !keep {
                    operations.push(TableOperation::ForgetNeighbor { interface, address });
                }
                keep
            });
        let next = self
            .entries
            .values()
            .map(|(_, heard)| heard.saturating_add(lifetime))
            .min();
        self.next_expiry = next.unwrap_or(Instant(u64::MAX));
        operations
    }

    /// Takes notice of what a revision does to interfaces. Forgets the neighbors of those that it removes: the tables do so
    /// by themselves.
    pub(crate) fn follow(&mut self, operations: &[TableOperation]) {
        for operation in operations {
            match operation {
                TableOperation::Clear => self.interfaces.clear(),
                TableOperation::SetInterface { interface, .. } => {
                    self.interfaces.insert(*interface);
                }
                TableOperation::RemoveInterface { interface } => {
                    self.interfaces.remove(interface);
                    self.entries.retain(|(owner, _), _| owner != interface);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rewire_tables::{Interface, VpcIndex};

    use super::*;

    fn neighbor(last: u8, mac: u8) -> LearnedNeighbor {
        LearnedNeighbor {
            interface: InterfaceIndex(1),
            address: IpAddr::from([192, 0, 2, last]),
            mac: MacAddress([2, 0, 0, 0, 0, mac]),
        }
    }

    #[test]
    fn what_is_heard_again_stays_and_what_is_not_goes() {
        let second = |n: u64| Instant(n * 1_000_000_000);
        let mut neighbors = LearnedNeighbors::new(Duration::from_secs(10));
        assert_eq!(
            neighbors.learn(neighbor(1, 1), second(0)),
            None,
            "no such interface"
        );
        let interface = Arc::new(Interface {
            name: "a".into(),
            vpc: VpcIndex(0),
            mac: MacAddress([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
            addresses: Vec::new(),
            acl_in: None,
            acl_out: None,
        });
        neighbors.follow(&[TableOperation::SetInterface {
            interface: InterfaceIndex(1),
            value: interface,
        }]);
        assert!(neighbors.learn(neighbor(1, 1), second(0)).is_some());
        assert!(neighbors.learn(neighbor(2, 2), second(0)).is_some());
        assert_eq!(neighbors.learn(neighbor(1, 1), second(5)), None);
        assert!(
            neighbors.learn(neighbor(1, 9), second(6)).is_some(),
            "it has moved"
        );
        assert_eq!(neighbors.expire(second(9)), []);
        assert_eq!(neighbors.expire(second(10)).len(), 1);
        assert_eq!(neighbors.len(), 1);
        let removed = [TableOperation::RemoveInterface {
            interface: InterfaceIndex(1),
        }];
        neighbors.follow(&removed);
        assert_eq!(neighbors.len(), 0);
        assert_eq!(
            neighbors.learn(neighbor(1, 1), second(11)),
            None,
            "it has gone"
        );
    }
}
