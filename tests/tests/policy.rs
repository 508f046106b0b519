//! A commit under running traffic: what the new policy allows goes on, what it forbids stops.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use rewire_tests::documents::{dead_end, red_stays_inside, two_vpcs};
use rewire_tests::{Lab, RunningPing, tcp_pair, until};

#[test]
fn pings_that_stay_allowed_are_never_lost_and_forbidden_ones_stop() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let blue = lab.blue.keep_pinging("198.51.100.1");
    let red = lab.red.keep_pinging("198.51.100.1");
    blue.wait_for(10);
    red.wait_for(10);
    for round in 0..3 {
        lab.commit(&red_stays_inside());
        // From here on red gets no answer, apart from what its kernel had received already.
        red.wait_for_line("From 10.2.0.1 ");
        let stopped = red.answers();
        blue.wait_for(20);
        assert_eq!(
            red.answers(),
            stopped,
            "round {round}: red is still answered"
        );
        lab.commit(&two_vpcs());
        red.wait_for(5);
        blue.wait_for(5);
    }
    blue.stop().assert_all();
    red.stop();
}

#[test]
fn a_connection_that_stays_allowed_goes_on_and_a_forbidden_one_stops() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut blue = tcp_pair(
        &lab.blue,
        "198.51.100.1:80",
        &lab.internet,
        "198.51.100.1:80",
    )
    .expect("blue goes out");
    let mut red = tcp_pair(
        &lab.red,
        "198.51.100.1:81",
        &lab.internet,
        "198.51.100.1:81",
    )
    .expect("red goes out");
    let mut inward = tcp_pair(&lab.internet, "203.0.113.1:8080", &lab.blue, "10.1.0.10:80")
        .expect("TCP comes in");
    for tcp in [&mut blue, &mut red, &mut inward] {
        tcp.talk(1000);
    }
    let forwarded = |lab: &Lab| lab.metrics().sum(DROPS);
    let before = forwarded(&lab);
    let said = lab.commit(&red_stays_inside());
    let connections = "connections: 1 still allowed, 2 ended\n";
    assert!(said.ends_with(connections), "{said}");
    blue.talk(100_000);
    // Both ways of both forbidden connections: their packets are dropped, by name, and none arrives.
    for (mut writer, mut reader) in [
        (&red.client, &red.server),
        (&red.server, &red.client),
        (&inward.client, &inward.server),
        (&inward.server, &inward.client),
    ] {
        let dropped = forwarded(&lab);
        assert!(dropped >= before);
        writer
            .write_all(b"still there?")
            .expect("the kernel buffers it");
        until("the packet is dropped", || {
            (forwarded(&lab) > dropped).then_some(())
        });
        reader
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time-out");
        let error = reader
            .read(&mut [0; 16])
            .expect_err("a forbidden connection goes on");
        let silent = [
            ErrorKind::WouldBlock,
            ErrorKind::TimedOut,
            ErrorKind::HostUnreachable,
            ErrorKind::NetworkUnreachable,
        ];
        assert!(silent.contains(&error.kind()), "{error}");
    }
    blue.talk(1000);
}

#[test]
fn rewind_heals_what_a_commit_broke() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let mut broken = two_vpcs();
    dead_end(&mut broken, "blue", "blackhole");
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
    lab.commit(&broken);
    lab.blue
        .ping("198.51.100.1", "-c 2 -i 0.1 -W 1")
        .assert_lost();
    let said = lab.rewire(&["rewind", "1"]).good();
    assert!(said.contains("revision 3 live"), "{said}");
    lab.blue.ping("198.51.100.1", "-c 2 -i 0.1").assert_all();
    let log = lab.rewire(&["log"]).good();
    let digests: Vec<&str> = log
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().nth(6).unwrap_or(""))
        .collect();
    assert_eq!(digests.len(), 3, "{log}");
    assert_eq!(digests[0], digests[2], "{log}");
    assert_ne!(digests[0], digests[1], "{log}");
}

#[test]
fn many_commits_cost_no_ping() {
    let Some(lab) = Lab::with(&two_vpcs()) else {
        return;
    };
    let pings: [RunningPing; 2] =
        [&lab.blue, &lab.red].map(|host| host.keep_pinging("198.51.100.1"));
    for ping in &pings {
        ping.wait_for(5);
    }
    let mut document = two_vpcs();
    for port in 0..20 {
        document["nat"]["port_forward"]["web"]["internal_port"] = (1000 + port).into();
        lab.commit(&document);
    }
    for ping in pings {
        ping.wait_for(5);
        ping.stop().assert_all();
    }
}

/// The metric that counts drops, by reason.
const DROPS: &str = "rewire_dropped_packets_total";
