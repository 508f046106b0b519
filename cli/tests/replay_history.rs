//! `rewire replay` of a history: every revision applied in its place among the frames, and checked.

mod captures;
mod session;

use std::fs;

use captures::{Frame, frames, write};
use serde_json::Value;
use session::{Session, assert_transcript};

/// Left sends to right; `rest` stands in the right VPC's routes, `more` behind all.
fn document(via: &str, more: &str) -> String {
    format!(
        "\
vpcs:
  left: {{routes: {{0.0.0.0/0: {{next_hops: [{{interface: right, via: {via}}}]}}}}}}
  right: {{}}
interfaces:
  left: {{vpc: left, port: 'null:left', mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24]}}
  right:
    vpc: right
    port: 'null:right'
    mac: '02:00:00:00:00:02'
    addresses: [192.0.2.1/24]
    neighbors: {{192.0.2.2: {{mac: '02:00:00:00:00:22'}}, 192.0.2.3: {{mac: '02:00:00:00:00:33'}}}}
{more}"
    )
}

const MASQUERADE: &str =
    "nat: {masquerade: {out: {vpc: left, interface: right, sources: [10.0.0.0/24]}}}\n";

/// A datagram of 10.0.0.2 from port 1000 to 198.51.100.1 port 53, without checksum.
fn query(number: u8) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0x12, 0x08, 0x00];
    let mut ip = vec![
        0x45, 0, 0, 29, 0, number, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 198, 51, 100, 1,
    ];
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend([0x03, 0xe8, 0, 53, 0, 9, 0, 0, number]);
    frame
}

/// A store of four revisions, an export of it, and eight queries.
fn history() -> Session {
    let mut s = Session::new();
    s.quietly(&["init"]);
    let states = [
        ("the first network", document("192.0.2.2", "")),
        ("hide who asks", document("192.0.2.2", MASQUERADE)),
        ("another router", document("192.0.2.3", MASQUERADE)),
    ];
    for (message, document) in states {
        s.write("net.yaml", &document);
        s.quietly(&["load", "net.yaml"]);
        s.quietly(&["commit", "-m", message, "--no-wait"]);
    }
    s.quietly(&["rewind", "1", "-m", "back", "--no-wait"]);
    s.quietly(&["journal", "export", "journal"]);
    let second = 1_000_000_000;
    let queries: Vec<Frame> = (0..8).map(|n| (u64::from(n) * second, query(n))).collect();
    write(&s.path("left.pcap"), &queries);
    s
}

/// Runs a replay that comes to this exit code; gives its report.
fn report(s: &mut Session, exit: i32, arguments: &[&str]) -> Value {
    let from = s.transcript().len();
    let code = s.rewire(&[&["replay", "--json"], arguments].concat());
    let said = s.transcript()[from..].to_owned();
    assert_eq!(code, exit, "{said}");
    let body = said.split_once('\n').unwrap().1;
    let body: String = body
        .lines()
        .filter(|line| !line.starts_with("[exit"))
        .map(|line| format!("{}\n", line.strip_prefix("! ").unwrap_or(line)))
        .collect();
    let json: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {said}"));
    match exit {
        0 => json["result"].clone(),
        _ => json["error"]["report"].clone(),
    }
}

const IN: [&str; 2] = ["--in", "left=left.pcap"];

