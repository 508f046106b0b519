//! A part of the configuration by its path, as people type it.

use std::collections::BTreeSet;
use std::fmt;

use rewire_configdb::Store;
use rewire_schema::{Change, Changeset, Path, Row, RowKey};

use crate::failure::Failure;
use crate::view;

/// What a path leads to: an object, a field, or all objects below. Nothing typed is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection(Option<String>);

/// The words of a path.
#[derive(clap::Args)]
pub(crate) struct PathWords {
    /// Only what this path leads to: vpcs.blue.routes, or vpcs blue routes
    #[arg(value_name = "PATH", add = crate::completion::paths())]
    path: Vec<String>,
}

impl PathWords {
    /// What the words lead to.
    pub(crate) fn selection(&self) -> Selection {
        Selection(match self.path.as_slice() {
            [] => None,
            [dotted] => Some(dotted.clone()),
            steps => Some(Path::new(steps).to_string()),
        })
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("the document"))
    }
}

impl Selection {
    /// Whether nothing was typed.
    pub(crate) fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// The rows of the running configuration that it leads to.
    pub(crate) fn rows(&self, store: &Store) -> Result<Vec<Row>, Failure> {
        let configuration = store.configuration()?;
        Ok(configuration
            .rows()
            .filter(|row| self.touches(row))
            .collect())
    }

    /// The keys of the rows that it leads to: of those that are there, or were before.
    pub(crate) fn keys(&self, store: &Store) -> Result<Vec<RowKey>, Failure> {
        let mut keys: BTreeSet<RowKey> = self.rows(store)?.iter().map(Row::row_key).collect();
        for revision in 1..=store.head()? {
            let changeset = view::changeset(&store.entry(revision)?)?;
            let touched = changeset.iter().filter(|change| self.touches(change.row()));
            keys.extend(touched.map(|change| change.row().row_key()));
        }
        Ok(keys.into_iter().collect())
    }

    /// Whether it leads to the row as a whole: to its object, or to something above that.
    pub(crate) fn covers(&self, row: &Path) -> bool {
        let Some(wanted) = &self.0 else {
            return true;
        };
        let text = row.to_string();
        let below = text.strip_prefix(wanted.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Whether it leads to a field of the row, alone or with the whole row.
    pub(crate) fn covers_field(&self, row: &Path, field: &str) -> bool {
        self.covers(row)
            || self
                .0
                .as_ref()
                .is_some_and(|wanted| *wanted == row.join(field).to_string())
    }

    /// Whether it leads to the row, or to a field of it.
    pub(crate) fn touches(&self, row: &Row) -> bool {
        let path = row.path();
        self.covers(&path)
            || row
                .fields()
                .iter()
                .any(|(field, _)| self.covers_field(&path, field))
    }

    /// The changes that it leads to.
    pub(crate) fn of(&self, changeset: Changeset) -> Changeset {
        if self.0.is_none() {
            return changeset;
        }
        let changes = changeset.iter().filter(|change| self.sees(change));
        changes.cloned().collect()
    }

    fn sees(&self, change: &Change) -> bool {
        match change {
            Change::Insert(row) | Change::Delete(row) => self.touches(row),
            Change::Update { before, after } => {
                let path = after.path();
                let pairs = before.fields().into_iter().zip(after.fields());
                let mut differing = pairs.filter(|((_, old), (_, new))| old != new);
                self.covers(&path)
                    || differing.any(|((field, _), _)| self.covers_field(&path, field))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(words: &[&str]) -> Selection {
        let path = words.iter().map(|word| (*word).to_owned()).collect();
        PathWords { path }.selection()
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
            &["vpcs.blue.routes.10.0.0.0"],
            &["interfaces"],
            &[""],
            &["vpcs", "red"],
        ] {
            assert!(!selection(words).covers(&route), "{words:?}");
        }
        assert!(!selection(&["vpcs.blue.routes.10.0.0.0/8.next_hops[0]"]).covers(&route));
        let field = selection(&["vpcs.blue.routes.10.0.0.0/8.type"]);
        assert!(!field.covers(&route));
        assert!(field.covers_field(&route, "type"));
        assert!(!field.covers_field(&route, "description"));
        assert!(selection(&["vpcs"]).covers_field(&route, "type"));
    }
}
