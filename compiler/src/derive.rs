//! What the tables must hold for an entity, from the configuration alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use ipnet::IpNet;
use rewire_packet::ethernet::MacAddress;
use rewire_schema::model::*;
use rewire_schema::types::{
    self, InterfaceAddress, InterfaceType, Name, Prefix, RouteType, TransportProtocol,
};
use rewire_schema::{Path, Row};
use rewire_tables::acl::{AddressRanges, PacketPattern};
use rewire_tables::{
    ConnectionLimits, Interface, InterfaceIndex, Masquerade, NextHop, NextHops, PeeringIndex,
    Route, TableOperation, VpcIndex,
};

use crate::MOST_POOL_ADDRESSES;
use crate::entity::Entity;
use crate::entries::{Entries, Entry};
use crate::error::{CompileError, Errors};
use crate::exposes::{ExposeKey, covering, takes_out};
use crate::parallel::share_out;
use crate::references::{Claim, Key};
use crate::state::{State, addresses_of, next_hops_of, ranges_of};

/// Derives each entity in turn: the entries that the tables must hold for it. All that is wrong is reported. Many entities
/// are shared out among the processor's cores; no entity's entries depend on another's.
pub(crate) fn derive(state: &State, entities: &[Entity]) -> Result<Vec<Entries>, Errors> {
    let parts = share_out(entities.len(), |range| derive_part(state, &entities[range]));
    let mut parts = parts.into_iter();
    let (mut entries, mut errors) = parts.next().unwrap_or_default();
    for (more, wrong) in parts {
        entries.extend(more);
        errors.extend(wrong);
    }
    Errors::check(errors)?;
    Ok(entries)
}

fn derive_part(state: &State, entities: &[Entity]) -> (Vec<Entries>, Vec<CompileError>) {
    let mut derivation = Derivation::new(state);
    let mut errors = Vec::new();
    let mut entries = Vec::with_capacity(entities.len());
    for entity in entities {
        match derivation.entries(entity) {
            Ok(found) => entries.push(found),
            Err(error) => errors.push(error),
        }
    }
    (entries, errors)
}

pub(crate) struct Derivation<'a> {
    pub(crate) state: &'a State,
    /// The rules that were derived so far: the sources of a rule share it.
    pub(crate) masquerades: BTreeMap<Name, Arc<Masquerade>>,
    /// Likewise: the rules that name a set share it.
    pub(crate) address_sets: BTreeMap<Name, Arc<AddressRanges>>,
    pub(crate) services: BTreeMap<Name, Arc<[PacketPattern]>>,
}

pub(crate) type Derived = Result<Option<Entry>, CompileError>;

