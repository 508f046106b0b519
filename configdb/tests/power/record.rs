//! Notes, in order, everything that reaches the files of one folder.
//!
//! A VFS under SQLite notes writes, truncations, creations and deletions. The real one still does the work; this one
//! stands in front of it as the process's default, so that the store under test, all of its connections included, needs
//! to know nothing. The log's index (`-shm`) is shared memory, of no use after a power failure, and not noted.
//!
//! Syncs are noted where they leave the process, whoever asks for them: SQLite, for a file or for the folder that a name
//! is new in, or the store itself, which creates and links files without SQLite.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

use crate::disk::{Change, Files, Operation};

/// Which syncs the disk carries out; it says that it has done all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    All,
    None,
    /// All but those of write-ahead logs.
    NotOfLogs,
    /// All but those of the folder, which make names durable.
    NotOfTheFolder,
}

/// What is being noted.
struct Recorder {
    folder: PathBuf,
    syncs: Syncs,
    /// Which file each name stands for. A file's number is its own for ever, whatever becomes of its name.
    names: BTreeMap<String, usize>,
    files: usize,
    /// The inodes of files that have a name.
    inodes: BTreeMap<usize, u64>,
    operations: Vec<Operation>,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

/// There is one default VFS in a process, so one recording at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A recording that goes on until it is dropped.
pub(crate) struct Recording {
    _turn: MutexGuard<'static, ()>,
}

impl Recording {
    /// Notes what happens to a folder from now on. Gives the files that are there, too.
    pub(crate) fn start(folder: &Path, syncs: Syncs) -> (Recording, Files) {
        let turn = lock(&ONE_AT_A_TIME);
        let folder = folder.canonicalize().unwrap();
        let files: Files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (name_of(&path), std::fs::read(&path).unwrap()))
            .collect();
        *lock(&RECORDER) = Some(Recorder {
            syncs,
            names: files.keys().cloned().zip(0..).collect(),
            files: files.len(),
            inodes: files
                .keys()
                .map(|name| inode(&folder.join(name)))
                .enumerate()
                .collect(),
            folder,
            operations: Vec::new(),
        });
        make_default(recording_vfs());
        (Recording { _turn: turn }, files)
    }

    /// Notes that something was acknowledged to the outside.
    pub(crate) fn mark(&self, number: usize) {
        note(Operation::Mark(number));
    }

    pub(crate) fn finish(self) -> Vec<Operation> {
        let recorder = lock(&RECORDER).take();
        recorder.unwrap().operations
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        make_default(real_vfs());
        *lock(&RECORDER) = None;
    }
}

/// A test that failed while it held a lock must not make the next one fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn note(operation: Operation) {
    if let Some(recorder) = &mut *lock(&RECORDER) {
        recorder.operations.push(operation);
    }
}

impl Recorder {
    /// The name inside of the folder; none for what is elsewhere.
    fn name(&self, path: &Path) -> Option<String> {
        (path.parent() == Some(&self.folder)).then(|| name_of(path))
    }

    fn rename(&mut self, name: String, file: Option<usize>) {
        match file {
            Some(file) => drop(self.names.insert(name.clone(), file)),
            None => drop(self.names.remove(&name)),
        }
        let names = &self.names;
        self.inodes
            .retain(|number, _| names.values().any(|named| named == number));
        self.operations.push(Operation::Name { name, file });
    }

    /// Notes what was linked and removed without SQLite. That a file is new shows when SQLite opens it.
    fn look_around(&mut self) {
        let listing = std::fs::read_dir(&self.folder).unwrap();
        let there: BTreeMap<String, u64> = listing
            .map(|entry| entry.unwrap())
            .map(|entry| (name_of(&entry.path()), entry.ino()))
            .collect();
        for (name, inode) in &there {
            let known = self.inodes.iter().find(|(_, known)| *known == inode);
            let file = known.map(|(number, _)| *number);
            if file.is_some() && !self.names.contains_key(name) {
                self.rename(name.clone(), file);
            }
        }
        let gone = self.names.keys().filter(|name| !there.contains_key(*name));
        for name in gone.cloned().collect::<Vec<String>>() {
            self.rename(name, None);
        }
    }

