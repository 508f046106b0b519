//! Limits: may one more connection begin, and is there room for it?

use std::num::NonZeroU32;
use std::sync::Arc;

use rewire_conntrack::recording::Shortage;
use rewire_conntrack::{Connections, FlowId, FlowKey, Room, VpcCounts};
use rewire_tables::{ConnectionLimits, VpcIndex};

use super::context::Context;
use super::family::Family;
use crate::drop_reason::DropReason;

/// How many connections each VPC has, with all workers. Exact to a connection for each worker that begins one just then.
#[derive(Debug)]
pub(super) struct AllVpcCounts(pub(super) Arc<[Arc<VpcCounts>]>);

impl AllVpcCounts {
    fn of(&self, vpc: VpcIndex) -> u64 {
        self.0.iter().map(|counts| u64::from(counts.of(vpc))).sum()
    }
}

/// Whether a connection may begin. Where the table is full, another makes way, if one may.
///
/// # Errors
/// Why it may not.
#[inline(always)]
pub(super) fn admit<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    original: &FlowKey<A>,
) -> Result<(), DropReason> {
    let vpc = original.vpc;
    if let Some(limits) = cx.tables.vpc(vpc).connection_limits() {
        let is_over = |limit: Option<NonZeroU32>, number| {
            limit.is_some_and(|most| number >= u64::from(most.get()))
        };
        if is_over(limits.most, cx.vpc_counts.of(vpc)) {
            connections.record_shortage(Shortage::Vpc, original, None, cx.now);
            return Err(DropReason::ConnectionLimitVpc);
        }
        if limits.most_per_source.is_some() {
            let number = connections.from_source(vpc, original.source);
            if is_over(limits.most_per_source, number.into()) {
                connections.record_shortage(Shortage::Source, original, None, cx.now);
                return Err(DropReason::ConnectionLimitSource);
            }
        }
    }
    match connections.make_room(cx.now) {
        Room::Free => {}
        Room::Expired => cx.counters.connections_expired.add(1),
        Room::Evicted => cx.counters.connections_evicted.add(1),
        Room::Full => {
            connections.record_shortage(Shortage::Table, original, None, cx.now);
            return Err(DropReason::ConnectionTableFull);
        }
    }
    Ok(())
}

/// Counts a connection that has begun with those of its source, where that has a limit.
#[inline(always)]
pub(super) fn count<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    id: FlowId,
    vpc: VpcIndex,
) {
    if let Some(ConnectionLimits {
        most_per_source: Some(_),
        ..
    }) = cx.tables.vpc(vpc).connection_limits()
        && !connections.count_source(id)
    {
        cx.counters.sources_uncounted.add(1);
    }
}
