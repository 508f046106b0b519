//! A replay with all checks: nanoseconds a frame, on one core. A history of a hundred revisions of a thousand routes behind a masquerade, and a
//! million generated frames, made beforehand: connections of TCP, UDP and ICMP that begin and end, with skew. `generated_ns` is the
//! same with the generator in it.

use std::time::Instant;

use rewire_replay::{
    Generator, GeneratorOptions, History, Options, Ready, Replay, Report as Replayed,
};
use rewire_schema::Change;
use rewire_schema::model::{MasqueradeRow, MasqueradeSourceRow};

use crate::configuration::{route, with_router, with_routes};
use crate::report::{Report, Run};
use crate::stores::{Failure, commit, store_with};

const RUNS: usize = 5;
const FRAMES: u64 = 1_000_000;
const ROUTES: u32 = 1_000;
const REVISIONS: u32 = 100;
/// The frames are kept in memory.
const MOST_BYTES: usize = 2 << 30;

pub(crate) fn run() -> Result<Report, Failure> {
    let history = history()?;
    let first = history.first() + 1;
    let options = Options::default();
    let generator = || {
        Generator::new(GeneratorOptions {
            packets: FRAMES,
            ..GeneratorOptions::default()
        })
    };
    let ready = Ready::of((&history, first), &options, &mut generator(), MOST_BYTES)?;
    let frames = ready.len();
    println!(
        "data: {frames} generated frames, {REVISIONS} revisions of {ROUTES} routes behind a masquerade"
    );
    let mut runs = Vec::new();
    let mut digest = None;
    for _ in 0..RUNS {
        let start = Instant::now();
        let report = Replay::new(&history, &options).run(first, &mut ready.traffic(), &mut ())?;
        let each = start.elapsed().as_nanos() as f64 / frames as f64;
        expect_passed(&report)?;
        if *digest.get_or_insert_with(|| report.digest.clone()) != report.digest {
            return Err("two replays of the same have other reports".into());
        }
        println!("  {each:.0} ns a frame, {:.2} million a second", 1e3 / each);
        runs.push(Run {
            ours: each,
            peer: None,
        });
    }
    let start = Instant::now();
    expect_passed(&Replay::new(&history, &options).run(first, &mut generator(), &mut ())?)?;
    let generated = start.elapsed().as_nanos() as f64 / frames as f64;
    Ok(Report {
        unit: "ns/frame",
        peer_name: "-",
        runs,
        more: vec![("generated_ns", generated)],
    })
}

fn expect_passed(report: &Replayed) -> Result<(), Failure> {
    match report.failures.first() {
        None => Ok(()),
        Some(failure) => Err(format!("a check has failed: {failure:?}").into()),
    }
}

/// Each revision behind the first takes one route away and brings another.
fn history() -> Result<History, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let mut configuration = with_router(with_routes(ROUTES))?;
    let masquerade = MasqueradeRow::new("out".parse()?, "blue".parse()?, "wan0".parse()?);
    configuration.insert(masquerade.into());
    let source = MasqueradeSourceRow {
        masquerade: "out".parse()?,
        prefix: "10.1.0.0/24".parse()?,
        marks: Default::default(),
    };
    configuration.insert(source.into());
    let mut store = store_with(&folder.path().join("rewire.db"), &configuration)?;
    for revision in 1..REVISIONS {
        let goes = route(revision).into_iter().map(Change::Delete);
        let comes = route(ROUTES + revision).into_iter().map(Change::Insert);
        commit(&mut store, &goes.chain(comes).collect())?;
    }
    let mut journal = Vec::new();
    store.export(1..=store.head()?, &mut journal)?;
    Ok(History::read(&journal[..])?)
}
