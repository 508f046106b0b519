//! Documents from text: what is good is read as written, what is anything at all never panics.

use proptest::prelude::*;
use rewire_schema::model::VpcRow;
use rewire_schema::{Configuration, Path, from_document, source, testing, to_document};
use serde_json::Value as Json;

const GOOD: &str = r#"
# Everything that the model has.
vpcs:
  blue:
    description: "größer \U0001F980"
    routes:
      0.0.0.0/0:
        next_hops:
          - interface: wan
            via: 203.0.113.2
      10.0.0.0/8: {type: unreachable}
      2001:db8:1::/48: {next_hops: [{interface: wan, via: "fe80::2"}, {interface: lan}]}
  internet: {}
interfaces:
  lan:
    vpc: blue
    port: af_packet:lan0
    mac: 02-00-00-00-00-0A
    addresses: [10.1.0.1/24, "2001:db8::1/64"]
    neighbors:
      10.1.0.10: {mac: 02:00:00:00:00:10}
      2001:DB8::10: {mac: 02:00:00:00:00:10}
  wan:
    vpc: internet
    port: tap:wan0
    mac: 02:00:00:00:00:02
    mtu: 9000
    addresses:
      - 203.0.113.1/24
nat:
  pools:
    outside: {vpc: internet, ranges: [203.0.113.10-203.0.113.20, 203.0.113.30]}
  masquerade:
    out: {vpc: blue, interface: wan, pool: outside, sources: [10.0.0.0/8]}
    own: {vpc: blue, interface: wan, pool: ~, sources: [192.168.0.0/16]}
  port_forward:
    web:
      protocol: tcp
      external_vpc: internet
      external_address: 203.0.113.1
      external_port: 0x1f90
      internal_vpc: blue
      internal_address: 10.1.0.10
      internal_port: 80
  static:
    mail: {external_vpc: internet, external_address: 203.0.113.40, internal_vpc: blue, internal_address: 10.1.0.25}
"#;

