//! Every verb with bad input of each kind: what a person sees, the exit code, and that nothing changed.

mod session;

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;

use session::Session;

/// One try: the kind of bad input, the arguments, and the exit code.
type Try = (&'static str, &'static str, i32);

/// The longest text that a line takes has 255 characters. `{LONG}` stands for more in the tables.
const TOO_LONG: usize = 300;

const EDITING: &[Try] = &[
    ("nothing to do", "set", 2),
    ("wrong name", "set vcps blue", 2),
    ("wrong name", "set interfaces blue0 mtuu 9000", 2),
    ("wrong type", "set interfaces blue0 mtu large", 2),
    ("wrong type", "set interfaces blue0 mtu 20000", 2),
    ("wrong type", "set interfaces blue0 mac 02:00", 2),
    ("wrong type", "set interfaces blue0 disabled perhaps", 2),
    (
        "wrong type",
        "set vpcs blue routes 0.0.0.0/0 next_hops first via 10.0.0.1",
        2,
    ),
    (
        "impossible prefix",
        "set vpcs blue routes 10.0.0.1/8 type blackhole",
        2,
    ),
    (
        "impossible prefix",
        "set interfaces blue0 addresses 10.1.0.1/33",
        2,
    ),
    (
        "impossible range",
        "set nat pools p ranges 10.0.0.9-10.0.0.1",
        2,
    ),
    ("mark by value", "set interfaces blue0 marks mac", 2),
    ("too long", "set vpcs blue description {LONG}", 2),
    ("not there", "delete vpcs blu", 2),
    ("wrong name", "delete interfaces blue0 mtuu", 2),
    (
        "not there",
        "delete vpcs blue routes 0.0.0.0/0 next_hops 7",
        2,
    ),
    ("impossible prefix", "delete vpcs blue routes 10.0.0.1/8", 2),
    ("not there", "rename interfaces bleu0 to lan", 2),
    ("taken", "rename interfaces blue0 to red0", 2),
    ("wrong type", "rename interfaces blue0 to 'a b'", 2),
    ("no name", "rename interfaces blue0", 2),
    ("not there", "copy vpcs green to yellow", 2),
    ("taken", "copy vpcs blue to red", 2),
    ("not there", "deactivate vpcs green", 2),
    ("wrong name", "deactivate interfaces blue0 mtuu", 2),
    ("not set", "deactivate interfaces blue0 mtu", 2),
    ("required", "deactivate interfaces blue0 vpc", 2),
    ("no object", "deactivate nat", 2),
    ("not there", "activate vpcs green", 2),
    ("not set", "activate interfaces blue0 mtu", 2),
    ("not there", "annotate vpcs green 'a note'", 2),
    ("not set", "annotate interfaces blue0 mtu 'a note'", 2),
    ("nothing to note", "annotate", 2),
    ("too long", "annotate vpcs blue {LONG}", 2),
];

const DOCUMENTS: &[Try] = &[
    ("not there", "load none.yaml", 2),
    ("a folder", "load .", 2),
    ("wrong name", "load name.yaml", 2),
    ("wrong type", "load type.yaml", 2),
    ("dangling reference", "load dangling.yaml", 2),
    ("duplicate key", "load duplicate.yaml", 2),
    ("duplicate value", "load value.yaml", 2),
    ("overlapping pools", "load pools.yaml", 2),
    ("impossible prefix", "load prefix.yaml", 2),
    ("bad marks", "load marks.yaml", 2),
    ("huge", "load huge.yaml", 2),
    ("binary junk", "load junk.yaml", 2),
    ("wrong mode", "load mix name.yaml", 2),
    ("wrong name", "load merge name.yaml", 2),
    ("wrong type", "load replace type.yaml", 2),
    ("impossible prefix", "load patch prefix.yaml", 2),
    ("required is null", "load patch null.yaml", 2),
    ("bad marks", "load merge marks.yaml", 2),
    ("huge", "load merge huge.yaml", 2),
    ("wrong commands", "load set bad.set", 2),
    ("not there", "load set absent.set", 2),
    ("huge", "load set huge.yaml", 2),
    ("binary junk", "load set junk.yaml", 2),
    ("not there", "check none.yaml", 2),
    ("wrong name", "check name.yaml", 2),
    ("dangling reference", "check dangling.yaml", 2),
    ("duplicate value", "check value.yaml", 2),
    ("overlapping pools", "check pools.yaml", 2),
    ("huge", "check huge.yaml", 2),
    ("not there", "apply none.yaml", 2),
    ("wrong name", "apply name.yaml", 2),
    ("dangling reference", "apply dangling.yaml", 2),
    ("not there", "apply --watch none/at/all", 2),
    ("nothing to watch", "apply --watch -", 2),
    ("not there", "commit --load none.yaml", 2),
    ("wrong type", "commit --load type.yaml", 2),
    ("dangling reference", "commit --load dangling.yaml", 2),
    ("overlapping pools", "commit --load pools.yaml", 2),
    ("huge", "commit --load huge.yaml", 2),
    (
        "wrong name",
        "replay --document name.yaml --in blue0=in.pcap",
        2,
    ),
    ("binary junk", "replay --in blue0=junk.yaml", 2),
    ("not there", "replay --in blue0=none.pcap", 2),
    ("wrong name", "replay --out bleu0=out.pcap", 2),
];

