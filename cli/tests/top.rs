//! `rewire top` on a terminal.

mod pseudo_terminal;
mod running;
mod session;

use pseudo_terminal::{Terminal, rewire};
use running::Running;
use rustix::process::Signal;
use session::Session;

fn session() -> Session {
    let mut session = Session::new();
    session.example("net.yaml");
    session.quietly(&["init"]);
    session.quietly(&["load", "net.yaml"]);
    session.quietly(&["commit", "-m", "the first network"]);
    session
}

fn top(session: &Session) -> Terminal {
    Terminal::start(&session.path(""), &["--store", "rewire.db", "top"])
}

#[test]
fn it_shows_the_gateway_and_gives_the_terminal_back() {
    let session = session();
    let gateway = Running::start(&session, &[]);
    let mut terminal = top(&session);
    // Only what is not blank is written.
    terminal.wait(0, "revision");
    terminal.wait(0, "first");
    terminal.type_until("3", "nothing");
    terminal.type_until("4", "connections");
    terminal.type_until("6", "message");
    terminal.type_until("p", "PAUSED");
    terminal.type_until("p1", "transmitted");
    // A gateway that goes away is no end.
    gateway.end(Signal::TERM);
    terminal.wait(0, "ANSWER");
    terminal.type_until("q", "");
    assert_eq!(terminal.gives_back(), 0);
}

#[test]
fn a_signal_ends_it_in_order() {
    let session = session();
    let gateway = Running::start(&session, &[]);
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = top(&session);
        terminal.wait(0, "revision");
        terminal.signal(signal);
        assert_eq!(terminal.gives_back(), 0);
    }
    gateway.end(Signal::TERM);
}

#[test]
fn it_refuses_what_is_no_terminal_and_where_no_gateway_runs() {
    let session = session();
    let folder = session.path("");
    let output = rewire(&folder)
        .args(["--store", "rewire.db", "top"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("takes a terminal") && said.contains("rewire watch"),
        "{said}"
    );
    let (code, said) = top(&session).ends();
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no gateway is running"), "{said}");
}
