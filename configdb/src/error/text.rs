//! What errors say, where it takes more than a line.

use rewire_schema::{Mismatch, Path, Value};

use crate::lock::LockHolder;
use crate::merge::Conflict;

/// Says it by fields; the rows themselves are in the error.
pub(super) fn mismatch_text(mismatch: &Mismatch) -> String {
    match (&mismatch.expected, &mismatch.found) {
        (Some(expected), Some(found)) => {
            let fields = expected.fields().into_iter().zip(found.fields());
            let differing = fields.filter(|(expected, found)| expected != found);
            let texts = differing.map(|((name, expected), (_, found))| {
                format!(
                    "{name} is {}, the change expects {}",
                    quoted(&found),
                    quoted(&expected)
                )
            });
            format!(
                "{}: {}",
                expected.path(),
                texts.collect::<Vec<_>>().join("; ")
            )
        }
        (Some(expected), None) => {
            format!("{} does not exist, the change expects it", expected.path())
        }
        (None, Some(found)) => format!("{} exists already", found.path()),
        (None, None) => "a row is not as the change expects".to_owned(),
    }
}

pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

pub(super) fn lines(items: &[impl ToString]) -> String {
    let texts: Vec<String> = items.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

pub(super) fn depends_text(depends: &[Conflict]) -> String {
    let texts = depends.iter().map(|one| {
        let place = one.conflict.place();
        match one.revision {
            Some(revision) => format!("{place} was changed again by revision {revision}"),
            None => format!("{place} was changed again"),
        }
    });
    texts.collect::<Vec<_>>().join("; ")
}

pub(super) fn locked_text(lock: &LockHolder) -> String {
    let why = match lock.message.is_empty() {
        true => String::new(),
        false => format!(" ({})", lock.message),
    };
    format!(
        "the configuration is locked by {}{why}, process {}",
        lock.holder, lock.session.pid
    )
}

pub(super) fn changed_text(name: &str, found: u64, author: &Option<String>) -> String {
    match author {
        Some(author) if found > 0 => {
            format!("candidate \"{name}\" was changed in between, last by {author}")
        }
        _ => format!("candidate \"{name}\" was removed in between"),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn first_row(row: &Option<Path>) -> String {
    row.as_ref()
        .map(|path| format!(" (the first row that differs is {path})"))
        .unwrap_or_default()
}
