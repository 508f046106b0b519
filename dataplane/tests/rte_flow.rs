//! The card behind DPDK ports: what it is told, executed by a card in software that knows nothing of us, is what a rule means.
#![cfg(feature = "dpdk")]

use std::net::IpAddr;
use std::time::{Duration, Instant as Clock};

use proptest::prelude::*;
use rewire_conntrack::Instant;
use rewire_conntrack::offload::{Actions, Card, Event, Pattern, Refusal, Rule, RuleId};
use rewire_dataplane::rte_flow::{FlowPorts, RteFlowCard};
use rewire_dpdk::{
    Eal, EalConfig, Mempool, Port, PortConfig, ReceiveQueue, Started, VirtualDevice,
};
use rewire_packet::checksum::Sum;
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{IpAddress, MacAddress, Protocol};
use rewire_tables::InterfaceIndex;
use rewire_test_card::{Fate, arrive, depart, holds};

const MTU: u16 = 1500;
const NOW: Instant = Instant(1 << 40);

/// Some ports of the same kind, and the card over them. Interface n is the port n.
struct World {
    card: RteFlowCard,
    opened: FlowPorts,
    ports: Vec<Port<Started>>,
    queues: Vec<ReceiveQueue>,
    eal: Eal,
    pool: Mempool,
    events: Vec<Event>,
}

impl World {
    /// None, with a word to the reader, where the card was not built.
    fn new(ports: u16, arguments: &str) -> Option<World> {
        if rewire_test_card::driver().is_none() {
            println!("skipped: no card for tests (make deps)");
            return None;
        }
        let config = EalConfig {
            memory: 64,
            hugepages: false,
            ..EalConfig::default()
        };
        let eal = Eal::init(&config).unwrap();
        let pool = Mempool::new(&eal, "test", 2047, Mempool::DEFAULT_DATA_ROOM).unwrap();
        let (mut card, opened) = RteFlowCard::new(256);
        card.reserve(512);
        let mut world = World {
            card,
            opened,
            ports: Vec::new(),
            queues: Vec::new(),
            eal,
            pool,
            events: Vec::new(),
        };
        for interface in 0..ports {
            world.open(InterfaceIndex(interface), arguments);
        }
        Some(world)
    }

    fn open(&mut self, interface: InterfaceIndex, arguments: &str) {
        let device = VirtualDevice::Other {
            driver: rewire_test_card::driver().unwrap(),
            arguments: arguments.to_owned(),
        };
        let name = format!("port{}", self.eal_number());
        let port = self.eal.attach(&name, &device).unwrap();
        let mut port = port.configure(&PortConfig::new(self.pool.clone())).unwrap();
        let ages = self.opened.configure(&mut port);
        let mut port = port.start().unwrap();
        let engine = port.take_flow_engine().unwrap();
        self.opened.opened(interface, engine, MTU, ages).unwrap();
        self.queues.extend(port.take_receive_queue(0));
        self.ports.push(port);
    }

    fn eal_number(&self) -> usize {
        self.ports.len()
    }

    fn id(&self, interface: InterfaceIndex) -> u16 {
        self.ports[interface.position()].id()
    }

    /// Frees what was left to cores.
    fn drain(&mut self) {
        for queue in &mut self.queues {
            let mut burst = arrayvec::ArrayVec::<_, 64>::new();
            while queue.receive_burst(&mut burst) > 0 {
                burst.clear();
            }
        }
    }

    /// Waits until so many events came.
    fn wait(&mut self, count: usize) -> Vec<Event> {
        self.card.push(NOW);
        let deadline = Clock::now() + Duration::from_secs(10);
        while self.events.len() < count {
            self.card.poll(NOW, 16, &mut self.events);
            assert!(Clock::now() < deadline, "{:?} of {count}", self.events);
        }
        std::mem::take(&mut self.events)
    }

