//! Packets of a running gateway as files, between real kernels; Wireshark's tshark reads them.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, Running, until_for};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A capture that goes on beside the test.
struct Capture {
    file: PathBuf,
    running: Running,
}

/// What tshark says of one packet.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    interface: String,
    comment: String,
    source: String,
    destination: String,
}

impl Capture {
    /// Of so many packets.
    fn start(lab: &Lab, name: &str, count: u32, arguments: &[&str]) -> Capture {
        let name = format!("rewire-{name}-{}.pcapng", std::process::id());
        let file = std::env::temp_dir().join(name);
        let path = file.to_str().expect("a name");
        let count = count.to_string();
        let mut all = vec!["capture", "--count", &count, "--timeout", "60s", "-w", path];
        all.extend(arguments);
        Capture {
            running: lab.start(&all),
            file,
        }
    }

    /// Waits for its end, and lets tshark read it.
    fn read(self) -> Vec<Packet> {
        self.read_if_done().expect("it is done")
    }

    /// The same; none where the gateway could not be asked.
    fn read_if_done(mut self) -> Option<Vec<Packet>> {
        if !self.running.finish().success() {
            eprintln!("{:?}", self.running.lines());
            return None;
        }
        let mut tshark = Command::new("tshark");
        tshark.args(["-n", "-r"]).arg(&self.file);
        // The first of each: an ICMP error quotes another packet.
        tshark.args(["-T", "fields", "-E", "occurrence=f"]);
        for field in ["frame.interface_name", "frame.comment", "ip.src", "ip.dst"] {
            tshark.args(["-e", field]);
        }
        let output = tshark.output().expect("tshark is installed");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let packets = text.lines().map(|line| {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let [interface, comment, source, destination] = fields.try_into().expect("fields");
            Packet {
                interface,
                comment,
                source,
                destination,
            }
        });
        Some(packets.collect())
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// With a way to an interface whose port is not there.
fn with_a_closed_port() -> Value {
    let mut document = two_vpcs();
    document["interfaces"]["gone"] = json!({
        "vpc": "internet", "port": "af_packet:rw-none", "mac": "02:00:00:00:09:01",
        "addresses": ["192.0.2.1/24"], "neighbors": {"192.0.2.9": {"mac": "02:00:00:00:09:09"}},
    });
    document["vpcs"]["blue"]["routes"]["192.0.2.0/24"] =
        json!({ "next_hops": [{ "interface": "gone", "via": "192.0.2.9" }] });
    document
}

#[test]
fn drops_stand_in_the_file_with_their_reasons() {
    let Some(lab) = Lab::with(&with_a_closed_port()) else {
        return;
    };
    lab.blue.ping("198.51.100.1", "-c 1 -W 2").assert_all();
    // The first is refused by its route, the second leaves by a port that is closed, the third goes through.
    let pings = ["10.9.0.1", "192.0.2.7", "198.51.100.1"].map(|to| lab.blue.keep_pinging(to));
    let all = Capture::start(&lab, "drops", 8, &["--drops"]);
    let refused = Capture::start(&lab, "refused", 2, &["--drops", "route_unreachable"]);
    let filter = ["icmp and dst host 192.0.2.7", "--drops", "port_closed"];
    let closed = Capture::start(&lab, "closed", 2, &filter);
    let node = Capture::start(&lab, "node", 4, &["--node", "route"]);
    let said = "route: dropped, route_unreachable: The route says that the destination is unreachable. Its sender is told.";
    for packet in refused.read() {
        let Packet {
            comment,
            source,
            destination,
            ..
        } = packet;
        assert_eq!(comment, said);
        assert_eq!(
            (source.as_str(), destination.as_str()),
            ("10.1.0.10", "10.9.0.1")
        );
    }
    for packet in closed.read() {
        let comment = "ethernet_output: dropped, port_closed: The outgoing interface has no port that is open.";
        assert_eq!(packet.comment, comment);
        assert_eq!(
            (packet.interface.as_str(), packet.destination.as_str()),
            ("gone", "192.0.2.7")
        );
    }
    let all = all.read();
    assert_eq!(all.len(), 8);
    for reason in ["route_unreachable", "port_closed"] {
        let has = |packet: &Packet| packet.comment.contains(reason);
        assert!(all.iter().any(has), "{reason}: {all:#?}");
    }
    let node = node.read();
    assert_eq!(node.len(), 4);
    for packet in &node {
        assert_eq!(packet.interface, "route", "{packet:?}");
        assert!(packet.comment.starts_with("route: "), "{packet:?}");
    }
    // Nothing else was lost.
    let [.., through] = pings;
    through.stop().assert_all();
}

#[test]
fn four_capture_at_once_and_the_fifth_is_told_of_them() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let never = "host 192.0.2.99";
    let places: [(&str, &[&str]); 4] = [
        ("a", &[never, "--at", "blue0"]),
        ("b", &[never, "--node", "acl"]),
        ("c", &[never, "--drops"]),
        ("d", &[never, "--drops", "no_route"]),
    ];
    let start = |(name, arguments)| Capture::start(&lab, name, 1, arguments);
    let mut four: Vec<Capture> = places.into_iter().map(start).collect();
    let file = std::env::temp_dir().join(format!("rewire-fifth-{}.pcapng", std::process::id()));
    let path = file.to_str().expect("a name");
    let fifth = ["capture", "--drops", "--timeout", "1s", "-w", path];
    // Nothing says that a capture is going on; one that the fifth has kept out begins again, with more time before it is tried
    // again.
    let (mut rounds, mut patience) = (0, 10);
    let refused = until_for(Duration::from_secs(60), "all four are going on", || {
        for (capture, place) in four.iter_mut().zip(places) {
            if !capture.running.is_running() {
                *capture = start(place);
                (rounds, patience) = (0, 2 * patience);
            }
        }
        rounds += 1;
        if rounds < patience {
            return None;
        }
        let answer = lab.rewire(&fifth);
        (answer.code != Some(0)).then_some(answer)
    });
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let said = "error: the gateway refuses: \"4 watch the gateway's packets already, and no more can at once: ";
    assert!(refused.stderr.starts_with(said), "{refused:?}");
    for who in [
        "--at blue0 for 60 s",
        "--node acl for 60 s",
        "--drops for 60 s",
        "--drops no_route for 60 s",
    ] {
        assert!(refused.stderr.contains(who), "{refused:?}");
    }
    // Whoever is killed leaves a place.
    drop(four.pop());
    until_for(Duration::from_secs(60), "there is a place", || {
        (lab.rewire(&fifth).code == Some(0)).then_some(())
    });
    let _ = std::fs::remove_file(&file);
}

#[test]
fn what_is_held_when_the_gateway_stops_is_captured() {
    let mut document = with_a_closed_port();
    // Nobody answers for this router: what is sent there waits.
    document["vpcs"]["blue"]["routes"]["192.0.2.0/24"]["next_hops"][0]["via"] = json!("192.0.2.8");
    let Some(mut lab) = Lab::with(&document) else {
        return;
    };
    // Nothing says that a capture is going on; one that came too late is tried again.
    let packets = until_for(Duration::from_secs(100), "what is held is captured", || {
        if !lab.is_running() {
            lab.start_gateway();
        }
        let stopped = Capture::start(&lab, "stopped", 100, &["--drops", "stopped"]);
        let _pings = lab.blue.keep_pinging("192.0.2.7");
        until_for(Duration::from_secs(60), "a packet waits", || {
            (lab.status()["packets"]["held"].as_u64()? > 0).then_some(())
        });
        assert!(lab.stop_gateway(Signal::TERM).success());
        stopped.read_if_done().filter(|packets| !packets.is_empty())
    });
    let said = "neighbor: dropped, stopped: The gateway was stopped while the packet was held.";
    for packet in packets {
        assert_eq!(packet.comment, said);
        let ends = (packet.interface.as_str(), packet.destination.as_str());
        assert_eq!(ends, ("blue0", "192.0.2.7"));
    }
}
