//! What is read is what the JSON Schema lets through, in whatever style of YAML it is written.

mod support;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rewire_schema::{Configuration, source, to_document};
use serde_json::{Value as Json, json};
use support::{accepted, configuration, part, places, take_out};

/// What is no value of most fields, and of some it is.
fn value() -> impl Strategy<Value = Json> {
    select(vec![
        Json::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(80),
        json!(1500),
        json!(-1),
        json!(65536),
        json!(9_223_372_036_854_775_807_u64),
        json!(18_446_744_073_709_551_615_u64),
        json!(1.5),
        json!(""),
        json!("zz"),
        json!("true"),
        json!("1500"),
        json!("two\nlines"),
        json!("198.18.0.1"),
        json!("198.18.0.0/15"),
        json!("198.18.0.1/15"),
        json!("198.18.0.1-198.18.0.9"),
        json!("2001:DB8:9::/48"),
        json!("ring:elsewhere"),
        json!("02-00-00-00-00-FF"),
        json!("03:00:00:00:00:00"),
        json!("unicast"),
        json!("udp"),
        json!("80,443"),
        json!([]),
        json!({}),
        json!([80, "90-99"]),
        json!([{}]),
        json!({"address": "198.18.0.1/15", "annotation": "a"}),
        json!({"prefix": "198.18.0.0/15", "deactivated": true}),
        json!({"range": "198.18.0.7", "deactivated": false}),
        json!({"mac": "02:00:00:00:00:01"}),
        json!([{"interface": "a"}]),
    ])
}

fn field() -> impl Strategy<Value = &'static str> {
    select(vec![
        "description",
        "annotation",
        "deactivated",
        "vpc",
        "mtu",
        "type",
        "via",
        "pool",
        "colour",
        "a",
        "routes",
        "vpcs",
        "ranges",
    ])
}

#[derive(Clone, Debug)]
enum Mutation {
    Set(Index, Json),
    TakeOut(Index),
    Add(Index, &'static str, Json),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        4 => (any::<Index>(), value()).prop_map(|(index, value)| Mutation::Set(index, value)),
        1 => any::<Index>().prop_map(Mutation::TakeOut),
        2 => (any::<Index>(), field(), value()).prop_map(|(i, name, value)| Mutation::Add(i, name, value)),
    ]
}

fn document() -> impl Strategy<Value = Json> {
    (configuration(), prop::collection::vec(mutation(), 0..3)).prop_map(|(rows, mutations)| {
        let mut document = to_document(&rows);
        for mutation in mutations {
            let places = places(&document);
            if places.is_empty() {
                break;
            }
            match mutation {
                Mutation::Set(index, value) => {
                    *part(&mut document, index.get::<Vec<String>>(&places)).unwrap() = value;
                }
                Mutation::TakeOut(index) => {
                    take_out(&mut document, index.get::<Vec<String>>(&places))
                }
                Mutation::Add(index, name, value) => {
                    if let Some(Json::Object(map)) =
                        part(&mut document, index.get::<Vec<String>>(&places))
                    {
                        map.insert(name.to_owned(), value);
                    }
                }
            }
        }
        document
    })
}

/// Writes YAML in all kinds of styles, as the choices say.
struct Styled<'c> {
    choices: &'c mut dyn Iterator<Item = u8>,
    text: String,
}

