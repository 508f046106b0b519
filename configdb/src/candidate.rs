//! Candidates: edits that are not committed yet, any number of them, each under a name.

use rewire_schema::Changeset;
use rewire_schema::types::Name;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{During, Error};
use crate::journal::{self, Counts};
use crate::merge;
use crate::store::Store;

/// Edits that are not committed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The revision that the edits are made on.
    pub base: u64,
    /// The edits.
    pub changeset: Changeset,
    /// Objects that are not complete yet, in an editor's words; empty where there are none. The store keeps them, and
    /// knows no more of them: they are no part of a commit.
    pub drafts: String,
    /// Who saved them last.
    pub author: String,
    /// When, in microseconds since the Unix epoch.
    pub updated_at: i64,
    /// A number from 1 that every save of any candidate makes a new one of, so that it never comes again. What
    /// [`CandidateEdit::expected_version`] is compared with.
    pub version: u64,
}

/// What to save as a candidate.
#[derive(Clone, Copy, Debug)]
pub struct CandidateEdit<'a> {
    /// The revision that the edits are made on.
    pub base: u64,
    /// The edits. They need not be consistent, and may be empty. That they expect the rows that the base has is not looked
    /// at here: a commit refuses those that do not, and [`Store::verify`] finds them.
    pub changeset: &'a Changeset,
    /// Objects that are not complete yet; see [`Candidate::drafts`].
    pub drafts: &'a str,
    /// Who saves.
    pub author: &'a str,
    /// The version that the edits were made on, 0 for a name that was free: saving over any other is refused. None
    /// saves over whatever is there.
    pub expected_version: Option<u64>,
}

/// A candidate in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateSummary {
    /// Its name.
    pub name: String,
    /// The revision that the edits are made on.
    pub base: u64,
    /// Who saved it last.
    pub author: String,
    /// When, in microseconds since the Unix epoch.
    pub updated_at: i64,
    /// See [`Candidate::version`].
    pub version: u64,
    /// How many rows it touches.
    pub counts: Counts,
    /// Whether it holds objects that are not complete yet.
    pub has_drafts: bool,
}

const READING: &str = "reading a candidate";
const SAVING: &str = "saving a candidate";

impl Store {
    /// The candidate of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`]; [`Error::Journal`] where its changeset cannot be read.
    pub fn candidate(&self, name: &str) -> Result<Option<Candidate>, Error> {
        find(&self.connection, name)
    }

    /// All candidates in short, by name. No changeset is read.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn candidates(&self) -> Result<Vec<CandidateSummary>, Error> {
        let during = "reading the candidates";
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT name, base_revision, author, updated_at, version, inserted, updated, deleted, drafts <> ''
                 FROM candidate ORDER BY name",
            )
            .during(during)?;
        let summaries = statement.query_map([], |row| {
            Ok(CandidateSummary {
                name: row.get(0)?,
                base: row.get(1)?,
                author: row.get(2)?,
                updated_at: row.get(3)?,
                version: row.get(4)?,
                counts: journal::counts(row, 5)?,
                has_drafts: row.get(8)?,
            })
        });
        let summaries = summaries.during(during)?;
        summaries.collect::<Result<_, _>>().during(during)
    }

    /// Saves a candidate, in the place of an earlier one of its name; gives its new version. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`]; [`Error::CandidateChanged`] where somebody else saved, renamed or removed it since the edits
    /// began; [`Error::NoSuchRevision`] where the base is in the future, [`Error::Pruned`] where it is too far in the
    /// past; [`Error::Busy`], [`Error::Sqlite`].
    pub fn save_candidate(&mut self, name: &str, edit: CandidateEdit<'_>) -> Result<u64, Error> {
        expect_name(name)?;
        let transaction = self.begin()?;
        if let Some(expected) = edit.expected_version {
            expect_version(&transaction, name, expected)?;
        }
        journal::expect_state(&transaction, edit.base)?;
        let version = save(&transaction, name, edit, (self.clock)())?;
        transaction.commit().during(SAVING)?;
        Ok(version)
    }

    /// Gives a candidate another name, and with it another version.
    ///
    /// # Errors
    ///
    /// [`Error::BadName`]; [`Error::NoSuchCandidate`]; [`Error::CandidateExists`] where the new name is taken;
    /// [`Error::Busy`], [`Error::Sqlite`].
    pub fn rename_candidate(&mut self, from: &str, to: &str) -> Result<(), Error> {
        let during = "renaming a candidate";
        expect_name(to)?;
        let transaction = self.begin()?;
        if version(&transaction, from)?.is_none() {
            return Err(Error::NoSuchCandidate {
                name: from.to_owned(),
            });
        }
        if from == to {
            return Ok(());
        }
        if version(&transaction, to)?.is_some() {
            return Err(Error::CandidateExists {
                name: to.to_owned(),
            });
        }
        let version = next_version(&transaction)?;
        transaction
            .prepare_cached("UPDATE candidate SET name = ?2, version = ?3 WHERE name = ?1")
            .and_then(|mut statement| statement.execute(params![from, to, version]))
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

    /// Moves a candidate onto the last revision: its edits are merged, field by field, with what was committed since its
    /// base. Its drafts stay as they are. One that is there already is left alone. Cost: the changesets since its base.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchCandidate`]; [`Error::Conflicts`], where nothing is changed; [`Error::Pruned`] where its base is
    /// older than the journal; [`Error::Journal`], [`Error::Busy`], [`Error::Sqlite`].
    pub fn rebase_candidate(&mut self, name: &str) -> Result<Candidate, Error> {
        let transaction = self.begin()?;
        let Some(mut candidate) = find(&transaction, name)? else {
            return Err(Error::NoSuchCandidate {
                name: name.to_owned(),
            });
        };
        let head = journal::revision(&transaction)?;
        if candidate.base == head {
            return Ok(candidate);
        }
        candidate.changeset =
            merge::onto_head(&transaction, candidate.base, head, &candidate.changeset)?;
        candidate.base = head;
        let edit = CandidateEdit {
            base: head,
            changeset: &candidate.changeset,
            drafts: &candidate.drafts,
            author: &candidate.author,
            expected_version: None,
        };
        candidate.updated_at = (self.clock)();
        candidate.version = save(&transaction, name, edit, candidate.updated_at)?;
        transaction.commit().during(SAVING)?;
        Ok(candidate)
    }
}

