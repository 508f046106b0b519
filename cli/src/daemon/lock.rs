//! One gateway a store: an advisory lock on a file beside it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::{Code, Failure};

/// Held as long as the gateway runs. The kernel lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct StoreLock(
    #[allow(dead_code, reason = "the lock lasts as long as the open file")] File,
);

impl StoreLock {
    /// Takes the lock of a store. It is on a file of its own (`rewire.db.lock`, which stays): closing any handle of the
    /// database itself would end the locks that SQLite has on it.
    pub(crate) fn take(store: &Path) -> Result<StoreLock, Failure> {
        let mut path = store.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::new(
                Code::StoreFailed,
                format!("cannot lock {}: {error}", path.display()),
            )
        };
        let file = options.write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| cannot(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(StoreLock(file)),
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "another gateway is running on the store {}",
                    store.display()
                );
                Err(Failure::new(Code::AlreadyRunning, message)
                    .help("`rewire status` shows what it does"))
            }
            Err(TryLockError::Error(error)) => Err(cannot(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_one_gateway_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("rewire.db");
        let lock = StoreLock::take(&store).unwrap();
        let refused = StoreLock::take(&store).unwrap_err();
        assert!(
            refused
                .render(false)
                .contains("another gateway is running on the store")
        );
        drop(lock);
        StoreLock::take(&store).unwrap();
    }
}
