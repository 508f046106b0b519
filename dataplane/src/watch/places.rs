//! Who watches a gateway's packets: several at once, each at a place of its own.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::walk::Mark;

/// Watches at a time, at most.
pub const MOST_WATCHES: usize = 4;

/// The places of watches, and who has them. One for a gateway.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<[Option<Arc<str>>; MOST_WATCHES]>,
    wanted: OnceLock<WantedBy>,
}

impl Places {
    /// Takes a place, for somebody of this name; who has them all, where there is none left.
    pub(crate) fn take(&self, name: &Arc<str>) -> Result<u8, Vec<Arc<str>>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.iter().position(Option::is_none) {
            Some(place) => {
                taken[place] = Some(Arc::clone(name));
                Ok(place as u8)
            }
            None => Err(taken.iter().flatten().cloned().collect()),
        }
    }

    /// Gives a place back.
    pub(crate) fn give_back(&self, place: u8) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken[usize::from(place)] = None;
    }

    /// By whom packets are wanted. It is made for the first watch, and stays.
    pub(crate) fn wanted(&self) -> WantedBy {
        self.wanted.get_or_init(WantedBy::default).clone()
    }
}

/// By which watches the packet of each mark is wanted: a bit for each place. 64 KiB, shared by all workers: a packet may go from one
/// to another, and its ring orders what is written here.
#[derive(Clone, Debug)]
pub(crate) struct WantedBy(Arc<[AtomicU8]>);

impl Default for WantedBy {
    fn default() -> Self {
        WantedBy((0..=u16::MAX).map(|_| AtomicU8::new(0)).collect())
    }
}

impl WantedBy {
    /// The packet of this mark is wanted by these.
    pub(crate) fn set(&self, mark: Mark, watches: u8) {
        self.0[usize::from(mark.0.get())].store(watches, Ordering::Relaxed);
    }

    /// Whether the packet of this mark is wanted by the watch at this place.
    pub(crate) fn is(&self, mark: Mark, place: u8) -> bool {
        self.0[usize::from(mark.0.get())].load(Ordering::Relaxed) & (1 << place) != 0
    }
}
