//! Virtual reassembly: every fragment learns what its datagram's first one begins with, so that it can be treated as a part of
//! the same connection, without putting anything together.
//!
//! Fragments that come before the first one wait for it, in bounded number and time, and go on behind it. Of a datagram
//! whose fragments overlap, nothing more goes on (RFC 5722; RFC 1858, RFC 3128 for what is done with such), and a fragment that comes
//! twice goes on once. So whoever puts the datagram together sees each byte as the filters saw it. Why so: decision 0032.
//!
//! *Uses* header, transport, VPC. *Sets* the transport of later fragments. *Next*: `ingress_nat`.

mod bytes_seen;
mod datagrams;
mod waiting;

use rewire_packet::{Fragment, Transport};

use self::datagrams::{DatagramKey, Datagrams, Head, Standing};
use self::waiting::Waiting;
use super::Node;
use super::burst::{Burst, Next, layer3};
use super::context::{Context, Received, Sinks, lose_frame};
use super::family::Family;
use super::packet::{Fate, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) use self::datagrams::{DatagramId, Part};

/// Frames that wait no longer and go on with one burst, at most.
const RELEASED_PER_BURST: usize = 64;
/// Datagrams that are forgotten in one burst because their time is up, at most.
const EXPIRED_PER_BURST: usize = 64;

/// What one worker knows of the fragments of one family.
pub(super) struct VirtualReassembly<B, A> {
    datagrams: Datagrams<A>,
    waiting: Waiting<B>,
    /// Packets of this burst whose first fragment has not come. Kept, so that no burst allocates.
    early: Vec<u16>,
}

impl<B: PacketBuffer, A: Family> VirtualReassembly<B, A> {
    /// With bursts of so many packets at most, and room for so many datagrams.
    pub(super) fn new(burst: usize, datagrams: usize, hash_seed: u64) -> Self {
        let datagrams = Datagrams::new(datagrams, hash_seed);
        VirtualReassembly {
            waiting: Waiting::new(datagrams.capacity()),
            datagrams,
            early: Vec::with_capacity(2 * burst),
        }
    }

    /// The number of fragments that are held.
    pub(super) fn held(&self) -> usize {
        self.waiting.held()
    }

    /// Whether fragments that waited go on with the next burst.
    pub(super) fn has_released(&self) -> bool {
        self.waiting.has_released()
    }

    /// Whether nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.waiting.held() == 0
    }

    /// Lets fragments walk whose first one has come, and gives those up that have waited too long.
    pub(super) fn release(
        &mut self,
        cx: &Context<'_>,
        out: &mut Vec<Received<B>>,
        sinks: &mut dyn Sinks<B>,
    ) {
        for _ in 0..EXPIRED_PER_BURST {
            let Some(id) = self.datagrams.expire(cx.now) else {
                break;
            };
            give_up(cx, &mut self.waiting, id, sinks);
        }
        let room = RELEASED_PER_BURST.saturating_sub(out.len());
        self.waiting.go_on(room, out);
    }

    /// Frees what is held, and tells of it.
    pub(super) fn stop(&mut self, lose: &mut dyn FnMut(&Received<B>)) {
        let waiting = Waiting::new(self.datagrams.capacity());
        std::mem::replace(&mut self.waiting, waiting)
            .into_frames()
            .for_each(|frame| lose(&frame));
    }

    /// Keeps a fragment that was told to wait.
    pub(super) fn hold(
        &mut self,
        cx: &Context<'_>,
        id: DatagramId,
        frame: Received<B>,
        sinks: &mut dyn Sinks<B>,
    ) {
        let node = Node::VirtualReassembly;
        if !self.datagrams.is_awaited(id) {
            return lose_frame(cx, node, &frame, DropReason::FragmentFirstMissing, sinks);
        }
        if let Err(frame) = self.waiting.keep(id, frame) {
            lose_frame(cx, node, &frame, DropReason::FragmentQueueFull, sinks);
        }
    }

    /// Takes a packet in that is a fragment.
    fn admit(
        &mut self,
        cx: &Context<'_>,
        packet: &mut Packet<B, A>,
        sinks: &mut dyn Sinks<B>,
    ) -> Result<Option<DatagramId>, DropReason> {
        let (key, part) = place(packet).ok_or(DropReason::FragmentMalformed)?;
        let head = head(packet)?;
        let waiting = &mut self.waiting;
        let forgotten = |id| give_up(cx, waiting, id, sinks);
        let standing = self.datagrams.admit(key, part, head, cx.now, forgotten);
        let head = match standing {
            Ok(Standing::Waits(id)) => return Ok(Some(id)),
            Ok(Standing::GoesOn(head)) => head,
            // Another worker has found out that its home is here, where it has been before. Where it came first, it was looked
            // at as any fragment is. So it was where it has waited for its neighbor.
            Err(DropReason::FragmentDuplicate) if packet.hops > 0 || packet.has_waited => self
                .datagrams
                .head(&key)
                .ok_or(DropReason::FragmentDuplicate)?,
            Err(reason) => return Err(reason),
        };
        packet.header.protocol = head.protocol;
        packet.transport = head.transport;
        if packet.header.fragment == Fragment::First
            && let Some(id) = self.datagrams.get(&key)
        {
            self.waiting.release(id);
        }
        Ok(None)
    }
}