#[test]
fn revisions_stand_among_frames() {
    let mut s = history();
    let out = ["--out", "right=out.pcap", "--junit", "report.xml"];
    assert_eq!(s.rewire(&[&["replay"], &IN[..], &out[..]].concat()), 0);
    let sent = frames(&s.path("out.pcap"));
    let seen: Vec<(u8, [u8; 4])> = sent
        .iter()
        .map(|(_, frame)| (frame[5], frame[26..30].try_into().unwrap()))
        .collect();
    let (inside, outside) = ([10, 0, 0, 2], [192, 0, 2, 1]);
    let expected = [
        (0x22, inside),
        (0x22, inside),
        (0x22, outside),
        (0x22, outside),
        (0x33, outside),
        (0x33, outside),
        (0x22, inside),
        (0x22, inside),
    ];
    assert_eq!(seen, expected);
    let xml = fs::read_to_string(s.path("report.xml")).unwrap();
    let mut settings = s.settings();
    settings.add_filter(
        "(tables|report) digest: [0-9a-f]{64}",
        "$1 digest: [DIGEST]",
    );
    settings.add_filter(
        "(tables|report)_digest\" value=\"[0-9a-f]{64}",
        "${1}_digest\" value=\"[DIGEST]",
    );
    settings.add_filter("time=\"[0-9.]+\"", "time=\"[SECONDS]\"");
    settings.bind(|| insta::assert_snapshot!(format!("{}{xml}", s.transcript())));
}

#[test]
fn a_store_its_export_and_parts_of_it_are_replayed_alike() {
    let mut s = history();
    let store = report(&mut s, 0, &IN);
    let file = report(&mut s, 0, &[&IN[..], &["journal"]].concat());
    assert_eq!(store, file, "to the byte, in another process");
    assert_eq!(store["revisions"].as_array().unwrap().len(), 4);
    for part in [
        &["--from", "2"][..],
        &["--from", "2", "--to", "3"],
        &["--from", "4"],
    ] {
        let store = report(&mut s, 0, &[&IN[..], part].concat());
        let file = report(&mut s, 0, &[&IN[..], part, &["journal"]].concat());
        assert_eq!(store, file, "{part:?}");
        assert_eq!(
            store["revisions"][0]["revision"],
            part[1].parse::<u64>().unwrap()
        );
    }
    // A state in the middle is the one that the changes lead to.
    let digest =
        |report: &Value, number: usize| report["revisions"][number]["tables_digest"].clone();
    let middle = report(&mut s, 0, &["--revision", "3"]);
    assert_eq!(digest(&middle, 0), digest(&store, 2));
    let back = report(&mut s, 0, &["--from", "1", "--to", "1"]);
    assert_eq!(
        digest(&back, 0),
        digest(&store, 3),
        "revision 4 is the state of revision 1"
    );
    // What was pruned is not needed.
    s.quietly(&["journal", "prune", "2"]);
    let pruned = report(&mut s, 0, &[]);
    assert_eq!(digest(&pruned, 1), digest(&store, 2));
    s.quietly(&["journal", "export", "pruned"]);
    assert_eq!(pruned, report(&mut s, 0, &["pruned"]));
}

#[test]
fn revisions_have_their_place_by_frames_or_by_time() {
    let mut s = history();
    let frames_in = |report: &Value| -> Vec<u64> {
        let revisions = report["revisions"].as_array().unwrap();
        revisions
            .iter()
            .map(|r| r["packets_in"].as_u64().unwrap())
            .collect()
    };
    let even = report(&mut s, 0, &IN);
    assert_eq!(frames_in(&even), [2, 2, 2, 2]);
    let three = report(&mut s, 0, &[&IN[..], &["--pace", "3"]].concat());
    assert_eq!(frames_in(&three), [3, 3, 2, 0]);
    // The captures are of 1970: everything was committed after them.
    let committed = report(
        &mut s,
        0,
        &[&IN[..], &["--pace", "committed", "--from", "1"]].concat(),
    );
    assert_eq!(frames_in(&committed), [8, 0, 0, 0]);
    let undelivered = report(&mut s, 0, &[&IN[..], &["--pace", "committed"]].concat());
    assert_eq!(
        undelivered["undelivered"], 8,
        "before revision 1 there is nothing"
    );
}

