//! DPDK's own tables, in hugepages: what those of both families share.

use rewire_dpdk::{Eal, EalConfig};
use rewire_dpdk_sys as sys;

use super::routes::Prefix;
use crate::Failure;

/// The hugepages that the tables take, in MiB: rte_fib6 alone has 2¹⁹ groups of 256 next hops.
const MEMORY: u32 = 2560;
/// The size of one, in MiB.
const PAGE: u32 = 2;
/// The most routes of a table, those included that DPDK makes itself to hold others: no more than it may need, as it takes
/// memory for all of them at once.
pub(super) const MOST_ROUTES4: i32 = 1 << 21;
pub(super) const MOST_ROUTES6: i32 = 1 << 19;
/// Groups of a table's second level: what the shared IPv6 table takes in rte_fib6 and in rte_lpm6.
pub(super) const GROUPS6: u32 = 1 << 19;
pub(super) const GROUPS4: u32 = 1 << 12;

/// The bytes of the arrays that rte_fib and rte_fib6 look up in, without what updates need: 2²⁴ first-level entries, and the groups.
pub(crate) const FIB_ARRAYS: [usize; 2] = [
    (1 << 24) * 4 + GROUPS4 as usize * 256 * 4,
    (1 << 24) * 4 + GROUPS6 as usize * 256 * 4,
];

/// DPDK, started, with hugepages reserved for as long as this lives.
pub(crate) struct Dpdk {
    _eal: Eal,
    _pages: Hugepages,
}

struct Hugepages {
    before: String,
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

impl Hugepages {
    fn reserve(mib: u32) -> Result<Hugepages, Failure> {
        let before = std::fs::read_to_string(NR_HUGEPAGES)?;
        let wanted = before.trim().parse::<u32>()? + mib / PAGE + 16;
        let pages = Hugepages { before };
        std::fs::write(NR_HUGEPAGES, wanted.to_string())?;
        Ok(pages)
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        if let Err(error) = std::fs::write(NR_HUGEPAGES, &self.before) {
            eprintln!("vm.nr_hugepages was {}: {error}", self.before.trim());
        }
    }
}

impl Dpdk {
    pub(crate) fn start() -> Result<Dpdk, Failure> {
        let pages = Hugepages::reserve(MEMORY)?;
        let config = EalConfig {
            memory: MEMORY,
            ..EalConfig::default()
        };
        let eal = Eal::init(&config)?;
        if !eal.has_hugepages() {
            println!("too few hugepages are free: DPDK's tables are in pages of 4 KiB");
        }
        // SAFETY: a number, kept until a table asks for it. Without, DPDK uses no vectors of 512 bits.
        unsafe { sys::rte_vect_set_max_simd_bitwidth(512) };
        Ok(Dpdk {
            _eal: eal,
            _pages: pages,
        })
    }
}

/// A table that is updated.
pub(crate) trait Update<A> {
    /// Announces a prefix.
    fn set(&mut self, prefix: Prefix<A>, hop: u32);
    /// Withdraws a prefix, whether it is there or not.
    fn remove(&mut self, prefix: Prefix<A>);
}

/// What DPDK's heap holds, in bytes.
pub(super) fn heap() -> usize {
    // SAFETY: the call fills the structure, which is plain numbers.
    let stats = unsafe {
        let mut stats: sys::rte_malloc_socket_stats = std::mem::zeroed();
        sys::rte_malloc_get_socket_stats(0, &mut stats);
        stats
    };
    stats.heap_allocsz_bytes
}
