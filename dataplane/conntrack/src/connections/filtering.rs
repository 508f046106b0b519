//! Connections from outside, to mappings that let them in (RFC 4787 REQ-8, RFC 5382 REQ-3).
//!
//! Whether a mapping lets one in is for the policy to say. Here is what it asks: where an external endpoint leads, and
//! whether packets were sent from there to an address. A connection that is let in *joins* the mapping, which lives at
//! least as long as it does. Lest anybody outside hold a mapping open, one that nobody inside has answered ends no later
//! than what let it in, and its own packets do not prolong it (REQ-6).

use rewire_tables::{Address, VpcIndex};

use super::{Connections, tick};
use crate::flow::FlowId;
use crate::key::Direction;
use crate::mappings::{Endpoint, Internal, Mapping, Use};
use crate::records::{Account, flag};
use crate::state::State;
use crate::tcp::TcpState;
use crate::time::Instant;

/// Flows whose time is up that are taken away in one look-up, at most: behind so many, a mapping counts as over until
/// [`Connections::expire`] has come to them.
const ENDED_PER_LOOKUP: usize = 8;

/// Whether a packet leaves the deadline of its connection as it is: that of one which has joined a mapping, and which
/// nobody inside has answered, or which was reset (RFC 7857, section 6.1).
#[cold]
pub(super) fn keeps_its_deadline(account: &Account, direction: Direction, after: State) -> bool {
    let is_unanswered = direction == Direction::Original && !account.is_answered();
    account.is_joined() && (is_unanswered || after == State::Tcp(TcpState::Closed))
}

/// An external endpoint as packets from outside name it: the VPC that they come in to, their protocol, and their destination
/// with its port in host order (of ICMP queries, the identifier; 0 without ports).
fn endpoint<A: Copy>(vpc: VpcIndex, protocol: u8, (address, port): (A, u16)) -> Endpoint<A> {
    Endpoint {
        vpc,
        protocol,
        mapping: Mapping { address, port },
    }
}

impl<A: Address> Connections<A> {
    /// Lets the mapping of a flow be found from outside, from now on until the flow ends. Flows without a mapping, and those that are
    /// gone, are left alone. What is let in is for the caller to say, for each connection.
    pub fn open_mapping(&mut self, id: FlowId) {
        if let Some(record) = self.records.get(id.0)
            && record.has(flag::MAPPED)
        {
            self.mappings.open(&mut self.records, id.0.slot);
        }
    }

    /// The internal endpoint that an external one leads to, where its mapping was [opened](Self::open_mapping) by a flow that
    /// lives. `external` has a port in host order, or an identifier, or 0.
    ///
    /// Costs one look-up, and the end of up to eight flows whose time is up.
    pub fn internal_of(
        &mut self,
        external_vpc: VpcIndex,
        protocol: u8,
        external: (A, u16),
        now: Instant,
    ) -> Option<Internal<A>> {
        let endpoint = endpoint(external_vpc, protocol, external);
        let holder = self.live(now, |all| all.mappings.holder(&all.records, &endpoint))?;
        let record = self.records.used(holder);
        let is_joined = self.records.is_joined(holder);
        Some(Use::between(&record.original, &record.reply, is_joined).internal)
    }

    /// Whether packets were sent to an address from the internal endpoint of an external one, by a flow that lives, and that has
    /// [opened](Self::open_mapping) the mapping or joined it.
    ///
    /// Costs one look-up, and the end of up to eight flows whose time is up.
    pub fn has_sent_to(
        &mut self,
        external_vpc: VpcIndex,
        protocol: u8,
        external: (A, u16),
        remote: A,
        now: Instant,
    ) -> bool {
        let endpoint = endpoint(external_vpc, protocol, external);
        let head = self.live(now, |all| {
            all.mappings.head(&all.records, &endpoint, remote)
        });
        head.is_some()
    }

    /// Lets a connection that has just begun outside, without a mapping of its own, join the one that its first packet was sent
    /// to. False where there is none any more: the connection is then one without a mapping.
    pub fn join(&mut self, id: FlowId) -> bool {
        let Some(record) = self.records.get(id.0) else {
            return false;
        };
        let original = &record.original;
        let external = (original.destination, original.destination_port);
        let endpoint = endpoint(original.vpc, original.protocol, external);
        let Some(holder) = self.mappings.holder(&self.records, &endpoint) else {
            return false;
        };
        let slot = id.0.slot;
        let remote = original.source;
        let head = self.mappings.head(&self.records, &endpoint, remote);
        let lets_in = self.records.used(head.unwrap_or(holder));
        // What a card forwards prolongs its flow later, and was answered.
        let is_offloaded = lets_in.has(flag::OFFLOADED);
        let limit = lets_in.expires;
        self.mappings.join(&mut self.records, slot, holder);
        let record = self.records.used_mut(slot);
        if !is_offloaded && limit.is_before(record.expires) {
            record.expires = limit;
            self.sweep.hasten(slot, tick(limit.instant(self.latest)));
        }
        true
    }

    /// What is found, once flows in its place whose time is up have made way.
    fn live(&mut self, now: Instant, find: impl Fn(&Self) -> Option<u32>) -> Option<u32> {
        for _ in 0..ENDED_PER_LOOKUP {
            let slot = find(self)?;
            let record = self.records.used(slot);
            // What is still in the card is not over.
            if !record.expires.is_over(now) || record.has(flag::OFFLOADED) {
                return Some(slot);
            }
            self.remove_slot(slot);
        }
        None
    }
}
