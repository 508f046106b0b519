//! Why a message of a routing daemon had no effect: each has a name and a counter, and nothing vanishes (law 10).

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// Why a message was ignored.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Ignored {
            $($(#[doc = $doc])+ $variant),+
        }

        impl Ignored {
            /// All of them, in order.
            pub const ALL: &'static [Ignored] = &[$(Ignored::$variant),+];

            /// The name, as metrics carry it.
            pub fn name(self) -> &'static str {
                match self { $(Ignored::$variant => $name),+ }
            }
        }
    };
}

reasons! {
    /// It is shorter or longer than it says, or lacks what it needs.
    Malformed = "malformed",
    /// It is neither a route nor a next hop.
    Type = "message_type",
    /// It is of another address family than IPv4 and IPv6.
    Family = "family",
    /// Its prefix is longer than its addresses, or its gateway of no family.
    Address = "address",
    /// It is a route of the daemon's own machine: its links are not ours, and neither is its way to its administrator.
    Kernel = "kernel",
    /// Its destination is link-local or multicast, which is not routed here.
    Destination = "destination",
    /// It is chosen by more than the destination: by the source, or by the type of service.
    Selector = "selector",
    /// It is a route of a type that forwards nothing: local, broadcast, throw.
    RouteType = "route_type",
    /// It asks for an encapsulation, which is not in this dataplane.
    Encapsulation = "encapsulation",
    /// It leads nowhere that is up.
    NoNextHop = "no_next_hop",
    /// Its table is no VPC's.
    Table = "table",
    /// The source has as many routes as it may have.
    Limit = "limit",
    /// It was said in a session that is over.
    Session = "session",
}

impl Ignored {
    /// The position in [`Self::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
