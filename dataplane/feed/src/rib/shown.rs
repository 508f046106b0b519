//! What people ask: which routes there are, whose they are, and which of them are used.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rewire_tables::Route;

use super::Rib;
use super::entry::{Entries, Entry, Key, Key4, Key6, Rules, Winner};
use crate::config::protocol_name;
use crate::sets::{Set, Ways};
use crate::update::Discard;

/// Which routes are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteQuery {
    /// Only those of this VPC.
    pub vpc: Option<String>,
    /// Only those whose prefix lies in this one.
    pub within: Option<IpNet>,
    /// Only those that this address matches.
    pub matching: Option<IpAddr>,
    /// At most so many prefixes.
    pub most: usize,
}

/// Routes in the order of VPC, prefix, and then the best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownRoutes {
    /// The routes.
    pub routes: Vec<ShownRoute>,
    /// The prefixes that match, shown or not.
    pub prefixes: usize,
}

/// One route that somebody offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownRoute {
    /// The VPC.
    pub vpc: Arc<str>,
    /// The destination.
    pub prefix: IpNet,
    /// Whose route it is.
    pub owner: Owner,
    /// How far it stands behind others of the same prefix.
    pub distance: u8,
    /// Whether packets follow it.
    pub selected: bool,
    /// Whether its daemon is gone, or has not said it again since it came back.
    pub stale: bool,
    /// Where it leads: next hops, or a word.
    pub to: Result<Vec<ShownHop>, &'static str>,
    /// How long ago it was learned.
    pub age: Option<Duration>,
}

/// Whose a route is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A subnet of an interface.
    Connected,
    /// An address of the gateway.
    Local,
    /// An external address of NAT.
    Nat,
    /// What a peering exposes, or leaves out.
    Peering,
    /// A static route of the configuration.
    Static,
    /// Learned.
    Learned {
        /// From this source,
        source: Arc<str>,
        /// which has it by this protocol.
        protocol: &'static str,
    },
}

/// A next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHop {
    /// The interface; none where the router is on no link of the VPC, which holds the route back.
    pub interface: Option<Arc<str>>,
    /// The router.
    pub via: Option<IpAddr>,
    /// Its share.
    pub weight: u16,
}

impl Rib {
    /// The routes that are asked for. Cost: a look at every prefix of the VPCs concerned, and a sort of those that match.
    pub fn routes(&self, query: &RouteQuery, now: Duration) -> ShownRoutes {
        let mut found: Vec<(u32, IpNet)> = Vec::new();
        for (slot, vpc) in (0u32..).zip(&self.vpcs) {
            if vpc.index.is_none() || query.vpc.as_ref().is_some_and(|name| **name != *vpc.name) {
                continue;
            }
            let four = matching(&vpc.routes4, query);
            let six = matching(&vpc.routes6, query);
            found.extend(four.chain(six).map(|prefix| (slot, prefix)));
        }
        let prefixes = found.len();
        let place = |(slot, prefix): &(u32, IpNet)| {
            let name = Arc::clone(&self.vpcs[*slot as usize].name);
            (name, prefix.addr(), prefix.prefix_len())
        };
        if found.len() > query.most && query.most > 0 {
            found.select_nth_unstable_by_key(query.most - 1, place);
        }
        found.truncate(query.most);
        found.sort_unstable_by_key(place);
        let mut shown = ShownRoutes {
            prefixes,
            routes: Vec::new(),
        };
        for (slot, prefix) in found {
            self.show(slot, prefix, now, &mut shown.routes);
        }
        shown
    }

