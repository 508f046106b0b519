//! What the page asks: `/api/…`, answered with one JSON object each. `docs/json.md` describes them.

use std::sync::PoisonError;

use rewire_configdb::{LogQuery, Store};
use rewire_schema::Changeset;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::http::Answer;
use super::{Console, trace};
use crate::daemon::connections;
use crate::difference;
use crate::failure::{Code, Failure};
use crate::history;
use crate::selection::Selection;
use crate::view;

/// The version of the answers about revisions and walks. The others have their own.
const VERSION: u32 = 1;
/// Revisions in one answer.
const MOST_REVISIONS: usize = 200;
/// Changes of one revision that are shown. A revision can change a million rows.
const MOST_CHANGES: usize = 500;

pub(super) type Query = [(String, String)];

impl Console<'_> {
    /// Answers a question.
    pub(super) fn ask(&self, what: &str, query: &Query) -> Answer {
        let answer = match what.split_once('/') {
            None => match what {
                "status" => shown(&self.daemon.status()),
                "recent" => shown(&self.daemon.recent.columns()),
                "connections" => self.connections(query),
                "revisions" => self.revisions(query),
                "trace" => self.trace(query),
                _ => Err(Wrong::Unknown),
            },
            Some(("revisions", number)) => self.revision(number),
            Some(_) => Err(Wrong::Unknown),
        };
        match answer {
            Ok(value) => json_answer(200, &value),
            Err(Wrong::Unknown) => {
                json_answer(404, &json!({ "error": "there is nothing of this name" }))
            }
            Err(Wrong::Question(why)) => json_answer(400, &json!({ "error": why })),
            Err(Wrong::Gateway(why)) => json_answer(503, &json!({ "error": why })),
        }
    }

    fn connections(&self, query: &Query) -> Result<Value, Wrong> {
        let query = connection_query(query).map_err(Wrong::Question)?;
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.daemon.connections(&query).map_err(Wrong::Gateway)?;
        shown(&found)
    }

    fn trace(&self, query: &Query) -> Result<Value, Wrong> {
        let question = trace::Question::of(query)?;
        let _tracing = self.tracing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = question.answer(self.daemon)?;
        answer["version"] = json!(VERSION);
        Ok(answer)
    }

    fn revisions(&self, query: &Query) -> Result<Value, Wrong> {
        let mut log = LogQuery::last(50);
        for (name, value) in query {
            match name.as_str() {
                "before" => log.before = Some(number(name, value)?),
                "most" => log.limit = number(name, value)?,
                _ => return Err(unknown(name)),
            }
        }
        log.limit = log.limit.min(MOST_REVISIONS);
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = store.log(log)?;
        let revisions: Vec<_> = entries.iter().map(history::to_json).collect();
        Ok(json!({ "version": VERSION, "head": store.head()?, "revisions": revisions }))
    }

    fn revision(&self, revision: &str) -> Result<Value, Wrong> {
        let revision = number("the revision", revision)?;
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut answer, changeset) = described(&store, revision)?;
        drop(store);
        let shown: Changeset = changeset.iter().take(MOST_CHANGES).cloned().collect();
        answer["version"] = json!(VERSION);
        answer["left_out"] = json!(changeset.len() - shown.len());
        answer["changes"] = difference::to_json(&shown, &Selection::EVERYTHING);
        answer["text"] = json!(difference::render(&shown, &Selection::EVERYTHING, false));
        Ok(answer)
    }
}

/// A revision for machines without its changes, and these.
fn described(store: &Store, revision: u64) -> Result<(Value, Changeset), Failure> {
    let entry = store.entry(revision)?;
    let tags = store
        .tags()?
        .into_iter()
        .filter(|tag| tag.revision == revision);
    let tags: Vec<String> = tags.map(|tag| tag.name).collect();
    Ok((
        history::entry_to_json(&entry, &tags),
        view::changeset(&entry)?,
    ))
}

