//! Random calls against a naive model: lists that are searched from end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::error::Resource;
use crate::tcp::Memory;

const CAPACITY: usize = 6;
const WORKERS: u16 = 2;
const WORKER: u16 = 1;
/// Besides these, every external port is reserved, so that ports do run out. The share of worker 1 has 70, 1090, 1091
/// and 1092 of them.
const OPEN_PORTS: [u16; 6] = [22, 70, 1025, 1090, 1091, 1092];

#[derive(Clone, Debug)]
enum Call {
    /// Begin a connection, translated or not.
    Insert {
        key: Key,
        masquerade: bool,
        kind: u8,
    },
    /// A packet of the n-th connection, if it is there.
    Update {
        nth: usize,
        direction: Direction,
        kind: u8,
    },
    Remove {
        nth: usize,
    },
    Advance {
        nanoseconds: u64,
    },
    Expire {
        budget: usize,
    },
}

/// A key in a small space: source, destination, ports, protocol.
type Key = (u8, u8, usize, u8);

fn key() -> impl Strategy<Value = Key> {
    (
        0..2_u8,
        0..2_u8,
        0..4_usize,
        prop::sample::select(vec![1, 6, 17, 47]),
    )
}

fn call() -> impl Strategy<Value = Call> {
    let direction = any::<bool>().prop_map(|reply| if reply { Reply } else { Original });
    let seconds = |seconds: u64| seconds * 1_000_000_000;
    let pauses = vec![
        0,
        1,
        seconds(1),
        seconds(60) - 1,
        seconds(60),
        seconds(150),
        seconds(8000),
    ];
    let budgets = vec![0, 1, 3, usize::MAX];
    prop_oneof![
        4 => (key(), any::<bool>(), any::<u8>())
            .prop_map(|(key, masquerade, kind)| Call::Insert { key, masquerade, kind }),
        4 => (any::<usize>(), direction, any::<u8>())
            .prop_map(|(nth, direction, kind)| Call::Update { nth, direction, kind }),
        1 => any::<usize>().prop_map(|nth| Call::Remove { nth }),
        2 => prop::sample::select(pauses).prop_map(|nanoseconds| Call::Advance { nanoseconds }),
        1 => prop::sample::select(budgets).prop_map(|budget| Call::Expire { budget }),
    ]
}

fn segment(protocol: u8, kind: u8) -> Segment {
    const TCP_FLAGS: [TcpFlags; 8] = [
        TcpFlags::SYN,
        TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0),
        TcpFlags::ACK,
        TcpFlags::ACK,
        TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
        TcpFlags::SYN,
        TcpFlags::RST,
        TcpFlags::NONE,
    ];
    match protocol {
        1 => Segment::IcmpQuery {
            reply: kind.is_multiple_of(3),
        },
        6 => tcp(TCP_FLAGS[usize::from(kind) % TCP_FLAGS.len()]),
        17 => Segment::Udp,
        _ => Segment::Other,
    }
}

fn inside<A: Address>(last: u8) -> A {
    A::from_number(0x0a00_0000 + u128::from(last))
}

fn outside<A: Address>(last: u8) -> A {
    A::from_number(0xc000_0200 + u128::from(last))
}

fn pool<A: Address>() -> impl Iterator<Item = RangeInclusive<A>> + Clone {
    [2, 7].into_iter().map(|last| outside(last)..=outside(last))
}

fn flow_key<A: Address>((source, destination, port, protocol): Key) -> FlowKey<A> {
    let port = if protocol == 47 {
        0
    } else {
        [22, 70, 1090, 5000][port]
    };
    FlowKey {
        vpc: INSIDE,
        protocol,
        source: inside(source),
        destination: outside(100 + destination),
        source_port: port,
        destination_port: if protocol == 1 { port } else { 80 },
    }
}

struct ModelFlow<A> {
    id: FlowId,
    flow: Flow<A>,
    memory: Memory,
}

struct ModelMapping<A> {
    internal: Internal<A>,
    mapping: Mapping<A>,
}

struct Run<A> {
    connections: Connections<A>,
    now: Instant,
    flows: Vec<ModelFlow<A>>,
    mappings: Vec<ModelMapping<A>>,
    /// The external address that an internal one got first, while it has any mapping.
    homes: BTreeMap<A, A>,
    /// What the calls have answered, in words.
    log: Vec<String>,
}

