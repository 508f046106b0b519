//! The journal's table: reading entries inside one moment, and writing them. The verbs over it are in `history`, `log`,
//! `blame`, `prune` and `exchange`.

use std::ops::{ControlFlow, RangeInclusive};

use rewire_journal::{Entry, EntryKind, Hash, JournalError, RowFilter, StateDigest};
use rewire_schema::{Change, Changeset};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::error::{During, Error};

const READING: &str = "reading the journal";

/// The end of the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    /// The hash of the last entry; none before the first.
    pub(crate) hash: Option<Hash>,
    pub(crate) digest: StateDigest,
}

impl Head {
    /// The hash that the next entry is chained to.
    pub(crate) fn hash_or_genesis(&self, identity: &[u8; 16]) -> Hash {
        self.hash
            .unwrap_or_else(|| rewire_journal::genesis(identity))
    }
}

/// The beginning of the journal: the empty state at revision 0, or the checkpoint that it was shortened to.
pub(crate) type Floor = Head;

/// How many rows a changeset touches, by what becomes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// New rows.
    pub inserted: u64,
    /// Rows with other values.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
}

impl Counts {
    /// Counts the rows of a changeset.
    pub fn of(changeset: &Changeset) -> Self {
        let mut counts = Counts::default();
        for change in changeset.iter() {
            match change {
                Change::Insert(_) => counts.inserted += 1,
                Change::Update { .. } => counts.updated += 1,
                Change::Delete(_) => counts.deleted += 1,
            }
        }
        counts
    }

    /// All rows that are touched.
    pub fn total(self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

const ENTRY: &str = "revision, rewind_to, revert_of, author, message, committed_at, schema_version, parent, state_digest, \
    hash, changeset";

/// How a revision came to be, from two columns.
pub(crate) fn kind(
    row: &Row<'_>,
    rewind_to: usize,
    revert_of: usize,
) -> rusqlite::Result<EntryKind> {
    Ok(match (row.get(rewind_to)?, row.get(revert_of)?) {
        (Some(to), None) => EntryKind::Rewind { to },
        (Some(_), Some::<u64>(_)) => {
            let name = "revert_of".to_owned();
            return Err(rusqlite::Error::InvalidColumnType(
                revert_of,
                name,
                Type::Integer,
            ));
        }
        (None, Some(of)) => EntryKind::Revert { of },
        (None, None) => EntryKind::Commit,
    })
}

/// The two columns of a kind: `rewind_to` and `revert_of`.
pub(crate) fn kind_columns(kind: EntryKind) -> (Option<u64>, Option<u64>) {
    match kind {
        EntryKind::Commit => (None, None),
        EntryKind::Rewind { to } => (Some(to), None),
        EntryKind::Revert { of } => (None, Some(of)),
    }
}

/// Reads the columns of [`ENTRY`].
fn read_entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        revision: row.get(0)?,
        kind: kind(row, 1, 2)?,
        author: row.get(3)?,
        message: row.get(4)?,
        committed_at: row.get(5)?,
        schema_version: row.get(6)?,
        parent: Hash::from_bytes(row.get(7)?),
        state_digest: StateDigest::from_bytes(row.get(8)?),
        hash: Hash::from_bytes(row.get(9)?),
        changeset: row.get(10)?,
    })
}

/// Revisions as SQLite counts: there is none above its largest integer.
fn bound(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

/// The last revision. Constant cost.
pub(crate) fn revision(connection: &Connection) -> Result<u64, Error> {
    Ok(head(connection)?.revision)
}

/// The end of the journal. Constant cost.
pub(crate) fn head(connection: &Connection) -> Result<Head, Error> {
    let during = "reading the end of the journal";
    let sql = "SELECT revision, hash, state_digest FROM journal ORDER BY revision DESC LIMIT 1";
    let last = one_head(connection, sql).during(during)?;
    last.map_or_else(|| floor(connection), Ok)
}

/// The beginning of the journal. Constant cost.
pub(crate) fn floor(connection: &Connection) -> Result<Floor, Error> {
    let sql = "SELECT revision, hash, state_digest FROM checkpoint";
    let checkpoint = one_head(connection, sql).during("reading the checkpoint")?;
    Ok(checkpoint.unwrap_or(Head {
        revision: 0,
        hash: None,
        digest: StateDigest::EMPTY,
    }))
}

fn one_head(connection: &Connection, sql: &str) -> rusqlite::Result<Option<Head>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([], read_head).optional()
}

fn read_head(row: &Row<'_>) -> rusqlite::Result<Head> {
    Ok(Head {
        revision: row.get(0)?,
        hash: Some(Hash::from_bytes(row.get(1)?)),
        digest: StateDigest::from_bytes(row.get(2)?),
    })
}

