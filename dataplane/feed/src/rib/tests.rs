//! The table of candidates beside an oracle that works everything out anew after each step.

mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::prelude::*;
use rewire_packet::ethernet::MacAddress;
use rewire_tables::{
    Interface, InterfaceIndex, NextHop, NextHops, Route, TableOperation, Tables, VpcIndex,
};

use super::*;
use crate::config::{SourceConfig, distance_of};
use crate::update::{Destination, Discard, Gateway, LearnedRoute, NextHopObject, Update};

const VPCS: [&str; 2] = ["a", "b"];
const SOURCES: [&str; 2] = ["s", "t"];
const ADDRESSES: [&str; 3] = ["192.0.2.1/24", "198.51.100.1/24", "2001:db8::1/64"];
const PREFIXES: [&str; 6] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "2001:db8:1::/48",
    "2001:db8::/64",
];
const GATEWAYS: [&str; 6] = [
    "192.0.2.2",
    "198.51.100.2",
    "192.0.2.1",
    "2001:db8::2",
    "fe80::2",
    "203.0.113.9",
];
const STALE: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    /// A static route is set, or removed: VPC, prefix, distance, by which kind.
    Static(usize, usize, Option<u8>, bool),
    Unset(usize, usize),
    /// An address comes or goes.
    Address(usize, usize),
    /// Everything is compiled anew, and the indices are others.
    Whole(bool),
    Up(usize),
    Down(usize),
    Route(usize, u32, usize, u8, To),
    Remove(usize, u32, usize),
    Object(usize, u32, Object),
    RemoveObject(usize, u32),
    /// So many seconds later.
    Later(u64),
    /// A source has these tables, this distance, and at most so many routes; or goes.
    Source(usize, Option<(bool, bool, Option<u8>, Option<u32>)>),
}

#[derive(Clone, Debug)]
enum To {
    Object(u32),
    Gateway(usize),
    Two(usize, usize),
    Blackhole,
}

#[derive(Clone, Debug)]
enum Object {
    Gateway(usize),
    Group(u32, u32),
    Unusable,
}

fn gateway(number: usize) -> Gateway {
    let via = GATEWAYS[number].parse().ok();
    Gateway { via, link: 2 }
}

fn prefix(number: usize) -> IpNet {
    PREFIXES[number].parse().unwrap()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (vpc, source) = (0..VPCS.len(), 0..SOURCES.len());
    let (net, way, id) = (0..PREFIXES.len(), 0..GATEWAYS.len(), 1u32..4);
    let distance = prop::option::of(prop_oneof![Just(1u8), Just(20), Just(110), Just(200)]);
    let protocol = prop_oneof![Just(186u8), Just(188), Just(196)];
    let to = prop_oneof![
        3 => id.clone().prop_map(To::Object),
        3 => way.clone().prop_map(To::Gateway),
        1 => (way.clone(), way.clone()).prop_map(|(a, b)| To::Two(a, b)),
        1 => Just(To::Blackhole),
    ];
    let object = prop_oneof![
        3 => way.prop_map(Object::Gateway),
        1 => (id.clone(), id.clone()).prop_map(|(a, b)| Object::Group(a, b)),
        1 => Just(Object::Unusable),
    ];
    let config = prop::option::weighted(
        0.8,
        (
            any::<bool>(),
            any::<bool>(),
            distance.clone(),
            prop::option::of(1u32..4),
        ),
    );
    let step = prop_oneof![
        3 => (vpc.clone(), net.clone(), distance, any::<bool>())
            .prop_map(|(v, p, d, k)| Step::Static(v, p, d, k)),
        2 => (vpc.clone(), net.clone()).prop_map(|(v, p)| Step::Unset(v, p)),
        4 => (vpc, 0..ADDRESSES.len()).prop_map(|(v, a)| Step::Address(v, a)),
        1 => any::<bool>().prop_map(Step::Whole),
        2 => source.clone().prop_map(Step::Up),
        1 => source.clone().prop_map(Step::Down),
        12 => (source.clone(), 1u32..4, net.clone(), protocol, to)
            .prop_map(|(s, t, p, k, to)| Step::Route(s, t, p, k, to)),
        3 => (source.clone(), 1u32..4, net).prop_map(|(s, t, p)| Step::Remove(s, t, p)),
        4 => (source.clone(), id.clone(), object).prop_map(|(s, i, o)| Step::Object(s, i, o)),
        1 => (source.clone(), id).prop_map(|(s, i)| Step::RemoveObject(s, i)),
        1 => (1u64..STALE).prop_map(Step::Later),
        2 => (source, config).prop_map(|(s, c)| Step::Source(s, c)),
    ];
    prop::collection::vec(step, 1..60)
}

