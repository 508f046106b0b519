//! Law 6 over a replay: under each revision, a connection that its configuration still allows goes on with its translation, and one that
//! it forbids passes no packet any more.
//!
//! What a configuration allows is decided as for a connection that is not there: its first packet walks over the new tables, in a graph
//! without connections ([`judge`]). That is held against what the gateway decides about the connection that is there, at once; against
//! what has become of it when the next revision comes; and against every frame that leaves meanwhile ([`passing`]).
//!
//! Connections are a sample: all, as long as they lie in so many places as are looked at, else one of every so many places, others each
//! time. What cannot be decided so is counted, and not checked: see [`judge`].
//!
//! Routes that are learned change what a configuration allows as a revision does. What was decided before holds until then, and no longer: so
//! each change that routing daemons make ends the look at what was there. The last one before a revision, and others as often as there
//! is time for it, begin a look of their own ([`Continuity::is_due`]).

mod judge;
mod passing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Connections, Direction, Flow, FlowId, State, TcpState};
use rewire_dataplane::VirtualGateway;
use rewire_dataplane::buffer::MemoryPool;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::graph::{Asked, EndedByPolicy, Graph};
use rewire_tables::Tables;
use serde::Serialize;

use crate::inspect::{Found, MOST_LINES};
use judge::{Judge, Verdict};
pub(crate) use passing::Passing;

/// Connections that are looked at each time, of each address family, at most.
const MOST: u32 = 128;
/// So many frames and updates of routes pay for the look at one connection: so that looking stays a small part of a replay.
const PAID_BY: u64 = 16;
/// And one frame or update for so many places where connections may be.
const PAYS_FOR: u64 = 16;

/// How many connections were looked at, over all revisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Those of which it is known what the configuration wants.
    pub decided: u64,
    /// Those of which it is not.
    pub undecided: u64,
}

/// A connection that was there when the policy changed.
#[derive(Clone, Copy, Debug)]
struct Watched<A> {
    /// Of which worker.
    worker: u16,
    id: FlowId,
    flow: Flow<A>,
    verdict: Verdict,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Continuity {
    judge: Judge,
    four: Vec<Watched<Ipv4Addr>>,
    six: Vec<Watched<Ipv6Addr>>,
    pub(crate) passing: Passing,
    /// Since the policy changed, by worker.
    ended: HashSet<(u16, EndedByPolicy)>,
    /// Connections that had timed out, and that had made way, by then.
    gone: (u64, u64),
    /// The policy that connections were judged by last.
    generation: u64,
    /// How often that was: others of many connections are looked at each time.
    turn: u32,
    /// How many frames and updates of routes there are when the last look is paid for.
    paid_at: u64,
    pub(crate) judged: Judged,
}

impl Continuity {
    /// Whose choice among addresses of NAT is that of a gateway with this seed, and so many workers.
    pub(crate) fn new(hash_seed: u64, workers: u16) -> Continuity {
        Continuity {
            judge: Judge::new(hash_seed, workers),
            ..Continuity::default()
        }
    }

    /// Whether connections were judged by another policy than that of these tables.
    pub(crate) fn is_outdated(&self, tables: &Tables) -> bool {
        self.generation != tables.policy_generation()
    }

    /// Whether it is time for another look, after so many frames and updates of routes.
    pub(crate) fn is_due(&self, so_far: u64) -> bool {
        so_far >= self.paid_at
    }

    /// The look that was just begun is to be paid for from now on, after so many frames and updates.
    pub(crate) fn pay(&mut self, gateway: &VirtualGateway, so_far: u64) {
        let looked_at = (self.four.len() + self.six.len()) as u64;
        let places = gateway.graphs().map(|graph| {
            u64::from(graph.connections4().slots()) + u64::from(graph.connections6().slots())
        });
        self.paid_at = so_far + PAID_BY * looked_at + places.sum::<u64>() / PAYS_FOR;
    }

    /// The policy is about to change, or has changed without a packet since: which connections are there.
    pub(crate) fn before(&mut self, gateway: &mut VirtualGateway) {
        self.turn = self.turn.wrapping_add(1);
        // What comes to light later was decided under the one before.
        gateway.take_ended_by_policy();
        self.ended.clear();
        self.passing.clear();
        self.four = sample(gateway, self.turn);
        self.six = sample(gateway, self.turn);
    }

