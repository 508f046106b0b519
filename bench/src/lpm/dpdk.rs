//! DPDK's own tables: rte_lpm, rte_fib (DIR24_8), rte_lpm6, rte_fib6 (trie), in hugepages.

use std::ffi::CString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ptr::NonNull;
use std::rc::Rc;

use rewire_dpdk::{Eal, EalConfig};
use rewire_dpdk_sys as sys;

use super::peers::{LONGEST, Peer};
use super::routes::Prefix;
use crate::Failure;

/// The hugepages that the tables take, in MiB: rte_fib6 alone has 2¹⁹ groups of 256 next hops.
const MEMORY: u32 = 1536;
/// The size of one, in MiB.
const PAGE: u32 = 2;
/// The most routes of a table.
const MOST_ROUTES: i32 = 3 << 20;
/// Groups of a table's second level: what the shared IPv6 table takes in rte_fib6 and in rte_lpm6.
const GROUPS6: u32 = 1 << 19;
const GROUPS4: u32 = 1 << 12;

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
fn heap() -> usize {
    // SAFETY: the call fills the structure, which is plain numbers.
    let stats = unsafe {
        let mut stats: sys::rte_malloc_socket_stats = std::mem::zeroed();
        sys::rte_malloc_get_socket_stats(0, &mut stats);
        stats
    };
    stats.heap_allocsz_bytes
}

fn made<T>(table: *mut T, name: &str) -> Result<NonNull<T>, Failure> {
    NonNull::new(table).ok_or_else(|| format!("DPDK does not make {name}").into())
}

fn added(result: i32, name: &str) -> Result<(), Failure> {
    match result {
        0 => Ok(()),
        code => Err(format!("{name} does not take a route: {code}").into()),
    }
}

/// rte_lpm.
pub(crate) struct Lpm4 {
    table: NonNull<sys::rte_lpm>,
    addresses: Vec<u32>,
    hops: [u32; LONGEST],
    memory: usize,
}

impl Lpm4 {
    pub(crate) fn new(
        _: &Dpdk,
        routes: &[(Prefix<Ipv4Addr>, u32)],
        addresses: &[Ipv4Addr],
    ) -> Result<Self, Failure> {
        let before = heap();
        let config = sys::rte_lpm_config {
            max_rules: MOST_ROUTES as u32,
            number_tbl8s: GROUPS4,
            flags: 0,
        };
        let name = CString::new("lpm4")?;
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        let table = made(unsafe { sys::rte_lpm_create(name.as_ptr(), 0, &config) }, "rte_lpm")?;
        for ((network, length), hop) in routes {
            // SAFETY: the table was made above and is not freed.
            let result =
                unsafe { sys::rte_lpm_add(table.as_ptr(), network.to_bits(), *length, *hop) };
            added(result, "rte_lpm")?;
        }
        Ok(Lpm4 {
            table,
            addresses: addresses.iter().map(|a| a.to_bits()).collect(),
            hops: [0; LONGEST],
            memory: heap() - before,
        })
    }
}

impl Peer for Lpm4 {
    fn name(&self) -> &'static str {
        "rte_lpm"
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &self.addresses[from..from + count];
        // SAFETY: `count` addresses, and room for as many answers. The table lives.
        unsafe {
            sys::rewire_lpm_lookup_bulk(
                self.table.as_ptr(),
                addresses.as_ptr(),
                self.hops.as_mut_ptr(),
                count.min(LONGEST) as u32,
            )
        };
    }
    fn answer(&self, index: usize) -> u32 {
        // RTE_LPM_LOOKUP_SUCCESS, and the 24 bits of the next hop.
        match self.hops[index] & 0x0100_0000 {
            0 => 0,
            _ => self.hops[index] & 0x00ff_ffff,
        }
    }
    fn memory(&self) -> Option<usize> {
        Some(self.memory)
    }
}

impl Drop for Lpm4 {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::rte_lpm_free(self.table.as_ptr()) };
    }
}

/// rte_fib with DIR24_8 and next hops of 4 bytes. One table; each way to look up is a peer of its own.
pub(crate) struct Fib4 {
    table: Rc<Fib4Table>,
    addresses: Vec<u32>,
    hops: [u64; LONGEST],
    memory: usize,
    vector: bool,
}

