//! What a configuration must pass, asked in one place: of documents (`load`, `check`), of the candidate (`check`) and of
//! every commit, inside its transaction.

use std::fmt;
use std::io::Read;
use std::path::Path;

use rewire_compiler::{CompileError, Compiler};
use rewire_configdb::{Checker, StateReader};
use rewire_schema::source::{self, LARGEST_DOCUMENT, Source};
use rewire_schema::{Changeset, Configuration, Problem, meaning};

use crate::failure::{Code, Failure};

/// Everything that is wrong with a configuration; none if it can be committed. What means something is also compiled, as
/// a gateway would: a revision that does not compile is never committed. Cost: the configuration.
fn problems(configuration: &Configuration) -> Vec<Problem> {
    let problems = meaning::check(configuration);
    if !problems.is_empty() {
        return problems;
    }
    match Compiler::compile(configuration.clone(), 0) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(problem).collect(),
    }
}

/// What keeps a configuration from being compiled, as a problem of its own place.
fn problem(error: &CompileError) -> Problem {
    let path = error.path().cloned().unwrap_or_default();
    let text = error.to_string();
    // The error begins with its path, and so does a problem.
    let message = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text);
    Problem::new(path, message)
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
    read.map_err(|error| {
        Failure::new(Code::UnreadableFile, format!("cannot read {name}: {error}"))
    })?;
    let source = source::read_shape(&name, &bytes)?;
    let problems = problems(&source.configuration);
    if problems.is_empty() {
        Ok(source)
    } else {
        Err(source.diagnose(problems).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_and_does_not_compile_is_a_problem_at_its_place() {
        // 65 537 addresses: one more than the gateway keeps account of.
        let document = "
vpcs: {inside: {}, outside: {}}
interfaces:
  lan: {vpc: inside, port: 'null:lan', mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24]}
  wan: {vpc: outside, port: 'null:wan', mac: '02:00:00:00:00:02', addresses: [192.0.2.1/24]}
nat:
  pools: {large: {vpc: outside, ranges: [198.18.0.0-198.19.0.0]}}
  masquerade: {out: {vpc: inside, interface: wan, pool: large, sources: [10.0.0.0/24]}}
";
        let source = source::read_shape("large.yaml", document.as_bytes()).unwrap();
        assert_eq!(
            meaning::check(&source.configuration),
            [],
            "it means something"
        );
        let problems = problems(&source.configuration);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].path.to_string(), "nat.pools.large");
        assert_eq!(
            problems[0].message,
            "the pool has 65537 addresses, at most 65536 are possible"
        );
        let text = source.diagnose(problems).render(false);
        assert!(text.contains("large.yaml:7:"), "{text}");
        assert!(
            check(&source.configuration).is_err(),
            "a commit is refused too"
        );
    }
}
