//! A recording session of SQLite, which notes what a transaction changes: what a peer needs to have a history at all.
//! With the feature `session`, for which SQLite must be built with its session extension (`make bench` does).

use rusqlite::Connection;

use crate::stores::Failure;

/// What the peer is called in the report.
pub(crate) const PEER: &str = if cfg!(feature = "session") {
    "sqlite-wal-full-session"
} else {
    "sqlite-wal-full"
};

/// Runs a transaction while a session records it; gives the size of the changeset in bytes, 0 without the feature.
pub(crate) fn recorded(
    connection: &Connection,
    transaction: impl FnOnce(&Connection) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    #[cfg(feature = "session")]
    let session = recording::Session::new(connection)?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    transaction(connection)?;
    #[cfg(feature = "session")]
    let size = session.changeset_size()?;
    #[cfg(not(feature = "session"))]
    let size = 0;
    connection.execute_batch("COMMIT")?;
    Ok(size)
}

#[cfg(feature = "session")]
mod recording {
    use std::marker::PhantomData;
    use std::ptr;

    use rusqlite::{Connection, ffi};

    use crate::stores::Failure;

    pub(super) struct Session<'a> {
        session: *mut ffi::sqlite3_session,
        connection: PhantomData<&'a Connection>,
    }

    fn good(code: i32) -> Result<(), Failure> {
        match code {
            ffi::SQLITE_OK => Ok(()),
            code => Err(ffi::Error::new(code).into()),
        }
    }

    impl<'a> Session<'a> {
        pub(super) fn new(connection: &'a Connection) -> Result<Self, Failure> {
            let mut session = ptr::null_mut();
            // SAFETY: the handle is that of an open connection, which outlives the session by its lifetime; the name is a C
            // string, and the session is written to a live pointer.
            good(unsafe {
                ffi::sqlite3session_create(connection.handle(), c"main".as_ptr(), &mut session)
            })?;
            let session = Session {
                session,
                connection: PhantomData,
            };
            // SAFETY: the session is open; no table name means all tables.
            good(unsafe { ffi::sqlite3session_attach(session.session, ptr::null()) })?;
            Ok(session)
        }

        /// Makes the changeset, as a history would keep it.
        pub(super) fn changeset_size(&self) -> Result<usize, Failure> {
            let (mut size, mut bytes) = (0, ptr::null_mut());
            // SAFETY: the session is open, and both pointers are to live variables.
            good(unsafe { ffi::sqlite3session_changeset(self.session, &mut size, &mut bytes) })?;
            // SAFETY: SQLite allocated the buffer and has handed it over; it is not used after this.
            unsafe { ffi::sqlite3_free(bytes) };
            Ok(usize::try_from(size)?)
        }
    }

    impl Drop for Session<'_> {
        fn drop(&mut self) {
            // SAFETY: the session is open, and this is its only owner.
            unsafe { ffi::sqlite3session_delete(self.session) };
        }
    }
}
