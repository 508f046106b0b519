use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use rewire_tables::nat::{PortParity, PortSet};

use super::acquire::{nth, place_of};
use super::*;
use crate::error::{Exhausted, Resource};
use crate::key::Direction;
use crate::records::{entry, flag};

/// No limits on ports.
const ANY: PortAllocation = PortAllocation {
    within: None,
    address_only: false,
    parity: PortParity::Any,
};
const DIRECTIONS: [Direction; 2] = [Direction::Original, Direction::Reply];
const INSIDE: VpcIndex = VpcIndex(1);
const OUTSIDE: VpcIndex = VpcIndex(2);

/// Mappings, with flows that use them.
struct World<A> {
    mappings: Mappings<A>,
    records: Records<A>,
    /// What ports the rule gives out.
    allocation: PortAllocation,
    flows: Vec<(u32, Mapping<A>)>,
}

impl<A: Address> World<A> {
    fn new(capacity: usize, worker: u16, workers: u16) -> Self {
        World {
            mappings: Mappings::new(capacity, worker, workers, &FixedState::with_seed(7)),
            records: Records::new(100 * capacity, &FixedState::with_seed(7)),
            allocation: PortAllocation::default(),
            flows: Vec::new(),
        }
    }

    /// Acquires a mapping, and uses it for a flow. Of every other port, its host is looked for ahead.
    fn acquire(
        &mut self,
        internal: Internal<A>,
        external_vpc: VpcIndex,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let mut request = self.mappings.request(&self.records, internal, external_vpc);
        if internal.port.is_multiple_of(2) {
            self.mappings.expect(&mut request, None);
        }
        self.acquire_requested(&request, ranges, reserved)
    }

    fn acquire_requested(
        &mut self,
        request: &MappingRequest<A>,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let MappingRequest {
            internal,
            external_vpc,
            ..
        } = *request;
        let allocation = &self.allocation;
        let mapping =
            self.mappings
                .acquire(&self.records, request, ranges, allocation, reserved)?;
        let original = FlowKey {
            vpc: internal.vpc,
            protocol: internal.protocol,
            source: internal.address,
            destination: A::from_number(9),
            source_port: internal.port,
            destination_port: 53,
        };
        let reply = FlowKey {
            destination: mapping.address,
            destination_port: mapping.port,
            ..original.reversed(external_vpc)
        };
        let promised = self
            .mappings
            .promise(&self.records, original, external_vpc, &mapping);
        assert!(promised);
        let record = Record::with_keys([original, reply], flag::MAPPED);
        let spots = [&original, &reply].map(|key| self.records.spot(key));
        let own = self.records.next_slot();
        for (direction, spot) in DIRECTIONS.into_iter().zip(spots) {
            let key = [original, reply][direction as usize];
            // Where the test begins two flows of one key, the second one is without.
            let _ = self.records.claim(spot, entry(own, direction), &key);
        }
        let (id, _) = self.records.insert(record).unwrap();
        self.mappings.attach(&mut self.records, id.slot, spots);
        self.flows.push((id.slot, mapping));
        Ok(mapping)
    }

    /// Ends one flow that uses a mapping.
    fn end(&mut self, mapping: Mapping<A>) {
        let is_it = |flow: &(u32, Mapping<A>)| flow.1 == mapping;
        let (slot, _) = self
            .flows
            .remove(self.flows.iter().position(is_it).unwrap());
        let record = self.records.used(slot);
        let spots = [&record.original, &record.reply].map(|key| self.records.spot(key));
        let at_home = DIRECTIONS.map(|direction| {
            let spot = spots[direction as usize];
            self.records.unclaim(spot, entry(slot, direction))
        });
        self.mappings.detach(&mut self.records, slot, at_home, None);
        self.records.free(slot);
    }

    fn end_all(&mut self) {
        while let Some(&(_, mapping)) = self.flows.last() {
            self.end(mapping);
        }
        assert!(self.mappings.is_empty());
    }
}

fn mappings(capacity: usize) -> World<Ipv4Addr> {
    World::new(capacity, 0, 1)
}

fn internal(host: u8, port: u16) -> Internal<Ipv4Addr> {
    Internal {
        vpc: INSIDE,
        protocol: 17,
        address: Ipv4Addr::new(10, 0, 0, host),
        port,
    }
}

fn pool(first: u8, last: u8) -> std::iter::Once<RangeInclusive<Ipv4Addr>> {
    std::iter::once(Ipv4Addr::new(192, 0, 2, first)..=Ipv4Addr::new(192, 0, 2, last))
}

