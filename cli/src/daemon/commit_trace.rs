//! A commit as one trace: from the command through check, durable commit, compile and publish, until it is live on each
//! worker.
//!
//! The trace's number is the start of the journal entry's hash, or that of the trace that the command was called in. The
//! gateway sees a commit in its store; the command, where it has not been told to leave at once, tells it where its own time
//! went. Whichever comes first waits for the other, for a moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rewire_configdb::Entry;

use super::progress::Steps;
use crate::trace_context::{CommandTimes, SpanId};
use crate::trace_id::TraceId;

/// How long what the gateway has seen waits for the command.
const PATIENCE: Duration = Duration::from_secs(1);
/// Revisions that wait, at most: those before are sent as they are.
const MOST_WAITING: usize = 256;

/// One step of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) id: SpanId,
    /// None where the trace begins with it.
    pub(crate) parent: Option<SpanId>,
    pub(crate) start: SystemTime,
    pub(crate) end: SystemTime,
}

/// A commit that is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitTrace {
    pub(crate) trace: TraceId,
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    pub(crate) author: String,
    pub(crate) message: String,
    /// The first one is the whole commit.
    pub(crate) spans: Vec<Span>,
}

/// What the gateway has seen of a commit.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) entry_trace: TraceId,
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    pub(crate) author: String,
    pub(crate) message: String,
    /// By the clock of whoever committed.
    pub(crate) committed_at: SystemTime,
    /// When it was live.
    pub(crate) live_at: SystemTime,
    pub(crate) steps: Steps,
    /// From the swap of the tables until each worker had left the old ones.
    pub(crate) workers: Vec<Duration>,
}

impl Seen {
    /// What an entry says, before anything else is known.
    pub(crate) fn of(entry: &Entry) -> Seen {
        let committed_at = u64::try_from(entry.committed_at).unwrap_or(0);
        Seen {
            entry_trace: TraceId::of(&entry.hash),
            revision: entry.revision,
            generation: 0,
            author: entry.author.clone(),
            message: entry.message.clone(),
            committed_at: UNIX_EPOCH + Duration::from_micros(committed_at),
            live_at: UNIX_EPOCH,
            steps: Steps::default(),
            workers: Vec::new(),
        }
    }
}

/// A span of a trace that has one of this name.
fn span(
    trace: TraceId,
    parent: Option<SpanId>,
    name: &str,
    start: SystemTime,
    end: SystemTime,
) -> Span {
    Span {
        name: name.to_owned(),
        id: SpanId::of(trace, name),
        parent,
        start,
        end: end.max(start),
    }
}

/// Puts together what both sides know; none where whoever called the command does not keep the trace.
fn join(seen: &Seen, command: Option<&CommandTimes>) -> Option<CommitTrace> {
    let parent = command.and_then(CommandTimes::parent);
    if parent.is_some_and(|parent| !parent.sampled) {
        return None;
    }
    let trace = parent.map_or(seen.entry_trace, |parent| parent.trace);
    let root = SpanId::of(trace, "commit");
    let nanoseconds = Duration::from_nanos;
    let mut spans = Vec::new();
    // What the command did, backwards from when it was done.
    let mut begin = seen.committed_at;
    if let Some(times) = command {
        let mut end = UNIX_EPOCH + nanoseconds(times.durable_at_ns);
        for (name, time) in times.steps().into_iter().rev() {
            let start = end.checked_sub(nanoseconds(time)).unwrap_or(UNIX_EPOCH);
            spans.push(span(trace, Some(root), name, start, end));
            end = start;
        }
        spans.reverse();
        begin = end;
    }
    // What the gateway did, backwards from when it was live.
    let mut end = seen.live_at;
    let mut own = Vec::new();
    for (name, time) in seen.steps.named().into_iter().rev() {
        // The commit's own time is that of its transaction, and the gateway cannot see it end: what lies between is not told
        // apart from what the command did then.
        let Some(time) = time.filter(|_| name != "noticed") else {
            continue;
        };
        let start = end.checked_sub(nanoseconds(time)).unwrap_or(UNIX_EPOCH);
        let step = span(trace, Some(root), name, start, end);
        if name == "live" {
            for (number, time) in seen.workers.iter().enumerate() {
                let name = format!("live on worker {number}");
                own.push(span(trace, Some(step.id), &name, start, start + *time));
            }
        }
        own.push(step);
        end = start;
    }
    own.reverse();
    let whole = Span {
        parent: parent.map(|parent| parent.span),
        ..span(trace, None, "commit", begin.min(end), seen.live_at)
    };
    Some(CommitTrace {
        trace,
        revision: seen.revision,
        generation: seen.generation,
        author: seen.author.clone(),
        message: seen.message.clone(),
        spans: [whole].into_iter().chain(spans).chain(own).collect(),
    })
}

