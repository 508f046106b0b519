//! Sets of headers, as boxes: an interval in each dimension.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rewire_schema::model::IntentRow;
use rewire_schema::types::Addresses;
use rewire_tables::VpcIndex;

/// The first and the last of an interval.
pub(super) type Interval<T> = (T, T);

/// The protocols whose packets have ports: TCP, UDP, SCTP.
pub(super) const PORT_PROTOCOLS: [u8; 3] = [6, 17, 132];

/// ICMP and ICMPv6, each with the types that begin a connection: requests (RFC 792, 950 and 4443). The data path goes by the
/// number, whichever family carries it.
pub(super) const ICMP: [(u8, &[u8]); 2] = [(1, &[8, 13, 15, 17]), (58, &[128])];

/// The headers of packets as they enter. Where a protocol has no ports, its packets are in a box with whatever ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) is_ipv4: bool,
    pub(super) source: Interval<u128>,
    pub(super) destination: Interval<u128>,
    pub(super) protocols: Interval<u8>,
    pub(super) source_ports: Interval<u16>,
    /// The ports that packets go to. Of ICMP, types times 256 plus codes.
    pub(super) ports: Interval<u16>,
}

/// Packets on their way: as they entered, and where they are routed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    pub(super) entry: Entry,
    /// Where they are routed to: as they entered, or the one address that NAT leads them to.
    pub(super) destination: Interval<u128>,
    pub(super) is_translated: bool,
    /// The VPC in whose table they begin.
    pub(super) vpc_after_nat: VpcIndex,
}

/// What two intervals share.
pub(super) fn shared<T: Ord + Copy>(a: Interval<T>, b: Interval<T>) -> Option<Interval<T>> {
    let both = (a.0.max(b.0), a.1.min(b.1));
    (both.0 <= both.1).then_some(both)
}

impl Entry {
    /// What is in both.
    pub(super) fn shared(&self, other: &Entry) -> Option<Entry> {
        if self.is_ipv4 != other.is_ipv4 {
            return None;
        }
        Some(Entry {
            is_ipv4: self.is_ipv4,
            source: shared(self.source, other.source)?,
            destination: shared(self.destination, other.destination)?,
            protocols: shared(self.protocols, other.protocols)?,
            source_ports: shared(self.source_ports, other.source_ports)?,
            ports: shared(self.ports, other.ports)?,
        })
    }

    /// What of it is not in `other`, as boxes that are apart.
    pub(super) fn without(&self, other: &Entry) -> Vec<Entry> {
        let Some(both) = self.shared(other) else {
            return vec![*self];
        };
        let mut rest = *self;
        let mut left = Vec::new();
        macro_rules! cut {
            ($dimension:ident) => {
                let (first, last) = rest.$dimension;
                let (from, to) = both.$dimension;
                if first < from {
                    let $dimension = (first, from - 1);
                    left.push(Entry { $dimension, ..rest });
                }
                if to < last {
                    let $dimension = (to + 1, last);
                    left.push(Entry { $dimension, ..rest });
                }
                rest.$dimension = both.$dimension;
            };
        }
        cut!(source);
        cut!(destination);
        cut!(protocols);
        cut!(source_ports);
        cut!(ports);
        let _ = rest;
        left
    }
}

