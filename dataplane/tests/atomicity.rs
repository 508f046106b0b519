//! Law 5: one packet, one generation. Commits change two tables together, under traffic, and no packet mixes them.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool};
use rewire_dataplane::clock;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{Graph, GraphConfig, Origin, Received};
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig, Totals};
use rewire_packet::MacAddress;
use rewire_schema::{Changeset, Configuration, from_document};
use rewire_tables::{InterfaceIndex, Publisher, Reader};
use support::*;

const COMMITS: u64 = 400;

/// One of two policies: which external address senders get goes with which router their packets are sent to.
fn policy(second: bool) -> Configuration {
    let mut document = two_vpcs();
    let (address, router, mac) = match second {
        false => ("203.0.113.64", "203.0.113.2", UPSTREAM_MAC),
        true => ("203.0.113.65", "203.0.113.3", OTHER_MAC),
    };
    document["nat"]["pools"]["public"] = json!({ "vpc": "internet", "ranges": [address] });
    document["nat"]["masquerade"]["blue-out"]["pool"] = json!("public");
    document["nat"]["masquerade"]["blue-out"]["sources"] = json!(["10.1.0.0/24"]);
    document["interfaces"]["wan"]["neighbors"] = json!({ router: { "mac": mac.to_string() } });
    for vpc in ["blue", "red"] {
        document["vpcs"][vpc]["routes"]["0.0.0.0/0"] =
            json!({ "next_hops": [{ "interface": "wan", "via": router }] });
    }
    from_document(&document).expect("a document")
}

const OTHER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 1, 4]);

/// Which policy a packet was sent by.
fn which(packet: &Ip) -> u64 {
    match (packet.source.octets()[3], packet.link.1) {
        (64, UPSTREAM_MAC) => 0,
        (65, OTHER_MAC) => 1,
        mixed => panic!("two generations in one packet: {mixed:?}"),
    }
}

#[test]
fn no_packet_mixes_two_generations_and_none_is_lost_or_reordered() {
    let driver = MemoryDriver::default();
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let gateway = Gateway::start(GatewayConfig::default(), driver).expect("threads");
    let policies = [policy(false), policy(true)];
    let (mut compiler, compiled) = Compiler::compile(policies[0].clone(), 1).unwrap();
    gateway.apply(1, compiled.into_parts()).unwrap();

    let done = AtomicBool::new(false);
    let arrived = AtomicU64::new(0);
    let (sent, seen) = std::thread::scope(|scope| {
        // Few flows, so that most packets belong to a connection that an earlier generation resolved; the length tells
        // which packet it is.
        let sender = scope.spawn(|| {
            let mut number = 0u64;
            while !done.load(Ordering::Relaxed) {
                // No more on the way than the links hold: a receiver that does not get to run is no loss of ours.
                if number - arrived.load(Ordering::Relaxed) > 1000 {
                    std::thread::yield_now();
                    continue;
                }
                let port = 4000 + (number % 7) as u16;
                let frame = udp((HOST, port), (SITE, 53), (number % 1000) as usize).frame();
                // A full link is the sender's to wait for.
                if blue.send(frame) {
                    number += 1;
                } else {
                    std::thread::yield_now();
                }
            }
            number
        });
        let receiver = scope.spawn(|| {
            let (mut seen, mut by_policy) = (0u64, [0u64; 2]);
            let mut last = Instant::now();
            while !done.load(Ordering::Relaxed) || last.elapsed() < Duration::from_secs(1) {
                let Some(frame) = wan.receive() else {
                    std::thread::yield_now();
                    continue;
                };
                last = Instant::now();
                let packet = Ip::of(&frame);
                assert_eq!(
                    frame.len() as u64 - 42,
                    seen % 1000,
                    "in the order of sending"
                );
                by_policy[which(&packet) as usize] += 1;
                seen += 1;
                arrived.store(seen, Ordering::Relaxed);
            }
            assert!(by_policy.iter().all(|count| *count > 0), "{by_policy:?}");
            seen
        });
        for revision in 2..2 + COMMITS {
            let next = &policies[(revision % 2) as usize];
            let changeset = Changeset::between(compiler.configuration(), next);
            let compiled = compiler.apply(revision, &changeset).unwrap();
            gateway
                .apply(revision, compiled.into_parts())
                .expect("live");
        }
        done.store(true, Ordering::Relaxed);
        (
            sender.join().expect("it sends"),
            receiver.join().expect("it receives"),
        )
    });
    let shared = gateway.shared();
    gateway.stop();
    assert_eq!(
        (sent, shared.totals().dropped()),
        (seen, 0),
        "{:?}",
        shared.totals()
    );
    assert!(shared.totals().connections_ended_by_policy > 0);
}

const WORKERS: usize = 3;

/// A worker without a port: it makes a burst, runs it under one guard, and looks at every packet that comes out. So nothing
/// that the operating system does can lose a packet.
struct Worker {
    number: usize,
    reader: Reader,
    graph: Graph<MemoryPool>,
    blue: InterfaceIndex,
    random: u64,
}

