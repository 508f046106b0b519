//! A part of the configuration by its path, as people type it.

use std::fmt;

use rewire_configdb::{LogEntry, LogQuery, Store, Touching};
use rewire_schema::edit::{EditError, Node, Target};
use rewire_schema::outline::{Object, Part};
use rewire_schema::state::{Rows, StateError};
use rewire_schema::{Change, Changeset, Path, Row, RowKey, Table, Value};

use crate::failure::{Code, Failure, with_sources};
use crate::view;

/// The most rows below an object that are looked for in the journal at once.
const MOST_BELOW: usize = 64;
/// How many entries of the journal are looked through at once.
const PAGE: usize = 64;

/// What a path leads to: an object, a field, or all objects below. Nothing typed is everything.
#[derive(Clone, Debug)]
pub(crate) struct Selection(Option<Place>);

/// A place in documents.
#[derive(Clone, Debug)]
struct Place {
    path: Path,
    node: Node,
    /// The keys of the objects on the way, outermost first.
    keys: Vec<Value>,
}

/// The words of a path.
#[derive(clap::Args)]
pub(crate) struct PathWords {
    /// Only what this path leads to: vpcs.blue.routes, or vpcs blue routes
    #[arg(value_name = "PATH", add = crate::completion::paths())]
    path: Vec<String>,
}

impl PathWords {
    /// What the words lead to. Whether anything is there is another question.
    pub(crate) fn selection(&self) -> Result<Selection, Failure> {
        Selection::of_words(&self.path)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(place) => place.path.fmt(f),
            None => f.write_str("the document"),
        }
    }
}

impl Selection {
    /// The whole document.
    pub(crate) const EVERYTHING: Selection = Selection(None);

    fn of_words(words: &[String]) -> Result<Selection, Failure> {
        let target = Target::resolve(words)?;
        let mut above = Target::root();
        let (mut steps, mut keys) = (Vec::new(), Vec::new());
        for word in target.words() {
            // A key may be written in several ways, and has one path.
            let key = match above.node() {
                Node::Collection(collection, _) => collection.key_column().parse(word).ok(),
                _ => None,
            };
            steps.push(key.as_ref().map_or_else(|| word.clone(), Value::to_string));
            keys.extend(key);
            above = Target::resolve(&steps)?;
        }
        let place = Place {
            path: Path::new(&steps),
            node: target.node(),
            keys,
        };
        Ok(Selection(
            Some(place).filter(|place| !place.path.steps().is_empty()),
        ))
    }

    /// Whether it leads to the row as a whole: to its object, or to something above that.
    pub(crate) fn covers(&self, row: &Path) -> bool {
        let place = self.0.as_ref();
        place.is_none_or(|place| row.steps().starts_with(place.path.steps()))
    }

    /// Whether it leads to a field of the row, alone or with the whole row.
    pub(crate) fn covers_field(&self, row: &Path, field: &str) -> bool {
        let alone = |place: &Place| match place.path.steps() {
            [above @ .., last] => {
                matches!(place.node, Node::Field(..)) && above == row.steps() && last == field
            }
            [] => false,
        };
        self.covers(row) || self.0.as_ref().is_some_and(alone)
    }

    /// What a path leads to.
    pub(crate) fn of_path(steps: &[String]) -> Result<Selection, Failure> {
        Selection::of_words(steps)
    }

    /// The keys of the object that it leads to, and of what there is below in the running configuration, of at most
    /// [`MOST_BELOW`] rows. Cost: those rows.
    pub(crate) fn keys(&self, store: &Store) -> Result<Vec<RowKey>, Failure> {
        let Some(place) = &self.0 else {
            return Ok(Vec::new());
        };
        let own = place
            .tables()
            .first()
            .and_then(|table| RowKey::from_values(*table, &place.keys).ok());
        let mut keys: Vec<RowKey> = own.into_iter().collect();
        let below = self.rows(store)?;
        if below.len() <= MOST_BELOW {
            keys.extend(below.iter().map(Row::row_key));
        }
        Ok(keys)
    }

