//! The quick parsers beside the one of all of YAML: what they take, it takes, and it is the same.

use proptest::prelude::*;

use super::block::BlockEvents;
use super::event::{Event, Events};
use super::json::JsonEvents;
use super::yaml::YamlEvents;
use super::*;
use crate::{document, testing};

/// All events; none where the text is refused.
fn all<'a>(mut events: impl Events<'a>) -> Option<Vec<Event<'a>>> {
    let mut all = Vec::new();
    while let Some((event, _)) = events.next().ok()? {
        all.push(event);
    }
    Some(all)
}

fn read_by<'a>(
    text: &'a str,
    mut events: impl Events<'a>,
    findings: Option<&mut Findings>,
) -> Option<Configuration> {
    let mut rows = Configuration::default();
    let mut quiet = |_: usize| {};
    let mut reader = Reader::new(text, &mut events, &mut rows, findings, &mut quiet);
    reader.document(Way::WHOLE).ok().map(|()| rows)
}

fn assert_quick(text: &str) {
    assert_eq!(
        all(YamlEvents::new(text)),
        all(BlockEvents::new(text)),
        "{text}"
    );
}

#[test]
fn the_plain_form_is_taken_quickly() {
    for text in [
        "a:\n  b: c\n",
        "# about\n\na:\n  # more\n  b:\n\n    - c\n    - d: e\n      f: 1\n    - 2001:db8::/32\n  g: {}\nh: []",
        "a: ~\r\nb:\r\n  \"c d\": true\r\n  e: 0x1f   \r\n",
        "\u{feff}a: 'b # c'\nb: \"größer \\u00e9 \\\" \"\n10.0.0.0/8: -\n"
            .trim_end_matches("10.0.0.0/8: -\n"),
        "::a: b".trim_start_matches("::"),
        "12: 12\ntrue: true\na: 1.5e3\nb: a:b:c d#e\n",
    ] {
        assert_quick(text);
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_other_parser() {
    for text in [
        "",
        "a",
        "a: b: c",
        "a: b #c",
        "a: &x b",
        "a: *x",
        "a: !t b",
        "<<: a",
        "a:\n- b\n- c\n",
        "a: b\n  c\n",
        "a: |\n  b\n",
        "? a\n: b\n",
        "a:\n\tb: c\n",
        "---\na: b\n",
        "a: b\n...\n",
        "%YAML 1.2\n---\na: b\n",
        "a: {b: c}",
        "a: 'b''c'",
        "a: \"b\n  c\"",
        "a:\n    b: c\n  d: e\n",
        "  a: b\nc: d",
        "a:\n  - - b\n",
        "a: [b]",
        "a:  b",
        "\"a\\\"\": b",
        "a: b:\n",
        "a:\nb: c",
        "a: \"\\ud83d\\ude00\"",
    ] {
        assert_eq!(all(BlockEvents::new(text)), None, "{text:?}");
    }
}

#[test]
fn json_is_taken_quickly() {
    for text in [
        r#"{"a": [1, -2, true, false, null, "b\"c\u00e9\n"], "d": {}, "e": [], "": {"f": [[], {}]}}"#,
        " {\"a\"\n:\t1} \r\n",
    ] {
        assert_eq!(
            all(YamlEvents::new(text)),
            all(JsonEvents::new(text)),
            "{text}"
        );
    }
    for text in [
        "",
        "{",
        "{}}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "[1 2]",
        "{a: 1}",
        "{\"a\": 01}",
        "{\"a\": 'b'}",
        "{\"a\": \"\n\"}",
        "{\"a\": nul}",
        "{\"a\": \"\\ud800\"}",
        "{\"a\": \"b}",
        "{} {}",
        "{\"a\": [}",
        "{\"a\": 1]",
        "{\"a\" 1}",
        "{\"a\": -}",
    ] {
        assert_eq!(all(JsonEvents::new(text)), None, "{text:?}");
    }
    let deep = "[".repeat(DEEPEST_NESTING + 1) + &"]".repeat(DEEPEST_NESTING + 1);
    assert_eq!(all(JsonEvents::new(&deep)), None);
}

/// Lines that are near the plain form, at the indentations that it has.
fn lines() -> impl Strategy<Value = String> {
    let indentation = prop::sample::select(vec!["", "", "  ", "  ", "    ", "      ", " ", "\t"]);
    let content = prop::sample::select(vec![
        "a:",
        "b:",
        "c:",
        "a: b",
        "- a",
        "- a: b",
        "- b:",
        "10.0.0.0/8:",
        "2001:db8::/32: x",
        "\"q r\": s",
        "d: \"t u\"",
        "e: 'v'",
        "f: {}",
        "g: []",
        "- {}",
        "# c",
        "",
        "h: 1",
        "i: true",
        "- 0x1f",
        "j: ~",
        "- ~",
        "k: a#b",
        "l: a #b",
        "m: a: b",
        "n: a:b",
        "- - a",
        "---",
        "...",
        "- ",
        "o: |",
        "p: ",
        ": q",
        "::1",
        "r: ::1",
        "'s': t",
        "u: \"\\n\"",
        "v: a  ",
        "w: -",
        "x: -1",
        "- [a]",
        "\u{feff}",
        "é: é",
    ]);
    let ending = prop::sample::select(vec!["\n", "\n", "\n", "\n", "\r\n", "\r", ""]);
    prop::collection::vec((indentation, content, ending), 0..12).prop_map(|lines| {
        lines
            .into_iter()
            .map(|(a, b, c)| format!("{a}{b}{c}"))
            .collect()
    })
}

fn json_like() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\n\"", "1", "-1", "1.5", "01", "true",
        "null", " ", "\n", "'c'", "d", "\t",
    ]);
    prop::collection::vec(pieces, 0..16).prop_map(|pieces| format!("{{{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_taken_quickly_is_what_yaml_says(text in lines()) {
        if let Some(quick) = all(BlockEvents::new(&text)) {
            prop_assert_eq!(Some(quick), all(YamlEvents::new(&text)), "{:?}", text);
        }
    }

    #[test]
    fn what_is_json_is_what_yaml_says(text in json_like()) {
        let json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let quick = all(JsonEvents::new(&text));
        prop_assert_eq!(quick.is_some(), json, "{:?}", text);
        if quick.is_some() {
            prop_assert_eq!(quick, all(YamlEvents::new(&text)), "{:?}", text);
        }
    }
}

