//! The environment abstraction layer: DPDK's memory, its drivers, its own threads.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io, mem, thread};

use rewire_dpdk_sys as sys;

use crate::{Error, log};

/// How DPDK starts.
#[derive(Debug, Clone)]
pub struct EalConfig {
    /// Memory for all mempools, rings and devices together, in MiB. With hugepages it is reserved
    /// at the start; without, the kernel hands it out page by page when first touched.
    pub memory: u32,
    /// Use hugepages when enough of them are free.
    pub hugepages: bool,
    /// Tells this process's files, where DPDK makes any, from those of others.
    pub file_prefix: String,
}

impl Default for EalConfig {
    /// 256 MiB, hugepages when there are some, a prefix made from the process id.
    fn default() -> EalConfig {
        let file_prefix = format!("rewire-{}", std::process::id());
        EalConfig {
            memory: 256,
            hugepages: true,
            file_prefix,
        }
    }
}

/// DPDK, running. A handle: clones are cheap, and pools, ports, queues and thread registrations
/// each hold one. DPDK's pools are freed when the last is dropped; DPDK itself runs until the process ends.
///
/// It never starts a second time in the same process.
#[derive(Debug, Clone)]
pub struct Eal {
    pub(crate) inner: Arc<EalInner>,
}

#[derive(Debug)]
pub(crate) struct EalInner {
    has_hugepages: bool,
    /// Names of attached ports, and the network interface under each that has one. Its lock also
    /// serialises what DPDK does not: attaching, configuring, starting, closing.
    ports: Mutex<BTreeMap<String, Option<String>>>,
    next_device: AtomicUsize,
    registered_threads: AtomicUsize,
    retired_pools: Mutex<Vec<RetiredPool>>,
}

#[derive(Debug)]
struct RetiredPool(NonNull<sys::rte_mempool>);

// SAFETY: a mempool may be used and freed on any thread.
unsafe impl Send for RetiredPool {}

static INITIALISED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK, without any device: see [`Eal::attach`](crate::Eal::attach).
    ///
    /// Takes 0.2 to 0.5 s, most of it for loading Debian's drivers. The calling thread keeps its
    /// CPU affinity, and is not one of DPDK's threads: whoever wants cached mempool access calls
    /// [`register_thread`](Eal::register_thread). DPDK's log goes to `tracing`, target `dpdk`.
    ///
    /// # Errors
    ///
    /// [`Error::AlreadyInitialised`] on a second call, whatever became of the first;
    /// [`Error::Initialise`] when DPDK refuses.
    pub fn init(config: &EalConfig) -> Result<Eal, Error> {
        if INITIALISED.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyInitialised);
        }
        let failed = |reason: String| Error::Initialise { reason };
        log::redirect().map_err(|error| failed(format!("cannot take its log: {error}")))?;
        let has_hugepages = config.hugepages && enough_hugepages(config.memory);
        let arguments = arguments(config, has_hugepages, &allowed_cpus())
            .map_err(|error| failed(error.to_string()))?;

        // The EAL makes the thread that starts it its main lcore: it pins it to a CPU, and gives
        // it a mempool cache. On a thread of its own, which ends here, no caller is affected, and
        // every thread is like any other.
        let starter = thread::Builder::new().name("dpdk-init".to_owned());
        let starter = starter
            .spawn(move || log::capture(|| start(arguments)))
            .map_err(|error| failed(error.to_string()))?;
        let (started, lines) = starter
            .join()
            .unwrap_or_else(|_| (Err(io::ErrorKind::Other.into()), Vec::new()));
        match started {
            Ok(()) => Ok(Eal {
                inner: Arc::new(EalInner::new(has_hugepages)),
            }),
            Err(error) if lines.is_empty() => Err(failed(error.to_string())),
            Err(error) => Err(failed(format!("{error}: {}", lines.join("; ")))),
        }
    }

    /// Whether memory is in hugepages. Without, everything works, at 1.2 to 3 times the cost.
    pub fn has_hugepages(&self) -> bool {
        self.inner.has_hugepages
    }
}

impl EalInner {
    fn new(has_hugepages: bool) -> EalInner {
        EalInner {
            has_hugepages,
            ports: Mutex::default(),
            next_device: AtomicUsize::new(0),
            registered_threads: AtomicUsize::new(0),
            retired_pools: Mutex::default(),
        }
    }

