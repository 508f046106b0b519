//! The states that people name, and how changes are written in short.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use rewire_configdb::{Candidate, Counts, Entry, Error, Store, Tag};
use rewire_schema::types::Name;
use rewire_schema::{Changeset, Configuration};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Code, Failure};

/// What to do where there is no candidate.
pub(crate) const MAKE_A_CANDIDATE: &str = "make one with `rewire load FILE`";

/// A state by the name that people give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The edits that are not committed yet, on their base; those of another candidate than one's own by its name.
    Candidate(Option<Name>),
    /// A revision.
    Revision(Revision),
}

/// A revision by the name that people give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// The last one.
    Running,
    /// By its number.
    Number(u64),
    /// So many before the last one.
    Before(u64),
    /// By its tag.
    Tag(Name),
}

impl FromStr for State {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected candidate, candidate:NAME, running, a revision's number, -N for the Nth before \
                                the last one, or a tag";
        if text == "candidate" {
            return Ok(State::Candidate(None));
        }
        if let Some(name) = text.strip_prefix("candidate:") {
            let name = name.parse().map_err(|_| EXPECTED)?;
            return Ok(State::Candidate(Some(name)));
        }
        text.parse().map(State::Revision).map_err(|_| EXPECTED)
    }
}

impl FromStr for Revision {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected a revision's number, -N for the Nth before the last one, running, or a tag";
        // Digits alone are a number, and nothing else: no tag looks like one.
        let number = |digits: &str| match digits.bytes().all(|b| b.is_ascii_digit()) {
            true => digits.parse().ok(),
            false => None,
        };
        if text == "running" {
            Ok(Revision::Running)
        } else if text == "candidate" {
            Err(EXPECTED)
        } else if let Some(digits) = text.strip_prefix(['-', '~']) {
            number(digits).map(Revision::Before).ok_or(EXPECTED)
        } else if text.bytes().all(|b| b.is_ascii_digit()) {
            number(text).map(Revision::Number).ok_or(EXPECTED)
        } else {
            text.parse().map(Revision::Tag).map_err(|_| EXPECTED)
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Candidate(None) => f.write_str("candidate"),
            State::Candidate(Some(name)) => write!(f, "candidate:{name}"),
            State::Revision(revision) => revision.fmt(f),
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Revision::Running => f.write_str("running"),
            Revision::Number(number) => number.fmt(f),
            Revision::Before(number) => write!(f, "-{number}"),
            Revision::Tag(name) => name.fmt(f),
        }
    }
}

impl State {
    /// The running state.
    pub(crate) const RUNNING: State = State::Revision(Revision::Running);

    /// The state's rows.
    pub(crate) fn configuration(
        &self,
        context: &Context,
        store: &Store,
    ) -> Result<Configuration, Failure> {
        match self {
            State::Revision(Revision::Running) => Ok(store.configuration()?),
            State::Revision(revision) => Ok(store.configuration_at(revision.number(store)?)?),
            State::Candidate(name) => {
                let candidate = candidate(&self.candidate_name(context, name), store)?;
                let mut configuration = store.configuration_at(candidate.base)?;
                configuration
                    .apply(&candidate.changeset)
                    .map_err(Error::from)?;
                Ok(configuration)
            }
        }
    }

    /// The revision that the state is made on, and the edits on top of it, if it has any.
    pub(crate) fn parts(
        &self,
        context: &Context,
        store: &Store,
    ) -> Result<(u64, Option<Changeset>), Failure> {
        Ok(match self {
            State::Revision(revision) => (existing(revision.number(store)?, store)?, None),
            State::Candidate(name) => {
                let candidate = candidate(&self.candidate_name(context, name), store)?;
                (candidate.base, Some(candidate.changeset))
            }
        })
    }

    /// What leads from one state to the other. Cost: the changes in between, and not the states.
    pub(crate) fn between(
        from: &State,
        to: &State,
        context: &Context,
        store: &Store,
    ) -> Result<Changeset, Failure> {
        let (first, edits) = from.parts(context, store)?;
        let (last, more_edits) = to.parts(context, store)?;
        let mut changeset = edits.map(|edits| edits.inverse()).unwrap_or_default();
        let steps = [Some(journal(first, last, store)?), more_edits];
        for step in steps.into_iter().flatten() {
            changeset.then(&step).map_err(Error::from)?;
        }
        Ok(changeset)
    }

    /// What machines read: which state it is, with the number of its revision.
    pub(crate) fn to_json(&self, context: &Context, store: &Store) -> Result<Value, Failure> {
        Ok(match self {
            State::Revision(revision) => {
                json!({ "name": self.to_string(), "revision": revision.number(store)? })
            }
            State::Candidate(name) => {
                let candidate_name = self.candidate_name(context, name);
                let base = candidate(&candidate_name, store)?.base;
                json!({ "name": self.to_string(), "candidate": candidate_name, "base": base })
            }
        })
    }

    fn candidate_name(&self, context: &Context, name: &Option<Name>) -> String {
        match name {
            Some(name) => name.as_str().to_owned(),
            None => context.candidate(),
        }
    }
}

impl Revision {
    /// The revision's number. It need not exist yet where it was given as a number.
    pub(crate) fn number(&self, store: &Store) -> Result<u64, Failure> {
        match self {
            Revision::Running => Ok(store.head()?),
            Revision::Number(number) => Ok(*number),
            Revision::Before(count) => before(store.head()?, *count),
            Revision::Tag(name) => tagged(name, store),
        }
    }
}

