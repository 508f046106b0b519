//! `rewire run` with virtual ports: it follows commits of other processes, answers, and ends in order.

mod openmetrics;
mod running;
mod session;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use running::{PATIENCE, Running, ask, connect};
use rustix::process::Signal;
use serde_json::{Value, json};
use session::{Session, assert_transcript};

fn session_with_candidate() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session
}

#[test]
fn a_commit_of_another_process_is_live_when_it_returns() {
    let mut s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    assert_eq!(s.rewire(&["commit", "-m", "the first network"]), 0);
    assert_eq!(s.rewire(&["status"]), 0);
    assert_eq!(s.rewire(&["rewind", "0"]), 0);
    assert_eq!(s.rewire(&["status"]), 0);
    gateway.end(Signal::TERM);
    assert_eq!(s.rewire(&["status"]), 3);
    let mut settings = s.settings();
    settings.add_filter(r"127\.0\.0\.1:\d+", "[METRICS]");
    settings.add_filter(r"up \d+ s", "up [TIME]");
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

#[test]
fn a_burst_of_commits_is_followed_one_by_one() {
    let mut s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    s.quietly(&["commit", "-m", "x", "--no-wait"]);
    for revision in 2..=9 {
        s.quietly(&[
            "rewind",
            if revision % 2 == 0 { "0" } else { "1" },
            "--no-wait",
        ]);
    }
    let mut stream = connect(&s);
    let last = ask(&mut stream, &json!({"request": "follow", "revision": 9}));
    assert_eq!(
        (&last["live"], &last["revision"]),
        (&json!(true), &json!(9)),
        "{last}"
    );
    // Each was live on its own, under its own generation, and its times are remembered.
    let mut generation = 0;
    for revision in 1..=9 {
        let live = ask(
            &mut stream,
            &json!({"request": "follow", "revision": revision}),
        );
        assert_eq!(live["revision"], revision, "{live}");
        for step in ["noticed_ns", "compile_ns", "publish_ns", "live_ns"] {
            assert!(live["steps"][step].is_u64(), "{step}: {live}");
        }
        assert!(live["generation"].as_u64() > Some(generation), "{live}");
        generation = live["generation"].as_u64().unwrap();
    }
    let status = ask(&mut stream, &json!({"request": "status"}));
    assert_eq!(
        status["interfaces"].as_array().map(Vec::len),
        Some(3),
        "{status}"
    );
    drop(gateway);
}

#[test]
fn who_waits_for_a_revision_is_told_when_it_is_there() {
    let mut s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    let mut early = connect(&s);
    let late = ask(
        &mut early,
        &json!({"request": "follow", "revision": 1, "timeout_ms": 1}),
    );
    assert_eq!(late["live"], false);
    assert_eq!(late["late"], "noticed");
    assert_eq!(
        late["error"],
        "the store has no revision 1: its last one is 0"
    );

    early
        .write_all(b"{\"request\":\"follow\",\"revision\":1}\n")
        .unwrap();
    let mut never = connect(&s);
    never
        .write_all(b"{\"request\":\"follow\",\"revision\":2}\n")
        .unwrap();
    // One that goes away again keeps nobody.
    let mut impatient = connect(&s);
    impatient
        .write_all(b"{\"request\":\"follow\",\"revision\":2}\n")
        .unwrap();
    drop(impatient);
    // Committed by a process that does not kick: the store is polled.
    s.quietly(&["commit", "-m", "x", "--no-wait"]);
    let live = running::answer(&mut early);
    assert_eq!(
        (&live["revision"], &live["live"], &live["workers"]),
        (&json!(1), &json!(true), &json!(2))
    );
    gateway.end(Signal::TERM);
    let stopping = running::answer(&mut never);
    assert_eq!(stopping["error"], "the gateway is stopping", "{stopping}");
}

#[test]
fn what_was_committed_without_a_gateway_is_live_from_the_start() {
    let mut s = Session::with_one_revision();
    let gateway = Running::start(&s, &[]);
    let status = status(&s);
    assert_eq!(
        (&status["revision"], &status["head"]),
        (&json!(1), &json!(1)),
        "{status}"
    );
    let names = status["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["name"].clone());
    assert_eq!(names.collect::<Vec<_>>(), ["blue0", "red0", "wan0"]);
    gateway.end(Signal::INT);
    s.quietly(&["rewind", "0"]);
    let gateway = Running::start(&s, &["--workers", "1"]);
    let status = self::status(&s);
    assert_eq!(
        (&status["revision"], &status["workers"]),
        (&json!(2), &json!(1)),
        "{status}"
    );
    assert_eq!(status["interfaces"], json!([]));
    drop(gateway);
}

fn status(session: &Session) -> Value {
    ask(&mut connect(session), &json!({"request": "status"}))
}

#[test]
fn the_socket_is_its_owners_and_goes_with_the_gateway() {
    let s = session_with_candidate();
    for signal in [Signal::TERM, Signal::INT] {
        let gateway = Running::start(&s, &[]);
        let socket = fs::symlink_metadata(s.path("rewire.db.sock")).unwrap();
        assert!(socket.file_type().is_socket());
        assert_eq!(socket.permissions().mode() & 0o777, 0o600);
        gateway.end(signal);
        assert!(!s.path("rewire.db.sock").exists());
    }
    let left: Vec<_> = fs::read_dir(s.path(""))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains("sock")),
        "{left:?}"
    );
}

