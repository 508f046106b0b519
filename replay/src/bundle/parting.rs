//! How one frame parted from what was expected, and which frame of another replay parts alike.
//!
//! The frame has to be the same packet, and part in the same *field*. Where that is one that a translation chooses, its source's
//! address or port, its value does not matter: with fewer connections before it, another one is free. Nor does that of a checksum, or a
//! length. Any other field has to have the value that it had.

use std::ops::Range;
use std::sync::Arc;

use super::fields::{Fields, is_same_packet};

/// A frame that left otherwise than it should.
pub(super) struct Parting {
    /// By which interface.
    pub(super) interface: String,
    how: How,
}

enum How {
    /// Another one was expected.
    Other {
        found: Arc<[u8]>,
        expected: Arc<[u8]>,
        field: Field,
    },
    /// None was.
    Extra { found: Arc<[u8]> },
}

/// Where two frames part.
enum Field {
    /// In what a translation chooses, at these places; or, if there are none, in the length.
    Chosen(Fields, Vec<Range<usize>>),
    /// In checksums alone.
    Checksum(Fields),
    /// In something else, which has its bytes everywhere but in checksums.
    Other(Vec<Range<usize>>),
    /// They have nothing to do with each other.
    All,
}

impl Field {
    fn of(found: &[u8], expected: &[u8]) -> Field {
        let fields = Fields::of(found);
        let Some(fields) = fields.filter(|fields| Fields::of(expected).as_ref() == Some(fields))
        else {
            return Field::All;
        };
        let parts =
            |range: &&Range<usize>| found.get((*range).clone()) != expected.get((*range).clone());
        let chosen: Vec<_> = fields.chosen().filter(parts).cloned().collect();
        if !chosen.is_empty() || found.len() != expected.len() {
            return Field::Chosen(fields, chosen);
        }
        let is_checksum = |at: usize| fields.checksums().iter().any(|sum| sum.contains(&at));
        let mut bytes = found.iter().zip(expected).enumerate();
        match bytes.all(|(at, (was, due))| was == due || is_checksum(at)) {
            true => Field::Checksum(fields),
            false => Field::Other(fields.checksums().to_vec()),
        }
    }
}

impl Parting {
    /// A frame left by an interface, and another one was expected; or none.
    pub(super) fn new(interface: String, found: Arc<[u8]>, expected: Option<Arc<[u8]>>) -> Parting {
        let how = match expected {
            None => How::Extra { found },
            Some(expected) => How::Other {
                field: Field::of(&found, &expected),
                found,
                expected,
            },
        };
        Parting { interface, how }
    }

    /// Whether a frame parts alike.
    pub(super) fn is_like(&self, frame: &[u8]) -> bool {
        match &self.how {
            How::Extra { found } => is_same_packet(frame, found),
            How::Other {
                found,
                expected,
                field,
            } => match field {
                Field::Chosen(_, places) => {
                    let parts =
                        |at: &Range<usize>| frame.get(at.clone()) != expected.get(at.clone());
                    is_same_packet(frame, found) && places.iter().all(parts)
                }
                Field::Checksum(_) => is_same_packet(frame, found),
                Field::All => is_same_packet(frame, found) && *frame != **expected,
                Field::Other(but) => {
                    let is_left_out = |at: usize| but.iter().any(|range| range.contains(&at));
                    let parted = found.iter().zip(expected.iter());
                    let mut bytes = frame.iter().zip(parted).enumerate();
                    frame.len() == found.len()
                        && bytes.all(|(at, (is, (was, due)))| {
                            was == due || is == was || is_left_out(at)
                        })
                }
            },
        }
    }

    /// What is expected in place of a frame that parts alike.
    pub(super) fn expected_for(&self, frame: &[u8]) -> Option<Arc<[u8]>> {
        let How::Other {
            found,
            expected,
            field,
        } = &self.how
        else {
            return None;
        };
        if let Field::Chosen(fields, places) = field {
            let mut due = expected.to_vec();
            let mut source = frame.to_vec();
            for place in places {
                source[place.clone()].copy_from_slice(&expected[place.clone()]);
            }
            if fields.set_source(&mut due, &source).is_err() {
                // It is not as long as it says. Then a checksum is as right as the one that was found.
                for place in fields.chosen().chain(fields.checksums()) {
                    if found.get(place.clone()) == expected.get(place.clone()) {
                        due[place.clone()].copy_from_slice(&frame[place.clone()]);
                    }
                }
            }
            return Some(due.into());
        }
        if matches!(field, Field::All) || found.len() != expected.len() {
            return Some(Arc::clone(expected));
        }
        let checksums = match field {
            Field::Checksum(fields) => fields.checksums(),
            _ => &[],
        };
        let parted = found.iter().zip(expected.iter());
        let bytes = frame.iter().zip(parted).enumerate();
        let bytes = bytes.map(|(at, (is, (was, due)))| {
            match checksums.iter().any(|sum| sum.contains(&at)) {
                true => is ^ was ^ due,
                false if was == due => *is,
                false => *due,
            }
        });
        Some(bytes.collect())
    }
}
