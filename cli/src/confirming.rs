//! A commit that is confirmed by its probes: each is asked of the running gateway, over its live tables, until all pass or the
//! deadline has gone back.
//!
//! The deadline is the store's own, and was written with the commit. Whatever ends this process, the gateway goes back all the same.

use std::thread;
use std::time::Duration;

use rewire_configdb::{PendingConfirmation, Store};
use rewire_schema::model::ProbeRow;
use rewire_schema::state::Rows;
use rewire_schema::{Row, Table};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::checker;
use crate::context::Context;
use crate::daemon::walks::{MOST_PACKETS, OneWalk, Query, VERSION, Walks};
use crate::failure::{Code, Failure};
use crate::gateway::{self, Gateway, no_gateway};
use crate::probes::{self, Outcome};
use crate::terminal;
use crate::when;

/// How long to wait before failing probes are tried again: a neighbor answers, a routing daemon speaks, within some of these.
const AGAIN: Duration = Duration::from_millis(100);

/// What came of it.
pub(crate) enum Confirmed {
    /// All probes passed, so many, and the commit stays.
    ByProbes(usize),
    /// Somebody else confirmed it, or committed after it.
    ByOthers,
}

impl Confirmed {
    /// The line for people.
    pub(crate) fn text(&self, revision: u64) -> String {
        match self {
            Confirmed::ByProbes(count) => {
                format!(
                    "revision {revision} confirmed: {} in the gateway\n",
                    passed(*count)
                )
            }
            Confirmed::ByOthers => format!("revision {revision} was confirmed by somebody else\n"),
        }
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Confirmed::ByProbes(count) => json!({ "probes": count }),
            Confirmed::ByOthers => Value::Null,
        }
    }
}

/// What came of asking once.
pub(crate) enum Tried {
    /// It is confirmed.
    Confirmed(Confirmed),
    /// What is wrong still.
    Failed(String),
}

fn passed(count: usize) -> String {
    match count {
        1 => "its probe passes".to_owned(),
        count => format!("all {count} probes pass"),
    }
}

/// A commit that waits already, confirmed by its probes.
pub(crate) fn confirmed(
    context: &Context,
    pending: &PendingConfirmation,
) -> Result<Answer, Failure> {
    let revision = pending.revision;
    let confirmed = by_probes(context, pending)?;
    Ok(context.done(
        || confirmed.text(revision),
        || json!({ "revision": revision, "confirmed_by": confirmed.to_json() }),
    ))
}

/// The probes of a revision that are in effect.
fn probes_of(store: &Store, revision: u64) -> Result<Vec<ProbeRow>, Failure> {
    let rows = store.reader(revision)?.below(Table::Probe, &[])?;
    let probes = rows.into_iter().filter_map(|row| match row {
        Row::Probe(row) if !row.marks.deactivated() => Some(*row),
        _ => None,
    });
    Ok(probes.collect())
}

/// Refuses a commit that nothing would confirm: without a gateway, or with no probe after it.
pub(crate) fn expect_possible(context: &Context, has_probes: bool) -> Result<(), Failure> {
    if !has_probes {
        let message = "there are no probes that would confirm it";
        return Err(Failure::new(Code::WrongArguments, message).help(
            "`rewire set probes NAME …` makes one; without --auto, `rewire confirm` confirms",
        ));
    }
    match Gateway::connect(&context.socket()) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(no_gateway(&context.socket())),
        Err(error) => Err(Failure::new(Code::NoGateway, error.to_string())),
    }
}

/// Asks the running gateway for its probes until all pass, and confirms then; or waits until the deadline has gone back.
///
/// # Errors
///
/// [`Code::NotConfirmed`], with the walks of the probes that failed last, once the revision before is back.
pub(crate) fn by_probes(
    context: &Context,
    pending: &PendingConfirmation,
) -> Result<Confirmed, Failure> {
    let store = context.open()?;
    let revision = pending.revision;
    let probes = probes_of(&store, revision)?;
    let mut pending = pending.clone();
    let mut last: Option<Result<Vec<Outcome>, String>> = None;
    let waiting = context.waiting();
    waiting.step(&format!(
        "revision {revision}: waiting for {} probes",
        probes.len()
    ));
    loop {
        match store.pending_confirmation()? {
            // Somebody may have given it another deadline.
            Some(still) if still.revision == revision => pending = still,
            _ => {
                drop(waiting);
                return match store.head()? == revision {
                    true => Ok(Confirmed::ByOthers),
                    false if went_back(&store, &pending)? => Err(gone_back(&pending, last)),
                    false => Ok(Confirmed::ByOthers),
                };
            }
        }
        if now() >= pending.deadline {
            // A gateway goes back by itself; where it has died, this does.
            let mut store = context.open()?;
            store.settle(&mut checker::checker())?;
            continue;
        }
        let outcomes = live(context, &probes, Some(revision));
        if let Ok(outcomes) = &outcomes
            && outcomes.iter().all(Outcome::passes)
        {
            drop(waiting);
            return confirm(context, revision, outcomes.len());
        }
        last = Some(outcomes);
        thread::sleep(AGAIN);
    }
}

