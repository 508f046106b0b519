//! Connections that are saved and put into another table are what they were.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rewire_tables::PortAllocation;

use super::*;
use crate::connections::SavedFlow;

#[derive(Clone, Debug)]
enum Step {
    /// A connection from a port, translated to an address of one of two pools, or not at all.
    Insert(u8, u16, u16, Option<u8>),
    Reply(u16),
    Remove(u16),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let pool = prop_oneof![3 => (0..3_u8).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        8 => (prop_oneof![Just(6_u8), Just(17), Just(1), Just(47)], 0..6_u16, 0..8_u16, pool)
            .prop_map(|(protocol, port, to, pool)| Step::Insert(protocol, port, to, pool)),
        4 => any::<u16>().prop_map(Step::Reply),
        1 => any::<u16>().prop_map(Step::Remove),
        1 => (0..60_u64).prop_map(Step::Wait),
    ]
}

/// The addresses of a pool. One has its addresses for one host each.
fn pool(which: u8) -> (RangeInclusive<Ipv4Addr>, PortAllocation) {
    let first = 100 + 10 * which;
    let allocation = PortAllocation {
        address_only: which == 2,
        ..PortAllocation::default()
    };
    (address(first)..=address(first + 2), allocation)
}

fn external(
    connections: &mut Connections<Ipv4Addr>,
    key: &FlowKey<Ipv4Addr>,
    which: u8,
) -> Option<Mapping<Ipv4Addr>> {
    let internal = crate::mappings::internal_of(key);
    let (range, allocation) = pool(which);
    let ranges = std::iter::once(range);
    connections
        .acquire_mapping(internal, OUTSIDE, ranges, &allocation, |_, _| false)
        .ok()
}

fn segment(protocol: u8, flags: TcpFlags) -> Segment {
    match protocol {
        6 => tcp(flags),
        17 => Segment::Udp,
        1 => Segment::IcmpQuery {
            reply: flags.contains(TcpFlags::ACK),
        },
        _ => Segment::Other,
    }
}

fn run(connections: &mut Connections<Ipv4Addr>, steps: &[Step]) -> Instant {
    let mut now = START;
    for step in steps {
        let nth = |nth: u16| {
            let number = connections.len().max(1);
            connections.iter().nth(usize::from(nth) % number)
        };
        match step {
            Step::Insert(protocol, port, to, which) => {
                let original = FlowKey {
                    source: address(1 + (port % 3) as u8),
                    destination: address(200 + *to as u8),
                    ..key(*protocol, 1000 + port)
                };
                let mut flow = routed(original);
                flow.admission.peering = (*to == 1).then_some(rewire_tables::PeeringIndex(9));
                flow.admission.whole = *to != 2;
                if let Some(mapping) =
                    which.and_then(|which| external(connections, &original, which))
                {
                    flow.reply.destination = mapping.address;
                    flow.reply.destination_port = mapping.port;
                    flow.mapping = Some(mapping);
                }
                let first = segment(*protocol, TcpFlags::SYN);
                let _ = connections.insert(flow, &first, 60, now);
            }
            Step::Reply(which) => {
                if let Some((id, flow)) = nth(*which) {
                    let answer = segment(flow.original.protocol, TcpFlags::SYN | TcpFlags::ACK);
                    let _ = connections.update(id, Reply, &answer, 1500, now);
                }
            }
            Step::Remove(which) => {
                if let Some((id, _)) = nth(*which) {
                    connections.remove(id);
                }
            }
            Step::Wait(seconds) => now = after(now, *seconds),
        }
    }
    connections.release_unused_mapping();
    now
}

fn shown(connections: &Connections<Ipv4Addr>, now: Instant) -> BTreeSet<String> {
    let live = connections.iter().filter(|(_, flow)| flow.expires > now);
    live.map(|(_, flow)| {
        let flow = Flow {
            policy_generation: 0,
            ..flow
        };
        format!("{flow:?}")
    })
    .collect()
}

