//! How many ports of external addresses are in use, and how often none was left.

use foldhash::fast::FixedState;
use rewire_tables::{Address, VpcIndex};

use crate::connections::Connections;
use crate::fixed_map::FixedMap;
use crate::ports::External;

/// Of how many sets of addresses it is counted how often no port was left. The counts are kept for as long as the worker runs.
const MOST_COUNTED: usize = 256;

/// What one worker has in use of an external address, by one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse<A> {
    /// The VPC that the address belongs to.
    pub vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
    /// The address.
    pub address: A,
    /// Ports in use; identifiers, for ICMP queries; 1 for protocols without either.
    pub in_use: u32,
    /// How often a connection was refused, because no port was left of the addresses that a rule has, of which this is the first: as
    /// [`count_exhausted`](Connections::count_exhausted) was told.
    pub exhausted: u64,
}

/// How often no port was left, by the first of the addresses that were tried.
#[derive(Debug)]
pub(crate) struct Exhaustions<A>(FixedMap<External<A>, u64>);

impl<A: Address> Exhaustions<A> {
    pub(crate) fn new(seed: &FixedState) -> Self {
        Exhaustions(FixedMap::new(MOST_COUNTED, seed))
    }

    /// Counts one. Beyond [`MOST_COUNTED`] sets of addresses, a new one is not counted.
    pub(crate) fn count(&mut self, first: External<A>) {
        let known = self.0.find(&first);
        let id = known.or_else(|| self.0.insert(first, 0));
        if let Some(count) = id.and_then(|id| self.0.get_mut(id)) {
            *count += 1;
        }
    }
}

impl<A: Address> Connections<A> {
    /// Counts a connection that is refused, because no port is left of the external addresses of which this is the first. Beyond 256 sets
    /// of addresses, a new one is not counted.
    pub fn count_exhausted(&mut self, vpc: VpcIndex, protocol: u8, first: A) {
        self.mappings_mut().exhaustions.count(External {
            vpc,
            protocol,
            address: first,
        });
    }

    /// How many places [`port_use`](Self::port_use) has something to say of. May grow.
    pub fn port_use_places(&self) -> u32 {
        let addresses = self.mappings().ports.places();
        let counted = self.mappings().exhaustions.0.places();
        addresses.max(counted).saturating_mul(2)
    }

    /// What is in use of the external address at a place, or how often nothing was left of it: each at a place of its own, so that
    /// one address may come twice, and numbers of one address add up. Cost: a line of memory.
    pub fn port_use(&self, place: u32) -> Option<PortUse<A>> {
        let mappings = self.mappings();
        let (external, in_use, exhausted) = match place % 2 {
            0 => {
                let (external, in_use) = mappings.ports.in_use(place / 2)?;
                (external, in_use, 0)
            }
            _ => {
                let (external, exhausted) = mappings.exhaustions.0.at(place / 2)?;
                (external, 0, *exhausted)
            }
        };
        Some(PortUse {
            vpc: external.vpc,
            protocol: external.protocol,
            address: external.address,
            in_use,
            exhausted,
        })
    }
}
