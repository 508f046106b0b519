//! Where a packet would go (`trace`), on a store of 100,010 rows: asked of a running gateway on its socket, and `rewire trace` as a
//! whole process, with that gateway and without one.
//!
//! `ours` is the answer on the socket, over a connection that is there already; `whole_ms` is the process that reads what the
//! packet touches from the store, `with_gateway_ms` the one that asks the gateway, and the store who wrote what the packet met.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rewire_schema::{Configuration, from_document};
use serde_json::{Value, json};

use crate::configuration::{with_router, with_routes};
use crate::program::{Running, binary, rewire_on};
use crate::report::{Report, Run, median, percentile};
use crate::stores::{Failure, store_with};

const RUNS: usize = 7;
const QUESTIONS: usize = 50;
const ROUTES: u32 = 50_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// By one of the routes, and masqueraded.
fn packet(number: usize) -> String {
    format!("in blue0 10.1.0.5:40000 > 100.0.7.{}:443 tcp", number % 256)
}

/// Routes with a next hop each, and what a gateway with a way out has besides.
fn configuration() -> Result<Configuration, Failure> {
    let mut configuration = with_router(with_routes(ROUTES))?;
    let more = from_document(&json!({
        "vpcs": { "blue": { "routes": { "0.0.0.0/0": { "type": "vpc", "to_vpc": "internet" } } } },
        "nat": { "masquerade": { "out": { "vpc": "blue", "interface": "wan0", "sources": ["10.1.0.0/24"] } } },
    }));
    for row in more.map_err(|problems| format!("{problems:?}"))?.rows() {
        configuration.insert(row);
    }
    Ok(configuration)
}

/// A connection to the gateway's socket.
struct Asked {
    answers: BufReader<UnixStream>,
}

impl Asked {
    fn connect(socket: &Path) -> Result<Asked, Failure> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(socket) {
                Ok(stream) => {
                    let answers = BufReader::new(stream);
                    return Ok(Asked { answers });
                }
                Err(error) if start.elapsed() > PATIENCE => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn ask(&mut self, question: &Value) -> Result<Value, Failure> {
        let line = format!("{question}\n");
        self.answers.get_mut().write_all(line.as_bytes())?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Waits until packets walk as they should.
    fn ready(&mut self) -> Result<(), Failure> {
        let question = json!({ "request": "trace", "packet": packet(0), "resolve": true });
        let start = Instant::now();
        loop {
            let answer = self.ask(&question)?;
            if answer["walk"]["outcome"]["interface"] == "wan0" {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the gateway says {answer}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let store = folder.path().join("rewire.db");
    let socket = folder.path().join("rewire.sock");
    let configuration = configuration()?;
    store_with(&store, &configuration)?;
    println!(
        "data: {} rows; {QUESTIONS} questions a run on the socket, one process a run of either kind; 2 workers without ports",
        configuration.len()
    );
    let milliseconds = |socket: &Path, number| -> Result<f64, Failure> {
        let time = rewire_on(&store, socket, &["trace", &packet(number), "--no-pager"])?;
        Ok(time / 1e6)
    };
    let nowhere = folder.path().join("none.sock");
    let _gateway = Running(
        Command::new(binary()?)
            .args(["run", "--virtual", "--metrics", "off", "--console", "off"])
            .args(["--connections", "off", "--log", "error", "--store"])
            .arg(&store)
            .arg("--socket")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?,
    );
    let mut asked = Asked::connect(&socket)?;
    asked.ready()?;
    let (mut runs, mut all) = (Vec::new(), Vec::new());
    let (mut with_gateway, mut whole) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let mut times = Vec::new();
        for number in 0..QUESTIONS {
            let question = json!({ "request": "trace", "packet": packet(number), "resolve": true });
            let start = Instant::now();
            asked.ask(&question)?;
            times.push(start.elapsed().as_nanos() as f64);
        }
        runs.push(Run {
            ours: median(times.iter().copied()),
            peer: None,
        });
        all.extend(times);
        with_gateway.push(milliseconds(&socket, run)?);
        whole.push(milliseconds(&nowhere, run)?);
    }
    let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    Ok(Report {
        unit: "ns/question",
        peer_name: "-",
        runs,
        more: vec![
            ("p99_ns", percentile(&mut all, 0.99)),
            ("worst_ns", worst(&all)),
            ("with_gateway_ms", median(with_gateway.iter().copied())),
            ("with_gateway_worst_ms", worst(&with_gateway)),
            ("whole_ms", median(whole.iter().copied())),
            ("whole_worst_ms", worst(&whole)),
        ],
    })
}