fn good() -> source::Source {
    source::read("good.yaml", GOOD.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn a_good_document_is_read_as_written() {
    let source = good();
    let wan = &source.configuration.interface[&("wan".parse().unwrap(),)];
    assert_eq!(wan.mtu, 9000);
    let lan = &source.configuration.interface[&("lan".parse().unwrap(),)];
    assert_eq!(lan.mtu, 1500);
    assert_eq!(lan.mac.unwrap().to_string(), "02:00:00:00:00:0a");
    let web = &source.configuration.port_forward[&("web".parse().unwrap(),)];
    assert_eq!(web.external_port.only(), Some(8080));
    assert_eq!(source.configuration.len(), 24);
    insta::assert_snapshot!(
        "good_as_yaml",
        source::to_yaml(&to_document(&source.configuration)).unwrap()
    );
}

#[test]
fn byte_order_marks_carriage_returns_and_tabs_in_json_are_no_errors() {
    let json = source::to_json(&to_document(&good().configuration)).unwrap();
    for text in [
        format!("\u{feff}{GOOD}"),
        GOOD.replace('\n', "\r\n"),
        json.replace("  ", "\t"),
        json.replace('\n', ""),
    ] {
        let source = source::read("text", text.as_bytes()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(source.configuration, good().configuration);
    }
}

#[test]
fn parts_are_found_in_the_text() {
    let source = good();
    let text_of = |path: &[&str]| {
        let range = source.locate(&Path::new(path)).unwrap();
        &source.text()[range]
    };
    assert_eq!(text_of(&["interfaces", "wan"]), "wan");
    assert_eq!(text_of(&["interfaces", "wan", "mtu"]), "9000");
    assert_eq!(
        text_of(&["interfaces", "lan", "addresses", "2001:db8::1/64"]),
        "\"2001:db8::1/64\""
    );
    assert_eq!(
        text_of(&["interfaces", "lan", "neighbors", "2001:db8::10"]),
        "2001:DB8::10"
    );
    assert_eq!(
        text_of(&[
            "vpcs",
            "blue",
            "routes",
            "0.0.0.0/0",
            "next_hops",
            "0",
            "via"
        ]),
        "203.0.113.2"
    );
    // What is not there has the place of what is above it.
    assert_eq!(text_of(&["interfaces", "lan", "mtu"]), "lan");
    assert_eq!(source.locate(&Path::new(["nothing"])), None);
    // Every row of the configuration stands somewhere, under its own key.
    for row in source.configuration.rows() {
        assert!(source.locate(&row.path()).is_some(), "{}", row.path());
    }
}

#[test]
fn a_document_that_is_too_large_is_not_looked_at() {
    // Zeroed memory that nobody touches costs nothing.
    let bytes = vec![0; source::LARGEST_DOCUMENT + 1];
    let errors = source::read("huge.yaml", &bytes).unwrap_err();
    assert!(errors.to_string().contains("expected at most"), "{errors}");
}

#[test]
fn errors_are_counted_where_there_are_too_many_to_show() {
    let fields: String = (0..75).map(|i| format!("x{i}: 1\n")).collect();
    let errors = source::read("many.yaml", fields.as_bytes()).unwrap_err();
    assert_eq!(errors.len(), 75);
    assert!(errors.to_string().ends_with("and 25 more"));
}

#[test]
fn a_line_without_end_is_pointed_into_but_not_shown() {
    let text = format!(
        "{{\"vpcs\": {{{}\"bad name\": {{}}}}}}",
        " ".repeat(100_000)
    );
    let errors = source::read("long.json", text.as_bytes()).unwrap_err();
    let rendered = errors.to_string();
    assert!(rendered.contains("long.json:1:100011"), "{rendered}");
    assert!(rendered.len() < 1000);
}

#[test]
fn colours_are_for_terminals() {
    let errors = source::read("x.yaml", b"x: 1").unwrap_err();
    assert!(errors.render(true).contains('\u{1b}'));
    assert!(!errors.render(false).contains('\u{1b}'));
}

#[test]
fn what_an_error_quotes_cannot_talk_to_the_terminal() {
    let errors = source::read("x.yaml", br#"vpcs: {"\e]0;owned\a": {}}"#).unwrap_err();
    assert!(
        !errors.to_string().contains(['\u{1b}', '\u{7}']),
        "{errors:?}"
    );
}

/// Words whose spelling YAML readers take for something else than text.
fn awkward_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9][A-Za-z0-9._-]{0,20}",
        "(null|Null|true|FALSE|yes|no|on|0x1f|0o17|1e3|1_000|12|1\\.5|007|1\\.1\\.1\\.1|y|n|2026-11-21)",
    ]
}

/// Any character but the control characters, which no description may have and YAML takes in escapes only.
fn character() -> impl Strategy<Value = char> {
    any::<char>().prop_filter("control characters", |c| !c.is_control())
}

/// A configuration that a document can say.
fn configuration() -> impl Strategy<Value = Configuration> {
    let extra = (
        awkward_name(),
        prop::option::of(prop::collection::vec(character(), 0..40)),
    );
    (testing::configuration(), prop::collection::vec(extra, 0..4)).prop_map(|(mut rows, vpcs)| {
        for (name, description) in vpcs {
            let description: Option<String> = description.map(|d| d.into_iter().collect());
            let name = name.parse().unwrap();
            let row = VpcRow {
                description: description.map(|text| text.parse().unwrap()),
                ..VpcRow::new(name)
            };
            rows.insert(row.into());
        }
        // The database takes objects without the parts that they need, documents do not.
        testing::complete(&testing::consistent(&rows))
    })
}

/// Pieces of documents in any order: closer to the parser's corners than random bytes.
fn soup() -> impl Strategy<Value = String> {
    let pieces = vec![
        "vpcs",
        "interfaces",
        "nat",
        "routes",
        "blue",
        ":",
        ": ",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "\t",
        "#",
        " #",
        "|",
        ">",
        "&a",
        "*a",
        "!t",
        "<<",
        "? ",
        "---\n",
        "...\n",
        "%YAML",
        "~",
        "0",
        "-1",
        "1e9",
        "0x",
        "10.0.0.0/8",
        "\\u",
        "\u{feff}",
        "\r",
        "é",
        "\u{0}",
        "\u{85}",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..60).prop_map(|p| p.concat())
}

/// What is missing in a map is said at its first character, be that longer than a byte.
#[test]
fn a_map_may_begin_with_any_character() {
    for text in [
        "interfaces:\n  wan:\n    addresses:\n      - é: 1\n",
        "\"interfaces\": {\"wan\": {\"addresses\": [ ? é\n : 1 ]}}\n",
    ] {
        let errors = source::read("wrong", text.as_bytes()).unwrap_err();
        let rendered = errors.render(false);
        assert!(rendered.contains("is missing"), "{rendered}");
        assert!(rendered.contains("é"), "{rendered}");
    }
}

fn read_anything(bytes: &[u8]) {
    if let Err(errors) = source::read("anything", bytes) {
        assert!(!errors.is_empty());
        assert!(errors.render(true).contains("anything"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn documents_survive_their_text(configuration in configuration()) {
        let document: Json = to_document(&configuration);
        for text in [source::to_yaml(&document).unwrap(), source::to_json(&document).unwrap()] {
            match source::read_shape("generated", text.as_bytes()) {
                Ok(source) => prop_assert_eq!(&source.configuration, &configuration, "{}", text),
                Err(errors) => prop_assert!(false, "{}\n{}", errors, text),
            }
        }
        prop_assert_eq!(&from_document(&document).unwrap(), &configuration);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_anything(&bytes);
    }

    #[test]
    fn random_pieces_never_panic(text in soup()) {
        read_anything(text.as_bytes());
    }

    #[test]
    fn damaged_documents_never_panic(at in 0..GOOD.len(), length in 0usize..40, with in soup()) {
        let mut bytes = GOOD.as_bytes().to_vec();
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, with.bytes());
        read_anything(&bytes);
    }
}
