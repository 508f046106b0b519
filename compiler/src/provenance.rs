//! Which rows an entity's entries come from. The one place that says so: what `derive.rs` reads for an entity and finds there.
//!
//! Nothing of this is kept in the tables: it is worked out again when somebody asks.

use rewire_schema::Row;
use rewire_schema::model::*;
use rewire_schema::types::{Name, Prefix};

use crate::entity::Entity;
use crate::exposes::{ExposeKey, covering, rows_of, sides_of, takes_out};
use crate::references::{Claim, External};
use crate::state::{
    State, addresses_of, destinations_of, excluded_addresses_of, forward_sources_of, members_of,
    nat64_sources_of, next_hops_of, ranges_of, rule_addresses_of, service_entries_of,
};

/// The rows that an entity is derived from, each once, in the order of their tables and keys.
pub(crate) fn provenance(state: &State, entity: &Entity) -> Vec<Row> {
    let mut rows = Provenance {
        state,
        rows: Vec::new(),
    };
    rows.of(entity);
    rows.rows.sort_by_cached_key(Row::row_key);
    rows.rows.dedup();
    rows.rows
}

struct Provenance<'a> {
    state: &'a State,
    rows: Vec<Row>,
}

impl<'a> Provenance<'a> {
    fn configuration(&self) -> &'a Configuration {
        &self.state.configuration
    }

    fn add<R: Clone + Into<Row>>(&mut self, row: Option<&R>) {
        self.rows.extend(row.cloned().map(Into::into));
    }

    fn of(&mut self, entity: &Entity) {
        let configuration = self.configuration();
        match entity {
            Entity::Vpc(name) => self.vpc(name),
            Entity::Timeouts(vpc) => self.add(configuration.conntrack.get(&(vpc.clone(),))),
            Entity::Interface(name) => {
                self.interface(name);
                for address in addresses_of(configuration, name) {
                    let key = (name.clone(), address);
                    self.add(configuration.interface_address.get(&key));
                }
            }
            Entity::ConnectionLimits(vpc) => {
                self.vpc(vpc);
                self.add(configuration.conntrack.get(&(vpc.clone(),)));
            }
            Entity::Acl(name) => self.add(configuration.acl.get(&(name.clone(),))),
            Entity::AclRule(acl, sequence) => self.acl_rule(acl, *sequence),
            Entity::Neighbor(interface, address) => {
                self.interface(interface);
                let key = (interface.clone(), *address);
                self.add(configuration.neighbor.get(&key));
            }
            Entity::Route(vpc, prefix) => self.route(vpc, *prefix),
            Entity::RouteDistance(vpc, prefix) => {
                self.vpc(vpc);
                self.add(configuration.route.get(&(vpc.clone(), *prefix)));
            }
            Entity::Pool(name) => self.pool(name),
            Entity::Masquerade(name, source) => self.masquerade(name, *source),
            Entity::Masqueraded(vpc, interface, source) => {
                self.masqueraded(vpc, interface, *source);
            }
            Entity::Exclusion(name) => self.exclusion(name),
            Entity::Exclusions(vpc) => {
                let rows = configuration.nat_exclusion.values();
                rows.filter(|row| row.vpc == *vpc)
                    .for_each(|row| self.exclusion(&row.name));
            }
            Entity::Nat64(name) => self.nat64(name),
            Entity::Nat64s(vpc) => {
                let rows = configuration.nat64.values();
                rows.filter(|row| row.vpc == *vpc)
                    .for_each(|row| self.nat64(&row.name));
            }
            Entity::PortForward(name) => self.port_forward(name),
            Entity::StaticNat(name) => self.add(configuration.static_nat.get(&(name.clone(),))),
            Entity::Peering(name) => self.peering(name),
            Entity::Sender(peering, vpc, prefix) => self.sender(peering, vpc, *prefix),
            Entity::Expose(key) => self.expose(key),
        }
    }

    fn acl_rule(&mut self, acl: &Name, sequence: u32) {
        let configuration = self.configuration();
        let Some(rule) = configuration.acl_rule.get(&(acl.clone(), sequence)) else {
            return;
        };
        self.add(Some(rule));
        let (sources, destinations) = rule_addresses_of(configuration, acl, sequence);
        let key = |addresses| (acl.clone(), sequence, addresses);
        for addresses in sources {
            self.add(configuration.acl_rule_source.get(&key(addresses)));
        }
        for addresses in destinations {
            self.add(configuration.acl_rule_destination.get(&key(addresses)));
        }
        for set in rule.source_set.iter().chain(&rule.destination_set) {
            self.add(configuration.address_set.get(&(set.clone(),)));
            for member in members_of(configuration, set) {
                let key = (set.clone(), member);
                self.add(configuration.address_set_member.get(&key));
            }
        }
        if let Some(service) = &rule.service {
            self.add(configuration.service.get(&(service.clone(),)));
            for entry in service_entries_of(configuration, service) {
                self.add(Some(entry));
            }
        }
    }

    fn vpc(&mut self, name: &Name) {
        self.add(self.configuration().vpc.get(&(name.clone(),)));
    }

    fn interface(&mut self, name: &Name) {
        let row = self.configuration().interface.get(&(name.clone(),));
        self.add(row);
        if let Some(row) = row {
            self.vpc(&row.vpc);
        }
    }

    fn pool(&mut self, name: &Name) {
        let configuration = self.configuration();
        self.add(configuration.nat_pool.get(&(name.clone(),)));
        for range in ranges_of(configuration, name) {
            self.add(configuration.nat_pool_range.get(&(name.clone(), range)));
        }
    }

    fn masquerade(&mut self, name: &Name, source: Prefix) {
        let configuration = self.configuration();
        let key = (name.clone(), source);
        self.add(configuration.masquerade_source.get(&key));
        let Some(rule) = configuration.masquerade.get(&(name.clone(),)) else {
            return;
        };
        self.add(Some(rule));
        for destination in destinations_of(configuration, name) {
            let key = (name.clone(), destination);
            self.add(configuration.masquerade_destination.get(&key));
        }
        match &rule.pool {
            Some(pool) => self.pool(pool),
            None => self.of(&Entity::Interface(rule.interface.clone())),
        }
    }

    /// The rules of all senders around these, up to one that is for all of their packets, as `derive_nat.rs` finds them.
    fn masqueraded(&mut self, vpc: &Name, interface: &Name, source: Prefix) {
        let configuration = self.configuration();
        for around in covering(source) {
            let slot = (vpc.clone(), interface.clone(), around);
            let rules = self.state.references.masquerades.of(&slot).cloned();
            let rules: Vec<Name> = rules.collect();
            for rule in &rules {
                self.masquerade(rule, around);
            }
            let is_for_all = |rule: &Name| {
                let row = configuration.masquerade.get(&(rule.clone(),));
                row.is_some_and(|row| row.protocol.is_none() && row.source_port.is_none())
                    && destinations_of(configuration, rule).next().is_none()
            };
            if rules.iter().any(is_for_all) {
                break;
            }
        }
    }

    fn exclusion(&mut self, name: &Name) {
        let configuration = self.configuration();
        self.add(configuration.nat_exclusion.get(&(name.clone(),)));
        let (sources, destinations) = excluded_addresses_of(configuration, name);
        for addresses in sources {
            let key = (name.clone(), addresses);
            self.add(configuration.nat_exclusion_source.get(&key));
        }
        for addresses in destinations {
            let key = (name.clone(), addresses);
            self.add(configuration.nat_exclusion_destination.get(&key));
        }
    }

    fn nat64(&mut self, name: &Name) {
        let configuration = self.configuration();
        let Some(rule) = configuration.nat64.get(&(name.clone(),)) else {
            return;
        };
        self.add(Some(rule));
        for addresses in nat64_sources_of(configuration, name) {
            let key = (name.clone(), addresses);
            self.add(configuration.nat64_source.get(&key));
        }
        self.pool(&rule.pool);
    }

    fn port_forward(&mut self, name: &Name) {
        let configuration = self.configuration();
        let row = configuration.port_forward.get(&(name.clone(),));
        self.add(row);
        for addresses in forward_sources_of(configuration, name) {
            let key = (name.clone(), addresses);
            self.add(configuration.port_forward_source.get(&key));
        }
        if let Some(interface) = row.and_then(|row| row.external_interface.as_ref()) {
            self.of(&Entity::Interface(interface.clone()));
        }
    }

    /// The rows of what wins, in the order in which `derive.rs` lets it win.
    fn route(&mut self, vpc: &Name, prefix: Prefix) {
        if self.lead(vpc, prefix, prefix) {
            return;
        }
        // A hole: what takes it out, and what is around it.
        let slot = (vpc.clone(), prefix);
        let holes: Vec<ExposeKey> = self.state.references.holes.of(&slot).cloned().collect();
        for key in &holes {
            let (peering, side, name) = key.clone();
            let key = (peering, side, name, prefix);
            self.add(self.configuration().peering_expose_not.get(&key));
        }
        if !holes.is_empty() {
            for around in covering(prefix).skip(1) {
                if self.lead(vpc, around, prefix) {
                    break;
                }
            }
        }
    }

    fn lead(&mut self, vpc: &Name, slot: Prefix, at: Prefix) -> bool {
        let configuration = self.configuration();
        let key = (vpc.clone(), slot);
        let claims: Vec<Claim> = self.state.references.claims.of(&key).cloned().collect();
        if let Some(
            Claim::Local(interface, address)
            | Claim::SubnetBroadcast(interface, address)
            | Claim::Connected(interface, address),
        ) = claims.first()
        {
            self.interface(interface);
            let key = (interface.clone(), *address);
            self.add(configuration.interface_address.get(&key));
            return true;
        }
        let hops: Vec<&NextHopRow> = next_hops_of(configuration, vpc, slot).collect();
        let is_up = |hop: &&&NextHopRow| {
            let interface = configuration.interface.get(&(hop.interface.clone(),));
            interface.is_some_and(|interface| !interface.disabled)
        };
        let route = configuration.route.get(&key);
        if let Some(route) = route
            && (hops.is_empty() || hops.iter().any(|hop| is_up(&hop)))
        {
            self.add(Some(route));
            for hop in hops.iter().filter(is_up) {
                self.add(Some(*hop));
                self.interface(&hop.interface);
            }
            if let Some(to_vpc) = &route.to_vpc {
                self.vpc(to_vpc);
            }
            return true;
        }
        for claim in &claims {
            match claim {
                Claim::Peering(_, key) if !takes_out(configuration, key, at) => {
                    let (peering, side, name) = key.clone();
                    self.peering(&peering);
                    self.add(configuration.peering_expose.get(key));
                    let key = (peering, side, name, slot);
                    self.add(configuration.peering_expose_ip.get(&key));
                    return true;
                }
                Claim::NatExternal(external) => {
                    match external {
                        External::Pool(pool, range) => {
                            self.add(configuration.nat_pool.get(&(pool.clone(),)));
                            let key = (pool.clone(), *range);
                            self.add(configuration.nat_pool_range.get(&key));
                        }
                        External::Nat64(name) => self.nat64(name),
                        External::PortForward(name) => {
                            self.of(&Entity::PortForward(name.clone()));
                        }
                        External::StaticNat(name) => self.of(&Entity::StaticNat(name.clone())),
                        External::Expose(key) => self.expose(key),
                    }
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    fn peering(&mut self, name: &Name) {
        let configuration = self.configuration();
        self.add(configuration.peering.get(&(name.clone(),)));
        for side in sides_of(configuration, name) {
            self.add(Some(side));
        }
    }

    fn expose(&mut self, key: &ExposeKey) {
        self.peering(&key.0);
        self.add(self.configuration().peering_expose.get(key));
        self.rows.extend(rows_of(self.configuration(), key));
    }

    fn sender(&mut self, peering: &Name, vpc: &Name, prefix: Prefix) {
        let configuration = self.configuration();
        self.peering(peering);
        let senders = &self.state.references.senders;
        for around in covering(prefix) {
            let slot = (peering.clone(), vpc.clone(), around);
            for (name, is_exposed) in senders.of(&slot) {
                let expose = (peering.clone(), vpc.clone(), name.clone());
                let key = (peering.clone(), vpc.clone(), name.clone(), around);
                self.add(configuration.peering_expose.get(&expose));
                match is_exposed {
                    true => self.add(configuration.peering_expose_ip.get(&key)),
                    false => self.add(configuration.peering_expose_not.get(&key)),
                }
            }
        }
    }
}
