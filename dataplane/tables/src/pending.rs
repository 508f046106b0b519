//! Operations that wait for their publication, compacted: while a worker keeps a publication waiting, memory is bounded by
//! what changes, not by how often.

use std::collections::HashSet;
use std::mem;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::index::{AclIndex, InterfaceIndex, PeeringIndex, VpcIndex};
use crate::nat::PortForwardKey;
use crate::operation::TableOperation;

/// Fewer operations than this are kept as they are: a healthy worker never keeps that many waiting.
const SMALL: usize = 1 << 16;

/// The operations that room is kept for, about what comes in a millisecond.
const MANY: usize = 1024;

/// Operations in order. They lead where all operations lead that were ever pushed; of those, an operation that later ones
/// undo whole may be missing. There are at most twice as many as different keys, or [`SMALL`].
#[derive(Debug)]
pub(crate) struct Pending {
    operations: Vec<TableOperation>,
    /// Some of them change more than what was learned.
    policy: bool,
    compact_at: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Pending {
            operations: Vec::new(),
            policy: false,
            compact_at: SMALL,
        }
    }
}

/// What one operation writes, so that a later one with the same key undoes it whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Key {
    Revision,
    Policy,
    Vpc(VpcIndex),
    Interface(InterfaceIndex),
    Peering(PeeringIndex),
    Acl(AclIndex),
    AclRule(AclIndex, u32),
    /// Everything that belongs to it.
    Whole(Owner),
    ConnectionLimits(VpcIndex),
    Route(VpcIndex, IpNet),
    /// The prefix as it is written.
    RouteDistance(VpcIndex, IpNet),
    StaticNeighbor(InterfaceIndex, IpAddr),
    LearnedNeighbor(InterfaceIndex, IpAddr),
    PortForward(PortForwardKey),
    /// Both prefixes: of two translations that share one, either is removed before the other comes.
    StaticNat((VpcIndex, IpNet), (VpcIndex, IpNet)),
    Masquerade(VpcIndex, InterfaceIndex, IpNet),
    Exclusions(VpcIndex),
    Nat64(VpcIndex),
    Timeouts(VpcIndex),
    Sender(PeeringIndex, VpcIndex, IpNet),
    PeeringMasquerade(PeeringIndex, VpcIndex, IpNet),
}

/// With whose removal an entry goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Owner {
    Vpc(VpcIndex),
    Interface(InterfaceIndex),
    Peering(PeeringIndex),
    Acl(AclIndex),
}

impl Key {
    fn of(operation: &TableOperation) -> Key {
        use TableOperation as Op;
        match operation {
            Op::Clear => Key::Policy,
            Op::SetRevision { .. } => Key::Revision,
            Op::SetVpc { vpc, .. } => Key::Vpc(*vpc),
            Op::RemoveVpc { vpc } => Key::Whole(Owner::Vpc(*vpc)),
            Op::SetConnectionLimits { vpc, .. } | Op::RemoveConnectionLimits { vpc } => {
                Key::ConnectionLimits(*vpc)
            }
            Op::SetInterface { interface, .. } => Key::Interface(*interface),
            Op::RemoveInterface { interface } => Key::Whole(Owner::Interface(*interface)),
            Op::SetRoute { vpc, prefix, .. } | Op::RemoveRoute { vpc, prefix } => {
                Key::Route(*vpc, prefix.trunc())
            }
            Op::SetRouteDistance { vpc, prefix, .. } | Op::RemoveRouteDistance { vpc, prefix } => {
                Key::RouteDistance(*vpc, *prefix)
            }
            Op::SetNeighbor {
                interface, address, ..
            }
            | Op::RemoveNeighbor { interface, address } => {
                Key::StaticNeighbor(*interface, *address)
            }
            Op::LearnNeighbor {
                interface, address, ..
            }
            | Op::ForgetNeighbor { interface, address } => {
                Key::LearnedNeighbor(*interface, *address)
            }
            Op::SetPortForward { key, .. } | Op::RemovePortForward { key } => {
                Key::PortForward(*key)
            }
            Op::SetStaticNat { value } | Op::RemoveStaticNat { value } => Key::StaticNat(
                (value.external_vpc, value.external),
                (value.internal_vpc, value.internal),
            ),
            Op::SetMasquerade {
                vpc,
                interface,
                source,
                ..
            }
            | Op::RemoveMasquerade {
                vpc,
                interface,
                source,
            } => Key::Masquerade(*vpc, *interface, source.trunc()),
            Op::SetTimeouts { vpc, .. } | Op::RemoveTimeouts { vpc } => Key::Timeouts(*vpc),
            Op::SetExclusions { vpc, .. } | Op::RemoveExclusions { vpc } => Key::Exclusions(*vpc),
            Op::SetNat64 { vpc, .. } | Op::RemoveNat64 { vpc } => Key::Nat64(*vpc),
            Op::SetPeering { peering, .. } => Key::Peering(*peering),
            Op::RemovePeering { peering } => Key::Whole(Owner::Peering(*peering)),
            Op::SetSender {
                peering,
                vpc,
                prefix,
                ..
            }
            | Op::RemoveSender {
                peering,
                vpc,
                prefix,
            } => Key::Sender(*peering, *vpc, prefix.trunc()),
            Op::SetPeeringMasquerade {
                peering,
                vpc,
                source,
                ..
            }
            | Op::RemovePeeringMasquerade {
                peering,
                vpc,
                source,
            } => Key::PeeringMasquerade(*peering, *vpc, source.trunc()),
            Op::SetAcl { acl, .. } => Key::Acl(*acl),
            Op::RemoveAcl { acl } => Key::Whole(Owner::Acl(*acl)),
            Op::SetAclRule { acl, sequence, .. } | Op::RemoveAclRule { acl, sequence } => {
                Key::AclRule(*acl, *sequence)
            }
        }
    }

