//! The `rewire` command beside this program, run as people run it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::stores::Failure;

/// The release binary, which `make bench` builds beside this one.
pub(crate) fn binary() -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name("rewire");
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "{} is not there: run `make bench`, which builds it",
            path.display()
        )
        .into())
    }
}

/// A running gateway, which ends with this.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `rewire` on a store that no gateway follows; gives the nanoseconds of the whole process.
pub(crate) fn rewire(store: &Path, arguments: &[&str]) -> Result<f64, Failure> {
    rewire_on(store, &store.with_extension("no.sock"), arguments)
}

/// Runs `rewire` on a store, with a gateway's socket; gives the nanoseconds of the whole process.
pub(crate) fn rewire_on(store: &Path, socket: &Path, arguments: &[&str]) -> Result<f64, Failure> {
    let start = Instant::now();
    let output = Command::new(binary()?)
        .args(arguments)
        .arg("--store")
        .arg(store)
        .arg("--socket")
        .arg(socket)
        .env("REWIRE_AUTHOR", "bench")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()?;
    let time = start.elapsed().as_nanos() as f64;
    if output.status.success() {
        Ok(time)
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("rewire {}: {said}", arguments.join(" ")).into())
    }
}

/// The most memory that any child had resident, in MiB.
pub(crate) fn largest_child_mib() -> f64 {
    usage(libc::RUSAGE_CHILDREN).ru_maxrss as f64 / 1024.0
}

/// How long this process has kept cores busy, in seconds of one core.
pub(crate) fn core_seconds() -> f64 {
    let usage = usage(libc::RUSAGE_SELF);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn usage(of: libc::c_int) -> libc::rusage {
    // SAFETY: all zeros is a valid `rusage`, and the call writes nothing but that.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(of, &mut usage);
        usage
    }
}
