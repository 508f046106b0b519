//! Intents: what must be true of all packets between two VPCs.

use crate::object::object;
use crate::types::{Addresses, Line, Name, Ports, Protocol, Reachability};

object! {
    /// An intent: what must be true of all packets from one VPC to another. A commit that breaks it is refused.
    IntentRow in "intent" at "intents/{name}": "Intents by name: which VPC never, or always, reaches which." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC that the packets come from.
            from_vpc as "from": Name => "vpc",
            /// The VPC that they would get to.
            to_vpc as "to": Name => "vpc",
            /// Whether they never get there, or always.
            reach: Reachability,
            /// The senders; without it, all.
            source: Option<Addresses>,
            /// The destinations; without it, all.
            destination: Option<Addresses>,
            /// The protocol above IP; without it, any.
            protocol: Option<Protocol>,
            /// The ports that packets go to; without it, any. For TCP, UDP and SCTP.
            destination_port: Option<Ports>,
        }
    }
}
