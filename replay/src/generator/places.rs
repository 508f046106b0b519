//! Where flows may begin and end, by the configuration itself: hosts in the subnets of interfaces, and beyond their routes; what is
//! exposed, forwarded and translated.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rewire_dataplane::VirtualGateway;
use rewire_schema::Configuration;
use rewire_schema::types::Name;

use super::random::Random;

/// The most routes that are looked at; of more, these are spread evenly among them.
const MOST_ROUTES: usize = 4096;

/// Addresses: a network by its first address, and how many bits are free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    first: IpAddr,
    free: u32,
}

impl Network {
    fn new(first: IpAddr, length: u8) -> Network {
        let width = if first.is_ipv4() { 32 } else { 128u32 };
        Network {
            first,
            free: width.saturating_sub(u32::from(length)),
        }
    }

    pub(super) fn is_ipv4(self) -> bool {
        self.first.is_ipv4()
    }

    /// An address in it that a host may have.
    pub(super) fn host(self, random: &mut Random) -> IpAddr {
        let number = u128::from(random.next()) << 64 | u128::from(random.next());
        match self.first {
            IpAddr::V4(first) => {
                let mask = ((1u64 << self.free) - 1) as u32;
                let mut address = u32::from(first) & !mask | number as u32 & mask;
                if self.free > 16 {
                    // Beyond a wide route, most of what there is is unicast: not what has a meaning of its own.
                    address = plausible(address, self.free);
                }
                // Neither the network's own address nor its broadcast.
                if self.free > 1 && (address & mask == 0 || address & mask == mask) {
                    address = u32::from(first) & !mask | 2 & mask;
                }
                Ipv4Addr::from(address).into()
            }
            IpAddr::V6(first) => {
                let mask = 1u128
                    .checked_shl(self.free)
                    .map_or(u128::MAX, |bit| bit - 1);
                let mut address = u128::from(first) & !mask | number & mask;
                if self.free > 64 {
                    // Few subnets are in use, and hosts have small numbers in most.
                    let keep = u128::MAX << 64 | 0xffff;
                    address &= keep;
                }
                if self.free > 125 {
                    address = address & !(0b111 << 125) | 0b001 << 125;
                }
                if address & mask == 0 {
                    address |= 2 & mask;
                }
                Ipv6Addr::from(address).into()
            }
        }
    }
}

/// An address of the internet that a host may have, made of a random one.
fn plausible(address: u32, free: u32) -> u32 {
    if free < 28 {
        return address;
    }
    let top = address >> 24;
    let top = match top {
        0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224.. => 20 + top % 60,
        other => other,
    };
    top << 24 | address & 0x00ff_ffff
}

/// Where flows begin.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The interface, by its name.
    pub(super) interface: String,
    /// The gateway's MAC address there.
    pub(super) mac: [u8; 6],
    /// The VPC, by its place in [`Places::vpcs`].
    pub(super) vpc: usize,
    pub(super) network: Network,
}

/// Where flows lead.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    pub(super) network: Network,
    /// The port, where only one leads anywhere.
    pub(super) port: Option<u16>,
    /// Whether the gateway itself has the address.
    pub(super) is_gateway: bool,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub(super) origins: Vec<Origin>,
    /// By VPC: where its packets may want to go.
    pub(super) goals: Vec<Vec<Goal>>,
    /// The ports that answer, beside those below 1024.
    pub(super) services: BTreeSet<u16>,
    /// The MAC addresses of neighbors that are set by hand.
    pub(super) neighbors: BTreeMap<IpAddr, [u8; 6]>,
}

