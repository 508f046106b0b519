//! `rewire show routes` on the gateway's side: the routes that it has, static and learned, in a form for machines.

use std::net::IpAddr;

use ipnet::IpNet;
use rewire_feed::{Owner, RouteQuery, ShownRoute};
use serde::{Deserialize, Serialize};

use super::Daemon;

/// The most prefixes of one answer.
pub(crate) const MOST_PREFIXES: usize = 20_000;

/// Which routes are asked for. All that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only those of this VPC.
    #[serde(default)]
    pub(crate) vpc: Option<String>,
    /// Only those whose prefix lies in this one.
    #[serde(default)]
    pub(crate) within: Option<IpNet>,
    /// Only those that this address matches.
    #[serde(default)]
    pub(crate) matching: Option<IpAddr>,
    /// At most so many prefixes.
    #[serde(default)]
    pub(crate) most: Option<usize>,
}

/// The version of [`Routes`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// Routes in the order of VPC and prefix, those that are used first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Routes {
    pub(crate) version: u32,
    /// The revision that is live.
    pub(crate) revision: u64,
    /// The prefixes that match, shown or not.
    pub(crate) prefixes: usize,
    pub(crate) routes: Vec<Route>,
}

/// One route that somebody offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) vpc: String,
    pub(crate) prefix: IpNet,
    /// `connected`, `local`, `nat`, `peering`, `static` or `learned`.
    pub(crate) owner: String,
    /// Where it was learned from.
    pub(crate) source: Option<String>,
    /// The protocol that the source has it by.
    pub(crate) protocol: Option<String>,
    pub(crate) distance: u8,
    /// Whether packets follow it.
    pub(crate) selected: bool,
    /// Whether it was not said again since its daemon was last gone.
    pub(crate) stale: bool,
    pub(crate) next_hops: Vec<NextHop>,
    /// Where it leads, when it is not to next hops: `blackhole`.
    pub(crate) to: Option<String>,
    /// How long ago it was learned.
    pub(crate) age_seconds: Option<u64>,
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextHop {
    /// None where the router is on no link of the VPC: the route is held back.
    pub(crate) interface: Option<String>,
    pub(crate) via: Option<IpAddr>,
    pub(crate) weight: u16,
}

impl From<ShownRoute> for Route {
    fn from(shown: ShownRoute) -> Self {
        let (source, protocol) = match &shown.owner {
            Owner::Learned { source, protocol } => (Some(source.to_string()), Some(*protocol)),
            _ => (None, None),
        };
        let owner = match shown.owner {
            Owner::Connected => "connected",
            Owner::Local => "local",
            Owner::Nat => "nat",
            Owner::Peering => "peering",
            Owner::Static => "static",
            Owner::Learned { .. } => "learned",
        };
        let (hops, to) = match shown.to {
            Ok(hops) => (hops, None),
            Err(to) => (Vec::new(), Some(to.to_owned())),
        };
        let next_hops = hops.into_iter().map(|hop| NextHop {
            interface: hop.interface.map(|name| name.to_string()),
            via: hop.via,
            weight: hop.weight,
        });
        Route {
            vpc: shown.vpc.to_string(),
            prefix: shown.prefix,
            owner: owner.to_owned(),
            source,
            protocol: protocol.map(str::to_owned),
            distance: shown.distance,
            selected: shown.selected,
            stale: shown.stale,
            next_hops: next_hops.collect(),
            to,
            age_seconds: shown.age.map(|age| age.as_secs()),
        }
    }
}

impl Daemon {
    /// The routes that are asked for, or why there is no answer.
    pub(crate) fn routes(&self, query: Query) -> Result<Routes, String> {
        let table = self.route_table.as_ref().ok_or("the gateway is stopping")?;
        let most = query.most.unwrap_or(MOST_PREFIXES).min(MOST_PREFIXES);
        let query = RouteQuery {
            vpc: query.vpc,
            within: query.within.map(|net| net.trunc()),
            matching: query.matching,
            most,
        };
        let shown = table.routes(query).map_err(|error| error.to_string())?;
        Ok(Routes {
            version: VERSION,
            revision: self.shared.revision(),
            prefixes: shown.prefixes,
            routes: shown.routes.into_iter().map(Route::from).collect(),
        })
    }
}
