use rewire_journal::{Chain, StateDigest};
use rewire_schema::{Changeset, Configuration};

use crate::error::{During, Error};
use crate::history::changeset;
use crate::rows;
use crate::store::{Store, revision};

/// What was found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of revisions.
    pub revisions: u64,
    /// The number of rows of the running state.
    pub rows: usize,
}

impl Store {
    /// Checks everything: that the entries are a chain, that each can be decoded and fits onto the state before it, that
    /// each state has the digest on record, that the rows are what the journal leads to, and that the file is in order.
    /// Others may commit meanwhile; what they do is not looked at. Cost: the whole journal and all rows, twice in memory.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenChain`], [`Error::Journal`], [`Error::Fold`] and [`Error::DigestMismatch`] name the first revision
    /// where something is wrong; rows that are not what the journal says count against the last one.
    /// [`Error::Damaged`] where the file itself is.
    pub fn verify(&self) -> Result<Verified, Error> {
        let snapshot = self.snapshot()?;
        let head = revision(&snapshot)?;
        let mut chain = Chain::new(rewire_journal::genesis(&self.identity()));
        let mut state = Configuration::default();
        let mut digest = StateDigest::EMPTY;
        self.for_each_entry(1..=head, |entry| {
            let revision = entry.revision;
            chain
                .follow(&entry)
                .map_err(|source| Error::BrokenChain { revision, source })?;
            let changeset = changeset(&entry)?;
            state
                .apply(&changeset)
                .map_err(|mismatch| Error::Fold { revision, mismatch })?;
            digest.apply(&changeset);
            if digest != entry.state_digest {
                let (expected, found) = (entry.state_digest, digest);
                return Err(Error::DigestMismatch {
                    revision,
                    expected,
                    found,
                    row: None,
                });
            }
            Ok(())
        })?;
        let rows = rows::configuration(&snapshot)?;
        let found = StateDigest::of(&rows);
        if found != digest || rows != state {
            let differing = Changeset::between(&state, &rows);
            let row = differing.iter().next().map(|change| change.row().path());
            return Err(Error::DigestMismatch {
                revision: head,
                expected: digest,
                found,
                row,
            });
        }
        // Last, because it can only say that something is wrong, and not where.
        let during = "checking the file";
        let verdict: String = snapshot
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .during(during)?;
        if verdict != "ok" {
            return match failed_read(&verdict) {
                Some(source) => Err(source).during(during),
                None => Err(Error::Damaged { why: verdict }),
            };
        }
        Ok(Verified {
            revisions: head,
            rows: rows.len(),
        })
    }
}

/// SQLite's check notes a page that could not be read among its findings. That is the disk's fault, not damage.
fn failed_read(verdict: &str) -> Option<rusqlite::Error> {
    let (_, code) = verdict.rsplit_once("error code=")?;
    let code: i32 = code.trim_end().parse().ok()?;
    let primary = code & 0xff;
    (primary == rusqlite::ffi::SQLITE_IOERR)
        .then(|| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
}