impl Places {
    /// What a configuration that is in effect says. Cost: the configuration's interfaces and NAT, and a pass over its routes.
    pub(super) fn of(configuration: &Configuration, gateway: &VirtualGateway) -> Places {
        let mut places = Places::default();
        let numbers: BTreeMap<&Name, usize> = configuration
            .vpc
            .values()
            .map(|row| &row.name)
            .zip(0..)
            .collect();
        places.goals = vec![Vec::new(); numbers.len()];
        let vpc_of: BTreeMap<&Name, usize> = configuration
            .interface
            .values()
            .filter_map(|row| Some((&row.name, *numbers.get(&row.vpc)?)))
            .collect();
        let open: BTreeMap<&str, [u8; 6]> = gateway
            .interfaces()
            .filter_map(|(name, index)| {
                let mac = gateway.with_tables(|tables| tables.interface(index).map(|i| i.mac.0));
                Some((name, mac.flatten()?))
            })
            .collect();
        for row in configuration.neighbor.values() {
            places.neighbors.insert(row.address, row.mac.octets());
        }
        let origin = |interface: &Name, network: Network| {
            Some(Origin {
                interface: interface.as_str().to_owned(),
                mac: *open.get(interface.as_str())?,
                vpc: *vpc_of.get(interface)?,
                network,
            })
        };
        for row in configuration.interface_address.values() {
            let subnet = row.address.subnet();
            let network = Network::new(subnet.network(), subnet.prefix_len());
            let Some(vpc) = vpc_of.get(&row.interface) else {
                continue;
            };
            let own = Network::new(row.address.address(), u8::MAX);
            places.goals[*vpc].push(Goal {
                network: own,
                port: None,
                is_gateway: true,
            });
            places.goals[*vpc].push(Goal {
                network,
                port: None,
                is_gateway: false,
            });
            places.origins.extend(origin(&row.interface, network));
        }
        places.routes(configuration, &numbers, &origin);
        places.translations(configuration, &numbers);
        places.exposed(configuration, &numbers);
        places
    }

    fn routes(
        &mut self,
        configuration: &Configuration,
        numbers: &BTreeMap<&Name, usize>,
        origin: &dyn Fn(&Name, Network) -> Option<Origin>,
    ) {
        let step = (configuration.route.len() / MOST_ROUTES).max(1);
        for row in configuration.route.values().step_by(step) {
            let Some(vpc) = numbers.get(&row.vpc) else {
                continue;
            };
            let prefix = row.prefix.network();
            let network = Network::new(prefix.network(), prefix.prefix_len());
            self.goals[*vpc].push(Goal {
                network,
                port: None,
                is_gateway: false,
            });
        }
        let step = (configuration.route_next_hop.len() / MOST_ROUTES).max(1);
        for row in configuration.route_next_hop.values().step_by(step) {
            let prefix = row.prefix.network();
            let network = Network::new(prefix.network(), prefix.prefix_len());
            self.origins.extend(origin(&row.interface, network));
        }
    }

    fn translations(&mut self, configuration: &Configuration, numbers: &BTreeMap<&Name, usize>) {
        for row in configuration.port_forward.values() {
            let ports = row.internal_port.as_ref().unwrap_or(&row.external_port);
            self.services.extend(ports.iter().take(256));
            let Some(vpc) = numbers.get(&row.external_vpc) else {
                continue;
            };
            let own = configuration.interface_address.values().filter(|address| {
                row.external_interface.as_ref() == Some(&address.interface)
                    && address.address.address().is_ipv4() == row.internal_address.is_ipv4()
            });
            let addresses: Vec<IpAddr> = match row.external_address {
                Some(address) => vec![address],
                None => own.map(|address| address.address.address()).collect(),
            };
            for address in addresses {
                self.goals[*vpc].push(Goal {
                    network: Network::new(address, u8::MAX),
                    port: row.external_port.iter().next(),
                    is_gateway: false,
                });
            }
        }
        for row in configuration.static_nat.values() {
            let Some(vpc) = numbers.get(&row.external_vpc) else {
                continue;
            };
            let prefix = row.external_address.prefix().network();
            let network = Network::new(prefix.network(), prefix.prefix_len());
            self.goals[*vpc].push(Goal {
                network,
                port: None,
                is_gateway: false,
            });
        }
    }

    /// What one side of a peering exposes is where the other one's packets may want to go: as it is, or as it is shown.
    fn exposed(&mut self, configuration: &Configuration, numbers: &BTreeMap<&Name, usize>) {
        let ips = configuration.peering_expose_ip.values();
        let ips = ips.map(|row| (&row.peering, &row.vpc, row.prefix));
        let shown = configuration.peering_expose_as.values();
        let shown = shown.map(|row| (&row.peering, &row.vpc, row.prefix));
        for (peering, vpc, prefix) in ips.chain(shown) {
            let sides = configuration.peering_side.values();
            let other = sides.filter(|side| side.peering == *peering && side.vpc != *vpc);
            for number in other.filter_map(|side| numbers.get(&side.vpc)) {
                let prefix = prefix.network();
                let network = Network::new(prefix.network(), prefix.prefix_len());
                self.goals[*number].push(Goal {
                    network,
                    port: None,
                    is_gateway: false,
                });
            }
        }
    }
}