/// Names of candidates and tags are those of objects.
pub(crate) fn expect_name(name: &str) -> Result<(), Error> {
    match name.parse::<Name>() {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::BadName { source }),
    }
}

fn find(connection: &Connection, name: &str) -> Result<Option<Candidate>, Error> {
    let mut statement = connection
        .prepare_cached(
            "SELECT base_revision, author, updated_at, version, drafts, changeset FROM candidate WHERE name = ?1",
        )
        .during(READING)?;
    let found = statement
        .query_row([name], |row| {
            let candidate = Candidate {
                base: row.get(0)?,
                author: row.get(1)?,
                updated_at: row.get(2)?,
                version: row.get(3)?,
                drafts: row.get(4)?,
                changeset: Changeset::default(),
            };
            Ok((candidate, row.get::<_, Vec<u8>>(5)?))
        })
        .optional()
        .during(READING)?;
    let Some((candidate, bytes)) = found else {
        return Ok(None);
    };
    let changeset = decode(name, &bytes)?;
    Ok(Some(Candidate {
        changeset,
        ..candidate
    }))
}

fn decode(name: &str, bytes: &[u8]) -> Result<Changeset, Error> {
    rewire_journal::decode(bytes).map_err(|source| Error::Journal {
        what: format!("candidate \"{name}\""),
        source,
    })
}

fn version(connection: &Connection, name: &str) -> Result<Option<u64>, Error> {
    connection
        .prepare_cached("SELECT version FROM candidate WHERE name = ?1")
        .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
        .during(READING)
}

/// Checks that nobody saved, renamed or removed a candidate since it had this version; 0 where there was none.
pub(crate) fn expect_version(
    connection: &Connection,
    name: &str,
    expected: u64,
) -> Result<(), Error> {
    let found = version(connection, name)?.unwrap_or(0);
    if found == expected {
        return Ok(());
    }
    Err(Error::CandidateChanged {
        name: name.to_owned(),
        expected,
        found,
        author: find(connection, name)?.map(|candidate| candidate.author),
    })
}

fn save(
    connection: &Connection,
    name: &str,
    edit: CandidateEdit<'_>,
    now: i64,
) -> Result<u64, Error> {
    let counts = Counts::of(edit.changeset);
    let version = next_version(connection)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO candidate
               (name, base_revision, author, updated_at, version, inserted, updated, deleted, drafts, changeset)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                name,
                edit.base,
                edit.author,
                now,
                version,
                counts.inserted,
                counts.updated,
                counts.deleted,
                edit.drafts,
                rewire_journal::encode(edit.changeset)
            ])
        })
        .during(SAVING)?;
    Ok(version)
}

fn next_version(connection: &Connection) -> Result<u64, Error> {
    let sql =
        "UPDATE meta SET candidate_version = candidate_version + 1 RETURNING candidate_version";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .during(SAVING)
}

pub(crate) fn discard(connection: &Connection, name: &str) -> Result<bool, Error> {
    let during = "removing a candidate";
    let mut statement = connection
        .prepare_cached("DELETE FROM candidate WHERE name = ?1")
        .during(during)?;
    Ok(statement.execute([name]).during(during)? > 0)
}

/// Counts every candidate's changeset anew.
pub(crate) fn count_all(connection: &Connection) -> Result<(), Error> {
    let during = "counting the candidates' changes";
    let mut statement = connection
        .prepare("SELECT name, changeset FROM candidate")
        .during(during)?;
    let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let found: Vec<(String, Vec<u8>)> = found.and_then(|rows| rows.collect()).during(during)?;
    for (name, bytes) in found {
        let counts = Counts::of(&decode(&name, &bytes)?);
        let sql = "UPDATE candidate SET inserted = ?2, updated = ?3, deleted = ?4 WHERE name = ?1";
        connection
            .execute(
                sql,
                params![name, counts.inserted, counts.updated, counts.deleted],
            )
            .during(during)?;
    }
    Ok(())
}
