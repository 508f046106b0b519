//! What others do meanwhile: commits, and the lock.

use rewire_configdb::{LogQuery, Session, Store};

use super::Shell;
use crate::edit::Editing;
use crate::failure::Failure;
use crate::terminal::clean;

/// What is known of what others did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    head: u64,
    data_version: i64,
    /// Who else holds the lock.
    locked_by: Option<String>,
}

impl News {
    pub(super) fn of(store: &Store) -> Result<Self, Failure> {
        let own = Session::ancestry().unwrap_or_default();
        let holder = store.lock_holder()?;
        let other = holder.filter(|holder| !own.contains(&holder.session));
        Ok(News {
            head: store.head()?,
            data_version: store.data_version()?,
            locked_by: other.map(|holder| holder.holder),
        })
    }

    /// Who else holds the lock, as people are told.
    pub(super) fn lock(&self) -> Option<String> {
        let holder = self.locked_by.as_ref()?;
        Some(format!(
            "note: {} has locked the store: nobody else can commit",
            clean(holder)
        ))
    }
}

impl Shell<'_> {
    /// What has happened since it was asked last; taken over as far as nothing is lost.
    pub(super) fn hear(&mut self) -> Result<Vec<String>, Failure> {
        let mut said = Vec::new();
        if self.store.data_version()? == self.news.data_version {
            return Ok(said);
        }
        let now = News::of(&self.store)?;
        let before = std::mem::replace(&mut self.news, now);
        if self.news.head != before.head {
            let last = self.store.log(LogQuery::last(1))?.pop();
            let who = last.map_or_else(String::new, |entry| {
                let message = entry.message.lines().next().unwrap_or_default();
                format!(" by {}: {}", clean(&entry.author), clean(message))
            });
            let advice = match self.editing.edits.is_empty() {
                true => "",
                false => " (update brings the candidate onto it)",
            };
            said.push(format!(
                "note: revision {} was committed{who}{advice}",
                self.news.head
            ));
        }
        if self.news.locked_by != before.locked_by {
            let free = || "note: the store is not locked any more".to_owned();
            said.push(self.news.lock().unwrap_or_else(free));
        }
        let theirs = Editing::open(self.context, &self.store)?;
        let is_changed = theirs.version != self.editing.version;
        if is_changed {
            said.push(
                "note: the candidate was changed elsewhere, and is taken as it is now".to_owned(),
            );
        }
        if is_changed || self.editing.edits.is_empty() {
            self.editing = theirs;
        }
        Ok(said)
    }
}