impl<'a> Derivation<'a> {
    pub(crate) fn new(state: &'a State) -> Self {
        Derivation {
            state,
            masquerades: BTreeMap::new(),
            address_sets: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }

    fn entries(&mut self, entity: &Entity) -> Result<Entries, CompileError> {
        let one = match entity {
            Entity::Vpc(name) => self.vpc(name),
            Entity::ConnectionLimits(vpc) => self.connection_limits(vpc),
            Entity::Timeouts(vpc) => self.timeouts(vpc)?,
            Entity::Interface(name) => self.interface(name)?,
            Entity::Acl(name) => self.acl(name),
            Entity::AclRule(acl, sequence) => self.acl_rule(acl, *sequence)?,
            Entity::Neighbor(interface, address) => self.neighbor(interface, *address)?,
            Entity::Route(vpc, prefix) => self.route(vpc, *prefix)?,
            Entity::RouteDistance(vpc, prefix) => self.route_distance(vpc, *prefix),
            Entity::Pool(name) => self.pool(name).map(|()| None)?,
            Entity::Masquerade(rule, source) => self.masquerade(rule, *source).map(|()| None)?,
            Entity::Masqueraded(vpc, interface, source) => {
                self.masqueraded(vpc, interface, *source)
            }
            Entity::Exclusion(name) => self.exclusion(name).map(|_| None)?,
            Entity::Exclusions(vpc) => self.exclusions(vpc),
            Entity::Nat64(name) => self.nat64(name).map(|_| None)?,
            Entity::Nat64s(vpc) => self.nat64s(vpc),
            Entity::PortForward(name) => return self.port_forward(name),
            Entity::StaticNat(name) => self.static_nat(name)?,
            Entity::Peering(name) => self.peering(name)?,
            Entity::Sender(peering, vpc, prefix) => self.sender(peering, vpc, *prefix),
            Entity::Expose(key) => return self.expose(key),
        };
        Ok(Entries::One(one))
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.state.configuration
    }

    pub(crate) fn vpc_index(
        &self,
        name: &Name,
        path: impl FnOnce() -> Path,
    ) -> Result<VpcIndex, CompileError> {
        self.state
            .vpcs
            .get(name)
            .map(VpcIndex)
            .ok_or_else(|| unknown(path(), "VPC", name))
    }

    pub(crate) fn interface_index(
        &self,
        name: &Name,
        path: impl FnOnce() -> Path,
    ) -> Result<InterfaceIndex, CompileError> {
        let index = self.state.interfaces.get(name).map(InterfaceIndex);
        index.ok_or_else(|| unknown(path(), "interface", name))
    }

    fn vpc(&self, name: &Name) -> Option<Entry> {
        let vpc = VpcIndex(self.state.vpcs.get(name)?);
        Some(TableOperation::SetVpc {
            vpc,
            name: name.as_str().into(),
        })
    }

    fn connection_limits(&self, vpc: &Name) -> Option<Entry> {
        let row = self.configuration().conntrack.get(&(vpc.clone(),))?;
        let limits = ConnectionLimits {
            most: row.most_connections.and_then(NonZeroU32::new),
            most_per_source: row.most_per_source.and_then(NonZeroU32::new),
        };
        // Where there is no such VPC, the store refuses the row.
        let vpc = VpcIndex(self.state.vpcs.get(vpc)?);
        (limits != ConnectionLimits::default())
            .then_some(TableOperation::SetConnectionLimits { vpc, limits })
    }

    fn interface(&self, name: &Name) -> Derived {
        let mut addresses = addresses_of(self.configuration(), name);
        let Some(row) = self.configuration().interface.get(&(name.clone(),)) else {
            return orphan(addresses.next(), "interface", name, |address| {
                InterfaceAddressRow {
                    interface: name.clone(),
                    address,
                    marks: Default::default(),
                }
                .into()
            });
        };
        let vpc = self.vpc_index(&row.vpc, || path(row).join("vpc"))?;
        let interface = self.interface_index(name, || path(row))?;
        if row.kind() == InterfaceType::Physical {
            for (field, is_there) in [("port", row.port.is_some()), ("mac", row.mac.is_some())] {
                if !is_there {
                    return Err(missing(path(row), "a physical interface", field));
                }
            }
        }
        let value = Interface {
            name: name.as_str().into(),
            vpc,
            // What is on no link is never asked for its MAC address.
            mac: row.mac.map_or(MacAddress([0; 6]), mac),
            mtu: row.mtu,
            addresses: addresses.map(network).collect(),
            acl_in: self.acl_index(row.acl_in.as_ref(), || path(row).join("acl_in"))?,
            acl_out: self.acl_index(row.acl_out.as_ref(), || path(row).join("acl_out"))?,
        };
        Ok(Some(TableOperation::SetInterface {
            interface,
            value: value.into(),
        }))
    }

    fn neighbor(&self, interface: &Name, address: IpAddr) -> Derived {
        let Some(row) = self
            .configuration()
            .neighbor
            .get(&(interface.clone(), address))
        else {
            return Ok(None);
        };
        let interface = self.interface_index(interface, || path(row))?;
        Ok(Some(TableOperation::SetNeighbor {
            interface,
            address,
            mac: mac(row.mac),
        }))
    }

    /// What a VPC's route table holds for a prefix. What is wrong with a static route is reported, whoever wins.
    fn route(&self, vpc: &Name, prefix: Prefix) -> Derived {
        let mut route = self.lead(vpc, prefix, prefix)?;
        // Where there is no such VPC, those who lay claim to its routes say so.
        let Some(index) = self.state.vpcs.get(vpc).map(VpcIndex) else {
            return Ok(None);
        };
        let slot = (vpc.clone(), prefix);
        let is_hole = self.state.references.holes.of(&slot).next().is_some();
        if route.is_none() && is_hole {
            // Whoever comes next around it, of those that do not take it out.
            for around in covering(prefix).skip(1) {
                route = self.lead(vpc, around, prefix)?;
                if route.is_some() {
                    break;
                }
            }
            route = route.or(Some(Route::NotExposed));
        }
        let set = |route| TableOperation::SetRoute {
            vpc: index,
            prefix: prefix.network(),
            route,
        };
        Ok(route.map(set))
    }

    /// Where what is said of `slot` leads packets to `at`, which is the slot or within it. The strongest claim wins: an
    /// interface's address, the ends of its subnet, its subnet, a static route, what a peering exposes, the external
    /// addresses of NAT.
    fn lead(&self, vpc: &Name, slot: Prefix, at: Prefix) -> Result<Option<Route>, CompileError> {
        let static_route = self.static_route(vpc, slot)?;
        let slot = (vpc.clone(), slot);
        let mut claims = self.state.references.claims.of(&slot).peekable();
        let connected = match claims.peek() {
            Some(Claim::Local(..)) => Some(Route::Local),
            Some(Claim::SubnetBroadcast(..)) => Some(Route::SubnetBroadcast),
            Some(Claim::Connected(name, _)) => {
                let interface = self.state.interfaces.get(name).map(InterfaceIndex);
                interface.map(|interface| {
                    Route::Forward(NextHops::one(NextHop::new(interface, name.as_str(), None)))
                })
            }
            _ => None,
        };
        let claimed = || {
            claims.find_map(|claim| match claim {
                Claim::Peering(_, key) => self.across(key, at),
                Claim::NatExternal(_) => Some(Route::NatExternal),
                _ => None,
            })
        };
        Ok(connected.or(static_route).or_else(claimed))
    }

    /// The way across a peering to what an expose shows, but for what it takes out.
    fn across(&self, key: &ExposeKey, at: Prefix) -> Option<Route> {
        let (peering, vpc, _) = key;
        let route = Route::Peering {
            peering: self.state.peerings.get(peering).map(PeeringIndex)?,
            vpc: self.state.vpcs.get(vpc).map(VpcIndex)?,
        };
        (!takes_out(self.configuration(), key, at)).then_some(route)
    }

    fn route_distance(&self, vpc: &Name, prefix: Prefix) -> Option<Entry> {
        let row = self.configuration().route.get(&(vpc.clone(), prefix))?;
        // Where there is no such VPC, the route says so.
        Some(TableOperation::SetRouteDistance {
            vpc: VpcIndex(self.state.vpcs.get(vpc)?),
            prefix: prefix.network(),
            distance: row.distance?,
        })
    }

    pub(crate) fn static_route(
        &self,
        vpc: &Name,
        prefix: Prefix,
    ) -> Result<Option<Route>, CompileError> {
        let mut next_hops = next_hops_of(self.configuration(), vpc, prefix);
        let Some(row) = self.configuration().route.get(&(vpc.clone(), prefix)) else {
            return match next_hops.next() {
                Some(row) => Err(unknown(path(row), "route", prefix)),
                None => Ok(None),
            };
        };
        self.route_of(row, next_hops)
    }

    /// What a static route with these next hops, which are all that it has, leads to.
    pub(crate) fn route_of<'r>(
        &self,
        row: &RouteRow,
        next_hops: impl Iterator<Item = &'r NextHopRow>,
    ) -> Result<Option<Route>, CompileError> {
        self.vpc_index(&row.vpc, || path(row))?;
        // A next hop over an interface that is down is not used.
        let hop = |row: &NextHopRow| {
            let at = || path(row).join("interface");
            let interface = self.interface_index(&row.interface, at)?;
            let by_name = &self.configuration().interface;
            let is_up = match by_name.get(&(row.interface.clone(),)) {
                Some(interface) if interface.kind() == InterfaceType::Loopback => {
                    return Err(CompileError::NotALink {
                        path: at(),
                        interface: interface.name.to_string(),
                    });
                }
                Some(interface) => !interface.disabled,
                None => false,
            };
            Ok::<_, CompileError>(is_up.then(|| {
                NextHop::new(interface, row.interface.as_str(), row.via)
                    .with_weight(row.weight.unwrap_or(1))
            }))
        };
        Ok(Some(match row.route_type {
            RouteType::Blackhole => Route::Blackhole,
            RouteType::Unreachable => Route::Unreachable,
            RouteType::Vpc => {
                let Some(to_vpc) = &row.to_vpc else {
                    return Err(missing(path(row), "a route of type vpc", "to_vpc"));
                };
                Route::Vpc(self.vpc_index(to_vpc, || path(row).join("to_vpc"))?)
            }
            RouteType::Unicast => {
                let mut next_hops = next_hops.peekable();
                if next_hops.peek().is_none() {
                    return Err(CompileError::NoNextHop { path: path(row) });
                }
                let hops = next_hops.map(hop).collect::<Result<Vec<_>, _>>()?;
                match NextHops::new(hops.into_iter().flatten()) {
                    Some(hops) => Route::Forward(hops),
                    None => return Ok(None),
                }
            }
        }))
    }

