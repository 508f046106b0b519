//! How many updates a second get from a routing daemon's bytes to operations, and into the tables.
//!
//!     cargo run --release -p rewire-feed --example replay [RECORDING]
//!
//! Without a recording of what a daemon sent, a million routes are made: announced once, and then changed at random, a tenth of
//! them withdrawn and announced again. A recording is said over and over. Each line is the median of seven runs, with its range:
//! reading alone; reading and choosing winners, on one thread; the same over loopback, with the listening thread; and that with both
//! halves of the tables published every millisecond.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rewire_feed::{
    Batch, Counters, Deliver, Feeds, Gone, Rib, SourceConfig, Update, decode, frame,
};
use rewire_tables::{
    Interface, InterfaceIndex, NextHop, NextHops, Publisher, Route, TableOperation, VpcIndex,
};

const RUNS: usize = 7;
const ROUTES: u32 = 1_000_000;
/// A recording is said so often that about so many updates come.
const UPDATES: usize = 2_000_000;

fn main() {
    let recording = std::env::args().nth(1);
    let (first, again) = match &recording {
        Some(path) => {
            let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let updates = count(&bytes);
            (bytes.clone(), bytes.repeat(UPDATES / updates.max(1)))
        }
        None => generated(),
    };
    let updates = count(&again);
    println!(
        "{} and then {updates} updates, {} MB",
        count(&first),
        again.len() / 1_000_000
    );
    measure("read", updates, || {
        let start = Instant::now();
        assert_eq!(count(&again), updates);
        start.elapsed()
    });
    measure("read, choose", updates, || {
        let mut rib = begin(&mut Vec::new());
        let mut out = Vec::new();
        rib.update("daemon", 1, [Update::Up], Duration::ZERO, &mut out);
        choose(&mut rib, &first);
        let start = Instant::now();
        choose(&mut rib, &again);
        start.elapsed()
    });
    measure("receive, read, choose", updates, || {
        loopback(&first, &again, None)
    });
    measure("receive, read, choose, publish", updates, || {
        loopback(&first, &again, Some(Publisher::new(1).0))
    });
}

fn measure(what: &str, updates: usize, mut run: impl FnMut() -> Duration) {
    let mut costs: Vec<f64> = (0..RUNS)
        .map(|_| run().as_nanos() as f64 / updates as f64)
        .collect();
    costs.sort_by(f64::total_cmp);
    let [least, median, most] = [0, RUNS / 2, RUNS - 1].map(|position| costs[position]);
    println!(
        "{what:32} {median:6.0} ns an update ({least:.0} to {most:.0}), {:.2} M/s",
        1000.0 / median
    );
}

fn count(bytes: &[u8]) -> usize {
    let mut updates = Vec::with_capacity(1024);
    let (mut rest, mut count) = (bytes, 0);
    while let Some((messages, length)) = frame::first(rest).expect("frames") {
        decode(messages, &mut updates, |_| {});
        rest = &rest[length..];
        count += updates.len();
        updates.clear();
    }
    count
}

fn choose(rib: &mut Rib, bytes: &[u8]) {
    let (mut updates, mut out) = (Vec::with_capacity(1100), Vec::new());
    let mut rest = bytes;
    while let Some((messages, length)) = frame::first(rest).expect("frames") {
        decode(messages, &mut updates, |_| {});
        rest = &rest[length..];
        if updates.len() >= 1024 || rest.is_empty() {
            rib.update("daemon", 1, updates.drain(..), Duration::ZERO, &mut out);
            out.clear();
        }
    }
}

struct Belt(Receiver<Batch>, mpsc::Sender<Batch>);

impl Deliver for Belt {
    fn empty(&mut self, patience: Duration) -> Result<Option<Batch>, Gone> {
        match self.0.recv_timeout(patience) {
            Ok(batch) => Ok(Some(batch)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }
    fn deliver(&mut self, batch: Batch) -> Result<(), Gone> {
        self.1.send(batch).map_err(|_| Gone)
    }
}

fn loopback(first: &[u8], again: &[u8], mut publisher: Option<Publisher>) -> Duration {
    let listen = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = listen.local_addr().expect("an address");
    drop(listen);
    let (back, empty) = mpsc::sync_channel(4);
    (0..4).for_each(|_| back.send(Batch::default()).expect("there is room"));
    let (full_in, full) = mpsc::channel();
    let counters = Counters::default();
    let feeds = Feeds::start(Belt(empty, full_in), counters).expect("a thread");
    feeds.configure(vec![config(address)]);
    let mut out = Vec::new();
    let mut rib = begin(&mut out);
    // A batch may hold the end of the one and the beginning of the other.
    let wanted = [count(first), count(first) + count(again)];
    let mut taken = 0;
    let mut start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut stream = loop {
                match std::net::TcpStream::connect(address) {
                    Ok(stream) => break stream,
                    Err(_) => std::thread::yield_now(),
                }
            };
            for bytes in [first, again] {
                std::io::Write::write_all(&mut stream, bytes).expect("the feed listens");
            }
            // It stays open until all was taken.
            let _ = std::io::Read::read(&mut stream, &mut [0; 1]);
        });
        for wanted in wanted {
            start = Instant::now();
            let mut published = Instant::now();
            while taken < wanted {
                let mut batch = full.recv().expect("the feed delivers");
                let ups = batch.updates.iter().filter(|update| **update == Update::Up);
                taken += batch.updates.len() - ups.count();
                let updates = batch.updates.drain(..);
                rib.update("daemon", batch.session, updates, Duration::ZERO, &mut out);
                back.send(batch).expect("there is room");
                match &mut publisher {
                    None => out.clear(),
                    Some(publisher) => {
                        out.drain(..)
                            .for_each(|operation| publisher.append(operation));
                        if published.elapsed() >= Duration::from_millis(1) {
                            publisher
                                .publish(Duration::from_secs(1))
                                .expect("nobody reads");
                            published = Instant::now();
                        }
                    }
                }
            }
            if let Some(publisher) = &mut publisher {
                publisher
                    .publish(Duration::from_secs(1))
                    .expect("nobody reads");
            }
        }
        let elapsed = start.elapsed();
        drop(feeds);
        elapsed
    })
}

