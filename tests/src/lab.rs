use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::sync::atomic::{AtomicU64, Ordering};

use rewire_schema::source;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::metrics::Metrics;
use crate::namespace::{Namespace, cable};
use crate::process::Running;
use crate::wait::{PATIENCE, until};

/// Where the gateway's metrics are, inside its namespace.
const METRICS: &str = "127.0.0.1:9474";

/// The demo's world: a host in each of two VPCs, one in the internet, and the gateway between them.
///
/// ```text
/// blue 10.1.0.10 ───────┐
/// red 10.2.0.10 ────────┤ gateway
/// internet 203.0.113.2 ─┘
/// ```
///
/// The internet also is 198.51.100.1, and knows a way to blue's addresses that the gateway does not grant.
#[derive(Debug)]
pub struct Lab {
    // First, so that it ends before its world does.
    gateway: Option<Running>,
    /// The gateway runs here.
    pub inside: Namespace,
    /// The host in VPC blue.
    pub blue: Namespace,
    /// The host in VPC red.
    pub red: Namespace,
    /// The host outside.
    pub internet: Namespace,
    log: Vec<String>,
    documents: AtomicU64,
    directory: TempDir,
}

/// What a run of `rewire` said.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Answer {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Answer {
    /// Its output; panics unless it ended well.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }
}

/// The binary beside which this test was built.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/TEST
    path.pop();
    path.pop();
    path.push("rewire");
    assert!(
        path.exists(),
        "{} is not there: run all tests with `make test`",
        path.display()
    );
    path
}

impl Lab {
    /// The world with an empty store, and no gateway yet. None, with a word to the reader, where tests may not make it.
    pub fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: it takes root to make network namespaces");
            return None;
        }
        Namespace::sweep();
        let lab = Lab {
            inside: Namespace::new("gateway"),
            blue: Namespace::new("blue"),
            red: Namespace::new("red"),
            internet: Namespace::new("internet"),
            gateway: None,
            log: Vec::new(),
            documents: AtomicU64::new(1),
            directory: tempfile::tempdir().expect("a folder for temporary files"),
        };
        for (port, host, address, router) in [
            ("rw-blue", &lab.blue, "10.1.0.10/24", Some("10.1.0.1")),
            ("rw-red", &lab.red, "10.2.0.10/24", Some("10.2.0.1")),
            ("rw-wan", &lab.internet, "203.0.113.2/24", None),
        ] {
            cable((&lab.inside, port), (host, "eth0"));
            host.ip(&format!("address add {address} dev eth0"));
            if let Some(router) = router {
                host.ip(&format!("route add default via {router}"));
            }
        }
        lab.internet.ip("address add 198.51.100.1/32 dev lo");
        lab.internet.ip("route add 10.1.0.0/24 via 203.0.113.1");
        lab.rewire(&["init"]).good();
        Some(lab)
    }

    /// The world with a running gateway, live with revision 1: this document.
    pub fn with(document: &Value) -> Option<Self> {
        let mut lab = Lab::new()?;
        lab.start_gateway();
        lab.commit(document);
        Some(lab)
    }

    /// Runs `rewire` with the lab's store, to its end.
    pub fn rewire(&self, arguments: &[&str]) -> Answer {
        let output = self.command().args(arguments).output();
        output.expect("the binary can be started").into()
    }

    /// The same with more in its environment.
    pub fn rewire_in(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Answer {
        let mut command = self.command();
        command.envs(environment.iter().copied());
        let output = command.args(arguments).output();
        output.expect("the binary can be started").into()
    }

    /// Starts `rewire` with the lab's store, in the background.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command();
        command.args(arguments);
        self.inside.start(command)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.env("REWIRE_STORE", self.directory.path().join("rewire.db"));
        command
            .env("REWIRE_AUTHOR", "test")
            .env_remove("REWIRE_SOCKET");
        command
    }

    /// Makes a document the candidate.
    #[track_caller]
    pub fn load(&self, document: &Value) {
        let number = self.documents.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.path().join(format!("{number}.yaml"));
        fs::write(
            &path,
            source::to_yaml(document).expect("a document can be written"),
        )
        .expect("the folder is ours");
        self.rewire(&["load", &path.to_string_lossy()]).good();
    }

    /// Commits a document and returns what the commit printed; where a gateway runs, it is live then.
    #[track_caller]
    pub fn commit(&self, document: &Value) -> String {
        self.load(document);
        self.rewire(&["commit", "-m", "test"]).good()
    }

    /// Starts the gateway and waits until it answers.
    pub fn start_gateway(&mut self) {
        self.start_gateway_with(&[]);
    }

    /// The same with further arguments of `rewire run`.
    pub fn start_gateway_with(&mut self, arguments: &[&str]) {
        let mut command = self.command();
        command.args(["run", "--metrics", METRICS]).args(arguments);
        self.gateway = Some(self.inside.start(command));
        until("the gateway answers", || {
            let running = self.gateway.as_mut().is_some_and(Running::is_running);
            assert!(running, "the gateway has ended");
            (self.rewire(&["status"]).code == Some(0)).then_some(())
        });
    }

    /// Whether a gateway was started, and not stopped.
    pub fn is_running(&self) -> bool {
        self.gateway.is_some()
    }

    /// Stops the gateway with a signal, and says how it ended.
    pub fn stop_gateway(&mut self, signal: Signal) -> ExitStatus {
        let mut gateway = self.gateway.take().expect("the gateway runs");
        gateway.signal(signal);
        let status = gateway.finish();
        self.log.extend(gateway.lines());
        status
    }

    /// What the gateway has logged, over all its starts.
    pub fn log(&self) -> Vec<String> {
        let now = self.gateway.iter().flat_map(Running::lines);
        self.log.iter().cloned().chain(now).collect()
    }

    /// The result of `rewire status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let text = self.rewire(&["status", "--json"]).good();
        let answer: Result<serde_json::Value, _> = serde_json::from_str(&text);
        answer.unwrap_or_else(|error| panic!("{error}: {text}"))["result"].take()
    }

    /// Scrapes the gateway's metrics.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        Metrics::read(&self.scrape().expect("the metrics can be fetched"))
    }

    fn scrape(&self) -> std::io::Result<String> {
        let mut stream = self.inside.run(|| TcpStream::connect(METRICS))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.contains(" 200 "), "{head}");
        Ok(body.to_owned())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        println!("\n---- rewire status\n{}", self.rewire(&["status"]).stdout);
        println!("---- rewire log\n{}", self.rewire(&["log"]).stdout);
        println!("---- the gateway's log\n{}", self.log().join("\n"));
        let metrics = self.scrape().unwrap_or_else(|error| error.to_string());
        let counted = metrics
            .lines()
            .filter(|line| line.contains("drop") && !line.ends_with(" 0"));
        println!("---- drops\n{}", counted.collect::<Vec<_>>().join("\n"));
    }
}
