//! A walk under a state of which only what the packet touches is compiled: all but the routes, and of these the ones that cover an
//! address that is looked up on the way.
//!
//! Which those are is known by walking: each walk names the VPCs and addresses that it looked at, their routes are added, and the
//! packet walks again, until nothing is new. A longest prefix is among those that cover its address, so that the last
//! walk is the one over all tables. Routes are all that a large configuration has by the hundred thousand.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use rewire_compiler::Compiler;
use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::walk::Fact;
use rewire_schema::state::Rows;
use rewire_schema::types::Prefix;
use rewire_schema::{Change, Changeset, Configuration, RowKey, Table, Value};
use rewire_tables::Tables;

use super::{Asked, Walked, input, walk};
use crate::failure::{Code, Failure};

/// An address that was looked up in the routes of a VPC.
type LookedUp = (String, IpAddr);

/// The walk of a packet under a state, and that of its reply if it is asked for and there is any, with the tables that they walked over.
///
/// Cost: the rows of the state without its routes; for each address on the way a look-up for every length of a prefix.
///
/// # Errors
/// The state does not compile, or it is not known which interface receives the packet.
pub(crate) fn walks(
    rows: &dyn Rows,
    revision: u64,
    asked: &Asked,
    (assumes_neighbors, wants_reply): (bool, bool),
) -> Result<(Box<Tables>, Vec<Walked>), Failure> {
    let mut base = Configuration::default();
    for table in Table::ALL {
        if !matches!(table, Table::Route | Table::NextHop) {
            for row in rows.below(*table, &[])? {
                base.insert(row);
            }
        }
    }
    let refused = |error: &dyn std::fmt::Display| Failure::new(Code::Refused, error.to_string());
    let compiled = Compiler::compile(base, revision);
    let (mut compiler, compiled) = compiled.map_err(|errors| refused(&errors))?;
    let mut tables = Box::<Tables>::default();
    for operation in &compiled.operations {
        tables.apply(operation);
    }
    let mut known: BTreeSet<LookedUp> = BTreeSet::new();
    let mut added: BTreeSet<RowKey> = BTreeSet::new();
    loop {
        let mut trial = Trial::new(Instant(0), assumes_neighbors);
        let mut walks = vec![walk(&tables, asked, &mut trial)?];
        if wants_reply && let Some(reply) = input::reply(&walks[0]) {
            walks.push(walk(&tables, &reply, &mut trial)?);
        }
        let mut routes = Vec::new();
        for looked_up in looked_up(&walks, &tables) {
            if known.insert(looked_up.clone()) {
                routes.extend(covering(rows, &looked_up, &mut added)?);
            }
        }
        if routes.is_empty() {
            return Ok((tables, walks));
        }
        let changeset: Changeset = routes.into_iter().collect();
        let compiled = compiler.apply(revision, &changeset);
        let compiled = compiled.map_err(|errors| refused(&errors))?;
        for operation in &compiled.operations {
            tables.apply(operation);
        }
    }
}

/// What was looked up on the way, and might have been: each address of the packets in each VPC that they came to.
fn looked_up(walks: &[Walked], tables: &Tables) -> BTreeSet<LookedUp> {
    let mut vpcs = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let of_interface = |name: &str| {
        let mut named = tables.interfaces().filter(|(_, i)| *i.name == *name);
        named
            .next()
            .map(|(_, i)| tables.vpc(i.vpc).name().to_owned())
    };
    for step in walks.iter().flat_map(|walked| &walked.walk.steps) {
        match &step.fact {
            Fact::Received { vpc, .. } => {
                vpcs.insert(vpc.to_string());
            }
            Fact::Header(header) => addresses.extend([header.source, header.destination]),
            Fact::Destination { to, vpc, .. } => {
                vpcs.insert(vpc.to_string());
                addresses.insert(to.0);
            }
            Fact::ChangesFamily {
                destination, vpc, ..
            }
            | Fact::Lookup {
                vpc, destination, ..
            } => {
                vpcs.insert(vpc.to_string());
                addresses.insert(*destination);
            }
            Fact::NextHop { interface, .. } | Fact::TurnsRound { interface } => {
                vpcs.extend(of_interface(interface));
            }
            Fact::Crossing { from, to, .. } => vpcs.extend([from.to_string(), to.to_string()]),
            Fact::Source { to, .. } => {
                addresses.insert(to.0);
            }
            _ => {}
        }
    }
    let pairs = vpcs.iter().flat_map(|vpc| {
        let addresses = addresses.iter();
        addresses.map(move |address| (vpc.clone(), *address))
    });
    pairs.collect()
}

