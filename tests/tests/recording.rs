//! What a running gateway does is recorded between real kernels, and replayed without it: the same frames leave.

use rewire_tests::documents::{red_stays_inside, two_vpcs};
use rewire_tests::{Lab, assert_alike, recorded, tcp_pair, udp_echo};
use serde_json::Value;

/// A gateway with one worker: several give out ports of NAT each of its own.
fn lab() -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.start_gateway_with(&["--workers", "1"]);
    lab.commit(&two_vpcs());
    Some(lab)
}

#[test]
fn a_part_is_recorded_where_that_is_asked_for_and_ends_by_itself() {
    let Some(lab) = lab() else { return };
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("part");
    let folder = folder.to_str().expect("a name");
    let ping = lab.blue.keep_pinging("198.51.100.1");
    ping.wait_for(1);
    let part = [
        "record",
        "-o",
        folder,
        "--packets",
        "4",
        "--snap",
        "60",
        "icmp[icmptype] = icmp-echo",
    ];
    let said = lab.rewire(&part).good();
    assert!(
        said.starts_with("4 frames in, 0 out, revision 1 in "),
        "{said}"
    );
    assert!(
        said.contains("frames were recorded that match: icmp"),
        "{said}"
    );
    // It is there already.
    let again = lab.rewire(&part);
    assert_eq!(again.code, Some(1), "{again:?}");
    // Frames that were cut short go the way of whole ones.
    let report = lab.replayed(folder.as_ref());
    assert_eq!(report["bundle"]["compared"], Value::Null);
    assert_eq!(report["bundle"]["recording"]["received"], 4);
    let blue = &report["interfaces"][0];
    assert_eq!(
        (&blue["name"], &blue["packets_in"]),
        (&"blue0".into(), &4.into())
    );
    let wan = report["interfaces"]
        .as_array()
        .and_then(|all| all.last())
        .expect("interfaces");
    assert_eq!(
        (&wan["name"], &wan["packets_out"]),
        (&"wan0".into(), &4.into())
    );
    assert_eq!(wan["bytes_out"], 4 * 98, "{wan}");
    ping.stop().assert_all();
}

#[test]
fn where_no_gateway_runs_nothing_is_left() {
    let Some(lab) = Lab::new() else { return };
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");
    let answer = lab.rewire(&["record", "-o", folder.to_str().expect("a name")]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(
        answer.stderr.contains("no gateway is running"),
        "{answer:?}"
    );
    let left = std::fs::read_dir(place.path()).expect("it is there");
    assert_eq!(left.count(), 0);
}

#[test]
fn a_recording_replays_to_the_frames_that_left_the_gateway() {
    let Some(lab) = lab() else { return };
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");
    let recording = lab.record(&folder);
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
    let refused = lab.red.ping("198.51.100.1", "-c 1 -W 1");
    refused.assert_refused("10.2.0.1", "Destination Host Unreachable");
    tcp.talk(20_000);
    let said = recorded(recording);
    assert!(said.contains("revisions 1 to 2 in "), "{said}");

    let report = lab.replayed(&folder);
    assert_alike(&report, 40);
    let live = report["revisions"].as_array().expect("revisions");
    assert_eq!(live.len(), 2);
    for revision in live {
        assert!(revision["packets_in"].as_u64() > Some(10), "{revision}");
    }
    assert_eq!(report, lab.replayed(&folder), "to the byte");
}

/// Each of two workers gives out ports of its own, and so do those of a replay.
#[test]
fn a_recording_of_two_workers_replays_with_two() {
    let Some(mut lab) = Lab::new() else { return };
    lab.start_gateway_with(&["--workers", "2"]);
    lab.commit(&two_vpcs());
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");
    let server = "198.51.100.1:53";
    let echo = |host, port: u16| {
        let from = format!("0.0.0.0:{port}");
        udp_echo(host, &from, &lab.internet, server, 100);
    };
    // Ports of one block of 64 are one worker's: these are both's.
    let ports = [5000, 5064, 5128, 5192, 5256, 5320];
    for port in &ports[..3] {
        echo(&lab.blue, *port);
        echo(&lab.red, *port);
    }
    let remote = "198.51.100.1:7000";
    let mut before = tcp_pair(&lab.blue, remote, &lab.internet, remote).expect("it goes through");
    before.talk(20_000);
    let recording = lab.record(&folder);
    lab.blue
        .ping("198.51.100.1", "-c 3 -i 0.2 -W 2")
        .assert_all();
    for port in ports.into_iter().rev() {
        echo(&lab.red, port);
        echo(&lab.blue, port);
    }
    let remote = "198.51.100.1:7001";
    let mut pairs = Vec::new();
    for host in [&lab.blue, &lab.red, &lab.blue, &lab.red] {
        let pair = tcp_pair(host, remote, &lab.internet, remote);
        pairs.push(pair.expect("it goes through"));
    }
    for pair in pairs.iter_mut().chain([&mut before]) {
        pair.talk(20_000);
    }
    lab.commit(&red_stays_inside());
    before.talk(5_000);
    let said = recorded(recording);
    assert!(!said.contains("workers"), "{said}");
    let report = lab.replayed(&folder);
    assert_eq!(report["bundle"]["recording"]["workers"], 2);
    assert_alike(&report, 100);
    assert_eq!(report, lab.replayed(&folder), "to the byte");
}

/// A connection through a masquerade goes on where it was, and a port that was another one's choice stays that.
#[test]
fn connections_of_before_go_on_in_a_replay() {
    let Some(lab) = lab() else { return };
    let remote = "198.51.100.1:7000";
    let mut tcp = tcp_pair(&lab.blue, remote, &lab.internet, remote).expect("it goes through");
    tcp.talk(20_000);
    // Both want one port, and who comes second gets another one.
    let echo = |host| udp_echo(host, "0.0.0.0:5353", &lab.internet, "198.51.100.1:53", 100);
    echo(&lab.blue);
    echo(&lab.red);
    let ping = lab.blue.keep_pinging("198.51.100.1");
    ping.wait_for(3);
    let place = tempfile::tempdir().expect("a folder for temporary files");
    let folder = place.path().join("recording");
    let recording = lab.record(&folder);
    ping.wait_for(6);
    tcp.talk(20_000);
    echo(&lab.red);
    echo(&lab.blue);
    let mut another = tcp_pair(&lab.red, remote, &lab.internet, remote).expect("it goes through");
    another.talk(20_000);
    ping.stop().assert_all();
    let said = recorded(recording);
    assert!(
        said.contains("a replay begins with 4 connections from before"),
        "{said}"
    );

    let report = lab.replayed(&folder);
    let connections = &report["bundle"]["connections"];
    assert_eq!(
        (&connections["restored"], &connections["lost"]),
        (&4.into(), &0.into())
    );
    assert_alike(&report, 40);
    assert_eq!(report, lab.replayed(&folder), "to the byte");
}
