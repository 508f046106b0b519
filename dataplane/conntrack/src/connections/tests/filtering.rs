//! Connections from outside join mappings that let them in.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::connections::saved::SavedFlow;
use crate::flow::Known;

const EXTERNAL: u8 = 200;
const CAPACITY: usize = 8;

/// A connection from inside, through a mapping that lets others in.
fn leave(
    connections: &mut Connections<Ipv4Addr>,
    (host, port): (u8, u16),
    (remote, remote_port): (u8, u16),
    now: Instant,
) -> Option<(FlowId, (Ipv4Addr, u16))> {
    let original = FlowKey {
        source: address(host),
        destination: address(remote),
        destination_port: remote_port,
        ..key(17, port)
    };
    let internal = Internal {
        vpc: INSIDE,
        protocol: 17,
        address: address(host),
        port,
    };
    let range = std::iter::once(address(EXTERNAL)..=address(EXTERNAL));
    let any = PortAllocation::default();
    let mapping = connections
        .acquire_mapping(internal, OUTSIDE, range, &any, |_, _| false)
        .ok()?;
    let reply = FlowKey {
        destination: mapping.address,
        destination_port: mapping.port,
        ..original.reversed(OUTSIDE)
    };
    let new = NewFlow {
        reply,
        mapping: Some(mapping),
        ..routed(original)
    };
    let id = connections.insert(new, &Segment::Udp, 40, now).ok();
    if id.is_none() {
        connections.release_unused_mapping();
    }
    let id = id?;
    connections.open_mapping(id);
    Some((id, (mapping.address, mapping.port)))
}

/// A connection from outside, to an external endpoint.
fn enter(
    connections: &mut Connections<Ipv4Addr>,
    external: (Ipv4Addr, u16),
    (remote, remote_port): (u8, u16),
    now: Instant,
) -> Option<FlowId> {
    let internal = connections.internal_of(OUTSIDE, 17, external, now)?;
    let original = FlowKey {
        vpc: OUTSIDE,
        protocol: 17,
        source: address(remote),
        source_port: remote_port,
        destination: external.0,
        destination_port: external.1,
    };
    let reply = FlowKey {
        source: internal.address,
        source_port: internal.port,
        ..original.reversed(internal.vpc)
    };
    let new = NewFlow {
        reply,
        route_vpc: internal.vpc,
        ..routed(original)
    };
    let id = connections.insert(new, &Segment::Udp, 40, now).ok()?;
    assert!(connections.join(id));
    Some(id)
}

fn after(seconds: u64) -> Instant {
    START.saturating_add(Duration::from_secs(seconds))
}

#[test]
fn a_connection_from_outside_joins_a_mapping_and_outlives_what_made_it() {
    let mut connections = connections(8);
    let (first, external) = leave(&mut connections, (1, 5000), (9, 80), START).unwrap();
    assert!(!connections.has_sent_to(OUTSIDE, 17, external, address(8), START));
    let joined = enter(&mut connections, external, (8, 7000), START).unwrap();
    let flow = connections.flow(joined).unwrap();
    assert!(flow.is_joined && flow.is_mapped);
    assert_eq!(
        flow.rewrite(Original).destination,
        Some((address(1), 5000)),
        "in to the endpoint"
    );
    assert_eq!(flow.rewrite(Reply).source, Some(external), "and out again");
    // Its answer counts as a packet to that address.
    connections
        .update(joined, Reply, &Segment::Udp, 40, START)
        .unwrap();
    assert!(connections.has_sent_to(OUTSIDE, 17, external, address(8), START));
    connections.remove(first);
    assert_eq!(connections.mappings_in_use(), 1);
    assert!(!connections.has_sent_to(OUTSIDE, 17, external, address(9), START));
    // The endpoint has the same mapping for what it sends next.
    let (_, again) = leave(&mut connections, (1, 5000), (7, 80), START).unwrap();
    assert_eq!(again, external);
    let ids: Vec<FlowId> = connections.iter().map(|(id, _)| id).collect();
    ids.into_iter()
        .for_each(|id| assert!(connections.remove(id).is_some()));
    assert_eq!(connections.mappings_in_use(), 0);
    assert_eq!(connections.internal_of(OUTSIDE, 17, external, START), None);
    assert!(!connections.join(first), "it is gone");
}

#[test]
fn who_is_not_answered_holds_no_mapping_open() {
    let mut connections = connections(8);
    let (_, external) = leave(&mut connections, (1, 5000), (9, 80), START).unwrap();
    // One after the other, each before its time is up, and each with packets of its own.
    for step in 1..12 {
        let now = after(step * 10);
        let id = enter(&mut connections, external, (8, step as u16), now);
        if let Some(id) = id {
            let _ = connections.update(id, Original, &Segment::Udp, 40, now);
            assert!(connections.flow(id).unwrap().expires <= after(121));
        }
        connections.expire(now, usize::MAX);
    }
    assert_eq!(
        connections.internal_of(OUTSIDE, 17, external, after(122)),
        None,
        "two minutes after the last packet from inside"
    );
    assert_eq!(connections.mappings_in_use(), 0);
}

#[test]
fn an_answer_holds_the_mapping_open() {
    let mut connections = connections(8);
    let (_, external) = leave(&mut connections, (1, 5000), (9, 80), START).unwrap();
    let id = enter(&mut connections, external, (8, 7), after(100)).unwrap();
    connections
        .update(id, Reply, &Segment::Udp, 40, after(110))
        .unwrap();
    connections
        .update(id, Original, &Segment::Udp, 40, after(300))
        .unwrap();
    connections.expire(after(500), usize::MAX);
    let internal = connections.internal_of(OUTSIDE, 17, external, after(500));
    assert_eq!(internal.map(|internal| internal.port), Some(5000));
}

