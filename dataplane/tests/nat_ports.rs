//! Which external ports are in use: what workers say of it, beside what their connections say.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{DropReason, Gateway, GatewayConfig, Sharing};
use rewire_schema::from_document;
use serde_json::json;
use support::*;

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn send(port: &MemoryPort, frame: Vec<u8>) {
    until("the port has room", || port.send(frame.clone()));
}

/// An external address, and the protocol that uses it.
type External = (IpAddr, u8);

/// What all workers have in use, and how often nothing was left, as they say.
fn said(gateway: &Gateway) -> (BTreeMap<External, u32>, u64) {
    let mut in_use = BTreeMap::new();
    let mut exhausted = 0;
    let table = gateway.connection_table().unwrap();
    table
        .visit_ports(|ports| {
            exhausted += ports.exhausted;
            if ports.in_use > 0 {
                *in_use.entry((ports.address, ports.protocol)).or_default() += ports.in_use;
            }
        })
        .unwrap();
    (in_use, exhausted)
}

/// The same, from the connections: the different external ports that they have.
fn counted(gateway: &Gateway) -> BTreeMap<External, u32> {
    let mut ports: BTreeMap<External, BTreeSet<u16>> = BTreeMap::new();
    let table = gateway.connection_table().unwrap();
    table
        .visit(|connection| {
            let (address, port) = connection.reply.destination;
            if connection.is_translated() {
                ports
                    .entry((address, connection.protocol))
                    .or_default()
                    .insert(port);
            }
        })
        .unwrap();
    let count = |(external, ports): (External, BTreeSet<u16>)| (external, ports.len() as u32);
    ports.into_iter().map(count).collect()
}

#[test]
fn what_workers_have_in_use_is_what_their_connections_have() {
    for workers in [1, 3] {
        let driver = MemoryDriver::default();
        let (blue, red, wan) = (
            driver.port("blue0"),
            driver.port("red0"),
            driver.port("wan"),
        );
        let config = GatewayConfig {
            workers,
            ..GatewayConfig::default()
        };
        let gateway = Gateway::start(config, driver).expect("threads");
        let mut document = two_vpcs();
        document["nat"]["pools"] = json!({ "public": {
            "vpc": "internet", "ranges": ["203.0.113.64-203.0.113.67"], "ports": "5000-5009"
        } });
        document["nat"]["masquerade"]["red-out"] = json!({
            "vpc": "red", "interface": "wan", "pool": "public", "sources": ["10.2.0.0/24"]
        });
        let configuration = from_document(&document).expect("a document");
        let (_, compiled) = Compiler::compile(configuration, 1).unwrap();
        gateway.apply(1, compiled.into_parts()).expect("live");
        let shared = gateway.shared();
        assert_eq!(said(&gateway), (BTreeMap::new(), 0));
        // One port for two destinations each, of either family; and of red's host more than its address has.
        let mut frames = Vec::new();
        for n in 0..300_u16 {
            for last in [1, 2] {
                let to = Ipv4Addr::new(198, 51, 100, last);
                frames.push((&blue, udp((HOST, 2000 + n), (to, 53), 0).frame()));
            }
            frames.push((
                &blue,
                v6::udp((v6::HOST, 2000 + n), (v6::SITE, 53), 0).frame(),
            ));
            frames.push((&blue, echo(HOST, SITE, n).frame()));
        }
        for n in 0..60_u16 {
            let host = Ipv4Addr::new(10, 2, 0, 10);
            frames.push((&red, udp((host, 2000 + n), (SITE, 53), 0).frame()));
        }
        for (port, frame) in frames {
            send(port, frame);
            while wan.receive().is_some() {}
        }
        let refused = || shared.totals().dropped_for(DropReason::NatPortsExhausted);
        until("all have begun, or not", || {
            while wan.receive().is_some() {}
            shared.totals().connections + refused() == 4 * 300 + 60
        });
        let (in_use, exhausted) = said(&gateway);
        assert_eq!(in_use, counted(&gateway));
        assert_eq!(exhausted, refused());
        let of = |address: [u8; 4], protocol| in_use.get(&(address.into(), protocol));
        assert_eq!(
            (of([203, 0, 113, 1], 17), of([203, 0, 113, 1], 1)),
            (Some(&300), Some(&300))
        );

        let all = gateway
            .connection_table()
            .unwrap()
            .external_addresses()
            .unwrap();
        let shown: Vec<_> = all
            .iter()
            .map(|one| (one.sharing, &*one.name, one.count(), one.ports))
            .collect();
        let expected = [
            (Sharing::Pool, "public", 4, Some(10)),
            (Sharing::Interface, "wan", 2, Some(64_512)),
        ];
        assert_eq!(shown, expected);
        assert!(all[0].hold(all[1].vpc, [203, 0, 113, 67].into()));
        // What ends gives its port back.
        let mut ids: BTreeMap<u16, Vec<_>> = BTreeMap::new();
        let table = gateway.connection_table().unwrap();
        table
            .visit(|one| ids.entry(one.worker).or_default().push(one.id))
            .unwrap();
        for (worker, ids) in ids {
            table.end(worker, ids).unwrap();
        }
        assert_eq!(said(&gateway), (BTreeMap::new(), exhausted));
        gateway.stop();
    }
}
