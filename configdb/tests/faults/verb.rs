//! What an administrator does with a store, and what it answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::trial::blames_the_disk;
use crate::world::{Files, scratch, write_files};
use rewire_configdb::{
    CommitRequest, Committed, EntryKind, Error, LogQuery, Session, Store, Unchecked,
};
use rewire_schema::{Changeset, Row};

use crate::common::{insert, interface, next_hop, route, save_candidate, update, vpc};

/// The store's name in its folder.
pub(crate) const NAME: &str = "gateway.db";

/// All commits and candidates are of this moment, so that one disk's store can be compared with another's.
const NOW: i64 = 1_700_000_000_000_000;

/// Somebody at work on the store of a folder, or about to.
pub(crate) struct Desk {
    pub(crate) path: PathBuf,
    pub(crate) store: Option<Store>,
    /// The store's journal, and what somebody else added to it.
    pub(crate) journal: Arc<[u8]>,
}

impl Desk {
    pub(crate) fn new(folder: &Path, journal: Arc<[u8]>) -> Desk {
        Desk {
            path: folder.join(NAME),
            store: None,
            journal,
        }
    }

    pub(crate) fn open(&mut self) -> Result<&mut Store, Error> {
        if self.store.is_none() {
            let store = Store::open(&self.path)?.with_clock(|| NOW);
            self.store = Some(store.with_sessions(vec![this_session()]));
        }
        Ok(self.store.as_mut().unwrap())
    }
}

/// What a verb is done on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// An empty folder.
    Nothing,
    /// An empty folder, and a journal from elsewhere.
    Journal,
    /// A store that nobody has open, with a log that its last writer left behind.
    File,
    /// A store that an earlier version of this program wrote.
    OldFile,
    /// An open store.
    Store,
}

/// Gives what it says, in words, to be compared with what it says on a disk that works.
type Act = fn(&mut Desk) -> Result<String, Error>;

pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// What is done before, on a disk that works.
    pub(crate) before: fn(&mut Store),
    pub(crate) act: Act,
}

const fn verb(name: &'static str, on: On, act: Act) -> Verb {
    let before = |_: &mut Store| {};
    Verb {
        name,
        on,
        before,
        act,
    }
}

/// A verb on an open store on which something was done before.
const fn after(before: fn(&mut Store), name: &'static str, act: Act) -> Verb {
    let on = On::Store;
    Verb {
        name,
        on,
        before,
        act,
    }
}

/// What begins with nothing.
pub(crate) const CREATING: &[Verb] = &[verb("create", On::Nothing, |desk| {
    Store::create(&desk.path).map(|_| String::new())
})];

/// What begins with the journal of another store.
pub(crate) const CREATING_FROM_JOURNAL: &[Verb] =
    &[verb("create from a journal", On::Journal, |desk| {
        said(Store::create_from(&desk.path, &desk.journal[..], &mut Unchecked)?.head()?)
    })];

/// What begins with what an earlier version left.
pub(crate) const UPGRADING: &[Verb] = &[verb("upgrade", On::OldFile, |desk| {
    said(desk.open()?.head()?)
})];

