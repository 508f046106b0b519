//! The states of a TCP connection as one sees them from the middle (RFC 9293 section 3.3.2, RFC 5382 section 5, RFC 7857
//! section 2).
//!
//! The middle sees what was sent, not what arrived: a segment may be lost behind it. So it refuses only what neither end
//! could mean, and lets pass, with no effect, what an end answers by itself: a SYN on an open connection gets a challenge ACK
//! from the peer (RFC 9293 section 3.10.7.4), and that is how half-open connections heal; so does a segment that is too old.
//! Numbers decide what has an effect: what is outside of the windows neither changes the state nor prolongs the connection.

use std::fmt;

use rewire_packet::tcp::TcpFlags;

use crate::error::Invalid;
use crate::key::Direction::{self, Original, Reply};
use crate::segment::TcpSegment;
use TcpState::*;
use sequence::Place;

pub(crate) use fins::Fins;
pub(crate) use sequence::{Memory, Scales, Window};

mod fins;
mod sequence;

/// The state of a TCP connection, named as the end that opened it would name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpState {
    /// A SYN was sent.
    SynSent,
    /// Both ends have sent a SYN and neither an ACK: simultaneous open (RFC 9293 section 3.5, figure 7).
    SynSent2,
    /// The handshake lacks one end's ACK. A connection that is picked up begins here, and lacks the responder's.
    SynReceived {
        /// Whose packets would carry it.
        waiting_for: Direction,
    },
    /// The handshake is done.
    Established,
    /// The opener has sent its FIN, the responder may still send data: half-closed.
    FinWait,
    /// The responder has sent its FIN, the opener may still send data: half-closed.
    CloseWait,
    /// Both FINs were sent, and not both acknowledged.
    LastAck,
    /// Both FINs were sent and acknowledged.
    TimeWait,
    /// A RST was sent. Packets still pass, and each keeps the flow for as long again: the RST may have been forged, or
    /// not have arrived (RFC 7857 section 2.2).
    Closed,
}

impl TcpState {
    /// The state in words.
    pub fn name(self) -> &'static str {
        match self {
            TcpState::SynSent => "syn_sent",
            TcpState::SynSent2 => "syn_sent2",
            TcpState::SynReceived { .. } => "syn_received",
            TcpState::Established => "established",
            TcpState::FinWait => "fin_wait",
            TcpState::CloseWait => "close_wait",
            TcpState::LastAck => "last_ack",
            TcpState::TimeWait => "time_wait",
            TcpState::Closed => "closed",
        }
    }
}

impl fmt::Display for TcpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a segment does to its connection. Whichever it is, the segment passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect<S> {
    /// Nothing: it is old, or made up, or to be answered by its end. The connection lives no longer for it.
    None,
    /// The connection is in this state, and lives for as long as that allows, from now on.
    To(S),
    /// Perhaps it was reset. The state stays, but without other packets the connection lives no longer than a reset one.
    Doubt,
}

impl<S> Effect<S> {
    pub(crate) fn map<T>(self, state: impl FnOnce(S) -> T) -> Effect<T> {
        match self {
            Effect::None => Effect::None,
            Effect::To(to) => Effect::To(state(to)),
            Effect::Doubt => Effect::Doubt,
        }
    }
}

/// What a segment is, by its control bits. [`Event::Ack`] is what all segments of a synchronized connection are, with or
/// without data or FIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Syn,
    SynAck,
    Ack,
    Rst,
}

impl Event {
    fn of(segment: &TcpSegment) -> Result<Self, Invalid> {
        let flags = segment.flags;
        let [syn, ack, fin, rst] = [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::FIN, TcpFlags::RST]
            .map(|flag| flags.contains(flag));
        match (syn, rst, fin, ack) {
            (true, false, false, false) => Ok(Event::Syn),
            (true, false, false, true) => Ok(Event::SynAck),
            (false, true, false, _) => Ok(Event::Rst),
            (false, false, _, true) => Ok(Event::Ack),
            _ => Err(Invalid::TcpFlags),
        }
    }
}

