//! Two honest ends, and links on both sides of the gateway that lose, repeat, reorder and hold back: whatever the ends send
//! passes, and has the effect that lets the connection open, live and close.

use proptest::prelude::*;

use super::*;

/// A segment in numbers that do not wrap, counted from the SYN of its sender.
#[derive(Clone, Copy, Debug)]
struct Sent {
    flags: TcpFlags,
    sequence: i64,
    acknowledgment: i64,
    length: i64,
    window: u16,
    scale: Option<u8>,
}

impl Sent {
    fn end(&self) -> i64 {
        let counted = TcpFlags(self.flags.0 & (TcpFlags::SYN | TcpFlags::FIN).0);
        self.sequence + self.length + i64::from(counted.0.count_ones())
    }
}

/// An end of a connection: enough of RFC 9293 to send what ends send.
#[derive(Debug)]
struct End {
    opener: bool,
    /// The shift that its SYN tells, and what it shifts by once both have told.
    scale: Option<u8>,
    shift: u32,
    /// Room for data that was received and not read.
    room: i64,
    unread: i64,
    /// All that it will send, without SYN and FIN.
    total: i64,
    unacknowledged: i64,
    next: i64,
    /// What it was allowed to send up to.
    limit: i64,
    /// The next number that it expects; -1 before the peer's SYN.
    expected: i64,
    /// What it has from behind that.
    ahead: Vec<(i64, i64)>,
    peer_shift: u32,
    has_peers_fin: bool,
    peers_fin: Option<i64>,
    is_open: bool,
}

impl End {
    fn new(opener: bool, scale: Option<u8>, room: i64, total: i64) -> Self {
        End {
            opener,
            scale,
            shift: 0,
            room,
            unread: 0,
            total,
            unacknowledged: 0,
            next: i64::from(opener),
            limit: 0,
            expected: -1,
            ahead: Vec::new(),
            peer_shift: 0,
            has_peers_fin: false,
            peers_fin: None,
            is_open: false,
        }
    }

    fn free(&self) -> i64 {
        (self.room - self.unread).max(0)
    }

    fn segment(&self, flags: TcpFlags, sequence: i64, length: i64) -> Sent {
        let shift = match flags.contains(TcpFlags::SYN) {
            true => 0,
            false => self.shift,
        };
        Sent {
            flags,
            sequence,
            acknowledgment: self.expected.max(0),
            length,
            window: (self.free() >> shift).min(0xffff) as u16,
            scale: self.scale,
        }
    }

    /// Something that it may send now.
    fn send(&mut self, choice: u16) -> Option<Sent> {
        const ACK: TcpFlags = TcpFlags::ACK;
        if !self.is_open {
            return match (self.opener, self.expected) {
                (true, _) => Some(self.segment(TcpFlags::SYN, 0, 0)),
                (false, -1) => None,
                (false, _) => {
                    self.next = self.next.max(1);
                    Some(self.segment(TcpFlags::SYN | ACK, 0, 0))
                }
            };
        }
        let length = i64::from(choice >> 3);
        // Behind the data is the FIN.
        let last = 1 + self.total;
        match choice & 7 {
            // A bare ACK.
            0 => Some(self.segment(ACK, self.next, 0)),
            // A keep-alive.
            1 => Some(self.segment(ACK, self.unacknowledged - 1, i64::from(choice >> 3 & 1))),
            // Again, from what was not acknowledged; or the FIN, again.
            2 | 3 if self.unacknowledged < self.next => {
                let data = (self.next.min(last) - self.unacknowledged).min(length + 1);
                let ends = self.next > last && self.unacknowledged + data == last;
                let flags = if ends { ACK | TcpFlags::FIN } else { ACK };
                Some(self.segment(flags, self.unacknowledged, data))
            }
            // New data, within the window; where that is closed and all before was acknowledged, one byte that asks.
            _ => {
                let is_closed = self.next == self.limit && self.unacknowledged == self.limit;
                let allowed = (self.limit - self.next).max(i64::from(is_closed));
                let data = (last - self.next).min(allowed).min(length + 1);
                let sequence = self.next;
                if self.next > last || allowed == 0 {
                    return Some(self.segment(ACK, self.next, 0));
                }
                self.next += data;
                if self.next == last && self.limit > last {
                    self.next += 1;
                    return Some(self.segment(ACK | TcpFlags::FIN, sequence, data));
                }
                Some(self.segment(ACK, sequence, data))
            }
        }
    }

