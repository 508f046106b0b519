//! What one side of a peering exposes to the other, worked out from the rows that say it.
//!
//! An expose stands on several rows: the peering's two sides, the expose, its prefixes and ports. Its links are made and taken
//! all at once, whichever of them changes; that costs the expose, not the peering.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use rewire_schema::meaning::{
    Blocks, MOST_FORWARDED_PORTS, MOST_POOL_ADDRESSES, MOST_STATIC_ADDRESSES,
};
use rewire_schema::model::*;
use rewire_schema::types::{AddressRange, ExposeNat, Name, Prefix, TransportProtocol};
use rewire_schema::{Changeset, Row};

use crate::entity::Entity;
use crate::references::{Claim, External, Key, Link, addresses_between, cover, host};
use crate::state::least_prefix;

/// The peering, the VPC of the side, and the name of what it exposes.
pub(crate) type ExposeKey = (Name, Name, Name);

/// What stands below an expose in one table: the rows whose key begins with the expose's.
macro_rules! below {
    ($configuration:expr, $table:ident, $key:expr, $least:expr) => {{
        let (peering, vpc, name) = $key;
        let start = (peering.clone(), vpc.clone(), name.clone(), $least);
        $configuration
            .$table
            .range(start..)
            .take_while(move |((p, v, n, _), _)| (p, v, n) == (peering, vpc, name))
            .map(|(_, row)| row)
    }};
}

/// The sides of a peering, in order.
pub(crate) fn sides_of<'a>(
    configuration: &'a Configuration,
    peering: &'a Name,
) -> impl Iterator<Item = &'a PeeringSideRow> {
    let rows = configuration
        .peering_side
        .range((peering.clone(), Name::LEAST)..);
    rows.take_while(move |((p, _), _)| p == peering)
        .map(|(_, row)| row)
}

/// What both sides of a peering expose, in order.
pub(crate) fn exposes_of<'a>(
    configuration: &'a Configuration,
    peering: &'a Name,
) -> impl Iterator<Item = &'a ExposeKey> {
    let rows = configuration
        .peering_expose
        .range((peering.clone(), Name::LEAST, Name::LEAST)..);
    rows.take_while(move |((p, _, _), _)| p == peering)
        .map(|(key, _)| key)
}

/// The expose that a row is part of, or is.
pub(crate) fn expose_of(row: &Row) -> Option<ExposeKey> {
    let (peering, vpc, name) = match row {
        Row::Expose(r) => (&r.peering, &r.vpc, &r.name),
        Row::ExposeIp(r) => (&r.peering, &r.vpc, &r.expose),
        Row::ExposeNot(r) => (&r.peering, &r.vpc, &r.expose),
        Row::ExposeAs(r) => (&r.peering, &r.vpc, &r.expose),
        Row::ExposeAsNot(r) => (&r.peering, &r.vpc, &r.expose),
        Row::ExposePort(r) => (&r.peering, &r.vpc, &r.expose),
        _ => return None,
    };
    Some((peering.clone(), vpc.clone(), name.clone()))
}

/// The exposes that a row stands behind: its own, or all of a peering whose side it is.
pub(crate) fn exposes_behind(configuration: &Configuration, row: &Row) -> Vec<ExposeKey> {
    match row {
        Row::PeeringSide(side) => exposes_of(configuration, &side.peering).cloned().collect(),
        row => expose_of(row).into_iter().collect(),
    }
}

/// The exposes that the rows of a changeset stand behind in a configuration, before or after it.
pub(crate) fn exposes_touched(
    configuration: &Configuration,
    changeset: &Changeset,
) -> BTreeSet<ExposeKey> {
    let rows = changeset.iter().map(|change| change.row());
    rows.flat_map(|row| exposes_behind(configuration, row))
        .collect()
}

/// The rows below an expose, whether it is there itself or not: prefixes and ports.
pub(crate) fn rows_of<'a>(
    configuration: &'a Configuration,
    key: &'a ExposeKey,
) -> impl Iterator<Item = Row> + 'a {
    let ips = below!(configuration, peering_expose_ip, key, least_prefix());
    let not = below!(configuration, peering_expose_not, key, least_prefix());
    let seen = below!(configuration, peering_expose_as, key, least_prefix());
    let not_seen = below!(configuration, peering_expose_as_not, key, least_prefix());
    let ports = below!(configuration, peering_expose_port, key, 0);
    (ips.map(|row| row.clone().into()))
        .chain(not.map(|row| row.clone().into()))
        .chain(seen.map(|row| row.clone().into()))
        .chain(not_seen.map(|row| row.clone().into()))
        .chain(ports.map(|row| row.clone().into()))
}

