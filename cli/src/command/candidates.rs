use rewire_configdb::CandidateSummary;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::failure::Failure;
use crate::view;
use crate::when;

/// List the candidates of all users
///
/// Yours, which commands work on unless --candidate names another, has a star.
#[derive(clap::Args)]
pub(crate) struct Candidates {}

impl Candidates {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let candidates = context.open()?.candidates()?;
        if candidates.is_empty() {
            context.note("there are no candidates");
        }
        let own = context.candidate();
        Ok(context.shown(
            |_| text(&candidates, &own),
            || {
                let list = candidates.iter().map(to_json).collect::<Value>();
                json!({ "candidate": own, "candidates": list })
            },
        ))
    }
}

fn text(candidates: &[CandidateSummary], own: &str) -> String {
    if candidates.is_empty() {
        return String::new();
    }
    let mut rows = vec![["  candidate", "base", "rows", "author", "time"].map(Cell::word)];
    rows.extend(candidates.iter().map(|candidate| {
        let star = if candidate.name == own { "*" } else { " " };
        let rows = match candidate.has_drafts {
            true => format!("{}, not complete", view::short(candidate.counts)),
            false => view::short(candidate.counts),
        };
        [
            Cell::word(&format!("{star} {}", candidate.name)),
            Cell::word(&candidate.base.to_string()),
            Cell::word(&rows),
            Cell::word(&candidate.author),
            Cell::word(&when::local(candidate.updated_at)),
        ]
    }));
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(Vec::from).collect();
    columns(&rows).into_iter().map(|line| format!("{line}\n")).collect()
}

fn to_json(candidate: &CandidateSummary) -> Value {
    json!({
        "name": candidate.name,
        "base": candidate.base,
        "rows": view::counts_json(candidate.counts),
        "complete": !candidate.has_drafts,
        "author": candidate.author,
        "time": when::utc(candidate.updated_at),
    })
}
