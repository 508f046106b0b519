//! NAT64 with several workers.

mod support;

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::{MemoryDriver, MemoryPort};
use rewire_dataplane::{Gateway, GatewayConfig};
use support::nat64::{EXTERNAL, ROUTER, behind, document, forwarding, to_forward};
use support::v6::{self, HOST};
use support::{HOST_MAC, Ip, SITE, json};

/// With several workers, whoever receives them: what an endpoint sends gets one external endpoint, and the answers come back.
#[test]
fn several_workers_share_the_ports() {
    for workers in [1, 2, 3] {
        let driver = MemoryDriver::default();
        let [blue, wan]: [MemoryPort; 2] = ["blue0", "wan"].map(|name| driver.port(name));
        let config = support::small(GatewayConfig {
            workers,
            ..GatewayConfig::default()
        });
        let gateway = Gateway::start(config, driver).expect("threads");
        let configuration = rewire_schema::from_document(&document()).expect("a document");
        let (_, compiled) = Compiler::compile(configuration, 1).expect("it compiles");
        gateway.apply(1, compiled.into_parts()).expect("live");
        let through = |from: &MemoryPort, frame: Vec<u8>, to: &MemoryPort| {
            let deadline = Instant::now() + Duration::from_secs(20);
            assert!(from.send(frame));
            loop {
                if let Some(frame) = to.receive() {
                    return frame;
                }
                let totals = gateway.shared().totals();
                assert!(Instant::now() < deadline, "nothing came: {totals:?}");
                std::thread::yield_now();
            }
        };
        let mut given = HashSet::new();
        for port in 4000..4040 {
            let mut external = None;
            for site in [1, 2, 1] {
                let server = Ipv4Addr::new(198, 51, 100, site);
                let sent = v6::udp((HOST, port), (behind(server), 53), 8);
                let there = Ip::of(&through(&blue, sent.frame(), &wan));
                let endpoint = (there.source, there.ports().0);
                assert_eq!(*external.get_or_insert(endpoint), endpoint);
                let answer = support::udp((server, 53), endpoint, 8);
                let back = v6::Ip::of(&through(&wan, answer.frame(), &blue));
                assert_eq!(
                    (back.endpoints(), back.ports().1),
                    ((behind(server), HOST), port)
                );
            }
            assert!(given.insert(external), "given twice");
        }
        let shared = gateway.shared();
        gateway.stop();
        assert_eq!(shared.totals().dropped(), 0);
    }
}

/// With several workers, whoever receives them: requests find their host and its answers their client, mappings let in whom they say, and
/// hairpins come round.
#[test]
fn several_workers_agree() {
    for workers in [1, 2, 3] {
        let driver = MemoryDriver::default();
        let [blue, wan]: [MemoryPort; 2] = ["blue0", "wan"].map(|name| driver.port(name));
        let config = support::small(GatewayConfig {
            workers,
            ..GatewayConfig::default()
        });
        let gateway = Gateway::start(config, driver).expect("threads");
        let mut document = forwarding();
        document["nat"]["nat64"]["own"]["filtering"] = json!("endpoint_independent");
        document["interfaces"]["blue0"]["neighbors"]["fd00:1::11"] =
            json!({ "mac": HOST_MAC.to_string() });
        let configuration = rewire_schema::from_document(&document).expect("a document");
        let (_, compiled) = Compiler::compile(configuration, 1).expect("it compiles");
        gateway.apply(1, compiled.into_parts()).expect("live");
        let through = |from: &MemoryPort, frame: Vec<u8>, to: &MemoryPort| {
            let deadline = Instant::now() + Duration::from_secs(20);
            assert!(from.send(frame));
            loop {
                if let Some(frame) = to.receive() {
                    return frame;
                }
                let totals = gateway.shared().totals();
                assert!(Instant::now() < deadline, "nothing came: {totals:?}");
                std::thread::yield_now();
            }
        };
        let other = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);
        for port in 5000..5200 {
            let there = v6::Ip::of(&through(&wan, to_forward(port).frame(), &blue));
            assert_eq!(there.ports(), (port, 443));
            let answer = v6::udp((HOST, 443), (behind(SITE), port), 8);
            let back = Ip::of(&through(&blue, answer.frame(), &wan));
            assert_eq!((back.source, back.ports()), (EXTERNAL, (8443, port)));
            // The host speaks first, somebody else answers, and is answered.
            let out = v6::udp((HOST, port), (behind(SITE), 53), 8);
            let out = Ip::of(&through(&blue, out.frame(), &wan));
            let external = (out.source, out.ports().0);
            let stranger = support::udp((ROUTER, port), external, 8);
            let there = v6::Ip::of(&through(&wan, stranger.frame(), &blue));
            assert_eq!(there.endpoints(), (behind(ROUTER), HOST));
            assert_eq!(there.ports(), (port, port));
            let answer = v6::udp((HOST, port), (behind(ROUTER), port), 8);
            let back = Ip::of(&through(&blue, answer.frame(), &wan));
            assert_eq!(
                (back.source, back.ports()),
                (external.0, (external.1, port))
            );
            // Another client does, and is answered.
            let sent = v6::udp((other, port), (behind(external.0), external.1), 8);
            let there = v6::Ip::of(&through(&blue, sent.frame(), &blue));
            assert_eq!(there.endpoints(), (behind(EXTERNAL), HOST));
            assert_eq!(there.ports().1, port);
            let answer = v6::udp((HOST, port), (there.source, there.ports().0), 8);
            let back = v6::Ip::of(&through(&blue, answer.frame(), &blue));
            assert_eq!(back.endpoints(), (behind(external.0), other));
            assert_eq!(back.ports(), (external.1, port));
        }
        let shared = gateway.shared();
        gateway.stop();
        assert_eq!(shared.totals().dropped(), 0);
    }
}