/// What administers, besides candidates and commits.
pub(crate) const ADMINISTERING: &[Verb] = &[
    verb("commit to be confirmed", On::Store, |desk| {
        let store = desk.open()?;
        said(commit_to_be_confirmed(store, Duration::from_secs(600))?.hash)
    }),
    after(
        |store| drop(commit_to_be_confirmed(store, Duration::from_secs(600)).unwrap()),
        "confirm",
        |desk| said(desk.open()?.confirm()?),
    ),
    after(
        |store| drop(commit_to_be_confirmed(store, Duration::ZERO).unwrap()),
        "going back from what was not confirmed",
        |desk| settle(desk.open()?),
    ),
    verb("schedule", On::Store, |desk| {
        said(schedule(desk.open()?, NOW + 1)?)
    }),
    after(
        |store| {
            schedule(store, NOW).unwrap();
        },
        "commit of what was scheduled",
        |desk| settle(desk.open()?),
    ),
    after(
        |store| {
            schedule(store, NOW + 1).unwrap();
        },
        "cancel",
        |desk| said(desk.open()?.cancel(1)?),
    ),
    verb("merge", On::Store, |desk| {
        let store = desk.open()?;
        store.head()?;
        let changeset = insert([vpc("green", None)]);
        let request = CommitRequest {
            merge: true,
            ..request(2, &changeset)
        };
        said(store.commit(request, &mut Unchecked)?.hash)
    }),
    verb("revert", On::Store, |desk| {
        let store = desk.open()?;
        let base = store.head()?;
        let changeset = store.revert_changeset(2)?;
        let request = CommitRequest {
            kind: EntryKind::Revert { of: 2 },
            ..request(base, &changeset)
        };
        said(store.commit(request, &mut Unchecked)?.hash)
    }),
    verb("renaming of a candidate", On::Store, |desk| {
        said(desk.open()?.rename_candidate("ada", "grace")?)
    }),
    after(
        |store| drop(commit(store, &insert([vpc("yellow", None)])).unwrap()),
        "rebase of a candidate",
        |desk| said(desk.open()?.rebase_candidate("ada")?),
    ),
    verb("tag", On::Store, |desk| {
        said(desk.open()?.tag("friday", 2, "ada")?)
    }),
    after(
        |store| store.tag("friday", 2, "ada").unwrap(),
        "untag",
        |desk| said(desk.open()?.untag("friday")?),
    ),
    verb("lock", On::Store, |desk| {
        said(desk.open()?.lock("ada", this_session(), "hands off")?)
    }),
    after(
        |store| store.lock("ada", this_session(), "hands off").unwrap(),
        "unlock",
        |desk| said(desk.open()?.unlock(false)?),
    ),
    verb("import", On::Store, |desk| {
        let journal = Arc::clone(&desk.journal);
        said(desk.open()?.import(&journal[..], &mut Unchecked)?)
    }),
    verb("prune", On::Store, |desk| {
        let pruned = desk.open()?.prune(1, false)?;
        // Whether the file became smaller is told, and is no failure.
        if let Err(error) = pruned.compacted {
            assert!(blames_the_disk(&error), "{error:?}");
        }
        said((pruned.entries, pruned.floor, pruned.tags))
    }),
];

/// What writes.
pub(crate) const WRITING: &[Verb] = &[
    verb("open", On::File, |desk| said(desk.open()?.head()?)),
    verb("commit", On::Store, |desk| {
        let changeset = insert([vpc("green", None)]);
        said(commit(desk.open()?, &changeset)?.hash)
    }),
    verb("commit of a large change", On::Store, |desk| {
        said(commit(desk.open()?, &many_routes())?.hash)
    }),
    verb("commit of a candidate", On::Store, |desk| {
        let changeset = insert([vpc("green", None)]);
        let store = desk.open()?;
        let request = CommitRequest {
            clear_candidate: Some("ada"),
            ..request(store.head()?, &changeset)
        };
        said(store.commit(request, &mut Unchecked)?.hash)
    }),
    verb("rewind", On::Store, |desk| {
        said(rewind(desk.open()?, 1)?.hash)
    }),
    verb("save of a candidate", On::Store, |desk| {
        said(save(desk.open()?, "grace", &many_routes())?)
    }),
    verb("discard of a candidate", On::Store, |desk| {
        said(desk.open()?.discard_candidate("ada")?)
    }),
    verb("close", On::Store, |desk| {
        desk.store = None;
        Ok(String::new())
    }),
];

/// What reads, or leaves everything as it was.
pub(crate) const READING: &[Verb] = &[
    verb("open for reading", On::File, |desk| {
        said(Store::open_read_only(&desk.path)?.head()?)
    }),
    verb("check", On::Store, |desk| {
        let store = desk.open()?;
        let base = store.head()?;
        let changeset = insert([vpc("green", None)]);
        store.check(request(base, &changeset), &mut Unchecked)?;
        Ok(String::new())
    }),
    verb("refused commit", On::Store, |desk| {
        let dangling = insert([interface("lost", "nowhere", "null:lost")]);
        match commit(desk.open()?, &dangling) {
            Err(Error::Dangling(rows)) => said(rows),
            result => said(result?),
        }
    }),
    verb("configuration", On::Store, |desk| {
        said(desk.open()?.head_and_configuration()?)
    }),
    verb("configuration of a revision", On::Store, |desk| {
        said(desk.open()?.configuration_at(1)?)
    }),
    verb("log", On::Store, |desk| {
        said(desk.open()?.log(LogQuery::last(10))?)
    }),
    verb("entry", On::Store, |desk| said(desk.open()?.entry(2)?)),
    verb("changesets since", On::Store, |desk| {
        said(desk.open()?.changesets_since(1)?)
    }),
    verb("candidate", On::Store, |desk| {
        let store = desk.open()?;
        said((store.candidates()?, store.candidate("ada")?))
    }),
    verb("export", On::Store, |desk| {
        let mut journal = Vec::new();
        desk.open()?.export(1..=3, &mut journal)?;
        said(journal)
    }),
    verb("verify", On::Store, |desk| said(desk.open()?.verify()?)),
];

