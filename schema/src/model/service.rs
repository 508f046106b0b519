//! Services that rules name.

use crate::object::object;
use crate::types::{Line, Name, Ports, Protocol};

object! {
    /// A named service: what its packets look like above IP.
    ServiceRow in "service" at "services/{name}": "Services by name, for rules of ACLs." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
        }
    }
}

object! {
    /// One kind of packets of a service.
    ServiceEntryRow in "service_entry" at "services/{service}/entries/[position]":
        "The kinds of packets; one of them has to match." {
        key { service: Name => "service", position: u16 }
        least 1;
        columns {
            /// The protocol above IP.
            protocol: Protocol,
            /// The ports that packets come from; without it, any. For TCP, UDP and SCTP.
            source_port: Option<Ports>,
            /// The ports that packets go to; without it, any. For TCP, UDP and SCTP.
            destination_port: Option<Ports>,
            /// The ICMP type; without it, any. For ICMP of either family.
            icmp_type: Option<u8>,
            /// The ICMP code; without it, any. For ICMP of either family, with a type.
            icmp_code: Option<u8>,
        }
    }
}
