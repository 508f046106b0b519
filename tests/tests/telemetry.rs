//! Measurements leave as the configuration says: by OTLP, to a collector whose decoder nobody here wrote, and by scrapes.

use std::collections::BTreeMap;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Collector, Lab, until};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn with_exporters(exporters: &Value) -> Value {
    let mut document = two_vpcs();
    document["telemetry"] = json!({ "exporters": exporters });
    document
}

fn pushed() -> Value {
    json!({ "otel": { "type": "otlp", "address": "127.0.0.1:4318", "interval": "200ms" } })
}

/// The bytes of a field of type `bytes`, which JSON has in base64, as hex digits.
fn hex(value: &Value) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = value.as_str().unwrap_or_default().bytes();
    let digits = digits.filter_map(|b| DIGITS.iter().position(|digit| *digit == b));
    let bits: String = digits.map(|digit| format!("{digit:06b}")).collect();
    let bytes = bits.as_bytes().chunks_exact(8);
    bytes
        .map(|byte| {
            let byte = std::str::from_utf8(byte).expect("zeros and ones");
            format!(
                "{:02x}",
                u8::from_str_radix(byte, 2).expect("eight of them")
            )
        })
        .collect()
}

/// Every number of a request for metrics, by the name and the labels that a scrape has for it.
fn series(body: &Value) -> BTreeMap<String, f64> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let number =
        |value: &Value| -> Option<f64> { value.as_f64().or_else(|| value.as_str()?.parse().ok()) };
    let mut series = BTreeMap::new();
    for metric in list(&body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]) {
        let name = metric["name"].as_str().expect("a name");
        for (kind, suffix) in [("gauge", ""), ("sum", "_total"), ("histogram", "_count")] {
            for point in list(&metric[kind]["dataPoints"]) {
                let labels: Vec<_> = list(&point["attributes"])
                    .iter()
                    .map(|label| {
                        format!(
                            "{}={}",
                            label["key"].as_str().unwrap(),
                            label["value"]["stringValue"]
                        )
                    })
                    .collect();
                let labels = match labels.is_empty() {
                    true => String::new(),
                    false => format!("{{{}}}", labels.join(",")),
                };
                let value = ["asInt", "asDouble", "count"]
                    .iter()
                    .find_map(|key| number(&point[key]));
                // What is zero is left out by JSON, not by the gateway.
                series.insert(format!("{name}{suffix}{labels}"), value.unwrap_or(0.0));
            }
        }
    }
    series
}

/// What moves while nothing happens: processors, and what telling itself counts.
fn moves(series: &str) -> bool {
    [
        "process_",
        "rewire_worker_",
        "rewire_exporter_",
        "rewire_node_sampled",
        "_sum",
        "_bucket",
    ]
    .iter()
    .any(|part| series.contains(part))
}

