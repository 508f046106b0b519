//! Counts the calls to the disk, and makes them fail from the n-th on.

use std::ffi::c_int;
use std::sync::Mutex;

use rusqlite::ffi;

use crate::vfs::{Call, Layer, Turn, lock, turn};

/// What is the matter with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Calls fail: an I/O error.
    Broken,
    /// There is no space for what is written.
    Full,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// For one call.
    Once,
    /// Until it is put right.
    ForGood,
}

struct Plan {
    what: What,
    /// So many calls are still done.
    calls: usize,
    lasting: Lasting,
    /// The first call that failed.
    struck: Option<Call>,
}

static PLAN: Mutex<Option<Plan>> = Mutex::new(None);

/// A disk that does as it is told.
pub(crate) struct Faults {
    _turn: Turn,
}

impl Faults {
    /// Stands under all files that are opened from now on; nothing fails yet.
    pub(crate) fn start() -> Faults {
        let turn = turn();
        turn.install(&FaultLayer);
        Faults { _turn: turn }
    }

    /// Lets so many calls pass that could fail in this way, and fails the next.
    pub(crate) fn arm(&self, what: What, calls: usize, lasting: Lasting) {
        *lock(&PLAN) = Some(Plan {
            what,
            calls,
            lasting,
            struck: None,
        });
    }

    /// Puts the disk right. Gives the first call that failed since it was armed.
    pub(crate) fn disarm(&self) -> Option<Call> {
        lock(&PLAN).take().and_then(|plan| plan.struck)
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.disarm();
    }
}

struct FaultLayer;

impl Layer for FaultLayer {
    fn before(&self, call: Call) -> Option<c_int> {
        let mut plan = lock(&PLAN);
        let plan = plan.as_mut()?;
        let code = plan.what.code(call)?;
        if plan.calls > 0 {
            plan.calls -= 1;
            return None;
        }
        if plan.struck.is_some() && plan.lasting == Lasting::Once {
            return None;
        }
        plan.struck.get_or_insert(call);
        Some(code)
    }
}

impl What {
    /// What SQLite hears of a call that fails in this way; none where it cannot.
    fn code(self, call: Call) -> Option<c_int> {
        let code = match (self, call) {
            (What::Full, Call::Write) => ffi::SQLITE_FULL,
            (What::Full, Call::MapIndex) => ffi::SQLITE_IOERR_SHMSIZE,
            (What::Full, Call::Open) => ffi::SQLITE_CANTOPEN,
            (What::Full, Call::Link) => ffi::SQLITE_FULL,
            (What::Full, _) => return None,
            (What::Broken, Call::Open) => ffi::SQLITE_CANTOPEN,
            (What::Broken, Call::Delete) => ffi::SQLITE_IOERR_DELETE,
            (What::Broken, Call::Access) => ffi::SQLITE_IOERR_ACCESS,
            (What::Broken, Call::Read) => ffi::SQLITE_IOERR_READ,
            (What::Broken, Call::Write) => ffi::SQLITE_IOERR_WRITE,
            (What::Broken, Call::Truncate) => ffi::SQLITE_IOERR_TRUNCATE,
            (What::Broken, Call::Sync) => ffi::SQLITE_IOERR_FSYNC,
            (What::Broken, Call::Link) => ffi::SQLITE_IOERR,
            (What::Broken, Call::FileSize) => ffi::SQLITE_IOERR_FSTAT,
            (What::Broken, Call::Lock) => ffi::SQLITE_IOERR_LOCK,
            (What::Broken, Call::MapIndex) => ffi::SQLITE_IOERR_SHMMAP,
            (What::Broken, Call::LockIndex) => ffi::SQLITE_IOERR_SHMLOCK,
        };
        Some(code)
    }
}