impl Worker {
    fn new(number: usize, reader: Reader, blue: InterfaceIndex, seed: u64) -> Worker {
        let connections = Config {
            capacity: 1024,
            timeouts: Timeouts::default(),
            // Each forwards all that it makes up: nobody deals packets out here.
            worker: 0,
            workers: 1,
            tcp_pickup: true,
            hash_seed: 0,
        };
        let config = GraphConfig {
            connections,
            burst: 64,
            fragmented_datagrams: 1024,
            icmp_errors_per_second: 1000,
            acl_logs_per_second: 100,
            fast_path: true,
        };
        Worker {
            number,
            reader,
            graph: Graph::new(config, MemoryPool),
            blue,
            random: seed ^ number as u64,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// Forwards until told to end; the packets by policy, and how often two bursts had different ones.
    fn run(mut self, done: &AtomicBool) -> ([u64; 2], u64) {
        let counters = WorkerCounters::default();
        let (mut received, mut sent) = (Vec::new(), Kept::default());
        let (mut bursts, mut by_policy, mut swaps) = (0u64, [0; 2], 0);
        let mut last = None;
        while !done.load(Ordering::Relaxed) {
            bursts += 1;
            let frames = 1 + self.below(64);
            for number in 0..frames {
                // Few flows, so that most packets belong to a connection of an earlier generation; the length tells
                // which packet of the burst it is.
                let port = 4000 + 100 * self.number as u16 + self.below(7) as u16;
                let frame = udp((HOST, port), (SITE, 53), number as usize).frame();
                received.push(Received::new(
                    MemoryBuffer::new(frame),
                    Origin::Received(self.blue),
                ));
            }
            let now = clock::Instant(bursts * 1_000);
            let tables = self.reader.enter().expect("the publisher is there");
            let expected = tables.revision() % 2;
            self.graph
                .run(&mut received, &tables, now, &counters, &mut sent);
            assert_eq!(tables.revision() % 2, expected, "under the guard");
            drop(tables);
            assert_eq!(sent.0.len() as u64, frames, "none lost, none doubled");
            for (number, buffer) in (0..).zip(sent.0.drain(..)) {
                let frame = buffer.into_bytes();
                assert_eq!(frame.len(), 42 + number, "in the order of receiving");
                assert_eq!(which(&Ip::of(&frame)), expected, "the guard's generation");
            }
            by_policy[expected as usize] += frames;
            swaps += u64::from(last.replace(expected).is_some_and(|last| last != expected));
            // There are more threads than cores: who has to wait for one waits here, where nobody waits for it.
            std::thread::yield_now();
        }
        let totals = Totals::of([&counters]);
        assert_eq!(
            (totals.received, totals.dropped()),
            (by_policy[0] + by_policy[1], 0),
            "{totals:?}"
        );
        (by_policy, swaps)
    }
}

/// As fast as commits can be published, on several workers at once. `REWIRE_COMMITS` makes it longer, `REWIRE_SEED` another.
#[test]
fn every_packet_of_every_worker_is_of_its_guards_generation() {
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (commits, seed) = (number("REWIRE_COMMITS", 1000), number("REWIRE_SEED", 42));
    let policies = [policy(false), policy(true)];
    let (mut compiler, compiled) = Compiler::compile(policies[0].clone(), 2).unwrap();
    let (mut publisher, readers) = Publisher::new(WORKERS);
    publisher.extend(compiled.operations);
    let deadline = Duration::from_secs(10);
    publisher.publish(deadline).unwrap();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let workers = readers.into_iter().enumerate();
    let workers: Vec<_> = workers
        .map(|(number, reader)| Worker::new(number, reader, blue, seed))
        .collect();

    let done = AtomicBool::new(false);
    let start = Instant::now();
    let seen = std::thread::scope(|scope| {
        let done = &done;
        let workers: Vec<_> = workers
            .into_iter()
            .map(|worker| scope.spawn(move || worker.run(done)))
            .collect();
        for revision in 3..3 + commits {
            let next = &policies[(revision % 2) as usize];
            let changeset = Changeset::between(compiler.configuration(), next);
            let compiled = compiler.apply(revision, &changeset).unwrap();
            publisher.extend(compiled.operations);
            publisher.publish(deadline).expect("no worker is stuck");
            // Whether the other half has caught up or not, nobody may see it.
            if revision % 3 == 0 {
                publisher.catch_up();
            }
        }
        done.store(true, Ordering::Relaxed);
        let workers = workers.into_iter();
        workers
            .map(|worker| worker.join().expect("a worker"))
            .collect::<Vec<_>>()
    });
    let rate = commits as f64 / start.elapsed().as_secs_f64();
    println!("seed {seed}: {rate:.0} commits a second; packets by policy and swaps seen: {seen:?}");
    for (by_policy, swaps) in seen {
        assert!(
            by_policy.iter().all(|packets| *packets > 0),
            "{by_policy:?}"
        );
        assert!(swaps > 0);
    }
}
