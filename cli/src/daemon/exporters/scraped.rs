//! An exporter of type prometheus: answers scrapes at an address of the configuration.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Exporter, ExporterConfig};
use crate::daemon::Daemon;
use crate::daemon::metrics::Server;

/// How long until an address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Answers until it is told to end.
pub(super) fn run(daemon: &Daemon, exporter: &Exporter, config: &ExporterConfig) {
    let server = loop {
        match Server::bind(config.address) {
            Ok(server) => break server,
            Err(error) => {
                if exporter.failed.fetch_add(1, Relaxed) == 0 {
                    tracing::error!(
                        exporter = config.name,
                        "{error}; it is tried again every second"
                    );
                }
                if !exporter.pause(RETRY) {
                    return;
                }
            }
        }
    };
    exporter.up.store(true, Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Told to end only.
            while exporter.pause(Duration::from_secs(3600)) {}
            server.stop();
        });
        server.serve(daemon, || {
            exporter.sent.fetch_add(1, Relaxed);
        });
    });
}
