//! NAT64 with several workers.

mod support;

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::counters::Totals;
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig};
use support::nat64::{EXTERNAL, ROUTER, behind, document, forwarding, to_forward};
use support::v6::{self, HOST};
use support::{Build, HOST_MAC, Ip, SITE, json};

/// A gateway on threads, and the far ends of its links.
struct Running {
    gateway: Gateway,
    blue: MemoryPort,
    wan: MemoryPort,
}

impl Running {
    /// With so many workers; one that saves its connections in a file, and takes over what is there.
    fn start(document: &serde_json::Value, workers: u16, file: Option<&Path>) -> Self {
        let driver = MemoryDriver::default();
        let [blue, wan] = ["blue0", "wan"].map(|name| driver.port(name));
        let config = support::small(GatewayConfig {
            workers,
            connections_file: file.map(Path::to_owned),
            ..GatewayConfig::default()
        });
        let gateway = Gateway::start(config, driver).expect("threads");
        let configuration = rewire_schema::from_document(document).expect("a document");
        let (_, compiled) = Compiler::compile(configuration, 1).expect("it compiles");
        gateway.apply(1, compiled.into_parts()).expect("live");
        Running { gateway, blue, wan }
    }

    fn through(&self, from: &MemoryPort, frame: Vec<u8>, to: &MemoryPort) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(20);
        assert!(from.send(frame));
        loop {
            if let Some(frame) = to.receive() {
                return frame;
            }
            let totals = self.gateway.shared().totals();
            assert!(Instant::now() < deadline, "nothing came: {totals:?}");
            std::thread::yield_now();
        }
    }

    /// What leaves for the internet of an IPv6 packet.
    fn leaves(&self, packet: &v6::Build) -> Ip {
        Ip::of(&self.through(&self.blue, packet.frame(), &self.wan))
    }

    /// What comes to the hosts of an IPv4 packet.
    fn comes(&self, packet: &Build) -> v6::Ip {
        v6::Ip::of(&self.through(&self.wan, packet.frame(), &self.blue))
    }

    /// What comes back to the hosts of an IPv6 packet.
    fn turns(&self, packet: &v6::Build) -> v6::Ip {
        v6::Ip::of(&self.through(&self.blue, packet.frame(), &self.blue))
    }

    fn stop(self) -> Totals {
        let shared = self.gateway.shared();
        self.gateway.stop();
        shared.totals()
    }
}

/// Where mappings let everybody in, and a second client is known.
fn open() -> serde_json::Value {
    let mut document = forwarding();
    document["nat"]["nat64"]["own"]["filtering"] = json!("endpoint_independent");
    document["interfaces"]["blue0"]["neighbors"]["fd00:1::11"] =
        json!({ "mac": HOST_MAC.to_string() });
    document
}

/// What an endpoint sends gets one external endpoint, and the answers come back, whoever receives them.
#[test]
fn several_workers_share_the_ports() {
    for workers in [1, 2, 3] {
        let lab = Running::start(&document(), workers, None);
        let mut given = HashSet::new();
        for port in 4000..4040 {
            let mut external = None;
            for site in [1, 2, 1] {
                let server = Ipv4Addr::new(198, 51, 100, site);
                let there = lab.leaves(&v6::udp((HOST, port), (behind(server), 53), 8));
                let endpoint = (there.source, there.ports().0);
                assert_eq!(*external.get_or_insert(endpoint), endpoint);
                let back = lab.comes(&support::udp((server, 53), endpoint, 8));
                assert_eq!(
                    (back.endpoints(), back.ports().1),
                    ((behind(server), HOST), port)
                );
            }
            assert!(given.insert(external), "given twice");
        }
        assert_eq!(lab.stop().dropped(), 0);
    }
}

/// By the forward, and to a mapping, whose port could be kept, since no client has the same.
fn talk(lab: &Running, port: u16) {
    let there = lab.comes(&to_forward(port));
    assert_eq!(there.ports(), (port, 443));
    let back = lab.leaves(&v6::udp((HOST, 443), (behind(SITE), port), 8));
    assert_eq!((back.source, back.ports()), (EXTERNAL, (8443, port)));
    // The host speaks first, somebody else answers, and is answered.
    let out = lab.leaves(&v6::udp((HOST, port), (behind(SITE), 53), 8));
    assert_eq!(out.ports(), (port, 53));
    let there = lab.comes(&support::udp((ROUTER, 99), (EXTERNAL, port), 8));
    assert_eq!(there.endpoints(), (behind(ROUTER), HOST));
    assert_eq!(there.ports(), (99, port));
    let back = lab.leaves(&v6::udp((HOST, port), (behind(ROUTER), 99), 8));
    assert_eq!((back.source, back.ports()), (EXTERNAL, (port, 99)));
}

/// Requests find their host and its answers their client, mappings let in whom they say, and hairpins come round.
#[test]
fn several_workers_agree() {
    let other = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);
    for workers in [1, 2, 3] {
        let lab = Running::start(&open(), workers, None);
        for port in 5000..5200 {
            talk(&lab, port);
            // Another client speaks to the mapping, and is answered.
            let there = lab.turns(&v6::udp((other, port), (behind(EXTERNAL), port), 8));
            assert_eq!(there.endpoints(), (behind(EXTERNAL), HOST));
            assert_eq!(there.ports().1, port);
            let answer = v6::udp((HOST, port), (there.source, there.ports().0), 8);
            let back = lab.turns(&answer);
            assert_eq!(back.endpoints(), (behind(EXTERNAL), other));
            assert_eq!(back.ports(), (port, port));
        }
        assert_eq!(lab.stop().dropped(), 0);
    }
}

/// A gateway takes over what one with another number of workers has saved: each connection from outside is its new home's.
#[test]
fn connections_from_outside_outlive_a_restart_with_other_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    for (before, after) in [(1, 2), (2, 1), (2, 3), (3, 3)] {
        let file = folder.path().join(format!("{before}-{after}"));
        let first = Running::start(&open(), before, Some(&file));
        (0..40).for_each(|n| talk(&first, 5000 + 17 * n));
        first.stop();
        let second = Running::start(&open(), after, Some(&file));
        let restored = second.gateway.shared().restored();
        let restored = restored.expect("there was a file");
        assert_eq!(restored.restored, 120, "{before} to {after}: {restored:?}");
        (0..40).for_each(|n| talk(&second, 5000 + 17 * n));
        let totals = second.stop();
        assert_eq!(
            (totals.connections_created, totals.dropped()),
            (0, 0),
            "{before} to {after}"
        );
    }
}
