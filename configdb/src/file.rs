//! The file: telling a store from anything else without touching it, and making one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{During, Error};
use crate::migrate;
use crate::store::SCHEMA_VERSION;

/// The oldest version that a store was ever written with.
const OLDEST: u32 = 2;

/// What the header of a store's file says: "Rewi".
pub(crate) const APPLICATION_ID: i32 = 0x5265_7769;

/// How long one connection waits for another one's lock.
pub(crate) const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A path as an SQLite URI, every byte that could mean something escaped.
pub(crate) fn uri(path: &Path, options: &str) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte))
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push('?');
    uri.push_str(options);
    uri
}

pub(crate) fn io_error<'a>(
    during: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> Error + use<'a> {
    move |source| Error::Io {
        during,
        path: path.to_owned(),
        source,
    }
}

/// Checks that there is a store that this program knows at `path`; gives the path without symbolic links.
///
/// Nothing is written or created. A database is looked at through SQLite (as immutable: no lock, no log), never through a
/// file descriptor of our own: closing that would drop the locks that other connections of this process hold on the file.
pub(crate) fn recognise(path: &Path) -> Result<PathBuf, Error> {
    let not_a_store = |why: &str| {
        Err(Error::NotAStore {
            path: path.to_owned(),
            why: why.to_owned(),
        })
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(Error::Missing {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(io_error("looking at", path)(error)),
    };
    if metadata.is_dir() {
        return not_a_store("it is a directory");
    }
    if !metadata.is_file() {
        return not_a_store("it is not a regular file");
    }
    if metadata.len() == 0 {
        return not_a_store("it is empty");
    }
    let canonical = fs::canonicalize(path).map_err(io_error("looking at", path))?;
    let (application_id, version) = match header(&canonical) {
        Ok(header) => header,
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => {
            return not_a_store(describe(path)?);
        }
        Err(error) => return Err(error).during("looking at the file's header"),
    };
    match application_id {
        APPLICATION_ID => check_version(path, version)?,
        0 => {
            return not_a_store(
                "it is an SQLite database that belongs to no particular application",
            );
        }
        other => {
            let why = format!(
                "it is an SQLite database of another application (application_id {other:#010x})"
            );
            return not_a_store(&why);
        }
    }
    Ok(canonical)
}

/// Checks that the number of the last migration is one that this program can open or migrate.
pub(crate) fn check_version(path: &Path, version: i64) -> Result<(), Error> {
    match u32::try_from(version) {
        Ok(OLDEST..=SCHEMA_VERSION) => Ok(()),
        Ok(store) if store > SCHEMA_VERSION => Err(Error::Newer {
            path: path.to_owned(),
            store,
            ours: SCHEMA_VERSION,
        }),
        _ => {
            let why = format!("its schema version is {version}, which no store has");
            Err(Error::NotAStore {
                path: path.to_owned(),
                why,
            })
        }
    }
}

/// The application's number and the schema's version.
fn header(path: &Path) -> rusqlite::Result<(i32, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, "mode=ro&immutable=1"), flags)?;
    // Where the log was on its way into the file when the power failed (or is, by another process, right now), the header
    // counts pages that the file does not have yet. SQLite takes that for damage, unless its tables may be written to,
    // which nobody does here. The log makes up for it as soon as the store is really opened.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    let number = |sql| connection.query_row(sql, [], |row| row.get(0));
    Ok((
        number("PRAGMA application_id")? as i32,
        number("PRAGMA user_version")?,
    ))
}

/// Another connection to a store that is open, for reading.
pub(crate) fn open_beside(path: &Path) -> Result<Connection, Error> {
    let during = "opening the store once more";
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).during(during)?;
    connection.busy_timeout(BUSY_TIMEOUT).during(during)?;
    connection
        .execute_batch("PRAGMA trusted_schema = OFF")
        .during(during)?;
    Ok(connection)
}

/// Says what a file that is no database is.
fn describe(path: &Path) -> Result<&'static str, Error> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(io_error("reading", path))?;
    file.take(512)
        .read_to_end(&mut start)
        .map_err(io_error("reading", path))?;
    let text = match std::str::from_utf8(&start) {
        Ok(_) => true,
        // The 512 bytes may end in the middle of a character.
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    };
    Ok(if text && !start.contains(&0) {
        "it is a text file"
    } else {
        "it is not an SQLite database"
    })
}

/// Removes what was being built, unless it was finished.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            // What is not there need not be removed.
            let _ = fs::remove_file(beside(&self.0, suffix));
        }
    }
}

/// `path` with a suffix behind its file name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a store at `path` and fills it, durable as a whole or not at all: it is built under another name in the same folder,
/// synced, and linked to its own name, which fails if that is taken.
pub(crate) fn create(
    path: &Path,
    fill: impl FnOnce(&Connection) -> Result<(), Error>,
) -> Result<(), Error> {
    // A log left behind by a database of this name would be played into the new one.
    for suffix in ["", "-journal", "-wal"] {
        let path = beside(path, suffix);
        if fs::symlink_metadata(&path).is_ok() {
            return Err(Error::Exists { path });
        }
    }
    let scratch = scratch(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(&scratch.0, flags).during("opening the new store")?;
    migrate::migrate(&connection)?;
    // Before there is a write-ahead log: nothing may be left in one.
    fill(&connection)?;
    use_write_ahead_log(&connection)?;
    connection
        .close()
        .map_err(|(_, error)| error)
        .during("closing the new store")?;
    File::open(&scratch.0)
        .and_then(|file| file.sync_all())
        .map_err(io_error("syncing", &scratch.0))?;
    match fs::hard_link(&scratch.0, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::Exists {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(io_error("creating", path)(error)),
    }
    drop(scratch);
    let folder = folder(path);
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io_error("syncing", folder))
}

/// The write-ahead log is a property of the file: set once, and kept.
pub(crate) fn use_write_ahead_log(connection: &Connection) -> Result<(), Error> {
    let during = "switching to the write-ahead log";
    let mode: String = connection
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .during(during)?;
    if mode != "wal" {
        return Err(Error::Damaged {
            why: format!("its file system does not take a write-ahead log: {mode}"),
        });
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn scratch(path: &Path) -> Result<Scratch, Error> {
    for attempt in 0..u32::MAX {
        let scratch = beside(path, &format!(".new-{}-{attempt}", std::process::id()));
        match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&scratch)
        {
            Ok(_) => return Ok(Scratch(scratch)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(io_error("creating", path)(error)),
        }
    }
    Err(Error::Exists {
        path: path.to_owned(),
    })
}
