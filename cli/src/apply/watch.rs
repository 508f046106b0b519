//! A directory that is kept applied: one commit for each state in which it comes to rest.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rewire_configdb::{CommitRequest, Counts, Error, PendingConfirmation, Store};
use rewire_schema::source::Parts;
use rewire_schema::state::{Overlay, Rows};
use rewire_schema::{Changeset, Configuration, Table, merge};
use serde_json::{Value, json};

use super::applied::{Applied, beside};
use super::changes::{Changes, Woken};
use super::directory::{self, Documents, is_document};
use super::probation::{self, Probation};
use super::status::{Last, State, Status, now};
use super::{Signature, TRIES, cannot_keep, parts, placed, placed_error, request};
use crate::answer::Answer;
use crate::checker;
use crate::committing::{Confirm, warn};
use crate::confirming::{self, Tried};
use crate::conflict::Conflicts;
use crate::context::Context;
use crate::daemon::service;
use crate::daemon::signals::End;
use crate::document;
use crate::failure::{Code, Failure};
use crate::live::{self, Wait};
use crate::terminal;
use crate::view::{self, milliseconds};
use crate::when;

/// How often the store is asked whether others have committed, and what waits is tried again.
const TICK: Duration = Duration::from_secs(1);
/// How often the directory is read although the kernel has not said that it changed: file systems of other machines change
/// without a word.
const TICKS_BETWEEN_READS: u32 = 60;

/// How a directory is kept applied.
pub(crate) struct Options<'a> {
    pub(crate) directory: &'a Path,
    pub(crate) signature: Signature<'a>,
    /// How long nothing may have changed before what is there is applied.
    pub(crate) quiet: Duration,
    /// Where it is said how it stands; beside the store if none.
    pub(crate) status: Option<PathBuf>,
    /// Whether what others commit is taken back.
    pub(crate) enforce: bool,
    /// Whether commits must be confirmed, and by whom.
    pub(crate) confirm: &'a Confirm,
    pub(crate) wait: Wait,
}

/// Keeps a directory applied until a signal ends it.
pub(crate) fn watch(context: &Context, options: Options<'_>) -> Result<Answer, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(Code::Failed, format!("cannot wait for signals: {error}"))
    };
    if !options.directory.is_dir() && document::is_standard_input(options.directory) {
        let message = "standard input cannot be watched: name a directory";
        return Err(Failure::new(Code::WrongArguments, message));
    }
    let status_path = status_path(context, &options)?;
    let store = context.open()?;
    let changes = Changes::watch(options.directory, options.quiet)?;
    let _lock = lock(context)?;
    let end = End::register().map_err(cannot)?;
    let stopper = changes.stopper();
    // It ends with the process: nobody can wake it from here, and nothing hangs on it.
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            end.wait();
            stopper.stop();
        })
        .map_err(cannot)?;
    let mut watching = Watching {
        context,
        applied: Applied::open(&context.store, options.directory),
        status: Status::new(status_path, options.directory),
        probation: Probation::new(options.confirm.time(), options.confirm.auto()),
        said: None,
        options,
        store,
        changes,
        seen: None,
    };
    watching.run()?;
    let revision = watching.status.revision;
    Ok(context.done(
        || "stopped\n".to_owned(),
        || json!({ "revision": revision }),
    ))
}

/// Where the status is written. A document of the directory would be applied.
fn status_path(context: &Context, options: &Options<'_>) -> Result<PathBuf, Failure> {
    let path = options.status.clone();
    let path = path.unwrap_or_else(|| beside(&context.store, ".apply.json"));
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let inside = absolute(&path).starts_with(absolute(options.directory));
    if inside && path.file_name().is_some_and(is_document) {
        let message = format!(
            "the status file {} would be a document of the directory",
            path.display()
        );
        return Err(Failure::new(Code::WrongArguments, message)
            .help("name one outside of it with --status"));
    }
    Ok(path)
}

/// One directory a store: two would take each other's changes back.
fn lock(context: &Context) -> Result<File, Failure> {
    let path = beside(&context.store, ".apply.lock");
    let cannot = |error: &dyn std::fmt::Display| {
        let message = format!("cannot lock {}: {error}", path.display());
        Failure::new(Code::StoreFailed, message)
    };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| cannot(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = "another `rewire apply --watch` keeps this store already";
            Err(Failure::new(Code::AlreadyRunning, message))
        }
        Err(TryLockError::Error(error)) => Err(cannot(&error)),
    }
}

struct Watching<'a> {
    context: &'a Context,
    options: Options<'a>,
    changes: Changes,
    /// To see whether others have committed.
    store: Store,
    applied: Applied,
    status: Status,
    probation: Probation,
    /// What was last said.
    said: Option<Value>,
    /// The documents and the revision that were last brought together, and came to something that lasts.
    seen: Option<(blake3::Hash, u64)>,
}

