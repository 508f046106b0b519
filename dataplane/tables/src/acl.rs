//! Access control lists: ordered rules, the first that matches decides. Compiled, not scanned.
//!
//! An [`Acl`] holds its rules as they are said, and a [`Classifier`](classifier::Classifier) of each address family that
//! finds the first one that a packet matches, at a cost that hardly depends on their number.

mod batch;
mod bits;
mod block;
mod blocks;
mod boxes;
pub mod classifier;
mod code_path;
mod counter;
mod key;
mod rule;
#[cfg(test)]
mod samples;
mod search;
mod shadow;
mod table;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub use bits::Bits;
pub use classifier::Classifier;
pub use counter::{MOST_ACLS, RuleCounter, RuleCounters, UNCOUNTED};
pub use key::{AclKey, NO_PORT};
pub use rule::{
    AclAction, AclDecision, AclRule, AclScope, AddressRanges, PacketPattern, PortRange,
};
pub use shadow::Shadowed;

use hashbrown::HashMap;

use crate::address::Address;

/// What happens to packets that no rule of an ACL matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclDefault {
    /// They pass.
    Allow,
    /// They are dropped in silence.
    Deny,
    /// They are dropped, and the sender is told.
    Reject,
    /// Between VPCs that a peering joins: they are dropped unless both ends are exposed. An ACL by itself does not know, and
    /// says that they are dropped.
    DenyUnlessExposed,
}

/// What an ACL says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclVerdict {
    /// The rule that decided, by its sequence number; none where it was the default.
    pub rule: Option<u32>,
    /// What is decided.
    pub decision: AclDecision,
}

/// An address family, with the classifier that an ACL has for it.
pub trait AclFamily: Address {
    /// The address as a number that is compared and hashed.
    type Bits: Bits;
    /// The address as such a number.
    fn bits(self) -> Self::Bits;
    /// The classifier of this family.
    fn classifier(acl: &Acl) -> &Classifier<Self::Bits>;
    /// The ranges of this family in a set, in order and apart.
    fn ranges(set: &AddressRanges) -> &[(Self::Bits, Self::Bits)];
}

impl AclFamily for Ipv4Addr {
    type Bits = u32;
    fn bits(self) -> u32 {
        self.to_bits()
    }
    fn classifier(acl: &Acl) -> &Classifier<u32> {
        &acl.v4
    }
    fn ranges(set: &AddressRanges) -> &[(u32, u32)] {
        &set.v4
    }
}

impl AclFamily for Ipv6Addr {
    type Bits = u128;
    fn bits(self) -> u128 {
        self.to_bits()
    }
    fn classifier(acl: &Acl) -> &Classifier<u128> {
        &acl.v6
    }
    fn ranges(set: &AddressRanges) -> &[(u128, u128)] {
        &set.v6
    }
}

/// One access control list.
#[derive(Clone, Debug)]
pub struct Acl {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) default: AclDefault,
    pub(crate) rules: BTreeMap<u32, Arc<AclRule>>,
    v4: Classifier<u32>,
    v6: Classifier<u128>,
    packet_rules: usize,
    /// Where rules count, and at last the default.
    counters: HashMap<u32, RuleCounter>,
    default_counter: RuleCounter,
}

impl Default for Acl {
    /// No ACL: everything passes.
    fn default() -> Self {
        Acl {
            name: None,
            default: AclDefault::Allow,
            rules: BTreeMap::new(),
            v4: Classifier::default(),
            v6: Classifier::default(),
            packet_rules: 0,
            counters: HashMap::new(),
            default_counter: RuleCounter::NONE,
        }
    }
}

impl Acl {
    /// An ACL without rules.
    pub fn new(name: Arc<str>, default: AclDefault) -> Self {
        let mut acl = Acl::default();
        acl.set(name, default);
        acl
    }

    /// Changes the name and the default; the rules stay.
    pub fn set(&mut self, name: Arc<str>, default: AclDefault) {
        self.name = Some(name);
        self.default = default;
    }

    /// The ACL's name; empty where no ACL has this index.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The name, shared: none where no ACL has this index.
    pub fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// What happens to packets that no rule matches.
    pub fn default_action(&self) -> AclDefault {
        self.default
    }

