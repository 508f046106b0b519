//! Recordings of the lab's gateway, and their replays without it.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::Lab;
use crate::process::Running;
use crate::wait::until;

impl Lab {
    /// Begins to record what the gateway does into a folder; it is recorded when this returns.
    #[track_caller]
    pub fn record(&self, folder: &Path) -> Running {
        let folder = folder.to_str().expect("a name");
        let recording = self.start(&["record", "-o", folder]);
        until("it records", || {
            let lines = recording.lines();
            let mut begun = lines
                .iter()
                .filter(|line| line.contains("recording from revision"));
            begun.next().map(|_| ())
        });
        recording
    }

    /// The report of a recording's replay, without the store that it is of.
    #[track_caller]
    pub fn replayed(&self, folder: &Path) -> Value {
        let folder = folder.to_str().expect("a name");
        let replay = ["replay", folder, "--json", "--store", "/nowhere"];
        let said = self.rewire(&replay).good();
        let answer: Value = serde_json::from_str(&said).expect("JSON");
        answer["result"].clone()
    }
}

/// Ends a recording, and gives what it said.
#[track_caller]
pub fn recorded(mut recording: Running) -> String {
    recording.signal(Signal::INT);
    assert!(recording.finish().success(), "{:?}", recording.lines());
    recording.lines().join("\n")
}

/// All frames that left the gateway have left the replay, no others, and at least so many.
#[track_caller]
pub fn assert_alike(report: &Value, at_least: u64) {
    let compared = &report["bundle"]["compared"];
    assert_eq!(compared["missing"], 0, "{report:#}");
    assert_eq!(compared["more"], 0, "{report:#}");
    assert!(compared["alike"].as_u64() >= Some(at_least), "{compared}");
}
