//! A pseudo-terminal with a person's keys on its other side.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

/// How long the program may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Terminal {
    keyboard: File,
    child: Child,
    /// What has been written so far, without the terminal's codes.
    seen: String,
    /// The terminal's codes.
    codes: String,
    screen: Screen,
    /// The beginning of a code that is not whole yet.
    rest: Vec<u8>,
}

impl Terminal {
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> Terminal {
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
            codes: String::new(),
            screen: Screen::default(),
            rest: Vec::new(),
        }
    }

    /// Types keys, and waits until `expected` was written since. Gives what was.
    pub(crate) fn type_until(&mut self, keys: &str, expected: &str) -> String {
        let before = self.seen.len();
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.wait(before, expected)
    }

    /// Types a line or a control key, waits for `expected`, and until the shell asks for the next line: what is typed between
    /// two lines may be lost, as on any terminal. Gives what was written.
    pub(crate) fn answer(&mut self, keys: &str, expected: &str) -> String {
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

    pub(crate) fn wait(&mut self, from: usize, expected: &str) -> String {
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
                self.screen.write(bytes[at]);
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
            self.screen.obey(&code[..length]);
            self.codes
                .push_str(&String::from_utf8_lossy(&code[..length]));
            at += length;
        }
        self.seen.push_str(&String::from_utf8_lossy(&text));
    }

    /// Types keys, and waits until the screen shows `expected` in one line.
    #[track_caller]
    pub(crate) fn type_until_shown(&mut self, keys: &str, expected: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !self.screen.lines().any(|line| line.contains(expected)) {
            let goes_on = Instant::now() < deadline && self.read();
            let shown = || self.screen.lines().collect::<Vec<_>>().join("\n");
            assert!(goes_on, "{expected:?} is not shown:\n{}", shown());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end of a program that has taken the whole screen, and looks whether it has given it back: its exit code.
    #[track_caller]
    pub(crate) fn gives_back(mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            // It may want to write before it ends.
            self.read();
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it goes on: {:?}", self.seen);
        };
        while self.read() && Instant::now() < deadline && !self.codes.contains("\x1b[?1049l") {}
        let (entered, left) = (
            self.codes.rfind("\x1b[?1049h"),
            self.codes.rfind("\x1b[?1049l"),
        );
        assert!(
            entered.is_some() && entered < left,
            "the screen is not given back: {:?}",
            self.codes
        );
        let modes = tcgetattr(&self.keyboard).unwrap().local_modes;
        assert!(
            modes.contains(LocalModes::ECHO | LocalModes::ICANON),
            "{modes:?}"
        );
        status.code().expect("no signal ended it")
    }

    pub(crate) fn ends(mut self) -> (i32, String) {
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

/// What stands where, of a program that says where it writes.
#[derive(Default)]
struct Screen {
    /// Bytes, by line and column from 0.
    cells: BTreeMap<(usize, usize), u8>,
    at: (usize, usize),
}

impl Screen {
    fn write(&mut self, byte: u8) {
        // What a character of several bytes stands for is of no interest; it has one column.
        if byte & 0xc0 != 0x80 {
            self.cells.insert(self.at, byte);
            self.at.1 += 1;
        }
    }

    /// Moves to where it is told (CUP), and clears all that is told (ED).
    fn obey(&mut self, code: &[u8]) {
        let (Some(parameters), Some(what)) = (code.get(2..code.len() - 1), code.last()) else {
            return;
        };
        match what {
            b'H' => {
                let text = String::from_utf8_lossy(parameters);
                let mut numbers = text
                    .split(';')
                    .map(|number| number.parse().unwrap_or(1) - 1);
                self.at = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            }
            b'J' => self.cells.clear(),
            _ => {}
        }
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let last = self.cells.keys().next_back().map_or(0, |(line, _)| *line);
        (0..=last).map(|line| {
            let mut text = String::new();
            for ((_, column), byte) in self.cells.range((line, 0)..(line + 1, 0)) {
                text.extend(std::iter::repeat_n(
                    ' ',
                    column.saturating_sub(text.chars().count()),
                ));
                text.push(char::from(*byte));
            }
            text
        })
    }
}

pub(crate) fn rewire(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rewire"));
    command
        .current_dir(folder)
        .env_clear()
        .env("TZ", "UTC")
        .env("USER", "ada")
        .env("XDG_STATE_HOME", folder.join("state"));
    command
}

pub(crate) fn quietly(folder: &Path, arguments: &[&str]) {
    let output = rewire(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
