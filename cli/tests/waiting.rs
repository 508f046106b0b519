//! `commit` and `rewind` beside a gateway: a socket that answers as one would.

mod session;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use session::{Session, assert_transcript};

/// Runs `action` beside a gateway that answers one request with `answer`, then hangs up. Without an answer it waits
/// until the other side hangs up. Gives back the request.
fn beside_gateway(socket: &Path, answer: Option<&str>, action: impl FnOnce()) -> String {
    let listener = UnixListener::bind(socket).unwrap();
    thread::scope(|scope| {
        let gateway = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            match answer {
                Some(answer) => reader.get_mut().write_all(answer.as_bytes()).unwrap(),
                None => assert_eq!(reader.read_to_end(&mut Vec::new()).unwrap(), 0),
            }
            request
        });
        action();
        gateway.join().unwrap()
    })
}

fn session_with_candidate() -> Session {
    let mut s = Session::new();
    s.example("net.yaml");
    s.quietly(&["init"]);
    s.quietly(&["load", "net.yaml"]);
    s
}

const LIVE: &str = r#"{"revision":1,"live":true,"generation":9,"steps":{"noticed_ns":100000,"compile_ns":300000,"publish_ns":20000,"live_ns":200000},"workers":2}"#;

#[test]
fn a_commit_says_what_became_of_connections() {
    for (connections, line) in [
        ("null", None),
        (r#"{"kept":0,"ended":0,"left":0}"#, None),
        (
            r#"{"kept":12,"ended":0,"left":0}"#,
            Some("connections: 12 still allowed, 0 ended"),
        ),
        (
            r#"{"kept":1234567,"ended":1,"left":400}"#,
            Some("connections: 1234567 still allowed, 1 ended, up to 400 not looked at yet"),
        ),
    ] {
        let mut s = session_with_candidate();
        let socket = s.path("rewire.db.sock");
        let steps = LIVE.strip_suffix('}').unwrap();
        let answer = format!(r#"{steps},"connections":{connections}}}"#);
        beside_gateway(&socket, Some(&format!("{answer}\n")), || {
            assert_eq!(s.rewire(&["commit", "-m", "x"]), 0);
        });
        let transcript = s.transcript();
        let said = transcript
            .lines()
            .find(|said| said.starts_with("connections"));
        assert_eq!(said, line);
    }
}

/// A request to follow a revision, which also says where the command's own time went.
fn assert_follows(request: &str, revision: u64) {
    let mut request: serde_json::Value = serde_json::from_str(request).unwrap();
    let command = request["command"].take();
    assert!(command["durable_ns"].as_u64() > Some(0), "{command}");
    assert_eq!(command["entry_trace"].as_str().map(str::len), Some(32));
    let expected = serde_json::json!({
        "request": "follow", "revision": revision, "timeout_ms": 10000, "command": null,
    });
    assert_eq!(request, expected);
}

#[test]
fn a_commit_waits_until_the_gateway_is_live() {
    let mut s = session_with_candidate();
    let socket = s.path("rewire.db.sock");
    let request = beside_gateway(&socket, Some(&format!("{LIVE}\n")), || {
        assert_eq!(s.rewire(&["commit", "-m", "x"]), 0);
    });
    assert_follows(&request, 1);
    // The times of the gateway's steps are those of its answer; only the commit's own differ from run to run.
    assert!(
        s.transcript()
            .contains("noticed 0.1 ms · compile 0.3 ms · publish 0.0 ms · live 0.2 ms")
    );
    assert_transcript!(s);
}

/// A gateway of before the field refuses it, and is asked again without.
#[test]
fn a_commit_waits_for_a_gateway_that_is_older() {
    let mut s = session_with_candidate();
    let listener = UnixListener::bind(s.path("rewire.db.sock")).unwrap();
    let requests = thread::scope(|scope| {
        let gateway = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let refusal = r#"{"error":"the request cannot be read: unknown field `command`, expected `revision` or `timeout_ms`"}"#;
            [refusal, LIVE].map(|answer| {
                let mut request = String::new();
                reader.read_line(&mut request).unwrap();
                writeln!(reader.get_mut(), "{answer}").unwrap();
                request
            })
        });
        assert_eq!(s.rewire(&["commit", "-m", "x"]), 0);
        gateway.join().unwrap()
    });
    assert_follows(&requests[0], 1);
    let again: serde_json::Value = serde_json::from_str(&requests[1]).unwrap();
    assert_eq!(
        again,
        serde_json::json!({ "request": "follow", "revision": 1, "timeout_ms": 10000 })
    );
    let said = s.transcript();
    assert!(said.contains("revision 1 live"), "{said}");
    assert!(said.contains("older than this program"), "{said}");
}

