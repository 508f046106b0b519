//! What means something, compiles, and is probably not what somebody wanted. A warning names a row; it never refuses anything.
//!
//! Warnings are asked of a row, over look-ups: of the rows that a change has to do with at a commit, of all at a whole check.

use std::collections::{BTreeSet, HashSet};

use ipnet::IpNet;
use rewire_schema::model::*;
use rewire_schema::state::{Rows, StateError};
use rewire_schema::{Changeset, Path, Problem, Table, Value};

use crate::shadowed::{self, MOST_BOXES};

/// Objects of a kind that are there for others to name.
struct Named {
    table: Table,
    /// What is said of one that nobody names.
    nobody: &'static str,
    /// Who names them, by which column.
    by: &'static [(Table, &'static str)],
}

const NAMED: [Named; 6] = [
    Named {
        table: Table::AddressSet,
        nobody: "no rule of an ACL names it",
        by: &[
            (Table::AclRule, "source_set"),
            (Table::AclRule, "destination_set"),
        ],
    },
    Named {
        table: Table::Service,
        nobody: "no rule of an ACL names it",
        by: &[(Table::AclRule, "service")],
    },
    Named {
        table: Table::Acl,
        nobody: "no interface and no peering names it",
        by: &[
            (Table::Interface, "acl_in"),
            (Table::Interface, "acl_out"),
            (Table::Peering, "acl"),
        ],
    },
    Named {
        table: Table::Pool,
        nobody: "no masquerade and no NAT64 names it",
        by: &[(Table::Masquerade, "pool"), (Table::Nat64, "pool")],
    },
    Named {
        table: Table::Policer,
        nobody: "no interface names it",
        by: &[(Table::Interface, "policer")],
    },
    Named {
        table: Table::Shaper,
        nobody: "no interface names it",
        by: &[(Table::Interface, "shaper")],
    },
];

/// The warnings about a whole configuration, in the order of their paths. Cost: the configuration.
pub fn warnings(configuration: &Configuration) -> Vec<Problem> {
    let effective = configuration.effective();
    let mut named: HashSet<RowKey> = HashSet::new();
    for row in configuration.rows() {
        row.each_reference(&mut |reference, key| {
            // What is part of an object refers to it, too, and does not count.
            let by = |(table, column): &(Table, &str)| {
                *table == row.table() && reference.columns == [*column]
            };
            if NAMED.iter().any(|named| named.by.iter().any(by)) {
                named.insert(key);
            }
        });
    }
    let mut found = Vec::new();
    for row in effective.rows() {
        let is_named = |key: &RowKey| Ok(named.contains(key));
        // Memory can always be read.
        let _ = of_row(&*effective, &row, &is_named, &mut found);
    }
    for (acl,) in effective.acl.keys() {
        let _ = shadowed::warn_of(&*effective, acl, MOST_BOXES, &mut found);
    }
    ordered(found)
}

