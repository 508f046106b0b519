//! What outlives the gateway: connections are saved when it stops, and handed to the workers when it starts.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Manager;
use crate::port::PortDriver;
use crate::saved_connections::{self, Moment, Restored};
use crate::worker::Command;

/// How long workers may take to take saved connections over: forty times what a million of them take.
const RESTORED_WITHIN: Duration = Duration::from_secs(20);
impl<D: PortDriver> Manager<D> {
    /// Lets workers take the connections over that were saved: once, when the tables of the first revision say what there is, and
    /// before packets come.
    pub(super) fn restore(&mut self) {
        if std::mem::replace(&mut self.has_restored, true) {
            return;
        }
        let Some(path) = self.config.connections_file.clone() else {
            return;
        };
        let start = Instant::now();
        let saved = match saved_connections::read(&path) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("the saved connections are lost: {error}");
                return;
            }
        };
        let (reply, answers) = mpsc::sync_channel(self.links.len());
        let now = Moment::now(self.clock.now());
        let workers = self.links.len() as u16;
        let Some(tables) = self.publisher.current() else {
            return;
        };
        let (shares, homeless) = saved.shares(&tables, &now, workers, &reply);
        drop((tables, reply));
        let deadline = self.config.live_deadline;
        for (link, share) in self.links.iter_mut().zip(shares) {
            link.command(Command::Restore(share), deadline);
        }
        let mut restored = Restored {
            not_owned: homeless,
            ..Restored::default()
        };
        let until = start + RESTORED_WITHIN;
        // Each answers once, or lets go of its share.
        while let Ok(one) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            restored += one;
        }
        // What begins from now on must not come back with the next start.
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!("{} cannot be removed: {error}", path.display());
        }
        let Restored {
            over,
            gone,
            not_owned,
            full,
            clash,
            ..
        } = restored;
        let took = start.elapsed().as_millis() as u64;
        let (restored_number, lost) = (restored.restored, restored.lost());
        tracing::info!(
            restored = restored_number,
            lost,
            over,
            gone,
            not_owned,
            full,
            clash,
            milliseconds = took,
            "connections go on"
        );
        let _ = self.shared.restored.set(restored);
    }

    /// Writes the connections down that workers have had.
    pub(super) fn save(&self, workers: &[Vec<u8>]) {
        let (Some(path), Some(tables)) = (&self.config.connections_file, self.publisher.current())
        else {
            return;
        };
        // What was not taken over yet is not written over.
        if !self.has_restored {
            return;
        }
        let moment = Moment::now(self.clock.now());
        match saved_connections::write(path, &tables, &moment, workers) {
            Ok(()) => tracing::info!("connections are saved in {}", path.display()),
            Err(error) => tracing::error!("connections are not saved: {error}"),
        }
    }
}
