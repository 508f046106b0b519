//! What a running gateway does is recorded between real kernels, and replayed without it: the same frames leave.

use rewire_tests::documents::{red_stays_inside, two_vpcs};
use rewire_tests::{Lab, tcp_pair, udp_echo, until};
use rustix::process::Signal;
use serde_json::Value;

/// A gateway with one worker: several give out ports of NAT each of its own.
fn lab() -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.start_gateway_with(&["--workers", "1"]);
    lab.commit(&two_vpcs());
    Some(lab)
}

fn replayed(folder: &str) -> Value {
    // Its store is nowhere near.
    let lab = Lab::new().expect("it was possible before");
    let said = lab.rewire(&["replay", folder, "--json"]).good();
    let answer: Value = serde_json::from_str(&said).expect("JSON");
    answer["result"].clone()
}

#[test]
fn a_recording_replays_to_the_frames_that_left_the_gateway() {
    let Some(lab) = lab() else { return };
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");
    let folder = folder.to_str().expect("a name");
    let mut recording = lab.start(&["record", "-o", folder]);
    until("it records", || {
        let lines = recording.lines();
        let begun = lines
            .iter()
            .any(|line| line.contains("recording from revision 1"));
        begun.then_some(())
    });
    lab.blue
        .ping("198.51.100.1", "-c 3 -i 0.2 -W 2")
        .assert_all();
    lab.red.ping("198.51.100.1", "-c 1 -W 2").assert_all();
    let remote = "198.51.100.1:7000";
    let mut tcp = tcp_pair(&lab.blue, remote, &lab.internet, remote).expect("it goes through");
    tcp.talk(20_000);
    udp_echo(
        &lab.blue,
        "0.0.0.0:5353",
        &lab.internet,
        "198.51.100.1:53",
        100,
    );
    // A policy that red does not get through any more.
    lab.commit(&red_stays_inside());
    lab.red.ping("198.51.100.1", "-c 1 -W 1").assert_lost();
    tcp.talk(20_000);
    recording.signal(Signal::INT);
    assert!(recording.finish().success(), "{:?}", recording.lines());
    let said = recording.lines().join("\n");
    assert!(said.contains("revisions 1 to 2 in "), "{said}");

    let report = replayed(folder);
    let compared = &report["bundle"]["compared"];
    assert_eq!(compared["missing"], 0, "{report:#}");
    assert_eq!(compared["more"], 0, "{report:#}");
    assert!(compared["alike"].as_u64() > Some(40), "{compared}");
    let live = report["revisions"].as_array().expect("revisions");
    assert_eq!(live.len(), 2);
    for revision in live {
        assert!(revision["packets_in"].as_u64() > Some(10), "{revision}");
    }
    assert_eq!(report, replayed(folder), "to the byte");
}
