//! A gateway takes over what the one before it has saved.

mod support;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig, ListedConnection, Restored};
use rewire_schema::from_document;
use support::*;

fn receive(port: &MemoryPort) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match port.receive() {
            Some(frame) => return frame,
            None => assert!(Instant::now() < deadline, "no frame came"),
        }
        std::thread::yield_now();
    }
}

struct Running {
    gateway: Gateway,
    blue: MemoryPort,
    wan: MemoryPort,
}

/// A gateway that saves its connections in this file, live with a document.
fn start(file: &Path, document: serde_json::Value, config: GatewayConfig) -> Running {
    let driver = MemoryDriver::default();
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let config = GatewayConfig {
        connections_file: Some(file.to_owned()),
        ..config
    };
    let gateway = Gateway::start(config, driver).expect("threads");
    let configuration = from_document(&document).expect("a document");
    let (_, compiled) = Compiler::compile(configuration, 1).unwrap();
    gateway.apply(1, compiled.into_parts()).expect("live");
    Running { gateway, blue, wan }
}

impl Running {
    fn restored(&self) -> Option<Restored> {
        self.gateway.shared().restored()
    }

    /// Sends a datagram out, and tells the port that it left from.
    fn out(&self, inside: (Ipv4Addr, u16)) -> u16 {
        assert!(self.blue.send(udp(inside, (SITE, 53), 0).frame()));
        Ip::of(&receive(&self.wan)).ports().0
    }

    fn listed(&self) -> Vec<ListedConnection> {
        let mut all = Vec::new();
        let table = self.gateway.connection_table().unwrap();
        table.visit(|connection| all.push(*connection)).unwrap();
        all
    }
}

/// What stays the same, whatever indices are.
fn facts(one: &ListedConnection) -> String {
    let ListedConnection {
        state,
        original,
        reply,
        traffic,
        ..
    } = one;
    let ends = [original, reply].map(|ends| (ends.source, ends.destination));
    format!("{state} {ends:?} {traffic:?}")
}

fn sorted(all: &[ListedConnection]) -> Vec<String> {
    let mut all: Vec<_> = all.iter().map(facts).collect();
    all.sort();
    all
}

#[test]
fn connections_go_on_in_a_gateway_with_other_indices() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connections");
    let first = start(&file, two_vpcs(), GatewayConfig::default());
    assert_eq!(first.restored(), None, "there is nothing to restore");
    // From one port of two hosts: one of them gets another outside.
    let other = Ipv4Addr::new(10, 1, 0, 11);
    let ports = [HOST, other].map(|host| first.out((host, 4000)));
    assert_ne!(ports[0], ports[1]);
    assert!(
        first
            .blue
            .send(v6::udp((v6::HOST, 7), (v6::SITE, 53), 0).frame())
    );
    receive(&first.wan);
    let before = first.listed();
    assert_eq!(before.len(), 3);
    first.gateway.stop();
    // Names that come first in their order move all indices.
    let mut document = two_vpcs();
    document["vpcs"]["a"] = json!({});
    document["interfaces"]["a0"] =
        json!({ "vpc": "a", "port": "null:a", "mac": "02:00:00:00:00:77" });
    let second = start(&file, document.clone(), GatewayConfig::default());
    let restored = Restored {
        restored: 3,
        ..Restored::default()
    };
    assert_eq!(second.restored(), Some(restored));
    assert!(!file.exists(), "what was read does not come back");
    let after = second.listed();
    assert_eq!(sorted(&after), sorted(&before));
    assert_ne!(after[0].original.vpc, before[0].original.vpc);
    for (old, new) in before.iter().zip(&after) {
        assert!(new.age >= old.age);
    }
    // Packets find their way, the outside's first; and nobody gets what is theirs.
    for (host, port) in [HOST, other].into_iter().zip(ports) {
        assert!(second.wan.send(udp((SITE, 53), (WAN, port), 0).frame()));
        let frame = receive(&second.blue);
        if host == HOST {
            assert_eq!(
                (Ip::of(&frame).destination, Ip::of(&frame).ports().1),
                (HOST, 4000)
            );
        }
        assert_eq!(second.out((host, 4000)), port);
    }
    let third = second.out((Ipv4Addr::new(10, 1, 0, 12), 4000));
    assert!(!ports.contains(&third));
    second.gateway.stop();
    // Without red's world nothing is missed; without the outside's everything is.
    let mut inside = document;
    inside["nat"] = json!({});
    inside["interfaces"]
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "wan");
    inside["vpcs"] = json!({ "blue": {}, "red": {}, "a": {} });
    let last = start(&file, inside, GatewayConfig::default());
    let gone = Restored {
        gone: 4,
        ..Restored::default()
    };
    assert_eq!((last.restored(), last.listed().len()), (Some(gone), 0));
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("connections");
    let fill = |config: GatewayConfig| {
        let first = start(&file, two_vpcs(), config);
        (0..64).for_each(|port| {
            first.out((HOST, 2000 + port));
        });
        first.gateway.stop();
    };
    let with = |workers, connections| GatewayConfig {
        workers,
        connections,
        ..GatewayConfig::default()
    };
    fill(with(1, 1024));
    let smaller = start(&file, two_vpcs(), with(1, 10));
    let full = Restored {
        restored: 10,
        full: 54,
        ..Restored::default()
    };
    assert_eq!(smaller.restored(), Some(full));
    drop(smaller);
    std::fs::remove_file(&file).unwrap();
    fill(with(1, 1024));
    // Damage, and what somebody else has written: the gateway begins without.
    let good = std::fs::read(&file).unwrap();
    for (place, byte) in [(3, b'?'), (8, 9), (40, 0xff), (good.len() - 9, 0xff)] {
        let mut bad = good.clone();
        bad[place] = byte;
        std::fs::write(&file, bad).unwrap();
        let without = start(&file, two_vpcs(), with(1, 16));
        assert_eq!(
            (without.restored(), without.listed().len()),
            (None, 0),
            "byte {place}"
        );
        drop(without);
    }
    for length in [0, 11, 12, 30, good.len() / 2, good.len() - 1] {
        std::fs::write(&file, &good[..length]).unwrap();
        let without = start(&file, two_vpcs(), with(1, 16));
        assert_eq!(without.listed().len(), 0, "{length} bytes");
        drop(without);
    }
}