/// The revision that has a tag.
fn tagged(name: &Name, store: &Store) -> Result<u64, Failure> {
    let tags = store.tags()?;
    if let Some(tag) = tags.iter().find(|tag| tag.name == name.as_str()) {
        return Ok(tag.revision);
    }
    let failure = Failure::new(
        Code::NoSuchName,
        format!("no revision is tagged \"{name}\""),
    );
    let distance = |tag: &&Tag| strsim::osa_distance(&tag.name, name.as_str());
    let nearest = tags.iter().min_by_key(distance);
    Err(
        match nearest.filter(|tag| distance(tag) <= name.as_str().len() / 2) {
            Some(nearest) => failure.help(format!("did you mean \"{}\"?", nearest.name)),
            None => failure.help("`rewire tags` lists them"),
        },
    )
}

/// The revision that is `count` before the last one.
pub(crate) fn before(head: u64, count: u64) -> Result<u64, Failure> {
    head.checked_sub(count).ok_or_else(|| {
        let message = format!("there is no revision {count} before the last one, which is {head}");
        Failure::new(Code::NoSuchRevision, message).help("`rewire log` lists them")
    })
}

/// The number of a revision that is there.
fn existing(revision: u64, store: &Store) -> Result<u64, Failure> {
    match store.head()? {
        head if revision > head => Err(Error::NoSuchRevision { revision, head }.into()),
        _ => Ok(revision),
    }
}

/// What leads from one revision to the other, forwards or backwards. Cost: the changes in between.
fn journal(from: u64, to: u64, store: &Store) -> Result<Changeset, Failure> {
    let mut forwards = Changeset::default();
    for revision in from.min(to) + 1..=from.max(to) {
        forwards
            .then(&changeset(&store.entry(revision)?)?)
            .map_err(Error::from)?;
    }
    Ok(match from <= to {
        true => forwards,
        false => forwards.inverse(),
    })
}

/// What a revision changed.
pub(crate) fn changeset(entry: &Entry) -> Result<Changeset, Failure> {
    entry.decode_changeset().map_err(|error| {
        let message = format!("revision {} cannot be read: {error}", entry.revision);
        Failure::new(Code::Damaged, message).detail("revision", entry.revision)
    })
}

/// The candidate of this name; an error where there is none.
pub(crate) fn candidate(name: &str, store: &Store) -> Result<Candidate, Failure> {
    store
        .candidate(name)?
        .ok_or_else(|| no_candidate(name, store, "there is no candidate"))
}

/// What is said where a candidate is needed: others that there are may be the one that was meant.
pub(crate) fn no_candidate(name: &str, store: &Store, message: &str) -> Failure {
    let others = store.candidates().unwrap_or_default();
    let failure = Failure::new(Code::NoCandidate, format!("{message} \"{name}\""));
    if others.is_empty() {
        return failure.help(MAKE_A_CANDIDATE);
    }
    let others: Vec<&str> = others
        .iter()
        .take(10)
        .map(|other| other.name.as_str())
        .collect();
    failure.help(format!(
        "{MAKE_A_CANDIDATE}, or take another with --candidate: {}",
        others.join(", ")
    ))
}

/// How many rows change, as a sentence has it: `+12 rows, ~1, -0`.
pub(crate) fn sentence(counts: Counts) -> String {
    match counts.total() {
        0 => "no change".to_owned(),
        _ => format!(
            "+{} rows, ~{}, -{}",
            counts.inserted, counts.updated, counts.deleted
        ),
    }
}

/// The same as a table has it: `+12 ~1 -0`.
pub(crate) fn short(counts: Counts) -> String {
    format!(
        "+{} ~{} -{}",
        counts.inserted, counts.updated, counts.deleted
    )
}

/// The same as machines read it.
pub(crate) fn counts_json(counts: Counts) -> Value {
    json!({ "inserted": counts.inserted, "updated": counts.updated, "deleted": counts.deleted })
}

/// `revision 4`, `revisions 4 to 6`.
pub(crate) fn revisions(range: &RangeInclusive<u64>) -> String {
    match (range.start(), range.end()) {
        (first, last) if first == last => format!("revision {last}"),
        (first, last) => format!("revisions {first} to {last}"),
    }
}

/// `1.9 ms`.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The time of a step for machines.
pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_people_do() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        for (text, state) in [
            ("running", State::RUNNING),
            ("candidate", State::Candidate(None)),
            ("candidate:ada", State::Candidate(Some(name("ada")))),
            ("0", State::Revision(Revision::Number(0))),
            ("42", State::Revision(Revision::Number(42))),
            ("-1", State::Revision(Revision::Before(1))),
            (
                "before-the-fair",
                State::Revision(Revision::Tag(name("before-the-fair"))),
            ),
        ] {
            assert_eq!(text.parse(), Ok(state.clone()));
            assert_eq!(state.to_string(), text);
        }
        assert_eq!("~3".parse(), Ok(State::Revision(Revision::Before(3))));
        for text in [
            "",
            "-",
            "~",
            "--1",
            "-1x",
            "-+1",
            "+1",
            "a b",
            "candidate:",
            "99999999999999999999",
        ] {
            assert!(text.parse::<State>().is_err(), "{text}");
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
        assert!("candidate".parse::<Revision>().is_err());
        assert_eq!(before(7, 0).unwrap(), 7);
        assert_eq!(before(7, 7).unwrap(), 0);
        assert!(before(7, 8).is_err());
    }
}
