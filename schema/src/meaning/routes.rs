//! Static routes and their next hops.

use ipnet::IpNet;

use super::addresses::{family, on_link};
use super::facts::Facts;
use super::limits::MOST_LOOKUPS;
use super::look_up::LookUp;
use super::{Problem, Problems};
use crate::document::Path;
use crate::model::{MOST_NEXT_HOPS, NextHopRow, RouteRow};
use crate::types::{InterfaceType, Name, Prefix, RouteType};

pub(super) fn check<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    prefix: Prefix,
    problems: &mut Problems,
) {
    let key = (vpc.clone(), prefix);
    let Some(route) = facts.rows.find::<RouteRow>(&key) else {
        return;
    };
    let path = || Path::new(["vpcs", vpc.as_str(), "routes"]).join(prefix);
    let mut count = 0;
    let mut seen = Vec::new();
    for hop in facts.rows.below::<NextHopRow, _>(key.clone()) {
        count += 1;
        let same = (hop.interface.clone(), hop.via);
        if seen.contains(&same) {
            let message = "the same next hop appears twice";
            problems.push(Problem::new(super::path(&*hop), message));
        }
        seen.push(same);
        check_next_hop(facts, &hop, problems);
    }
    match (route.route_type, count) {
        (RouteType::Unicast, 0) => problems.push(
            Problem::new(path(), "a unicast route needs a next hop, it has none")
                .help("give it next_hops, or the type blackhole or unreachable"),
        ),
        (RouteType::Unicast, count) if count > MOST_NEXT_HOPS => problems.push(Problem::new(
            path().join("next_hops"),
            format!("expected at most {MOST_NEXT_HOPS} next hops, found {count}"),
        )),
        (RouteType::Unicast, _) | (_, 0) => {}
        (other, _) => problems.push(
            Problem::new(
                path().join("next_hops"),
                format!("a route of type {other} has no next hops"),
            )
            .help("leave next_hops out, or make the type unicast"),
        ),
    }
    match (route.route_type, &route.to_vpc) {
        (RouteType::Vpc, None) => {
            let message = "a route of type vpc needs the field \"to_vpc\"";
            problems.push(Problem::new(path(), message));
        }
        (RouteType::Vpc, Some(_)) => check_leak(facts, &route, problems),
        (_, None) => {}
        (other, Some(_)) => problems.push(
            Problem::new(
                path().join("to_vpc"),
                format!("a route of type {other} is not looked up in another VPC"),
            )
            .help("leave to_vpc out, or make the type vpc"),
        ),
    }
    if let Some(interface) = facts.vpc(vpc).connected(prefix) {
        problems.push(
            Problem::new(
                path(),
                format!("{prefix} is the subnet of interface \"{interface}\""),
            )
            .help("the subnets of a VPC's interfaces are routes by themselves"),
        );
    }
}

fn check_next_hop<L: LookUp>(facts: &Facts<'_, L>, hop: &NextHopRow, problems: &mut Problems) {
    let interface = facts.interface(&hop.interface);
    if let Some(interface) = &interface
        && interface.row.kind() == InterfaceType::Loopback
    {
        let message = format!("nothing leaves by \"{}\": it is a loopback", hop.interface);
        problems.push(Problem::new(super::path(hop).join("interface"), message));
        return;
    }
    let Some(via) = hop.via else { return };
    let path = || super::path(hop).join("via");
    let destination = hop.prefix.network().network();
    if via.is_ipv4() != destination.is_ipv4() {
        problems.push(Problem::new(
            path(),
            format!(
                "expected an {} address for {}, found {via}",
                family(destination),
                hop.prefix
            ),
        ));
    } else if let Some(interface) = interface
        && let Err(why) = on_link(&interface.addresses, via)
    {
        let message = format!("{why}, expected a router on \"{}\"", hop.interface);
        problems.push(Problem::new(path(), message));
    }
}

/// Looking a packet up again and again must come to an end. Asked is where a packet to the route's prefix gets for which no
/// VPC on its way has a longer prefix than this route's.
fn check_leak<L: LookUp>(facts: &Facts<'_, L>, route: &RouteRow, problems: &mut Problems) {
    let step = |(vpc, prefix): (&Name, Prefix), to_vpc: &Name| {
        format!("route {vpc}/{prefix} leads to \"{to_vpc}\"")
    };
    let mut way = vec![route.vpc.clone()];
    let mut next = Some((route.prefix, route.to_vpc.clone()));
    let mut steps = Vec::new();
    while let Some((prefix, Some(to_vpc))) = next {
        let from = way.last().expect("it begins with the route's VPC");
        steps.push(step((from, prefix), &to_vpc));
        if way.contains(&to_vpc) {
            let message = format!(
                "a packet to {} would be looked up without end: {}",
                route.prefix,
                steps.join(", ")
            );
            problems.push(Problem::new(super::path(route).join("to_vpc"), message));
            return;
        }
        if way.len() == MOST_LOOKUPS {
            let message = format!(
                "a packet to {} would be looked up in more than {MOST_LOOKUPS} VPCs",
                route.prefix
            );
            let problem = Problem::new(super::path(route).join("to_vpc"), message);
            problems.push(problem.help("let the route lead to the last of these VPCs at once"));
            return;
        }
        next = leak_of(facts, &to_vpc, route.prefix);
        way.push(to_vpc);
    }
}

/// The route of `vpc` that a packet to this prefix takes, and the VPC that it is looked up in again, if it is.
fn leak_of<L: LookUp>(
    facts: &Facts<'_, L>,
    vpc: &Name,
    prefix: Prefix,
) -> Option<(Prefix, Option<Name>)> {
    let known = facts.vpc(vpc);
    for prefix in covering(prefix) {
        if known.connected(prefix).is_some() {
            return None;
        }
        if let Some(route) = facts.rows.find::<RouteRow>(&(vpc.clone(), prefix)) {
            return match route.route_type {
                RouteType::Vpc => Some((prefix, route.to_vpc.clone())),
                _ => None,
            };
        }
    }
    None
}

/// A prefix and all that hold it, the longest first.
pub(super) fn covering(prefix: Prefix) -> impl Iterator<Item = Prefix> {
    let network = prefix.network();
    let lengths = (0..=network.prefix_len()).rev();
    lengths.filter_map(move |length| Some(Prefix::new(IpNet::new(network.addr(), length).ok()?)))
}
