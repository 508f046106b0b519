//! A real disk that is really full: a file system in memory, which only this thread sees.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Gives this thread a view of its own of the file systems, and mounts a small one in it. Nobody else sees it, and it
/// goes with the thread.
///
/// # Errors
///
/// Where this process may not: only root may.
pub(crate) fn mount_small_disk(at: &Path, bytes: usize) -> io::Result<()> {
    let at = CString::new(at.as_os_str().as_bytes()).unwrap();
    let size = CString::new(format!("size={bytes}")).unwrap();
    let none = std::ptr::null();
    // SAFETY: system calls on strings that outlive them; the first two confine the third to this thread.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
        check(libc::mount(
            c"tmpfs".as_ptr(),
            at.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            size.as_ptr().cast(),
        ))
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Fills the disk, but for so many pages.
pub(crate) fn fill(folder: &Path, but_for: usize) {
    use std::io::Write;
    let path = folder.join("ballast");
    let mut file = std::fs::File::create(&path).unwrap();
    let page = [1; PAGE];
    let mut size = 0;
    while file.write_all(&page).is_ok() {
        size += PAGE;
    }
    let left = size.saturating_sub(but_for * PAGE);
    file.set_len(left as u64).unwrap();
}

/// Makes room again.
pub(crate) fn empty(folder: &Path) {
    std::fs::remove_file(folder.join("ballast")).unwrap();
}

/// Of a file system in memory, in bytes.
const PAGE: usize = 4096;
