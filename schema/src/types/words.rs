//! Words: the fields that take one of a few.

use std::fmt;
use std::str::FromStr;

use super::ParseError;
use crate::value::{Kind, text_column};

/// Defines an enum of words: how documents and the database write each, and what it means.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $type:ident { $( $(#[doc = $doc:literal])+ $(#[$mark:ident])? $variant:ident = $word:literal ),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type { $( $(#[doc = $doc])+ $(#[$mark])? $variant ),+ }

        impl $type {
            /// Every word, with what it means.
            pub const WORDS: &'static [(&'static str, &'static str)] = &[$(($word, concat!($($doc),+))),+];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($type::$variant => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                match text {
                    $($word => Ok($type::$variant),)+
                    other => Err(ParseError::new(stringify!($type), other)),
                }
            }
        }

        text_column!($type, Kind::Words($type::WORDS));
    };
}

words! {
    /// What an interface is.
    #[derive(Default)]
    InterfaceType {
        /// A port of the gateway's own.
        #[default]
        Physical = "physical",
        /// The frames of a physical interface that carry one VLAN tag (IEEE 802.1Q).
        Vlan = "vlan",
        /// Addresses of the gateway itself, on no link.
        Loopback = "loopback",
        /// An end point of VXLAN tunnels (RFC 7348).
        Vxlan = "vxlan",
    }
}

words! {
    /// What happens to packets that match a route.
    #[derive(Default)]
    RouteType {
        /// Forwarded to one of the next hops.
        #[default]
        Unicast = "unicast",
        /// Dropped in silence.
        Blackhole = "blackhole",
        /// Dropped, and the sender is told by an ICMP destination unreachable (RFC 792).
        Unreachable = "unreachable",
        /// Looked up again in the routes of another VPC.
        Vpc = "vpc",
    }
}

words! {
    /// A transport protocol with ports.
    TransportProtocol {
        /// TCP (RFC 9293).
        Tcp = "tcp",
        /// UDP (RFC 768).
        Udp = "udp",
        /// Both.
        TcpUdp = "tcp_udp",
    }
}

impl TransportProtocol {
    /// TCP or UDP, each alone.
    pub fn each(self) -> &'static [TransportProtocol] {
        match self {
            TransportProtocol::Tcp => &[TransportProtocol::Tcp],
            TransportProtocol::Udp => &[TransportProtocol::Udp],
            TransportProtocol::TcpUdp => &[TransportProtocol::Tcp, TransportProtocol::Udp],
        }
    }
}

words! {
    /// How the addresses that one side of a peering exposes become those that the other side sees.
    ExposeNat {
        /// One to one, both ways; either side may begin.
        Static = "static",
        /// Many share few; only this side may begin.
        Masquerade = "masquerade",
        /// Single ports lead here; only the other side may begin.
        PortForward = "port_forward",
    }
}

words! {
    /// Which packets from outside a masquerade lets in to an external address and port that it has given out (RFC 4787, section 5).
    Filtering {
        /// Those that answer: from the addresses and ports that the sender has sent to.
        AddressAndPortDependent = "address_and_port_dependent",
        /// Those from the addresses that the sender has sent to, whatever their port.
        AddressDependent = "address_dependent",
        /// All.
        EndpointIndependent = "endpoint_independent",
    }
}

words! {
    /// What an ACL does with packets that none of its rules matches.
    #[derive(Default)]
    AclDefault {
        /// Dropped in silence.
        #[default]
        Deny = "deny",
        /// Dropped, and the sender is told.
        Reject = "reject",
        /// Let through.
        Allow = "allow",
        /// Let through between addresses that the peering exposes, dropped otherwise. For the ACL of a peering.
        DenyUnlessExposed = "deny_unless_exposed",
    }
}

words! {
    /// What a rule of an ACL does with packets that match.
    AclAction {
        /// Let through.
        Allow = "allow",
        /// Dropped in silence.
        Deny = "deny",
        /// Dropped, and the sender is told: by a reset (TCP) or an ICMP destination unreachable.
        Reject = "reject",
    }
}

words! {
    /// What a rule of an ACL decides about.
    #[derive(Default)]
    AclScope {
        /// The flow that a matching packet begins, with its replies.
        #[default]
        Flow = "flow",
        /// Each matching packet by itself.
        Packet = "packet",
    }
}

words! {
    /// How routes are learned.
    RouteSourceType {
        /// The Forwarding Plane Manager protocol of FRRouting, with Netlink messages.
        Fpm = "fpm",
    }
}

words! {
    /// How measurements leave the gateway.
    ExporterType {
        /// Answers scrapes by Prometheus (OpenMetrics 1.0).
        Prometheus = "prometheus",
        /// Pushed with the OpenTelemetry protocol, over HTTP in Protocol Buffers: metrics, and each commit as a trace.
        Otlp = "otlp",
        /// What connections and NAT have done, over UDP (RFC 7011, RFC 8158).
        Ipfix = "ipfix",
        /// Sampled packet headers and counters of interfaces, over UDP (sFlow version 5).
        Sflow = "sflow",
    }
}

words! {
    /// What must happen to the packet of a probe.
    ProbeResult {
        /// It leaves by an interface.
        Forwarded = "forwarded",
        /// It is dropped.
        Dropped = "dropped",
        /// The gateway itself answers.
        Answered = "answered",
    }
}

words! {
    /// What an intent promises.
    Reachability {
        /// No packet gets from the one to the other.
        Never = "never",
        /// Every such packet gets there.
        Always = "always",
    }
}
