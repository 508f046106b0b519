//! A worker: one thread that runs its copy of the graph over its ports, burst after burst.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rewire_tables::memory::prefetch;
use rewire_tables::{InterfaceIndex, Reader, Tables};

use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::{Clock, Instant};
use crate::connection_table::Job;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::flow_recording::RecorderChange;
use crate::graph::{Graph, LearnedNeighbor, LogEntry, Node, Origin, Received, Sinks, Steering};
use crate::packet_sampling::Sampler;
use crate::peers::{Handed, Peers};
use crate::port::PortQueue;
use crate::progress::Progress;
use crate::saved_connections::Share;
use crate::tap::Tap;
use crate::walk::Step;
use crate::watch::{AtPort, Lost, Watch, Watches};

/// Frames that a worker takes in one burst, over all of its ports.
pub(crate) const BURST: usize = 64;
/// Frames that one port may give to a burst.
const BURST_PER_PORT: usize = 32;

/// What a manager tells a worker. Queues travel whole, so that a worker never opens or closes anything.
pub(crate) enum Command<B> {
    /// Takes ports over, all at once, to transmit by; the others' ports are those of these workers.
    AddPorts {
        own: Vec<(InterfaceIndex, Box<dyn PortQueue<B>>)>,
        others: Vec<(InterfaceIndex, u16)>,
    },
    /// Receives from the ports that it has. All workers know of all ports by now: a packet that one of them receives may leave
    /// by any.
    Receive,
    /// Other workers' ports that are about to be closed.
    ForgetPorts(Vec<InterfaceIndex>),
    /// Gives ports back, through a channel that has room for them.
    RemovePorts {
        interfaces: Vec<InterfaceIndex>,
        back: SyncSender<Vec<Box<dyn PortQueue<B>>>>,
    },
    /// Takes connections over that were saved. Before it has ports.
    Restore(Share),
    /// Does something with its connections, between bursts. Commands behind it wait.
    Job(Job),
    /// Watches packets, beside whatever it watches already.
    Watch(Box<Watch>),
    /// Watches no more, if it is this watch.
    Unwatch(u64),
    /// Samples packets, beside whatever samples already.
    Sample(Box<Sampler>),
    /// Samples no more for this sampling.
    EndSampling(u64),
    /// Records flows, or no more.
    Record(RecorderChange),
    /// Records frames, in place of what it recorded for before.
    Tap(Box<Tap>),
    /// Records no more, if it is for this recording.
    Untap(u64),
}

/// What a worker tells its manager, through rings that may be full.
pub(crate) struct ToManager {
    pub learned: rtrb::Producer<LearnedNeighbor>,
    pub jobs: rtrb::Producer<Job>,
    pub log: rtrb::Producer<LogEntry>,
}

/// A port as a worker sees it: its queue, if it is its own, and frames that are about to leave by it.
struct WorkerPort<B> {
    queue: Option<Box<dyn PortQueue<B>>>,
    /// Whether it receives from it yet.
    receives: bool,
    /// The worker that has the port, where that is another.
    worker: Option<u16>,
    out: Vec<B>,
}

impl<B> Default for WorkerPort<B> {
    fn default() -> Self {
        WorkerPort {
            queue: None,
            receives: false,
            worker: None,
            out: Vec::with_capacity(2 * BURST),
        }
    }
}

/// A worker's state. It owns its queues, its graph and its counters' block.
pub(crate) struct Worker<P: BufferPool> {
    pub graph: Graph<P>,
    pub reader: Reader,
    pub counters: Arc<WorkerCounters>,
    pub progress: Arc<Progress>,
    pub commands: rtrb::Consumer<Command<P::Buffer>>,
    pub to_manager: ToManager,
    pub clock: Arc<dyn Clock>,
    ports: Vec<WorkerPort<P::Buffer>>,
    peers: Peers<P::Buffer>,
    /// Scratch, while packets are dealt out.
    kept: Vec<Received<P::Buffer>>,
    frames: Vec<P::Buffer>,
    received: Vec<Received<P::Buffer>>,
    first_port: usize,
    number: u16,
    job: Option<Job>,
    /// When it looked at the clock last, and whether there were packets then.
    looked: Option<(Instant, bool)>,
    watches: Watches,
    /// Which recording of flows it writes for.
    recording: Option<u64>,
    /// Who samples what its ports receive; mostly nobody.
    samplers: Vec<Box<Sampler>>,
    tap: Option<Box<Tap>>,
}

