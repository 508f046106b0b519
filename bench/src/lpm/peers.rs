//! Who is measured: ours, DPDK's tables and crates, behind one interface.

use rewire_tables::{Lpm, ValueNumber};

use super::routes::{Family, RouteTable};

/// A table under measurement. Addresses are those of the batch, in the form that the table takes best.
pub(crate) trait Peer {
    fn name(&self) -> &'static str;
    /// Called before each run; false where this machine cannot run it.
    fn prepare(&mut self) -> bool {
        true
    }
    /// Looks the addresses from `from` on up, `count` of them, and keeps the answers.
    fn lookup(&mut self, from: usize, count: usize);
    /// The answer for the `index`th address of the last batch: a next hop, 0 for none.
    fn answer(&self, index: usize) -> u32;
    /// The memory in use, in bytes; none where the table does not tell.
    fn memory(&self) -> Option<usize> {
        None
    }
}

/// The longest batch.
pub(crate) const LONGEST: usize = 256;

/// Ours. IPv4 addresses are numbers in host order, IPv6 addresses octets in the order of the wire, as DPDK's tables take them.
pub(crate) struct Ours<A: Family> {
    lpm: Lpm<A, u32>,
    keys: Vec<A::Key>,
    numbers: [ValueNumber; LONGEST],
}

impl<A: Family> Ours<A> {
    pub(crate) fn new(table: &RouteTable<A>, addresses: &[A]) -> Ours<A> {
        let mut lpm = Lpm::default();
        for ((network, length), hop) in &table.routes {
            lpm.insert(*network, *length, hop);
        }
        Ours {
            lpm,
            keys: addresses.iter().map(|address| address.key()).collect(),
            numbers: [ValueNumber::default(); LONGEST],
        }
    }
}

impl<A: Family> Peer for Ours<A> {
    fn name(&self) -> &'static str {
        "ours"
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let keys = &self.keys[from..from + count];
        self.lpm.lookup_batch(keys, &mut self.numbers);
    }
    fn answer(&self, index: usize) -> u32 {
        self.lpm.value(self.numbers[index]).copied().unwrap_or(0)
    }
    fn memory(&self) -> Option<usize> {
        Some(self.lpm.memory())
    }
}

/// A crate's table: a lookup at a time, as its interface is.
pub(crate) struct Crate<A, F> {
    name: &'static str,
    addresses: Vec<A>,
    one: F,
    answers: [u32; LONGEST],
}

impl<A: Copy, F: Fn(A) -> u32> Crate<A, F> {
    pub(crate) fn new(name: &'static str, addresses: Vec<A>, one: F) -> Crate<A, F> {
        Crate {
            name,
            addresses,
            one,
            answers: [0; LONGEST],
        }
    }
}

impl<A: Copy, F: Fn(A) -> u32> Peer for Crate<A, F> {
    fn name(&self) -> &'static str {
        self.name
    }
    #[inline]
    fn lookup(&mut self, from: usize, count: usize) {
        let addresses = &self.addresses[from..from + count];
        for (address, answer) in addresses.iter().zip(&mut self.answers) {
            *answer = (self.one)(*address);
        }
    }
    fn answer(&self, index: usize) -> u32 {
        self.answers[index]
    }
}