/// The routes of a VPC that cover an address, with their next hops, but for those that were added already.
fn covering(
    rows: &dyn Rows,
    (vpc, address): &LookedUp,
    added: &mut BTreeSet<RowKey>,
) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    let host = IpNet::from(*address);
    for length in 0..=host.max_prefix_len() {
        let Ok(around) = IpNet::new(*address, length) else {
            continue;
        };
        let prefix = Prefix::new(around.trunc()).to_string();
        let values = [Value::Text(vpc.clone()), Value::Text(prefix)];
        let Ok(key) = RowKey::from_values(Table::Route, &values) else {
            continue;
        };
        if added.contains(&key) {
            continue;
        }
        if let Some(route) = rows.find(&key)? {
            added.insert(key);
            let next_hops = rows.below(Table::NextHop, &values)?;
            changes.push(Change::Insert(route));
            changes.extend(next_hops.into_iter().map(Change::Insert));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use rewire_schema::from_document;
    use serde_json::json;

    use super::*;
    use crate::trace::{Report, tables};

    /// Routes of all lengths, some of them within others, into other VPCs, and the rules that ask for them.
    fn document() -> serde_json::Value {
        let via = |via: &str| json!({ "next_hops": [{ "interface": "wan", "via": via }] });
        json!({
            "vpcs": {
                "blue": { "routes": {
                    "0.0.0.0/0": { "type": "vpc", "to_vpc": "internet" }, "::/0": { "type": "vpc", "to_vpc": "internet" },
                    "10.8.0.0/16": { "type": "blackhole" }, "10.8.1.0/24": { "type": "vpc", "to_vpc": "internet" },
                    "64:ff9b::808:0/112": { "type": "unreachable" },
                } },
                "internet": { "routes": {
                    "0.0.0.0/0": via("203.0.113.2"), "10.8.1.128/25": { "type": "unreachable" }, "1.0.0.0/8": via("203.0.113.3"),
                    "1.1.0.0/16": via("203.0.113.4"), "1.1.1.1/32": via("203.0.113.5"), "::/0": { "next_hops": [{ "interface": "wan", "via": "2001:db8::2" }] },
                } },
            },
            "interfaces": {
                "lan": { "vpc": "blue", "port": "null:lan", "mac": "02:00:00:00:00:01", "addresses": ["10.1.0.1/24", "fd00::1/64"] },
                "wan": { "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03", "addresses": ["203.0.113.1/24", "2001:db8::1/64"] },
            },
            "nat": {
                "pools": { "public": { "vpc": "internet", "ranges": ["203.0.113.64"] }, "six": { "vpc": "internet", "ranges": ["203.0.113.80"] } },
                "masquerade": { "out": { "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.1.0.0/24"] } },
                "static": { "mail": { "external_vpc": "internet", "external_address": "203.0.113.9", "internal_vpc": "blue", "internal_address": "10.1.0.20" } },
                "nat64": { "six": { "vpc": "blue", "pool": "six" } },
            },
        })
    }

    #[test]
    fn a_walk_over_what_it_touches_is_the_one_over_all() {
        let configuration = from_document(&document()).unwrap();
        let all = tables(configuration.clone(), 1).unwrap();
        for packet in [
            "10.1.0.5:1 > 1.1.1.1:443",
            "10.1.0.5:1 > 1.1.1.2:443",
            "10.1.0.5:1 > 1.2.1.2:443",
            "10.1.0.5:1 > 9.9.9.9:53 udp",
            "10.1.0.5 > 10.8.0.1",
            "10.1.0.5 > 10.8.1.1",
            "10.1.0.5:1 > 10.8.1.200:80",
            "10.1.0.5:1 > 203.0.113.9:25",
            "in wan 198.51.100.1:5 > 203.0.113.9:25",
            "in lan [fd00::5]:1 > [64:ff9b::101:101]:80",
            "in lan [fd00::5]:1 > [64:ff9b::808:808]:80",
            "in lan [fd00::5]:1 > [2001:db8:5::1]:80",
            "10.1.0.5 > 10.1.0.1 icmp echo ttl 1",
        ] {
            let asked = Asked::Text(Box::new(packet.parse().unwrap()));
            let (some, walks) = super::walks(&configuration, 1, &asked, (true, true)).unwrap();
            let mut trial = Trial::new(Instant(0), true);
            let mut expected = vec![walk(&all, &asked, &mut trial).unwrap()];
            if let Some(reply) = input::reply(&expected[0]) {
                expected.push(walk(&all, &reply, &mut trial).unwrap());
            }
            let told = |walks: &[Walked], tables: &Tables| {
                let reports = walks.iter().map(|walked| Report::of(walked, tables));
                reports.collect::<Vec<_>>()
            };
            assert_eq!(told(&walks, &some), told(&expected, &all), "{packet}");
        }
    }
}
