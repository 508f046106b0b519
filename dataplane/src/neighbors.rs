//! The neighbors that workers have learned: state, not policy. No commit forgets them, but the removal of their
//! interface does.
//!
//! A compilation that begins anew may give interfaces other numbers. Neighbors belong to the interface of a name, and go
//! with it to its new number.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
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
    /// The interfaces that are in the tables, and their names: what a worker learned on one that has gone since is not
    /// taken over.
    interfaces: BTreeMap<InterfaceIndex, Arc<str>>,
    /// The first generation whose numbers of interfaces are those of now. What workers learned before is not taken over:
    /// it would be another interface's.
    numbered_since: u64,
    lifetime: Duration,
    next_expiry: Instant,
}

/// Neighbors that are remembered, at most.
const MOST_NEIGHBORS: usize = 65_536;

impl LearnedNeighbors {
    pub(crate) fn new(lifetime: Duration) -> Self {
        LearnedNeighbors {
            entries: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            numbered_since: 0,
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
            generation,
        } = neighbor;
        if generation < self.numbered_since || !self.interfaces.contains_key(&interface) {
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

    /// Takes notice of what a revision does to interfaces, and gives the operations that must follow those of the revision.
    /// Forgets the neighbors of interfaces that it removes: the tables do so by themselves.
    pub(crate) fn follow(&mut self, operations: &[TableOperation]) -> Vec<TableOperation> {
        let mut before = None;
        for operation in operations {
            match operation {
                TableOperation::Clear => {
                    let interfaces = std::mem::take(&mut self.interfaces);
                    before.get_or_insert(interfaces);
                }
                TableOperation::SetInterface { interface, value } => {
                    self.interfaces.insert(*interface, Arc::clone(&value.name));
                }
                TableOperation::RemoveInterface { interface } => {
                    self.interfaces.remove(interface);
                    if before.is_none() {
                        self.entries.retain(|(owner, _), _| owner != interface);
                    }
                }
                _ => {}
            }
        }
        before.map_or_else(Vec::new, |before| self.renumber(&before))
    }

    /// Takes every neighbor to the number that the interface of its name has now, and forgets those whose interface has
    /// none. Until [`published`](Self::published) says since when the new numbers hold, nothing is learned. Cost: all
    /// neighbors.
    fn renumber(&mut self, before: &BTreeMap<InterfaceIndex, Arc<str>>) -> Vec<TableOperation> {
        self.numbered_since = u64::MAX;
        let numbers: BTreeMap<&str, InterfaceIndex> = self
            .interfaces
            .iter()
            .map(|(index, name)| (&**name, *index))
            .collect();
        let (mut forgotten, mut moved) = (Vec::new(), Vec::new());
        let mut entries = BTreeMap::new();
        for ((owner, address), (mac, heard)) in std::mem::take(&mut self.entries) {
            let name = before.get(&owner).map(|name| &**name);
            let now = name.and_then(|name| numbers.get(name)).copied();
            if let Some(interface) = now {
                entries.insert((interface, address), (mac, heard));
            }
            if now != Some(owner) {
                forgotten.push(TableOperation::ForgetNeighbor {
                    interface: owner,
                    address,
                });
                moved.extend(now.map(|interface| TableOperation::LearnNeighbor {
                    interface,
                    address,
                    mac,
                }));
            }
        }
        self.entries = entries;
        // First all that goes: two interfaces may have changed their numbers with each other.
        forgotten.append(&mut moved);
        forgotten
    }

    /// A generation was published that holds all that was followed.
    pub(crate) fn published(&mut self, generation: u64) {
        if self.numbered_since == u64::MAX {
            self.numbered_since = generation;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rewire_tables::{Interface, VpcIndex};

    use super::*;

    fn set(interface: u16, name: &str) -> TableOperation {
        TableOperation::SetInterface {
            interface: InterfaceIndex(interface),
            value: Arc::new(Interface {
                name: name.into(),
                vpc: VpcIndex(0),
                mac: MacAddress([2, 0, 0, 0, 0, 9]),
                mtu: 1500,
                addresses: Vec::new(),
                acl_in: None,
                acl_out: None,
                offload: false,
            }),
        }
    }

    fn neighbor(last: u8, mac: u8) -> LearnedNeighbor {
        LearnedNeighbor {
            interface: InterfaceIndex(1),
            address: IpAddr::from([192, 0, 2, last]),
            mac: MacAddress([2, 0, 0, 0, 0, mac]),
            generation: 2,
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
        assert_eq!(neighbors.follow(&[set(1, "a")]), []);
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
        assert_eq!(neighbors.follow(&removed), []);
        assert_eq!(neighbors.len(), 0);
        assert_eq!(
            neighbors.learn(neighbor(1, 1), second(11)),
            None,
            "it has gone"
        );
    }

    /// A whole compilation numbers anew: neighbors stay with the interface of a name, and no other inherits them.
    #[test]
    fn neighbors_go_with_their_interface_to_its_new_number() {
        let mut neighbors = LearnedNeighbors::new(Duration::from_secs(10));
        neighbors.follow(&[set(1, "a"), set(2, "b"), set(3, "c")]);
        let on = |interface, mac| LearnedNeighbor {
            interface: InterfaceIndex(interface),
            ..neighbor(7, mac)
        };
        for (interface, mac) in [(1, 1), (2, 2), (3, 3)] {
            assert!(neighbors.learn(on(interface, mac), Instant(0)).is_some());
        }
        let anew = [TableOperation::Clear, set(2, "a"), set(1, "b"), set(3, "d")];
        let mut tables = rewire_tables::Tables::default();
        for (interface, mac) in [(1, 1), (2, 2), (3, 3)] {
            let LearnedNeighbor {
                interface,
                address,
                mac,
                ..
            } = on(interface, mac);
            tables.apply(&TableOperation::LearnNeighbor {
                interface,
                address,
                mac,
            });
        }
        for operation in anew.iter().chain(&neighbors.follow(&anew)) {
            tables.apply(operation);
        }
        let known = |interface| tables.neighbor(InterfaceIndex(interface), [192, 0, 2, 7].into());
        let mac = |last| Some(MacAddress([2, 0, 0, 0, 0, last]));
        assert_eq!([known(2), known(1), known(3)], [mac(1), mac(2), None]);
        assert_eq!((neighbors.len(), tables.neighbor_counts().1), (2, 2));
        // A worker that is still in the old generation speaks of the old numbers.
        assert_eq!(neighbors.learn(on(3, 9), Instant(0)), None);
        neighbors.published(3);
        assert_eq!(neighbors.learn(on(3, 9), Instant(0)), None);
        let later = LearnedNeighbor {
            generation: 3,
            ..on(3, 9)
        };
        assert!(neighbors.learn(later, Instant(0)).is_some());
    }
}
