//! Where packets would go in the gateway as it runs: over its live tables, with learned routes and neighbors, as first
//! packets. Nothing is changed by it.

use serde::{Deserialize, Serialize};

use super::Daemon;
use super::trace::Manner;
use crate::trace::packet_text::PacketText;
use crate::trace::{Asked, Report};

/// The most packets of one request.
pub(crate) const MOST_PACKETS: usize = 4096;

/// The packets that are asked about, in words. A neighbor that is not known is not assumed: the packet waits for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    pub(crate) packets: Vec<String>,
}

/// The version of [`Walks`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// A walk for each packet, in their order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Walks {
    pub(crate) version: u32,
    pub(crate) walks: Vec<OneWalk>,
}

/// The walk of a packet, or why it has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OneWalk {
    /// Where it would go. It says of which revision the tables were.
    Walked(Box<Report>),
    /// Nobody would receive it.
    Refused(String),
}

impl Daemon {
    /// Where packets would go now, or why there is no answer. Each is a look at the tables of its own, so that a commit between
    /// two of them waits for one at most.
    pub(crate) fn walks(&self, query: &Query) -> Result<Walks, String> {
        if query.packets.len() > MOST_PACKETS {
            return Err(format!("at most {MOST_PACKETS} packets are tried at once"));
        }
        let walks = query.packets.iter().map(|packet| self.one_walk(packet));
        Ok(Walks {
            version: VERSION,
            walks: walks.collect::<Result<_, String>>()?,
        })
    }

    fn one_walk(&self, packet: &str) -> Result<OneWalk, String> {
        let packet = packet
            .parse::<PacketText>()
            .map_err(|error| format!("{packet}: {error}"))?;
        let asked = Asked::Text(Box::new(packet));
        Ok(match self.try_live(asked, Manner::default())? {
            Ok(traced) => OneWalk::Walked(Box::new(traced.walk)),
            Err(error) => OneWalk::Refused(error.to_string()),
        })
    }
}
