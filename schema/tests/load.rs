//! Documents loaded onto what is there, against the same done to trees of JSON in the plainest way.

mod support;

use proptest::prelude::*;
use proptest::sample::Index;
use rewire_schema::load::{LoadError, Mode, load};
use rewire_schema::outline::{Object, Part, outline};
use rewire_schema::{Configuration, Path, from_document, source, to_document};
use serde_json::{Map, Value as Json, json};
use support::{accepted, configuration, part, places, take_out};

/// Sets or adds what a document says.
fn merge(object: &Object, base: &mut Json, said: &Json) {
    let (Json::Object(base), Json::Object(said)) = (base, said) else {
        unreachable!("objects are maps");
    };
    for (name, said) in said {
        let part = object.field(name).map(|field| &field.part);
        match (part, base.get_mut(name)) {
            (Some(Part::Object(inner)), Some(base)) => merge(inner, base, said),
            (Some(Part::Value(_)), Some(base @ Json::Object(_))) if said.is_object() => {
                merge_patch(base, said);
            }
            (Some(Part::Map(inner)), Some(Json::Object(entries))) => {
                for (key, said) in said.as_object().unwrap() {
                    match entries.get_mut(key) {
                        Some(base) => merge(&inner.object, base, said),
                        None => drop(entries.insert(key.clone(), said.clone())),
                    }
                }
            }
            (Some(Part::Set(inner)), Some(Json::Array(members))) => {
                let field = inner.key_column().field;
                for said in said.as_array().unwrap() {
                    let same = |member: &&mut Json| value(member, field) == value(said, field);
                    match members.iter_mut().find(same) {
                        Some(member) => {
                            let mut both = as_object(member, field);
                            both.extend(as_object(said, field));
                            *member = Json::Object(both);
                        }
                        None => members.push(said.clone()),
                    }
                }
            }
            _ => drop(base.insert(name.clone(), said.clone())),
        }
    }
}

fn value<'j>(member: &'j Json, field: &str) -> &'j Json {
    member.get(field).unwrap_or(member)
}

fn as_object(member: &Json, field: &str) -> Map<String, Json> {
    match member {
        Json::Object(object) => object.clone(),
        value => Map::from_iter([(field.to_owned(), value.clone())]),
    }
}

/// RFC 7396, section 2, word by word.
fn merge_patch(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (name, value) in patch {
        if value.is_null() {
            target.shift_remove(name);
        } else {
            merge_patch(target.entry(name).or_insert(Json::Null), value);
        }
    }
}

/// Takes away the marks of fields that are not set any more, but for those that the document says.
fn settle(object: &Object, merged: &mut Json, said: Option<&Json>) {
    let Json::Object(fields) = merged else { return };
    if let (Some(table), Some(Json::Object(mut marks))) =
        (object.table, fields.get("marks").cloned())
    {
        let is_said = |field: &str| said.is_some_and(|said| said["marks"][field].is_object());
        let is_set = |field: &str| {
            let column = table.definition().columns.iter().find(|c| c.field == field);
            let value = fields.get(field).filter(|value| !value.is_null());
            column.is_none_or(|c| value.is_some_and(|value| c.read(value).ok() != c.absent()))
        };
        marks.retain(|field, _| is_said(field) || is_set(field));
        fields.insert("marks".to_owned(), Json::Object(marks));
    }
    for (name, inner) in fields {
        let said = said.and_then(|said| said.get(name));
        match object.field(name).map(|field| &field.part) {
            Some(Part::Object(object)) => settle(object, inner, said),
            Some(Part::Map(entries)) => {
                for (key, entry) in inner.as_object_mut().into_iter().flatten() {
                    settle(&entries.object, entry, said.and_then(|said| said.get(key)));
                }
            }
            // Lists are said whole, and members of sets have no fields.
            _ => {}
        }
    }
}

/// Entries of outermost maps take the places of those before.
fn replace(object: &Object, base: &mut Json, said: &Json) {
    for (name, said) in said.as_object().unwrap() {
        let base = base.as_object_mut().unwrap();
        match object.field(name).map(|field| &field.part) {
            Some(Part::Object(inner)) if inner.table.is_none() => {
                replace(inner, base.entry(name).or_insert(json!({})), said);
            }
            Some(Part::Map(_)) => {
                let entries = base.entry(name).or_insert(json!({}));
                let entries = entries.as_object_mut().unwrap();
                entries.extend(said.as_object().unwrap().clone());
            }
            _ => drop(base.insert(name.clone(), said.clone())),
        }
    }
}

