//! Documents, as somebody writes them.

use rewire_schema::source::{read, read_shape, to_json, to_yaml};
use rewire_schema::{Configuration, to_document};

/// Reads a document. What is read reads back from what is written of it, in YAML and in JSON; what is not is told, each
/// error at a place that there is. Gives whether its shape is right.
pub fn run(bytes: &[u8]) -> bool {
    let again = |text: &str| -> Configuration {
        match read_shape("again", text.as_bytes()) {
            Ok(source) => source.configuration,
            Err(errors) => panic!("what was written is not read: {errors}\n{text}"),
        }
    };
    let shaped = match read_shape("fuzz", bytes) {
        Ok(source) => {
            let document = to_document(&source.configuration);
            let yaml = to_yaml(&document).expect("a document can be written");
            let json = to_json(&document).expect("a document can be written");
            assert_eq!(again(&yaml), source.configuration, "{yaml}");
            assert_eq!(again(&json), source.configuration, "{json}");
            true
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(!errors.render(false).is_empty());
            assert!(!errors.render(true).is_empty());
            for error in &errors {
                let (line, column) = errors.position(error);
                assert!(line > 0 && column > 0, "{error:?}");
            }
            false
        }
    };
    // What it means is asked of any shape that is right.
    let meant = read("fuzz", bytes);
    assert!(shaped || meant.is_err());
    shaped
}
