//! A one-route commit end to end, with the disk: into the store, durable, read from the journal by a real `rewire run`,
//! compiled, published, and every worker out of the old tables; until the gateway's answer is here. Beside OVN: a route
//! into the northbound database, until ovn-northd has brought its flow into the southbound one (not to any switch).
//!
//! Both have 100,000 routes and 10,000 ports. OVN's are hosts' ports on 100 switches, and ours the same hosts: neighbors on
//! 100 interfaces. OVN's databases are written without waiting for the disk, as OVN does it; ours waits.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rewire_configdb::Store;
use rewire_schema::Configuration;
use rewire_schema::model::{InterfaceAddressRow, InterfaceRow, NeighborRow};

use crate::configuration::{insertion, prefix, route, with_routes};
use crate::ovn::Ovn;
use crate::program::binary;
use crate::report::{Report, Run, median, percentile};
use crate::stores::{Failure, commit, store_with};

const RUNS: usize = 5;
/// Commits of ours for each of OVN's routes.
const COMMITS: u32 = 200;
const ROUTES: u32 = 100_000;
const PORTS: u32 = 10_000;

/// 100 interfaces with 100 hosts each.
fn with_hosts(mut configuration: Configuration) -> Result<Configuration, Failure> {
    for number in 0..PORTS / 100 {
        let name = format!("lan{number}").parse()?;
        let mac = format!("02:00:00:01:00:{number:02x}").parse()?;
        let port = format!("null:lan{number}").parse()?;
        configuration.insert(InterfaceRow::physical(name, "blue".parse()?, port, mac).into());
        configuration.insert(
            InterfaceAddressRow {
                interface: format!("lan{number}").parse()?,
                address: format!("10.2.{number}.1/24").parse()?,
                marks: Default::default(),
            }
            .into(),
        );
        for host in 2..102 {
            configuration.insert(
                NeighborRow {
                    interface: format!("lan{number}").parse()?,
                    address: format!("10.2.{number}.{host}").parse()?,
                    mac: format!("02:00:01:00:{number:02x}:{host:02x}").parse()?,
                    marks: Default::default(),
                }
                .into(),
            );
        }
    }
    Ok(configuration)
}

/// A running gateway, and a connection to its socket. It ends with this.
struct Daemon {
    child: Child,
    stream: BufReader<UnixStream>,
}

/// A connection to a gateway that may still be starting.
fn connected(socket: &Path) -> Result<UnixStream, Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    fn start(store: &Path, socket: &Path) -> Result<Daemon, Failure> {
        let child = Command::new(binary()?)
            .args(["run", "--virtual", "--metrics", "off", "--log", "error"])
            .arg("--store")
            .arg(store)
            .arg("--socket")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Daemon {
            child,
            stream: BufReader::new(connected(socket)?),
        })
    }

    /// Connects anew: the gateway closes a connection that says nothing, and OVN takes its time.
    fn connect(&mut self, socket: &Path) -> Result<(), Failure> {
        self.stream = BufReader::new(connected(socket)?);
        Ok(())
    }

    /// Waits until a revision is live, as `rewire commit` does; the gateway's answer.
    fn follow(&mut self, revision: u64) -> Result<String, Failure> {
        let request =
            format!("{{\"request\":\"follow\",\"revision\":{revision},\"timeout_ms\":60000}}\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer)?;
        if answer.contains(r#""live":true"#) {
            Ok(answer)
        } else {
            Err(format!("rewire run: {answer}").into())
        }
    }
}

fn one_commit(store: &mut Store, daemon: &mut Daemon, number: u32) -> Result<[f64; 2], Failure> {
    let changeset = insertion(route(number));
    let start = Instant::now();
    let committed = commit(store, &changeset)?;
    let durable = start.elapsed();
    daemon.follow(committed.revision)?;
    Ok([start.elapsed(), durable].map(|time| time.as_nanos() as f64))
}

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    println!(
        "data: {ROUTES} generated routes and {PORTS} hosts' ports in both; {COMMITS} commits of ours for each of OVN's"
    );
    let path = folder.path().join("ours.db");
    let mut store = store_with(&path, &with_hosts(with_routes(ROUTES))?)?;
    let socket = folder.path().join("ours.sock");
    let mut daemon = Daemon::start(&path, &socket)?;
    daemon.follow(1)?;
    let mut ovn = Ovn::start(folder.path(), PORTS, (0..ROUTES).map(prefix))?;
    // The first one waits for all that was there before.
    let cold = ovn.route(&prefix(ROUTES))?;
    let (mut runs, mut all, mut durable, mut number) = (Vec::new(), Vec::new(), Vec::new(), ROUTES);
    for _ in 0..RUNS {
        let mut ours = Vec::new();
        daemon.connect(&socket)?;
        for _ in 0..COMMITS {
            number += 1;
            let [whole, until_durable] = one_commit(&mut store, &mut daemon, number)?;
            ours.push(whole);
            durable.push(until_durable);
        }
        all.extend(ours.iter().copied());
        let peer = ovn.route(&prefix(number))?;
        runs.push(Run {
            ours: median(ours),
            peer: Some(peer.as_nanos() as f64),
        });
    }
    let times = runs.iter().filter_map(|run| Some(run.peer? / run.ours));
    let times_faster = median(times);
    Ok(Report {
        unit: "ns/commit",
        peer_name: "ovn-northd",
        runs,
        more: vec![
            ("times_faster", times_faster),
            ("durable_ns", median(durable)),
            ("p99_ns", percentile(&mut all, 0.99)),
            ("ovn_cold_s", cold.as_secs_f64()),
        ],
    })
}
