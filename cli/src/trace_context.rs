//! What a command that commits tells the gateway of its trace: W3C Trace Context, and where its own time went.

use std::fmt;
use std::str::FromStr;

use rewire_configdb::Committed;
use serde::{Deserialize, Serialize};

use crate::trace_id::{TraceId, hex};

/// The number of a span, as W3C Trace Context has it: not 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpanId(u64);

impl SpanId {
    /// The span of this name in a trace that has one of it. Whoever knows both knows the number.
    pub(crate) fn of(trace: TraceId, name: &str) -> SpanId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&trace.to_bytes());
        hasher.update(name.as_bytes());
        let mut bytes = [0; 8];
        hasher.finalize_xof().fill(&mut bytes);
        SpanId(u64::from_be_bytes(bytes).max(1))
    }

    /// Its 8 bytes.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The trace that a command was called in: the environment's `TRACEPARENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    /// Whether whoever called keeps the trace; if not, nobody wants to hear of it.
    pub(crate) sampled: bool,
}

impl TraceParent {
    /// What the environment says; none where it says nothing, or nothing that is well formed: then a trace begins here, as
    /// W3C Trace Context asks.
    pub(crate) fn from_environment() -> Option<TraceParent> {
        std::env::var("TRACEPARENT").ok()?.trim().parse().ok()
    }
}

impl FromStr for TraceParent {
    type Err = &'static str;

    /// <https://www.w3.org/TR/trace-context/#traceparent-header>: `00-TRACE-SPAN-FLAGS`. Later versions may have more behind it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let [version, trace, span, flags, rest @ ..] = &parts[..] else {
            return Err("expected VERSION-TRACE-SPAN-FLAGS");
        };
        let version = hex(version, 2).ok_or("the version is not two hex digits")?;
        if version == 0xff || (version == 0 && !rest.is_empty()) {
            return Err("the version is wrong");
        }
        let span = hex(span, 16).filter(|span| *span != 0);
        let span = span.ok_or("the span is not 16 hex digits, or all zero")?;
        let flags = hex(flags, 2).ok_or("the flags are not two hex digits")?;
        Ok(TraceParent {
            trace: trace.parse()?,
            span: SpanId(span as u64),
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace, self.span)
    }
}

/// What the command knows of a commit and the journal does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandTimes {
    /// The trace of the entry.
    pub(crate) entry_trace: TraceId,
    /// The trace that the command was called in, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    /// Waiting for the write lock, in nanoseconds.
    pub(crate) lock_ns: u64,
    /// Merging, and writing the rows.
    pub(crate) apply_ns: u64,
    /// The checker.
    pub(crate) check_ns: u64,
    /// Writing the journal entry, and syncing it to the disk.
    pub(crate) durable_ns: u64,
    /// When the revision was durable, in nanoseconds since the Unix epoch.
    pub(crate) durable_at_ns: u64,
}

impl CommandTimes {
    /// Of what was committed just now.
    pub(crate) fn of(committed: &Committed) -> CommandTimes {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let nanoseconds =
            |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        CommandTimes {
            entry_trace: TraceId::of(&committed.hash),
            traceparent: TraceParent::from_environment().map(|parent| parent.to_string()),
            lock_ns: nanoseconds(committed.times.lock),
            apply_ns: nanoseconds(committed.times.apply),
            check_ns: nanoseconds(committed.times.check),
            durable_ns: nanoseconds(committed.times.durable),
            durable_at_ns: nanoseconds(since.unwrap_or_default()),
        }
    }

    /// The trace of the commit; none where whoever called the command does not keep it.
    pub(crate) fn trace(&self) -> Option<TraceId> {
        match self.parent() {
            Some(parent) => parent.sampled.then_some(parent.trace),
            None => Some(self.entry_trace),
        }
    }

    /// The steps with their names, in order.
    pub(crate) fn steps(&self) -> [(&'static str, u64); 4] {
        [
            ("lock", self.lock_ns),
            ("apply", self.apply_ns),
            ("check", self.check_ns),
            ("durable", self.durable_ns),
        ]
    }

    /// The trace that the command was called in.
    pub(crate) fn parent(&self) -> Option<TraceParent> {
        self.traceparent.as_deref()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_read_as_w3c_has_them() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent: TraceParent = text.parse().unwrap();
        assert_eq!(parent.to_string(), text);
        assert_eq!(parent.span.to_bytes()[..2], [0x00, 0xf0]);
        assert!(parent.sampled);
        // Another flag, and another version that has more to say.
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-more";
        assert!(!later.parse::<TraceParent>().unwrap().sampled);
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        ] {
            assert!(bad.parse::<TraceParent>().is_err(), "{bad}");
        }
    }

    #[test]
    fn spans_of_a_trace_are_told_apart() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
        let check = SpanId::of(trace, "check");
        assert_eq!(check, SpanId::of(trace, "check"));
        assert_ne!(check, SpanId::of(trace, "compile"));
    }
}
