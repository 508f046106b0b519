//! A million routes from a document to a durable revision: parsed, checked, committed and journalled by the command line,
//! beside what SQLite alone needs to insert the same rows while a session records them.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use rewire_schema::source;

use crate::program::{largest_child_mib, rewire};
use crate::report::{Report, Run};
use crate::session::{self, recorded};
use crate::stores::{Failure, insert, raw};

const RUNS: usize = 3;
const ROUTES: usize = 1_000_000;

/// Prefixes of a real table, where there is one, otherwise generated ones; and which they are.
fn prefixes() -> Result<(Vec<String>, String), Failure> {
    let data = std::env::var_os("REWIRE_DATA").map_or("../shared/data".into(), PathBuf::from);
    let table = data.join("routes/ris-20260511-as3333-v4.txt.zst");
    if table.is_file() {
        let mut zstd = Command::new("zstd")
            .arg("-dcq")
            .arg(&table)
            .stdout(Stdio::piped())
            .spawn()?;
        let text = zstd.stdout.take().ok_or("zstd has no output")?;
        let mut prefixes = Vec::with_capacity(ROUTES);
        for line in BufReader::new(text).lines().take(ROUTES) {
            let line = line?;
            prefixes.extend(line.split_whitespace().next().map(str::to_owned));
        }
        // It may still have lines that nobody wants.
        let _ = zstd.kill();
        zstd.wait()?;
        return Ok((prefixes, "of a full table (RIPE NCC RIS)".to_owned()));
    }
    let generated = (0..ROUTES as u32).map(|number| {
        let [_, a, b, c] = number.to_be_bytes();
        format!("100.{a}.{b}.{c}/32")
    });
    Ok((
        generated.collect(),
        format!("generated ({} is not there)", table.display()),
    ))
}

fn document(prefixes: &[String]) -> Result<String, Failure> {
    let mut text = String::from(
        "interfaces:
  wan0:
    vpc: internet
    port: null:wan0
    mac: 02:00:00:00:00:02
    addresses:
      - 203.0.113.1/24
vpcs:
  internet: {}
  blue:
    routes:
",
    );
    for prefix in prefixes {
        writeln!(
            text,
            "      {prefix}:\n        next_hops:\n          - interface: wan0\n            via: 203.0.113.2"
        )?;
    }
    Ok(text)
}

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let (prefixes, origin) = prefixes()?;
    let text = document(&prefixes)?;
    println!(
        "data: {} prefixes {origin}; {} MB of YAML",
        prefixes.len(),
        text.len() / 1_000_000
    );
    let file = folder.path().join("routes.yaml");
    std::fs::write(&file, &text)?;
    let configuration = source::read("routes.yaml", text.as_bytes())
        .map_err(|errors| errors.to_string())?
        .configuration;
    drop(text);
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let store = folder.path().join(format!("ours-{number}.db"));
        rewire(&store, &["init"])?;
        let file = file.to_string_lossy();
        let ours = rewire(
            &store,
            &["commit", "--load", &file, "-m", "all", "--no-wait"],
        )?;
        let path = folder.path().join(format!("peer-{number}.db"));
        let peer = raw(&path)?;
        let start = Instant::now();
        recorded(&peer, |peer| {
            configuration.rows().try_for_each(|row| insert(peer, &row))
        })?;
        let peer = start.elapsed().as_nanos() as f64;
        runs.push(Run {
            ours,
            peer: Some(peer),
        });
        std::fs::remove_file(store)?;
        std::fs::remove_file(path)?;
    }
    Ok(Report {
        unit: "ns",
        peer_name: session::PEER,
        runs,
        more: vec![("rss_mib", largest_child_mib())],
    })
}
