//! Asks the gateway what is shown, and its store for revisions.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use rewire_configdb::{LogEntry, LogQuery, Store};
use serde_json::json;

use crate::context::Context;
use crate::daemon::connections::{self, Connections, Query, Sort};
use crate::daemon::recent::{self, Columns};
use crate::daemon::status::{self, Status};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};

/// Connections, or who opens them, that are asked for: more than fit onto a screen.
const MOST: usize = 200;
/// Revisions that are shown.
const REVISIONS: usize = 200;

/// What is wanted next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Connections, or who opens them (true); or neither.
    pub(crate) connections: Option<bool>,
    pub(crate) sort: Sort,
    /// Nothing is asked until something else is wished for.
    pub(crate) is_paused: bool,
}

/// What is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The last two answers.
    pub(crate) before: Option<Status>,
    pub(crate) now: Option<Status>,
    pub(crate) recent: Columns,
    pub(crate) connections: Option<Connections>,
    /// The newest first.
    pub(crate) revisions: Vec<LogEntry>,
    /// Why there is no answer.
    pub(crate) gone: Option<String>,
}

/// Who asks.
pub(crate) struct Asker {
    socket: PathBuf,
    /// None where only the gateway is at hand.
    store: Option<Store>,
    seen: Seen,
}

impl Asker {
    /// Asks once.
    ///
    /// # Errors
    ///
    /// Where no gateway runs, or none that can be asked.
    pub(crate) fn new(context: &Context) -> Result<Asker, Failure> {
        let mut asker = Asker {
            socket: context.socket(),
            store: context.open().ok(),
            seen: Seen::default(),
        };
        match asker.status() {
            Ok(Some(status)) => asker.seen.now = Some(status),
            Ok(None) => return Err(no_gateway(&asker.socket)),
            Err(why) => return Err(Failure::new(Code::Failed, why)),
        }
        Ok(asker)
    }

    fn status(&self) -> Result<Option<Status>, String> {
        gateway::ask(&self.socket, "status", &json!({}), status::VERSION)
    }

    /// Asks again and again, until nobody wishes for anything any more.
    pub(crate) fn run(mut self, interval: Duration, wished: &Receiver<Wish>, says: &Sender<Seen>) {
        let mut wish = Wish::default();
        loop {
            let begun = Instant::now();
            if !wish.is_paused {
                if let Err(why) = self.look(&wish) {
                    self.seen.gone = Some(why);
                }
                if says.send(self.seen.clone()).is_err() {
                    return;
                }
            }
            let left = interval.saturating_sub(begun.elapsed());
            match wished.recv_timeout(left.max(Duration::from_millis(10))) {
                // Of several wishes the last one counts.
                Ok(first) => wish = wished.try_iter().last().unwrap_or(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn look(&mut self, wish: &Wish) -> Result<(), String> {
        let status = self.status()?;
        let Some(status) = status else {
            return Err("no gateway is running".to_owned());
        };
        let recent = gateway::ask(&self.socket, "recent", &json!({}), recent::VERSION)?;
        self.seen.recent = recent.unwrap_or_default();
        // A key is no reason for rates over a tenth of a second.
        let is_late = |before: &Status| {
            let apart = status.uptime_ns.saturating_sub(before.uptime_ns);
            before.pid != status.pid || apart >= 500_000_000
        };
        if self.seen.now.as_ref().is_none_or(is_late) {
            self.seen.before = self.seen.now.replace(status);
        }
        if let Some(talkers) = wish.connections {
            let query = Query {
                sort: wish.sort,
                most: Some(MOST),
                talkers,
                ..Query::default()
            };
            self.seen.connections =
                gateway::ask(&self.socket, "connections", &query, connections::VERSION)?;
        }
        let head = self.seen.now.as_ref().map_or(0, |now| now.head);
        let known = self
            .seen
            .revisions
            .first()
            .map_or(0, |entry| entry.revision);
        if let Some(store) = self.store.as_ref().filter(|_| head != known) {
            self.seen.revisions = store
                .log(LogQuery::last(REVISIONS))
                .map_err(|error| error.to_string())?;
        }
        self.seen.gone = None;
        Ok(())
    }
}
