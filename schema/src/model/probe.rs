//! Probes: packets, and what must happen to them.

use std::net::IpAddr;

use crate::object::object;
use crate::types::{Line, Name, ProbeResult, Protocol};

object! {
    /// A probe: a packet, and what must happen to it. A commit under which something else happens is refused.
    ProbeRow in "probe" at "probes/{name}": "Probes by name: packets, and what must happen to them after every commit." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The interface that the packet comes in by.
            interface: Name => "interface",
            /// The packet's sender.
            source: IpAddr,
            /// The packet's destination.
            destination: IpAddr,
            /// The protocol above IP. Without it, an ICMP echo request of the family.
            protocol: Option<Protocol>,
            /// The port that it comes from. For TCP, UDP and SCTP; without it, 49152.
            source_port: Option<u16> [1..=u16::MAX],
            /// The port that it goes to. For TCP, UDP and SCTP.
            destination_port: Option<u16> [1..=u16::MAX],
            /// The ICMP type. For ICMP of either family.
            icmp_type: Option<u8>,
            /// The ICMP code. For ICMP of either family.
            icmp_code: Option<u8>,
            /// What must happen to it.
            expect: ProbeResult,
            /// The interface that it must leave by, where it is forwarded.
            out_interface: Option<Name> => "interface",
            /// The next router's address that it must be sent to, where it is forwarded.
            via: Option<IpAddr>,
            /// The sender that it must have when it leaves; without it, any.
            translated_source: Option<IpAddr>,
            /// The destination that it must have when it leaves; without it, any.
            translated_destination: Option<IpAddr>,
            /// The port that it must go to when it leaves; without it, any.
            translated_destination_port: Option<u16> [1..=u16::MAX],
        }
    }
}
