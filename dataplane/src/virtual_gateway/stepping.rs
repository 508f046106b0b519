//! Bursts through a virtual gateway: each worker takes its turn, and what one hands to another is walked with the same burst.

use std::num::NonZeroU16;
use std::sync::Arc;

use rewire_tables::InterfaceIndex;

use super::{Sent, VirtualGateway};
use crate::buffer::{MemoryBuffer, PacketBuffer};
use crate::counters::WorkerCounters;
use crate::graph::{LearnedNeighbor, LogEntry, Origin, Received, Sinks};
use crate::offload::Taken;
use crate::walk::{Mark, Step};

/// What leaves the graph in one step.
struct Collect<'a> {
    /// Who takes the frames.
    sent: &'a mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    /// Of the worker whose turn it is.
    counters: Arc<WorkerCounters>,
    /// What is for another worker.
    handed: Vec<(u16, Received<MemoryBuffer>)>,
    learned: Vec<LearnedNeighbor>,
    logged: &'a mut Vec<LogEntry>,
    steps: Vec<Step>,
}

impl Sinks<MemoryBuffer> for Collect<'_> {
    fn transmit(&mut self, interface: InterfaceIndex, buffer: MemoryBuffer) {
        self.counters.transmitted.add(1);
        let counters = self.counters.interface(interface);
        counters.transmitted_packets.add(1);
        counters.transmitted_bytes.add(buffer.bytes().len() as u64);
        (self.sent)(interface, buffer);
    }
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool {
        self.learned.push(neighbor);
        true
    }
    fn log(&mut self, entry: LogEntry) -> bool {
        self.logged.push(entry);
        true
    }
    fn observe(&mut self, step: Step, _frame: &[u8]) {
        self.steps.push(step);
    }
    fn hand_over(
        &mut self,
        worker: u16,
        frame: Received<MemoryBuffer>,
    ) -> Result<(), Received<MemoryBuffer>> {
        self.handed.push((worker, frame));
        Ok(())
    }
}

impl VirtualGateway {
    /// Receives a burst of frames, and returns what left because of them, in order. An empty burst lets timers run:
    /// neighbors that do not answer, connections that end.
    pub fn step(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, Vec<u8>)>,
    ) -> Vec<Sent> {
        let mut sent = Vec::new();
        let frames = frames.into_iter();
        let frames = frames.map(|(interface, frame)| (interface, MemoryBuffer::new(frame)));
        self.step_into(frames, &mut |interface, buffer| {
            let frame = buffer.into_bytes();
            sent.push(Sent { interface, frame });
        });
        sent
    }

    /// As [`step`](Self::step), for whoever keeps buffers: gives each frame that leaves to `sent`, in order, in the buffer that
    /// it is in. A buffer whose frame does not leave is freed.
    pub fn step_into(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, MemoryBuffer)>,
        sent: &mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    ) {
        self.receive(frames.into_iter().map(|frame| (frame, None)), sent);
    }

    /// As [`step`](Self::step), with the walk of each frame: the first one's steps have the [first mark](Mark::FIRST), and so on.
    /// Steps of packets that were observed before, and have waited since, come along.
    pub fn observe(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, Vec<u8>)>,
    ) -> (Vec<Sent>, Vec<Step>) {
        let mut sent = Vec::new();
        self.set_observing(true);
        let marks = (1..=u16::MAX).map(|number| NonZeroU16::new(number).map(Mark));
        let frames = frames.into_iter();
        let frames = frames.map(|(interface, frame)| (interface, MemoryBuffer::new(frame)));
        let steps = self.receive(frames.zip(marks), &mut |interface, buffer| {
            let frame = buffer.into_bytes();
            sent.push(Sent { interface, frame });
        });
        self.set_observing(false);
        (sent, steps)
    }

    fn set_observing(&mut self, is_observing: bool) {
        for worker in &mut self.workers {
            worker.graph.set_observing(is_observing);
        }
    }

    /// The worker that walks a frame first: as in any gateway, whose it is by its addresses and ports. What is nobody's, like ARP, is the
    /// first one's, which has all ports.
    fn owner(&self, interface: InterfaceIndex, frame: &[u8]) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let steering = self.workers[0].graph.steering();
        let owner = self.with_tables(|tables| steering.of_frame(tables, interface, frame));
        owner.flatten().map_or(0, usize::from)
    }

    fn receive(
        &mut self,
        frames: impl IntoIterator<Item = ((InterfaceIndex, MemoryBuffer), Option<Mark>)>,
        sent: &mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    ) -> Vec<Step> {
        let now = self.now();
        for ((interface, buffer), mark) in frames {
            let buffer = match &self.card {
                None => buffer,
                Some(card) => match card.card.receive(interface, buffer.into_bytes(), now) {
                    Taken::Forwarded(interface, frame) => {
                        sent(interface, MemoryBuffer::new(frame));
                        continue;
                    }
                    Taken::Punted(frame) => MemoryBuffer::new(frame),
                },
            };
            let origin = Origin::Received(interface);
            let owner = self.owner(interface, buffer.bytes());
            self.workers[owner].received.push(Received {
                mark,
                ..Received::new(buffer, origin)
            });
        }
        let mut logged = std::mem::take(&mut self.logged);
        let mut collect = Collect {
            sent,
            counters: Arc::clone(&self.counters[0]),
            handed: Vec::new(),
            learned: Vec::new(),
            logged: &mut logged,
            steps: Vec::new(),
        };
        self.run(&mut collect);
        // What was learned reaches the tables, and packets that waited for it walk in a burst of their own.
        while !collect.learned.is_empty() {
            for neighbor in collect.learned.drain(..) {
                if let Some(operation) = self.neighbors.learn(neighbor, now) {
                    self.publisher.append(operation);
                }
            }
            for operation in self.neighbors.expire(now) {
                self.publisher.append(operation);
            }
            if !self.publisher.has_pending() {
                break;
            }
            self.publish();
            self.run(&mut collect);
        }
        while self
            .workers
            .iter()
            .any(|worker| worker.graph.has_released())
        {
            self.run(&mut collect);
        }
        let steps = collect.steps;
        self.logged = logged;
        if let Some(card) = &mut self.card {
            while card.engine.poll(|| now) > 0 {}
        }
        steps
    }

    /// A turn of each worker, and further ones for what they hand to each other.
    fn run(&mut self, collect: &mut Collect<'_>) {
        let now = self.now();
        let mut is_first = true;
        loop {
            for (worker, counters) in self.workers.iter_mut().zip(&self.counters) {
                if !is_first && worker.received.is_empty() {
                    continue;
                }
                let Some(tables) = worker.reader.enter() else {
                    continue;
                };
                collect.counters = Arc::clone(counters);
                let received = &mut worker.received;
                worker.graph.run(received, &tables, now, counters, collect);
            }
            is_first = false;
            if collect.handed.is_empty() {
                return;
            }
            for (worker, frame) in collect.handed.drain(..) {
                if let Some(worker) = self.workers.get_mut(usize::from(worker)) {
                    worker.received.push(frame);
                }
            }
        }
    }
}
