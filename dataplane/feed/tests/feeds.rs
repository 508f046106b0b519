//! The listening thread and its sessions, over loopback.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use rewire_feed::{
    Batch, Counters, Deliver, Feeds, Gone, Ignored, LearnedRoute, SourceConfig, SourceCounters,
    Update,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Batches that go round between the feed and the test.
struct Belt {
    empty: Receiver<Batch>,
    full: mpsc::Sender<Batch>,
}

impl Deliver for Belt {
    fn empty(&mut self, patience: Duration) -> Result<Option<Batch>, Gone> {
        match self.empty.recv_timeout(patience) {
            Ok(batch) => Ok(Some(batch)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }
    fn deliver(&mut self, batch: Batch) -> Result<(), Gone> {
        self.full.send(batch).map_err(|_| Gone)
    }
}

struct Rig {
    feeds: Feeds,
    counters: Counters,
    back: SyncSender<Batch>,
    full: Receiver<Batch>,
    /// Updates that came and were not looked at yet, each with its source.
    seen: std::collections::VecDeque<(Arc<str>, Update)>,
}

impl Rig {
    fn new(batches: usize) -> Rig {
        let (back, empty) = mpsc::sync_channel(batches);
        for _ in 0..batches {
            back.send(Batch::default()).unwrap();
        }
        let (full_in, full) = mpsc::channel();
        let counters = Counters::default();
        let belt = Belt {
            empty,
            full: full_in,
        };
        let feeds = Feeds::start(belt, counters.clone()).unwrap();
        let seen = Default::default();
        Rig {
            feeds,
            counters,
            back,
            full,
            seen,
        }
    }

    fn counters(&self) -> Arc<SourceCounters> {
        self.counters.of(&"frr".into())
    }

    /// The next update, in the order in which they were said.
    fn next(&mut self) -> Update {
        while self.seen.is_empty() {
            let mut batch = self.full.recv_timeout(PATIENCE).expect("an update comes");
            let source = Arc::clone(&batch.source);
            let updates = batch.updates.drain(..);
            self.seen
                .extend(updates.map(|update| (Arc::clone(&source), update)));
            let _ = self.back.send(batch);
        }
        self.seen.pop_front().unwrap().1
    }
}

fn config(listen: SocketAddr) -> SourceConfig {
    SourceConfig {
        name: "frr".into(),
        listen,
        distance: None,
        most_routes: None,
        stale_time: Duration::from_secs(60),
        tables: [(254, "blue".into())].into(),
    }
}

/// An address that nobody listens on.
fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A frame with a route message of a type for each prefix 10.X.Y.0/24.
fn frame(messages: &[(u16, u16)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, number) in messages {
        let [x, y] = number.to_be_bytes();
        bytes.extend(44u32.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend([0; 10]);
        bytes.extend([2, 24, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0]);
        bytes.extend([8, 0, 1, 0, 10, x, y, 0]);
        bytes.extend([8, 0, 30, 0, 7, 0, 0, 0]);
    }
    let length = (bytes.len() as u16 + 4).to_be_bytes();
    [&[1, 1][..], &length, &bytes].concat()
}

fn number_of(update: &Update) -> u16 {
    match update {
        Update::SetRoute(LearnedRoute { prefix, .. }) | Update::RemoveRoute { prefix, .. } => {
            match prefix.addr() {
                std::net::IpAddr::V4(address) => {
                    let [_, x, y, _] = address.octets();
                    u16::from_be_bytes([x, y])
                }
                other => panic!("{other}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn frames_come_whole_in_whatever_pieces_they_were_sent() {
    let mut rig = Rig::new(2);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    let mut daemon = connect(address);
    daemon.set_nodelay(true).unwrap();
    assert_eq!(rig.next(), Update::Up);
    let bytes: Vec<u8> = (0..20).flat_map(|n| frame(&[(25, n), (24, n)])).collect();
    for piece in bytes.chunks(17) {
        daemon.write_all(piece).unwrap();
    }
    for n in 0..20 {
        let (gone, set) = (rig.next(), rig.next());
        assert!(matches!(gone, Update::RemoveRoute { .. }), "{gone:?}");
        assert!(matches!(set, Update::SetRoute(_)), "{set:?}");
        assert_eq!((number_of(&gone), number_of(&set)), (n, n));
    }
    drop(daemon);
    assert_eq!(rig.next(), Update::Down);
    let problem = rig.counters().problem().unwrap();
    assert!(problem.ends_with("the daemon has closed it"), "{problem}");
}

/// What belongs together is in one frame, and so in one batch: nobody sees a route gone that only changes.
#[test]
fn a_frame_is_never_cut_in_two() {
    let rig = Rig::new(2);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    let mut daemon = connect(address);
    let most = 20_000u16;
    let bytes: Vec<u8> = (0..most)
        .flat_map(|n| frame(&[(25, n), (24, n), (25, n), (24, n)]))
        .collect();
    let writer = std::thread::spawn(move || daemon.write_all(&bytes).map(|()| daemon));
    let mut count = 0;
    while count < usize::from(most) * 4 {
        let mut batch = rig.full.recv_timeout(PATIENCE).expect("a batch comes");
        let routes = batch
            .updates
            .iter()
            .filter(|update| **update != Update::Up)
            .count();
        assert_eq!(routes % 4, 0, "a frame was cut");
        count += routes;
        batch.updates.clear();
        rig.back.send(batch).unwrap();
    }
    drop(writer.join().unwrap().unwrap());
}

#[test]
fn what_is_no_frame_ends_the_session_and_the_next_one_is_as_good_as_any() {
    let mut rig = Rig::new(2);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    for (junk, why) in [
        (
            &b"GET / HTTP/1.0\r\n\r\n"[..],
            "a frame of version 71, expected 1",
        ),
        (&[1, 2, 0, 8, 0, 0, 0, 0], "a frame of type 2"),
        (&[1, 1, 0, 3], "a frame of 3 bytes"),
    ] {
        let mut daemon = connect(address);
        daemon.write_all(&frame(&[(24, 1)])).unwrap();
        daemon.write_all(junk).unwrap();
        assert_eq!(rig.next(), Update::Up);
        assert_eq!(number_of(&rig.next()), 1, "what came before is good");
        assert_eq!(rig.next(), Update::Down);
        let problem = rig.counters().problem().unwrap();
        assert!(problem.contains(why), "{problem}");
        // The other end is closed: a daemon sees it and comes again. What it had sent on top may reset it.
        let closed = daemon.read(&mut [0; 8]);
        assert!(
            matches!(closed, Ok(0))
                || closed.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
        );
    }
    // A message that makes no sense is no reason to go.
    let mut daemon = connect(address);
    let mut odd = frame(&[(24, 1), (24, 2)]);
    odd[4 + 16] = 99;
    daemon.write_all(&odd).unwrap();
    assert_eq!(rig.next(), Update::Up);
    assert_eq!(number_of(&rig.next()), 2);
    let counters = rig.counters();
    assert_eq!(counters.ignored(Ignored::Family), 1);
    let sum =
        |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        (sum(&counters.framing_errors), sum(&counters.messages)),
        (3, 5)
    );
    assert_eq!(sum(&counters.sessions), 4);
}

/// While nobody takes what it says, nothing more is read than a buffer's length, so that TCP makes the daemon wait; and
/// everything comes, in order.
#[test]
fn a_daemon_waits_for_who_is_slow_and_nothing_is_lost() {
    const UPDATES: usize = 100_000;
    /// What a session receives ahead: four of the longest frames.
    const AHEAD: u64 = 4 << 16;
    let mut rig = Rig::new(1);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    let mut daemon = connect(address);
    assert_eq!(rig.next(), Update::Up);
    let counters = rig.counters();
    let length = frame(&[(24, 0)]).len() as u64;
    let said = std::thread::spawn(move || {
        let thousand: Vec<u8> = (0..1000).flat_map(|n| frame(&[(24, n)])).collect();
        (0..UPDATES / 1000).try_for_each(|_| daemon.write_all(&thousand))?;
        Ok::<TcpStream, std::io::Error>(daemon)
    });
    let mut taken = 0;
    while taken < UPDATES {
        let mut batch = rig.full.recv_timeout(PATIENCE).expect("an update comes");
        for update in batch.updates.drain(..) {
            assert_eq!(usize::from(number_of(&update)), taken % 1000);
            taken += 1;
        }
        // The one batch is here, so that whatever was read beyond it lies in the session's buffer.
        let read = counters.bytes.load(std::sync::atomic::Ordering::Relaxed);
        let used = taken as u64 * length;
        assert!(read <= used + AHEAD, "{read} bytes were read for {used}");
        rig.back.send(batch).unwrap();
    }
    said.join().unwrap().expect("the session goes on");
    assert_eq!(taken, UPDATES);
}

#[test]
fn a_new_connection_takes_the_place_of_the_old_one() {
    let mut rig = Rig::new(2);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    let mut old = connect(address);
    assert_eq!(rig.next(), Update::Up);
    let mut new = connect(address);
    assert_eq!((rig.next(), rig.next()), (Update::Down, Update::Up));
    assert_eq!(old.read(&mut [0; 8]).ok(), Some(0));
    new.write_all(&frame(&[(24, 9)])).unwrap();
    assert_eq!(number_of(&rig.next()), 9);
}

#[test]
fn sources_come_move_and_go_while_others_go_on() {
    let mut rig = Rig::new(4);
    let (first, second, moved) = (free(), free(), free());
    let other = || SourceConfig {
        name: "other".into(),
        ..config(second)
    };
    rig.feeds.configure(vec![config(first), other()]);
    let mut stays = connect(second);
    assert_eq!(rig.next(), Update::Up);
    let mut daemon = connect(first);
    assert_eq!(rig.next(), Update::Up);
    // Another distance is no reason to say everything again.
    rig.feeds.configure(vec![
        SourceConfig {
            distance: Some(9),
            ..config(first)
        },
        other(),
    ]);
    daemon.write_all(&frame(&[(24, 1)])).unwrap();
    assert_eq!(number_of(&rig.next()), 1);
    // Other tables are.
    let tables = [(100, "red".into())].into();
    rig.feeds.configure(vec![
        SourceConfig {
            tables,
            ..config(first)
        },
        other(),
    ]);
    assert_eq!(rig.next(), Update::Down);
    assert_eq!(daemon.read(&mut [0; 8]).ok(), Some(0));
    let mut daemon = connect(first);
    assert_eq!(rig.next(), Update::Up);
    // It moves.
    rig.feeds.configure(vec![config(moved), other()]);
    assert_eq!(rig.next(), Update::Down);
    assert_eq!(daemon.read(&mut [0; 8]).ok(), Some(0));
    let mut daemon = connect(moved);
    assert_eq!(rig.next(), Update::Up);
    assert!(TcpStream::connect(first).is_err());
    // It goes.
    rig.feeds.configure(vec![other()]);
    assert_eq!(rig.next(), Update::Down);
    assert_eq!(daemon.read(&mut [0; 8]).ok(), Some(0));
    stays.write_all(&frame(&[(24, 5)])).unwrap();
    assert_eq!(number_of(&rig.next()), 5);
}

/// An address that is taken is said so, and tried again.
#[test]
fn an_address_that_is_taken_is_waited_for() {
    let mut rig = Rig::new(2);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    rig.feeds.configure(vec![config(address)]);
    let deadline = Instant::now() + PATIENCE;
    while rig.counters().problem().is_none() {
        assert!(Instant::now() < deadline, "nobody says so");
        std::thread::sleep(Duration::from_millis(5));
    }
    let problem = rig.counters().problem().unwrap();
    assert!(
        problem.starts_with("cannot listen on 127.0.0.1:"),
        "{problem}"
    );
    drop(taken);
    let _daemon = connect(address);
    assert_eq!(rig.next(), Update::Up);
}

/// The thread ends with its owner, whatever it waits for.
#[test]
fn it_ends_while_it_waits_for_a_batch() {
    let rig = Rig::new(1);
    let address = free();
    rig.feeds.configure(vec![config(address)]);
    let mut daemon = connect(address);
    let taken = rig.full.recv_timeout(PATIENCE).expect("a batch comes");
    daemon.write_all(&frame(&[(24, 1)])).unwrap();
    drop(rig.feeds);
    drop(taken);
    let closed = daemon.read(&mut [0; 8]);
    assert!(
        matches!(closed, Ok(0)) || closed.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
    );
}