    fn owner(self) -> Option<Owner> {
        match self {
            Key::Vpc(vpc)
            | Key::ConnectionLimits(vpc)
            | Key::Timeouts(vpc)
            | Key::Route(vpc, _)
            | Key::RouteDistance(vpc, _) => Some(Owner::Vpc(vpc)),
            Key::Interface(interface) | Key::LearnedNeighbor(interface, _) => {
                Some(Owner::Interface(interface))
            }
            Key::Peering(peering)
            | Key::Sender(peering, ..)
            | Key::PeeringMasquerade(peering, ..) => Some(Owner::Peering(peering)),
            Key::Acl(acl) | Key::AclRule(acl, _) => Some(Owner::Acl(acl)),
            Key::Revision
            | Key::Policy
            | Key::Whole(_)
            | Key::StaticNeighbor(..)
            | Key::PortForward(_)
            | Key::StaticNat(..)
            | Key::Masquerade(..)
            | Key::Exclusions(_)
            | Key::Nat64(_) => None,
        }
    }

    /// Whether [`TableOperation::Clear`] undoes it. What was learned stays, and so must what forgets it.
    fn is_cleared(self) -> bool {
        !matches!(
            self,
            Key::Revision | Key::LearnedNeighbor(..) | Key::Whole(Owner::Interface(_))
        )
    }
}

impl Pending {
    pub(crate) fn push(&mut self, operation: TableOperation) {
        self.policy |= is_policy(&operation);
        self.operations.push(operation);
        self.keep_small();
    }

    /// Pushes many. Where none waits, they are taken over as they are.
    pub(crate) fn extend(&mut self, operations: Vec<TableOperation>) {
        self.policy |= operations.iter().any(is_policy);
        if self.operations.is_empty() {
            self.compact_at = SMALL.max(2 * operations.len());
            self.operations = operations;
        } else {
            self.operations.extend(operations);
            self.keep_small();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.operations.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Takes all of them out, and tells whether any that was pushed changes more than what was learned.
    pub(crate) fn take(&mut self) -> (Vec<TableOperation>, bool) {
        let taken = mem::take(self);
        // As many may come again, if it is not for a change of everything.
        self.operations.reserve(taken.operations.len().min(MANY));
        (taken.operations, taken.policy)
    }

    fn keep_small(&mut self) {
        if self.operations.len() >= self.compact_at {
            compact(&mut self.operations);
            self.operations.shrink_to(SMALL);
            self.compact_at = SMALL.max(2 * self.operations.len());
        }
    }
}

/// Whether an operation can change what becomes of a connection. That the tables belong to another revision does not: a
/// commit that changes nothing but descriptions lets connections be.
fn is_policy(operation: &TableOperation) -> bool {
    use TableOperation::{ForgetNeighbor, LearnNeighbor, SetRevision};
    !matches!(
        operation,
        LearnNeighbor { .. } | ForgetNeighbor { .. } | SetRevision { .. }
    )
}

/// Leaves out what later operations undo. Whatever is left stays in order. An operation writes blindly, under its key: it
/// reads nothing, so that what is left leads where all of them did.
fn compact(operations: &mut Vec<TableOperation>) {
    let mut written = HashSet::new();
    let is_last = |operation: &TableOperation| {
        let key = Key::of(operation);
        let undone = written.contains(&key)
            || key
                .owner()
                .is_some_and(|owner| written.contains(&Key::Whole(owner)))
            || (key.is_cleared() && written.contains(&Key::Policy));
        if !undone {
            written.insert(key);
        }
        !undone
    };
    // From the end: what a later one undoes is known when an operation is looked at.
    let keep: Vec<bool> = operations.iter().rev().map(is_last).collect();
    let mut keep = keep.into_iter().rev();
    operations.retain(|_| keep.next().unwrap_or(true));
}

#[cfg(test)]
pub(crate) mod tests;
