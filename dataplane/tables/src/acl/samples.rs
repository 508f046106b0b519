//! Rules and packets that the tests of this folder are made of.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::VpcIndex;
use crate::acl::{AclAction, AclDecision, AclKey, AclRule, AclScope, AddressRanges, PacketPattern};

/// A rule that allows flows, of any VPC to any. None in place of addresses is any.
pub(super) fn allow(
    sources: Option<Vec<RangeInclusive<IpAddr>>>,
    destinations: Option<Vec<RangeInclusive<IpAddr>>>,
    pattern: PacketPattern,
) -> AclRule {
    let set = |ranges: Option<Vec<_>>| ranges.map(|ranges| Arc::new(AddressRanges::new(ranges)));
    AclRule {
        decision: AclDecision {
            action: AclAction::Allow,
            scope: AclScope::Flow,
            log: false,
        },
        from: None,
        to: None,
        sources: set(sources),
        destinations: set(destinations),
        packets: [pattern].into(),
    }
}

/// Addresses of IPv4, first and last included.
pub(super) fn v4(first: u32, last: u32) -> RangeInclusive<IpAddr> {
    Ipv4Addr::from(first).into()..=Ipv4Addr::from(last).into()
}

/// A segment from port 1024 to port 80.
pub(super) fn key(source: u32, destination: u32) -> AclKey<Ipv4Addr> {
    AclKey {
        from: VpcIndex(0),
        to: None,
        source: source.into(),
        destination: destination.into(),
        protocol: 6,
        source_port: 1024,
        destination_port: 80,
    }
}