/// The warnings that a change is the reason for, or at least has to do with; `rows` is the state after it. Cost: the change and
/// what it refers to, where look-ups go through indices.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn warnings_of_change(
    rows: &dyn Rows,
    changeset: &Changeset,
) -> Result<Vec<Problem>, StateError> {
    let mut keys: BTreeSet<RowKey> = BTreeSet::new();
    for change in changeset.iter() {
        keys.insert(change.row().row_key());
        // Who was named, and may be no longer.
        if let Some(row) = change.before() {
            row.each_reference(&mut |_, key| {
                keys.insert(key);
            });
        }
    }
    let is_named = |key: &RowKey| {
        let named = NAMED.iter().find(|named| named.table == key.table());
        for (table, column) in named.into_iter().flat_map(|named| named.by) {
            if !rows.by(*table, &[*column], &key.values())?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    };
    let mut found = Vec::new();
    for key in keys {
        if let Some(row) = rows.find(&key)?
            && !row.marks().deactivated()
        {
            of_row(rows, &row, &is_named, &mut found)?;
        }
    }
    let mut left = MOST_BOXES;
    for acl in shadowed::acls_of_change(rows, changeset)? {
        left -= shadowed::warn_of(rows, &acl, left, &mut found)?;
    }
    Ok(ordered(found))
}

fn ordered(mut found: Vec<Problem>) -> Vec<Problem> {
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    found
}

fn of_row(
    rows: &dyn Rows,
    row: &Row,
    is_named: &dyn Fn(&RowKey) -> Result<bool, StateError>,
    found: &mut Vec<Problem>,
) -> Result<(), StateError> {
    if let Some(named) = NAMED.iter().find(|named| named.table == row.table())
        && !is_named(&row.row_key())?
    {
        found.push(Problem::new(row.path(), named.nobody.to_owned()));
    }
    match row {
        Row::NextHop(hop) => next_hop(rows, hop, row.path(), found),
        Row::Route(route) => host_route(rows, route, row.path(), found),
        Row::ExposeIp(exposed) => exposed_prefix(rows, exposed, row.path(), found),
        _ => Ok(()),
    }
}

/// A next hop over an interface that is down.
fn next_hop(
    rows: &dyn Rows,
    hop: &NextHopRow,
    path: Path,
    found: &mut Vec<Problem>,
) -> Result<(), StateError> {
    let interface = rows.find(&RowKey::Interface((hop.interface.clone(),)))?;
    if let Some(Row::Interface(interface)) = interface
        && interface.disabled
    {
        let message = format!(
            "interface \"{}\" is disabled: nothing leaves by it",
            hop.interface
        );
        found.push(Problem::new(path, message));
    }
    Ok(())
}

/// A route to an address that an interface of the VPC has. Whole subnets are refused.
fn host_route(
    rows: &dyn Rows,
    route: &RouteRow,
    path: Path,
    found: &mut Vec<Problem>,
) -> Result<(), StateError> {
    let network = route.prefix.network();
    if network.prefix_len() < network.max_prefix_len() {
        return Ok(());
    }
    let vpc = [Value::Text(route.vpc.to_string())];
    for interface in rows.by(Table::Interface, &["vpc"], &vpc)? {
        let name = interface.row_key().values();
        for address in rows.below(Table::InterfaceAddress, &name)? {
            if let Row::InterfaceAddress(row) = address
                && row.address.address() == network.addr()
            {
                let message = format!(
                    "it is never used: {} is an address of interface \"{}\"",
                    network.addr(),
                    row.interface
                );
                found.push(Problem::new(path.clone(), message));
            }
        }
    }
    Ok(())
}

/// What is exposed, as it is, where the other side has a route of its own to just that prefix.
fn exposed_prefix(
    rows: &dyn Rows,
    exposed: &ExposeIpRow,
    path: Path,
    found: &mut Vec<Problem>,
) -> Result<(), StateError> {
    let key = (
        exposed.peering.clone(),
        exposed.vpc.clone(),
        exposed.expose.clone(),
    );
    match rows.find(&RowKey::Expose(key))? {
        Some(Row::Expose(expose)) if expose.nat.is_none() && !expose.is_default => {}
        _ => return Ok(()),
    }
    let peering = [Value::Text(exposed.peering.to_string())];
    for side in rows.below(Table::PeeringSide, &peering)? {
        let Row::PeeringSide(side) = side else {
            continue;
        };
        let key = RowKey::Route((side.vpc.clone(), exposed.prefix));
        if side.vpc != exposed.vpc
            && let Some(route) = rows.find(&key)?
            && !route.marks().deactivated()
        {
            let network: IpNet = exposed.prefix.network();
            let message = format!(
                "VPC \"{}\" has a route of its own to {network}, which is used instead",
                side.vpc
            );
            found.push(Problem::new(path.clone(), message));
        }
    }
    Ok(())
}
