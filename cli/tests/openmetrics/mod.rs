//! As much of the OpenMetrics text format as tells whether a scraper would take it.

use std::collections::BTreeMap;

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic());
    first && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Every sample by its series; panics at the first line that is wrong.
pub(crate) fn read(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut family: Option<(String, String)> = None;
    let mut families = BTreeMap::new();
    let body = text.strip_suffix("# EOF\n").expect("it ends with its end");
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (
                words.next().unwrap(),
                words.next().unwrap(),
                words.next().unwrap(),
            );
            assert!(is_name(name), "{line}");
            match kind {
                "TYPE" => {
                    assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                    assert!(
                        families.insert(name.to_owned(), ()).is_none(),
                        "twice: {line}"
                    );
                    family = Some((name.to_owned(), rest.to_owned()));
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                other => panic!("{other}: {line}"),
            }
            continue;
        }
        // An exemplar: a label set, a value and a time.
        let (line, exemplar) = match line.split_once(" # ") {
            Some((line, exemplar)) => (line, Some(exemplar)),
            None => (line, None),
        };
        if let Some(exemplar) = exemplar {
            let (trace, rest) = exemplar.split_once("\"} ").expect(line);
            let trace = trace.strip_prefix("{trace_id=\"").expect(line);
            assert_eq!(trace.len(), 32, "{exemplar}");
            let numbers = rest.split(' ').map(|n| n.parse::<f64>().expect(exemplar));
            assert_eq!(numbers.count(), 2, "{exemplar}");
        }
        let (series, value) = line.rsplit_once(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        let name = series.split('{').next().unwrap();
        let (family, kind) = family.as_ref().expect("a type comes before its samples");
        let suffix = name
            .strip_prefix(family.as_str())
            .unwrap_or_else(|| panic!("not of {family}: {line}"));
        let suffixes: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            _ => &["_sum", "_count", "_bucket"],
        };
        assert!(suffixes.contains(&suffix), "{line}");
        if let Some(labels) = series
            .strip_prefix(name)
            .filter(|labels| !labels.is_empty())
        {
            let labels = labels
                .strip_prefix('{')
                .and_then(|l| l.strip_suffix('}'))
                .expect(line);
            for label in labels.split(',') {
                let (name, value) = label.split_once('=').expect(line);
                assert!(
                    is_name(name) && value.starts_with('"') && value.ends_with('"'),
                    "{line}"
                );
            }
        }
        assert!(
            samples.insert(series.to_owned(), value).is_none(),
            "twice: {line}"
        );
    }
    samples
}