    /// The change is live: decides about these connections by its tables. Whether that is what the gateway decides about them; none
    /// where nothing has changed that connections are held against, or there are none.
    ///
    /// Cost: a walk for each connection; for each that the tables forbid, another.
    pub(crate) fn after(
        &mut self,
        gateway: &VirtualGateway,
        tables: &Tables,
    ) -> Option<Result<(), Found>> {
        let is_same = self.generation == tables.policy_generation();
        self.generation = tables.policy_generation();
        if is_same || (self.four.is_empty() && self.six.is_empty()) {
            self.four.clear();
            self.six.clear();
            return None;
        }
        self.gone = gateway.connections_gone();
        self.judge.judge(gateway, tables, &mut self.four);
        self.judge.judge(gateway, tables, &mut self.six);
        let mut wrong = Wrong::default();
        self.hold_against(gateway, &mut wrong);
        self.passing.follow(gateway);
        Some(wrong.found())
    }

    fn hold_against(&mut self, gateway: &VirtualGateway, wrong: &mut Wrong) {
        let judged = &mut self.judged;
        let decided = |judged: &mut Judged, verdict| match verdict {
            Verdict::Unknown => judged.undecided += 1,
            _ => judged.decided += 1,
        };
        for one in &self.four {
            decided(judged, one.verdict);
            if one.is_decided_alike(gateway, wrong)
                && let Verdict::Ends(_) = one.verdict
            {
                self.passing.forbid4((one.worker, one.id), &one.flow);
            }
        }
        for one in &self.six {
            decided(judged, one.verdict);
            if one.is_decided_alike(gateway, wrong)
                && let Verdict::Ends(_) = one.verdict
            {
                self.passing.forbid6((one.worker, one.id), &one.flow);
            }
        }
    }

    /// A burst has left: whether a packet of a connection that is forbidden was among it.
    pub(crate) fn burst(&mut self, gateway: &mut VirtualGateway) -> Result<(), Found> {
        if self.passing.is_empty() {
            return Ok(());
        }
        let (_, evicted) = gateway.connections_gone();
        let lines = self.passing.passed(gateway, evicted == self.gone.1);
        for ended in gateway.take_ended_by_policy() {
            self.passing.has_ended(ended);
            self.ended.insert(ended);
        }
        match lines.is_empty() {
            true => Ok(()),
            false => Err((PASSED.to_owned(), lines)),
        }
    }

    /// The policy has had its packets: whether connections have become what it wants.
    pub(crate) fn end(&mut self, gateway: &mut VirtualGateway) -> Result<(), Found> {
        self.ended.extend(gateway.take_ended_by_policy());
        let no_other_goes = self.gone == gateway.connections_gone();
        let mut wrong = Wrong::default();
        for one in &self.four {
            one.has_become(gateway, (&self.ended, false), no_other_goes, &mut wrong);
        }
        for one in &self.six {
            one.has_become(gateway, (&self.ended, true), no_other_goes, &mut wrong);
        }
        self.four.clear();
        self.six.clear();
        self.passing.clear();
        wrong.found()
    }
}

const PASSED: &str = "a packet has passed of a connection that the configuration forbids";

/// What is found wrong: the first reason, and a line for each connection.
#[derive(Default)]
struct Wrong {
    message: Option<&'static str>,
    lines: Vec<String>,
}

impl Wrong {
    fn note<A: Asked>(&mut self, message: &'static str, flow: &Flow<A>, more: &str) {
        self.message.get_or_insert(message);
        self.lines.push(format!("{flow}: {more}"));
    }

    fn found(mut self) -> Result<(), Found> {
        let Some(message) = self.message else {
            return Ok(());
        };
        let more = self.lines.len().saturating_sub(MOST_LINES);
        self.lines.truncate(MOST_LINES);
        if more > 0 {
            self.lines.push(format!("… and {more} more"));
        }
        Err((message.to_owned(), self.lines))
    }
}

impl<A: Asked> Watched<A> {
    /// Whether the gateway decides about the connection as about one that is not there.
    fn is_decided_alike(&self, gateway: &VirtualGateway, wrong: &mut Wrong) -> bool {
        let stays = gateway.with_tables(|tables| {
            let graph = graph_of(gateway, self.worker)?;
            A::stays(graph, tables, &self.flow)
        });
        match (self.verdict, stays.flatten()) {
            (Verdict::Stays, Some(false)) => {
                let message = "a connection that the configuration allows is not to go on";
                wrong.note(message, &self.flow, "a packet would begin it as it is");
                false
            }
            (Verdict::Ends(why), Some(true)) => {
                let message = "a connection that the configuration forbids is to go on";
                wrong.note(message, &self.flow, why);
                false
            }
            _ => true,
        }
    }