impl<A: Address> Run<A> {
    fn new(hash_seed: u64) -> Self {
        let config = Config {
            worker: WORKER,
            workers: WORKERS,
            hash_seed,
            ..config(CAPACITY)
        };
        Run {
            connections: Connections::new(config),
            now: START,
            flows: Vec::new(),
            mappings: Vec::new(),
            homes: BTreeMap::new(),
            log: Vec::new(),
        }
    }

    fn call(&mut self, call: &Call) {
        match *call {
            Call::Insert {
                key,
                masquerade,
                kind,
            } => self.insert(key, masquerade, kind),
            Call::Update {
                nth,
                direction,
                kind,
            } => self.update(nth, direction, kind),
            Call::Remove { nth } => self.remove(nth),
            Call::Advance { nanoseconds } => self.now.0 += nanoseconds,
            Call::Expire { budget } => self.expire(budget),
        }
        self.compare();
    }

    fn insert(&mut self, key: Key, masquerade: bool, kind: u8) {
        let original = flow_key(key);
        let mapping = if masquerade {
            self.acquire(&original)
        } else {
            None
        };
        if masquerade && mapping.is_none() {
            return;
        }
        let mut reply = original.reversed(OUTSIDE);
        if let Some(mapping) = mapping {
            reply.destination = mapping.address;
            reply.destination_port = mapping.port;
            if original.protocol == 1 {
                reply.source_port = mapping.port;
            }
        }
        let new = NewFlow {
            original,
            reply,
            route_vpc: OUTSIDE,
            policy_generation: 1,
            admission: Default::default(),
            mapping,
        };
        let segment = segment(original.protocol, kind);
        let result = self
            .connections
            .insert(new, &segment, u32::from(kind), self.now);
        let expected = self.model_insert(&new, &segment, kind);
        self.log.push(format!("{result:?}"));
        match (result, expected) {
            (Ok(id), Ok((flow, memory))) => self.flows.push(ModelFlow { id, flow, memory }),
            (result, expected) => assert_eq!(result.err(), expected.err()),
        }
        self.connections.release_unused_mapping();
        self.forget_unused_mappings();
    }

    fn model_insert(
        &mut self,
        new: &NewFlow<A>,
        segment: &Segment,
        kind: u8,
    ) -> Result<(Flow<A>, Memory), InsertError> {
        for key in [new.original, new.reply] {
            let has_key = |flow: &Flow<A>| flow.original == key || flow.reply == key;
            let is_live = |flow: &Flow<A>| flow.expires > self.now;
            if self
                .flows
                .iter()
                .any(|entry| has_key(&entry.flow) && is_live(&entry.flow))
            {
                return Err(InsertError::Clash);
            }
            self.flows.retain(|entry| !has_key(&entry.flow));
        }
        if self.flows.len() == CAPACITY {
            return Err(InsertError::TableFull);
        }
        let (state, memory) = State::begin(segment);
        let bytes = u64::from(kind);
        let flow = Flow {
            original: new.original,
            reply: new.reply,
            route_vpc: OUTSIDE,
            policy_generation: 1,
            admission: Default::default(),
            is_mapped: new.mapping.is_some(),
            is_joined: false,
            state,
            created: Instant(self.now.0 >> TICK_BITS << TICK_BITS),
            expires: end(self.now, Timeouts::default().of(state)),
            traffic: [Traffic { packets: 1, bytes }, Traffic::default()],
        };
        Ok((flow, memory))
    }