    fn show(&self, slot: u32, prefix: IpNet, now: Duration, shown: &mut Vec<ShownRoute>) {
        let vpc = &self.vpcs[slot as usize];
        let entry = match prefix {
            IpNet::V4(net) => vpc.routes4.get(&Key4::from(net)),
            IpNet::V6(net) => vpc.routes6.get(&Key6::from(net)),
        };
        let Some(entry) = entry else { return };
        let rules = Rules {
            sets: &self.sets,
            sources: &self.sources,
            connected: &vpc.connected,
            distances: &vpc.distances,
            vpc: vpc.index,
        };
        let winner = rules.winner(prefix, entry);
        let first = shown.len();
        let route = |owner, distance, selected, to| ShownRoute {
            vpc: Arc::clone(&vpc.name),
            prefix,
            owner,
            distance,
            selected,
            stale: false,
            to,
            age: None,
        };
        if let Some(compiled) = &entry.compiled {
            let distance = rules.compiled_distance(prefix, compiled);
            let owner = match compiled {
                Route::Local | Route::SubnetBroadcast => Owner::Local,
                Route::NatExternal => Owner::Nat,
                Route::Peering { .. } | Route::NotExposed => Owner::Peering,
                _ if vpc.connected.contains_key(&prefix) => Owner::Connected,
                _ => Owner::Static,
            };
            let to = self.destination(compiled);
            shown.push(route(owner, distance, winner == Winner::Compiled, to));
        }
        for (position, candidate) in entry.learned.as_slice().iter().enumerate() {
            let source = self.sources.get(usize::from(candidate.source));
            let (Some(Some(source)), Some(set)) = (source, self.sets.get(candidate.set)) else {
                continue;
            };
            let to = match &set.route {
                Some(route) => self.destination(route),
                None => Ok(unresolved(set)),
            };
            let owner = Owner::Learned {
                source: Arc::clone(&source.config.name),
                protocol: protocol_name(candidate.protocol),
            };
            let selected = winner == Winner::Learned(position);
            let distance = rules.learned_distance(candidate);
            let since = Duration::from_secs(candidate.since.into());
            shown.push(ShownRoute {
                stale: Some(candidate.session) != source.session,
                age: Some(now.saturating_sub(since)),
                ..route(owner, distance, selected, to)
            });
        }
        shown[first..].sort_by_key(|route| (!route.selected, route.distance));
    }

    fn destination(&self, route: &Route) -> Result<Vec<ShownHop>, &'static str> {
        let hops = match route {
            Route::Forward(hops) => hops,
            Route::Local => return Err("the gateway itself"),
            Route::NatExternal => return Err("connections of NAT"),
            Route::SubnetBroadcast => return Err("nobody: every host of a subnet"),
            Route::Blackhole => return Err("blackhole"),
            Route::Unreachable => return Err("unreachable"),
            Route::Vpc(_) => return Err("the table of another VPC"),
            Route::Peering { .. } => return Err("a peering"),
            Route::NotExposed => return Err("nobody: a peering leaves it out"),
        };
        let name = |hop: &rewire_tables::NextHop| {
            let interface = self.interfaces.get(hop.interface().position())?.as_ref()?;
            Some(Arc::clone(&interface.name))
        };
        let hop = |hop: &rewire_tables::NextHop| ShownHop {
            interface: name(hop),
            via: hop.via(),
            weight: hop.weight(),
        };
        Ok(hops.iter().map(hop).collect())
    }
}

/// What a set leads to that is on no link.
fn unresolved(set: &Set) -> Vec<ShownHop> {
    match &set.ways {
        Ways::Discard(Discard::Blackhole | Discard::Unreachable) => Vec::new(),
        Ways::Gateways(gateways) => gateways
            .iter()
            .map(|(gateway, weight)| ShownHop {
                interface: None,
                via: gateway.via,
                weight: *weight,
            })
            .collect(),
    }
}

fn matching<'a, K: Key + 'a>(
    entries: &'a Entries<K>,
    query: &'a RouteQuery,
) -> impl Iterator<Item = IpNet> + 'a {
    let prefixes = entries.iter().map(|(key, _): (&K, &Entry)| key.net());
    prefixes.filter(|prefix| {
        query.within.is_none_or(|within| within.contains(prefix))
            && query
                .matching
                .is_none_or(|address| prefix.contains(&address))
    })
}
