//! Replay: a history of revisions and packets through the virtual gateway, on a clock that the packets' time stamps own, with
//! checks. The same history, packets and options give the same frames, the same report and the same digests, to the byte, on
//! any machine (law 8).
//!
//! [`History`] is a part of a journal: a state, and the entries that follow it. [`Traffic`] is where frames come from:
//! [`Captures`], or a [`Generator`]. A [`Replay`] plays the one through the other, revision by revision, each applied as a gateway
//! applies it, from its changeset; [`Check`] says what is looked at meanwhile, and a [`Report`] what came of it.
//!
//! The clock starts with the first packet and never goes back. A burst is the next packet and those that follow within 100 µs
//! of it, at most 32, and never beyond the next revision; it runs when its last packet is there. In the pauses between bursts,
//! the gateway's timers run: every 100 ms for 5 s, and then once more at the pause's end. After the last packet they
//! run for 5 s too, so that what waits for a neighbor comes to its end.

pub mod bundle;
pub mod capture;
pub mod check;
mod compared;
mod continuity;
mod error;
mod exit;
mod expected;
mod generator;
mod heard;
pub mod history;
mod inspect;
pub mod junit;
mod options;
mod pace;
mod player;
mod ports;
mod ready;
mod report;
mod traffic;
mod tuples;
pub mod words;

pub use capture::{CaptureError, Captures, Output};
pub use check::{Check, Checks, Failure};
pub use compared::{Compared, LeftFrames};
pub use continuity::Judged;
pub use error::ReplayError;
pub use expected::Expected;
pub use generator::{Generator, GeneratorOptions, MOST_FLOWS};
pub use heard::HeardRoute;
pub use history::{History, HistoryError};
pub use options::{KnownNeighbor, MOST_IN_A_BURST, Options, TryProbes};
pub use pace::{NoSuchPace, Pace, When};
pub use player::{Replay, Watcher};
pub use ready::Ready;
pub use report::{Checked, MOST_FAILURES, Report, Step, Taken};
pub use traffic::{Arrival, Entrance, Silence, Traffic};