/// Checks that the state of a revision can be told: that it was committed, and is not older than the journal.
pub(crate) fn expect_state(connection: &Connection, revision: u64) -> Result<(), Error> {
    let head = self::revision(connection)?;
    if revision > head {
        return Err(Error::NoSuchRevision { revision, head });
    }
    let floor = floor(connection)?.revision;
    if revision < floor {
        return Err(Error::Pruned { revision, floor });
    }
    Ok(())
}

/// What the end of the journal was at a revision. Constant cost.
pub(crate) fn head_at(connection: &Connection, revision: u64) -> Result<Head, Error> {
    expect_state(connection, revision)?;
    let floor = floor(connection)?;
    if revision == floor.revision {
        return Ok(floor);
    }
    connection
        .prepare_cached("SELECT revision, hash, state_digest FROM journal WHERE revision = ?1")
        .and_then(|mut statement| statement.query_row([bound(revision)], read_head))
        .during("reading the digest of a revision")
}

/// The digest of a revision's state. Constant cost.
pub(crate) fn state_digest(connection: &Connection, revision: u64) -> Result<StateDigest, Error> {
    Ok(head_at(connection, revision)?.digest)
}

/// The entry of a revision.
pub(crate) fn entry(connection: &Connection, revision: u64) -> Result<Entry, Error> {
    let sql = format!("SELECT {ENTRY} FROM journal WHERE revision = ?1");
    let mut statement = connection.prepare_cached(&sql).during(READING)?;
    let found = statement
        .query_row([bound(revision)], read_entry)
        .optional();
    match found.during(READING)? {
        Some(entry) => Ok(entry),
        None => {
            let head = self::revision(connection)?;
            let floor = floor(connection)?.revision;
            if revision > 0 && revision <= floor {
                Err(Error::Pruned { revision, floor })
            } else {
                Err(Error::NoSuchRevision { revision, head })
            }
        }
    }
}

/// Goes through the entries of a range in order, one in memory at a time. Must run inside one moment: a transaction.
pub(crate) fn for_each_entry(
    connection: &Connection,
    revisions: RangeInclusive<u64>,
    mut each: impl FnMut(Entry) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql =
        format!("SELECT {ENTRY} FROM journal WHERE revision BETWEEN ?1 AND ?2 ORDER BY revision");
    let mut statement = connection.prepare_cached(&sql).during(READING)?;
    let range = [bound(*revisions.start()), bound(*revisions.end())];
    let mut rows = statement.query(range).during(READING)?;
    while let Some(row) = rows.next().during(READING)? {
        each(of_entry(row, read_entry(row))?)?;
    }
    Ok(())
}