    /// Takes a segment; whether it answers with an ACK.
    fn receive(&mut self, segment: &Sent) -> bool {
        if segment.flags.contains(TcpFlags::SYN) {
            self.expected = self.expected.max(1);
            if segment.flags.contains(TcpFlags::ACK) == self.opener && !self.is_open {
                let both = self.scale.zip(segment.scale);
                (self.shift, self.peer_shift) =
                    both.map_or((0, 0), |(own, peer)| (own.into(), peer.into()));
                self.limit = i64::from(segment.window) + i64::from(self.opener);
                if self.opener {
                    self.is_open = true;
                    self.unacknowledged = 1;
                }
            }
            return true;
        }
        if self.expected < 0 {
            return false;
        }
        let (start, end) = (segment.sequence, segment.end());
        let window_end = self.expected + self.free();
        if end < self.expected || start > window_end || segment.acknowledgment > self.next {
            return true;
        }
        if !self.is_open && segment.acknowledgment < 1 {
            return false;
        }
        self.unacknowledged = self.unacknowledged.max(segment.acknowledgment);
        let limit = segment.acknowledgment + (i64::from(segment.window) << self.peer_shift);
        // The first window after the handshake counts, not the one that the SYN told.
        self.limit = match self.is_open {
            true => self.limit.max(limit),
            false => limit,
        };
        self.is_open = true;
        if segment.flags.contains(TcpFlags::FIN) {
            self.peers_fin = Some(end);
        }
        let fin = i64::from(segment.flags.contains(TcpFlags::FIN));
        self.ahead.push((start, (end - fin).min(window_end)));
        let before = self.expected;
        while let Some(at) = (self.ahead.iter())
            .position(|(start, end)| *start <= self.expected && *end > self.expected)
        {
            self.expected = self.ahead.swap_remove(at).1;
        }
        let expected = self.expected;
        self.ahead.retain(|(_, end)| *end > expected);
        self.unread += self.expected - before;
        if self.peers_fin == Some(self.expected + 1) && !self.has_peers_fin {
            self.expected += 1;
            self.has_peers_fin = true;
        }
        segment.length > 0 || end != start
    }

    /// Whether all that it has sent was acknowledged, and all that was sent to it has come.
    fn is_done(&self) -> bool {
        self.unacknowledged == self.total + 2 && self.has_peers_fin
    }
}

/// The gateway between two ends. By direction: what is on its way to the gateway, and from there on.
struct Run {
    ends: [End; 2],
    bases: [u32; 2],
    towards: [Vec<Sent>; 2],
    beyond: [Vec<Sent>; 2],
    connection: Option<(TcpState, Memory)>,
    /// Which end the gateway takes for the one that opened it.
    opener: usize,
    /// So many segments pass before the gateway begins to look.
    unseen: usize,
    is_late: bool,
}

impl Run {
    fn send(&mut self, from: usize, choice: u16) {
        self.towards[from].extend(self.ends[from].send(choice));
    }

