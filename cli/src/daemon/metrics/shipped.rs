//! The dashboards and alerts that ship, held against the definitions of metrics: no expression names a metric, a label or a
//! reason that there is not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use rewire_dataplane::{DropReason, Node};
use serde_json::Value;

use super::all;
use super::definition::{Kind, Metric};

fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// Every dashboard, by its file's name.
fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(dist().join("grafana")).unwrap();
    let mut dashboards: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).unwrap())
        })
        .collect();
    dashboards.sort_by(|(a, _): &(String, Value), (b, _)| a.cmp(b));
    dashboards
}

/// Every expression of a dashboard: of panels, annotations and variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "expr" => found.push(text.clone()),
                    Value::String(text) if key == "query" && text.starts_with("label_values(") => {
                        found.push(text.clone());
                    }
                    other => expressions(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

/// The alerts' expressions: what stands behind `expr:`, on its line or indented below it.
fn alerts() -> Vec<String> {
    let text = std::fs::read_to_string(dist().join("prometheus/rewire.rules.yml")).unwrap();
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim_start().strip_prefix("expr:") else {
            continue;
        };
        let mut expression = expression.trim().trim_start_matches(">-").to_owned();
        let indent = line.len() - line.trim_start().len();
        while let Some(next) = lines.next_if(|next| next.len() - next.trim_start().len() > indent) {
            expression.push(' ');
            expression.push_str(next.trim());
        }
        found.push(expression);
    }
    found
}

/// The metric whose samples have this name.
fn metric(name: &str) -> Option<&'static Metric> {
    all().find(|metric| match metric.kind {
        Kind::Histogram => ["_bucket", "_sum", "_count"]
            .iter()
            .any(|suffix| name == format!("{}{suffix}", metric.name)),
        _ => name == metric.sample_name(),
    })
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// What is wrong with an expression.
fn wrong(expression: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut labels: BTreeSet<&str> = ["instance", "job", "le"].into();
    let mut used = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(is_word) {
        let end = rest[start..]
            .find(|c| !is_word(c))
            .map_or(rest.len(), |end| start + end);
        let (before, word) = (&rest[..start], &rest[start..end]);
        rest = &rest[end..];
        // A word within quotes is a value.
        if before.ends_with('"') && word.len() > 1 {
            rest = rest.split_once('"').map_or("", |(_, rest)| rest);
            continue;
        }
        if word.starts_with("rewire_") || word.starts_with("process_") {
            match metric(word) {
                Some(metric) => labels.extend(metric.labels),
                None => wrong.push(format!("no metric {word}")),
            }
            if let Some(selector) = rest.strip_prefix('{') {
                let (matchers, after) = selector.split_once('}').unwrap();
                rest = after;
                for matcher in matchers.split("\",").filter(|m| !m.is_empty()) {
                    let end = matcher.find(|c| !is_word(c)).unwrap();
                    let (label, value) = matcher.split_at(end);
                    used.push(label);
                    let value = value.trim_start_matches(['=', '~', '!']).trim_matches('"');
                    wrong.extend(no_such_value(label, value));
                }
            }
        }
        if ["by", "on", "without", "ignoring"].contains(&word)
            && let Some(list) = rest.trim_start().strip_prefix('(')
        {
            let (list, after) = list.split_once(')').unwrap();
            rest = after;
            used.extend(list.split(',').map(str::trim));
        }
    }
    let unknown = used.iter().filter(|label| !labels.contains(*label));
    wrong.extend(unknown.map(|label| format!("no label {label}")));
    wrong
}

/// Whether a label can never have a value, of those whose values the program knows.
fn no_such_value(label: &str, value: &str) -> Option<String> {
    let known: Vec<&str> = match label {
        "reason" => DropReason::ALL.iter().map(|reason| reason.name()).collect(),
        "node" => Node::ALL.iter().map(|node| node.name()).collect(),
        _ => return None,
    };
    let exists = |alternative: &str| match alternative.strip_suffix(".*") {
        Some(start) => known.iter().any(|known| known.starts_with(start)),
        None => known.contains(&alternative),
    };
    let missing = value.split('|').find(|alternative| !exists(alternative))?;
    Some(format!("no {label} {missing}"))
}

#[test]
fn what_is_wrong_is_found() {
    assert_eq!(wrong("rewire_no_such"), ["no metric rewire_no_such"]);
    assert_eq!(
        wrong("rate(rewire_bursts[1m])"),
        ["no metric rewire_bursts"]
    );
    assert_eq!(
        wrong("rewire_commit_step_seconds"),
        ["no metric rewire_commit_step_seconds"]
    );
    assert_eq!(wrong("rewire_revision{vpc=\"a\"}"), ["no label vpc"]);
    assert_eq!(wrong("sum by (node) (rewire_revision)"), ["no label node"]);
    let reason =
        "rewire_dropped_packets_total{instance=~\"$instance\",reason=~\"acl_.*|nonsense\"}";
    assert_eq!(wrong(reason), ["no reason nonsense"]);
    assert!(wrong("sum by (le, step) (rate(rewire_commit_step_seconds_bucket[1m]))").is_empty());
}

