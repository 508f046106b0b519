//! Rules and packets like those of ClassBench (Taylor and Turner 2007), from a generator of our own.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rewire_tables::acl::{AclAction, AclDecision, AclScope, AddressRanges, PacketPattern};
use rewire_tables::{AclKey, AclRule, VpcIndex};

/// A mix of rules, as real filters of one kind have it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mix {
    /// Access control: long destinations, exact ports.
    Acl,
    /// Firewalls: many rules say one end alone, and ranges of ports on both sides.
    Fw,
    /// IP chains: pairs of networks, some hosts, a bit of both.
    Ipc,
}

impl Mix {
    pub(crate) const ALL: [(Mix, &'static str); 3] =
        [(Mix::Acl, "acl"), (Mix::Fw, "fw"), (Mix::Ipc, "ipc")];
}

/// One rule: what both sides of the comparison can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FiveTuple {
    pub(crate) source: (u32, u8),
    pub(crate) destination: (u32, u8),
    pub(crate) source_port: (u16, u16),
    pub(crate) destination_port: (u16, u16),
    pub(crate) protocol: Option<u8>,
}

/// Numbers that look random: SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
    /// One of some values, by their weights.
    fn weighted<T: Copy>(&mut self, values: &[(u32, T)]) -> T {
        let sum: u32 = values.iter().map(|(weight, _)| weight).sum();
        let mut at = (self.next() % u64::from(sum)) as u32;
        for (weight, value) in values {
            match at.checked_sub(*weight) {
                Some(rest) => at = rest,
                None => return *value,
            }
        }
        values[0].1
    }
}

fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

/// Lengths of prefixes by weight: sources, then destinations. Pairs come from the published seeds' shapes: what is long on
/// one side is often short on the other.
fn lengths(mix: Mix, numbers: &mut Numbers) -> (u8, u8) {
    match mix {
        Mix::Acl => numbers.weighted(&[
            (20, (0, 32)),
            (12, (0, 24)),
            (10, (8, 32)),
            (10, (16, 32)),
            (14, (24, 32)),
            (8, (32, 32)),
            (6, (24, 24)),
            (5, (16, 24)),
            (4, (20, 28)),
            (4, (22, 30)),
            (3, (27, 27)),
            (2, (32, 24)),
            (2, (0, 16)),
        ]),
        Mix::Fw => numbers.weighted(&[
            (22, (0, 32)),
            (18, (32, 0)),
            (10, (24, 0)),
            (10, (0, 24)),
            (8, (16, 0)),
            (6, (0, 16)),
            (10, (32, 32)),
            (6, (24, 32)),
            (5, (32, 24)),
            (3, (24, 24)),
            (1, (0, 0)),
            (1, (8, 8)),
        ]),
        Mix::Ipc => numbers.weighted(&[
            (22, (32, 32)),
            (14, (24, 24)),
            (10, (24, 32)),
            (10, (32, 24)),
            (8, (0, 32)),
            (8, (32, 0)),
            (7, (16, 24)),
            (6, (24, 16)),
            (5, (16, 16)),
            (4, (20, 20)),
            (3, (28, 26)),
            (2, (8, 16)),
            (1, (0, 24)),
        ]),
    }
}

/// Sources, destinations and protocols of ports.
fn upper(mix: Mix, numbers: &mut Numbers) -> ((u16, u16), (u16, u16), Option<u8>) {
    const ANY: (u16, u16) = (0, 65_535);
    const HIGH: (u16, u16) = (1024, 65_535);
    let well_known = [
        22, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 636, 993, 1433, 1521, 3306, 3389, 5060,
        8080, 8443,
    ];
    let exact = |numbers: &mut Numbers| {
        let port = if numbers.below(4) > 0 {
            well_known[numbers.below(well_known.len())]
        } else {
            1024 + numbers.below(9000) as u16
        };
        (port, port)
    };
    let range = |numbers: &mut Numbers| {
        let first = 1024 + numbers.below(30_000) as u16;
        (first, first + 1 + numbers.below(2000) as u16)
    };
    let port = |numbers: &mut Numbers, weights: [u32; 4]| {
        let [any, high, one, some] = weights;
        match numbers.weighted(&[(any, 0), (high, 1), (one, 2), (some, 3)]) {
            0 => ANY,
            1 => HIGH,
            2 => exact(numbers),
            _ => range(numbers),
        }
    };
    let (source, destination) = match mix {
        Mix::Acl => ([100, 0, 0, 0], [20, 5, 65, 10]),
        Mix::Fw => ([60, 15, 20, 5], [30, 15, 45, 10]),
        Mix::Ipc => ([75, 10, 12, 3], [40, 10, 42, 8]),
    };
    let protocol = match mix {
        Mix::Acl => numbers.weighted(&[(75, Some(6)), (18, Some(17)), (4, Some(1)), (3, None)]),
        Mix::Fw => numbers.weighted(&[(65, Some(6)), (22, Some(17)), (6, Some(1)), (7, None)]),
        Mix::Ipc => numbers.weighted(&[(60, Some(6)), (25, Some(17)), (7, Some(1)), (8, None)]),
    };
    match protocol {
        Some(6 | 17) => (port(numbers, source), port(numbers, destination), protocol),
        _ => (ANY, ANY, protocol),
    }
}