struct WorkerSinks<'a, B> {
    ports: &'a mut Vec<WorkerPort<B>>,
    peers: &'a mut Peers<B>,
    to_manager: &'a mut ToManager,
    watches: &'a mut Watches,
    now: Instant,
}

impl<B> WorkerSinks<'_, B> {
    /// Where frames wait that are to leave by an interface.
    fn out(&mut self, interface: InterfaceIndex) -> &mut Vec<B> {
        let position = interface.position();
        if self.ports.len() <= position {
            // Only when an interface is used for the first time.
            self.ports.resize_with(position + 1, WorkerPort::default);
        }
        &mut self.ports[position].out
    }
}

impl<B> Sinks<B> for WorkerSinks<'_, B> {
    fn transmit(&mut self, interface: InterfaceIndex, buffer: B) {
        self.out(interface).push(buffer);
    }
    fn transmit_all(&mut self, interface: InterfaceIndex, buffers: &mut Vec<B>) {
        self.out(interface).append(buffers);
    }
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool {
        self.to_manager.learned.push(neighbor).is_ok()
    }
    fn log(&mut self, entry: LogEntry) -> bool {
        self.to_manager.log.push(entry).is_ok()
    }
    fn observe(&mut self, step: Step, frame: &[u8]) {
        self.watches.see(&step, frame, self.now);
    }
    fn lost(&mut self, lost: Lost<'_>) {
        if self.watches.are_there() {
            self.watches.lost(&lost, self.now);
        }
    }
    fn hand_over(&mut self, worker: u16, frame: Received<B>) -> Result<(), Received<B>> {
        match self.peers.hand(worker, Handed::Packet(frame)) {
            Err(Handed::Packet(frame)) => Err(frame),
            _ => Ok(()),
        }
    }
}

impl<P: BufferPool> Worker<P> {
    pub(crate) fn new(
        (number, workers): (u16, u16),
        graph: Graph<P>,
        reader: Reader,
        clock: Arc<dyn Clock>,
        commands: rtrb::Consumer<Command<P::Buffer>>,
        to_manager: ToManager,
    ) -> Self {
        Worker {
            graph,
            reader,
            counters: Arc::default(),
            progress: Arc::default(),
            commands,
            to_manager,
            clock,
            ports: Vec::new(),
            peers: Peers::default(),
            kept: Vec::with_capacity(BURST),
            frames: Vec::with_capacity(BURST),
            received: Vec::with_capacity(BURST),
            first_port: 0,
            number,
            job: None,
            looked: None,
            watches: Watches::new(number, workers, 2 * BURST),
            recording: None,
            samplers: Vec::new(),
            tap: None,
        }
    }

    fn port(&mut self, interface: InterfaceIndex) -> &mut WorkerPort<P::Buffer> {
        let position = interface.position();
        if self.ports.len() <= position {
            self.ports.resize_with(position + 1, WorkerPort::default);
        }
        &mut self.ports[position]
    }

    /// The same with rings to other workers.
    pub(crate) fn among(mut self, peers: Peers<P::Buffer>) -> Self {
        self.peers = peers;
        self
    }