const LOOKING: &[Try] = &[
    ("no such revision", "show 7", 2),
    ("no such tag", "show spring", 2),
    ("no such candidate", "show candidate:nobody", 1),
    ("wrong name", "show running vcps", 2),
    ("not there", "show running vpcs green", 2),
    (
        "impossible prefix",
        "show running vpcs blue routes 10.0.0.1/8",
        2,
    ),
    ("no packet", "trace nothing", 2),
    ("no packet", "bisect nothing --want forwarded", 2),
    ("nothing wanted", "bisect 'in blue0 10.1.0.5 > 10.2.0.1'", 2),
    (
        "wrong want",
        "bisect 'in blue0 10.1.0.5 > 10.2.0.1' --want lost",
        2,
    ),
    (
        "wrong want",
        "bisect 'in blue0 10.1.0.5 > 10.2.0.1' --want 'out wan0 via nowhere'",
        2,
    ),
    (
        "no such revision",
        "bisect 'in blue0 10.1.0.5 > 10.2.0.1' --want forwarded --good 99",
        2,
    ),
    ("too many words", "show probes out", 2),
    (
        "packet of an interface that is not there",
        "trace in nowhere 10.0.0.1 > 10.0.0.2",
        2,
    ),
    ("no capture", "trace --pcap none.pcap", 2),
    ("nothing to capture at", "capture", 2),
    ("no folder to record into", "record", 2),
    ("a sample that is none", "record -o r --sample 3", 2),
    ("no gateway to record", "record -o r", 3),
    ("no gateway to capture at", "capture --at lan", 3),
    ("wrong form", "show --format xml", 2),
    ("for connections alone", "show running --port 80", 2),
    ("no prefix", "show connections --address blue", 2),
    ("too much", "show connections blue", 2),
    ("no gateway", "show connections", 3),
    ("all of them, and nobody to ask", "clear connections", 2),
    ("no gateway", "clear connections --all", 3),
    ("not that", "clear routes", 2),
    ("no such revision", "diff 1 7", 2),
    ("wrong name", "diff 0 1 vcps", 2),
    ("no such candidate", "diff candidate:nobody running", 1),
    ("wrong type", "log -n many", 2),
    ("wrong name", "log vcps", 2),
    ("wrong name", "blame vcps", 2),
    ("not there", "blame vpcs green", 2),
    ("wrong name", "schema --format pictures", 2),
    ("wrong name", "completions tcsh", 2),
    ("not there", "man nowhere", 1),
    ("wrong name", "help comit", 2),
    ("too many words", "candidates ada", 2),
    ("too many words", "tags first", 2),
    ("no gateway", "status", 3),
    ("no terminal", "top", 2),
    ("no gateway", "watch", 3),
    ("nothing to watch", "watch colours", 2),
    ("not there", "status --store none.db", 3),
    ("not there", "explain route green 10.0.0.1", 2),
    ("impossible prefix", "explain route blue 10.0.0.1/8", 2),
    ("not there", "explain interface bleu0", 2),
    ("wrong type", "explain acl guard ten", 2),
    ("not there", "explain acl guard", 2),
];