impl Styled<'_> {
    fn choose(&mut self, of: u8) -> u8 {
        self.choices.next().unwrap_or(0) % of
    }

    fn word(&mut self, json: &Json) {
        let Json::String(text) = json else {
            let word = match (json, self.choose(3)) {
                (Json::Null, 1) => "~".to_owned(),
                (Json::Bool(true), 1) => "True".to_owned(),
                (Json::Number(n), 1) if n.as_u64().is_some_and(|n| n < 1 << 60) => {
                    format!("{:#x}", n.as_u64().unwrap())
                }
                _ => json.to_string(),
            };
            self.text.push_str(&word);
            return;
        };
        let plain = source::to_yaml(json).unwrap();
        let plain = plain.trim_end();
        match self.choose(3) {
            // In flow style a plain word may hold none of these.
            0 if !plain.starts_with('"') && !text.contains([',', '[', ']', '{', '}']) => {
                self.text.push_str(plain);
            }
            1 if !text.contains(char::is_control) => {
                let quoted = text.replace('\'', "''");
                self.text.push_str(&format!("'{quoted}'"));
            }
            _ => self.text.push_str(&json.to_string()),
        }
    }

    fn flow(&mut self, json: &Json) {
        match json {
            Json::Object(map) => {
                self.text.push('{');
                for (index, (key, json)) in map.iter().enumerate() {
                    self.text.push_str(if index == 0 { "" } else { ", " });
                    self.word(&key.as_str().into());
                    self.text.push_str(": ");
                    self.flow(json);
                }
                self.text.push('}');
            }
            Json::Array(list) => {
                self.text.push('[');
                for (index, json) in list.iter().enumerate() {
                    self.text.push_str(if index == 0 { "" } else { ", " });
                    self.flow(json);
                }
                self.text.push(']');
            }
            word => self.word(word),
        }
    }

    fn comment(&mut self) {
        match self.choose(8) {
            0 => self.text.push_str("   # said aside\n"),
            1 => self.text.push_str("\n\n"),
            2 => self.text.push_str("\r\n"),
            _ => self.text.push('\n'),
        }
    }

    /// A value behind a key or a dash.
    fn below(&mut self, json: &Json, indentation: usize) {
        let parts = match json {
            Json::Object(map) => map.len(),
            Json::Array(list) => list.len(),
            _ => 0,
        };
        if parts == 0 || self.choose(4) == 0 {
            self.text.push(' ');
            self.flow(json);
            self.comment();
            return;
        }
        self.comment();
        let spaces = " ".repeat(indentation);
        let deeper = indentation + 2 + usize::from(self.choose(2)) * 2;
        match json {
            Json::Object(map) => {
                for (key, json) in map {
                    self.text.push_str(&spaces);
                    self.word(&key.as_str().into());
                    self.text.push(':');
                    self.below(json, deeper);
                }
            }
            Json::Array(list) => {
                for json in list {
                    self.text.push_str(&spaces);
                    self.text.push('-');
                    self.below(json, deeper);
                }
            }
            _ => {}
        }
    }
}

fn styled(document: &Json, choices: &[u8]) -> String {
    let mut choices = choices.iter().copied().cycle();
    let text = String::new();
    let mut writer = Styled {
        choices: &mut choices,
        text,
    };
    writer.below(document, 0);
    writer.text.trim_start_matches([' ', '\n', '\r']).to_owned()
}

/// What is read; nothing where it is refused, and the value itself where that is because something is there twice, which
/// JSON Schema knows nothing of.
fn read(text: &str) -> Result<Option<Configuration>, ()> {
    match source::read_shape("document", text.as_bytes()) {
        Ok(source) => Ok(Some(source.configuration)),
        Err(errors) if errors.iter().any(|e| e.message.contains("appears twice")) => Err(()),
        Err(_) => Ok(None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_the_json_schema_lets_through(
        document in document(),
        choices in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let expected = accepted(&document);
        let texts = [
            serde_json::to_string(&document).unwrap(),
            source::to_yaml(&document).unwrap(),
            styled(&document, &choices),
        ];
        for text in texts {
            if let Ok(found) = read(&text) {
                prop_assert_eq!(&found, &expected, "{}", text);
            }
        }
    }

    #[test]
    fn a_good_document_may_be_written_in_any_style(
        rows in configuration(),
        choices in prop::collection::vec(any::<u8>(), 1..64),
    ) {
        let text = styled(&to_document(&rows), &choices);
        match source::read_shape("document", text.as_bytes()) {
            Ok(source) => prop_assert_eq!(source.configuration, rows, "{}", text),
            Err(errors) => prop_assert!(false, "{}\n{}", errors, text),
        }
    }
}
