//! The shell of `rewire edit` on a terminal: a pseudo-terminal with a person's keys on its other side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long the shell may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

struct Terminal {
    keyboard: File,
    child: Child,
    /// What has been written so far, without the terminal's codes.
    seen: String,
    /// The beginning of a code that is not whole yet.
    rest: Vec<u8>,
}

impl Terminal {
    fn start(folder: &Path, arguments: &[&str]) -> Terminal {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let size = Winsize {
            ws_row: 40,
            ws_col: 120,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&keyboard, size).unwrap();
        let open = || {
            let file = File::options()
                .read(true)
                .write(true)
                .open(name.to_str().unwrap());
            Stdio::from(OwnedFd::from(file.unwrap()))
        };
        let child = rewire(folder)
            .args(arguments)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .stdin(open())
            .stdout(open())
            .stderr(open())
            .process_group(0)
            .spawn()
            .unwrap();
        Terminal {
            keyboard: File::from(keyboard),
            child,
            seen: String::new(),
            rest: Vec::new(),
        }
    }

    /// Types keys, and waits until `expected` was written since. Gives what was.
    fn type_until(&mut self, keys: &str, expected: &str) -> String {
        let before = self.seen.len();
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.wait(before, expected)
    }

    /// Types a line or a control key, waits for `expected`, and until the shell asks for the next line: what is typed between
    /// two lines may be lost, as on any terminal. Gives what was written.
    fn answer(&mut self, keys: &str, expected: &str) -> String {
        let before = self.seen.len();
        self.type_until(keys, expected);
        let deadline = Instant::now() + PATIENCE;
        while !self.asks() {
            assert!(
                Instant::now() < deadline && self.read(),
                "no prompt after {:?}",
                &self.seen[before..]
            );
        }
        self.seen[before..].to_owned()
    }

    /// Whether the last line is a prompt with nothing behind it.
    fn asks(&self) -> bool {
        let line = self.seen.rsplit('\n').next().unwrap_or_default();
        line.starts_with("[edit") && line.ends_with("> ")
    }

    fn wait(&mut self, from: usize, expected: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen[from..].contains(expected) {
            assert!(
                Instant::now() < deadline,
                "no {expected:?} in {:?}",
                &self.seen[from..]
            );
            assert!(
                self.read(),
                "it ended without {expected:?}: {:?}",
                &self.seen[from..]
            );
        }
        self.seen[from..].to_owned()
    }

    /// Reads what there is; false at the end.
    fn read(&mut self) -> bool {
        let mut ready = [PollFd::new(&self.keyboard, PollFlags::IN)];
        poll(
            &mut ready,
            Some(&Duration::from_millis(200).try_into().unwrap()),
        )
        .unwrap();
        if ready[0].revents().is_empty() {
            return true;
        }
        let mut bytes = [0; 4096];
        // A terminal whose other side is closed fails to be read.
        let Ok(count @ 1..) = self.keyboard.read(&mut bytes) else {
            return false;
        };
        self.rest.extend_from_slice(&bytes[..count]);
        self.take();
        true
    }

    /// Takes what is whole: text is kept, a question for the cursor is answered, other codes are dropped.
    fn take(&mut self) {
        let bytes = std::mem::take(&mut self.rest);
        let mut text = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != 0x1b {
                text.push(bytes[at]);
                at += 1;
                continue;
            }
            let code = &bytes[at..];
            let length = match code.get(1) {
                Some(b'[') => code[2..]
                    .iter()
                    .position(|b| (0x40..0x7f).contains(b))
                    .map(|end| end + 3),
                Some(b']') => code.iter().position(|b| *b == 0x07).map(|end| end + 1),
                Some(_) => Some(2),
                None => None,
            };
            let Some(length) = length else {
                self.rest = code.to_vec();
                break;
            };
            if code[..length] == *b"\x1b[6n" {
                self.keyboard.write_all(b"\x1b[1;1R").unwrap();
            }
            at += length;
        }
        self.seen.push_str(&String::from_utf8_lossy(&text));
    }

    fn ends(mut self) -> (i32, String) {
        let deadline = Instant::now() + PATIENCE;
        while self.read() {
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.seen);
        }
        let status = self.child.wait().unwrap();
        (
            status.code().expect("no signal ended it"),
            std::mem::take(&mut self.seen),
        )
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn rewire(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewire"));
    command
        .current_dir(folder)
        .env_clear()
        .env("TZ", "UTC")
        .env("USER", "ada")
        .env("XDG_STATE_HOME", folder.join("state"));
    command
}

