//! Tags: names for revisions.

use rusqlite::{Connection, params};

use crate::candidate::expect_name;
use crate::error::{During, Error};
use crate::journal;
use crate::store::Store;

/// A name for a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name.
    pub name: String,
    /// The revision.
    pub revision: u64,
    /// Who gave it.
    pub author: String,
    /// When, in microseconds since the Unix epoch.
    pub tagged_at: i64,
}

const READING: &str = "reading the tags";

impl Store {
    /// Gives a revision a name. A revision may have several; it is not pruned while it has one.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`]; [`Error::TagExists`] where the name is taken, be it by this revision; [`Error::NoSuchRevision`],
    /// [`Error::Pruned`]; [`Error::Busy`], [`Error::Sqlite`].
    pub fn tag(&mut self, name: &str, revision: u64, author: &str) -> Result<(), Error> {
        let during = "writing a tag";
        expect_name(name)?;
        let transaction = self.begin()?;
        journal::expect_state(&transaction, revision)?;
        if let Some(tag) = matching(&transaction, "name = ?1", name)?.pop() {
            return Err(Error::TagExists {
                name: tag.name,
                revision: tag.revision,
            });
        }
        transaction
            .prepare_cached(
                "INSERT INTO tag (name, revision, author, tagged_at) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut statement| {
                statement.execute(params![name, revision, author, (self.clock)()])
            })
            .during(during)?;
        transaction.commit().during(during)
    }

    /// Takes a name away; gives what it was, if it was one.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Sqlite`].
    pub fn untag(&mut self, name: &str) -> Result<Option<Tag>, Error> {
        let during = "removing a tag";
        let transaction = self.begin()?;
        let tag = matching(&transaction, "name = ?1", name)?.pop();
        transaction
            .prepare_cached("DELETE FROM tag WHERE name = ?1")
            .and_then(|mut statement| statement.execute([name]))
            .during(during)?;
        transaction.commit().during(during)?;
        Ok(tag)
    }

    /// All tags, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn tags(&self) -> Result<Vec<Tag>, Error> {
        matching(&self.connection, "?1 IS NULL", None::<u64>)
    }
}

/// The tags of revisions up to this one.
pub(crate) fn up_to(connection: &Connection, revision: u64) -> Result<Vec<Tag>, Error> {
    matching(connection, "revision <= ?1", revision)
}

fn matching(
    connection: &Connection,
    condition: &str,
    parameter: impl rusqlite::ToSql,
) -> Result<Vec<Tag>, Error> {
    let sql = format!(
        "SELECT name, revision, author, tagged_at FROM tag WHERE {condition} ORDER BY name"
    );
    let mut statement = connection.prepare_cached(&sql).during(READING)?;
    let tags = statement.query_map([parameter], |row| {
        Ok(Tag {
            name: row.get(0)?,
            revision: row.get(1)?,
            author: row.get(2)?,
            tagged_at: row.get(3)?,
        })
    });
    tags.and_then(|tags| tags.collect()).during(READING)
}
