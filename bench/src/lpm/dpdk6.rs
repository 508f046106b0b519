//! DPDK's IPv6 tables: rte_lpm6 and rte_fib6 (trie).

use std::ffi::CStr;
use std::net::Ipv6Addr;

use rewire_dpdk_sys as sys;

use super::dpdk::{GROUPS6, MOST_ROUTES6};
use super::dpdk_table::Library;

/// rte_lpm6.
pub(super) struct Lpm6;

impl Library for Lpm6 {
    type Family = Ipv6Addr;
    type Table = sys::rte_lpm6;
    type Address = [u8; 16];
    type Answer = i32;
    const WAYS: &'static [&'static str] = &["rte_lpm6"];

    fn address(address: Ipv6Addr) -> [u8; 16] {
        address.octets()
    }
    fn hop(answer: i32) -> u32 {
        answer.max(0) as u32
    }
    unsafe fn create(name: &CStr) -> *mut sys::rte_lpm6 {
        let config = sys::rte_lpm6_config {
            max_rules: MOST_ROUTES6 as u32,
            number_tbl8s: GROUPS6 / 2,
            flags: 0,
        };
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        unsafe { sys::rte_lpm6_create(name.as_ptr(), 0, &config) }
    }
    unsafe fn add(table: *mut sys::rte_lpm6, address: [u8; 16], length: u8, hop: u32) -> i32 {
        // SAFETY: the table lives; 16 bytes of address, which are only read.
        unsafe { sys::rte_lpm6_add(table, address.as_ptr(), length, hop) }
    }
    unsafe fn remove(table: *mut sys::rte_lpm6, address: [u8; 16], length: u8) {
        // SAFETY: as above.
        unsafe { sys::rte_lpm6_delete(table, address.as_ptr(), length) };
    }
    unsafe fn select(_: *mut sys::rte_lpm6, _: usize) -> bool {
        true
    }
    unsafe fn look_up(
        table: *mut sys::rte_lpm6,
        addresses: *mut [u8; 16],
        answers: *mut i32,
        count: u32,
    ) {
        // SAFETY: the caller's arrays.
        unsafe { sys::rte_lpm6_lookup_bulk_func(table, addresses, answers, count) };
    }
    unsafe fn free(table: *mut sys::rte_lpm6) {
        // SAFETY: the caller's last use of it.
        unsafe { sys::rte_lpm6_free(table) };
    }
}

/// rte_fib6 with the trie and next hops of 4 bytes.
pub(super) struct Fib6;

impl Library for Fib6 {
    type Family = Ipv6Addr;
    type Table = sys::rte_fib6;
    type Address = [u8; 16];
    type Answer = u64;
    const WAYS: &'static [&'static str] = &["rte_fib6-avx512", "rte_fib6-scalar"];

    fn address(address: Ipv6Addr) -> [u8; 16] {
        address.octets()
    }
    fn hop(answer: u64) -> u32 {
        answer as u32
    }
    unsafe fn create(name: &CStr) -> *mut sys::rte_fib6 {
        // SAFETY: plain numbers, of which zero is good for each.
        let mut config: sys::rte_fib6_conf = unsafe { std::mem::zeroed() };
        config.type_ = sys::rte_fib6_type_RTE_FIB6_TRIE;
        config.max_routes = MOST_ROUTES6;
        config.__bindgen_anon_1.trie = sys::rte_fib6_conf__bindgen_ty_1__bindgen_ty_1 {
            nh_sz: sys::rte_fib_trie_nh_sz_RTE_FIB6_TRIE_4B,
            num_tbl8: GROUPS6,
        };
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        unsafe { sys::rte_fib6_create(name.as_ptr(), 0, &mut config) }
    }
    unsafe fn add(table: *mut sys::rte_fib6, address: [u8; 16], length: u8, hop: u32) -> i32 {
        // SAFETY: the table lives; 16 bytes of address, which are only read.
        unsafe { sys::rte_fib6_add(table, address.as_ptr(), length, u64::from(hop)) }
    }
    unsafe fn remove(table: *mut sys::rte_fib6, address: [u8; 16], length: u8) {
        // SAFETY: as above.
        unsafe { sys::rte_fib6_delete(table, address.as_ptr(), length) };
    }
    unsafe fn select(table: *mut sys::rte_fib6, way: usize) -> bool {
        let way = match way {
            0 => sys::rte_fib6_lookup_type_RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512,
            _ => sys::rte_fib6_lookup_type_RTE_FIB6_LOOKUP_TRIE_SCALAR,
        };
        // SAFETY: as above.
        unsafe { sys::rte_fib6_select_lookup(table, way) == 0 }
    }
    unsafe fn look_up(
        table: *mut sys::rte_fib6,
        addresses: *mut [u8; 16],
        answers: *mut u64,
        count: u32,
    ) {
        // SAFETY: the caller's arrays.
        unsafe { sys::rte_fib6_lookup_bulk(table, addresses, answers, count as i32) };
    }
    unsafe fn free(table: *mut sys::rte_fib6) {
        // SAFETY: the caller's last use of it.
        unsafe { sys::rte_fib6_free(table) };
    }
}
