//! Peerings: random histories of them, and what the tables say held against what the rows say.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::sample::{Index, select};
use rewire_schema::types::{Name, Prefix};
use rewire_schema::{Configuration, Row};
use rewire_tables::Route;
use serde_json::json;

use super::configuration;
use super::histories::History;

const VPCS: [&str; 3] = ["a", "b", "c"];
const PREFIXES: [&str; 9] = [
    "10.0.0.0/27",
    "10.0.0.0/28",
    "10.0.0.16/28",
    "10.0.0.8/29",
    "10.0.0.16/29",
    "10.0.0.8/30",
    "10.0.0.20/30",
    "10.0.0.9/32",
    "0.0.0.0/0",
];
const SEEN: [&str; 4] = ["10.9.0.0/28", "10.9.0.0/29", "10.9.0.8/29", "10.9.0.9/32"];

/// A few rows of a peering, a route, or what stands beside them.
pub(super) fn rows() -> impl Strategy<Value = Vec<Row>> {
    let peering = select(&["p", "q", "r"][..]);
    let sides = select(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("a", "c")][..]);
    let prefixes = || prop::collection::btree_set(select(&PREFIXES[..]), 0..3);
    let seen = prop::collection::btree_set(select(&SEEN[..]), 0..3);
    let nat = select(
        &[
            None,
            None,
            None,
            Some("static"),
            Some("masquerade"),
            Some("port_forward"),
        ][..],
    );
    let what = (prefixes(), prefixes(), seen, nat);
    let which = (select(&["x", "y"][..]), 0..3u32, 0..12u8);
    let expose = (peering, sides, what, which).prop_map(|(peering, sides, what, which)| {
        let ((side, other), (ips, not, seen, nat)) = (sides, what);
        let (name, metric, odd) = which;
        let mut expose = json!({ "metric": metric, "ips": ips, "not": not, "as": seen });
        if let Some(nat) = nat {
            expose["nat"] = nat.into();
            if nat == "port_forward" {
                expose["ports"] = json!([{ "protocol": "tcp", "port": 80, "as": 8080 }]);
            }
        }
        match odd {
            0 => expose = json!({ "default": true, "metric": metric }),
            1 => expose["deactivated"] = true.into(),
            _ => {}
        }
        let mut sides = json!({ side: { "expose": { name: expose } } });
        sides[other] = json!({});
        json!({ "peerings": { peering: { "sides": sides } } })
    });
    let route = (select(&VPCS[..]), select(&PREFIXES[..]), select(&VPCS[..])).prop_map(
        |(vpc, prefix, to)| {
            let route = match to == vpc {
                true => json!({ "type": "blackhole" }),
                false => json!({ "type": "vpc", "to_vpc": to }),
            };
            json!({ "vpcs": { vpc: { "routes": { prefix: route } }, to: {} } })
        },
    );
    let interface = (
        select(&VPCS[..]),
        select(&["10.0.0.9/29", "10.0.0.22/30"][..]),
    )
        .prop_map(|(vpc, address)| {
            json!({ "vpcs": { vpc: {} }, "interfaces": { "i": {
                "vpc": vpc, "port": "null:i", "mac": "02:00:00:00:00:01", "addresses": [address]
            } } })
        });
    // One address, or a prefix around others that are exposed.
    let fixed = select(&["9", "8/29"][..]).prop_map(|addresses| {
        json!({ "nat": { "static": { "s": {
            "external_vpc": "b", "external_address": format!("10.9.0.{addresses}"),
            "internal_vpc": "a", "internal_address": format!("10.0.0.{addresses}")
        } } } })
    });
    let documents = prop_oneof![8 => expose, 3 => route, 1 => interface, 1 => fixed];
    documents.prop_map(|document| configuration(document).rows().collect())
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

/// Who gets packets to an address in a VPC, from the rows alone: a word for it.
fn expected(state: &Configuration, vpc: &Name, to: IpAddr) -> Option<String> {
    let network = |prefix: Prefix| prefix.network();
    for length in (0..=32u8).rev() {
        let slot = ipnet::IpNet::new(to, length).unwrap().trunc();
        let slot = Prefix::new(slot);
        let up = state.interface.values().filter(|i| i.vpc == *vpc);
        for interface in up {
            let own = state.interface_address.keys();
            for (_, address) in own.filter(|(name, _)| *name == interface.name) {
                let subnet = address.subnet();
                let ends = [subnet.network(), subnet.broadcast()];
                match () {
                    () if length == 32 && address.address() == to => return Some("local".into()),
                    () if length == 32 && subnet.prefix_len() <= 30 && ends.contains(&to) => {
                        return Some("broadcast".into());
                    }
                    () if subnet == slot.network() => return Some("connected".into()),
                    () => {}
                }
            }
        }
        if let Some(route) = state.route.get(&(vpc.clone(), slot)) {
            return Some(match &route.to_vpc {
                Some(to) => format!("to {to}"),
                None => "blackhole".into(),
            });
        }
        let mut exposes: Vec<_> = state.peering_expose.values().collect();
        exposes.sort_by_key(|row| (row.metric, (&row.peering, &row.vpc, &row.name)));
        let mut external = state
            .static_nat
            .values()
            .any(|rule| rule.external_vpc == *vpc && rule.external_address.prefix() == slot);
        for row in exposes {
            let sides = state.peering_side.keys().filter(|(p, _)| *p == row.peering);
            let sides: Vec<&Name> = sides.map(|(_, vpc)| vpc).collect();
            if row.vpc == *vpc || !sides.contains(&vpc) || sides.len() != 2 {
                continue;
            }
            let of = (&row.peering, &row.vpc, &row.name);
            let ips = state.peering_expose_ip.keys();
            let ips: Vec<Prefix> = ips
                .filter(|k| (&k.0, &k.1, &k.2) == of)
                .map(|k| k.3)
                .collect();
            let not = state.peering_expose_not.keys();
            let not: Vec<Prefix> = not
                .filter(|k| (&k.0, &k.1, &k.2) == of)
                .map(|k| k.3)
                .collect();
            let all = prefix("0.0.0.0/0");
            let ips = match row.is_default || (ips.is_empty() && !not.is_empty()) {
                true => vec![all],
                false => ips,
            };
            let out = not.iter().any(|prefix| network(*prefix).contains(&to));
            match row.nat {
                None if ips.contains(&slot) && !out => {
                    return Some(format!("to {} by {}", row.vpc, row.peering));
                }
                None => {}
                Some(_) => {
                    let seen = state.peering_expose_as.keys();
                    let mut seen = seen.filter(|k| (&k.0, &k.1, &k.2) == of);
                    // Prefixes beside each other, or in each other, make one block: whichever of them.
                    external |= length == 32 && seen.any(|k| network(k.3).contains(&to));
                }
            }
        }
        if external {
            return Some("external".into());
        }
    }
    None
}