    /// Does what the manager asked for. Not for packets: it may allocate.
    fn obey(&mut self) {
        while self.job.is_none()
            && let Ok(command) = self.commands.pop()
        {
            match command {
                Command::AddPorts { own, others } => {
                    for (interface, queue) in own {
                        self.port(interface).queue = Some(queue);
                    }
                    for (interface, worker) in others {
                        self.port(interface).worker = Some(worker);
                    }
                }
                Command::Receive => {
                    for port in &mut self.ports {
                        port.receives = port.queue.is_some();
                    }
                }
                Command::ForgetPorts(interfaces) => {
                    for interface in interfaces {
                        self.port(interface).worker = None;
                    }
                }
                Command::Job(job) => self.job = Some(job),
                Command::Watch(watch) => {
                    self.watches.begin(*watch);
                    self.graph.set_observing(true);
                }
                Command::Unwatch(id) => {
                    self.watches.end(id);
                    self.graph.set_observing(self.watches.are_there());
                }
                Command::Sample(sampler) => self.samplers.push(sampler),
                Command::EndSampling(id) => self.samplers.retain(|sampler| sampler.id() != id),
                Command::Record(change) => {
                    let graph = &mut self.graph;
                    change.make(&mut self.recording, |recorders| graph.record(recorders));
                }
                Command::Tap(tap) => self.tap = Some(tap),
                Command::Untap(id) => {
                    self.tap.take_if(|tap| tap.id() == id);
                }
                Command::Restore(share) => {
                    let now = self.clock.now();
                    self.graph.restore(&share, now, &self.counters);
                }
                Command::RemovePorts { interfaces, back } => {
                    let ports = &mut self.ports;
                    let queue = |interface: InterfaceIndex| {
                        let port = ports.get_mut(interface.position())?;
                        port.receives = false;
                        port.queue.take()
                    };
                    // The channel has room for one, and nobody but us sends: this does not wait.
                    let _ = back.send(interfaces.into_iter().filter_map(queue).collect());
                }
            }
        }
    }

    /// One burst over all ports, under one generation; tells how many frames were received.
    pub(crate) fn poll(&mut self) -> usize {
        // Before the commands: see there.
        let handed = self.peers.look();
        self.obey();
        if self.job.is_some() {
            self.do_job();
        }
        self.receive();
        let number = self.received.len() + handed;
        if number == 0 && !self.graph.has_timers() {
            let now = self.clock.now();
            self.spend(now, false);
            return 0;
        }
        let now = self.clock.now();
        self.spend(now, number > 0);
        self.progress.enter();
        if let Some(tables) = self.reader.enter() {
            self.progress.entered(tables.generation());
            if self.peers.are_there() {
                deal_out(
                    self.graph.steering(),
                    &tables,
                    &self.counters,
                    &mut self.peers,
                    (&mut self.received, &mut self.kept),
                    (&mut self.watches, now),
                );
                take_over(&mut self.peers, &mut self.ports, &mut self.received);
            }
            for sampler in &mut self.samplers {
                sampler.look(&self.received);
            }
            if self.watches.are_there() {
                self.watches.mark(&mut self.received);
            }
            if let Some(tap) = &mut self.tap {
                tap.received(&self.received, now, tables.generation());
            }
            let mut sinks = WorkerSinks {
                ports: &mut self.ports,
                peers: &mut self.peers,
                to_manager: &mut self.to_manager,
                watches: &mut self.watches,
                now,
            };
            self.graph
                .run(&mut self.received, &tables, now, &self.counters, &mut sinks);
        }
        self.progress.leave();
        if !self.samplers.is_empty() {
            self.finish_samples();
        }
        if self.tap.is_some() {
            self.record_leaving();
        }
        self.transmit(now);
        number
    }

    /// Hands the samples of a burst over, once it is known where their packets go.
    #[cold]
    fn finish_samples(&mut self) {
        for sampler in self
            .samplers
            .iter_mut()
            .filter(|sampler| sampler.has_taken())
        {
            for (position, port) in self.ports.iter().enumerate() {
                sampler.leave(InterfaceIndex(position as u16), &port.out);
            }
            sampler.finish();
        }
    }

    /// Counts the time since it looked at the clock last, as what it went into.
    fn spend(&mut self, now: Instant, has_packets: bool) {
        if let Some((then, had_packets)) = self.looked.replace((now, has_packets)) {
            let time = match had_packets {
                true => &self.counters.busy_time,
                false => &self.counters.idle_time,
            };
            time.add(now.duration_since(then).as_nanos() as u64);
        }
    }

