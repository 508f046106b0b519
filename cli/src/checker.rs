//! What a configuration must pass, asked in one place: of documents (`load`, `check`), of the candidate (`check`) and of
//! every commit, inside its transaction.

use std::fmt;
use std::io::Read;
use std::path::Path;

use rewire_configdb::{Checker, StateReader};
use rewire_schema::source::{self, LARGEST_DOCUMENT, Source};
use rewire_schema::{Changeset, Configuration, Problem, meaning};

use crate::failure::{Exit, Failure};

/// Everything that is wrong with a configuration; none if it can be committed.
fn problems(configuration: &Configuration) -> Vec<Problem> {
    meaning::check(configuration)
}

/// The checker of a commit.
pub(crate) fn checker() -> impl Checker {
    Whole
}

/// Checks the whole state, whatever the change. Cost: the configuration.
struct Whole;

impl Checker for Whole {
    fn check(
        &mut self,
        _revision: u64,
        state: &dyn StateReader,
        _changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(check(&state.configuration()?)?)
    }
}

/// A configuration that cannot be committed, and why.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Vec<Problem>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&texts.join("\n"))
    }
}

impl std::error::Error for Refusal {}

/// Checks a configuration that comes from no document.
pub(crate) fn check(configuration: &Configuration) -> Result<(), Refusal> {
    let problems = problems(configuration);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal(problems))
    }
}

/// What messages call a document.
pub(crate) fn document_name(file: &Path) -> String {
    if is_standard_input(file) {
        "<stdin>".to_owned()
    } else {
        file.display().to_string()
    }
}

fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// Reads and checks a document; `-` is standard input. Every error comes with its place in the text.
pub(crate) fn read_document(file: &Path) -> Result<Source, Failure> {
    let name = document_name(file);
    let mut bytes = Vec::new();
    // One byte more than is taken, so that what is too large is seen to be.
    let limit = LARGEST_DOCUMENT as u64 + 1;
    let read = if is_standard_input(file) {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::new(Exit::Input, format!("cannot read {name}: {error}")))?;
    let source = source::read_shape(&name, &bytes)?;
    let problems = problems(&source.configuration);
    if problems.is_empty() {
        Ok(source)
    } else {
        Err(source.diagnose(problems).into())
    }
}
