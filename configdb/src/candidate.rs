use rewire_schema::Changeset;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{During, Error};
use crate::store::{self, Store};

/// Edits that are not committed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The revision that the edits are made on.
    pub base: u64,
    /// The edits.
    pub changeset: Changeset,
    /// Who saved them last.
    pub author: String,
    /// When, in microseconds since the Unix epoch.
    pub updated_at: i64,
}

impl Store {
    /// The candidate of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`]; [`Error::Journal`] where its changeset cannot be read.
    pub fn candidate(&self, name: &str) -> Result<Option<Candidate>, Error> {
        let during = "reading a candidate";
        let sql =
            "SELECT base_revision, author, updated_at, changeset FROM candidate WHERE name = ?1";
        let mut statement = self.connection.prepare_cached(sql).during(during)?;
        let found = statement
            .query_row([name], |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get::<_, Vec<u8>>(3)?,
                ))
            })
            .optional()
            .during(during)?;
        let Some((base, author, updated_at, bytes)) = found else {
            return Ok(None);
        };
        let changeset = rewire_journal::decode(&bytes).map_err(|source| Error::Journal {
            what: format!("candidate \"{name}\""),
            source,
        })?;
        Ok(Some(Candidate {
            base,
            changeset,
            author,
            updated_at,
        }))
    }

    /// The names of all candidates, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn candidates(&self) -> Result<Vec<String>, Error> {
        let during = "reading the candidates";
        let mut statement = self
            .connection
            .prepare_cached("SELECT name FROM candidate ORDER BY name")
            .during(during)?;
        let names = statement.query_map([], |row| row.get(0)).during(during)?;
        names.collect::<Result<_, _>>().during(during)
    }

    /// Saves a candidate, in the place of an earlier one of its name. Durable when it returns. The changeset need not be
    /// consistent, and may be empty.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`] where `base` is in the future; [`Error::Busy`], [`Error::Sqlite`].
    pub fn save_candidate(
        &mut self,
        name: &str,
        base: u64,
        changeset: &Changeset,
        author: &str,
    ) -> Result<(), Error> {
        let during = "saving a candidate";
        let transaction = self.begin()?;
        let head = store::revision(&transaction)?;
        if base > head {
            return Err(Error::NoSuchRevision {
                revision: base,
                head,
            });
        }
        transaction
            .prepare_cached(
                "INSERT INTO candidate (name, base_revision, author, updated_at, changeset) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name) DO UPDATE SET base_revision = excluded.base_revision, author = excluded.author,
                 updated_at = excluded.updated_at, changeset = excluded.changeset",
            )
            .and_then(|mut statement| {
                statement.execute(params![name, base, author, (self.clock)(), rewire_journal::encode(changeset)])
            })
            .during(during)?;
        transaction.commit().during(during)
    }

    /// Removes a candidate; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Sqlite`].
    pub fn discard_candidate(&mut self, name: &str) -> Result<bool, Error> {
        discard(&self.connection, name)
    }
}

pub(crate) fn discard(connection: &Connection, name: &str) -> Result<bool, Error> {
    let during = "removing a candidate";
    let mut statement = connection
        .prepare_cached("DELETE FROM candidate WHERE name = ?1")
        .during(during)?;
    Ok(statement.execute([name]).during(during)? > 0)
}
