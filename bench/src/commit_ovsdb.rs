//! A one-row durable commit beside OVSDB's: the same kind of change, as a durable transaction over the socket of a real
//! `ovsdb-server`, on the same disk.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rewire_schema::model::VpcRow;

use crate::configuration::{insertion, with_routes};
use crate::report::{Report, Run, median};
use crate::stores::{Failure, commit, store_with};

const RUNS: usize = 7;
const COMMITS: u32 = 100;
const ROUTES: u32 = 500_000;

/// A server that ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A database with one table, its server, and a connection to it.
fn ovsdb(folder: &Path) -> Result<(Server, UnixStream), Failure> {
    let [schema, database, socket] =
        ["ovsdb.schema", "ovsdb.db", "ovsdb.sock"].map(|name| folder.join(name));
    std::fs::write(
        &schema,
        r#"{"name": "bench", "version": "1.0.0", "tables": {"vpc": {"isRoot": true, "indexes": [["name"]],
            "columns": {"name": {"type": "string"}, "description": {"type": {"key": "string", "min": 0, "max": 1}}}}}}"#,
    )?;
    let missing = |error: std::io::Error| -> Failure {
        format!("ovsdb-server cannot be started ({error}): apt-get install openvswitch-common openvswitch-switch").into()
    };
    let made = Command::new("ovsdb-tool")
        .arg("create")
        .args([&database, &schema])
        .status()
        .map_err(missing)?;
    if !made.success() {
        return Err("ovsdb-tool made no database".into());
    }
    let server = Command::new("ovsdb-server")
        .arg(&database)
        .arg(format!("--remote=punix:{}", socket.display()))
        .arg("--no-chdir")
        .arg(format!("--unixctl={}", folder.join("ovsdb.ctl").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(missing)?;
    let server = Server(server);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => return Ok((server, stream)),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Inserts a row durably, and waits for the answer.
fn insert(stream: &mut UnixStream, number: u32) -> Result<(), Failure> {
    let request = format!(
        r#"{{"id": {number}, "method": "transact", "params": ["bench", {{"op": "insert", "table": "vpc", "row": {{"name": "vpc-{number}"}}}}, {{"op": "commit", "durable": true}}]}}"#
    );
    stream.write_all(request.as_bytes())?;
    // Answers are JSON objects one after the other, without anything in between: one ends where its braces do.
    let (mut depth, mut answer, mut byte) = (0, Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte)?;
        answer.push(byte[0]);
        match byte[0] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains("\"uuid\"") && answer.contains("\"error\":null") {
        Ok(())
    } else {
        Err(format!("ovsdb-server: {answer}").into())
    }
}

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let configuration = with_routes(ROUTES);
    println!(
        "data: {} generated rows in ours, an empty table in OVSDB; {COMMITS} commits a run; run it under `chrt -f 5`",
        configuration.len()
    );
    let mut store = store_with(&folder.path().join("ours.db"), &configuration)?;
    let (server, mut stream) = ovsdb(folder.path())?;
    let (mut runs, mut number) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let (mut ours_ns, mut peer_ns) = (Vec::new(), Vec::new());
        for _ in 0..COMMITS {
            number += 1;
            let changeset = insertion([VpcRow::new(format!("vpc-{number}").parse()?).into()]);
            let start = Instant::now();
            commit(&mut store, &changeset)?;
            ours_ns.push(start.elapsed().as_nanos() as f64);
            let start = Instant::now();
            insert(&mut stream, number)?;
            peer_ns.push(start.elapsed().as_nanos() as f64);
        }
        runs.push(Run {
            ours: median(ours_ns),
            peer: Some(median(peer_ns)),
        });
    }
    drop(server);
    Ok(Report {
        unit: "ns/commit",
        peer_name: "ovsdb-server",
        runs,
        more: Vec::new(),
    })
}