#[test]
fn a_gateway_that_was_killed_is_no_obstacle() {
    let s = session_with_candidate();
    Running::start(&s, &[]).kill();
    assert!(
        s.path("rewire.db.sock").exists(),
        "killed: nobody took it away"
    );
    let mut gateway = Running::start(&s, &[]);
    gateway.has_logged("replacing the socket that a gateway has left behind");
    assert_eq!(status(&s)["revision"], 0);
    gateway.end(Signal::TERM);
}

#[test]
fn there_is_one_gateway_a_store_and_one_a_socket() {
    let mut s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    assert_eq!(
        s.rewire(&["run", "--virtual", "--metrics", "off", "--log", "error"]),
        3
    );
    assert_eq!(
        s.rewire(&[
            "run",
            "--virtual",
            "--metrics",
            "off",
            "--log",
            "error",
            "--socket",
            "other.sock"
        ]),
        3
    );
    s.quietly(&["init", "other.db"]);
    let other = [
        "run",
        "--virtual",
        "--metrics",
        "off",
        "--log",
        "error",
        "--store",
        "other.db",
        "--socket",
    ];
    assert_eq!(s.rewire(&[&other[..], &["rewire.db.sock"]].concat()), 3);
    assert_eq!(s.rewire(&[&other[..], &["net.yaml"]].concat()), 1);
    assert_eq!(
        s.rewire(&[&other[..], &["no/such/folder.sock"]].concat()),
        1
    );
    // It still answers, and what was in the way is as it was.
    assert_eq!(status(&s)["revision"], 0);
    s.quietly(&["check", "net.yaml"]);
    gateway.end(Signal::TERM);
    assert_transcript!(s);
}

#[test]
fn it_does_not_start_on_what_it_cannot_use() {
    let mut s = Session::new();
    let run = ["run", "--virtual", "--metrics", "off"];
    assert_eq!(s.rewire(&run), 3);
    s.write("rewire.db", "not a database");
    assert_eq!(s.rewire(&run), 3);
    assert_eq!(
        fs::read_to_string(s.path("rewire.db")).unwrap(),
        "not a database"
    );
    fs::remove_file(s.path("rewire.db")).unwrap();
    s.quietly(&["init"]);
    assert_eq!(
        s.rewire(&["run", "--virtual", "--metrics", "0.0.0.0:9474"]),
        2
    );
    assert_eq!(s.rewire(&["run", "--virtual", "--metrics", "here"]), 2);
    assert_eq!(
        s.rewire(&["run", "--virtual", "--metrics", "off", "--log", "a=b=c"]),
        2
    );
    assert_eq!(
        s.rewire(&["run", "--virtual", "--metrics", "off", "--workers", "0"]),
        2
    );
    assert_transcript!(s);
}

#[test]
fn what_is_no_request_is_refused_and_the_connection_goes_on() {
    let s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    let mut stream = connect(&s);
    for bad in [
        "",
        "{",
        "[]",
        "{\"request\":\"stop\"}",
        "{\"request\":\"follow\"}",
        "\u{0}\u{7f}",
    ] {
        stream.write_all(format!("{bad}\n").as_bytes()).unwrap();
        let answer = running::answer(&mut stream);
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(
            error.starts_with("the request cannot be read: "),
            "{bad}: {answer}"
        );
    }
    // Several at once, and one that comes in pieces.
    stream
        .write_all(b"{\"request\":\"status\"}\n{\"request\":\"status\"}\n{\"requ")
        .unwrap();
    assert_eq!(running::answer(&mut stream)["version"], 1);
    assert_eq!(running::answer(&mut stream)["version"], 1);
    stream.write_all(b"est\":\"status\"}\n").unwrap();
    assert_eq!(running::answer(&mut stream)["version"], 1);
    // One without end.
    stream.write_all(&vec![b' '; (64 << 10) + 1]).unwrap();
    assert_eq!(
        running::answer(&mut stream)["error"],
        "the request is longer than 65536 bytes"
    );
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "and hangs up");
    gateway.end(Signal::TERM);
}

#[test]
fn connections_are_bounded() {
    let s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    let mut open: Vec<_> = (0..64).map(|_| connect(&s)).collect();
    // Each has been taken once it answers.
    for stream in &mut open {
        ask(stream, &json!({"request": "status"}));
    }
    let refused = running::answer(&mut connect(&s));
    assert_eq!(refused["error"], "there are too many connections");
    assert_eq!(
        ask(&mut open[0], &json!({"request": "status"}))["version"],
        1
    );
    gateway.end(Signal::TERM);
}

