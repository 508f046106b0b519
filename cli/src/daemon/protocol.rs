//! What is asked on the socket, and what is answered: one JSON object a line, each way.
//!
//! - `{"request":"follow","revision":N,"timeout_ms":T}` is answered when revision N is live, with the times of its steps
//!   the ports that could not be opened, and what became of connections where it changed the policy (null otherwise, and where a
//!   later revision has changed it again); or says what is late. Without a time-out it waits as long as the peer does. It also is the kick: the gateway looks
//!   at its store at once.
//!   A command that has committed the revision says in `command` where its own time went, and the trace that it was called in.
//! - `{"request":"routes","vpc":V,"within":PREFIX,"matching":ADDRESS,"most":N}`, all of it optional, is answered with
//!   [`Routes`](super::routes::Routes).
//! - `{"request":"acls","acl":NAME,"most":N}`, all of it optional, is answered with [`Rules`](super::rules::Rules).
//! - `{"request":"connections","filter":{…},"sort":S,"most":N,"talkers":B}`, all of it optional, is answered with
//!   [`Connections`](super::connections::Connections).
//! - `{"request":"nat","name":NAME}`, the name optional, is answered with [`Nat`](super::nat::Nat).
//! - `{"request":"clear_connections","filter":{…}}` ends the connections that are meant, and is answered with
//!   [`Cleared`](super::connections::Cleared).
//! - `{"request":"metrics"}` is answered with all [metrics](super::metrics::to_json).
//! - `{"request":"trace","packet":TEXT,"resolve":R,"reply":R}`, or with `frame` and `interface` in place of the packet, is answered
//!   with [`Traced`](super::trace::Traced).
//! - `{"request":"watch","filter":PROGRAM,"at":…,"packets":N,"timeout_ms":T,"snap":B}` watches the gateway's own packets, and is answered
//!   with [`Watched`](super::watch::Watched) when there are enough, or the time is up.
//! - `{"request":"walks","packets":[P,…]}` is answered with [`Walks`](super::walks::Walks): where packets would go now.
//! - `{"request":"record","filter":PROGRAM,"one_of":N,"snap":B}` records what the gateway receives and sends. It is answered with
//!   [`Began`](super::record::Began), and then line by line with [`More`](super::record::More), until the peer says no more; what
//!   there is by then is said still, and how it ended.
//! - `{"request":"status"}` is answered with [`Status`](super::status::Status).
//! - `{"request":"recent"}` is answered with [`Columns`](super::recent::Columns): the rates of the last minutes.
//! - Whatever else is answered with `{"error":"…"}`.

use std::time::{Duration, Instant};

use rewire_dataplane::Resolved;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Daemon;
use super::progress::{Live, Outcome};
use super::routes::Query;
use super::{connections, metrics, nat, record, rules, trace, walks, watch};
use crate::trace_context::CommandTimes;

/// How long whoever waits for a revision waits for its connections besides.
const RESOLVED_WITHIN: Duration = Duration::from_secs(1);
/// How often it looks how many are left.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A request.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Follow {
        revision: u64,
        #[serde(default)]
        timeout_ms: Option<u64>,
        /// Where the time of the command went that has committed it, and the trace that it was called in.
        #[serde(default)]
        command: Option<CommandTimes>,
    },
    Status {},
    Metrics {},
    Recent {},
    Routes(Query),
    Acls(rules::Query),
    Connections(connections::Query),
    Nat(nat::Query),
    ClearConnections(connections::Clear),
    Trace(trace::Query),
    Watch(watch::Query),
    Walks(walks::Query),
    /// Answered with many lines.
    Record(record::Query),
}

impl Request {
    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Result<Request, String> {
        serde_json::from_slice(line).map_err(|error| format!("the request cannot be read: {error}"))
    }

    /// Answers; none where the peer has gone away meanwhile, as `is_gone` says.
    pub(crate) fn answer(self, daemon: &Daemon, is_gone: impl FnMut() -> bool) -> Option<Value> {
        match self {
            Request::Follow {
                revision,
                timeout_ms,
                command,
            } => {
                if let Some(command) = command {
                    told(daemon, revision, command);
                }
                follow(daemon, revision, timeout_ms, is_gone)
            }
            Request::Status {} => {
                let status = serde_json::to_value(daemon.status());
                Some(status.unwrap_or_else(|error| refusal(&error.to_string())))
            }
            Request::Metrics {} => Some(metrics::to_json(&metrics::snapshot(daemon))),
            Request::Recent {} => Some(answer(Ok(daemon.recent.columns()))),
            Request::Routes(query) => Some(answer(daemon.routes(query))),
            Request::Acls(query) => Some(answer(daemon.rules(&query))),
            Request::Connections(query) => Some(answer(daemon.connections(&query))),
            Request::Nat(query) => Some(answer(daemon.nat(&query))),
            Request::Trace(query) => Some(answer(daemon.trace(&query))),
            Request::Watch(query) => Some(answer(daemon.watch(&query, is_gone))),
            Request::Walks(query) => Some(answer(daemon.walks(&query))),
            Request::Record(_) => Some(refusal("a recording has a connection of its own")),
            Request::ClearConnections(clear) => Some(answer(daemon.clear_connections(&clear))),
        }
    }
}