/// What a learned route leads to, as the oracle holds it.
#[derive(Clone, Debug, PartialEq)]
enum Leads {
    Object(u32),
    Ways(Vec<(Gateway, u16)>),
    Discard,
}

#[derive(Clone, Debug)]
struct Known {
    leads: Leads,
    protocol: u8,
    is_stale: bool,
}

#[derive(Debug, Default)]
struct OracleSource {
    config: Option<SourceConfig>,
    session: Option<u32>,
    objects: BTreeMap<u32, NextHopObject>,
    routes: BTreeMap<(String, IpNet), Known>,
    stale_since: Option<u64>,
}

impl OracleSource {
    fn ways(&self, id: u32) -> Vec<(Gateway, u16)> {
        let single = |id: &u32| match self.objects.get(id) {
            Some(NextHopObject::Gateway(gateway)) => Some(*gateway),
            _ => None,
        };
        match self.objects.get(&id) {
            Some(NextHopObject::Group(members)) => members
                .iter()
                .filter_map(|(id, w)| Some((single(id)?, *w)))
                .collect(),
            _ => single(&id)
                .map(|gateway| (gateway, 1))
                .into_iter()
                .collect(),
        }
    }

    fn turn(&mut self, session: Option<u32>, now: u64) {
        let frozen = self.routes.values().map(|route| match route.leads {
            Leads::Object(id) if !route.is_stale => Some(Leads::Ways(self.ways(id))),
            _ => None,
        });
        let frozen: Vec<_> = frozen.collect();
        for (route, leads) in self.routes.values_mut().zip(frozen) {
            if let Some(leads) = leads {
                route.leads = leads;
            }
            route.is_stale = true;
        }
        self.session = session;
        self.objects.clear();
        self.stale_since = (!self.routes.is_empty()).then_some(now);
    }
}

/// Everything, in the simplest form.
#[derive(Debug, Default)]
struct Oracle {
    statics: BTreeMap<(String, IpNet), (Route, Option<u8>)>,
    addresses: [BTreeSet<usize>; 2],
    sources: [OracleSource; 2],
    now: u64,
}

/// What is under test, with the tables that it keeps.
struct World {
    rib: Rib,
    tables: Tables,
    oracle: Oracle,
    sessions: u32,
    /// Whether indices are turned round.
    turned: bool,
    out: Vec<TableOperation>,
}

impl World {
    fn new() -> Self {
        let mut world = World {
            rib: Rib::default(),
            tables: Tables::default(),
            oracle: Oracle::default(),
            sessions: 0,
            turned: false,
            out: Vec::new(),
        };
        world.commit(Vec::new(), true);
        world
    }

    fn index(&self, vpc: usize) -> u16 {
        if self.turned {
            1 - vpc as u16
        } else {
            vpc as u16
        }
    }

    fn interface(&self, vpc: usize) -> TableOperation {
        let addresses = self.oracle.addresses[vpc].iter();
        TableOperation::SetInterface {
            interface: InterfaceIndex(self.index(vpc)),
            value: Arc::new(Interface {
                name: format!("if-{}", VPCS[vpc]).into(),
                vpc: VpcIndex(self.index(vpc)),
                mac: MacAddress([2, 0, 0, 0, 0, 1]),
                mtu: 1500,
                addresses: addresses.map(|a| ADDRESSES[*a].parse().unwrap()).collect(),
                acl_in: None,
                acl_out: None,
                offload: false,
            }),
        }
    }

