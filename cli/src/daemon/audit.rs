//! The audit: now and then, what commits have made of the tables step by step is compared with what a whole compile of the
//! same revision makes. Law 4 says that they are equal; where they are not, the gateway forwards by something that nobody
//! committed, and a person must know.
//!
//! It works on a copy of the tables that it keeps up by the same operations, in a thread of its own: no worker, no commit and
//! no table in use waits for it. What the gateway has learned is no part of it. Cost: the memory of that copy, and a whole
//! compile each time; the pause after it is at least a hundred times as long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_configdb::{Error, Store};
use rewire_schema::Configuration;
use rewire_tables::{TableOperation, Tables};

use super::Daemon;

/// The least pause between two audits.
const LEAST_PAUSE: Duration = Duration::from_secs(600);
/// The pause after an audit, as a multiple of the time that it took.
const PAUSE_FACTOR: u32 = 100;
/// How often the thread looks whether the daemon ends.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What the follower tells the audit: the operations that it publishes, in order.
#[derive(Clone, Debug)]
pub(crate) struct Notes(Sender<Vec<TableOperation>>);

impl Notes {
    /// The operations of one publication. The first ones lead from empty tables to where the gateway began.
    pub(crate) fn publish(&self, operations: Vec<TableOperation>) {
        // Where the audit has ended, nobody keeps a copy any more.
        let _ = self.0.send(operations);
    }
}

/// Where notes are sent, and where they arrive.
pub(crate) fn notes() -> (Notes, Receiver<Vec<TableOperation>>) {
    let (sender, receiver) = channel();
    (Notes(sender), receiver)
}

/// Audits until the daemon ends.
pub(crate) fn run(daemon: &Daemon, store: &Store, notes: &Receiver<Vec<TableOperation>>) {
    let mut copy = Tables::default();
    let mut next = Instant::now() + LEAST_PAUSE;
    while !daemon.progress.is_stopping() {
        match notes.recv_timeout(LOOK_EVERY) {
            Ok(operations) => {
                copy.apply_all(&operations);
                continue;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if Instant::now() < next {
            continue;
        }
        let start = Instant::now();
        match audit(&copy, store) {
            Ok(None) => {}
            Ok(Some(Finding::Equal)) => {
                tracing::debug!(
                    revision = copy.revision(),
                    "the tables are as a whole compile has them"
                );
            }
            Ok(Some(Finding::Differs(how))) => {
                let alarm = format!(
                    "the tables of revision {} are not what it compiles to: {how}; restart the gateway, and report this",
                    copy.revision()
                );
                if daemon.progress.raise(alarm.clone()) {
                    tracing::error!("alarm: {alarm}");
                }
            }
            Err(error) => tracing::warn!("the tables cannot be audited: {error}"),
        }
        next = Instant::now() + LEAST_PAUSE.max(start.elapsed() * PAUSE_FACTOR);
    }
}

/// What an audit has found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    Equal,
    /// How they differ.
    Differs(String),
}

/// Compares a copy with the store's last revision; nothing where that is not the copy's. Nor where its rows are not what was
/// committed: that says nothing about the tables, and is for the scrub to find.
fn audit(copy: &Tables, store: &Store) -> Result<Option<Finding>, Error> {
    let state = store.counted_state()?;
    let head = state.revision;
    if head != copy.revision() {
        return Ok(None);
    }
    if head > 0 && state.digest != store.entry(head)?.state_digest {
        return Ok(None);
    }
    Ok(Some(compare(copy, state.configuration)))
}

fn compare(copy: &Tables, configuration: Configuration) -> Finding {
    let whole = match Compiler::compile(configuration, copy.revision()) {
        Ok((_, compiled)) => {
            let mut whole = Tables::default();
            whole.apply_all(&compiled.operations);
            whole
        }
        Err(errors) => return Finding::Differs(format!("it does not compile: {errors}")),
    };
    if copy.digest() == whole.digest() {
        return Finding::Equal;
    }
    // Each line is sorted, and there once.
    let (found, expected) = (copy.canonical_lines(), whole.canonical_lines());
    let first = |lines: &[String], others: &[String]| {
        let missing = lines
            .iter()
            .find(|line| others.binary_search(line).is_err());
        missing.cloned()
    };
    Finding::Differs(match (first(&expected, &found), first(&found, &expected)) {
        (Some(expected), Some(found)) => format!("expected \"{expected}\", found \"{found}\""),
        (Some(expected), None) => format!("\"{expected}\" is missing"),
        (None, Some(found)) => format!("\"{found}\" is too much"),
        (None, None) => "an entry is there more than once".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rewire_configdb::{CommitRequest, Unchecked};
    use rewire_schema::{Changeset, source};

    use super::*;

    const DOCUMENT: &str = "
vpcs: {blue: {routes: {10.0.0.0/8: {type: blackhole}, 0.0.0.0/0: {type: unreachable}}}}
";

    #[test]
    fn a_table_that_is_not_what_was_committed_is_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("store")).unwrap();
        let configuration = source::read("document", DOCUMENT.as_bytes())
            .unwrap()
            .configuration;
        let changeset = Changeset::between(&Configuration::default(), &configuration);
        let request = CommitRequest::new(0, &changeset, "ada", "two routes");
        store.commit(request, &mut Unchecked).unwrap();
        let (_, compiled) = Compiler::compile(configuration, 1).unwrap();
        let copy = |operations: &mut dyn Iterator<Item = &TableOperation>| {
            let mut copy = Tables::default();
            operations.for_each(|operation| copy.apply(operation));
            copy
        };
        let all = &compiled.operations;
        assert_eq!(
            audit(&copy(&mut all.iter()), &store).unwrap(),
            Some(Finding::Equal)
        );
        // Another revision is under way: nothing can be said.
        let other = TableOperation::SetRevision { revision: 2 };
        let ahead = copy(&mut all.iter().chain([&other]));
        assert_eq!(audit(&ahead, &store).unwrap(), None);
        // Each operation that is lost shows, but for the one that says which revision it is.
        for lost in 1..all.len() {
            let some = all.iter().enumerate().filter(|(index, _)| *index != lost);
            let broken = copy(&mut some.map(|(_, operation)| operation));
            let found = audit(&broken, &store).unwrap();
            assert!(
                matches!(found, Some(Finding::Differs(_))),
                "{:?}",
                all[lost]
            );
        }
        let last = all.last().unwrap();
        let TableOperation::SetRoute { vpc, prefix, .. } = last else {
            panic!("{last:?}");
        };
        let removal = TableOperation::RemoveRoute {
            vpc: *vpc,
            prefix: *prefix,
        };
        let broken = copy(&mut all.iter().chain([&removal]));
        let expected = Finding::Differs(format!("\"route blue {prefix} Blackhole\" is missing"));
        assert_eq!(audit(&broken, &store).unwrap(), Some(expected));
        // Rows that nobody committed say nothing about the tables.
        let changed = "UPDATE vpc SET description = 'another'";
        let connection = rusqlite::Connection::open(store.path()).unwrap();
        assert_eq!(connection.execute(changed, []).unwrap(), 1);
        assert_eq!(audit(&broken, &store).unwrap(), None);
    }
}