const COMMITTING: &[Try] = &[
    ("refused", "check", 2),
    ("refused", "commit", 2),
    ("no such time", "commit --at yesterday", 2),
    ("no such time", "commit --confirm soon", 2),
    ("no such candidate", "commit --candidate nobody", 1),
    ("wrong name", "commit --candidate 'not a name'", 2),
    ("nothing waits", "confirm", 1),
    ("no such candidate", "update --candidate nobody", 1),
    ("no such candidate", "discard --candidate nobody", 1),
    ("not there", "scheduled --cancel 7", 2),
    ("wrong type", "scheduled --cancel first", 2),
    ("no such process", "lock --pid 4194305", 2),
    ("too many words", "unlock ada", 2),
];

const HISTORY: &[Try] = &[
    ("no such revision", "rollback 7", 2),
    ("wrong type", "rollback nine", 2),
    ("no such revision", "rewind 7", 2),
    ("a candidate", "rewind candidate", 2),
    ("no such revision", "revert 7", 2),
    ("wrong type", "revert first-of-all", 2),
    ("taken", "tag first", 1),
    ("a number", "tag 12", 2),
    ("no such revision", "tag second 7", 2),
    ("not there", "tag second --delete", 2),
    ("too many words", "journal verify all", 2),
    ("taken", "journal export net.yaml", 1),
    ("not writable", "journal export none/rewire.journal", 1),
    ("not there", "journal import none.journal", 2),
    ("binary junk", "journal import junk.yaml", 2),
    ("huge", "journal import huge.yaml", 2),
    ("a document", "journal import net.yaml", 2),
    ("no such revision", "journal prune 7", 2),
    ("still needed", "journal prune 1", 2),
];

const STORES: &[Try] = &[
    ("taken", "init", 1),
    ("no folder", "init none/rewire.db", 3),
    ("not there", "run --virtual --store none.db", 3),
    ("binary junk", "run --virtual --store junk.yaml", 3),
    ("wrong type", "run --workers many", 2),
    ("wrong type", "run --metrics everywhere", 2),
    ("not there", "edit --store none.db", 3),
    ("binary junk", "load net.yaml --store junk.yaml", 3),
    ("binary junk", "set vpcs blue --store junk.yaml", 3),
    ("binary junk", "commit --store junk.yaml", 3),
    ("binary junk", "rewind 1 --store junk.yaml", 3),
    ("binary junk", "journal verify --store junk.yaml", 3),
    ("a folder", "show --store .", 3),
    ("a folder", "tag second --store .", 3),
    ("empty file", "show --store empty.db", 3),
    ("cut short", "show --store cut.db", 3),
    ("cut short", "journal verify --store cut.db", 3),
];

/// A store with a revision that has a tag, and a candidate that the check refuses; and documents of every bad kind.
fn session() -> Session {
    let mut session = Session::with_one_revision();
    session.quietly(&["tag", "first", "1"]);
    session.quietly(&["set", "interfaces", "blue0", "vpc", "green"]);
    let documents: &[(&str, &str)] = &[
        ("name.yaml", "vpcs:\n  blue:\n    descripton: x\n"),
        (
            "type.yaml",
            "interfaces:\n  blue0:\n    vpc: [blue]\n    mtu: 1500.5\n    disabled: yes\n",
        ),
        (
            "dangling.yaml",
            "vpcs:\n  blue:\n    routes:\n      0.0.0.0/0: {next_hops: [{interface: wan}]}\n",
        ),
        ("duplicate.yaml", "vpcs:\n  blue: {}\n  blue: {}\n"),
        (
            "value.yaml",
            "vpcs: {blue: {}}\ninterfaces:\n  a: {vpc: blue, port: \"null:x\", mac: 02:00:00:00:00:01}\n  \
             b: {vpc: blue, port: \"null:x\", mac: 02:00:00:00:00:02}\n",
        ),
        (
            "pools.yaml",
            "vpcs: {out: {}}\nnat:\n  pools:\n    one: {vpc: out, ranges: [192.0.2.1-192.0.2.9]}\n    \
             two: {vpc: out, ranges: [192.0.2.8-192.0.2.20]}\n",
        ),
        (
            "prefix.yaml",
            "vpcs:\n  blue:\n    routes:\n      10.0.0.1/8: {type: blackhole}\n      10.0.0.0/33: {type: blackhole}\n",
        ),
        (
            "marks.yaml",
            "interfaces:\n  blue0:\n    vpc: blue\n    port: null:x\n    mac: 02:00:00:00:00:01\n    marks:\n      \
             vpc: {deactivated: true}\n      mtu: {annotation: why}\n      mat: {annotation: why}\n      mac: gone\n      \
             port: {deactivatd: true}\n",
        ),
        ("null.yaml", "interfaces: {blue0: {vpc: null}}\n"),
        (
            "bad.set",
            "set vpcs yellow\ndelete vpcs\nset vpcs blue descripton x\n",
        ),
        ("absent.set", "set vpcs yellow\ndelete vpcs gren\n"),
        ("empty.db", ""),
    ];
    for (name, text) in documents {
        session.write(name, text);
    }
    let junk: Vec<u8> = (0..=255).cycle().take(5000).collect();
    std::fs::write(session.path("junk.yaml"), junk).unwrap();
    // A hole of more bytes than are taken: no disk is filled by it.
    let huge = std::fs::File::create(session.path("huge.yaml")).unwrap();
    huge.set_len((256 << 20) + 1).unwrap();
    let store = std::fs::read(session.path("rewire.db")).unwrap();
    std::fs::write(session.path("cut.db"), &store[..store.len() / 2]).unwrap();
    session
}

