//! From entries to the operations that change the tables, in an order that never takes away what was just set.

use std::collections::HashSet;

use rewire_tables::TableOperation::{self, *};

use crate::entries::{Entries, Entry, pairs};

/// The operations that lead from the entries of each entity to others: first the VPCs, interfaces and peerings that are set, then
/// what makes room, then what takes it, and at last the VPCs and interfaces that go.
pub(crate) fn operations(
    revision: u64,
    entries: impl Iterator<Item = (Entries, Entries)>,
) -> Vec<TableOperation> {
    let mut operations = vec![SetRevision { revision }];
    let mut removals = Vec::new();
    let mut settings = Vec::new();
    let mut last = Vec::new();
    let (mut gone, mut gone_acls) = (HashSet::new(), HashSet::new());
    let entries = entries.flat_map(|(before, after)| pairs(before, after));
    for (before, after) in entries.filter(|(before, after)| before != after) {
        let removal = before.as_ref().and_then(removal);
        // To set an entry again under its key is to change it.
        let replaced = after.as_ref().and_then(self::removal) == removal;
        match removal.filter(|_| !replaced) {
            Some(removal @ RemoveVpc { vpc }) => {
                gone.insert(vpc);
                last.push(removal);
            }
            Some(removal @ RemoveInterface { .. }) => last.push(removal),
            Some(removal @ RemoveAcl { acl }) => {
                gone_acls.insert(acl);
                last.push(removal);
            }
            Some(removal) => removals.push(removal),
            None => {}
        }
        match after {
            Some(set @ (SetVpc { .. } | SetInterface { .. } | SetPeering { .. })) => {
                operations.push(set);
            }
            Some(set) => settings.push(set),
            None => {}
        }
    }
    // A VPC takes its routes with it, and an ACL its rules.
    removals.retain(|removal| match removal {
        RemoveRoute { vpc, .. }
        | RemoveRouteDistance { vpc, .. }
        | RemoveTimeouts { vpc }
        | RemoveConnectionLimits { vpc } => !gone.contains(vpc),
        RemoveAclRule { acl, .. } => !gone_acls.contains(acl),
        _ => true,
    });
    // ACLs go before the interfaces that name them, and these before the VPCs that they are in, the other way round than
    // they came.
    last.reverse();
    operations.extend(removals);
    operations.extend(settings);
    operations.extend(last);
    operations
}

/// The operation that removes what an operation sets.
fn removal(set: &Entry) -> Option<TableOperation> {
    Some(match set {
        SetVpc { vpc, .. } => RemoveVpc { vpc: *vpc },
        SetConnectionLimits { vpc, .. } => RemoveConnectionLimits { vpc: *vpc },
        SetTimeouts { vpc, .. } => RemoveTimeouts { vpc: *vpc },
        SetInterface { interface, .. } => RemoveInterface {
            interface: *interface,
        },
        SetRoute { vpc, prefix, .. } => RemoveRoute {
            vpc: *vpc,
            prefix: *prefix,
        },
        SetAcl { acl, .. } => RemoveAcl { acl: *acl },
        SetAclRule { acl, sequence, .. } => RemoveAclRule {
            acl: *acl,
            sequence: *sequence,
        },
        SetRouteDistance { vpc, prefix, .. } => RemoveRouteDistance {
            vpc: *vpc,
            prefix: *prefix,
        },
        SetNeighbor {
            interface, address, ..
        } => RemoveNeighbor {
            interface: *interface,
            address: *address,
        },
        SetPortForward { key, .. } => RemovePortForward { key: *key },
        SetStaticNat { value } => RemoveStaticNat {
            value: value.clone(),
        },
        SetMasquerade {
            vpc,
            interface,
            source,
            ..
        } => RemoveMasquerade {
            vpc: *vpc,
            interface: *interface,
            source: *source,
        },
        SetExclusions { vpc, .. } => RemoveExclusions { vpc: *vpc },
        SetNat64 { vpc, .. } => RemoveNat64 { vpc: *vpc },
        SetPeering { peering, .. } => RemovePeering { peering: *peering },
        SetSender {
            peering,
            vpc,
            prefix,
            ..
        } => RemoveSender {
            peering: *peering,
            vpc: *vpc,
            prefix: *prefix,
        },
        SetPeeringMasquerade {
            peering,
            vpc,
            source,
            ..
        } => RemovePeeringMasquerade {
            peering: *peering,
            vpc: *vpc,
            source: *source,
        },
        _ => return None,
    })
}
