//! Hosts behind NAT whose links lose, delay, double and reorder frames: everything comes to its end all the same.
//!
//! `REWIRE_FAULTY_CONNECTIONS` says how many short connections are made, `REWIRE_FAULTY_SECONDS` how long iperf3 runs.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rewire_tests::documents::two_vpcs;
use rewire_tests::{Lab, Namespace, until, until_for};
use serde_json::Value;

/// Longer than a kernel repeats one segment on such links: its time-out doubles from 200 ms, or from 1 s for a SYN.
const ENOUGH: Duration = Duration::from_secs(60);
/// Connections that are open at once.
const AT_ONCE: usize = 64;

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let set = std::env::var(name).ok();
    set.and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn lab(faults: &str) -> Option<Lab> {
    let mut lab = Lab::new()?;
    lab.start_gateway_with(&["--faults", faults]);
    lab.commit(&two_vpcs());
    Some(lab)
}

/// A server that sends back what it reads, until its peer is done; as many times as there are connections.
fn echo_server(host: &Namespace, address: &str, connections: usize) -> std::thread::JoinHandle<()> {
    let listener = host
        .run(|| TcpListener::bind(address))
        .expect("a free port");
    std::thread::spawn(move || {
        std::thread::scope(|scope| {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().expect("a connection");
                scope.spawn(move || {
                    stream.set_read_timeout(Some(ENOUGH)).expect("a time-out");
                    let mut question = Vec::new();
                    if stream.read_to_end(&mut question).is_ok() {
                        let _ = stream.write_all(&question);
                    }
                });
            }
        });
    })
}

/// One short connection: a question, its end, the answer, its end.
fn ask(address: SocketAddr, number: usize) -> std::io::Result<()> {
    let question: Vec<u8> = (0..200 + number % 3000)
        .map(|n| (n * 7 + number) as u8)
        .collect();
    let mut stream = TcpStream::connect_timeout(&address, ENOUGH)?;
    stream.set_read_timeout(Some(ENOUGH))?;
    stream.write_all(&question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    assert!(answer == question, "the answer is not the question");
    Ok(())
}

#[test]
fn thousands_of_short_connections_come_to_their_end() {
    let connections = setting("REWIRE_FAULTY_CONNECTIONS", 2000);
    let faults = "loss=0.5%,duplicate=1%,reorder=2%,delay=2ms,jitter=2ms,seed=1";
    let Some(lab) = lab(faults) else {
        return;
    };
    let server = echo_server(&lab.internet, "198.51.100.1:80", connections);
    let address = "198.51.100.1:80".parse().expect("an address");
    let next = AtomicUsize::new(0);
    let failures: Vec<String> = lab.blue.run(|| {
        let client = || {
            let mut failures = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= connections {
                    return failures;
                }
                let failed = ask(address, number).err();
                failures.extend(failed.map(|error| format!("connection {number}: {error}")));
            }
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(client)).collect();
            let failures = clients
                .into_iter()
                .flat_map(|client| client.join().expect("no panic"));
            failures.collect()
        })
    });
    assert!(
        failures.is_empty(),
        "{} of {connections} fail: {failures:#?}",
        failures.len()
    );
    server.join().expect("no panic");
    let repeated: u64 = [&lab.blue, &lab.internet].map(retransmitted).iter().sum();
    assert!(repeated > 0, "nothing was lost: the links were good");
}

/// Segments that a host's kernel has sent again.
fn retransmitted(host: &Namespace) -> u64 {
    let counters = host.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp"));
    let counters = counters.expect("the kernel tells");
    let lines: Vec<&str> = counters
        .lines()
        .filter(|line| line.starts_with("Tcp:"))
        .collect();
    let [names, values] = lines[..] else {
        panic!("{counters}");
    };
    let place = names
        .split(' ')
        .position(|name| name == "RetransSegs")
        .expect("it is counted");
    values
        .split(' ')
        .nth(place)
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

#[test]
fn iperf3_comes_to_its_end_both_ways() {
    let seconds: u64 = setting("REWIRE_FAULTY_SECONDS", 2);
    let Some(lab) = lab("loss=0.2%,duplicate=0.5%,reorder=1%,delay=1ms,jitter=1ms,seed=2") else {
        return;
    };
    let mut command = Command::new("iperf3");
    command.args(["--server", "--bind", "198.51.100.1", "--forceflush"]);
    let server = lab.internet.start(command);
    until("iperf3 listens", || {
        server
            .lines()
            .iter()
            .any(|line| line.contains("listening"))
            .then_some(())
    });
    for direction in [&[][..], &["--reverse"]] {
        let mut command = Command::new("iperf3");
        command.args([
            "--client",
            "198.51.100.1",
            "--json",
            "--parallel",
            "4",
            "--time",
        ]);
        command.arg(seconds.to_string()).args(direction);
        let mut client = lab.blue.start(command);
        until_for(
            ENOUGH + Duration::from_secs(seconds),
            "iperf3 comes to its end",
            || (!client.is_running()).then_some(()),
        );
        let status = client.finish();
        let said = client.lines().join("\n");
        assert!(status.success(), "{said}");
        let said: Value = serde_json::from_str(&said).expect("JSON");
        let streams = said["end"]["streams"].as_array().expect("streams");
        assert_eq!(streams.len(), 4, "{said}");
        for stream in streams {
            let bytes = stream["receiver"]["bytes"].as_u64().unwrap_or(0);
            assert!(bytes > 0, "a stream hangs: {stream}");
        }
    }
}