    fn install(&mut self, rules: &[(RuleId, Rule)]) {
        for (id, rule) in rules {
            self.card.install(*id, rule, NOW).unwrap();
        }
        let mut installed = self.wait(rules.len());
        installed.sort_by_key(|event| format!("{event:?}"));
        let mut expected: Vec<Event> = rules.iter().map(|(id, _)| Event::Installed(*id)).collect();
        expected.sort_by_key(|event| format!("{event:?}"));
        assert_eq!(installed, expected);
    }
}

fn id(place: u32) -> RuleId {
    RuleId { place, serial: 7 }
}

fn mac(n: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, n])
}

fn address(v4: bool, n: u8) -> IpAddr {
    match v4 {
        true => IpAddr::from([10, 0, n, 1]),
        false => IpAddr::from([0x2001, 0xdb8, n.into(), 0, 0, 0, 0, 1]),
    }
}

fn rule(ingress: u16, egress: u16) -> Rule {
    Rule {
        pattern: Pattern {
            ingress: InterfaceIndex(ingress),
            mac: mac(ingress as u8),
            protocol: 17,
            source: (address(true, 1), 1000),
            destination: (address(true, 2), 53),
            longest: MTU,
        },
        actions: Actions {
            source: (address(true, 3), 2000),
            destination: (address(true, 2), 53),
            source_mac: mac(egress as u8),
            destination_mac: mac(99),
            egress: InterfaceIndex(egress),
        },
        idle_after: Duration::from_secs(30),
    }
}

/// What is wrong with a packet, or unusual.
#[derive(Clone, Copy, Debug)]
enum Quirk {
    None,
    Hops(u8),
    Flags(u8),
    Fragment(u16),
    Options,
    Tagged,
    OtherMac,
    OtherPort,
    OtherSource,
    HeaderChecksum,
    UpperChecksum(u16),
    Longer,
    Padded,
}

fn quirks() -> impl Strategy<Value = Quirk> {
    prop_oneof![
        4 => Just(Quirk::None),
        2 => (0u8..4).prop_map(Quirk::Hops),
        2 => any::<u8>().prop_map(Quirk::Flags),
        1 => prop_oneof![Just(0x2000), Just(1), Just(0x4000), any::<u16>()].prop_map(Quirk::Fragment),
        1 => Just(Quirk::Options),
        1 => Just(Quirk::Tagged),
        1 => Just(Quirk::OtherMac),
        1 => Just(Quirk::OtherPort),
        1 => Just(Quirk::OtherSource),
        1 => Just(Quirk::HeaderChecksum),
        3 => prop_oneof![Just(0), Just(0xffff), Just(1), any::<u16>()].prop_map(Quirk::UpperChecksum),
        1 => Just(Quirk::Longer),
        1 => Just(Quirk::Padded),
    ]
}

