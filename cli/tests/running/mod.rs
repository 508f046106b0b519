//! A running gateway with virtual ports, and its socket.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::session::Session;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The gateway of a session's store. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Vec<String>,
}

impl Running {
    /// Starts a gateway with virtual ports, and waits until the store's last revision is live.
    pub(crate) fn start(session: &Session, args: &[&str]) -> Running {
        let run = [
            "run",
            "--virtual",
            "--metrics",
            "127.0.0.1:0",
            "--console",
            "off",
        ];
        Running::spawn(session, session.command(&[&run[..], args].concat()))
    }

    /// The same with a command of the caller's.
    pub(crate) fn spawn(_: &Session, command: Command) -> Running {
        let mut running = Running::spawn_unready(command);
        running.has_logged("follower: live");
        running
    }

    /// The same, without waiting for anything.
    pub(crate) fn spawn_unready(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        Running {
            child,
            lines,
            log: Vec::new(),
        }
    }

    /// Waits until a line with this text was logged.
    #[track_caller]
    pub(crate) fn has_logged(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log.iter().any(|line| line.contains(text)) {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("not logged: {text}\n{}", self.log.join("\n"))
                }
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it has ended:\n{}", self.log.join("\n"))
                }
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Ends it in order: a signal, exit code 0.
    #[track_caller]
    pub(crate) fn end(self, signal: Signal) {
        self.signal(signal);
        let status = self.finish(PATIENCE);
        assert_eq!(status.code(), Some(0), "{status}");
    }

    /// Ends it in order, and gives back all that it has logged.
    #[track_caller]
    pub(crate) fn log_to_the_end(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        self.log.extend(self.lines.iter());
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{status}");
        std::mem::take(&mut self.log)
    }

    /// Ends it with no chance to say goodbye.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.finish(PATIENCE);
    }

    /// Waits for its end: that of its log, and then its exit.
    #[track_caller]
    pub(crate) fn finish(mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.push(line),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().unwrap(),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("it does not end:\n{}", self.log.join("\n"))
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection to the session's gateway.
pub(crate) fn connect(session: &Session) -> UnixStream {
    let stream = UnixStream::connect(session.path("rewire.db.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a request and waits for its answer.
#[track_caller]
pub(crate) fn ask(stream: &mut UnixStream, request: &Value) -> Value {
    stream.write_all(format!("{request}\n").as_bytes()).unwrap();
    answer(stream)
}

/// The next answer; byte by byte, so that nothing of the one after is taken.
#[track_caller]
pub(crate) fn answer(stream: &mut UnixStream) -> Value {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).expect("an answer");
        match byte[0] {
            b'\n' => break,
            other => line.push(other),
        }
    }
    serde_json::from_slice(&line)
        .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&line)))
}
