//! The journal, read through diesel on a connection of its own. Entries only ever come after each other, so that a
//! revision that one connection has seen is there for the other, as it was and ever will be.

use std::ops::RangeInclusive;

use diesel::prelude::*;
use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
use rewire_schema::{Changeset, Configuration};

use crate::error::{During, Error};
use crate::file;
use crate::store::Store;

diesel::table! {
    journal (revision) {
        revision -> BigInt,
        rewind_to -> Nullable<BigInt>,
        author -> Text,
        message -> Text,
        committed_at -> BigInt,
        schema_version -> BigInt,
        parent -> Binary,
        state_digest -> Binary,
        hash -> Binary,
        changeset -> Binary,
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = journal)]
#[diesel(check_for_backend(diesel::sqlite::Sqlite))]
struct Record {
    revision: i64,
    rewind_to: Option<i64>,
    author: String,
    message: String,
    committed_at: i64,
    schema_version: i64,
    parent: Vec<u8>,
    state_digest: Vec<u8>,
    hash: Vec<u8>,
    changeset: Vec<u8>,
}

impl TryFrom<Record> for Entry {
    type Error = Error;
    fn try_from(record: Record) -> Result<Self, Error> {
        let number = record.revision;
        let damaged = |column: &str| Error::Damaged {
            why: format!("journal entry {number}: column {column} is not what it should be"),
        };
        let bytes =
            |column: &str, bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).map_err(|_| damaged(column));
        let kind = match record.rewind_to {
            None => EntryKind::Commit,
            Some(to) => EntryKind::Rewind {
                to: u64::try_from(to).map_err(|_| damaged("rewind_to"))?,
            },
        };
        Ok(Entry {
            revision: u64::try_from(record.revision).map_err(|_| damaged("revision"))?,
            kind,
            author: record.author,
            message: record.message,
            committed_at: record.committed_at,
            schema_version: u32::try_from(record.schema_version)
                .map_err(|_| damaged("schema_version"))?,
            parent: Hash::from_bytes(bytes("parent", record.parent)?),
            state_digest: StateDigest::from_bytes(bytes("state_digest", record.state_digest)?),
            changeset: record.changeset,
            hash: Hash::from_bytes(bytes("hash", record.hash)?),
        })
    }
}

/// How many entries are held in memory at once while many are gone through.
const PAGE: u64 = 64;

impl Store {
    /// Reads through the connection for reading, which is made when it is first needed.
    fn read<T>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> QueryResult<T>,
    ) -> Result<T, Error> {
        let during = "reading the journal";
        let mut reader = self.reader.borrow_mut();
        let connection = match &mut *reader {
            Some(connection) => connection,
            none => none.insert(file::connect(self.path(), "mode=ro", during)?),
        };
        read(connection).during(during)
    }

    /// The journal entry of a revision.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Diesel`], [`Error::Damaged`].
    pub fn entry(&self, revision: u64) -> Result<Entry, Error> {
        let number = i64::try_from(revision).unwrap_or(i64::MAX);
        let found = self.read(|connection| {
            journal::table
                .find(number)
                .select(Record::as_select())
                .first(connection)
                .optional()
        })?;
        match found {
            Some(record) => record.try_into(),
            None => Err(Error::NoSuchRevision {
                revision,
                head: self.head()?,
            }),
        }
    }

    /// The last entries, the newest first; at most `limit`. Their changesets come with them.
    ///
    /// # Errors
    ///
    /// [`Error::Diesel`], [`Error::Damaged`].
    pub fn log(&self, limit: usize) -> Result<Vec<Entry>, Error> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let records: Vec<Record> = self.read(|connection| {
            let newest = journal::table.order(journal::revision.desc()).limit(limit);
            newest.select(Record::as_select()).load(connection)
        })?;
        records.into_iter().map(Entry::try_from).collect()
    }

    /// What changed after `revision`, oldest first: all that a follower who has that revision needs. Empty where it is
    /// the last one. Cost: those changesets.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Diesel`]; [`Error::Journal`] where a changeset cannot be decoded.
    pub fn changesets_since(&self, revision: u64) -> Result<Vec<(u64, Changeset)>, Error> {
        let head = self.head()?;
        expect_revision(revision, head)?;
        let mut changesets = Vec::new();
        self.for_each_entry(revision + 1..=head, |entry| {
            changesets.push((entry.revision, changeset(&entry)?));
            Ok(())
        })?;
        Ok(changesets)
    }

    /// The state of any revision: the running one, taken back step by step. Cost: all rows, and the changesets since.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`]; [`Error::DigestMismatch`] where the outcome is not what the journal says;
    /// [`Error::Sqlite`], [`Error::Diesel`], [`Error::Journal`], [`Error::Mismatch`], [`Error::Damaged`].
    pub fn configuration_at(&self, revision: u64) -> Result<Configuration, Error> {
        let (head, mut configuration) = self.head_and_configuration()?;
        expect_revision(revision, head)?;
        let back = self.way_back(head, revision)?;
        configuration.apply(&back)?;
        let expected = match revision {
            0 => StateDigest::EMPTY,
            revision => self.entry(revision)?.state_digest,
        };
        let found = StateDigest::of(&configuration);
        if found != expected {
            return Err(Error::DigestMismatch {
                revision,
                expected,
                found,
                row: None,
            });
        }
        Ok(configuration)
    }

    /// The changeset that leads from the last revision back to the state of `to`, to be committed as
    /// [`EntryKind::Rewind`]. Empty where the states are equal. Revision 0 is the empty configuration. Cost: the
    /// changesets since, not the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Diesel`], [`Error::Journal`], [`Error::Mismatch`].
    pub fn rewind_changeset(&self, to: u64) -> Result<Changeset, Error> {
        let head = self.head()?;
        expect_revision(to, head)?;
        self.way_back(head, to)
    }

    /// The inverses of the changesets after `to` up to `from`, newest first, in one.
    fn way_back(&self, from: u64, to: u64) -> Result<Changeset, Error> {
        // Gathered forwards, as entries are read, and turned round at the end: (ab)⁻¹ = b⁻¹a⁻¹.
        let mut forwards = Changeset::default();
        self.for_each_entry(to + 1..=from, |entry| {
            Ok(forwards.then(&changeset(&entry)?)?)
        })?;
        Ok(forwards.inverse())
    }

    /// Goes through the entries of a range in order, a page at a time.
    pub(crate) fn for_each_entry(
        &self,
        revisions: RangeInclusive<u64>,
        mut each: impl FnMut(Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = *revisions.start();
        while next <= *revisions.end() {
            let last = revisions.end().min(&(next + PAGE - 1)).to_owned();
            let bound = |revision: u64| i64::try_from(revision).unwrap_or(i64::MAX);
            let page: Vec<Record> = self.read(|connection| {
                let page =
                    journal::table.filter(journal::revision.between(bound(next), bound(last)));
                page.order(journal::revision)
                    .select(Record::as_select())
                    .load(connection)
            })?;
            for record in page {
                each(record.try_into()?)?;
            }
            next = last + 1;
        }
        Ok(())
    }
}

fn expect_revision(revision: u64, head: u64) -> Result<(), Error> {
    if revision > head {
        Err(Error::NoSuchRevision { revision, head })
    } else {
        Ok(())
    }
}

/// What an entry changed.
pub(crate) fn changeset(entry: &Entry) -> Result<Changeset, Error> {
    entry.decode_changeset().map_err(|source| Error::Journal {
        what: format!("revision {}", entry.revision),
        source,
    })
}
