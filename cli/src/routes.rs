//! `rewire show routes`: the routes that the running gateway has, for people and for machines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use rewire_configdb::Store;
use rewire_schema::RowKey;
use rewire_schema::types::{Name, Prefix};
use serde_json::json;

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::daemon::routes::{Query, Route, Routes, VERSION};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::status_text::duration;
use crate::terminal::clean;

/// Static routes whose revision is looked for, at most.
const MOST_BLAMED: usize = 1000;

/// The revision that made a static route what it is, by VPC and prefix.
type Revisions = BTreeMap<(String, IpNet), u64>;

/// Asks the gateway for what the words name: a VPC, and a prefix or an address.
pub(crate) fn show(context: &Context, words: &[String]) -> Result<Answer, Failure> {
    let query = query(words)?;
    let answer = ask(context, &query).map_err(|why| Failure::new(Code::Failed, why))?;
    let routes = answer.ok_or_else(|| no_gateway(&context.socket()))?;
    if let (Some(vpc), [], Ok(store)) = (&query.vpc, &routes.routes[..], context.open()) {
        // A VPC that is not there has no routes either, but whoever mistyped it should hear so.
        let configuration = store.head_and_configuration()?.1;
        if !configuration
            .vpc
            .values()
            .any(|row| row.name.as_str() == vpc)
        {
            let message = format!("there is no VPC \"{}\"", clean(vpc));
            return Err(Failure::new(Code::NoSuchName, message));
        }
    }
    // Without its store, a gateway still has routes.
    let revisions = context.open().ok();
    let revisions = revisions
        .and_then(|store| revisions_of(&routes, &store).ok())
        .unwrap_or_default();
    let shown = routes
        .routes
        .iter()
        .map(|route| (route.vpc.as_str(), route.prefix));
    let mut shown: Vec<_> = shown.collect();
    shown.dedup();
    if shown.len() < routes.prefixes {
        let (shown, all) = (shown.len(), routes.prefixes);
        context.note(&format!(
            "note: the first {shown} of {all} prefixes; name a VPC or a prefix"
        ));
    }
    Ok(context.shown(
        |_| text(&routes, &revisions),
        || to_json(&routes, &revisions),
    ))
}

/// What the running gateway answers; `None` where none runs.
pub(crate) fn ask(context: &Context, query: &Query) -> Result<Option<Routes>, String> {
    gateway::ask(&context.socket(), "routes", query, VERSION)
}

fn query(words: &[String]) -> Result<Query, Failure> {
    let mut query = Query::default();
    for (position, word) in words.iter().enumerate() {
        if let Ok(prefix) = word.parse::<IpNet>() {
            query.within = Some(prefix);
        } else if let Ok(address) = word.parse::<IpAddr>() {
            query.matching = Some(address);
        } else if position == 0 && word.parse::<Name>().is_ok() {
            query.vpc = Some(word.clone());
            continue;
        } else {
            let message = format!("\"{}\" is neither a prefix nor an address", clean(word));
            return Err(Failure::new(Code::WrongArguments, message));
        }
        if position + 1 < words.len() {
            let message = "one prefix or address at a time: show routes [VPC] [PREFIX|ADDRESS]";
            return Err(Failure::new(Code::WrongArguments, message));
        }
    }
    Ok(query)
}

/// The revisions of the static routes, from the journal.
fn revisions_of(routes: &Routes, store: &Store) -> Result<Revisions, rewire_configdb::Error> {
    let statics = routes.routes.iter().filter(|route| route.owner == "static");
    let keys = statics.take(MOST_BLAMED).filter_map(|route| {
        let vpc = route.vpc.parse().ok()?;
        Some(RowKey::Route((vpc, Prefix::new(route.prefix))))
    });
    let keys: Vec<RowKey> = keys.collect();
    let blamed = store.blame(&keys)?.into_iter().filter_map(|blame| {
        let RowKey::Route((vpc, prefix)) = &blame.key else {
            return None;
        };
        let fields = blame.fields.iter().filter_map(|(_, revision)| *revision);
        let last = fields.chain(blame.created).max()?;
        Some(((vpc.to_string(), prefix.network()), last))
    });
    Ok(blamed.collect())
}

fn revision(route: &Route, revisions: &Revisions) -> Option<u64> {
    let of = |route: &Route| revisions.get(&(route.vpc.clone(), route.prefix)).copied();
    (route.owner == "static").then(|| of(route)).flatten()
}

