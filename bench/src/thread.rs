//! The calling thread: where it runs, and whether it was let run.

/// It runs on this processor alone, where there is one of that number.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: an empty set, one bit of it, and the calling thread, which is 0.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

/// How often the kernel has taken its core away, or it has waited.
pub(crate) fn switches() -> i64 {
    // SAFETY: all zeros is a valid `rusage`, and the call writes nothing but that.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    usage.ru_nvcsw + usage.ru_nivcsw
}
