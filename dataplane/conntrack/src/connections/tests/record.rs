//! What a recorder is told, held against what happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use proptest::prelude::*;
use rewire_tables::InterfaceIndex;
use rtrb::Consumer;

use super::*;
use crate::recording::{
    FlowEvent, FlowRecord, FlowReport, FlowStep, Recorder, RecorderControl, ReportReason, Shortage,
    TimedEvent,
};

const EGRESS: InterfaceIndex = InterfaceIndex(7);
const INTERVAL: Duration = Duration::from_secs(30);

fn recorded(
    capacity: usize,
    events: usize,
) -> (
    Connections<Ipv4Addr>,
    Consumer<TimedEvent>,
    Arc<RecorderControl>,
) {
    let mut connections = connections(capacity);
    let control = RecorderControl::new(INTERVAL);
    let (recorder, ring) = Recorder::new(capacity, events, &control);
    connections.record(Some(Box::new(recorder)));
    (connections, ring, control)
}

/// None where there is no room for another mapping.
fn masqueraded(
    connections: &mut Connections<Ipv4Addr>,
    key: FlowKey<Ipv4Addr>,
) -> Option<NewFlow<Ipv4Addr>> {
    let internal = Internal {
        vpc: key.vpc,
        protocol: key.protocol,
        address: key.source,
        port: key.source_port,
    };
    let range = std::iter::once(address(200)..=address(200));
    let mapping = connections
        .acquire_mapping(
            internal,
            OUTSIDE,
            range,
            &PortAllocation::default(),
            |_, _| false,
        )
        .ok()?;
    Some(NewFlow {
        reply: FlowKey {
            destination: mapping.address,
            destination_port: mapping.port,
            ..key.reversed(OUTSIDE)
        },
        mapping: Some(mapping),
        ..routed(key)
    })
}

fn flows(ring: &mut Consumer<TimedEvent>) -> Vec<FlowRecord> {
    let mut flows = Vec::new();
    while let Ok((_, event)) = ring.pop() {
        match event {
            FlowEvent::Flow(flow) => flows.push(flow),
            FlowEvent::Refused(refused) => panic!("{refused:?}"),
        }
    }
    flows
}

fn report(flow: &FlowRecord) -> FlowReport {
    match flow.step {
        FlowStep::Report(report) => report,
        FlowStep::Ends {
            report: Some(report),
            ..
        } => report,
        step => panic!("{step:?}"),
    }
}

#[derive(Clone, Debug)]
enum Call {
    Begin {
        host: u8,
        port: u16,
        to: u8,
        masquerade: bool,
        is_tcp: bool,
    },
    Packet {
        nth: usize,
        direction: Direction,
        flags: usize,
        bytes: u32,
    },
    Remove {
        nth: usize,
    },
    MakeRoom,
    Advance {
        seconds: u64,
    },
}

fn call() -> impl Strategy<Value = Call> {
    let direction = any::<bool>().prop_map(|reply| if reply { Reply } else { Original });
    prop_oneof![
        4 => (1..3_u8, 2000..2003_u16, 50..52_u8, any::<bool>(), any::<bool>()).prop_map(
            |(host, port, to, masquerade, is_tcp)| Call::Begin { host, port, to, masquerade, is_tcp }
        ),
        8 => (any::<usize>(), direction, 0..5_usize, 20..2000_u32)
            .prop_map(|(nth, direction, flags, bytes)| Call::Packet { nth, direction, flags, bytes }),
        1 => any::<usize>().prop_map(|nth| Call::Remove { nth }),
        1 => Just(Call::MakeRoom),
        3 => prop::sample::select(vec![0, 1, 20, 31, 130, 400]).prop_map(|seconds| Call::Advance { seconds }),
    ]
}

const FLAGS: [TcpFlags; 5] = [
    TcpFlags::SYN,
    TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0),
    TcpFlags::ACK,
    TcpFlags(TcpFlags::FIN.0 | TcpFlags::ACK.0),
    TcpFlags::RST,
];