#[test]
fn one_endpoint_one_mapping() {
    let mut mappings = mappings(10);
    let free = |_, _| false;
    let first = mappings
        .acquire(internal(1, 5000), OUTSIDE, pool(1, 1), free)
        .unwrap();
    assert_eq!(
        (first.address, first.port),
        (Ipv4Addr::new(192, 0, 2, 1), 5000)
    );
    assert_eq!(
        mappings.acquire(internal(1, 5000), OUTSIDE, pool(1, 1), free),
        Ok(first)
    );
    // Another host with the same port, and the same host into another VPC.
    let second = mappings
        .acquire(internal(2, 5000), OUTSIDE, pool(1, 1), free)
        .unwrap();
    assert_ne!(second.port, 5000);
    let third = mappings
        .acquire(internal(1, 5000), VpcIndex(3), pool(1, 1), free)
        .unwrap();
    assert_eq!(third.port, 5000);
    assert_eq!(mappings.mappings.len(), 3);
    mappings.end_all();
}

/// What was found of a host ahead is not believed where the host has gone meanwhile, nor where another has its place.
#[test]
fn a_request_may_outlive_the_host() {
    let mut world = mappings(10);
    let free = |_, _| false;
    let requested = |world: &mut World<_>, port| {
        let mut request = world
            .mappings
            .request(&world.records, internal(1, port), OUTSIDE);
        (world.mappings.expect(&mut request, None), request)
    };
    assert_eq!(requested(&mut world, 6000).0, None);
    for others in [0, 2] {
        let first = world.acquire(internal(1, 5000), OUTSIDE, pool(1, 8), free);
        let first = first.unwrap();
        let (expected, request) = requested(&mut world, 6000);
        assert_eq!(expected, Some(first.address));
        world.end(first);
        for other in 0..others {
            let other = internal(2 + other, 5000);
            world.acquire(other, OUTSIDE, pool(8, 8), free).unwrap();
        }
        let again = world.acquire_requested(&request, pool(1, 4), free);
        let again = again.unwrap();
        assert_eq!(again.port, 6000);
        assert!(pool(1, 4).any(|range| range.contains(&again.address)));
        // It is the host's address now.
        let next = world.acquire(internal(1, 6001), OUTSIDE, pool(1, 8), free);
        assert_eq!(next.unwrap().address, again.address);
        world.end_all();
    }
}

#[test]
fn a_mapping_lives_while_a_flow_has_it() {
    let mut world = mappings(10);
    let free = |_, _| false;
    let acquire = |world: &mut World<_>| {
        world
            .acquire(internal(1, 5000), OUTSIDE, pool(1, 1), free)
            .unwrap()
    };
    let mapping = acquire(&mut world);
    for _ in 0..4 {
        assert_eq!(acquire(&mut world), mapping);
    }
    // Whichever goes first, the first of the ring among them.
    for left in (1..5).rev() {
        world.end(mapping);
        assert_eq!((world.flows.len(), world.mappings.len()), (left, 1));
        assert_eq!(acquire(&mut world), mapping);
        world.end(mapping);
    }
    world.end_all();
    // Nor does one live that nobody used.
    let World {
        mappings, records, ..
    } = &mut world;
    let [one, two] = [1, 2].map(|host| {
        let request = mappings.request(records, internal(host, 5000), OUTSIDE);
        mappings
            .acquire(records, &request, pool(1, 1), &ANY, free)
            .unwrap()
    });
    assert_eq!(one, two);
    assert_eq!(mappings.len(), 1);
    mappings.release_unused();
    mappings.release_unused();
    assert!(mappings.is_empty());
}

#[test]
fn a_host_keeps_to_one_address_and_hosts_spread() {
    let mut mappings = mappings(2000);
    let mut used = std::collections::BTreeSet::new();
    for host in 0..100 {
        let addresses: Vec<_> = (2000..2010)
            .map(|port| mappings.acquire(internal(host, port), OUTSIDE, pool(0, 15), |_, _| false))
            .map(|mapping| mapping.unwrap().address)
            .collect();
        assert!(addresses.iter().all(|address| *address == addresses[0]));
        used.insert(addresses[0]);
    }
    // 100 hosts on 16 addresses: it would take bad luck to leave more than a few out.
    assert!(used.len() > 10, "{used:?}");
}

#[test]
fn workers_with_one_seed_choose_one_address_and_different_ports() {
    let [mut first, mut second]: [World<Ipv4Addr>; 2] =
        [0, 1].map(|worker| World::new(200, worker, 2));
    for host in 0..100 {
        let [a, b] = [&mut first, &mut second].map(|mappings| {
            mappings
                .acquire(internal(host, 5000), OUTSIDE, pool(0, 15), |_, _| false)
                .unwrap()
        });
        assert_eq!(a.address, b.address);
        assert_ne!(crate::owner(a.port, 2), crate::owner(b.port, 2));
    }
}

