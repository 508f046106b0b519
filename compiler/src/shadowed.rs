//! Rules of an ACL that no packet reaches, because of those before them.

use std::collections::BTreeSet;
use std::sync::Arc;

use rewire_schema::model::*;
use rewire_schema::state::{Rows, StateError};
use rewire_schema::types::Name;
use rewire_schema::{Changeset, Path, Problem, Table, Value};
use rewire_tables::acl::{AclDefault, Shadowed};
use rewire_tables::{Acl, TableOperation};

use crate::derive::{derive, path};
use crate::entity::Entity;
use crate::entries::Entries;
use crate::state::State;

/// Boxes, products of one range a field, up to which the rules of ACLs are compared with each other: so many of each ACL in a
/// whole configuration, and of all together at a commit.
pub(crate) const MOST_BOXES: usize = 2_000;

/// The ACLs whose rules a change makes different: its own rows, and what rules name.
pub(crate) fn acls_of_change(
    rows: &dyn Rows,
    changeset: &Changeset,
) -> Result<BTreeSet<Name>, StateError> {
    let mut acls = BTreeSet::new();
    let mut named: BTreeSet<(&'static str, Name)> = BTreeSet::new();
    for change in changeset.iter() {
        let mut sets = |name: Name| {
            named.insert(("source_set", name.clone()));
            named.insert(("destination_set", name));
        };
        match change.row() {
            Row::Acl(row) => drop(acls.insert(row.name.clone())),
            Row::AclRule(row) => drop(acls.insert(row.acl.clone())),
            Row::AclRuleSource(row) => drop(acls.insert(row.acl.clone())),
            Row::AclRuleDestination(row) => drop(acls.insert(row.acl.clone())),
            Row::AddressSet(row) => sets(row.name.clone()),
            Row::AddressSetMember(row) => sets(row.address_set.clone()),
            Row::Service(row) => drop(named.insert(("service", row.name.clone()))),
            Row::ServiceEntry(row) => drop(named.insert(("service", row.service.clone()))),
            _ => {}
        }
    }
    for (column, name) in named {
        for rule in rows.by(Table::AclRule, &[column], &[text(&name)])? {
            if let Row::AclRule(rule) = rule {
                acls.insert(rule.acl);
            }
        }
    }
    Ok(acls)
}

/// Puts a warning for each rule of an ACL that no packet reaches into `found`; one for the ACL where it has more than `most` boxes,
/// and is not looked at. The boxes that were compared. Cost: the ACL and what its rules name; the comparisons, the square of its
/// boxes.
pub(crate) fn warn_of(
    rows: &dyn Rows,
    acl: &Name,
    most: usize,
    found: &mut Vec<Problem>,
) -> Result<usize, StateError> {
    let configuration = part_of(rows, acl)?;
    let list = match compiled(&configuration, acl) {
        Some(list) => list,
        // Deactivated, or gone.
        None => return Ok(0),
    };
    let Some(shadowed) = list.shadowed(most) else {
        let message = format!(
            "nobody looked for rules that no packet reaches: ACLs of more than {MOST_BOXES} products of ranges are not compared"
        );
        found.push(Problem::new(Path::new(["acls", acl.as_str()]), message));
        return Ok(0);
    };
    for Shadowed { rule, by } in shadowed {
        let message = match by.as_slice() {
            [one] => format!("no packet reaches it: rule {one} takes all that it matches"),
            several => format!(
                "no packet reaches it: rules {} take all that it matches",
                and(several)
            ),
        };
        // It was made of this row.
        if let Some(row) = configuration.acl_rule.get(&(acl.clone(), rule)) {
            found.push(Problem::new(path(row), message));
        }
    }
    Ok(list.boxes())
}

fn and(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    match numbers.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => numbers.concat(),
    }
}

fn text(name: &Name) -> Value {
    Value::Text(name.to_string())
}

/// One ACL with all that its rules name.
fn part_of(rows: &dyn Rows, acl: &Name) -> Result<Configuration, StateError> {
    let mut part = Configuration::default();
    let mut named: BTreeSet<RowKey> = BTreeSet::new();
    if let Some(row) = rows.find(&RowKey::Acl((acl.clone(),)))? {
        part.insert(row);
    }
    for table in [
        Table::AclRule,
        Table::AclRuleSource,
        Table::AclRuleDestination,
    ] {
        for row in rows.below(table, &[text(acl)])? {
            row.each_reference(&mut |_, key| {
                named.insert(key);
            });
            part.insert(row);
        }
    }
    for key in named {
        let below = match &key {
            RowKey::AddressSet(_) => Some(Table::AddressSetMember),
            RowKey::Service(_) => Some(Table::ServiceEntry),
            RowKey::Vpc(_) => None,
            _ => continue,
        };
        if let Some(row) = rows.find(&key)? {
            part.insert(row);
        }
        if let Some(table) = below {
            for row in rows.below(table, &key.values())? {
                part.insert(row);
            }
        }
    }
    Ok(part)
}

/// The ACL's rules as the dataplane has them; none where it is not in effect.
fn compiled(part: &Configuration, acl: &Name) -> Option<Acl> {
    let effective = part.effective().into_owned();
    effective.acl.get(&(acl.clone(),))?;
    let rules = effective.acl_rule.keys();
    let entities: Vec<Entity> = rules
        .map(|(acl, sequence)| Entity::AclRule(acl.clone(), *sequence))
        .collect();
    // What does not compile is refused elsewhere.
    let state = State::of(Arc::new(effective)).ok()?;
    let derived = derive(&state, &entities).ok()?;
    let mut list = Acl::new(acl.as_str().into(), AclDefault::Deny);
    for entries in derived {
        if let Entries::One(Some(TableOperation::SetAclRule { sequence, rule, .. })) = entries {
            list.set_rule(sequence, rule);
        }
    }
    Some(list)
}