    /// Acquires a mapping, and checks it against all that mappings promise.
    fn acquire(&mut self, key: &FlowKey<A>) -> Option<Mapping<A>> {
        let internal = Internal {
            vpc: key.vpc,
            protocol: key.protocol,
            address: key.source,
            port: key.source_port,
        };
        let is_open = |port: u16| key.protocol == 47 || OPEN_PORTS.contains(&port);
        let reserved = |_, port| !is_open(port);
        let result = self.connections.acquire_mapping(
            internal,
            OUTSIDE,
            pool(),
            &PortAllocation::default(),
            reserved,
        );
        self.log.push(format!("{result:?}"));
        if let Some(known) = self
            .mappings
            .iter()
            .find(|known| known.internal == internal)
        {
            assert_eq!(result, Ok(known.mapping), "endpoint-independent");
            return Some(known.mapping);
        }
        let is_free = |address: A, port: u16| {
            let holds = |known: &ModelMapping<A>| {
                known.internal.protocol == key.protocol
                    && (known.mapping.address, known.mapping.port) == (address, port)
            };
            let is_own = crate::owner(port, WORKERS) == WORKER;
            is_own && is_open(port) && !self.mappings.iter().any(holds)
        };
        let has_free = |address: A| {
            let mut others = OPEN_PORTS.into_iter().filter(|&port| port >= 1024);
            is_free(address, internal.port)
                || key.protocol != 47 && others.any(|port| is_free(address, port))
        };
        let addresses: Vec<A> = pool().map(|range| *range.start()).collect();
        match result {
            Ok(mapping) => {
                assert!(addresses.contains(&mapping.address), "of the pool");
                assert!(
                    is_free(mapping.address, mapping.port),
                    "one holder for each port"
                );
                let preserved = mapping.port == internal.port;
                assert!(
                    preserved || mapping.port >= 1024,
                    "well-known ones only preserved"
                );
                assert!(
                    preserved || !is_free(mapping.address, internal.port),
                    "preservation"
                );
                let home = *self
                    .homes
                    .entry(internal.address)
                    .or_insert(mapping.address);
                assert!(mapping.address == home || !has_free(home), "paired pooling");
                self.mappings.push(ModelMapping { internal, mapping });
                Some(mapping)
            }
            Err(Exhausted {
                resource: Resource::Ports,
                ..
            }) => {
                assert!(!addresses.into_iter().any(has_free), "a port was left");
                None
            }
            Err(Exhausted { resource, .. }) => {
                assert_eq!(
                    (resource, self.mappings.len()),
                    (Resource::Mappings, CAPACITY)
                );
                None
            }
        }
    }

    fn forget_unused_mappings(&mut self) {
        let flows = &self.flows;
        let is_used = |known: &ModelMapping<A>| {
            let has_it = |flow: &Flow<A>| {
                flow.is_mapped
                    && flow.original.protocol == known.internal.protocol
                    && (flow.reply.destination, flow.reply.destination_port)
                        == (known.mapping.address, known.mapping.port)
            };
            flows.iter().any(|entry| has_it(&entry.flow))
        };
        self.mappings.retain(is_used);
        let mappings = &self.mappings;
        self.homes
            .retain(|&host, _| mappings.iter().any(|known| known.internal.address == host));
    }

    fn update(&mut self, nth: usize, direction: Direction, kind: u8) {
        let Some(nth) = nth.checked_rem(self.flows.len()) else {
            return;
        };
        let ModelFlow { id, flow, memory } = &mut self.flows[nth];
        // Now and then the segment is of another protocol.
        let protocol = if kind % 16 == 9 {
            17
        } else {
            flow.original.protocol
        };
        let segment = segment(protocol, kind);
        let bytes = u32::from(kind);
        let result = self
            .connections
            .update(*id, direction, &segment, bytes, self.now);
        self.log.push(format!("{result:?}"));
        let expected = if flow.expires <= self.now {
            Err(Invalid::NoFlow)
        } else {
            flow.state.step(memory, direction, &segment)
        };
        let state = expected.map(|effect| match effect {
            Effect::To(state) => state,
            Effect::None | Effect::Doubt => flow.state,
        });
        assert_eq!(result, state);
        if let Ok(effect) = expected {
            let reset = end(self.now, Timeouts::default().tcp_reset);
            match effect {
                Effect::To(state) => {
                    flow.state = state;
                    flow.expires = end(self.now, Timeouts::default().of(state));
                }
                Effect::Doubt => flow.expires = flow.expires.min(reset),
                Effect::None => {}
            }
            let traffic = &mut flow.traffic[direction as usize];
            traffic.packets += 1;
            traffic.bytes += u64::from(bytes);
        }
    }

    fn remove(&mut self, nth: usize) {
        let Some(nth) = nth.checked_rem(self.flows.len()) else {
            return;
        };
        let ModelFlow { id, flow, .. } = self.flows.remove(nth);
        let removed = self.connections.remove(id).expect("it is there");
        assert_eq!(format!("{removed:?}"), format!("{flow:?}"));
        assert!(self.connections.remove(id).is_none() && self.connections.flow(id).is_none());
        self.forget_unused_mappings();
    }

