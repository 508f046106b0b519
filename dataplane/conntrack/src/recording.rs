//! What is told of connections, as they begin, go on and end, to whoever exports flows.
//!
//! A [`Recorder`] belongs to one [`Connections`](crate::Connections), and writes into a bounded ring. It never waits: an end
//! that finds no room is counted as lost; what was seen of a connection that goes on is told later.
//!
//! Of each connection it remembers what it has told already, in memory that whoever makes it has reserved: 48 bytes a place for a
//! connection, first touched where a connection comes to lie there.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rewire_tables::{Address, InterfaceIndex, VpcIndex};
use rtrb::{Consumer, Producer, RingBuffer};

pub use crate::flow::Traffic;
use crate::key::FlowKey;
use crate::state::State;
use crate::time::Instant;

/// Why a report was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReportReason {
    /// The connection goes on; it was time to say what it has done.
    Interval,
    /// It is over by what its ends have said: both FINs were acknowledged, or a RST was seen (TCP).
    Finished,
    /// No packet came for as long as it may live without.
    Idle,
    /// Something ended it: the policy, somebody by hand, or a new connection in its place.
    Forced,
    /// It made way where there was no room.
    Evicted,
}

/// What was seen of a connection since it was reported last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowReport {
    /// Why it is reported.
    pub reason: ReportReason,
    /// When the connection began; or when it was reported last, or the recorder began, if that was later.
    pub since: Instant,
    /// When its last packet came, as far as its time-out says so.
    pub last: Instant,
    /// What was seen since, by direction. Bytes from the IP header on, where the caller counts so.
    pub traffic: [Traffic; 2],
}

/// What is told of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowStep {
    /// It begins. Told of those alone that are translated.
    Begins {
        /// Whether a mapping begins with it.
        mapping: bool,
    },
    /// It goes on, or is over but not gone.
    Report(FlowReport),
    /// It is gone, and so is its translation.
    Ends {
        /// What is left to be reported; nothing, where it was reported as finished, and nothing came since.
        report: Option<FlowReport>,
        /// Whether its mapping ends with it.
        mapping: bool,
    },
}

/// One direction's ends, as its packets arrive. Ports in host order; of ICMP queries both are the identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordedEnds {
    /// The VPC that they arrive in.
    pub vpc: VpcIndex,
    /// Their source.
    pub source: (IpAddr, u16),
    /// Their destination.
    pub destination: (IpAddr, u16),
}

impl RecordedEnds {
    fn of<A: Address>(key: &FlowKey<A>) -> Self {
        // What is IPv4 on the far side of a NAT64 is told so.
        let shown = |address: A| Into::<IpAddr>::into(address).to_canonical();
        RecordedEnds {
            vpc: key.vpc,
            source: (shown(key.source), key.source_port),
            destination: (shown(key.destination), key.destination_port),
        }
    }
}

/// One connection at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// What is told.
    pub step: FlowStep,
    /// The IP protocol number; 58 for ICMP that NAT64 translates.
    pub protocol: u8,
    /// The original direction.
    pub original: RecordedEnds,
    /// The reply direction. What is not the original, turned round, is translated.
    pub reply: RecordedEnds,
    /// The interface that its first packet came in by.
    pub ingress: InterfaceIndex,
    /// The interface that its first packet left by; none where it began before the recorder did.
    pub egress: Option<InterfaceIndex>,
    /// Of ICMP, the type of the first packet times 256 plus its code; 0 of others.
    pub icmp: u16,
    /// Its state.
    pub state: State,
    /// Control bits of TCP that were seen, as far as the state knows them; 0 of others.
    pub tcp_flags: u8,
    /// Whether its source has a mapping (or its destination, where it has joined one).
    pub is_mapped: bool,
    /// Whether it began outside, at a mapping that it has joined.
    pub is_joined: bool,
}

impl FlowRecord {
    /// Whether its addresses or ports are translated.
    pub fn is_translated(&self) -> bool {
        (self.original.source, self.original.destination)
            != (self.reply.destination, self.reply.source)
    }
}

/// What kept a connection from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shortage {
    /// No external port is left.
    Ports,
    /// As many connections as there is room for are there.
    Table,
    /// Its VPC has as many as it may have.
    Vpc,
    /// Its source has as many as it may have.
    Source,
}

/// How many kinds of [`Shortage`] there are.
const SHORTAGES: usize = 4;
/// How often each kind is told, at most.
const SHORTAGE_EVERY: Duration = Duration::from_secs(1);

/// A connection that could not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedFlow {
    /// What there was not enough of.
    pub shortage: Shortage,
    /// The IP protocol number.
    pub protocol: u8,
    /// Its first packet's ends.
    pub original: RecordedEnds,
    /// The first of the external addresses that have no port left, where that is the reason.
    pub external: Option<IpAddr>,
}

/// What a recorder tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowEvent {
    /// Of a connection.
    Flow(FlowRecord),
    /// Of one that could not begin. Each kind of shortage is told once a second at most.
    Refused(RefusedFlow),
}

/// An event, and when it was, on the clock of whoever calls [`Connections`](crate::Connections).
pub type TimedEvent = (Instant, FlowEvent);

/// What recorders share with whoever reads.
#[derive(Debug)]
pub struct RecorderControl {
    interval: AtomicU64,
    lost: AtomicU64,
}

