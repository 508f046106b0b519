//! What a configuration must pass, asked in one place: of documents (`load`, `check`), of the candidate (`check`) and of
//! every commit, inside its transaction.
//!
//! What means something, and uses nothing that this dataplane cannot do yet, compiles: a property test of the compiler
//! holds the two together. So a commit is not compiled to be checked, and its check costs what it changes.

use std::fmt;

use rewire_compiler::{CompileError, Compiler, not_yet};
use rewire_configdb::{Checker, StateReader};
use rewire_schema::state::{Overlay, Rows, StateError};
use rewire_schema::{Changeset, Configuration, Path, Problem, Row, Table, meaning};
use rewire_tables::Tables;

use crate::failure::Failure;
use crate::probes;
use crate::trace::touched::TouchedError;

/// Everything that is wrong with a configuration; none if it can be committed. Cost: the configuration.
fn problems(configuration: &Configuration) -> Vec<Problem> {
    let mut problems = meaning::check(configuration);
    let effective = configuration.effective();
    problems.extend(effective.rows().filter_map(|row| not_yet(&row)));
    if problems.is_empty() {
        problems = match (effective.intent.is_empty(), effective.probe.is_empty()) {
            (true, true) => problems,
            (true, false) => {
                astray(configuration).unwrap_or_else(|error| vec![at(&Path::default(), &error)])
            }
            (false, no_probes) => disproven(configuration.clone(), !no_probes),
        };
    }
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

/// The probes of a state that fail. Cost: what they touch of it.
fn astray(state: &dyn Rows) -> Result<Vec<Problem>, StateError> {
    match probes::of_state(state, 0) {
        Ok(outcomes) => Ok(probes::problems(&outcomes)),
        Err(TouchedError::Compile(errors)) => Ok(errors.iter().map(problem).collect()),
        Err(TouchedError::State(error)) => Err(error),
    }
}

/// The intents that are not proven, and the probes that fail where that is asked, over the same tables. Cost: the configuration, the
/// proofs and the walks.
fn disproven(configuration: Configuration, probes: bool) -> Vec<Problem> {
    let (compiler, compiled) = match Compiler::compile(configuration, 0) {
        Ok(compiled) => compiled,
        Err(errors) => return errors.iter().map(problem).collect(),
    };
    let broken = compiler.prove();
    let mut problems: Vec<Problem> = broken
        .iter()
        .map(|broken| at(broken.path(), broken))
        .collect();
    if probes && !compiler.configuration().probe.is_empty() {
        let mut tables = Box::<Tables>::default();
        for operation in &compiled.operations {
            tables.apply(operation);
        }
        problems.extend(probes::problems(&probes::run(
            compiler.configuration(),
            &tables,
        )));
    }
    problems
}

/// Whether a change may break an intent, or make one: what has to do with who gets where, and not with how fast, for how long,
/// or who is told.
fn touches_intents(changeset: &Changeset) -> bool {
    changeset.iter().any(|change| {
        !matches!(
            change.row(),
            Row::Conntrack(_)
                | Row::Neighbor(_)
                | Row::Policer(_)
                | Row::Shaper(_)
                | Row::Exporter(_)
                | Row::Probe(_)
        )
    })
}

/// What keeps a configuration from being compiled, as a problem of its own place.
fn problem(error: &CompileError) -> Problem {
    at(&error.path().cloned().unwrap_or_default(), error)
}

/// An error that begins with its path, as a problem, which does so by itself.
fn at(path: &Path, error: &impl fmt::Display) -> Problem {
    let text = error.to_string();
    let message = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text);
    Problem::new(path.clone(), message)
}

/// The checker of a commit. Cost: the change; where there are probes, and the change may have to do with one, what they touch;
/// where there are intents, and it may have to do with one, the configuration, which is compiled for them.
pub(crate) fn checker() -> impl Checker {
    OfChange
}

struct OfChange;

