//! The number of a trace.

use std::fmt;
use std::str::FromStr;

use rewire_configdb::Hash;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The number that all spans of a trace have in common, as W3C Trace Context has it: 32 hex digits, not all zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceId([u8; 16]);

impl TraceId {
    /// The trace of the commit whose journal entry has this hash. Whoever knows the entry knows the trace: who has committed,
    /// and every gateway that follows.
    pub(crate) fn of(hash: &Hash) -> TraceId {
        let [start @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash.to_bytes();
        TraceId(start)
    }

    /// Its 16 bytes.
    pub(crate) fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for TraceId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = hex(text, 32).filter(|number| *number != 0);
        let number = number.ok_or("expected 32 hex digits in lower case, not all zero")?;
        Ok(TraceId(number.to_be_bytes()))
    }
}

/// So many hex digits, in lower case as W3C Trace Context wants them.
pub(crate) fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_whole = text.len() == digits && text.bytes().all(is_digit);
    is_whole.then(|| u128::from_str_radix(text, 16).ok())?
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_written_as_they_are_read() {
        let text = "4bf92f3577b34da6a3ce929d0e0e4736";
        let trace: TraceId = text.parse().unwrap();
        assert_eq!(trace.to_string(), text);
        let json = serde_json::to_string(&trace).unwrap();
        assert_eq!(serde_json::from_str::<TraceId>(&json).unwrap(), trace);
        for bad in [
            "",
            &"0".repeat(32),
            &text[1..],
            &text.to_uppercase(),
            "+bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert!(bad.parse::<TraceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_trace_of_an_entry_is_the_start_of_its_hash() {
        let mut bytes = [0; 32];
        (bytes[0], bytes[15], bytes[16]) = (1, 2, 3);
        let trace = TraceId::of(&Hash::from_bytes(bytes));
        assert_eq!(trace.to_string(), "01000000000000000000000000000002");
    }
}