/// The same, as the tables have it.
fn found(gateway: &History, vpc: &Name, to: Ipv4Addr) -> Option<String> {
    let index = gateway.compiler.vpc_index(vpc)?;
    let tables = gateway.readers[0].enter().unwrap();
    Some(match tables.vpc(index).route(to)? {
        Route::Forward(_) => "connected".into(),
        Route::Local => "local".into(),
        Route::SubnetBroadcast => "broadcast".into(),
        Route::Blackhole => "blackhole".into(),
        Route::NatExternal => "external".into(),
        Route::NotExposed => return None,
        Route::Vpc(to) => format!("to {}", tables.vpc(*to).name()),
        Route::Peering { peering, vpc } => {
            let (vpc, peering) = (tables.vpc(*vpc).name(), tables.peering(*peering).name());
            format!("to {vpc} by {peering}")
        }
        other => panic!("{other:?}"),
    })
}

/// Whether a sender of a VPC may cross a peering, from the rows alone.
fn sends(state: &Configuration, peering: &Name, vpc: &Name, from: IpAddr) -> bool {
    let exposes = state.peering_expose.values();
    let mut own = exposes.filter(|row| (&row.peering, &row.vpc) == (peering, vpc));
    own.any(|row| {
        let of = (&row.peering, &row.vpc, &row.name);
        let ips = state.peering_expose_ip.keys();
        let mut ips = ips.filter(|k| (&k.0, &k.1, &k.2) == of).peekable();
        let not = state.peering_expose_not.keys();
        let mut not = not.filter(|k| (&k.0, &k.1, &k.2) == of).peekable();
        let forwards = row.nat.is_some_and(|nat| nat.to_string() == "port_forward");
        let all = row.is_default || (ips.peek().is_none() && not.peek().is_some());
        !forwards
            && (all || ips.any(|k| k.3.network().contains(&from)))
            && !not.any(|k| k.3.network().contains(&from))
    })
}

/// Holds the tables against the rows for every address there is.
fn holds(history: &History) {
    let state = history.compiler.configuration();
    for name in VPCS {
        let vpc: Name = name.parse().unwrap();
        if history.compiler.vpc_index(&vpc).is_none() {
            continue;
        }
        let addresses = (0..32).map(|last| Ipv4Addr::new(10, 0, 0, last));
        let seen = (0..20).map(|last| Ipv4Addr::new(10, 9, 0, last));
        for to in addresses.chain(seen).chain([Ipv4Addr::new(192, 0, 2, 1)]) {
            let expected = expected(state, &vpc, to.into());
            assert_eq!(
                found(history, &vpc, to),
                expected,
                "{name} to {to}: {:#?}",
                history.lines()
            );
        }
        for (peering,) in state.peering.keys() {
            let sides = state
                .peering_side
                .keys()
                .filter(|(p, _)| p == peering)
                .count();
            let tables = history.readers[0].enter().unwrap();
            let index = history.compiler.peering_index(peering).unwrap();
            for from in (0..32).map(|last| IpAddr::from([10, 0, 0, last])) {
                let expected = sides == 2 && sends(state, peering, &vpc, from);
                let side = history.compiler.vpc_index(&vpc).unwrap();
                assert_eq!(
                    tables.peering(index).admits(side, from),
                    expected,
                    "{peering}: {name} from {from}"
                );
            }
        }
    }
}

proptest! {
    // For a longer run: REWIRE_HISTORIES=10000.
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("REWIRE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(32)
    ))]

    #[test]
    fn every_address_gets_where_the_rows_say(
        steps in prop::collection::vec((prop::collection::vec(rows(), 1..4), prop::collection::vec(any::<Index>(), 0..4)), 1..12),
        back in any::<Index>(),
    ) {
        let mut history = History::new();
        for (put, remove) in steps {
            history.edit(put.concat(), remove);
            holds(&history);
        }
        history.rewind(back);
        holds(&history);
    }
}
