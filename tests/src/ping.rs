use std::process::Command;

use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::process::Running;
use crate::wait::until;

/// What `ping` saw.
#[derive(Debug)]
pub struct Ping {
    /// All that it printed.
    pub output: String,
    /// How many it sent.
    pub transmitted: usize,
    /// The sequence numbers of those that were answered, in the order of the answers.
    pub answered: Vec<usize>,
}

fn command(address: &str, options: &str) -> Command {
    let mut command = Command::new("ping");
    command
        .arg("-n")
        .args(options.split_whitespace())
        .arg(address)
        .env("LC_ALL", "C");
    command
}

/// The sequence number of a line that tells of an answer.
fn sequence(line: &str) -> Option<usize> {
    let (_, rest) = line.split_once("bytes from ")?.1.split_once("icmp_seq=")?;
    rest.split(' ').next()?.parse().ok()
}

impl Ping {
    pub(crate) fn run(namespace: &Namespace, address: &str, options: &str) -> Self {
        let mut running = namespace.start(command(address, options));
        running.finish();
        Ping::read(&running.lines())
    }

    fn read(lines: &[String]) -> Self {
        let summary = lines
            .iter()
            .find(|line| line.contains("packets transmitted"));
        let transmitted = summary.and_then(|line| line.split(' ').next()?.parse().ok());
        Ping {
            output: lines.join("\n"),
            transmitted: transmitted.unwrap_or_else(|| panic!("no summary of ping: {lines:#?}")),
            answered: lines.iter().filter_map(|line| sequence(line)).collect(),
        }
    }

    /// Every one was answered.
    #[track_caller]
    pub fn assert_all(&self) {
        let expected: Vec<usize> = (1..=self.transmitted).collect();
        assert_eq!(self.answered, expected, "pings were lost\n{}", self.output);
    }

    /// None was answered, and a router said why.
    #[track_caller]
    pub fn assert_refused(&self, router: &str, why: &str) {
        assert!(
            self.answered.is_empty(),
            "pings were answered\n{}",
            self.output
        );
        let from = format!("From {router} ");
        let said = self
            .output
            .lines()
            .any(|line| line.starts_with(&from) && line.contains(why));
        assert!(said, "no \"{why}\" from {router}\n{}", self.output);
    }

    /// None was answered, and nobody said why.
    #[track_caller]
    pub fn assert_lost(&self) {
        let silent = self.answered.is_empty() && !self.output.contains("\nFrom ");
        assert!(silent, "pings were answered\n{}", self.output);
    }
}

/// A ping every 20 ms, in the background.
#[derive(Debug)]
pub struct RunningPing(Running);

impl RunningPing {
    pub(crate) fn start(namespace: &Namespace, address: &str) -> Self {
        RunningPing(namespace.start(command(address, "-i 0.02 -c 1000")))
    }

    /// How many were answered so far.
    pub fn answers(&self) -> usize {
        self.0
            .lines()
            .iter()
            .filter_map(|line| sequence(line))
            .count()
    }

    /// Waits for so many more answers.
    pub fn wait_for(&self, more: usize) {
        let before = self.answers();
        until("pings are answered", || {
            (self.answers() >= before + more).then_some(())
        });
    }

    /// Waits for a line that begins like this.
    pub fn wait_for_line(&self, start: &str) {
        until(start, || {
            self.0
                .lines()
                .iter()
                .any(|line| line.starts_with(start))
                .then_some(())
        });
    }

    /// Ends it. The last ones may be unanswered because of that, and are not counted then.
    pub fn stop(mut self) -> Ping {
        self.0.signal(Signal::INT);
        self.0.finish();
        let mut ping = Ping::read(&self.0.lines());
        // As many as were underway at once before, on a busy machine more than one.
        let words = ping.output.split_once("pipe ").map(|(_, rest)| rest);
        let number = words.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let underway: usize = number.unwrap_or(1);
        let last = ping.answered.last().copied().unwrap_or_default();
        if ping.transmitted - last <= underway {
            ping.transmitted = last;
        }
        ping
    }
}
