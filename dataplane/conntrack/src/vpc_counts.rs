//! How many connections there are of each VPC.

use std::sync::atomic::{AtomicU32, Ordering};

use rewire_tables::VpcIndex;

/// VPCs that an index can tell apart.
const VPCS: usize = 1 << 16;

/// How many connections began in each VPC, of one worker and both address families. Only that worker writes, with plain
/// loads and stores; anybody reads.
#[derive(Debug)]
pub struct VpcCounts(Box<[AtomicU32; VPCS]>);

impl Default for VpcCounts {
    /// No connections. Takes 256 KiB.
    fn default() -> Self {
        let counts: Box<[AtomicU32]> = (0..VPCS).map(|_| AtomicU32::new(0)).collect();
        VpcCounts(counts.try_into().expect("as many as there are VPCs"))
    }
}

impl VpcCounts {
    /// The connections of a VPC.
    #[inline]
    pub fn of(&self, vpc: VpcIndex) -> u32 {
        self.0[usize::from(vpc.0)].load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn add(&self, vpc: VpcIndex) {
        self.set(vpc, self.of(vpc).wrapping_add(1));
    }

    #[inline(always)]
    pub(crate) fn subtract(&self, vpc: VpcIndex) {
        self.set(vpc, self.of(vpc).wrapping_sub(1));
    }

    #[inline]
    fn set(&self, vpc: VpcIndex, number: u32) {
        self.0[usize::from(vpc.0)].store(number, Ordering::Relaxed);
    }
}
