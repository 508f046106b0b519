//! Configurations that the tests share.

use std::collections::BTreeMap;

use rewire_schema::model::Route;
use rewire_schema::types::Name;
use rewire_schema::{Document, source};
use serde_json::json;

/// The demo's first document: masquerade for blue and red, and port 8080 of 203.0.113.1 forwarded to port 80 of
/// 10.1.0.10.
pub fn two_vpcs() -> Document {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/demo/01-two-vpcs.yaml"
    );
    let bytes = std::fs::read(path).expect("the example is there");
    let source = source::read(path, &bytes);
    source.unwrap_or_else(|errors| panic!("{errors}")).document
}

/// The same without red's way out, and without the port forward.
pub fn red_stays_inside() -> Document {
    let mut document = two_vpcs();
    dead_end(&mut document, "red", "unreachable");
    document
        .nat
        .masquerade
        .retain(|name, _| name.as_str() != "red-out");
    document.nat.port_forward.clear();
    document
}

/// The default route of a VPC becomes one of this type, which leads nowhere.
pub fn dead_end(document: &mut Document, vpc: &str, route_type: &str) {
    let route: Route = serde_json::from_value(json!({ "type": route_type })).expect("a route");
    let default = "0.0.0.0/0".parse().expect("a prefix");
    named(&mut document.vpcs, vpc).routes.insert(default, route);
}

/// The object of this name; panics if there is none.
#[track_caller]
pub fn named<'a, T>(objects: &'a mut BTreeMap<Name, T>, name: &str) -> &'a mut T {
    let name: Name = name.parse().expect("a name");
    objects
        .get_mut(&name)
        .unwrap_or_else(|| panic!("there is no {name}"))
}
