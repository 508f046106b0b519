//! Whatever the card does: no packet is misdelivered, no rule outlives its flow or its generation, and nothing leaks.

mod support;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use rewire_conntrack::Direction;
use rewire_dataplane::offload::{CardConfig, Chaos, ChaoticCard, ModelledCard, OffloadConfig};
use rewire_dataplane::{GatewayConfig, Sent, VirtualGateway};
use rewire_packet::MacAddress;
use support::*;

/// Inside: few, so that they share addresses and ports all the time.
const HOSTS: u8 = 4;

fn host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, 0, 10 + number)
}

fn host_mac(number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 1, 0x10 + number])
}

fn upstream(moved: bool) -> MacAddress {
    MacAddress([2, 0, 0, 0, 1, if moved { 4 } else { 3 }])
}

/// The revisions: the way out moves, and a host is forbidden to go there.
fn document(moved: bool, forbidden: Option<u8>) -> serde_json::Value {
    let mut document = two_vpcs();
    let neighbors = (0..HOSTS).map(|number| {
        let mac = json!({ "mac": host_mac(number).to_string() });
        (host(number).to_string(), mac)
    });
    document["interfaces"]["blue0"]["neighbors"] = serde_json::Value::Object(neighbors.collect());
    document["interfaces"]["wan"]["neighbors"] =
        json!({ "203.0.113.2": { "mac": upstream(moved).to_string() } });
    if let Some(forbidden) = forbidden {
        document["acls"] = json!({ "guard": { "default": "allow", "rules": {
            "10": { "action": "deny", "sources": [host(forbidden).to_string()] },
        } } });
        document["interfaces"]["blue0"]["acl_in"] = json!("guard");
    }
    document
}

/// The protocol's number.
const ICMP: u8 = 1;

/// A conversation's end inside.
#[derive(Clone, Copy, Debug)]
struct Talk {
    host: u8,
    port: u16,
    site_port: u16,
}

struct World {
    lab: Lab,
    card: ModelledCard,
    /// So late the card is, at most.
    late: Duration,
    moved: bool,
    forbidden: Option<u8>,
    talks: Vec<Talk>,
    random: u64,
    /// Packets that arrived where they should.
    delivered: u64,
    /// Conversations that were begun.
    begun: u64,
}

impl World {
    fn new(chaos: Chaos, card: CardConfig) -> Self {
        let config = GatewayConfig {
            connections: 256,
            offload: Some(OffloadConfig {
                packets: 1,
                again: NonZeroU64::MIN,
                idle_after: Duration::from_secs(20),
                flows: 48,
                requests: 16,
                query_every: Duration::from_secs(2),
            }),
            ..GatewayConfig::default()
        };
        let card = ModelledCard::new(card);
        let control = Box::new(ChaoticCard::new(card.clone(), chaos));
        let gateway = VirtualGateway::with_card(&config, card.clone(), control);
        World {
            lab: Lab::of(gateway, document(false, None)),
            card,
            late: chaos.late,
            moved: false,
            forbidden: None,
            talks: Vec::new(),
            random: chaos.seed | 1,
            delivered: 0,
            begun: 0,
        }
    }

    /// xorshift64 (G. Marsaglia, "Xorshift RNGs", 2003), below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }

    /// Some conversations begin, some go on; each gets an answer.
    fn talk(&mut self) {
        for _ in 0..8 {
            let talk = Talk {
                host: self.below(u64::from(HOSTS)) as u8,
                port: 4000 + self.below(12) as u16,
                site_port: 53 + self.below(4) as u16,
            };
            self.begun += 1;
            self.talks.push(talk);
        }
        if self.talks.len() > 40 {
            let too_many = self.talks.len() - 40;
            self.talks.drain(..too_many);
        }
        let mut talks: Vec<Talk> = (0..8)
            .map(|_| {
                let index = self.below(self.talks.len() as u64);
                self.talks[index as usize]
            })
            .collect();
        talks.extend_from_slice(&self.talks[self.talks.len() - 8..]);
        // The same packets twice, so that what is offloaded with the first is forwarded by the card the second time.
        for _ in 0..2 {
            self.round(&talks);
        }
    }

