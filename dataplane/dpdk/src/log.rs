//! DPDK's log: to `tracing`, or into the error of the call that caused it.

use std::cell::RefCell;
use std::ffi::c_char;
use std::io;

use rewire_dpdk_sys as sys;

thread_local! {
    static CAPTURED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Takes DPDK's log from standard error. For the life of the process.
pub(crate) fn redirect() -> io::Result<()> {
    // SAFETY: the function is a plain `extern "C"` one, and lives as long as the process.
    match unsafe { sys::rewire_log_redirect(Some(sink)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Runs `call`, and keeps what DPDK says meanwhile on this thread at the level of an error: a
/// driver's return value is mostly a bare -1, and its reason is in the log.
pub(crate) fn capture<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    CAPTURED.set(Some(Vec::new()));
    let value = call();
    (value, CAPTURED.take().unwrap_or_default())
}

extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the shim passes a buffer of this length, valid for the call.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    if level > sys::RTE_LOG_ERR {
        match level {
            sys::RTE_LOG_WARNING => tracing::warn!(target: "dpdk", "{text}"),
            _ => tracing::debug!(target: "dpdk", "{text}"),
        }
        return;
    }
    let captured = CAPTURED.with_borrow_mut(|lines| match lines {
        Some(lines) => {
            lines.push(text.to_owned());
            true
        }
        None => false,
    });
    if captured {
        tracing::debug!(target: "dpdk", "{text}");
    } else {
        tracing::error!(target: "dpdk", "{text}");
    }
}
