//! DPDK's IPv6 tables: rte_lpm6 and rte_fib6 (trie).

use std::ffi::CString;
use std::net::Ipv6Addr;
use std::ptr::NonNull;
use std::rc::Rc;

use rewire_dpdk_sys as sys;

use super::dpdk::{Dpdk, GROUPS6, MOST_ROUTES6, Update, added, heap, made};
use super::peers::{LONGEST, Peer};
use super::routes::Prefix;
use crate::Failure;

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
            max_rules: MOST_ROUTES6 as u32,
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
            let result =
                unsafe { sys::rte_lpm6_add(table.as_ptr(), octets.as_ptr(), *length, *hop) };
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
        config.max_routes = MOST_ROUTES6;
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
        unsafe {
            sys::rte_fib6_add(
                self.table.0.as_ptr(),
                network.octets().as_ptr(),
                length,
                hop,
            )
        };
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