fn scrape(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn metrics_are_well_formed_and_say_what_status_says() {
    let mut s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    s.quietly(&["commit", "-m", "x"]);
    let status = status(&s);
    let address = status["metrics"].as_str().unwrap();
    let (head, text) = scrape(address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(
        head.contains("application/openmetrics-text; version=1.0.0"),
        "{head}"
    );
    let metrics = openmetrics::read(&text);
    let value = |series: &str| metrics.get(series).copied();
    assert_eq!(value("rewire_revision"), Some(1.0));
    assert_eq!(value("rewire_store_head"), Some(1.0));
    assert_eq!(value("rewire_generation"), status["generation"].as_f64());
    assert_eq!(value("rewire_workers"), Some(2.0));
    assert_eq!(value("rewire_stuck"), Some(0.0));
    assert_eq!(value("rewire_alarm"), Some(0.0));
    for term in ["received", "generated", "transmitted", "consumed"] {
        let series = format!("rewire_{term}_packets_total");
        assert_eq!(value(&series), status["packets"][term].as_f64(), "{term}");
    }
    let drops = status["drops"].as_array().unwrap();
    assert!(
        drops.len() > 30,
        "every reason, also those of which there were none"
    );
    for drop in drops {
        let series = format!("rewire_dropped_packets_total{{reason={}}}", drop["reason"]);
        assert_eq!(value(&series), drop["packets"].as_f64(), "{series}");
    }
    for interface in status["interfaces"].as_array().unwrap() {
        let series = format!("rewire_port_open{{interface={}}}", interface["name"]);
        assert_eq!(value(&series), Some(1.0));
        for (counter, count) in interface["counters"].as_object().unwrap() {
            let series = format!(
                "rewire_interface_{counter}_total{{interface={}}}",
                interface["name"]
            );
            assert_eq!(value(&series), count.as_f64(), "{series}");
        }
    }
    for step in ["noticed", "compile", "publish", "live"] {
        let series = format!("rewire_commit_step_seconds_count{{step=\"{step}\"}}");
        assert_eq!(value(&series), Some(1.0), "one commit since the start");
    }
    // The same on the socket, and by the command: nobody counts for himself.
    let metrics = openmetrics::read(&scrape(address, "/metrics").1);
    let asked = ask(&mut connect(&s), &json!({"request": "metrics"}));
    let mut compared = 0;
    for metric in asked["metrics"].as_array().unwrap() {
        let name = metric["name"].as_str().unwrap();
        // What grows while it is looked at.
        if name.starts_with("process_") || name.contains("worker_") {
            continue;
        }
        for sample in metric["samples"].as_array().unwrap() {
            let labels: Vec<_> = sample["labels"].as_object().unwrap().iter().collect();
            let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let series = |suffix: &str| match labels.is_empty() {
                true => format!("{name}{suffix}"),
                false => format!("{name}{suffix}{{{}}}", labels.join(",")),
            };
            for (key, suffix) in [("value", ""), ("count", "_count"), ("sum", "_sum")] {
                if let Some(number) = sample.get(key) {
                    let scraped = metrics.get(&series(suffix)).copied();
                    assert_eq!(scraped, number.as_f64(), "{}", series(suffix));
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 150, "{compared}");
    assert_eq!(s.rewire(&["show", "metrics", "rewire_revision"]), 0);
    assert_eq!(s.rewire(&["show", "metrics", "no_such_metric"]), 2);
    assert_eq!(s.rewire(&["show", "metrics", "a", "b"]), 2);
    insta::assert_snapshot!(s.transcript());
    assert!(scrape(address, "/").1.contains("/metrics"));
    assert!(scrape(address, "/nothing").0.starts_with("HTTP/1.1 404 "));
    gateway.end(Signal::TERM);
}

#[test]
fn the_service_manager_is_told() {
    let s = Session::with_one_revision();
    let manager = UnixDatagram::bind(s.path("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut command = s.command(&["run", "--virtual", "--metrics", "off"]);
    command
        .env("NOTIFY_SOCKET", s.path("notify"))
        .env("WATCHDOG_USEC", "40000");
    let gateway = Running::spawn(&s, command);
    assert_eq!(hear(), "READY=1\nSTATUS=revision 1 live\n");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1\n");
    }
    gateway.end(Signal::TERM);
    let last = std::iter::from_fn(|| Some(hear())).find(|heard| heard != "WATCHDOG=1\n");
    assert_eq!(last.as_deref(), Some("STOPPING=1\nSTATUS=stopping\n"));
}

#[test]
fn a_second_signal_does_not_wait() {
    let s = session_with_candidate();
    let gateway = Running::start(&s, &[]);
    // Two of one kind may become one; two kinds do not. Whichever comes while it stops, it ends, and soon.
    gateway.signal(Signal::TERM);
    gateway.signal(Signal::INT);
    let status = gateway.finish(Duration::from_secs(5));
    assert!([Some(0), Some(130)].contains(&status.code()), "{status}");
}