proptest! {
    #[test]
    fn what_is_saved_and_restored_is_the_same(
        steps in prop::collection::vec(step(), 1..120),
        later in prop::collection::vec(step(), 1..60),
        seed: u64,
        is_copied: bool,
    ) {
        let mut before = connections(256);
        let now = run(&mut before, &steps);
        before.expire(now, usize::MAX);
        let mut after = Connections::new(Config { hash_seed: seed, ..config(256) });
        let mut bytes = Vec::new();
        let all: Vec<_> = match is_copied {
            false => before.saved(now).collect(),
            // One by one, in whatever order.
            true => {
                let live = before.iter().filter(|(_, flow)| flow.expires > now);
                let mut ids: Vec<_> = live.map(|(id, flow)| (flow.original.source_port, id)).collect();
                ids.sort_by_key(|(port, _)| seed.wrapping_mul(u64::from(*port) | 1));
                let copied = ids.into_iter().filter_map(|(_, id)| before.copied_flow(id, now));
                in_order(copied.collect()).collect()
            }
        };
        for saved in all {
            bytes.clear();
            saved.write(&mut bytes);
            prop_assert_eq!(bytes.len(), SavedFlow::<Ipv4Addr>::LENGTH);
            let read = SavedFlow::read(&bytes);
            prop_assert_eq!(read.as_ref(), Some(&saved));
            prop_assert_eq!(after.restore(&saved, now).map(|_| ()), Ok(()));
            // Nobody else can have its keys, or its port.
            prop_assert_eq!(after.restore(&saved, now), Err(InsertError::Clash));
        }
        prop_assert_eq!(shown(&after, now), shown(&before, now));
        let flows: Vec<_> = before.iter().map(|(_, flow)| flow).filter(|flow| flow.expires > now).collect();
        prop_assert_eq!(after.vpc_counts().of(INSIDE) as usize, flows.len());
        for flow in &flows {
            for direction in [Original, Reply] {
                let found = after.lookup(flow.key(direction), now);
                let (id, way) = found.expect("by either key");
                prop_assert_eq!(after.flow(id).unwrap().original, flow.original);
                prop_assert!(way == direction || flow.original == flow.reply);
            }
        }
        if flows.len() == before.len() {
            prop_assert_eq!(after.mappings_in_use(), before.mappings_in_use());
            // An endpoint's next connection gets the mapping that it has.
            for flow in flows.iter().filter(|flow| flow.is_mapped) {
                let internal = crate::mappings::internal_of(&flow.original);
                let has = |mapping: &Mapping<Ipv4Addr>| flows.iter().any(|flow| {
                    let end = (flow.reply.destination, flow.reply.destination_port);
                    let of = crate::mappings::internal_of(&flow.original);
                    flow.is_mapped && of == internal && end == (mapping.address, mapping.port)
                });
                for which in 0..3 {
                    let [old, new] = [&mut before, &mut after]
                        .map(|connections| external(connections, &flow.original, which));
                    if old.as_ref().is_some_and(has) {
                        prop_assert_eq!(new, old);
                    }
                    before.release_unused_mapping();
                    after.release_unused_mapping();
                }
            }
        }
        // It goes on as any table: no external endpoint is given out twice, and nothing is left in the end.
        run(&mut after, &later);
        let mut ends = std::collections::HashMap::new();
        for (_, flow) in after.iter().filter(|(_, flow)| flow.is_mapped) {
            let end = (flow.reply.protocol, flow.reply.destination, flow.reply.destination_port);
            let internal = crate::mappings::internal_of(&flow.original);
            prop_assert_eq!(*ends.entry(end).or_insert(internal), internal, "given out twice");
        }
        let ids: Vec<_> = after.iter().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| { after.remove(id); });
        prop_assert!(after.mappings.is_empty());
        prop_assert!(after.records.index().is_empty());
    }
}

/// Damage is no flow, or another one; never a panic.
#[test]
fn any_bytes_are_read_without_harm() {
    let mut bytes = vec![0xff; SavedFlow::<Ipv4Addr>::LENGTH];
    assert_eq!(SavedFlow::<Ipv4Addr>::read(&bytes), None, "no such state");
    bytes.fill(3);
    let flow = SavedFlow::<Ipv4Addr>::read(&bytes).unwrap();
    assert!(connections(4).restore(&flow, START).is_ok());
    bytes.pop();
    assert_eq!(SavedFlow::<Ipv4Addr>::read(&bytes), None, "too short");
}
