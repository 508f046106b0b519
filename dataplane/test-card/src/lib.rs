//! A network card in software whose flow engine is complete, for tests: DPDK's flow API, synchronous and by templates and
//! queues, with rules that are kept and executed. No driver in Debian has that without hardware. It is a DPDK driver in C,
//! written against DPDK's API alone, so that what Rewire encodes is judged and executed by code that shares nothing with it.
//!
//! It is strict: what does not fit its template, its queue or its table is refused, and a handle that was destroyed is
//! known. Arguments of the device: `capacity` (rules), `refuse` (every so manyth creation fails), `reversed` (completions
//! come last first), `sync` (no templates and queues), `latency` (pulls before a completion comes).
//!
//! A frame that comes in by a port's wire ([`arrive`]) is rewritten and sent out by another port's if a rule says so, and is
//! otherwise received by the port, on the queue that a symmetric hash of its addresses and ports gives. What leaves is
//! [taken](depart) from the wire.
//!
//! DPDK keeps the headers that a driver needs out of Debian's package: `make deps` fetches them. Without them there is no
//! [driver](driver()), and tests that want it are skipped.

// The libraries that the card's code calls into.
use rewire_dpdk_sys as _;

/// What became of a frame that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It waits in a receive queue.
    ToCore,
    /// A rule sent it out by a wire.
    Forwarded,
    /// A rule says so, or the queue or the wire is full.
    Dropped,
}

/// What a card holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Rules, with those that failed and were not destroyed.
    pub rules: u32,
    /// Template tables.
    pub tables: u32,
    /// Templates of patterns and of actions.
    pub templates: u32,
}

/// The driver's name, as a device's arguments have it; none where it was not built.
pub fn driver() -> Option<&'static str> {
    cfg!(card).then(|| {
        // Its symbols are asked for, so that the linker takes the driver in.
        let _ = left_behind();
        "rewire_card"
    })
}

#[cfg(card)]
mod card {
    use std::ffi::c_int;

    use super::{Fate, Holds};

    unsafe extern "C" {
        fn rewire_test_card_arrive(port: u16, frame: *const u8, length: u16) -> c_int;
        fn rewire_test_card_depart(port: u16, frame: *mut u8, room: u16) -> c_int;
        fn rewire_test_card_holds(
            port: u16,
            rules: *mut u32,
            tables: *mut u32,
            templates: *mut u32,
        ) -> c_int;
        fn rewire_test_card_left_behind() -> u64;
        fn rewire_test_card_advance(seconds: u64);
    }

    pub(super) fn arrive(port: u16, frame: &[u8]) -> Option<Fate> {
        let length = u16::try_from(frame.len()).ok()?;
        // SAFETY: `length` readable bytes, which the card copies.
        match unsafe { rewire_test_card_arrive(port, frame.as_ptr(), length) } {
            0 => Some(Fate::ToCore),
            1 => Some(Fate::Forwarded),
            2 => Some(Fate::Dropped),
            _ => None,
        }
    }

    pub(super) fn depart(port: u16) -> Option<Vec<u8>> {
        let mut frame = vec![0; 9600];
        // SAFETY: room for so many bytes.
        let length =
            unsafe { rewire_test_card_depart(port, frame.as_mut_ptr(), frame.len() as u16) };
        frame.truncate(usize::try_from(length).ok().filter(|length| *length > 0)?);
        Some(frame)
    }

    pub(super) fn holds(port: u16) -> Option<Holds> {
        let mut holds = Holds::default();
        // SAFETY: places for three numbers.
        let code = unsafe {
            rewire_test_card_holds(
                port,
                &mut holds.rules,
                &mut holds.tables,
                &mut holds.templates,
            )
        };
        (code == 0).then_some(holds)
    }

    pub(super) fn left_behind() -> u64 {
        // SAFETY: reads a number.
        unsafe { rewire_test_card_left_behind() }
    }

    pub(super) fn advance(seconds: u64) {
        // SAFETY: changes a number.
        unsafe { rewire_test_card_advance(seconds) }
    }
}

#[cfg(not(card))]
mod card {
    use super::{Fate, Holds};

    pub(super) fn arrive(_port: u16, _frame: &[u8]) -> Option<Fate> {
        None
    }
    pub(super) fn depart(_port: u16) -> Option<Vec<u8>> {
        None
    }
    pub(super) fn holds(_port: u16) -> Option<Holds> {
        None
    }
    pub(super) fn left_behind() -> u64 {
        0
    }
    pub(super) fn advance(_seconds: u64) {}
}

/// A frame comes in by the wire of the port with this DPDK number. None if that is no such card, configured.
pub fn arrive(port: u16, frame: &[u8]) -> Option<Fate> {
    card::arrive(port, frame)
}

/// Takes the next frame that left by the wire of this port.
pub fn depart(port: u16) -> Option<Vec<u8>> {
    card::depart(port)
}

/// What the card of this port holds now; none if it is no such card.
pub fn holds(port: u16) -> Option<Holds> {
    card::holds(port)
}

/// How much (rules, tables) was there still when cards were closed, in the life of the process.
pub fn left_behind() -> u64 {
    card::left_behind()
}

/// Moves the clock that rules age by.
pub fn advance(seconds: u64) {
    card::advance(seconds);
}
