//! A whole gateway over DPDK's ports, whose card takes its rules by `rte_flow`, executes them and counts: a driver in C that
//! knows nothing of us (`rewire-test-card`). The test holds the other end of its wires.
#![cfg(feature = "dpdk")]

mod support;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::offload::{OffloadConfig, OffloadCounts};
use rewire_dataplane::port::dpdk::DpdkDriver;
use rewire_dataplane::{Gateway, GatewayConfig, ListedConnection};
use rewire_dpdk::{Eal, EalConfig, VirtualDevice};
use rewire_packet::MacAddress;
use rewire_packet::arp::{ArpOperation, ArpRepr, ArpView};
use rewire_schema::{Changeset, from_document};
use rewire_test_card::{Fate, arrive, depart, holds, left_behind};
use support::*;

/// What each port holds for itself: two rules that keep what expires for the core.
const OWN_RULES: u32 = 2;

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

/// A gateway with the test's document, behind cards.
struct World {
    gateway: Gateway,
    compiler: Compiler,
    revision: u64,
    /// The numbers that DPDK has for the ports.
    blue: u16,
    wan: u16,
}

/// The document where all links are of one size: DPDK has no way to tell a card of packets that are too long.
fn document() -> serde_json::Value {
    let mut document = two_vpcs();
    document["interfaces"]["wan"]["mtu"] = json!(1500);
    document
}

/// Whether a frame is the answer to a question for this address.
fn is_answer_of(frame: &[u8], address: Ipv4Addr) -> bool {
    let arp = frame.get(14..).map(ArpView::new_checked);
    matches!(arp, Some(Ok(arp)) if arp.sender_protocol() == address)
}

/// The next packet that leaves by a port. Answers to questions that were asked again, because the first answer was late, are none.
fn leaves(port: u16) -> Option<Vec<u8>> {
    std::iter::from_fn(|| depart(port)).find(|frame| frame[12..14] == [0x08, 0x00])
}

/// The port that answers for an address of the gateway. One that is late with its answer to another question has not this address.
fn port_of(address: Ipv4Addr) -> u16 {
    let question = ArpRepr {
        operation: ArpOperation::REQUEST,
        sender_hardware: HOST_MAC,
        sender_protocol: Ipv4Addr::from(u32::from(address) & !0xff | 77),
        target_hardware: MacAddress([0; 6]),
        target_protocol: address,
    };
    let question = arp_frame(MacAddress([0xff; 6]), &question);
    until("a port answers", || {
        (0..4).find(|port| {
            let _ = arrive(*port, &question);
            std::thread::sleep(Duration::from_millis(1));
            std::iter::from_fn(|| depart(*port)).any(|frame| is_answer_of(&frame, address))
        })
    })
}

impl World {
    /// None, with a word to the reader, where the card was not built.
    fn new(device: fn() -> VirtualDevice) -> Option<World> {
        if rewire_test_card::driver().is_none() {
            println!("skipped: no card for tests (make deps)");
            return None;
        }
        let eal = EalConfig {
            memory: 128,
            hugepages: false,
            ..EalConfig::default()
        };
        let eal = Arc::new(Eal::init(&eal).unwrap());
        let driver = DpdkDriver::new(eal, 4095).unwrap();
        let driver = driver.opening(move |_| device());
        let config = GatewayConfig {
            offload: Some(OffloadConfig {
                query_every: Duration::from_millis(10),
                ..OffloadConfig::default()
            }),
            ..GatewayConfig::default()
        };
        let gateway = Gateway::start(config, driver).expect("threads");
        let configuration = from_document(&document()).expect("a document");
        let (compiler, compiled) = Compiler::compile(configuration, 1).unwrap();
        gateway.apply(1, compiled.into_parts()).expect("live");
        let ports = gateway.shared().ports();
        for (_, port) in &ports {
            assert_eq!(
                (&port.problem, &port.no_offload),
                (&None, &None),
                "{port:?}"
            );
        }
        Some(World {
            gateway,
            compiler,
            revision: 1,
            blue: port_of(Ipv4Addr::new(10, 1, 0, 1)),
            wan: port_of(WAN),
        })
    }

    fn commit(&mut self, document: serde_json::Value) {
        let configuration = from_document(&document).expect("a document");
        let changeset = Changeset::between(self.compiler.configuration(), &configuration);
        self.revision += 1;
        let compiled = self.compiler.apply(self.revision, &changeset).unwrap();
        self.gateway
            .apply(self.revision, compiled.into_parts())
            .expect("live");
    }

    fn counts(&self) -> OffloadCounts {
        self.gateway.shared().totals().offload
    }

