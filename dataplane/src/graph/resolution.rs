//! Resolution: connections that are older than the policy are held against it again (law 6). A packet does that with its
//! own connection; a sweep does it with all of them, a few in each burst, so that what is forbidden ends although none of
//! its packets comes here: none is sent, or a card forwards them.

use std::time::Duration;

use rewire_conntrack::{Admission, Connections, Flow, FlowId};
use rewire_tables::acl::RuleCounters;
use rewire_tables::{Filtering, Tables};

use super::context::Context;
use super::family::Family;
use super::ingress_nat::note_counters;
use super::nat_policy::Leaving;
use super::{acl_policy, filtering, nat_policy, nat64};
use crate::counters::WorkerCounters;

/// Connections that the sweep resolves in a burst with packets, at most: a microsecond or so.
const RESOLVED_IN_BURST: usize = 4;
/// Places that the sweep looks at in a burst with packets, at most.
const SLOTS_IN_BURST: u32 = 64;
/// How much more it does where no packet waits.
const IDLE_FACTOR: u32 = 16;

/// A connection that a change of policy has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndedByPolicy {
    /// Of which address family's table.
    pub is_ipv6: bool,
    /// Which one.
    pub id: FlowId,
}

/// How a policy allows a connection.
pub(super) struct Admitted {
    admission: Admission,
    counters: RuleCounters,
    idle_timeout: Option<Duration>,
    lets_in: Filtering,
}

/// How the policy of these tables allows a connection that is there, if it does. `leads` says where it would leave, with the
/// translation that it has; it is not asked about one of NAT64.
#[inline]
pub(super) fn admits<A: Family>(
    tables: &Tables,
    flow: &Flow<A>,
    leads: impl FnOnce() -> Option<Leaving>,
) -> Option<Admitted> {
    if let Some(flow) = A::nat64_flow(flow) {
        let admits = nat64::still_admits(tables, flow)?;
        return Some(Admitted {
            admission: admits.admission,
            counters: admits.counters,
            idle_timeout: admits.idle_timeout,
            lets_in: admits.lets_in,
        });
    }
    let leaving = leads()?;
    let (admission, counters) = acl_policy::still_admits(tables, flow, leaving)?;
    Some(Admitted {
        admission,
        counters,
        idle_timeout: leaving.idle_timeout,
        lets_in: leaving.filtering,
    })
}

/// Holds a connection against the policy of this generation, if that was not done. Whether it is allowed still: then it goes
/// on, with its translation. Any other has ended when this returns.
///
/// Every change of policy reaches every connection through here, once for each connection: by its next packet, or by
/// [`Sweep`].
pub(super) fn resolve<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    id: FlowId,
    flow: &Flow<A>,
) -> bool {
    let current = cx.tables.policy_generation();
    if flow.is_resolved_under(current) {
        return true;
    }
    let is_offloaded = connections.is_offloaded(id);
    let admitted = admits(cx.tables, flow, || match flow.is_joined {
        false => nat_policy::still_leads(cx.tables, &cx.steering, flow),
        true => filtering::still_leads(cx, connections, flow),
    });
    let is_let_in = |_: &Admitted| match A::nat64_flow(flow) {
        Some(of_nat64) if flow.is_joined => nat64::needed_filtering(cx.tables, of_nat64)
            .is_some_and(|needed| filtering::lets_in(cx, connections, needed, &flow.original)),
        _ => true,
    };
    let admitted = admitted.filter(is_let_in);
    match admitted {
        Some(Admitted {
            mut admission,
            counters,
            idle_timeout,
            lets_in,
        }) => {
            let vpc = cx.tables.vpc(flow.original.vpc);
            admission.timeouts = connections.timeout_class(vpc.timeouts(), idle_timeout);
            connections.set_policy_generation(id, current, admission);
            note_counters(cx, connections, id, counters);
            if lets_in != Filtering::default() {
                connections.open_mapping(id);
            }
            cx.counters.connections_kept.add(1);
        }
        None => {
            connections.remove(id);
            cx.counters.connections_ended_by_policy.add(1);
            if let Some(ended) = cx.ended {
                let is_ipv6 = A::BITS == 128;
                ended.borrow_mut().push(EndedByPolicy { is_ipv6, id });
            }
        }
    }
    let resolutions = &cx.counters.resolutions;
    resolutions.count(flow.policy_generation, admitted.is_some(), is_offloaded);
    admitted.is_some()
}

