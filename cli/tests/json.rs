//! What machines read: one envelope for every verb, as `docs/json.md` promises.

mod running;
mod session;

use std::collections::BTreeSet;

use serde_json::Value;
use session::{Session, assert_transcript};

/// The promises of one verb: the keys in the first column of its table.
struct Promised(BTreeSet<String>);

impl Promised {
    fn of(verb: &str) -> Promised {
        let page = include_str!("../../docs/json.md");
        let title = format!("\n### `{verb}`\n");
        let from = page
            .find(&title)
            .unwrap_or_else(|| panic!("{verb} is not documented"));
        let section = &page[from + title.len()..];
        let section = section.split("\n#").next().unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
        let keys = rows.flat_map(|row| {
            let column = row.split(" |").next().unwrap();
            column
                .split(' ')
                .map(|key| key.trim_matches('`').to_owned())
                .collect::<Vec<_>>()
        });
        Promised(keys.collect())
    }

    /// Every key of a value that is not promised.
    fn missing(&self, value: &Value, path: &str, missing: &mut Vec<String>) {
        let join = |key: &str| {
            if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            }
        };
        if self.0.contains(&join("*")) || (!path.is_empty() && self.0.contains(path)) {
            return;
        }
        match value {
            Value::Object(members) => {
                members
                    .iter()
                    .for_each(|(key, value)| self.missing(value, &join(key), missing));
            }
            Value::Array(items) => {
                items
                    .iter()
                    .for_each(|item| self.missing(item, &format!("{path}[]"), missing));
            }
            _ => missing.push(path.to_owned()),
        }
    }
}

/// Runs a verb with `--json`, checks its envelope and that every key is documented, and gives back the result.
fn ask(session: &mut Session, arguments: &[&str]) -> Value {
    let from = session.transcript().len();
    let code = session.rewire(&[arguments, &["--json"]].concat());
    let said = &session.transcript()[from..];
    assert_eq!(code, 0, "{said}");
    let answer: Value = serde_json::from_str(said.split_once('\n').unwrap().1).unwrap();
    assert_eq!(
        (&answer["rewire"], &answer["ok"]),
        (&1.into(), &true.into()),
        "{said}"
    );
    let verb = answer["verb"].as_str().unwrap();
    assert!(arguments.join(" ").starts_with(verb), "{said}");
    let mut missing = Vec::new();
    Promised::of(verb).missing(&answer["result"], "", &mut missing);
    assert!(
        missing.is_empty(),
        "{verb}: not documented: {missing:?}\n{said}"
    );
    answer["result"].clone()
}

/// Runs a verb that must fail, and gives back the error; standard output stays empty.
fn refuse(session: &mut Session, arguments: &[&str]) -> Value {
    let output = session
        .command(&[arguments, &["--json"]].concat())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    let answer: Value =
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(
        (&answer["rewire"], &answer["ok"]),
        (&1.into(), &false.into()),
        "{said}"
    );
    let code = answer["error"]["code"].as_str().unwrap();
    let line = format!("| `{code}` | {} |", output.status.code().unwrap());
    assert!(include_str!("../../docs/json.md").contains(&line), "{line}");
    answer
}

