use std::path::PathBuf;

use rewire_configdb::{CommitRequest, Store};
use rewire_schema::Changeset;
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::committing::{self, Confirm, expect_complete};
use crate::confirming;
use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::live::Wait;
use crate::view;
use crate::when::{self, Moment};

/// Commit the candidate as the next revision
///
/// When the revision is printed it is durable. Where others committed since the candidate was made, the two are merged
/// field by field; what both changed, and not in the same way, is a conflict, and nothing is committed. Where a gateway
/// runs, the command then waits until its workers use the revision, and prints where the time went.
///
/// While a commit waits for its confirmation, a commit confirms it, and one with --confirm sets its time anew; neither
/// needs a candidate for that.
#[derive(clap::Args)]
pub(crate) struct Commit {
    /// What the change is for
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    #[command(flatten)]
    confirm: Confirm,
    /// Commit later, by itself: at 2026-11-21T18:00, at 18:00, or in +2h
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    /// Refuse, rather than merge, where others committed since
    #[arg(long)]
    no_merge: bool,
    /// Commit this document instead of the candidate, which is left alone; - for standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    load: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

/// What is committed.
struct Edits {
    base: u64,
    changeset: Changeset,
    /// The candidate that it uses up, and its version.
    candidate: Option<(String, u64)>,
}

impl Commit {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (store, edits) = match &self.load {
            Some(file) => load(context, file)?,
            None => {
                let store = context.open_to_write()?;
                match candidate(context, &store)? {
                    Some(edits) => (store, edits),
                    None => return self.without_edits(context, store),
                }
            }
        };
        let author = self.author.name();
        let request = CommitRequest {
            clear_candidate: edits.candidate.as_ref().map(|(name, _)| name.as_str()),
            candidate_version: edits.candidate.as_ref().map(|(_, version)| *version),
            merge: !self.no_merge,
            confirm: self.confirm.time(),
            ..CommitRequest::new(edits.base, &edits.changeset, &author, &self.message)
        };
        match self.at {
            Some(moment) => committing::schedule(context, store, request, self.confirm.auto(), moment),
            None => committing::commit(context, store, request, self.confirm.auto(), "", &self.wait, json!({})),
        }
    }

    /// Confirms the commit that waits for it, or gives it more time; there must be one.
    fn without_edits(&self, context: &Context, mut store: Store) -> Result<Answer, Failure> {
        let name = context.candidate();
        if store.pending_confirmation()?.is_none() || self.at.is_some() {
            if store.candidate(&name)?.is_some() {
                return Err(rewire_configdb::Error::NothingToCommit.into());
            }
            let message = "nothing to commit: there is no candidate";
            return Err(view::no_candidate(&name, &store, message));
        }
        let Some(time) = self.confirm.time() else {
            return super::confirm::confirm(context, store);
        };
        let pending = store.rearm_confirmation(time)?;
        if self.confirm.auto() {
            confirming::expect_possible(context, true)?;
            drop(store);
            return confirming::confirmed(context, &pending);
        }
        let (revision, back_to) = (pending.revision, pending.back_to);
        Ok(context.done(
            || {
                let deadline = when::local(pending.deadline);
                format!("revision {revision} goes back to revision {back_to} at {deadline}, unless it is confirmed\n")
            },
            || json!({ "revision": revision, "back_to": back_to, "confirm_by": when::utc(pending.deadline) }),
        ))
    }
}

/// The candidate's edits; none where there are none.
fn candidate(context: &Context, store: &Store) -> Result<Option<Edits>, Failure> {
    let name = context.candidate();
    let Some(candidate) = store.candidate(&name)? else {
        return Ok(None);
    };
    expect_complete(&name, &candidate)?;
    Ok(Some(Edits {
        base: candidate.base,
        changeset: candidate.changeset,
        candidate: Some((name, candidate.version)),
    })
    .filter(|edits| !edits.changeset.is_empty()))
}

/// What makes a document the running configuration.
fn load(context: &Context, file: &std::path::Path) -> Result<(Store, Edits), Failure> {
    let store = context.open_to_write()?;
    let waiting = context.waiting();
    let source = document::whole(file, &waiting)?;
    waiting.step("comparing it with the running configuration");
    let (base, running) = store.head_and_configuration()?;
    let changeset = Changeset::between(&running, &source.configuration);
    let edits = Edits {
        base,
        changeset,
        candidate: None,
    };
    Ok((store, edits))
}