#[test]
fn what_must_leave_is_held_against_what_leaves() {
    let mut s = history();
    let out = ["--out", "right=good.pcap"];
    assert_eq!(
        s.rewire(&[&["replay", "-q"], &IN[..], &out[..]].concat()),
        0
    );
    let good = frames(&s.path("good.pcap"));
    let expect = |s: &mut Session, name: &str, exit: i32| {
        let expected = format!("right={name}");
        report(s, exit, &[&IN[..], &["--expect", &expected]].concat())
    };
    expect(&mut s, "good.pcap", 0);
    let mut other = good.clone();
    other[4].1[22] ^= 1;
    write(&s.path("other.pcap"), &other);
    let said = expect(&mut s, "other.pcap", 7);
    let failure = &said["failures"][0];
    assert_eq!(failure["check"], "outputs");
    assert_eq!(failure["revision"], 3);
    assert_eq!(
        failure["message"],
        "frame 5 by right is not the one that was expected"
    );
    let details = failure["details"].to_string();
    assert!(details.contains("byte 22, the time to live"), "{details}");
    // Too few, and too many.
    write(&s.path("few.pcap"), &good[..3]);
    let said = expect(&mut s, "few.pcap", 7);
    assert_eq!(said["failures"][0]["revision"], 2);
    let many = [&good[..], &good[..2]].concat();
    write(&s.path("many.pcap"), &many);
    let said = expect(&mut s, "many.pcap", 7);
    let message = &said["failures"][0]["message"];
    assert_eq!(
        message,
        "8 of 10 expected frames left by right; the next one:"
    );
    // Whoever does not ask for the check is told nothing.
    let unasked = ["--expect", "right=other.pcap", "--check", "state,tables"];
    report(&mut s, 0, &[&IN[..], &unasked[..]].concat());

    let from = s.transcript().len();
    let arguments = [
        "replay",
        "--in",
        "left=left.pcap",
        "--expect",
        "right=other.pcap",
    ];
    assert_eq!(s.rewire(&arguments), 7);
    let said = s.transcript()[from..].to_owned();
    for words in [
        "outputs failed under revision 3, at 4.000000 s, with 5 frames in: frame 5 by right is not",
        "expected: 192.0.2.1:",
        " > 198.51.100.1:53 udp, ttl 62, 43 bytes",
        "! error: 1 of the checks failed, of outputs",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn probes_are_tried_under_every_revision() {
    let mut s = Session::new();
    let probe = "\
probes:
  hidden:
    interface: left
    source: 10.0.0.2
    destination: 198.51.100.1
    protocol: udp
    destination_port: 53
    expect: forwarded
    via: 192.0.2.2
    translated_source: 192.0.2.1
";
    s.write(
        "hidden.yaml",
        &document("192.0.2.2", &[MASQUERADE, probe].concat()),
    );
    let passed = report(&mut s, 0, &["--document", "hidden.yaml"]);
    let made = passed["checks"].as_array().unwrap();
    let made = made.iter().find(|made| made["check"] == "probes");
    assert_eq!(made.map(|made| &made["made"]), Some(&Value::from(1)));
    let unasked = report(
        &mut s,
        0,
        &["--document", "hidden.yaml", "--check", "tables"],
    );
    let made = unasked["checks"].as_array().unwrap();
    assert!(made.iter().all(|made| made["check"] != "probes"));
}

#[test]
fn budgets_are_kept() {
    let mut s = history();
    let names = |report: &Value| report["failures"][0]["check"].as_str().unwrap().to_owned();
    let over = report(&mut s, 7, &["--resident-memory", "1"]);
    assert_eq!(names(&over), "memory");
    report(
        &mut s,
        0,
        &["--tables-memory", "1000", "--resident-memory", "100000"],
    );
    report(
        &mut s,
        0,
        &["--total-time", "600", "--revision-time", "600"],
    );
}

#[test]
fn what_is_no_history_is_said() {
    let mut s = history();
    let mut journal = fs::read(s.path("journal")).unwrap();
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    fs::write(s.path("damaged"), &journal).unwrap();
    for bad in [
        &["damaged"][..],
        &["nowhere"],
        &["left.pcap"],
        &["journal", "--to", "9"],
        &["journal", "--from", "a-tag"],
        &["--from", "9"],
        &["--check", "tables,tabels"],
        &["--pace", "0"],
    ] {
        assert_eq!(s.rewire(&[&["replay"], bad].concat()), 2, "{bad:?}");
    }
    assert_transcript!(s);
}
