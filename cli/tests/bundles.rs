//! Bundles: what a failing replay packs up replays alone, fails alike, and has no more than that needs.

mod captures;
mod session;

use std::fs;
use std::path::Path;

use captures::{frames, write};
use serde_json::Value;
use session::{Session, assert_transcript};

/// Clients behind a masquerade, whose router is known.
const NET: &str = "\
vpcs:
  left: {routes: {0.0.0.0/0: {next_hops: [{interface: right, via: 192.0.2.2}]}}}
  right: {}
interfaces:
  left: {vpc: left, port: 'null:left', mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24]}
  right:
    vpc: right
    port: 'null:right'
    mac: '02:00:00:00:00:02'
    addresses: [192.0.2.1/24]
    neighbors: {192.0.2.2: {mac: '02:00:00:00:00:22'}}
nat: {masquerade: {out: {vpc: left, interface: right, sources: [10.0.0.0/24]}}}
";

/// A store of three revisions, the last two of which matter to few packets.
fn store() -> Session {
    let mut s = Session::new();
    s.write("net.yaml", NET);
    s.quietly(&["init"]);
    s.quietly(&["load", "net.yaml"]);
    s.quietly(&["commit", "-m", "the network", "--no-wait"]);
    for prefix in ["172.16.1.0/24", "172.16.2.0/24"] {
        s.quietly(&[
            "set",
            &format!("vpcs.left.routes.{prefix}.type"),
            "blackhole",
        ]);
        s.quietly(&["commit", "-m", prefix, "--no-wait"]);
    }
    s
}

fn generated(frames: &'static str) -> [&'static str; 3] {
    ["replay", "--generate", frames]
}

/// Replays, and plants a wrong time to live into what is expected by `right`: in the frame of this number, from 0.
fn planted(s: &mut Session, replay: &[&str], number: usize) {
    let out = [replay, &["-q", "--out", "right=good.pcap"]].concat();
    assert_eq!(s.rewire(&out), 0);
    let mut expected = frames(&s.path("good.pcap"));
    expected[number].1[22] ^= 1;
    write(&s.path("expected.pcap"), &expected);
}

/// The report of a replay that fails by a check.
fn report(s: &mut Session, arguments: &[&str]) -> Value {
    let output = s
        .command(&[&["--json"], arguments].concat())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    let json: Value =
        serde_json::from_slice(&output.stderr).unwrap_or_else(|e| panic!("{e}: {said}"));
    json["error"]["report"].clone()
}

