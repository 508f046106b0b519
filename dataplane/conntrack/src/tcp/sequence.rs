//! What is remembered of the sequence numbers of a TCP connection, and how a segment lies to it.
//!
//! The bounds are those of G. van Rooij, "Real Stateful TCP Packet Filtering in IP Filter", 2001. The middle sees what was
//! sent, not what has arrived, so each bound is the widest that an end could hold. Numbers are compared modulo 2^32 (RFC
//! 9293 section 3.4): no two that are compared are 2^31 or more apart, unless one of them was made up.

use rewire_packet::tcp::TcpFlags;

use crate::key::Direction;
use crate::segment::TcpSegment;
use crate::tcp::fins::Fins;

/// The largest shift of a window (RFC 7323 section 2.3).
const MOST_SCALE: u8 = 14;
/// A window is below this, before it is shifted.
const WINDOW_BITS: u8 = 16;
/// The largest window that there is.
const WIDEST: u32 = 1 << (WINDOW_BITS + MOST_SCALE);
/// How far apart the two numbers of an opening are, if they are of one SYN with data.
const MOST_DATA_OF_SYN: u32 = 0xffff;

/// How far a number is ahead of another; negative where it is behind.
#[inline]
fn ahead(number: u32, of: u32) -> i32 {
    number.wrapping_sub(of) as i32
}

#[inline]
fn later(number: u32, other: u32) -> u32 {
    if ahead(number, other) < 0 {
        other
    } else {
        number
    }
}

/// The number behind a segment: a SYN and a FIN count as one byte each.
#[inline]
fn end_of(segment: &TcpSegment) -> u32 {
    let counted = |flag| u32::from(segment.flags.contains(flag));
    segment
        .sequence
        .wrapping_add(segment.payload_length)
        .wrapping_add(counted(TcpFlags::SYN) + counted(TcpFlags::FIN))
}

/// The numbers of one direction.
///
/// Until the other end has answered its SYN, a direction is *opening*: `limit` is the number behind its first SYN, `end` the
/// one behind its last, and the data of that. Either may be the one that is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    /// The highest number behind what was sent; or behind what was acknowledged, if that is higher.
    pub(crate) end: u32,
    /// The highest number that the other end has allowed to send up to.
    pub(crate) limit: u32,
}

impl Window {
    /// Of what is seen in its middle: all that the largest windows allow.
    fn picked_up(end: u32) -> Self {
        Window {
            end,
            limit: end.wrapping_add(WIDEST),
        }
    }
}

/// What is remembered of a TCP connection besides its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// By the direction that sends.
    pub(crate) windows: [Window; 2],
    pub(crate) scales: Scales,
    pub(crate) fins: Fins,
    /// Whether the opener has sent a SYN since the handshake.
    pub(crate) is_asked_anew: bool,
    /// Whether segments pass, or have passed, that are not seen here, because a card forwards them: the numbers may be
    /// behind by any amount.
    pub(crate) is_bypassed: bool,
}

/// How either end shifts the windows that it tells: four bits each, one more than the shift; zero where none was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scales(pub(crate) u8);

impl Scales {
    #[inline]
    fn told(self, direction: Direction) -> u8 {
        self.0 >> (4 * direction as u8) & 0xf
    }

    /// The shift; where it is not known, the largest.
    #[inline]
    fn shift(self, direction: Direction) -> u8 {
        self.told(direction).wrapping_sub(1).min(MOST_SCALE)
    }

    /// Notes the option of a SYN. Of several SYNs, the widest counts.
    fn note(&mut self, direction: Direction, option: Option<u8>) {
        let told = option.map_or(0, |shift| shift.min(MOST_SCALE) + 1);
        let widest = told.max(self.told(direction));
        self.0 = self.0 & !(0xf << (4 * direction as u8)) | widest << (4 * direction as u8);
    }

    /// Both have sent their SYNs: windows are shifted if both have told how (RFC 7323 section 2.2).
    fn agree(&mut self) {
        if self.0 & 0x0f == 0 || self.0 & 0xf0 == 0 {
            self.0 = 0x11;
        }
    }
}

