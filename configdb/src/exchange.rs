//! The journal as a file: to keep it elsewhere, to make a store of it, to carry entries to another store of the same
//! identity.

use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;

use rewire_journal::export::{Floor, Header, Reader, Writer};
use rewire_journal::{Entry, StateDigest};
use rewire_schema::{Change, Changeset, Configuration};
use rusqlite::{Connection, params};

use crate::commit::Checker;
use crate::error::{During, Error};
use crate::history::state_at;
use crate::journal::{self, Counts, Head};
use crate::reader::Running;
use crate::store::{SCHEMA_VERSION, Store};
use crate::{apply, confirmation, constraint, file, lock, rows};

/// How many rows of a state are in one piece of a file. Part of the format: equal journals have equal files.
const PIECE: usize = 4096;

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
    /// file without entries. Where the range begins with a journal that was pruned, the file holds the state before it,
    /// too, so that a store can be made of it. Cost: those entries, one in memory at a time; for the state, all rows, and
    /// the changesets since.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`]; [`Error::File`] where the file cannot be written, or an entry breaks
    /// the chain; as [`Store::configuration_at`] where the state cannot be told; [`Error::Sqlite`], [`Error::Damaged`].
    pub fn export(&self, revisions: RangeInclusive<u64>, sink: impl Write) -> Result<u64, Error> {
        let snapshot = self.snapshot()?;
        let (first, last) = (*revisions.start(), *revisions.end());
        let floor = journal::head_at(&snapshot, first.saturating_sub(1))?;
        journal::expect_state(&snapshot, last)?;
        let revisions = floor.revision + 1..=last;
        let has_state = floor.revision > 0
            && floor.revision == journal::floor(&snapshot)?.revision
            && !revisions.is_empty();
        let mut writer = Writer::new(
            sink,
            &Header {
                identity: self.identity(),
                floor: Floor {
                    revision: floor.revision,
                    hash: floor.hash_or_genesis(&self.identity()),
                    state_digest: floor.digest,
                },
                has_state,
            },
        )?;
        if has_state {
            let state = state_at(&snapshot, floor.revision)?;
            let mut rows = state.rows().map(Change::Insert).peekable();
            while rows.peek().is_some() {
                writer.write_rows(&rows.by_ref().take(PIECE).collect())?;
            }
        }
        let mut count = 0;
        journal::for_each_entry(&snapshot, revisions, |entry| {
            count += 1;
            Ok(writer.write(&entry)?)
        })?;
        writer.finish()?;
        Ok(count)
    }

    /// Makes a store of a journal, with the identity of the one that it is of, and opens it. The journal is whole, or holds
    /// the state that it begins with: the store is then as if it had been pruned up to there. Every entry is applied and
    /// compared with the digest on record, and the last state has to pass the checker: what came before is history. When
    /// this returns, the store is durable; if it fails or the power does, there is none. Cost: the journal, and a check of
    /// all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`]; [`Error::Incomplete`] where the file does not begin at the beginning, or with a state;
    /// [`Error::File`]; [`Error::NewerEntry`]; where the state or an entry cannot be applied, [`Error::Journal`],
    /// [`Error::NotReplayed`] and [`Error::DigestMismatch`], which name its revision; [`Error::Unusable`];
    /// [`Error::Io`], [`Error::Sqlite`].
    pub fn create_from(
        path: impl AsRef<Path>,
        source: impl Read,
        checker: &mut dyn Checker,
    ) -> Result<Store, Error> {
        let mut reader = Reader::new(source)?;
        let Header {
            identity,
            floor,
            has_state,
        } = *reader.header();
        if floor.revision > 0 && !has_state {
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
            let mut head = match has_state {
                true => begin_with_state(connection, &mut reader)?,
                false => journal::floor(connection)?,
            };
            for entry in &mut reader {
                head = replay(connection, head, &entry?)?;
            }
            expect_usable(connection, head.revision, &all_rows(connection)?, checker)?;
            connection.execute_batch("COMMIT").during(during)
        })?;
        Store::open(path)
    }

    /// Appends the entries of a file that follow the last one, in one transaction: all of them or none. Those that are
    /// there already are compared by their hashes; those that were pruned are passed over. A store without any takes over a
    /// file with a state as [`Store::create_from`] does. Like any commit, new entries confirm what waits for its
    /// confirmation. The last state has to pass the checker: whoever wrote the file may have had another one.
    ///
    /// Cost: the entries, those that are new twice, and a check of what they change.
    ///
    /// # Errors
    ///
    /// [`Error::ForeignJournal`]; [`Error::Diverged`]; [`Error::Gap`] where entries between are missing; [`Error::File`];
    /// [`Error::Locked`]; as [`Store::create_from`] for what cannot be applied, and for a state that is refused;
    /// [`Error::Busy`], [`Error::Sqlite`].
    pub fn import(
        &mut self,
        source: impl Read,
        checker: &mut dyn Checker,
    ) -> Result<Imported, Error> {
        let mut reader = Reader::new(source)?;
        let Header {
            identity,
            floor,
            has_state,
        } = *reader.header();
        if identity != self.identity() {
            return Err(Error::ForeignJournal {
                ours: self.identity(),
                theirs: identity,
            });
        }
        let transaction = self.begin()?;
        lock::expect_free(&transaction, &self.sessions)?;
        let before = journal::head(&transaction)?;
        let mut head = before;
        if before.revision == 0 && has_state {
            head = begin_with_state(&transaction, &mut reader)?;
        }
        let own_floor = journal::floor(&transaction)?.revision;
        let mut imported = Imported::default();
        if floor.revision > head.revision {
            return Err(Error::Gap {
                head: head.revision,
                floor: floor.revision,
            });
        }
        if floor.revision >= own_floor {
            let own = journal::head_at(&transaction, floor.revision)?;
            let same =
                own.hash_or_genesis(&identity) == floor.hash && own.digest == floor.state_digest;
            expect_same(same, floor.revision)?;
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
            let changed = match before.revision < own_floor {
                true => all_rows(&transaction)?,
                false => journal::fold(&transaction, before.revision + 1..=head.revision)?,
            };
            expect_usable(&transaction, head.revision, &changed, checker)?;
        }
        imported.head = head.revision;
        transaction.commit().during("importing the journal")?;
        Ok(imported)
    }
}

