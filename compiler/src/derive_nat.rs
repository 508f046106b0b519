//! What the tables must hold for NAT: masquerades, exclusions, port forwards and static translations. The routes of external
//! addresses are claims to slots, like others: see [`Derivation::lead`].

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rewire_packet::pref64::{Pref64, Pref64Error};
use rewire_schema::model::*;
use rewire_schema::types::{
    self, AddressRange, Addresses, InterfaceAddress, Name, Ports, Prefix, Protocol,
};
use rewire_tables::acl::AddressRanges;
use rewire_tables::nat::{Condition, Exclusion, MasqueradeList, Nat64, PortParity, PortSet};
use rewire_tables::{
    Filtering, InterfaceIndex, Masquerade, PortAllocation, PortForward, PortForwardKey, StaticNat,
    TableOperation, VpcIndex, VpcTimeouts,
};

use crate::acl::{Upper, patterns, range};
use crate::derive::{
    Derivation, Derived, missing, number_of, one_family, path, rule_path, unknown,
};
use crate::entity::Entity;
use crate::entries::{Entries, Entry};
use crate::error::CompileError;
use crate::exposes::covering;
use crate::references::{
    external_addresses, forwarded_ports, masquerade_key, nat64_prefix, port_forward_keys,
    static_nat_keys,
};
use crate::state::{
    addresses_of, destinations_of, excluded_addresses_of, forward_sources_of, nat64_sources_of,
    ranges_of,
};
use crate::{LONGEST_NPTV6_PREFIX, MOST_FORWARDED_PORTS};

/// What a masquerade rule asks of packets, besides their sender.
type Asked = (Option<Protocol>, Option<Ports>, BTreeSet<Addresses>);

