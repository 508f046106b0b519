//! What a rule of NAT asks of packets.

use std::fmt;
use std::sync::Arc;

use crate::acl::{AclFamily, AclKey, AddressRanges, PacketPattern};
use crate::index::InterfaceIndex;

/// What a rule asks of the packets that begin a connection, besides the VPC that they come from: the addresses and ports that
/// they come from, as they come, and those that they go to, behind ingress NAT.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// The senders; none for any.
    pub sources: Option<Arc<AddressRanges>>,
    /// The destinations; none for any.
    pub destinations: Option<Arc<AddressRanges>>,
    /// What packets look like above IP: one of these.
    pub packets: Arc<[PacketPattern]>,
}

impl Condition {
    /// Whether a packet is as the rule asks. The VPCs in its key are not looked at.
    pub fn matches<A: AclFamily>(&self, key: &AclKey<A>) -> bool {
        let among = |set: &Option<Arc<AddressRanges>>, address: A| {
            set.as_ref().is_none_or(|set| set.contains(address))
        };
        among(&self.sources, key.source)
            && among(&self.destinations, key.destination)
            && self
                .packets
                .iter()
                .any(|pattern| pattern.matches(key.protocol, key.source_port, key.destination_port))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (field, set) in [
            ("sources", &self.sources),
            ("destinations", &self.destinations),
        ] {
            if let Some(set) = set {
                write!(f, "{field}={set} ")?;
            }
        }
        let packets: Vec<String> = self.packets.iter().map(PacketPattern::to_string).collect();
        f.write_str(&packets.join(" or "))
    }
}

/// An exclusion: packets of a VPC that are not translated, whatever other rules say: their source stays, and where no interface is said
/// their destination, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusion {
    /// The rule's name.
    pub name: Arc<str>,
    /// The interface that the packets leave by; none for any.
    pub interface: Option<InterfaceIndex>,
    /// What it asks of packets.
    pub condition: Condition,
}
