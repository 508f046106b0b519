//! DPDK's IPv4 tables: rte_lpm and rte_fib (DIR24_8).

use std::ffi::CString;
use std::net::Ipv4Addr;
use std::ptr::NonNull;
use std::rc::Rc;

use rewire_dpdk_sys as sys;

use super::dpdk::{Dpdk, GROUPS4, MOST_ROUTES4, Update, added, heap, made};
use super::peers::{LONGEST, Peer};
use super::routes::Prefix;
use crate::Failure;

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
            max_rules: MOST_ROUTES4 as u32,
            number_tbl8s: GROUPS4,
            flags: 0,
        };
        let name = CString::new("lpm4")?;
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        let table = made(
            unsafe { sys::rte_lpm_create(name.as_ptr(), 0, &config) },
            "rte_lpm",
        )?;
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
        config.max_routes = MOST_ROUTES4;
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
