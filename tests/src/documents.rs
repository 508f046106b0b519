//! Configurations that the tests share.

use rewire_schema::{source, to_document};
use serde_json::{Value, json};

/// The demo's first document: masquerade for blue and red, and port 8080 of 203.0.113.1 forwarded to port 80 of
/// 10.1.0.10.
pub fn two_vpcs() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/demo/01-two-vpcs.yaml"
    );
    let bytes = std::fs::read(path).expect("the example is there");
    let source = source::read(path, &bytes).unwrap_or_else(|errors| panic!("{errors}"));
    to_document(&source.configuration)
}

/// The same without red's way out, and without the port forward.
pub fn red_stays_inside() -> Value {
    let mut document = two_vpcs();
    dead_end(&mut document, "red", "unreachable");
    remove(&mut document["nat"]["masquerade"], "red-out");
    remove(&mut document["nat"], "port_forward");
    document
}

/// The default route of a VPC becomes one of this type, which leads nowhere.
pub fn dead_end(document: &mut Value, vpc: &str, route_type: &str) {
    document["vpcs"][vpc]["routes"]["0.0.0.0/0"] = json!({ "type": route_type });
}

/// Takes an entry out of a map; panics if there is none.
#[track_caller]
pub fn remove(map: &mut Value, name: &str) {
    let removed = map.as_object_mut().and_then(|map| map.shift_remove(name));
    removed.unwrap_or_else(|| panic!("there is no {name}"));
}

/// Adds a member to a list, which is made where there is none.
#[track_caller]
pub fn push(list: &mut Value, member: impl Into<Value>) {
    match list {
        Value::Array(members) => members.push(member.into()),
        Value::Null => *list = Value::Array(vec![member.into()]),
        other => panic!("{other} is no list"),
    }
}
