//! Tables that are as full as they may be, for long: many keys are away from home, and others make room.

use std::collections::HashMap;
use std::hash::BuildHasher;

use rewire_tables::InterfaceIndex;

use super::*;

const CAPACITY: usize = 2_000;
const ALMOST_FULL: usize = CAPACITY - 100;
const HOSTS: u64 = 200;
const STEPS: u64 = 20_000;

/// Numbers in random order.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 += 1;
        FixedState::with_seed(3).hash_one(self.0) % limit
    }
}

#[derive(Clone, Copy)]
struct Live {
    id: FlowId,
    internal: Internal<Ipv4Addr>,
}

struct World {
    connections: Connections<Ipv4Addr>,
    live: Vec<Live>,
    /// Of each endpoint, its mapping and how many connections have it.
    mappings: HashMap<(Ipv4Addr, u16), (Mapping<Ipv4Addr>, u32)>,
    at_once: u32,
}

fn pool() -> std::iter::Once<RangeInclusive<Ipv4Addr>> {
    std::iter::once(Ipv4Addr::new(198, 18, 0, 0)..=Ipv4Addr::new(198, 18, 0, 7))
}

impl World {
    /// Begins a connection at once where that can be, as the fast path does; otherwise step by step, as nodes do.
    fn begin(&mut self, original: FlowKey<Ipv4Addr>) -> Result<FlowId, InsertError> {
        let connections = &mut self.connections;
        let hash = connections.hash(&original);
        let mut request = connections.request_mapping_for(&original, hash, OUTSIDE);
        let answer = |(destination, destination_port)| FlowKey {
            destination,
            destination_port,
            ..original.reversed(OUTSIDE)
        };
        if let Some(address) = connections.expect_mapping(&mut request, None) {
            let port = connections.foresee_port(&request, || None);
            let external = (address, port.unwrap_or(original.source_port));
            let new = NewForeseen {
                original: &original,
                hashes: [hash, connections.hash(&answer(external))],
                request: &request,
                external,
                external_vpc: OUTSIDE,
                policy_generation: 7,
                ingress: InterfaceIndex(3),
            };
            if let Some(id) = connections.begin_foreseen(&new, &Segment::Udp, 60, START) {
                self.at_once += 1;
                return Ok(id);
            }
        }
        let any = PortAllocation::default();
        let mapping = connections
            .acquire_requested(&request, pool(), &any, |_, _| false)
            .unwrap();
        let new = NewFlow {
            reply: answer((mapping.address, mapping.port)),
            mapping: Some(mapping),
            ..routed(original)
        };
        let inserted = connections.insert(new, &Segment::Udp, 60, START);
        if inserted.is_err() {
            connections.release_unused_mapping();
        }
        inserted
    }

    /// One more connection. So many of ten are of one endpoint, all of whose keys have one home; the others are of many, each of which may have
    /// some, and every third port is lower than the servers'.
    fn one_more(&mut self, of_one_endpoint: u64, random: &mut Random) {
        let port = random.below(30) as u16;
        let original = match random.below(10) < of_one_endpoint {
            true => FlowKey {
                destination: Ipv4Addr::from_bits(0x0b00_0000 + random.below(1 << 20) as u32),
                ..key(17, 7777)
            },
            false => FlowKey {
                source: Ipv4Addr::from_bits(0x0a00_0000 + random.below(HOSTS) as u32),
                destination: address(9 + random.below(4) as u8),
                ..key(
                    17,
                    if port.is_multiple_of(3) {
                        port
                    } else {
                        5000 + port
                    },
                )
            },
        };
        let is_there = self.connections.lookup(&original, START).is_some();
        let id = match self.begin(original) {
            Err(InsertError::Clash) if is_there => return,
            begun => begun.unwrap(),
        };
        assert!(!is_there);
        self.connections.open_mapping(id);
        let flow = self.connections.flow(id).unwrap();
        let mapping = Mapping {
            address: flow.reply.destination,
            port: flow.reply.destination_port,
        };
        let endpoint = (original.source, original.source_port);
        let known = self.mappings.entry(endpoint).or_insert((mapping, 0));
        assert_eq!(known.0, mapping, "one endpoint has one mapping");
        known.1 += 1;
        let internal = crate::mappings::internal_of(&original);
        self.live.push(Live { id, internal });
    }

    fn one_less(&mut self, random: &mut Random) {
        let which = random.below(self.live.len() as u64) as usize;
        let Live { id, internal } = self.live.swap_remove(which);
        self.connections.remove(id).unwrap();
        let endpoint = (internal.address, internal.port);
        let (_, users) = self.mappings.get_mut(&endpoint).unwrap();
        *users -= 1;
        let left = *users;
        if left == 0 {
            self.mappings.remove(&endpoint);
        }
        let other = self.connections.connection_of_mapping(&internal, OUTSIDE);
        assert_eq!(other.is_some(), left > 0);
    }

    /// Everything is found: connections by both keys, mappings by both ends.
    fn check(&mut self) {
        let connections = &mut self.connections;
        assert_eq!(connections.len(), self.live.len());
        assert_eq!(connections.mappings_in_use(), self.mappings.len());
        for Live { id, internal } in &self.live {
            let flow = connections.flow(*id).unwrap();
            for (key, direction) in [(flow.original, Original), (flow.reply, Reply)] {
                assert_eq!(connections.lookup(&key, START), Some((*id, direction)));
            }
            let of_mapping = connections.connection_of_mapping(internal, OUTSIDE);
            let other = connections.flow(of_mapping.unwrap()).unwrap();
            assert_eq!(
                (other.original.source, other.original.source_port),
                (internal.address, internal.port)
            );
            let external = (flow.reply.destination, flow.reply.destination_port);
            let entered = connections.internal_of(OUTSIDE, 17, external, START);
            assert_eq!(entered, Some(*internal));
            let remote = flow.original.destination;
            assert!(connections.has_sent_to(OUTSIDE, 17, external, remote, START));
        }
    }
}

fn full_for_long(of_one_endpoint: u64) -> u32 {
    let mut world = World {
        connections: connections(CAPACITY),
        live: Vec::new(),
        mappings: HashMap::new(),
        at_once: 0,
    };
    let mut random = Random(0);
    for step in 0..STEPS {
        // Mostly there is room for one.
        match world.live.len() {
            CAPACITY => world.one_less(&mut random),
            ALMOST_FULL.. if random.below(2) == 0 => world.one_less(&mut random),
            _ => world.one_more(of_one_endpoint, &mut random),
        }
        if step % (STEPS / 4) == 0 {
            world.check();
        }
    }
    world.check();
    while !world.live.is_empty() {
        world.one_less(&mut random);
    }
    let records = &world.connections.records;
    assert!(records.index().is_empty());
    assert!(world.connections.mappings.is_empty());
    // Nobody who looks where its many connections were sees another line for that.
    let endpoint = crate::mappings::internal_of(&key(17, 7777));
    assert!(!records.index().misses(records.spot_near(&endpoint)));
    world.at_once
}

#[test]
fn everything_is_found_in_a_table_that_is_full_for_long() {
    let at_once = full_for_long(0);
    assert!(at_once > 5_000, "{at_once} began at once");
}

#[test]
fn half_of_a_full_table_is_of_one_endpoint() {
    let at_once = full_for_long(5);
    assert!(at_once > 2_000, "{at_once} began at once");
}

#[test]
fn all_of_a_full_table_is_of_one_endpoint() {
    assert_eq!(full_for_long(10), 0, "all but the first have its mapping");
}
