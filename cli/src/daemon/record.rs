//! `rewire record` on the gateway's side: what the gateway receives and sends, which revision is live and what it has learned, as a
//! stream of JSON objects, one a line, until the peer has said its last.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::{self, Duration, SystemTime, UNIX_EPOCH};

use rewire_dataplane::Told;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::tap::{
    Beginning, Changed, RecordedChange, RecordedFrame, Recorder, WantedFrames,
};
use rewire_dataplane::watch::bpf::Program;
use rewire_dataplane::{GatewayError, LiveTrials};
use rewire_replay::HeardRoute;
use rewire_tables::Tables;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Daemon;
use super::protocol::refusal;
use crate::trace::report::hexadecimal;

/// The version of the stream. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;
/// Frames that wait to be read, at most, of each worker.
const FRAMES: usize = 65_536;
/// Bytes of frames that wait to be read, at most, of each worker.
const BYTES: usize = 64 << 20;
/// Frames of one line, at most.
const FRAMES_OF_A_LINE: usize = 256;
/// How often the rings are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// What is to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// A filter of what comes in, as `tcpdump -ddd` compiles it; none for all frames.
    #[serde(default)]
    pub(crate) filter: Option<String>,
    /// One of so many.
    pub(crate) one_of: u64,
    /// So many bytes of each frame at most.
    pub(crate) snap: usize,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Began {
    pub(crate) version: u32,
    /// In nanoseconds since the Unix epoch.
    pub(crate) time_ns: u64,
    /// The revision that is live.
    pub(crate) revision: u64,
    /// In hexadecimal digits: JSON's numbers have too few.
    pub(crate) hash_seed: String,
    pub(crate) workers: u64,
    pub(crate) connections: u64,
    /// The neighbors that were learned: interface, address, MAC address.
    pub(crate) neighbors: Vec<(String, std::net::IpAddr, [u8; 6])>,
}

/// Any line behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct More {
    /// A revision became live, at this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) live: Option<(u64, u64)>,
    /// What routing daemons said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) heard: Vec<HeardRoute>,
    /// A part of the connections of before, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) connections: String,
    /// Frames: time, interface, whether it leaves, length, first bytes in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) frames: Vec<(u64, String, bool, usize, String)>,
    /// The last line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) time_ns: u64,
    /// Frames that found no room.
    pub(crate) missed: u64,
    pub(crate) missed_routes: u64,
    /// Whether another recording has taken its place, or the gateway ends.
    pub(crate) replaced: bool,
    pub(crate) learned_routes: u64,
    /// How many connections were copied, or why none.
    pub(crate) copied: Result<u64, String>,
}

/// What a stream needs to know of the gateway.
struct Stream<'a> {
    daemon: &'a Daemon,
    trials: &'a LiveTrials,
    recorder: Recorder,
    /// The wall clock when the gateway's was 0, in nanoseconds.
    epoch: u64,
    /// When the recording begins.
    from: Instant,
    names: BTreeMap<u16, String>,
    /// A frame whose generation was not told of yet.
    waiting: Option<RecordedFrame>,
    /// Changes of which no frame was seen yet, and when each was read.
    changes: VecDeque<(RecordedChange, time::Instant)>,
}

/// A recording that has begun: what is said first, and what routing daemons had said before.
type Begun<'a> = (Stream<'a>, Began, Vec<HeardRoute>);

fn names_of(tables: &Tables) -> BTreeMap<u16, String> {
    let interfaces = tables.interfaces();
    interfaces
        .map(|(index, interface)| (index.0, interface.name.to_string()))
        .collect()
}

