use proptest::prelude::*;

use super::*;
use Direction::{Original, Reply};

/// The windows in numbers that do not wrap, and what segments do to them in the words of the definition.
#[derive(Clone, Copy, Debug)]
struct Slow {
    end: [i64; 2],
    limit: [i64; 2],
    shift: [u32; 2],
    sent: [bool; 2],
    acknowledged: [bool; 2],
}

#[derive(Clone, Copy, Debug)]
struct SlowSegment {
    from: usize,
    sequence: i64,
    acknowledgment: i64,
    length: i64,
    window: u16,
    fin: bool,
}

impl Slow {
    fn place(&self, segment: &SlowSegment) -> Place {
        let (own, peer) = (segment.from, 1 - segment.from);
        let end = segment.sequence + segment.length + i64::from(segment.fin);
        let widest = |told_by: usize| 65_536 << self.shift[told_by];
        let unsent = segment.acknowledgment > self.end[peer].max(self.limit[peer]);
        let is_old = end < self.end[own] - widest(peer)
            || segment.acknowledgment < self.end[peer] - 2 * widest(own);
        match () {
            () if segment.sequence > self.limit[own] + 1 => Place::Beyond,
            () if unsent => Place::Unsent,
            () if is_old => Place::Old,
            () => Place::Inside,
        }
    }

    fn note(&mut self, segment: &SlowSegment) {
        let (own, peer) = (segment.from, 1 - segment.from);
        let end = segment.sequence + segment.length + i64::from(segment.fin);
        self.end[own] = self.end[own].max(end);
        self.end[peer] = self.end[peer].max(segment.acknowledgment);
        let window = i64::from(segment.window) << self.shift[own];
        self.limit[peer] = self.limit[peer].max(segment.acknowledgment + window);
        self.acknowledged[peer] |= self.sent[peer] && segment.acknowledgment >= self.end[peer];
        self.sent[own] |= segment.fin;
    }

    fn fins(&self) -> Fins {
        let bits = [
            self.sent[0],
            self.sent[1],
            self.acknowledged[0],
            self.acknowledged[1],
        ];
        Fins(
            (0..)
                .zip(bits)
                .fold(0, |fins, (bit, on)| fins | u8::from(on) << bit),
        )
    }
}

/// A distance that is often at an edge of something.
fn distance() -> impl Strategy<Value = i64> {
    prop_oneof![
        -3..=3_i64,
        -70_000..70_000_i64,
        (0..30_u32, -2..=2_i64).prop_map(|(bits, near)| (1 << bits) + near),
        (0..30_u32, -2..=2_i64).prop_map(|(bits, near)| -(1 << bits) + near),
        -(1 << 30)..1_i64 << 30,
    ]
}

fn segment() -> impl Strategy<Value = (usize, i64, i64, i64, u16, bool)> {
    let length = prop_oneof![Just(0), Just(1), 0..1500_i64, 0..65_000_i64];
    let window = prop_oneof![Just(0), Just(u16::MAX), any::<u16>()];
    let fin = prop::bool::weighted(0.1);
    (0..2_usize, distance(), distance(), length, window, fin)
}

proptest! {
    /// Against numbers that do not wrap, from anywhere on the circle, with segments at all edges of the windows.
    #[test]
    fn like_numbers_that_do_not_wrap(
        bases: [u32; 2],
        shifts in [0..=14_u8, 0..=14_u8],
        ahead in [0..1_i64 << 30, 0..1_i64 << 30],
        segments in prop::collection::vec(segment(), 1..40),
    ) {
        let number = |direction: usize, number: i64| bases[direction].wrapping_add(number as u32);
        let mut slow = Slow {
            end: [0; 2],
            limit: ahead,
            shift: shifts.map(u32::from),
            sent: [false; 2],
            acknowledged: [false; 2],
        };
        let mut memory = Memory {
            windows: [0, 1].map(|direction| Window {
                end: number(direction, 0),
                limit: number(direction, ahead[direction]),
            }),
            ..Memory::default()
        };
        memory.scales.note(Original, Some(shifts[0]));
        memory.scales.note(Reply, Some(shifts[1]));
        for (from, sequence, acknowledgment, length, window, fin) in segments {
            // Around what was sent, or around the end of the window.
            let edge = |edges: [i64; 2], distance: i64| edges[(distance & 1) as usize] + distance;
            let peer = 1 - from;
            let segment = SlowSegment {
                from,
                sequence: edge([slow.end[from], slow.limit[from]], sequence),
                acknowledgment: edge([slow.end[peer], slow.limit[peer]], acknowledgment),
                length,
                window,
                fin,
            };
            let direction = [Original, Reply][from];
            let real = TcpSegment {
                flags: TcpFlags::ACK | if fin { TcpFlags::FIN } else { TcpFlags::NONE },
                sequence: number(from, segment.sequence),
                acknowledgment: number(peer, segment.acknowledgment),
                window,
                window_scale: None,
                payload_length: length as u32,
            };
            let place = memory.place(direction, &real);
            prop_assert_eq!(place, slow.place(&segment), "{:?} {:?}", slow, segment);
            if place == Place::Inside {
                memory.note(direction, &real);
                slow.note(&segment);
            }
            for direction in [0, 1] {
                prop_assert_eq!(memory.windows[direction], Window {
                    end: number(direction, slow.end[direction]),
                    limit: number(direction, slow.limit[direction]),
                });
            }
            prop_assert_eq!(memory.fins, slow.fins());
        }
    }

    #[test]
    fn scales_of_both_or_none(first: Option<u8>, again: Option<u8>, answer: Option<u8>) {
        let mut scales = Scales::default();
        scales.note(Original, first);
        scales.note(Original, again);
        scales.note(Reply, answer);
        scales.agree();
        let expected = match (first.max(again), answer) {
            (Some(original), Some(reply)) => [original.min(14), reply.min(14)],
            _ => [0, 0],
        };
        prop_assert_eq!([Original, Reply].map(|direction| scales.shift(direction)), expected);
    }
}

#[test]
fn what_is_not_known_is_the_largest() {
    assert_eq!(Scales::default().shift(Original), 14);
    assert_eq!(Scales::default().shift(Reply), 14);
}
