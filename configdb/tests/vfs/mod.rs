//! A VFS in front of SQLite's own, that tells a [`Layer`] what happens to files, and lets it make calls fail.
//!
//! While a layer is in place this VFS is the process's default, so that the store under test, all of its connections
//! included, needs to know nothing. The real VFS still does the work.
//!
//! Syncs and links are seen where they leave the process, whoever asks for them: SQLite, for a file or for the folder that
//! a name is new in, or the store itself, which creates and links files without SQLite.
#![allow(dead_code)] // each test file uses its part

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs};

/// A call that may fail, by what SQLite wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Open,
    Delete,
    Access,
    Read,
    Write,
    Truncate,
    /// Of a file or a folder, by SQLite or by the store itself.
    Sync,
    /// A second name for a file, which only the store itself makes.
    Link,
    FileSize,
    Lock,
    MapIndex,
    LockIndex,
}

/// What looks on. Called from any thread that uses SQLite.
pub(crate) trait Layer: Sync {
    /// Before a call. A result code of SQLite makes it fail with that; half of a write is done all the same.
    fn before(&self, _: Call) -> Option<c_int> {
        None
    }
    /// A file was opened, by this path. Gives the number that it is known by from now on, if it matters.
    fn opened(&self, _: &Path) -> Option<usize> {
        None
    }
    fn deleted(&self, _: &Path) {}
    fn written(&self, _file: usize, _offset: usize, _bytes: &[u8]) {}
    fn truncated(&self, _file: usize, _size: usize) {}
    /// A file or a folder is to be synced. Gives whether the disk does that; it says so in any case.
    fn syncs(&self, _: &Path) -> bool {
        true
    }
}

static LAYER: Mutex<Option<&'static dyn Layer>> = Mutex::new(None);

/// There is one default VFS in a process, so one layer at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The turn of one who may put a layer in place; when it is dropped, none is.
pub(crate) struct Turn {
    _turn: MutexGuard<'static, ()>,
}

/// Waits for the others.
pub(crate) fn turn() -> Turn {
    Turn {
        _turn: lock(&ONE_AT_A_TIME),
    }
}

impl Turn {
    /// Puts a layer in place for all files that are opened from now on.
    pub(crate) fn install(&self, layer: &'static dyn Layer) {
        *lock(&LAYER) = Some(layer);
        make_default(layered_vfs());
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        make_default(real_vfs());
        *lock(&LAYER) = None;
    }
}

/// A test that failed while it held a lock must not make the next one fail.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The layer; taken out of the lock, so that one call may lead to another.
fn layer() -> Option<&'static dyn Layer> {
    *lock(&LAYER)
}

fn failure(call: Call) -> Option<c_int> {
    layer().and_then(|layer| layer.before(call))
}

/// Fails as the C library does.
fn fail() -> c_int {
    // SAFETY: the C library's own variable of this thread.
    unsafe { *libc::__errno_location() = libc::EIO };
    -1
}