/// An expose of a peering that has two sides.
pub(crate) struct Exposed<'a> {
    pub(crate) row: &'a ExposeRow,
    /// The VPC of the other side, which sees what is exposed.
    pub(crate) seen_by: &'a Name,
    ips: Vec<Prefix>,
    not: Vec<Prefix>,
    /// Where it is translated: the addresses as they are, and as the other side sees them.
    own: Blocks,
    seen: Blocks,
    ports: Vec<&'a ExposePortRow>,
}

/// One address and port that is forwarded.
pub(crate) struct Forward {
    pub(crate) protocol: TransportProtocol,
    pub(crate) seen: (IpAddr, u16),
    pub(crate) own: (IpAddr, u16),
}

impl<'a> Exposed<'a> {
    /// The expose of this key; none where it, or one of the two sides, is not there. Cost: its rows.
    pub(crate) fn of(configuration: &'a Configuration, key: &'a ExposeKey) -> Option<Self> {
        let (peering, vpc, _) = key;
        let row = configuration.peering_expose.get(key)?;
        let sides: Vec<&Name> = sides_of(configuration, peering).map(|s| &s.vpc).collect();
        let seen_by = match sides.as_slice() {
            [a, b] if *a == vpc => *b,
            [a, b] if *b == vpc => *a,
            _ => return None,
        };
        let mut ips: Vec<Prefix> = below!(configuration, peering_expose_ip, key, least_prefix())
            .map(|row| row.prefix)
            .collect();
        let not: Vec<Prefix> = below!(configuration, peering_expose_not, key, least_prefix())
            .map(|row| row.prefix)
            .collect();
        if row.is_default {
            ips = EVERYTHING.iter().map(everything).collect();
        } else if ips.is_empty() {
            // All but what is taken out, of the families that are spoken of.
            let speaks = |of: &&IpNet| not.iter().any(|n| same_family(n.network(), **of));
            ips = EVERYTHING.iter().filter(speaks).map(everything).collect();
        }
        let mut exposed = Exposed {
            row,
            seen_by,
            ips,
            not,
            own: Blocks::default(),
            seen: Blocks::default(),
            ports: Vec::new(),
        };
        if row.nat.is_some() {
            let blocks = |prefixes: &[Prefix]| prefixes.iter().copied().collect::<Blocks>();
            exposed.own = blocks(&exposed.ips).without(&blocks(&exposed.not));
            let seen = below!(configuration, peering_expose_as, key, least_prefix());
            let not = below!(configuration, peering_expose_as_not, key, least_prefix());
            let seen: Blocks = seen.map(|row| row.prefix).collect();
            exposed.seen = seen.without(&not.map(|row| row.prefix).collect());
            exposed.ports = below!(configuration, peering_expose_port, key, 0).collect();
        }
        Some(exposed)
    }

    /// How many entries its translation needs, where each is one, and how many it may have.
    pub(crate) fn size(&self) -> (u128, u128) {
        let count = |blocks: &Blocks| {
            let [v4, v6] = blocks.counts();
            v4.saturating_add(v6)
        };
        match self.row.nat {
            None => (0, u128::MAX),
            Some(ExposeNat::Static) => (count(&self.own), MOST_STATIC_ADDRESSES.into()),
            Some(ExposeNat::Masquerade) => (count(&self.seen), MOST_POOL_ADDRESSES),
            Some(ExposeNat::PortForward) => {
                let ports = self.ports.iter().map(|row| {
                    let protocols = row.protocol.each().len() as u128;
                    u128::from(row.port.count()) * protocols
                });
                let size = count(&self.own).saturating_mul(ports.sum());
                (size, MOST_FORWARDED_PORTS.into())
            }
        }
    }

    fn fits(&self) -> bool {
        let (size, most) = self.size();
        size <= most
    }

