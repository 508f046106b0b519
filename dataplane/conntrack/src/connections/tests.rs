use std::net::Ipv4Addr;

use rewire_packet::tcp::TcpFlags;

use super::*;
use crate::error::InsertError;
use crate::flow::NewFlow;
use crate::flow::{Rewrite, Traffic};
use crate::key::FlowKey;
use crate::segment::TcpSegment;
use crate::state::{Exchange, IcmpState};
use crate::tcp::TcpState;
use Direction::{Original, Reply};

mod crowded;
mod expiry;
mod filtering;
mod foreseen;
mod limits;
mod mapping;
mod model;
mod offload;
mod record;
mod saved;

const INSIDE: VpcIndex = VpcIndex(1);
const OUTSIDE: VpcIndex = VpcIndex(2);
const START: Instant = Instant(4657 << TICK_BITS);

fn config(capacity: usize) -> Config {
    Config {
        capacity,
        timeouts: Timeouts::default(),
        worker: 0,
        workers: 1,
        tcp_pickup: false,
        hash_seed: 42,
    }
}

fn connections(capacity: usize) -> Connections<Ipv4Addr> {
    Connections::new(config(capacity))
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn key(protocol: u8, source_port: u16) -> FlowKey<Ipv4Addr> {
    FlowKey {
        vpc: INSIDE,
        protocol,
        source: address(1),
        destination: address(9),
        source_port,
        destination_port: 80,
    }
}

/// A flow that is routed from one VPC into another, and not translated.
fn routed(original: FlowKey<Ipv4Addr>) -> NewFlow<Ipv4Addr> {
    NewFlow {
        original,
        reply: original.reversed(OUTSIDE),
        route_vpc: OUTSIDE,
        policy_generation: 1,
        admission: Default::default(),
        mapping: None,
    }
}

/// Of a connection whose ends both begin with 1, and send no data.
fn tcp(flags: TcpFlags) -> Segment {
    Segment::Tcp(TcpSegment {
        flags,
        sequence: if flags.contains(TcpFlags::SYN) { 1 } else { 2 },
        acknowledgment: 2,
        window: 1000,
        window_scale: None,
        payload_length: 0,
    })
}

fn syn() -> Segment {
    tcp(TcpFlags::SYN)
}

fn after(at: Instant, seconds: u64) -> Instant {
    at.saturating_add(Duration::from_secs(seconds))
}

/// The end of a time-out.
fn end(at: Instant, timeout: Duration) -> Instant {
    Deadline::after(at, timeout.into()).instant(at)
}

fn just_before(at: Instant) -> Instant {
    Instant(at.0 - 1)
}

#[test]
fn a_connection_from_its_first_packet_to_its_last() {
    let mut connections = connections(4);
    let key = key(6, 5000);
    assert_eq!(connections.lookup(&key, START), None);
    assert_eq!(connections.admits_new(&syn()), Ok(()));
    let id = connections.insert(routed(key), &syn(), 60, START).unwrap();
    assert_eq!(connections.lookup(&key, START), Some((id, Original)));
    assert_eq!(
        connections.lookup(&key.reversed(OUTSIDE), START),
        Some((id, Reply))
    );
    assert_eq!(connections.lookup(&key.reversed(INSIDE), START), None);

    let synack = tcp(TcpFlags::SYN | TcpFlags::ACK);
    let state = connections.update(id, Reply, &synack, 52, START).unwrap();
    assert_eq!(state.to_string(), "syn_received");
    let ack = tcp(TcpFlags::ACK);
    let state = connections.update(id, Original, &ack, 40, START).unwrap();
    assert_eq!(state.to_string(), "established");
    let flow = connections.flow(id).unwrap();
    assert_eq!(
        flow.traffic(Original),
        Traffic {
            packets: 2,
            bytes: 100
        }
    );
    assert_eq!(
        flow.traffic(Reply),
        Traffic {
            packets: 1,
            bytes: 52
        }
    );
    assert_eq!(
        flow.to_string(),
        "vpc #1 protocol 6 10.0.0.1 5000 > 10.0.0.9 80 | vpc #2 protocol 6 10.0.0.9 80 > 10.0.0.1 5000 established"
    );
    assert_eq!(
        connections.counts().of(State::Tcp(TcpState::Established)),
        1
    );
    assert_eq!(
        connections
            .counts()
            .iter()
            .map(|(_, count)| count)
            .sum::<u32>(),
        1
    );

    let admission = Admission {
        timeouts: TimeoutClass::default(),
        whole: false,
        ..Admission::default()
    };
    connections.set_policy_generation(id, 7, admission);
    let flow = connections.remove(id).unwrap();
    assert_eq!((flow.policy_generation, flow.created), (7, START));
    assert!(!flow.admission.whole);
    assert_eq!(connections.lookup(&key, START), None);
    assert!(connections.is_empty() && connections.flow(id).is_none());
    assert!(connections.remove(id).is_none());
    assert_eq!(
        connections.update(id, Original, &ack, 40, START),
        Err(Invalid::NoFlow)
    );
    assert_eq!(connections.counts(), &StateCounts::default());
}

#[test]
fn a_refused_packet_changes_nothing() {
    let mut connections = connections(4);
    let id = connections
        .insert(routed(key(6, 5000)), &syn(), 60, START)
        .unwrap();
    let later = after(START, 100);
    let ack = tcp(TcpFlags::ACK);
    for (segment, reason) in [
        (&ack, Invalid::TcpNotSynchronized),
        (&Segment::Udp, Invalid::ProtocolMismatch),
        (&tcp(TcpFlags::NONE), Invalid::TcpFlags),
    ] {
        assert_eq!(
            connections.update(id, Original, segment, 40, later),
            Err(reason)
        );
    }
    let flow = connections.flow(id).unwrap();
    assert_eq!(flow.expires, end(START, Duration::from_secs(240)));
    assert_eq!(flow.traffic(Original).packets, 1);
    assert_eq!(flow.state, State::Tcp(TcpState::SynSent));
}

#[test]
fn what_may_begin_a_connection() {
    let strict = connections(1);
    let loose = Connections::<Ipv4Addr>::new(Config {
        tcp_pickup: true,
        ..config(1)
    });
    let not = Err(Invalid::TcpNotABeginning);
    for (segment, by_strict, by_loose) in [
        (syn(), Ok(()), Ok(())),
        (tcp(TcpFlags::ACK), not, Ok(())),
        (tcp(TcpFlags::RST), not, not),
        (Segment::Udp, Ok(()), Ok(())),
        (Segment::Other, Ok(()), Ok(())),
        (Segment::IcmpQuery { reply: false }, Ok(()), Ok(())),
        (
            Segment::IcmpQuery { reply: true },
            Err(Invalid::IcmpReply),
            Err(Invalid::IcmpReply),
        ),
    ] {
        assert_eq!(strict.admits_new(&segment), by_strict);
        assert_eq!(loose.admits_new(&segment), by_loose);
    }
}

#[test]
fn rewrites_say_only_what_differs() {
    let mut connections = connections(4);
    let mut rewrites = |original, reply, route_vpc| {
        let new = NewFlow {
            original,
            reply,
            route_vpc,
            policy_generation: 1,
            admission: Default::default(),
            mapping: None,
        };
        let id = connections.insert(new, &syn(), 60, START).unwrap();
        let flow = connections.flow(id).unwrap();
        (flow.rewrite(Original), flow.rewrite(Reply))
    };
    let original = key(6, 5000);

    let plain = original.reversed(OUTSIDE);
    let none = |route_vpc| Rewrite {
        destination: None,
        source: None,
        route_vpc,
    };
    assert_eq!(
        rewrites(original, plain, OUTSIDE),
        (none(OUTSIDE), none(INSIDE))
    );

    // Masquerade: the source changes, and back; here it keeps its port.
    let original = key(6, 5001);
    let reply = FlowKey {
        destination: address(200),
        ..original.reversed(OUTSIDE)
    };
    let (out, back) = rewrites(original, reply, INSIDE);
    assert_eq!(
        out,
        Rewrite {
            source: Some((address(200), 5001)),
            ..none(INSIDE)
        }
    );
    assert_eq!(
        back,
        Rewrite {
            destination: Some((address(1), 5001)),
            ..none(INSIDE)
        }
    );

    // Port forward: the destination changes, and back; here only its port.
    let original = key(6, 5002);
    let reply = FlowKey {
        source_port: 8080,
        ..original.reversed(OUTSIDE)
    };
    let (out, back) = rewrites(original, reply, OUTSIDE);
    assert_eq!(
        out,
        Rewrite {
            destination: Some((address(9), 8080)),
            ..none(OUTSIDE)
        }
    );
    assert_eq!(
        back,
        Rewrite {
            source: Some((address(9), 80)),
            ..none(INSIDE)
        }
    );

    // Both.
    let original = key(6, 5003);
    let reply = FlowKey {
        source: address(50),
        source_port: 8080,
        destination: address(200),
        destination_port: 1024,
        ..original.reversed(OUTSIDE)
    };
    let (out, back) = rewrites(original, reply, OUTSIDE);
    let both = (out.destination, out.source, back.destination, back.source);
    assert_eq!(
        both,
        (
            Some((address(50), 8080)),
            Some((address(200), 1024)),
            Some((address(1), 5003)),
            Some((address(9), 80))
        )
    );
}

#[test]
fn talking_to_itself() {
    let mut connections = connections(1);
    let own = FlowKey {
        source: address(1),
        destination: address(1),
        source_port: 7,
        destination_port: 7,
        ..key(17, 7)
    };
    let new = NewFlow {
        reply: own.reversed(INSIDE),
        route_vpc: INSIDE,
        ..routed(own)
    };
    assert_eq!(new.reply, own);
    let id = connections.insert(new, &Segment::Udp, 40, START).unwrap();
    assert_eq!(connections.lookup(&own, START), Some((id, Original)));
    assert_eq!(
        connections.insert(new, &Segment::Udp, 40, START),
        Err(InsertError::Clash)
    );
    assert!(connections.remove(id).is_some());
    assert_eq!(connections.lookup(&own, START), None);
    assert!(connections.insert(new, &Segment::Udp, 40, START).is_ok());
}

#[test]
fn either_key_clashes_and_a_full_table_is_full() {
    let mut connections = connections(2);
    let first = routed(key(17, 1));
    let id = connections.insert(first, &Segment::Udp, 40, START).unwrap();
    let same_original = NewFlow {
        reply: key(17, 2).reversed(OUTSIDE),
        ..first
    };
    let same_reply = NewFlow {
        original: key(17, 2),
        ..first
    };
    let crossed = NewFlow {
        original: first.reply,
        reply: key(17, 3),
        ..first
    };
    for new in [first, same_original, same_reply, crossed] {
        assert_eq!(
            connections.insert(new, &Segment::Udp, 40, START),
            Err(InsertError::Clash)
        );
    }
    connections
        .insert(routed(key(17, 2)), &Segment::Udp, 40, START)
        .unwrap();
    let third = routed(key(17, 3));
    assert_eq!(
        connections.insert(third, &Segment::Udp, 40, START),
        Err(InsertError::TableFull)
    );
    assert_eq!((connections.len(), connections.capacity()), (2, 2));
    // One whose time is up makes way for one with its key, and its id is stale.
    let later = after(START, 121);
    let again = connections
        .insert(same_reply, &Segment::Udp, 40, later)
        .unwrap();
    assert!(connections.flow(id).is_none());
    assert_eq!(
        connections.lookup(&first.reply, later),
        Some((again, Reply))
    );
    assert_eq!(connections.lookup(&first.original, later), None);
    assert_eq!(connections.len(), 1);
}

#[test]
fn no_room_at_all() {
    let mut connections = connections(0);
    assert_eq!(connections.lookup(&key(17, 1), START), None);
    let result = connections.insert(routed(key(17, 1)), &Segment::Udp, 40, START);
    assert_eq!(result, Err(InsertError::TableFull));
    assert_eq!(connections.expire(after(START, 1000), 10), 0);
}

#[test]
fn a_connection_takes_128_bytes() {
    let capacity = 1 << 20;
    let reserved = connections(capacity).memory();
    assert!(reserved <= 128 * capacity, "{reserved}");
}

#[test]
fn counts_follow_states() {
    let mut connections = connections(4);
    let ping = Segment::IcmpQuery { reply: false };
    let id = connections
        .insert(routed(key(1, 1)), &ping, 84, START)
        .unwrap();
    connections
        .insert(routed(key(17, 1)), &Segment::Udp, 40, START)
        .unwrap();
    connections
        .update(id, Reply, &Segment::IcmpQuery { reply: true }, 84, START)
        .unwrap();
    let nonzero: Vec<_> = connections
        .counts()
        .iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        nonzero,
        [
            (State::Udp(Exchange::Unreplied), 1),
            (State::Icmp(IcmpState::Replied), 1)
        ]
    );
}
