//! The worker that packets are measured with, and masqueraded connections for it. The program counts the instructions that they take, in
//! continuous integration; benchmarks measure their time.

pub mod masqueraded;
pub mod worker;

/// What keeps a measurement from being made.
pub type Failure = Box<dyn std::error::Error>;
