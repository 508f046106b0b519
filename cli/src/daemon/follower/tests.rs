//! A worker that stalls inside the tables: who waits is told, and once it goes on so does everything.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rewire_configdb::{CommitRequest, Unchecked};
use rewire_dataplane::GatewayConfig;
use rewire_dataplane::buffer::{BufferPool, PacketBuffer};
use rewire_dataplane::port::{LinkChange, OpenError, PortDriver, PortQueue, PortRequest};
use rewire_schema::{Changeset, source};
use rewire_tables::InterfaceIndex;

use super::*;
use crate::daemon::metrics::CommitSteps;
use crate::daemon::progress::{Outcome, Progress};

/// Whoever looks at a frame waits while this is shut.
#[derive(Clone, Default)]
struct Gate(Arc<Shut>);

#[derive(Default)]
struct Shut {
    shut: Mutex<bool>,
    opened: Condvar,
    frame_comes: AtomicBool,
    is_stalled: AtomicBool,
    /// How often the manager has looked at links.
    looks: AtomicUsize,
}

impl Gate {
    fn set(&self, shut: bool) {
        *self.0.shut.lock().unwrap() = shut;
        self.0.opened.notify_all();
    }
}

struct Frame(Gate, Vec<u8>);

impl PacketBuffer for Frame {
    fn bytes(&self) -> &[u8] {
        let gate = &self.0.0;
        let shut = gate.shut.lock().unwrap();
        gate.is_stalled.store(*shut, Ordering::Release);
        drop(gate.opened.wait_while(shut, |shut| *shut).unwrap());
        &self.1
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.1
    }
    fn truncate(&mut self, length: usize) {
        self.1.truncate(length);
    }
    fn resize(&mut self, _: usize) -> bool {
        false
    }
}

impl BufferPool for Gate {
    type Buffer = Frame;
    fn allocate(&mut self) -> Option<Frame> {
        None
    }
}

impl PortQueue<Frame> for Gate {
    fn receive(&mut self, frames: &mut Vec<Frame>, _: usize) {
        if self.0.frame_comes.swap(false, Ordering::AcqRel) {
            frames.push(Frame(self.clone(), vec![0; 60]));
        }
    }
    fn transmit(&mut self, frames: &mut Vec<Frame>) {
        frames.clear();
    }
}

impl PortDriver for Gate {
    type Pool = Gate;
    fn open(&mut self, _: &PortRequest) -> Result<Box<dyn PortQueue<Frame>>, OpenError> {
        Ok(Box::new(self.clone()))
    }
    fn pool(&self) -> Gate {
        self.clone()
    }
    fn link_changes(&mut self, _: &mut dyn FnMut(InterfaceIndex, LinkChange)) {
        self.0.looks.fetch_add(1, Ordering::AcqRel);
    }
    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn Any> + Send> {
        Box::new(|| Box::new(()))
    }
}

/// Commits a document with these interfaces.
fn commit(store: &mut Store, interfaces: &[&str]) -> u64 {
    let mut document = "vpcs: {v: {}}\ninterfaces:\n".to_owned();
    for (number, name) in interfaces.iter().enumerate() {
        document += &format!(
            "  {name}: {{vpc: v, port: 'null:{name}', mac: '02:00:00:00:00:0{number}'}}\n"
        );
    }
    let next = source::read_shape("test", document.as_bytes())
        .unwrap()
        .configuration;
    let (base, now) = store.head_and_configuration().unwrap();
    let changeset = Changeset::between(&now, &next);
    let request = CommitRequest::new(base, &changeset, "ada", "test");
    store.commit(request, &mut Unchecked).unwrap().revision
}

/// Waits for something that another thread does.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::yield_now();
    }
}

#[test]
fn a_stalled_worker_is_an_alarm_and_no_hung_commit() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::create(folder.path().join("rewire.db")).unwrap();
    commit(&mut store, &["a"]);
    let gate = Gate::default();
    let config = GatewayConfig {
        // Long: on a busy machine the other worker may be away for a while, and it is not the publication that is to be late.
        publish_deadline: Duration::from_secs(2),
        live_deadline: Duration::from_millis(5),
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(config, gate.clone()).unwrap();
    let (kicks, kicked) = std::sync::mpsc::sync_channel(1);
    let daemon = Daemon {
        shared: gateway.shared(),
        route_table: gateway.route_table(),
        rule_counts: gateway.rule_counts(),
        connection_table: gateway.connection_table(),
        live_trials: None,
        progress: Progress::default(),
        administration: Default::default(),
        commit_steps: CommitSteps::default(),
        commits: Default::default(),
        exporters: Default::default(),
        packet_samplers: None,
        flows: crate::daemon::exporters::Flows::new(None),
        table_sizes: gateway.table_sizes(),
        recent: crate::daemon::recent::Recent::default(),
        kicks,
        started: Instant::now(),
        start_time: 0,
        store: store.path().to_owned(),
        driver: "test",
        hugepages: None,
        metrics: None,
        console: None,
    };
    let inlet = gateway.route_inlet().unwrap();
    let feeds = Feeds::start(inlet, daemon.shared.route_sources().clone()).unwrap();
    let wait_for = |revision| {
        daemon.kick();
        let deadline = Instant::now() + Duration::from_secs(20);
        daemon.progress.wait_for(revision, Some(deadline), || false)
    };
    // However late a worker is that has to share its processor with others.
    let until_live = |revision| {
        daemon.kick();
        until("the revision is live", || {
            let live = daemon.progress.last_live();
            live.is_some_and(|live| live.revision == revision)
        });
    };
    thread::scope(|scope| {
        let follower = Follower::new(
            &daemon,
            &gateway,
            &feeds,
            Store::open(&daemon.store).unwrap(),
            read_first(Store::open(&daemon.store).unwrap()).unwrap(),
        );
        scope.spawn(move || follower.run(&kicked));
        until_live(1);
        // The manager changes the halves of the tables once more, when it has nothing else to do: a worker that is stalled before that
        // would be in the half that the next revision is written into. It looks at links behind that.
        let looks = gate.0.looks.load(Ordering::Acquire);
        until("the manager has caught up", || {
            gate.0.looks.load(Ordering::Acquire) > looks + 1
        });

        gate.set(true);
        gate.0.frame_comes.store(true, Ordering::Release);
        until("the worker looks at a frame", || {
            gate.0.is_stalled.load(Ordering::Acquire)
        });
        let alarms = daemon.progress.alarms();
        let revision = commit(&mut store, &["a", "b"]);
        let Outcome::Late { steps, late, why } = wait_for(revision) else {
            panic!("live, although a worker is in the old tables");
        };
        assert_eq!(
            (late, why.as_str()),
            ("live", "worker 0 has not left the tables before revision 2")
        );
        assert!(
            steps.compile_ns.is_some() && steps.publish_ns.is_some() && steps.live_ns.is_none()
        );
        assert!(daemon.status().alarm.is_some());

        gate.set(false);
        until_live(2);
        assert_eq!(daemon.status().alarm, None);
        assert_eq!(daemon.progress.alarms(), alarms + 1);
        let revision = commit(&mut store, &["b"]);
        until_live(revision);
        let interfaces = daemon.status().interfaces;
        assert_eq!(
            interfaces
                .iter()
                .map(|i| i.name.as_str())
                .collect::<Vec<_>>(),
            ["b"]
        );
        daemon.progress.stop();
        daemon.kick();
    });
    gateway.stop();
    let totals = daemon.shared.totals();
    assert!(
        totals.balanced() && totals.received == 1,
        "{:?}",
        daemon.status().packets
    );
}
