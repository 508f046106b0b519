//! Learned routes: from the bytes that a routing daemon writes into a socket to published tables.

mod daemon;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

use rewire_feed::{
    Batch, Counters, Deliver, Feeds, Gone, Rib, SourceConfig, Update, decode, frame,
};
use rewire_tables::{
    Interface, InterfaceIndex, NextHop, NextHops, Publisher, Route, TableOperation, VpcIndex,
};

use self::daemon::Said;
use crate::Failure;
use crate::report::{Report, Run, median};

const RUNS: usize = 7;
const VPC: VpcIndex = VpcIndex(0);
/// How often what came is published, and how many operations at the most.
const INTERVAL: Duration = Duration::from_millis(1);
const MOST: usize = 1024;
const DEADLINE: Duration = Duration::from_secs(1);

/// A day of RIS updates over loopback, as FRRouting would say them, behind the whole table: received and read by the feed's thread, chosen and
/// published on both halves by this one, every millisecond. No peer takes the same bytes; VPP adds 0.17 million routes a second
/// from its own binary interface. `table_s` is the time until the whole table is live; `read_ns` and `choose_ns` are what
/// reading a day's update costs by itself, and reading and choosing.
pub(crate) fn run() -> Result<Report, Failure> {
    let mut said = Said::default();
    said.add::<Ipv4Addr>()?;
    said.add::<Ipv6Addr>()?;
    for about in &said.about {
        println!("data: {about}");
    }
    let (routes, changes) = (said.routes, said.changes);
    println!("data: {changes} updates of a day");
    let cost = |time: Duration| time.as_nanos() as f64 / changes as f64;
    let mut runs = Vec::new();
    let [mut read, mut choose, mut table] = [const { Vec::new() }; 3];
    for _ in 0..RUNS {
        read.push(cost(reading(&said.day)?));
        choose.push(cost(choosing(&said)?));
        let [whole, day] = Session::start()?.run(&said)?;
        table.push(whole.as_secs_f64());
        runs.push(Run {
            ours: cost(day),
            peer: None,
        });
    }
    let rate = 1e3 / median(runs.iter().map(|run| run.ours));
    println!("\n  {rate:.2} million updates a second from the socket to published tables");
    println!(
        "  VPP 22.10, for comparison: 0.17 million a second added (measured elsewhere, not in this run)"
    );
    Ok(Report {
        unit: "ns/update",
        peer_name: "-",
        runs,
        more: vec![
            ("million_per_s", rate),
            ("routes", routes as f64),
            ("table_s", median(table)),
            ("read_ns", median(read)),
            ("choose_ns", median(choose)),
        ],
    })
}

/// Goes through all frames.
fn read(bytes: &[u8], mut take: impl FnMut(&mut Vec<Update>)) -> Result<(), Failure> {
    let mut updates = Vec::with_capacity(2 * MOST);
    let mut rest = bytes;
    while let Some((messages, length)) = frame::first(rest)? {
        decode(messages, &mut updates, |_| {});
        rest = &rest[length..];
        if updates.len() >= MOST || rest.is_empty() {
            take(&mut updates);
            updates.clear();
        }
    }
    Ok(())
}

fn count(bytes: &[u8]) -> Result<usize, Failure> {
    let mut count = 0;
    read(bytes, |updates| count += updates.len())?;
    Ok(count)
}

fn reading(day: &[u8]) -> Result<Duration, Failure> {
    let start = Instant::now();
    std::hint::black_box(count(day)?);
    Ok(start.elapsed())
}

fn choosing(said: &Said) -> Result<Duration, Failure> {
    let mut out = Vec::new();
    let mut rib = rib(&mut out)?;
    rib.update("daemon", 1, [Update::Up], Duration::ZERO, &mut out);
    let mut start = Instant::now();
    for bytes in [&said.table, &said.day] {
        start = Instant::now();
        read(bytes, |updates| {
            rib.update("daemon", 1, updates.drain(..), Duration::ZERO, &mut out);
            out.clear();
        })?;
    }
    Ok(start.elapsed())
}

/// The few batches that go round between the feed's thread and the manager's.
struct Belt(Receiver<Batch>, Sender<Batch>);

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

/// A feed that listens, and what a manager does with what it delivers.
struct Session {
    address: SocketAddr,
    /// Stops its thread when it is dropped.
    _feeds: Feeds,
    full: Receiver<Batch>,
    back: SyncSender<Batch>,
    rib: Rib,
    publisher: Publisher,
    out: Vec<TableOperation>,
    waiting: usize,
    published: Instant,
}