/// All that a store holds, and the names of the files beside it.
fn contents(session: &Session) -> String {
    let mut out = String::new();
    let path = session.path("rewire.db");
    let store =
        rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let names = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut names = store.prepare(names).unwrap();
    let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap();
    for name in names.map(Result::unwrap) {
        let mut rows = store.prepare(&format!("SELECT * FROM {name}")).unwrap();
        let columns = rows.column_count();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let values =
                (0..columns).map(|index| row.get::<_, rusqlite::types::Value>(index).unwrap());
            writeln!(out, "{name} {:?}", values.collect::<Vec<_>>()).unwrap();
        }
    }
    let entries = std::fs::read_dir(session.path("")).unwrap();
    let mut files: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // SQLite's own, which come and go.
    files.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    files.sort();
    writeln!(out, "{files:?}").unwrap();
    out
}

/// Goes through a table; what is seen becomes a snapshot.
fn go_through(name: &str, tries: &[Try]) {
    let mut session = session();
    let mut seen = String::new();
    let before = contents(&session);
    let long = "x".repeat(TOO_LONG);
    for (kind, line, code) in tries {
        let words = rewire_schema::edit::words::split(line).unwrap();
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.text.replace("{LONG}", &long))
            .collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let from = session.transcript().len();
        let found = session.rewire(&words);
        let transcript = session.transcript()[from..].replace(&long, "{LONG}");
        assert_eq!(found, *code, "{kind}: {transcript}");
        assert!(!transcript.contains("panicked"), "{transcript}");
        assert!(
            contents(&session) == before,
            "{transcript} changed something"
        );
        writeln!(seen, "# {kind}\n{transcript}").unwrap();
    }
    session
        .settings()
        .bind(|| insta::assert_snapshot!(format!("bad_{name}"), seen));
}

#[test]
fn the_verbs_of_editing_refuse_what_is_wrong() {
    go_through("edits", EDITING);
}

#[test]
fn bad_documents_are_refused_by_every_verb_that_takes_one() {
    go_through("documents", DOCUMENTS);
}

#[test]
fn what_is_not_there_cannot_be_looked_at() {
    go_through("looks", LOOKING);
}

#[test]
fn what_the_check_refuses_is_not_committed() {
    go_through("commits", COMMITTING);
}

#[test]
fn history_is_not_bent() {
    go_through("history", HISTORY);
}

#[test]
fn what_is_no_store_is_not_used() {
    go_through("stores", STORES);
}