    /// The rules by their sequence numbers, in order.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = (u32, &Arc<AclRule>)> {
        self.rules.iter().map(|(sequence, rule)| (*sequence, rule))
    }

    /// Whether any rule decides about single packets, so that also packets of flows that were let through are looked at.
    pub fn has_packet_rules(&self) -> bool {
        self.packet_rules > 0
    }

    /// Makes or changes a rule. Cost: the rule's addresses and ports, not the other rules.
    pub fn set_rule(&mut self, sequence: u32, rule: Arc<AclRule>) {
        self.remove_rule(sequence);
        self.packet_rules += usize::from(rule.decision.scope == AclScope::Packet);
        self.v4.insert::<Ipv4Addr>(sequence, &rule);
        self.v6.insert::<Ipv6Addr>(sequence, &rule);
        self.rules.insert(sequence, rule);
    }

    /// Removes a rule. Cost: as for making it.
    pub fn remove_rule(&mut self, sequence: u32) {
        let Some(rule) = self.rules.remove(&sequence) else {
            return;
        };
        self.packet_rules -= usize::from(rule.decision.scope == AclScope::Packet);
        self.v4.remove(sequence);
        self.v6.remove(sequence);
        self.counters.remove(&sequence);
    }

    /// Says where a rule counts, or without one the default.
    pub fn set_counter(&mut self, rule: Option<u32>, counter: RuleCounter) {
        match rule {
            Some(sequence) => drop(self.counters.insert(sequence, counter)),
            None => self.default_counter = counter,
        }
    }

    /// Where a rule counts, or without one the default. Cost: a look-up in a hash table.
    #[inline]
    pub fn counter(&self, rule: Option<u32>) -> RuleCounter {
        match rule {
            Some(sequence) => self.counters.get(&sequence).copied().unwrap_or_default(),
            None => self.default_counter,
        }
    }

    /// What the ACL says about a packet: the first rule that matches, or the default.
    pub fn lookup<A: AclFamily>(&self, key: &AclKey<A>) -> AclVerdict {
        match A::classifier(self).find(key) {
            Some((sequence, decision)) => AclVerdict {
                rule: Some(sequence),
                decision,
            },
            None => self.default_verdict(),
        }
    }

    /// What [`lookup`](Self::lookup) says, for each packet in turn, told by its place. Cheaper for a packet than one by one; the
    /// best code path for the processor is chosen.
    pub fn lookup_batch<A: AclFamily>(
        &self,
        keys: &[AclKey<A>],
        mut verdict: impl FnMut(usize, AclVerdict),
    ) {
        let default = self.default_verdict();
        A::classifier(self).find_batch(keys, |index, found| {
            let found = found.map(|(sequence, decision)| AclVerdict {
                rule: Some(sequence),
                decision,
            });
            verdict(index, found.unwrap_or(default));
        });
    }

    /// What [`lookup`](Self::lookup) says, found by trying every rule in turn. For tests and for tools: it costs the
    /// rules.
    pub fn scan<A: AclFamily>(&self, key: &AclKey<A>) -> AclVerdict {
        match self.rules.iter().find(|(_, rule)| rule.matches(key)) {
            Some((sequence, rule)) => AclVerdict {
                rule: Some(*sequence),
                decision: rule.decision,
            },
            None => self.default_verdict(),
        }
    }

    fn default_verdict(&self) -> AclVerdict {
        AclVerdict {
            rule: None,
            decision: AclDecision {
                action: match self.default {
                    AclDefault::Allow => AclAction::Allow,
                    AclDefault::Reject => AclAction::Reject,
                    AclDefault::Deny | AclDefault::DenyUnlessExposed => AclAction::Deny,
                },
                scope: AclScope::Flow,
                log: false,
            },
        }
    }

    /// The number of tables that a packet may have to be looked up in: of IPv4, and of IPv6.
    pub fn table_counts(&self) -> (usize, usize) {
        (self.v4.table_count(), self.v6.table_count())
    }

    /// The boxes, products of one range a field, that the rules came to: in the family that has more of them.
    pub fn boxes(&self) -> usize {
        self.v4.boxes().max(self.v6.boxes())
    }

    /// The bytes that the classifiers of both families take.
    pub fn memory(&self) -> usize {
        self.v4.memory() + self.v6.memory()
    }
}