#[derive(Debug, Default)]
struct Waiting {
    /// What the gateway has seen, and since when it waits.
    seen: BTreeMap<u64, (Seen, Instant)>,
    /// What commands have told of revisions that are not live yet.
    told: BTreeMap<u64, CommandTimes>,
    /// The last revision that was live.
    live: u64,
}

/// Commits of which one side has spoken.
#[derive(Debug, Default)]
pub(crate) struct Commits(Mutex<Waiting>);

impl Commits {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Entries are put in and taken out whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command says where its time went.
    pub(crate) fn told(&self, revision: u64, times: CommandTimes) {
        let mut waiting = self.waiting();
        let may_come = revision > waiting.live || waiting.seen.contains_key(&revision);
        if may_come && waiting.told.len() < MOST_WAITING {
            waiting.told.insert(revision, times);
        }
    }

    /// The trace of a commit, as far as is known now.
    pub(crate) fn trace_of(&self, revision: u64, entry_trace: TraceId) -> TraceId {
        let waiting = self.waiting();
        let parent = waiting.told.get(&revision).and_then(CommandTimes::parent);
        parent.map_or(entry_trace, |parent| parent.trace)
    }

    /// A commit is live.
    pub(crate) fn live(&self, seen: Seen) {
        let mut waiting = self.waiting();
        waiting.live = waiting.live.max(seen.revision);
        waiting.seen.insert(seen.revision, (seen, Instant::now()));
    }

    /// Takes out what both sides have spoken of, or what has waited long enough.
    pub(crate) fn finished(&self, now: Instant) -> Vec<CommitTrace> {
        let mut waiting = self.waiting();
        if waiting.seen.is_empty() {
            return Vec::new();
        }
        let too_many = waiting.seen.len().saturating_sub(MOST_WAITING);
        let is_finished = |(number, (revision, (_, since))): (usize, (&u64, &(Seen, Instant)))| {
            let is = number < too_many
                || now.saturating_duration_since(*since) >= PATIENCE
                || waiting.told.contains_key(revision);
            is.then_some(*revision)
        };
        let seen = waiting.seen.iter().enumerate();
        let finished: Vec<u64> = seen.filter_map(is_finished).collect();
        let mut traces = Vec::new();
        for revision in finished {
            let times = waiting.told.remove(&revision);
            if let Some((seen, _)) = waiting.seen.remove(&revision) {
                traces.extend(join(&seen, times.as_ref()));
            }
        }
        // Of what is live and gone, nobody hears any more.
        if waiting.seen.is_empty() {
            let live = waiting.live;
            waiting.told.retain(|revision, _| *revision > live);
        }
        traces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn seen(revision: u64) -> Seen {
        let at = |milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds);
        Seen {
            entry_trace: "ab".repeat(16).parse().unwrap(),
            revision,
            generation: 9,
            author: "anna".to_owned(),
            message: "a route".to_owned(),
            committed_at: at(1_005),
            live_at: at(1_100),
            steps: Steps {
                noticed_ns: Some(7_000_000),
                compile_ns: Some(10_000_000),
                publish_ns: Some(20_000_000),
                live_ns: Some(30_000_000),
            },
            workers: vec![Duration::from_millis(5), Duration::from_millis(29)],
        }
    }

