//! The whole configuration at one moment. Where there are many rows a second thread reads along, a table each at a time: most
//! of the cost is making the rows, not reading them.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rewire_journal::StateDigest;
use rewire_schema::{Configuration, Table};
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::journal;
use crate::rows;
use crate::store::Store;

/// A store of so many pages (16 MiB) is worth a second thread.
pub(crate) const MANY_PAGES: u32 = 4096;

/// A whole state, with what its rows were found to be.
#[derive(Debug, PartialEq, Eq)]
pub struct CountedState {
    /// The revision that the state is of.
    pub revision: u64,
    /// All rows.
    pub configuration: Configuration,
    /// The digest of the rows as they are stored: where it is not the one that the revision's entry has, they are not what was
    /// committed.
    pub digest: StateDigest,
}

/// What is made of the rows of some tables.
trait Part: Default + Send {
    /// All rows of these tables.
    fn of(connection: &Connection, tables: impl Iterator<Item = Table>) -> Result<Self, Error>;
    /// Both parts together. They are of other tables.
    fn join(&mut self, other: Self);
}

impl Part for Configuration {
    fn of(connection: &Connection, tables: impl Iterator<Item = Table>) -> Result<Self, Error> {
        rows::configuration_of(connection, tables)
    }
    fn join(&mut self, other: Self) {
        self.append(other);
    }
}

impl Part for (Configuration, StateDigest) {
    fn of(connection: &Connection, tables: impl Iterator<Item = Table>) -> Result<Self, Error> {
        rows::counted_configuration_of(connection, tables)
    }
    fn join(&mut self, (configuration, digest): Self) {
        self.0.append(configuration);
        self.1.join(digest);
    }
}

/// The last revision and all rows. Cost: all rows.
pub(crate) fn read(store: &Store, many_pages: u32) -> Result<(u64, Configuration), Error> {
    parts(store, many_pages)
}

/// As [`read`], with the digest of the rows: counted while they are read, from what lies there, it costs half of what it costs
/// afterwards.
pub(crate) fn read_counted(store: &Store, many_pages: u32) -> Result<CountedState, Error> {
    let (revision, (configuration, digest)) = parts(store, many_pages)?;
    Ok(CountedState {
        revision,
        configuration,
        digest,
    })
}

fn parts<P: Part>(store: &Store, many_pages: u32) -> Result<(u64, P), Error> {
    let snapshot = store.snapshot()?;
    let moment = Moment::of(&snapshot)?;
    if pages(&snapshot)? < many_pages {
        return Ok((
            moment.revision,
            P::of(&snapshot, Table::ALL.iter().copied())?,
        ));
    }
    let (path, tables) = (store.path(), Tables::default());
    let whole = thread::scope(|scope| {
        let beside = scope.spawn(|| read_beside::<P>(path, &moment, &tables));
        let ours = P::of(&snapshot, tables.left());
        let theirs = beside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut whole = ours?;
        whole.join(theirs?);
        Ok::<_, Error>(whole)
    })?;
    Ok((moment.revision, whole))
}

/// The tables that nobody has taken yet.
#[derive(Debug, Default)]
struct Tables(AtomicUsize);

impl Tables {
    /// Takes one after the other.
    fn left(&self) -> impl Iterator<Item = Table> {
        std::iter::from_fn(|| {
            let next = self.0.fetch_add(1, Ordering::Relaxed);
            Table::ALL.get(next).copied()
        })
    }
}

/// What two readers must agree on to read one state.
#[derive(Debug, PartialEq, Eq)]
struct Moment {
    revision: u64,
    digest: [u8; 32],
}

impl Moment {
    fn of(connection: &Connection) -> Result<Moment, Error> {
        let head = journal::head(connection)?;
        Ok(Moment {
            revision: head.revision,
            digest: head.digest.to_bytes(),
        })
    }
}