    /// The gateway sees a segment.
    fn pass(&mut self, from: usize, sent: Sent) {
        let number =
            |direction: usize, number: i64| self.bases[direction].wrapping_add(number as u32);
        let segment = TcpSegment {
            flags: sent.flags,
            sequence: number(from, sent.sequence),
            acknowledgment: number(1 - from, sent.acknowledgment),
            window: sent.window,
            window_scale: sent.scale,
            payload_length: sent.length as u32,
        };
        let Some((state, memory)) = &mut self.connection else {
            // What is seen first is what came first, or any segment with ACK; not a SYN that is late.
            let is_late = self.is_late && sent.flags.contains(TcpFlags::SYN);
            if self.unseen == 0 && !is_late && admits_new(&segment, true).is_ok() {
                self.opener = from;
                self.connection = Some(begin(&segment));
            }
            self.unseen = self.unseen.saturating_sub(1);
            self.beyond[from].push(sent);
            return;
        };
        let direction = if from == self.opener { Original } else { Reply };
        match step(*state, memory, direction, &segment) {
            Ok(Effect::To(next)) => *state = next,
            Ok(_) => {}
            // Where the middle was taken for the beginning, who opened it is a guess: a late SYN may be lost.
            Err(_) if self.is_late && sent.flags.contains(TcpFlags::SYN) => return,
            Err(error) => panic!("{error}: {state} {memory:?} {sent:?} {:?}", self.ends),
        }
        self.beyond[from].push(sent);
    }

    fn arrive(&mut self, from: usize, sent: Sent) {
        if self.ends[1 - from].receive(&sent) {
            self.send(1 - from, 0);
        }
    }

    /// What a link does with what is on it.
    fn link(&mut self, kind: u16, which: u16, from: usize) {
        let is_beyond = kind & 1 == 1;
        let link = match is_beyond {
            true => &mut self.beyond[from],
            false => &mut self.towards[from],
        };
        let Some(at) = usize::from(which).checked_rem(link.len()) else {
            return;
        };
        let sent = match kind >> 1 & 7 {
            // Lost.
            0 => {
                link.remove(at);
                return;
            }
            // Repeated, and held back.
            1 => link[at],
            // In order.
            2..=5 => link.remove(0),
            // Out of order.
            _ => link.remove(at),
        };
        match is_beyond {
            true => self.arrive(from, sent),
            false => self.pass(from, sent),
        }
    }

    /// Nothing is lost any more, and all is sent to its end.
    fn finish(&mut self) {
        for round in 0..20_000_u32 {
            if self.ends.iter().all(End::is_done) {
                return;
            }
            for from in [0, 1] {
                self.ends[from].unread = 0;
                let choice = if round % 2 == 0 { 0xfffa } else { 0xfffc };
                self.send(from, choice);
                for sent in std::mem::take(&mut self.towards[from]) {
                    self.pass(from, sent);
                }
                for sent in std::mem::take(&mut self.beyond[from]) {
                    self.arrive(from, sent);
                }
            }
        }
        panic!("hangs: {:?} {:?}", self.connection, self.ends);
    }
}

fn end(opener: bool) -> impl Strategy<Value = End> {
    let scale = prop::option::weighted(0.8, 0..=14_u8);
    (scale, 0..=1000_u32, 0..200_000_i64).prop_map(move |(scale, share, total)| {
        // Not less than what the scale can tell.
        let unit = 1_i64 << scale.unwrap_or(0);
        let room = (0xffff * unit * i64::from(share) / 1000).clamp(1000.max(unit), 4_000_000);
        End::new(opener, scale, room, total)
    })
}

proptest! {
    #[test]
    fn honest_ends_pass(
        opener in end(true),
        responder in end(false),
        bases in (any::<u32>(), (0..100_000_u32).prop_map(u32::wrapping_neg)),
        choices in prop::collection::vec((any::<u16>(), any::<u16>()), 0..800),
        // From the first segment on, or from somewhere in the middle.
        unseen in prop_oneof![Just(0), 0..60_usize],
    ) {
        let mut run = Run {
            ends: [opener, responder],
            bases: [bases.0, bases.1],
            towards: Default::default(),
            beyond: Default::default(),
            connection: None,
            opener: 0,
            unseen,
            is_late: unseen > 0,
        };
        for (kind, choice) in choices {
            let from = usize::from(kind & 1);
            match kind >> 1 & 7 {
                0 | 1 => run.send(from, choice),
                // The application reads.
                2 => run.ends[from].unread /= 2,
                _ => run.link(kind >> 4, choice, from),
            }
        }
        run.finish();
        let state = run.connection.map(|(state, _)| state);
        if unseen == 0 {
            prop_assert_eq!(state, Some(TimeWait));
        }
    }
}
