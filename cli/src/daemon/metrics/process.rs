//! What the process takes of the machine: `/proc/self`, read as proc(5) describes it.

use std::fs;

/// The process at one moment. What the kernel does not say is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Time on processors, in user mode and in the kernel, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) threads: Option<u64>,
    pub(crate) virtual_memory_bytes: Option<u64>,
    pub(crate) resident_memory_bytes: Option<u64>,
    pub(crate) open_files: Option<u64>,
    pub(crate) most_open_files: Option<u64>,
}

impl Process {
    /// Asks the kernel.
    pub(crate) fn read() -> Process {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let open = fs::read_dir("/proc/self/fd").ok();
        Process {
            // The directory itself is open while it is counted.
            open_files: open.map(|open| (open.count() as u64).saturating_sub(1)),
            most_open_files: most_open_files(&limits),
            ..of_stat(
                &stat,
                rustix::param::clock_ticks_per_second(),
                rustix::param::page_size() as u64,
            )
        }
    }
}

/// What `/proc/self/stat` says. The name, the second field, is in brackets and may hold anything.
fn of_stat(stat: &str, ticks_per_second: u64, page: u64) -> Process {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Numbered as in proc(5), where the first behind the name is 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14).zip(field(15)).map(|(user, system)| user + system);
    Process {
        cpu_seconds: ticks.map(|ticks| ticks as f64 / ticks_per_second as f64),
        threads: field(20),
        virtual_memory_bytes: field(23),
        resident_memory_bytes: field(24).map(|pages| pages * page),
        ..Process::default()
    }
}

/// The limit that takes effect on open files; none where there is none.
fn most_open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 1000 4096000 25 0";
        let process = of_stat(stat, 100, 4096);
        assert_eq!(process.cpu_seconds, Some(3.0));
        assert_eq!(process.threads, Some(9));
        assert_eq!(process.virtual_memory_bytes, Some(4_096_000));
        assert_eq!(process.resident_memory_bytes, Some(25 * 4096));
        assert_eq!(of_stat("", 100, 4096), Process::default());
        let limits =
            "Max processes 1 2\nMax open files            1024                 4096   files\n";
        assert_eq!(most_open_files(limits), Some(1024));
        assert_eq!(most_open_files("Max open files unlimited"), None);
    }

    #[test]
    fn this_process_takes_something() {
        let Process {
            cpu_seconds,
            threads,
            virtual_memory_bytes,
            resident_memory_bytes,
            open_files,
            ..
        } = Process::read();
        assert!(cpu_seconds.is_some());
        assert!(threads >= Some(1) && open_files >= Some(3));
        assert!(virtual_memory_bytes >= resident_memory_bytes && resident_memory_bytes > Some(0));
    }
}
