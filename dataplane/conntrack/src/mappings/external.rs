//! Mappings by their external endpoints: those that let in connections from outside (RFC 4787 REQ-8: endpoint-independent
//! and address-dependent filtering).
//!
//! One index has two kinds of entries. The *holder* of an external endpoint is one of the flows of its mapping, and says where
//! the mapping leads. The *head* of a group is one of the flows by which the internal endpoint has to do with one remote
//! address: that it is there says that packets were sent to this address. A group's flows stand together in the ring of their
//! mapping, its head first, so that the next one takes its place in one step.
//!
//! Both are kept of flows alone whose rule asks for less than the strictest filtering: [`flag::OPEN`]. The memory of the index
//! is reserved, and not touched until then.

use rewire_tables::{Address, VpcIndex};

use super::{Mapping, Mappings, Use, link_before, unlink};
use crate::key::FlowKey;
use crate::key_hash::KeyHasher;
use crate::records::{Record, Records, flag};

/// An external endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint<A> {
    pub(crate) vpc: VpcIndex,
    pub(crate) protocol: u8,
    pub(crate) mapping: Mapping<A>,
}

impl<A: Address> Endpoint<A> {
    fn of(records: &Records<A>, slot: u32) -> Self {
        let of = Use::of(records, slot);
        Endpoint {
            vpc: of.external_vpc,
            protocol: of.internal.protocol,
            mapping: of.mapping,
        }
    }
}

/// The two kinds of entries: a slot, times two, plus this.
const HOLDER: u32 = 0;
const HEAD: u32 = 1;

/// The remote address of a flow that has a mapping, as the outside knows it.
fn remote_of<A: Address>(records: &Records<A>, slot: u32) -> A {
    let Record {
        original, reply, ..
    } = records.used(slot);
    match records.is_joined(slot) {
        // The sender of a NAT64's client means an address behind the prefix, of which nobody outside knows.
        false if reply.is_of_other_family() => reply.source,
        false => original.destination,
        true => original.source,
    }
}

fn holder_hash<A: Address>(hasher: &KeyHasher, endpoint: &Endpoint<A>) -> u64 {
    endpoint_hash(hasher, endpoint, A::from_number(0), HOLDER)
}

fn head_hash<A: Address>(hasher: &KeyHasher, endpoint: &Endpoint<A>, remote: A) -> u64 {
    endpoint_hash(hasher, endpoint, remote, HEAD)
}

fn endpoint_hash<A: Address>(
    hasher: &KeyHasher,
    endpoint: &Endpoint<A>,
    remote: A,
    kind: u32,
) -> u64 {
    hasher.hash_evenly(&FlowKey {
        vpc: endpoint.vpc,
        protocol: endpoint.protocol,
        source: endpoint.mapping.address,
        destination: remote,
        source_port: endpoint.mapping.port,
        destination_port: kind as u16,
    })
}

impl<A: Address> Mappings<A> {
    fn holder_hash(&self, endpoint: &Endpoint<A>) -> u64 {
        holder_hash(&self.hash, endpoint)
    }

    fn head_hash(&self, endpoint: &Endpoint<A>, remote: A) -> u64 {
        head_hash(&self.hash, endpoint, remote)
    }

    fn insert_external(&mut self, records: &Records<A>, hash: u64, entry: u32) -> bool {
        let hasher = &self.hash;
        let hash_of = |entry| {
            let endpoint = Endpoint::of(records, entry / 2);
            Some(match entry % 2 {
                HOLDER => holder_hash(hasher, &endpoint),
                _ => head_hash(hasher, &endpoint, remote_of(records, entry / 2)),
            })
        };
        self.externals.insert(hash, entry, hash_of)
    }

    /// A flow of the mapping that has this external endpoint, if it lets any connection from outside in.
    pub(crate) fn holder(&self, records: &Records<A>, endpoint: &Endpoint<A>) -> Option<u32> {
        let is_it = |entry| entry % 2 == HOLDER && Endpoint::of(records, entry / 2) == *endpoint;
        let entry = self.externals.find(self.holder_hash(endpoint), is_it)?;
        Some(entry / 2)
    }