/// Text with a liking for what YAML has a meaning for.
fn awkward() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "a",
            "B",
            "0",
            "1",
            "9",
            ":",
            ": ",
            " ",
            "#",
            " #",
            "-",
            "- ",
            ".",
            "/",
            "_",
            "'",
            "\"",
            "\\",
            "{",
            "[",
            "~",
            "null",
            "true",
            "no",
            "1e3",
            "0x1f",
            "1:30",
            "2026-11-21",
            "\n",
            "\t",
            "\r",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{ffff}",
            "é",
            "🦀",
            "\u{0}",
            "|",
            "%",
        ])
        .prop_map(str::to_owned),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// What a document says, as JSON.
fn json_of<'a>(events: &mut dyn Events<'a>) -> Option<serde_json::Value> {
    let (first, _) = events.next().ok()??;
    value_of(events, first)
}

fn value_of<'a>(events: &mut dyn Events<'a>, first: Event<'a>) -> Option<serde_json::Value> {
    Some(match first {
        Event::Scalar(scalar) => scalar.to_json(),
        Event::ListStart => {
            let mut list = Vec::new();
            loop {
                match events.next().ok()??.0 {
                    Event::ListEnd => break list.into(),
                    first => list.push(value_of(events, first)?),
                }
            }
        }
        _ => {
            let mut map = serde_json::Map::new();
            while let (Event::Key(key), _) = events.next().ok()?? {
                let (first, _) = events.next().ok()??;
                map.insert(key.into_owned(), value_of(events, first)?);
            }
            map.into()
        }
    })
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        awkward().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::btree_map(awkward(), inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn what_older_readers_misread_is_quoted() {
    for text in [
        "no",
        "Y",
        "1_000",
        "0o17",
        "0x1F",
        "1:30",
        "10:20:30:40:50:59",
        "1.5",
        "1e3",
        "2026-11-21",
        "12",
        "",
        "-",
        "a: b",
        "a #b",
        ":a",
        "a:",
    ] {
        let yaml = to_yaml(&serde_json::json!({ "a": text })).unwrap();
        assert!(yaml.starts_with("a: \""), "{yaml}");
    }
    for text in [
        "a",
        "10.0.0.1",
        "10.0.0.0/8",
        "2001:db8::1",
        "02:00:00:00:00:01",
        "80-90",
        "af_packet:eth0",
        "größer 🦀",
        "a b#c",
        "10M",
    ] {
        assert_eq!(
            to_yaml(&serde_json::json!({ "a": text })).unwrap(),
            format!("a: {text}\n")
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_survives_its_text(tree in tree()) {
        let yaml = to_yaml(&tree).unwrap();
        prop_assert_eq!(json_of(&mut YamlEvents::new(&yaml)), Some(tree.clone()), "{}", yaml);
        let json = to_json(&tree).unwrap();
        prop_assert_eq!(&json, &serde_json::to_string_pretty(&tree).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_quickly(configuration in testing::configuration()) {
        let tree = document::to_document(&configuration);
        for text in [to_yaml(&tree).unwrap(), to_json(&tree).unwrap()] {
            let quick = match JsonEvents::may_read(&text) {
                true => read_by(&text, JsonEvents::new(&text), None),
                false => read_by(&text, BlockEvents::new(&text), None),
            };
            let mut findings = Findings::default();
            let slow = read_by(&text, YamlEvents::new(&text), Some(&mut findings));
            // The strategy makes a little that no document may say.
            let slow = slow.filter(|_| findings.list.is_empty());
            prop_assert_eq!(&quick, &slow, "{}", text);
            prop_assert!(quick.is_none_or(|rows| rows == configuration));
        }
    }
    #[test]
    fn rows_are_written_like_their_tree(rows in prop::collection::vec(testing::row(), 0..60)) {
        let mut configuration = Configuration::default();
        // Some have no parent.
        rows.into_iter().for_each(|row| drop(configuration.insert(row)));
        let tree = document::to_document(&configuration);
        let (mut yaml, mut json) = (Vec::new(), Vec::new());
        write_yaml(&configuration, &mut yaml).unwrap();
        write_json(&configuration, &mut json).unwrap();
        let yaml = String::from_utf8(yaml).unwrap();
        let from_yaml = json_of(&mut YamlEvents::new(&yaml)).unwrap();
        prop_assert_eq!(&from_yaml, &serde_json::from_slice::<serde_json::Value>(&json).unwrap());
        // The tree has a section for a row that it leaves out.
        prop_assert_eq!(document::from_document(&from_yaml), document::from_document(&tree));
        let whole = testing::consistent(&configuration);
        let mut json = Vec::new();
        write_json(&whole, &mut json).unwrap();
        let tree = document::to_document(&whole);
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), tree);
    }
}
