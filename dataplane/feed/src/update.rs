//! What a routing daemon says, once it is read: the currency between sessions and the table of candidates.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One step of a session, in the order in which it was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// The session has begun: the daemon will say all that it knows.
    Up,
    /// The session is over.
    Down,
    /// A route, which takes the place of the one for its prefix.
    SetRoute(LearnedRoute),
    /// There is no route for the prefix any more.
    RemoveRoute {
        /// The daemon's route table.
        table: u32,
        /// The destination.
        prefix: IpNet,
    },
    /// A next-hop object, which takes the place of the one of this number. Routes that name it lead there.
    SetNextHop {
        /// Its number, in this session.
        id: u32,
        /// What it is.
        object: NextHopObject,
    },
    /// A next-hop object is no more.
    RemoveNextHop {
        /// Its number.
        id: u32,
    },
    /// What was not said in the session that goes on goes. No daemon says so: it is how a recording tells that the stale time of a
    /// source was up.
    Expired,
}

/// A route as the daemon says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct LearnedRoute {
    /// The daemon's route table.
    pub table: u32,
    /// The destination. No bit behind the prefix is set.
    pub prefix: IpNet,
    /// The protocol that the daemon has it from, as `/etc/iproute2/rt_protos` numbers them.
    pub protocol: u8,
    /// Where it leads.
    pub to: Destination,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// To a next-hop object of the session, by its number. It need not be there yet.
    Object(u32),
    /// To one gateway.
    Gateway(Gateway),
    /// To several, with their weights from 1 to 256.
    Gateways(Box<[(Gateway, u16)]>),
    /// Nowhere.
    Discard(Discard),
}

/// How packets for a route that leads nowhere end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Discard {
    /// In silence.
    Blackhole,
    /// The sender is told.
    Unreachable,
}

/// One way that a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub struct Gateway {
    /// The next router. Without one, destinations are on a link of the daemon's machine.
    pub via: Option<IpAddr>,
    /// The number that the daemon's machine gives to the link; 0 where it says none.
    pub link: u32,
}

/// What a next-hop object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextHopObject {
    /// One way.
    Gateway(Gateway),
    /// Nowhere.
    Blackhole,
    /// Several other objects, by their numbers, with their weights from 1 to 256.
    Group(Box<[(u32, u16)]>),
    /// Something that this dataplane cannot do: routes that name it are held back.
    Unusable,
}
