//! The web console's server: whom it answers, what, and how many.

mod running;
mod session;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use running::{PATIENCE, Running, ask, connect};
use rustix::process::Signal;
use serde_json::{Value, json};
use session::Session;

fn committed() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "the first network"]);
    session
}

fn start(session: &Session, arguments: &[&str]) -> Running {
    let run = ["run", "--virtual", "--metrics", "off"];
    Running::spawn(session, session.command(&[&run[..], arguments].concat()))
}

/// A gateway with a console, and where that is.
fn gateway(session: &Session) -> (Running, String) {
    let running = start(session, &["--console", "127.0.0.1:0"]);
    let status = ask(&mut connect(session), &json!({"request": "status"}));
    let address = status["console"].as_str().expect("an address").to_owned();
    (running, address)
}

fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends what is no more than a head, and reads until the server closes: the status code, the head and the body.
#[track_caller]
fn say(address: &str, head: &str) -> (u16, String, String) {
    let mut stream = open(address);
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or(0), head.to_owned(), body.to_owned())
}

fn get(address: &str, path: &str) -> (u16, String, String) {
    say(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
}

#[track_caller]
fn json_of(address: &str, path: &str) -> Value {
    let (code, _, body) = get(address, path);
    assert_eq!(code, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn the_console_says_what_the_socket_says() {
    let mut session = committed();
    let (gateway, address) = gateway(&session);
    let (code, head, page) = get(&address, "/");
    assert_eq!(code, 200);
    assert!(
        head.contains("Content-Security-Policy: default-src 'self'"),
        "{head}"
    );
    assert!(page.starts_with("<!doctype html>"), "{page}");

    let mut socket = connect(&session);
    let (mut here, mut there) = (
        json_of(&address, "/api/status"),
        ask(&mut socket, &json!({"request": "status"})),
    );
    for status in [&mut here, &mut there] {
        status["uptime_ns"].take();
        status["uptime_seconds"].take();
        status["worker_times"].take();
    }
    assert_eq!(here, there);
    assert_eq!(here["revision"], 1);
    let recent = json_of(&address, "/api/recent");
    assert_eq!(recent["version"], 1);
    let connections = json_of(&address, "/api/connections?vpc=blue&most=5");
    assert_eq!(connections["count"], 0);

    let revisions = json_of(&address, "/api/revisions?most=3");
    assert_eq!(
        (&revisions["head"], &revisions["revisions"][0]["message"]),
        (&json!(1), &json!("the first network"))
    );
    let revision = json_of(&address, "/api/revisions/1");
    assert_eq!(revision["author"], revisions["revisions"][0]["author"]);
    assert_eq!(revision["left_out"], 0);
    assert!(
        revision["changes"]
            .as_array()
            .is_some_and(|changes| !changes.is_empty()),
        "{revision}"
    );
    let packet = "/api/trace?packet=10.1.0.10:40000%20%3E%20192.0.2.1:443%20tcp%20syn";
    let walk = json_of(&address, packet);
    assert_eq!(
        (&walk["version"], &walk["revision"]),
        (&json!(1), &json!(1)),
        "{walk}"
    );
    assert!(
        walk["text"]
            .as_str()
            .is_some_and(|text| text.contains("under the running gateway, revision 1")),
        "{walk}"
    );
    assert_eq!(walk["state"], json!({"name": "gateway", "revision": 1}));
    assert_eq!(walk["reply"], Value::Null);
    // The same over the tables of a revision, with the way back; and as a frame.
    let under = json_of(&address, &format!("{packet}&on=1&reply=true"));
    // In how many milliseconds the connection would end depends on the moment.
    let steps = |walk: &Value| {
        let mut steps = walk["steps"].as_array().cloned().unwrap_or_default();
        for step in &mut steps {
            if let Some(connection) = step["details"]["connection"].as_object_mut() {
                connection.shift_remove("expires_ms").expect("it says so");
            }
        }
        steps
    };
    assert_eq!(steps(&under), steps(&walk));
    assert_eq!(under["reply"]["interface"], "wan0", "{under}");
    let text = under["text"].as_str().unwrap_or_default();
    assert!(text.contains("under revision 1"), "{text}");
    let frame = format!(
        "/api/trace?frame={}&in=blue0",
        walk["frame"].as_str().unwrap_or_default()
    );
    assert_eq!(json_of(&address, &frame)["outcome"], walk["outcome"]);

    session.quietly(&["delete", "vpcs", "blue", "routes", "0.0.0.0/0"]);
    session.quietly(&["commit", "-m", "no way out"]);
    let differs = json_of(&address, &format!("{packet}&on=1&against=2"));
    assert_eq!(
        (&differs["differs"], &differs["to"]["outcome"]["reason"]),
        (&json!(true), &json!("no_route")),
        "{differs}"
    );
    // Without another word it is the last revision that is held against one.
    let alike = json_of(&address, &format!("{packet}&against=2"));
    assert_eq!(
        (&alike["differs"], &alike["first_step"]),
        (&json!(false), &Value::Null)
    );
    gateway.end(Signal::TERM);
}

#[test]
fn what_cannot_be_answered_is_refused_with_a_reason() {
    let session = committed();
    let (gateway, address) = gateway(&session);
    for (path, code, why) in [
        ("/nothing", 404, "there is no such page"),
        ("/../etc/passwd", 404, "there is no such page"),
        ("/api/nothing", 404, "there is nothing of this name"),
        ("/api/revisions/7", 400, "revision 7"),
        ("/api/revisions/x", 400, "no number"),
        ("/api/revisions?most=x", 400, "no number"),
        ("/api/revisions?colour=red", 400, "there is no parameter"),
        ("/api/connections?port=70000", 400, "70000"),
        ("/api/trace", 400, "the packet cannot be read"),
        (
            "/api/trace?packet=nonsense",
            400,
            "the packet cannot be read",
        ),
        (
            "/api/trace?packet=192.0.2.77:1+%3E+192.0.2.1:2+udp",
            400,
            "no interface",
        ),
        (
            "/api/trace?packet=192.0.2.77:1+%3E+192.0.2.1:2+udp&on=9",
            400,
            "revision 9",
        ),
        ("/api/trace?frame=0&in=blue0", 400, "two digits"),
        ("/api/trace?frame=00&packet=x", 400, "not as both"),
        (
            "/api/trace?packet=10.1.0.5+%3E+192.0.2.1&reply=perhaps",
            400,
            "neither true nor false",
        ),
        (
            "/api/trace?packet=10.1.0.5+%3E+192.0.2.1&reply=true&against=1",
            400,
            "without their replies",
        ),
    ] {
        let (found, _, body) = get(&address, path);
        assert_eq!(found, code, "{path}: {body}");
        assert!(body.contains(why), "{path}: {body}");
    }
    for (head, code) in [
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
            405,
        ),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 403),
        (
            "GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n",
            403,
        ),
        (
            "GET /api/status HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\nConnection: close\r\n\r\n",
            403,
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        ("\r\n\r\n", 400),
    ] {
        assert_eq!(say(&address, head).0, code, "{head}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: {}", "x".repeat(9_000));
    assert_eq!(say(&address, &long).0, 431);
    gateway.end(Signal::TERM);
}

#[test]
fn browsers_keep_their_connection_and_there_are_not_too_many() {
    let session = committed();
    let (gateway, address) = gateway(&session);
    let mut kept = open(&address);
    // Two requests at once are answered one after the other.
    let request = "GET /icon.svg HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let last = "GET /style.css HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    kept.write_all(format!("{request}{last}").as_bytes())
        .unwrap();
    let mut answers = String::new();
    kept.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(
        answers.contains("image/svg+xml") && answers.contains("text/css"),
        "{answers}"
    );

    let mut held: Vec<TcpStream> = Vec::new();
    let refused = loop {
        let mut stream = open(&address);
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        if &answer == b"HTTP/1.1 503" {
            break held.len();
        }
        assert_eq!(&answer, b"HTTP/1.1 200");
        held.push(stream);
        assert!(held.len() < 100, "there is no end");
    };
    assert_eq!(refused, 32);
    // Who is connected does not keep the gateway from ending.
    gateway.end(Signal::TERM);
}

#[test]
fn a_gateway_does_without_its_usual_console_where_that_is_taken() {
    let mut session = committed();
    // Somebody has it, or takes it now.
    let taken = TcpListener::bind("127.0.0.1:9475");
    let gateway = start(&session, &[]);
    let status = ask(&mut connect(&session), &json!({"request": "status"}));
    if taken.is_ok() {
        assert_eq!(status["console"], json!(null));
    }
    gateway.end(Signal::TERM);
    let asked_for = ["run", "--virtual", "--metrics", "off", "--console"];
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    assert_eq!(session.rewire(&[&asked_for[..], &[&address]].concat()), 1);
    assert_eq!(
        session.rewire(&[&asked_for[..], &["0.0.0.0:9475"]].concat()),
        2
    );
    assert_eq!(session.rewire(&[&asked_for[..], &["here"]].concat()), 2);
}