/// Drops the fragments that waited for the first one of a datagram.
fn give_up<B: PacketBuffer>(
    cx: &Context<'_>,
    waiting: &mut Waiting<B>,
    id: DatagramId,
    sinks: &mut dyn Sinks<B>,
) {
    while let Some(frame) = waiting.take(id) {
        let reason = DropReason::FragmentFirstMissing;
        lose_frame(cx, Node::VirtualReassembly, &frame, reason, sinks);
    }
}

/// The datagram of a fragment, and its place there.
fn place<B: PacketBuffer, A: Family>(packet: &Packet<B, A>) -> Option<(DatagramKey<A>, Part)> {
    let header = &packet.header;
    let (part, identification) = A::part(layer3(&packet.buffer), header)?;
    let key = DatagramKey {
        vpc: packet.vpc,
        source: header.source,
        destination: header.destination,
        protocol: if A::PROTOCOL_NAMES_DATAGRAM {
            header.protocol.0
        } else {
            0
        },
        identification,
    };
    Some((key, part))
}

/// What a datagram begins with, by its first fragment.
///
/// # Errors
/// The first fragment lacks a part of the header: filters would not see it (RFC 1858, RFC 7112).
fn head<B: PacketBuffer, A: Family>(packet: &Packet<B, A>) -> Result<Option<Head>, DropReason> {
    if packet.header.fragment == Fragment::Later {
        return Ok(None);
    }
    let available = packet.header.upper_layer(layer3(&packet.buffer)).len();
    match packet.transport {
        Transport::Tcp { header_len, .. } if available < header_len => {
            Err(DropReason::TransportMalformed)
        }
        transport => Ok(Some(Head {
            protocol: packet.header.protocol,
            transport,
        })),
    }
}

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    state: &mut VirtualReassembly<B, A>,
    sinks: &mut dyn Sinks<B>,
) {
    let inbox = burst.take_inbox(Node::VirtualReassembly, cx.counters);
    let mut early = std::mem::take(&mut state.early);
    for &index in &inbox {
        match state.admit(cx, &mut burst.packets[usize::from(index)], sinks) {
            Ok(None) => burst.dispatch(index, Next::To(Node::IngressNat)),
            Ok(Some(_)) => early.push(index),
            Err(reason) => burst.dispatch(index, Next::Drop(reason)),
        }
    }
    // The first one may have come behind them, in this burst.
    for index in early.drain(..) {
        let packet = &mut burst.packets[usize::from(index)];
        let next = match state.admit(cx, packet, sinks) {
            Ok(None) => Next::To(Node::IngressNat),
            Ok(Some(id)) => {
                packet.fate = Fate::Await(id);
                Next::Done
            }
            Err(reason) => Next::Drop(reason),
        };
        burst.dispatch(index, next);
    }
    state.early = early;
    burst.return_inbox(inbox, cx.counters);
}
