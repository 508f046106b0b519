//! Mappings live as long as their flows.

use super::*;

fn acquire(connections: &mut Connections<Ipv4Addr>, port: u16) -> Mapping<Ipv4Addr> {
    let internal = Internal {
        vpc: INSIDE,
        protocol: 17,
        address: address(1),
        port,
    };
    let range = std::iter::once(address(200)..=address(200));
    connections
        .acquire_mapping(
            internal,
            OUTSIDE,
            range,
            &PortAllocation::default(),
            |_, _| false,
        )
        .unwrap()
}

fn masqueraded(original: FlowKey<Ipv4Addr>, mapping: Mapping<Ipv4Addr>) -> NewFlow<Ipv4Addr> {
    let reply = FlowKey {
        destination: mapping.address,
        destination_port: mapping.port,
        ..original.reversed(OUTSIDE)
    };
    NewFlow {
        reply,
        mapping: Some(mapping),
        ..routed(original)
    }
}

#[test]
fn a_mapping_ends_with_its_last_flow() {
    let mut connections = connections(4);
    let mapping = acquire(&mut connections, 5000);
    let to = |last| FlowKey {
        destination: address(last),
        ..key(17, 5000)
    };
    let [a, b] = [8, 9].map(|last| {
        let new = masqueraded(to(last), mapping);
        connections.insert(new, &Segment::Udp, 40, START).unwrap()
    });
    assert_eq!(acquire(&mut connections, 5000), mapping);
    connections.remove(a);
    connections.release_unused_mapping();
    assert_eq!(connections.mappings_in_use(), 1);
    connections.remove(b);
    assert_eq!(connections.mappings_in_use(), 0);
    // A flow with a mapping that is gone is none: the port may be another's.
    let new = masqueraded(to(8), mapping);
    assert_eq!(
        connections.insert(new, &Segment::Udp, 40, START),
        Err(InsertError::Clash)
    );
}

#[test]
fn a_failed_insert_leaves_the_mapping_to_its_owner() {
    let mut connections = connections(1);
    connections
        .insert(routed(key(17, 1)), &Segment::Udp, 40, START)
        .unwrap();
    let mapping = acquire(&mut connections, 5000);
    let new = masqueraded(key(17, 5000), mapping);
    assert_eq!(
        connections.insert(new, &Segment::Udp, 40, START),
        Err(InsertError::TableFull)
    );
    assert_eq!(connections.mappings_in_use(), 1);
    connections.release_unused_mapping();
    assert_eq!(connections.mappings_in_use(), 0);
}

#[test]
fn a_mapping_outlives_the_flow_that_makes_way() {
    let mut connections = connections(4);
    let mapping = acquire(&mut connections, 5000);
    let new = masqueraded(key(17, 5000), mapping);
    connections.insert(new, &Segment::Udp, 40, START).unwrap();
    let later = after(START, 121);
    assert_eq!(acquire(&mut connections, 5000), mapping);
    let id = connections.insert(new, &Segment::Udp, 40, later).unwrap();
    assert_eq!((connections.len(), connections.mappings_in_use()), (1, 1));
    connections.remove(id);
    assert_eq!(connections.mappings_in_use(), 0);
}

/// More hosts than are remembered, with two ports each, and two connections of each port: what was found of them ahead of their ends is
/// partly gone by then.
#[test]
fn all_mappings_end_with_connections_that_end_together() {
    let mut connections = connections(1000);
    let ranges = [address(200)..=address(203)];
    for pair in 0..500_u16 {
        let internal = Internal {
            vpc: INSIDE,
            protocol: 17,
            address: Ipv4Addr::from_bits(0x0a01_0000 + u32::from(pair / 2)),
            port: 2000 + pair,
        };
        let allocation = PortAllocation::default();
        for last in [8, 9] {
            let ranges = ranges.iter().cloned();
            let mapping = connections
                .acquire_mapping(internal, OUTSIDE, ranges, &allocation, |_, _| false)
                .unwrap();
            let key = FlowKey {
                source: internal.address,
                destination: address(last),
                ..key(17, internal.port)
            };
            let new = masqueraded(key, mapping);
            connections.insert(new, &Segment::Udp, 40, START).unwrap();
        }
    }
    assert_eq!(connections.mappings_in_use(), 500);
    let later = after(START, 200);
    let ended = [70, 442, 0, 1000].map(|budget| connections.expire(later, budget));
    assert_eq!(ended, [70, 442, 0, 488]);
    assert!(connections.is_empty() && connections.mappings().is_empty());
}
