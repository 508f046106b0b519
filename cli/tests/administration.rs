//! The verbs, as a person uses them.

mod session;

use std::process::Stdio;

use session::{Session, assert_transcript};

#[test]
fn from_nothing_to_the_first_revision() {
    let mut s = Session::new();
    s.example("net.yaml");
    s.rewire(&["init"]);
    s.rewire(&["log"]);
    s.rewire(&["show"]);
    s.rewire(&["load", "net.yaml"]);
    s.rewire(&["diff"]);
    s.rewire(&["check"]);
    s.rewire(&["check", "--full"]);
    s.rewire(&["check", "--full", "net.yaml"]);
    s.rewire(&["commit", "-m", "the first network"]);
    s.rewire(&["log"]);
    s.rewire(&["diff"]);
    assert_transcript!(s);
}

#[test]
fn a_change_its_diff_and_the_way_back() {
    let mut s = Session::with_one_revision();
    let text = std::fs::read_to_string(s.path("net.yaml")).unwrap();
    let changed = text
        .replace(
            "    port: af_packet:rw-wan\n",
            "    port: af_packet:rw-wan\n    mtu: 9000\n",
        )
        .replace("    description: the outside", "    description:")
        .replace("red", "green");
    s.write("changed.yaml", &changed);
    s.rewire(&["load", "changed.yaml"]);
    s.rewire(&["diff"]);
    s.rewire(&["diff", "candidate", "running"]);
    s.rewire(&[
        "commit",
        "-m",
        "red is green now\n\nand there is more to say",
    ]);
    s.rewire(&["diff", "1", "2"]);
    s.rewire(&["diff", "-1", "running", "interfaces.wan0.mtu"]);
    s.rewire(&["diff", "-1", "-0", "vpcs", "green", "routes", "0.0.0.0/0"]);
    s.rewire(&["diff", "1", "2", "vpcs.nobody"]);
    s.rewire(&["rewind", "1"]);
    s.rewire(&["diff", "1", "running"]);
    s.rewire(&["rewind", "0", "-m", "away with it"]);
    s.rewire(&["show"]);
    s.rewire(&["log"]);
    s.rewire(&["log", "-n", "1"]);
    assert_transcript!(s);
}

#[test]
fn what_is_shown_can_be_loaded() {
    for format in ["yaml", "json"] {
        let mut s = Session::with_one_revision();
        let shown = s
            .command(&["show", "running", "--format", format])
            .output()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        s.rewire_with_input(&["load", "-"], &shown);
        s.rewire(&["diff"]);
        assert_eq!(
            s.transcript(),
            "$ rewire load -\ncandidate: no change against revision 1\n\n$ rewire diff\n! no difference\n\n"
        );
    }
}

#[test]
fn commands_say_the_same_as_documents() {
    let mut s = Session::with_one_revision();
    s.write(
        "next.yaml",
        "vpcs: {blue: {description: 'in blue'}, new: {}}",
    );
    s.quietly(&["load", "next.yaml"]);
    s.rewire(&["show", "candidate", "--format", "set"]);
    s.rewire(&["diff", "--format", "set"]);
    s.rewire(&[
        "diff",
        "candidate",
        "running",
        "vpcs.new",
        "--format",
        "set",
    ]);
    assert_transcript!(s);
}

#[test]
fn shown_in_yaml_and_json() {
    let mut s = Session::new();
    s.quietly(&["init"]);
    let text = "vpcs: {blue: {description: 'yes'}}";
    assert_eq!(s.rewire_with_input(&["load", "-"], text), 0);
    s.rewire(&["show"]);
    s.rewire(&["show", "candidate"]);
    s.rewire(&["show", "candidate", "--format", "json"]);
    s.rewire(&["show", "0"]);
    assert_transcript!(s);
}

#[test]
fn the_candidate_stays_through_a_rewind() {
    let mut s = Session::with_one_revision();
    s.rewire_with_input(&["load", "-"], "{}");
    s.rewire(&["rewind", "0"]);
    s.rewire(&["check"]);
    s.rewire(&["commit", "-m", "too late"]);
    s.rewire(&["load", "net.yaml"]);
    s.rewire(&["commit", "-m", "on the new base"]);
    assert_transcript!(s);
}

/// What the demo shows being refused.
const REFUSED: [&str; 2] = ["03-dangling.yaml", "03-malformed.yaml"];

#[test]
fn every_example_is_good() {
    let mut s = Session::new();
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples"
    ))];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let ending = path.extension().unwrap_or_default();
            if path.is_dir() {
                folders.push(path);
            } else if ["yaml", "yml", "json"].iter().any(|e| ending == *e) {
                let name = path.file_name().unwrap().to_str().unwrap();
                if REFUSED.contains(&name) {
                    assert_eq!(s.rewire(&["check", path.to_str().unwrap()]), 2, "{name}");
                } else {
                    s.quietly(&["check", path.to_str().unwrap()]);
                }
                count += 1;
            }
        }
    }
    assert!(count > REFUSED.len());
}

#[test]
fn help_is_for_people() {
    let mut s = Session::new();
    s.rewire(&["--help"]);
    for verb in [
        "init", "load", "show", "diff", "check", "commit", "log", "rewind",
    ] {
        s.rewire(&[verb, "-h"]);
    }
    assert_transcript!(s);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let s = Session::with_one_revision();
    let mut child = s
        .command(&["log"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_full_disk_under_the_output_is_an_error() {
    let s = Session::with_one_revision();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = s.command(&["log"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot write the output"), "{said}");
}

#[test]
fn what_a_configuration_can_say() {
    let mut s = Session::new();
    s.rewire(&["schema", "--format", "paths"]);
    // The model grows; what it says of one kind of object is enough here.
    let shown = s.transcript();
    let from = shown.find("interfaces.<name>.neighbors\n").unwrap();
    let neighbors: Vec<&str> = shown[from..].lines().take(6).collect();
    insta::assert_snapshot!(neighbors.join("\n"));
    let output = s.command(&["schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["title"], "Document");
}

#[test]
fn every_verb_has_a_manual_page() {
    let mut s = Session::new();
    std::fs::create_dir(s.path("pages")).unwrap();
    s.quietly(&["man", "pages"]);
    let page = |name: &str| std::fs::read_to_string(s.path("pages").join(name)).unwrap();
    assert!(page("rewire.1").contains("Exit codes:"));
    assert!(page("rewire-commit.1").contains(r"\-\-confirm"));
    assert!(page("rewire-journal-verify.1").contains("Nothing is changed."));
    assert_eq!(s.rewire(&["man", "nowhere"]), 1);
    let output = s.command(&["man"]).output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains(".TH rewire 1")
    );
}
