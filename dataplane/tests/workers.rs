//! Several workers: what belongs together meets, whichever worker receives it.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rewire_dataplane::clock::{Clock, ManualClock, MonotonicClock};
use rewire_dataplane::graph::Steering;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{DropReason, GatewayConfig, Totals};
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use support::town::*;
use support::*;

/// Some numbers of workers, odd ones among them, with one queue a port and with one for each worker.
fn towns() -> impl Iterator<Item = Town> {
    towns_by(|| Arc::new(MonotonicClock::default()))
}

/// The same where no time goes by: what waits for another packet waits for it, however busy the machine is.
fn timeless_towns() -> impl Iterator<Item = Town> {
    towns_by(|| Arc::new(ManualClock::default()))
}

fn towns_by(clock: impl Fn() -> Arc<dyn Clock>) -> impl Iterator<Item = Town> {
    let all = [(1, false), (2, false), (2, true), (3, true), (5, false)];
    all.into_iter().map(move |(workers, has_several_queues)| {
        let driver = MemoryDriver::default();
        let driver = match has_several_queues {
            true => driver.with_several_queues(),
            false => driver,
        };
        let config = GatewayConfig {
            workers,
            ..GatewayConfig::default()
        };
        Town::by(clock(), driver, config)
    })
}

#[test]
fn masqueraded_connections_get_their_answers() {
    for town in towns() {
        let mut given = HashMap::new();
        for n in 0..40u16 {
            let host = Ipv4Addr::new(10, 1, 0, 30 + (n % 20) as u8);
            let inside = (host, 4000 + n);
            let out = |to: u8| at("blue0", udp(inside, (site(to), 53), 8));
            let there = town.through("blue0", out(1), "wan");
            let external = (there.source, there.ports().0);
            assert_eq!(there.source, WAN);
            assert_eq!(given.insert(external, inside), None, "given twice");
            // Whoever it speaks to (RFC 4787, REQ-1), and again.
            for to in [2, 3, 1] {
                let there = town.through("blue0", out(to), "wan");
                assert_eq!((there.source, there.ports().0), external);
                let answer = at("wan", udp((site(to), 53), external, 8));
                let back = town.through("wan", answer, "blue0");
                assert_eq!((back.destination, back.ports().1), inside);
            }
        }
        assert_eq!(town.stop().dropped(), 0);
    }
}

#[test]
fn few_ports_are_given_out_by_one_worker_and_answered_to_any() {
    for town in towns() {
        for n in 0..30u16 {
            let inside = (Ipv4Addr::new(10, 2, 0, 10 + n as u8), 4000 + n);
            let there = town.through("red0", at("red0", udp(inside, (site(1), 53), 8)), "wan");
            let external = (there.source, there.ports().0);
            assert!((5000..5100).contains(&external.1), "{external:?}");
            for _ in 0..2 {
                let answer = at("wan", udp((site(1), 53), external, 8));
                let back = town.through("wan", answer, "red0");
                assert_eq!((back.destination, back.ports().1), inside);
            }
        }
        assert_eq!(town.stop().dropped(), 0);
    }
}

/// Whoever gets a packet from outside, the worker that has the mapping lets it in; also where the rule has few ports, which are
/// all one worker's.
#[test]
fn what_a_filter_lets_in_finds_its_mapping() {
    let mut open = document();
    for rule in ["blue-out", "red-out"] {
        open["nat"]["masquerade"][rule]["filtering"] = json!("endpoint_independent");
    }
    for mut town in towns() {
        town.commit(open.clone());
        for host in 0..20_u8 {
            let port = 4000 + 7 * u16::from(host);
            for (link, inside) in [
                ("blue0", Ipv4Addr::new(10, 1, 0, 30 + host)),
                ("red0", Ipv4Addr::new(10, 2, 0, 30 + host)),
            ] {
                let out = at(link, udp((inside, port), (site(1), 53), 3));
                let external = town.through(link, out, "wan").ports().0;
                let into = at("wan", udp((site(host), 99), (WAN, external), 3));
                let ip = town.through("wan", into, link);
                assert_eq!((ip.destination, ip.ports()), (inside, (99, port)));
                let back = at(link, udp((inside, port), (site(host), 99), 3));
                let ip = town.through(link, back, "wan");
                assert_eq!((ip.source, ip.ports()), (WAN, (external, 99)));
            }
        }
        assert_eq!(town.stop().mappings, 40);
    }
}

