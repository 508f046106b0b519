//! A gateway takes over what one with another number of workers has saved: each connection is its new home's.

mod support;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;

use rewire_dataplane::{GatewayConfig, Restored};
use rewire_packet::icmpv4::Icmpv4Repr;
use support::town::*;
use support::*;

fn start(file: &Path, workers: u16) -> Town {
    Town::with(GatewayConfig {
        workers,
        connections_file: Some(file.to_owned()),
        ..GatewayConfig::default()
    })
}

/// A connection: its packets, where they come in and go out; what left with the first, and the answer to that.
struct Conversation {
    from: &'static str,
    packet: Build,
    to: &'static str,
    left: Ip,
    answer: Build,
    answered: Ip,
}

fn begin(town: &Town, from: &'static str, packet: Build, to: &'static str) -> Conversation {
    let packet = at(from, packet);
    let left = town.through(from, packet.clone(), to);
    let answer = match left.transport {
        L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) => {
            let reply = Icmpv4Repr::EchoReply {
                identifier,
                sequence: 1,
            };
            icmp(left.destination, left.source, reply, b"ping")
        }
        _ => answer(&left),
    };
    let answer = at(to, answer);
    let answered = town.through(to, answer.clone(), from);
    Conversation {
        from,
        packet,
        to,
        left,
        answer,
        answered,
    }
}

/// What a packet says of its connection.
fn ends(ip: &Ip) -> String {
    match &ip.transport {
        L4::Icmp(repr, _) => format!("{:?} {repr:?}", ip.endpoints()),
        _ => format!("{:?} {:?}", ip.endpoints(), ip.ports()),
    }
}

/// Of each kind some, every one with a port of its own.
fn begin_all(town: &Town) -> Vec<Conversation> {
    let mut all = Vec::new();
    for n in 0..8u16 {
        let host = Ipv4Addr::new(10, 1, 0, 30 + n as u8);
        let port = 3000 + 37 * n;
        let out = udp((host, port), (site(1), 53), 8);
        all.push(begin(town, "blue0", out, "wan"));
        all.push(begin(town, "blue0", echo(host, SITE, 9000 + 70 * n), "wan"));
        // Few ports, none of which can be kept.
        let red = (Ipv4Addr::new(10, 2, 0, 10 + n as u8), 4000 + n);
        all.push(begin(town, "red0", udp(red, (site(1), 53), 8), "wan"));
        let client = (site(100 + n as u8), port);
        all.push(begin(town, "wan", tcp(client, (WAN, 8080), SYN), "blue0"));
        let mail = (Ipv4Addr::new(203, 0, 113, 9), 25);
        all.push(begin(town, "wan", tcp(client, mail, SYN), "blue0"));
        let (left, right) = (
            (Ipv4Addr::new(10, 3, 0, 10 + n as u8), port),
            (Ipv4Addr::new(10, 4, 0, 200 - n as u8), 22),
        );
        all.push(begin(town, "green0", tcp(left, right, SYN), "green1"));
    }
    all
}

#[test]
fn connections_go_to_their_homes_among_another_number_of_workers() {
    let folder = tempfile::tempdir().unwrap();
    for (before, after) in [(1, 2), (2, 1), (2, 3), (5, 3), (3, 3)] {
        let file = folder.path().join(format!("{before}-{after}"));
        let first = start(&file, before);
        let all = begin_all(&first);
        assert_eq!(first.stop().dropped(), 0);
        let second = start(&file, after);
        let expected = Restored {
            restored: all.len() as u64,
            ..Restored::default()
        };
        let shared = second.gateway.shared();
        assert_eq!(shared.restored(), Some(expected), "{before} to {after}");
        // Neighbors are learned anew: what asks first may be either direction.
        for (n, one) in all.iter().enumerate() {
            let answered = || second.through(one.to, one.answer.clone(), one.from);
            let left = || second.through(one.from, one.packet.clone(), one.to);
            let (left, answered) = match n % 2 {
                0 => (left(), answered()),
                _ => {
                    let answered = answered();
                    (left(), answered)
                }
            };
            assert_eq!(ends(&left), ends(&one.left), "{before} to {after}");
            assert_eq!(ends(&answered), ends(&one.answered), "{before} to {after}");
        }
        let totals = second.stop();
        assert_eq!(totals.dropped(), 0, "{totals:?}");
        assert_eq!(totals.connections_created, 0, "{before} to {after}");
    }
}

/// Ports that could not be kept: of an endpoint and its external port that are two workers' now, nothing is taken over. What is,
/// works, and nobody is given a port of it.
#[test]
fn what_would_meet_at_two_workers_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    for (before, after) in [(1, 3), (2, 3), (3, 1)] {
        let file = folder.path().join(format!("{before}-{after}"));
        let host = |n: u16| Ipv4Addr::new(10, 1, 0, 30 + n as u8);
        let out = |n: u16| udp((host(n), 4000), (site(1), 53), 8);
        let first = start(&file, before);
        // More than a few blocks of ports, which are dealt out.
        let all: Vec<_> = (0..190)
            .map(|n| begin(&first, "blue0", out(n), "wan"))
            .collect();
        first.stop();
        let second = start(&file, after);
        let restored = second.gateway.shared().restored().unwrap();
        let saved = restored.restored + restored.not_owned;
        assert_eq!(saved, all.len() as u64, "{restored:?}");
        match after {
            1 => assert_eq!(restored.not_owned, 0),
            _ => assert!(restored.restored > 0 && restored.not_owned > 0),
        }
        let mut given = BTreeSet::new();
        let mut same = 0;
        for one in &all {
            let left = second.through(one.from, one.packet.clone(), one.to);
            same += u64::from(ends(&left) == ends(&one.left));
            assert!(given.insert(left.ports().0), "{} twice", left.ports().0);
            let back = second.through(one.to, at(one.to, answer(&left)), one.from);
            assert_eq!(ends(&back), ends(&one.answered));
        }
        assert!(same >= restored.restored, "{same} of {restored:?}");
        let totals = second.stop();
        assert_eq!(totals.connections_created, restored.not_owned);
    }
}