fn answer<T: Serialize>(found: Result<T, String>) -> Value {
    let value = found.and_then(|found| serde_json::to_value(found).map_err(|e| e.to_string()));
    value.unwrap_or_else(|why| refusal(&why))
}

/// What a request gets that is none.
pub(crate) fn refusal(why: &str) -> Value {
    json!({ "error": why })
}

fn follow(
    daemon: &Daemon,
    revision: u64,
    timeout_ms: Option<u64>,
    is_gone: impl FnMut() -> bool,
) -> Option<Value> {
    daemon.kick();
    // A time-out beyond the clock's end is none.
    let deadline = timeout_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    Some(
        match daemon.progress.wait_for(revision, deadline, is_gone) {
            Outcome::Live(live) => json!({
                "revision": live.revision,
                "live": true,
                "generation": live.generation,
                "trace_id": live.trace_id,
                "steps": live.steps,
                "workers": daemon.shared.workers(),
                "closed_ports": closed_ports(daemon),
                "connections": resolved(daemon, live, deadline),
            }),
            Outcome::Late { steps, late, why } => json!({
                "revision": revision,
                "live": false,
                "steps": steps,
                "late": late,
                "error": why,
            }),
            Outcome::Gone => return None,
        },
    )
}

/// Notes what a command says of its commit.
fn told(daemon: &Daemon, revision: u64, command: CommandTimes) {
    if let Some(trace) = command.trace() {
        for (step, nanoseconds) in command.steps() {
            daemon.commit_steps.observe_one(step, nanoseconds, trace);
        }
    }
    daemon.commits.told(revision, command);
}

/// What became of connections under a revision that changed the policy, once all of them have been looked at; or so far, when
/// the wait has been long enough. Workers take about a second for a million under full load.
fn resolved(daemon: &Daemon, live: Live, deadline: Option<Instant>) -> Value {
    let patience = Instant::now() + RESOLVED_WITHIN;
    let until = deadline.map_or(patience, |deadline| deadline.min(patience));
    loop {
        let resolved = daemon.shared.resolved(live.revision);
        let Some(resolved) = resolved.filter(|_| live.policy) else {
            return Value::Null;
        };
        if resolved.left == 0 || Instant::now() >= until || daemon.progress.is_stopping() {
            let Resolved {
                kept,
                ended,
                ended_in_card,
                left,
            } = resolved;
            return json!({
                "kept": kept, "ended": ended, "ended_in_card": ended_in_card, "left": left,
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The ports that are not open, and why: what a commit should not leave unsaid.
fn closed_ports(daemon: &Daemon) -> Vec<Value> {
    let ports = daemon.shared.ports().into_iter().map(|(_, port)| port);
    let closed = ports.filter_map(|port| {
        let problem = port.problem?;
        Some(json!({ "interface": port.interface, "port": port.port, "problem": problem }))
    });
    closed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_and_all_else_is_refused() {
        let follow = Request::read(br#"{"request":"follow","revision":3}"#).unwrap();
        assert_eq!(
            follow,
            Request::Follow {
                revision: 3,
                timeout_ms: None,
                command: None,
            }
        );
        assert_eq!(
            Request::read(br#"{"request":"status"}"#).unwrap(),
            Request::Status {}
        );
        let routes = br#"{"request":"routes","vpc":"blue","within":"10.0.0.0/8"}"#;
        let query = Query {
            vpc: Some("blue".to_owned()),
            within: Some("10.0.0.0/8".parse().unwrap()),
            ..Query::default()
        };
        assert_eq!(Request::read(routes).unwrap(), Request::Routes(query));
        for bad in [
            "",
            "{",
            "[]",
            "3",
            "{}",
            r#"{"request":"shutdown"}"#,
            r#"{"request":"follow"}"#,
            r#"{"request":"follow","revision":-1}"#,
            r#"{"request":"follow","revision":1.5}"#,
            r#"{"request":"follow","revision":1,"extra":1}"#,
            r#"{"request":"routes","within":"10.0.0.0/33"}"#,
            r#"{"request":"routes","extra":1}"#,
            r#"{"request":"acls","acl":1}"#,
            "\u{0}",
        ] {
            let why = Request::read(bad.as_bytes()).unwrap_err();
            assert!(
                why.starts_with("the request cannot be read: "),
                "{bad}: {why}"
            );
        }
    }
}