    /// Does a part of its job, and gives it back where that was the last one.
    fn do_job(&mut self) {
        let Some(mut job) = self.job.take() else {
            return;
        };
        let before = job.ended();
        let now = self.clock.now();
        let is_done = self
            .graph
            .do_job(&mut job, self.number, now, &self.counters);
        let ended = job.ended() - before;
        self.counters.connections_cleared.add(ended as u64);
        self.job = match is_done {
            false => Some(job),
            // Where the ring is full, the manager lags.
            true => match self.to_manager.jobs.push(job) {
                Ok(()) => None,
                Err(rtrb::PushError::Full(job)) => Some(job),
            },
        };
    }

    fn receive(&mut self) {
        let ports = self.ports.len();
        // Half of a burst is for what others hand over.
        let most = if self.peers.are_there() {
            BURST / 2
        } else {
            BURST
        };
        for turn in 0..ports {
            // Another port begins each time, so that a busy one does not starve the rest.
            let position = (self.first_port + turn) % ports;
            let room = most - self.received.len();
            if room < BURST_PER_PORT {
                break;
            }
            let port = &mut self.ports[position];
            if let Some(queue) = port.queue.as_mut().filter(|_| port.receives) {
                queue.receive(&mut self.frames, BURST_PER_PORT);
                let origin = Origin::Received(InterfaceIndex(position as u16));
                let frames = self.frames.drain(..);
                self.received
                    .extend(frames.map(|buffer| Received::new(buffer, origin)));
            }
        }
        self.first_port = if ports == 0 {
            0
        } else {
            (self.first_port + 1) % ports
        };
    }

    /// Frames that are about to leave by its own ports: those that it hands over are recorded there.
    #[cold]
    fn record_leaving(&mut self) {
        let Some(tap) = &mut self.tap else { return };
        let ports = self.ports.iter().enumerate();
        for (position, port) in ports.filter(|(_, port)| port.queue.is_some()) {
            for frame in &port.out {
                tap.leaves(InterfaceIndex(position as u16), frame.bytes());
            }
        }
    }

    /// Hands the frames that are about to leave to their ports.
    fn transmit(&mut self, now: Instant) {
        for (position, port) in self.ports.iter_mut().enumerate() {
            if port.out.is_empty() {
                continue;
            }
            let interface = self.counters.interface(InterfaceIndex(position as u16));
            if let (None, Some(worker)) = (&port.queue, port.worker) {
                for frame in port.out.drain(..) {
                    let interface = InterfaceIndex(position as u16);
                    let handed = Handed::Frame(interface, frame);
                    if let Err(Handed::Frame(_, frame)) = self.peers.hand(worker, handed) {
                        let reason = DropReason::HandOverFull;
                        self.counters.dropped(reason).add(1);
                        if self.watches.are_there() {
                            self.watches.left_behind(interface, &[frame], reason, now);
                        }
                    }
                }
                continue;
            }
            let (frames, bytes) = total(&port.out);
            let reason = match &mut port.queue {
                Some(queue) => {
                    queue.transmit(&mut port.out);
                    DropReason::TransmitQueueFull
                }
                None => DropReason::PortClosed,
            };
            let (refused, refused_bytes) = total(&port.out);
            self.counters.transmitted.add(frames - refused);
            interface.transmitted_packets.add(frames - refused);
            interface.transmitted_bytes.add(bytes - refused_bytes);
            self.counters.dropped(reason).add(refused);
            if refused > 0 && self.watches.are_there() {
                let interface = InterfaceIndex(position as u16);
                self.watches.left_behind(interface, &port.out, reason, now);
            }
            port.out.clear();
        }
    }

    /// Runs until the manager says stop, then drops what is held and gives all ports back to be closed. Its connections, to be
    /// saved, if that is wanted.
    pub(crate) fn run(mut self, saves: bool) -> Option<Vec<u8>> {
        let mut idle = Idle::default();
        while !self.progress.is_stopped() {
            if self.poll() == 0 && self.job.is_none() && !self.graph.is_resolving() {
                let has_ports =
                    |port: &WorkerPort<_>| port.queue.is_some() || port.worker.is_some();
                idle.wait(self.ports.iter().any(has_ports));
            } else {
                idle = Idle::default();
            }
        }
        let now = self.clock.now();
        let mut sinks = WorkerSinks {
            ports: &mut self.ports,
            peers: &mut self.peers,
            to_manager: &mut self.to_manager,
            watches: &mut self.watches,
            now,
        };
        self.graph.stop(&self.counters, &mut sinks);
        self.peers.look();
        while let Some(handed) = self.peers.take() {
            let reason = DropReason::Stopped;
            match handed {
                // What nobody has counted yet is nobody's.
                Handed::Packet(Received { hops: 0, .. }) => continue,
                Handed::Packet(packet) => {
                    let lost = Lost::of(&packet, Node::EgressNat, reason);
                    self.watches.lost(&lost, now);
                }
                Handed::Frame(interface, frame) => {
                    let frames = std::slice::from_ref(&frame);
                    self.watches.left_behind(interface, frames, reason, now);
                }
            }
            self.counters.dropped(reason).add(1);
        }
        saves.then(|| self.graph.save(self.clock.now()))
    }
}