/// How a segment lies to the windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The other end may take it.
    Inside,
    /// It is older than what the other end may take: a late duplicate, or made up.
    Old,
    /// It begins behind what the other end has allowed.
    Beyond,
    /// It acknowledges what its sender had not allowed to send.
    Unsent,
}

impl Memory {
    /// Of a connection that begins with this SYN.
    pub(crate) fn opened(segment: &TcpSegment) -> Self {
        let mut memory = Memory::default();
        memory.open(Direction::Original, segment);
        memory
    }

    /// Of a connection that is first seen in its middle: all that the largest windows allow.
    pub(crate) fn picked_up(segment: &TcpSegment) -> Self {
        let mut memory = Memory {
            windows: [end_of(segment), segment.acknowledgment].map(Window::picked_up),
            ..Memory::default()
        };
        memory.note(Direction::Original, segment);
        memory
    }

    /// Whether no handshake was seen.
    pub(crate) fn is_picked_up(&self) -> bool {
        self.scales.0 == 0
    }

    /// The largest window that an end can tell.
    #[inline]
    fn widest(&self, told_by: Direction) -> i32 {
        1 << (WINDOW_BITS + self.scales.shift(told_by))
    }

    /// Notes the first SYN, or SYN-ACK, of a direction.
    pub(crate) fn open(&mut self, direction: Direction, segment: &TcpSegment) {
        self.windows[direction as usize] = Window {
            end: end_of(segment),
            limit: segment.sequence.wrapping_add(1),
        };
        self.scales.note(direction, segment.window_scale);
    }

    /// Notes another SYN, or SYN-ACK, of a direction that is opening.
    pub(crate) fn reopen(&mut self, direction: Direction, segment: &TcpSegment) {
        let window = &mut self.windows[direction as usize];
        let end = end_of(segment);
        window.end = match segment.sequence.wrapping_add(1) == window.limit {
            true => later(window.end, end),
            false => end,
        };
        self.scales.note(direction, segment.window_scale);
    }

    /// Whether a number is behind a SYN of a direction that is opening, or within that one's data.
    pub(crate) fn answers(&self, direction: Direction, number: u32) -> bool {
        let Window { end, limit } = self.windows[direction as usize];
        let (span, offset) = (end.wrapping_sub(limit), number.wrapping_sub(limit));
        offset == 0 || offset == span || (span <= MOST_DATA_OF_SYN && offset <= span)
    }

    /// Ends the opening of a direction: the other end has answered, with a number that [`answers`](Self::answers).
    pub(crate) fn confirm(&mut self, direction: Direction, number: u32) {
        let window = &mut self.windows[direction as usize];
        if window.end.wrapping_sub(window.limit) > MOST_DATA_OF_SYN {
            window.end = number;
        }
        window.limit = window.end;
    }

    /// Takes the SYN-ACK of a direction, which answers a SYN of the other.
    pub(crate) fn accept(&mut self, direction: Direction, segment: &TcpSegment) {
        self.confirm(direction.other(), segment.acknowledgment);
        self.scales.agree();
        self.allow(direction, segment);
    }

    /// Begins anew with a SYN-ACK from the responder, whose SYN was let pass: what that had for a scale, nobody knows.
    pub(crate) fn resynchronized(segment: &TcpSegment) -> Self {
        let mut memory = Memory::default();
        let number = segment.acknowledgment;
        memory.windows[Direction::Original as usize] = Window {
            end: number,
            limit: number,
        };
        memory.open(Direction::Reply, segment);
        memory.scales.note(Direction::Original, Some(MOST_SCALE));
        memory.scales.agree();
        memory.allow(Direction::Reply, segment);
        memory
    }