impl Session {
    fn start() -> Result<Session, Failure> {
        let listen = TcpListener::bind("127.0.0.1:0")?;
        let address = listen.local_addr()?;
        drop(listen);
        let (back, empty) = mpsc::sync_channel(4);
        for _ in 0..4 {
            back.send(Batch::default())?;
        }
        let (deliver, full) = mpsc::channel();
        let feeds = Feeds::start(Belt(empty, deliver), Counters::default())?;
        feeds.configure(vec![source(address)]);
        let mut out = Vec::new();
        Ok(Session {
            address,
            _feeds: feeds,
            full,
            back,
            rib: rib(&mut out)?,
            publisher: Publisher::new(1).0,
            out,
            waiting: 0,
            published: Instant::now(),
        })
    }

    /// The time until the table is live, and then that of the day.
    fn run(mut self, said: &Said) -> Result<[Duration; 2], Failure> {
        // A batch may hold the end of the one and the beginning of the other.
        let table = count(&said.table)?;
        let wanted = [table, table + count(&said.day)?];
        let address = self.address;
        std::thread::scope(|scope| {
            let daemon = scope.spawn(move || {
                let mut stream = loop {
                    match TcpStream::connect(address) {
                        Ok(stream) => break stream,
                        Err(_) => std::thread::yield_now(),
                    }
                };
                stream.write_all(&said.table)?;
                stream.write_all(&said.day)?;
                // It stays open until all was taken.
                let _ = stream.read(&mut [0; 1]);
                std::io::Result::Ok(())
            });
            let mut taken = 0;
            let times = wanted.map(|wanted| {
                let start = Instant::now();
                while taken < wanted {
                    taken += self.take()?;
                }
                self.publish()?;
                Ok::<Duration, Failure>(start.elapsed())
            });
            let live = self.publisher.current();
            let live = live.map_or(0, |tables| tables.vpc(VPC).route_count());
            drop(self);
            daemon.join().map_err(|_| "the daemon panicked")??;
            // The two subnets that the next hops are on stay, too.
            if live != said.left + 2 {
                return Err(format!("{live} routes are live, and not {} and 2", said.left).into());
            }
            let [table, day] = times;
            Ok([table?, day?])
        })
    }

    /// Takes a batch as the manager does, and says how many updates it held.
    fn take(&mut self) -> Result<usize, Failure> {
        let mut batch = self.full.recv()?;
        let ups = batch.updates.iter().filter(|update| **update == Update::Up);
        let taken = batch.updates.len() - ups.count();
        let updates = batch.updates.drain(..);
        self.rib.update(
            "daemon",
            batch.session,
            updates,
            Duration::ZERO,
            &mut self.out,
        );
        // The feed goes on while this publishes.
        let _ = self.back.try_send(batch);
        self.waiting += self.out.len();
        self.publisher.extend(std::mem::take(&mut self.out));
        if self.waiting >= MOST || self.published.elapsed() >= INTERVAL {
            self.publish()?;
        }
        Ok(taken)
    }

    fn publish(&mut self) -> Result<(), Failure> {
        self.publisher.publish(DEADLINE)?;
        self.publisher.catch_up();
        self.waiting = 0;
        self.published = Instant::now();
        Ok(())
    }
}

fn source(listen: SocketAddr) -> SourceConfig {
    SourceConfig {
        name: "daemon".into(),
        listen,
        distance: None,
        most_routes: None,
        stale_time: Duration::from_secs(300),
        tables: [(254, "blue".into())].into(),
    }
}

/// A VPC with the links that the next hops are on.
fn rib(out: &mut Vec<TableOperation>) -> Result<Rib, Failure> {
    let interface = InterfaceIndex(0);
    let name: Arc<str> = "wan".into();
    let addresses: Vec<ipnet::IpNet> = vec!["192.0.2.1/24".parse()?, "2001:db8:1::1/64".parse()?];
    let connected = addresses.iter().map(|net| TableOperation::SetRoute {
        vpc: VPC,
        prefix: net.trunc(),
        route: Route::Forward(NextHops::one(NextHop::new(interface, &name, None))),
    });
    let connected: Vec<TableOperation> = connected.collect();
    let set_interface = TableOperation::SetInterface {
        interface,
        value: Arc::new(Interface {
            name,
            vpc: VPC,
            mac: Default::default(),
            mtu: 1500,
            addresses,
            acl_in: None,
            acl_out: None,
            offload: false,
        }),
    };
    let set_vpc = TableOperation::SetVpc {
        vpc: VPC,
        name: "blue".into(),
    };
    let mut rib = Rib::default();
    rib.configure(&[source(([127, 0, 0, 1], 2620).into())], out);
    rib.absorb([set_vpc, set_interface].into_iter().chain(connected), out);
    Ok(rib)
}