fn quietly(folder: &Path, arguments: &[&str]) {
    let output = rewire(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    quietly(at, &["init"]);
    quietly(at, &["set", "vpcs", "blue", "description", "the inside"]);
    quietly(at, &["set", "vpcs", "green"]);
    quietly(at, &["commit", "-m", "two", "--no-wait"]);
    folder
}

#[test]
fn tab_completes_and_a_question_mark_explains() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit"]);
    terminal.wait(0, "[edit] ada > ");
    // The one way to go on.
    terminal.type_until("set v\t", "set vpcs ");
    // What is there, with what it is, and what else could be.
    let said = terminal.type_until("?", "<name>");
    assert!(said.contains("blue"), "{said}");
    assert!(said.contains("the inside"), "{said}");
    assert!(said.contains("green"), "{said}");
    // The line is still there.
    terminal.type_until("bl\t", "vpcs blue ");
    let said = terminal.type_until("?", "annotation");
    assert!(
        said.contains("Static routes by destination prefix"),
        "{said}"
    );
    // In a text, a question mark is one.
    terminal.answer("description \"why?\"\r", "the inside -> why?");
    terminal.wait(0, "[edit] ada* > ");
    // What is pasted is done line by line.
    let pasted = "\u{1b}[200~set vpcs one\nset vpcs two?\nset vpcs three\u{1b}[201~\r";
    let said = terminal.answer(pasted, "found \"two?\"");
    assert!(said.contains("+ vpcs.one"), "{said}");
    terminal.answer("delete vpcs one\r", "- vpcs.one");
    terminal.type_until("quit\r", "");
    let (code, _) = terminal.ends();
    assert_eq!(code, 0);
    // It was saved, and the history with it.
    let diff = rewire(folder.path()).arg("diff").output().unwrap();
    assert_eq!(
        String::from_utf8(diff.stdout).unwrap(),
        "~ vpcs.blue.description: the inside -> why?\n"
    );
    let history = std::fs::read_to_string(folder.path().join("state/rewire/edit-history")).unwrap();
    assert!(
        history.contains("set vpcs blue description \"why?\""),
        "{history}"
    );
}

#[test]
fn errors_and_control_keys_stay_in_the_shell() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit", "vpcs", "blue"]);
    terminal.wait(0, "[edit vpcs blue] ada > ");
    terminal.answer("set rutes 10.0.0.0/8\r", "did you mean \"routes\"?");
    terminal.answer("commit\r", "nothing to commit");
    // Ctrl-C drops the line.
    terminal.type_until("delete descr", "delete descr");
    terminal.answer("\u{3}", "[edit vpcs blue] ada > ");
    terminal.answer("up\r", "[edit] ada > ");
    terminal.answer("exit\r", "[edit vpcs blue] ada > ");
    // Ctrl-D on an empty line ends it.
    terminal.type_until("\u{4}", "");
    let (code, _) = terminal.ends();
    assert_eq!(code, 0);
    let diff = rewire(folder.path())
        .args(["candidates", "--json"])
        .output()
        .unwrap();
    let said = String::from_utf8(diff.stdout).unwrap();
    assert!(said.contains("\"candidates\": []"), "{said}");
}

#[test]
fn what_others_do_is_heard() {
    let folder = folder();
    let mut terminal = Terminal::start(folder.path(), &["edit", "--exclusive"]);
    terminal.wait(0, "[edit] ada > ");
    terminal.answer("set vpcs red\r", "+ vpcs.red");
    // Somebody else cannot commit, but can edit.
    let bob = ["--candidate", "bob"];
    quietly(
        folder.path(),
        &[&bob[..], &["set", "vpcs", "yellow"]].concat(),
    );
    let refused = rewire(folder.path())
        .args(bob)
        .args(["commit", "--no-wait"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(6), "{refused:?}");
    terminal.answer("unlock\r", "ada* > ");
    quietly(
        folder.path(),
        &["--candidate", "bob", "commit", "-m", "bob's", "--no-wait"],
    );
    let said = terminal.answer("\r", "update brings the candidate onto it");
    assert!(said.contains("revision 2 was committed"), "{said}");
    terminal.answer("update\r", "against revision 2, before 1");
    terminal.answer("commit --no-wait\r", "revision 3 committed");
    terminal.type_until("exit\r", "");
    assert_eq!(terminal.ends().0, 0);
}