/// Asks the running gateway once for the probes of a commit that waits, and confirms it where all pass.
pub(crate) fn try_once(
    context: &Context,
    store: &Store,
    pending: &PendingConfirmation,
) -> Result<Tried, Failure> {
    let probes = probes_of(store, pending.revision)?;
    let outcomes = live(context, &probes, Some(pending.revision));
    match &outcomes {
        Ok(outcomes) if outcomes.iter().all(Outcome::passes) => {
            confirm(context, pending.revision, outcomes.len()).map(Tried::Confirmed)
        }
        _ => Ok(Tried::Failed(why(Some(outcomes)))),
    }
}

/// Confirms, if it is still this revision that waits.
fn confirm(context: &Context, revision: u64, probes: usize) -> Result<Confirmed, Failure> {
    let mut store = context.open()?;
    let waits = store
        .pending_confirmation()?
        .is_some_and(|pending| pending.revision == revision);
    if !waits {
        return Ok(Confirmed::ByOthers);
    }
    store.confirm()?;
    Ok(Confirmed::ByProbes(probes))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Whether what came after the revision is the way back from it.
fn went_back(store: &Store, pending: &PendingConfirmation) -> Result<bool, Failure> {
    let next = store.entry(pending.revision + 1)?;
    let back = rewire_configdb::EntryKind::Rewind {
        to: pending.back_to,
    };
    Ok(next.kind == back && next.author == rewire_configdb::AUTOMATIC_AUTHOR)
}

fn gone_back(pending: &PendingConfirmation, last: Option<Result<Vec<Outcome>, String>>) -> Failure {
    let mut message = format!(
        "revision {} is gone back from, to the state of revision {}: at {} ",
        pending.revision,
        pending.back_to,
        when::local(pending.deadline)
    );
    message.push_str(&why(last));
    Failure::new(Code::NotConfirmed, message)
        .detail("revision", pending.revision)
        .detail("back_to", pending.back_to)
}

/// Why it is not confirmed.
fn why(last: Option<Result<Vec<Outcome>, String>>) -> String {
    match last {
        None => "nobody had been asked yet".to_owned(),
        Some(Err(why)) => format!("the gateway could not be asked: {why}"),
        Some(Ok(outcomes)) => {
            let problems = probes::problems(&outcomes);
            let mut message = format!("{} of {} probes failed", problems.len(), outcomes.len());
            for problem in problems {
                message.push_str(&format!("\n{problem}"));
            }
            message
        }
    }
}

/// Tries probes over the live tables of the running gateway, with its neighbors and learned routes; if `revision` is said, those
/// of another one do not count.
pub(crate) fn live(
    context: &Context,
    probes: &[ProbeRow],
    revision: Option<u64>,
) -> Result<Vec<Outcome>, String> {
    let mut outcomes = Vec::new();
    for some in probes.chunks(MOST_PACKETS) {
        let packets = some.iter().map(|probe| probes::packet(probe).to_string());
        let query = Query {
            packets: packets.collect(),
        };
        let answer: Option<Walks> = gateway::ask(&context.socket(), "walks", &query, VERSION)?;
        let walks = answer.ok_or("no gateway is running")?.walks;
        for (probe, walk) in some.iter().zip(walks) {
            outcomes.push(match walk {
                OneWalk::Walked(report) => {
                    match revision.filter(|revision| *revision != report.revision) {
                        Some(_) => probes::untried(
                            probe,
                            &format!("the gateway is at revision {}", report.revision),
                        ),
                        None => probes::judge(probe, *report),
                    }
                }
                OneWalk::Refused(why) => probes::untried(probe, &why),
            });
        }
    }
    Ok(outcomes)
}

/// `rewire show probes`: what becomes of the probes of the running configuration. Where a gateway runs it is asked; without one they
/// walk over the tables of the last revision, and their neighbors are assumed.
pub(crate) fn show(context: &Context, words: &[String]) -> Result<Answer, Failure> {
    if let [word, ..] = words {
        let message = format!("\"{}\" is too much: show probes", terminal::clean(word));
        return Err(Failure::new(Code::WrongArguments, message));
    }
    let store = context.open()?;
    let revision = store.head()?;
    let is_live = matches!(Gateway::connect(&context.socket()), Ok(Some(_)));
    let outcomes = match is_live {
        true => {
            let outcomes = live(context, &probes_of(&store, revision)?, None);
            outcomes.map_err(|why| Failure::new(Code::Failed, why))?
        }
        false => {
            context.note("no gateway is running: neighbors are assumed to answer");
            probes::of_state(&store.reader(revision)?, revision)?
        }
    };
    Ok(context.shown(
        |_| probes::table(&outcomes),
        || {
            json!({
                "revision": revision,
                "live": is_live,
                "probes": outcomes.iter().map(Outcome::to_json).collect::<Vec<_>>(),
            })
        },
    ))
}
