//! Law 7: a worker that stalls inside its tables makes an alarm, not a hung commit.

mod support;

use std::any::Any;
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rewire_compiler::{Compiled, Compiler};
use rewire_dataplane::buffer::{BufferPool, PacketBuffer};
use rewire_dataplane::port::{OpenError, PortDriver, PortQueue, PortRequest};
use rewire_dataplane::{Change, Gateway, GatewayConfig, GatewayError};
use rewire_schema::{Changeset, Configuration, from_document};
use support::*;

/// Whoever looks at a frame waits at this gate while it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    shut: bool,
    waiting: bool,
    /// Whoever transmits waits, too, outside of the tables.
    link_down: bool,
    transmitting: bool,
    poisoned: bool,
    frames: usize,
    /// How often red0's port, which does not exist, was tried.
    tries: usize,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.0.lock().unwrap());
        self.0.1.notify_all();
    }
    fn wait(&self, until: impl Fn(&State) -> bool) {
        let state = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(state, |state| !until(state)).unwrap());
    }
}

/// The gate in a test's hand. It opens when the test ends, however it ends: a gateway that stops waits for its workers.
struct Keeper(Gate);

impl Deref for Keeper {
    type Target = Gate;
    fn deref(&self) -> &Gate {
        &self.0
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.change(|state| (state.shut, state.link_down) = (false, false));
    }
}

struct Gated(Gate, Vec<u8>);

impl PacketBuffer for Gated {
    fn bytes(&self) -> &[u8] {
        let poisoned = self.0.0.0.lock().unwrap().poisoned;
        assert!(!poisoned, "this frame kills who looks at it");
        if self.0.0.0.lock().unwrap().shut {
            self.0.change(|state| state.waiting = true);
            self.0.wait(|state| !state.shut);
            self.0.change(|state| state.waiting = false);
        }
        &self.1
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.1
    }
    fn truncate(&mut self, length: usize) {
        self.1.truncate(length);
    }
    fn resize(&mut self, length: usize) -> bool {
        self.1.resize(length, 0);
        true
    }
}

impl BufferPool for Gate {
    type Buffer = Gated;
    fn allocate(&mut self) -> Option<Gated> {
        Some(Gated(self.clone(), Vec::new()))
    }
}

/// The port of one interface: the host's frames come in by blue0.
struct GatedQueue {
    gate: Gate,
    receives: bool,
}

impl PortQueue<Gated> for GatedQueue {
    fn receive(&mut self, frames: &mut Vec<Gated>, _: usize) {
        if !self.receives {
            return;
        }
        let waiting = std::mem::take(&mut self.gate.0.0.lock().unwrap().frames);
        for _ in 0..waiting {
            frames.push(Gated(
                self.gate.clone(),
                udp((HOST, 4000), (SITE, 53), 8).frame(),
            ));
        }
    }
    fn transmit(&mut self, frames: &mut Vec<Gated>) {
        self.gate.change(|state| state.transmitting = true);
        self.gate.wait(|state| !state.link_down);
        self.gate.change(|state| state.transmitting = false);
        frames.clear();
    }
}

struct GateDriver(Gate);

impl PortDriver for GateDriver {
    type Pool = Gate;
    fn open(&mut self, request: &PortRequest) -> Result<Box<dyn PortQueue<Gated>>, OpenError> {
        match request.interface.as_str() {
            "red0" => {
                self.0.change(|state| state.tries += 1);
                Err(OpenError {
                    interface: request.interface.clone(),
                    port: request.port.to_string(),
                    reason: "there is no such port".to_owned(),
                })
            }
            interface => Ok(Box::new(GatedQueue {
                gate: self.0.clone(),
                receives: interface == "blue0",
            })),
        }
    }
    fn pool(&self) -> Gate {
        self.0.clone()
    }
    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn Any> + Send> {
        Box::new(|| Box::new(()))
    }
}

fn configuration(document: serde_json::Value) -> Configuration {
    from_document(&document).expect("a document")
}

