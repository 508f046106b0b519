//! Which bytes of each datagram have gone on, exactly: two bits for each 8 bytes.

use super::datagrams::Part;

/// Units of 8 bytes of the largest datagram, rounded up to whole words.
const UNITS: usize = 8192;
const WORDS: usize = UNITS / 64;
const UNIT: usize = 8;
/// The end of a datagram whose last fragment has not come.
const UNKNOWN: u32 = u32::MAX;

/// What marking a fragment has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Its bytes had not gone on.
    New,
    /// Nor had they, and they were the last that were missing.
    Complete,
    /// A fragment of just these bytes has gone on.
    Duplicate,
    /// Some of its bytes have gone on in another fragment, or lie behind the datagram's end.
    Overlap,
}

/// The bytes of so many datagrams. 2 KiB each, which are touched as they are used.
#[derive(Debug)]
pub(super) struct BytesSeen {
    /// A bit for each unit that has gone on.
    seen: Vec<u64>,
    /// A bit for each unit that a fragment begins with.
    begins: Vec<u64>,
    datagrams: Vec<Extent>,
}

/// How far a datagram reaches.
#[derive(Clone, Copy, Debug)]
struct Extent {
    /// Its length in bytes, once the last fragment has come.
    end: u32,
    /// The end of what was seen.
    furthest: u32,
    /// Bytes that have gone on.
    bytes: u32,
}

const NOTHING: Extent = Extent {
    end: UNKNOWN,
    furthest: 0,
    bytes: 0,
};

impl BytesSeen {
    pub(super) fn new(datagrams: usize) -> Self {
        BytesSeen {
            seen: vec![0; datagrams * WORDS],
            begins: vec![0; datagrams * WORDS],
            datagrams: vec![NOTHING; datagrams],
        }
    }

    /// Forgets a datagram's.
    pub(super) fn clear(&mut self, datagram: u16) {
        let words = words(datagram);
        self.seen[words.clone()].fill(0);
        self.begins[words].fill(0);
        self.datagrams[usize::from(datagram)] = NOTHING;
    }

    /// Marks the bytes of a fragment, if none of them is marked. `part` is well formed.
    pub(super) fn mark(&mut self, datagram: u16, part: Part) -> Mark {
        let extent = &mut self.datagrams[usize::from(datagram)];
        let seen = &mut self.seen[words(datagram)];
        let begins = &mut self.begins[words(datagram)];
        let end = (part.offset + part.length) as u32;
        let units = part.offset / UNIT..(part.offset + part.length).div_ceil(UNIT);
        let bit = |words: &[u64], unit: usize| words[unit / 64] >> (unit % 64) & 1 != 0;
        if units.clone().any(|unit| bit(seen, unit)) {
            // A fragment that begins at the same unit and ends at the same one is the same fragment, if it is not the last one
            // with another length.
            let reaches_end =
                extent.end != UNKNOWN && end.next_multiple_of(UNIT as u32) >= extent.end;
            let length_is_same = part.more != reaches_end && (part.more || end == extent.end);
            let ends_there = units.end == UNITS || !bit(seen, units.end) || bit(begins, units.end);
            let same = bit(begins, units.start)
                && units.clone().all(|unit| bit(seen, unit))
                && !units.clone().skip(1).any(|unit| bit(begins, unit))
                && ends_there
                && length_is_same;
            return if same { Mark::Duplicate } else { Mark::Overlap };
        }
        // Behind the end, or an end before what has come.
        if end > extent.end || !part.more && (extent.end != UNKNOWN || end < extent.furthest) {
            return Mark::Overlap;
        }
        begins[units.start / 64] |= 1 << (units.start % 64);
        for unit in units {
            seen[unit / 64] |= 1 << (unit % 64);
        }
        extent.furthest = extent.furthest.max(end);
        extent.bytes += part.length as u32;
        if !part.more {
            extent.end = end;
        }
        if extent.bytes == extent.end {
            Mark::Complete
        } else {
            Mark::New
        }
    }
}

fn words(datagram: u16) -> std::ops::Range<usize> {
    let first = usize::from(datagram) * WORDS;
    first..first + WORDS
}