impl Checker for OfChange {
    fn check(
        &mut self,
        _revision: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let problems = meaning::check_change_and(state, changeset, &not_yet)?;
        refuse(problems)?;
        let has = |table| state.some_below(table, &[], 1).map(|rows| !rows.is_empty());
        let intents = touches_intents(changeset) && has(Table::Intent)?;
        let probes = probes::touches(changeset) && has(Table::Probe)?;
        if intents {
            // The proofs need all of it, and what is compiled for them does for the probes.
            refuse(disproven(state.configuration()?, probes))?;
        } else if probes {
            refuse(astray(state)?)?;
        }
        Ok(())
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

fn refuse(problems: Vec<Problem>) -> Result<(), Refusal> {
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Refusal(problems))
    }
}

/// Checks edits on top of a committed state, all at once, but for intents and probes, which a commit asks about by itself. Cost: the edits
/// and what depends on them. It finds what [`check`] finds in the state that they lead to, as the committed state has no
/// problems.
pub(crate) fn check_edits(base: &dyn Rows, edits: &Changeset) -> Result<(), Failure> {
    let problems = meaning::check_change_and(&Overlay::new(base, edits), edits, &not_yet)?;
    Ok(refuse(problems)?)
}

/// Checks a whole configuration that comes from no document. Cost: the configuration.
pub(crate) fn check(configuration: &Configuration) -> Result<(), Refusal> {
    refuse(problems(configuration))
}

/// Compiles a whole configuration, as a gateway does when it starts. Cost: the configuration.
pub(crate) fn compile(configuration: Configuration) -> Result<(), Refusal> {
    match Compiler::compile(configuration, 0) {
        Ok(_) => Ok(()),
        Err(errors) => Err(Refusal(errors.iter().map(problem).collect())),
    }
}

#[cfg(test)]
mod tests {
    use rewire_schema::source::{self, Source};

    use super::*;

    const TWO_INTERFACES: &str = "
vpcs: {inside: {}, outside: {}}
interfaces:
  lan: {vpc: inside, port: 'null:lan', mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24]}
  wan: {vpc: outside, port: 'null:wan', mac: '02:00:00:00:00:02', addresses: [192.0.2.1/24]}
";

    fn problems_of(rest: &str) -> (Source, Vec<Problem>) {
        let document = format!("{TWO_INTERFACES}{rest}");
        let source = source::read_shape("document.yaml", document.as_bytes()).unwrap();
        let problems = problems(&source.configuration);
        (source, problems)
    }

    #[test]
    fn what_this_dataplane_cannot_do_yet_is_a_problem_at_its_place() {
        let (source, problems) = problems_of("policers: {slow: {rate: 10M}}");
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(
            texts,
            ["policers.slow: policers are not in this dataplane yet"]
        );
        assert!(check(&source.configuration).is_err());
        let text = source.diagnose(problems).render(false);
        assert!(text.contains("document.yaml:6:"), "{text}");
    }

    #[test]
    fn what_is_deactivated_may_be_what_this_dataplane_cannot_do_yet() {
        let (_, problems) = problems_of("policers: {slow: {rate: 10M, deactivated: true}}");
        assert_eq!(problems, []);
    }

    #[test]
    fn a_pool_that_is_too_large_is_a_problem_before_it_is_compiled() {
        // 65 537 addresses: one more than the gateway keeps account of.
        let large = "nat: {pools: {large: {vpc: outside, ranges: [198.18.0.0-198.19.0.0]}}}";
        let (_, problems) = problems_of(large);
        let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
        let expected = "nat.pools.large: the pool has 65537 addresses, at most 65536 are possible";
        assert_eq!(texts, [expected]);
    }

    #[test]
    fn what_is_good_compiles() {
        let (source, problems) = problems_of("");
        assert_eq!(problems, []);
        assert!(compile(source.configuration).is_ok());
    }
}