fn request(base: u64, changeset: &Changeset) -> CommitRequest<'_> {
    CommitRequest::new(base, changeset, "ada", "a test")
}

pub(crate) fn commit(store: &mut Store, changeset: &Changeset) -> Result<Committed, Error> {
    let base = store.head()?;
    store.commit(request(base, changeset), &mut Unchecked)
}

pub(crate) fn rewind(store: &mut Store, to: u64) -> Result<Committed, Error> {
    let base = store.head()?;
    let changeset = store.rewind_changeset(to)?;
    let request = CommitRequest {
        kind: EntryKind::Rewind { to },
        ..request(base, &changeset)
    };
    store.commit(request, &mut Unchecked)
}

fn commit_to_be_confirmed(store: &mut Store, time: Duration) -> Result<Committed, Error> {
    let base = store.head()?;
    let changeset = insert([vpc("green", None)]);
    let request = CommitRequest {
        confirm: Some(time),
        ..request(base, &changeset)
    };
    store.commit(request, &mut Unchecked)
}

fn schedule(store: &mut Store, at: i64) -> Result<u64, Error> {
    let base = store.head()?;
    store.schedule(request(base, &insert([vpc("green", None)])), at)
}

fn settle(store: &mut Store) -> Result<String, Error> {
    let settled = store.settle(&mut Unchecked)?;
    said(settled.len())
}

fn this_session() -> Session {
    Session::current().unwrap()
}

pub(crate) fn save(store: &mut Store, name: &str, changeset: &Changeset) -> Result<(), Error> {
    let base = store.head()?;
    save_candidate(store, name, base, changeset, name).map(drop)
}

fn said(what: impl std::fmt::Debug) -> Result<String, Error> {
    Ok(format!("{what:?}"))
}

/// Rows on several pages.
pub(crate) fn many_routes() -> Changeset {
    insert((0..120).map(|n| route("blue", &format!("10.0.{n}.0/24"))))
}

/// A store with a few revisions and a candidate, still open.
pub(crate) fn furnish(folder: &Path) -> Desk {
    drop(Store::create(folder.join(NAME)).unwrap());
    let mut desk = Desk::new(folder, Arc::default());
    let store = desk.open().unwrap();
    let blue = |text| vpc("blue", Some(text));
    let wan = || interface("wan", "blue", "null:a");
    let rows: [Row; 4] = [
        blue("one"),
        wan(),
        route("blue", "0.0.0.0/0"),
        next_hop("blue", "0.0.0.0/0", "wan"),
    ];
    commit(store, &insert(rows)).unwrap();
    commit(
        store,
        &[update(blue("one"), blue("two"))].into_iter().collect(),
    )
    .unwrap();
    commit(store, &insert([vpc("red", None)])).unwrap();
    let red = insert([interface("lan", "red", "null:b")]);
    save(store, "ada", &red).unwrap();
    desk
}

/// The journal of the store of these files, with a revision more.
pub(crate) fn journal_with_more(files: &Files) -> Arc<[u8]> {
    let folder = scratch();
    write_files(folder.path(), files);
    let mut desk = Desk::new(folder.path(), Arc::default());
    let store = desk.open().unwrap();
    let head = commit(store, &insert([vpc("elsewhere", None)]))
        .unwrap()
        .revision;
    let mut journal = Vec::new();
    store.export(1..=head, &mut journal).unwrap();
    journal.into()
}
