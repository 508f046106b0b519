//! The gateway on threads: the same graph, real workers, commits under traffic.

mod support;

use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_conntrack::offload::OffloadCounts;
use rewire_dataplane::offload::{CardConfig, ModelledCard, OffloadConfig};
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_schema::{Changeset, Configuration, from_document};
use support::*;

fn configuration(document: serde_json::Value) -> Configuration {
    from_document(&document).expect("a document")
}

/// Waits for a frame, for a bounded time.
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

#[test]
fn commits_are_live_when_apply_returns_and_lose_no_packet() {
    let driver = MemoryDriver::default();
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let gateway = Gateway::start(GatewayConfig::default(), driver).expect("threads");
    let (mut compiler, compiled) = Compiler::compile(configuration(two_vpcs()), 1).unwrap();
    let applied = gateway.apply(1, compiled.into_parts()).expect("live");
    assert_eq!(applied.generation, gateway.shared().generation());

    let mut with_route = two_vpcs();
    with_route["vpcs"]["blue"]["routes"]["172.16.0.0/12"] = json!({ "type": "blackhole" });
    let states = [configuration(two_vpcs()), configuration(with_route)];
    let mut external = None;
    for revision in 2..200u64 {
        assert!(blue.send(udp((HOST, 4000), (SITE, 53), 8).frame()));
        let next = &states[(revision % 2) as usize];
        let changeset = Changeset::between(compiler.configuration(), next);
        gateway
            .apply(
                revision,
                compiler.apply(revision, &changeset).unwrap().into_parts(),
            )
            .expect("live");
        let out = Ip::of(&receive(&wan));
        assert_eq!(
            *external.get_or_insert(out.ports()),
            out.ports(),
            "one mapping throughout"
        );
    }
    let shared = gateway.shared();
    assert_eq!(shared.revision(), 199);
    assert_eq!(shared.late(), 0);
    gateway.stop();
    let totals = shared.totals();
    assert!(totals.balanced(), "{totals:?}");
    assert_eq!(
        (totals.received, totals.transmitted, totals.dropped()),
        (198, 198, 0)
    );
}

#[test]
fn ports_come_and_go_with_their_interfaces() {
    let driver = MemoryDriver::default();
    let blue = driver.port("blue0");
    let gateway = Gateway::start(GatewayConfig::default(), driver).expect("threads");
    let shared = gateway.shared();
    let (mut compiler, compiled) = Compiler::compile(configuration(two_vpcs()), 1).unwrap();
    gateway.apply(1, compiled.into_parts()).unwrap();
    assert_eq!(shared.ports().len(), 3);
    let empty = Configuration::default();
    let changeset = Changeset::between(compiler.configuration(), &empty);
    gateway
        .apply(2, compiler.apply(2, &changeset).unwrap().into_parts())
        .unwrap();
    assert_eq!(shared.ports(), []);
    // Nobody polls the port now: what is sent there waits on the link. It asks for no other port, since those open one
    // after the other.
    let own = "10.1.0.1".parse().expect("an address");
    blue.send(echo(HOST, own, 1).frame());
    let changeset = Changeset::between(&empty, &configuration(two_vpcs()));
    gateway
        .apply(3, compiler.apply(3, &changeset).unwrap().into_parts())
        .unwrap();
    Ip::of(&receive(&blue));
    drop(gateway);
    assert_eq!(shared.totals().received, 1);
}

/// An established connection moves to the card, is counted there, and comes back when the policy forbids it.
#[test]
fn a_running_gateway_offloads() {
    let card = ModelledCard::new(CardConfig::default());
    let driver = MemoryDriver::with_card(card.clone());
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let config = GatewayConfig {
        offload: Some(OffloadConfig {
            query_every: Duration::from_millis(10),
            ..OffloadConfig::default()
        }),
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(config, driver).expect("threads");
    let shared = gateway.shared();
    let (mut compiler, compiled) = Compiler::compile(configuration(two_vpcs()), 1).unwrap();
    gateway.apply(1, compiled.into_parts()).unwrap();
    let site = (SITE, 53);
    let exchange = || {
        assert!(blue.send(udp((HOST, 4000), site, 100).frame()));
        let out = Ip::of(&receive(&wan));
        assert_eq!(out.source, WAN);
        assert!(wan.send(udp(site, (WAN, out.ports().0), 100).frame()));
        assert_eq!(Ip::of(&receive(&blue)).destination, HOST);
    };
    let wait_until = |what: &dyn Fn(&OffloadCounts) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !what(&shared.totals().offload) {
            assert!(Instant::now() < deadline, "{:?}", shared.totals().offload);
            std::thread::yield_now();
        }
    };
    for _ in 0..12 {
        exchange();
    }
    wait_until(&|counts| counts.rules == 2);
    assert_eq!(card.rules(), 2);
    for _ in 0..20 {
        exchange();
    }
    // Those of the first exchanges that came while the rules were being installed went either way.
    wait_until(&|counts| shared.totals().received + counts.packets == 64);
    assert!(shared.totals().offload.packets >= 40);
    let latencies = shared.offload_latencies().expect("a card");
    assert_eq!(latencies.install_confirmed.count(), 2);
    // Its way out is closed: the card lets it go before the revision is long live.
    let mut forbidden = two_vpcs();
    forbidden["vpcs"]["blue"]["routes"]["0.0.0.0/0"] = json!({ "type": "unreachable" });
    let changeset = Changeset::between(compiler.configuration(), &configuration(forbidden));
    gateway
        .apply(2, compiler.apply(2, &changeset).unwrap().into_parts())
        .unwrap();
    wait_until(&|counts| counts.flows == 0);
    assert_eq!(card.rules(), 0);
    gateway.stop();
    assert!(shared.totals().balanced());
}