    /// What the compiler would say of a prefix: a subnet before a static route.
    fn compiled(&self, vpc: usize, prefix: IpNet) -> Option<Route> {
        let mut subnets = self.oracle.addresses[vpc]
            .iter()
            .map(|a| net(ADDRESSES[*a]));
        if subnets.any(|subnet| subnet == prefix) {
            let name = format!("if-{}", VPCS[vpc]);
            let hop = NextHop::new(InterfaceIndex(self.index(vpc)), &name, None);
            return Some(Route::Forward(NextHops::one(hop)));
        }
        let slot = (VPCS[vpc].to_owned(), prefix);
        self.oracle
            .statics
            .get(&slot)
            .map(|(route, _)| route.clone())
    }

    fn route_operations(&self, vpc: usize, prefix: IpNet) -> Vec<TableOperation> {
        let index = VpcIndex(self.index(vpc));
        let slot = (VPCS[vpc].to_owned(), prefix);
        let distance = self
            .oracle
            .statics
            .get(&slot)
            .and_then(|(_, distance)| *distance);
        vec![
            match self.compiled(vpc, prefix) {
                Some(route) => TableOperation::SetRoute {
                    vpc: index,
                    prefix,
                    route,
                },
                None => TableOperation::RemoveRoute { vpc: index, prefix },
            },
            match distance {
                Some(distance) => TableOperation::SetRouteDistance {
                    vpc: index,
                    prefix,
                    distance,
                },
                None => TableOperation::RemoveRouteDistance { vpc: index, prefix },
            },
        ]
    }

    fn commit(&mut self, mut operations: Vec<TableOperation>, whole: bool) {
        if whole {
            operations = vec![TableOperation::Clear];
            for (vpc, name) in VPCS.into_iter().enumerate() {
                operations.push(TableOperation::SetVpc {
                    vpc: VpcIndex(self.index(vpc)),
                    name: name.into(),
                });
            }
            for vpc in 0..VPCS.len() {
                operations.push(self.interface(vpc));
                for number in 0..PREFIXES.len() {
                    operations.extend(self.route_operations(vpc, prefix(number)));
                }
            }
        }
        self.rib.absorb(operations, &mut self.out);
    }

    fn said(&mut self, source: usize, update: Update) {
        let session = self.sessions;
        self.said_in(source, session, update);
    }