#[derive(Clone, Debug)]
enum Call {
    Leave((u8, u16), (u8, u16)),
    Enter(u8, (u8, u16)),
    Packet(usize, bool),
    Remove(usize),
    Advance(u64),
    Expire,
    /// All is saved and put into another table.
    Restart,
}

fn call() -> impl Strategy<Value = Call> {
    let inside = || (1..3_u8, 5000..5002_u16);
    let remote = || (8..10_u8, 80..82_u16);
    prop_oneof![
        4 => (inside(), remote()).prop_map(|(inside, remote)| Call::Leave(inside, remote)),
        4 => (0..4_u8, remote()).prop_map(|(external, remote)| Call::Enter(external, remote)),
        4 => (any::<usize>(), any::<bool>()).prop_map(|(nth, reply)| Call::Packet(nth, reply)),
        1 => any::<usize>().prop_map(Call::Remove),
        1 => prop::sample::select(vec![1, 60, 121, 301]).prop_map(Call::Advance),
        1 => Just(Call::Expire),
        1 => Just(Call::Restart),
    ]
}

/// What a list of all connections says, from end to end.
fn check(connections: &mut Connections<Ipv4Addr>, now: Instant) {
    // Flows whose time is up make way as they are met, so that the list is the first to be asked.
    let live = |connections: &Connections<Ipv4Addr>| -> Vec<Flow<Ipv4Addr>> {
        let flows = connections.iter().map(|(_, flow)| flow);
        flows.filter(|flow| flow.expires > now).collect()
    };
    let ends = |flow: &Flow<Ipv4Addr>| match flow.is_joined {
        false => (flow.original, flow.reply),
        true => (flow.reply, flow.original),
    };
    let flows = live(connections);
    for port in 4990..5010 {
        let of: Vec<_> = flows
            .iter()
            .filter(|flow| ends(flow).1.destination_port == port)
            .collect();
        let external = (address(EXTERNAL), port);
        let found = connections.internal_of(OUTSIDE, 17, external, now);
        let expected = of.first().map(|flow| ends(flow).0);
        assert_eq!(
            found.map(|internal| (internal.address, internal.port)),
            expected.map(|key| (key.source, key.source_port))
        );
        for remote in 8..10 {
            let sent = of.iter().any(|flow| {
                let answered = !flow.is_joined || flow.traffic(Reply).packets > 0;
                answered && ends(flow).0.destination == address(remote)
            });
            assert_eq!(
                connections.has_sent_to(OUTSIDE, 17, external, address(remote), now),
                sent
            );
        }
    }
}

proptest! {
    #[test]
    fn the_index_says_what_the_list_says(calls in prop::collection::vec(call(), 1..60)) {
        let mut connections = connections(CAPACITY);
        let mut now = START;
        for call in calls {
            let nth = |connections: &Connections<Ipv4Addr>, nth: usize| {
                let all: Vec<FlowId> = connections.iter().map(|(id, _)| id).collect();
                (!all.is_empty()).then(|| all[nth % all.len()])
            };
            match call {
                Call::Leave(inside, remote) => {
                    leave(&mut connections, inside, remote, now);
                }
                Call::Enter(external, remote) => {
                    let port = 5000 + u16::from(external);
                    enter(&mut connections, (address(EXTERNAL), port), remote, now);
                }
                Call::Packet(number, reply) => {
                    let direction = if reply { Reply } else { Original };
                    if let Some(id) = nth(&connections, number) {
                        let _ = connections.update(id, direction, &Segment::Udp, 40, now);
                    }
                }
                Call::Remove(number) => {
                    if let Some(id) = nth(&connections, number) {
                        connections.remove(id);
                    }
                }
                Call::Advance(seconds) => {
                    now = now.saturating_add(Duration::from_secs(seconds));
                }
                Call::Expire => {
                    connections.expire(now, usize::MAX);
                }
                Call::Restart => {
                    let mut bytes = Vec::new();
                    let saved: Vec<_> = connections.saved(now).collect();
                    connections = super::connections(CAPACITY);
                    for flow in saved {
                        bytes.clear();
                        flow.write(&mut bytes);
                        let flow = SavedFlow::read(&bytes).unwrap();
                        connections.restore(&flow, now).unwrap();
                    }
                }
            }
            check(&mut connections, now);
        }
        let all: Vec<FlowId> = connections.iter().map(|(id, _)| id).collect();
        all.into_iter().for_each(|id| assert!(connections.remove(id).is_some()));
        prop_assert_eq!(connections.mappings_in_use(), 0);
        prop_assert!(connections.mappings.is_empty());
        prop_assert!(connections.records.index().is_empty());
    }
}

/// A packet of a flow whose mapping lets others in needs no second look.
#[test]
fn an_open_mapping_takes_the_short_way() {
    let mut connections = connections(8);
    let (id, _) = leave(&mut connections, (1, 5000), (9, 80), START).unwrap();
    let flow = connections.flow(id).unwrap();
    let hash = connections.hash(&flow.original);
    let generation = flow.policy_generation.into();
    let known = connections.any_passage(hash, &flow.original, generation, START);
    assert!(matches!(known, Known::Passes(_)), "{known:?}");
}
