//! Law 7: forwarding a packet allocates nothing.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::time::Duration;

use rewire_dataplane::buffer::{BufferPool, LARGEST_FRAME, MemoryBuffer};
use rewire_dataplane::clock::Instant;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{LearnedNeighbor, LogEntry, Origin, Received, Sinks};
use rewire_dataplane::recording::{FlowEvent, FlowStep, Recorder, RecorderControl};
use rewire_dataplane::walk::{Mark, Step};
use rewire_tables::InterfaceIndex;
use serde_json::Value;
use support::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches a thread-local cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Buffers that were made before, as a pool of a card's has them.
struct Shelf(Vec<MemoryBuffer>);

impl BufferPool for Shelf {
    type Buffer = MemoryBuffer;
    fn allocate(&mut self) -> Option<MemoryBuffer> {
        self.0.pop()
    }
}

/// Runs bursts of 64 datagrams of so many bytes, with source ports from `first_port` on; each makes `frames` frames.
/// Tells how often something was allocated for each.
fn allocations(data: usize, frames: usize, first_ports: &[u16]) -> Vec<u64> {
    let bursts = first_ports.len();
    let empty = || MemoryBuffer::new(Vec::with_capacity(LARGEST_FRAME));
    let shelf = Shelf((0..bursts * 64 * (frames - 1)).map(|_| empty()).collect());
    let (mut graph, tables, compiler) = bare_graph(two_vpcs(), shelf);
    let counters = WorkerCounters::default();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64 * frames));
    let mut now = Instant(0);
    let mut run = |first_port: u16| {
        received.extend((0..64).map(|n| {
            let datagram = udp((HOST, first_port + n), (SITE, 53), data).may_fragment();
            Received::new(MemoryBuffer::new(datagram.frame()), Origin::Received(blue))
        }));
        now = Instant(now.0 + 1_000_000);
        let before = ALLOCATIONS.with(Cell::get);
        graph.run(&mut received, &tables, now, &counters, &mut sinks);
        let during = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(sinks.0.len(), 64 * frames, "all of them leave");
        sinks.0.clear();
        during
    };
    first_ports.iter().map(|port| run(*port)).collect()
}

#[test]
fn neither_new_nor_established_connections_allocate() {
    // The first bursts may still grow what is reused from then on.
    let mut ports = vec![1000, 1000, 1000];
    ports.extend((1..32).map(|burst| 1000 + 64 * burst));
    let allocations = allocations(8, 1, &ports);
    assert_eq!(allocations[2], 0, "established");
    assert_eq!(allocations[3..].iter().sum::<u64>(), 0, "new");
}

/// What leaves, and what is told of marked packets, into room that is there.
struct Watched {
    kept: Kept,
    steps: Vec<Step>,
}

impl Sinks<MemoryBuffer> for Watched {
    fn transmit(&mut self, interface: InterfaceIndex, buffer: MemoryBuffer) {
        self.kept.transmit(interface, buffer);
    }
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool {
        self.kept.learned(neighbor)
    }
    fn log(&mut self, entry: LogEntry) -> bool {
        self.kept.log(entry)
    }
    fn observe(&mut self, step: Step, _: &[u8]) {
        assert!(self.steps.len() < self.steps.capacity(), "there is room");
        self.steps.push(step);
    }
}

/// While a watch is on, every packet takes the long way, and each of its steps is told.
#[test]
fn watched_packets_allocate_nothing() {
    let (mut graph, tables, compiler) = bare_graph(two_vpcs(), Shelf(Vec::new()));
    graph.set_observing(true);
    let counters = WorkerCounters::default();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let mut received = Vec::with_capacity(64);
    let mut sinks = Watched {
        kept: Kept(Vec::with_capacity(64)),
        steps: Vec::with_capacity(64 * 64),
    };
    let mut allocations = Vec::new();
    // New ones, established ones, and new ones again.
    for (round, first_port) in (0..).zip([1000, 1000, 1000, 2000, 2000, 3000]) {
        received.extend((0..64).map(|n| {
            let datagram = udp((HOST, first_port + n), (SITE, 53), 8);
            Received {
                mark: NonZeroU16::new(n + 1).map(Mark),
                ..Received::new(MemoryBuffer::new(datagram.frame()), Origin::Received(blue))
            }
        }));
        let now = Instant(round * 1_000_000);
        let before = ALLOCATIONS.with(Cell::get);
        graph.run(&mut received, &tables, now, &counters, &mut sinks);
        allocations.push(ALLOCATIONS.with(Cell::get) - before);
        assert_eq!(sinks.kept.0.len(), 64, "all of them leave");
        assert!(sinks.steps.len() >= 64 * 10, "all of them are told of");
        sinks.kept.0.clear();
        sinks.steps.clear();
    }
    // The first bursts may still grow what is reused from then on.
    assert_eq!(allocations[2..], [0; 4]);
}

#[test]
fn fragments_take_buffers_and_nothing_else() {
    let allocations = allocations(1460, 2, &[1000, 1000, 1000]);
    assert_eq!(allocations[1..], [0, 0]);
}

