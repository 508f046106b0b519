//! Documents that are the configuration: applied once, or kept applied while a directory changes.
//!
//! A directory's documents are one configuration together ([`read_parts`]): every document is a part of it.

mod applied;
mod changes;
mod directory;
mod probation;
mod status;
mod watch;

use std::path::Path;

use rewire_configdb::{CommitRequest, Error};
use rewire_schema::source::{Parts, read_parts};
use rewire_schema::{Changeset, Configuration};
use serde_json::json;

pub(crate) use watch::{Options, watch};

use self::directory::Documents;
use crate::answer::Answer;
use crate::checker;
use crate::committing::{self, Confirm};
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::live::Wait;

/// How often a commit is tried again where somebody else was quicker.
const TRIES: usize = 10;

/// Who applies, and what they say about it.
pub(crate) struct Signature<'a> {
    pub(crate) author: &'a str,
    pub(crate) message: &'a str,
}

/// Makes a document, or those of a directory, the running configuration.
pub(crate) fn once(
    context: &Context,
    place: &Path,
    signature: &Signature<'_>,
    confirm: &Confirm,
    wait: &Wait,
) -> Result<Answer, Failure> {
    let waiting = context.waiting();
    waiting.step("reading the documents");
    let documents = directory::read(place)?;
    let count = documents.count();
    let parts = parts(documents)?;
    waiting.step("comparing them with the running configuration");
    let store = context.open_to_write()?;
    let (base, running) = store.head_and_configuration()?;
    let changeset = Changeset::between(&running, &parts.configuration);
    if changeset.is_empty() {
        return Ok(context.done(
            || format!("revision {base} says what the documents say: nothing was committed\n"),
            || json!({ "revision": base, "documents": count, "committed": false }),
        ));
    }
    // All that is wrong at once, before the store stops at the first.
    checker::check_edits(&store.reader(base)?, &changeset)
        .map_err(|failure| placed(failure, &parts))?;
    drop(waiting);
    let request = CommitRequest {
        // Who commits in the moment between reading and committing is merged with.
        merge: true,
        confirm: confirm.time(),
        ..request(base, &changeset, signature)
    };
    let extra = json!({ "documents": count, "committed": true });
    committing::commit(context, store, request, confirm.auto(), "", wait, extra)
        .map_err(|failure| placed(failure, &parts))
}

/// Reads the documents of a directory and checks all of them, as one configuration: that, and how many there are. If `full`, it
/// is compiled, too, as a gateway does when it starts.
pub(crate) fn read_checked(
    directory: &Path,
    full: bool,
) -> Result<(Configuration, usize), Failure> {
    let documents = directory::read(directory)?;
    let count = documents.count();
    let parts = parts(documents)?;
    let compiled = |configuration: &Configuration| match full {
        true => checker::compile(configuration.clone()),
        false => Ok(()),
    };
    let configuration = &parts.configuration;
    match checker::check(configuration).and_then(|()| compiled(configuration)) {
        Ok(()) => Ok((parts.configuration, count)),
        Err(refusal) => Err(Failure::Documents(parts.diagnose(refusal.0))),
    }
}

fn request<'a>(
    base: u64,
    changeset: &'a Changeset,
    signature: &Signature<'a>,
) -> CommitRequest<'a> {
    CommitRequest::new(base, changeset, signature.author, signature.message)
}

/// What was applied cannot be kept in mind.
fn cannot_keep(error: std::io::Error) -> Failure {
    let message = format!("cannot write what was applied beside the store: {error}");
    Failure::new(Code::Output, message)
}

/// The union of documents.
fn parts(documents: Documents) -> Result<Parts, Failure> {
    read_parts(documents.into_files()).map_err(Failure::Documents)
}

/// A failure that says what is wrong with a configuration, as one that says where that stands in the documents.
fn placed(failure: Failure, parts: &Parts) -> Failure {
    match failure {
        Failure::Problems { problems, .. } => Failure::Documents(parts.diagnose(problems)),
        other => other,
    }
}

/// The same of what the store says.
fn placed_error(error: Error, parts: &Parts) -> Failure {
    placed(error.into(), parts)
}