    /// Notes that a file or the folder was synced. Says whether the disk does it.
    fn sync(&mut self, path: &Path) -> bool {
        if path == self.folder {
            self.look_around();
            let does = matches!(self.syncs, Syncs::All | Syncs::NotOfLogs);
            if does {
                self.operations.push(Operation::SyncFolder);
            }
            return does;
        }
        let name = self.name(path);
        let Some((name, file)) = name.and_then(|name| self.names.get_key_value(&name)) else {
            return true;
        };
        let does = match self.syncs {
            Syncs::All | Syncs::NotOfTheFolder => true,
            Syncs::None => false,
            Syncs::NotOfLogs => !name.ends_with("-wal"),
        };
        if does {
            self.operations.push(Operation::Sync { file: *file });
        }
        does
    }
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

/// Syncs a file or a folder, whose path is that of the descriptor, unless the disk only pretends to.
fn sync(descriptor: c_int) -> c_int {
    if let Some(recorder) = &mut *lock(&RECORDER) {
        let path = std::fs::read_link(format!("/proc/self/fd/{descriptor}"));
        if path.is_ok_and(|path| !recorder.sync(&path)) {
            return 0;
        }
    }
    // SAFETY: a system call that takes one number, whatever that is.
    let result = unsafe { libc::syscall(libc::SYS_fsync, descriptor) };
    c_int::try_from(result).unwrap()
}

/// Stands for the C library's function of this name in this process, for SQLite and for Rust's `File::sync_all`.
// SAFETY: it has the type, and does the work, of the function that it stands for.
#[unsafe(no_mangle)]
extern "C" fn fsync(descriptor: c_int) -> c_int {
    sync(descriptor)
}

/// As [`fsync`], for `File::sync_data`.
// SAFETY: it has the type, and does the work, of the function that it stands for.
#[unsafe(no_mangle)]
extern "C" fn fdatasync(descriptor: c_int) -> c_int {
    sync(descriptor)
}

fn real_vfs() -> *mut sqlite3_vfs {
    // SAFETY: a constant name; this initialises SQLite if need be.
    let vfs = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
    assert!(!vfs.is_null());
    vfs
}

fn make_default(vfs: *mut sqlite3_vfs) {
    // SAFETY: both that come here live as long as the process; registering again is allowed, and changes the default.
    let result = unsafe { ffi::sqlite3_vfs_register(vfs, 1) };
    assert_eq!(result, ffi::SQLITE_OK);
}

/// The real VFS, but for opening and deleting. Made once, and never freed: SQLite keeps it.
fn recording_vfs() -> *mut sqlite3_vfs {
    static MADE: Once = Once::new();
    const NAME: &CStr = c"power";
    MADE.call_once(|| {
        // SAFETY: the real VFS is valid for ever.
        let vfs = unsafe { *real_vfs() };
        let vfs = Box::leak(Box::new(sqlite3_vfs {
            szOsFile: vfs.szOsFile + c_int::try_from(size_of::<Handle>()).unwrap(),
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            ..vfs
        }));
        // SAFETY: leaked, so valid for ever.
        let result = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(result, ffi::SQLITE_OK);
    });
    // SAFETY: a constant name.
    unsafe { ffi::sqlite3_vfs_find(NAME.as_ptr()) }
}

/// An open file, as SQLite holds it. The real VFS's own is behind it in the same memory.
#[repr(C)]
struct Handle {
    base: sqlite3_file,
    /// The file's number; none where it is not in the folder.
    file: Option<usize>,
}

/// SAFETY: `file` must come from [`open`].
unsafe fn number(file: *mut sqlite3_file) -> Option<usize> {
    // SAFETY: `open` has put a handle there.
    unsafe { (*file.cast::<Handle>()).file }
}

/// SAFETY: `file` must be as large as the recording VFS says.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: there is room for the real file behind the handle, whose size is a multiple of its alignment, 8.
    unsafe { file.cast::<Handle>().add(1).cast() }
}

