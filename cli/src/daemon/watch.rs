//! `rewire trace --live` and `rewire capture` on the gateway's side: packets of the gateway's own traffic, watched.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rewire_dataplane::walk::{Fact, Mark, Onward, Outcome, Step};
use rewire_dataplane::watch::bpf::Program;
use rewire_dataplane::watch::{At, AtPort, Seen, Wanted, Watching};
use rewire_dataplane::{DropReason, LiveTrials, Node, Walk};
use rewire_tables::InterfaceIndex;
use serde::{Deserialize, Serialize};

use super::Daemon;
use crate::trace::report::hexadecimal;
use crate::trace::{Report, Walked};

/// The version of [`Watched`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;
/// The most packets of one answer.
pub(crate) const MOST_PACKETS: u64 = 10_000;
/// The most bytes of frames of one answer.
const MOST_BYTES: usize = 4 << 20;
/// The longest watch, in milliseconds.
const LONGEST: u64 = 3_600_000;
/// Steps that wait to be read, at most, of each worker.
const STEPS: usize = 16_384;
/// How often the rings are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long is waited for answers that the gateway makes about the last packet: a few bursts.
const AFTERWARDS: Duration = Duration::from_millis(20);

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// A filter, as `tcpdump -ddd` compiles it; none for all packets.
    #[serde(default)]
    pub(crate) filter: Option<String>,
    /// Where.
    pub(crate) at: Place,
    /// So many packets at most.
    pub(crate) packets: u64,
    /// For so long at most.
    pub(crate) timeout_ms: u64,
    /// So many bytes of each frame at most.
    #[serde(default)]
    pub(crate) snap: Option<usize>,
}

/// Where packets are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// Everywhere: their walks.
    #[default]
    Walk,
    /// At a port, by its interface.
    Port(String),
    /// Where they leave a node.
    Node(String),
    /// Where they are dropped, for this reason or any.
    Drops(Option<String>),
}

impl Query {
    /// What those are told who find no place beside it.
    fn name(&self) -> String {
        let what = match &self.at {
            Place::Walk => "rewire trace --live".to_owned(),
            Place::Port(interface) => format!("rewire capture --at {interface}"),
            Place::Node(node) => format!("rewire capture --node {node}"),
            Place::Drops(None) => "rewire capture --drops".to_owned(),
            Place::Drops(Some(reason)) => format!("rewire capture --drops {reason}"),
        };
        format!(
            "{what} for {} s",
            self.timeout_ms.min(LONGEST).div_ceil(1000)
        )
    }
}

impl Place {
    fn at(&self) -> Result<At, String> {
        Ok(match self {
            Place::Walk => At::Walk,
            Place::Port(interface) => At::Port(interface.as_str().into()),
            Place::Node(name) => {
                let mut nodes = Node::ALL.iter().filter(|node| node.name() == name);
                At::Node(
                    *nodes
                        .next()
                        .ok_or_else(|| format!("there is no node \"{name}\""))?,
                )
            }
            Place::Drops(None) => At::Drops(None),
            Place::Drops(Some(name)) => {
                let mut reasons = DropReason::ALL
                    .iter()
                    .filter(|reason| reason.name() == name);
                let reason = reasons.next();
                let reason = reason.ok_or_else(|| format!("there is no reason \"{name}\""))?;
                At::Drops(Some(*reason))
            }
        })
    }
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub(crate) version: u32,
    /// Whole walks, where those were asked for.
    pub(crate) walks: Vec<Report>,
    /// Frames, where those were asked for.
    pub(crate) frames: Vec<Frame>,
    /// Steps that were missed, because nobody had read those before.
    pub(crate) missed: u64,
    /// Whether the gateway has ended before it was done. Others watch beside it, and take nobody's place.
    pub(crate) replaced: bool,
}

/// A frame that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Frame {
    /// Since the Unix epoch, in nanoseconds.
    pub(crate) time_ns: u64,
    /// The interface that it came in by, or left by, where that is known.
    pub(crate) interface: String,
    /// Whether it left, or was about to.
    pub(crate) leaves: bool,
    /// Its length, in bytes.
    pub(crate) length: usize,
    /// Its bytes in hexadecimal digits, as many as were wanted.
    pub(crate) frame: String,
    /// What the node decided, in words; the reason of a drop.
    pub(crate) comment: Option<String>,
    /// The node.
    pub(crate) node: String,
}