/// Why there is no answer.
pub(super) enum Wrong {
    /// There is nothing of this name.
    Unknown,
    /// The question is wrong.
    Question(String),
    /// The gateway or its store cannot answer.
    Gateway(String),
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        let message = failure.to_json()["message"].as_str().map(str::to_owned);
        match (failure.code(), message.unwrap_or_default()) {
            (
                Code::NoSuchRevision | Code::Pruned | Code::WrongArguments | Code::NoSuchName,
                why,
            ) => Wrong::Question(why),
            (_, why) => Wrong::Gateway(why),
        }
    }
}

impl From<rewire_configdb::Error> for Wrong {
    fn from(error: rewire_configdb::Error) -> Self {
        Failure::from(error).into()
    }
}

fn shown(found: &impl Serialize) -> Result<Value, Wrong> {
    serde_json::to_value(found).map_err(|error| Wrong::Gateway(error.to_string()))
}

fn json_answer(code: u16, value: &Value) -> Answer {
    Answer {
        code,
        content_type: "application/json",
        body: value.to_string().into_bytes(),
    }
}

pub(super) fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, Wrong> {
    let number = value.parse();
    number.map_err(|_| Wrong::Question(format!("{name} is no number: {value:?}")))
}

pub(super) fn unknown(name: &str) -> Wrong {
    Wrong::Question(format!("there is no parameter {name:?}"))
}

/// The query of the unix socket, of parameters: those of the filter and of the query stand side by side, and those that are
/// empty are not meant.
fn connection_query(parameters: &Query) -> Result<connections::Query, String> {
    let (mut query, mut filter) = (Map::new(), Map::new());
    for (name, text) in parameters.iter().filter(|(_, text)| !text.is_empty()) {
        let text_or_number = |text: &str| {
            text.parse::<u64>()
                .map_or_else(|_| json!(text), |number| json!(number))
        };
        let value = match (name.as_str(), text.as_str()) {
            ("talkers" | "translated" | "offloaded", "true") => json!(true),
            ("talkers" | "translated" | "offloaded", "false") => json!(false),
            ("most" | "port" | "older_seconds" | "idle_seconds", text) => text_or_number(text),
            // An address alone is the prefix of that address.
            ("address", text) => match text.parse::<std::net::IpAddr>() {
                Ok(address) => json!(ipnet::IpNet::from(address)),
                Err(_) => json!(text),
            },
            (_, text) => json!(text),
        };
        match name.as_str() {
            "talkers" | "most" | "sort" => query.insert(name.clone(), value),
            _ => filter.insert(name.clone(), value),
        };
    }
    query.insert("filter".to_owned(), Value::Object(filter));
    serde_json::from_value(Value::Object(query)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::connections::{Filter, Sort};

    fn read(parameters: &[(&str, &str)]) -> Result<connections::Query, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        connection_query(&parameters.iter().map(owned).collect::<Vec<_>>())
    }

    #[test]
    fn parameters_are_the_sockets_query() {
        let query = read(&[
            ("vpc", "blue"),
            ("protocol", "47"),
            ("address", "10.0.0.1"),
            ("port", "443"),
            ("translated", "false"),
            ("state", ""),
            ("sort", "age"),
            ("most", "7"),
            ("talkers", "true"),
        ]);
        let filter = Filter {
            vpc: Some("blue".to_owned()),
            protocol: Some("47".to_owned()),
            address: Some("10.0.0.1/32".parse().unwrap()),
            port: Some(443),
            translated: Some(false),
            ..Filter::default()
        };
        let expected = connections::Query {
            filter,
            sort: Sort::Age,
            most: Some(7),
            talkers: true,
        };
        assert_eq!(query, Ok(expected));
        assert_eq!(read(&[]), Ok(connections::Query::default()));
        for (name, value) in [
            ("port", "70000"),
            ("address", "10.0.0.0/33"),
            ("sort", "x"),
            ("colour", "red"),
            ("translated", "1"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
