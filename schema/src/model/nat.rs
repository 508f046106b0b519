//! Network address translation: pools, and the rules that use them.

use std::net::IpAddr;

use crate::marks::Marks;
use crate::object::object;
use crate::types::{
    AddressOrPrefix, AddressRange, Addresses, Duration, Filtering, Line, Name, Ports, Prefix,
    Protocol, TransportProtocol,
};

object! {
    /// A pool of external addresses.
    PoolRow in "nat_pool" at "nat/pools/{name}": "Pools of external addresses by name." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC that the addresses belong to: the outside.
            vpc: Name => "vpc",
            /// The external ports that are given out. Without it, those from 1024 on, and lower ones to who has them already.
            ports: Option<Ports>,
            /// Whether only addresses are translated: senders keep their ports, and each has an external address of its
            /// own for as long as it has connections (RFC 2663, basic NAT).
            address_only: bool,
        }
    }
}

impl PoolRow {
    /// A pool of which nothing is said but where it is.
    pub fn new(name: Name, vpc: Name) -> Self {
        PoolRow {
            name,
            description: None,
            vpc,
            ports: None,
            address_only: false,
            marks: Marks::default(),
        }
    }
}

object! {
    /// One range of a pool.
    PoolRangeRow in "nat_pool_range" at "nat/pools/{pool}/ranges/<range>": "The addresses: single ones and ranges." {
        key { pool: Name => "nat_pool", range: AddressRange }
        least 1;
        columns {}
    }
}

object! {
    /// Masquerade: packets of a VPC that leave by an interface get an external source address and port (RFC 3022, NAPT).
    MasqueradeRow in "masquerade" at "nat/masquerade/{name}":
        "Masquerade rules by name: many internal addresses share few external ones." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the senders.
            vpc: Name => "vpc",
            /// The interface that the packets leave by.
            interface: Name => "interface",
            /// The pool of external addresses; without it, the interface's own first address of the packet's family.
            pool: Option<Name> => "nat_pool",
            /// The protocol of the packets; without it, any.
            protocol: Option<Protocol>,
            /// The ports that the packets come from; without it, any. For TCP and UDP.
            source_port: Option<Ports>,
            /// The external ports that are given out; without it, those of the pool.
            ports: Option<Ports>,
            /// How long a translated connection lives without packets; without it, as the VPC's conntrack says.
            idle_timeout: Option<Duration>,
            /// Whether even ports become even ones and odd ports odd ones, as long as such a port is free (RFC 4787, REQ-4).
            preserve_parity: bool,
            /// Whether an even port and the next one become an even port and the next one, as those of RTP and RTCP (RFC 3550, section 11),
            /// as long as such a pair is free. Parity is preserved then, too.
            preserve_contiguity: bool,
            /// Which packets from outside are let in to the external addresses and ports that were given out (RFC 4787,
            /// REQ-8); without it, those that answer.
            filtering: Option<Filtering>,
        }
    }
}

impl MasqueradeRow {
    /// A rule that masquerades all packets by an interface with that interface's addresses.
    pub fn new(name: Name, vpc: Name, interface: Name) -> Self {
        MasqueradeRow {
            name,
            description: None,
            vpc,
            interface,
            pool: None,
            protocol: None,
            source_port: None,
            ports: None,
            idle_timeout: None,
            preserve_parity: false,
            preserve_contiguity: false,
            filtering: None,
            marks: Marks::default(),
        }
    }
}

object! {
    /// The senders of one masquerade rule.
    MasqueradeSourceRow in "masquerade_source" at "nat/masquerade/{masquerade}/sources/<prefix>":
        "The senders that the rule is for. Of rules that overlap, the longest prefix wins, then who asks for more, then the first by name." {
        key { masquerade: Name => "masquerade", prefix: Prefix }
        least 1;
        columns {}
    }
}

object! {
    /// The destinations of one masquerade rule.
    MasqueradeDestinationRow in "masquerade_destination" at "nat/masquerade/{masquerade}/destinations/<addresses>":
        "The destinations that the rule is for; without any, all." {
        key { masquerade: Name => "masquerade", addresses: Addresses }
        columns {}
    }
}

object! {
    /// An exclusion: packets that are never translated, whatever other rules say.
    ExclusionRow in "nat_exclusion" at "nat/exclusions/{name}":
        "Exclusions by name: packets that are never translated, whatever other rules say." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the senders.
            vpc: Name => "vpc",
            /// The interface that the packets leave by: their source stays. Without it, any, and their destination stays, too.
            interface: Option<Name> => "interface",
            /// The protocol of the packets; without it, any.
            protocol: Option<Protocol>,
            /// The ports that the packets come from; without it, any. For TCP and UDP.
            source_port: Option<Ports>,
            /// The ports that the packets go to; without it, any. For TCP and UDP.
            destination_port: Option<Ports>,
        }
    }
}