/// Fills a store that has nothing with the state at a file's floor, and begins the journal there: as if it had been pruned. Gives
/// where the entries go on.
fn begin_with_state(
    connection: &Connection,
    reader: &mut Reader<impl Read>,
) -> Result<Head, Error> {
    let during = "beginning the journal";
    let floor = reader.header().floor;
    let not_replayed = not_replayed(floor.revision);
    while let Some(rows) = reader.next_rows()? {
        apply::apply(connection, &rows).map_err(not_replayed)?;
    }
    if constraint::has_dangling(connection)? {
        let dangling = constraint::find_dangling(connection, &all_rows(connection)?)?;
        return Err(not_replayed(Error::Dangling(dangling)));
    }
    let (revision, hash) = (floor.revision, floor.hash);
    let (digest_bytes, hash_bytes) = (floor.state_digest.to_bytes(), hash.to_bytes());
    // The database makes a checkpoint of an entry, and of nothing else. Here it is all that is left of one: what the
    // checkpoint does not keep is not known any more, and goes at once.
    connection
        .execute(
            "INSERT INTO journal (revision, author, message, committed_at, schema_version, parent, state_digest, hash,
               inserted, updated, deleted, touched, changeset)
             VALUES (?1, '', '', 0, ?2, ?3, ?4, ?3, 0, 0, 0, x'', x'')",
            params![revision, SCHEMA_VERSION, hash_bytes, digest_bytes],
        )
        .during(during)?;
    connection
        .execute(
            "INSERT INTO checkpoint (only, revision, hash, state_digest) VALUES (1, ?1, ?2, ?3)",
            params![revision, hash_bytes, digest_bytes],
        )
        .during(during)?;
    connection
        .execute("DELETE FROM journal WHERE revision = ?1", [revision])
        .during(during)?;
    // As when pruning: the empty beginning may have had a name.
    connection
        .execute("DELETE FROM tag WHERE revision < ?1", [revision])
        .during(during)?;
    Ok(Head {
        revision,
        hash: Some(hash),
        digest: floor.state_digest,
    })
}

/// All rows, as what changed since there were none.
fn all_rows(connection: &Connection) -> Result<Changeset, Error> {
    let configuration = rows::configuration(connection)?;
    Ok(Changeset::between(
        &Configuration::default(),
        &configuration,
    ))
}

/// Asks the checker about the last state, which `changed` has led to.
fn expect_usable(
    connection: &Connection,
    revision: u64,
    changed: &Changeset,
    checker: &mut dyn Checker,
) -> Result<(), Error> {
    if changed.is_empty() {
        return Ok(());
    }
    checker
        .check(revision, &Running(connection), changed)
        .map_err(|source| Error::Unusable { revision, source })
}

/// Says of which revision it is that something cannot be applied. A disk that fails meanwhile is no fault of its.
fn not_replayed(revision: u64) -> impl Fn(Error) -> Error + Copy {
    move |source: Error| match source.is_refusal() {
        true => Error::NotReplayed {
            revision,
            source: Box::new(source),
        },
        false => source,
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
    let not_replayed = not_replayed(revision);
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