    /// Takes a segment with ACK at its word, where others may have passed unseen. What is behind a FIN is not moved: no data
    /// follows it.
    pub(crate) fn rejoin(&mut self, direction: Direction, segment: &TcpSegment) {
        let ends = [end_of(segment), segment.acknowledgment];
        for (of, end) in [direction, direction.other()].into_iter().zip(ends) {
            if !self.fins.is_sent(of) {
                self.windows[of as usize] = Window::picked_up(end);
            }
        }
    }

    /// How a segment lies to the windows of both directions.
    #[inline]
    pub(crate) fn place(&self, direction: Direction, segment: &TcpSegment) -> Place {
        match self.place_of_data(direction, segment) {
            Place::Beyond => Place::Beyond,
            place => match self.place_of_acknowledgment(direction, segment.acknowledgment) {
                Place::Inside => place,
                other => other,
            },
        }
    }

    /// How what a segment carries lies to the window of its direction. One byte behind the window is in, and so is what comes
    /// next: a sender asks with it whether a closed window is open again (RFC 9293 section 3.8.6.1).
    #[inline]
    pub(crate) fn place_of_data(&self, direction: Direction, segment: &TcpSegment) -> Place {
        let Window { end, limit } = self.windows[direction as usize];
        if ahead(segment.sequence, end) > ahead(limit, end).saturating_add(1) {
            Place::Beyond
        } else if ahead(end_of(segment), end) < -self.widest(direction.other()) {
            Place::Old
        } else {
            Place::Inside
        }
    }

    /// How an acknowledgment lies to what the other end has sent, or was allowed to: that one's fragments are not seen as
    /// segments, so not all that it has sent is known. It takes one that is a window older than all that it still waits for
    /// (RFC 5961 section 5.2), and that is a window at most.
    #[inline]
    pub(crate) fn place_of_acknowledgment(&self, direction: Direction, number: u32) -> Place {
        let Window { end, limit } = self.windows[direction.other() as usize];
        let ahead_of_end = ahead(number, end);
        if ahead_of_end > ahead(limit, end).max(0) {
            Place::Unsent
        } else if ahead_of_end < -2 * self.widest(direction) {
            Place::Old
        } else {
            Place::Inside
        }
    }

    /// Whether data may follow the SYN-ACK of a direction that is opening: a server that has taken data with the SYN need not
    /// wait for the handshake's end (RFC 7413 section 4.2.2).
    pub(crate) fn is_early_data(&self, direction: Direction, segment: &TcpSegment) -> bool {
        let ahead = segment
            .sequence
            .wrapping_sub(self.windows[direction as usize].end);
        // From one window before the end of what was sent to one window behind it: a SYN's is never scaled.
        let is_near = ahead.wrapping_add(1 << WINDOW_BITS) <= 2 << WINDOW_BITS;
        is_near && self.place_of_acknowledgment(direction, segment.acknowledgment) == Place::Inside
    }

    /// Notes a segment with ACK that is inside.
    #[inline]
    pub(crate) fn note(&mut self, direction: Direction, segment: &TcpSegment) {
        let own = &mut self.windows[direction as usize];
        let end = end_of(segment);
        own.end = later(own.end, end);
        self.allow(direction, segment);
        let other = direction.other();
        let sent = self.windows[other as usize].end;
        if self.fins.is_sent(other) && ahead(segment.acknowledgment, sent) >= 0 {
            self.fins.acknowledge(other);
        }
        if segment.flags.contains(TcpFlags::FIN) {
            self.fins.send(direction);
        }
    }

    /// Notes what a segment with ACK allows the other end to send.
    #[inline]
    fn allow(&mut self, direction: Direction, segment: &TcpSegment) {
        let shift = match segment.flags.contains(TcpFlags::SYN) {
            true => 0,
            false => self.scales.shift(direction),
        };
        let window = u32::from(segment.window) << shift;
        let limit = segment.acknowledgment.wrapping_add(window);
        let peer = &mut self.windows[direction.other() as usize];
        peer.end = later(peer.end, segment.acknowledgment);
        peer.limit = later(peer.limit, limit);
    }
}

#[cfg(test)]
mod tests;