/// A round over all places, which began somewhere among them.
#[derive(Clone, Copy, Debug)]
struct Round {
    began_at: u32,
    /// Whether it has come to the last place, and gone on with the first.
    is_back: bool,
}

impl Round {
    /// The places that it has not seen, when it has come to `position` of so many.
    fn left(self, position: u32, slots: u32) -> u32 {
        match self.is_back {
            true => self.began_at.saturating_sub(position),
            false => slots.saturating_sub(position) + self.began_at,
        }
    }
}

/// Where the sweep over one worker's connections of one family is. Another change of policy lets it go on from where it is,
/// and once round: with a feed of routes there is a new generation every millisecond, and one that began anew each time would
/// never see the last connections.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    position: u32,
    /// What is left until all connections are resolved under the newest policy.
    newest: Option<Round>,
    /// What is left until all were, under one that is not older than the last revision's.
    revision: Option<Round>,
}

impl Sweep {
    /// The policy has changed; by another revision, or by what was learned.
    pub(super) fn begin(&mut self, is_revision: bool) {
        let round = Round {
            began_at: self.position,
            is_back: false,
        };
        self.newest = Some(round);
        if is_revision {
            self.revision = Some(round);
        }
    }

    /// Whether there is nothing to do.
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        self.newest.is_none()
    }

    /// Connections that nobody has looked at since the last revision changed the policy, at most.
    pub(super) fn left<A: Family>(&self, connections: &Connections<A>) -> u64 {
        let left = |round: Round| round.left(self.position, connections.slots());
        let left = self.revision.map_or(0, left) as usize;
        left.min(connections.len()) as u64
    }

    /// Resolves a few connections; more where no packet waits.
    pub(super) fn run<A: Family>(
        &mut self,
        cx: &Context<'_>,
        connections: &mut Connections<A>,
        is_idle: bool,
    ) {
        let factor = if is_idle { IDLE_FACTOR } else { 1 };
        let mut room = SLOTS_IN_BURST * factor;
        let generation = cx.tables.policy_generation();
        for _ in 0..RESOLVED_IN_BURST * factor as usize {
            let slots = connections.slots();
            if connections.is_empty() {
                (self.newest, self.revision) = (None, None);
            }
            let Some(left) = self.newest.map(|round| round.left(self.position, slots)) else {
                return;
            };
            // To the last place, or to the end of the round, or as far as may be in one burst.
            let end = self.position + left.min(slots.saturating_sub(self.position)).min(room);
            let found = connections.next_unresolved(self.position..end, generation, cx.now);
            let position = found.map_or(end, |(slot, _)| slot + 1);
            room -= position - self.position;
            self.go_on(position, slots);
            if let Some((_, id)) = found
                && let Some(flow) = connections.flow(id)
            {
                resolve(cx, connections, id, &flow);
            }
            if room == 0 {
                return;
            }
        }
    }

    fn go_on(&mut self, position: u32, slots: u32) {
        self.position = position;
        for round in [&mut self.newest, &mut self.revision] {
            *round = round.filter(|round| round.left(position, slots) > 0);
        }
        if position >= slots {
            self.position = 0;
            for round in [&mut self.newest, &mut self.revision].into_iter().flatten() {
                round.is_back = true;
            }
        }
    }
}

/// Tells the sweeps, and whoever counts, that the policy has changed.
pub(super) fn begin<const N: usize>(
    tables: &Tables,
    counters: &WorkerCounters,
    sweeps: [&mut Sweep; N],
) {
    let resolutions = &counters.resolutions;
    let is_revision = resolutions.revision() != tables.revision();
    for sweep in sweeps {
        sweep.begin(is_revision);
    }
    if is_revision {
        resolutions.begin(tables.revision(), tables.policy_generation());
    }
}