/// A frame of the flow that a pattern takes, but for the quirk.
fn frame(pattern: &Pattern, payload: &[u8], quirk: Quirk) -> Vec<u8> {
    let tcp = pattern.protocol == 6;
    let mut upper = Vec::new();
    let source_port = pattern.source.1 ^ u16::from(matches!(quirk, Quirk::OtherPort));
    upper.extend(source_port.to_be_bytes());
    upper.extend(pattern.destination.1.to_be_bytes());
    if tcp {
        let flags = if let Quirk::Flags(flags) = quirk {
            flags
        } else {
            0x10
        };
        upper.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    } else {
        upper.extend((8 + payload.len() as u16).to_be_bytes());
        upper.extend([0, 0]);
    }
    upper.extend(payload);
    let hops = if let Quirk::Hops(hops) = quirk {
        hops
    } else {
        64
    };
    let other = u8::from(matches!(quirk, Quirk::OtherSource));
    let octets = |address| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut source = octets(pattern.source.0);
    source[1] ^= other;
    let destination = octets(pattern.destination.0);

    let mut pseudo = [source.clone(), destination.clone()].concat();
    pseudo.extend([0, pattern.protocol]);
    pseudo.extend((upper.len() as u16).to_be_bytes());
    let at = if tcp { 16 } else { 6 };
    let sum = match quirk {
        Quirk::UpperChecksum(sum) => sum,
        _ => Sum::ZERO.bytes(&pseudo).bytes(&upper).checksum(),
    };
    upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());

    let longer = u16::from(matches!(quirk, Quirk::Longer));
    let mut ip = Vec::new();
    if pattern.source.0.is_ipv4() {
        let words = if matches!(quirk, Quirk::Options) {
            6
        } else {
            5
        };
        let total = words * 4 + upper.len() as u16 + longer;
        ip.extend([0x40 | words as u8, 0]);
        ip.extend(total.to_be_bytes());
        let fragment = if let Quirk::Fragment(fragment) = quirk {
            fragment
        } else {
            0
        };
        ip.extend([0, 1]);
        ip.extend(fragment.to_be_bytes());
        ip.extend([hops, pattern.protocol, 0, 0]);
        ip.extend(source);
        ip.extend(destination);
        ip.resize(usize::from(words) * 4, 1);
        let sum =
            Sum::ZERO.bytes(&ip).checksum() ^ u16::from(matches!(quirk, Quirk::HeaderChecksum));
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        ip.extend([0x60, 0, 0, 0]);
        ip.extend((upper.len() as u16 + longer).to_be_bytes());
        ip.extend([pattern.protocol, hops]);
        ip.extend(source);
        ip.extend(destination);
    }
    let to = if matches!(quirk, Quirk::OtherMac) {
        mac(77)
    } else {
        pattern.mac
    };
    let mut frame = [to.octets(), mac(66).octets()].concat();
    if matches!(quirk, Quirk::Tagged) {
        frame.extend([0x81, 0, 0, 5]);
    }
    frame.extend(if pattern.source.0.is_ipv4() {
        [8, 0]
    } else {
        [0x86, 0xdd]
    });
    frame.extend(ip);
    frame.extend(upper);
    if matches!(quirk, Quirk::Padded) {
        frame.extend([0; 6]);
    }
    frame
}

/// What a rule makes of a frame, by the code that forwards packets on a core; none if it does not take it.
fn meaning(rule: &Rule, frame: &[u8]) -> Option<Vec<u8>> {
    match frame[12..14] {
        [8, 0] => meaning_of::<std::net::Ipv4Addr>(rule, frame),
        [0x86, 0xdd] => meaning_of::<std::net::Ipv6Addr>(rule, frame),
        _ => None,
    }
}

fn meaning_of<A: IpAddress>(rule: &Rule, frame: &[u8]) -> Option<Vec<u8>> {
    let plain = Plain::<A>::read(&frame[14..])?;
    let pattern = &rule.pattern;
    let decisive = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::ACK;
    let is_tcp = plain.protocol == Protocol::TCP;
    let fits = frame[..6] == pattern.mac.octets()
        && plain.protocol == Protocol(pattern.protocol)
        && (plain.source.into(), plain.source_port) == pattern.source
        && (plain.destination.into(), plain.destination_port) == pattern.destination
        && (!is_tcp || plain.flags & decisive.0 == TcpFlags::ACK.0)
        && plain.packet_len <= pattern.longest.into();
    if !fits {
        return None;
    }
    let mut out = frame.to_vec();
    out[..6].copy_from_slice(&rule.actions.destination_mac.octets());
    out[6..12].copy_from_slice(&rule.actions.source_mac.octets());
    let end = |(address, port)| Some((A::from_ip(address)?, port));
    plain.forward(
        &mut out[14..],
        end(rule.actions.source)?,
        end(rule.actions.destination)?,
    );
    out.truncate(14 + plain.packet_len as usize);
    Some(out)
}

