//! A route table of DPDK's, whichever library and family it is of.

use std::ffi::{CStr, CString};
use std::ptr::NonNull;
use std::rc::Rc;

use super::dpdk::{Dpdk, Update, heap};
use super::peers::{LONGEST, Peer};
use super::routes::{Family, Prefix};
use crate::Failure;

/// One of DPDK's libraries of route tables, for one family.
///
/// # Safety
///
/// The functions take a table that `create` made and `free` has not been given, while DPDK runs.
pub(super) trait Library: Sized + 'static {
    /// The type that stands for the family.
    type Family: Family;
    /// What the library keeps.
    type Table;
    /// An address as the library takes it.
    type Address: Copy;
    /// An answer as it gives it.
    type Answer: Copy + Default;
    /// What its ways of looking up are called.
    const WAYS: &'static [&'static str];

    fn address(address: Self::Family) -> Self::Address;
    /// The next hop of an answer, 0 for none.
    fn hop(answer: Self::Answer) -> u32;
    /// An empty table, or null.
    unsafe fn create(name: &CStr) -> *mut Self::Table;
    /// 0, or why it does not take the route.
    unsafe fn add(table: *mut Self::Table, address: Self::Address, length: u8, hop: u32) -> i32;
    unsafe fn remove(table: *mut Self::Table, address: Self::Address, length: u8);
    /// Whether this processor has the way of this number, which is taken from now on.
    unsafe fn select(table: *mut Self::Table, way: usize) -> bool;
    /// Looks `count` addresses up, which are only read, and writes as many answers.
    unsafe fn look_up(
        table: *mut Self::Table,
        addresses: *mut Self::Address,
        answers: *mut Self::Answer,
        count: u32,
    );
    unsafe fn free(table: *mut Self::Table);
}

/// A table, freed when nobody has it any more.
struct Owned<L: Library>(NonNull<L::Table>);

impl<L: Library> Drop for Owned<L> {
    fn drop(&mut self) {
        // SAFETY: made by `create`, freed once.
        unsafe { L::free(self.0.as_ptr()) };
    }
}

/// One way to look up in a table. Several may share the table.
pub(super) struct DpdkTable<L: Library> {
    table: Rc<Owned<L>>,
    addresses: Rc<[L::Address]>,
    answers: Vec<L::Answer>,
    memory: usize,
    way: usize,
}

impl<L: Library> DpdkTable<L> {
    /// A table of these routes, in the first of the library's ways.
    pub(super) fn new(
        _: &Dpdk,
        routes: &[(Prefix<L::Family>, u32)],
        addresses: &[L::Family],
    ) -> Result<Self, Failure> {
        let before = heap();
        let name = L::WAYS[0];
        // SAFETY: DPDK runs; the name outlives the call.
        let table = unsafe { L::create(&CString::new(name)?) };
        let table = NonNull::new(table).ok_or_else(|| format!("DPDK does not make {name}"))?;
        let table = Rc::new(Owned::<L>(table));
        for ((network, length), hop) in routes {
            // SAFETY: the table was made above and is not freed.
            let result = unsafe { L::add(table.0.as_ptr(), L::address(*network), *length, *hop) };
            if result != 0 {
                return Err(format!("{name} does not take a route: {result}").into());
            }
        }
        Ok(DpdkTable {
            table,
            addresses: addresses
                .iter()
                .map(|address| L::address(*address))
                .collect(),
            answers: vec![L::Answer::default(); LONGEST],
            memory: heap() - before,
            way: 0,
        })
    }

    /// The same table in each of the library's ways.
    pub(super) fn ways(
        dpdk: &Dpdk,
        routes: &[(Prefix<L::Family>, u32)],
        addresses: &[L::Family],
    ) -> Result<Vec<Box<dyn Peer>>, Failure> {
        let first = Self::new(dpdk, routes, addresses)?;
        let mut ways: Vec<Box<dyn Peer>> = Vec::new();
        for way in 0..L::WAYS.len() {
            ways.push(Box::new(DpdkTable::<L> {
                table: Rc::clone(&first.table),
                addresses: Rc::clone(&first.addresses),
                answers: first.answers.clone(),
                memory: first.memory,
                way,
            }));
        }
        Ok(ways)
    }
}

impl<L: Library> Update<L::Family> for DpdkTable<L> {
    fn set(&mut self, (network, length): Prefix<L::Family>, hop: u32) {
        // SAFETY: the table lives, and nobody looks anything up meanwhile.
        unsafe { L::add(self.table.0.as_ptr(), L::address(network), length, hop) };
    }
    fn remove(&mut self, (network, length): Prefix<L::Family>) {
        // SAFETY: as above. What is not there is not removed, and says so.
        unsafe { L::remove(self.table.0.as_ptr(), L::address(network), length) };
    }
}

impl<L: Library> Peer for DpdkTable<L> {
    fn name(&self) -> &'static str {
        L::WAYS[self.way]
    }
    fn prepare(&mut self) -> bool {
        // SAFETY: the table lives, and nobody looks anything up meanwhile.
        unsafe { L::select(self.table.0.as_ptr(), self.way) }
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &self.addresses[from..from + count.min(LONGEST)];
        // SAFETY: as many addresses, which are only read, and room for as many answers. The table lives.
        unsafe {
            L::look_up(
                self.table.0.as_ptr(),
                addresses.as_ptr().cast_mut(),
                self.answers.as_mut_ptr(),
                addresses.len() as u32,
            )
        };
    }
    fn answer(&self, index: usize) -> u32 {
        L::hop(self.answers[index])
    }
    fn memory(&self) -> Option<usize> {
        Some(self.memory)
    }
}
