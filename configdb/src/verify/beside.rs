//! What lies beside the journal: the tables themselves, candidates, the schedule, tags, the pending confirmation.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::OnceLock;

use rewire_schema::Changeset;
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::history::way_back;
use crate::journal::{self, Counts};
use crate::{confirmation, migrate, rows, tag};

const READING: &str = "reading what lies beside the journal";

/// Cost: what there is of it; of the configuration only the rows that candidates and scheduled commits change, and the
/// changesets since the revisions that they are made on.
pub(super) fn check(connection: &Connection) -> Result<(), Error> {
    expect_schema(connection)?;
    let head = journal::revision(connection)?;
    let floor = journal::floor(connection)?.revision;
    let known = |what: String, revision: u64, least: u64| match (least..=head).contains(&revision) {
        true => Ok(()),
        false => {
            let why =
                format!("{what} is of revision {revision}, and the journal has {least} to {head}");
            Err(Error::Damaged { why })
        }
    };
    let edits = expect_changesets(connection)?;
    for edits in &edits {
        known(edits.what.clone(), edits.base, 0)?;
    }
    // What waits may be older than the journal: it is refused when its turn comes.
    expect_to_fit(connection, edits.iter().filter(|edits| edits.base >= floor))?;
    for tag in tag::up_to(connection, i64::MAX as u64)? {
        known(format!("tag \"{}\"", tag.name), tag.revision, floor)?;
    }
    if let Some(pending) = confirmation::pending(connection)? {
        known("the commit to confirm".to_owned(), pending.revision, floor)?;
        known("what it goes back to".to_owned(), pending.back_to, floor)?;
    }
    Ok(())
}

/// Checks that tables, indices, triggers and views are what the migrations make: without its triggers a store takes
/// whatever it is given, and without an index it is slow.
fn expect_schema(connection: &Connection) -> Result<(), Error> {
    // Made once in a process: they are always the same.
    static EXPECTED: OnceLock<Vec<Definition>> = OnceLock::new();
    let expected = match EXPECTED.get() {
        Some(expected) => expected,
        None => {
            let during = "making the tables to compare with";
            let fresh = Connection::open_in_memory().during(during)?;
            migrate::migrate(&fresh)?;
            let fresh = definitions(&fresh)?;
            EXPECTED.get_or_init(|| fresh)
        }
    };
    let found = definitions(connection)?;
    if *expected == found {
        return Ok(());
    }
    let named =
        |all: &[Definition], one: &Definition| all.iter().any(|other| other.name() == one.name());
    let different = found
        .iter()
        .find(|definition| !expected.contains(definition));
    let missing = expected
        .iter()
        .find(|definition| !named(&found, definition));
    let why = match (missing, different) {
        (Some(missing), _) => format!("{} is missing", missing.name()),
        (None, Some(other)) if named(expected, other) => {
            format!("{} is not defined as it should be", other.name())
        }
        (None, Some(other)) => format!("{} does not belong to a store", other.name()),
        (None, None) => "something is defined twice".to_owned(),
    };
    Err(Error::Damaged { why })
}

/// One of the things that a database consists of.
#[derive(PartialEq)]
struct Definition {
    kind: String,
    name: String,
    table: String,
    /// None where it came with another one.
    sql: Option<String>,
}

impl Definition {
    fn name(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

fn definitions(connection: &Connection) -> Result<Vec<Definition>, Error> {
    // What SQLite keeps for its own use comes and goes with ANALYZE.
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%' ORDER BY type, name";
    let mut statement = connection.prepare(sql).during(READING)?;
    let definitions = statement.query_map([], |row| {
        Ok(Definition {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    });
    definitions.and_then(|all| all.collect()).during(READING)
}

/// A candidate or a scheduled commit.
struct Edits {
    /// Which one, in words.
    what: String,
    /// The revision that it is made on.
    base: u64,
    changeset: Changeset,
}

/// Checks that edits expect the rows that there are in the state of the revision that they are made on. It must be one of the
/// journal's.
fn expect_to_fit<'a>(
    connection: &Connection,
    all: impl Iterator<Item = &'a Edits>,
) -> Result<(), Error> {
    // Most are made on the last revision, and several on the same one.
    let mut ways_back: BTreeMap<u64, Changeset> = BTreeMap::new();
    for Edits {
        what,
        base,
        changeset,
    } in all
    {
        let way = match ways_back.entry(*base) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(way_back(connection, *base)?),
        };
        for change in changeset.iter() {
            let row = change.row();
            let key = row.row_key();
            let found = match way.get(&key) {
                Some(back) => back.after().cloned(),
                None => rows::find(connection, &key)?,
            };
            if found.as_ref() != change.before() {
                let why = format!("{what} does not fit onto revision {base} at {}", row.path());
                return Err(Error::Damaged { why });
            }
        }
    }
    Ok(())
}

/// Checks that the changesets of candidates and scheduled commits can be read, and are summed up as they are; gives them.
fn expect_changesets(connection: &Connection) -> Result<Vec<Edits>, Error> {
    let mut all_edits = Vec::new();
    let all = "SELECT 'candidate \"' || name || '\"', base_revision, inserted, updated, deleted, changeset FROM candidate
        UNION ALL
        SELECT 'scheduled commit ' || id, base_revision, inserted, updated, deleted, changeset FROM scheduled";
    let mut statement = connection.prepare(all).during(READING)?;
    let mut rows = statement.query([]).during(READING)?;
    while let Some(row) = rows.next().during(READING)? {
        let what: String = row.get(0).during(READING)?;
        let damaged = |why: &str| Error::Damaged {
            why: format!("{what} {why}"),
        };
        let (Ok(base), Ok(counts), Ok(bytes)) = (
            row.get(1),
            journal::counts(row, 2),
            row.get::<_, Vec<u8>>(5),
        ) else {
            return Err(damaged("holds what no column of it takes"));
        };
        let changeset = rewire_journal::decode(&bytes).map_err(|source| Error::Journal {
            what: what.clone(),
            source,
        })?;
        if counts != Counts::of(&changeset) {
            return Err(damaged("is not summed up as it is"));
        }
        all_edits.push(Edits {
            what,
            base,
            changeset,
        });
    }
    Ok(all_edits)
}
