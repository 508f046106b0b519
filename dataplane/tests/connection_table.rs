//! Connections of a running gateway, listed and ended while its workers forward.

mod support;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig, ListedConnection};
use rewire_schema::from_document;
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

fn listed(gateway: &Gateway) -> Vec<ListedConnection> {
    let mut all = Vec::new();
    let table = gateway.connection_table().unwrap();
    table.visit(|connection| all.push(*connection)).unwrap();
    all
}

/// More than one slice of them, of both families, and none of them twice.
#[test]
fn all_connections_are_listed_once_and_those_that_are_named_end() {
    const NUMBER: u32 = 5_000;
    let driver = MemoryDriver::default();
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let gateway = Gateway::start(GatewayConfig::default(), driver).expect("threads");
    let configuration = from_document(&two_vpcs()).expect("a document");
    let (_, compiled) = Compiler::compile(configuration, 1).unwrap();
    gateway.apply(1, compiled.into_parts()).expect("live");
    let shared = gateway.shared();
    assert_eq!(listed(&gateway), []);
    for number in 0..NUMBER {
        let to = Ipv4Addr::from(u32::from(SITE) & !0xff | (number % 251));
        send(
            &blue,
            udp((HOST, 1024 + (number / 251) as u16), (to, 53), 0).frame(),
        );
        send(
            &blue,
            v6::udp((v6::HOST, 1024 + number as u16), (v6::SITE, 53), 0).frame(),
        );
        while wan.receive().is_some() {}
    }
    until("all have begun", || {
        while wan.receive().is_some() {}
        shared.totals().connections == 2 * u64::from(NUMBER)
    });
    let all = listed(&gateway);
    assert_eq!(all.len() as u64, shared.totals().connections);
    let keys = |all: &[ListedConnection]| -> BTreeSet<String> {
        all.iter()
            .map(|one| format!("{:?}", one.original))
            .collect()
    };
    assert_eq!(keys(&all).len(), all.len(), "none is there twice");
    let names = gateway.connection_table().unwrap().names().unwrap();
    let first = all[0];
    assert_eq!(names.vpc(first.original.vpc), "blue");
    assert_eq!(names.vpc(first.reply.vpc), "internet");
    assert_eq!(names.interface(first.ingress), "blue0");
    assert!(first.is_translated());
    assert_eq!(first.traffic.map(|traffic| traffic.packets), [1, 0]);
    // Half of them end; one of those twice.
    let (ending, staying): (Vec<_>, Vec<_>) = all
        .iter()
        .copied()
        .partition(|one| one.original.source.1 % 2 == 0);
    let mut named: Vec<_> = ending.iter().map(|one| (one.worker, one.id)).collect();
    named.push(named[0]);
    let table = gateway.connection_table().unwrap();
    let end = || -> usize {
        let of = |worker| named.iter().filter(move |one| one.0 == worker);
        let workers = 0..GatewayConfig::default().workers;
        workers
            .map(|worker| {
                let ids = of(worker).map(|one| one.1).collect();
                table.end(worker, ids).unwrap()
            })
            .sum()
    };
    assert_eq!(end(), ending.len());
    assert_eq!(end(), 0, "they are over");
    assert_eq!(keys(&listed(&gateway)), keys(&staying));
    let totals = shared.totals();
    assert_eq!(totals.connections, staying.len() as u64);
    assert_eq!(totals.connections_cleared, ending.len() as u64);
    assert_eq!(totals.states.iter().sum::<u64>(), totals.connections);
    // What stays goes on as it was.
    let one = staying
        .iter()
        .find(|one| one.original.source.0.is_ipv4())
        .unwrap();
    send(
        &blue,
        udp((HOST, one.original.source.1), (SITE, 53), 0).frame(),
    );
    let back = table.clone();
    gateway.stop();
    assert!(back.visit(|_| {}).is_err(), "nobody answers any more");
}
