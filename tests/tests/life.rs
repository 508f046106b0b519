//! The gateway's own life: starts, stops, what it cannot open, what it follows.

use std::time::Duration;

use rewire_tests::documents::{remove, two_vpcs};
use rewire_tests::{Lab, tcp_pair_within, until};
use rustix::process::Signal;

#[test]
fn a_commit_is_live_when_it_says_so() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut closed = two_vpcs();
    remove(&mut closed["nat"], "port_forward");
    for round in 1..=5 {
        let (shut, open) = (2 * round, 2 * round + 1);
        for (revision, document) in [(shut, &closed), (open, &two_vpcs())] {
            let said = lab.commit(document);
            assert!(
                said.contains(&format!("revision {revision} live")),
                "{said}"
            );
            assert_eq!(lab.status()["revision"], revision);
            // The very next packet meets the new policy.
            let tcp = tcp_pair_within(
                Duration::from_secs(2),
                &lab.internet,
                "203.0.113.1:8080",
                &lab.blue,
                "10.1.0.10:80",
            );
            assert_eq!(tcp.is_ok(), revision == open, "{tcp:?}");
        }
    }
}

#[test]
fn a_gateway_that_comes_back_does_what_the_newest_revision_says() {
    let Some(mut lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.blue.ping("198.51.100.1", "-c 1").assert_all();
    assert!(
        lab.stop_gateway(Signal::TERM).success(),
        "SIGTERM is no way to fail"
    );
    let ping = lab.blue.ping("198.51.100.1", "-c 1 -W 1");
    assert!(ping.answered.is_empty(), "{}", ping.output);
    // A commit needs no gateway.
    let mut document = two_vpcs();
    remove(&mut document["nat"], "port_forward");
    lab.commit(&document);
    lab.start_gateway();
    until("revision 2 is live", || {
        (lab.status()["revision"] == 2).then_some(())
    });
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
}

#[test]
fn interrupt_and_terminate_end_it_well_under_traffic() {
    let Some(mut lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    for signal in [Signal::TERM, Signal::INT] {
        let ping = lab.blue.keep_pinging("198.51.100.1");
        ping.wait_for(3);
        let status = lab.stop_gateway(signal);
        assert!(status.success(), "{signal:?}: {status}");
        ping.stop();
        assert_eq!(lab.rewire(&["status"]).code, Some(3), "no gateway runs");
        lab.start_gateway();
        until("revision 1 is live", || {
            (lab.status()["revision"] == 1).then_some(())
        });
    }
}

#[test]
fn a_killed_gateway_is_no_obstacle_to_the_next() {
    let Some(mut lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    lab.stop_gateway(Signal::KILL);
    // Its socket is still there, and nobody listens.
    assert_eq!(lab.rewire(&["status"]).code, Some(3), "no gateway runs");
    lab.start_gateway();
    until("revision 1 is live", || {
        (lab.status()["revision"] == 1).then_some(())
    });
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
}

#[test]
fn a_store_has_one_gateway() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let second = lab.rewire(&["run", "--metrics", "off"]);
    assert_ne!(second.code, Some(0));
    assert!(
        second.stderr.contains("another gateway is running"),
        "{second:#?}"
    );
    // The first has not noticed.
    lab.blue.ping("198.51.100.1", "-c 1").assert_all();
    assert_eq!(lab.status()["revision"], 1);
}
