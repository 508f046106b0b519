//! What is fuzzed: for each target a function over bytes, which panics where something does not hold.
//!
//! `libfuzzer/` runs them with cargo-fuzz (`make fuzz NAME=document`); the test of this crate replays what is kept in
//! `corpus/`, so that an input that failed once is tried ever after. An input that begins with `good` or `bad` in its
//! file's name is one that must be accepted or refused.

use std::sync::OnceLock;

use rewire_schema::source::read;
use rewire_schema::{Changeset, Configuration};

pub mod changeset;
pub mod database_file;
pub mod document;
pub mod fpm;
pub mod journal_file;
pub mod load;
pub mod set_commands;

/// A target: its name, which is that of its folder in `corpus/`, and its function. That says whether it took the bytes for
/// what they should be.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target.
pub const TARGETS: &[Target] = &[
    ("changeset", changeset::run),
    ("database_file", database_file::run),
    ("document", document::run),
    ("fpm", fpm::run),
    ("journal_file", journal_file::run),
    ("load", load::run),
    ("set_commands", set_commands::run),
];

/// A configuration with something of everything, for inputs that are about one.
fn base() -> &'static Configuration {
    static BASE: OnceLock<Configuration> = OnceLock::new();
    BASE.get_or_init(|| {
        let document = include_bytes!("../corpus/document/good-everything.yaml");
        let source = read("good-everything.yaml", document);
        let source = source.unwrap_or_else(|errors| panic!("the document is good: {errors}"));
        source.configuration
    })
}

/// The state that a changeset leads to, which fits onto `base`.
fn with(base: &Configuration, changeset: &Changeset) -> Configuration {
    let mut after = base.clone();
    if let Err(mismatch) = after.apply(changeset) {
        panic!("a changeset does not fit its base: {mismatch}");
    }
    after
}