impl Fib4 {
    pub(crate) fn new(
        _: &Dpdk,
        routes: &[(Prefix<Ipv4Addr>, u32)],
        addresses: &[Ipv4Addr],
    ) -> Result<[Self; 2], Failure> {
        let before = heap();
        // SAFETY: plain numbers, of which zero is good for each.
        let mut config: sys::rte_fib_conf = unsafe { std::mem::zeroed() };
        config.type_ = sys::rte_fib_type_RTE_FIB_DIR24_8;
        config.max_routes = MOST_ROUTES;
        config.__bindgen_anon_1.dir24_8 = sys::rte_fib_conf__bindgen_ty_1__bindgen_ty_1 {
            nh_sz: sys::rte_fib_dir24_8_nh_sz_RTE_FIB_DIR24_8_4B,
            num_tbl8: GROUPS4,
        };
        let name = CString::new("fib4")?;
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        let table = unsafe { sys::rte_fib_create(name.as_ptr(), 0, &mut config) };
        let table = made(table, "rte_fib")?;
        for ((network, length), hop) in routes {
            // SAFETY: the table was made above and is not freed.
            let result = unsafe {
                sys::rte_fib_add(table.as_ptr(), network.to_bits(), *length, u64::from(*hop))
            };
            added(result, "rte_fib")?;
        }
        let (table, memory) = (Rc::new(Fib4Table(table)), heap() - before);
        Ok([true, false].map(|vector| Fib4 {
            table: Rc::clone(&table),
            addresses: addresses.iter().map(|a| a.to_bits()).collect(),
            hops: [0; LONGEST],
            memory,
            vector,
        }))
    }
}

impl Update<Ipv4Addr> for Fib4 {
    fn set(&mut self, (network, length): Prefix<Ipv4Addr>, hop: u32) {
        let hop = u64::from(hop);
        // SAFETY: the table lives, and nobody looks anything up meanwhile. The address is only read.
        unsafe { sys::rte_fib_add(self.table.0.as_ptr(), network.to_bits(), length, hop) };
    }
    fn remove(&mut self, (network, length): Prefix<Ipv4Addr>) {
        // SAFETY: as above. What is not there is not removed, and says so.
        unsafe { sys::rte_fib_delete(self.table.0.as_ptr(), network.to_bits(), length) };
    }
}

impl Peer for Fib4 {
    fn name(&self) -> &'static str {
        if self.vector {
            "rte_fib-avx512"
        } else {
            "rte_fib-scalar"
        }
    }
    fn prepare(&mut self) -> bool {
        let way = match self.vector {
            true => sys::rte_fib_lookup_type_RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512,
            false => sys::rte_fib_lookup_type_RTE_FIB_LOOKUP_DIR24_8_SCALAR_INLINE,
        };
        // SAFETY: the table lives, and nobody looks anything up meanwhile.
        unsafe { sys::rte_fib_select_lookup(self.table.0.as_ptr(), way) == 0 }
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &mut self.addresses[from..from + count];
        // SAFETY: `count` addresses, which are only read, and room for as many answers. The table lives.
        unsafe {
            sys::rte_fib_lookup_bulk(
                self.table.0.as_ptr(),
                addresses.as_mut_ptr(),
                self.hops.as_mut_ptr(),
                count.min(LONGEST) as i32,
            )
        };
    }
    fn answer(&self, index: usize) -> u32 {
        self.hops[index] as u32
    }
    fn memory(&self) -> Option<usize> {
        Some(self.memory)
    }
}

struct Fib4Table(NonNull<sys::rte_fib>);

impl Drop for Fib4Table {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::rte_fib_free(self.0.as_ptr()) };
    }
}

/// rte_lpm6.
pub(crate) struct Lpm6 {
    table: NonNull<sys::rte_lpm6>,
    addresses: Vec<[u8; 16]>,
    hops: [i32; LONGEST],
    memory: usize,
}

impl Lpm6 {
    pub(crate) fn new(
        _: &Dpdk,
        routes: &[(Prefix<Ipv6Addr>, u32)],
        addresses: &[Ipv6Addr],
    ) -> Result<Self, Failure> {
        let before = heap();
        let config = sys::rte_lpm6_config {
            max_rules: MOST_ROUTES as u32,
            number_tbl8s: GROUPS6 / 2,
            flags: 0,
        };
        let name = CString::new("lpm6")?;
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        let table = unsafe { sys::rte_lpm6_create(name.as_ptr(), 0, &config) };
        let table = made(table, "rte_lpm6")?;
        for ((network, length), hop) in routes {
            let octets = network.octets();
            // SAFETY: the table was made above and is not freed; 16 bytes of address, which are only read.
            let result = unsafe {
                sys::rte_lpm6_add(table.as_ptr(), octets.as_ptr(), *length, *hop)
            };
            added(result, "rte_lpm6")?;
        }
        Ok(Lpm6 {
            table,
            addresses: addresses.iter().map(|a| a.octets()).collect(),
            hops: [0; LONGEST],
            memory: heap() - before,
        })
    }
}

