//! What a configuration can say and this dataplane cannot do yet. It is refused by name, never ignored.

use rewire_schema::types::InterfaceType;
use rewire_schema::{Problem, Row, RowRef};

use crate::error::{CompileError, Errors};

/// What of a row this dataplane cannot do yet, as a problem at its place: "shapers are not in this dataplane yet".
pub fn not_yet(row: &Row) -> Option<Problem> {
    let (field, what) = unsupported(row.borrowed())?;
    let path = match field {
        Some(field) => row.path().join(field),
        None => row.path(),
    };
    Some(Problem::new(
        path,
        format!("{what} not in this dataplane yet"),
    ))
}

/// The first thing of a row that is not in this dataplane: the field (none for the object itself), and what it is, with its
/// verb: "{what} not in this dataplane yet". What stands below an object that is refused is not asked.
pub fn unsupported(row: RowRef<'_>) -> Option<(Option<&'static str>, &'static str)> {
    let object = |what| Some((None, what));
    let fields = |fields: &[(bool, &'static str, &'static str)]| {
        let found = fields.iter().find(|(is_there, _, _)| *is_there)?;
        Some((Some(found.1), found.2))
    };
    match row {
        RowRef::Vpc(r) => fields(&[(r.vni.is_some(), "vni", "VXLAN is")]),
        RowRef::Interface(r) => fields(&[
            (r.kind() == InterfaceType::Vlan, "type", "VLANs are"),
            (r.kind() == InterfaceType::Vxlan, "type", "VXLAN is"),
            (r.parent.is_some(), "parent", "VLANs are"),
            (r.vlan.is_some(), "vlan", "VLANs are"),
            (r.vni.is_some(), "vni", "VXLAN is"),
            (r.local_address.is_some(), "local", "VXLAN is"),
            (r.remote_address.is_some(), "remote", "VXLAN is"),
            (r.underlay.is_some(), "underlay", "VXLAN is"),
            (r.policer.is_some(), "policer", "policers are"),
            (r.shaper.is_some(), "shaper", "shapers are"),
        ]),
        RowRef::Policer(_) => object("policers are"),
        RowRef::Shaper(_) => object("shapers are"),
        _ => None,
    }
}

/// Refuses the first thing of each row that is not in this dataplane.
pub(crate) fn check<'a>(rows: impl Iterator<Item = RowRef<'a>>) -> Result<(), Errors> {
    let errors = rows.filter_map(|row| {
        let (field, what) = unsupported(row)?;
        let path = row.to_row().path();
        let path = match field {
            Some(field) => path.join(field),
            None => path,
        };
        Some(CompileError::Unsupported { path, what })
    });
    Errors::check(errors.collect())
}