#[test]
fn the_next_address_where_one_is_full() {
    let mut mappings = mappings(100);
    let reserved = |_, port| !(1024..1034).contains(&port);
    let got: Vec<_> = (0..25)
        .map(|port| mappings.acquire(internal(1, 2000 + port), OUTSIDE, pool(1, 2), reserved))
        .collect();
    let count = |last| {
        let address = Ipv4Addr::new(192, 0, 2, last);
        got.iter()
            .flatten()
            .filter(|mapping| mapping.address == address)
            .count()
    };
    assert_eq!((count(1), count(2)), (10, 10));
    let exhausted = Exhausted {
        resource: Resource::Ports,
        external_vpc: OUTSIDE,
        protocol: 17,
    };
    assert_eq!(got[20..], [Err(exhausted); 5]);
}

#[test]
fn what_runs_out_has_a_name() {
    let mut mappings = mappings(1);
    let exhausted = |resource| {
        Err(Exhausted {
            resource,
            external_vpc: OUTSIDE,
            protocol: 17,
        })
    };
    let free = |_, _| false;
    let none = std::iter::empty();
    assert_eq!(
        mappings.acquire(internal(1, 5000), OUTSIDE, none, free),
        exhausted(Resource::Addresses)
    );
    let backwards = pool(2, 1);
    assert_eq!(
        mappings.acquire(internal(1, 5000), OUTSIDE, backwards, free),
        exhausted(Resource::Addresses)
    );
    assert_eq!(
        mappings.acquire(internal(1, 5000), OUTSIDE, pool(1, 1), |_, _| true),
        exhausted(Resource::Ports)
    );
    assert!(mappings.mappings.is_empty());
    mappings
        .acquire(internal(1, 5000), OUTSIDE, pool(1, 1), free)
        .unwrap();
    let error = mappings
        .acquire(internal(1, 5001), OUTSIDE, pool(1, 1), free)
        .unwrap_err();
    assert_eq!(Err(error), exhausted(Resource::Mappings));
    assert_eq!(
        error.to_string(),
        "no room for a mapping left for protocol 17 in VPC #2"
    );
}

#[test]
fn policy_takes_a_mapping_away_from_new_flows_only() {
    let mut mappings = mappings(10);
    let free = |_, _| false;
    let old = mappings
        .acquire(internal(1, 5000), OUTSIDE, pool(1, 1), free)
        .unwrap();
    // The pool has moved.
    let new = mappings
        .acquire(internal(1, 5000), OUTSIDE, pool(9, 9), free)
        .unwrap();
    assert_eq!((new.address, new.port), (Ipv4Addr::new(192, 0, 2, 9), 5000));
    assert_eq!(
        mappings.acquire(internal(1, 5000), OUTSIDE, pool(9, 9), free),
        Ok(new)
    );
    let paired = mappings
        .acquire(internal(1, 5001), OUTSIDE, pool(1, 9), free)
        .unwrap();
    assert_eq!(paired.address, new.address);
    // A port forward has taken the port.
    let forwarded = |_, port| port == 5000;
    let newer = mappings
        .acquire(internal(1, 5000), OUTSIDE, pool(9, 9), forwarded)
        .unwrap();
    assert_ne!(newer.port, 5000);
    // The old one still holds its port.
    let other = mappings
        .acquire(internal(2, 5000), OUTSIDE, pool(1, 1), free)
        .unwrap();
    assert_ne!(other.port, 5000);
    for mapping in [new, old, paired, newer, other] {
        mappings.end(mapping);
    }
    mappings.end_all();
}

#[test]
fn places_count_through_ranges() {
    let ranges = [(10, 12), (5, 4), (20, 20), (11, 13)]
        .map(|(start, end)| Ipv4Addr::from_bits(start)..=Ipv4Addr::from_bits(end));
    let ranges = || ranges.iter().cloned();
    let all: Vec<_> = (0..8)
        .map_while(|place| nth(ranges(), place))
        .map(u32::from)
        .collect();
    assert_eq!(all, [10, 11, 12, 20, 11, 12, 13]);
    let places =
        [10, 12, 20, 13, 4].map(|address| place_of(ranges(), Ipv4Addr::from_bits(address)));
    assert_eq!(places, [Some(0), Some(2), Some(3), Some(6), None]);
}

