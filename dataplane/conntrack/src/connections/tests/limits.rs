//! Who is counted where, and who makes way.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn from(source: u8, port: u16) -> FlowKey<Ipv4Addr> {
    FlowKey {
        source: address(source),
        vpc: VpcIndex(u16::from(source % 3)),
        ..key(17, port)
    }
}

/// Opens a TCP connection from this port, all the way.
fn open(connections: &mut Connections<Ipv4Addr>, port: u16) -> FlowId {
    let id = connections
        .insert(routed(key(6, port)), &syn(), 60, START)
        .unwrap();
    for (direction, flags) in [
        (Reply, TcpFlags::SYN | TcpFlags::ACK),
        (Original, TcpFlags::ACK),
    ] {
        connections
            .update(id, direction, &tcp(flags), 60, START)
            .unwrap();
    }
    id
}

proptest! {
    #[test]
    fn counts_are_those_of_the_connections_that_are_there(
        steps in prop::collection::vec((0..4u8, 1..40u8, 0..3u16, 0..200u64), 1..200)
    ) {
        let mut connections = connections(64);
        let mut now = START;
        let mut counted = HashMap::new();
        for (step, source, port, seconds) in steps {
            let key = from(source, port);
            match step {
                0 | 1 => {
                    connections.make_room(now);
                    if let Ok(id) = connections.insert(routed(key), &Segment::Udp, 60, now) {
                        // Of some VPCs all are counted, if there is room.
                        let is_known = connections.from_source(key.vpc, key.source) > 0;
                        if step == 0 && key.vpc.0 < 2 && connections.count_source(id) {
                            counted.insert(id, (key.vpc, key.source));
                        } else if step == 0 && key.vpc.0 < 2 {
                            prop_assert!(!is_known);
                        }
                    }
                }
                2 => {
                    if let Some((id, _)) = connections.lookup(&key, now) {
                        connections.remove(id);
                    }
                }
                _ => {
                    now = after(now, seconds);
                    connections.expire(now, 100);
                }
            }
            counted.retain(|id, _| connections.flow(*id).is_some());
            let flows: Vec<_> = connections.iter().map(|(_, flow)| flow.original).collect();
            for vpc in 0..3 {
                let vpc = VpcIndex(vpc);
                let number = flows.iter().filter(|key| key.vpc == vpc).count();
                prop_assert_eq!(connections.vpc_counts().of(vpc) as usize, number);
                for source in (1..40).map(address) {
                    let number = counted.values().filter(|one| **one == (vpc, source)).count();
                    prop_assert_eq!(connections.from_source(vpc, source) as usize, number);
                }
            }
        }
    }

    /// Whatever is in a full table: what makes way was not established, and it is looked for in a few places at a time.
    #[test]
    fn what_is_not_established_makes_way(established in prop::collection::vec(any::<bool>(), 64)) {
        let mut connections = connections(established.len());
        for (port, is_established) in (1..).zip(&established) {
            match is_established {
                true => { open(&mut connections, port); }
                false => { connections.insert(routed(key(6, port)), &syn(), 60, START).unwrap(); }
            }
        }
        let there = established.iter().filter(|is| **is).count();
        let (mut evicted, mut full) = (0, 0);
        for port in 1000..1200 {
            match connections.make_room(START) {
                Room::Evicted => {
                    evicted += 1;
                    connections.insert(routed(key(6, port)), &syn(), 60, START).unwrap();
                }
                Room::Full => full += 1,
                other => prop_assert!(false, "{other:?}"),
            }
            let now = connections.counts().of(State::Tcp(TcpState::Established));
            prop_assert_eq!(now as usize, there);
            prop_assert!(connections.len() <= established.len());
        }
        prop_assert_eq!(evicted == 0, there == established.len());
        // Half of the places are looked at each time: two calls in a row never fail while there is one to be found.
        prop_assert!(full <= evicted || there == established.len());
    }
}

#[test]
fn whose_time_is_up_makes_way_though_it_was_established() {
    let mut connections = connections(2);
    open(&mut connections, 1);
    assert_eq!(connections.make_room(START), Room::Free);
    let embryonic = connections.insert(routed(key(6, 2)), &syn(), 60, START);
    let late = after(START, 3 * 3600);
    assert_eq!(connections.make_room(late), Room::Expired);
    connections
        .insert(routed(key(6, 3)), &syn(), 60, late)
        .unwrap();
    assert_eq!(connections.make_room(late), Room::Expired);
    assert_eq!(connections.flow(embryonic.unwrap()), None);
    assert_eq!(connections.len(), 1);
}
