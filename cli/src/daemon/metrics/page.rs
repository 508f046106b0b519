//! `docs/metrics.md`: the page of all metrics, written from their definitions.

use std::fmt::Write;

use super::all;

const INTRODUCTION: &str = "\
# Metrics

This page is written from the definitions in the program (`rewire run --help` says where they are served): these are all
metrics there are. Counters count from the gateway's start. Units are base units: seconds, bytes. Labels are bounded, by
the configuration or by a list in the program. `rewire show metrics` prints the same numbers, `--json` for machines; OTLP
carries them under the name without `_total`.

[operating.md](operating.md#metrics) says what to look at.

";

/// The page.
pub(crate) fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    page.push_str("| metric | kind | labels | what it says |\n|---|---|---|---|\n");
    for metric in all() {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        // Writing into a string does not fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.sample_name(),
            metric.kind.name(),
            labels.join(" "),
            metric.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    /// To write it again: `REWIRE_BLESS=1 cargo test -p rewire-cli metrics::page`.
    #[test]
    fn the_page_says_what_the_definitions_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        if std::env::var_os("REWIRE_BLESS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/metrics.md is out of date: REWIRE_BLESS=1 cargo test -p rewire-cli metrics::page"
        );
    }
}
