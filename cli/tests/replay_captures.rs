//! Real captures, malformed ones among them, through `rewire replay`: no panic, and every packet accounted for.
//!
//! The captures lie beside the project: `REWIRE_DATA`, or `shared/data` beside the repository. Without them the test says
//! so and passes. `--no-capture` shows the table of what became of the packets.

mod captures;
mod session;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use captures::{Frame, frames, write};
use serde_json::Value;
use session::Session;

/// One interface for each direction of a capture; what comes in by one leaves by the other, to a router that is known.
/// Either interface also has a way for IPv6.
fn document(masquerade: bool) -> String {
    let vpc = |name: &str, other: &str, number: u8, via: u8| {
        format!(
            "  {name}:
    routes:
      0.0.0.0/0: {{next_hops: [{{interface: {other}, via: 192.0.2.{via}}}]}}
      ::/0: {{next_hops: [{{interface: {other}, via: '2001:db8:{number}::2'}}]}}
"
        )
    };
    let interface = |name: &str, number: u8, address: u8, via: u8| {
        format!(
            "  {name}:
    vpc: {name}
    port: 'null:{name}'
    mac: '02:00:00:00:00:0{number}'
    addresses: [192.0.2.{address}/25, '2001:db8:{number}::1/64']
    neighbors:
      192.0.2.{via}: {{mac: '02:00:00:00:00:1{number}'}}
      2001:db8:{number}::2: {{mac: '02:00:00:00:00:1{number}'}}
"
        )
    };
    let mut document = "vpcs:\n".to_owned();
    document += &vpc("left", "right", 2, 130);
    document += &vpc("right", "left", 1, 2);
    document += "interfaces:\n";
    document += &interface("left", 1, 1, 2);
    document += &interface("right", 2, 129, 130);
    if masquerade {
        document +=
            "nat: {masquerade: {out: {vpc: left, interface: right, sources: [0.0.0.0/0]}}}\n";
    }
    document
}

/// The captures, from the manifest; `None` where there are none.
fn manifest() -> Option<Vec<(PathBuf, usize)>> {
    let data = std::env::var_os("REWIRE_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let folder = data.join("captures");
    let Ok(manifest) = fs::read_to_string(folder.join("MANIFEST.tsv")) else {
        println!(
            "skipped: no captures at {} (set REWIRE_DATA)",
            folder.display()
        );
        return None;
    };
    let row = |line: &str| {
        let mut fields = line.split('\t');
        Some((folder.join(fields.next()?), fields.nth(2)?.parse().ok()?))
    };
    Some(
        manifest
            .lines()
            .skip(1)
            .map(|line| row(line).expect("a manifest line"))
            .collect(),
    )
}

/// Splits a capture by direction: whoever sends the first frame is left, with all others who send to the right of it.
fn split(all: Vec<Frame>) -> [Vec<Frame>; 2] {
    let source = |frame: &Frame| frame.1.get(6..12).map(<[u8]>::to_vec);
    let first = all.first().and_then(source);
    let (left, right) = all.into_iter().partition(|frame| source(frame) == first);
    [left, right]
}

/// What became of packets: a name, and how many.
#[derive(Default)]
struct Tally(BTreeMap<String, u64>);

impl Tally {
    fn add(&mut self, name: &str, count: &Value) -> u64 {
        let count = count.as_u64().expect("a count");
        *self.0.entry(name.to_owned()).or_default() += count;
        count
    }
}

const TERMS: [&str; 6] = [
    "received",
    "generated",
    "transmitted",
    "dropped",
    "consumed",
    "held",
];

#[test]
fn every_packet_of_every_capture_is_accounted_for() {
    let Some(manifest) = manifest() else { return };
    assert!(!manifest.is_empty());
    let s = Session::new();
    s.write("plain.yaml", &document(false));
    s.write("masquerade.yaml", &document(true));
    let passes: [(&str, &str, &[&str]); 3] = [
        ("as captured", "plain.yaml", &[]),
        ("any MAC", "plain.yaml", &["--any-mac"]),
        ("any MAC, masquerade", "masquerade.yaml", &["--any-mac"]),
    ];
    let mut tallies: [(Tally, Tally); 3] = Default::default();
    let mut packets = 0;
    for (path, expected) in &manifest {
        let all = frames(path);
        assert_eq!(all.len(), *expected, "{}", path.display());
        packets += all.len();
        for (side, half) in ["left.pcap", "right.pcap"].iter().zip(split(all)) {
            write(&s.path(side), &half);
        }
        for ((name, document, options), (terms, drops)) in passes.iter().zip(&mut tallies) {
            let arguments = [
                "replay",
                "--json",
                "--document",
                document,
                "--in",
                "left=left.pcap",
                "--in",
            ];
            let arguments = [&arguments[..], &["right=right.pcap"], options].concat();
            let output = s.command(&arguments).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{}, {name}: {}\n{errors}",
                path.display(),
                output.status
            );
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            let summary = &answer["result"];
            let account = TERMS.map(|term| terms.add(term, &summary["packets"][term]));
            let [received, generated, transmitted, dropped, consumed, held] = account;
            let what = format!("{}, {name}: {account:?}", path.display());
            assert_eq!(received, *expected as u64, "{what}");
            assert_eq!(
                received + generated,
                transmitted + dropped + consumed + held,
                "{what}"
            );
            assert_eq!(held, 0, "nothing is held once the clock has run on: {what}");
            let by_reason = summary["drops"].as_array().unwrap().iter();
            let by_reason: u64 = by_reason
                .map(|drop| drops.add(drop["reason"].as_str().unwrap(), &drop["packets"]))
                .sum();
            assert_eq!(by_reason, dropped, "{what}");
        }
    }
    println!("{packets} packets of {} captures", manifest.len());
    let names = passes.map(|(name, ..)| name);
    println!("{:<32}{:>20}{:>20}{:>22}", "", names[0], names[1], names[2]);
    let row = |name: &str, counts: [u64; 3]| {
        println!(
            "{name:<32}{:>20}{:>20}{:>22}",
            counts[0], counts[1], counts[2]
        );
    };
    let count = |tally: &Tally, name: &str| tally.0.get(name).copied().unwrap_or(0);
    for term in TERMS {
        row(term, [0, 1, 2].map(|pass| count(&tallies[pass].0, term)));
    }
    let reasons: std::collections::BTreeSet<&String> = tallies
        .iter()
        .flat_map(|(_, drops)| drops.0.keys())
        .collect();
    for reason in reasons {
        row(
            &format!("  {reason}"),
            [0, 1, 2].map(|pass| count(&tallies[pass].1, reason)),
        );
    }
    // Foreign frames get past Ethernet where that is asked for, and some of them through the whole graph.
    assert!(count(&tallies[1].0, "transmitted") > packets as u64 / 4);
    assert!(count(&tallies[2].0, "transmitted") > packets as u64 / 10);
    assert!(
        count(&tallies[1].1, "frame_too_long") > 0,
        "frames longer than any buffer are counted"
    );
}
