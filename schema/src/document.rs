//! From documents to rows and back: the tree that people write, and the flat tables that the database keeps.

use std::fmt;

use crate::model::*;
use crate::value::Value;

/// Where in a document an object or a field stands, like `interfaces.wan.neighbors.203.0.113.1.mac`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// The path with these steps, from the top of the document.
    pub fn new(steps: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        Path(steps.into_iter().map(|s| s.to_string()).collect())
    }
    /// The path of a part of this one.
    pub fn join(&self, step: impl fmt::Display) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_string());
        Path(steps)
    }
    /// The steps from the top of the document: the keys of maps, and indices (from 0) into lists.
    pub fn steps(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Path {
    /// Dots between the steps, indices in brackets: `vpcs.blue.routes.0.0.0.0/0.next_hops[0].via`. The empty path is
    /// the document itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the document");
        }
        for (index, step) in self.0.iter().enumerate() {
            if step.bytes().all(|b| b.is_ascii_digit()) {
                write!(f, "[{step}]")?;
            } else if index == 0 {
                f.write_str(step)?;
            } else {
                write!(f, ".{step}")?;
            }
        }
        Ok(())
    }
}

impl Row {
    /// Where the object of this row stands in a document. The members of a set (addresses, ranges, sources) stand
    /// under their own text.
    pub fn path(&self) -> Path {
        match self {
            Row::Vpc(r) => Path::new(["vpcs", r.name.as_str()]),
            Row::Interface(r) => Path::new(["interfaces", r.name.as_str()]),
            Row::InterfaceAddress(r) => {
                Path::new(["interfaces", r.interface.as_str(), "addresses"]).join(r.address)
            }
            Row::Neighbor(r) => {
                Path::new(["interfaces", r.interface.as_str(), "neighbors"]).join(r.address)
            }
            Row::Route(r) => Path::new(["vpcs", r.vpc.as_str(), "routes"]).join(r.prefix),
            Row::NextHop(r) => Path::new(["vpcs", r.vpc.as_str(), "routes"])
                .join(r.prefix)
                .join("next_hops")
                .join(r.position),
            Row::Pool(r) => Path::new(["nat", "pools", r.name.as_str()]),
            Row::PoolRange(r) => {
                Path::new(["nat", "pools", r.pool.as_str(), "ranges"]).join(r.range)
            }
            Row::Masquerade(r) => Path::new(["nat", "masquerade", r.name.as_str()]),
            Row::MasqueradeSource(r) => {
                Path::new(["nat", "masquerade", r.masquerade.as_str(), "sources"]).join(r.prefix)
            }
            Row::PortForward(r) => Path::new(["nat", "port_forward", r.name.as_str()]),
            Row::StaticNat(r) => Path::new(["nat", "static", r.name.as_str()]),
        }
    }

    /// The row's own fields (those that are not its key) by name, as a diff shows them.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let definition = self.table().definition();
        let columns = definition.columns.iter().zip(self.values());
        columns
            .filter(|(c, _)| !c.key)
            .map(|(c, value)| (field_name(c.name), value))
            .collect()
    }
}