#[test]
fn dashboards_and_alerts_speak_of_metrics_that_there_are() {
    let mut all_wrong = Vec::new();
    let mut number = 0;
    for (name, dashboard) in dashboards() {
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        for expression in &found {
            let wrong = wrong(expression).into_iter();
            all_wrong.extend(wrong.map(|why| format!("{name}: {why}: {expression}")));
        }
        number += found.len();
    }
    for expression in alerts() {
        let wrong = wrong(&expression).into_iter();
        all_wrong.extend(wrong.map(|why| format!("alerts: {why}: {expression}")));
        number += 1;
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    assert!(number > 80, "{number}");
}

/// What Grafana asks of a dashboard that it imports, as far as can be told without Grafana.
#[test]
fn dashboards_are_whole() {
    let mut uids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert_eq!(
            dashboard["uid"],
            name.as_str(),
            "links keep when files are known by it"
        );
        assert!(uids.insert(name.clone()));
        assert!(dashboard["title"].as_str().unwrap().starts_with("Rewire: "));
        assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "{name}");
        assert!(
            dashboard.get("id").is_none(),
            "{name}: Grafana gives numbers itself"
        );
        let list = dashboard["templating"]["list"].as_array().unwrap();
        let variables: Vec<_> = list.iter().map(|v| v["name"].as_str().unwrap()).collect();
        let annotations = dashboard["annotations"]["list"].as_array().unwrap();
        assert!(annotations.iter().any(|a| a["name"] == "Commits"), "{name}");
        let mut ids = BTreeSet::new();
        let mut taken: Vec<[u64; 4]> = Vec::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title}");
            let [x, y, w, h] =
                ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= 24, "{name}: {title}");
            for [x2, y2, w2, h2] in &taken {
                let apart = x + w <= *x2 || x2 + w2 <= x || y + h <= *y2 || y2 + h2 <= y;
                assert!(apart, "{name}: {title} lies on another panel");
            }
            taken.push([x, y, w, h]);
            if panel["type"] == "row" {
                continue;
            }
            let targets = panel["targets"].as_array().unwrap();
            let references: BTreeSet<_> = targets.iter().map(|t| t["refId"].as_str()).collect();
            assert!(
                !targets.is_empty() && references.len() == targets.len(),
                "{name}: {title}"
            );
            for target in targets {
                assert_eq!(
                    target["datasource"]["uid"], "${datasource}",
                    "{name}: {title}"
                );
                let expression = target["expr"].as_str().unwrap();
                for variable in expression.split('$').skip(1) {
                    let end = variable.find(|c| !is_word(c)).unwrap_or(variable.len());
                    let variable = &variable[..end];
                    let own = variable.starts_with("__") || variables.contains(&variable);
                    assert!(own, "{name}: {title}: ${variable}");
                }
            }
        }
    }
    assert_eq!(uids.len(), 5);
}

/// Whether the tools of Prometheus are here; a word to the reader where they are not.
fn promtool(arguments: &[&str], directory: &Path) -> bool {
    let Ok(output) = Command::new("promtool")
        .args(arguments)
        .current_dir(directory)
        .output()
    else {
        println!("skipped: there is no promtool (Debian's package prometheus)");
        return false;
    };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    true
}

#[test]
fn every_alert_fires_where_it_must_and_not_elsewhere() {
    let directory = dist().join("prometheus");
    if promtool(&["check", "rules", "rewire.rules.yml"], &directory) {
        promtool(&["test", "rules", "rewire.rules.test.yml"], &directory);
    }
    // Each has a test of both.
    let rules = std::fs::read_to_string(directory.join("rewire.rules.yml")).unwrap();
    let tests = std::fs::read_to_string(directory.join("rewire.rules.test.yml")).unwrap();
    let names = rules
        .lines()
        .filter_map(|l| l.trim().strip_prefix("- alert: "));
    for name in names {
        let tried = tests.matches(&format!("alertname: {name}\n")).count();
        assert_eq!(tried, 2, "{name}");
    }
}

/// Prometheus itself reads the expressions of dashboards, once variables have values.
#[test]
fn prometheus_can_read_every_expression() {
    let directory = tempfile::tempdir().unwrap();
    let mut rules = Vec::new();
    for (_, dashboard) in dashboards() {
        let mut found = Vec::new();
        expressions(&dashboard, &mut found);
        for expression in found.iter().filter(|e| !e.starts_with("label_values(")) {
            let expression = expression
                .replace("$__rate_interval", "1m")
                .replace("$__range", "1h")
                .replace("$instance", ".*")
                .replace("$vpc", ".*");
            let record = format!("rule:number{}", rules.len());
            rules.push(serde_json::json!({ "record": record, "expr": expression }));
        }
    }
    // JSON is YAML.
    let file = serde_json::json!({ "groups": [{ "name": "all", "rules": rules }] });
    std::fs::write(directory.path().join("all.yml"), file.to_string()).unwrap();
    promtool(&["check", "rules", "all.yml"], directory.path());
}