    /// The ports by name. Hold it around DPDK's control functions.
    pub(crate) fn ports(&self) -> MutexGuard<'_, BTreeMap<String, Option<String>>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number for a device or pool, never given twice: DPDK's names are short and some
    /// outlive what they name.
    pub(crate) fn next_number(&self) -> usize {
        self.next_device.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn thread_registered(&self) {
        self.registered_threads.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn thread_unregistered(&self) {
        self.registered_threads.fetch_sub(1, Ordering::AcqRel);
        self.free_retired_pools();
    }

    /// Takes a pool that nobody allocates from any more.
    pub(crate) fn retire_pool(&self, pool: NonNull<sys::rte_mempool>) {
        self.retired().push(RetiredPool(pool));
        self.free_retired_pools();
    }

    /// Frees the retired pools that have all their buffers back. Not while another thread is
    /// registered: the count of a pool can be complete an instant before the thread that gave the
    /// last buffer back has left the pool's cache. A registration's end orders that.
    fn free_retired_pools(&self) {
        let own = usize::from(crate::thread::is_registered());
        if self.registered_threads.load(Ordering::Acquire) <= own {
            self.retired().retain(|pool| {
                let done = in_use(pool.0) == 0;
                if done {
                    // SAFETY: no handle (retired), no buffer (counted), no thread inside (above).
                    unsafe { sys::rte_mempool_free(pool.0.as_ptr()) };
                }
                !done
            });
        }
    }

    fn retired(&self) -> MutexGuard<'_, Vec<RetiredPool>> {
        self.retired_pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EalInner {
    /// Frees the pools. DPDK itself stays until the process ends, and its memory with it, which is the kernel's to take
    /// back: nothing of it is in a file. `rte_eal_cleanup` would unmap that memory under DPDK's own interrupt thread,
    /// which 22.11 never stops, and which reads interrupt handles there: 22 of 240 processes that closed a memif port
    /// and ended at once on a busy machine crashed in it.
    fn drop(&mut self) {
        self.free_retired_pools();
        let held: u32 = self.retired().iter().map(|pool| in_use(pool.0)).sum();
        if held > 0 {
            // Their owners may still read and free them.
            tracing::error!(mbufs = held, "mbufs outlive their pools");
        }
    }
}

/// How many mbufs of the pool are out.
pub(crate) fn in_use(pool: NonNull<sys::rte_mempool>) -> u32 {
    // SAFETY: the caller's pool is not freed yet.
    unsafe { sys::rte_mempool_in_use_count(pool.as_ptr()) }
}

fn start(arguments: Vec<CString>) -> io::Result<()> {
    let count = arguments.len() as i32;
    // DPDK permutes and keeps parts of its arguments, for the life of the process.
    let pointers: Vec<_> = arguments.into_iter().map(CString::into_raw).collect();
    let pointers = Box::leak(pointers.into_boxed_slice()).as_mut_ptr();
    // SAFETY: `count` zero-terminated strings that are never freed. Once in the process: `init`.
    match unsafe { sys::rte_eal_init(count, pointers) } {
        code if code < 0 => Err(crate::error::of_thread()),
        _ => {
            remove_runtime_folder();
            Ok(())
        }
    }
}

/// DPDK makes itself a folder, leaves it, and has no use for it: we start no second process. Goes
/// only if empty.
fn remove_runtime_folder() {
    // SAFETY: a zero-terminated string in static memory, which changes only in `rte_eal_init`.
    let folder = unsafe { CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    let _ = fs::remove_dir(OsStr::from_bytes(folder.to_bytes()));
}

fn arguments(
    config: &EalConfig,
    has_hugepages: bool,
    cpus: &[usize],
) -> Result<Vec<CString>, std::ffi::NulError> {
    // One lcore, that of the starting thread, on all CPUs we may use, so that DPDK's control
    // threads may use them too.
    let cpus = cpus
        .iter()
        .map(usize::to_string)
        .collect::<Vec<_>>()
        .join(",");
    let mut arguments = vec![
        "rewire".to_owned(),
        format!("--lcores=0@({cpus})"),
        format!("-m{}", config.memory),
        format!("--file-prefix={}", config.file_prefix),
        "--log-level=notice".to_owned(),
        "--no-pci".to_owned(),
        "--no-telemetry".to_owned(),
        "--iova-mode=va".to_owned(),
    ];
    // The two exclude each other. Both keep DPDK's files out of the file system.
    if has_hugepages {
        arguments.push("--in-memory".to_owned());
    } else {
        arguments.extend(["--no-huge".to_owned(), "--no-shconf".to_owned()]);
    }
    arguments.into_iter().map(CString::new).collect()
}

/// Whether `memory` MiB of hugepages are free; warns if not.
fn enough_hugepages(memory: u32) -> bool {
    let needed = u64::from(memory) << 20;
    let free = free_hugepages();
    if free < needed {
        tracing::warn!(
            free_mib = free >> 20,
            needed_mib = memory,
            "too few free hugepages: DPDK runs without, at 1.2 to 3 times the cost a packet \
             (vm.nr_hugepages sets how many there are)"
        );
    }
    free >= needed
}

/// Bytes in free hugepages, of all sizes.
fn free_hugepages() -> u64 {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten();
    sizes
        .filter_map(|size| {
            let name = size.file_name();
            let kib = name
                .to_str()?
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?;
            let free = fs::read_to_string(size.path().join("free_hugepages")).ok()?;
            Some(kib.parse::<u64>().ok()? * 1024 * free.trim().parse::<u64>().ok()?)
        })
        .sum()
}

/// The CPUs that the calling thread may run on; CPU 0 if that cannot be told.
fn allowed_cpus() -> Vec<usize> {
    // SAFETY: an all-zero set is an empty one, and the call fills it, within its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set);
        set
    };
    // SAFETY: reads a bit of the set, within its size.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    let cpus: Vec<usize> = (0..libc::CPU_SETSIZE as usize).filter(allowed).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}
