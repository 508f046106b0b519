//! The recipes of `dist/ci`: their scripts run here on a journal, and the YAML around them calls just these scripts.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use granit_parser::{Event, Parser};
use serde_json::{Map, Value, json};

mod session;
use session::Session;

fn recipes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/ci")
}

/// A repository's folder: documents, a production journal of them, and packets.
fn repository() -> Session {
    let mut session = Session::with_one_revision();
    std::fs::create_dir(session.path("net")).unwrap();
    session.example("net/all.yaml");
    session.quietly(&["journal", "export", "production.journal"]);
    session
}

fn run(session: &Session, script: &str, args: &[&str]) -> Output {
    let mut command = Command::new(recipes().join(script));
    command
        .args(args)
        .current_dir(session.path("."))
        .env("REWIRE", env!("CARGO_BIN_EXE_rewire"))
        .env("REWIRE_AUTHOR", "ci")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command.output().unwrap()
}

#[track_caller]
fn ran(output: &Output, code: i32) -> String {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

/// Changes the documents of the repository.
fn change(session: &Session, from: &str, to: &str) {
    let path = session.path("net/all.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn documents_are_validated() {
    let session = repository();
    ran(&run(&session, "validate.sh", &["net"]), 0);
    session.write(
        "net/more.yaml",
        "interfaces:\n  new: {vpc: nowhere, port: 'null:new', mac: '02:00:00:00:00:09'}\n",
    );
    let said = ran(&run(&session, "validate.sh", &["net"]), 2);
    assert!(said.contains("net/more.yaml:2:14"), "{said}");
}

#[test]
fn production_takes_the_change_or_says_why_not() {
    let session = repository();
    let said = ran(
        &run(
            &session,
            "propose.sh",
            &["production.journal", "net", "out"],
        ),
        0,
    );
    assert!(said.contains("nothing was committed"), "{said}");
    let comment = ran(&run(&session, "comment.sh", &["out"]), 0);
    assert!(comment.contains("Nothing changes."), "{comment}");

    session.write("net/more.yaml", "vpcs: {new: {}}\n");
    ran(
        &run(
            &session,
            "propose.sh",
            &["production.journal", "net", "out"],
        ),
        0,
    );
    let diff = std::fs::read_to_string(session.path("out/changes.diff")).unwrap();
    assert!(diff.contains("new"), "{diff}");
    let comment = ran(&run(&session, "comment.sh", &["out"]), 0);
    assert!(
        comment.contains("### What changes") && comment.contains(diff.trim_end()),
        "{comment}"
    );

    session.write("net/more.yaml", "vpcs: {new: {vni: 7, colour: red}}\n");
    let said = ran(
        &run(
            &session,
            "propose.sh",
            &["production.journal", "net", "out"],
        ),
        2,
    );
    assert!(said.contains("net/more.yaml:1:"), "{said}");
    let comment = ran(&run(&session, "comment.sh", &["out"]), 0);
    assert!(
        comment.contains("### Refused") && comment.contains("net/more.yaml:1:"),
        "{comment}"
    );
    // The production journal is only read.
    ran(
        &run(&session, "propose.sh", &["no.journal", "net", "out"]),
        2,
    );
}

#[test]
fn packets_that_change_their_way_are_said() {
    let session = repository();
    session.write(
        "packets.txt",
        "# one a line\nin blue0 10.1.0.5:40000 > 198.51.100.7:443 tcp\n\nin blue0 10.1.0.5 > 10.1.0.1 icmp echo\n",
    );
    change(&session, "masquerade", "masquerade");
    session.write("net/more.yaml", "vpcs: {new: {}}\n");
    ran(
        &run(
            &session,
            "propose.sh",
            &["production.journal", "net", "out"],
        ),
        0,
    );
    let said = ran(&run(&session, "packets.sh", &["packets.txt", "out"]), 0);
    assert_eq!(said, "0 of 2 packets change their way.\n");
}

#[test]
fn the_hook_checks_what_is_staged() {
    let session = repository();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args([
            "-c",
            "user.name=ada",
            "-c",
            "user.email=ada@example.org",
            "-c",
            "commit.gpgsign=false",
        ]);
        git.args(args).current_dir(session.path("."));
        git.env("REWIRE", env!("CARGO_BIN_EXE_rewire"));
        git.env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        git.output().unwrap()
    };
    ran(&git(&["init", "--quiet"]), 0);
    let hook = session.path(".git/hooks/pre-commit");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(
        recipes().join("pre-commit.sh").canonicalize().unwrap(),
        hook,
    )
    .unwrap();
    ran(&git(&["add", "net"]), 0);
    ran(&git(&["commit", "--quiet", "-m", "good"]), 0);
    session.write("net/more.yaml", "vpcs: {blue: {}}\n");
    ran(&git(&["add", "net"]), 0);
    let said = ran(&git(&["commit", "-m", "bad"]), 1);
    assert!(
        said.contains("this object is also in net/all.yaml"),
        "{said}"
    );
    // What is staged counts, and not what lies there.
    session.write("net/more.yaml", "vpcs: {new: {}}\n");
    ran(&git(&["commit", "-m", "bad"]), 1);
    ran(&git(&["add", "net"]), 0);
    ran(&git(&["commit", "--quiet", "-m", "good"]), 0);
}

#[test]
fn the_note_is_posted_where_a_token_lets_it() {
    let session = repository();
    session.write("comment.md", "## Configuration\n");
    let said = ran(&run(&session, "gitlab-note.sh", &["comment.md"]), 0);
    assert!(said.contains("no REWIRE_NOTE_TOKEN"), "{said}");
    // In the place of curl, something that says what it was told.
    session.write("curl", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n");
    let curl = session.path("curl");
    std::fs::set_permissions(&curl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(recipes().join("gitlab-note.sh"));
    command.arg("comment.md").current_dir(session.path("."));
    let variables = [
        ("REWIRE_NOTE_TOKEN", "secret"),
        ("CI_API_V4_URL", "https://gitlab.example/api/v4"),
        ("CI_PROJECT_ID", "7"),
        ("CI_MERGE_REQUEST_IID", "3"),
    ];
    let said = ran(
        &command.envs(variables).env("CURL", curl).output().unwrap(),
        0,
    );
    assert!(
        said.contains("https://gitlab.example/api/v4/projects/7/merge_requests/3/notes"),
        "{said}"
    );
    assert!(said.contains("body@comment.md"), "{said}");
}

#[test]
fn the_workflows_call_the_scripts_with_what_they_take() {
    let github = yaml("github-actions.yml");
    let steps = github["jobs"]["try"]["steps"].as_array().unwrap();
    assert_eq!(steps[0]["uses"], json!("actions/checkout@v4"));
    assert!(github["on"]["pull_request"]["paths"].is_array());
    assert_eq!(github["permissions"]["contents"], json!("read"));
    let runs: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect();
    let gitlab = yaml("gitlab-ci.yml");
    let job = &gitlab["configuration"];
    let lines = |key: &str| -> Vec<String> {
        let lines = job[key].as_array().unwrap().iter();
        lines
            .map(|line| line.as_str().unwrap().to_owned())
            .collect()
    };
    // The same steps, in the same order.
    assert_eq!(lines("script"), runs[..4]);
    assert_eq!(
        job["artifacts"]["reports"]["junit"],
        json!("out/replay.xml")
    );
    let variables = [
        "REWIRE_DOCUMENTS",
        "REWIRE_JOURNAL",
        "REWIRE_PACKETS",
        "OUT",
    ];
    for variable in variables {
        assert_eq!(
            github["env"][variable], job["variables"][variable],
            "{variable}"
        );
    }
    let all = [
        lines("script"),
        lines("after_script"),
        runs.iter().map(|run| (*run).to_owned()).collect(),
    ]
    .concat();
    let mut called = std::collections::BTreeSet::new();
    for word in all.iter().flat_map(|run| run.split_whitespace()) {
        if let Some(script) = word.strip_prefix("ci/") {
            let path = recipes().join(script);
            let text =
                std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{script}: {error}"));
            assert!(text.starts_with("#!/bin/sh\n"), "{script}");
            called.insert(script.to_owned());
        }
    }
    let expected = [
        "comment.sh",
        "gitlab-note.sh",
        "packets.sh",
        "propose.sh",
        "replay.sh",
        "validate.sh",
    ];
    assert_eq!(called.into_iter().collect::<Vec<_>>(), expected);
    let hooks = yaml("pre-commit-hooks.yaml");
    assert_eq!(hooks[0]["entry"], json!("dist/ci/pre-commit.sh"));
}

/// A file of YAML, all scalars as text.
fn yaml(name: &str) -> Value {
    let text = std::fs::read_to_string(recipes().join(name)).unwrap();
    let mut events = Parser::new_from_str(&text)
        .map(|event| event.unwrap_or_else(|error| panic!("{name}: {error}")).0);
    let first = events
        .by_ref()
        .find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..)));
    node(first.unwrap(), &mut events)
}

