//! The revision that changed what becomes of a packet, found by halving the history on the virtual dataplane.
//!
//! One configuration is compiled, once. From one revision that is looked at to the next, its compiler and tables are changed as a
//! gateway's are: by the changesets in between, folded into one, or by their inverse. So a search through n revisions folds about n
//! changesets, whatever the size of the configuration.

use rewire_compiler::{Compiler, Errors};
use rewire_configdb::Store;
use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use rewire_tables::Tables;

use crate::failure::{Code, Failure};
use crate::trace::{self, Asked, Report};
use crate::wanted::Wanted;

/// A packet, and what is wanted of it.
pub(crate) struct Question {
    pub(crate) asked: Asked,
    pub(crate) wanted: Wanted,
}

/// What became of the packet under one revision.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) revision: u64,
    /// What came of it instead of what is wanted; none where that came of it.
    pub(crate) missed: Option<String>,
    /// Its walk; none where the revision has no interface that would receive it.
    pub(crate) report: Option<Report>,
}

/// Two revisions, one after the other: under the first the packet does as wanted, and under the second not.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) before: Tried,
    pub(crate) after: Tried,
    /// All that were tried, in order, and whether the packet did as wanted.
    pub(crate) tried: Vec<(u64, bool)>,
}

/// Looks for the revision after which a packet no longer does what is wanted: after `good`, and not after `bad`. Without a
/// good one, it is looked for backwards from the bad one, in steps that double.
///
/// If it changed more than once between the two, one of the changes to the worse is found.
///
/// Cost: one whole compile, and the changesets between the revisions, about twice.
///
/// # Errors
///
/// The packet does as wanted under the bad revision, or not under the good one; the revisions cannot be read or compiled.
pub(crate) fn search(
    store: &Store,
    question: &Question,
    good: Option<u64>,
    bad: u64,
) -> Result<Found, Failure> {
    let mut search = Search::begin(store, question, bad)?;
    let mut after = search.at(bad)?;
    if after.missed.is_none() {
        let message = format!(
            "under revision {bad} the packet is {}: nothing is broken",
            question.wanted
        );
        return Err(
            Failure::new(Code::Failed, message).help("name one under which it is not with --bad")
        );
    }
    let mut before = match good {
        Some(good) => search.at(good)?,
        None => search.backwards(&mut after)?,
    };
    if let Some(missed) = &before.missed {
        let message = format!(
            "under revision {} the packet is not {} either: it is {missed}",
            before.revision, question.wanted
        );
        return Err(
            Failure::new(Code::Failed, message).help("name one under which it is with --good")
        );
    }
    while after.revision - before.revision > 1 {
        let middle = search.at(before.revision.midpoint(after.revision))?;
        match middle.missed {
            None => before = middle,
            Some(_) => after = middle,
        }
    }
    Ok(Found {
        before,
        after,
        tried: search.tried,
    })
}

struct Search<'a> {
    store: &'a Store,
    question: &'a Question,
    compiler: Compiler,
    tables: Box<Tables>,
    /// The revision that both are of.
    revision: u64,
    tried: Vec<(u64, bool)>,
}

impl Search<'_> {
    fn begin<'a>(
        store: &'a Store,
        question: &'a Question,
        revision: u64,
    ) -> Result<Search<'a>, Failure> {
        let compiled = Compiler::compile(store.configuration_at(revision)?, revision);
        let (compiler, compiled) =
            compiled.map_err(|errors| does_not_compile(revision, &errors))?;
        let mut tables = Box::<Tables>::default();
        for operation in &compiled.operations {
            tables.apply(operation);
        }
        Ok(Search {
            store,
            question,
            compiler,
            tables,
            revision,
            tried: Vec::new(),
        })
    }

    /// Tries the packet under a revision.
    fn at(&mut self, revision: u64) -> Result<Tried, Failure> {
        if revision != self.revision {
            let changeset = self.store.changeset_between(self.revision, revision)?;
            let compiled = self.compiler.apply(revision, &changeset);
            let compiled = compiled.map_err(|errors| does_not_compile(revision, &errors))?;
            for operation in &compiled.operations {
                self.tables.apply(operation);
            }
            self.revision = revision;
        }
        let tables = &self.tables;
        let mut trial = Trial::new(Instant(0), true);
        let tried = match trace::walk(tables, &self.question.asked, &mut trial) {
            Ok(walked) => {
                let report = Report::of(&walked, tables);
                Tried {
                    revision,
                    missed: self.question.wanted.missed(&report),
                    report: Some(report),
                }
            }
            // Under this revision nobody receives it.
            Err(error) => Tried {
                revision,
                missed: Some(format!("not received: {error}")),
                report: None,
            },
        };
        self.tried.push((revision, tried.missed.is_none()));
        Ok(tried)
    }

    /// The nearest revision before a bad one under which the packet does as wanted, of those that are 1, 2, 4, 8… before it; the
    /// last bad one on the way takes the place of the first.
    fn backwards(&mut self, after: &mut Tried) -> Result<Tried, Failure> {
        let (bad, first) = (after.revision, self.store.first_state()?);
        let mut step = 1;
        loop {
            let revision = bad.saturating_sub(step).max(first);
            if revision >= after.revision {
                let message = format!(
                    "the packet is not {} under any revision that was tried, back to revision {revision}",
                    self.question.wanted
                );
                return Err(Failure::new(Code::Failed, message)
                    .help("name one under which it is with --good"));
            }
            let tried = self.at(revision)?;
            if tried.missed.is_none() {
                return Ok(tried);
            }
            *after = tried;
            step *= 2;
        }
    }
}

fn does_not_compile(revision: u64, errors: &Errors) -> Failure {
    let message = format!("revision {revision} does not compile with this program: {errors}");
    Failure::new(Code::Refused, message)
}