/// The routes as a table. What packets follow has a star.
fn text(routes: &Routes, revisions: &Revisions) -> String {
    let mut rows = vec![
        ["", "VPC", "PREFIX", "FROM", "DISTANCE", "LEADS TO", "SINCE"]
            .iter()
            .map(|head| Cell::word(head))
            .collect::<Vec<_>>(),
    ];
    for route in &routes.routes {
        let from = match (&route.source, &route.protocol, revision(route, revisions)) {
            (Some(source), Some(protocol), _) => format!("{source} {protocol}"),
            (_, _, Some(revision)) => format!("static, revision {revision}"),
            _ => route.owner.clone(),
        };
        rows.push(vec![
            Cell::word(if route.selected { "*" } else { "" }),
            Cell::word(&route.vpc),
            Cell::word(&route.prefix.to_string()),
            Cell::word(&from),
            Cell::number(route.distance),
            Cell::word(&leads_to(route)),
            Cell::word(&since(route)),
        ]);
    }
    if routes.routes.is_empty() {
        return "no routes\n".to_owned();
    }
    let mut text = columns(&rows).join("\n");
    text.push('\n');
    text
}

/// For how long a learned route is there.
pub(crate) fn since(route: &Route) -> String {
    let mut since = route.age_seconds.map(duration).unwrap_or_default();
    if route.stale {
        since.push_str(", stale");
    }
    since
}

/// Where a route leads, and why it is held back if it is.
pub(crate) fn leads_to(route: &Route) -> String {
    if let Some(to) = &route.to {
        return to.clone();
    }
    let weighted = route.next_hops.iter().any(|hop| hop.weight != 1);
    let hop = |hop: &crate::daemon::routes::NextHop| {
        let mut text = match (&hop.interface, hop.via) {
            (Some(interface), Some(via)) => format!("{via} by {interface}"),
            (Some(interface), None) => interface.clone(),
            (None, Some(via)) => format!("{via}, which is on no link: held back"),
            (None, None) => "a link of the daemon's own: held back".to_owned(),
        };
        if weighted {
            text.push_str(&format!(" weight {}", hop.weight));
        }
        text
    };
    match &route.next_hops[..] {
        [] => "a next hop that was not said: held back".to_owned(),
        hops => hops.iter().map(hop).collect::<Vec<_>>().join("; "),
    }
}

fn to_json(routes: &Routes, revisions: &Revisions) -> serde_json::Value {
    let mut value = json!(routes);
    let values = value["routes"].as_array_mut().into_iter().flatten();
    for (value, route) in values.zip(&routes.routes) {
        value["revision"] = json!(revision(route, revisions));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn words_name_a_vpc_and_a_prefix_or_an_address() {
        let read = |text| query(&words(text)).map(|q| (q.vpc, q.within, q.matching));
        let blue = || Some("blue".to_owned());
        let net = Some("10.0.0.0/8".parse().unwrap());
        let address = Some("2001:db8::1".parse().unwrap());
        assert_eq!(read("").ok(), Some((None, None, None)));
        assert_eq!(read("blue").ok(), Some((blue(), None, None)));
        assert_eq!(read("blue 10.0.0.0/8").ok(), Some((blue(), net, None)));
        assert_eq!(read("2001:db8::1").ok(), Some((None, None, address)));
        for wrong in [
            "blue red",
            "10.0.0.0/8 blue",
            "10.0.0.0/33",
            "blue 10.0.0.0/8 10.1.1.1",
        ] {
            assert!(query(&words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_says_whose_each_route_is_and_which_is_used() {
        let routes: Routes = serde_json::from_str(
            r#"{"version": 1, "revision": 12, "prefixes": 4, "routes": [
            {"vpc": "blue", "prefix": "0.0.0.0/0", "owner": "learned", "source": "frr", "protocol": "bgp", "distance": 20,
             "selected": true, "stale": false, "to": null, "age_seconds": 200,
             "next_hops": [{"interface": "wan", "via": "203.0.113.2", "weight": 1},
                           {"interface": "wan", "via": "203.0.113.3", "weight": 3}]},
            {"vpc": "blue", "prefix": "0.0.0.0/0", "owner": "static", "source": null, "protocol": null, "distance": 200,
             "selected": false, "stale": false, "to": "blackhole", "age_seconds": null, "next_hops": []},
            {"vpc": "blue", "prefix": "10.1.0.0/24", "owner": "connected", "source": null, "protocol": null, "distance": 0,
             "selected": true, "stale": false, "to": null, "age_seconds": null,
             "next_hops": [{"interface": "blue0", "via": null, "weight": 1}]},
            {"vpc": "blue", "prefix": "10.9.0.0/16", "owner": "learned", "source": "frr", "protocol": "ospf", "distance": 110,
             "selected": false, "stale": true, "to": null, "age_seconds": 4, "next_hops":
             [{"interface": null, "via": "192.0.2.9", "weight": 1}]}]}"#,
        )
        .unwrap();
        let prefix = "0.0.0.0/0".parse().unwrap();
        let revisions = Revisions::from([(("blue".to_owned(), prefix), 12)]);
        insta::assert_snapshot!(text(&routes, &revisions));
        assert_eq!(to_json(&routes, &revisions)["routes"][1]["revision"], 12);
    }
}