    /// A flow by which packets were sent from this external endpoint to this address.
    pub(crate) fn head(
        &self,
        records: &Records<A>,
        endpoint: &Endpoint<A>,
        remote: A,
    ) -> Option<u32> {
        let is_it = |entry| {
            entry % 2 == HEAD
                && Endpoint::of(records, entry / 2) == *endpoint
                && remote_of(records, entry / 2) == remote
        };
        let hash = self.head_hash(endpoint, remote);
        Some(self.externals.find(hash, is_it)? / 2)
    }

    /// Lets the mapping of a flow be found from outside.
    pub(crate) fn open(&mut self, records: &mut Records<A>, slot: u32) {
        let endpoint = Endpoint::of(records, slot);
        records.used_mut(slot).set(flag::OPEN, true);
        if self.holder(records, &endpoint).is_none() {
            let hash = self.holder_hash(&endpoint);
            // Where there is no room for it, the mapping stays closed until another of its flows opens it.
            let _ = self.insert_external(records, hash, 2 * slot + HOLDER);
        }
        match records.is_joined(slot) {
            false => self.group(records, slot),
            true => self.answer(records, slot),
        }
    }

    /// Adds a flow from outside, which has its slot, to the mapping that another one holds.
    pub(crate) fn join(&mut self, records: &mut Records<A>, slot: u32, holder: u32) {
        self.release_unused();
        let record = records.used_mut(slot);
        record.set(flag::MAPPED, true);
        record.set(flag::OPEN, true);
        records.account_mut(slot).set_joined();
        let next = self.boundary(records, holder);
        link_before(records, slot, next);
    }

    /// Notes that a flow from outside was answered: the internal endpoint has sent a packet to its address.
    pub(crate) fn answer(&mut self, records: &mut Records<A>, slot: u32) {
        if records.account(slot).is_answered() {
            self.group(records, slot);
        }
    }

    /// Lets a flow stand with those that have to do with the same remote address.
    fn group(&mut self, records: &mut Records<A>, slot: u32) {
        if records.account(slot).is_grouped() {
            return;
        }
        let endpoint = Endpoint::of(records, slot);
        let remote = remote_of(records, slot);
        match self.head(records, &endpoint, remote) {
            Some(head) => {
                unlink(records, slot);
                let next = records.used(head).next;
                link_before(records, slot, next);
            }
            None => {
                let hash = self.head_hash(&endpoint, remote);
                if !self.insert_external(records, hash, 2 * slot + HEAD) {
                    return;
                }
            }
        }
        records.account_mut(slot).set_grouped();
    }

    /// Where a flow can be put ahead of this one, or of its group, so that it parts no group.
    pub(super) fn boundary(&self, records: &Records<A>, slot: u32) -> u32 {
        if !records.used(slot).has(flag::OPEN) || !records.account(slot).is_grouped() {
            return slot;
        }
        let endpoint = Endpoint::of(records, slot);
        let head = self.head(records, &endpoint, remote_of(records, slot));
        head.unwrap_or(slot)
    }

    /// Takes a flow that is about to leave its ring out of the index. The next one takes its places, where it can.
    pub(super) fn leave_externals(&mut self, records: &mut Records<A>, slot: u32) {
        let endpoint = Endpoint::of(records, slot);
        let next = Some(records.used(slot).next).filter(|next| *next != slot);
        let hash = self.holder_hash(&endpoint);
        match next {
            Some(next) => {
                let place = |entry| entry == 2 * slot + HOLDER;
                if self.externals.find(hash, place).is_some() {
                    records.used_mut(next).set(flag::OPEN, true);
                    let (old, new) = (2 * slot + HOLDER, 2 * next + HOLDER);
                    self.externals.replace(hash, old, new);
                }
            }
            None => {
                self.externals.remove(hash, 2 * slot + HOLDER);
            }
        }
        if !records.account(slot).is_grouped() {
            return;
        }
        let remote = remote_of(records, slot);
        let hash = self.head_hash(&endpoint, remote);
        let is_of_group = |next: &u32| {
            records.used(*next).has(flag::OPEN)
                && records.account(*next).is_grouped()
                && remote_of(records, *next) == remote
        };
        match next.filter(is_of_group) {
            Some(next) => self
                .externals
                .replace(hash, 2 * slot + HEAD, 2 * next + HEAD),
            None => {
                self.externals.remove(hash, 2 * slot + HEAD);
            }
        }
    }
}
