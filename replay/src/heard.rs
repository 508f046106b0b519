//! What routing daemons said to a gateway while it was recorded.

use rewire_dataplane::Told;
use rewire_feed::Update;
use serde::{Deserialize, Serialize};

/// One update of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeardRoute {
    /// When it was live, in nanoseconds since the Unix epoch. What has one time was published together.
    pub at_ns: u64,
    /// The last revision by then: those behind it were not there yet.
    pub revision: u64,
    /// The name of the source.
    pub source: String,
    /// The session's number.
    pub session: u32,
    /// What was said.
    pub update: Update,
}

impl HeardRoute {
    pub(crate) fn told(&self) -> Told {
        Told {
            source: self.source.as_str().into(),
            session: self.session,
            update: self.update.clone(),
        }
    }
}