impl Daemon {
    /// Watches packets until there are enough, the time is up, or the peer has gone away.
    pub(super) fn watch(
        &self,
        query: &Query,
        mut is_gone: impl FnMut() -> bool,
    ) -> Result<Watched, String> {
        let trials = self.live_trials.as_ref();
        let trials = trials.ok_or("the gateway is stopping")?;
        let filter = query.filter.as_deref().map(Program::from_text).transpose();
        let snap = query.snap.unwrap_or(256).clamp(14, 65_535);
        let packets = query.packets.min(MOST_PACKETS);
        let at = query.at.at()?;
        let wanted = Wanted {
            name: query.name().into(),
            filter: filter.map_err(|error| error.to_string())?,
            // Packets that are dropped, or come to a node, are among many.
            packets: match at {
                At::Walk => packets,
                _ => u64::MAX,
            },
            at,
            snap,
            steps: STEPS,
            bytes: MOST_BYTES,
        };
        let watching = trials.watch(&wanted).map_err(|error| error.to_string())?;
        let until = Instant::now() + Duration::from_millis(query.timeout_ms.min(LONGEST));
        match query.at {
            Place::Walk => {
                let is_over = || is_gone() || self.progress.is_stopping();
                walks(trials, watching, packets as usize, until, is_over)
            }
            // Where the gateway stops, nothing more is read from the peer, which looks as if it were gone; and workers drop what they hold: it
            // is over when they are. Asked in this order: the gateway says that it stops before it stops reading.
            _ => {
                let is_over = || is_gone() && !self.progress.is_stopping();
                frames(trials, watching, packets as usize, until, is_over)
            }
        }
    }
}

/// Collects whole walks.
fn walks(
    trials: &LiveTrials,
    mut watching: Watching,
    packets: usize,
    mut until: Instant,
    mut is_over: impl FnMut() -> bool,
) -> Result<Watched, String> {
    let mut seen: BTreeMap<Mark, Vec<Seen>> = BTreeMap::new();
    let mut whole: Vec<Vec<Seen>> = Vec::new();
    let mut is_done = false;
    while Instant::now() < until && !watching.is_over() && !is_over() {
        let Some(step) = watching.next_seen() else {
            let ended = seen.values().filter(|seen| has_ended(seen)).count();
            if whole.len() + ended >= packets && !is_done {
                is_done = true;
                until = until.min(Instant::now() + AFTERWARDS);
            }
            std::thread::sleep(LOOK_EVERY);
            continue;
        };
        let steps = seen.entry(step.step.packet).or_default();
        // Marks go round: where a walk is over, another packet begins.
        if matches!(step.step.fact, Fact::Received { .. }) && is_over_for_good(steps) {
            whole.push(std::mem::take(steps));
        }
        steps.push(step);
    }
    let (missed, replaced) = (watching.missed(), watching.is_over());
    let mut walks = whole;
    walks.extend(seen.into_values());
    // What was on its way when the watch began has no beginning.
    walks.retain(|seen| seen.iter().any(is_received));
    walks.sort_by_key(|seen| seen.first().map(|seen| seen.time));
    walks.truncate(packets);
    let walks = trials.look(move |tables, _| {
        let walked = walks.into_iter().map(|seen| walked(tables, &seen));
        walked.map(|walked| Report::of(&walked, tables)).collect()
    });
    Ok(Watched {
        version: VERSION,
        walks: walks.map_err(|error| error.to_string())?,
        frames: Vec::new(),
        missed,
        replaced,
    })
}

fn is_received(seen: &Seen) -> bool {
    matches!(seen.step.fact, Fact::Received { .. })
}

fn has_ended(seen: &[Seen]) -> bool {
    outcome(seen).is_some()
}

/// Whether the packet is gone: it neither waits nor goes on elsewhere.
fn is_over_for_good(seen: &[Seen]) -> bool {
    let goes_on = |outcome: &Outcome| matches!(outcome, Outcome::Held | Outcome::HandedOver(_));
    outcome(seen).is_some_and(|outcome| !goes_on(&outcome))
}