    fn round(&mut self, talks: &[Talk]) {
        let out = (0..).zip(talks).map(|(number, talk)| {
            let inside = (host(talk.host), talk.port);
            // The length says which it is.
            ("blue0", udp(inside, (SITE, talk.site_port), number).frame())
        });
        let out: Vec<_> = out.collect();
        let sent = self.lab.burst(out);
        let mut answers = Vec::new();
        for Sent { interface, frame } in sent {
            if frame[23] == ICMP {
                assert_eq!(Some(interface), self.lab.gateway.interface("blue0"));
                continue;
            }
            assert_eq!(Some(interface), self.lab.gateway.interface("wan"));
            let talk = talks[payload(&frame)];
            assert_eq!(ends(&frame).1, (SITE, talk.site_port), "{talk:?}");
            assert_ne!(Some(talk.host), self.forbidden, "{talk:?}");
            assert_eq!(frame[..6], upstream(self.moved).0, "{talk:?}");
            let (outside, _) = ends(&frame);
            assert_eq!(outside.0, WAN);
            let answer = udp((SITE, talk.site_port), outside, payload(&frame));
            answers.push(("wan", answer.frame()));
            self.delivered += 1;
        }
        for Sent { interface, frame } in self.lab.burst(answers) {
            if frame[23] == ICMP {
                // Nobody is there any more, and the sender is told.
                assert_eq!(Some(interface), self.lab.gateway.interface("wan"));
                continue;
            }
            assert_eq!(Some(interface), self.lab.gateway.interface("blue0"));
            let talk = talks[payload(&frame)];
            let inside = (host(talk.host), talk.port);
            assert_eq!(ends(&frame), ((SITE, talk.site_port), inside), "{talk:?}");
            assert_eq!(frame[..6], host_mac(talk.host).0, "{talk:?}");
            self.delivered += 1;
        }
        self.check_rules();
    }

    /// Every rule in the card is of a connection that still has its keys.
    fn check_rules(&self) {
        let connections = self.lab.gateway.graph().connections4();
        let mut allowed = HashSet::new();
        for (_, flow) in connections.iter() {
            for direction in [Direction::Original, Direction::Reply] {
                let (key, other) = (flow.key(direction), flow.key(direction.other()));
                let matched = (
                    (key.source, key.source_port),
                    (key.destination, key.destination_port),
                );
                let written = (
                    (other.destination, other.destination_port),
                    (other.source, other.source_port),
                );
                allowed.insert((matched, written));
            }
        }
        let four = |(address, port)| match address {
            IpAddr::V4(address) => (address, port),
            IpAddr::V6(_) => panic!("a rule for IPv6"),
        };
        for rule in self.card.installed() {
            let matched = (four(rule.pattern.source), four(rule.pattern.destination));
            let written = (four(rule.actions.source), four(rule.actions.destination));
            assert!(allowed.contains(&(matched, written)), "{rule:?}");
        }
    }

    fn commit(&mut self) {
        self.moved = self.below(2) == 1;
        self.forbidden = [None, Some(self.below(u64::from(HOSTS)) as u8)][self.below(2) as usize];
        self.lab.commit(document(self.moved, self.forbidden));
        // What the card was told before holds until it has confirmed that it does not.
        let is_outdated = |world: &World| {
            let upstream = upstream(world.moved);
            let forbidden = world.forbidden.map(|number| IpAddr::from(host(number)));
            world.card.installed().iter().any(|rule| {
                let is_out = rule.actions.destination.0 == SITE;
                is_out && rule.actions.destination_mac != upstream
                    || Some(rule.pattern.source.0) == forbidden
                    || Some(rule.actions.destination.0) == forbidden
            })
        };
        for _ in 0..1000 {
            self.lab.wait(Duration::from_millis(200) + self.late / 10);
            let counts = self.lab.gateway.totals().offload;
            let answered = counts.installed + counts.card_full + counts.refused;
            let is_settled = counts.installs == answered && counts.removals == counts.removed;
            if is_settled && self.lab.gateway.graph().is_revalidated() {
                assert!(!is_outdated(self));
                return;
            }
        }
        panic!(
            "a rule outlives its generation: {:?}",
            self.lab.gateway.totals().offload
        );
    }