#[test]
fn a_rewind_waits_too_and_the_socket_can_be_named() {
    let mut s = Session::with_one_revision();
    let socket = s.path("elsewhere");
    let answer = LIVE.replace("\"revision\":1", "\"revision\":2");
    let request = beside_gateway(&socket, Some(&format!("{answer}\n")), || {
        assert_eq!(s.rewire(&["rewind", "0", "--socket", "elsewhere"]), 0);
    });
    assert_follows(&request, 2);
    assert_transcript!(s);
}

#[test]
fn a_port_that_is_not_open_is_said() {
    let mut s = session_with_candidate();
    let socket = s.path("rewire.db.sock");
    let closed = r#""closed_ports":[{"interface":"wan0","port":"af_packet:eth9","problem":"no interface named eth9"}]}"#;
    let answer = LIVE.replace("\"workers\":2}", &format!("\"workers\":2,{closed}"));
    beside_gateway(&socket, Some(&format!("{answer}\n")), || {
        assert_eq!(s.rewire(&["commit", "-m", "x"]), 0);
    });
    assert!(s.transcript().contains(
        "warning: interface wan0: port af_packet:eth9 is not open: no interface named eth9"
    ));
}

#[test]
fn without_a_gateway_there_is_nothing_to_wait_for() {
    let mut s = session_with_candidate();
    // What a gateway leaves behind that was killed: a socket that nobody listens on.
    drop(UnixListener::bind(s.path("rewire.db.sock")).unwrap());
    assert_eq!(s.rewire(&["commit", "-m", "x"]), 0);
    assert_eq!(s.rewire(&["rewind", "0", "--no-wait"]), 0);
    assert_transcript!(s);
}

#[test]
fn a_gateway_that_is_not_live_in_time_is_exit_code_4() {
    let answers = [
        None,
        Some(""),
        Some("{\"revision\":1,\"live\":tr"),
        Some("[]\n"),
        Some("{\"error\":\"the tables do not compile: no memory\"}\n"),
        Some(
            "{\"revision\":1,\"live\":false,\"steps\":{\"noticed_ns\":100000,\"compile_ns\":300000}}\n",
        ),
    ];
    let mut s = Session::new();
    s.example("net.yaml");
    for (index, answer) in answers.into_iter().enumerate() {
        let store = format!("{index}.db");
        s.quietly(&["init", &store]);
        s.quietly(&["load", "net.yaml", "--store", &store]);
        let socket = s.path(&format!("{store}.sock"));
        beside_gateway(&socket, answer, || {
            let args = ["commit", "-m", "x", "--timeout", "0.2", "--store", &store];
            assert_eq!(s.rewire(&args), 4);
        });
    }
    assert_transcript!(s);
}

#[test]
fn who_insists_on_waiting_is_told_that_nobody_is_there() {
    let mut s = session_with_candidate();
    assert_eq!(s.rewire(&["commit", "-m", "x", "--wait"]), 4);
    assert_eq!(s.rewire(&["commit", "-m", "x", "--wait", "--no-wait"]), 2);
    assert_transcript!(s);
}
