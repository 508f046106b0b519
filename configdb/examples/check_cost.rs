//! What the check of a commit costs in a large configuration: `cargo run --release --example check_cost -- [ROUTES]`.
//!
//! Each route has one next hop, so that a configuration of 1,000,000 routes has 2,000,000 rows.

use std::time::{Duration, Instant};

use rewire_configdb::{Checker, CommitRequest, StateReader, Store, Unchecked};
use rewire_schema::model::{InterfaceAddressRow, InterfaceRow, NextHopRow, RouteRow, VpcRow};
use rewire_schema::types::{Name, Prefix};
use rewire_schema::{Change, Changeset, Configuration, Row, meaning};

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Checks what a commit means, as the gateway's own checker does.
struct Meaning;

impl Checker for Meaning {
    fn check(
        &mut self,
        _: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Anything> {
        match meaning::check_change(state, changeset)?.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(first.to_string().into()),
        }
    }
}

fn route(number: u32) -> Result<[Row; 2], Anything> {
    let vpc: Name = "blue".parse()?;
    let [_, a, b, c] = number.to_be_bytes();
    let prefix: Prefix = format!("{}.{b}.{c}.0/24", 16 + a).parse()?;
    let via = Some("203.0.113.1".parse()?);
    let hop = NextHopRow::new(vpc.clone(), prefix, 0, "wan".parse()?, via);
    Ok([RouteRow::unicast(vpc, prefix).into(), hop.into()])
}

fn start() -> Result<Vec<Row>, Anything> {
    let (vpc, wan): (Name, Name) = ("blue".parse()?, "wan".parse()?);
    let port = "null:wan".parse()?;
    let mac = "02:00:00:00:00:01".parse()?;
    let address = InterfaceAddressRow {
        interface: wan.clone(),
        address: "203.0.113.2/24".parse()?,
        marks: Default::default(),
    };
    let interface = InterfaceRow::physical(wan, vpc.clone(), port, mac);
    Ok(vec![
        VpcRow::new(vpc).into(),
        interface.into(),
        address.into(),
    ])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn main() -> Result<(), Anything> {
    let routes: u32 = match std::env::args().nth(1) {
        Some(number) => number.parse()?,
        None => 1_000_000,
    };
    let folder = tempfile::tempdir()?;
    let mut store = Store::create(folder.path().join("gateway.db"))?;
    let mut configuration = Configuration::default();
    for row in start()? {
        configuration.insert(row);
    }
    for number in 0..routes {
        for row in route(number)? {
            configuration.insert(row);
        }
    }
    let started = Instant::now();
    let problems = meaning::check(&configuration);
    println!(
        "whole check of {} rows: {:?}, {} problems",
        configuration.len(),
        started.elapsed(),
        problems.len()
    );
    let all: Changeset = configuration.rows().map(Change::Insert).collect();
    let committed = store.commit(CommitRequest::new(0, &all, "ada", "all"), &mut Meaning)?;
    println!("commit of all: {:?}", committed.times);

    for (name, checker) in [
        ("unchecked", &mut Unchecked as &mut dyn Checker),
        ("checked", &mut Meaning),
    ] {
        let (mut checks, mut commits) = (Vec::new(), Vec::new());
        for _ in 0..101 {
            let head = store.head()?;
            let number = routes + u32::try_from(head)?;
            let [row, hop] = route(number)?;
            let changeset: Changeset = [Change::Insert(row), Change::Insert(hop)]
                .into_iter()
                .collect();
            let started = Instant::now();
            let committed =
                store.commit(CommitRequest::new(head, &changeset, "ada", "one"), checker)?;
            commits.push(started.elapsed());
            checks.push(committed.times.check);
        }
        println!(
            "one route, {name}: check {:?}, commit {:?} (medians of 101)",
            median(checks),
            median(commits)
        );
    }
    Ok(())
}
