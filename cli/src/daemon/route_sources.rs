//! The sources of learned routes: what the configuration says of them, and what they have to say of themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rewire_feed::{Ignored, SourceCounters};
use serde::{Deserialize, Serialize};

use super::Daemon;

/// A source at one moment. Counters count from its first configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteSource {
    pub(crate) name: String,
    /// Whether its daemon is connected.
    pub(crate) connected: bool,
    /// Sessions that began.
    pub(crate) sessions: u64,
    pub(crate) routes: u64,
    /// Of the routes, those that wait for a next hop on a link of the gateway.
    pub(crate) held_back: u64,
    /// Of the routes, those that were not said again since the daemon was last gone.
    pub(crate) stale: u64,
    /// Routes that were refused because there were too many.
    pub(crate) refused: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) framing_errors: u64,
    /// Messages that had no effect, by reason.
    pub(crate) ignored: BTreeMap<String, u64>,
    /// What is wrong with its listener, or how its last session ended.
    pub(crate) problem: Option<String>,
}

impl RouteSource {
    fn of(name: &str, counters: &SourceCounters) -> RouteSource {
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        let ignored = Ignored::ALL.iter().map(|reason| {
            let count = counters.ignored(*reason);
            (reason.name().to_owned(), count)
        });
        RouteSource {
            name: name.to_owned(),
            connected: counters.connected.load(Relaxed),
            sessions: load(&counters.sessions),
            routes: load(&counters.routes),
            held_back: load(&counters.held_back),
            stale: load(&counters.stale),
            refused: load(&counters.refused),
            messages: load(&counters.messages),
            bytes: load(&counters.bytes),
            framing_errors: load(&counters.framing_errors),
            ignored: ignored.collect(),
            problem: counters.problem(),
        }
    }

    /// What somebody must look after, in words.
    pub(crate) fn alarm(&self) -> Option<String> {
        let refused = self.refused;
        (refused > 0).then(|| {
            format!(
                "route source {} has as many routes as it may have, {refused} were refused",
                self.name
            )
        })
    }

    /// The source in one line.
    pub(crate) fn line(&self) -> String {
        let mut line = format!("route source {}: ", self.name);
        line.push_str(if self.connected {
            "connected"
        } else {
            "not connected"
        });
        line.push_str(&format!(", {} routes", self.routes));
        for (count, what) in [(self.held_back, "held back"), (self.stale, "stale")] {
            if count > 0 {
                line.push_str(&format!(", {count} {what}"));
            }
        }
        if let Some(problem) = &self.problem {
            line.push_str(&format!(" ({problem})"));
        }
        line
    }
}

impl Daemon {
    /// The sources of learned routes, by name.
    pub(crate) fn route_sources(&self) -> Vec<RouteSource> {
        let all = self.shared.route_sources().all().into_iter();
        all.map(|(name, counters)| RouteSource::of(&name, &counters))
            .collect()
    }
}
