//! Cards that flows are offloaded to: models of them, for ports in memory.

mod chaotic;
mod modelled;

pub use chaotic::{Chaos, ChaoticCard};
pub use modelled::{CardConfig, ModelledCard, Taken};

use std::num::NonZeroU64;
use std::time::Duration;

pub use rewire_conntrack::offload::{Counted, Histogram, Latencies, OffloadCounts};
use rewire_conntrack::offload::{EngineConfig, Offloading};

/// Which flows a gateway offloads, and how.
#[derive(Clone, Debug)]
pub struct OffloadConfig {
    /// See [`Offloading::packets`].
    pub packets: u64,
    /// See [`Offloading::again`].
    pub again: NonZeroU64,
    /// See [`Offloading::idle_after`].
    pub idle_after: Duration,
    /// Flows of one worker and address family that are offloaded at most; each takes up to two rules.
    pub flows: u32,
    /// Requests of one worker and address family that may wait for the engine.
    pub requests: usize,
    /// How often each rule is asked what it has done: so old are the counters of offloaded flows at most. Below the shortest
    /// time-out of a connection.
    pub query_every: Duration,
}

impl Default for OffloadConfig {
    fn default() -> Self {
        OffloadConfig {
            packets: 10,
            again: NonZeroU64::MIN.saturating_add(31),
            idle_after: Duration::from_secs(30),
            flows: 65_536,
            requests: 1024,
            query_every: Duration::from_secs(5),
        }
    }
}

impl OffloadConfig {
    pub(crate) fn offloading(&self) -> Offloading {
        Offloading {
            packets: self.packets,
            again: self.again,
            idle_after: self.idle_after,
        }
    }

    /// For so many workers: two queues for each.
    pub(crate) fn engine(&self, workers: u16) -> EngineConfig {
        EngineConfig {
            queues: 2 * usize::from(workers),
            flows: self.flows,
            requests: self.requests,
            query_every: self.query_every,
        }
    }
}
