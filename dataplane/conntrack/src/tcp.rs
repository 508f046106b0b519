//! The states of a TCP connection as one sees them from the middle (RFC 9293 section 3.3.2, RFC 5382 section 5, RFC 7857
//! section 2).
//!
//! The middle sees what was sent, not what arrived: a segment may be lost behind it. So it refuses only what neither end
//! could mean, and lets pass, with no change of state, what an end answers by itself: a SYN on an open connection gets a
//! challenge ACK from the peer (RFC 9293 section 3.10.7.4), and that is how half-open connections heal.

use std::fmt;

use rewire_packet::tcp::TcpFlags;

use crate::error::Invalid;
use crate::key::Direction;
use crate::segment::TcpSegment;

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

/// What became of the FIN of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fin {
    #[default]
    Unsent,
    /// Sent; its acknowledgment is this sequence number.
    Sent(u32),
    Acknowledged,
}

/// The FINs of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fins([Fin; 2]);

impl Fins {
    /// As [`write`](Self::write) has written them.
    #[inline]
    pub(crate) fn from_words(words: &[u32; 3]) -> Self {
        Fins(
            [0, 1].map(|direction| match words[2] >> (8 * direction) & 0xff {
                1 => Fin::Sent(words[direction]),
                2 => Fin::Acknowledged,
                _ => Fin::Unsent,
            }),
        )
    }

    /// Writes them into words of an account: a sequence number for each direction, and what became of it.
    #[inline]
    pub(crate) fn write(self, words: &mut [u32; 3]) {
        words[2] = 0;
        for (direction, fin) in self.0.into_iter().enumerate() {
            let (kind, end) = match fin {
                Fin::Unsent => (0, 0),
                Fin::Sent(end) => (1, end),
                Fin::Acknowledged => (2, 0),
            };
            words[direction] = end;
            words[2] |= kind << (8 * direction);
        }
    }

    /// Notes what a segment with ACK says of either direction's FIN.
    fn note(&mut self, direction: Direction, segment: &TcpSegment) {
        let peer = &mut self.0[direction.other() as usize];
        if let Fin::Sent(end) = *peer
            && segment.acknowledgment.wrapping_sub(end) as i32 >= 0
        {
            *peer = Fin::Acknowledged;
        }
        let own = &mut self.0[direction as usize];
        if segment.flags.contains(TcpFlags::FIN) && *own != Fin::Acknowledged {
            // The FIN itself counts as one byte, after the data (RFC 9293 section 3.4).
            let end = segment
                .sequence
                .wrapping_add(segment.payload_length)
                .wrapping_add(1);
            *own = Fin::Sent(end);
        }
    }

    /// The state of a connection whose handshake is done.
    fn state(&self) -> TcpState {
        match self.0 {
            [Fin::Unsent, Fin::Unsent] => TcpState::Established,
            [_, Fin::Unsent] => TcpState::FinWait,
            [Fin::Unsent, _] => TcpState::CloseWait,
            [Fin::Acknowledged, Fin::Acknowledged] => TcpState::TimeWait,
            _ => TcpState::LastAck,
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
pub(crate) fn begin(segment: &TcpSegment) -> (TcpState, Fins) {
    let mut fins = Fins::default();
    let state = match Event::of(segment) {
        Ok(Event::Syn) => TcpState::SynSent,
        Ok(Event::Ack | Event::SynAck) => {
            fins.note(Direction::Original, segment);
            TcpState::SynReceived {
                waiting_for: Direction::Reply,
            }
        }
        Ok(Event::Rst) | Err(_) => TcpState::Closed,
    };
    (state, fins)
}

/// The state after a segment. Where the segment is refused, nothing has changed.
pub(crate) fn step(
    state: TcpState,
    fins: &mut Fins,
    direction: Direction,
    segment: &TcpSegment,
) -> Result<TcpState, Invalid> {
    use Direction::{Original, Reply};
    use TcpState::*;

    match (state, Event::of(segment)?) {
        (TimeWait, Event::Rst) => Ok(TimeWait),
        (_, Event::Rst) => Ok(Closed),

        (SynSent, Event::Syn) if direction == Reply => Ok(SynSent2),
        (SynSent | SynSent2, Event::Syn) => Ok(state),
        (SynSent, Event::SynAck) if direction == Original => Err(Invalid::TcpSynAckFromOpener),
        // In a simultaneous open, either end's SYN-ACK may come first.
        (SynSent | SynSent2, Event::SynAck) => Ok(SynReceived {
            waiting_for: direction.other(),
        }),
        // The peer holds an older connection for alive, and says so: the opener will reset it (RFC 9293 section 3.5.1).
        (SynSent, Event::Ack) if direction == Reply && !segment.flags.contains(TcpFlags::FIN) => {
            Ok(SynSent)
        }
        (SynSent | SynSent2, Event::Ack) => Err(Invalid::TcpNotSynchronized),

        (SynReceived { .. }, Event::Syn) => Ok(state),
        // The second SYN-ACK of a simultaneous open completes the handshake like an ACK.
        (SynReceived { waiting_for }, Event::SynAck | Event::Ack) => {
            fins.note(direction, segment);
            Ok(if direction == waiting_for {
                fins.state()
            } else {
                state
            })
        }

        (Established | FinWait | CloseWait, Event::Syn | Event::SynAck) => Ok(state),
        (Established | FinWait | CloseWait | LastAck, Event::Ack) => {
            fins.note(direction, segment);
            Ok(fins.state())
        }

        (LastAck | TimeWait | Closed, Event::Syn) if direction == Original => {
            *fins = Fins::default();
            Ok(SynSent)
        }
        (LastAck | TimeWait | Closed, Event::Syn) => Err(Invalid::TcpSynFromResponder),
        (LastAck | TimeWait | Closed, Event::SynAck) if direction == Original => {
            Err(Invalid::TcpSynAckFromOpener)
        }
        (LastAck | TimeWait | Closed, Event::SynAck) | (TimeWait | Closed, Event::Ack) => Ok(state),
    }
}

#[cfg(test)]
mod tests;