/// So many distinct rules, in an order that puts most of the longer ones first, as people do.
pub(crate) fn rules(mix: Mix, number: usize, seed: u64) -> Vec<FiveTuple> {
    let mut numbers = Numbers(seed);
    // Networks that rules are about: few, and prefixes within them, so that rules overlap and nest.
    let networks: Vec<u32> = (0..(number / 40).clamp(4, 400))
        .map(|_| {
            (10 << 24 | numbers.next() as u32 & 0x00ff_ffff) & mask(16 + (numbers.next() % 5) as u8)
        })
        .collect();
    let address = |length: u8, numbers: &mut Numbers| {
        let network = networks[numbers.below(networks.len())];
        let host = numbers.next() as u32;
        let spread = [0x0000_0fff, 0x0000_ffff, 0x00ff_ffff][numbers.below(3)];
        ((network ^ host & spread) & mask(length), length)
    };
    let mut seen = std::collections::HashSet::new();
    let mut rules = Vec::with_capacity(number);
    while rules.len() < number {
        let (source, destination) = lengths(mix, &mut numbers);
        let (source_port, destination_port, protocol) = upper(mix, &mut numbers);
        let rule = FiveTuple {
            source: address(source, &mut numbers),
            destination: address(destination, &mut numbers),
            source_port,
            destination_port,
            protocol,
        };
        if seen.insert(rule) {
            rules.push((rule, numbers.next() % 24));
        }
    }
    rules.sort_by_key(|(rule, jitter)| {
        std::cmp::Reverse(u64::from(rule.source.1) + u64::from(rule.destination.1) + jitter)
    });
    rules.into_iter().map(|(rule, _)| rule).collect()
}

impl FiveTuple {
    pub(crate) fn rule(&self) -> Arc<AclRule> {
        let set = |(address, length): (u32, u8)| {
            let last = address | !mask(length);
            let range = IpAddr::from(Ipv4Addr::from(address))..=IpAddr::from(Ipv4Addr::from(last));
            (length > 0).then(|| Arc::new(AddressRanges::new([range])))
        };
        let ports = |range: (u16, u16)| match range {
            (0, u16::MAX) => Box::default(),
            range => [range].into(),
        };
        Arc::new(AclRule {
            decision: AclDecision {
                action: AclAction::Allow,
                scope: AclScope::Flow,
                log: false,
            },
            from: None,
            to: None,
            sources: set(self.source),
            destinations: set(self.destination),
            packets: [PacketPattern {
                protocol: self.protocol,
                source_ports: ports(self.source_port),
                destination_ports: ports(self.destination_port),
            }]
            .into(),
        })
    }

    /// A packet that the rule matches.
    fn packet(&self, numbers: &mut Numbers) -> AclKey<Ipv4Addr> {
        let mut address = |(network, length): (u32, u8)| {
            Ipv4Addr::from(network | numbers.next() as u32 & !mask(length))
        };
        let (source, destination) = (address(self.source), address(self.destination));
        let mut port = |(first, last): (u16, u16)| {
            u32::from(first) + (numbers.next() % (u64::from(last - first) + 1)) as u32
        };
        let (source_port, destination_port) = (port(self.source_port), port(self.destination_port));
        AclKey {
            from: VpcIndex(0),
            to: None,
            source,
            destination,
            protocol: self.protocol.unwrap_or(6),
            source_port,
            destination_port,
        }
    }
}

/// Packets for the rules, each as likely as another: one of its own corner of the space.
pub(crate) fn hits(rules: &[FiveTuple], number: usize, seed: u64) -> Vec<AclKey<Ipv4Addr>> {
    let mut numbers = Numbers(seed);
    (0..number)
        .map(|_| rules[numbers.below(rules.len())].packet(&mut numbers))
        .collect()
}

/// Packets of the same networks that are meant for no rule in particular; most match none.
pub(crate) fn misses(rules: &[FiveTuple], number: usize, seed: u64) -> Vec<AclKey<Ipv4Addr>> {
    let mut numbers = Numbers(seed);
    (0..number)
        .map(|_| {
            let one = rules[numbers.below(rules.len())].packet(&mut numbers);
            let other = rules[numbers.below(rules.len())].packet(&mut numbers);
            AclKey {
                source: other.destination,
                protocol: 50,
                source_port: 40_000,
                destination_port: 40_001,
                ..one
            }
        })
        .collect()
}