impl Daemon {
    /// Records, and says what; until the peer has said its last, or goes away.
    pub(super) fn record(
        &self,
        query: &Query,
        mut say: impl FnMut(&Value) -> io::Result<()>,
        mut is_done: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let begun = self.begin_recording(query);
        let (mut stream, began, known) = match begun {
            Ok(begun) => begun,
            Err(why) => return say(&refusal(&why)),
        };
        let from = began.time_ns;
        say(&json!(began))?;
        for line in lines_of(known) {
            say(&json!(line))?;
        }
        let (trials, beginning) = (stream.trials, stream.from);
        std::thread::scope(|scope| {
            let mut copying = Some(scope.spawn(move || trials.connections_before(beginning)));
            let mut copied = Err(String::new());
            let mut until = None;
            loop {
                let mut lines = stream.lines(from, until);
                if let Some(done) = copying.take_if(|copying| copying.is_finished()) {
                    let done = done.join().unwrap_or(Err(GatewayError::Stopping));
                    copied = done.map_err(|error| error.to_string()).map(|copied| {
                        lines.extend(parts_of(&copied.bytes));
                        copied.number
                    });
                }
                let is_idle = lines.is_empty() && stream.waiting.is_none();
                for line in lines {
                    say(&json!(line))?;
                }
                let is_over = stream.recorder.is_over() || self.progress.is_stopping();
                let is_copied = copying.is_none();
                if is_idle && is_copied && (until.is_some() || is_over) {
                    let ended = stream.ended(until, is_over && until.is_none(), copied);
                    return say(&json!(More {
                        ended: Some(ended),
                        ..More::default()
                    }));
                }
                if is_idle {
                    match until.is_none() && is_done() {
                        true => until = Some(stream.now()),
                        false => std::thread::sleep(LOOK_EVERY),
                    }
                }
            }
        })
    }

    fn begin_recording(&self, query: &Query) -> Result<Begun<'_>, String> {
        let trials = self.live_trials.as_ref();
        let trials = trials.ok_or("the gateway is stopping")?;
        let filter = query.filter.as_deref().map(Program::from_text).transpose();
        let wanted = WantedFrames {
            filter: filter.map_err(|error| error.to_string())?,
            one_of: query.one_of.max(1),
            snap: query.snap.clamp(14, 65_535),
            frames: FRAMES,
            bytes: BYTES,
        };
        let recorder = trials.record(&wanted);
        let (recorder, beginning) = recorder.map_err(|error| error.to_string())?;
        let looked = trials.look(|tables, now| {
            let names = names_of(tables);
            let neighbors = tables.learned_neighbors();
            let neighbors = neighbors.filter_map(|(interface, address, mac)| {
                Some((names.get(&interface.0)?.clone(), address, mac.0))
            });
            let neighbors: Vec<_> = neighbors.collect();
            (now, names, neighbors)
        });
        let (now, names, neighbors) = looked.map_err(|error| error.to_string())?;
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| wall.as_nanos() as u64);
        let stream = Stream {
            daemon: self,
            trials,
            recorder,
            epoch: wall.wrapping_sub(now.0),
            from: beginning.from,
            names,
            waiting: None,
            changes: VecDeque::new(),
        };
        let Beginning {
            time,
            from,
            revision,
            routes,
        } = beginning;
        std::thread::sleep(from.duration_since(now));
        let time_ns = stream.wall(time);
        let began = Began {
            version: VERSION,
            time_ns: stream.wall(from),
            revision,
            hash_seed: format!("{:016x}", self.shared.hash_seed()),
            workers: self.shared.workers() as u64,
            connections: self.shared.totals().connections,
            neighbors,
        };
        let heard = routes
            .into_iter()
            .map(|told| heard(time_ns, (revision, told)));
        Ok((stream, began, heard.collect()))
    }
}

/// How long a change waits for a frame that says when it was live: longer than a worker takes for a burst.
const QUIET: Duration = Duration::from_millis(50);
/// What routing daemons said, of one line, at most.
const HEARD_OF_A_LINE: usize = 1024;

/// Bytes of connections of one line, at most.
const BYTES_OF_A_LINE: usize = 32 << 10;

/// Lines of connections of before.
fn parts_of(bytes: &[u8]) -> impl Iterator<Item = More> {
    bytes.chunks(BYTES_OF_A_LINE).map(|part| More {
        connections: hexadecimal(part),
        ..More::default()
    })
}

fn heard(at_ns: u64, (revision, told): (u64, Told)) -> HeardRoute {
    HeardRoute {
        at_ns,
        revision,
        source: told.source.to_string(),
        session: told.session,
        update: told.update,
    }
}

