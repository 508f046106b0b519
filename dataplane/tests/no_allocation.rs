//! Law 7: forwarding a packet allocates nothing.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool};
use rewire_dataplane::clock::Instant;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{Graph, GraphConfig, LearnedNeighbor, Origin, Received, Sinks};
use rewire_schema::{Configuration, Document};
use rewire_tables::{InterfaceIndex, Tables};
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

struct Kept(Vec<MemoryBuffer>);

impl Sinks<MemoryBuffer> for Kept {
    fn transmit(&mut self, _: InterfaceIndex, buffer: MemoryBuffer) {
        self.0.push(buffer);
    }
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
}

#[test]
fn neither_new_nor_established_connections_allocate() {
    let document: Document = serde_json::from_value(two_vpcs()).expect("a document");
    let (compiler, compiled) = Compiler::compile(Configuration::from(&document), 1).unwrap();
    let mut tables = Tables::default();
    compiled
        .operations
        .iter()
        .for_each(|operation| tables.apply(operation));
    let connections = Config {
        capacity: 4096,
        timeouts: Timeouts::default(),
        worker: 0,
        workers: 1,
        tcp_pickup: true,
        hash_seed: 0,
    };
    let config = GraphConfig {
        connections,
        burst: 64,
        icmp_errors_per_second: 1000,
    };
    let mut graph = Graph::new(config, MemoryPool);
    let counters = WorkerCounters::default();
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let mut received = Vec::with_capacity(64);
    let mut sinks = Kept(Vec::with_capacity(64));
    let mut now = Instant(0);
    let mut run = |first_port: u16| {
        received.extend((0..64).map(|n| Received {
            buffer: MemoryBuffer::new(udp((HOST, first_port + n), (SITE, 53), 8).frame()),
            origin: Origin::Received(blue),
        }));
        now = Instant(now.0 + 1_000_000);
        let before = ALLOCATIONS.with(Cell::get);
        graph.run(&mut received, &tables, now, &counters, &mut sinks);
        let during = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(sinks.0.len(), 64, "all of them leave");
        sinks.0.clear();
        during
    };
    // The first bursts may still grow what is reused from then on.
    run(1000);
    run(1000);
    assert_eq!(run(1000), 0, "established");
    let new: u64 = (1..32).map(|burst| run(1000 + 64 * burst)).sum();
    assert_eq!(new, 0, "new");
}