object! {
    /// Senders that are not translated.
    ExclusionSourceRow in "nat_exclusion_source" at "nat/exclusions/{exclusion}/sources/<addresses>":
        "The senders; without any, all." {
        key { exclusion: Name => "nat_exclusion", addresses: Addresses }
        columns {}
    }
}

object! {
    /// Destinations to which nothing is translated.
    ExclusionDestinationRow in "nat_exclusion_destination" at "nat/exclusions/{exclusion}/destinations/<addresses>":
        "The destinations; without any, all." {
        key { exclusion: Name => "nat_exclusion", addresses: Addresses }
        columns {}
    }
}

object! {
    /// NAT64: IPv6 packets to addresses that stand for IPv4 ones become IPv4 packets, from addresses of a pool (RFC 6146).
    Nat64Row in "nat64" at "nat/nat64/{name}":
        "NAT64 by name: IPv6 clients reach IPv4 servers, as addresses of a prefix that stand for them." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the IPv6 clients.
            vpc: Name => "vpc",
            /// The prefix that IPv4 addresses are embedded behind, of 32, 40, 48, 56, 64 or 96 bits (RFC 6052). Without it,
            /// 64:ff9b::/96, which stands for global IPv4 addresses alone.
            prefix: Option<Prefix>,
            /// The pool of external IPv4 addresses, which is for NAT64 alone. The IPv4 packets are routed in its VPC.
            pool: Name => "nat_pool",
            /// The external ports that are given out; without it, those of the pool.
            ports: Option<Ports>,
            /// How long a translated connection lives without packets; without it, as the VPC's conntrack says.
            idle_timeout: Option<Duration>,
            /// Which packets from outside, and from other clients by a hairpin, are let in to the external addresses and ports that were
            /// given out (RFC 6146, section 3.5); without it, those that answer.
            filtering: Option<Filtering>,
        }
    }
}

object! {
    /// Clients that a NAT64 is for.
    Nat64SourceRow in "nat64_source" at "nat/nat64/{nat64}/sources/<addresses>":
        "The IPv6 clients that it is for; without any, all." {
        key { nat64: Name => "nat64", addresses: Addresses }
        columns {}
    }
}

object! {
    /// A port forward: what comes to ports of an external address goes to those of an internal one.
    PortForwardRow in "port_forward" at "nat/port_forward/{name}":
        "Port forwards by name: ports of an external address lead to ports of an internal one." {
        key { name: Name }
        unique (external_vpc, external_address, protocol, external_port);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// tcp, udp or both.
            protocol: TransportProtocol,
            /// The VPC that the packets come from: the outside.
            external_vpc: Name => "vpc",
            /// The address that they are sent to. Without it, the addresses of `external_interface`.
            external_address: Option<IpAddr>,
            /// The ports that they are sent to.
            external_port: Ports,
            /// The VPC that they are led into.
            internal_vpc: Name => "vpc",
            /// The address that they are led to. That of a host of IPv6 for packets of IPv4, where a NAT64 is for the host.
            internal_address: IpAddr,
            /// The ports that they are led to: as many, in the same order. Without it, the same ports.
            internal_port: Option<Ports>,
            /// The interface whose own addresses, of the family of `internal_address`, the packets are sent to.
            external_interface: Option<Name> => "interface",
            /// How long a translated connection lives without packets; without it, as the VPC's conntrack says.
            idle_timeout: Option<Duration>,
        }
    }
}

object! {
    /// Senders that a port forward is for.
    PortForwardSourceRow in "port_forward_source" at "nat/port_forward/{port_forward}/sources/<addresses>":
        "The senders that the port forward is for; without any, all." {
        key { port_forward: Name => "port_forward", addresses: Addresses }
        columns {}
    }
}

object! {
    /// A static translation: internal addresses have external ones of their own, both ways (RFC 2663, basic NAT).
    StaticNatRow in "static_nat" at "nat/static/{name}":
        "Static translations by name: external addresses are internal ones, both ways." {
        key { name: Name }
        unique (external_vpc, external_address);
        unique (internal_vpc, internal_address, external_vpc);
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// The VPC of the external address: the outside.
            external_vpc: Name => "vpc",
            /// The external address, or a whole prefix of them.
            external_address: AddressOrPrefix,
            /// The VPC of the internal address.
            internal_vpc: Name => "vpc",
            /// The internal address, or a prefix of the same length: each address becomes the one in the same place.
            internal_address: AddressOrPrefix,
            /// Whether IPv6 prefixes are translated as NPTv6 (RFC 6296): checksums stay as they are, since what changes in the prefix is
            /// made up for in the subnet, or behind /48 in the interface identifier. The prefixes may differ in length.
            nptv6: bool,
        }
    }
}
