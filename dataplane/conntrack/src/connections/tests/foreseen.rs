//! Connections that begin at once are what they would be otherwise.

use proptest::prelude::*;
use rewire_tables::InterfaceIndex;

use super::*;

/// Who sends the first packet of a connection, and where to.
#[derive(Clone, Copy, Debug)]
struct Ask {
    protocol: u8,
    host: u8,
    port: u16,
    destination: u8,
}

#[derive(Clone, Debug)]
enum Step {
    /// Asks for a mapping ahead of its use.
    Ask(Ask),
    /// Begins the connection that was asked for first, of those that wait.
    Begin,
    /// A connection from outside, which has the key of its replies.
    Occupy(Ask, u8),
    /// Ends one.
    End(usize),
    /// Other addresses are the rule's, or those before again.
    Move,
    Wait(u64),
}

fn ask_any() -> impl Strategy<Value = Ask> {
    let ask = (
        prop_oneof![Just(6), Just(17)],
        1..4_u8,
        prop_oneof![Just(0), Just(70), 5000..5002_u16],
        8..10_u8,
    );
    ask.prop_map(|(protocol, host, port, destination)| Ask {
        protocol,
        host,
        port,
        destination,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => ask_any().prop_map(Step::Ask),
        6 => Just(Step::Begin),
        1 => (ask_any(), 0..4_u8).prop_map(|(ask, last)| Step::Occupy(ask, last)),
        2 => any::<usize>().prop_map(Step::End),
        1 => Just(Step::Move),
        1 => (0..90_u64).prop_map(Step::Wait),
    ]
}

/// What was asked for ahead of its use, and the external end that was foreseen.
struct Asked {
    original: FlowKey<Ipv4Addr>,
    request: MappingRequest<Ipv4Addr>,
    external: Option<(Ipv4Addr, u16)>,
}

/// A table, and what was asked of it.
struct World {
    connections: Connections<Ipv4Addr>,
    asked: Vec<Asked>,
    now: Instant,
    /// The last number of the first of the rule's two addresses.
    pool: u8,
    /// Whether connections begin at once where they can, and how many have.
    at_once: Option<u32>,
}

impl World {
    fn new(workers: u16, at_once: Option<u32>) -> Self {
        let config = Config {
            worker: workers - 1,
            workers,
            ..config(12)
        };
        World {
            connections: Connections::new(config),
            asked: Vec::new(),
            now: START,
            pool: 200,
            at_once,
        }
    }

    fn ask(&mut self, ask: Ask) {
        let original = FlowKey {
            source: address(ask.host),
            destination: address(ask.destination),
            ..key(ask.protocol, ask.port)
        };
        let hash = self.connections.hash(&original);
        let mut request = match self.at_once {
            Some(_) => self
                .connections
                .request_mapping_for(&original, hash, OUTSIDE),
            None => {
                let internal = crate::mappings::internal_of(&original);
                self.connections.request_mapping(internal, OUTSIDE)
            }
        };
        let before = self.asked.last().map(|before| &before.request);
        let address = self.connections.expect_mapping(&mut request, before);
        let external = address.map(|address| {
            let waiting = self.asked.iter().rev().filter_map(|asked| asked.external);
            let behind = || waiting.map(|(_, port)| port).next();
            let port = self.connections.foresee_port(&request, behind);
            (address, port.unwrap_or(ask.port))
        });
        self.asked.push(Asked {
            original,
            request,
            external,
        });
    }

    fn begin(&mut self) -> Option<Result<Mapping<Ipv4Addr>, String>> {
        if self.asked.is_empty() {
            return None;
        }
        let Asked {
            original,
            request,
            external,
        } = self.asked.remove(0);
        let segment = match original.protocol {
            6 => syn(),
            _ => Segment::Udp,
        };
        let now = self.now;
        let pool = address(self.pool)..=address(self.pool + 1);
        let connections = &mut self.connections;
        let hash = connections.hash(&original);
        let external = external.filter(|(external, _)| pool.contains(external));
        if let (Some(external), Some(begun)) = (external, &mut self.at_once) {
            let reply = FlowKey {
                destination: external.0,
                destination_port: external.1,
                ..original.reversed(OUTSIDE)
            };
            let new = NewForeseen {
                original: &original,
                hashes: [hash, connections.hash(&reply)],
                request: &request,
                external,
                external_vpc: OUTSIDE,
                policy_generation: 7,
                ingress: InterfaceIndex(3),
            };
            if connections
                .begin_foreseen(&new, &segment, 60, now)
                .is_some()
            {
                *begun += 1;
                return Some(Ok(Mapping {
                    address: external.0,
                    port: external.1,
                }));
            }
        }
        let (pool, ports) = (std::iter::once(pool), PortAllocation::default());
        let mapping = connections.acquire_requested(&request, pool, &ports, |_, _| false);
        let mapping = match mapping {
            Ok(mapping) => mapping,
            Err(error) => return Some(Err(format!("{error:?}"))),
        };
        let reply = FlowKey {
            destination: mapping.address,
            destination_port: mapping.port,
            ..original.reversed(OUTSIDE)
        };
        let new = NewFlow {
            original,
            reply,
            route_vpc: INSIDE,
            policy_generation: 7,
            admission: Admission {
                ingress: InterfaceIndex(3),
                ports: Some((original.source_port, original.destination_port)),
                peering: None,
                whole: true,
                timeouts: TimeoutClass::default(),
            },
            mapping: Some(mapping),
        };
        let inserted = connections.insert(new, &segment, 60, now);
        if inserted.is_err() {
            connections.release_unused_mapping();
        }
        let inserted = inserted.map(|_| mapping);
        Some(inserted.map_err(|error| format!("{error:?}")))
    }

    fn take(&mut self, step: &Step) -> Option<Result<Mapping<Ipv4Addr>, String>> {
        match *step {
            Step::Ask(ask) => self.ask(ask),
            Step::Begin => return self.begin(),
            Step::Occupy(ask, last) => {
                let reply = FlowKey {
                    vpc: OUTSIDE,
                    source: address(ask.destination),
                    source_port: 80,
                    destination: address(200 + last),
                    destination_port: ask.port,
                    protocol: ask.protocol,
                };
                let new = NewFlow {
                    reply: reply.reversed(VpcIndex(3)),
                    ..routed(reply)
                };
                let segment = if ask.protocol == 6 {
                    syn()
                } else {
                    Segment::Udp
                };
                let _ = self.connections.insert(new, &segment, 60, self.now);
            }
            Step::Move => self.pool = 402_u16.wrapping_sub(self.pool.into()) as u8,
            Step::End(which) => {
                let flows: Vec<_> = self.connections.iter().map(|(id, _)| id).collect();
                if let Some(which) = which.checked_rem(flows.len()) {
                    self.connections.remove(flows[which]);
                }
            }
            Step::Wait(seconds) => {
                self.now = after(self.now, seconds);
                self.connections.expire(self.now, usize::MAX);
            }
        }
        None
    }

    /// All that can be seen of it.
    fn all(&self) -> String {
        let connections = &self.connections;
        let flows: Vec<_> = connections.iter().collect();
        let found: Vec<_> = flows
            .iter()
            .flat_map(|(_, flow)| [flow.original, flow.reply])
            .map(|key| connections.lookup(&key, self.now))
            .collect();
        let counts: Vec<_> = connections.counts().iter().collect();
        let ports: Vec<_> = (0..connections.port_use_places())
            .map(|place| connections.port_use(place))
            .collect();
        let mappings = (
            connections.mappings_in_use(),
            connections.mappings.hosts_in_use(),
        );
        let vpcs = [INSIDE, OUTSIDE].map(|vpc| connections.vpc_counts().of(vpc));
        format!("{flows:#?} {found:?} {counts:?} {ports:?} {mappings:?} {vpcs:?}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn at_once_or_step_by_step(workers in 1..3_u16, steps in prop::collection::vec(step(), 1..80)) {
        let (mut slow, mut quick) = (World::new(workers, None), World::new(workers, Some(0)));
        for step in steps {
            prop_assert_eq!(slow.take(&step), quick.take(&step));
            prop_assert_eq!(slow.all(), quick.all());
        }
        // Nothing is left of any.
        for world in [&mut slow, &mut quick] {
            let ids: Vec<_> = world.connections.iter().map(|(id, _)| id).collect();
            for id in ids {
                world.connections.remove(id);
            }
            world.connections.release_unused_mapping();
            prop_assert!(world.connections.mappings.is_empty());
            prop_assert!(world.connections.records.index().is_empty());
        }
    }
}

/// One host, one connection after the other: all but the first begin at once.
#[test]
fn most_begin_at_once() {
    let mut world = World::new(1, Some(0));
    for port in 5000..5010 {
        world.ask(Ask {
            protocol: 17,
            host: 1,
            port,
            destination: 9,
        });
        assert!(matches!(world.begin(), Some(Ok(mapping)) if mapping.port == port));
    }
    assert_eq!(world.at_once, Some(9));
}

/// Another host has their ports: all but the first begin at once nevertheless, with the next ones that are free.
#[test]
fn those_with_other_ports_begin_at_once() {
    let mut world = World::new(1, Some(0));
    let begun = [1, 2].map(|host| {
        let ask = |port| Ask {
            protocol: 17,
            host,
            port,
            destination: 9,
        };
        world.ask(ask(5000));
        let first = world.begin();
        // They are asked for before any of them begins.
        (5001..5005).for_each(|port| world.ask(ask(port)));
        let others = (5001..5005).map(|_| world.begin());
        let all = std::iter::once(first).chain(others);
        all.map(|begun| begun.unwrap().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(world.at_once, Some(8));
    let [one, other] = begun;
    assert_eq!(one[0].address, other[0].address);
    let ports = |begun: &[Mapping<_>]| begun.iter().map(|mapping| mapping.port).collect::<Vec<_>>();
    assert_eq!(ports(&one), (5000..5005).collect::<Vec<_>>());
    let first = other[0].port;
    assert_ne!(first, 5000);
    assert_eq!(ports(&other), (first..first + 5).collect::<Vec<_>>());
}