#[test]
fn forwarded_ports_and_static_addresses_get_their_answers() {
    let web = (Ipv4Addr::new(10, 1, 0, 10), 80);
    let web_outside = (WAN, 8080);
    let mail = Ipv4Addr::new(10, 1, 0, 20);
    let mail_outside = Ipv4Addr::new(203, 0, 113, 9);
    for town in towns() {
        for n in 0..30u16 {
            let client = (site(n as u8 + 1), 3000 + n);
            for (inside, outside) in [(web, web_outside), ((mail, 25), (mail_outside, 25))] {
                for flags in [SYN, ACK] {
                    let there = at("wan", tcp(client, outside, flags));
                    let there = town.through("wan", there, "blue0");
                    assert_eq!((there.destination, there.ports().1), inside);
                    let back = at("blue0", tcp(inside, client, flags | ACK));
                    let back = town.through("blue0", back, "wan");
                    assert_eq!((back.source, back.ports().0), outside);
                }
            }
            // And from inside, through its external port.
            let neighbor = (Ipv4Addr::new(10, 1, 0, 30 + n as u8), 6000);
            let mut outside = None;
            for flags in [SYN, ACK] {
                let there = at("blue0", tcp(neighbor, web_outside, flags));
                let there = town.through("blue0", there, "blue0");
                assert_eq!((there.destination, there.ports().1), web);
                assert_eq!(there.source, WAN);
                let external = (WAN, there.ports().0);
                assert_eq!(*outside.get_or_insert(external), external);
                let back = at("blue0", tcp(web, external, flags | ACK));
                let back = town.through("blue0", back, "blue0");
                assert_eq!((back.source, back.ports().0), web_outside);
                assert_eq!((back.destination, back.ports().1), neighbor);
            }
            // And out again, under its own address.
            let out = at("blue0", udp((mail, 2000 + n), (site(n as u8 + 1), 53), 8));
            let there = town.through("blue0", out, "wan");
            assert_eq!((there.source, there.ports().0), (mail_outside, 2000 + n));
            let back = at(
                "wan",
                udp((there.destination, 53), (mail_outside, 2000 + n), 8),
            );
            let back = town.through("wan", back, "blue0");
            assert_eq!((back.destination, back.ports().1), (mail, 2000 + n));
        }
        assert_eq!(town.stop().dropped(), 0);
    }
}

#[test]
fn plain_connections_meet_in_both_directions() {
    for town in towns() {
        for n in 0..40u8 {
            let (left, right) = (
                (Ipv4Addr::new(10, 3, 0, 10 + n), 1000),
                (Ipv4Addr::new(10, 4, 0, 200 - n), 22),
            );
            // Each needs the other direction: a SYN-ACK without its SYN is nobody's.
            let there = town.through("green0", at("green0", tcp(left, right, SYN)), "green1");
            assert_eq!(there.endpoints(), (left.0, right.0));
            let back = tcp(right, left, SYN | ACK);
            town.through("green1", at("green1", back), "green0");
            town.through("green0", at("green0", tcp(left, right, ACK)), "green1");
        }
        let shared = town.gateway.shared();
        let totals = town.stop();
        assert_eq!(totals.dropped(), 0);
        assert_eq!(shared.totals().connections_created, 40, "each began once");
    }
}

