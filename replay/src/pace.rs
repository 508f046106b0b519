//! Where revisions stand among packets.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When the revisions of a history become live, on the clock that the packets' time stamps set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Spread evenly among the packets: each revision has as many as any other.
    #[default]
    Even,
    /// When they were committed: what was committed before the first packet is live with it.
    Committed,
    /// One every so many packets; what is left of them at the end, behind the last packet.
    Every(u64),
}

/// Words that are no pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `even`, `committed`, or how many packets lie between two revisions")]
pub struct NoSuchPace;

impl FromStr for Pace {
    type Err = NoSuchPace;
    fn from_str(text: &str) -> Result<Pace, NoSuchPace> {
        match text {
            "even" => Ok(Pace::Even),
            "committed" => Ok(Pace::Committed),
            number => match number.parse() {
                Ok(packets) if packets > 0 => Ok(Pace::Every(packets)),
                _ => Err(NoSuchPace),
            },
        }
    }
}

impl std::fmt::Display for Pace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pace::Even => f.write_str("even"),
            Pace::Committed => f.write_str("committed"),
            Pace::Every(packets) => packets.fmt(f),
        }
    }
}

/// When one revision becomes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// Once so many packets have come in.
    #[serde(rename = "after_frames")]
    Packets(u64),
    /// At this time, in nanoseconds since the Unix epoch.
    #[serde(rename = "at_ns")]
    Time(u64),
}

impl Pace {
    /// When the revision at this position, from 0, of so many, becomes live, while there are so many packets in all. The first is
    /// live before any packet.
    pub(crate) fn when(
        self,
        position: u64,
        (revisions, packets): (u64, u64),
        committed_at: i64,
    ) -> When {
        match self {
            Pace::Even => {
                let share =
                    u128::from(position) * u128::from(packets) / u128::from(revisions.max(1));
                When::Packets(share as u64)
            }
            Pace::Every(between) => When::Packets(position.saturating_mul(between)),
            Pace::Committed => {
                let microseconds = u64::try_from(committed_at).unwrap_or(0);
                When::Time(microseconds.saturating_mul(1_000))
            }
        }
    }
}
