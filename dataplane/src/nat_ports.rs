//! Which external addresses rules of NAT share out, and how many of their ports are in use.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use rewire_conntrack::Connections;
use rewire_tables::{Address, Masquerade, Tables, VpcIndex};

/// Places that a worker looks at between two bursts, at most.
const PLACES_BETWEEN: u32 = 64;

/// What one worker has in use of an external address, by one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPorts {
    /// The worker, from 0.
    pub worker: u16,
    /// The VPC that the address belongs to.
    pub vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
    /// The address.
    pub address: IpAddr,
    /// Its ports in use; identifiers, for ICMP queries.
    pub in_use: u32,
    /// How often no port was left of the addresses of which this is the first.
    pub exhausted: u64,
}

/// Copies what is to be said of a few places; where to go on, if there are more.
pub(crate) fn copy_ports<A: Address>(
    connections: &Connections<A>,
    from: u32,
    slice: &mut Vec<ListedPorts>,
    worker: u16,
) -> Option<u32> {
    let places = connections.port_use_places();
    let room = u32::try_from(slice.capacity() - slice.len()).unwrap_or(u32::MAX);
    let end = from.saturating_add(PLACES_BETWEEN.min(room)).min(places);
    let said = (from..end).filter_map(|place| connections.port_use(place));
    slice.extend(said.map(|said| ListedPorts {
        worker,
        vpc: said.vpc,
        protocol: said.protocol,
        address: said.address.into(),
        in_use: said.in_use,
        exhausted: said.exhausted,
    }));
    (end < places).then_some(end)
}

/// Whose external addresses they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// A pool's.
    Pool,
    /// An interface's own.
    Interface,
    /// Those that a peering shows.
    Peering,
}

/// External addresses that senders share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalAddresses {
    /// Whose they are.
    pub sharing: Sharing,
    /// The name of the pool or the interface, or of what the peering exposes.
    pub name: Arc<str>,
    /// The VPC that they belong to.
    pub vpc: VpcIndex,
    /// The addresses: ranges with both ends included.
    pub ranges: Vec<RangeInclusive<IpAddr>>,
    /// The rules that give out their ports, by name.
    pub rules: Vec<Arc<str>>,
    /// How many ports each address has to give out; none where senders keep theirs, and have an address for themselves.
    pub ports: Option<u32>,
}

/// The rules that share the same addresses, and the VPC of these.
type Rules<'a> = (VpcIndex, Vec<&'a Arc<Masquerade>>);

impl ExternalAddresses {
    /// All that rules of these tables share out, by kind and name. Cost: all masquerade rules.
    pub(crate) fn of(tables: &Tables) -> Vec<ExternalAddresses> {
        let mut found = BTreeMap::<(Sharing, Arc<str>), Rules<'_>>::new();
        let mut add = |key, vpc, rule| {
            let (_, rules) = found.entry(key).or_insert_with(|| (vpc, Vec::new()));
            if !rules
                .iter()
                .any(|known: &&Arc<Masquerade>| Arc::ptr_eq(known, rule))
            {
                rules.push(rule);
            }
        };
        for (interface, rule) in tables.nat().masquerades() {
            let Some(interface) = tables.interface(interface) else {
                continue;
            };
            let key = match &rule.pool {
                Some(pool) => (Sharing::Pool, Arc::clone(pool)),
                None => (Sharing::Interface, Arc::clone(&interface.name)),
            };
            add(key, interface.vpc, rule);
        }
        for (_, peering) in tables.peerings() {
            for (vpc, rule) in peering.masquerades() {
                add((Sharing::Peering, Arc::clone(&rule.name)), vpc, rule);
            }
        }
        let found = found.into_iter();
        found
            .map(|((sharing, name), (vpc, mut rules))| {
                rules.sort_by(|one, other| one.name.cmp(&other.name));
                let mut names: Vec<_> = rules.iter().map(|rule| Arc::clone(&rule.name)).collect();
                names.dedup();
                ExternalAddresses {
                    sharing,
                    name,
                    vpc,
                    ranges: rules
                        .first()
                        .map_or_else(Vec::new, |rule| rule.external.clone()),
                    rules: names,
                    ports: ports(&rules),
                }
            })
            .collect()
    }

    /// Whether an address is one of them.
    pub fn hold(&self, vpc: VpcIndex, address: IpAddr) -> bool {
        self.vpc == vpc && self.ranges.iter().any(|range| range.contains(&address))
    }

    /// How many addresses they are, of either family.
    pub fn count(&self) -> u128 {
        let number = |address: &IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let size = |range: &RangeInclusive<IpAddr>| {
            let size = number(range.end()).checked_sub(number(range.start()));
            size.map_or(0, |size| size.saturating_add(1))
        };
        self.ranges.iter().map(size).fold(0, u128::saturating_add)
    }
}

/// How many ports rules give out together, of one address.
fn ports(rules: &[&Arc<Masquerade>]) -> Option<u32> {
    const BLOCKS: usize = 1024;
    const FIRST_BLOCK: usize = 16;
    let mut words = [0_u64; BLOCKS];
    for rule in rules {
        if rule.ports.address_only {
            return None;
        }
        match &rule.ports.within {
            Some(set) => {
                for (block, ports) in set.blocks() {
                    words[usize::from(*block) % BLOCKS] |= ports;
                }
            }
            // Those below 1024 are only kept by who has them.
            None => words[FIRST_BLOCK..].fill(u64::MAX),
        }
    }
    Some(words.iter().map(|word| word.count_ones()).sum())
}
