//! `rewire apply`: documents of a directory as one configuration, and a directory that is kept applied. The kernel says what
//! changes, and each test waits for what comes of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

mod session;
use session::{Session, assert_transcript};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

const VPCS: &str = "vpcs:\n  inside: {}\n  outside: {}\n";

fn lan(mtu: u16) -> String {
    format!(
        "interfaces:\n  lan: {{vpc: inside, port: 'null:lan', mac: '02:00:00:00:00:01', mtu: {mtu}}}\n"
    )
}

fn with_directory() -> Session {
    let mut session = Session::new();
    session.quietly(&["init"]);
    fs::create_dir(session.path("conf")).unwrap();
    session.write("conf/vpcs.yaml", VPCS);
    session
}

/// A `rewire apply --watch` that says each of its states on a line. It is killed when this is dropped.
struct Watching {
    child: Child,
    lines: Receiver<Value>,
}

impl Watching {
    fn start(session: &Session, args: &[&str]) -> Watching {
        let all = [
            &[
                "apply",
                "--watch",
                "conf",
                "--json",
                "--quiet-time",
                "20",
                "--no-wait",
            ],
            args,
        ]
        .concat();
        let mut command = session.command(&all);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let mut values = lines.map_while(|line| serde_json::from_str(&line).ok());
            values.try_for_each(|value: Value| sender.send(value))
        });
        Watching { child, lines }
    }

    /// Waits until it stands as asked for; what it said then.
    #[track_caller]
    fn until(&self, what: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if what(&line) => return line,
                Ok(line) => seen.push(line.to_string()),
                Err(error) => panic!("{error} after\n{}", seen.join("\n")),
            }
        }
    }

    #[track_caller]
    fn until_state(&self, state: &str, revision: u64) -> Value {
        self.until(|line| line["state"] == state && line["revision"] == revision)
    }

    #[track_caller]
    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.until(|line| line["state"] == "stopped");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(session: &Session) -> Value {
    serde_json::from_slice(&fs::read(session.path("rewire.db.apply.json")).unwrap()).unwrap()
}

#[test]
fn documents_are_one_configuration() {
    let mut session = with_directory();
    session.write("conf/lan.yaml", &lan(1500));
    assert_eq!(
        session.rewire(&["apply", "conf", "-m", "the first", "--no-wait"]),
        0
    );
    assert_eq!(session.rewire(&["apply", "conf"]), 0);
    assert_eq!(session.rewire(&["log"]), 0);
    session.write("conf/wan.yaml", &lan(9000));
    assert_eq!(session.rewire(&["apply", "conf"]), 2);
    session.write(
        "conf/wan.yaml",
        "interfaces:\n  wan: {vpc: outsid, port: 'null:wan', mac: '02:00:00:00:00:02'}\n",
    );
    assert_eq!(session.rewire(&["apply", "conf"]), 2);
    assert_eq!(session.rewire(&["--json", "apply", "conf"]), 2);
    session.quietly(&["diff", "1", "running"]);
    assert_transcript!(session);
}

#[test]
fn a_directory_is_kept_applied() {
    let session = with_directory();
    let watching = Watching::start(&session, &["-m", "from conf"]);
    let first = watching.until_state("applied", 1);
    assert_eq!(first["applied"]["revision"], 1);
    // One commit for several documents that come together.
    session.write("conf/lan.yaml", &lan(1500));
    session.write(
        "conf/pool.yaml",
        "nat: {pools: {outside: {vpc: outside, ranges: [192.0.2.1-192.0.2.9]}}}\n",
    );
    watching.until_state("applied", 2);
    // Whoever writes a file beside it and renames it.
    session.write("conf/.lan.yaml.new", &lan(9000));
    fs::rename(
        session.path("conf/.lan.yaml.new"),
        session.path("conf/lan.yaml"),
    )
    .unwrap();
    watching.until_state("applied", 3);
    fs::remove_file(session.path("conf/pool.yaml")).unwrap();
    fs::create_dir(session.path("conf/more")).unwrap();
    session.write(
        "conf/more/pool.json",
        "{\"nat\": {\"pools\": {\"other\": {\"vpc\": \"outside\", \"ranges\": [\"192.0.2.1\"]}}}}",
    );
    let last = watching.until_state("applied", 4);
    let mut on_file = last.clone();
    on_file.as_object_mut().unwrap().remove("notes");
    assert_eq!(status(&session), on_file);
    watching.end();
    assert_eq!(status(&session)["state"], "stopped");
}

#[test]
fn what_is_refused_leaves_the_running_revision_alone() {
    let session = with_directory();
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    session.write(
        "conf/lan.yaml",
        "\ninterfaces:\n  lan: {vpc: insid, port: 'null:lan', mac: '02:00:00:00:00:01'}\n",
    );
    let refused = watching.until_state("refused", 1);
    let problem = &refused["error"]["problems"][0];
    assert_eq!(
        (&problem["file"], &problem["line"]),
        (&"conf/lan.yaml".into(), &3.into()),
        "{refused}"
    );
    assert_eq!(refused["applied"]["revision"], 1);
    // Another wrong state, and then a good one.
    session.write("conf/lan.yaml", "interfaces: [");
    watching.until(|line| line["state"] == "refused" && line["error"] != refused["error"]);
    session.write("conf/lan.yaml", &lan(1500));
    let good = watching.until_state("applied", 2);
    assert_eq!(good["error"], Value::Null);
    watching.end();
}

