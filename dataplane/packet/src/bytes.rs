//! Bounds-proof loads and stores of big-endian fields.
//!
//! A view checks its length once, in `new_checked`, so that the cases beyond the end are not
//! reached through it. They exist so that no getter can panic, whatever `T: AsRef<[u8]>` does.

/// The `N` bytes at `at`; zeroes when they are not all there.
#[inline]
pub(crate) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .copied()
        .unwrap_or([0; N])
}

/// Stores `value` at `at`; does nothing when it does not fit.
#[inline]
pub(crate) fn put_at<const N: usize>(bytes: &mut [u8], at: usize, value: [u8; N]) {
    if let Some(field) = bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *field = value;
    }
}

/// The byte at `at`, or zero.
#[inline]
pub(crate) fn u8_at(bytes: &[u8], at: usize) -> u8 {
    u8::from_be_bytes(array_at(bytes, at))
}

/// The big-endian 16-bit word at `at`, or zero.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(array_at(bytes, at))
}

/// The big-endian 32-bit word at `at`, or zero.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array_at(bytes, at))
}

/// What lies between `from` and `to`, cut to what is there.
#[inline]
pub(crate) fn between(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    let to = to.min(bytes.len());
    bytes.get(from..to).unwrap_or(&[])
}

/// As [`between`], to be written to.
#[inline]
pub(crate) fn between_mut(bytes: &mut [u8], from: usize, to: usize) -> &mut [u8] {
    let to = to.min(bytes.len());
    bytes.get_mut(from..to).unwrap_or(&mut [])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let mut bytes = [1, 2, 3];
        assert_eq!(u16_at(&bytes, 1), 0x0203);
        assert_eq!(u16_at(&bytes, 2), 0);
        assert_eq!(u16_at(&bytes, usize::MAX), 0);
        put_at(&mut bytes, 2, [9, 9]);
        put_at(&mut bytes, usize::MAX, [9, 9]);
        assert_eq!(bytes, [1, 2, 3]);
        assert_eq!(between(&bytes, 2, 9), [3]);
        assert_eq!(between(&bytes, 3, 2), []);
        assert_eq!(between(&bytes, 9, 12), []);
    }
}