impl Derivation<'_> {
    /// The time-outs that a VPC says.
    pub(crate) fn timeouts(&self, vpc: &Name) -> Derived {
        let Some(row) = self.configuration().conntrack.get(&(vpc.clone(),)) else {
            return Ok(None);
        };
        let time = |time: Option<types::Duration>| time.map(Duration::from);
        let timeouts = VpcTimeouts {
            tcp_established: time(row.tcp_established),
            tcp_partially_open: time(row.tcp_partially_open),
            tcp_partially_closed: time(row.tcp_partially_closed),
            tcp_reset: time(row.tcp_reset),
            udp_replied: time(row.udp_replied),
            udp_unreplied: time(row.udp_unreplied),
            icmp_query: time(row.icmp_query),
            other: time(row.other),
        };
        let vpc = self.vpc_index(vpc, || path(row))?;
        let is_any = timeouts != VpcTimeouts::default();
        Ok(is_any.then(|| TableOperation::SetTimeouts {
            vpc,
            timeouts: timeouts.into(),
        }))
    }

    fn asked(&self, rule: &MasqueradeRow) -> Asked {
        let destinations = destinations_of(self.configuration(), &rule.name).collect();
        (rule.protocol, rule.source_port.clone(), destinations)
    }

    /// Whether a source of a masquerade rule can be masqueraded.
    pub(crate) fn masquerade(&mut self, name: &Name, source: Prefix) -> Result<(), CompileError> {
        let configuration = &self.state.configuration;
        let Some(row) = configuration.masquerade_source.get(&(name.clone(), source)) else {
            return Ok(());
        };
        let Some(rule) = configuration.masquerade.get(&(name.clone(),)) else {
            return Err(unknown(path(row), "masquerade", name));
        };
        self.vpc_index(&rule.vpc, || path(rule).join("vpc"))?;
        self.interface_index(&rule.interface, || path(rule).join("interface"))?;
        // Of rules that ask for the same packets, the first one has them.
        let dependents = &self.state.references.dependents;
        let asked = self.asked(rule);
        let asks_for_same = |entity: &&Entity| match entity {
            Entity::Masquerade(other, _) => {
                let other = configuration.masquerade.get(&(other.clone(),));
                other.is_some_and(|other| self.asked(other) == asked)
            }
            _ => false,
        };
        let entity = Entity::Masquerade(name.clone(), source);
        let wanted = masquerade_key(rule, source);
        let first = dependents.of(&wanted).find(asks_for_same);
        if let Some(first) = first.filter(|first| **first != entity) {
            return Err(CompileError::Ambiguous {
                path: rule_path(&entity),
                other: rule_path(first),
            });
        }
        let is_ipv4 = source.network().addr().is_ipv4();
        let external = self.external(rule)?;
        if !external
            .iter()
            .any(|range| range.start().is_ipv4() == is_ipv4)
        {
            return Err(CompileError::NoExternalAddress {
                path: path(row),
                masquerade: name.to_string(),
                family: if is_ipv4 { "IPv4" } else { "IPv6" },
            });
        }
        Ok(())
    }

    /// The rules for senders, in the order in which they are asked, up to one that is for all of their packets: those of the
    /// longest prefix first, of these those that ask for more, of these the first by name. What is wrong with a rule is said by
    /// [`masquerade`](Self::masquerade).
    pub(crate) fn masqueraded(
        &mut self,
        vpc: &Name,
        interface: &Name,
        source: Prefix,
    ) -> Option<Entry> {
        let state = self.state;
        let mut rules: Vec<Arc<Masquerade>> = Vec::new();
        for around in covering(source) {
            let slot = (vpc.clone(), interface.clone(), around);
            let names = state.references.masquerades.of(&slot);
            let rows =
                names.filter_map(|name| state.configuration.masquerade.get(&(name.clone(),)));
            let mut rows: Vec<&MasqueradeRow> = rows.collect();
            if rows.is_empty() && around == source {
                return None;
            }
            rows.sort_by_cached_key(|row| {
                let (protocol, source_port, destinations) = self.asked(row);
                let asks = (
                    !destinations.is_empty(),
                    source_port.is_some(),
                    protocol.is_some(),
                );
                (Reverse(asks), row.name.clone())
            });
            for row in rows {
                let rule = self.masquerade_rule(row)?;
                let is_for_all = rule.condition.is_none();
                rules.push(rule);
                if is_for_all {
                    return self.set_masquerade(vpc, interface, source, rules.into());
                }
            }
        }
        self.set_masquerade(vpc, interface, source, rules.into())
    }

    fn set_masquerade(
        &self,
        vpc: &Name,
        interface: &Name,
        source: Prefix,
        rules: MasqueradeList,
    ) -> Option<Entry> {
        Some(TableOperation::SetMasquerade {
            vpc: VpcIndex(self.state.vpcs.get(vpc)?),
            interface: InterfaceIndex(self.state.interfaces.get(interface)?),
            source: source.network(),
            rules,
        })
    }

    /// A rule as the tables hold it; all its sources share it.
    fn masquerade_rule(&mut self, row: &MasqueradeRow) -> Option<Arc<Masquerade>> {
        if let Some(rule) = self.masquerades.get(&row.name) {
            return Some(Arc::clone(rule));
        }
        let pool = row.pool.clone();
        let pool = pool.and_then(|pool| self.configuration().nat_pool.get(&(pool,)));
        let ports = row.ports.as_ref();
        let ports = ports.or_else(|| pool.and_then(|pool| pool.ports.as_ref()));
        let (protocol, source_port, destinations) = self.asked(row);
        let is_for_all = protocol.is_none() && source_port.is_none() && destinations.is_empty();
        let condition = (!is_for_all).then(|| Condition {
            sources: None,
            destinations: ranges(&destinations),
            packets: patterns(&Upper {
                protocol,
                source_port: source_port.as_ref(),
                ..Upper::default()
            })
            .collect(),
        });
        let rule = Arc::new(Masquerade {
            condition,
            ports: PortAllocation {
                within: ports.map(|ports| PortSet::new(ports.ranges()).into()),
                address_only: pool.is_some_and(|pool| pool.address_only),
                parity: match (row.preserve_parity, row.preserve_contiguity) {
                    (_, true) => PortParity::Pairs,
                    (true, false) => PortParity::Preserved,
                    (false, false) => PortParity::Any,
                },
            },
            pool: row.pool.as_ref().map(|pool| pool.as_str().into()),
            idle_timeout: row.idle_timeout.map(Duration::from),
            filtering: filtering(row.filtering),
            ..Masquerade::new(row.name.as_str(), self.external(row).ok()?)
        });
        self.masquerades.insert(row.name.clone(), Arc::clone(&rule));
        Some(rule)
    }

    /// The external addresses of a masquerade rule: the ranges of its pool, or the first address of each family that
    /// its interface has, in the order of [`addresses_of`].
    fn external(&self, rule: &MasqueradeRow) -> Result<Vec<RangeInclusive<IpAddr>>, CompileError> {
        if let Some(pool) = &rule.pool {
            if !self.configuration().nat_pool.contains_key(&(pool.clone(),)) {
                return Err(unknown(path(rule).join("pool"), "pool", pool));
            }
            let ranges = ranges_of(self.configuration(), pool);
            return Ok(ranges.map(|range| range.first()..=range.last()).collect());
        }
        let addresses =
            || addresses_of(self.configuration(), &rule.interface).map(InterfaceAddress::address);
        let first = [
            addresses().find(IpAddr::is_ipv4),
            addresses().find(IpAddr::is_ipv6),
        ];
        Ok(first
            .into_iter()
            .flatten()
            .map(|address| address..=address)
            .collect())
    }

    /// An exclusion as the tables hold it, where there is one of this name.
    pub(crate) fn exclusion(&self, name: &Name) -> Result<Option<Exclusion>, CompileError> {
        let configuration = self.configuration();
        let Some(row) = configuration.nat_exclusion.get(&(name.clone(),)) else {
            return Ok(None);
        };
        self.vpc_index(&row.vpc, || path(row).join("vpc"))?;
        let interface = row.interface.as_ref();
        let interface = interface
            .map(|name| self.interface_index(name, || path(row).join("interface")))
            .transpose()?;
        let (sources, destinations) = excluded_addresses_of(configuration, name);
        Ok(Some(Exclusion {
            name: name.as_str().into(),
            interface,
            condition: Condition {
                sources: ranges(&sources),
                destinations: ranges(&destinations),
                packets: patterns(&Upper {
                    protocol: row.protocol,
                    source_port: row.source_port.as_ref(),
                    destination_port: row.destination_port.as_ref(),
                    ..Upper::default()
                })
                .collect(),
            },
        }))
    }

    /// All exclusions of a VPC. What is wrong with one is said by [`exclusion`](Self::exclusion). Cost: all exclusions.
    pub(crate) fn exclusions(&self, vpc: &Name) -> Option<Entry> {
        let rows = self.configuration().nat_exclusion.values();
        let rows = rows.filter(|row| row.vpc == *vpc);
        let rules: Arc<[Exclusion]> = rows
            .filter_map(|row| self.exclusion(&row.name).ok().flatten())
            .collect();
        let vpc = VpcIndex(self.state.vpcs.get(vpc)?);
        (!rules.is_empty()).then_some(TableOperation::SetExclusions { vpc, rules })
    }

    /// A NAT64 as the tables hold it, where there is one of this name.
    pub(crate) fn nat64(&self, name: &Name) -> Result<Option<Nat64>, CompileError> {
        let configuration = self.configuration();
        let Some(row) = configuration.nat64.get(&(name.clone(),)) else {
            return Ok(None);
        };
        self.vpc_index(&row.vpc, || path(row).join("vpc"))?;
        let Some(pool) = configuration.nat_pool.get(&(row.pool.clone(),)) else {
            return Err(unknown(path(row).join("pool"), "pool", &row.pool));
        };
        let vpc = self.vpc_index(&pool.vpc, || path(pool).join("vpc"))?;
        let prefix = match nat64_prefix(row).network() {
            IpNet::V6(prefix) => Pref64::new(prefix.network(), prefix.prefix_len()),
            IpNet::V4(prefix) => Err(Pref64Error::Length(prefix.prefix_len())),
        };
        let prefix = prefix.map_err(|reason| CompileError::NoPref64 {
            path: path(row).join("prefix"),
            reason,
        })?;
        let range = |range: AddressRange| match (range.first(), range.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Some(first..=last),
            _ => None,
        };
        let external: Vec<_> = ranges_of(configuration, &pool.name)
            .filter_map(range)
            .collect();
        if external.is_empty() {
            return Err(CompileError::NoExternalAddress {
                path: path(row),
                masquerade: name.to_string(),
                family: "IPv4",
            });
        }
        let ports = row.ports.as_ref().or(pool.ports.as_ref());
        Ok(Some(Nat64 {
            name: name.as_str().into(),
            prefix,
            sources: ranges(&nat64_sources_of(configuration, name)),
            vpc,
            external,
            ports: PortAllocation {
                within: ports.map(|ports| PortSet::new(ports.ranges()).into()),
                address_only: false,
                parity: PortParity::Any,
            },
            idle_timeout: row.idle_timeout.map(Duration::from),
            filtering: filtering(row.filtering),
        }))
    }

    /// All NAT64 of a VPC's clients: the longest prefix first, of one prefix those that are for some clients, then by name. What is wrong
    /// with one is said by [`nat64`](Self::nat64). Cost: all NAT64.
    pub(crate) fn nat64s(&self, vpc: &Name) -> Option<Entry> {
        let rows = self.configuration().nat64.values();
        let rows = rows.filter(|row| row.vpc == *vpc);
        let mut rules: Vec<Nat64> = rows
            .filter_map(|row| self.nat64(&row.name).ok().flatten())
            .collect();
        // What is left stands in the order of the names.
        rules.sort_by_key(|rule| (Reverse(rule.prefix.length()), rule.sources.is_none()));
        let vpc = VpcIndex(self.state.vpcs.get(vpc)?);
        let rules: Arc<[Nat64]> = rules.into();
        (!rules.is_empty()).then_some(TableOperation::SetNat64 { vpc, rules })
    }

    pub(crate) fn port_forward(&self, name: &Name) -> Result<Entries, CompileError> {
        let configuration = self.configuration();
        let Some(row) = configuration.port_forward.get(&(name.clone(),)) else {
            return Ok(Entries::NONE);
        };
        let vpc = self.vpc_index(&row.external_vpc, || path(row).join("external_vpc"))?;
        let internal_vpc = self.vpc_index(&row.internal_vpc, || path(row).join("internal_vpc"))?;
        match (row.external_address, &row.external_interface) {
            // NAT64 makes IPv6 of IPv4: whether there is one is the check's to say.
            (Some(address), _) if address.is_ipv4() && row.internal_address.is_ipv6() => {}
            (Some(address), _) => one_family(row, address, row.internal_address)?,
            (None, Some(interface)) => {
                self.interface_index(interface, || path(row).join("external_interface"))?;
            }
            (None, None) => return Err(missing(path(row), "a port forward", "external_address")),
        }
        let internal_port = row.internal_port.as_ref().unwrap_or(&row.external_port);
        let (external, internal) = (row.external_port.count(), internal_port.count());
        if external != internal {
            return Err(CompileError::UnpairedPorts {
                path: path(row),
                external,
                internal,
            });
        }
        let ports = forwarded_ports(row);
        if ports > MOST_FORWARDED_PORTS {
            let path = path(row);
            return Err(CompileError::TooManyPorts { path, ports });
        }
        let entity = Entity::PortForward(name.clone());
        for key in port_forward_keys(configuration, row) {
            self.only(&key, &entity)?;
        }
        let name: Arc<str> = name.as_str().into();
        let sources = ranges(&forward_sources_of(configuration, &row.name));
        let entry = |address: IpAddr, protocol: u8, (port, internal_port)| {
            let key = PortForwardKey {
                vpc,
                protocol,
                address,
                port,
            };
            let value = PortForward {
                name: Arc::clone(&name),
                vpc: internal_vpc,
                address: row.internal_address,
                port: internal_port,
                sources: sources.clone(),
                idle_timeout: row.idle_timeout.map(Duration::from),
                peering: None,
            };
            let set = TableOperation::SetPortForward { key, value };
            ((address, protocol, port), set)
        };
        let pairs = || row.external_port.iter().zip(internal_port.iter());
        let entry = &entry;
        let of_address = |address| {
            let protocols = row.protocol.each().iter().copied().map(number_of);
            protocols
                .flat_map(move |protocol| pairs().map(move |pair| entry(address, protocol, pair)))
        };
        let addresses = external_addresses(configuration, row);
        Ok(Entries::Many(addresses.flat_map(of_address).collect()))
    }

    pub(crate) fn static_nat(&self, name: &Name) -> Derived {
        let Some(row) = self.configuration().static_nat.get(&(name.clone(),)) else {
            return Ok(None);
        };
        let external_vpc = self.vpc_index(&row.external_vpc, || path(row).join("external_vpc"))?;
        let internal_vpc = self.vpc_index(&row.internal_vpc, || path(row).join("internal_vpc"))?;
        let (external, internal) = (row.external_address.prefix(), row.internal_address.prefix());
        let (outside, inside) = (external.network(), internal.network());
        one_family(row, outside.network(), inside.network())?;
        let longest = outside.prefix_len().max(inside.prefix_len());
        if row.nptv6 && (outside.addr().is_ipv4() || longest > LONGEST_NPTV6_PREFIX) {
            let path = path(row).join("nptv6");
            return Err(CompileError::NoNptv6 { path });
        }
        if outside.prefix_len() != inside.prefix_len() && !row.nptv6 {
            return Err(CompileError::MixedLengths {
                path: path(row),
                external,
                internal,
            });
        }
        let entity = Entity::StaticNat(name.clone());
        for key in static_nat_keys(row) {
            self.only(&key, &entity)?;
        }
        let value = StaticNat {
            name: name.as_str().into(),
            external_vpc,
            external: outside,
            internal_vpc,
            internal: inside,
            nptv6: row.nptv6,
            idle_timeout: None,
            peering: None,
        };
        Ok(Some(TableOperation::SetStaticNat {
            value: value.into(),
        }))
    }
}

/// What a rule lets in from outside.
fn filtering(said: Option<types::Filtering>) -> Filtering {
    match said {
        None | Some(types::Filtering::AddressAndPortDependent) => {
            Filtering::AddressAndPortDependent
        }
        Some(types::Filtering::AddressDependent) => Filtering::AddressDependent,
        Some(types::Filtering::EndpointIndependent) => Filtering::EndpointIndependent,
    }
}

/// Addresses as the tables hold them; none where there are none, which is any.
fn ranges<'a>(addresses: impl IntoIterator<Item = &'a Addresses>) -> Option<Arc<AddressRanges>> {
    let mut addresses = addresses.into_iter().peekable();
    addresses.peek()?;
    Some(AddressRanges::new(addresses.map(range)).into())
}