    fn pool(&self, name: &Name) -> Result<(), CompileError> {
        let mut ranges = ranges_of(self.configuration(), name);
        let Some(row) = self.configuration().nat_pool.get(&(name.clone(),)) else {
            return orphan(ranges.next(), "pool", name, |range| {
                PoolRangeRow {
                    pool: name.clone(),
                    range,
                    marks: Default::default(),
                }
                .into()
            })
            .map(|_| ());
        };
        self.vpc_index(&row.vpc, || path(row).join("vpc"))?;
        let size = |range: types::AddressRange| {
            (number(range.last()) - number(range.first())).saturating_add(1)
        };
        let addresses = ranges.map(size).fold(0, u128::saturating_add);
        if addresses > MOST_POOL_ADDRESSES {
            return Err(CompileError::PoolTooLarge {
                path: path(row),
                addresses,
            });
        }
        Ok(())
    }

    /// Of several entities that want what only one can have, the first one has it.
    pub(crate) fn only(&self, key: &Key, entity: &Entity) -> Result<(), CompileError> {
        let references = &self.state.references;
        let around = || references.around(key);
        match around().or_else(|| references.dependents.of(key).next()) {
            Some(first) if first != entity => Err(CompileError::Ambiguous {
                path: rule_path(entity),
                other: rule_path(first),
            }),
            _ => Ok(()),
        }
    }
}

