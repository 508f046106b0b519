//! How many connections there may be.

use std::num::NonZeroU32;

/// Limits of the connections that begin in a VPC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// The most at once; none for no limit.
    pub most: Option<NonZeroU32>,
    /// The most at once that come from one address; none for no limit.
    pub most_per_source: Option<NonZeroU32>,
}