#[test]
fn commits_are_traces_and_otlp_says_what_a_scrape_says() {
    let Some(mut lab) = Lab::new() else { return };
    if !Collector::is_possible() {
        return;
    }
    lab.start_gateway();
    lab.commit(&two_vpcs());
    lab.blue.ping("198.51.100.1", "-c 5 -i 0.05").assert_all();
    // Nobody listens yet: commits and packets do not care, and it is counted.
    let mut exporters = pushed();
    exporters["scrape"] = json!({ "type": "prometheus", "address": "127.0.0.1:9101" });
    lab.commit(&with_exporters(&exporters));
    until("a push has failed", || {
        (lab.metrics()
            .labelled("rewire_exporter_failed_total", "exporter", "otel")
            > 0.0)
            .then_some(())
    });
    assert_eq!(
        lab.metrics()
            .labelled("rewire_exporter_up", "exporter", "otel"),
        0.0
    );
    lab.blue.ping("198.51.100.1", "-c 3 -i 0.05").assert_all();

    let collector = Collector::start(&lab.inside, 0.0, 200);
    // The commit that nobody took waits, and comes now.
    let span_of = |revision: u64| {
        let requests = collector.bodies("/v1/traces");
        let spans = requests.iter().flat_map(|body| {
            let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
            spans.as_array().cloned().unwrap_or_default()
        });
        let is_of = |span: &Value| {
            let attributes = span["attributes"].as_array().cloned().unwrap_or_default();
            let revision =
                json!({ "key": "rewire.revision", "value": { "intValue": revision.to_string() } });
            attributes.contains(&revision)
        };
        let spans: Vec<_> = spans.filter(is_of).collect();
        (!spans.is_empty()).then_some(spans)
    };
    let early = until("the trace of revision 2", || span_of(2));
    assert_eq!(early[0]["name"], "commit");

    // A commit in a trace of its caller's.
    let parent = format!("00-{TRACE}-{PARENT}-01");
    lab.load(&with_exporters(&pushed()));
    let commit = ["commit", "-m", "no scrapes", "--json"];
    let answer = lab.rewire_in(&[("TRACEPARENT", &parent)], &commit).good();
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["result"]["revision"], 3);
    let spans = until("the trace of revision 3", || span_of(3));
    let names: Vec<_> = spans
        .iter()
        .map(|span| span["name"].as_str().unwrap())
        .collect();
    let steps = [
        "commit", "lock", "apply", "check", "durable", "compile", "publish", "live",
    ];
    assert_eq!(names[..8], steps);
    assert_eq!(names.len(), 8 + 2, "two workers: {names:?}");
    for span in &spans {
        assert_eq!(hex(&span["traceId"]), TRACE);
        let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(
            time("startTimeUnixNano") <= time("endTimeUnixNano"),
            "{span}"
        );
        let author = json!({ "key": "rewire.author", "value": { "stringValue": "test" } });
        assert!(span["attributes"].as_array().unwrap().contains(&author));
    }
    assert_eq!(hex(&spans[0]["parentSpanId"]), PARENT);
    let root = hex(&spans[0]["spanId"]);
    assert!(
        spans[1..8]
            .iter()
            .all(|span| hex(&span["parentSpanId"]) == root)
    );
    let live = spans.iter().find(|span| span["name"] == "live").unwrap();
    assert!(
        spans[8..]
            .iter()
            .all(|span| span["parentSpanId"] == live["spanId"])
    );
    // The log says the same trace, where it was told in time; always the revision.
    let log = lab.log();
    assert!(
        log.iter()
            .any(|line| line.contains("trace_id") && line.contains("revision=3")),
        "{log:#?}"
    );

    // Once nothing moves any more, all three say the same.
    let scraped = until("OTLP and the scrape agree", || {
        let scraped = lab.metrics();
        let bodies = collector.bodies("/v1/metrics");
        let pushed = series(bodies.last()?);
        let compared = pushed.iter().filter(|(series, _)| !moves(series));
        let mut compared = compared.peekable();
        compared.peek()?;
        let agree = compared.all(|(series, value)| {
            let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
            scraped
                .samples(name)
                .any(|(found, number)| found == labels && number == *value)
        });
        agree.then_some((scraped, pushed))
    });
    let (scraped, pushed) = scraped;
    assert!(pushed.len() > 150, "{}", pushed.len());
    assert!(pushed["rewire_received_packets_total"] > 10.0);
    assert_eq!(
        scraped.labelled("rewire_exporter_up", "exporter", "otel"),
        1.0
    );
    // And none that a scrape has is missing.
    let asked = lab.rewire(&["show", "metrics", "--json"]).good();
    let asked: Value = serde_json::from_str(&asked).expect("JSON");
    for metric in asked["result"]["metrics"].as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        let suffix = if metric["kind"] == "histogram" {
            "_count"
        } else {
            ""
        };
        for sample in metric["samples"].as_array().unwrap() {
            let labels = sample["labels"].as_object().unwrap();
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let labels = if labels.is_empty() {
                String::new()
            } else {
                format!("{{{}}}", labels.join(","))
            };
            let series = format!("{name}{suffix}{labels}");
            let value = sample
                .get("value")
                .or(sample.get("count"))
                .and_then(Value::as_f64);
            assert!(pushed.contains_key(&series), "{series}");
            assert!(
                moves(&series) || pushed.get(&series).copied() == value,
                "{series}: {value:?}"
            );
        }
    }
}

#[test]
fn a_collector_that_is_slow_or_busy_holds_nobody_up() {
    let Some(mut lab) = Lab::new() else { return };
    if !Collector::is_possible() {
        return;
    }
    lab.start_gateway();
    let busy = Collector::start(&lab.inside, 0.0, 503);
    lab.commit(&with_exporters(&pushed()));
    until("it was refused for now, more than once", || {
        (lab.metrics().sum("rewire_exporter_failed_total") >= 3.0).then_some(())
    });
    drop(busy);
    let slow = Collector::start(&lab.inside, 600.0, 200);
    // Commits go on, and packets; what waits is bounded and tried again.
    for number in 0..5 {
        let mut document = with_exporters(&pushed());
        document["telemetry"]["exporters"]["otel"]["description"] =
            json!(format!("number {number}"));
        lab.commit(&document);
        lab.blue.ping("198.51.100.1", "-c 2 -i 0.05").assert_all();
    }
    // A collector that never answers does not keep the exporter from being taken out either.
    lab.commit(&two_vpcs());
    assert_eq!(lab.metrics().samples("rewire_exporter_up").count(), 0);
    drop(slow);
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.05").assert_all();
}