#[test]
fn all_of_ipv6_is_a_pool_too() {
    let mut mappings = World::<Ipv6Addr>::new(4, 0, 1);
    let all = std::iter::repeat_n(Ipv6Addr::UNSPECIFIED..=Ipv6Addr::from_bits(u128::MAX), 2);
    let internal = Internal {
        vpc: INSIDE,
        protocol: 17,
        address: Ipv6Addr::LOCALHOST,
        port: 5000,
    };
    let mapping = mappings
        .acquire(internal, OUTSIDE, all.clone(), |_, _| false)
        .unwrap();
    assert_eq!(mapping.port, 5000);
    let other = Internal {
        port: 5001,
        ..internal
    };
    let paired = mappings.acquire(other, OUTSIDE, all, |_, _| false).unwrap();
    assert_eq!(paired.address, mapping.address);
}

#[test]
fn ports_come_from_the_set_of_the_rule() {
    let mut world = mappings(100);
    world.allocation.within = Some(PortSet::new(&[(2000, 2002), (4000, 4000)]).into());
    let free = |_, _| false;
    let mut ports: Vec<u16> = (1..=4)
        .map(|host| world.acquire(internal(host, 4000), OUTSIDE, pool(1, 1), free))
        .map(|mapping| mapping.unwrap().port)
        .collect();
    assert_eq!(ports[0], 4000, "the internal port, where it is in the set");
    ports.sort_unstable();
    assert_eq!(ports, [2000, 2001, 2002, 4000]);
    let full = world.acquire(internal(5, 1), OUTSIDE, pool(1, 1), free);
    assert_eq!(full.unwrap_err().resource, Resource::Ports);
    // Another set on the same address is another matter.
    world.allocation.within = Some(PortSet::new(&[(80, 80)]).into());
    let other = world
        .acquire(internal(5, 1), OUTSIDE, pool(1, 1), free)
        .unwrap();
    assert_eq!(other.port, 80);
    // A mapping outside of the set that holds now is left to its flows.
    let moved = world.acquire(internal(1, 4000), OUTSIDE, pool(1, 1), free);
    assert_eq!(moved.unwrap_err().resource, Resource::Ports);
    world.end(other);
    let moved = world.acquire(internal(1, 4000), OUTSIDE, pool(1, 1), free);
    assert_eq!(moved.unwrap().port, 80);
    // What has no ports is not asked for any.
    let gre = Internal {
        protocol: 47,
        ..internal(1, 0)
    };
    assert_eq!(
        world.acquire(gre, OUTSIDE, pool(1, 1), free).unwrap().port,
        0
    );
    world.end_all();
}

#[test]
fn where_only_addresses_are_translated_each_host_has_one_for_itself() {
    let mut world = mappings(100);
    world.allocation.address_only = true;
    let free = |_, _| false;
    let first: Vec<_> = (1..=3)
        .map(|host| {
            world
                .acquire(internal(host, 53), OUTSIDE, pool(1, 3), free)
                .unwrap()
        })
        .collect();
    let addresses: std::collections::BTreeSet<_> = first.iter().map(|m| m.address).collect();
    assert_eq!(addresses.len(), 3);
    assert!(first.iter().all(|mapping| mapping.port == 53));
    let late = world.acquire(internal(4, 54), OUTSIDE, pool(1, 3), free);
    assert_eq!(late.unwrap_err().resource, Resource::Ports);
    // Port 0 is that of fragments, and a port of a block that is another worker's is the sender's all the same.
    for port in [0, 7, 40_000] {
        let more = world
            .acquire(internal(2, port), OUTSIDE, pool(1, 3), free)
            .unwrap();
        assert_eq!((more.address, more.port), (first[1].address, port));
    }
    // A rule that shares the addresses leaves these alone.
    world.allocation.address_only = false;
    let shared = world.acquire(internal(4, 54), OUTSIDE, pool(1, 3), free);
    assert_eq!(shared.unwrap_err().resource, Resource::Ports);
    world.allocation.address_only = true;
    // With its last mapping a host gives its address up.
    world.end(first[0]);
    let next = world
        .acquire(internal(4, 54), OUTSIDE, pool(1, 3), free)
        .unwrap();
    assert_eq!((next.address, next.port), (first[0].address, 54));
    world.end_all();
}

#[test]
fn another_workers_ports_of_a_set_are_not_to_be_had() {
    let mut world = World::<Ipv4Addr>::new(100, 1, 2);
    world.allocation.within = Some(PortSet::new(&[(1024, 1087)]).into());
    let none = world.acquire(internal(1, 5000), OUTSIDE, pool(1, 1), |_, _| false);
    assert_eq!(none.unwrap_err().resource, Resource::Ports);
    world.end_all();
}