impl Watching<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        // What is there now is the first state.
        self.changes.again();
        service::ready("watching");
        let mut version = self.store.data_version()?;
        let mut ticks = 0;
        loop {
            match self.changes.wait(TICK) {
                Woken::Stop => break,
                Woken::Settled => self.look(),
                Woken::Nothing => {
                    ticks += 1;
                    let found = self.store.data_version()?;
                    let waits = matches!(
                        self.status.state(),
                        State::Confirming(_) | State::Waiting(_) | State::Failed(_)
                    );
                    if found != version || waits || ticks % TICKS_BETWEEN_READS == 0 {
                        version = found;
                        self.look();
                    }
                }
            }
        }
        service::stopping();
        let documents = self.status.documents;
        self.status.set(State::Stopped, documents);
        self.say();
        Ok(())
    }

    /// Brings the running configuration to what the directory says, and says what that came to.
    fn look(&mut self) {
        let documents = match directory::read_settled(self.options.directory) {
            Ok(Some(documents)) if self.changes.still_rests() => documents,
            // Somebody writes: there will be another look once they rest.
            Ok(_) => return self.changes.again(),
            Err(failure) => {
                self.seen = None;
                self.status.set(State::Failed(failure), None);
                return self.say();
            }
        };
        let digest = documents.digest();
        // What lasts lasts until the documents are others, or somebody commits.
        if self
            .seen
            .is_some_and(|seen| self.store.head().is_ok_and(|head| seen == (digest, head)))
        {
            return;
        }
        let state = self
            .bring(documents)
            .unwrap_or_else(|failure| match failure.code() {
                Code::Locked | Code::Busy | Code::StaleCandidate | Code::NoGateway => {
                    State::Waiting(failure)
                }
                Code::StoreFailed | Code::NoStore | Code::Damaged | Code::Output => {
                    State::Failed(failure)
                }
                _ => State::Refused(failure),
            });
        let lasts = matches!(state, State::Applied | State::Refused(_));
        self.seen = lasts.then_some((digest, self.status.revision));
        self.status.set(state, Some(digest));
        self.say();
    }

    /// Commits what the directory says, if that is another configuration.
    fn bring(&mut self, documents: Documents) -> Result<State, Failure> {
        let (digest, count) = (documents.digest(), documents.count());
        let mut store = self.context.open_to_write()?;
        self.status.revision = store.head()?;
        let parts = parts(documents)?;
        for _ in 0..TRIES {
            match self.commit(&mut store, &parts, digest, count) {
                Err(failure) if failure.code() == Code::StaleCandidate => {}
                outcome => return outcome,
            }
        }
        Err(Error::Busy.into())
    }

    /// One try at it.
    fn commit(
        &mut self,
        store: &mut Store,
        parts: &Parts,
        digest: blake3::Hash,
        count: usize,
    ) -> Result<State, Failure> {
        let (base, running) = store.head_and_configuration()?;
        self.status.revision = base;
        self.probation.follow(store, &mut self.applied)?;
        let now = &parts.configuration;
        let changeset = self.change(&running, now).map_err(conflicts)?;
        let pending = store.pending_confirmation()?;
        if changeset.is_empty() {
            self.status.others = Counts::of(&Changeset::between(now, &running));
            // What was applied before is applied, whatever becomes of the commit that waits.
            let is_kept = self.applied.configuration.as_ref() == Some(now);
            return match pending.filter(|pending| pending.revision == base && !is_kept) {
                Some(pending) => self.await_confirmation(store, parts, pending, digest),
                None => self.keep(parts, base, digest),
            };
        }
        let (applied, enforces) = (&self.applied, self.options.enforce);
        let says_so =
            |then: &Configuration| change(applied, enforces, then, now).is_ok_and(|c| c.is_empty());
        let refused = self.probation.refuses(store, base, digest, says_so)?;
        if let Some(failure) = refused {
            return Ok(State::Refused(failure));
        }
        // A commit would confirm what its author still wants to go back from.
        if let Some(pending) = pending.filter(|pending| !self.probation.is_own(pending)) {
            let message = format!(
                "revision {} of {} waits for its confirmation until {}",
                pending.revision,
                pending.author,
                when::local(pending.deadline)
            );
            return Ok(State::Waiting(Failure::new(Code::Busy, message)));
        }
        checker::check_edits(&store.reader(base)?, &changeset)
            .map_err(|failure| placed(failure, parts))?;
        if self.probation.auto {
            let reader = store.reader(base)?;
            let probes = Overlay::new(&reader, &changeset).some_below(Table::Probe, &[], 1)?;
            confirming::expect_possible(self.context, !probes.is_empty())?;
        }
        let request = CommitRequest {
            confirm: self.probation.time,
            ..request(base, &changeset, &self.options.signature)
        };
        let committed = store
            .commit(request, &mut checker::checker())
            .map_err(|error| placed_error(error, parts))?;
        let revision = committed.revision;
        self.status.revision = revision;
        let mut after = running;
        // What was committed fits what it was made on.
        if after.apply(&changeset).is_ok() {
            self.status.others = Counts::of(&Changeset::between(now, &after));
        }
        let durable = live::durable_time(&committed);
        self.context.say(&format!(
            "revision {revision} committed: {}, from {count} document{}  durable in {}\n",
            view::sentence(Counts::of(&changeset)),
            if count == 1 { "" } else { "s" },
            milliseconds(durable)
        ))?;
        warn(self.context, store, revision, &changeset);
        let pending = store.pending_confirmation()?;
        let pending = pending.filter(|pending| pending.revision == revision);
        let state = match &pending {
            None => self.keep(parts, revision, digest)?,
            Some(pending) => {
                probation::say(self.context, pending)?;
                self.applied.tried = Some(now.clone());
                self.probation.begin(pending.clone(), digest);
                State::Confirming(pending.clone())
            }
        };
        // That it is not live is no reason to commit anything else: it is said, and `rewire status` goes on saying it.
        self.status.live = match self.options.wait.until_live(self.context, &committed) {
            Ok(live) => {
                self.context.say(&live.text)?;
                live.answer
            }
            Err(failure) => {
                self.context.complain(&failure);
                json!({ "live": false, "error": failure.to_json() })
            }
        };
        match pending.filter(|_| self.probation.auto) {
            // The first time at once.
            Some(pending) => self.await_confirmation(store, parts, pending, digest),
            None => Ok(state),
        }
    }

    /// What makes of a configuration what the directory says.
    fn change(
        &self,
        running: &Configuration,
        now: &Configuration,
    ) -> Result<Changeset, Vec<merge::Conflict>> {
        change(&self.applied, self.options.enforce, running, now)
    }

    /// What the directory says runs, and is gone back from unless it is confirmed: lets its probes do so, where they are to.
    fn await_confirmation(
        &mut self,
        store: &mut Store,
        parts: &Parts,
        pending: PendingConfirmation,
        documents: blake3::Hash,
    ) -> Result<State, Failure> {
        if !self.probation.is_own(&pending) {
            // Of who kept this directory before.
            self.applied.tried = Some(parts.configuration.clone());
            self.probation.begin(pending.clone(), documents);
        }
        if !self.probation.auto {
            return Ok(State::Confirming(pending));
        }
        match confirming::try_once(self.context, store, &pending)? {
            Tried::Confirmed(confirmed) => {
                self.context.say(&confirmed.text(pending.revision))?;
                self.probation.follow(store, &mut self.applied)?;
                self.keep(parts, pending.revision, documents)
            }
            Tried::Failed(problem) => {
                self.probation.problem = Some(problem);
                Ok(State::Confirming(pending))
            }
        }
    }

    /// Keeps in mind that the directory is applied.
    fn keep(
        &mut self,
        parts: &Parts,
        revision: u64,
        documents: blake3::Hash,
    ) -> Result<State, Failure> {
        if self
            .status
            .last
            .is_none_or(|last| last.documents != documents)
        {
            self.status.last = Some(Last {
                revision,
                documents,
                at: now(),
            });
        }
        self.applied
            .keep(&parts.configuration)
            .map_err(cannot_keep)?;
        Ok(State::Applied)
    }

    /// Says how it stands, where that is news: to the file, to people, to machines, to the service manager.
    fn say(&mut self) {
        let status = self.status.to_json();
        if self.said.as_ref() == Some(&status) {
            return;
        }
        let state = self.status.state();
        let before = self
            .said
            .as_ref()
            .map(|said| (&said["state"], &said["error"]));
        let is_news = before != Some((&status["state"], &status["error"]));
        if let Some(failure) = state.failure().filter(|_| is_news) {
            self.context.complain(failure);
        }
        service::status(&format!(
            "{}, revision {}",
            state.word(),
            self.status.revision
        ));
        if let Err(error) = self.status.write() {
            self.context
                .note(&format!("the status file cannot be written: {error}"));
        }
        if self.context.json {
            // Machines read a line for each.
            let mut line = status.clone();
            line["notes"] = json!(self.context.take_notes());
            let _ = terminal::print(&format!("{line}\n"));
        }
        self.said = Some(status);
    }
}

fn change(
    applied: &Applied,
    enforces: bool,
    running: &Configuration,
    now: &Configuration,
) -> Result<Changeset, Vec<merge::Conflict>> {
    match enforces {
        true => Ok(Changeset::between(running, now)),
        false => applied.change(running, now),
    }
}

/// Both the directory and others changed the same.
fn conflicts(conflicts: Vec<merge::Conflict>) -> Failure {
    let with_nobody = |conflict| rewire_configdb::Conflict {
        conflict,
        revision: None,
        author: None,
    };
    Failure::Conflicts(Conflicts::Merge(
        conflicts.into_iter().map(with_nobody).collect(),
    ))
}
