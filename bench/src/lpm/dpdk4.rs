//! DPDK's IPv4 tables: rte_lpm and rte_fib (DIR24_8).

use std::ffi::CStr;
use std::net::Ipv4Addr;

use rewire_dpdk_sys as sys;

use super::dpdk::{GROUPS4, MOST_ROUTES4};
use super::dpdk_table::Library;

/// rte_lpm.
pub(super) struct Lpm4;

impl Library for Lpm4 {
    type Family = Ipv4Addr;
    type Table = sys::rte_lpm;
    type Address = u32;
    type Answer = u32;
    const WAYS: &'static [&'static str] = &["rte_lpm"];

    fn address(address: Ipv4Addr) -> u32 {
        address.to_bits()
    }
    fn hop(answer: u32) -> u32 {
        // RTE_LPM_LOOKUP_SUCCESS, and the 24 bits of the next hop.
        match answer & 0x0100_0000 {
            0 => 0,
            _ => answer & 0x00ff_ffff,
        }
    }
    unsafe fn create(name: &CStr) -> *mut sys::rte_lpm {
        let config = sys::rte_lpm_config {
            max_rules: MOST_ROUTES4 as u32,
            number_tbl8s: GROUPS4,
            flags: 0,
        };
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        unsafe { sys::rte_lpm_create(name.as_ptr(), 0, &config) }
    }
    unsafe fn add(table: *mut sys::rte_lpm, address: u32, length: u8, hop: u32) -> i32 {
        // SAFETY: the table lives.
        unsafe { sys::rte_lpm_add(table, address, length, hop) }
    }
    unsafe fn remove(table: *mut sys::rte_lpm, address: u32, length: u8) {
        // SAFETY: as above.
        unsafe { sys::rte_lpm_delete(table, address, length) };
    }
    unsafe fn select(_: *mut sys::rte_lpm, _: usize) -> bool {
        true
    }
    unsafe fn look_up(
        table: *mut sys::rte_lpm,
        addresses: *mut u32,
        answers: *mut u32,
        count: u32,
    ) {
        // SAFETY: the caller's arrays.
        unsafe { sys::rewire_lpm_lookup_bulk(table, addresses, answers, count) };
    }
    unsafe fn free(table: *mut sys::rte_lpm) {
        // SAFETY: the caller's last use of it.
        unsafe { sys::rte_lpm_free(table) };
    }
}

/// rte_fib with DIR24_8 and next hops of 4 bytes.
pub(super) struct Fib4;

impl Library for Fib4 {
    type Family = Ipv4Addr;
    type Table = sys::rte_fib;
    type Address = u32;
    type Answer = u64;
    const WAYS: &'static [&'static str] = &["rte_fib-avx512", "rte_fib-scalar"];

    fn address(address: Ipv4Addr) -> u32 {
        address.to_bits()
    }
    fn hop(answer: u64) -> u32 {
        answer as u32
    }
    unsafe fn create(name: &CStr) -> *mut sys::rte_fib {
        // SAFETY: plain numbers, of which zero is good for each.
        let mut config: sys::rte_fib_conf = unsafe { std::mem::zeroed() };
        config.type_ = sys::rte_fib_type_RTE_FIB_DIR24_8;
        config.max_routes = MOST_ROUTES4;
        config.__bindgen_anon_1.dir24_8 = sys::rte_fib_conf__bindgen_ty_1__bindgen_ty_1 {
            nh_sz: sys::rte_fib_dir24_8_nh_sz_RTE_FIB_DIR24_8_4B,
            num_tbl8: GROUPS4,
        };
        // SAFETY: a name and a configuration that outlive the call. DPDK runs.
        unsafe { sys::rte_fib_create(name.as_ptr(), 0, &mut config) }
    }
    unsafe fn add(table: *mut sys::rte_fib, address: u32, length: u8, hop: u32) -> i32 {
        // SAFETY: the table lives.
        unsafe { sys::rte_fib_add(table, address, length, u64::from(hop)) }
    }
    unsafe fn remove(table: *mut sys::rte_fib, address: u32, length: u8) {
        // SAFETY: as above.
        unsafe { sys::rte_fib_delete(table, address, length) };
    }
    unsafe fn select(table: *mut sys::rte_fib, way: usize) -> bool {
        let way = match way {
            0 => sys::rte_fib_lookup_type_RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512,
            _ => sys::rte_fib_lookup_type_RTE_FIB_LOOKUP_DIR24_8_SCALAR_INLINE,
        };
        // SAFETY: as above.
        unsafe { sys::rte_fib_select_lookup(table, way) == 0 }
    }
    unsafe fn look_up(
        table: *mut sys::rte_fib,
        addresses: *mut u32,
        answers: *mut u64,
        count: u32,
    ) {
        // SAFETY: the caller's arrays.
        unsafe { sys::rte_fib_lookup_bulk(table, addresses, answers, count as i32) };
    }
    unsafe fn free(table: *mut sys::rte_fib) {
        // SAFETY: the caller's last use of it.
        unsafe { sys::rte_fib_free(table) };
    }
}