    fn run(&mut self, flows: u64) {
        while self.begun < flows {
            self.talk();
            match self.below(40) {
                0 => self.commit(),
                1 => drop(self.lab.wait(Duration::from_secs(400))),
                2..8 => drop(self.lab.wait(Duration::from_secs(30))),
                _ => drop(self.lab.wait(Duration::from_millis(300))),
            }
            self.check_rules();
        }
        // All is over; and everything is back where it was taken from.
        for _ in 0..300 {
            self.lab.wait(Duration::from_secs(10));
        }
        let graph = self.lab.gateway.graph();
        assert!(graph.connections4().is_empty());
        assert_eq!(graph.connections4().mappings_in_use(), 0);
        let counts = self.lab.gateway.totals().offload;
        assert_eq!((counts.flows, counts.rules), (0, 0), "{counts:?}");
        assert_eq!(
            counts.installs,
            counts.installed + counts.card_full + counts.refused
        );
        assert_eq!(
            (counts.removals, counts.removed),
            (counts.installed, counts.installed)
        );
        assert_eq!(self.card.rules(), 0);
    }
}

/// The ends of a datagram.
fn ends(frame: &[u8]) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let address = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let port = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    ((address(26), port(34)), (address(30), port(36)))
}

/// The bytes that a datagram carries.
fn payload(frame: &[u8]) -> usize {
    frame.len() - 14 - 20 - 8
}

fn chaos() -> impl Strategy<Value = Chaos> {
    let late = prop_oneof![
        Just(Duration::ZERO),
        (0..500_u64).prop_map(Duration::from_millis),
        (0..20_u64).prop_map(Duration::from_secs),
        // Longer than a connection lives.
        Just(Duration::from_secs(400)),
    ];
    let chance = || prop_oneof![Just(0_u8), 0..100_u8];
    (
        any::<u64>(),
        [chance(), chance(), chance(), chance()],
        [chance(), chance(), chance()],
        late,
    )
        .prop_map(
            |(seed, [refuses, full, fails, forgets], [loses, keeps, evades], late)| Chaos {
                seed,
                refuses,
                full,
                fails,
                forgets,
                loses,
                keeps,
                evades,
                late,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chaos_misdelivers_nothing(chaos in chaos(), capacity in 8..120_usize, queue in 1..32_usize) {
        let card = CardConfig {
            capacity,
            queue,
            per_request: Duration::from_millis(20),
            latency: Duration::from_millis(30),
        };
        World::new(chaos, card).run(400);
    }
}

/// A card that has room for few requests, and removes one in four at the second try only: so many removals wait that one of
/// them comes back at every moment.
#[test]
fn removals_that_wait_come_to_an_end() {
    let chaos = Chaos {
        seed: 12477805711329363604,
        keeps: 67,
        ..Chaos::default()
    };
    let card = CardConfig {
        capacity: 49,
        queue: 3,
        per_request: Duration::from_millis(20),
        latency: Duration::from_millis(30),
    };
    World::new(chaos, card).run(400);
}

/// Nothing leaks: as many flows as `REWIRE_OFFLOAD_FLOWS` says, with a little of all chaos.
#[test]
fn nothing_leaks() {
    let flows = std::env::var("REWIRE_OFFLOAD_FLOWS").ok();
    let flows = flows.map_or(8000, |flows| flows.parse().expect("a number"));
    let chaos = Chaos {
        seed: 7,
        refuses: 5,
        full: 20,
        fails: 5,
        forgets: 5,
        loses: 20,
        keeps: 30,
        evades: 30,
        late: Duration::from_millis(400),
    };
    let mut world = World::new(chaos, CardConfig::default());
    world.run(flows);
    let counts = world.lab.gateway.totals().offload;
    assert!(counts.installed > flows / 4, "{counts:?}");
    assert!(counts.packets > flows / 4, "{counts:?}");
    assert!(counts.strays > 0 && counts.refused > 0, "{counts:?}");
    assert!(
        world.delivered > 3 * flows,
        "{} of {flows}",
        world.delivered
    );
    println!("{} packets delivered: {counts:?}", world.delivered);
}