/// A document that somebody still writes to is not applied, however long they pause.
#[test]
fn half_a_document_is_not_applied() {
    let session = with_directory();
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    let mut file = fs::File::create(session.path("conf/vpcs.yaml")).unwrap();
    file.write_all(b"vpcs:\n  inside: {}\n").unwrap();
    // Longer than the quiet time: half of it would be a configuration.
    let said = watching.lines.recv_timeout(Duration::from_millis(100));
    assert!(said.is_err(), "{said:?}");
    file.write_all(b"  outside: {}\n  third: {}\n").unwrap();
    drop(file);
    let applied = watching.until_state("applied", 2);
    assert_eq!(applied["revision"], 2);
    watching.end();
    let mut session = session;
    session.rewire(&["log"]);
    assert!(
        !session.transcript().contains("revision 3"),
        "{}",
        session.transcript()
    );
}

#[test]
fn it_goes_on_after_a_restart_with_what_was_applied() {
    let mut session = with_directory();
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    watching.end();
    // Somebody adds a VPC while nobody watches, and the directory loses one.
    session.quietly(&["set", "vpcs", "theirs", "description", "theirs"]);
    session.quietly(&["commit", "--no-wait"]);
    session.write("conf/vpcs.yaml", "vpcs: {inside: {}}\n");
    let watching = Watching::start(&session, &[]);
    let applied = watching.until_state("applied", 3);
    assert_eq!(applied["others"]["inserted"], 1, "{applied}");
    watching.end();
    let mut shown = Session::new();
    std::mem::swap(&mut shown, &mut session);
    shown.rewire(&["show"]);
    assert!(
        shown.transcript().contains("theirs:") && !shown.transcript().contains("outside"),
        "{}",
        shown.transcript()
    );
}

#[test]
fn what_both_changed_is_refused_until_one_gives_way() {
    let mut session = with_directory();
    session.write("conf/lan.yaml", &lan(1500));
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    session.quietly(&["set", "interfaces", "lan", "mtu", "9000"]);
    session.quietly(&["commit", "--no-wait"]);
    watching.until(|line| line["revision"] == 2 && line["others"]["updated"] == 1);
    session.write("conf/lan.yaml", &lan(1400));
    let refused = watching.until_state("refused", 2);
    assert_eq!(refused["error"]["code"], "conflict", "{refused}");
    session.write("conf/lan.yaml", &lan(9000));
    let applied = watching.until_state("applied", 2);
    assert_eq!(applied["others"]["updated"], 0);
    watching.end();
}

#[test]
fn enforced_it_takes_back_what_others_commit() {
    let mut session = with_directory();
    let watching = Watching::start(&session, &["--enforce"]);
    watching.until_state("applied", 1);
    session.quietly(&["set", "vpcs", "theirs", "description", "theirs"]);
    session.quietly(&["commit", "--no-wait"]);
    watching.until_state("applied", 3);
    watching.end();
    assert_eq!(session.rewire(&["diff", "1", "running"]), 0);
    assert!(
        !session.transcript().contains("theirs"),
        "{}",
        session.transcript()
    );
}

#[test]
fn a_lock_and_a_confirmation_are_waited_for() {
    let mut session = with_directory();
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    session.quietly(&["set", "vpcs", "theirs", "description", "theirs"]);
    session.quietly(&["commit", "--no-wait", "--confirm", "10m"]);
    session.write("conf/lan.yaml", &lan(1500));
    let waiting = watching.until_state("waiting", 2);
    assert!(
        waiting["error"]["message"]
            .as_str()
            .unwrap()
            .contains("waits for its confirmation"),
        "{waiting}"
    );
    session.quietly(&["confirm"]);
    watching.until_state("applied", 3);
    // A lock that is another process's.
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .spawn()
        .unwrap();
    session.quietly(&["lock", "--pid", &other.id().to_string()]);
    session.write("conf/lan.yaml", &lan(9000));
    let waiting = watching.until_state("waiting", 3);
    assert_eq!(waiting["error"]["code"], "locked", "{waiting}");
    other.kill().unwrap();
    other.wait().unwrap();
    watching.until_state("applied", 4);
    watching.end();
}