/// The keeper comes last, so that the gate opens before the gateway stops.
fn start() -> (Gateway, Compiler, Keeper) {
    let gate = Gate::default();
    let config = GatewayConfig {
        publish_deadline: Duration::from_millis(5),
        live_deadline: Duration::from_millis(5),
        port_retry: Duration::from_millis(1),
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(config, GateDriver(gate.clone())).expect("threads");
    let (compiler, compiled) = Compiler::compile(configuration(two_vpcs()), 1).unwrap();
    gateway.apply(1, compiled.into_parts()).expect("live");
    // The manager tries ports again behind everything else that it does after an answer: both halves are equal now.
    gate.wait(|state| state.tries >= 2);
    (gateway, compiler, Keeper(gate))
}

/// Makes a change live, however often the machine takes the worker's core away for longer than a deadline.
fn apply_until_live(gateway: &Gateway, revision: u64, compiled: Compiled) {
    let mut applied = gateway.apply(revision, compiled.into_parts());
    let start = Instant::now();
    while let Err(late) = applied {
        assert!(start.elapsed() < Duration::from_secs(20), "{late}");
        applied = gateway.apply(revision, Change::default());
    }
}

#[test]
fn a_stalled_worker_makes_an_alarm_and_the_next_commit_works() {
    let (gateway, mut compiler, gate) = start();
    let shared = gateway.shared();
    let mut next = |revision: u64, route: &str| -> Compiled {
        let mut document = two_vpcs();
        document["vpcs"]["blue"]["routes"][route] = json!({ "type": "blackhole" });
        if revision > 2 {
            document["interfaces"]["late0"] = json!({
                "vpc": "red", "port": "null:late", "mac": "02:00:00:00:00:07",
            });
        }
        let changeset = Changeset::between(compiler.configuration(), &configuration(document));
        compiler.apply(revision, &changeset).unwrap()
    };
    gate.change(|state| {
        state.shut = true;
        state.frames = 1;
    });
    gate.wait(|state| state.waiting);
    // The halves are swapped, but the worker is still inside the old one.
    let late = gateway
        .apply(2, next(2, "172.16.0.0/12").into_parts())
        .unwrap_err();
    assert!(
        matches!(late, GatewayError::LiveLate { worker: 0, .. }),
        "{late}"
    );
    assert_eq!(
        (shared.revision(), shared.stuck(), shared.late()),
        (2, false, 1)
    );
    // Now that half is the one to be written.
    let late = gateway
        .apply(3, next(3, "172.17.0.0/16").into_parts())
        .unwrap_err();
    assert!(matches!(late, GatewayError::PublishLate(_)), "{late}");
    assert!(shared.stuck());
    assert!(
        late.to_string()
            .contains("a worker has not left the old tables"),
        "{late}"
    );
    gate.change(|state| state.shut = false);
    apply_until_live(&gateway, 4, next(4, "172.18.0.0/16"));
    assert_eq!((shared.revision(), shared.stuck()), (4, false));
    // The port that came with the late revision is not forgotten.
    let ports = shared.ports();
    let late = ports.iter().find(|(_, port)| port.interface == "late0");
    assert_eq!(late.map(|(_, port)| port.problem.clone()), Some(None));
}

/// A worker that sleeps between two bursts, in a system call or because its core is taken away, is waited for by nobody.
#[test]
fn a_worker_that_sleeps_outside_the_tables_delays_no_commit() {
    let (gateway, mut compiler, gate) = start();
    gate.change(|state| {
        state.link_down = true;
        state.frames = 1;
    });
    gate.wait(|state| state.transmitting);
    for revision in 2..50 {
        let mut document = two_vpcs();
        let route = format!("172.16.{revision}.0/24");
        document["vpcs"]["blue"]["routes"][route] = json!({ "type": "blackhole" });
        let changeset = Changeset::between(compiler.configuration(), &configuration(document));
        let change = compiler.apply(revision, &changeset).unwrap().into_parts();
        gateway.apply(revision, change).expect("live");
    }
    let shared = gateway.shared();
    assert_eq!((shared.revision(), shared.late()), (49, 0));
    gate.change(|state| state.link_down = false);
}

#[test]
fn a_port_that_cannot_be_opened_is_named_and_the_others_work() {
    let (gateway, _, _gate) = start();
    let ports: Vec<_> = gateway
        .shared()
        .ports()
        .into_iter()
        .map(|(_, port)| port)
        .collect();
    let problems: Vec<_> = ports
        .iter()
        .map(|port| (port.interface.as_str(), port.problem.as_deref()))
        .collect();
    assert_eq!(
        problems,
        [
            ("blue0", None),
            ("red0", Some("there is no such port")),
            ("wan", None)
        ]
    );
}

/// More revisions than a worker's ring has room for commands, each of which closes a port and opens another.
fn moving_port(compiler: &mut Compiler, mut apply: impl FnMut(u64, Compiled)) {
    for revision in 2..100 {
        let mut document = two_vpcs();
        document["interfaces"]["blue0"]["port"] = json!(format!("null:blue{revision}"));
        let changeset = Changeset::between(compiler.configuration(), &configuration(document));
        apply(revision, compiler.apply(revision, &changeset).unwrap());
    }
}

#[test]
fn commits_that_move_the_ports_of_a_stalled_worker_are_late_and_do_not_hang() {
    let (gateway, mut compiler, gate) = start();
    gate.change(|state| {
        state.shut = true;
        state.frames = 1;
    });
    gate.wait(|state| state.waiting);
    moving_port(&mut compiler, |revision, compiled| {
        let late = gateway.apply(revision, compiled.into_parts());
        assert!(late.is_err(), "revision {revision}: the worker is inside");
    });
    assert!(gateway.shared().stuck());
    gate.change(|state| state.shut = false);
    apply_until_live(&gateway, 99, Compiled::default());
    // The port ends up open, though its worker did not take it at first.
    let start = Instant::now();
    loop {
        let ports = gateway.shared().ports();
        let blue = ports.iter().find(|(_, port)| port.interface == "blue0");
        if blue.is_some_and(|(_, port)| port.port == "null:blue99" && port.problem.is_none()) {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{blue:?}");
        std::thread::yield_now();
    }
}

#[test]
fn commits_that_move_the_ports_of_a_dead_worker_do_not_hang() {
    let (gateway, mut compiler, gate) = start();
    gate.change(|state| {
        state.poisoned = true;
        state.frames = 1;
    });
    let start = Instant::now();
    while !gateway.shared().stuck() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody noticed");
        std::thread::yield_now();
    }
    moving_port(&mut compiler, |revision, compiled| {
        let applied = gateway.apply(revision, compiled.into_parts());
        assert!(applied.is_err(), "revision {revision}: nobody forwards");
    });
}

#[test]
fn a_worker_that_dies_is_an_alarm_that_stays() {
    let (gateway, _, gate) = start();
    let shared = gateway.shared();
    gate.change(|state| {
        state.poisoned = true;
        state.frames = 1;
    });
    let start = Instant::now();
    while !shared.stuck() {
        assert!(start.elapsed() < Duration::from_secs(20), "nobody noticed");
        std::thread::yield_now();
    }
    drop(gateway);
    assert!(shared.stuck());
}
