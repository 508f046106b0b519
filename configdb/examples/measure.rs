//! Measures what looking back costs: `cargo run --release -p rewire-configdb --example measure [ROWS] [REVISIONS] [ROUNDS]`.
//!
//! A store of that many rows is made in one commit, then changed by as many commits of one row each, and then in rounds that
//! change every other row in one commit.

use std::time::{Duration, Instant};

use rewire_configdb::{CommitRequest, LogQuery, Store, Touching, Unchecked};
use rewire_schema::model::{NextHopRow, RouteRow};
use rewire_schema::types::RouteType;
use rewire_schema::{Change, Changeset, Row, Table, source};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse());
    let rows: u32 = arguments.next().transpose()?.unwrap_or(100_000);
    let revisions: u32 = arguments.next().transpose()?.unwrap_or(10_000);
    let rounds: u32 = arguments.next().transpose()?.unwrap_or(0);
    // On the disk that the build is on, not in a file system in memory.
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("measured.db");
    let mut store = Store::create(&path)?;

    let first: Changeset = network(rows)?.into_iter().map(Change::Insert).collect();
    let time = timed(|| commit(&mut store, &first))?;
    println!("one commit of {} rows: {}", first.len(), milliseconds(time));
    let started = Instant::now();
    for revision in 0..revisions {
        let change = description_change(revision, rows)?;
        commit(&mut store, &[change].into_iter().collect())?;
    }
    let each = started.elapsed() / revisions.max(1);
    println!(
        "{revisions} commits of one row, each: {}",
        milliseconds(each)
    );
    for round in 0..rounds {
        let changes = (0..rows / 2).map(|number| {
            let (before, after) = (next_hop(number, round)?, next_hop(number, round + 1)?);
            Ok(Change::Update { before, after })
        });
        let changes: Result<Changeset, Failure> = changes.collect();
        commit(&mut store, &changes?)?;
    }
    let journal: u64 = (1..=store.head()?)
        .map(|revision| {
            store
                .entry(revision)
                .map(|entry| entry.changeset.len() as u64)
        })
        .sum::<Result<u64, _>>()?;
    drop(store);

    let store = Store::open(&path)?;
    let route = route(rows / 4, None)?;
    let hop = next_hop(rows / 4, 0)?;
    let time = timed(|| store.log(LogQuery::last(20)).map(drop))?;
    println!("log of 20: {}", milliseconds(time));
    let (route_key, hop_key) = ([route.row_key()], [hop.row_key()]);
    let time = timed(|| store.blame(&route_key).map(drop))?;
    println!("blame of one row: {}", milliseconds(time));
    let time = timed(|| store.blame(&hop_key).map(drop))?;
    println!(
        "blame of a row that only the first revision touched: {}",
        milliseconds(time)
    );
    let touching = LogQuery {
        touching: Some(Touching::Rows(&hop_key)),
        ..LogQuery::last(20)
    };
    let time = timed(|| store.log(touching).map(drop))?;
    println!("log of that row: {}", milliseconds(time));
    let below = Touching::Below {
        tables: &[Table::Route, Table::NextHop],
        key_prefix: &hop_key[0].values()[..2],
    };
    let touching = LogQuery {
        touching: Some(below),
        ..LogQuery::last(20)
    };
    let time = timed(|| store.log(touching).map(drop))?;
    println!(
        "log of that row's route, with its parts: {}",
        milliseconds(time)
    );
    let head = store.head()?;
    let time = timed(|| store.rewind_changeset(head - 1).map(drop))?;
    println!("the way back by one revision: {}", milliseconds(time));
    let started = Instant::now();
    store.verify()?;
    let time = started.elapsed();
    let megabytes = journal as f64 / 1e6;
    println!(
        "verify of {megabytes:.1} MB of changesets: {}, {:.0} MB/s",
        milliseconds(time),
        megabytes / time.as_secs_f64()
    );
    let mut file = Vec::new();
    let time = timed(|| store.export(1..=head, &mut file).map(drop))?;
    println!(
        "export, {:.1} MB: {}",
        file.len() as f64 / 1e6,
        milliseconds(time)
    );
    let time = timed(|| {
        Store::create_from(folder.path().join("copy.db"), &file[..], &mut Unchecked).map(drop)
    })?;
    println!("a store made of it: {}", milliseconds(time));
    let mut store = store;
    let time = timed(|| store.prune(head - 1, false).map(drop))?;
    println!("prune of all but one entry: {}", milliseconds(time));
    Ok(())
}

fn timed<E>(act: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let started = Instant::now();
    act()?;
    Ok(started.elapsed())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

fn commit(store: &mut Store, changeset: &Changeset) -> Result<(), rewire_configdb::Error> {
    let base = store.head()?;
    let request = CommitRequest::new(base, changeset, "measure", "a measured commit");
    store.commit(request, &mut Unchecked).map(drop)
}

/// A network of about so many rows: half of them routes, half of them their next hops.
fn network(rows: u32) -> Result<Vec<Row>, Failure> {
    let around = "
        vpcs: {blue: {}}
        interfaces: {wan: {vpc: blue, port: 'null:wan', mac: '02:00:00:00:00:01'}}
    ";
    let around = source::read("network", around.as_bytes()).map_err(|errors| errors.to_string())?;
    let mut all: Vec<Row> = around.configuration.rows().collect();
    for number in 0..rows / 2 {
        all.push(route(number, None)?);
        all.push(next_hop(number, 0)?);
    }
    Ok(all)
}

fn prefix(number: u32) -> String {
    let [a, b, c, _] = (0x0a00_0000 + (number << 8)).to_be_bytes();
    format!("{a}.{b}.{c}.0/24")
}

fn route(number: u32, description: Option<&str>) -> Result<Row, Failure> {
    Ok(RouteRow {
        vpc: "blue".parse()?,
        prefix: prefix(number).parse()?,
        description: description.map(str::parse).transpose()?,
        route_type: RouteType::Unicast,
        to_vpc: None,
        distance: None,
        marks: Default::default(),
    }
    .into())
}

/// A next hop whose gateway moves on with each round.
fn next_hop(number: u32, round: u32) -> Result<Row, Failure> {
    Ok(NextHopRow {
        vpc: "blue".parse()?,
        prefix: prefix(number).parse()?,
        position: 0,
        interface: "wan".parse()?,
        via: Some(format!("192.0.2.{}", round % 250 + 1).parse()?),
        weight: None,
        marks: Default::default(),
    }
    .into())
}

/// The change of one route's description that makes revision `number` + 2; every route has its turn.
fn description_change(number: u32, rows: u32) -> Result<Change, Failure> {
    let routes = rows / 2;
    let text = |turn: u32| (turn > 0).then(|| format!("turn {turn}"));
    let (turn, which) = (number / routes, number % routes);
    Ok(Change::Update {
        before: route(which, text(turn).as_deref())?,
        after: route(which, text(turn + 1).as_deref())?,
    })
}
