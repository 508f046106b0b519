//! When a directory has changed, and has come to rest again.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Config, Event, EventKind, INotifyWatcher, RecursiveMode, Watcher as _};

use super::directory::is_document;
use crate::failure::{Code, Failure};

/// How many times the quiet time a document that is being written is waited for: who writes by mapping a file never closes it.
const WRITERS_TIME: u32 = 20;

/// Something that the loop waits for.
enum Signal {
    Files(notify::Result<Event>),
    Stop,
}

/// Why the waiting is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Something has changed, and nothing more for the quiet time.
    Settled,
    /// Nothing has changed for as long as was waited.
    Nothing,
    /// It is to end.
    Stop,
}

/// Ends the waiting from another thread.
pub(crate) struct Stopper(Sender<Signal>);

impl Stopper {
    pub(crate) fn stop(&self) {
        // Only fails where nobody waits any more.
        let _ = self.0.send(Signal::Stop);
    }
}

/// A directory that is watched by the kernel (inotify), with the one that it stands in: whoever replaces it whole, or the link
/// that it is, is seen, too.
pub(crate) struct Changes {
    root: PathBuf,
    watcher: INotifyWatcher,
    /// What is watched under the directory's name: device, inode, and the path without links.
    watched: Option<(u64, u64, PathBuf)>,
    signals: Receiver<Signal>,
    sender: Sender<Signal>,
    quiet: Duration,
    /// When something last changed, where that has not been told.
    changed: Option<Instant>,
    /// The documents that somebody has open and has written to, since when.
    being_written: HashMap<PathBuf, Instant>,
}

impl Changes {
    /// Watches a directory, which need not be there yet; the one that it stands in must be.
    pub(crate) fn watch(root: &Path, quiet: Duration) -> Result<Changes, Failure> {
        let (sender, signals) = mpsc::channel();
        let events = sender.clone();
        let handler = move |event| {
            // Only fails where nobody waits any more.
            let _ = events.send(Signal::Files(event));
        };
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher =
            INotifyWatcher::new(handler, config).map_err(|error| failed(root, &error))?;
        // An absolute path has a parent, but for the one of everything, which nobody replaces.
        let root = std::path::absolute(root).map_err(|error| failed(root, &error))?;
        if let Some(parent) = root.parent() {
            std::fs::metadata(parent).map_err(|error| failed(parent, &error))?;
            watcher
                .watch(parent, RecursiveMode::NonRecursive)
                .map_err(|error| failed(parent, &error))?;
        }
        let mut changes = Changes {
            root,
            watcher,
            watched: None,
            signals,
            sender,
            quiet,
            changed: None,
            being_written: HashMap::new(),
        };
        changes.rewatch();
        Ok(changes)
    }

    /// What ends the waiting.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.sender.clone())
    }

    /// Asks to be woken once more although nothing has changed since: what was read was not of one moment.
    pub(crate) fn again(&mut self) {
        self.changed = Some(Instant::now());
    }

    /// Waits until something has changed and come to rest, or for so long; while it changes and does not rest, longer.
    pub(crate) fn wait(&mut self, longest: Duration) -> Woken {
        let end = Instant::now() + longest;
        loop {
            // What the kernel has said already counts before the clock does.
            if self.hear() == Some(Woken::Stop) {
                return Woken::Stop;
            }
            let now = Instant::now();
            let until = match self.rests_at() {
                Some(rest) if rest <= now => {
                    self.changed = None;
                    self.being_written.clear();
                    self.rewatch();
                    return Woken::Settled;
                }
                Some(rest) => rest,
                None if end <= now => {
                    self.rewatch();
                    return Woken::Nothing;
                }
                None => end,
            };
            match self.signals.recv_timeout(until - now) {
                Ok(Signal::Stop) | Err(RecvTimeoutError::Disconnected) => return Woken::Stop,
                Ok(Signal::Files(event)) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Whether nothing has changed since the waiting was over: what was read meanwhile is of one moment.
    pub(crate) fn still_rests(&mut self) -> bool {
        // A stop is heard again, by who waits next.
        if self.hear() == Some(Woken::Stop) {
            self.stopper().stop();
        }
        self.changed.is_none()
    }

    /// Takes what was said already.
    fn hear(&mut self) -> Option<Woken> {
        loop {
            match self.signals.try_recv() {
                Ok(Signal::Stop) | Err(TryRecvError::Disconnected) => return Some(Woken::Stop),
                Ok(Signal::Files(event)) => self.take(event),
                Err(TryRecvError::Empty) => return None,
            }
        }
    }

    fn take(&mut self, event: notify::Result<Event>) {
        match event {
            Ok(event) => self.note(&event),
            // Events were lost, or a part cannot be watched: whatever it was, it is looked at.
            Err(_) => self.changed = Some(Instant::now()),
        }
    }

    /// When what has changed will have come to rest, should nothing else happen.
    fn rests_at(&self) -> Option<Instant> {
        let quiet = self.changed? + self.quiet;
        let written = self.being_written.values().max();
        Some(written.map_or(quiet, |last| quiet.max(*last + self.quiet * WRITERS_TIME)))
    }

    fn note(&mut self, event: &Event) {
        let now = Instant::now();
        let inside = |path: &&PathBuf| {
            let watched = self.watched.as_ref().map(|(_, _, path)| path);
            path.starts_with(&self.root) || watched.is_some_and(|watched| path.starts_with(watched))
        };
        let is_known = |path: &&PathBuf| path.file_name().is_some_and(is_document);
        let paths: Vec<PathBuf> = event.paths.iter().filter(inside).cloned().collect();
        let documents = || paths.iter().filter(is_known);
        let concerns = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                for path in documents() {
                    self.being_written.remove(path);
                }
                documents().next().is_some()
            }
            // Reading changes nothing.
            EventKind::Access(_) => false,
            EventKind::Modify(ModifyKind::Data(_)) => {
                for path in documents() {
                    self.being_written.insert(path.clone(), now);
                }
                documents().next().is_some()
            }
            _ => {
                for path in &paths {
                    self.being_written.remove(path);
                }
                !paths.is_empty()
            }
        };
        if concerns || event.need_rescan() {
            self.changed = Some(now);
        }
    }

    /// Watches what is called by the directory's name now, where that is another than before.
    fn rewatch(&mut self) {
        let found = std::fs::metadata(&self.root)
            .and_then(|found| Ok((found.dev(), found.ino(), std::fs::canonicalize(&self.root)?)));
        let found = found.ok();
        if found == self.watched {
            return;
        }
        if let Some((_, _, path)) = self.watched.take() {
            // It may be gone, and its watch with it.
            let _ = self.watcher.unwatch(&path);
        }
        if let Some(found) = found
            && self
                .watcher
                .watch(&found.2, RecursiveMode::Recursive)
                .is_ok()
        {
            self.watched = Some(found);
            // What happened before the watch was there is to be seen.
            self.changed = Some(Instant::now());
        }
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let message = format!("cannot watch {}: {error}", path.display());
    Failure::new(Code::UnreadableFile, message)
}
