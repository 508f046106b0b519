//! Bringing a database to today's schema version: a new one from nothing, an old store from where it is.

use rewire_journal::StateDigest;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{During, Error};
use crate::store::SCHEMA_VERSION;
use crate::{candidate, journal, rows};

/// The SQL of each migration, by its number.
pub(crate) const MIGRATIONS: &[(u32, &str)] = include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// The migration that made the journal say its changesets in short.
const SUMMARIES: u32 = 4;

/// The number of the last migration that ran on this database.
pub(crate) fn version(connection: &Connection) -> Result<i64, Error> {
    connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .during("reading the schema version")
}

/// Runs all migrations that have not run yet, in one transaction under the write lock: whatever happens, the database is at
/// its old version or at today's. Before it is durable, every reference is followed and the rows are recounted: they
/// must have the digest that the last journal entry has on record. Does nothing to a database of today's version.
///
/// Cost: all rows and the whole journal.
///
/// # Errors
///
/// [`Error::Journal`] where an old entry cannot be read; [`Error::DigestMismatch`], [`Error::Damaged`];
/// [`Error::Busy`], [`Error::Sqlite`].
pub(crate) fn migrate(connection: &Connection) -> Result<(), Error> {
    let during = "migrating the store";
    // Tables are made anew: what refers to them must not notice. Without effect inside a transaction, so before it.
    connection
        .pragma_update(None, "foreign_keys", false)
        .during(during)?;
    let result = migrate_in_transaction(connection);
    connection
        .pragma_update(None, "foreign_keys", true)
        .during(during)?;
    result
}

fn migrate_in_transaction(connection: &Connection) -> Result<(), Error> {
    let during = "migrating the store";
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
        .during("beginning to migrate")?;
    // Another process may have been faster.
    let from = version(&transaction)?;
    let pending = || {
        MIGRATIONS
            .iter()
            .filter(|(number, _)| i64::from(*number) > from)
    };
    if pending().next().is_none() {
        return Ok(());
    }
    for (_, sql) in pending() {
        transaction.execute_batch(sql).during(during)?;
    }
    if from < i64::from(SUMMARIES) {
        journal::summarize_all(&transaction)?;
        candidate::count_all(&transaction)?;
    }
    expect_sound(&transaction)?;
    transaction.commit().during(during)
}

/// Checks what a migration could have broken.
fn expect_sound(connection: &Connection) -> Result<(), Error> {
    let during = "checking the migrated store";
    let found = version(connection)?;
    if found != i64::from(SCHEMA_VERSION) {
        let why = format!("the migrations end at schema version {found}, not {SCHEMA_VERSION}");
        return Err(Error::Damaged { why });
    }
    let mut statement = connection
        .prepare("PRAGMA foreign_key_check")
        .during(during)?;
    let mut dangling = statement.query([]).during(during)?;
    if let Some(row) = dangling.next().during(during)? {
        let table: String = row.get(0).during(during)?;
        let why = format!("after its migration, a row of table {table} refers to nothing");
        return Err(Error::Damaged { why });
    }
    let head = journal::head(connection)?;
    let found = StateDigest::of(&rows::configuration(connection)?);
    if found != head.digest {
        return Err(Error::DigestMismatch {
            revision: head.revision,
            expected: head.digest,
            found,
            row: None,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_number_of_the_last_migration() {
        let numbers: Vec<u32> = MIGRATIONS.iter().map(|(number, _)| *number).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.last(), Some(&SCHEMA_VERSION));
    }
}