/// Whether a segment may begin a connection. With `pickup`, one in the middle may, too.
pub(crate) fn admits_new(segment: &TcpSegment, pickup: bool) -> Result<(), Invalid> {
    match Event::of(segment)? {
        Event::Syn => Ok(()),
        Event::Ack if pickup => Ok(()),
        Event::Ack | Event::SynAck | Event::Rst => Err(Invalid::TcpNotABeginning),
    }
}

/// The state that a connection begins in, with a segment that was admitted.
pub(crate) fn begin(segment: &TcpSegment) -> (TcpState, Memory) {
    match Event::of(segment) {
        Ok(Event::Syn) => (SynSent, Memory::opened(segment)),
        Ok(Event::Ack | Event::SynAck) => {
            let state = SynReceived {
                waiting_for: Direction::Reply,
            };
            (state, Memory::picked_up(segment))
        }
        Ok(Event::Rst) | Err(_) => (Closed, Memory::default()),
    }
}

/// What a segment does. Where it is refused, nothing has changed.
#[inline]
pub(crate) fn step(
    state: TcpState,
    memory: &mut Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Result<Effect<TcpState>, Invalid> {
    match Event::of(segment)? {
        Event::Ack => acknowledged(state, memory, direction, segment),
        Event::Syn => synchronize(state, memory, direction, segment),
        Event::SynAck => synchronize_and_acknowledge(state, memory, direction, segment),
        Event::Rst => Ok(reset(state, memory, direction, segment)),
    }
}

#[inline]
fn acknowledged(
    state: TcpState,
    memory: &mut Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Result<Effect<TcpState>, Invalid> {
    match state {
        Established | FinWait | CloseWait | LastAck | TimeWait => {
            if memory.is_bypassed {
                memory.rejoin(direction, segment);
            }
            match memory.place(direction, segment) {
                Place::Inside => {
                    memory.note(direction, segment);
                    Ok(Effect::To(memory.fins.state()))
                }
                Place::Old => Ok(Effect::None),
                Place::Beyond => Err(Invalid::TcpBeyondWindow),
                Place::Unsent => Err(Invalid::TcpUnsentAcknowledged),
            }
        }
        SynReceived { waiting_for } => Ok(complete(waiting_for, memory, direction, segment)),
        // The RST may have been made up, or not have arrived: the ends may be anywhere.
        Closed => Ok(match memory.place(direction, segment) {
            Place::Inside => {
                memory.note(direction, segment);
                Effect::To(Closed)
            }
            _ => Effect::None,
        }),
        // The peer holds an older connection for alive, and says so: the opener will reset it (RFC 9293 section 3.5.1).
        SynSent if direction == Reply && !segment.flags.contains(TcpFlags::FIN) => Ok(Effect::None),
        SynSent | SynSent2 => Err(Invalid::TcpNotSynchronized),
    }
}

/// A segment with ACK while the handshake is not done. Nothing is refused for its numbers: which of several SYNs the ends
/// mean is not settled yet.
fn complete(
    waiting_for: Direction,
    memory: &mut Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Effect<TcpState> {
    let other = direction.other();
    let completes = direction == waiting_for;
    let fits = if memory.is_picked_up() {
        memory.place(direction, segment) == Place::Inside
    } else if completes {
        // No forged ACK makes a connection that lives for hours of a flood's SYN: it has to know the SYN-ACK's number.
        memory.place_of_data(direction, segment) == Place::Inside
            && memory.answers(other, segment.acknowledgment)
    } else {
        memory.is_early_data(direction, segment)
    };
    if !fits {
        return Effect::None;
    }
    if completes && !memory.is_picked_up() {
        memory.confirm(other, segment.acknowledgment);
    }
    memory.note(direction, segment);
    Effect::To(match completes {
        true => memory.fins.state(),
        false => SynReceived { waiting_for },
    })
}

fn synchronize(
    state: TcpState,
    memory: &mut Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Result<Effect<TcpState>, Invalid> {
    match (state, direction) {
        (SynSent, Reply) => {
            memory.open(Reply, segment);
            Ok(Effect::To(SynSent2))
        }
        (SynSent | SynSent2, _) => {
            memory.reopen(direction, segment);
            Ok(Effect::To(state))
        }
        // A late duplicate, or made up, or the opener has forgotten the connection, and opens it anew. The peer knows: it
        // answers with an ACK if it has not forgotten, too (RFC 9293 section 3.10.7.4), and otherwise with a SYN-ACK.
        (SynReceived { .. } | Established | FinWait | CloseWait, _) => {
            memory.is_asked_anew |= direction == Original;
            Ok(Effect::None)
        }
        (LastAck | TimeWait | Closed, Original) => {
            *memory = Memory::opened(segment);
            Ok(Effect::To(SynSent))
        }
        (LastAck | TimeWait | Closed, Reply) => Err(Invalid::TcpSynFromResponder),
    }
}

fn synchronize_and_acknowledge(
    state: TcpState,
    memory: &mut Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Result<Effect<TcpState>, Invalid> {
    let other = direction.other();
    let acknowledgment = segment.acknowledgment;
    match state {
        SynSent | LastAck | TimeWait | Closed if direction == Original => {
            Err(Invalid::TcpSynAckFromOpener)
        }
        SynSent | SynSent2 => {
            // One that answers another SYN will be reset (RFC 9293 section 3.5.1).
            if !memory.answers(other, acknowledgment) {
                return Ok(Effect::None);
            }
            match state {
                SynSent => memory.open(direction, segment),
                // In a simultaneous open, either end's SYN-ACK may come first.
                _ => memory.reopen(direction, segment),
            }
            memory.accept(direction, segment);
            Ok(Effect::To(SynReceived { waiting_for: other }))
        }
        // The second SYN-ACK of a simultaneous open completes the handshake like an ACK.
        SynReceived { waiting_for } if direction == waiting_for => {
            Ok(complete(waiting_for, memory, direction, segment))
        }
        // Again, and perhaps with another number: servers under a flood keep none (RFC 4987 section 3.6).
        SynReceived { .. }
            if !memory.is_picked_up()
                && memory.place_of_acknowledgment(direction, acknowledgment) == Place::Inside =>
        {
            memory.reopen(direction, segment);
            Ok(Effect::To(state))
        }
        SynReceived { .. } | Established | FinWait | CloseWait
            if direction == Reply
                && memory.is_asked_anew
                && memory.place(direction, segment) != Place::Inside =>
        {
            *memory = Memory::resynchronized(segment);
            Ok(Effect::To(SynReceived {
                waiting_for: Original,
            }))
        }
        SynReceived { .. } | Established | FinWait | CloseWait => Ok(Effect::None),
        LastAck | TimeWait | Closed => Ok(Effect::None),
    }
}

/// A RST. What is exactly at the end of the data that was seen closes: that is what an end takes for meant (RFC 5961 section
/// 3.2), if nothing was lost on the way. What is elsewhere in the window leaves it open: an end that has lost data may take
/// it, and one that has not answers, and with that prolongs the connection again. All others are no end's business. Where
/// segments have passed unseen, any may be meant.
fn reset(
    state: TcpState,
    memory: &Memory,
    direction: Direction,
    segment: &TcpSegment,
) -> Effect<TcpState> {
    let other = direction.other();
    let [end, sent] = [direction, other].map(|of| memory.windows[of as usize].end);
    let (sequence, acknowledgment) = (segment.sequence, segment.acknowledgment);
    let acknowledges = segment.flags.contains(TcpFlags::ACK);
    let answers_syn = acknowledges && memory.answers(other, acknowledgment);
    let closes = match (state, direction) {
        (TimeWait, _) => return Effect::None,
        // Of the responder nothing was seen yet: neither what its RST could be held to, nor what could be acknowledged.
        (SynSent, Reply) => answers_syn,
        (SynSent, Original) => memory.answers(Original, sequence),
        (SynSent2, _) => answers_syn || memory.answers(direction, sequence),
        // The SYN-ACK and the refusal of a later SYN may cross.
        (SynReceived { .. }, _) => sequence == end || acknowledges && acknowledgment == sent,
        _ => sequence == end,
    };
    // What is behind is behind by chance, where segments have passed unseen.
    if closes && !memory.is_bypassed {
        return Effect::To(Closed);
    }
    match state {
        SynSent | SynSent2 => Effect::None,
        _ if memory.is_bypassed => Effect::Doubt,
        _ if memory.place_of_data(direction, segment) == Place::Inside => Effect::Doubt,
        _ => Effect::None,
    }
}

#[cfg(test)]
mod tests;
