//! NAT held against the RFCs by packets that scapy builds and judges: each line here is a file of `tests/conformance`, whose
//! cases run against a virtual gateway. `docs/conformance.md` says which case shows which requirement.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use rewire_dataplane::Sent;
use serde_json::{Value, json};
use support::{Lab, two_vpcs};

/// The gateway as the cases see it: requests of one line each, answered with one line each.
struct Bench {
    lab: Lab,
}

impl Bench {
    fn answer(&mut self, request: &Value) -> Value {
        match request["do"].as_str() {
            Some("start") => {
                self.lab = Lab::new(request["document"].clone());
                Value::Null
            }
            Some("commit") => {
                self.lab.commit(request["document"].clone());
                Value::Null
            }
            Some("send") => {
                let frames = request["frames"].as_array().expect("frames");
                let frame = |frame: &'_ Value| {
                    let bytes = hex(frame[1].as_str().expect("a frame"));
                    (frame[0].as_str().expect("an interface").to_owned(), bytes)
                };
                let frames: Vec<_> = frames.iter().map(frame).collect();
                let frames = frames
                    .iter()
                    .map(|(name, bytes)| (name.as_str(), bytes.clone()));
                let sent = self.lab.burst(frames);
                self.sent(&sent)
            }
            Some("wait") => {
                let seconds = request["seconds"].as_f64().expect("seconds");
                let sent = self.lab.wait(Duration::from_secs_f64(seconds));
                self.sent(&sent)
            }
            Some("drops") => {
                let drops = self.lab.drops().into_iter();
                let drops = drops.map(|(reason, number)| (reason.name().to_owned(), json!(number)));
                Value::Object(drops.collect())
            }
            _ => panic!("the cases ask for {request}"),
        }
    }

    fn sent(&self, sent: &[Sent]) -> Value {
        let frame = |sent: &Sent| json!([self.lab.name(sent), to_hex(&sent.frame)]);
        sent.iter().map(frame).collect()
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = text
        .as_bytes()
        .chunks(2)
        .map(|pair| digits(pair).expect("hexadecimal digits"));
    bytes.collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn say(to: &mut ChildStdin, value: &Value) {
    writeln!(to, "{value}").expect("the cases listen");
}

/// Runs all cases of a file; panics with what those say that fail.
fn run(file: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/conformance");
    // Debian's own, which has Debian's scapy: another may come first where programs are looked for.
    let mut child = Command::new("/usr/bin/python3")
        .arg("-B")
        .arg(folder.join("run.py"))
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there: make deps");
    let mut to = child.stdin.take().expect("a pipe");
    let from = BufReader::new(child.stdout.take().expect("a pipe"));
    say(&mut to, &two_vpcs());
    let mut bench = Bench {
        lab: Lab::new(two_vpcs()),
    };
    let (mut passed, mut failed) = (0, Vec::new());
    for line in from.lines() {
        let line = line.expect("a line of the cases");
        let request: Value = serde_json::from_str(&line).expect("a request");
        match request.get("case") {
            None => {
                let answer = bench.answer(&request);
                say(&mut to, &answer);
            }
            Some(case) => match request["failure"].as_str() {
                None => passed += 1,
                Some(failure) => failed.push(format!("{case}\n{failure}")),
            },
        }
    }
    let status = child.wait().expect("it is our child");
    assert!(
        status.success(),
        "the cases did not come to their end (python3-scapy is there: make deps)"
    );
    assert!(
        failed.is_empty(),
        "{} of {} cases fail\n\n{}",
        failed.len(),
        passed + failed.len(),
        failed.join("\n")
    );
    assert!(passed > 0, "no case was run");
    println!("{passed} cases");
}

#[test]
fn rfc4787_udp() {
    run("rfc4787");
}

#[test]
fn rfc5382_tcp() {
    run("rfc5382");
}

#[test]
fn rfc5508_icmp() {
    run("rfc5508");
}

#[test]
fn rfc7857_updates() {
    run("rfc7857");
}

#[test]
fn icmp_errors_of_every_kind_of_nat() {
    run("icmp_errors");
}

#[test]
fn time_outs_as_configured() {
    run("timeouts");
}

#[test]
fn behaviours_that_other_suites_expect_of_nat44() {
    run("nat44");
}

/// The capture of another tool's static NAT, where the captures are (`REWIRE_DATA`).
#[test]
fn static_nat_by_another_tool() {
    run("static_nat");
}
