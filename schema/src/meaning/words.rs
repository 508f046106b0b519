//! What is said of a reference that cannot be: both rows by name, what the one does with the other, and why it cannot.

use super::Problem;
use super::references::place;
use crate::model::{Row, RowKey, Table};
use crate::table::Step;
use crate::value::Value;

/// Why a row cannot be referred to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is not there.
    Missing,
    /// The commit that is being checked deletes it.
    Deleted,
    /// It is deactivated, or something that it stands in is.
    Deactivated,
}

/// The problem of a row whose reference by these columns leads to `target`: "route blue/0.0.0.0/0 leaves by wan, which this
/// commit deletes".
pub fn dangling(referring: &Row, columns: &[&str], target: &RowKey, how: How) -> Problem {
    let why = match how {
        How::Missing => "does not exist",
        How::Deleted => "this commit deletes",
        How::Deactivated => "is deactivated",
    };
    let key = referring.row_key();
    let subject = match crate::state::ancestors(&key).any(|above| above == *target) {
        true => format!("{} {}", key.table().definition().noun(), name(&key)),
        false => described(&key),
    };
    let verb = verb(referring.table(), columns);
    let object = match verb {
        // It is clear what somebody leaves by.
        "leaves by" => name(target),
        _ => described(target),
    };
    Problem::new(
        place(referring, columns),
        format!("{subject} {verb} {object}, which {why}"),
    )
}

/// An object by its noun and its key: `route blue/0.0.0.0/0`. What has no name of its own, such as a next hop, goes by the
/// object that it is part of.
pub(super) fn described(key: &RowKey) -> String {
    let named = crate::state::ancestors(key).filter(|above| is_named(above.table()));
    let named = match is_named(key.table()) {
        true => key.clone(),
        false => named.last().unwrap_or_else(|| key.clone()),
    };
    format!("{} {}", named.table().definition().noun(), name(&named))
}

fn name(key: &RowKey) -> String {
    let values = key.values();
    let values: Vec<String> = values.iter().map(Value::to_string).collect();
    values.join("/")
}

fn is_named(table: Table) -> bool {
    matches!(table.definition().steps().last(), Some(Step::Key(_)))
}

/// What a row does with what it refers to, as people say it.
fn verb(table: Table, columns: &[&str]) -> &'static str {
    let [column] = columns else {
        return "is part of";
    };
    match (table, *column) {
        (Table::NextHop, "interface") => "leaves by",
        (Table::Masquerade | Table::Exclusion, "interface") => "is for what leaves by",
        (Table::Masquerade, "pool") => "is translated to",
        (Table::Masquerade | Table::Exclusion, "vpc") => "is for senders of",
        (Table::Nat64, "vpc") => "is for clients of",
        (Table::Nat64, "pool") => "takes its IPv4 addresses from",
        (Table::PortForward, "external_interface") => "is for what is sent to",
        (Table::PortForward | Table::StaticNat, "external_vpc") => "has its external address in",
        (Table::PortForward | Table::StaticNat, "internal_vpc") => "leads into",
        (Table::Route, "to_vpc") => "is looked up again in",
        (Table::Interface, "parent") => "is a VLAN of",
        (Table::Interface, "underlay") => "is carried by",
        (Table::Interface | Table::Peering, "acl_in" | "acl_out" | "acl") => "is filtered by",
        (Table::Interface, "policer") => "is policed by",
        (Table::Interface, "shaper") => "is shaped by",
        (Table::AclRule, "from_vpc") => "matches what comes from",
        (Table::AclRule, "to_vpc") => "matches what goes to",
        (Table::AclRule, "source_set" | "destination_set" | "service") => "matches",
        (Table::Probe, "interface") => "comes in by",
        (Table::Probe, "out_interface") => "is to leave by",
        (Table::Intent, "from_vpc") => "is about what comes from",
        (Table::Intent, "to_vpc") => "is about what goes to",
        (Table::PeeringSide, "vpc") => "peers with",
        (Table::RouteSourceVpc, "vpc") => "puts routes into",
        (Table::Interface | Table::Pool | Table::Route, "vpc") => "belongs to",
        _ => "is part of",
    }
}
