//! What a directory said when it was last applied, kept beside the store: what it says later is a change of that, and what
//! others committed since is told apart from it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rewire_schema::document::to_document;
use rewire_schema::merge;
use rewire_schema::source;
use rewire_schema::{Changeset, Configuration};
use serde_json::{Value, json};

/// The version of the file's form.
const VERSION: u32 = 1;

/// The file.
#[derive(Debug)]
pub(super) struct Applied {
    path: PathBuf,
    /// The directory that is applied.
    directory: String,
    /// What it said, as far as it is known.
    pub(super) configuration: Option<Configuration>,
    /// What it says in a commit that waits for its confirmation: in place of the above until that has come or not.
    pub(super) tried: Option<Configuration>,
}

impl Applied {
    /// Reads what was applied of a directory. What cannot be read, or is of another directory, counts as nothing.
    pub(super) fn open(store: &Path, directory: &Path) -> Applied {
        let path = beside(store, ".applied.json");
        let directory = directory.display().to_string();
        let configuration = fs::read(&path)
            .ok()
            .and_then(|bytes| read(&bytes, &directory));
        Applied {
            path,
            directory,
            configuration,
            tried: None,
        }
    }

    /// Keeps what the directory says, durably.
    pub(super) fn keep(&mut self, configuration: &Configuration) -> io::Result<()> {
        if self.configuration.as_ref() == Some(configuration) {
            return Ok(());
        }
        let value = json!({
            "version": VERSION,
            "directory": self.directory,
            "configuration": to_document(configuration),
        });
        replace(&self.path, format!("{value}\n").as_bytes())?;
        self.configuration = Some(configuration.clone());
        Ok(())
    }

    /// What makes of the running configuration what the directory says now, and leaves alone what others made of it since
    /// the directory was last applied. Where nothing is known of that, the directory says all.
    pub(super) fn change(
        &self,
        running: &Configuration,
        now: &Configuration,
    ) -> Result<Changeset, Vec<merge::Conflict>> {
        let Some(before) = self.tried.as_ref().or(self.configuration.as_ref()) else {
            return Ok(Changeset::between(running, now));
        };
        let others = Changeset::between(before, running);
        merge::rebase(&Changeset::between(before, now), &others)
    }
}

fn read(bytes: &[u8], directory: &str) -> Option<Configuration> {
    let value: Value = serde_json::from_slice(bytes).ok()?;
    if value.get("version")? != VERSION || value.get("directory")? != directory {
        return None;
    }
    let document = serde_json::to_vec(value.get("configuration")?).ok()?;
    let source = source::read_shape("the configuration that was applied", &document).ok()?;
    Some(source.configuration)
}

/// A file beside the store, whose name begins with the store's.
pub(super) fn beside(store: &Path, ending: &str) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

/// Puts bytes in the place of a file's: whoever reads it sees what was there or what is there, whole; so does who comes after
/// a crash.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let new = path.with_file_name(hidden);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if replaced.is_err() {
        let _ = fs::remove_file(&new);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Configuration {
        source::read_shape("a", text.as_bytes())
            .unwrap()
            .configuration
    }

    #[test]
    fn what_was_applied_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (store, conf) = (folder.path().join("rewire.db"), Path::new("conf"));
        let mut applied = Applied::open(&store, conf);
        assert_eq!(applied.configuration, None);
        let blue = configuration("vpcs: {blue: {annotation: a}}");
        applied.keep(&blue).unwrap();
        assert_eq!(Applied::open(&store, conf).configuration, Some(blue));
        assert_eq!(
            Applied::open(&store, Path::new("other")).configuration,
            None
        );
        fs::write(beside(&store, ".applied.json"), "{").unwrap();
        assert_eq!(Applied::open(&store, conf).configuration, None);
    }

    #[test]
    fn what_others_committed_stays_and_what_the_directory_takes_away_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut applied = Applied::open(&folder.path().join("rewire.db"), Path::new("conf"));
        applied
            .keep(&configuration("vpcs: {blue: {}, red: {}}"))
            .unwrap();
        let mut running = configuration("vpcs: {blue: {}, red: {}, theirs: {}}");
        let now = configuration("vpcs: {blue: {}, green: {}}");
        running
            .apply(&applied.change(&running, &now).unwrap())
            .unwrap();
        assert_eq!(
            running,
            configuration("vpcs: {blue: {}, green: {}, theirs: {}}")
        );
        // What is applied twice changes nothing more, also where nobody could note that it was applied.
        assert!(applied.change(&running, &now).unwrap().is_empty());
        let theirs = configuration("vpcs: {blue: {description: theirs}, red: {}}");
        let ours = configuration("vpcs: {blue: {description: ours}, red: {}}");
        assert_eq!(applied.change(&theirs, &ours).unwrap_err().len(), 1);
    }
}
