//! A VFS under SQLite that notes, in order, everything that reaches the files of one folder.
//!
//! The real one still does the work; this one stands in front of it as the process's default, so that the store under
//! test, all of its connections included, needs to know nothing. The log's index (`-shm`) is shared memory, of no use
//! after a power failure, and not noted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, Once, OnceLock, PoisonError};

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
            folder,
            syncs,
            names: files.keys().cloned().zip(0..).collect(),
            files: files.len(),
            operations: Vec::new(),
        });
        make_default(recording_vfs());
        (Recording { _turn: turn }, files)
    }

    /// Notes that something was acknowledged to the outside.
    pub(crate) fn mark(&self, number: usize) {
        note(|_| Operation::Mark(number));
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

fn note(operation: impl FnOnce(&mut Recorder) -> Operation) {
    if let Some(recorder) = &mut *lock(&RECORDER) {
        let operation = operation(recorder);
        recorder.operations.push(operation);
    }
}

impl Recorder {
    /// The name inside of the folder; none for what is elsewhere.
    fn name(&self, path: &Path) -> Option<String> {
        (path.parent() == Some(&self.folder)).then(|| name_of(path))
    }
}

/// Whether the disk only pretends to sync files of this name.
fn pretends(file: Option<usize>) -> bool {
    let recorder = lock(&RECORDER);
    let (Some(recorder), Some(file)) = (&*recorder, file) else {
        return false;
    };
    let is_log = || {
        let mut names = recorder.names.iter();
        names.any(|(name, number)| *number == file && name.ends_with("-wal"))
    };
    recorder.syncs == Syncs::None || recorder.syncs == Syncs::NotOfLogs && is_log()
}

/// Notes that the folder was synced, if that was seen and the disk does it.
fn note_folder_sync() {
    if FOLDER_SYNCED.take()
        && let Some(recorder) = &mut *lock(&RECORDER)
        && !matches!(recorder.syncs, Syncs::None | Syncs::NotOfTheFolder)
    {
        recorder.operations.push(Operation::SyncFolder);
    }
}

thread_local! {
    /// Set where the real VFS opens a folder: it does so only to sync it, at once.
    static FOLDER_SYNCED: Cell<bool> = const { Cell::new(false) };
}

type OpenDirectory = unsafe extern "C" fn(*const c_char, *mut c_int) -> c_int;

static OPEN_DIRECTORY: OnceLock<OpenDirectory> = OnceLock::new();

/// SAFETY: as the function of the real VFS that it stands for.
unsafe extern "C" fn open_directory(path: *const c_char, descriptor: *mut c_int) -> c_int {
    FOLDER_SYNCED.set(true);
    let real = OPEN_DIRECTORY.get().expect("set before this is");
    // SAFETY: the arguments are those that the real VFS gives to its own function.
    unsafe { real(path, descriptor) }
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
        let real = real_vfs();
        // SAFETY: the real VFS is valid for ever, has version 3, and its `openDirectory` has the type in question.
        let vfs = unsafe {
            let get = (*real).xGetSystemCall.unwrap();
            let original = get(real, c"openDirectory".as_ptr()).unwrap();
            let original = std::mem::transmute::<unsafe extern "C" fn(), OpenDirectory>(original);
            OPEN_DIRECTORY.set(original).unwrap();
            let hook = open_directory as OpenDirectory;
            let hook = std::mem::transmute::<OpenDirectory, unsafe extern "C" fn()>(hook);
            let set = (*real).xSetSystemCall.unwrap();
            let name = c"openDirectory".as_ptr();
            assert_eq!(set(real, name, Some(hook)), ffi::SQLITE_OK);
            *real
        };
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
        let number = recorder.names.get(&name).copied().unwrap_or_else(|| {
            let number = recorder.files;
            recorder.files += 1;
            recorder.names.insert(name.clone(), number);
            recorder.operations.push(Operation::Name {
                name,
                file: Some(number),
            });
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
    FOLDER_SYNCED.set(false);
    // SAFETY: the arguments are SQLite's.
    let (result, path) = unsafe {
        let result = ((*vfs).xDelete.unwrap())(vfs, path, sync);
        (result, CStr::from_ptr(path).to_bytes())
    };
    if result == ffi::SQLITE_OK {
        if let Some(recorder) = &mut *lock(&RECORDER)
            && let Some(name) = recorder.name(Path::new(OsStr::from_bytes(path)))
        {
            recorder.names.remove(&name);
            let operation = Operation::Name { name, file: None };
            recorder.operations.push(operation);
        }
        note_folder_sync();
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
        note(|_| Operation::Change { file, change });
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
        note(|_| Operation::Change { file, change });
    }
    result
}

/// SAFETY: as SQLite calls `xSync`.
unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: SQLite's argument.
    let number = unsafe { number(file) };
    if pretends(number) {
        return ffi::SQLITE_OK;
    }
    FOLDER_SYNCED.set(false);
    // SAFETY: the arguments are SQLite's.
    let result = unsafe {
        let real = real(file);
        ((*(*real).pMethods).xSync.unwrap())(real, flags)
    };
    if let (ffi::SQLITE_OK, Some(file)) = (result, number) {
        note(|_| Operation::Sync { file });
        note_folder_sync();
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
    xSync: Some(sync),
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