fn outcome(seen: &[Seen]) -> Option<Outcome> {
    let steps: Vec<Step> = seen.iter().map(|seen| seen.step.clone()).collect();
    Outcome::of(&steps)
}

/// The walk that these steps are.
fn walked(tables: &rewire_tables::Tables, seen: &[Seen]) -> Walked {
    let steps: Vec<Step> = seen.iter().map(|seen| seen.step.clone()).collect();
    let interface = steps.iter().find_map(|step| match &step.fact {
        Fact::Received { interface, .. } => Some(interface.to_string()),
        _ => None,
    });
    let interface = interface.unwrap_or_default();
    let index = tables.interfaces().find(|(_, i)| *i.name == *interface);
    let sent = seen.iter().filter_map(|seen| match &seen.step.fact {
        Fact::Next(Onward::Transmit(interface)) => Some((interface.clone(), seen.bytes.clone())),
        _ => None,
    });
    Walked {
        interface,
        ingress: index.map_or(rewire_tables::InterfaceIndex(u16::MAX), |(index, _)| index),
        frame: seen
            .first()
            .map(|seen| seen.bytes.clone())
            .unwrap_or_default(),
        walk: Walk {
            sent: sent.collect(),
            outcome: Outcome::of(&steps),
            steps,
        },
    }
}

/// Collects frames.
fn frames(
    trials: &LiveTrials,
    mut watching: Watching,
    packets: usize,
    until: Instant,
    mut is_over: impl FnMut() -> bool,
) -> Result<Watched, String> {
    let look = || trials.look(|tables, now| (names(tables), now));
    let (known, clock) = look().map_err(|error| error.to_string())?;
    let mut ports = Vec::new();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall = wall.map_or(0, |wall| wall.as_nanos() as u64);
    let mut frames = Vec::new();
    let mut bytes = 0;
    while frames.len() < packets && bytes < MOST_BYTES {
        // Asked first: what was seen last is there by then.
        let has_ended = watching.is_over();
        match watching.next_seen() {
            Some(seen) => {
                bytes += seen.bytes.len();
                let time_ns = wall.wrapping_add(seen.time.0.wrapping_sub(clock.0));
                frames.push(frame(&seen, time_ns));
                ports.push(seen.port);
            }
            None if Instant::now() >= until || has_ended || is_over() => break,
            None => std::thread::sleep(LOOK_EVERY),
        }
    }
    if ports.iter().any(Option::is_some) {
        // Interfaces may have come since; not where the gateway stops.
        let names = look().map_or(known, |(names, _)| names);
        for (frame, port) in frames.iter_mut().zip(&ports) {
            if let Some(AtPort { interface, leaves }) = port {
                frame.interface = names.get(interface).cloned().unwrap_or_default();
                frame.leaves = *leaves;
            }
        }
    }
    frames.sort_by_key(|frame: &Frame| frame.time_ns);
    Ok(Watched {
        version: VERSION,
        walks: Vec::new(),
        frames,
        missed: watching.missed(),
        replaced: watching.is_over(),
    })
}

/// The names of interfaces.
fn names(tables: &rewire_tables::Tables) -> BTreeMap<InterfaceIndex, String> {
    let names = tables.interfaces();
    names
        .map(|(index, i)| (index, i.name.to_string()))
        .collect()
}

fn frame(seen: &Seen, time_ns: u64) -> Frame {
    let (interface, leaves) = match &seen.step.fact {
        Fact::Received { interface, .. } => (interface.to_string(), false),
        Fact::Next(Onward::Transmit(interface)) => (interface.to_string(), true),
        _ => (String::new(), false),
    };
    Frame {
        time_ns,
        interface,
        leaves,
        length: seen.length,
        frame: hexadecimal(&seen.bytes),
        comment: match &seen.step.fact {
            Fact::Next(Onward::Node(node)) => Some(format!("on to {}", node.name())),
            fact @ Fact::Next(_) => crate::trace::words::words(fact),
            _ => None,
        },
        node: seen.step.node.name().to_owned(),
    }
}
