//! What the verbs that commit have in common: how they are told, what they say, and waiting until it is live.

use std::time::Duration;

use jiff::Zoned;
use rewire_configdb::{Candidate, CommitRequest, Committed, Counts, Store};
use rewire_schema::edit::Edits;
use rewire_schema::state::{Overlay, Rows};
use rewire_schema::{Changeset, Table};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::checker;
use crate::confirming;
use crate::context::Context;
use crate::edit;
use crate::failure::{Code, Failure};
use crate::live::{self, Wait};
use crate::view::{self, milliseconds, nanoseconds, revisions};
use crate::when::{self, Moment, Span};

/// The most objects that are not complete that are named.
const MOST_NAMED: usize = 10;

/// Whether a commit must be confirmed.
#[derive(clap::Args)]
pub(crate) struct Confirm {
    /// Go back by itself after so long, unless `rewire confirm` or a later commit confirms it; 10m where no time is said
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10m")]
    confirm: Option<Span>,
    /// With --confirm: confirm it once all probes pass in the running gateway; else it goes back by itself
    #[arg(long, requires = "confirm")]
    auto: bool,
}

impl Confirm {
    /// After how long it goes back, if it does.
    pub(crate) fn time(&self) -> Option<Duration> {
        self.confirm.map(|span| span.0)
    }

    /// Whether its probes confirm it.
    pub(crate) fn auto(&self) -> bool {
        self.auto
    }
}

/// Commits, says so, and waits until a running gateway is live with it. `what` is how the line that says so goes on after
/// "revision 7 committed"; `extra` is what machines are told besides.
pub(crate) fn commit(
    context: &Context,
    mut store: Store,
    request: CommitRequest<'_>,
    auto: bool,
    what: &str,
    wait: &Wait,
    extra: Value,
) -> Result<Answer, Failure> {
    if auto {
        let base = store.reader(request.base)?;
        let probes = Overlay::new(&base, request.changeset).some_below(Table::Probe, &[], 1)?;
        confirming::expect_possible(context, !probes.is_empty())?;
    }
    let waiting = context.waiting();
    waiting.step("checking and committing");
    let committed = store.commit(request, &mut checker::checker())?;
    let changeset = committed.rebased.as_ref().unwrap_or(request.changeset);
    let counts = Counts::of(changeset);
    // Between the two somebody may have confirmed it already.
    let pending = match committed.deadline {
        Some(_) => store
            .pending_confirmation()?
            .filter(|p| p.revision == committed.revision),
        None => None,
    };
    drop(waiting);
    let (revision, durable) = (committed.revision, live::durable_time(&committed));
    context.say(&format!(
        "revision {revision} committed{what}  durable in {}\n",
        milliseconds(durable)
    ))?;
    if let Some(others) = &committed.merged {
        context.say(&format!("merged with {} of others\n", revisions(others)))?;
    }
    if let Some(pending) = &pending {
        context.say(&format!(
            "it goes back to revision {} at {}, unless `rewire confirm` confirms it\n",
            pending.back_to,
            when::local(pending.deadline)
        ))?;
    }
    warn(context, &store, revision, changeset);
    // A gateway need not wait for this process to let go of the store.
    drop(store);
    let live = wait.until_live(context, &committed)?;
    let confirmed = match &pending {
        Some(pending) if auto => {
            context.say(&live.text)?;
            Some(confirming::by_probes(context, pending)?)
        }
        _ => None,
    };
    Ok(context.done(
        || match &confirmed {
            Some(confirmed) => confirmed.text(revision),
            None => live.text,
        },
        || {
            let mut result = json!({
                "revision": revision,
                "rows": view::counts_json(counts),
                "merged": merged(&committed),
                "confirm_by": pending.as_ref().map(|pending| when::utc(pending.deadline)),
                "back_to": pending.as_ref().map(|pending| pending.back_to),
                "durable_ns": nanoseconds(durable),
                "live": live.answer,
            });
            if let Some(confirmed) = &confirmed {
                result["confirmed_by"] = confirmed.to_json();
            }
            if let (Some(result), Value::Object(extra)) = (result.as_object_mut(), extra) {
                result.extend(extra);
            }
            result
        },
    ))
}

/// Puts a commit off that would be let through now.
pub(crate) fn schedule(
    context: &Context,
    mut store: Store,
    request: CommitRequest<'_>,
    auto: bool,
    moment: Moment,
) -> Result<Answer, Failure> {
    if auto {
        let message =
            "nobody would be there to try the probes: --auto confirms what is committed now";
        return Err(Failure::new(Code::WrongArguments, message));
    }
    let now = Zoned::now();
    let at = moment.microseconds(&now).ok_or_else(|| {
        Failure::new(
            Code::WrongArguments,
            "there is no such time in the calendar",
        )
    })?;
    if at <= now.timestamp().as_microsecond() {
        let message = format!("{} is in the past", when::local(at));
        return Err(
            Failure::new(Code::WrongArguments, message).help("without --at it is committed now")
        );
    }
    store.check(request, &mut checker::checker())?;
    let id = store.schedule(request, at)?;
    Ok(context.done(
        || {
            format!(
                "scheduled commit {id} at {}: `rewire scheduled` lists it\n",
                when::local(at)
            )
        },
        || json!({ "scheduled": id, "at": when::utc(at) }),
    ))
}

/// Says what is odd about what was committed. The commit stands, whatever comes of this.
pub(crate) fn warn(context: &Context, store: &Store, revision: u64, changeset: &Changeset) {
    let Ok(rows) = store.reader(revision) else {
        return;
    };
    match rewire_compiler::warnings_of_change(&rows, changeset) {
        Ok(warnings) => warnings
            .iter()
            .for_each(|warning| context.note(&format!("warning: {warning}"))),
        Err(error) => context.note(&format!("nobody looked for what is odd: {error}")),
    }
}

/// The revisions of others that were merged with, the first and the last.
fn merged(committed: &Committed) -> Value {
    match &committed.merged {
        Some(others) => json!([others.start(), others.end()]),
        None => Value::Null,
    }
}

/// Refuses a candidate with objects that are not complete: they would be left out in silence.
pub(crate) fn expect_complete(name: &str, candidate: &Candidate) -> Result<(), Failure> {
    if candidate.drafts.is_empty() {
        return Ok(());
    }
    let edits = Edits::new(Changeset::default(), &candidate.drafts)?;
    let incomplete = edits.incomplete();
    let mut sentences: Vec<String> = incomplete
        .iter()
        .take(MOST_NAMED)
        .map(ToString::to_string)
        .collect();
    if incomplete.len() > MOST_NAMED {
        sentences.push(format!("and {} more", incomplete.len() - MOST_NAMED));
    }
    let message = format!("candidate \"{name}\": {}", sentences.join("; "));
    Err(Failure::new(Code::Incomplete, message)
        .help("give what is missing with `rewire set`, or delete the objects")
        .detail("incomplete", edit::incomplete_to_json(&incomplete)))
}