    /// Of static NAT: each address as the other side sees it, and as it is.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + '_ {
        let is_static = self.row.nat == Some(ExposeNat::Static) && self.fits();
        let of = |blocks: &Blocks| {
            let ranges: Vec<_> = blocks.ranges().filter(|_| is_static).collect();
            ranges.into_iter().flat_map(addresses_between)
        };
        // Address by address within each family: IPv4 comes first on both sides, and they have as many.
        of(&self.seen)
            .zip(of(&self.own))
            .filter(|(seen, own)| seen.is_ipv4() == own.is_ipv4())
    }

    /// Of a port forward: each port of each address.
    pub(crate) fn forwards(&self) -> impl Iterator<Item = Forward> + '_ {
        let is_forward = self.row.nat == Some(ExposeNat::PortForward) && self.fits();
        let of = |blocks: &Blocks| {
            let ranges: Vec<_> = blocks.ranges().filter(|_| is_forward).collect();
            ranges.into_iter().flat_map(addresses_between)
        };
        let addresses = of(&self.seen)
            .zip(of(&self.own))
            .filter(|(seen, own)| seen.is_ipv4() == own.is_ipv4());
        addresses.flat_map(|(seen, own)| {
            self.ports.iter().flat_map(move |row| {
                let seen_ports = row.as_port.as_ref().unwrap_or(&row.port);
                row.protocol.each().iter().flat_map(move |protocol| {
                    let ports = seen_ports.iter().zip(row.port.iter());
                    ports.map(move |(seen_port, port)| Forward {
                        protocol: *protocol,
                        seen: (seen, seen_port),
                        own: (own, port),
                    })
                })
            })
        })
    }

    /// Of a masquerade: the prefixes of its senders.
    pub(crate) fn masqueraded(&self) -> impl Iterator<Item = IpNet> + '_ {
        let is_masquerade = self.row.nat == Some(ExposeNat::Masquerade) && self.fits();
        let ranges = self.own.ranges().filter(move |_| is_masquerade);
        ranges.flat_map(cover_of)
    }

    /// The addresses that masqueraded senders share.
    pub(crate) fn shared(&self) -> Vec<RangeInclusive<IpAddr>> {
        let ranges = self.seen.ranges();
        ranges.map(|range| range.first()..=range.last()).collect()
    }

    /// The links that are there because of this expose. Cost: its rows, and each address or port that it translates.
    pub(crate) fn links(&self, key: &ExposeKey) -> Vec<Link> {
        let (peering, vpc, _) = key;
        let mut links = Vec::new();
        let entity = || Entity::Expose(key.clone());
        let seen_by = || self.seen_by.clone();
        if self.row.nat != Some(ExposeNat::PortForward) {
            for (prefixes, is_exposed) in [(&self.ips, true), (&self.not, false)] {
                links.extend(prefixes.iter().map(|prefix| {
                    let slot = (peering.clone(), vpc.clone(), *prefix);
                    Link::Sends(slot, self.row.name.clone(), is_exposed)
                }));
            }
        }
        if self.row.nat.is_none() {
            let metric = self.row.metric.unwrap_or(0);
            links.extend(self.ips.iter().map(|prefix| {
                let claim = Claim::Peering(metric, key.clone());
                Link::Claims((seen_by(), *prefix), claim)
            }));
            links.extend(
                self.not
                    .iter()
                    .map(|prefix| Link::Hole((seen_by(), *prefix), key.clone())),
            );
            return links;
        }
        for prefix in self.seen.ranges().flat_map(cover_of) {
            let claim = Claim::NatExternal(External::Expose(key.clone()));
            links.push(Link::Claims((seen_by(), Prefix::new(prefix)), claim));
        }
        for pair in self.pairs() {
            let keys = exposed_keys(key, self.seen_by, pair);
            links.extend(keys.map(|key| Link::Depends(key, entity())));
        }
        for Forward { protocol, seen, .. } in self.forwards() {
            let key = Key::PortForwardOf(seen_by(), protocol, seen.0, seen.1);
            links.push(Link::Depends(key, entity()));
        }
        for source in self.masqueraded() {
            let key = Key::PeeringMasqueradeOf(peering.clone(), vpc.clone(), Prefix::new(source));
            links.push(Link::Depends(key, entity()));
        }
        links
    }
}

/// What only one static translation can have, of an address that an expose translates: as the other side sees it, and as it is.
pub(crate) fn exposed_keys(
    (_, vpc, _): &ExposeKey,
    seen_by: &Name,
    (seen, own): (IpAddr, IpAddr),
) -> [Key; 2] {
    [
        Key::StaticExternal(seen_by.clone(), host(seen)),
        Key::StaticInternal(vpc.clone(), seen_by.clone(), host(own)),
    ]
}

/// Whether a prefix, or one that holds it, is taken out of what is exposed. Cost: a look-up a length.
pub(crate) fn takes_out(configuration: &Configuration, key: &ExposeKey, at: Prefix) -> bool {
    let (peering, vpc, name) = key;
    covering(at).any(|prefix| {
        let key = (peering.clone(), vpc.clone(), name.clone(), prefix);
        configuration.peering_expose_not.contains_key(&key)
    })
}

/// A prefix and all that hold it, the longest first.
pub(crate) fn covering(prefix: Prefix) -> impl Iterator<Item = Prefix> {
    let network = prefix.network();
    let lengths = (0..=network.prefix_len()).rev();
    lengths.filter_map(move |length| Some(Prefix::new(IpNet::new(network.addr(), length).ok()?)))
}

const EVERYTHING: [IpNet; 2] = [
    IpNet::V4(ipnet::Ipv4Net::new_assert(
        std::net::Ipv4Addr::UNSPECIFIED,
        0,
    )),
    IpNet::V6(ipnet::Ipv6Net::new_assert(
        std::net::Ipv6Addr::UNSPECIFIED,
        0,
    )),
];

fn everything(network: &IpNet) -> Prefix {
    Prefix::new(*network)
}

fn same_family(a: IpNet, b: IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

fn cover_of(range: AddressRange) -> impl Iterator<Item = IpNet> {
    cover(range).into_iter().flatten()
}