    fn said_in(&mut self, source: usize, session: u32, update: Update) {
        let now = Duration::from_secs(self.oracle.now);
        self.rib
            .update(SOURCES[source], session, [update], now, &mut self.out);
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Static(vpc, number, distance, blackhole) => {
                let route = if *blackhole {
                    Route::Blackhole
                } else {
                    Route::Unreachable
                };
                let slot = (VPCS[*vpc].to_owned(), prefix(*number));
                self.oracle.statics.insert(slot, (route, *distance));
                self.commit(self.route_operations(*vpc, prefix(*number)), false);
            }
            Step::Unset(vpc, number) => {
                let slot = (VPCS[*vpc].to_owned(), prefix(*number));
                self.oracle.statics.remove(&slot);
                self.commit(self.route_operations(*vpc, prefix(*number)), false);
            }
            Step::Address(vpc, address) => {
                let addresses = &mut self.oracle.addresses[*vpc];
                if !addresses.remove(address) {
                    addresses.insert(*address);
                }
                let mut operations = vec![self.interface(*vpc)];
                operations.extend(self.route_operations(*vpc, net(ADDRESSES[*address])));
                self.commit(operations, false);
            }
            Step::Whole(turned) => {
                self.turned = *turned;
                self.commit(Vec::new(), true);
            }
            Step::Up(source) => {
                self.sessions += 1;
                let (session, now) = (self.sessions, self.oracle.now);
                self.said_in(*source, session, Update::Up);
                let oracle = &mut self.oracle.sources[*source];
                if oracle.config.is_some() {
                    oracle.turn(Some(session), now);
                }
            }
            Step::Down(source) => {
                let now = self.oracle.now;
                let oracle = &mut self.oracle.sources[*source];
                if let Some(session) = oracle.session {
                    oracle.turn(None, now);
                    self.said_in(*source, session, Update::Down);
                } else {
                    self.said(*source, Update::Down);
                }
            }
            Step::Later(seconds) => {
                self.oracle.now += seconds;
                let now = self.oracle.now;
                self.rib.expire(Duration::from_secs(now), &mut self.out);
                for source in &mut self.oracle.sources {
                    if source.stale_since.is_some_and(|since| now >= since + STALE) {
                        source.stale_since = None;
                        source.routes.retain(|_, route| !route.is_stale);
                    }
                }
            }
            Step::Source(source, config) => self.configure(*source, config.as_ref()),
            Step::Route(source, table, number, protocol, to) => {
                self.route(*source, *table, prefix(*number), *protocol, to);
            }
            Step::Remove(source, table, number) => {
                let prefix = prefix(*number);
                let oracle = &mut self.oracle.sources[*source];
                let session = oracle.session;
                if let (Some(_), Some(vpc)) = (session, vpc_of(oracle, *table)) {
                    oracle.routes.remove(&(vpc, prefix));
                }
                let update = Update::RemoveRoute {
                    table: *table,
                    prefix,
                };
                self.said_in(*source, session.unwrap_or(0), update);
            }
            Step::Object(source, id, object) => {
                let object = match object {
                    Object::Gateway(way) => NextHopObject::Gateway(gateway(*way)),
                    Object::Group(a, b) => NextHopObject::Group([(*a, 1), (*b, 2)].into()),
                    Object::Unusable => NextHopObject::Unusable,
                };
                let oracle = &mut self.oracle.sources[*source];
                let session = oracle.session;
                if session.is_some() {
                    oracle.objects.insert(*id, object.clone());
                }
                self.said_in(
                    *source,
                    session.unwrap_or(0),
                    Update::SetNextHop { id: *id, object },
                );
            }
            Step::RemoveObject(source, id) => {
                let oracle = &mut self.oracle.sources[*source];
                let session = oracle.session;
                oracle.objects.remove(id);
                self.said_in(
                    *source,
                    session.unwrap_or(0),
                    Update::RemoveNextHop { id: *id },
                );
            }
        }
    }

    fn route(&mut self, source: usize, table: u32, prefix: IpNet, protocol: u8, to: &To) {
        let (leads, to) = match to {
            To::Object(id) => (Leads::Object(*id), Destination::Object(*id)),
            To::Gateway(way) => (
                Leads::Ways(vec![(gateway(*way), 1)]),
                Destination::Gateway(gateway(*way)),
            ),
            To::Two(a, b) => {
                let ways = [(gateway(*a), 1), (gateway(*b), 3)];
                (Leads::Ways(ways.into()), Destination::Gateways(ways.into()))
            }
            To::Blackhole => (Leads::Discard, Destination::Discard(Discard::Blackhole)),
        };
        let oracle = &mut self.oracle.sources[source];
        let session = oracle.session;
        if let (Some(_), Some(vpc)) = (session, vpc_of(oracle, table)) {
            let most = oracle.config.as_ref().and_then(|config| config.most_routes);
            let is_full = oracle.routes.len() >= most.unwrap_or(u32::MAX) as usize;
            let slot = (vpc, prefix);
            if !is_full || oracle.routes.contains_key(&slot) {
                let known = Known {
                    leads,
                    protocol,
                    is_stale: false,
                };
                oracle.routes.insert(slot, known);
            }
        }
        let route = LearnedRoute {
            table,
            prefix,
            protocol,
            to,
        };
        self.said_in(source, session.unwrap_or(0), Update::SetRoute(route));
    }

    fn configure(&mut self, source: usize, config: Option<&(bool, bool, Option<u8>, Option<u32>)>) {
        let config = config.map(|(a, b, distance, most_routes)| {
            let tables = [(*a, 1, "a"), (*b, 2, "b")];
            let tables = tables.into_iter().filter(|(is_there, ..)| *is_there);
            SourceConfig {
                name: SOURCES[source].into(),
                listen: "127.0.0.1:2620".parse().unwrap(),
                distance: *distance,
                most_routes: *most_routes,
                stale_time: Duration::from_secs(STALE),
                tables: tables.map(|(_, table, vpc)| (table, vpc.into())).collect(),
            }
        });
        let oracle = &mut self.oracle.sources[source];
        match &config {
            None => *oracle = OracleSource::default(),
            Some(config) => {
                let stays: BTreeSet<&str> = config.tables.values().map(|vpc| &**vpc).collect();
                oracle.routes.retain(|(vpc, _), _| stays.contains(&vpc[..]));
            }
        }
        oracle.config = config;
        self.configure_again();
    }

    fn configs(&self) -> Vec<SourceConfig> {
        let sources = self.oracle.sources.iter();
        sources.filter_map(|source| source.config.clone()).collect()
    }

    fn configure_again(&mut self) {
        self.rib.configure(&self.configs(), &mut self.out);
    }

    /// Works everything out anew, and compares.
    fn check(&mut self) {
        for operation in self.out.drain(..) {
            self.tables.apply(&operation);
        }
        for (vpc, vpc_name) in VPCS.iter().enumerate() {
            let index = VpcIndex(self.index(vpc));
            let found: BTreeMap<IpNet, Route> = (self.tables.vpc(index).routes())
                .map(|(prefix, route)| (prefix, route.clone()))
                .collect();
            let mut expected = BTreeMap::new();
            for number in 0..PREFIXES.len() {
                let prefix = prefix(number);
                if let Some(route) = self.expected(vpc, vpc_name, prefix) {
                    expected.insert(prefix, route);
                }
            }
            assert_eq!(found, expected, "in VPC {vpc_name}");
        }
        for (name, counters) in self.rib.counters.all() {
            let position = SOURCES.iter().position(|source| **source == *name).unwrap();
            let oracle = &self.oracle.sources[position];
            let stale = oracle
                .routes
                .values()
                .filter(|route| route.is_stale)
                .count();
            let held = oracle.routes.iter().filter(|((vpc, prefix), known)| {
                let vpc = VPCS.iter().position(|name| name == vpc).unwrap();
                self.leads_to(vpc, oracle, known, *prefix).is_none()
            });
            let load = |counter: &std::sync::atomic::AtomicU64| {
                counter.load(std::sync::atomic::Ordering::Relaxed) as usize
            };
            let counted = (
                load(&counters.routes),
                load(&counters.stale),
                load(&counters.held_back),
            );
            assert_eq!(
                counted,
                (oracle.routes.len(), stale, held.count()),
                "{name}"
            );
        }
    }

    fn expected(&self, vpc: usize, name: &str, prefix: IpNet) -> Option<Route> {
        let subnets = &mut self.oracle.addresses[vpc].iter();
        let is_connected = subnets.any(|a| net(ADDRESSES[*a]) == prefix);
        let slot = (name.to_owned(), prefix);
        let configured = self.oracle.statics.get(&slot);
        let mut candidates = Vec::new();
        if let Some(route) = self.compiled(vpc, prefix) {
            let own = configured.and_then(|(_, distance)| *distance).unwrap_or(1);
            candidates.push((if is_connected { 0 } else { own }, 0, "", route));
        }
        for (source, source_name) in self.oracle.sources.iter().zip(SOURCES) {
            let (Some(known), Some(config)) = (source.routes.get(&slot), &source.config) else {
                continue;
            };
            let distance = config.distance.unwrap_or(distance_of(known.protocol));
            if let Some(route) = self.leads_to(vpc, source, known, prefix) {
                candidates.push((distance, 1, source_name, route));
            }
        }
        candidates.sort_by_key(|(distance, kind, name, _)| (*distance, *kind, *name));
        candidates.into_iter().next().map(|(.., route)| route)
    }

    fn leads_to(
        &self,
        vpc: usize,
        source: &OracleSource,
        known: &Known,
        prefix: IpNet,
    ) -> Option<Route> {
        let ways = match &known.leads {
            Leads::Discard => return Some(Route::Blackhole),
            Leads::Ways(ways) => ways.clone(),
            Leads::Object(id) => source.ways(*id),
        };
        let addresses: Vec<IpNet> = self.oracle.addresses[vpc]
            .iter()
            .map(|a| ADDRESSES[*a].parse().unwrap())
            .collect();
        let usable = ways.iter().filter(|(gateway, _)| {
            let via: IpAddr = gateway.via.unwrap();
            let is_local = matches!(via, IpAddr::V6(via) if via.is_unicast_link_local());
            let on_link = addresses.iter().any(|net| {
                net.addr().is_ipv4() == via.is_ipv4() && (is_local || net.contains(&via))
            });
            let own = addresses.iter().any(|net| net.addr() == via);
            on_link && !own && via.is_ipv4() == prefix.addr().is_ipv4()
        });
        let name = format!("if-{}", VPCS[vpc]);
        let index = InterfaceIndex(self.index(vpc));
        let hops = usable
            .map(|(gateway, weight)| NextHop::new(index, &name, gateway.via).with_weight(*weight));
        NextHops::new(hops).map(Route::Forward)
    }
}