/// Lines of what routing daemons said.
fn lines_of(heard: Vec<HeardRoute>) -> impl Iterator<Item = More> {
    let mut heard = heard.into_iter();
    std::iter::from_fn(move || {
        let heard: Vec<_> = heard.by_ref().take(HEARD_OF_A_LINE).collect();
        (!heard.is_empty()).then(|| More {
            heard,
            ..More::default()
        })
    })
}

impl Stream<'_> {
    fn wall(&self, time: Instant) -> u64 {
        self.epoch.wrapping_add(time.0)
    }

    fn now(&self) -> u64 {
        let now = self.trials.look(|_, now| now);
        self.wall(now.unwrap_or(Instant(0)))
    }

    /// What there is to say now: frames from one time to another, and what changed between them.
    fn lines(&mut self, from: u64, until: Option<u64>) -> Vec<More> {
        let mut lines = Vec::new();
        let mut frames = Vec::new();
        while frames.len() < FRAMES_OF_A_LINE
            && let Some(frame) = self.waiting.take().or_else(|| self.recorder.next_frame())
        {
            if frame.generation > self.recorder.changes_until() {
                // It is about to be told what that generation has changed.
                self.waiting = Some(frame);
                break;
            }
            self.read_changes();
            let time = self.wall(frame.time);
            while let Some((change, _)) = self
                .changes
                .pop_front_if(|(change, _)| change.generation <= frame.generation)
            {
                // It was live with this burst, if not before.
                lines.extend(said(&mut frames));
                let live = self.wall(change.time).min(time);
                lines.extend(self.said_of(change, live, until));
            }
            if time >= from && until.is_none_or(|until| time <= until) {
                frames.push(self.named(frame, time));
            }
        }
        lines.extend(said(&mut frames));
        // Without frames nothing says better when it was.
        if lines.is_empty() && self.waiting.is_none() {
            self.read_changes();
            let is_due = |read: &time::Instant| until.is_some() || read.elapsed() >= QUIET;
            while let Some((change, _)) = self.changes.pop_front_if(|(_, read)| is_due(read)) {
                let live = self.wall(change.time);
                lines.extend(self.said_of(change, live, until));
            }
        }
        lines
    }

    fn read_changes(&mut self) {
        while let Some(change) = self.recorder.next_change() {
            self.changes.push_back((change, time::Instant::now()));
        }
    }

    /// A change that was live at a time, if that is not behind the end.
    fn said_of(&mut self, change: RecordedChange, live: u64, until: Option<u64>) -> Vec<More> {
        if until.is_some_and(|until| live > until) {
            return Vec::new();
        }
        match change.what {
            Changed::Revision(revision) => {
                if let Ok(names) = self.trials.look(|tables, _| names_of(tables)) {
                    self.names = names;
                }
                let live = Some((revision, live));
                vec![More {
                    live,
                    ..More::default()
                }]
            }
            Changed::Routes(routes) => {
                let routes = routes.into_iter().map(|told| heard(live, told));
                lines_of(routes.collect()).collect()
            }
        }
    }

    fn named(&mut self, frame: RecordedFrame, time: u64) -> (u64, String, bool, usize, String) {
        let name = self.names.get(&frame.interface.0).cloned();
        let name = name.unwrap_or_else(|| {
            // An interface that has come meanwhile.
            if let Ok(names) = self.trials.look(|tables, _| names_of(tables)) {
                self.names.extend(names);
            }
            self.names
                .get(&frame.interface.0)
                .cloned()
                .unwrap_or_default()
        });
        let bytes = hexadecimal(&frame.bytes);
        (time, name, frame.leaves, frame.length, bytes)
    }

    fn ended(&self, until: Option<u64>, replaced: bool, copied: Result<u64, String>) -> Ended {
        let sources = self.daemon.route_sources();
        Ended {
            time_ns: until.unwrap_or_else(|| self.now()),
            missed: self.recorder.missed(),
            missed_routes: self.recorder.missed_routes(),
            replaced,
            learned_routes: sources.iter().map(|source| source.routes).sum(),
            copied,
        }
    }
}

/// A line of frames, if there are any.
fn said(frames: &mut Vec<(u64, String, bool, usize, String)>) -> Option<More> {
    let frames = std::mem::take(frames);
    (!frames.is_empty()).then(|| More {
        frames,
        ..More::default()
    })
}