/// A connection as it happened, and what was told of it.
#[derive(Clone, Debug)]
struct Truth {
    is_translated: bool,
    seen: [Traffic; 2],
    told: [Traffic; 2],
    /// Up to when it was told.
    until: Instant,
    has_begun: bool,
    /// Whether it was told to be over.
    is_finished: bool,
}

impl Truth {
    /// Whether there is nothing to tell when it is gone: it was said to be over, and has no translation that ends.
    fn may_go_silently(&self) -> bool {
        self.is_finished && !self.is_translated && self.told == self.seen
    }
}

type Endpoint = (IpAddr, u16);
type Key = (IpAddr, u16, IpAddr, u8);

#[derive(Default)]
struct Model {
    live: BTreeMap<Key, (FlowId, Truth)>,
    /// Those in whose place there are others, until their end is told.
    replaced: BTreeMap<Key, VecDeque<Truth>>,
    /// By protocol and both endpoints.
    mappings: BTreeSet<(u8, Endpoint, Endpoint)>,
}

impl Model {
    fn hear(&mut self, (at, event): TimedEvent) {
        let FlowEvent::Flow(flow) = event else {
            panic!("{event:?}");
        };
        let ends = &flow.original;
        let key = (
            ends.source.0,
            ends.source.1,
            ends.destination.0,
            flow.protocol,
        );
        assert_eq!(flow.egress, Some(EGRESS));
        let mapping = (flow.protocol, flow.original.source, flow.reply.destination);
        let replaced = self.replaced.entry(key).or_default();
        let truth = match replaced.front_mut() {
            Some(truth) => truth,
            None => &mut self.live.get_mut(&key).expect("it was begun").1,
        };
        assert_eq!(flow.is_translated(), truth.is_translated);
        let report = match flow.step {
            FlowStep::Begins { mapping: begins } => {
                assert!(truth.is_translated && !std::mem::replace(&mut truth.has_begun, true));
                assert_eq!(begins, self.mappings.insert(mapping) && flow.is_mapped);
                None
            }
            FlowStep::Report(report) => Some(report),
            FlowStep::Ends { report, .. } => report,
        };
        if let Some(report) = report {
            // Never twice for the same time; an interval without packets is not told of.
            assert!(report.since >= truth.until, "{report:?}");
            assert!(
                report.since <= report.last && report.last <= at,
                "{report:?}"
            );
            truth.until = at;
            truth.is_finished = report.reason == ReportReason::Finished;
            for (told, more) in truth.told.iter_mut().zip(report.traffic) {
                told.packets += more.packets;
                told.bytes += more.bytes;
            }
        }
        if let FlowStep::Ends {
            mapping: is_last, ..
        } = flow.step
        {
            assert_eq!(truth.told, truth.seen, "all is told: {flow:?}");
            assert_eq!(truth.is_translated, truth.has_begun);
            if is_last {
                assert!(self.mappings.remove(&mapping));
            }
            match replaced.pop_front() {
                Some(_) => {}
                None => {
                    self.live.remove(&key);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every packet is told once, connections begin and end once each, and so do mappings.
    #[test]
    fn what_is_told_adds_up(calls in prop::collection::vec(call(), 1..80)) {
        let (mut connections, mut ring, control) = recorded(5, 1000);
        let mut model = Model::default();
        let mut now = START;
        for call in calls {
            match call {
                Call::Begin { host, port, to, masquerade, is_tcp } => {
                    let protocol = if is_tcp { 6 } else { 17 };
                    let original = FlowKey {
                        source: address(host),
                        destination: address(to),
                        ..key(protocol, port)
                    };
                    let segment = if is_tcp { syn() } else { Segment::Udp };
                    // What uses a mapping and what does not would be two connections of one key.
                    let new = match masquerade {
                        true => masqueraded(&mut connections, original),
                        false => Some(routed(original)),
                    };
                    let Some(new) = new else { continue };
                    match connections.insert(new, &segment, 40, now) {
                        Ok(id) => {
                            connections.record_begin(id, EGRESS);
                            let truth = Truth {
                                is_translated: masquerade,
                                seen: [Traffic { packets: 1, bytes: 40 }, Traffic::default()],
                                told: Default::default(),
                                until: now,
                                has_begun: false,
                                is_finished: false,
                            };
                            let key = (address(host).into(), port, address(to).into(), protocol);
                            if let Some((_, old)) = model.live.insert(key, (id, truth))
                                && !old.may_go_silently()
                            {
                                model.replaced.entry(key).or_default().push_back(old);
                            }
                        }
                        Err(_) => connections.release_unused_mapping(),
                    }
                }
                Call::Packet { nth, direction, flags, bytes } => {
                    let number = model.live.len().max(1);
                    let Some((key, (id, truth))) = model.live.iter_mut().nth(nth % number) else { continue };
                    let segment = if key.3 == 6 { tcp(FLAGS[flags]) } else { Segment::Udp };
                    if connections.update(*id, direction, &segment, bytes, now).is_ok() {
                        truth.seen[direction as usize].packets += 1;
                        truth.seen[direction as usize].bytes += u64::from(bytes);
                    }
                }
                Call::Remove { nth } => {
                    let number = model.live.len().max(1);
                    let Some((_, (id, _))) = model.live.iter().nth(nth % number) else { continue };
                    connections.remove(*id);
                }
                Call::MakeRoom => {
                    connections.make_room(now);
                }
                Call::Advance { seconds } => {
                    now = after(now, seconds);
                    // Some that are due are told, and those that are over end.
                    connections.expire(now, usize::MAX);
                }
            }
            while let Ok(event) = ring.pop() {
                model.hear(event);
            }
        }
        let ids: Vec<_> = connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            connections.remove(id);
        }
        while let Ok(event) = ring.pop() {
            model.hear(event);
        }
        let left = model.live.values().find(|(_, truth)| !truth.may_go_silently());
        prop_assert!(left.is_none(), "{:?}", left);
        prop_assert!(model.replaced.values().all(VecDeque::is_empty));
        prop_assert!(model.mappings.is_empty());
        prop_assert_eq!(control.lost(), 0);
    }
}

/// Each end has its reason.
#[test]
fn an_end_says_why() {
    let (mut connections, mut ring, _) = recorded(1, 100);
    let mut now = START;
    let begin = |connections: &mut Connections<Ipv4Addr>, segment: &Segment, now| {
        let protocol = if *segment == Segment::Udp { 17 } else { 6 };
        let id = connections
            .insert(routed(key(protocol, 1)), segment, 40, now)
            .unwrap();
        connections.record_begin(id, EGRESS);
        id
    };
    begin(&mut connections, &Segment::Udp, now);
    now = after(now, 300);
    // Its time-out ended two minutes after its only packet; the interval has long passed, and nothing more came.
    connections.expire(now, usize::MAX);
    let [told] = flows(&mut ring)[..] else {
        panic!()
    };
    let idle = report(&told);
    assert_eq!(
        (idle.reason, idle.traffic[0].packets),
        (ReportReason::Idle, 1)
    );
    assert!(idle.last.duration_since(START) < Duration::from_millis(3));

    let id = begin(&mut connections, &Segment::Udp, now);
    connections.remove(id);
    assert_eq!(report(&flows(&mut ring)[0]).reason, ReportReason::Forced);

    begin(&mut connections, &syn(), now);
    assert_eq!(connections.make_room(now), Room::Evicted);
    assert_eq!(report(&flows(&mut ring)[0]).reason, ReportReason::Evicted);

    // A RST is told at once, the end of the connection when it comes.
    let id = begin(&mut connections, &syn(), now);
    let rst = tcp(TcpFlags(TcpFlags::RST.0 | TcpFlags::ACK.0));
    connections.update(id, Reply, &rst, 40, now).unwrap();
    now = after(now, 2);
    connections.expire(now, usize::MAX);
    let [told] = flows(&mut ring)[..] else {
        panic!()
    };
    assert!(matches!(told.step, FlowStep::Report(_)));
    assert_eq!(report(&told).reason, ReportReason::Finished);
    assert_eq!(told.tcp_flags & TcpFlags::RST.0, TcpFlags::RST.0);
    assert_eq!(connections.len(), 1);
    now = after(now, 600);
    connections.expire(now, usize::MAX);
    assert_eq!(connections.len(), 0);
    // It was not translated: there is nothing more to say.
    assert_eq!(flows(&mut ring), []);
}

/// What finds no room is told later where the connection goes on, and is counted where it ends.
#[test]
fn a_full_ring_loses_ends_alone() {
    let (mut connections, mut ring, control) = recorded(3, 1);
    let ids = [1, 2, 3].map(|port| {
        let id = connections
            .insert(routed(key(17, port)), &Segment::Udp, 40, START)
            .unwrap();
        connections.record_begin(id, EGRESS);
        id
    });
    let mut now = after(START, 60);
    for (round, told) in [(0, 1), (1, 1), (2, 1), (3, 0)] {
        connections.expire(now, usize::MAX);
        let flows = flows(&mut ring);
        assert_eq!(flows.len(), told, "round {round}");
        assert!(
            flows
                .iter()
                .all(|flow| report(flow).traffic[0].packets == 1)
        );
        now = after(now, 2);
    }
    assert_eq!(control.lost(), 0);
    for id in ids {
        connections.remove(id);
    }
    assert_eq!((flows(&mut ring).len(), control.lost()), (1, 2));
}

/// Who begins to record is told what connections do from then on.
#[test]
fn what_was_before_is_not_told() {
    let mut connections = connections(2);
    let id = connections
        .insert(routed(key(17, 1)), &Segment::Udp, 1000, START)
        .unwrap();
    let control = RecorderControl::new(INTERVAL);
    let (recorder, mut ring) = Recorder::new(2, 100, &control);
    assert!(connections.record(Some(Box::new(recorder))).is_none());
    connections.expire(after(START, 1), usize::MAX);
    let now = after(START, 2);
    connections
        .update(id, Reply, &Segment::Udp, 77, now)
        .unwrap();
    assert!(connections.remove(id).is_some());
    let [told] = flows(&mut ring)[..] else {
        panic!()
    };
    let report = report(&told);
    assert_eq!(report.since, after(START, 1));
    assert_eq!(told.egress, None);
    let bytes = report.traffic.map(|traffic| traffic.bytes);
    assert_eq!(bytes, [0, 77]);
    // And nobody is told once it is over.
    assert!(connections.record(None).is_some());
    connections
        .insert(routed(key(17, 1)), &Segment::Udp, 1000, now)
        .unwrap();
    assert!(!connections.is_recording() && ring.pop().is_err());
}

/// A connection from outside may find the mapping gone that it was to join: it never was one, and no packet of it passed.
#[test]
fn what_is_undone_is_not_told() {
    let (mut connections, mut ring, _control) = recorded(8, 16);
    let flow = masqueraded(&mut connections, key(17, 1000)).expect("there is room");
    let inserted = connections.insert(flow, &Segment::Udp, 60, START);
    let id = inserted.expect("there is room");
    connections.undo_insert(id);
    assert_eq!((connections.len(), connections.mappings_in_use()), (0, 0));
    assert_eq!(flows(&mut ring), []);
    // Whoever comes next is told of.
    let flow = masqueraded(&mut connections, key(17, 1000)).expect("there is room");
    let inserted = connections.insert(flow, &Segment::Udp, 60, START);
    let id = inserted.expect("there is room");
    connections.record_begin(id, EGRESS);
    connections.remove(id);
    assert_eq!(flows(&mut ring).len(), 2);
}

/// A shortage is told once a second, each kind for itself.
#[test]
fn shortages_are_told_sparingly() {
    let (mut connections, mut ring, _) = recorded(1, 100);
    for step in 0..30_u64 {
        let now = Instant(START.0 + step * 100_000_000);
        for shortage in [Shortage::Ports, Shortage::Source] {
            connections.record_shortage(shortage, &key(17, 1), Some(address(200)), now);
        }
    }
    let told = std::iter::from_fn(|| ring.pop().ok()).count();
    assert_eq!(told, 6);
}
