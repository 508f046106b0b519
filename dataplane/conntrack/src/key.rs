//! What a packet's connection is found by.

use std::fmt;
use std::hash::{Hash, Hasher};

use rewire_tables::{Address, VpcIndex};

/// What the packets of one direction of a connection have in common. Numbers in host order.
///
/// For ICMP queries both ports are the identifier, so that reversal works; where a protocol has no ports, both are 0.
#[derive(Clone, Copy, Debug, Eq)]
pub struct FlowKey<A> {
    /// The VPC that the packet arrives in.
    pub vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
    /// The source address.
    pub source: A,
    /// The destination address.
    pub destination: A,
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
}

impl<A: PartialEq> PartialEq for FlowKey<A> {
    /// In the order in which the fields lie in memory: the compiler compares those that lie in a row at once.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
            && self.destination == other.destination
            && self.vpc == other.vpc
            && self.source_port == other.source_port
            && self.destination_port == other.destination_port
            && self.protocol == other.protocol
    }
}

impl<A> FlowKey<A> {
    /// Whether its packets look as if a client had sent them: its port is not the lower one.
    #[inline(always)]
    pub(crate) fn is_from_client(&self) -> bool {
        self.source_port >= self.destination_port
    }

    /// The key of packets that go the other way, and arrive in `vpc`.
    #[must_use]
    pub fn reversed(self, vpc: VpcIndex) -> Self {
        FlowKey {
            vpc,
            protocol: self.protocol,
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
        }
    }
}

impl<A: Address> FlowKey<A> {
    /// Whether it is the key of IPv4 packets among those of IPv6: NAT64 has the far side of its connections so, with IPv4-mapped addresses
    /// (RFC 4291 section 2.5.5.2), which no IPv6 packet on any wire has.
    #[inline]
    pub fn is_of_other_family(&self) -> bool {
        A::BITS == 128 && self.source.to_number() >> 32 == 0xffff
    }
}

impl<A: Address> Hash for FlowKey<A> {
    /// Two words for IPv4, three for IPv6: a derived hash would take seven steps.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        if A::BITS <= 32 {
            let [source, destination] =
                [self.source, self.destination].map(|a| a.to_number() as u64);
            state.write_u64(source << 32 | destination);
        } else {
            state.write_u128(self.source.to_number());
            state.write_u128(self.destination.to_number());
        }
        state.write_u64(
            u64::from(self.vpc.0) << 40
                | u64::from(self.protocol) << 32
                | u64::from(self.source_port) << 16
                | u64::from(self.destination_port),
        );
    }
}

impl<A: fmt::Display> fmt::Display for FlowKey<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlowKey {
            vpc,
            protocol,
            source,
            destination,
            source_port,
            destination_port,
        } = self;
        write!(
            f,
            "vpc {vpc} protocol {protocol} {source} {source_port} > {destination} {destination_port}"
        )
    }
}

/// Which way a packet of a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// As the packet that began it.
    Original,
    /// The other way.
    Reply,
}

impl Direction {
    /// The other direction.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Original => "original",
            Direction::Reply => "reply",
        })
    }
}
