//! The peers of the table of connections: DPDK's rte_hash, and the hash map of most programs in Rust, with a seeded hash and with
//! the fastest one, which is not.

use std::hash::BuildHasher;
use std::ptr::NonNull;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rewire_dpdk_sys as sys;
use rustc_hash::FxBuildHasher;

use super::{BATCH, Failure, Keys, LIVE, Table, packed};

pub(super) fn all() -> Result<Vec<Box<dyn Table>>, Failure> {
    let seeded = Map::new("hashbrown", FixedState::with_seed(7));
    let fastest = Map::new("hashbrown-fx", FxBuildHasher);
    Ok(vec![
        Box::new(DpdkHash::new()?),
        Box::new(seeded),
        Box::new(fastest),
    ])
}

/// Keys that a table has room for.
const ROOM: usize = 2 * (LIVE as usize + BATCH);

/// A map from either key to a number.
struct Map<S> {
    name: &'static str,
    map: HashMap<[u64; 2], u32, S>,
}

impl<S: BuildHasher> Map<S> {
    fn new(name: &'static str, hasher: S) -> Self {
        Map {
            name,
            map: HashMap::with_capacity_and_hasher(ROOM, hasher),
        }
    }
}

impl<S: BuildHasher> Table for Map<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn insert(&mut self, connections: &[u32]) -> Result<(), Failure> {
        for &connection in connections {
            for (way, key) in (0..).zip(packed(connection)) {
                if self.map.insert(key, 2 * connection + way).is_some() {
                    return Err("two connections have one key".into());
                }
            }
        }
        Ok(())
    }

    fn remove(&mut self, connections: &[u32]) -> Result<(), Failure> {
        for &connection in connections {
            for (way, key) in (0..).zip(packed(connection)) {
                if self.map.remove(&key) != Some(2 * connection + way) {
                    return Err("a connection was lost".into());
                }
            }
        }
        Ok(())
    }
}

/// rte_hash, with the hash that it chooses itself (CRC32 by the processor's instruction), for one thread.
struct DpdkHash(NonNull<sys::rte_hash>);

impl DpdkHash {
    fn new() -> Result<Self, Failure> {
        // SAFETY: numbers and pointers, for all of which zero is good: the default hash, no flag.
        let mut parameters: sys::rte_hash_parameters = unsafe { std::mem::zeroed() };
        parameters.name = c"connections".as_ptr();
        // It counts full buckets as it goes: with less room some keys are refused.
        parameters.entries = (ROOM + ROOM / 4) as u32;
        parameters.key_len = size_of::<[u64; 2]>() as u32;
        // SAFETY: DPDK runs, and the parameters live through the call.
        let table = unsafe { sys::rte_hash_create(&parameters) };
        NonNull::new(table)
            .map(DpdkHash)
            .ok_or_else(|| "rte_hash_create has no memory".into())
    }

    /// Calls a function of DPDK's for each key.
    fn each(
        &mut self,
        connections: &[u32],
        call: unsafe extern "C" fn(*const sys::rte_hash, *const std::ffi::c_void) -> i32,
    ) -> Result<(), Failure> {
        for &connection in connections {
            let keys: Keys = packed(connection);
            for key in keys {
                // SAFETY: the table lives as long as `self`, and a key is as long as it was told.
                if unsafe { call(self.0.as_ptr(), key.as_ptr().cast()) } < 0 {
                    return Err("rte_hash refuses a key".into());
                }
            }
        }
        Ok(())
    }
}

impl Table for DpdkHash {
    fn name(&self) -> &'static str {
        "rte_hash"
    }

    fn insert(&mut self, connections: &[u32]) -> Result<(), Failure> {
        self.each(connections, sys::rte_hash_add_key)
    }

    fn remove(&mut self, connections: &[u32]) -> Result<(), Failure> {
        self.each(connections, sys::rte_hash_del_key)
    }
}

impl Drop for DpdkHash {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and freed once.
        unsafe { sys::rte_hash_free(self.0.as_ptr()) }
    }
}