#[test]
fn queries_and_errors_of_icmp_find_their_connections() {
    for town in towns() {
        for n in 0..30u16 {
            let host = Ipv4Addr::new(10, 1, 0, 30 + n as u8);
            let there = town.through("blue0", at("blue0", echo(host, SITE, 7)), "wan");
            let L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) = there.transport else {
                panic!("{there:?}");
            };
            let reply = Icmpv4Repr::EchoReply {
                identifier,
                sequence: 1,
            };
            let reply = at("wan", icmp(SITE, WAN, reply, b"ping"));
            let back = town.through("wan", reply, "blue0");
            assert_eq!(back.destination, host);

            // A router on the way reports a packet of a masqueraded connection, of a forwarded one, and of a plain one.
            let unreachable = |from, to, quoted: &Build| {
                let repr = Icmpv4Repr::Error(Icmpv4Error::HostUnreachable);
                icmp(from, to, repr, &quoted.packet())
            };
            let out = at("blue0", udp((host, 5000), (SITE, 53), 8));
            let there = town.through("blue0", out, "wan");
            let quoted = udp((WAN, there.ports().0), (SITE, 53), 8);
            let report = at("wan", unreachable(site(99), WAN, &quoted));
            assert_eq!(town.through("wan", report, "blue0").destination, host);

            let (client, web) = ((site(100 + n as u8), 3000), (HOST, 80));
            town.through("wan", at("wan", tcp(client, (WAN, 8080), SYN)), "blue0");
            let quoted = tcp(client, web, SYN);
            let report = at(
                "blue0",
                unreachable(Ipv4Addr::new(10, 1, 0, 99), client.0, &quoted),
            );
            assert_eq!(town.through("blue0", report, "wan").destination, client.0);

            let (left, right) = (
                Ipv4Addr::new(10, 3, 0, 10 + n as u8),
                Ipv4Addr::new(10, 4, 0, 7),
            );
            let plain = at("green0", udp((left, 9), (right, 9), 8));
            town.through("green0", plain.clone(), "green1");
            let report = at("green1", unreachable(right, left, &plain));
            assert_eq!(town.through("green1", report, "green0").destination, left);
        }
        assert_eq!(town.stop().dropped(), 0);
    }
}