#[test]
fn every_verb_answers_in_one_form() {
    let mut s = Session::new();
    s.write(
        "one.yaml",
        "vpcs: {blue: {description: the first, routes: {10.0.0.0/8: {type: blackhole}}}, red: {}}",
    );
    s.write(
        "two.yaml",
        "vpcs: {blue: {description: changed}, green: {}}",
    );
    ask(&mut s, &["init"]);
    ask(&mut s, &["check", "one.yaml"]);
    ask(&mut s, &["load", "one.yaml"]);
    ask(&mut s, &["check"]);
    ask(&mut s, &["diff"]);
    ask(&mut s, &["commit", "-m", "the first network"]);
    ask(&mut s, &["load", "two.yaml"]);
    ask(&mut s, &["diff", "running", "candidate"]);
    ask(&mut s, &["show", "candidate"]);
    ask(&mut s, &["commit", "-m", "changed", "--no-wait"]);
    ask(&mut s, &["rewind", "-1"]);
    ask(&mut s, &["log", "-n", "2"]);
    let mut settings = s.settings();
    settings.add_filter(r#""(durable_ns)": \d+"#, r#""$1": [NS]"#);
    settings.add_filter(
        r#""time": "\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z""#,
        r#""time": "[TIME]""#,
    );
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

#[test]
fn what_is_too_long_to_be_shown_is_documented_too() {
    let mut s = Session::with_one_revision();
    ask(&mut s, &["schema"]);
    ask(&mut s, &["schema", "--format", "paths"]);
    for shell in ["bash", "zsh", "fish"] {
        ask(&mut s, &["completions", shell]);
    }
    ask(&mut s, &["man"]);
    std::fs::create_dir(s.path("pages")).unwrap();
    ask(&mut s, &["man", "pages"]);
    s.write("empty.pcap", "");
}

/// With all that a gateway can say of itself but flows in a card.
#[test]
fn a_gateway_says_of_itself_what_is_promised() {
    let mut s = Session::with_one_revision();
    // A port that nobody has at the moment.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let source = format!("{{type: fpm, listen: '{address}', vpcs: {{blue: {{table: 10}}}}}}");
    s.write("bgp.yaml", &format!("route_sources: {{frr: {source}}}\n"));
    s.quietly(&["load", "merge", "bgp.yaml"]);
    s.quietly(&["commit", "-m", "a route source"]);
    s.quietly(&["set", "vpcs", "blue", "description", "later"]);
    s.quietly(&["commit", "--at", "2099-01-01T00:00"]);
    let mut gateway = running::Running::start(&s, &[]);
    s.quietly(&["set", "vpcs", "red", "description", "now"]);
    s.quietly(&["commit", "--confirm", "1h"]);
    let pid = std::process::id().to_string();
    s.quietly(&["lock", "-m", "the window", "--pid", &pid]);
    gateway.has_logged("live");
    // It looks at the store now and then.
    let deadline = std::time::Instant::now() + running::PATIENCE;
    let seen = || {
        let output = s.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    while seen()["result"]["lock"].is_null() {
        assert!(std::time::Instant::now() < deadline, "the lock is not seen");
    }
    let status = ask(&mut s, &["status"]);
    for part in ["last_live", "confirmation", "lock"] {
        assert!(status[part].is_object(), "{part}: {status}");
    }
    for part in ["scheduled", "interfaces", "edges", "route_sources"] {
        assert_ne!(
            status[part].as_array().map(Vec::len),
            Some(0),
            "{part}: {status}"
        );
    }
    gateway.end(rustix::process::Signal::TERM);
}

#[test]
fn errors_are_told_to_machines_too() {
    let mut s = Session::with_one_revision();
    s.write("bad.yaml", "vpcs:\n  blue: {}\ninterfaces:\n  wan: {vpc: blu, port: 'tap:wan', mac: '02:00:00:00:00:01'}\n");
    let mut all = String::new();
    for arguments in [
        &["load", "bad.yaml"][..],
        &["load", "none.yaml"],
        &["commit"],
        &["show", "7"],
        &["show", "tomorrow"],
        &["log", "--store", "none.db"],
        &["status"],
        &["comit"],
        &["rewind", "1"],
    ] {
        let answer = refuse(&mut s, arguments);
        all += &format!("$ rewire {} --json\n{answer:#}\n\n", arguments.join(" "));
    }
    s.settings().bind(|| insta::assert_snapshot!(all));
}

#[test]
fn quiet_says_only_what_was_asked_for() {
    let mut s = Session::new();
    s.write("one.yaml", "vpcs: {blue: {}}");
    for arguments in [
        &["init", "-q"][..],
        &["load", "one.yaml", "--quiet"],
        &["check", "-q"],
        &["diff", "-q"],
        &["commit", "-q", "-m", "the first network"],
        &["diff", "--quiet"],
        &["rewind", "0", "-q"],
        &["rewind", "0", "-q"],
    ] {
        s.rewire(arguments);
    }
    assert_transcript!(s);
}

#[test]
fn the_other_verbs_answer_in_the_same_form() {
    let mut s = Session::with_one_revision();
    ask(&mut s, &["explain", "interface", "wan0"]);
    ask(&mut s, &["explain", "route", "blue", "0.0.0.0/0"]);
    s.write(
        "one.yaml",
        "vpcs: {blue: {description: the first}, red: {}}",
    );
    s.write(
        "two.yaml",
        "vpcs: {blue: {description: the second}, red: {}}",
    );
    s.write(
        "three.yaml",
        "vpcs: {blue: {description: the second}, red: {description: changed}}",
    );
    ask(&mut s, &["commit", "--load", "one.yaml", "--confirm", "1h"]);
    ask(&mut s, &["commit", "--confirm"]);
    ask(&mut s, &["confirm"]);
    ask(&mut s, &["load", "two.yaml"]);
    ask(&mut s, &["load", "three.yaml", "--candidate", "other"]);
    ask(&mut s, &["candidates"]);
    ask(&mut s, &["discard", "--candidate", "other"]);
    ask(&mut s, &["commit", "--at", "2099-01-01T00:00"]);
    ask(&mut s, &["scheduled"]);
    ask(&mut s, &["scheduled", "--cancel", "1"]);
    ask(&mut s, &["commit", "--load", "two.yaml", "-m", "two"]);
    ask(&mut s, &["lock", "-m", "the window"]);
    ask(&mut s, &["unlock"]);
    ask(&mut s, &["revert", "-0"]);
    ask(&mut s, &["revert", "3", "--commit"]);
    ask(&mut s, &["rollback", "1"]);
    ask(&mut s, &["show", "revision", "3"]);
    ask(&mut s, &["blame", "vpcs.blue"]);
    ask(&mut s, &["tag", "good", "3"]);
    ask(&mut s, &["tags"]);
    ask(&mut s, &["tag", "--delete", "good"]);
    ask(&mut s, &["journal", "verify"]);
    ask(&mut s, &["journal", "export", "all.journal"]);
    ask(&mut s, &["journal", "import", "all.journal"]);
    ask(
        &mut s,
        &["journal", "import", "all.journal", "--store", "new.db"],
    );
    ask(&mut s, &["journal", "prune", "2"]);
}
