//! The options that IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) headers end with:
//! both are coded alike, a kind, then for most a length and data.

use std::iter::FusedIterator;

use thiserror::Error;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;

/// One option: its kind and its data, without kind and length bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderOption<'a> {
    /// The kind; meaning depends on the header.
    pub kind: u8,
    /// What follows the length byte.
    pub data: &'a [u8],
}

/// An option that says a length that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("option {kind} says {length:?} bytes, {available} are left")]
pub struct OptionError {
    /// The kind.
    pub kind: u8,
    /// What it says, kind and length bytes included; none when the header ends before it.
    pub length: Option<u8>,
    /// Bytes from the kind byte to the end of the header.
    pub available: usize,
}

/// The options of a header, in order. No-operations are left out; the walk ends at the end-of-list
/// option, at the end of the header, or after the first option that is malformed.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    rest: &'a [u8],
}

impl<'a> Options<'a> {
    /// The options in the bytes between the fixed header and the payload.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<HeaderOption<'a>, OptionError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let option = std::mem::take(&mut self.rest);
            match option {
                [] | [END, ..] => return None,
                [NO_OPERATION, rest @ ..] => self.rest = rest,
                [kind, after @ ..] => {
                    let length = after.first().copied();
                    let split = length.and_then(|length| option.split_at_checked(length.into()));
                    return Some(match split {
                        Some(([kind, _, data @ ..], rest)) => {
                            self.rest = rest;
                            Ok(HeaderOption { kind: *kind, data })
                        }
                        _ => Err(OptionError {
                            kind: *kind,
                            length,
                            available: option.len(),
                        }),
                    });
                }
            }
        }
    }
}

impl FusedIterator for Options<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_walk() {
        let bytes = [1, 2, 4, 5, 0xb4, 1, 1, 4, 2, 0, 9, 9];
        let options: Vec<_> = Options::new(&bytes).map(Result::unwrap).collect();
        assert_eq!(
            options,
            [
                HeaderOption {
                    kind: 2,
                    data: &[5, 0xb4]
                },
                HeaderOption { kind: 4, data: &[] }
            ]
        );
    }

    #[test]
    fn what_is_malformed_ends_the_walk() {
        for (bytes, length) in [
            (&[7, 1, 0][..], Some(1)),
            (&[7, 0][..], Some(0)),
            (&[7, 9, 1][..], Some(9)),
            (&[7][..], None),
        ] {
            let mut options = Options::new(bytes);
            let error = OptionError {
                kind: 7,
                length,
                available: bytes.len(),
            };
            assert_eq!(options.next(), Some(Err(error)));
            assert_eq!(options.next(), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(0u8..12, 0..64)) {
            prop_assert!(Options::new(&bytes).count() <= bytes.len());
        }
    }
}