/// Goes through all entries in order until `each` breaks, each with its summary: the numbers of its rows and the bytes of
/// its filter.
pub(crate) fn for_each_summarized_entry(
    connection: &Connection,
    mut each: impl FnMut(Entry, (Counts, &[u8])) -> Result<ControlFlow<()>, Error>,
) -> Result<(), Error> {
    let sql = format!(
        "SELECT {ENTRY}, inserted, updated, deleted, touched FROM journal ORDER BY revision"
    );
    let mut statement = connection.prepare_cached(&sql).during(READING)?;
    let mut rows = statement.query([]).during(READING)?;
    while let Some(row) = rows.next().during(READING)? {
        let entry = of_entry(row, read_entry(row))?;
        let counts = of_entry(row, counts(row, 11))?;
        let touched = blob(row, 14, entry.revision)?;
        if each(entry, (counts, touched))?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Says of which entry it is that a column does not hold what it should.
fn of_entry<T>(row: &Row<'_>, read: rusqlite::Result<T>) -> Result<T, Error> {
    match read {
        Err(error) if error.sqlite_error_code().is_none() => {
            let revision: i64 = row.get(0).during(READING)?;
            let why = format!("journal entry {revision}: {error}");
            Err(Error::Damaged { why })
        }
        read => read.during(READING),
    }
}

fn blob<'a>(row: &'a Row<'_>, column: usize, revision: u64) -> Result<&'a [u8], Error> {
    let value = row.get_ref(column).during(READING)?;
    value.as_blob().map_err(|_| Error::Damaged {
        why: format!("journal entry {revision}: a column does not hold bytes"),
    })
}

/// What an entry changed.
pub(crate) fn changeset(entry: &Entry) -> Result<Changeset, Error> {
    decode(entry.revision, &entry.changeset)
}

/// What a revision changed, from its bytes.
pub(crate) fn decode(revision: u64, bytes: &[u8]) -> Result<Changeset, Error> {
    rewire_journal::decode(bytes).map_err(|source| unreadable(revision, source))
}

pub(crate) fn unreadable(revision: u64, source: JournalError) -> Error {
    Error::Journal {
        what: format!("revision {revision}"),
        source,
    }
}

/// What the revisions of a range changed together. Cost: their changesets.
pub(crate) fn fold(
    connection: &Connection,
    revisions: RangeInclusive<u64>,
) -> Result<Changeset, Error> {
    let mut folded = Changeset::default();
    for_each_entry(connection, revisions, |entry| {
        let (revision, changeset) = (entry.revision, changeset(&entry)?);
        let result = folded.then(&changeset);
        result.map_err(|mismatch| Error::Fold { revision, mismatch })
    })?;
    Ok(folded)
}

/// Goes backwards through the entries up to `from`, until `each` breaks. `each` gets the revision and the bytes of the
/// filter of the keys that it touched. No changeset is read.
pub(crate) fn for_each_filter_backwards<B>(
    connection: &Connection,
    from: u64,
    each: impl FnMut(u64, &[u8]) -> Result<ControlFlow<B>, Error>,
) -> Result<Option<B>, Error> {
    let sql = "SELECT revision, touched FROM journal WHERE revision <= ?1 ORDER BY revision DESC";
    backwards(connection, sql, from, each)
}

/// As [`for_each_filter_backwards`], with the bytes of the changeset instead of its filter. They are not copied.
pub(crate) fn for_each_changeset_backwards<B>(
    connection: &Connection,
    from: u64,
    each: impl FnMut(u64, &[u8]) -> Result<ControlFlow<B>, Error>,
) -> Result<Option<B>, Error> {
    let sql = "SELECT revision, changeset FROM journal WHERE revision <= ?1 ORDER BY revision DESC";
    backwards(connection, sql, from, each)
}

fn backwards<B>(
    connection: &Connection,
    sql: &str,
    from: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<ControlFlow<B>, Error>,
) -> Result<Option<B>, Error> {
    let mut statement = connection.prepare_cached(sql).during(READING)?;
    let mut rows = statement.query([bound(from)]).during(READING)?;
    while let Some(row) = rows.next().during(READING)? {
        let revision = row.get(0).during(READING)?;
        let bytes = blob(row, 1, revision)?;
        if let ControlFlow::Break(result) = each(revision, bytes)? {
            return Ok(Some(result));
        }
    }
    Ok(None)
}

/// Three columns from `first` on: inserted, updated, deleted.
pub(crate) fn counts(row: &Row<'_>, first: usize) -> rusqlite::Result<Counts> {
    Ok(Counts {
        inserted: row.get(first)?,
        updated: row.get(first + 1)?,
        deleted: row.get(first + 2)?,
    })
}

/// Hands the bytes of a revision's changeset to `read`, without a copy of them.
pub(crate) fn with_changeset_bytes<T>(
    connection: &Connection,
    revision: u64,
    read: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut statement = connection
        .prepare_cached("SELECT changeset FROM journal WHERE revision = ?1")
        .during(READING)?;
    let mut rows = statement.query([bound(revision)]).during(READING)?;
    let row = rows.next().during(READING)?.ok_or_else(|| Error::Damaged {
        why: format!("journal entry {revision} is missing"),
    })?;
    read(blob(row, 0, revision)?)
}

/// Writes an entry behind the last one. `counts` are those of its changeset.
pub(crate) fn insert(connection: &Connection, entry: &Entry, counts: Counts) -> Result<(), Error> {
    let touched = touched(entry.revision, &entry.changeset)?;
    let (rewind_to, revert_of) = kind_columns(entry.kind);
    connection
        .prepare_cached(
            "INSERT INTO journal (revision, rewind_to, revert_of, author, message, committed_at, schema_version, parent,
             state_digest, hash, inserted, updated, deleted, touched, changeset)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                entry.revision,
                rewind_to,
                revert_of,
                entry.author,
                entry.message,
                entry.committed_at,
                entry.schema_version,
                entry.parent.to_bytes(),
                entry.state_digest.to_bytes(),
                entry.hash.to_bytes(),
                counts.inserted,
                counts.updated,
                counts.deleted,
                touched,
                entry.changeset,
            ])
        })
        .during("writing the journal entry")
        .map(drop)
}

/// The filter of the keys that an encoded changeset touches, as it is stored.
pub(crate) fn touched(revision: u64, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let filter = RowFilter::of_encoded(bytes).map_err(|source| unreadable(revision, source))?;
    Ok(filter.to_bytes())
}

/// Counts every entry's changeset anew.
pub(crate) fn summarize_all(connection: &Connection) -> Result<(), Error> {
    let during = "counting the journal's changes";
    let mut statement = connection
        .prepare(
            "UPDATE journal SET inserted = ?2, updated = ?3, deleted = ?4, touched = ?5 WHERE revision = ?1",
        )
        .during(during)?;
    let (floor, head) = (floor(connection)?.revision, revision(connection)?);
    for revision in floor + 1..=head {
        let (counts, touched) = with_changeset_bytes(connection, revision, |bytes| {
            let counts = Counts::of(&decode(revision, bytes)?);
            Ok((counts, touched(revision, bytes)?))
        })?;
        statement
            .execute(params![
                revision,
                counts.inserted,
                counts.updated,
                counts.deleted,
                touched
            ])
            .during(during)?;
    }
    Ok(())
}