fn manifest(s: &Session, bundle: &str) -> Value {
    let text = fs::read_to_string(s.path(bundle).join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_failure_among_a_hundred_thousand_frames_is_packed_up_with_a_few() {
    let mut s = store();
    let replay = generated("100000");
    planted(&mut s, &replay, 30_000);
    let failing = ["--expect", "right=expected.pcap", "--bundle", "bundle"];
    let first = report(&mut s, &[&replay[..], &failing].concat());
    let packed = &first["packed"];
    assert!(packed["of_frames"].as_u64().unwrap() > 30_000, "{packed}");
    assert!(packed["frames"].as_u64().unwrap() <= 5, "{packed}");

    // Somewhere else, without the store, and with nothing but the folder.
    let elsewhere = Session::new();
    fs::rename(s.path("bundle"), elsewhere.path("b")).unwrap();
    let mut s = elsewhere;
    let again = report(&mut s, &["replay", "b"]);
    assert_eq!(again["bundle"]["same_report"], true);
    assert_eq!(again, report(&mut s, &["replay", "b"]), "to the byte");
    let [was, is] = [&first, &again].map(|report| &report["failures"][0]);
    assert_eq!(again["bundle"]["failure"], *was);
    for same in ["check", "revision"] {
        assert_eq!(was[same], is[same]);
    }
    let byte = |failure: &Value| failure["details"][2].as_str().unwrap().to_owned();
    assert_eq!(byte(was), byte(is));
    assert!(byte(is).contains("byte 22, the time to live"), "{is}");
    // Ordinary tools read what is in it.
    let manifest = manifest(&s, "b");
    assert_eq!(manifest["shrunk"]["is_least"], true);
    let revision = &was["revision"];
    assert_eq!(
        manifest["revisions"]["first"], *revision,
        "the earlier ones are not needed"
    );
    assert_eq!(
        s.rewire(&["journal", "import", "b/journal", "--store", "copy.db"]),
        0
    );
}

#[test]
fn a_budget_that_is_not_kept_is_packed_up_whole() {
    let mut s = store();
    let replay = [&generated("500")[..], &["--resident-memory", "1"]].concat();
    let first = report(&mut s, &[&replay[..], &["--bundle", "large"]].concat());
    assert_eq!(first["failures"][0]["check"], "memory");
    assert_eq!(first["packed"]["of_frames"], Value::Null);
    let again = report(&mut s, &["replay", "large"]);
    assert_eq!(again["failures"][0]["check"], "memory");
    assert_eq!(again["bundle"]["same_report"], true);
}

/// Nothing is there of the revision but its state.
#[test]
fn the_oldest_revision_of_a_pruned_store_is_packed_up() {
    let mut s = store();
    s.quietly(&["journal", "prune", "2"]);
    let replay = ["replay", "--generate", "2000", "--revision", "2"];
    planted(&mut s, &replay, 600);
    let failing = ["--expect", "right=expected.pcap", "--bundle", "pruned"];
    let first = report(&mut s, &[&replay[..], &failing].concat());
    let again = report(&mut s, &["replay", "pruned"]);
    assert_eq!(again["bundle"]["same_report"], true);
    let [was, is] = [&first, &again].map(|report| &report["failures"][0]);
    assert_eq!(was["details"][2], is["details"][2]);
    assert_eq!(is["revision"], 2);
}

#[test]
fn a_bundle_of_a_bundle_is_no_larger() {
    let mut s = store();
    let replay = generated("2000");
    planted(&mut s, &replay, 600);
    let failing = ["--expect", "right=expected.pcap", "--bundle", "one"];
    report(&mut s, &[&replay[..], &failing].concat());
    report(&mut s, &["replay", "one", "--bundle", "two"]);
    let [one, two] = ["one", "two"].map(|bundle| manifest(&s, bundle));
    assert_eq!(one["frames"], two["frames"]);
    assert_eq!(one["report_digest"], two["report_digest"]);
}

#[test]
fn where_every_check_passes_nothing_is_left() {
    let mut s = store();
    let replay = [&generated("200")[..], &["--bundle", "bundle"]].concat();
    assert_eq!(s.rewire(&replay), 0);
    assert!(!s.path("bundle").exists() && !s.path("bundle.part").exists());
}

/// Changes a file of a copy of the bundle.
fn copy(s: &Session, name: &str, change: impl FnOnce(&Path)) {
    fs::create_dir(s.path(name)).unwrap();
    for entry in fs::read_dir(s.path("good")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), s.path(name).join(entry.file_name())).unwrap();
    }
    change(&s.path(name));
}

fn change_text(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_no_bundle_any_more_is_said() {
    let mut s = store();
    let replay = generated("500");
    planted(&mut s, &replay, 100);
    let failing = ["--expect", "right=expected.pcap", "--bundle", "good"];
    report(&mut s, &[&replay[..], &failing].concat());
    let mut s = {
        let fresh = Session::new();
        fs::rename(s.path("good"), fresh.path("good")).unwrap();
        fresh
    };
    copy(&s, "cut", |folder| {
        let path = folder.join("packets.pcapng");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    });
    copy(&s, "altered", |folder| {
        let path = folder.join("journal");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
    });
    copy(&s, "incomplete", |folder| {
        fs::remove_file(folder.join("expected-1.pcapng")).unwrap();
    });
    copy(&s, "newer", |folder| {
        change_text(
            &folder.join("manifest.json"),
            "\"format\": 1",
            "\"format\": 3",
        );
    });
    copy(&s, "no-json", |folder| {
        change_text(&folder.join("manifest.json"), "\"format\": 1,", "");
    });
    copy(&s, "half", |folder| {
        let path = folder.join("manifest.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
    });
    copy(&s, "outside", |folder| {
        change_text(
            &folder.join("manifest.json"),
            "\"README.txt\"",
            "\"../README.txt\"",
        );
    });
    copy(&s, "empty", |folder| {
        fs::remove_file(folder.join("manifest.json")).unwrap()
    });
    for bad in [
        "cut",
        "altered",
        "incomplete",
        "newer",
        "no-json",
        "half",
        "outside",
        "empty",
    ] {
        assert_eq!(s.rewire(&["replay", bad]), 2, "{bad}");
    }
    assert_eq!(s.rewire(&["replay", "good", "--pace", "3"]), 2);
    assert_eq!(s.rewire(&["replay", "good", "--bundle", "empty"]), 1);
    let mut settings = s.settings();
    settings.add_filter("[0-9a-f]{64}", "[DIGEST]");
    settings.add_filter(
        "has [0-9]+ bytes, and had [0-9]+",
        "has [N] bytes, and had [N]",
    );
    settings.add_filter("line [0-9]+ column [0-9]+", "line [N] column [N]");
    settings.bind(|| assert_transcript!(s));
}
