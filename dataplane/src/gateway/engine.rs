//! The thread of the offload engine: between the workers and the card.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Duration;

use rewire_conntrack::offload::Engine;
use rewire_tables::InterfaceIndex;

use crate::clock::Clock;

/// How often the engine looks in vain before it sleeps: some microseconds.
const LOOKS_AWAKE: u32 = 256;
/// How long it sleeps then.
const NAP: Duration = Duration::from_micros(50);
/// How long it sleeps while no flow is offered to the card, and none is with it.
const REST: Duration = Duration::from_millis(10);

/// What the manager tells the engine.
struct ClosePorts {
    ports: Vec<InterfaceIndex>,
    done: SyncSender<()>,
}

/// The engine's thread, as the manager holds it: dropped, it ends and is joined.
pub(super) struct EngineThread {
    commands: Option<Sender<ClosePorts>>,
    /// Whether flows are offered to the card.
    is_wanted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl EngineThread {
    /// Starts the thread; `attach` is called on it first, and what that returns is dropped there at the end.
    pub(super) fn start(
        engine: Engine,
        clock: Arc<dyn Clock>,
        attach: Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send>,
    ) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let is_wanted = Arc::new(AtomicBool::new(false));
        let wanted = Arc::clone(&is_wanted);
        let thread = std::thread::Builder::new()
            .name("offload".to_owned())
            .spawn(move || {
                let attached = attach();
                run(engine, clock.as_ref(), &inbox, &wanted);
                drop(attached);
            })?;
        Ok(EngineThread {
            commands: Some(commands),
            is_wanted,
            thread: Some(thread),
        })
    }

    /// Lets the card forward nothing from or to these ports any more. Whether it was done within the deadline.
    pub(super) fn close_ports(&self, ports: Vec<InterfaceIndex>, deadline: Duration) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        let command = ClosePorts { ports, done };
        let commands = self.commands.as_ref();
        let is_sent = commands.is_some_and(|commands| commands.send(command).is_ok());
        is_sent && wait.recv_timeout(deadline).is_ok()
    }

    /// Says whether flows are offered to the card now. Where they are not, the engine looks rarely, once its last rule is gone.
    pub(super) fn want(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Relaxed);
    }

    /// Whether the thread has ended by itself: it has panicked.
    pub(super) fn is_dead(&self) -> bool {
        self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the offload engine's thread panicked");
        }
    }
}

/// Polls until nobody can tell it anything any more.
fn run(
    mut engine: Engine,
    clock: &dyn Clock,
    inbox: &Receiver<ClosePorts>,
    is_wanted: &AtomicBool,
) {
    let mut idle = 0_u32;
    loop {
        let nap = match engine.has_rules() || is_wanted.load(Ordering::Relaxed) {
            true => NAP,
            false => REST,
        };
        let command = match idle {
            ..LOOKS_AWAKE => inbox.try_recv(),
            _ => inbox.recv_timeout(nap).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            }),
        };
        match command {
            Ok(ClosePorts { ports, done }) => {
                ports.into_iter().for_each(|port| engine.close_port(port));
                // Who asked has waited long enough, perhaps.
                let _ = done.send(());
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return,
        }
        idle = match engine.poll(|| clock.now()) {
            0 => idle.saturating_add(1),
            _ => 0,
        };
        std::hint::spin_loop();
    }
}