/// The address of a number.
pub(super) fn address(is_ipv4: bool, number: u128) -> IpAddr {
    match is_ipv4 {
        true => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        false => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// The number of an address.
pub(super) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn last_of(is_ipv4: bool) -> u128 {
    if is_ipv4 { u32::MAX.into() } else { u128::MAX }
}

/// The headers that an intent speaks of.
pub(super) fn headers_of(intent: &IntentRow) -> Vec<Entry> {
    let mut all = Vec::new();
    for is_ipv4 in [true, false] {
        let range = |addresses: &Option<Addresses>| match addresses {
            None => Some((0, last_of(is_ipv4))),
            Some(addresses) => {
                let range = addresses.range();
                (range.first().is_ipv4() == is_ipv4)
                    .then(|| (number(range.first()), number(range.last())))
            }
        };
        let ends = (range(&intent.source), range(&intent.destination));
        let (Some(source), Some(destination)) = ends else {
            continue;
        };
        let protocols: Vec<Interval<u8>> = match intent.protocol {
            None => vec![(0, u8::MAX)],
            Some(protocol) => protocol.numbers().map(|number| (number, number)).collect(),
        };
        let every = [(0, u16::MAX)];
        let ports = intent.destination_port.as_ref();
        let ports = ports.map_or(&every[..], |ports| ports.ranges());
        for protocols in protocols {
            all.extend(ports.iter().map(|ports| Entry {
                is_ipv4,
                source,
                destination,
                protocols,
                source_ports: (0, u16::MAX),
                ports: *ports,
            }));
        }
    }
    all
}

/// Who can be no sender, as the data path's checks of IPv4 and IPv6 have it (RFC 1812, section 5.3.7; RFC 4291).
const NO_SENDERS: [&str; 8] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "224.0.0.0/3",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "ff00::/8",
    "fe80::/10",
];

/// The headers of a box that a unicast packet can have which is forwarded at all, as boxes that are apart.
pub(super) fn unicast(entry: &Entry) -> Vec<Entry> {
    let mut left = vec![*entry];
    for text in NO_SENDERS {
        // What no sender has is no unicast destination, either.
        let net: ipnet::IpNet = text.parse().expect("it is a prefix");
        let block = (number(net.network()), number(net.broadcast()));
        let is_ipv4 = net.addr().is_ipv4();
        let whole = Entry {
            is_ipv4,
            source: (0, last_of(is_ipv4)),
            destination: (0, last_of(is_ipv4)),
            protocols: (0, u8::MAX),
            source_ports: (0, u16::MAX),
            ports: (0, u16::MAX),
        };
        let from = Entry {
            source: block,
            ..whole
        };
        let to = Entry {
            destination: block,
            ..whole
        };
        for block in [from, to] {
            left = left
                .iter()
                .flat_map(|entry| entry.without(&block))
                .collect();
        }
    }
    left
}

/// The headers of a box that can begin a connection, as boxes that are apart: of ICMP, those of requests.
pub(super) fn beginning(entry: &Entry) -> Vec<Entry> {
    let mut others = vec![*entry];
    let mut boxes = Vec::new();
    for (number, requests) in ICMP {
        let all = Entry {
            protocols: (number, number),
            ports: (0, u16::MAX),
            ..*entry
        };
        let of_request = |request: &u8| Entry {
            ports: (u16::from(*request) << 8, u16::from(*request) << 8 | 0xff),
            ..all
        };
        boxes.extend(
            requests
                .iter()
                .filter_map(|request| entry.shared(&of_request(request))),
        );
        others = others
            .iter()
            .flat_map(|other| other.without(&all))
            .collect();
    }
    others.extend(boxes);
    others
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn interval(most: u128) -> impl Strategy<Value = Interval<u128>> {
        (0..=most, 0..=most).prop_map(|(a, b)| (a.min(b), a.max(b)))
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let five = (
            interval(3),
            interval(3),
            interval(3),
            interval(3),
            interval(3),
        );
        five.prop_map(
            |(source, destination, protocols, source_ports, ports)| Entry {
                is_ipv4: true,
                source,
                destination,
                protocols: (protocols.0 as u8, protocols.1 as u8),
                source_ports: (source_ports.0 as u16, source_ports.1 as u16),
                ports: (ports.0 as u16, ports.1 as u16),
            },
        )
    }

    fn holds(entry: &Entry, [s, d, p, f, o]: [u128; 5]) -> bool {
        let within = |(first, last): Interval<u128>, at| first <= at && at <= last;
        let wide = |(first, last): Interval<u8>| (first.into(), last.into());
        let wider = |(first, last): Interval<u16>| (first.into(), last.into());
        within(entry.source, s)
            && within(entry.destination, d)
            && within(wide(entry.protocols), p)
            && within(wider(entry.source_ports), f)
            && within(wider(entry.ports), o)
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_the_other_has_not_each_once(a in entry(), b in entry()) {
            let left = a.without(&b);
            for at in 0..1024u128 {
                let point = [at % 4, at / 4 % 4, at / 16 % 4, at / 64 % 4, at / 256];
                let count = left.iter().filter(|entry| holds(entry, point)).count();
                let expected = holds(&a, point) && !holds(&b, point);
                prop_assert_eq!(count, usize::from(expected), "{:?}", point);
            }
        }
    }
}