/// SAFETY: as SQLite calls `xOpen`.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    path: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    let vfs = real_vfs();
    // SAFETY: SQLite gives memory for a handle and the real file, and a path (or none) that outlives the file.
    let (result, path) = unsafe {
        let handle = file.cast::<Handle>();
        handle.write(Handle {
            base: sqlite3_file {
                pMethods: std::ptr::null(),
            },
            file: None,
        });
        let result = ((*vfs).xOpen.unwrap())(vfs, path, real(file), flags, out_flags);
        // SQLite closes what has methods, whether it was opened or not.
        if !(*real(file)).pMethods.is_null() {
            (*handle).base.pMethods = &METHODS;
        }
        (
            result,
            (!path.is_null()).then(|| CStr::from_ptr(path).to_bytes()),
        )
    };
    if result != ffi::SQLITE_OK {
        return result;
    }
    let mut recorder = lock(&RECORDER);
    if let (Some(recorder), Some(path)) = (&mut *recorder, path)
        && let Some(name) = recorder.name(Path::new(OsStr::from_bytes(path)))
    {
        if !recorder.names.contains_key(&name) {
            recorder.look_around();
        }
        let number = recorder.names.get(&name).copied().unwrap_or_else(|| {
            let number = recorder.files;
            recorder.files += 1;
            recorder.rename(name, Some(number));
            let path = Path::new(OsStr::from_bytes(path));
            recorder.inodes.insert(number, inode(path));
            number
        });
        // SAFETY: the handle was written above.
        unsafe { (*file.cast::<Handle>()).file = Some(number) };
    }
    result
}

/// SAFETY: as SQLite calls `xDelete`.
unsafe extern "C" fn delete(_: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    let vfs = real_vfs();
    // SAFETY: the arguments are SQLite's.
    let (result, path) = unsafe {
        let result = ((*vfs).xDelete.unwrap())(vfs, path, sync);
        (result, CStr::from_ptr(path).to_bytes())
    };
    if result == ffi::SQLITE_OK
        && let Some(recorder) = &mut *lock(&RECORDER)
        && let Some(name) = recorder.name(Path::new(OsStr::from_bytes(path)))
        // Where the folder was synced at once, it has been noted then.
        && recorder.names.contains_key(&name)
    {
        recorder.rename(name, None);
    }
    result
}

/// SAFETY: as SQLite calls `xWrite`.
unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: the arguments are SQLite's; so many bytes are there.
    let (result, number, bytes) = unsafe {
        let real = real(file);
        let result = ((*(*real).pMethods).xWrite.unwrap())(real, bytes, length, offset);
        let length = usize::try_from(length).unwrap();
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), length);
        (result, number(file), bytes)
    };
    assert_eq!(result, ffi::SQLITE_OK, "a write failed");
    if let Some(file) = number {
        let offset = usize::try_from(offset).unwrap();
        let bytes = bytes.to_vec();
        let change = Change::Write { offset, bytes };
        note(Operation::Change { file, change });
    }
    result
}

/// SAFETY: as SQLite calls `xTruncate`.
unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: the arguments are SQLite's.
    let (result, number) = unsafe {
        let real = real(file);
        let result = ((*(*real).pMethods).xTruncate.unwrap())(real, size);
        (result, number(file))
    };
    if let (ffi::SQLITE_OK, Some(file)) = (result, number) {
        let change = Change::Truncate(usize::try_from(size).unwrap());
        note(Operation::Change { file, change });
    }
    result
}

/// What needs no note goes to the real file as it comes.
macro_rules! forward {
    ($(fn $name:ident = $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)*) => {$(
        /// SAFETY: as SQLite calls the method of this name.
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $type),*) $(-> $result)? {
            // SAFETY: the arguments are SQLite's; the real VFS has all methods of version 3.
            unsafe {
                let real = real(file);
                ((*(*real).pMethods).$method.unwrap())(real, $($argument),*)
            }
        }
    )*};
}

forward! {
    fn close = xClose() -> c_int;
    fn read = xRead(to: *mut c_void, length: c_int, offset: sqlite3_int64) -> c_int;
    fn sync_file = xSync(flags: c_int) -> c_int;
    fn file_size = xFileSize(size: *mut sqlite3_int64) -> c_int;
    fn lock_file = xLock(level: c_int) -> c_int;
    fn unlock_file = xUnlock(level: c_int) -> c_int;
    fn check_reserved_lock = xCheckReservedLock(result: *mut c_int) -> c_int;
    fn file_control = xFileControl(operation: c_int, argument: *mut c_void) -> c_int;
    fn sector_size = xSectorSize() -> c_int;
    fn device_characteristics = xDeviceCharacteristics() -> c_int;
    fn shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) -> c_int;
    fn shm_lock = xShmLock(offset: c_int, n: c_int, flags: c_int) -> c_int;
    fn shm_barrier = xShmBarrier();
    fn shm_unmap = xShmUnmap(delete: c_int) -> c_int;
}

/// Version 2: without memory mapping, whose writes nobody would see.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync_file),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