/// Item by item the same as with one worker, but for the ports that a masquerade chooses.
#[test]
fn several_workers_forward_the_same_bytes_as_one() {
    let packets = |town: &Town| -> Vec<Vec<u8>> {
        let mut count = 0;
        for n in 0..60u8 {
            let (left, right) = (
                Ipv4Addr::new(10, 3, 0, 10 + n % 30),
                Ipv4Addr::new(10, 4, 0, n + 10),
            );
            for port in 0..8u16 {
                let data = usize::from(n) + usize::from(port) * 60;
                town.send(
                    "green0",
                    at("green0", udp((left, 100 + port), (right, 9), data)),
                );
                count += 1;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut frames = Vec::new();
        while frames.len() < count {
            frames.extend(town.look("green1"));
            assert!(
                Instant::now() < deadline,
                "{} of {count} came",
                frames.len()
            );
        }
        frames
    };
    let of_flow = |frames: &[Vec<u8>]| {
        let mut flows: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
        for frame in frames {
            let ip = Ip::of(frame);
            let flow = (ip.endpoints(), ip.ports());
            flows.entry(flow).or_default().push(frame.clone());
        }
        flows
    };
    let mut all = towns().map(|town| {
        // Known neighbors: what waits for an answer could be overtaken by its own flow on another burst.
        let first = packets(&town);
        let second = packets(&town);
        assert_eq!(first.len(), second.len());
        let flows = of_flow(&second);
        assert_eq!(town.stop().dropped(), 0);
        flows
    });
    let one = all.next().unwrap();
    for several in all {
        assert!(one == several);
    }
}

/// Whatever is committed meanwhile, no external port is two hosts' at once, and none changes.
#[test]
fn under_commits_no_external_port_is_given_twice() {
    let config = GatewayConfig {
        workers: 3,
        ..GatewayConfig::default()
    };
    let mut town = Town::on(MemoryDriver::default().with_several_queues(), config);
    let mut other = document();
    other["vpcs"]["blue"]["routes"]["172.16.0.0/12"] = json!({ "type": "blackhole" });
    other["nat"]["port_forward"]["late"] = json!({
        "protocol": "udp", "external_vpc": "internet", "external_address": "203.0.113.1", "external_port": 1,
        "internal_vpc": "blue", "internal_address": "10.1.0.11", "internal_port": 1,
    });
    let mut documents = [document(), other];
    // A rule's own ports are such as those of another rule's senders, who keep them.
    for document in &mut documents {
        document["nat"]["masquerade"]["red-out"]["ports"] = json!("2000-2499");
    }
    town.commit(documents[0].clone());
    // The length of a datagram says whose it is.
    let host = |n: usize| {
        let last = 30 + (n % 100) as u8;
        match n % 3 {
            0 => ("red0", (Ipv4Addr::new(10, 2, 0, last), 2001 + n as u16)),
            _ => ("blue0", (Ipv4Addr::new(10, 1, 0, last), 2000 + n as u16)),
        }
    };
    let mut given: HashMap<u16, usize> = HashMap::new();
    let mut mappings: HashMap<usize, u16> = HashMap::new();
    let mut seen = 0;
    let rounds = 6;
    let hosts = 300;
    for round in 0..rounds {
        for n in 0..hosts {
            let (interface, host) = host(n);
            let frame = udp(host, (site(round as u8), 53), n);
            town.send(interface, at(interface, frame));
            if n % 60 == 0 {
                town.commit(documents[(round + n / 60) % 2].clone());
            }
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        while seen < (round + 1) * hosts {
            assert!(Instant::now() < deadline, "{seen} came");
            let Some(frame) = town.look("wan") else {
                continue;
            };
            seen += 1;
            let out = Ip::of(&frame);
            let n = frame.len() - 14 - 28;
            let port = out.ports().0;
            assert_eq!(
                *given.entry(port).or_insert(n),
                n,
                "port {port} is two hosts'"
            );
            assert_eq!(
                *mappings.entry(n).or_insert(port),
                port,
                "host {n} has two ports"
            );
        }
    }
    assert_eq!(mappings.len(), hosts);
    assert_eq!(town.stop().dropped(), 0);
}

#[test]
fn what_is_nobodys_is_dropped_once() {
    for town in towns() {
        let shared = town.gateway.shared();
        for n in 0..10u16 {
            let stray = udp((SITE, 53), (WAN, 40_000 + 64 * n), 8);
            town.send("wan", at("wan", stray));
            let ack = tcp((SITE, 443), (WAN, 41_000 + 64 * n), SYN | ACK);
            town.send("wan", at("wan", ack));
        }
        let deadline = Instant::now() + Duration::from_secs(20);
        // Some senders are told; their answers are out by then.
        let done =
            |totals: Totals| totals.dropped() >= 20 && totals.transmitted == totals.generated;
        while !done(shared.totals()) {
            assert!(Instant::now() < deadline, "{:?}", shared.totals());
            std::thread::yield_now();
        }
        let totals = town.stop();
        // Answers may still have been on their way to the worker of their port, or have come there when it was closed.
        let at_the_end = [DropReason::Stopped, DropReason::PortClosed];
        let dropped = totals.dropped()
            - at_the_end
                .map(|r| totals.dropped_for(r))
                .iter()
                .sum::<u64>();
        let reasons: Vec<_> = DropReason::ALL
            .iter()
            .map(|reason| (*reason, totals.dropped_for(*reason)))
            .filter(|(_, number)| *number > 0)
            .collect();
        assert_eq!((totals.received, dropped), (20, 20), "{reasons:?}");
    }
}

/// A datagram in two fragments.
fn cut(whole: &Build, identification: u16) -> [Build; 2] {
    let bytes = whole.packet()[20..].to_vec();
    let mut first = whole.clone().may_fragment().with_payload(&bytes[..32]);
    let mut later = whole.clone().may_fragment().with_payload(&bytes[32..]);
    first.ip.identification = identification;
    first.ip.more_fragments = true;
    later.ip.identification = identification;
    later.ip.fragment_offset = 32 / 8;
    [first, later]
}

/// Only the first has ports, and yet all go the same way: plain, masqueraded, and back to a port of a masquerade.
#[test]
fn fragments_follow_their_datagram() {
    for town in timeless_towns() {
        let through = |from: &str, whole: Build, to: &str, n: u16| {
            let mut fragments = cut(&at(from, whole), n);
            if n % 2 == 1 {
                fragments.reverse();
            }
            for fragment in fragments {
                town.send(from, fragment);
            }
            let out = [town.receive(to), town.receive(to)];
            assert_eq!(out[0].endpoints(), out[1].endpoints());
            out[0].endpoints()
        };
        for n in 0..20u16 {
            let (left, right) = (
                Ipv4Addr::new(10, 3, 0, 10 + n as u8),
                Ipv4Addr::new(10, 4, 0, 7),
            );
            let plain = udp((left, 9), (right, 9), 64);
            assert_eq!(through("green0", plain, "green1", n), (left, right));
            let host = Ipv4Addr::new(10, 1, 0, 30 + n as u8);
            let out = udp((host, 5000), (SITE, 53), 64);
            let there = town.through("blue0", at("blue0", out.clone()), "wan");
            let external = (there.source, there.ports().0);
            assert_eq!(through("blue0", out, "wan", n), (WAN, SITE));
            let back = udp((SITE, 53), external, 64);
            assert_eq!(through("wan", back, "blue0", n), (SITE, host));
        }
        assert_eq!(town.stop().dropped(), 0);
    }
}

/// The document, with neighbors for all hosts that a test tube has.
fn known_neighbors() -> serde_json::Value {
    let mut document = document();
    let mac = HOST_MAC.to_string();
    for (interface, network) in [("blue0", 1), ("green0", 3), ("green1", 4)] {
        for host in 10..30 {
            let address = format!("10.{network}.0.{host}");
            document["interfaces"][interface]["neighbors"][address] = json!({ "mac": mac });
        }
    }
    document
}

/// A packet, and where it comes in.
fn packet(kind: u8, host: u8, client: u8, ports: [u16; 2]) -> (&'static str, Build) {
    let (low, high) = (1024 | ports[0], 1024 | ports[1]);
    let from = (site(client.max(1)), high);
    match kind {
        0 => ("wan", tcp(from, (WAN, 8080), SYN)),
        1 => ("wan", udp(from, (Ipv4Addr::new(203, 0, 113, 9), low), 8)),
        2 => ("blue0", udp((Ipv4Addr::new(10, 1, 0, 20), low), from, 8)),
        3 => {
            let right = Ipv4Addr::new(10, 4, 0, 10 + client % 20);
            (
                "green0",
                udp((Ipv4Addr::new(10, 3, 0, host), low), (right, high), 8),
            )
        }
        // But for the host that has an external address of its own.
        _ => {
            let host = if host == 20 { 21 } else { host };
            ("blue0", udp((Ipv4Addr::new(10, 1, 0, host), low), from, 8))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Of whatever kind a connection is, its packets of both directions, and an error about them, are one worker's, told from
    /// the packets alone.
    #[test]
    fn both_directions_have_one_owner(
        workers in 1u16..9,
        packets in prop::collection::vec((0u8..5, 10u8..30, any::<u8>(), any::<[u16; 2]>()), 1..40),
    ) {
        let mut lab = Lab::new(known_neighbors());
        let steering = Steering::new(0, workers);
        let owner = |lab: &Lab, from, frame: &[u8]| {
            let owner = lab.gateway.with_tables(|tables| steering.of_frame(tables, from, frame));
            owner.flatten().unwrap()
        };
        for (kind, host, client, ports) in packets {
            let (from, there) = packet(kind, host, client, ports);
            let there = at(from, there);
            let ingress = lab.gateway.interface(from).unwrap();
            let to = owner(&lab, ingress, &there.frame());
            prop_assert!(to < workers);
            let sent = lab.send(from, there.frame());
            // Addresses and ports of an earlier connection in the other direction.
            let [sent] = &sent[..] else { continue };
            let back = answer(&Ip::of(&sent.frame));
            let reply = owner(&lab, sent.interface, &back.frame());
            let told = Icmpv4Repr::Error(Icmpv4Error::HostUnreachable);
            let quoted = &sent.frame[14..];
            let error = icmp(back.ip.source, back.ip.destination, told, quoted);
            prop_assert_eq!(owner(&lab, sent.interface, &error.frame()), reply, "an error");
            if kind < 4 {
                prop_assert_eq!(to, reply, "{} {:?}", kind, there);
                let mut fragment = there.clone().may_fragment();
                fragment.ip.more_fragments = true;
                if kind == 3 {
                    prop_assert_eq!(owner(&lab, ingress, &fragment.frame()), to, "a fragment");
                }
            } else {
                // Masqueraded: by the port that is given; and all of an endpoint comes to one worker.
                let port = Ip::of(&sent.frame).ports().0;
                prop_assert_eq!(reply, rewire_conntrack::owner(port, workers));
                let source = there.ip.source;
                let other = at(from, udp((source, 1024 | ports[0]), (site(77), 443), 8));
                prop_assert_eq!(owner(&lab, ingress, &other.frame()), to);
            }
        }
    }
}