    /// One datagram from the host to the site, and one back; what leaves, and whether the card alone has done it.
    fn exchange(&self) -> ([Vec<u8>; 2], [bool; 2]) {
        let there = udp((HOST, 4000), (SITE, 53), 100).frame();
        let first = arrive(self.blue, &there).unwrap();
        let out = until("it goes out", || leaves(self.wan));
        let (external, _) = Ip::of(&out).ports();
        let back = udp((SITE, 53), (WAN, external), 50).frame();
        let second = arrive(self.wan, &back).unwrap();
        let answer = until("the answer comes", || leaves(self.blue));
        let in_card = [first, second].map(|fate| fate == Fate::Forwarded);
        ([out, answer], in_card)
    }

    /// Rules of flows that the cards hold.
    fn rules(&self) -> u32 {
        let rules = [self.blue, self.wan].map(|port| holds(port).unwrap().rules);
        rules.iter().map(|rules| rules - OWN_RULES).sum()
    }

    /// Talks until both directions are in the card; the number of exchanges, and the frames that left.
    fn talk_into_the_card(&self) -> (u64, [Vec<u8>; 2]) {
        let (by_core, _) = self.exchange();
        let mut exchanges = 1;
        until("the card forwards", || {
            exchanges += 1;
            let (frames, in_card) = self.exchange();
            // Law 9, by a card that nobody of us has written.
            assert_eq!(frames, by_core);
            (in_card == [true; 2]).then_some(())
        });
        (exchanges, by_core)
    }

    fn listed(&self) -> Vec<ListedConnection> {
        let mut all = Vec::new();
        let table = self.gateway.connection_table().unwrap();
        table.visit(|connection| all.push(*connection)).unwrap();
        all
    }

    /// Waits until no rule of a flow is left, in the cards and in the books.
    fn nothing_is_left(&self) {
        until("the rules are gone", || {
            let counts = self.counts();
            (self.rules() == 0 && counts.flows == 0 && counts.rules == 0).then_some(())
        });
    }

    fn stop(self) {
        let shared = self.gateway.shared();
        self.gateway.stop();
        assert!(shared.totals().balanced(), "{:?}", shared.totals());
        assert_eq!(left_behind(), 0);
    }
}

/// From the first packet to the last: into the card, counted there, out of it by a commit, in again, and out by hand.
fn life(device: fn() -> VirtualDevice) {
    let Some(mut world) = World::new(device) else {
        return;
    };
    let (before, _) = world.talk_into_the_card();
    assert_eq!(world.rules(), 2);
    for _ in 0..50 {
        assert_eq!(world.exchange().1, [true; 2]);
    }
    let exchanges = before + 50;
    let listed = until("all is counted", || {
        let listed = world.listed();
        let packets = listed[0].traffic.map(|traffic| traffic.packets);
        (packets == [exchanges; 2]).then_some(listed)
    });
    assert_eq!(listed.len(), 1);
    assert!(listed[0].offloaded);
    let bytes = listed[0].traffic.map(|traffic| traffic.bytes);
    assert_eq!(bytes, [exchanges * 128, exchanges * 78]);
    assert!(world.counts().packets >= 100);

    // A rule that forbids it.
    let mut guarded = document();
    guarded["acls"] = json!({ "guard": { "default": "deny" } });
    guarded["interfaces"]["blue0"]["acl_in"] = json!("guard");
    world.commit(guarded);
    world.nothing_is_left();
    let resolved = world.gateway.shared().resolved(world.revision).unwrap();
    assert_eq!((resolved.ended, resolved.ended_in_card), (1, 1));
    assert!(world.listed().is_empty());

    // Allowed again, but of one interface alone.
    let mut half = document();
    half["interfaces"]["wan"]["offload"] = json!(false);
    world.commit(half);
    for _ in 0..40 {
        assert_eq!(world.exchange().1, [false; 2]);
    }
    assert_eq!(world.rules(), 0);
    world.commit(document());
    world.talk_into_the_card();
    let mut off = document();
    for interface in ["blue0", "red0", "wan"] {
        off["interfaces"][interface]["offload"] = json!(false);
    }
    world.commit(off);
    world.nothing_is_left();
    assert_eq!(world.exchange().1, [false; 2], "it goes on in software");

    // A port that closes takes its rules along.
    world.commit(document());
    world.talk_into_the_card();
    let mut closed = document();
    closed["interfaces"]["blue0"]["disabled"] = json!(true);
    world.commit(closed);
    until("the rules are gone", || {
        (world.counts().rules == 0).then_some(())
    });
    world.stop();
}

#[test]
fn a_gateway_offloads_by_templates_and_queues() {
    life(|| VirtualDevice::Other {
        driver: rewire_test_card::driver().unwrap_or_default(),
        arguments: String::new(),
    });
}

#[test]
fn a_gateway_offloads_by_single_calls() {
    life(|| VirtualDevice::Other {
        driver: rewire_test_card::driver().unwrap_or_default(),
        arguments: "sync=1".to_owned(),
    });
}

#[test]
fn a_gateway_copes_with_a_card_that_answers_late_and_backwards() {
    life(|| VirtualDevice::Other {
        driver: rewire_test_card::driver().unwrap_or_default(),
        arguments: "reversed=1,latency=3".to_owned(),
    });
}
