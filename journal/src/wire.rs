//! Reading and writing the pieces of the encoding: varints, text and tagged values.

use rewire_schema::{RawValue, Value};

use crate::error::JournalError;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const TEXT: u8 = 2;

const UNKNOWN_TAG: &str = "a value has an unknown tag";

/// Appends an unsigned LEB128 varint: seven bits a byte, least significant first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number: zigzag, so that small negative ones are short too.
pub(crate) fn put_integer(out: &mut Vec<u8>, integer: i64) {
    put_varint(out, ((integer << 1) ^ (integer >> 63)) as u64);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

pub(crate) fn put_value<'a>(out: &mut Vec<u8>, value: impl Into<RawValue<'a>>) {
    match value.into() {
        RawValue::Null => out.push(NULL),
        RawValue::Integer(integer) => {
            out.push(INTEGER);
            put_integer(out, integer);
        }
        RawValue::Text(text) => {
            out.push(TEXT);
            put_text(out, text);
        }
    }
}

/// Reads from the front of a slice. Never allocates more than what it has read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, offset: 0 }
    }

    #[cold]
    pub(crate) fn malformed(&self, what: &'static str) -> JournalError {
        JournalError::Malformed {
            offset: self.offset,
            what,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offset == self.bytes.len()
    }

    /// The number of bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes that were read since this reader was at `start`.
    pub(crate) fn since(&self, start: Reader<'a>) -> &'a [u8] {
        &self.bytes[start.offset..self.offset]
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], JournalError> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..len).ok_or_else(|| self.truncated())?;
        self.offset += len;
        Ok(taken)
    }

    #[cold]
    fn truncated(&self) -> JournalError {
        JournalError::Truncated {
            offset: self.bytes.len(),
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, JournalError> {
        let byte = self
            .bytes
            .get(self.offset)
            .ok_or_else(|| self.truncated())?;
        self.offset += 1;
        Ok(*byte)
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, JournalError> {
        // Most are lengths of short texts, and small numbers.
        match self.byte()? {
            byte @ ..0x80 => Ok(byte.into()),
            first => self.long_varint(first),
        }
    }

    fn long_varint(&mut self, first: u8) -> Result<u64, JournalError> {
        let mut value = u64::from(first & 0x7f);
        for shift in (7..).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(self.malformed("a number does not fit into 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 {
                    return Err(self.malformed("a number is longer than it needs to be"));
                }
                return Ok(value);
            }
        }
        unreachable!("a shift above 63 has returned")
    }

    pub(crate) fn integer(&mut self) -> Result<i64, JournalError> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A varint that counts or numbers things that fit into memory.
    pub(crate) fn index(&mut self) -> Result<usize, JournalError> {
        usize::try_from(self.varint()?).map_err(|_| self.malformed("a number is too large"))
    }

    /// A number of things that take at least one byte each, so that no more can follow than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, JournalError> {
        let count = self.index()?;
        if count > self.remaining() {
            return Err(self.truncated());
        }
        Ok(count)
    }

    pub(crate) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], JournalError> {
        let mut array = [0; LENGTH];
        array.copy_from_slice(self.take(LENGTH)?);
        Ok(array)
    }

    /// As many bytes as the varint before them says.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], JournalError> {
        let len = self.index()?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, JournalError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("text is not UTF-8"))
    }

    pub(crate) fn raw(&mut self) -> Result<RawValue<'a>, JournalError> {
        match self.byte()? {
            NULL => Ok(RawValue::Null),
            INTEGER => self.integer().map(RawValue::Integer),
            TEXT => self.text().map(RawValue::Text),
            _ => Err(self.malformed(UNKNOWN_TAG)),
        }
    }

    /// Reads a value over another one. Text is written into the memory of the text that was there.
    pub(crate) fn value_into(&mut self, value: &mut Value) -> Result<(), JournalError> {
        match (self.raw()?, value) {
            (RawValue::Text(read), Value::Text(text)) => {
                text.clear();
                text.push_str(read);
            }
            (RawValue::Text(read), value) => *value = Value::Text(read.to_owned()),
            (RawValue::Integer(integer), value) => *value = Value::Integer(integer),
            (RawValue::Null, value) => *value = Value::Null,
        }
        Ok(())
    }

    /// Passes over a value: as [`Reader::raw`], but text is not read.
    pub(crate) fn skip_value(&mut self) -> Result<(), JournalError> {
        match self.byte()? {
            NULL => Ok(()),
            INTEGER => self.varint().map(drop),
            TEXT => self.bytes().map(drop),
            _ => Err(self.malformed(UNKNOWN_TAG)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(value: u64, integer: i64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            put_value(&mut out, &Value::Integer(integer));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint().unwrap(), value);
            let mut read = Value::Null;
            reader.value_into(&mut read).unwrap();
            prop_assert_eq!(read, Value::Integer(integer));
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn only_the_shortest_form_of_a_number_is_read() {
        for bytes in [
            &[0x80u8, 0x00][..],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] {
            assert!(
                matches!(
                    Reader::new(bytes).varint(),
                    Err(JournalError::Malformed { .. })
                ),
                "{bytes:x?}"
            );
        }
    }
}
