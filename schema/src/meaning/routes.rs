//! Static routes and their next hops.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::addresses::{family, on_link};
use super::{Facts, Problem};
use crate::model::{MOST_NEXT_HOPS, NextHopRow, Row};
use crate::types::{Name, Prefix, RouteType};

pub(super) fn check(facts: &Facts<'_>, problems: &mut Vec<Problem>) {
    let mut connected: HashMap<(&Name, IpNet), &Name> = HashMap::new();
    for (interface, networks) in &facts.addresses {
        if let Some(vpc) = facts.vpc_of(interface) {
            for network in networks {
                connected.entry((vpc, network.trunc())).or_insert(interface);
            }
        }
    }
    // Both tables have the order (VPC, prefix): the next hops of a route are the next in line.
    let mut next_hops = facts.configuration.route_next_hop.values().peekable();
    for route in facts.configuration.route.values() {
        let key = (&route.vpc, &route.prefix);
        while next_hops
            .next_if(|hop| (&hop.vpc, &hop.prefix) < key)
            .is_some()
        {}
        let mut hops: Vec<&NextHopRow> = Vec::new();
        while let Some(hop) = next_hops.next_if(|hop| (&hop.vpc, &hop.prefix) == key) {
            hops.push(hop);
        }
        let path = || Row::from(route.clone()).path();
        match (route.route_type, hops.len()) {
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
        if let Some(interface) = connected.get(&(&route.vpc, route.prefix.network())) {
            problems.push(
                Problem::new(
                    path(),
                    format!(
                        "{} is the subnet of interface \"{interface}\"",
                        route.prefix
                    ),
                )
                .help("the subnets of a VPC's interfaces are routes by themselves"),
            );
        }
        check_next_hops(facts, route.prefix, &hops, problems);
    }
}

fn check_next_hops(
    facts: &Facts<'_>,
    prefix: Prefix,
    hops: &[&NextHopRow],
    problems: &mut Vec<Problem>,
) {
    let mut seen = HashSet::new();
    for hop in hops {
        let path = || Row::from((*hop).clone()).path();
        if !seen.insert((&hop.interface, hop.via)) {
            problems.push(Problem::new(path(), "the same next hop appears twice"));
        }
        let Some(via) = hop.via else { continue };
        let destination = prefix.network().network();
        if via.is_ipv4() != destination.is_ipv4() {
            problems.push(Problem::new(
                path().join("via"),
                format!(
                    "expected an {} address for {prefix}, found {via}",
                    family(destination)
                ),
            ));
        } else if facts.vpc_of(&hop.interface).is_some()
            && let Err(why) = on_link(facts.addresses_of(&hop.interface), via)
        {
            let message = format!("{why}, expected a router on \"{}\"", hop.interface);
            problems.push(Problem::new(path().join("via"), message));
        }
    }
}