pub(crate) fn missing(path: Path, object: &'static str, field: &'static str) -> CompileError {
    CompileError::Missing {
        path,
        object,
        field,
    }
}

pub(crate) fn unknown(path: Path, kind: &'static str, name: impl ToString) -> CompileError {
    CompileError::Unknown {
        path,
        kind,
        name: name.to_string(),
    }
}

/// Nothing is derived where there is no parent, and the first child without it is an error.
pub(crate) fn orphan<T>(
    child: Option<T>,
    kind: &'static str,
    parent: &Name,
    row: impl FnOnce(T) -> Row,
) -> Derived {
    match child {
        Some(child) => Err(unknown(row(child).path(), kind, parent)),
        None => Ok(None),
    }
}

pub(crate) fn path(row: &(impl Clone + Into<Row>)) -> Path {
    row.clone().into().path()
}

/// Where the rule of an entity stands.
pub(crate) fn rule_path(entity: &Entity) -> Path {
    match entity {
        Entity::Vpc(name) => Path::new(["vpcs", name.as_str()]),
        Entity::ConnectionLimits(vpc) | Entity::Timeouts(vpc) => {
            Path::new(["vpcs", vpc.as_str(), "conntrack"])
        }
        Entity::Interface(name) => Path::new(["interfaces", name.as_str()]),
        Entity::Acl(name) => Path::new(["acls", name.as_str()]),
        Entity::AclRule(acl, sequence) => Path::new(["acls", acl.as_str(), "rules"]).join(sequence),
        Entity::Neighbor(name, address) => {
            Path::new(["interfaces", name.as_str(), "neighbors"]).join(address)
        }
        Entity::Route(vpc, prefix) | Entity::RouteDistance(vpc, prefix) => {
            Path::new(["vpcs", vpc.as_str(), "routes"]).join(prefix)
        }
        Entity::Pool(name) => Path::new(["nat", "pools", name.as_str()]),
        Entity::Masqueraded(_, interface, _) => Path::new(["interfaces", interface.as_str()]),
        Entity::Exclusion(name) => Path::new(["nat", "exclusions", name.as_str()]),
        Entity::Exclusions(vpc) => Path::new(["vpcs", vpc.as_str()]),
        Entity::Masquerade(name, source) => {
            Path::new(["nat", "masquerade", name.as_str(), "sources"]).join(source)
        }
        Entity::Nat64(name) => Path::new(["nat", "nat64", name.as_str()]),
        Entity::Nat64s(vpc) => Path::new(["vpcs", vpc.as_str()]),
        Entity::PortForward(name) => Path::new(["nat", "port_forward", name.as_str()]),
        Entity::StaticNat(name) => Path::new(["nat", "static", name.as_str()]),
        Entity::Peering(name) => Path::new(["peerings", name.as_str()]),
        Entity::Sender(peering, vpc, _) => {
            Path::new(["peerings", peering.as_str(), "sides", vpc.as_str()])
        }
        Entity::Expose((peering, vpc, name)) => {
            let side = Path::new(["peerings", peering.as_str(), "sides", vpc.as_str()]);
            side.join("expose").join(name)
        }
    }
}

pub(crate) fn one_family(
    row: &(impl Clone + Into<Row>),
    external: IpAddr,
    internal: IpAddr,
) -> Result<(), CompileError> {
    if external.is_ipv4() == internal.is_ipv4() {
        Ok(())
    } else {
        Err(CompileError::MixedFamilies {
            path: path(row),
            external,
            internal,
        })
    }
}

/// The number that IP headers have.
pub(crate) fn number_of(protocol: TransportProtocol) -> u8 {
    match protocol {
        TransportProtocol::Udp => 17,
        _ => 6,
    }
}

fn mac(address: types::MacAddress) -> MacAddress {
    MacAddress(address.octets())
}

fn network(address: InterfaceAddress) -> IpNet {
    let subnet = address.subnet();
    IpNet::new(address.address(), subnet.prefix_len()).unwrap_or(subnet)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