/// A document of which parts were taken out, or made null.
fn partial(nulls: bool) -> impl Strategy<Value = Json> {
    let cuts = prop::collection::vec((any::<Index>(), prop::bool::weighted(0.5)), 0..12);
    (configuration(), cuts).prop_map(move |(configuration, cuts)| {
        let mut document = to_document(&configuration);
        for (index, null) in cuts {
            let places = places(&document);
            if places.is_empty() {
                break;
            }
            let place = index.get(&places);
            // In a list, null is no member.
            let in_list = place.last().unwrap().parse::<usize>().is_ok();
            match part(&mut document, place) {
                Some(found) if nulls && null && !in_list => *found = Json::Null,
                _ => take_out(&mut document, place),
            }
        }
        document
    })
}

/// What the base becomes; none where the document is refused.
fn loaded(base: &Configuration, document: &Json, mode: Mode) -> Option<Configuration> {
    let text = serde_json::to_string(document).unwrap();
    let from_json = load("document", text.as_bytes(), mode, base);
    let text = source::to_yaml(document).unwrap();
    let from_yaml = load("document", text.as_bytes(), mode, base);
    assert_eq!(from_json.as_ref().ok(), from_yaml.as_ref().ok());
    match from_json {
        Ok(changeset) => {
            let mut after = base.clone();
            after.apply(&changeset).unwrap();
            Some(after)
        }
        Err(LoadError::Document(errors)) => {
            assert!(!errors.is_empty());
            None
        }
        Err(LoadError::State(error)) => panic!("{error}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn merge_sets_and_adds(base in configuration(), document in partial(false)) {
        let mut expected = to_document(&base);
        merge(outline(), &mut expected, &document);
        prop_assert_eq!(loaded(&base, &document, Mode::Merge), accepted(&expected), "{}", expected);
    }

    #[test]
    fn patch_is_that_of_the_standard(base in configuration(), document in partial(true)) {
        let mut expected = to_document(&base);
        merge_patch(&mut expected, &document);
        settle(outline(), &mut expected, Some(&document));
        prop_assert_eq!(loaded(&base, &document, Mode::Patch), accepted(&expected), "{}", expected);
    }

    #[test]
    fn replace_takes_the_places_of_outermost_objects(base in configuration(), document in partial(false)) {
        let mut expected = to_document(&base);
        replace(outline(), &mut expected, &document);
        prop_assert_eq!(loaded(&base, &document, Mode::Replace), accepted(&expected), "{}", expected);
    }

    #[test]
    fn override_is_the_document(base in configuration(), document in partial(false)) {
        prop_assert_eq!(loaded(&base, &document, Mode::Override), accepted(&document));
    }
}

const BASE: &str = r"
vpcs: {blue: {description: the first}, internet: {}}
interfaces:
  wan:
    vpc: internet
    port: null:wan
    mac: 02:00:00:00:00:01
    mtu: 9000
    addresses: [203.0.113.1/24, {address: 203.0.114.1/24, annotation: on its way out}]
    neighbors: {203.0.113.2: {mac: 02:00:00:00:00:02}}
";

fn base() -> Configuration {
    let source = source::read("base.yaml", BASE.as_bytes());
    source.unwrap_or_else(|e| panic!("{e}")).configuration
}

fn after(mode: Mode, document: &str) -> String {
    match load("document.yaml", document.as_bytes(), mode, &base()) {
        Ok(changeset) => {
            let mut after = base();
            after.apply(&changeset).unwrap();
            let differences: Vec<String> = changeset
                .iter()
                .map(|change| {
                    let show = |row: Option<&rewire_schema::Row>| {
                        row.map_or("-".to_owned(), |row| {
                            rewire_schema::document::object_of(row).to_string()
                        })
                    };
                    let (before, after) = (show(change.before()), show(change.after()));
                    format!("{}: {before} -> {after}\n", change.row().path())
                })
                .collect();
            differences.concat()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_merge_says_only_what_changes() {
    insta::assert_snapshot!(after(Mode::Merge, "
interfaces:
  wan:
    mtu: 1400
    addresses: [203.0.114.1/24, 203.0.115.1/24]
    neighbors: {203.0.113.3: {mac: 02:00:00:00:00:03}}
"), @r##"
    interfaces.wan: {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01","mtu":9000} -> {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01","mtu":1400}
    interfaces.wan.addresses.203.0.115.1/24: - -> {}
    interfaces.wan.neighbors.203.0.113.3: - -> {"mac":"02:00:00:00:00:03"}
    "##);
}

#[test]
fn a_patch_takes_away_by_null() {
    insta::assert_snapshot!(after(Mode::Patch, "
vpcs: {blue: {description: null}}
interfaces: {wan: {mtu: null, neighbors: null, addresses: [203.0.113.1/24]}}
"), @r##"
    vpcs.blue: {"description":"the first"} -> {}
    interfaces.wan: {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01","mtu":9000} -> {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01"}
    interfaces.wan.addresses.203.0.114.1/24: {"annotation":"on its way out"} -> -
    interfaces.wan.neighbors.203.0.113.2: {"mac":"02:00:00:00:00:02"} -> -
    "##);
}

#[test]
fn a_replaced_object_is_as_the_document_says_it() {
    insta::assert_snapshot!(after(Mode::Replace, "
interfaces:
  wan: {vpc: internet, port: null:wan, mac: 02:00:00:00:00:01}
"), @r##"
    interfaces.wan: {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01","mtu":9000} -> {"vpc":"internet","port":"null:wan","mac":"02:00:00:00:00:01"}
    interfaces.wan.addresses.203.0.113.1/24: {} -> -
    interfaces.wan.addresses.203.0.114.1/24: {"annotation":"on its way out"} -> -
    interfaces.wan.neighbors.203.0.113.2: {"mac":"02:00:00:00:00:02"} -> -
    "##);
}

#[test]
fn what_is_new_must_be_complete_and_what_is_there_need_not() {
    insta::assert_snapshot!(after(Mode::Merge, "
interfaces:
  wan: {description: the outside}
  wna: {description: the inside}
"), @r##"
    error: interfaces.wna: the field "vpc" is missing
     --> document.yaml:4:3
      |
    4 |   wna: {description: the inside}
      |   ^^^
      |
      = help: this is not there yet, and what is new must be complete
      = note: vpc: The VPC that frames received here belong to.
    "##);
}

#[test]
fn a_required_field_cannot_be_taken_away() {
    insta::assert_snapshot!(after(Mode::Patch, "interfaces: {wan: {vpc: null}}"), @r##"
    error: interfaces.wan.vpc: the field "vpc" is required
     --> document.yaml:1:20
      |
    1 | interfaces: {wan: {vpc: null}}
      |                    ^^^
      |
      = note: vpc: The VPC that frames received here belong to.
    "##);
}

#[test]
fn problems_of_the_result_have_their_place_in_the_document() {
    let loaded = rewire_schema::load::load_with(
        "document.yaml",
        b"interfaces:\n  wan:\n    vpc: bleu\n".to_vec(),
        Mode::Merge,
        &base(),
        &mut |_, _| {},
    )
    .unwrap();
    let mut after = base();
    after.apply(&loaded.changeset).unwrap();
    let problems = rewire_schema::meaning::check(&after);
    insta::assert_snapshot!(loaded.diagnose(problems), @r##"
    error: interfaces.wan.vpc: no VPC is named "bleu"
     --> document.yaml:3:10
      |
    3 |     vpc: bleu
      |          ^^^^
      |
      = help: did you mean "blue"?
      = note: vpc: The VPC that frames received here belong to.
    "##);
}

#[test]
fn outermost_objects_are_entries_of_maps_or_single() {
    // Replace would not know what an outermost list or set takes the place of.
    fn walk(object: &Object, path: &Path) {
        for field in &object.fields {
            let path = path.join(field.name);
            match &field.part {
                Part::Object(inner) if inner.table.is_none() => walk(inner, &path),
                Part::List(_) | Part::Set(_) => panic!("{path}"),
                Part::Object(_) | Part::Map(_) | Part::Value(_) => {}
            }
        }
    }
    walk(outline(), &Path::default());
    assert!(from_document(&json!({})).unwrap().is_empty());
}
