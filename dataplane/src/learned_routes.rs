//! Learned routes on the manager's side: what routing daemons say comes in by batches, and goes into the tables as operations
//! beside the compiler's. State, not policy: no commit forgets them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::time::Duration;

use rewire_feed::{
    Batch, Counters, Deliver, Gone, LearnedCopy, Rib, RouteQuery, ShownRoutes, SourceConfig, Told,
    Update,
};
use rewire_tables::{Publisher, TableOperation};

use crate::clock::Instant;
use crate::gateway::{GatewayError, Request};

/// Batches that are on their way at once: what the feed may be ahead of the manager. With them the memory is bounded, and so is
/// the time that a commit waits behind routes.
const BATCHES: usize = 4;

/// Where the feed puts what it hears. While the manager has all batches, the feed waits, and its daemons with it.
#[derive(Debug)]
pub struct RouteInlet {
    requests: Sender<Request>,
    empty: Receiver<Batch>,
}

impl Deliver for RouteInlet {
    fn empty(&mut self, patience: Duration) -> Result<Option<Batch>, Gone> {
        match self.empty.recv_timeout(patience) {
            Ok(batch) => Ok(Some(batch)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Gone),
        }
    }

    fn deliver(&mut self, batch: Batch) -> Result<(), Gone> {
        self.requests.send(Request::Learn(batch)).map_err(|_| Gone)
    }
}

/// Answers who asks for routes, while the gateway runs.
#[derive(Clone, Debug)]
pub struct RouteTable(pub(crate) Sender<Request>);

impl RouteTable {
    /// The routes that are asked for, static and learned. The manager answers between two changes: cost, as of [`Rib::routes`].
    ///
    /// # Errors
    ///
    /// The gateway is stopping.
    pub fn routes(&self, query: RouteQuery) -> Result<ShownRoutes, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let request = Request::Show(query, reply);
        self.0.send(request).map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(|_| GatewayError::Stopping)
    }
}

/// What the manager holds.
#[derive(Debug)]
pub(crate) struct LearnedRoutes {
    /// There while a source is configured. Without one, what is compiled goes straight into the tables.
    rib: Option<Rib>,
    /// Sources that a table of candidates is to be made for, as soon as the tables hold all that was compiled.
    wanted: Option<Vec<SourceConfig>>,
    counters: Counters,
    /// Batches that came while the tables could not be published.
    held: VecDeque<Batch>,
    back: SyncSender<Batch>,
    out: Vec<TableOperation>,
    /// The last revision.
    revision: u64,
    /// What was said since the last publication, and under which revision, while that is recorded.
    heard: Option<Vec<(u64, Told)>>,
}

impl LearnedRoutes {
    /// With the inlet that belongs to it.
    pub(crate) fn new(
        counters: Counters,
        requests: Sender<Request>,
    ) -> (LearnedRoutes, RouteInlet) {
        let (back, empty) = mpsc::sync_channel(BATCHES);
        for _ in 0..BATCHES {
            // There is room for just so many.
            let _ = back.try_send(Batch::default());
        }
        let learned = LearnedRoutes {
            rib: None,
            wanted: None,
            counters,
            held: VecDeque::new(),
            back,
            out: Vec::new(),
            revision: 0,
            heard: None,
        };
        (learned, RouteInlet { requests, empty })
    }

    /// What is said from now on is recorded. Gives what was said so far, as far as it counts. Cost: that of [`Rib::copied`].
    pub(crate) fn begin_recording(&mut self) -> LearnedCopy {
        self.heard = Some(Vec::new());
        self.rib.as_ref().map(Rib::copied).unwrap_or_default()
    }

    /// Nobody records any more.
    pub(crate) fn end_recording(&mut self) {
        self.heard = None;
    }

    /// What was said since this was asked last, with the revisions that it was said under.
    pub(crate) fn take_heard(&mut self) -> Vec<(u64, Told)> {
        self.heard.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Another revision is about to be absorbed.
    pub(crate) fn follow(&mut self, revision: u64) {
        self.revision = revision;
    }

    /// Appends what the compiler says of one change, merged with what was learned.
    pub(crate) fn absorb(
        &mut self,
        operations: Vec<TableOperation>,
        sources: Option<Vec<SourceConfig>>,
        publisher: &mut Publisher,
    ) {
        let Some(rib) = &mut self.rib else {
            if sources.is_some() {
                self.wanted = sources;
            }
            publisher.extend(operations);
            return;
        };
        if let Some(sources) = &sources {
            rib.configure(sources, &mut self.out);
        }
        rib.absorb(operations, &mut self.out);
        if !rib.has_sources() {
            self.rib = None;
        }
        self.flush(publisher);
    }

    /// The tables hold all that was appended: the moment to begin, and to take what was held.
    pub(crate) fn published(&mut self, now: Instant, publisher: &mut Publisher) {
        if let Some(sources) = self.wanted.take_if(|sources| !sources.is_empty()) {
            let tables = publisher.current();
            let rib = tables.map(|tables| Rib::of(&tables, self.counters.clone()));
            // There are tables for as long as there is somebody who writes them.
            let Some(mut rib) = rib else { return };
            rib.configure(&sources, &mut self.out);
            self.rib = Some(rib);
            self.flush(publisher);
        }
        while let Some(batch) = self.held.pop_front() {
            self.learn(batch, now, publisher);
        }
    }

    /// Keeps a batch until the tables can be published again. The feed has no more than a few.
    pub(crate) fn hold(&mut self, batch: Batch) {
        self.held.push_back(batch);
    }

    /// Takes a batch over.
    pub(crate) fn learn(&mut self, mut batch: Batch, now: Instant, publisher: &mut Publisher) {
        if let Some(rib) = &mut self.rib {
            if let Some(heard) = &mut self.heard {
                heard.extend(batch.updates.iter().map(|update| {
                    let told = Told {
                        source: Arc::clone(&batch.source),
                        session: batch.session,
                        update: update.clone(),
                    };
                    (self.revision, told)
                }));
            }
            let now = Duration::from_nanos(now.0);
            let updates = batch.updates.drain(..);
            rib.update(&batch.source, batch.session, updates, now, &mut self.out);
        }
        batch.updates.clear();
        // Where the feed is gone, so is the batch.
        let _ = self.back.try_send(batch);
        self.flush(publisher);
    }

    /// Lets go of what was stale for too long.
    pub(crate) fn expire(&mut self, now: Instant, publisher: &mut Publisher) {
        let now = Duration::from_nanos(now.0);
        if let Some(rib) = &mut self.rib
            && rib.next_expiry().is_some_and(|at| at <= now)
        {
            let sources = rib.expire(now, &mut self.out);
            if let Some(heard) = &mut self.heard {
                heard.extend(sources.into_iter().map(|source| {
                    let told = Told {
                        source,
                        session: 0,
                        update: Update::Expired,
                    };
                    (self.revision, told)
                }));
            }
            self.flush(publisher);
        }
    }

    /// The routes that are asked for.
    pub(crate) fn routes(
        &self,
        query: &RouteQuery,
        now: Instant,
        publisher: &Publisher,
    ) -> ShownRoutes {
        let now = Duration::from_nanos(now.0);
        match (&self.rib, publisher.current()) {
            (Some(rib), _) => rib.routes(query, now),
            (None, Some(tables)) => Rib::of(&tables, Counters::default()).routes(query, now),
            (None, None) => ShownRoutes::default(),
        }
    }

    fn flush(&mut self, publisher: &mut Publisher) {
        publisher.extend(std::mem::take(&mut self.out));
    }
}