/// Reads tables through a connection of its own; none where that cannot be made, or sees another state, because somebody
/// has committed meanwhile: then they are left to the other reader.
fn read_beside<P: Part>(path: &Path, moment: &Moment, tables: &Tables) -> Result<P, Error> {
    let Ok(store) = Store::open_read_only(path) else {
        return Ok(P::default());
    };
    let snapshot = store.snapshot()?;
    if Moment::of(&snapshot)? != *moment {
        return Ok(P::default());
    }
    P::of(&snapshot, tables.left())
}

fn pages(connection: &Connection) -> Result<u32, Error> {
    connection
        .query_row("PRAGMA page_count", [], |row| row.get(0))
        .during("asking for the store's size")
}

#[cfg(test)]
mod tests {
    use rewire_schema::model::{InterfaceRow, VpcRow};
    use rewire_schema::{Change, Changeset};

    use super::*;
    use crate::{CommitRequest, Unchecked};

    fn commit(store: &mut Store, name: &str) {
        let mut configuration = store.configuration().unwrap();
        let before = configuration.clone();
        configuration.insert(VpcRow::new(name.parse().unwrap()).into());
        let changeset = Changeset::between(&before, &configuration);
        let request = CommitRequest::new(store.head().unwrap(), &changeset, "a", "m");
        store.commit(request, &mut Unchecked).unwrap();
    }

    #[test]
    fn two_readers_see_what_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("gateway.db")).unwrap();
        commit(&mut store, "blue");
        assert_eq!(read(&store, 0).unwrap(), read(&store, u32::MAX).unwrap());
        assert_eq!(read(&store, 0).unwrap().1.len(), 1);
        let counted = read_counted(&store, 0).unwrap();
        assert_eq!(counted, read_counted(&store, u32::MAX).unwrap());
        assert_eq!(counted.digest, store.state_digest().unwrap());
        assert_eq!(counted.configuration, store.configuration().unwrap());
    }

    /// Its row is the same once it is read, and is not what was committed.
    #[test]
    fn a_value_that_is_spelled_otherwise_is_not_what_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::create(folder.path().join("gateway.db")).unwrap();
        commit(&mut store, "blue");
        let before = store.configuration().unwrap();
        let (name, port) = ("lan".parse().unwrap(), "null:lan".parse().unwrap());
        let mac = "02:00:00:00:00:0a".parse().unwrap();
        let row = InterfaceRow::physical(name, "blue".parse().unwrap(), port, mac);
        let changeset = [Change::Insert(row.into())].into_iter().collect();
        let request = CommitRequest::new(store.head().unwrap(), &changeset, "a", "m");
        store.commit(request, &mut Unchecked).unwrap();
        let good = store.counted_state().unwrap();
        assert_eq!(good.digest, store.state_digest().unwrap());
        assert_eq!(good.configuration.len(), before.len() + 1);
        let other = Connection::open(store.path()).unwrap();
        let changed = other.execute("UPDATE interface SET mac = upper(mac)", []);
        assert_eq!(changed, Ok(1));
        let found = store.counted_state().unwrap();
        assert_eq!(found.configuration, good.configuration);
        assert_ne!(found.digest, good.digest);
    }

    #[test]
    fn a_reader_that_comes_after_a_commit_leaves_all_to_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let mut store = Store::create(&path).unwrap();
        commit(&mut store, "blue");
        let reader = Store::open(&path).unwrap();
        let snapshot = reader.snapshot().unwrap();
        let moment = Moment::of(&snapshot).unwrap();
        let taken = Tables::default();
        assert_eq!(
            read_beside::<Configuration>(&path, &moment, &taken)
                .unwrap()
                .len(),
            1
        );
        commit(&mut store, "red");
        let tables = Tables::default();
        assert!(
            read_beside::<Configuration>(&path, &moment, &tables)
                .unwrap()
                .is_empty()
        );
        let rest = rows::configuration_of(&snapshot, tables.left()).unwrap();
        assert_eq!(rest.len(), 1);
    }
}
