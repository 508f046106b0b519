//! Peerings: what two VPCs show each other, and as what.

use crate::object::object;
use crate::types::{Duration, ExposeNat, Line, Name, Ports, Prefix, TransportProtocol};

object! {
    /// A peering: two VPCs reach what each exposes to the other.
    PeeringRow in "peering" at "peerings/{name}": "Peerings between two VPCs, by name." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The ACL for packets between the two, either way; without it, all that is exposed can be reached.
            acl: Option<Name> => "acl",
        }
    }
}

object! {
    /// One of the two VPCs of a peering.
    PeeringSideRow in "peering_side" at "peerings/{peering}/sides/{vpc}": "The two VPCs by name, and what each exposes." {
        key { peering: Name => "peering", vpc: Name => "vpc" }
        least 2;
        most 2;
        columns {}
    }
}

object! {
    /// Addresses that a side of a peering exposes to the other.
    ExposeRow in "peering_expose" at "peerings/{peering}/sides/{vpc}/expose/{name}":
        "What the other side can reach, and be reached from, by names of one's own." {
        key { peering: Name, vpc: Name, name: Name }
        parent "peering_side" (peering, vpc);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// Whether this is where packets go that nothing else exposed matches, instead of `ips`.
            is_default as "default": bool,
            /// How `ips` become `as`; without it, they are exposed as they are.
            nat: Option<ExposeNat>,
            /// How long a translated connection lives without packets; without it, as the VPC's conntrack says.
            idle_timeout: Option<Duration>,
            /// Which of several peerings that expose the same is used: the lowest wins. Without it, 0.
            metric: Option<u32>,
        }
    }
}

object! {
    /// Addresses that are exposed.
    ExposeIpRow in "peering_expose_ip" at "peerings/{peering}/sides/{vpc}/expose/{expose}/ips/<prefix>":
        "The addresses as they are in this VPC." {
        key { peering: Name, vpc: Name, expose: Name, prefix: Prefix }
        parent "peering_expose" (peering, vpc, expose);
        columns {}
    }
}

object! {
    /// Addresses of `ips` that are not exposed.
    ExposeNotRow in "peering_expose_not" at "peerings/{peering}/sides/{vpc}/expose/{expose}/not/<prefix>":
        "The addresses among `ips` that are not exposed; where there are no `ips`, all others are." {
        key { peering: Name, vpc: Name, expose: Name, prefix: Prefix }
        parent "peering_expose" (peering, vpc, expose);
        columns {}
    }
}

object! {
    /// Addresses that the other side sees.
    ExposeAsRow in "peering_expose_as" at "peerings/{peering}/sides/{vpc}/expose/{expose}/as/<prefix>":
        "The addresses that the other side sees instead; without any, `ips` themselves." {
        key { peering: Name, vpc: Name, expose: Name, prefix: Prefix }
        parent "peering_expose" (peering, vpc, expose);
        columns {}
    }
}

object! {
    /// Addresses of `as` that are not used.
    ExposeAsNotRow in "peering_expose_as_not" at "peerings/{peering}/sides/{vpc}/expose/{expose}/as_not/<prefix>":
        "The addresses among `as` that are not used." {
        key { peering: Name, vpc: Name, expose: Name, prefix: Prefix }
        parent "peering_expose" (peering, vpc, expose);
        columns {}
    }
}

object! {
    /// Ports of an exposed address that are forwarded.
    ExposePortRow in "peering_expose_port" at "peerings/{peering}/sides/{vpc}/expose/{expose}/ports/[position]":
        "The ports that are forwarded, for nat port_forward." {
        key { peering: Name, vpc: Name, expose: Name, position: u16 }
        parent "peering_expose" (peering, vpc, expose);
        columns {
            /// tcp, udp or both.
            protocol: TransportProtocol = TransportProtocol::TcpUdp,
            /// The ports that the host has.
            port: Ports,
            /// The ports that the other side sends to, as many as those; without it, the same.
            as_port as "as": Option<Ports>,
        }
    }
}
