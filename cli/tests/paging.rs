//! What a person at a terminal gets: colours, and a pager for what is longer than the screen. The terminal is a real one.

mod session;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use session::Session;

/// Runs a command with its output on a terminal of some lines, and gives back what the terminal was sent.
fn on_a_terminal(mut command: Command, rows: u16) -> String {
    let controller: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let size = Winsize {
        ws_row: rows,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap();
    // The command holds copies of the terminal, which would keep it open.
    drop(command);
    let mut said = Vec::new();
    match File::from(controller).read_to_end(&mut said) {
        // This is how a terminal says that nobody has it open any more.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {}
        Err(error) if error.kind() == ErrorKind::Interrupted => {}
        other => drop(other.unwrap()),
    }
    assert!(child.wait().unwrap().success());
    String::from_utf8(said).unwrap().replace("\r\n", "\n")
}

fn show(session: &Session, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = session.command(&[&["show"], arguments].concat());
    command
        .env("PATH", "/usr/bin:/bin")
        .envs(environment.iter().copied());
    command
}

#[test]
fn what_is_longer_than_the_screen_goes_through_the_pager() {
    let s = Session::with_one_revision();
    let pager = [("PAGER", "sed 's/^/paged: /'")];
    let paged = on_a_terminal(show(&s, &[], &pager), 10);
    assert!(
        paged.lines().all(|line| line.starts_with("paged: ")),
        "{paged}"
    );
    let plain = on_a_terminal(show(&s, &[], &pager), 500);
    assert!(!plain.contains("paged"), "{plain}");
    assert_eq!(paged.replace("paged: ", ""), plain);
    for arguments in [&["--no-pager"][..], &["--json"]] {
        let said = on_a_terminal(show(&s, arguments, &pager), 10);
        assert!(!said.contains("paged"), "{said}");
    }
    for pager in ["", " ", "cat"] {
        assert_eq!(on_a_terminal(show(&s, &[], &[("PAGER", pager)]), 10), plain);
    }
    // Without a terminal there is no pager.
    let output = show(&s, &[], &pager[..]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plain);
}

#[test]
fn a_pager_that_is_not_there_is_no_failure() {
    let s = Session::with_one_revision();
    let plain = on_a_terminal(show(&s, &["--no-pager"], &[]), 10);
    let said = on_a_terminal(show(&s, &[], &[("PAGER", "no-such-pager -x")]), 10);
    assert!(said.ends_with(&plain), "{said}");
    let without_less = on_a_terminal(show(&s, &[], &[("PATH", "/nowhere")]), 10);
    assert_eq!(without_less, plain);
    // Who leaves the pager early has seen enough.
    on_a_terminal(show(&s, &[], &[("PAGER", "true")]), 10);
}

#[test]
fn colours_are_for_terminals_unless_told_otherwise() {
    let s = Session::with_one_revision();
    let diff = |arguments: &[&str], environment: &[(&str, &str)]| {
        let mut command = s.command(&[&["diff", "0", "1", "--no-pager"], arguments].concat());
        command.envs(environment.iter().copied());
        command
    };
    let piped =
        |command: &mut Command| String::from_utf8(command.output().unwrap().stdout).unwrap();
    let red = "\u{1b}[";
    assert!(on_a_terminal(diff(&[], &[]), 50).contains(red));
    assert!(!on_a_terminal(diff(&[], &[("NO_COLOR", "1")]), 50).contains(red));
    assert!(!on_a_terminal(diff(&[], &[("TERM", "dumb")]), 50).contains(red));
    assert!(!on_a_terminal(diff(&["--color", "never"], &[]), 50).contains(red));
    assert!(!piped(&mut diff(&[], &[])).contains(red));
    assert!(piped(&mut diff(&[], &[("CLICOLOR_FORCE", "1")])).contains(red));
    assert!(piped(&mut diff(&["--color=always"], &[("NO_COLOR", "1")])).contains(red));
    assert!(!piped(&mut diff(&["--json", "--color=always"], &[])).contains(red));
}