/// Rules from few addresses and ports, so that some share theirs. What is rewritten is any subset.
fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let one = (any::<[bool; 2]>(), any::<[u8; 8]>(), any::<[u16; 2]>());
    let one = one.prop_map(|([v4, tcp], n, ports)| {
        let (ingress, egress) = (u16::from(n[0] % 3), u16::from(n[1] % 3));
        let source = (address(v4, n[2] % 3), 1000 + u16::from(n[3] % 3));
        let destination = (address(v4, 100 + n[4] % 3), 53);
        let new = |end: (IpAddr, u16), change: u8, port: u16| {
            let address = if change & 1 != 0 {
                address(v4, change)
            } else {
                end.0
            };
            (address, if change & 2 != 0 { port } else { end.1 })
        };
        Rule {
            pattern: Pattern {
                ingress: InterfaceIndex(ingress),
                mac: mac(n[0] % 3),
                protocol: if tcp { 6 } else { 17 },
                source,
                destination,
                longest: MTU,
            },
            actions: Actions {
                source: new(source, n[5], ports[0]),
                destination: new(destination, n[6], ports[1]),
                source_mac: mac(10 + n[1] % 3),
                destination_mac: mac(n[7]),
                egress: InterfaceIndex(egress),
            },
            idle_after: Duration::from_secs(30),
        }
    });
    prop::collection::vec(one, 1..12).prop_map(|mut rules| {
        let mut seen = std::collections::HashSet::new();
        rules.retain(|rule| seen.insert(rule.pattern));
        rules
    })
}

