//! The journal as a file: to keep it elsewhere, to make a store of it, to carry entries to another store of the same
//! identity.

use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use rewire_journal::export::{Floor, Header, Reader, Writer};
use rewire_journal::{Entry, StateDigest};
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::journal::{self, Counts, Head};
use crate::store::{SCHEMA_VERSION, Store};
use crate::{apply, confirmation, constraint, file, lock, rows};

/// What an import found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many entries of the file were there already, and are the same.
    pub known: u64,
    /// How many entries were appended.
    pub added: u64,
    /// The last revision now.
    pub head: u64,
}

impl Store {
    /// Writes the entries of a range of revisions to a file; gives how many. An empty range, such as `4..=3`, makes a
    /// file without entries. Cost: those entries, one in memory at a time.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`]; [`Error::File`] where the file cannot be written, or an entry breaks
    /// the chain; [`Error::Sqlite`], [`Error::Damaged`].
    pub fn export(&self, revisions: RangeInclusive<u64>, sink: impl Write) -> Result<u64, Error> {
        let snapshot = self.snapshot()?;
        let (first, last) = (*revisions.start(), *revisions.end());
        let floor = journal::head_at(&snapshot, first.saturating_sub(1))?;
        journal::expect_state(&snapshot, last)?;
        let mut writer = Writer::new(
            sink,
            &Header {
                identity: self.identity(),
                floor: Floor {
                    revision: floor.revision,
                    hash: floor.hash_or_genesis(&self.identity()),
                    state_digest: floor.digest,
                },
            },
        )?;
        let mut count = 0;
        journal::for_each_entry(&snapshot, floor.revision + 1..=last, |entry| {
            count += 1;
            Ok(writer.write(&entry)?)
        })?;
        writer.finish()?;
        Ok(count)
    }

    /// Makes a store of a whole journal, with the identity of the one that it is of, and opens it. Every entry is applied
    /// and compared with the digest on record. When this returns, the store is durable; if it fails or the power does,
    /// there is none. Cost: the journal.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::Incomplete`] where the file does not begin at the beginning; [`Error::File`];
    /// [`Error::NewerEntry`]; where an entry cannot be applied, [`Error::Journal`], [`Error::NotReplayed`] and
    /// [`Error::DigestMismatch`], which name its revision; [`Error::Io`], [`Error::Sqlite`].
    pub fn create_from(path: impl AsRef<Path>, source: impl Read) -> Result<Store, Error> {
        let mut reader = Reader::new(source)?;
        let Header { identity, floor } = *reader.header();
        if floor.revision > 0 {
            return Err(Error::Incomplete {
                floor: floor.revision,
            });
        }
        file::create(path.as_ref(), |connection| {
            let during = "replaying the journal";
            connection.set_prepared_statement_cache_capacity(rows::statement_count());
            connection.execute_batch("BEGIN IMMEDIATE").during(during)?;
            connection
                .execute("UPDATE meta SET identity = ?1", [identity])
                .during(during)?;
            let mut head = journal::floor(connection)?;
            for entry in &mut reader {
                head = replay(connection, head, &entry?)?;
            }
            connection.execute_batch("COMMIT").during(during)
        })?;
        Store::open(path)
    }

    /// Appends the entries of a file that follow the last one, in one transaction: all of them or none. Those that are
    /// there already are compared by their hashes; those that were pruned are passed over. Like any commit, new entries
    /// confirm what waits for its confirmation. No checker is asked: whoever wrote the file was let through.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignJournal`]; [`Error::Diverged`]; [`Error::Gap`] where entries between are missing; [`Error::File`];
    /// [`Error::Locked`]; as [`Store::create_from`] for entries that cannot be applied; [`Error::Busy`],
    /// [`Error::Sqlite`].
    pub fn import(&mut self, source: impl Read) -> Result<Imported, Error> {
        let mut reader = Reader::new(source)?;
        let Header { identity, floor } = *reader.header();
        if identity != self.identity() {
            return Err(Error::ForeignJournal {
                ours: self.identity(),
                theirs: identity,
            });
        }
        let transaction = self.begin()?;
        lock::expect_free(&transaction, &self.sessions)?;
        let own_floor = journal::floor(&transaction)?.revision;
        let mut head = journal::head(&transaction)?;
        let mut imported = Imported::default();
        if floor.revision > head.revision {
            return Err(Error::Gap {
                head: head.revision,
                floor: floor.revision,
            });
        }
        if floor.revision >= own_floor {
            let own = journal::head_at(&transaction, floor.revision)?;
            expect_same(own.hash_or_genesis(&identity) == floor.hash, floor.revision)?;
        }
        for entry in &mut reader {
            let entry = entry?;
            let revision = entry.revision;
            if revision > head.revision {
                head = replay(&transaction, head, &entry)?;
                imported.added += 1;
            } else if revision >= own_floor {
                let own = journal::head_at(&transaction, revision)?;
                expect_same(own.hash == Some(entry.hash), revision)?;
                imported.known += 1;
            }
        }
        if imported.added > 0 {
            confirmation::clear(&transaction)?;
        }
        imported.head = head.revision;
        transaction.commit().during("importing the journal")?;
        Ok(imported)
    }
}

fn expect_same(same: bool, revision: u64) -> Result<(), Error> {
    match same {
        true => Ok(()),
        false => Err(Error::Diverged { revision }),
    }
}

/// Applies an entry, which the reader has found to follow the one before it, and appends it to the journal as it is; gives the
/// new end.
fn replay(connection: &Connection, head: Head, entry: &Entry) -> Result<Head, Error> {
    let revision = entry.revision;
    if entry.schema_version > SCHEMA_VERSION {
        return Err(Error::NewerEntry {
            revision,
            entry: entry.schema_version,
            ours: SCHEMA_VERSION,
        });
    }
    let changeset = journal::changeset(entry)?;
    // A disk that fails meanwhile is no fault of the entry's.
    let not_replayed = |source: Error| match source.is_refusal() {
        true => Error::NotReplayed {
            revision,
            source: Box::new(source),
        },
        false => source,
    };
    apply::apply(connection, &changeset).map_err(not_replayed)?;
    if constraint::has_dangling(connection)? {
        let dangling = constraint::find_dangling(connection, &changeset)?;
        return Err(not_replayed(Error::Dangling(dangling)));
    }
    let mut digest: StateDigest = head.digest;
    digest.apply(&changeset);
    if digest != entry.state_digest {
        return Err(Error::DigestMismatch {
            revision,
            expected: entry.state_digest,
            found: digest,
            row: None,
        });
    }
    journal::insert(connection, entry, Counts::of(&changeset))?;
    Ok(Head {
        revision,
        hash: Some(entry.hash),
        digest,
    })
}
