use rewire_configdb::{EntryKind, Scheduled as Waiting};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::failure::Failure;
use crate::history::first_line;
use crate::terminal::clean;
use crate::view;
use crate::when;
use crate::number::whole_number;

/// List the commits that wait for their time, or cancel one
///
/// `rewire commit --at` and `rewire rewind --at` make them. A running gateway commits them in time; without one, the next command that changes
/// anything does. One that was refused stays here, with the reason, until it is cancelled.
#[derive(clap::Args)]
pub(crate) struct Scheduled {
    /// Take the commit of this number away
    #[arg(long, value_name = "NUMBER", value_parser = whole_number::<u64>)]
    cancel: Option<u64>,
}

impl Scheduled {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        if let Some(id) = self.cancel {
            let cancelled = store.cancel(id)?;
            return Ok(context.done(
                || format!("scheduled commit {id} is cancelled\n"),
                || json!({ "cancelled": to_json(&cancelled) }),
            ));
        }
        let all = store.scheduled()?;
        if all.is_empty() {
            context.note("nothing is scheduled");
        }
        Ok(context.shown(|_| text(&all), || json!({ "scheduled": all.iter().map(to_json).collect::<Value>() })))
    }
}

fn text(all: &[Waiting]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let mut rows = vec![["number", "at", "base", "rows", "author", "message"].map(Cell::word)];
    rows.extend(all.iter().map(|one| {
        [
            Cell::word(&one.id.to_string()),
            Cell::word(&when::local(one.at)),
            Cell::word(&one.base.to_string()),
            Cell::word(&view::short(one.counts)),
            Cell::word(&one.author),
            Cell::word(&first_line(&one.message)),
        ]
    }));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(Vec::from).collect();
    let mut lines = columns(&rows).into_iter();
    let mut out: String = lines.next().into_iter().map(|line| format!("{line}\n")).collect();
    for (line, one) in lines.zip(all) {
        out.push_str(&format!("{line}\n"));
        if let Some((at, why)) = &one.failed {
            out.push_str(&format!("    refused at {}: {}\n", when::local(*at), clean(why)));
        }
    }
    out
}

fn to_json(one: &Waiting) -> Value {
    let of = match one.kind {
        EntryKind::Revert { of } => Some(of),
        _ => None,
    };
    json!({
        "number": one.id,
        "at": when::utc(one.at),
        "base": one.base,
        "of": of,
        "rows": view::counts_json(one.counts),
        "author": one.author,
        "message": one.message,
        "confirm": one.confirm.map(when::span),
        "refused_at": one.failed.as_ref().map(|(at, _)| when::utc(*at)),
        "refused": one.failed.as_ref().map(|(_, why)| why),
    })
}