    /// The changes that it leads to.
    pub(crate) fn of(&self, changeset: Changeset) -> Changeset {
        if self.0.is_none() {
            return changeset;
        }
        changeset
            .iter()
            .filter(|change| self.sees(change))
            .cloned()
            .collect()
    }

    fn sees(&self, change: &Change) -> bool {
        let path = change.row().path();
        let touches = |field: &str| self.covers_field(&path, field);
        match change {
            Change::Insert(row) | Change::Delete(row) => {
                self.covers(&path) || row.fields().iter().any(|(field, _)| touches(field))
            }
            Change::Update { before, after } => {
                let pairs = before.fields().into_iter().zip(after.fields());
                let mut differing = pairs.filter(|((_, old), (_, new))| old != new);
                let (old, new) = (before.marks().fields(), after.marks().fields());
                let mut marked = old.iter().chain(new.iter()).map(|(field, _)| field);
                self.covers(&path)
                    || differing.any(|((field, _), _)| touches(field))
                    || marked.any(|field| old.get(field) != new.get(field) && touches(field))
            }
        }
    }

    /// The rows of the running configuration that it leads to, parents first. Cost: those rows.
    pub(crate) fn rows(&self, store: &Store) -> Result<Vec<Row>, Failure> {
        let Some(place) = &self.0 else {
            return Ok(store.configuration()?.rows().collect());
        };
        let reader = store.reader(store.head()?)?;
        let mut rows = Vec::new();
        for table in place.tables() {
            rows.extend(reader.below(table, &place.keys)?);
        }
        Ok(rows)
    }

    fn is_changed_by(&self, store: &Store, revision: u64) -> Result<bool, Failure> {
        let changeset = view::changeset(&store.entry(revision)?)?;
        Ok(changeset.iter().any(|change| self.sees(change)))
    }

    /// The revisions that changed what it leads to, the newest first. Cost: for one object without parts, a look at a short
    /// filter of each entry, and those that touch the object; otherwise a pass over the bytes of the changesets on the way.
    pub(crate) fn log(
        &self,
        store: &Store,
        mut before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<LogEntry>, Failure> {
        let query = LogQuery {
            before,
            ..LogQuery::last(limit)
        };
        let Some(place) = &self.0 else {
            return Ok(store.log(query)?);
        };
        let (alone, tables) = (place.alone(), place.tables());
        let touching = Some(match &alone {
            Some(key) => Touching::Rows(std::slice::from_ref(key)),
            None => Touching::Below {
                tables: &tables,
                key_prefix: &place.keys,
            },
        });
        // Whatever touches its rows is meant, unless only one of their fields is.
        if !matches!(place.node, Node::Field(..)) {
            return Ok(store.log(LogQuery { touching, ..query })?);
        }
        let mut entries = Vec::new();
        while entries.len() < limit {
            let query = LogQuery {
                before,
                limit: PAGE,
                touching,
            };
            let page = store.log(query)?;
            before = page.last().map(|entry| entry.revision);
            let is_last = page.len() < PAGE;
            for entry in page {
                if self.is_changed_by(store, entry.revision)? {
                    entries.push(entry);
                }
            }
            if is_last {
                break;
            }
        }
        entries.truncate(limit);
        Ok(entries)
    }
}

impl Place {
    /// The tables whose rows stand here or below, parents first.
    fn tables(&self) -> Vec<Table> {
        let mut tables = Vec::new();
        match self.node {
            Node::Object(object) => gather(object, &mut tables),
            Node::Collection(collection, _) => gather(&collection.object, &mut tables),
            Node::Field(object, _) => tables.extend(object.table),
        }
        tables
    }

