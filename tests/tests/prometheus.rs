//! The real Prometheus scrapes a gateway under traffic, with the rules that ship: one fires, the others do not, and it can
//! answer every expression of the dashboards.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, until, until_for};
use serde_json::{Value, json};

const ADDRESS: &str = "127.0.0.1:9090";

/// What Prometheus answers to a request of its API; none while it is not ready.
fn ask(lab: &Lab, path: &str) -> Option<Value> {
    let mut stream = lab.inside.run(|| TcpStream::connect(ADDRESS)).ok()?;
    write!(
        stream,
        "GET /api/v1/{path} HTTP/1.0\r\nHost: localhost\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// What an expression comes to.
fn query(lab: &Lab, expression: &str) -> Option<Value> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let escaped = expression.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    ask(lab, &format!("query?query={}", escaped.collect::<String>()))
}

fn expressions(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("expr")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            members
                .values()
                .for_each(|member| expressions(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn prometheus_scrapes_a_gateway_under_traffic_and_an_alert_fires() {
    let Some(mut lab) = Lab::new() else { return };
    if Command::new("prometheus")
        .arg("--version")
        .output()
        .is_err()
    {
        println!("skipped: there is no prometheus (make deps)");
        return;
    }
    lab.start_gateway();
    lab.commit(&two_vpcs());
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist");
    let folder = tempfile::tempdir().expect("a folder");
    let configuration = json!({
        "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
        "rule_files": [dist.join("prometheus/rewire.rules.yml")],
        "scrape_configs": [{ "job_name": "rewire", "static_configs": [{ "targets": ["127.0.0.1:9474"] }] }],
    });
    // JSON is YAML.
    let file = folder.path().join("prometheus.yml");
    fs::write(&file, configuration.to_string()).expect("the folder is ours");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!(
        "--storage.tsdb.path={}",
        folder.path().join("data").display()
    ));
    command.args([
        "--web.listen-address",
        ADDRESS,
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]);
    let mut prometheus = lab.inside.start(command);

    let blue = lab.blue.keep_pinging("198.51.100.1");
    until("packets are seen to flow", || {
        assert!(prometheus.is_running(), "{:#?}", prometheus.lines());
        let answer = query(&lab, "rate(rewire_received_packets_total[5s]) > 0")?;
        answer["data"]["result"].get(0).cloned()
    });
    let alerts = || {
        let answer = ask(&lab, "alerts")?;
        let alerts = answer["data"]["alerts"].as_array()?.clone();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Some(firing.cloned().collect::<Vec<_>>())
    };
    assert_eq!(alerts(), Some(vec![]), "nothing is wrong yet");

    // An interface without its port.
    let mut document = two_vpcs();
    document["interfaces"]["lost0"] = json!({
        "vpc": "red", "port": "af_packet:rw-nothing", "mac": "02:00:00:00:00:77", "addresses": ["192.0.2.1/24"],
    });
    lab.commit(&document);
    let patience = Duration::from_secs(60);
    let firing = until_for(patience, "the alert fires", || {
        alerts().filter(|firing| !firing.is_empty())
    });
    assert_eq!(firing.len(), 1, "{firing:#?}");
    assert_eq!(firing[0]["labels"]["alertname"], "RewirePortNotOpen");
    assert_eq!(firing[0]["labels"]["interface"], "lost0");
    lab.commit(&two_vpcs());
    until_for(patience, "it ends", || alerts().filter(Vec::is_empty));

    // Exemplars come across: each is a commit's trace.
    let exemplars = until("exemplars", || {
        let answer = ask(
            &lab,
            "query_exemplars?query=rewire_commit_step_seconds_bucket&start=0&end=99999999999",
        )?;
        answer["data"].get(0).cloned()
    });
    let trace = exemplars["exemplars"][0]["labels"]["trace_id"].as_str();
    assert_eq!(trace.map(str::len), Some(32), "{exemplars}");

    let mut found = BTreeSet::new();
    for file in fs::read_dir(dist.join("grafana")).expect("dashboards") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("text");
        expressions(&serde_json::from_str(&text).expect("JSON"), &mut found);
    }
    assert!(found.len() > 50);
    let mut with_data = 0;
    for expression in &found {
        let filled = expression
            .replace("$__rate_interval", "10s")
            .replace("$__range", "1m")
            .replace("$instance", ".*")
            .replace("$vpc", ".*");
        let answer = query(&lab, &filled).expect("an answer");
        assert_eq!(answer["status"], "success", "{filled}: {answer}");
        with_data += usize::from(answer["data"]["result"].get(0).is_some());
    }
    // Of what the lab has not, there is nothing: a card, route sources, ACLs, exporters, external pools.
    assert!(
        with_data * 2 > found.len(),
        "{with_data} of {}",
        found.len()
    );
    drop(blue);
}