fn executes_what_rules_mean(arguments: &str) {
    let Some(world) = World::new(3, arguments) else {
        return;
    };
    let packets = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop::collection::vec(any::<u8>(), 0..40),
            quirks(),
        ),
        1..40,
    );
    let mut runner = proptest::test_runner::TestRunner::default();
    let world = std::cell::RefCell::new(world);
    runner
        .run(&(rules(), packets), |(rules, packets)| {
            let world = &mut *world.borrow_mut();
            world.drain();
            let named: Vec<_> = (0..).map(id).zip(rules.iter().copied()).collect();
            world.install(&named);
            let mut counts = vec![(0, 0); rules.len()];
            for (which, payload, quirk) in packets {
                let pattern = which.get(&rules).pattern;
                let frame = frame(&pattern, &payload, quirk);
                let port = world.id(pattern.ingress);
                let fate = arrive(port, &frame);
                let of_port = rules.iter().zip(&mut counts);
                let taken = of_port
                    .filter(|(rule, _)| rule.pattern.ingress == pattern.ingress)
                    .find_map(|(rule, count)| Some((rule, count, meaning(rule, &frame)?)));
                let Some((rule, count, expected)) = taken else {
                    prop_assert_eq!(fate, Some(Fate::ToCore), "{:?} {:02x?}", quirk, frame);
                    continue;
                };
                prop_assert_eq!(fate, Some(Fate::Forwarded), "{:?} {:02x?}", quirk, frame);
                let sent = depart(world.id(rule.actions.egress)).unwrap();
                prop_assert_eq!(
                    &sent[..expected.len()],
                    &expected[..],
                    "{:?} {:?}",
                    quirk,
                    rule
                );
                *count = (count.0 + 1, count.1 + frame.len() as u64 - 14);
            }
            for ((id, _), (packets, bytes)) in named.iter().zip(&counts) {
                let usage = world.card.query(*id, NOW).unwrap();
                prop_assert_eq!((usage.packets, usage.bytes), (*packets, *bytes));
                prop_assert_eq!(usage.last.is_some(), *packets > 0);
                world.card.remove(*id, NOW).unwrap();
            }
            for event in world.wait(named.len()) {
                let Event::Removed(id, usage) = event else {
                    panic!("{event:?}")
                };
                prop_assert_eq!(usage.packets, counts[id.place as usize].0);
            }
            for port in &world.ports {
                prop_assert_eq!(
                    holds(port.id()).unwrap().rules,
                    2,
                    "those for expiring packets"
                );
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_card_with_templates_executes_what_rules_mean() {
    executes_what_rules_mean("reversed=1,latency=2");
}

#[test]
fn a_card_without_templates_executes_what_rules_mean() {
    executes_what_rules_mean("sync=1");
}

#[test]
fn what_a_card_cannot_do_is_refused() {
    let Some(mut world) = World::new(2, "capacity=5") else {
        return;
    };
    assert_eq!(world.card.is_asynchronous(InterfaceIndex(0)), Some(true));
    let good = rule(0, 1);
    let with = |change: fn(&mut Rule)| {
        let mut rule = good;
        change(&mut rule);
        rule
    };
    let unsupported = [
        with(|rule| rule.pattern.protocol = 1),
        with(|rule| rule.pattern.longest = MTU - 1),
        with(|rule| rule.pattern.source.0 = address(false, 1)),
    ];
    for rule in unsupported {
        let refused = world.card.install(id(0), &rule, NOW);
        assert_eq!(refused, Err(Refusal::Unsupported));
    }
    let closed = InterfaceIndex(5);
    let refused = world.card.install(id(0), &rule(0, 5), NOW);
    assert_eq!(refused, Err(Refusal::PortClosed(closed)));
    let refused = world.card.install(id(0), &rule(5, 0), NOW);
    assert_eq!(refused, Err(Refusal::PortClosed(closed)));

    // Room for three beside the two for expiring packets; the fourth is refused late.
    for n in 0..4u16 {
        let mut rule = good;
        rule.pattern.source.1 = n;
        world.card.install(id(n.into()), &rule, NOW).unwrap();
    }
    let events = world.wait(4);
    let refused: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::NotInstalled(_, Refusal::TableFull)))
        .collect();
    assert_eq!(refused.len(), 1, "{events:?}");
    assert_eq!(holds(world.ports[0].id()).unwrap().rules, 5);
}

#[test]
fn a_silent_rule_is_reported() {
    let Some(mut world) = World::new(2, "") else {
        return;
    };
    world.install(&[(id(3), rule(0, 1))]);
    rewire_test_card::advance(29);
    world.card.poll(NOW, 16, &mut world.events);
    assert!(world.events.is_empty());
    rewire_test_card::advance(1);
    assert_eq!(world.wait(1), [Event::Idle(id(3))]);
}

/// With and without templates.
#[test]
fn a_closed_port_leaves_no_rule_that_sends_there() {
    for_both(|world| {
        let rules = [
            (id(0), rule(0, 1)),
            (id(1), rule(1, 0)),
            (id(2), rule(2, 0)),
        ];
        world.install(&rules);
        let packet = frame(&rule(0, 1).pattern, &[1, 2, 3], Quirk::None);
        assert_eq!(
            arrive(world.id(InterfaceIndex(0)), &packet),
            Some(Fate::Forwarded)
        );
        // Under way while the port is closed.
        let mut late = rule(0, 1);
        late.pattern.source.1 = 9;
        world.card.install(id(5), &late, NOW).unwrap();

        world.card.close_port(InterfaceIndex(1));
        assert_eq!(
            arrive(world.id(InterfaceIndex(0)), &packet),
            Some(Fate::ToCore)
        );
        assert_eq!(
            holds(world.id(InterfaceIndex(0))).unwrap().rules,
            2,
            "for expiring packets"
        );
        let still = frame(&rule(2, 0).pattern, &[], Quirk::None);
        assert_eq!(
            arrive(world.id(InterfaceIndex(2)), &still),
            Some(Fate::Forwarded)
        );
        assert_eq!(world.wait(1), [Event::Installed(id(5))]);
        let refused = world.card.install(id(9), &rule(0, 1), NOW);
        assert_eq!(refused, Err(Refusal::PortClosed(InterfaceIndex(1))));

        // They count as installed until they are removed.
        for n in [0, 1, 2, 5] {
            world.card.remove(id(n), NOW).unwrap();
        }
        let mut counts = [9; 6];
        for event in world.wait(4) {
            let Event::Removed(id, usage) = event else {
                panic!("{event:?}")
            };
            counts[id.place as usize] = usage.packets;
        }
        assert_eq!(counts, [1, 0, 1, 9, 9, 0]);
    });
}

/// DPDK starts once a process: the second world is other ports of the same one.
fn for_both(test: impl Fn(&mut World)) {
    let Some(mut world) = World::new(3, "latency=1") else {
        return;
    };
    test(&mut world);
    world.queues.clear();
    world.ports.clear();
    (world.card, world.opened) = RteFlowCard::new(256);
    for interface in 0..3 {
        world.open(InterfaceIndex(interface), "sync=1");
    }
    assert_eq!(world.card.is_asynchronous(InterfaceIndex(0)), Some(false));
    test(&mut world);
}
