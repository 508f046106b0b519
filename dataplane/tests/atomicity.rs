//! Law 5: one packet, one generation. Commits change two tables together, under traffic, and no packet mixes them.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_packet::MacAddress;
use rewire_schema::{Changeset, Configuration, from_document};
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
                let which = match (packet.source.octets()[3], packet.link.1) {
                    (64, UPSTREAM_MAC) => 0,
                    (65, OTHER_MAC) => 1,
                    mixed => panic!("two generations in one packet: {mixed:?}"),
                };
                assert_eq!(
                    frame.len() as u64 - 42,
                    seen % 1000,
                    "in the order of sending"
                );
                by_policy[which] += 1;
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
