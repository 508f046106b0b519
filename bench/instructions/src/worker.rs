//! A worker's graph without a port: frames are made ahead of time in buffers that lie apart, as a card's do, and what comes
//! out is given back to them.

use std::time::Instant;

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{BufferPool, PacketBuffer};
use rewire_dataplane::clock;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{
    Graph, GraphConfig, LearnedNeighbor, LogEntry, Origin, Received, Sinks,
};
use rewire_schema::from_document;
use rewire_tables::{InterfaceIndex, Tables};

use crate::Failure;

/// Packets of one burst.
pub const BURST: usize = 64;
/// Bursts that are made at once, outside of the clock: 64 KiB of frames, as the ring of a card holds them.
const BURSTS: usize = 16;

/// A buffer of 128 bytes, of its own.
pub struct Frame {
    bytes: Box<[u8; 128]>,
    length: usize,
}

impl Default for Frame {
    fn default() -> Self {
        Frame {
            bytes: Box::new([0; 128]),
            length: 0,
        }
    }
}

impl Frame {
    /// Lets it be this frame, of 128 bytes at most.
    pub fn fill(&mut self, frame: &[u8]) {
        self.bytes[..frame.len()].copy_from_slice(frame);
        self.length = frame.len();
    }
}

impl PacketBuffer for Frame {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
    fn resize(&mut self, length: usize) -> bool {
        let fits = length <= self.bytes.len();
        if fits {
            self.length = length;
        }
        fits
    }
}

/// Where the gateway's own packets come from: there are none to speak of.
pub struct NoPool;

impl BufferPool for NoPool {
    type Buffer = Frame;
    fn allocate(&mut self) -> Option<Frame> {
        None
    }
}

/// What left a graph.
pub struct Sent<B>(
    /// The frames, in the order in which they left.
    pub Vec<B>,
);

impl<B> Sinks<B> for Sent<B> {
    fn transmit(&mut self, _: InterfaceIndex, buffer: B) {
        self.0.push(buffer);
    }
    fn transmit_all(&mut self, _: InterfaceIndex, buffers: &mut Vec<B>) {
        self.0.append(buffers);
    }
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
    fn log(&mut self, _: LogEntry) -> bool {
        true
    }
}

/// One worker.
pub struct Worker {
    /// Its graph.
    pub graph: Graph<NoPool>,
    tables: Tables,
    /// What it counts.
    pub counters: WorkerCounters,
    /// The interface that frames come in by.
    pub ingress: InterfaceIndex,
    /// The time, in ns.
    pub now: u64,
    free: Vec<Frame>,
}

impl Worker {
    /// A worker under the configuration of a document, with room for so many connections, whose frames come in by this
    /// interface.
    ///
    /// # Errors
    /// Where the document is none, does not compile, or has no such interface.
    pub fn new(document: &str, capacity: usize, ingress: &str) -> Result<Self, Failure> {
        let document = serde_json::from_str(document)?;
        let configuration = from_document(&document).map_err(|problems| format!("{problems:?}"))?;
        let (compiler, compiled) = Compiler::compile(configuration, 1)?;
        let mut tables = Tables::default();
        for operation in &compiled.operations {
            tables.apply(operation);
        }
        let config = GraphConfig {
            connections: Config {
                capacity,
                timeouts: Timeouts::default(),
                worker: 0,
                workers: 1,
                tcp_pickup: true,
                hash_seed: 7,
            },
            burst: BURST,
            fragmented_datagrams: 1024,
            icmp_errors_per_second: 1000,
            acl_logs_per_second: 100,
            fast_path: true,
        };
        Ok(Worker {
            graph: Graph::new(config, NoPool),
            tables,
            counters: WorkerCounters::default(),
            ingress: compiler
                .interface_index(&ingress.parse()?)
                .ok_or("there is no such interface")?,
            now: 1_000_000_000,
            free: (0..BURST * BURSTS).map(|_| Frame::default()).collect(),
        })
    }

    /// Runs so many bursts of frames, each of which `next` writes into the bytes that it is given and tells the length of;
    /// the clock moves so far with each burst. The time of one packet in ns, without what making them takes. `see` looks at
    /// every frame that comes out.
    ///
    /// # Errors
    /// Where a packet did not come out.
    pub fn run(
        &mut self,
        bursts: usize,
        step: u64,
        mut next: impl FnMut(&mut [u8; 128]) -> usize,
        mut see: impl FnMut(&[u8]),
    ) -> Result<f64, Failure> {
        let mut time = 0;
        let mut sent = Sent(Vec::with_capacity(BURST * BURSTS));
        let mut left = bursts;
        while left > 0 {
            let number = left.min(BURSTS);
            left -= number;
            let mut made: Vec<Vec<Received<Frame>>> = Vec::with_capacity(number);
            for _ in 0..number {
                let frames = self.free.drain(self.free.len() - BURST..);
                let received = frames.map(|mut buffer| {
                    buffer.length = next(&mut buffer.bytes);
                    Received::new(buffer, Origin::Received(self.ingress))
                });
                made.push(received.collect());
            }
            let start = Instant::now();
            for burst in &mut made {
                let now = clock::Instant(self.now);
                through(
                    &mut self.graph,
                    burst,
                    &self.tables,
                    now,
                    &self.counters,
                    &mut sent,
                );
                self.now += step;
            }
            time += start.elapsed().as_nanos();
            if sent.0.len() != number * BURST {
                let drops: Vec<_> = rewire_dataplane::DropReason::ALL
                    .iter()
                    .map(|reason| (*reason, self.counters.dropped(*reason).get()))
                    .filter(|(_, number)| *number > 0)
                    .collect();
                return Err(format!("packets were dropped: {drops:?}").into());
            }
            sent.0.iter().for_each(|frame| see(frame.bytes()));
            self.free.append(&mut sent.0);
        }
        Ok(time as f64 / (bursts * BURST) as f64)
    }
}

/// One burst through a graph. By its name callgrind knows what to count.
#[inline(never)]
pub fn through(
    graph: &mut Graph<NoPool>,
    burst: &mut Vec<Received<Frame>>,
    tables: &Tables,
    now: clock::Instant,
    counters: &WorkerCounters,
    sent: &mut Sent<Frame>,
) {
    graph.run(burst, tables, now, counters, sent);
}
