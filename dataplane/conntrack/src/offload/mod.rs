//! Offload: handing flows to the network card, which then forwards their packets without a core.
//!
//! A [`Rule`] is one direction of a flow; a [`Card`] is whatever takes rules.

mod card;
mod counts;
mod engine;
mod histogram;
mod places;
mod queue;
mod rule;
mod table;

pub use card::{Card, Event, QueueFull, Refusal};
pub use counts::OffloadCounts;
pub use engine::{Engine, EngineConfig, Latencies};
pub use histogram::{Counted, Histogram};
pub use queue::WorkerQueue;
pub(crate) use queue::{Report, Request};
pub use rule::{Actions, Pattern, Rule, RuleId, Usage};
pub(crate) use table::{Leaving, Offloads, Phase, STRAY_AFTER};
pub use table::{Merged, Offloading, Path};