fn config(listen: std::net::SocketAddr) -> SourceConfig {
    SourceConfig {
        name: "daemon".into(),
        listen,
        distance: None,
        most_routes: None,
        stale_time: Duration::from_secs(300),
        tables: [(254, "blue".into())].into(),
    }
}

fn begin(out: &mut Vec<TableOperation>) -> Rib {
    let (vpc, interface) = (VpcIndex(0), InterfaceIndex(0));
    let name: Arc<str> = "wan".into();
    let addresses = ["192.0.2.1/24", "2001:db8:1::1/64"].map(|net| net.parse().expect("a subnet"));
    let set_interface = TableOperation::SetInterface {
        interface,
        value: Arc::new(Interface {
            name: Arc::clone(&name),
            vpc,
            mac: Default::default(),
            mtu: 1500,
            addresses: addresses.to_vec(),
            acl_in: None,
            acl_out: None,
        }),
    };
    let connected = addresses.map(|net: ipnet::IpNet| TableOperation::SetRoute {
        vpc,
        prefix: net.trunc(),
        route: Route::Forward(NextHops::one(NextHop::new(interface, &name, None))),
    });
    let set_vpc = TableOperation::SetVpc {
        vpc,
        name: "blue".into(),
    };
    let mut rib = Rib::default();
    rib.configure(&[config(([127, 0, 0, 1], 2620).into())], out);
    rib.absorb([set_vpc, set_interface].into_iter().chain(connected), out);
    rib
}

/// A million routes over sixteen next-hop objects, in random order; and then as many changes.
fn generated() -> (Vec<u8>, Vec<u8>) {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let object = |id: u32| {
        let gateway = [192, 0, 2, 1 + id as u8];
        let attributes = [
            &attribute(1, &id.to_le_bytes())[..],
            &attribute(6, &gateway),
        ]
        .concat();
        frame_of(&[message(
            104,
            &[&[2, 0, 11, 0, 0, 0, 0, 0][..], &attributes].concat(),
        )])
    };
    let mut first: Vec<u8> = (1..=16).flat_map(object).collect();
    // An odd multiplier goes through all numbers: every prefix of 0.0.0.0/1 at most once, in no order.
    let prefix = |number: u32| (number.wrapping_mul(0x9e37_79b1) & 0x7f_ffff) << 8;
    for number in 0..ROUTES {
        first.extend(frame_of(&[route(24, prefix(number), 1 + number % 16)]));
    }
    let mut again = Vec::new();
    for _ in 0..ROUTES {
        let random = next();
        let (prefix, id) = (
            prefix((random >> 32) as u32 % ROUTES),
            1 + random as u32 % 16,
        );
        let messages = match random % 10 {
            // What zebra sends when a route changes.
            0 => vec![route(25, prefix, id), route(24, prefix, id)],
            _ => vec![route(24, prefix, id)],
        };
        again.extend(frame_of(&messages));
    }
    (first, again)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16 + 4).to_le_bytes();
    [&length[..], &kind.to_le_bytes(), value].concat()
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32 + 16).to_le_bytes();
    [&length[..], &kind.to_le_bytes(), &[0; 10], body].concat()
}

fn frame_of(messages: &[Vec<u8>]) -> Vec<u8> {
    let messages = messages.concat();
    let length = (messages.len() as u16 + 4).to_be_bytes();
    [&[1, 1][..], &length, &messages].concat()
}

fn route(kind: u16, prefix: u32, id: u32) -> Vec<u8> {
    let header = [2, 24, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
    let destination = attribute(1, &prefix.to_be_bytes());
    let metric = attribute(6, &20u32.to_le_bytes());
    let id = attribute(30, &id.to_le_bytes());
    message(kind, &[&header[..], &destination, &metric, &id].concat())
}
