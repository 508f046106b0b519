//! Access control lists: ordered rules for peerings and interfaces.

use crate::object::object;
use crate::types::{AclAction, AclDefault, AclScope, Addresses, Line, Name, Ports, Protocol};

object! {
    /// An access control list: ordered rules that say which packets pass.
    AclRow in "acl" at "acls/{name}": "Access control lists by name. Peerings and interfaces name them." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// What happens to packets that no rule matches.
            default_action as "default": AclDefault = AclDefault::Deny,
        }
    }
}

object! {
    /// A rule of an ACL. A packet matches where all that the rule says is so; the first rule that matches decides.
    AclRuleRow in "acl_rule" at "acls/{acl}/rules/{sequence}":
        "The rules by sequence number. The lowest comes first; people leave gaps, like 10, 20, 30." {
        key { acl: Name => "acl", sequence: u32 }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// What happens to packets that match.
            action: AclAction,
            /// Whether the action is for a whole flow, or for single packets.
            scope: AclScope = AclScope::Flow,
            /// Whether what matches is logged: each flow, or each packet.
            log: bool,
            /// The VPC that packets come from; without it, any.
            from_vpc as "from": Option<Name> => "vpc",
            /// The VPC that packets go to; without it, any.
            to_vpc as "to": Option<Name> => "vpc",
            /// Senders, besides those of `sources`. Without either, any.
            source_set: Option<Name> => "address_set",
            /// Destinations, besides those of `destinations`. Without either, any.
            destination_set: Option<Name> => "address_set",
            /// What packets look like above IP, by the name of a service, instead of the fields below.
            service: Option<Name> => "service",
            /// The protocol above IP; without it, any.
            protocol: Option<Protocol>,
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

object! {
    /// Senders that a rule matches.
    AclRuleSourceRow in "acl_rule_source" at "acls/{acl}/rules/{sequence}/sources/<addresses>":
        "The senders, as they are before NAT: prefixes, ranges and single addresses." {
        key { acl: Name, sequence: u32, addresses: Addresses }
        parent "acl_rule" (acl, sequence);
        columns {}
    }
}

object! {
    /// Destinations that a rule matches.
    AclRuleDestinationRow in "acl_rule_destination" at "acls/{acl}/rules/{sequence}/destinations/<addresses>":
        "The destinations, as the sender knows them: prefixes, ranges and single addresses." {
        key { acl: Name, sequence: u32, addresses: Addresses }
        parent "acl_rule" (acl, sequence);
        columns {}
    }
}
