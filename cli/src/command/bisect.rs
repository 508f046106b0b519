use rewire_configdb::{Entry, Store};
use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::bisect::{self, Found, Question, Tried};
use crate::context::Context;
use crate::difference;
use crate::failure::Failure;
use crate::history;
use crate::selection::Selection;
use crate::terminal::clean;
use crate::trace::packet_text::PacketText;
use crate::trace::{Asked, input, text};
use crate::view::{self, Revision};
use crate::wanted::Wanted;

/// Find the revision that broke what becomes of a packet
///
/// History is halved: the packet is tried under the revision in the middle, on the virtual dataplane, and so on in the half that
/// changed it. Said are the revision with its diff, and the packet's walk before and after it. Without --good, a revision
/// under which the packet did as wanted is looked for backwards: 1, 2, 4, 8 and so on before the bad one.
///
/// The two revisions that are named at the end stand one after the other, and the packet was tried under both. That there is only
/// one such place is assumed: where a packet's fate changed back and forth, another may have broken it, too.
///
/// No neighbor, learned route or connection is known: neighbors are assumed to answer.
#[derive(clap::Args)]
pub(crate) struct Bisect {
    /// The packet, like "in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn"
    #[arg(value_name = "PACKET", required = true)]
    packet: Vec<String>,
    /// What is to become of it: forwarded, answered, dropped [REASON], or out INTERFACE [via ADDRESS] [from ADDRESS] [to ADDRESS] [port PORT]
    #[arg(long, value_name = "WANTED")]
    want: Wanted,
    /// A revision under which it does [default: looked for backwards]
    #[arg(long, value_name = "REVISION", allow_negative_numbers = true, add = completion::revisions())]
    good: Option<Revision>,
    /// A revision under which it does not
    #[arg(long, value_name = "REVISION", default_value = "running", allow_negative_numbers = true, add = completion::revisions())]
    bad: Revision,
}

impl Bisect {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let packet: PacketText = input::packet(&self.packet.join(" "))?;
        let question = Question {
            asked: Asked::Text(Box::new(packet)),
            wanted: self.want,
        };
        let store = context.open()?;
        let good = self.good.map(|good| good.number(&store)).transpose()?;
        let bad = self.bad.number(&store)?;
        let waiting = context.waiting();
        waiting.step("trying the packet");
        let found = bisect::search(&store, &question, good, bad)?;
        drop(waiting);
        let (entry, changeset) = broke(&store, &found)?;
        let all = Selection::EVERYTHING;
        Ok(context.shown(
            |colour| {
                let mut page = history::heading(&entry, &[], colour);
                page.push_str(&difference::render(&changeset, &all, colour));
                for tried in [&found.before, &found.after] {
                    page.push_str(&format!("\n{}", walk(tried)));
                }
                page.push_str(&format!("\n{}", summary(&found)));
                page
            },
            || {
                let tried = |tried: &Tried| {
                    json!({ "revision": tried.revision, "found": tried.missed, "trace": tried.report })
                };
                json!({
                    "revision": entry.revision,
                    "entry": history::entry_to_json(&entry, &[]),
                    "changes": difference::to_json(&changeset, &all),
                    "wanted": question.wanted.to_string(),
                    "before": tried(&found.before),
                    "after": tried(&found.after),
                    "tried": found.tried.iter().map(|(revision, does)| json!({ "revision": revision, "does": does })).collect::<Vec<_>>(),
                })
            },
        ))
    }
}

/// The revision that broke it, and what it changed.
fn broke(store: &Store, found: &Found) -> Result<(Entry, rewire_schema::Changeset), Failure> {
    let entry = store.entry(found.after.revision)?;
    let changeset = view::changeset(&entry)?;
    Ok((entry, changeset))
}

/// What became of the packet under a revision, for people.
fn walk(tried: &Tried) -> String {
    let state = format!("revision {}", tried.revision);
    match &tried.report {
        Some(report) => text::page(report, &state),
        None => {
            let missed = tried.missed.as_deref().unwrap_or_default();
            format!("under {state}: {}\n", clean(missed))
        }
    }
}

/// What was looked at, and what was assumed.
fn summary(found: &Found) -> String {
    let bounds = found.tried.iter().map(|(revision, _)| *revision);
    let (first, last) = (bounds.clone().min(), bounds.max());
    format!(
        "tried under {} revisions between {} and {}; that it broke once among them is assumed\n",
        found.tried.len(),
        first.unwrap_or_default(),
        last.unwrap_or_default()
    )
}