    fn times(flags: &str) -> CommandTimes {
        CommandTimes {
            entry_trace: "ab".repeat(16).parse().unwrap(),
            traceparent: Some(format!("00-{TRACE}-00f067aa0ba902b7-{flags}")),
            lock_ns: 1_000_000,
            apply_ns: 2_000_000,
            check_ns: 3_000_000,
            durable_ns: 4_000_000,
            durable_at_ns: 1_010_000_000,
        }
    }

    /// A line for each span: its name, under which, and its times in ms.
    fn shown(trace: &CommitTrace) -> String {
        let name = |id: SpanId| {
            let span = trace.spans.iter().find(|span| span.id == id);
            span.map_or_else(|| id.to_string(), |span| span.name.clone())
        };
        let ms = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let line = |span: &Span| {
            let parent = span.parent.map_or("nothing".to_owned(), name);
            let (start, end) = (ms(span.start), ms(span.end));
            format!("{} under {parent}: {start} to {end}\n", span.name)
        };
        let lines: String = trace.spans.iter().map(line).collect();
        format!("{} of {}\n{lines}", trace.trace, trace.revision)
    }

    #[test]
    fn a_commit_is_one_trace_in_the_trace_that_its_command_was_called_in() {
        let commits = Commits::default();
        commits.told(3, times("01"));
        assert_eq!(commits.trace_of(3, seen(3).entry_trace).to_string(), TRACE);
        assert!(commits.finished(Instant::now()).is_empty(), "not live");
        commits.live(seen(3));
        let traces = commits.finished(Instant::now());
        insta::assert_snapshot!(shown(&traces[0]), @r"
        4bf92f3577b34da6a3ce929d0e0e4736 of 3
        commit under 00f067aa0ba902b7: 1000 to 1100
        lock under commit: 1000 to 1001
        apply under commit: 1001 to 1003
        check under commit: 1003 to 1006
        durable under commit: 1006 to 1010
        compile under commit: 1040 to 1050
        publish under commit: 1050 to 1070
        live under commit: 1070 to 1100
        live on worker 1 under live: 1070 to 1099
        live on worker 0 under live: 1070 to 1075
        ");
        assert!(commits.finished(Instant::now()).is_empty(), "once");
    }

    #[test]
    fn the_gateway_speaks_for_itself_where_no_command_does() {
        let commits = Commits::default();
        commits.live(seen(4));
        let now = Instant::now();
        assert!(commits.finished(now).is_empty(), "it may still be told");
        let traces = commits.finished(now + PATIENCE + PATIENCE);
        assert_eq!(traces[0].trace, seen(4).entry_trace);
        let whole = &traces[0].spans[0];
        assert_eq!((whole.parent, whole.start), (None, seen(4).committed_at));
        // Too late.
        commits.told(4, times("01"));
        assert!(commits.finished(now + 9 * PATIENCE).is_empty());
        assert!(commits.waiting().told.is_empty());
    }

    #[test]
    fn what_nobody_keeps_is_not_sent_and_what_waits_is_bounded() {
        let commits = Commits::default();
        commits.live(seen(1));
        commits.told(1, times("00"));
        assert!(commits.finished(Instant::now()).is_empty());
        assert!(commits.waiting().seen.is_empty());
        for revision in 2..2 + 2 * MOST_WAITING as u64 {
            commits.live(seen(revision));
        }
        let traces = commits.finished(Instant::now());
        assert_eq!(traces.len(), MOST_WAITING);
        assert_eq!(traces[0].revision, 2, "the oldest");
        for revision in 0..9 * MOST_WAITING as u64 {
            commits.told(10_000 + revision, times("01"));
        }
        assert_eq!(commits.waiting().told.len(), MOST_WAITING);
    }
}