impl Peer for Lpm6 {
    fn name(&self) -> &'static str {
        "rte_lpm6"
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &mut self.addresses[from..from + count];
        // SAFETY: `count` addresses, which are only read, and room for as many answers. The table lives.
        unsafe {
            sys::rte_lpm6_lookup_bulk_func(
                self.table.as_ptr(),
                addresses.as_mut_ptr(),
                self.hops.as_mut_ptr(),
                count.min(LONGEST) as u32,
            )
        };
    }
    fn answer(&self, index: usize) -> u32 {
        self.hops[index].max(0) as u32
    }
    fn memory(&self) -> Option<usize> {
        Some(self.memory)
    }
}

impl Drop for Lpm6 {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::rte_lpm6_free(self.table.as_ptr()) };
    }
}

/// rte_fib6 with the trie and next hops of 4 bytes.
pub(crate) struct Fib6 {
    table: Rc<Fib6Table>,
    addresses: Vec<[u8; 16]>,
    hops: [u64; LONGEST],
    memory: usize,
    vector: bool,
}

impl Fib6 {
    pub(crate) fn new(
        _: &Dpdk,
        routes: &[(Prefix<Ipv6Addr>, u32)],
        addresses: &[Ipv6Addr],
    ) -> Result<[Self; 2], Failure> {
        let before = heap();
        // SAFETY: plain numbers, of which zero is good for each.
        let mut config: sys::rte_fib6_conf = unsafe { std::mem::zeroed() };
        config.type_ = sys::rte_fib6_type_RTE_FIB6_TRIE;
        config.max_routes = MOST_ROUTES;
        config.__bindgen_anon_1.trie = sys::rte_fib6_conf__bindgen_ty_1__bindgen_ty_1 {
            nh_sz: sys::rte_fib_trie_nh_sz_RTE_FIB6_TRIE_4B,
            num_tbl8: GROUPS6,
        };
        let name = CString::new("fib6")?;
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        let table = unsafe { sys::rte_fib6_create(name.as_ptr(), 0, &mut config) };
        let table = made(table, "rte_fib6")?;
        for ((network, length), hop) in routes {
            let octets = network.octets();
            // SAFETY: the table was made above and is not freed; 16 bytes of address, which are only read.
            let result = unsafe {
                sys::rte_fib6_add(table.as_ptr(), octets.as_ptr(), *length, u64::from(*hop))
            };
            added(result, "rte_fib6")?;
        }
        let (table, memory) = (Rc::new(Fib6Table(table)), heap() - before);
        Ok([true, false].map(|vector| Fib6 {
            table: Rc::clone(&table),
            addresses: addresses.iter().map(|a| a.octets()).collect(),
            hops: [0; LONGEST],
            memory,
            vector,
        }))
    }
}

impl Update<Ipv6Addr> for Fib6 {
    fn set(&mut self, (network, length): Prefix<Ipv6Addr>, hop: u32) {
        let hop = u64::from(hop);
        // SAFETY: the table lives, and nobody looks anything up meanwhile. The address is only read.
        unsafe { sys::rte_fib6_add(self.table.0.as_ptr(), network.octets().as_ptr(), length, hop) };
    }
    fn remove(&mut self, (network, length): Prefix<Ipv6Addr>) {
        // SAFETY: as above. What is not there is not removed, and says so.
        unsafe { sys::rte_fib6_delete(self.table.0.as_ptr(), network.octets().as_ptr(), length) };
    }
}

impl Peer for Fib6 {
    fn name(&self) -> &'static str {
        if self.vector {
            "rte_fib6-avx512"
        } else {
            "rte_fib6-scalar"
        }
    }
    fn prepare(&mut self) -> bool {
        let way = match self.vector {
            true => sys::rte_fib6_lookup_type_RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512,
            false => sys::rte_fib6_lookup_type_RTE_FIB6_LOOKUP_TRIE_SCALAR,
        };
        // SAFETY: the table lives, and nobody looks anything up meanwhile.
        unsafe { sys::rte_fib6_select_lookup(self.table.0.as_ptr(), way) == 0 }
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &mut self.addresses[from..from + count];
        // SAFETY: `count` addresses, which are only read, and room for as many answers. The table lives.
        unsafe {
            sys::rte_fib6_lookup_bulk(
                self.table.0.as_ptr(),
                addresses.as_mut_ptr(),
                self.hops.as_mut_ptr(),
                count.min(LONGEST) as i32,
            )
        };
    }
    fn answer(&self, index: usize) -> u32 {
        self.hops[index] as u32
    }
    fn memory(&self) -> Option<usize> {
        Some(self.memory)
    }
}

struct Fib6Table(NonNull<sys::rte_fib6>);

impl Drop for Fib6Table {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once.
        unsafe { sys::rte_fib6_free(self.0.as_ptr()) };
    }
}
