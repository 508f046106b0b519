//! `rewire show nat` on the gateway's side: which ports of external addresses are in use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use rewire_dataplane::{ExternalAddresses, ListedPorts, Names, Sharing};
use serde::{Deserialize, Serialize};

use super::Daemon;
use super::connections::protocol;

/// The most addresses of one answer.
pub(crate) const MOST_ADDRESSES: usize = 20_000;

/// Which external addresses are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only those of the pool, the interface or the expose of this name, and each of them that has a port in use.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// The version of [`Nat`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// External addresses that senders share, by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nat {
    pub(crate) version: u32,
    /// The revision that is live.
    pub(crate) revision: u64,
    pub(crate) shared: Vec<Shared>,
    /// Ports in use by NAT64, and of addresses that no masquerade shares out any more: their connections go on.
    pub(crate) former_ports_in_use: u64,
}

/// The external addresses of one pool, of one interface, or of what a peering exposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    /// `pool`, `interface` or `peering`.
    pub(crate) kind: String,
    pub(crate) name: String,
    /// The VPC that they belong to.
    pub(crate) vpc: String,
    /// The rules that give out their ports.
    pub(crate) rules: Vec<String>,
    pub(crate) addresses: u64,
    /// The ports that each of them has, for each protocol; none where senders keep theirs.
    pub(crate) ports_of_each: Option<u32>,
    /// TCP, UDP and ICMP, and whatever else is in use.
    pub(crate) protocols: Vec<ProtocolUse>,
    /// Those that have a port in use, where a name was asked for.
    pub(crate) in_use: Vec<AddressUse>,
}

/// What is in use by one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProtocolUse {
    pub(crate) protocol: String,
    /// Addresses with a port in use.
    pub(crate) addresses_in_use: u64,
    pub(crate) ports_in_use: u64,
    /// All that there are; none where senders keep theirs, and for protocols without ports.
    pub(crate) ports: Option<u64>,
    /// How often a connection found none, since the gateway runs.
    pub(crate) exhausted: u64,
}

/// What is in use of one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressUse {
    pub(crate) address: IpAddr,
    pub(crate) protocol: String,
    pub(crate) ports_in_use: u64,
}

/// By protocol: which addresses have ports in use, and how many; and how often there was none.
type Uses = BTreeMap<String, (BTreeMap<IpAddr, u64>, u64)>;

/// What workers have said, added up.
struct Collected<'a> {
    shared: &'a [ExternalAddresses],
    uses: Vec<Uses>,
    former: u64,
}

impl<'a> Collected<'a> {
    fn new(shared: &'a [ExternalAddresses]) -> Self {
        Collected {
            shared,
            uses: vec![Uses::new(); shared.len()],
            former: 0,
        }
    }

    fn see(&mut self, listed: &ListedPorts) {
        let holds = |shared: &ExternalAddresses| shared.hold(listed.vpc, listed.address);
        let Some(place) = self.shared.iter().position(holds) else {
            self.former += u64::from(listed.in_use);
            return;
        };
        let (addresses, exhausted) = self.uses[place]
            .entry(protocol(listed.protocol))
            .or_default();
        *exhausted += listed.exhausted;
        if listed.in_use > 0 {
            *addresses.entry(listed.address).or_default() += u64::from(listed.in_use);
        }
    }

    fn finish(self, query: &Query, names: &Names, revision: u64) -> Nat {
        let shared = self.shared.iter().zip(&self.uses);
        let is_meant = |shared: &ExternalAddresses| match &query.name {
            Some(name) => **name == *shared.name,
            None => true,
        };
        let shared = shared.filter(|(shared, _)| is_meant(shared));
        Nat {
            version: VERSION,
            revision,
            shared: shared
                .map(|(shared, uses)| Shared::of(shared, uses, names, query.name.is_some()))
                .collect(),
            former_ports_in_use: self.former,
        }
    }
}

impl Shared {
    fn of(shared: &ExternalAddresses, uses: &Uses, names: &Names, in_full: bool) -> Shared {
        const WITH_PORTS: [&str; 3] = ["tcp", "udp", "icmp"];
        let count = u64::try_from(shared.count()).unwrap_or(u64::MAX);
        let others = uses.keys().map(String::as_str);
        let others = others.filter(|protocol| !WITH_PORTS.contains(protocol));
        let all: Vec<&str> = WITH_PORTS.into_iter().chain(others).collect();
        let of = |protocol: &str| {
            let used = uses.get(protocol);
            let addresses = used.map(|(addresses, _)| addresses);
            let ports = shared.ports.filter(|_| WITH_PORTS.contains(&protocol));
            ProtocolUse {
                protocol: protocol.to_owned(),
                addresses_in_use: addresses.map_or(0, |addresses| addresses.len() as u64),
                ports_in_use: addresses.map_or(0, |addresses| addresses.values().sum()),
                ports: ports.map(|ports| count.saturating_mul(ports.into())),
                exhausted: used.map_or(0, |(_, exhausted)| *exhausted),
            }
        };
        let each = uses.iter().flat_map(|(protocol, (addresses, _))| {
            addresses.iter().map(move |(address, ports)| AddressUse {
                address: *address,
                protocol: protocol.clone(),
                ports_in_use: *ports,
            })
        });
        let mut in_use: Vec<_> = each.filter(|_| in_full).collect();
        in_use.sort_by(|one, other| {
            (one.address, &one.protocol).cmp(&(other.address, &other.protocol))
        });
        in_use.truncate(MOST_ADDRESSES);
        Shared {
            kind: kind(shared.sharing).to_owned(),
            name: shared.name.to_string(),
            vpc: names.vpc(shared.vpc).to_owned(),
            rules: shared.rules.iter().map(ToString::to_string).collect(),
            addresses: count,
            ports_of_each: shared.ports,
            protocols: all.into_iter().map(of).collect(),
            in_use,
        }
    }
}

fn kind(sharing: Sharing) -> &'static str {
    match sharing {
        Sharing::Pool => "pool",
        Sharing::Interface => "interface",
        Sharing::Peering => "peering",
    }
}

impl Daemon {
    /// Which external ports are in use, or why there is no answer. It costs workers a few microseconds.
    pub(crate) fn nat(&self, query: &Query) -> Result<Nat, String> {
        let table = self.connection_table()?;
        let text = |error: rewire_dataplane::GatewayError| error.to_string();
        let names = table.names().map_err(text)?;
        let shared = table.external_addresses().map_err(text)?;
        let mut collected = Collected::new(&shared);
        table
            .visit_ports(|listed| collected.see(listed))
            .map_err(text)?;
        Ok(collected.finish(query, &names, self.shared.revision()))
    }
}
