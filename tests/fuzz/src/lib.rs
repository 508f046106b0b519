//! What is fuzzed: for each target a function over bytes, which panics where something does not hold.
//!
//! `libfuzzer/` runs them with cargo-fuzz (`make fuzz NAME=document`); the test of this crate replays what is kept in
//! `corpus/`, so that an input that failed once is tried ever after. An input that begins with `good` or `bad` in its
//! file's name is one that must be accepted or refused.

pub mod changeset;
pub mod document;
pub mod journal_file;

/// A target: its name, which is that of its folder in `corpus/`, and its function. That says whether it took the bytes for
/// what they should be.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target.
pub const TARGETS: &[Target] = &[
    ("changeset", changeset::run),
    ("document", document::run),
    ("journal_file", journal_file::run),
];
