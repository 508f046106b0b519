//! Reading what was written down, piece by piece.

/// Bytes that are read one number after the other. Numbers are little-endian; none is read where too few bytes are left, and
/// nothing is taken then.
#[derive(Clone, Copy, Debug)]
pub struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    /// From the first byte on.
    pub fn new(bytes: &'a [u8]) -> Self {
        ByteReader(bytes)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// So many bytes.
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(first)
    }

    /// `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_their_order_and_too_few_bytes_are_left_where_they_are() {
        let bytes = [1, 2, 3, 4, 5, 6, 7];
        let mut reader = ByteReader::new(&bytes);
        assert_eq!((reader.u8(), reader.u16()), (Some(1), Some(0x0302)));
        assert_eq!((reader.u64(), reader.rest()), (None, &bytes[3..]));
        assert_eq!(reader.bytes(5), None);
        assert_eq!(reader.u32(), Some(0x0706_0504));
        assert_eq!((reader.bytes(0), reader.u8()), (Some(&[][..]), None));
    }
}
