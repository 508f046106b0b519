use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rewire_replay::bundle::{self, Recorded, RecordingDraft, Scheduled};
use rewire_replay::{KnownNeighbor, When};
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::answer::Answer;
use crate::context::Context;
use crate::daemon::record::{Began, Ended, More, Query};
use crate::failure::{Code, Failure};
use crate::number::whole_number_in;
use crate::record::{Next, Stream};
use crate::replay::bundle::said_of;
use crate::replay::source;
use crate::status_text::count;
use crate::trace::{filter, input};
use crate::view::Revision;
use crate::when::Span;

/// Record what the running gateway receives and sends, to be replayed elsewhere
///
/// The folder holds the revision that is live and those that become so meanwhile, the neighbors that are known, the connections
/// that there are, what routing daemons say and have said, and the frames with their times: `rewire replay FOLDER` replays it without the gateway. It ends with --for, --packets, --size or Ctrl-C, whichever
/// is first. A worker never waits for it: what comes too fast is counted as missed.
#[derive(clap::Args)]
pub(crate) struct Record {
    /// Which of the frames that come in, in pcap's syntax; then what leaves is not recorded [default: all]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// The folder, which must not be there yet
    #[arg(short, long, value_name = "FOLDER", value_hint = clap::ValueHint::DirPath)]
    output: PathBuf,
    /// For so long at most
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Span>,
    /// So many frames that come in at most
    #[arg(long, value_name = "N", value_parser = whole_number_in(1..=u64::MAX))]
    packets: Option<u64>,
    /// So many bytes of frames at most, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = whole_number_in(1..=1u64 << 20))]
    size: u64,
    /// One of so many frames that come in; then what leaves is not recorded
    #[arg(long, value_name = "1/N", default_value = "1/1")]
    sample: Sample,
    /// So many bytes of each frame at most; the rest is zero in a replay
    #[arg(long, value_name = "BYTES", default_value_t = 65_535, value_parser = whole_number_in(14..=65_535_usize))]
    snap: usize,
}

/// One of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample(u64);

impl FromStr for Sample {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_prefix("1/").and_then(|number| number.parse().ok());
        number.filter(|number| *number > 0).map(Sample).ok_or("expected a share, like 1/100")
    }
}

impl Record {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        bundle::expect_free(&self.output)?;
        // What cannot be opened at the end is better not begun.
        context.open()?;
        let query = Query {
            filter: filter::compile(&self.filter)?,
            one_of: self.sample.0,
            snap: self.snap,
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let registered = signal_hook::flag::register(signal, Arc::clone(&stop));
            registered.map_err(|error| Failure::new(Code::Failed, format!("cannot wait for signals: {error}")))?;
        }
        let mut draft = RecordingDraft::begin(&self.output)?;
        let (mut stream, began) = Stream::begin(&context.socket(), &query)?;
        context.note(&format!("recording from revision {} on; Ctrl-C ends it", began.revision));
        let until = self.time.and_then(|time| Instant::now().checked_add(time.0));
        let mut live: Vec<(u64, u64)> = Vec::new();
        let ended = loop {
            let (received, _, bytes) = draft.so_far();
            let is_enough = stop.load(Ordering::Relaxed)
                || until.is_some_and(|until| Instant::now() >= until)
                || self.packets.is_some_and(|most| received >= most)
                || bytes >= self.size << 20;
            if is_enough {
                stream.end();
            }
            let Next::Line(More { live: now, heard, connections, frames, ended }) = stream.next()? else {
                continue;
            };
            live.extend(now);
            draft.heard(&heard)?;
            if !connections.is_empty() {
                draft.connections(&input::bytes(&connections).unwrap_or_default())?;
            }
            for (time, interface, leaves, length, bytes) in frames {
                let is_over = self.packets.is_some_and(|most| draft.so_far().0 >= most);
                let bytes = input::bytes(&bytes).unwrap_or_default();
                // What the last of them makes leave is wanted still.
                if leaves || !is_over {
                    draft.frame(&interface, leaves, time, (&bytes, length))?;
                }
            }
            if let Some(ended) = ended {
                break ended;
            }
        };
        self.finish(context, draft, &began, &live, &ended)
    }

    fn finish(
        &self,
        context: &Context,
        draft: RecordingDraft,
        began: &Began,
        live: &[(u64, u64)],
        ended: &Ended,
    ) -> Result<Answer, Failure> {
        let first = began.revision;
        let last = live.iter().map(|(revision, _)| *revision).fold(first, u64::max);
        let range = [first, last].map(Revision::Number);
        let (history, first) = source::of_store(&context.open()?, Some(&range[0]), Some(&range[1]))?;
        let at = |revision: u64| {
            // Of several that became live at once, the last one was seen.
            let seen = live.iter().find(|(seen, _)| *seen >= revision);
            When::Time(seen.map_or(ended.time_ns, |(_, time)| *time))
        };
        let schedule = (first + 1..=last).map(|revision| Scheduled { revision, when: at(revision) });
        let neighbors = began.neighbors.iter().map(|(interface, address, mac)| KnownNeighbor {
            interface: interface.clone(),
            address: *address,
            mac: *mac,
        });
        let recorded = Recorded {
            from_ns: began.time_ns,
            to_ns: ended.time_ns,
            received: 0,
            left: 0,
            missed: ended.missed,
            one_of: self.sample.0,
            filter: (!self.filter.is_empty()).then(|| self.filter.join(" ")),
            snap: self.snap,
            workers: began.workers,
            connections: began.connections,
            copied_connections: ended.copied.as_ref().ok().copied(),
            learned_routes: ended.learned_routes,
            heard_routes: None,
            missed_routes: ended.missed_routes,
        };
        let seed = u64::from_str_radix(&began.hash_seed, 16).unwrap_or(0);
        let known = (seed, neighbors.collect());
        let version = env!("CARGO_PKG_VERSION");
        let manifest = draft.finish((&history, first), schedule.collect(), known, recorded, version)?;
        let recording = manifest.recording.clone();
        let workers = manifest.settings.workers;
        let folder = self.output.display();
        Ok(context.done(
            || {
                let (received, left) = recording.as_ref().map_or((0, 0), |r| (r.received, r.left));
                let revisions = match (first, last) {
                    (first, last) if first == last => format!("revision {first}"),
                    (first, last) => format!("revisions {first} to {last}"),
                };
                let mut said = format!("{} in, {left} out, {revisions} in {folder}\n", count(received, "frame"));
                for line in recording.iter().flat_map(|recording| said_of(recording, workers)) {
                    said.push_str(&format!("{line}\n"));
                }
                if let Err(why) = &ended.copied {
                    said.push_str(&format!("the connections of before could not be copied: {why}\n"));
                }
                if ended.replaced {
                    said.push_str("another recording has taken its place, or the gateway has stopped, before it was done\n");
                }
                said
            },
            || json!({ "folder": self.output, "first_revision": first, "last_revision": last, "recording": recording, "replaced": ended.replaced }),
        ))
    }
}
