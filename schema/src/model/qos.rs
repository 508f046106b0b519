//! Policers and shapers: limits of rates.

use crate::object::object;
use crate::types::{Line, Name, Rate, Size};

object! {
    /// A policer: drops what comes faster than its rate (a token bucket, RFC 2697 with one color).
    PolicerRow in "policer" at "policers/{name}": "Policers by name: limits of what interfaces take in." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The rate in bits per second of IP packets.
            rate: Rate,
            /// The most bytes that may come at once; without it, what the rate brings in 100 ms.
            burst: Option<Size>,
        }
    }
}

object! {
    /// A shaper: delays what would leave faster than its rate (a token bucket with a queue).
    ShaperRow in "shaper" at "shapers/{name}": "Shapers by name: limits of what interfaces send." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The rate in bits per second of IP packets.
            rate: Rate,
            /// The most bytes that may leave at once; without it, what the rate sends in 10 ms.
            burst: Option<Size>,
            /// The most bytes that wait; what comes on top is dropped. Without it, what the rate sends in 100 ms.
            queue: Option<Size>,
        }
    }
}