/// A new verb has its bad input, too.
#[test]
fn every_verb_is_tried() {
    let session = Session::new();
    let help = session.command(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let verbs = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    let tables = [EDITING, DOCUMENTS, LOOKING, COMMITTING, HISTORY, STORES].concat();
    let mut count = 0;
    for verb in verbs {
        let tried = tables
            .iter()
            .any(|(_, line, _)| line.split(' ').next() == Some(verb));
        assert!(tried, "no bad input for {verb}");
        count += 1;
    }
    assert!(count > 30, "{count}");
}

/// A candidate on an old revision meets what others made of the same field.
#[test]
fn a_stale_candidate_is_refused_with_all_three_sides() {
    let mut session = Session::with_one_revision();
    session.quietly(&["set", "interfaces", "blue0", "mtu", "9000"]);
    session.quietly(&["annotate", "interfaces", "blue0", "mac", "the old card"]);
    session.quietly(&[
        "--candidate",
        "bob",
        "set",
        "interfaces",
        "blue0",
        "mtu",
        "1400",
    ]);
    session.quietly(&[
        "--candidate",
        "bob",
        "annotate",
        "interfaces",
        "blue0",
        "mac",
        "the new card",
    ]);
    session.quietly(&["--candidate", "bob", "commit", "--no-wait"]);
    let before = contents(&session);
    for line in ["commit", "commit --no-merge", "check", "update"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(session.rewire(&words), 5, "{line}");
        assert!(contents(&session) == before, "{line} changed something");
    }
    session
        .settings()
        .bind(|| insta::assert_snapshot!(session.transcript()));
}

/// SQLite keeps a log beside the store, also for those who only read.
#[test]
fn a_store_that_cannot_be_written_to_says_so() {
    let mut session = Session::with_one_revision();
    session.quietly(&["set", "vpcs", "blue", "description", "x"]);
    let before = contents(&session);
    // Nothing is left to be done when it is opened.
    let store = rusqlite::Connection::open(session.path("rewire.db")).unwrap();
    store
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    drop(store);
    let mode = |name: &str, mode| {
        std::fs::set_permissions(session.path(name), std::fs::Permissions::from_mode(mode))
            .unwrap();
    };
    mode("rewire.db", 0o444);
    mode("", 0o555);
    let root = rustix::process::geteuid().is_root();
    let mut seen = String::new();
    for line in [
        "log",
        "show running vpcs blue",
        "set vpcs blue description y",
        "load net.yaml",
        "commit",
        "rewind 0",
        "discard",
        "tag second",
        "lock",
        "journal prune 1",
        "journal export out.journal",
        "init new.db",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = session.command(&words);
        if root {
            // Root writes anywhere: nobody does it.
            command.uid(65534).gid(65534);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let code = output.status.code().unwrap();
        assert_ne!(code, 0, "{line}");
        let said: String = said.lines().map(|line| format!("! {line}\n")).collect();
        writeln!(seen, "$ rewire {line}\n{said}[exit {code}]\n").unwrap();
    }
    mode("", 0o755);
    mode("rewire.db", 0o644);
    assert!(contents(&session) == before);
    session.settings().bind(|| insta::assert_snapshot!(seen));
}

/// Arguments are bytes; what is no text is refused, or is the name of a file.
#[test]
fn arguments_that_are_no_text_are_refused() {
    let session = Session::with_one_revision();
    let before = contents(&session);
    let bad = std::ffi::OsStr::from_bytes(b"caf\xe9");
    let mut seen = String::new();
    for verb in [
        &["set", "vpcs"][..],
        &["load"],
        &["check"],
        &["commit", "-m"],
        &["show"],
        &["log", "--store"],
    ] {
        let output = session.command(verb).arg(bad).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap();
        assert_ne!(code, 0, "{verb:?}");
        let said: String = said.lines().map(|line| format!("! {line}\n")).collect();
        writeln!(
            seen,
            "$ rewire {} caf\\xe9\n{said}[exit {code}]\n",
            verb.join(" ")
        )
        .unwrap();
    }
    assert!(contents(&session) == before);
    session.settings().bind(|| insta::assert_snapshot!(seen));
}

/// The shell takes commands from a pipe, up to the first that fails.
#[test]
fn a_script_of_the_shell_ends_at_what_is_wrong() {
    let mut session = session();
    let before = contents(&session);
    for script in [
        "sett vpcs blue\n",
        "edit vpcs green\nedit vcps\n",
        "delete vpcs gren\nset vpcs yellow\n",
        "show | matches blue\n",
        "set vpcs 'blue\n",
        "\u{0}\u{1}\u{2}\n",
    ] {
        assert_ne!(session.rewire_with_input(&["edit"], script), 0, "{script}");
        assert!(contents(&session) == before, "{script}");
    }
    session
        .settings()
        .bind(|| insta::assert_snapshot!(session.transcript()));
}