#[test]
fn fragments_that_come_in_the_wrong_order_allocate_nothing() {
    let (mut graph, tables, compiler) = bare_graph(two_vpcs(), Shelf(Vec::new()));
    let counters = WorkerCounters::default();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64));
    let fragment = |n: u16, is_first: bool| {
        let mut packet = udp((HOST, 1000 + n), (SITE, 53), 24).may_fragment();
        packet.ip.identification = n;
        packet.ip.more_fragments = is_first;
        packet.ip.fragment_offset = if is_first { 0 } else { 4 };
        Received::new(MemoryBuffer::new(packet.frame()), Origin::Received(blue))
    };
    let mut allocations = Vec::new();
    for round in 0..4 {
        // Later ones, which wait; their first ones; and then those that waited.
        for (is_first, frames, leave) in [(false, 64, 0), (true, 64, 64), (true, 0, 64)] {
            received.extend((0..frames).map(|n| fragment(n, is_first)));
            let now = Instant(round * 1_000_000);
            let before = ALLOCATIONS.with(Cell::get);
            graph.run(&mut received, &tables, now, &counters, &mut sinks);
            allocations.push(ALLOCATIONS.with(Cell::get) - before);
            assert_eq!(sinks.0.len(), leave, "round {round}");
            sinks.0.clear();
        }
    }
    // The first bursts may still grow what is reused from then on.
    assert_eq!(allocations[3..], [0; 9]);
}

/// NAT64, out and back; a buffer has room for what a packet grows by.
#[test]
fn what_changes_its_family_allocates_nothing() {
    let mut document = two_vpcs();
    document["nat"]["pools"] = json!({ "own": { "vpc": "internet", "ranges": ["203.0.113.64"] } });
    document["nat"]["nat64"] =
        json!({ "all": { "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "own" } });
    let (mut graph, tables, compiler) = bare_graph(document, Shelf(Vec::new()));
    let counters = WorkerCounters::default();
    let index = |name: &str| compiler.interface_index(&name.parse().unwrap()).unwrap();
    let (blue, wan) = (index("blue0"), index("wan"));
    let site = "2001:db8:64::198.51.100.1".parse().unwrap();
    let external = Ipv4Addr::new(203, 0, 113, 64);
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64));
    let mut allocations = Vec::new();
    for (round, first_port) in (0..).zip([2000, 2000, 2000, 3000, 4000, 4000]) {
        for interface in [blue, wan] {
            received.extend((0..64).map(|n| {
                let port = first_port + n;
                let frame = match interface == blue {
                    true => support::v6::udp((support::v6::HOST, port), (site, 53), 20).frame(),
                    false => udp((SITE, 53), (external, port), 20).frame(),
                };
                let mut roomy = Vec::with_capacity(frame.len() + 64);
                roomy.extend(frame);
                Received::new(MemoryBuffer::new(roomy), Origin::Received(interface))
            }));
            let now = Instant(round * 1_000_000);
            let before = ALLOCATIONS.with(Cell::get);
            graph.run(&mut received, &tables, now, &counters, &mut sinks);
            allocations.push(ALLOCATIONS.with(Cell::get) - before);
            assert_eq!(sinks.0.len(), 64, "round {round}");
            sinks.0.clear();
        }
    }
    // The first bursts may still grow what is reused from then on.
    assert_eq!(allocations[4..], [0; 8]);
}

/// What begins outside: at a port forward to a host of IPv6, at a mapping that lets it in, and by a hairpin, which comes back in a burst of
/// its own.
#[test]
fn what_nat64_lets_in_allocates_nothing() {
    let mut document = two_vpcs();
    document["nat"]["pools"] = json!({ "own": { "vpc": "internet", "ranges": ["203.0.113.64"] } });
    document["nat"]["nat64"] = json!({ "all": {
        "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "own", "filtering": "endpoint_independent",
    } });
    document["nat"]["port_forward"]["six"] = json!({
        "protocol": "udp", "external_vpc": "internet", "external_address": "203.0.113.64", "external_port": 443,
        "internal_vpc": "blue", "internal_address": "fd00:1::10",
    });
    let (mut graph, tables, compiler) = bare_graph(document, Shelf(Vec::new()));
    let counters = WorkerCounters::default();
    let index = |name: &str| compiler.interface_index(&name.parse().unwrap()).unwrap();
    let (blue, wan) = (index("blue0"), index("wan"));
    let behind = |address: &str| format!("2001:db8:64::{address}").parse().unwrap();
    let external = Ipv4Addr::new(203, 0, 113, 64);
    let client = "fd00:1::11".parse().unwrap();
    let to_site =
        |port| support::v6::udp((support::v6::HOST, port), (behind("198.51.100.1"), 53), 20);
    let to_forward = |port| support::v6::udp((client, port), (behind("203.0.113.64"), 443), 20);
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64));
    let mut allocations = Vec::new();
    for (round, first_port) in (0..).zip([2000, 2000, 2000, 3000, 4000, 4000]) {
        for step in 0..4 {
            let (interface, leave) = [
                (blue, [64, 0]),
                (wan, [64, 0]),
                (wan, [64, 0]),
                (blue, [0, 64]),
            ][step];
            received.extend((0..64).map(|n| {
                let port = first_port + n;
                let frame = match step {
                    0 => to_site(port).frame(),
                    1 => udp((SITE, 54), (external, port), 20).frame(),
                    2 => udp((SITE, port), (external, 443), 20).frame(),
                    _ => to_forward(port).frame(),
                };
                let mut roomy = Vec::with_capacity(frame.len() + 64);
                roomy.extend(frame);
                Received::new(MemoryBuffer::new(roomy), Origin::Received(interface))
            }));
            for leave in leave {
                let before = ALLOCATIONS.with(Cell::get);
                let now = Instant(round * 1_000_000);
                graph.run(&mut received, &tables, now, &counters, &mut sinks);
                allocations.push(ALLOCATIONS.with(Cell::get) - before);
                assert_eq!(sinks.0.len(), leave, "round {round}, step {step}");
                sinks.0.clear();
            }
        }
    }
    // The first bursts may still grow what is reused from then on.
    assert_eq!(allocations[16..], [0; 32]);
}

