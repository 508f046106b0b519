use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::process::Running;
use crate::wait::until;

/// Collectors that belong to nfdump: nobody here wrote how they read what the gateway sends.
#[derive(Debug)]
pub struct FlowCollector {
    running: Running,
    directory: TempDir,
}

impl FlowCollector {
    /// Whether nfdump and tshark are there; with a word to the reader where not.
    pub fn is_possible() -> bool {
        let is_there = |program: &str, version: &str| {
            let output = Command::new(program).arg(version).output();
            output.is_ok_and(|output| output.status.success())
        };
        let possible = is_there("nfdump", "-V") && is_there("tshark", "--version");
        if !possible {
            println!("skipped: nfdump and tshark are not there (make deps)");
        }
        possible
    }

    /// Begins to take IPFIX on a UDP port of loopback there.
    pub fn ipfix(inside: &Namespace, port: u16) -> Self {
        Self::start(inside, "nfcapd", port)
    }

    /// Begins to take sFlow on a UDP port of loopback there.
    pub fn sflow(inside: &Namespace, port: u16) -> Self {
        Self::start(inside, "sfcapd", port)
    }

    fn start(inside: &Namespace, program: &str, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a folder for temporary files");
        let mut command = Command::new(program);
        // A file every other second, the fewest that it takes: what is in it can be read then.
        command.args(["-t", "2", "-b", "127.0.0.1", "-p", &port.to_string()]);
        command.arg("-w").arg(directory.path());
        let mut running = inside.start(command);
        until("the collector listens", || {
            assert!(running.is_running(), "{:?}", running.lines());
            let lines = running.lines();
            lines
                .iter()
                .any(|line| line.contains("Startup"))
                .then_some(())
        });
        FlowCollector { running, directory }
    }

    /// What it has written so far, one value a record.
    pub fn records(&self) -> Vec<Value> {
        read(self.directory.path())
    }

    /// What it has said.
    pub fn lines(&self) -> Vec<String> {
        self.running.lines()
    }

    /// Ends it, and says all that it has written.
    pub fn finish(mut self) -> Vec<Value> {
        self.running.signal(Signal::TERM);
        self.running.finish();
        self.records()
    }
}

fn read(directory: &Path) -> Vec<Value> {
    let mut command = Command::new("nfdump");
    command.args(["-q", "-o", "json", "-R"]).arg(directory);
    let output = command.output().expect("nfdump can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    // One object after the other, with or without a list around them.
    let mut records = Vec::new();
    let mut record = String::new();
    for line in text.lines() {
        match line.trim_end_matches(',') {
            "{" => record = "{".to_owned(),
            "}" => {
                record.push('}');
                let value = serde_json::from_str(&record);
                records.push(value.unwrap_or_else(|error| panic!("{error}: {record}")));
            }
            _ => record.push_str(line),
        }
    }
    records
}

/// Packets on loopback there, as tcpdump writes them.
#[derive(Debug)]
pub struct LoopbackCapture {
    running: Running,
    directory: TempDir,
}

impl LoopbackCapture {
    /// Of datagrams to a port.
    pub fn start(inside: &Namespace, port: u16) -> Self {
        let directory = tempfile::tempdir().expect("a folder for temporary files");
        let mut command = Command::new("tcpdump");
        command.args(["-i", "lo", "-U", "-w"]);
        command.arg(directory.path().join("capture.pcap"));
        command.args(["udp", "dst", "port", &port.to_string()]);
        let mut running = inside.start(command);
        until("tcpdump listens", || {
            assert!(running.is_running(), "{:?}", running.lines());
            let lines = running.lines();
            lines
                .iter()
                .any(|line| line.contains("listening"))
                .then_some(())
        });
        LoopbackCapture { running, directory }
    }

    /// Ends it; what Wireshark makes of what was captured, where the port is that of a protocol of its: `udp.port==4739,cflow`.
    pub fn dissect(mut self, port_is: &str) -> String {
        self.running.signal(Signal::INT);
        self.running.finish();
        let mut command = Command::new("tshark");
        command
            .arg("-r")
            .arg(self.directory.path().join("capture.pcap"));
        command.args(["-d", port_is, "-V"]);
        let output = command.output().expect("tshark can be started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        text
    }
}
