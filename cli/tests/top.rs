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
    terminal.type_until_shown("", "revision 1 live");
    terminal.type_until_shown("", "the first network");
    terminal.type_until_shown("3", "nothing was dropped");
    terminal.type_until_shown("4", "no connections");
    terminal.type_until_shown("6", "author");
    terminal.type_until_shown("p", "PAUSED");
    terminal.type_until_shown("p1", "transmitted 0 bit/s");
    // A gateway that goes away is no end.
    gateway.end(Signal::TERM);
    terminal.type_until_shown("", "NO ANSWER");
    terminal.type_until("q", "");
    assert_eq!(terminal.gives_back(), 0);
}

#[test]
fn a_signal_ends_it_in_order() {
    let session = session();
    let gateway = Running::start(&session, &[]);
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = top(&session);
        terminal.type_until_shown("", "revision 1 live");
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