/// What the directory says runs on probation, until somebody confirms it.
#[test]
fn a_directory_whose_commits_must_be_confirmed() {
    let mut session = with_directory();
    let watching = Watching::start(&session, &["--confirm", "10m"]);
    let waiting = watching.until_state("confirming", 1);
    assert_eq!(waiting["confirm"]["revision"], 1, "{waiting}");
    assert_eq!(waiting["applied"], Value::Null);
    session.quietly(&["confirm"]);
    let applied = watching.until_state("applied", 1);
    assert_eq!(
        (&applied["confirm"], &applied["applied"]["revision"]),
        (&Value::Null, &1.into())
    );
    // Another state before the one before was confirmed: both would be gone back from.
    session.write("conf/lan.yaml", &lan(1500));
    watching.until_state("confirming", 2);
    session.write("conf/lan.yaml", &lan(9000));
    let waiting = watching.until_state("confirming", 3);
    assert_eq!(waiting["confirm"]["back_to"], 1, "{waiting}");
    // Back to what was confirmed is a change like any other.
    fs::remove_file(session.path("conf/lan.yaml")).unwrap();
    watching.until_state("confirming", 4);
    session.quietly(&["confirm"]);
    let applied = watching.until_state("applied", 4);
    assert_eq!(applied["others"]["inserted"], 0, "{applied}");
    // Who takes the directory over in the middle goes on with it.
    session.write("conf/lan.yaml", &lan(1500));
    watching.until_state("confirming", 5);
    watching.end();
    let watching = Watching::start(&session, &["--confirm", "10m"]);
    watching.until_state("confirming", 5);
    session.quietly(&["confirm"]);
    watching.until_state("applied", 5);
    watching.end();
}

/// What nobody confirms is gone back from, and not tried again until the documents are others.
#[test]
fn a_directory_that_is_gone_back_from_is_refused() {
    let mut session = with_directory();
    session.quietly(&["apply", "conf", "--no-wait"]);
    let watching = Watching::start(&session, &["--confirm", "1s"]);
    watching.until_state("applied", 1);
    session.write("conf/lan.yaml", &lan(1500));
    watching.until_state("confirming", 2);
    let refused = watching.until_state("refused", 3);
    assert_eq!(refused["error"]["code"], "not_confirmed", "{refused}");
    assert_eq!(
        (&refused["error"]["revision"], &refused["error"]["back_to"]),
        (&2.into(), &1.into())
    );
    // What others commit is no reason to try it again.
    session.quietly(&["set", "vpcs", "theirs", "description", "theirs"]);
    session.quietly(&["commit", "--no-wait"]);
    watching.until_state("refused", 4);
    watching.end();
    session.quietly(&["rewind", "3", "--no-wait"]);
    session.write("conf/lan.yaml", &lan(9000));
    let watching = Watching::start(&session, &["--confirm", "1s"]);
    watching.until_state("confirming", 6);
    watching.until_state("refused", 7);
    watching.end();
    // Nor is another start.
    let watching = Watching::start(&session, &["--confirm", "10m"]);
    let refused = watching.until_state("refused", 7);
    assert_eq!(refused["error"]["code"], "not_confirmed", "{refused}");
    // Other documents are.
    session.write("conf/lan.yaml", &lan(1400));
    watching.until_state("confirming", 8);
    session.quietly(&["confirm"]);
    watching.until_state("applied", 8);
    watching.end();
}

/// Probes ask a gateway, and there must be some.
#[test]
fn a_directory_without_probes_is_confirmed_by_nobody() {
    let session = with_directory();
    let watching = Watching::start(&session, &["--confirm", "10m", "--auto"]);
    let refused = watching.until_state("refused", 0);
    assert_eq!(refused["error"]["code"], "wrong_arguments", "{refused}");
    session.write("conf/lan.yaml", &lan(1500));
    session.write(
        "conf/probes.yaml",
        "probes: {out: {interface: lan, source: 10.1.0.5, destination: 198.51.100.7, expect: dropped}}\n",
    );
    let waiting = watching.until_state("waiting", 0);
    assert_eq!(waiting["error"]["code"], "no_gateway", "{waiting}");
    watching.end();
}

/// As volumes of configuration do it: a link to a directory that is exchanged for another at once.
#[test]
fn a_link_that_is_exchanged_is_seen() {
    let session = with_directory();
    fs::rename(session.path("conf"), session.path("one")).unwrap();
    fs::create_dir(session.path("two")).unwrap();
    session.write("two/vpcs.yaml", "vpcs: {other: {}}\n");
    let link = |to: &str| {
        std::os::unix::fs::symlink(to, session.path("new")).unwrap();
        fs::rename(session.path("new"), session.path("conf")).unwrap();
    };
    link("one");
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    link("two");
    watching.until_state("applied", 2);
    // What it leads to now is what is watched.
    session.write("two/more.yaml", "vpcs: {more: {}}\n");
    watching.until_state("applied", 3);
    fs::remove_file(session.path("conf")).unwrap();
    let gone = watching.until_state("failed", 3);
    assert_eq!(gone["error"]["code"], "unreadable_file");
    link("two");
    watching.until_state("applied", 3);
    watching.end();
}

#[test]
fn one_directory_a_store() {
    let mut session = with_directory();
    let watching = Watching::start(&session, &[]);
    watching.until_state("applied", 1);
    assert_eq!(session.rewire(&["apply", "--watch", "conf"]), 3);
    assert_eq!(
        session.rewire(&["apply", "--watch", "conf", "--status", "conf/status.json"]),
        2
    );
    watching.end();
    assert_transcript!(session);
}
