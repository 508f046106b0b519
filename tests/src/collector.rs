use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::Running;
use crate::wait::until;

/// The port that OTLP over HTTP has by convention.
const PORT: u16 = 4318;

/// A collector of telemetry, `tests/tools/otlp_collector.py`, which decodes OTLP by what the OpenTelemetry project generates
/// from its definitions.
#[derive(Debug)]
pub struct Collector(Running);

/// The Python packages that `make deps` has put beside what is built.
fn packages() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/TEST
    (0..3).for_each(|_| {
        path.pop();
    });
    path.join("python")
}

fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages());
    command
}

impl Collector {
    /// Whether there is what it takes to decode; with a word to the reader where not.
    pub fn is_possible() -> bool {
        let import = [
            "-c",
            "import opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        ];
        let possible = python().args(import).output();
        let possible = possible.is_ok_and(|output| output.status.success());
        if !possible {
            println!("skipped: Python's package opentelemetry-proto is not there (make deps)");
        }
        possible
    }

    /// Begins to take what is sent to its port on loopback there, and answers each time after so many seconds with a status.
    pub fn start(inside: &Namespace, delay: f64, status: u16) -> Collector {
        let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/otlp_collector.py");
        let mut command = python();
        command.args([
            tool,
            &PORT.to_string(),
            &delay.to_string(),
            &status.to_string(),
        ]);
        let mut collector = Collector(inside.start(command));
        until("the collector listens", || {
            assert!(collector.0.is_running(), "{:?}", collector.0.lines());
            let lines = collector.0.lines();
            lines
                .iter()
                .any(|line| line.contains("listening"))
                .then_some(())
        });
        collector
    }

    /// The bodies of requests to a path so far, in the JSON that Protocol Buffers define.
    pub fn bodies(&self, path: &str) -> Vec<Value> {
        let lines = self.0.lines().into_iter();
        let requests = lines.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let of_path = requests.filter(|request| request["path"] == path);
        of_path.map(|mut request| request["body"].take()).collect()
    }
}