    /// The key of the one row that stands here, where there can be no other.
    fn alone(&self) -> Option<RowKey> {
        match self.tables().as_slice() {
            [table] if self.keys.len() == table.definition().key_len() => {
                RowKey::from_values(*table, &self.keys).ok()
            }
            _ => None,
        }
    }
}

/// The tables of an object and of all below it.
fn gather(object: &Object, tables: &mut Vec<Table>) {
    tables.extend(object.table);
    for field in &object.fields {
        match &field.part {
            Part::Value(_) => {}
            Part::Object(inner) => gather(inner, tables),
            Part::Map(c) | Part::List(c) | Part::Set(c) => gather(&c.object, tables),
        }
    }
}

impl From<EditError> for Failure {
    fn from(error: EditError) -> Self {
        let failure = Failure::new(Code::NoSuchName, with_sources(&error));
        match error.help() {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        Failure::new(Code::StoreFailed, with_sources(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(words: &[&str]) -> Selection {
        let path: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Selection::of_words(&path)
            .unwrap_or_else(|error| panic!("{words:?}: {}", error.render(false)))
    }

    #[test]
    fn a_path_leads_to_an_object_and_to_all_below_it() {
        let route = Path::new(["vpcs", "blue", "routes", "10.0.0.0/8"]);
        let hop = route.join("next_hops").join(0);
        for words in [
            &[][..],
            &["vpcs"],
            &["vpcs.blue"],
            &["vpcs", "blue", "routes"],
            &["vpcs.blue.routes.10.0.0.0/8"],
            &["vpcs", "blue", "routes", "10.0.0.0/8"],
        ] {
            assert!(selection(words).covers(&route), "{words:?}");
            assert!(selection(words).covers(&hop), "{words:?}");
        }
        for words in [
            &["vpcs.blu"][..],
            &["vpcs.blue.routes.10.0.0.0/9"],
            &["interfaces"],
            &["vpcs", "red"],
            &["vpcs.blue.routes.10.0.0.0/8.next_hops[0]"],
        ] {
            assert!(!selection(words).covers(&route), "{words:?}");
        }
        let field = selection(&["vpcs.blue.routes.10.0.0.0/8.type"]);
        assert!(!field.covers(&route));
        assert!(field.covers_field(&route, "type"));
        assert!(!field.covers_field(&route, "description"));
        assert!(selection(&["vpcs"]).covers_field(&route, "type"));
    }

    #[test]
    fn a_key_may_be_written_in_several_ways() {
        let route = Path::new(["vpcs", "blue", "routes", "2001:db8::/32"]);
        assert!(selection(&["vpcs", "blue", "routes", "2001:DB8:0::/32"]).covers(&route));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error_with_the_nearest_name() {
        let error = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            match Selection::of_words(&words) {
                Ok(selection) => panic!("{selection}"),
                Err(failure) => failure.render(false),
            }
        };
        assert!(error(&["vpc"]).contains("\"vpcs\""), "{}", error(&["vpc"]));
        let route = ["vpcs", "blue", "rutes"];
        assert!(error(&route).contains("\"routes\""), "{}", error(&route));
    }

    /// What `log` looks for in the journal, and what a path covers, are the same rows.
    #[test]
    fn the_tables_and_keys_of_a_path_are_the_rows_that_it_covers() {
        let text = include_str!("../../schema/tests/meaning_documents/good.yaml");
        let source = rewire_schema::source::read("good.yaml", text.as_bytes());
        let source = source.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        let rows: Vec<Row> = source.configuration.rows().collect();
        let mut paths = std::collections::BTreeSet::new();
        for row in &rows {
            let path = row.path();
            paths.extend((1..=path.steps().len()).map(|length| path.steps()[..length].to_vec()));
        }
        assert!(paths.len() > 100, "{}", paths.len());
        for words in paths {
            let selection = Selection::of_words(&words)
                .unwrap_or_else(|error| panic!("{words:?}: {}", error.render(false)));
            let place = selection.0.as_ref().unwrap();
            for row in &rows {
                let is_below = place.tables().contains(&row.table())
                    && row.row_key().values().starts_with(&place.keys);
                assert_eq!(
                    is_below,
                    selection.covers(&row.path()),
                    "{words:?}: {}",
                    row.path()
                );
            }
        }
    }

    #[test]
    fn one_object_without_parts_is_found_by_its_key() {
        let alone = |words: &[&str]| selection(words).0.and_then(|place| place.alone()).is_some();
        assert!(alone(&["interfaces.wan.addresses.10.0.0.1/24"]));
        assert!(alone(&["vpcs.blue.description"]));
        assert!(!alone(&["vpcs.blue"]), "it has routes");
        assert!(!alone(&["vpcs"]));
    }
}