    /// Whether it has become what it should. Where connections have timed out or made way, one that is gone may be among them.
    fn has_become(
        &self,
        gateway: &VirtualGateway,
        (ended, is_ipv6): (&HashSet<(u16, EndedByPolicy)>, bool),
        no_other_goes: bool,
        wrong: &mut Wrong,
    ) {
        let id = self.id;
        let is_ended = ended.contains(&(self.worker, EndedByPolicy { is_ipv6, id }));
        let graph = graph_of(gateway, self.worker);
        let now = graph.and_then(|graph| A::connections(graph).flow(id));
        match (self.verdict, now) {
            (Verdict::Unknown, _) => {}
            (Verdict::Stays, _) if is_ended => {
                let message = "a connection that the configuration allows was ended";
                wrong.note(message, &self.flow, "a packet would begin it as it is");
            }
            (Verdict::Stays, Some(now)) => {
                let ends = |flow: &Flow<A>| (flow.original, flow.reply, flow.route_vpc);
                if ends(&now) != ends(&self.flow) {
                    let message = "a connection has another translation than before";
                    wrong.note(message, &self.flow, &format!("now {now}"));
                }
            }
            (Verdict::Stays, None) => {
                let keys = [&self.flow.original, &self.flow.reply];
                // Its time may have been up when another took its place, or its end has begun a new one.
                let is_replaced = gateway.graphs().any(|graph| {
                    let connections = A::connections(graph);
                    keys.iter()
                        .any(|key| connections.lookup(key, Instant(0)).is_some())
                });
                let is_tcp = matches!(self.flow.state, State::Tcp(_));
                if no_other_goes && !is_replaced && !is_tcp {
                    let message = "a connection that the configuration allows is gone";
                    wrong.note(
                        message,
                        &self.flow,
                        "none has timed out, and none has made way",
                    );
                }
            }
            (Verdict::Ends(why), Some(now)) => {
                let packets = |flow: &Flow<A>| {
                    let ways = [Direction::Original, Direction::Reply];
                    ways.map(|way| flow.traffic(way).packets)
                };
                if packets(&now) != packets(&self.flow) {
                    wrong.note(PASSED, &self.flow, why);
                }
            }
            (Verdict::Ends(_), None) => {}
        }
    }
}

/// A worker's graph.
fn graph_of(gateway: &VirtualGateway, worker: u16) -> Option<&Graph<MemoryPool>> {
    gateway.graphs().nth(worker.into())
}

/// Connections that are neither over nor timed out: one of every so many places of each worker.
fn sample<A: Asked>(gateway: &VirtualGateway, turn: u32) -> Vec<Watched<A>> {
    let most = MOST.div_ceil(gateway.graphs().count().max(1) as u32);
    let workers = (0..).zip(gateway.graphs());
    let sampled = workers.flat_map(|(worker, graph)| {
        sample_of(A::connections(graph), (turn, most), gateway.now()).map(move |(id, flow)| {
            Watched {
                worker,
                id,
                flow,
                verdict: Verdict::Unknown,
            }
        })
    });
    sampled.collect()
}

/// Connections of one worker, at most so many.
fn sample_of<A: Asked>(
    connections: &Connections<A>,
    (turn, most): (u32, u32),
    now: Instant,
) -> impl Iterator<Item = (FlowId, Flow<A>)> {
    let slots = connections.slots();
    let each = slots.div_ceil(most).max(1);
    // Where in each part it begins differs from turn to turn, over all of it: a step of the golden section.
    let first = ((u64::from(turn.wrapping_mul(0x9e37_79b9)) * u64::from(each)) >> 32) as u32;
    let parts = (0..slots).step_by(each as usize);
    parts.filter_map(move |part| {
        let places = part + first..part.saturating_add(each);
        let (_, id) = connections.next_connection(places, now)?;
        let flow = connections.flow(id)?;
        let over = [TcpState::LastAck, TcpState::TimeWait, TcpState::Closed];
        let is_over = matches!(flow.state, State::Tcp(state) if over.contains(&state));
        (!is_over).then_some((id, flow))
    })
}