/// Gives the other workers their packets, and keeps its own.
fn deal_out<B: PacketBuffer>(
    steering: Steering,
    tables: &Tables,
    counters: &WorkerCounters,
    peers: &mut Peers<B>,
    (received, kept): (&mut Vec<Received<B>>, &mut Vec<Received<B>>),
    (watches, now): (&mut Watches, Instant),
) {
    for frame in received.iter() {
        if let Some(first) = frame.buffer.bytes().first() {
            prefetch(first);
        }
    }
    for frame in received.drain(..) {
        let owner = match frame.origin {
            Origin::Received(from) => steering.of_frame(tables, from, frame.buffer.bytes()),
            Origin::Own(_) | Origin::OwnOnLink(_) => None,
        };
        let Some(worker) = owner.filter(|owner| !steering.is(*owner)) else {
            kept.push(frame);
            continue;
        };
        if let Err(Handed::Packet(frame)) = peers.hand(worker, Handed::Packet(frame)) {
            // It is counted where it is walked; this one is not.
            counters.received.add(1);
            counters.dropped(DropReason::HandOverFull).add(1);
            if let Origin::Received(from) = frame.origin {
                let interface = counters.interface(from);
                interface.received_packets.add(1);
                interface
                    .received_bytes
                    .add(frame.buffer.bytes().len() as u64);
                interface.drop_for(DropReason::HandOverFull);
                if watches.are_there() {
                    let lost = Lost {
                        mark: frame.mark,
                        node: Node::EthernetInput,
                        reason: DropReason::HandOverFull,
                        port: Some(AtPort {
                            interface: from,
                            leaves: false,
                        }),
                        frame: frame.buffer.bytes(),
                    };
                    watches.lost(&lost, now);
                }
            }
        }
    }
    std::mem::swap(received, kept);
}

/// Takes over what other workers handed over, as much as fits a burst.
fn take_over<B>(
    peers: &mut Peers<B>,
    ports: &mut Vec<WorkerPort<B>>,
    received: &mut Vec<Received<B>>,
) {
    let mut room = BURST;
    while room > 0 && received.len() < BURST {
        match peers.take() {
            Some(Handed::Packet(frame)) => received.push(frame),
            Some(Handed::Frame(interface, frame)) => {
                let position = interface.position();
                if ports.len() <= position {
                    // Only when an interface is used for the first time.
                    ports.resize_with(position + 1, WorkerPort::default);
                }
                ports[position].out.push(frame);
            }
            None => break,
        }
        room -= 1;
    }
}

fn total<B: PacketBuffer>(frames: &[B]) -> (u64, u64) {
    let bytes = frames.iter().map(|frame| frame.bytes().len() as u64).sum();
    (frames.len() as u64, bytes)
}

/// How a worker spends the time in which nothing comes: awake at first, then in short sleeps, so that an idle gateway
/// leaves the processor to others.
#[derive(Default)]
struct Idle {
    polls: u32,
}

impl Idle {
    fn wait(&mut self, has_ports: bool) {
        self.polls = self.polls.saturating_add(1);
        match self.polls {
            ..256 if has_ports => std::hint::spin_loop(),
            _ if has_ports => std::thread::sleep(Duration::from_micros(50)),
            // Nothing to poll: the manager wakes us when it has a command.
            _ => std::thread::park_timeout(Duration::from_millis(100)),
        }
    }
}
