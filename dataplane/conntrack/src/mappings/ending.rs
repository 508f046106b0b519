//! How a flow leaves its mapping, and how a mapping ends with its last flow.

use rewire_tables::Address;

use super::{Mappings, Use, unlink};
use crate::records::{Records, flag};
use crate::slab::Id;

/// What was found of a mapping ahead of its end, while the memory that its end changes is fetched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// Where its host is, and where the ports of its external address are; nowhere, where that was not found. They may be gone again.
    host: Id,
    pool: Id,
    /// The external port.
    port: u16,
}

impl<A: Address> Mappings<A> {
    /// Asks for what the end of a flow's mapping changes, and tells what was found on the way there.
    #[inline(always)]
    pub(crate) fn prefetch_end(&self, records: &Records<A>, slot: u32) -> Ending {
        let of = Use::of(records, slot);
        // Of one that has joined from outside, it may be the other key. So be it.
        if !records.used(slot).original.is_from_client() | records.is_crowded() {
            self.prefetch_aside(records, of.internal);
        }
        let host = of.host();
        let known = self.peek_host(&host);
        if known.is_none() {
            self.hosts.prefetch(&host);
        }
        Ending {
            host: known.unwrap_or(Id::NOWHERE),
            pool: self.ports.prefetch(&of.external(), of.mapping.port),
            port: of.mapping.port,
        }
    }

    /// The same of what nothing was found of yet.
    fn unsought(&self, of: &Use<A>) -> Ending {
        Ending {
            host: Id::NOWHERE,
            pool: Id::NOWHERE,
            port: of.mapping.port,
        }
    }

    /// Takes a flow, whose keys were taken out of the index, out of its mapping, and ends the mapping with the last one. `at_home` tells which of
    /// the keys were at home, and `sought` what was found ahead, if anything was.
    #[inline(always)]
    pub(crate) fn detach(
        &mut self,
        records: &mut Records<A>,
        slot: u32,
        at_home: [bool; 2],
        sought: Option<&Ending>,
    ) {
        if records.used(slot).has(flag::OPEN) {
            self.leave_externals(records, slot);
        }
        let record = records.used(slot);
        let unsought;
        let ending = match sought {
            Some(ending) => ending,
            None => {
                unsought = self.unsought(&Use::of(records, slot));
                &unsought
            }
        };
        if record.next != slot {
            return self.leave_ring(records, slot, at_home);
        }
        self.unlist(records, slot, at_home);
        if self.promise.is_none() || !self.keeps_promise(&Use::of(records, slot)) {
            self.end(ending, || Use::of(records, slot));
        }
    }

    /// Takes a flow out of its mapping, which others have, too.
    #[inline(never)]
    fn leave_ring(&mut self, records: &mut Records<A>, slot: u32, at_home: [bool; 2]) {
        let record = records.used(slot);
        let (is_listed, next) = (record.has(flag::LISTED), record.next);
        unlink(records, slot);
        if is_listed {
            self.unlist(records, slot, at_home);
            self.list(records, next, None);
        }
    }

    /// Whether the mapping that the last of its flows leaves is promised to another, and stays for that.
    #[inline(never)]
    fn keeps_promise(&mut self, of: &Use<A>) -> bool {
        match &mut self.promise {
            Some(promise)
                if promise.mapping == of.mapping
                    && promise.internal == of.internal
                    && promise.external_vpc == of.external_vpc =>
            {
                promise.is_alone = true;
                true
            }
            _ => false,
        }
    }

    /// Ends the mapping that was acquired last, if no flow has it.
    #[inline]
    pub(crate) fn release_unused(&mut self) {
        if self.promise.is_some() {
            self.end_promise();
        }
    }

    #[inline(never)]
    fn end_promise(&mut self) {
        if let Some(promise) = self.promise.take()
            && promise.is_alone
        {
            let of = Use {
                internal: promise.internal,
                external_vpc: promise.external_vpc,
                mapping: promise.mapping,
            };
            self.end(&self.unsought(&of), || of);
        }
    }

    /// Gives a port back that no flow has.
    // What was found ahead says nearly all: the rest of what is ended is not even read.
    #[inline(always)]
    fn end(&mut self, ending: &Ending, of: impl Fn() -> Use<A>) {
        self.number -= 1;
        if !self.ports.give_back_at(ending.pool, ending.port) {
            self.give_back(of());
        }
        if !self.owners.is_empty() {
            self.forget_owner(&of().host(), of().mapping.address);
        }
        if !self.leave_host(ending.host) {
            self.leave_host_of(of());
        }
    }

    #[inline(never)]
    fn give_back(&mut self, of: Use<A>) {
        self.ports.give_back(&of.external(), of.mapping.port);
    }

    /// Notes that a host has one mapping less; false where there is none.
    #[inline(always)]
    fn leave_host(&mut self, id: Id) -> bool {
        let Some(host) = self.hosts.get_mut(id) else {
            return false;
        };
        host.mappings -= 1;
        if host.mappings == 0 {
            self.hosts.remove(id);
        }
        true
    }

    #[inline(never)]
    fn leave_host_of(&mut self, of: Use<A>) {
        if let Some(id) = self.find_host(&of.host()) {
            self.leave_host(id);
        }
    }
}