    fn expire(&mut self, budget: usize) {
        let removed = self.connections.expire(self.now, budget);
        self.log.push(removed.to_string());
        let now = self.now;
        let before = self.flows.len();
        // Which of those that are due go first is the sweep's own business; so is whether one goes in the tick in which its
        // time is up, or with the next.
        let connections = &self.connections;
        self.flows
            .retain(|entry| entry.flow.expires > now || connections.flow(entry.id).is_some());
        assert_eq!(before - self.flows.len(), removed);
        assert!(removed <= budget);
        if budget == usize::MAX {
            assert!(
                self.flows
                    .iter()
                    .all(|entry| tick(entry.flow.expires) >= tick(now))
            );
        }
        self.forget_unused_mappings();
    }

    /// Everything that can be asked has the same answer.
    fn compare(&self) {
        let connections = &self.connections;
        assert_eq!(connections.len(), self.flows.len());
        assert!(connections.len() <= connections.capacity());
        assert_eq!(connections.mappings_in_use(), self.mappings.len());
        self.compare_port_use();
        let ids: BTreeSet<_> = connections
            .iter()
            .map(|(id, _)| format!("{id:?}"))
            .collect();
        assert_eq!(
            ids,
            self.flows
                .iter()
                .map(|entry| format!("{:?}", entry.id))
                .collect()
        );
        let mut counts = StateCounts::default();
        for ModelFlow { id, flow, .. } in &self.flows {
            counts.add(flow.state);
            assert_eq!(
                format!("{:?}", connections.flow(*id).unwrap()),
                format!("{flow:?}")
            );
            for direction in [Original, Reply] {
                let found = connections.lookup(flow.key(direction), self.now);
                assert_eq!(found, (flow.expires > self.now).then_some((*id, direction)));
            }
        }
        assert_eq!(connections.counts(), &counts);
        for (source, port) in [(0, 0), (0, 3), (1, 1), (1, 2)] {
            let key = flow_key((source, 0, port, 17));
            let is_known = self.flows.iter().any(|entry| entry.flow.original == key);
            assert!(is_known || connections.lookup(&key, self.now).is_none());
        }
    }

    /// As many ports of each external address are in use as its connections have different ones.
    fn compare_port_use(&self) {
        let mut expected: BTreeMap<_, BTreeSet<u16>> = BTreeMap::new();
        let mapped = self.connections.iter().filter(|(_, flow)| flow.is_mapped);
        for (_, flow) in mapped {
            let key = &flow.reply;
            let external = (key.vpc, key.protocol, key.destination);
            let ports = expected.entry(external).or_default();
            ports.insert(key.destination_port);
        }
        let expected: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(external, ports)| (external, ports.len() as u32))
            .collect();
        let places = 0..self.connections.port_use_places();
        let said = places.filter_map(|place| self.connections.port_use(place));
        let in_use: BTreeMap<_, _> = said
            .filter(|said| said.in_use > 0)
            .map(|said| ((said.vpc, said.protocol, said.address), said.in_use))
            .collect();
        assert_eq!(in_use, expected);
    }

    /// After all time-outs, all is as it was in the beginning.
    fn finish(mut self) -> Vec<String> {
        self.now.0 += 1 << 50;
        self.expire(usize::MAX);
        self.compare();
        assert!(self.connections.is_empty() && self.connections.mappings.is_empty());
        assert!(self.connections.records.index().is_empty());
        self.log
    }
}

fn run<A: Address>(calls: &[Call], hash_seed: u64) -> Vec<String> {
    let mut run = Run::<A>::new(hash_seed);
    calls.iter().for_each(|call| run.call(call));
    run.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn like_the_model(calls in prop::collection::vec(call(), 0..120), hash_seed: u64) {
        run::<Ipv4Addr>(&calls, hash_seed);
        run::<Ipv6Addr>(&calls, hash_seed);
    }

    /// The same calls with the same seed have the same answers, ids and mappings included.
    #[test]
    fn deterministic(calls in prop::collection::vec(call(), 0..120), hash_seed: u64) {
        prop_assert_eq!(run::<Ipv4Addr>(&calls, hash_seed), run::<Ipv4Addr>(&calls, hash_seed));
    }
}

/// The random calls do reach what matters: connections that are established, ports that run out, tables that are full.
#[test]
fn random_calls_reach_far() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let calls = prop::collection::vec(call(), 5000)
        .new_tree(&mut runner)
        .unwrap()
        .current();
    let log = run::<Ipv4Addr>(&calls, 1).concat();
    for word in [
        "Tcp(Established)",
        "Tcp(FinWait)",
        "Icmp(Crossed)",
        "ProtocolMismatch",
        "resource: Ports",
        "TableFull",
        "Clash",
    ] {
        assert!(log.contains(word), "no {word}");
    }
}
