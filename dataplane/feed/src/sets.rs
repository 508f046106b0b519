//! Next-hop sets: where routes lead, each kept once for all routes that lead there.
//!
//! A million routes lead to a handful of places. A route holds the number of its set; the set holds what the daemon said, and what
//! that comes to on the links of the gateway as they are now. When those change, sets are resolved again, not routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;
use rewire_tables::{Interface, InterfaceIndex, NextHop, NextHops, Route};

use crate::update::{Destination, Discard, Gateway};

/// The subnets that are on links of a VPC, each with its interface.
pub(crate) type Connected = BTreeMap<IpNet, InterfaceIndex>;
/// All interfaces by index.
pub(crate) type Interfaces = Vec<Option<Arc<Interface>>>;

/// What tells sets apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SetKey {
    /// The VPC's slot: the same gateway may be elsewhere in another.
    pub(crate) vpc: u32,
    pub(crate) source: u16,
    /// Whether the destinations are IPv4.
    pub(crate) is_ipv4: bool,
    pub(crate) to: SetTo,
}

/// Where a set leads, as the daemon says it. Objects are told apart by their session, too: after a restart, a daemon may give an
/// old number to something else, while routes of before still stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SetTo {
    Object { session: u32, id: u32 },
    Gateway(Gateway),
    Gateways(Box<[(Gateway, u16)]>),
    Discard(Discard),
}

/// What a set comes to before links are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ways {
    Discard(Discard),
    /// With weights; none where it is not known.
    Gateways(Vec<(Gateway, u16)>),
}

/// One set. It is there for as long as a route leads there.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) key: SetKey,
    pub(crate) ways: Ways,
    /// What it comes to now; none where no gateway of it is on a link.
    pub(crate) route: Option<Route>,
    /// Another one for each value that `route` ever had, in any set.
    pub(crate) stamp: u64,
    users: u64,
}

/// All sets.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    slots: Vec<Option<Set>>,
    free: Vec<u32>,
    numbers: HashMap<SetKey, u32>,
    stamps: u64,
    /// By source: the routes whose set comes to nothing.
    held_back: Vec<u64>,
}

/// Stamps begin above what `Installed` says otherwise.
const FIRST_STAMP: u64 = 2;

impl Sets {
    pub(crate) fn get(&self, number: u32) -> Option<&Set> {
        self.slots.get(number as usize)?.as_ref()
    }

    /// By their numbers.
    pub(crate) fn all(&self) -> impl Iterator<Item = Option<&Set>> {
        self.slots.iter().map(Option::as_ref)
    }

    /// The number of a set that is there.
    pub(crate) fn find(&self, key: &SetKey) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    /// Adds a set with its first route. There must be none of this key.
    pub(crate) fn add(&mut self, key: SetKey, ways: Ways, route: Option<Route>) -> u32 {
        let stamp = self.stamp();
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.numbers.insert(key.clone(), number);
        self.slots[number as usize] = Some(Set {
            key,
            ways,
            route,
            stamp,
            users: 0,
        });
        self.take_again(number)
    }

    /// Takes a set that is there for one more route.
    pub(crate) fn take_again(&mut self, number: u32) -> u32 {
        if let Some(Some(set)) = self.slots.get_mut(number as usize) {
            set.users += 1;
            let (held, source) = (set.route.is_none(), set.key.source);
            self.hold_back(source, i64::from(held));
        }
        number
    }

    /// Gives a set back. With its last route it goes.
    pub(crate) fn give_back(&mut self, number: u32) {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            return;
        };
        let Some(set) = slot else { return };
        set.users -= 1;
        let (held, source) = (set.route.is_none(), set.key.source);
        if set.users == 0 {
            self.numbers.remove(&set.key);
            *slot = None;
            self.free.push(number);
        }
        self.hold_back(source, -i64::from(held));
    }

    /// Gives a set new ways, or none where they stay, and what it comes to now. Says whether that is something else.
    pub(crate) fn resolve(
        &mut self,
        number: u32,
        ways: Option<Ways>,
        route: Option<Route>,
    ) -> bool {
        let stamp = self.stamp();
        let Some(Some(set)) = self.slots.get_mut(number as usize) else {
            return false;
        };
        if let Some(ways) = ways {
            set.ways = ways;
        }
        if set.route == route {
            return false;
        }
        let held = i64::from(route.is_none()) - i64::from(set.route.is_none());
        set.route = route;
        set.stamp = stamp;
        let (change, source) = (held * set.users as i64, set.key.source);
        self.hold_back(source, change);
        true
    }

    /// All sets with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Set)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(number, slot)| Some((number as u32, slot.as_ref()?)))
    }

    /// The routes of a source whose set comes to nothing.
    pub(crate) fn held_back(&self, source: u16) -> u64 {
        let held = self.held_back.get(usize::from(source));
        held.copied().unwrap_or_default()
    }

    fn hold_back(&mut self, source: u16, change: i64) {
        let position = usize::from(source);
        if self.held_back.len() <= position {
            self.held_back.resize(position + 1, 0);
        }
        self.held_back[position] = self.held_back[position].saturating_add_signed(change);
    }

    fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        FIRST_STAMP + self.stamps
    }
}

/// What a destination is called among sets.
pub(crate) fn set_to(to: Destination, session: u32) -> SetTo {
    match to {
        Destination::Object(id) => SetTo::Object { session, id },
        Destination::Gateway(gateway) => SetTo::Gateway(gateway),
        Destination::Gateways(gateways) => SetTo::Gateways(gateways),
        Destination::Discard(discard) => SetTo::Discard(discard),
    }
}

/// What ways come to on the links of a VPC; none where none of them is there.
pub(crate) fn resolve(
    ways: &Ways,
    is_ipv4: bool,
    connected: &Connected,
    interfaces: &Interfaces,
) -> Option<Route> {
    let gateways = match ways {
        Ways::Discard(Discard::Blackhole) => return Some(Route::Blackhole),
        Ways::Discard(Discard::Unreachable) => return Some(Route::Unreachable),
        Ways::Gateways(gateways) => gateways,
    };
    let hop = |(gateway, weight): &(Gateway, u16)| {
        let via = gateway.via.filter(|via| via.is_ipv4() == is_ipv4)?;
        let index = link_of(via, connected)?;
        let interface = interfaces.get(index.position())?.as_ref()?;
        let hop = || NextHop::new(index, &interface.name, Some(via)).with_weight(*weight);
        (!interface.owns(via)).then(hop)
    };
    NextHops::new(gateways.iter().filter_map(hop)).map(Route::Forward)
}

/// The interface on whose link a router is: that of the longest subnet that holds it. A link-local address is on every link, and the
/// number that the daemon's machine gives to its link says nothing here: it is found where only one link speaks IPv6.
fn link_of(via: IpAddr, connected: &Connected) -> Option<InterfaceIndex> {
    if let IpAddr::V6(address) = via
        && address.is_unicast_link_local()
    {
        let links = connected.iter().filter(|(net, _)| net.addr().is_ipv6());
        let links: BTreeSet<InterfaceIndex> = links.map(|(_, interface)| *interface).collect();
        return links.first().copied().filter(|_| links.len() == 1);
    }
    let holding = connected.iter().filter(|(net, _)| net.contains(&via));
    let longest = holding.max_by_key(|(net, _)| net.prefix_len());
    longest.map(|(_, interface)| *interface)
}