/// The name that a column has in documents.
pub fn field_name(column: &'static str) -> &'static str {
    match column {
        "route_type" => "type",
        other => other,
    }
}

impl From<&Document> for Configuration {
    fn from(document: &Document) -> Self {
        // Every struct is taken apart by name, so that a field added to the model cannot be forgotten here.
        let mut configuration = Configuration::default();
        let mut put = |row: Row| {
            configuration.insert(row);
        };
        let Document {
            vpcs,
            interfaces,
            nat,
        } = document;
        for (name, vpc) in vpcs {
            put(VpcRow::new(name.clone(), vpc).into());
            let Vpc {
                description: _,
                routes,
            } = vpc;
            for (prefix, route) in routes {
                put(RouteRow::new(name.clone(), *prefix, route).into());
                let Route {
                    description: _,
                    route_type: _,
                    next_hops,
                } = route;
                for (position, hop) in (0u16..).zip(next_hops) {
                    put(NextHopRow::new(name.clone(), *prefix, position, hop).into());
                }
            }
        }
        for (name, interface) in interfaces {
            put(InterfaceRow::new(name.clone(), interface).into());
            let Interface {
                description: _,
                vpc: _,
                port: _,
                mac: _,
                mtu: _,
                addresses,
                neighbors,
            } = interface;
            for address in addresses {
                put(InterfaceAddressRow {
                    interface: name.clone(),
                    address: *address,
                }
                .into());
            }
            for (address, neighbor) in neighbors {
                put(NeighborRow::new(name.clone(), *address, neighbor).into());
            }
        }
        let Nat {
            pools,
            masquerade,
            port_forward,
            static_nat,
        } = nat;
        for (name, pool) in pools {
            put(PoolRow::new(name.clone(), pool).into());
            let Pool {
                description: _,
                vpc: _,
                ranges,
            } = pool;
            for range in ranges {
                put(PoolRangeRow {
                    pool: name.clone(),
                    range: *range,
                }
                .into());
            }
        }
        for (name, rule) in masquerade {
            put(MasqueradeRow::new(name.clone(), rule).into());
            let Masquerade {
                description: _,
                vpc: _,
                interface: _,
                pool: _,
                sources,
            } = rule;
            for prefix in sources {
                put(MasqueradeSourceRow {
                    masquerade: name.clone(),
                    prefix: *prefix,
                }
                .into());
            }
        }
        for (name, rule) in port_forward {
            put(PortForwardRow::new(name.clone(), rule).into());
        }
        for (name, rule) in static_nat {
            put(StaticNatRow::new(name.clone(), rule).into());
        }
        configuration
    }
}

impl From<&Configuration> for Document {
    /// Rows whose parent is missing are left out; a store's foreign keys do not let that happen.
    fn from(configuration: &Configuration) -> Self {
        let mut document = Document::default();
        let Document {
            vpcs,
            interfaces,
            nat,
        } = &mut document;
        for row in configuration.rows() {
            match row {
                Row::Vpc(r) => {
                    vpcs.insert(r.name.clone(), r.to_object());
                }
                Row::Interface(r) => {
                    interfaces.insert(r.name.clone(), r.to_object());
                }
                Row::InterfaceAddress(r) => {
                    if let Some(interface) = interfaces.get_mut(&r.interface) {
                        interface.addresses.insert(r.address);
                    }
                }
                Row::Neighbor(r) => {
                    if let Some(interface) = interfaces.get_mut(&r.interface) {
                        interface.neighbors.insert(r.address, r.to_object());
                    }
                }
                Row::Route(r) => {
                    if let Some(vpc) = vpcs.get_mut(&r.vpc) {
                        vpc.routes.insert(r.prefix, r.to_object());
                    }
                }
                Row::NextHop(r) => {
                    let route = vpcs
                        .get_mut(&r.vpc)
                        .and_then(|v| v.routes.get_mut(&r.prefix));
                    if let Some(route) = route {
                        // Rows come in the order of their position.
                        route.next_hops.push(r.to_object());
                    }
                }
                Row::Pool(r) => {
                    nat.pools.insert(r.name.clone(), r.to_object());
                }
                Row::PoolRange(r) => {
                    if let Some(pool) = nat.pools.get_mut(&r.pool) {
                        pool.ranges.insert(r.range);
                    }
                }
                Row::Masquerade(r) => {
                    nat.masquerade.insert(r.name.clone(), r.to_object());
                }
                Row::MasqueradeSource(r) => {
                    if let Some(rule) = nat.masquerade.get_mut(&r.masquerade) {
                        rule.sources.insert(r.prefix);
                    }
                }
                Row::PortForward(r) => {
                    nat.port_forward.insert(r.name.clone(), r.to_object());
                }
                Row::StaticNat(r) => {
                    nat.static_nat.insert(r.name.clone(), r.to_object());
                }
            }
        }
        document
    }
}
