//! The learned routes that have to do with a question: what the running gateway has, which no row says.

use ipnet::IpNet;
use rewire_compiler::Question;
use serde_json::{Value, json};

use crate::context::Context;
use crate::daemon::routes::{Query, Route};
use crate::routes;

/// Learned routes, those of the longest prefix first, each with what becomes of it.
#[derive(Default)]
pub(super) struct Learned {
    /// Whether it was asked about routes at all.
    about_routes: bool,
    routes: Vec<(Route, Fate)>,
}

/// What becomes of a learned route.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Packets follow it.
    Followed,
    /// Another route of the same prefix is used.
    Behind(String),
    /// It is used, and the address that was asked for has a longer prefix.
    Shorter(IpNet),
    /// It cannot be used.
    HeldBack,
}

impl Fate {
    fn text(&self) -> String {
        match self {
            Fate::Followed => "packets follow it".to_owned(),
            Fate::Behind(other) => format!("{other} goes before"),
            Fate::Shorter(prefix) => format!("{prefix} is longer"),
            Fate::HeldBack => "not used".to_owned(),
        }
    }
}

/// Asks the running gateway. Without one there is nothing learned; that it cannot be asked is a note.
pub(super) fn ask(context: &Context, question: &Question) -> Learned {
    let query = match question {
        Question::Address(vpc, address) => Query {
            vpc: Some(vpc.to_string()),
            matching: Some(*address),
            ..Query::default()
        },
        Question::Prefix(vpc, prefix) => Query {
            vpc: Some(vpc.to_string()),
            // Those within that begin at the same address; of these, one is the prefix itself.
            matching: Some(prefix.network().addr()),
            within: Some(prefix.network()),
            ..Query::default()
        },
        _ => return Learned::default(),
    };
    let exactly = match question {
        Question::Prefix(_, prefix) => Some(prefix.network()),
        _ => None,
    };
    match routes::ask(context, &query) {
        Ok(answer) => of(answer.map(|answer| answer.routes).unwrap_or_default(), exactly),
        Err(why) => {
            context.note(&format!("note: learned routes are not known: {why}"));
            of(Vec::new(), None)
        }
    }
}

/// The learned ones of all candidates, of exactly one prefix where one is named.
fn of(mut candidates: Vec<Route>, exactly: Option<IpNet>) -> Learned {
    candidates.retain(|route| exactly.is_none_or(|prefix| route.prefix == prefix));
    // Stable: the order among those of one prefix stays.
    candidates.sort_by_key(|route| std::cmp::Reverse(route.prefix.prefix_len()));
    let used = |route: &&Route| route.selected;
    let decides = candidates.iter().find(used).map(|route| route.prefix);
    let fate = |route: &Route| {
        let of_prefix = candidates.iter().filter(|other| other.prefix == route.prefix);
        match (route.selected, of_prefix.clone().find(used), decides) {
            (true, _, Some(prefix)) if prefix != route.prefix => Fate::Shorter(prefix),
            (true, ..) => Fate::Followed,
            (false, Some(other), _) => Fate::Behind(match &other.source {
                Some(source) => format!("a route of {source} of distance {}", other.distance),
                None => format!("the {} route of distance {}", other.owner, other.distance),
            }),
            (false, None, _) => Fate::HeldBack,
        }
    };
    let learned = candidates.iter().filter(|route| route.owner == "learned");
    Learned {
        about_routes: true,
        routes: learned.map(|route| (route.clone(), fate(route))).collect(),
    }
}

impl Learned {
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// A line for each.
    pub(super) fn text(&self) -> String {
        let line = |(route, fate): &(Route, Fate)| {
            let nobody = String::new();
            format!(
                "learned route {} of {}: from {} by {}, distance {}, for {}, to {}; {}\n",
                route.prefix,
                route.vpc,
                route.source.as_ref().unwrap_or(&nobody),
                route.protocol.as_ref().unwrap_or(&nobody),
                route.distance,
                routes::since(route),
                routes::leads_to(route),
                fate.text(),
            )
        };
        self.routes.iter().map(line).collect()
    }

    /// As `show routes` gives them; none where it was not asked about routes.
    pub(super) fn to_json(&self) -> Option<Value> {
        let routes = self.routes.iter().map(|(route, _)| json!(route));
        self.about_routes.then(|| routes.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(prefix: &str, owner: &str, distance: u8, selected: bool) -> Route {
        let learned = owner == "learned";
        serde_json::from_value(json!({
            "vpc": "blue", "prefix": prefix, "owner": owner, "distance": distance, "selected": selected,
            "source": learned.then_some("frr"), "protocol": learned.then_some("bgp"), "stale": false, "to": null,
            "age_seconds": learned.then_some(125),
            "next_hops": [{ "interface": "wan", "via": "203.0.113.2", "weight": 1 }],
        }))
        .unwrap()
    }

    #[test]
    fn each_learned_route_says_what_becomes_of_it() {
        let held_back = Route {
            next_hops: Vec::new(),
            ..candidate("10.9.1.0/24", "learned", 20, false)
        };
        let all = vec![
            candidate("0.0.0.0/0", "learned", 20, true),
            candidate("10.0.0.0/8", "static", 1, true),
            candidate("10.0.0.0/8", "learned", 20, false),
            candidate("10.9.0.0/16", "learned", 20, true),
            held_back,
        ];
        insta::assert_snapshot!(of(all.clone(), None).text());
        let eight = "10.0.0.0/8".parse().ok();
        assert_eq!(of(all, eight).to_json().unwrap()[0]["distance"], 20);
    }
}
