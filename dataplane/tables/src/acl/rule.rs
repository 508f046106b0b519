//! A rule as it is said.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::acl::AclFamily;
use crate::acl::key::AclKey;
use crate::index::VpcIndex;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclAction {
    /// Lets pass.
    Allow,
    /// Drops in silence.
    Deny,
    /// Drops, and tells the sender.
    Reject,
}

/// What a rule decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AclScope {
    /// The flow that a packet begins, with its replies.
    Flow,
    /// Each packet by itself.
    Packet,
}

/// What is done with packets that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AclDecision {
    /// What is done.
    pub action: AclAction,
    /// About what it is decided.
    pub scope: AclScope,
    /// Whether it is logged.
    pub log: bool,
}

/// Ports, first and last included. Of ICMP, types times 256 plus codes.
pub type PortRange = (u16, u16);

/// Addresses of both families: ranges in order, apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddressRanges {
    pub(crate) v4: Box<[(u32, u32)]>,
    pub(crate) v6: Box<[(u128, u128)]>,
}

impl AddressRanges {
    /// The set of all addresses of some ranges, which may overlap. One that begins behind its end, or in another family,
    /// is empty.
    pub fn new(ranges: impl IntoIterator<Item = RangeInclusive<IpAddr>>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for range in ranges {
            match (range.start(), range.end()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => v6.push((first.to_bits(), last.to_bits())),
                _ => {}
            }
        }
        AddressRanges {
            v4: apart(v4, |last| last.checked_add(1)),
            v6: apart(v6, |last| last.checked_add(1)),
        }
    }

    /// All ranges, those of IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<IpAddr>> {
        let v4 = self.v4.iter().map(|&(first, last)| {
            IpAddr::from(first.to_be_bytes())..=IpAddr::from(last.to_be_bytes())
        });
        let v6 = self.v6.iter().map(|&(first, last)| {
            IpAddr::from(first.to_be_bytes())..=IpAddr::from(last.to_be_bytes())
        });
        v4.chain(v6)
    }

    /// Whether an address is among them. Cost: the logarithm of the number of ranges.
    pub fn contains<A: AclFamily>(&self, address: A) -> bool {
        let (ranges, bits) = (A::ranges(self), address.bits());
        let after = ranges.partition_point(|(first, _)| *first <= bits);
        after > 0 && ranges[after - 1].1 >= bits
    }
}

impl fmt::Display for AddressRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.iter().map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("{}-{}", range.start(), range.end()),
        });
        write!(f, "[{}]", ranges.collect::<Vec<_>>().join(","))
    }
}

/// Sorted ranges, with those made one that overlap or touch.
fn apart<N: Copy + Ord>(mut ranges: Vec<(N, N)>, next: impl Fn(N) -> Option<N>) -> Box<[(N, N)]> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged: Vec<(N, N)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if next(*end).is_none_or(|next| first <= next) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged.into()
}

/// What packets look like above IP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PacketPattern {
    /// The protocol; none for any.
    pub protocol: Option<u8>,
    /// The ports that packets come from; none for any.
    pub source_ports: Box<[PortRange]>,
    /// The ports that packets go to; none for any. Of ICMP, types times 256 plus codes.
    pub destination_ports: Box<[PortRange]>,
}

impl fmt::Display for PacketPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Some(protocol) => write!(f, "protocol={protocol}")?,
            None => f.write_str("protocol=any")?,
        }
        let fields = [
            ("source_ports", &self.source_ports),
            ("destination_ports", &self.destination_ports),
        ];
        for (field, ranges) in fields.into_iter().filter(|(_, ranges)| !ranges.is_empty()) {
            let ranges = ranges.iter().map(|(first, last)| match first == last {
                true => first.to_string(),
                false => format!("{first}-{last}"),
            });
            let ranges: Vec<String> = ranges.collect();
            write!(f, " {field}=[{}]", ranges.join(","))?;
        }
        Ok(())
    }
}

impl PacketPattern {
    pub(crate) fn matches(&self, protocol: u8, source_port: u32, destination_port: u32) -> bool {
        let among = |ranges: &[PortRange], port: u32| {
            let is_in = |&(first, last): &PortRange| (first.into()..=last.into()).contains(&port);
            ranges.is_empty() || ranges.iter().any(is_in)
        };
        self.protocol.is_none_or(|wanted| wanted == protocol)
            && among(&self.source_ports, source_port)
            && among(&self.destination_ports, destination_port)
    }
}

/// A rule: a packet matches where all that the rule says is so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclRule {
    /// What is done with packets that match.
    pub decision: AclDecision,
    /// The VPC that packets come from; none for any.
    pub from: Option<VpcIndex>,
    /// The VPC that packets go to; none for any.
    pub to: Option<VpcIndex>,
    /// The senders; none for any.
    pub sources: Option<Arc<AddressRanges>>,
    /// The destinations; none for any.
    pub destinations: Option<Arc<AddressRanges>>,
    /// What packets look like above IP: one of these. Without any, no packet matches.
    pub packets: Arc<[PacketPattern]>,
}

impl AclRule {
    /// Whether a packet matches.
    pub fn matches<A: AclFamily>(&self, key: &AclKey<A>) -> bool {
        let among = |set: &Option<Arc<AddressRanges>>, address: A| {
            set.as_ref().is_none_or(|set| set.contains(address))
        };
        self.from.is_none_or(|from| from == key.from)
            && self.to.is_none_or(|to| Some(to) == key.to)
            && among(&self.sources, key.source)
            && among(&self.destinations, key.destination)
            && self
                .packets
                .iter()
                .any(|pattern| pattern.matches(key.protocol, key.source_port, key.destination_port))
    }
}