/// Connections that begin, go on and end are told of without, and nothing of them is lost.
#[test]
fn what_is_told_of_connections_allocates_nothing() {
    let (mut graph, tables, compiler) = bare_graph(two_vpcs(), Shelf(Vec::new()));
    let control = RecorderControl::new(Duration::ZERO);
    // As many as the graph has room for.
    let (four, mut ring) = Recorder::new(4096, 10_000, &control);
    let (six, _) = Recorder::new(4096, 1, &control);
    let before = graph.record([Some(Box::new(four)), Some(Box::new(six))]);
    assert!(before.iter().all(Option::is_none));
    let counters = WorkerCounters::default();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64));
    let mut now = Instant(0);
    let mut allocations = Vec::new();
    let mut told = BTreeMap::new();
    let mut bytes = 0;
    // The same connections twice, others, and then time in which all of them end.
    for (first_port, frames) in [(1000, 64), (1000, 64), (1000, 64), (3000, 64)]
        .into_iter()
        .chain([(0, 0); 100])
    {
        received.extend((0..frames).map(|n| {
            let datagram = udp((HOST, first_port + n), (SITE, 53), 72);
            Received::new(MemoryBuffer::new(datagram.frame()), Origin::Received(blue))
        }));
        now = Instant(now.0 + 3_000_000_000);
        let before = ALLOCATIONS.with(Cell::get);
        graph.run(&mut received, &tables, now, &counters, &mut sinks);
        allocations.push(ALLOCATIONS.with(Cell::get) - before);
        assert_eq!(sinks.0.len(), usize::from(frames));
        sinks.0.clear();
        while let Ok((_, event)) = ring.pop() {
            let FlowEvent::Flow(flow) = event else {
                panic!("{event:?}");
            };
            let (name, report) = match flow.step {
                FlowStep::Begins { mapping: true } => ("begins", None),
                FlowStep::Report(report) => ("goes on", Some(report)),
                FlowStep::Ends {
                    report,
                    mapping: true,
                } => ("ends", report),
                step => panic!("{step:?}"),
            };
            *told.entry(name).or_insert(0) += 1;
            bytes += report.map_or(0, |report| report.traffic[0].bytes);
        }
    }
    // The first bursts may still grow what is reused from then on.
    assert_eq!(allocations[3..].iter().sum::<u64>(), 0, "{allocations:?}");
    assert_eq!((told["begins"], told["ends"]), (128, 128));
    assert!(told["goes on"] >= 128, "{told:?}");
    assert_eq!((bytes, control.lost()), (4 * 64 * 100, 0));
}

/// How often something is allocated for each burst that a whole gateway is handed: frames to take in and to give out.
fn allocations_of_steps(document: Value) -> Vec<u64> {
    let mut lab = Lab::new(document);
    let blue = lab.gateway.interface("blue0").unwrap();
    let mut step = |first_port: u16| {
        let datagrams = (0..64).map(|n| udp((HOST, first_port + n), (SITE, 53), 8).frame());
        let frames: Vec<_> = datagrams.map(|frame| (blue, frame)).collect();
        let before = ALLOCATIONS.with(Cell::get);
        let sent = lab.gateway.step(frames);
        let during = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(sent.len(), 64, "all of them leave");
        during
    };
    [1000, 1000, 1000, 2000, 2000, 3000].map(&mut step).into()
}

#[test]
fn acls_and_what_they_count_allocate_nothing() {
    let mut guarded = two_vpcs();
    guarded["acls"] = json!({
        "flows": { "rules": { "10": { "action": "allow", "protocol": "udp" } } },
        "packets": { "rules": { "10": { "action": "allow", "scope": "packet", "protocol": "udp" } } },
    });
    guarded["interfaces"]["blue0"]["acl_in"] = json!("flows");
    let mut both = guarded.clone();
    both["interfaces"]["wan"]["acl_out"] = json!("packets");
    let without = allocations_of_steps(two_vpcs());
    assert_eq!(allocations_of_steps(guarded), without);
    assert_eq!(allocations_of_steps(both), without);
}