/// Syncs a file or a folder, whose path is that of the descriptor, unless the disk fails or only pretends to.
fn sync(descriptor: c_int) -> c_int {
    if let Some(layer) = layer() {
        if layer.before(Call::Sync).is_some() {
            return fail();
        }
        let path = std::fs::read_link(format!("/proc/self/fd/{descriptor}"));
        if path.is_ok_and(|path| !layer.syncs(&path)) {
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

/// Stands for the C library's function of this name in this process, for Rust's `hard_link`.
// SAFETY: it has the type, and does the work, of the function that it stands for.
#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(
    old_folder: c_int,
    old: *const c_char,
    new_folder: c_int,
    new: *const c_char,
    flags: c_int,
) -> c_int {
    if failure(Call::Link).is_some() {
        return fail();
    }
    // SAFETY: the arguments are the caller's.
    let result =
        unsafe { libc::syscall(libc::SYS_linkat, old_folder, old, new_folder, new, flags) };
    c_int::try_from(result).unwrap()
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

/// The real VFS, but for what names files. Made once, and never freed: SQLite keeps it.
fn layered_vfs() -> *mut sqlite3_vfs {
    static MADE: Once = Once::new();
    const NAME: &CStr = c"layered";
    MADE.call_once(|| {
        // SAFETY: the real VFS is valid for ever.
        let vfs = unsafe { *real_vfs() };
        let vfs = Box::leak(Box::new(sqlite3_vfs {
            szOsFile: vfs.szOsFile + c_int::try_from(size_of::<Handle>()).unwrap(),
            pNext: std::ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
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
    /// The file's number; none where it does not matter.
    file: Option<usize>,
}

/// SAFETY: `file` must come from [`open`].
unsafe fn number(file: *mut sqlite3_file) -> Option<usize> {
    // SAFETY: `open` has put a handle there.
    unsafe { (*file.cast::<Handle>()).file }
}

/// SAFETY: `file` must be as large as the layered VFS says.
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
    // SAFETY: SQLite gives memory for a handle and the real file.
    unsafe {
        file.cast::<Handle>().write(Handle {
            base: sqlite3_file {
                pMethods: std::ptr::null(),
            },
            file: None,
        });
    }
    if let Some(code) = failure(Call::Open) {
        return code;
    }
    let vfs = real_vfs();
    // SAFETY: as above; and SQLite gives a path (or none) that outlives the file.
    let (result, path) = unsafe {
        let result = ((*vfs).xOpen.unwrap())(vfs, path, real(file), flags, out_flags);
        // SQLite closes what has methods, whether it was opened or not.
        if !(*real(file)).pMethods.is_null() {
            (*file.cast::<Handle>()).base.pMethods = &METHODS;
        }
        (
            result,
            (!path.is_null()).then(|| CStr::from_ptr(path).to_bytes()),
        )
    };
    if let (ffi::SQLITE_OK, Some(layer), Some(path)) = (result, layer(), path) {
        let number = layer.opened(Path::new(OsStr::from_bytes(path)));
        // SAFETY: the handle was written above.
        unsafe { (*file.cast::<Handle>()).file = number };
    }
    result
}

/// SAFETY: as SQLite calls `xDelete`.
unsafe extern "C" fn delete(_: *mut sqlite3_vfs, path: *const c_char, sync: c_int) -> c_int {
    if let Some(code) = failure(Call::Delete) {
        return code;
    }
    let vfs = real_vfs();
    // SAFETY: the arguments are SQLite's.
    let (result, path) = unsafe {
        let result = ((*vfs).xDelete.unwrap())(vfs, path, sync);
        (result, CStr::from_ptr(path).to_bytes())
    };
    if let (ffi::SQLITE_OK, Some(layer)) = (result, layer()) {
        layer.deleted(Path::new(OsStr::from_bytes(path)));
    }
    result
}

/// SAFETY: as SQLite calls `xAccess`.
unsafe extern "C" fn access(
    _: *mut sqlite3_vfs,
    path: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    if let Some(code) = failure(Call::Access) {
        return code;
    }
    let vfs = real_vfs();
    // SAFETY: the arguments are SQLite's.
    unsafe { ((*vfs).xAccess.unwrap())(vfs, path, flags, out) }
}

/// SAFETY: as SQLite calls `xWrite`.
unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    let failure = failure(Call::Write);
    let done = if failure.is_some() {
        length / 2
    } else {
        length
    };
    // SAFETY: the arguments are SQLite's; so many bytes are there.
    let (result, number, bytes) = unsafe {
        let real = real(file);
        let result = ((*(*real).pMethods).xWrite.unwrap())(real, bytes, done, offset);
        let done = usize::try_from(done).unwrap();
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), done);
        (result, number(file), bytes)
    };
    if let (ffi::SQLITE_OK, Some(layer), Some(file)) = (result, layer(), number) {
        layer.written(file, usize::try_from(offset).unwrap(), bytes);
    }
    failure.unwrap_or(result)
}

/// SAFETY: as SQLite calls `xTruncate`.
unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    if let Some(code) = failure(Call::Truncate) {
        return code;
    }
    // SAFETY: the arguments are SQLite's.
    let (result, number) = unsafe {
        let real = real(file);
        let result = ((*(*real).pMethods).xTruncate.unwrap())(real, size);
        (result, number(file))
    };
    if let (ffi::SQLITE_OK, Some(layer), Some(file)) = (result, layer(), number) {
        layer.truncated(file, usize::try_from(size).unwrap());
    }
    result
}

/// SAFETY: as SQLite calls `xShmLock`.
unsafe extern "C" fn shm_lock(
    file: *mut sqlite3_file,
    offset: c_int,
    n: c_int,
    flags: c_int,
) -> c_int {
    // Giving a lock back does not fail, and nobody would hear of it.
    if flags & ffi::SQLITE_SHM_LOCK != 0
        && let Some(code) = failure(Call::LockIndex)
    {
        return code;
    }
    // SAFETY: the arguments are SQLite's.
    unsafe {
        let real = real(file);
        ((*(*real).pMethods).xShmLock.unwrap())(real, offset, n, flags)
    }
}

/// What goes to the real file as it comes, unless it is to fail.
macro_rules! forward {
    ($(fn $name:ident = $method:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $(, $call:ident)?;)*) => {$(
        /// SAFETY: as SQLite calls the method of this name.
        unsafe extern "C" fn $name(file: *mut sqlite3_file, $($argument: $type),*) $(-> $result)? {
            $(if let Some(code) = failure(Call::$call) {
                return code;
            })?
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
    fn read = xRead(to: *mut c_void, length: c_int, offset: sqlite3_int64) -> c_int, Read;
    fn sync_file = xSync(flags: c_int) -> c_int;
    fn file_size = xFileSize(size: *mut sqlite3_int64) -> c_int, FileSize;
    fn lock_file = xLock(level: c_int) -> c_int, Lock;
    fn unlock_file = xUnlock(level: c_int) -> c_int;
    fn check_reserved_lock = xCheckReservedLock(result: *mut c_int) -> c_int;
    fn file_control = xFileControl(operation: c_int, argument: *mut c_void) -> c_int;
    fn sector_size = xSectorSize() -> c_int;
    fn device_characteristics = xDeviceCharacteristics() -> c_int;
    fn shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, to: *mut *mut c_void) -> c_int, MapIndex;
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