fn node<'a>(event: Event<'a>, events: &mut impl Iterator<Item = Event<'a>>) -> Value {
    match event {
        Event::Scalar(text, ..) => json!(text),
        Event::SequenceStart(..) => {
            let mut list = Vec::new();
            loop {
                match events.next().unwrap() {
                    Event::SequenceEnd => return Value::Array(list),
                    item => list.push(node(item, events)),
                }
            }
        }
        Event::MappingStart(..) => {
            let mut map = Map::new();
            loop {
                match events.next().unwrap() {
                    Event::MappingEnd => return Value::Object(map),
                    Event::Scalar(key, ..) => {
                        let value = events.next().unwrap();
                        map.insert(key.into_owned(), node(value, events));
                    }
                    other => panic!("a key that is no text: {other:?}"),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_journal_replays_with_the_change_and_what_fails_is_packed_up() {
    let session = repository();
    session.write("net/more.yaml", "vpcs: {new: {}}\n");
    let proposed = run(
        &session,
        "propose.sh",
        &["production.journal", "net", "out"],
    );
    ran(&proposed, 0);
    let good = ran(
        &run(&session, "replay.sh", &["out", "--generate", "300"]),
        0,
    );
    assert!(
        good.contains("checked of 2 revisions: tables, state"),
        "{good}"
    );
    assert!(!session.path("out/replay.bundle").exists());
    let xml = std::fs::read_to_string(session.path("out/replay.xml")).unwrap();
    assert!(xml.contains("failures=\"0\""), "{xml}");

    // Nothing replays in a mebibyte. What an earlier run has left is not in the way.
    for _ in 0..2 {
        let late = ["out", "--generate", "300", "--resident-memory", "1"];
        let said = ran(&run(&session, "replay.sh", &late), 7);
        assert!(said.contains("packed up: "), "{said}");
    }
    let comment = ran(&run(&session, "comment.sh", &["out"]), 0);
    assert!(comment.contains("packed up: "), "{comment}");
    let mut session = session;
    std::fs::rename(session.path("out/replay.bundle"), session.path("elsewhere")).unwrap();
    std::fs::remove_dir_all(session.path("out")).unwrap();
    assert_eq!(session.rewire(&["replay", "elsewhere"]), 7);
}
