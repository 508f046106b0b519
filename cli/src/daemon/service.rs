//! What the service manager is told (`sd_notify`). Without one, nothing is said.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Tells the service manager something; that it cannot be told is no reason to stop forwarding.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// The gateway does what its store says.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line about what the gateway does.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The gateway stops in order.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// The watchdog's beat: due twice in each of its intervals.
#[derive(Debug)]
pub(crate) struct Watchdog {
    every: Option<Duration>,
    last: Instant,
}

impl Watchdog {
    /// As the service manager has set it (`WATCHDOG_USEC`).
    pub(crate) fn new() -> Self {
        Watchdog {
            every: sd_notify::watchdog_enabled().map(|every| every / 2),
            last: Instant::now(),
        }
    }

    /// Whether the next beat is due.
    pub(crate) fn is_due(&self) -> bool {
        self.every.is_some_and(|every| self.last.elapsed() >= every)
    }

    /// Beats.
    pub(crate) fn beat(&mut self) {
        self.last = Instant::now();
        tell(&[NotifyState::Watchdog]);
    }
}