impl RecorderControl {
    /// Of recorders that report connections which go on so often. None more often than every second or so.
    pub fn new(interval: Duration) -> Arc<Self> {
        let control = RecorderControl {
            interval: AtomicU64::default(),
            lost: AtomicU64::default(),
        };
        control.set_interval(interval);
        Arc::new(control)
    }

    /// Changes how often connections that go on are reported.
    pub fn set_interval(&self, interval: Duration) {
        let nanoseconds = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        self.interval.store(nanoseconds, Ordering::Relaxed);
    }

    fn interval(&self) -> u64 {
        self.interval.load(Ordering::Relaxed)
    }

    /// How many events found no room.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// What was told of the connection in a slot.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Which of the slot's connections it was told of; no connection's where it is even.
    pub(crate) reuse: u32,
    /// The interface it left by, plus 1; 0 where that is not known.
    egress: u16,
    /// Whether it was told to be over.
    pub(crate) is_over: bool,
    /// Why it will end, where that is decided.
    pub(crate) end: Option<ReportReason>,
    since: Instant,
    traffic: [Traffic; 2],
}

impl Told {
    /// Of one that begins.
    pub(crate) fn beginning(reuse: u32, egress: InterfaceIndex, now: Instant) -> Self {
        Told {
            reuse,
            egress: egress.0.saturating_add(1),
            since: now,
            ..Told::default()
        }
    }

    /// Of one that is older than the recorder: what it has done so far was another's to tell.
    pub(crate) fn older(reuse: u32, traffic: [Traffic; 2], now: Instant) -> Self {
        Told {
            reuse,
            since: now,
            traffic,
            ..Told::default()
        }
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn egress(&self) -> Option<InterfaceIndex> {
        self.egress.checked_sub(1).map(InterfaceIndex)
    }

    /// What was not told yet.
    pub(crate) fn left(&self, traffic: [Traffic; 2]) -> [Traffic; 2] {
        let left = |direction: usize| Traffic {
            packets: traffic[direction]
                .packets
                .wrapping_sub(self.traffic[direction].packets),
            bytes: traffic[direction]
                .bytes
                .wrapping_sub(self.traffic[direction].bytes),
        };
        [left(0), left(1)]
    }

    /// All of that was told now.
    pub(crate) fn tell(&mut self, traffic: [Traffic; 2], now: Instant) {
        self.traffic = traffic;
        self.since = now;
    }
}

/// The writing end, for the connections of one address family of one worker.
#[derive(Debug)]
pub struct Recorder {
    events: Producer<TimedEvent>,
    control: Arc<RecorderControl>,
    /// By slot, as far as slots were used.
    told: Vec<Told>,
    /// The first slot that the round has not seen, and when the round began.
    pub(crate) position: u32,
    pub(crate) round_began: Instant,
    /// Until when each kind of shortage is not told again.
    silent_until: [Instant; SHORTAGES],
}

impl Recorder {
    /// One with memory for so many connections, and room for so many events that nobody has read.
    pub fn new(
        capacity: usize,
        events: usize,
        control: &Arc<RecorderControl>,
    ) -> (Self, Consumer<TimedEvent>) {
        let (producer, consumer) = RingBuffer::new(events.max(1));
        let recorder = Recorder {
            events: producer,
            control: Arc::clone(control),
            told: Vec::with_capacity(capacity),
            position: 0,
            round_began: Instant(0),
            silent_until: [Instant(0); SHORTAGES],
        };
        (recorder, consumer)
    }

    /// What was told of the connections in a slot: the entry is there afterwards. Slots are within what was reserved.
    #[inline]
    pub(crate) fn told_mut(&mut self, slot: u32) -> &mut Told {
        let slot = slot as usize;
        if self.told.len() <= slot {
            // Slots are used for the first time in their order; there is room.
            self.told.resize(slot + 1, Told::default());
        }
        &mut self.told[slot]
    }

    /// When a connection that was told of at that moment is due again.
    pub(crate) fn is_due(&self, since: Instant, now: Instant) -> bool {
        now.0.saturating_sub(since.0) >= self.control.interval()
    }

    /// Whether there was room.
    pub(crate) fn offer(&mut self, now: Instant, event: FlowEvent) -> bool {
        self.events.push((now, event)).is_ok()
    }

    /// The same for what cannot be told later.
    pub(crate) fn push(&mut self, now: Instant, event: FlowEvent) {
        if !self.offer(now, event) {
            self.control.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refuse<A: Address>(
        &mut self,
        shortage: Shortage,
        key: &FlowKey<A>,
        external: Option<A>,
        now: Instant,
    ) {
        let silent_until = &mut self.silent_until[shortage as usize];
        if now < *silent_until {
            return;
        }
        *silent_until = now.saturating_add(SHORTAGE_EVERY);
        let refused = RefusedFlow {
            shortage,
            protocol: key.protocol,
            original: RecordedEnds::of(key),
            external: external.map(|address| address.into().to_canonical()),
        };
        self.push(now, FlowEvent::Refused(refused));
    }
}

/// The ends of a connection in both directions.
pub(crate) fn ends_of<A: Address>(original: &FlowKey<A>, reply: &FlowKey<A>) -> [RecordedEnds; 2] {
    [RecordedEnds::of(original), RecordedEnds::of(reply)]
}
