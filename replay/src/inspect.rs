//! The checks of a revision, each from what it needs. What is found wrong is one line, and more about it.

use std::sync::Arc;
use std::time::Duration;

use rewire_compiler::Compiler;
use rewire_dataplane::{Change, VirtualGateway, route_sources};
use rewire_journal::{Entry, StateDigest};
use rewire_schema::Configuration;
use rewire_tables::{Tables, TablesDigest};

/// The most lines of a difference that are shown.
pub(crate) const MOST_LINES: usize = 10;

/// What is wrong, in one line, and more about it.
pub(crate) type Found = (String, Vec<String>);

/// Law 3: the digest that is kept up is the one on record.
pub(crate) fn state(kept_up: StateDigest, entry: &Entry) -> Result<(), Found> {
    if kept_up == entry.state_digest {
        return Ok(());
    }
    let message = "the state is not the one that the journal says".to_owned();
    let details = format!(
        "expected {}, found {}",
        entry.state_digest.short(),
        kept_up.short()
    );
    Err((message, vec![details]))
}

/// Law 3: the digest that is kept up is the one of all rows. Cost: the rows.
pub(crate) fn recounted(state: &Configuration, kept_up: StateDigest) -> Result<(), Found> {
    let recounted = StateDigest::of(state);
    if kept_up == recounted {
        return Ok(());
    }
    let message = "the state's digest is not that of its rows".to_owned();
    let details = format!("kept up {}, counted {}", kept_up.short(), recounted.short());
    Err((message, vec![details]))
}

/// Law 4: the tables, which have this digest, are those that the whole state compiles to, with the routes that were learned. Cost: the
/// state.
pub(crate) fn tables(
    (gateway, digest): (&VirtualGateway, Option<TablesDigest>),
    state: Arc<Configuration>,
    revision: u64,
) -> Result<(), Found> {
    let sources = route_sources(&state);
    let whole = match Compiler::compile(state, revision) {
        Ok((_, compiled)) => compiled,
        Err(errors) => {
            let message = "the change compiles, but the whole state does not".to_owned();
            return Err((message, vec![errors.to_string()]));
        }
    };
    let mut change = Change::from(whole.into_parts());
    change.sources = Some(sources);
    let expected = gateway.tables_from(change);
    if digest == Some(expected.digest()) {
        return Ok(());
    }
    let found = gateway
        .with_tables(Tables::canonical_lines)
        .unwrap_or_default();
    let expected = expected.canonical_lines();
    let (has, lacks) = differing(&found, &expected);
    let lines = |mark: &str, lines: Vec<&String>| -> Vec<String> {
        let more = lines.len().saturating_sub(MOST_LINES);
        let shown = lines
            .iter()
            .take(MOST_LINES)
            .map(|line| format!("{mark} {line}"));
        let mut shown: Vec<String> = shown.collect();
        if more > 0 {
            shown.push(format!("{mark} … and {more} more"));
        }
        shown
    };
    let mut details = lines("-", lacks);
    details.extend(lines("+", has));
    let message =
        "the tables that changes have led to (+) are not those of the whole state (-)".to_owned();
    Err((message, details))
}

/// The lines that only the one, and only the other has. Both are sorted.
fn differing<'a>(a: &'a [String], b: &'a [String]) -> (Vec<&'a String>, Vec<&'a String>) {
    let only = |a: &'a [String], b: &[String]| -> Vec<&'a String> {
        a.iter()
            .filter(|line| b.binary_search(line).is_err())
            .collect()
    };
    (only(a, b), only(b, a))
}

/// Every intent is proven.
pub(crate) fn intents(compiler: &Compiler) -> Result<(), Found> {
    let broken = compiler.prove();
    if broken.is_empty() {
        return Ok(());
    }
    let message = match broken.len() {
        1 => "an intent is not proven".to_owned(),
        number => format!("{number} intents are not proven"),
    };
    Err((message, broken.iter().map(ToString::to_string).collect()))
}

/// What is wanted becomes of every probe.
pub(crate) fn probes(missed: Vec<String>) -> Result<(), Found> {
    let message = match missed.len() {
        0 => return Ok(()),
        1 => "a probe fails".to_owned(),
        number => format!("{number} probes fail"),
    };
    let lines = missed.iter().flat_map(|missed| missed.lines());
    Err((message, lines.map(str::to_owned).collect()))
}

/// A budget of time.
pub(crate) fn time(taken: Duration, budget: Duration, what: &str) -> Result<(), Found> {
    if taken <= budget {
        return Ok(());
    }
    let details = format!("{taken:.1?}, and may take {budget:?}");
    Err((format!("it took too long {what}"), vec![details]))
}

/// A budget of memory: what routes and ACLs take, in both halves. Cost: the VPCs and ACLs.
pub(crate) fn tables_memory(gateway: &VirtualGateway, budget: u64) -> Result<(), Found> {
    let one = gateway.with_tables(|tables| {
        let vpcs: usize = tables.vpcs().map(|(_, vpc)| vpc.memory()).sum();
        let acls: usize = tables.acls().map(|(_, acl)| acl.memory()).sum();
        vpcs + acls
    });
    within(2 * one.unwrap_or(0) as u64, budget, "the tables take")
}

/// A budget of memory: the most that the process has had so far.
pub(crate) fn resident_memory(budget: u64) -> Result<(), Found> {
    // Where the system does not say, nothing is known to be wrong.
    within(resident().unwrap_or(0), budget, "the process has taken")
}

fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn within(found: u64, budget: u64, what: &str) -> Result<(), Found> {
    if found <= budget {
        return Ok(());
    }
    let details = format!("{found} bytes, and may have {budget}");
    Err((format!("{what} more memory than it may"), vec![details]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody can commit a probe that fails; but what a history has may fail in a later release.
    #[test]
    fn a_probe_that_fails_is_told_line_by_line() {
        assert_eq!(probes(Vec::new()), Ok(()));
        let one = "probes.out: dropped\n  route: none".to_owned();
        let lines = vec!["probes.out: dropped".to_owned(), "  route: none".to_owned()];
        let found = ("a probe fails".to_owned(), lines.clone());
        assert_eq!(probes(vec![one.clone()]), Err(found));
        let found = ("2 probes fail".to_owned(), [&lines[..], &lines].concat());
        assert_eq!(probes(vec![one.clone(), one]), Err(found));
    }
}