fn net(address: &str) -> IpNet {
    address.parse::<IpNet>().unwrap().trunc()
}

fn vpc_of(source: &OracleSource, table: u32) -> Option<String> {
    let vpc = source.config.as_ref()?.tables.get(&table)?;
    Some(vpc.to_string())
}

proptest! {
    #[test]
    fn the_tables_hold_what_wins_whatever_happened_before(steps in steps()) {
        let mut world = World::new();
        for source in 0..SOURCES.len() {
            world.step(&Step::Source(source, Some((true, true, None, None))));
            world.step(&Step::Up(source));
            world.check();
        }
        for step in &steps {
            world.step(step);
            world.check();
        }
    }
}

/// A world after these steps, which both sources begin with a session.
fn world_after(steps: &[Step]) -> World {
    let mut world = World::new();
    for source in 0..SOURCES.len() {
        world.step(&Step::Source(source, Some((true, true, None, None))));
        world.step(&Step::Up(source));
    }
    for step in steps {
        world.step(step);
        world.check();
    }
    world
}

proptest! {
    /// What is told to a table of candidates that knows nothing makes it the same, and what comes later keeps it so.
    #[test]
    fn what_is_retold_leads_to_the_same_tables(before in steps(), after in steps()) {
        let mut world = world_after(&before);
        let told = world.rib.retold();
        world.rib = Rib::default();
        world.tables = Tables::default();
        world.configure_again();
        world.commit(Vec::new(), true);
        world.rib.retell(told.clone(), &mut world.out);
        world.check();
        prop_assert_eq!(told, world.rib.retold());
        // Since when something is stale is not told: a recording tells when it is over.
        for step in after.iter().filter(|step| !matches!(step, Step::Later(_))) {
            world.step(step);
            world.check();
        }
    }

    /// What goes because its time is up goes likewise where that alone is told.
    #[test]
    fn what_has_expired_goes_without_a_clock(before in steps()) {
        let mut world = world_after(&before);
        let (mut other, mut out) = (Rib::default(), Vec::new());
        other.configure(&world.configs(), &mut out);
        other.retell(world.rib.retold(), &mut out);
        let now = Duration::from_secs(world.oracle.now + STALE);
        for source in world.rib.expire(now, &mut world.out) {
            other.update(&source, 0, [Update::Expired], Duration::ZERO, &mut out);
        }
        prop_assert_eq!(world.rib.retold(), other.retold());
    }
}
