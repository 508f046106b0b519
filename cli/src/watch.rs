//! `rewire watch`: what the gateway does, a line each time, for scripts.
//!
//! It asks for `status` in each interval and writes what came of it. Nothing is said twice, and nothing that happened between
//! two looks is lost but an alarm that was over again, and a port that was closed and opened again.

mod csv;
mod lines;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rewire_configdb::{LogQuery, Store};
use serde_json::json;

use crate::context::Context;
use crate::daemon::status::{self, Status};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::history;
use crate::terminal;
use lines::{Event, Line};

/// Revisions that are looked up at once: more than go live in an interval.
const MOST_REVISIONS: u64 = 1_000;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Packets and bits a second
    Rates,
    /// Packets dropped a second, by reason
    Drops,
    /// What happens
    Events,
}

/// What is written, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) what: What,
    pub(crate) interval: Duration,
    /// How many lines; without end where nobody says so.
    pub(crate) count: Option<u64>,
    pub(crate) interface: Option<String>,
    /// Reasons that drop no more packets a second are left out.
    pub(crate) above: u64,
    /// Whether lines are comma-separated values.
    pub(crate) csv: bool,
}

/// Writes lines until there are enough of them, or nobody reads them; how many there were.
///
/// # Errors
///
/// Where no gateway runs at the start, or there is no such interface.
pub(crate) fn run(context: &Context, wanted: &Wanted) -> Result<u64, Failure> {
    let mut watcher = Watcher::new(context, wanted)?;
    let mut written = 0;
    if wanted.csv && !terminal::print_or_end(&csv::header(wanted.what))? {
        return Ok(written);
    }
    loop {
        let begun = Instant::now();
        for line in watcher.next() {
            if wanted.count.is_some_and(|count| written >= count) {
                break;
            }
            let text = match (wanted.csv, context.json) {
                (true, _) => csv::line(&line),
                (false, true) => format!("{}\n", line.to_json()),
                (false, false) => format!("{}\n", line.text()),
            };
            if !terminal::print_or_end(&text)? {
                return Ok(written);
            }
            written += 1;
        }
        if wanted.count.is_some_and(|count| written >= count) {
            return Ok(written);
        }
        std::thread::sleep(wanted.interval.saturating_sub(begun.elapsed()));
    }
}

struct Watcher<'a> {
    context: &'a Context,
    wanted: &'a Wanted,
    socket: PathBuf,
    /// None where only the gateway is at hand.
    store: Option<Store>,
    /// The answer before.
    before: Option<Status>,
    is_gone: bool,
    /// Lines about the beginning, which are not written yet.
    first: Vec<Line>,
}

impl<'a> Watcher<'a> {
    fn new(context: &'a Context, wanted: &'a Wanted) -> Result<Self, Failure> {
        let mut watcher = Watcher {
            context,
            wanted,
            socket: context.socket(),
            store: context.open().ok(),
            before: None,
            is_gone: false,
            first: Vec::new(),
        };
        let status = watcher
            .status()
            .map_err(|why| Failure::new(Code::Failed, why))?;
        let status = status.ok_or_else(|| no_gateway(&watcher.socket))?;
        if let Some(name) = &wanted.interface
            && !status
                .interfaces
                .iter()
                .any(|interface| interface.name == *name)
        {
            let message = format!("the gateway has no interface {}", terminal::clean(name));
            return Err(Failure::new(Code::NoSuchName, message));
        }
        if wanted.what == What::Events {
            let revision = status.revision;
            watcher
                .first
                .push(Line::event(Event::Watching { revision }));
        }
        watcher.before = Some(status);
        Ok(watcher)
    }

    fn status(&self) -> Result<Option<Status>, String> {
        gateway::ask(&self.socket, "status", &json!({}), status::VERSION)
    }

    /// What is to be written next.
    fn next(&mut self) -> Vec<Line> {
        match self.first.is_empty() {
            true => self.look(),
            false => std::mem::take(&mut self.first),
        }
    }

    /// The lines about what came since the last look.
    fn look(&mut self) -> Vec<Line> {
        let why = match self.status() {
            Ok(Some(now)) => return self.lines(now),
            Ok(None) => "no gateway is running".to_owned(),
            Err(why) => why,
        };
        if std::mem::replace(&mut self.is_gone, true) {
            return Vec::new();
        }
        match self.wanted.what {
            What::Events => vec![Line::event(Event::GatewayGone { why })],
            What::Rates | What::Drops => {
                self.context.note(&format!("{why}: waiting for it"));
                Vec::new()
            }
        }
    }

    fn lines(&mut self, now: Status) -> Vec<Line> {
        let was_gone = std::mem::take(&mut self.is_gone);
        let Some(before) = self.before.replace(now.clone()) else {
            return Vec::new();
        };
        match self.wanted.what {
            What::Rates => lines::rates(&before, &now, self.wanted.interface.as_deref()),
            What::Drops => lines::drops(&before, &now, self.wanted.above),
            What::Events => {
                let back = was_gone.then(|| {
                    Line::event(Event::GatewayBack {
                        revision: now.revision,
                    })
                });
                let revisions = self.revisions(&before, &now);
                let others = lines::events(&before, &now);
                back.into_iter().chain(revisions).chain(others).collect()
            }
        }
    }

    /// The revisions that have gone live since, each with who made it.
    fn revisions(&self, before: &Status, now: &Status) -> Vec<Line> {
        let (Some(last), Some(first)) = (
            now.revision,
            before
                .revision
                .map_or(Some(1), |revision| revision.checked_add(1)),
        ) else {
            return Vec::new();
        };
        let first = first.max(last.saturating_sub(MOST_REVISIONS - 1));
        let entries = self.store.as_ref().and_then(|store| {
            let limit = usize::try_from(last.saturating_sub(first) + 1).ok()?;
            let before = Some(last.checked_add(1)?);
            store
                .log(LogQuery {
                    before,
                    ..LogQuery::last(limit)
                })
                .ok()
        });
        let entries = entries.unwrap_or_default();
        let line = |revision| {
            let entry = entries.iter().find(|entry| entry.revision == revision);
            Line::event(Event::Revision {
                revision,
                generation: now.generation,
                author: entry.map(|entry| entry.author.clone()),
                message: entry.map(|entry| history::first_line(&entry.message)),
            })
        };
        (first..=last).map(line).collect()
    }
}
