//! How connections are told of to a [`Recorder`]. Without one, that costs a branch where a connection begins, one where it ends,
//! and one a burst.

use rewire_packet::tcp::TcpFlags;
use rewire_tables::{Address, InterfaceIndex};

use super::Connections;
use crate::flow::FlowId;
use crate::key::{Direction, FlowKey};
use crate::recording::{
    FlowEvent, FlowRecord, FlowReport, FlowStep, Recorder, ReportReason, Shortage, Told, ends_of,
};
use crate::records::{Account, Record, flag};
use crate::state::State;
use crate::tcp::TcpState;
use crate::time::Instant;

/// Slots that are looked at in one call, at most.
const SLOTS_PER_CALL: u32 = 128;
/// Connections that are told of in one call, at most.
const REPORTS_PER_CALL: usize = 16;
/// How long a round over all slots takes, at least, in ns: how exact an interval is.
const ROUND: u64 = 1 << 30;

/// Whether the ends of a connection have said that it is over.
fn is_over(state: State) -> bool {
    matches!(state, State::Tcp(TcpState::TimeWait | TcpState::Closed))
}

/// The control bits that a connection has seen, as far as it remembers: SYN where it was not picked up in its middle, ACK where the
/// handshake went on, FIN, and RST where that has closed it.
fn tcp_flags(state: State, account: &Account) -> u8 {
    let State::Tcp(state) = state else { return 0 };
    let memory = account.tcp();
    let has_fin = [Direction::Original, Direction::Reply]
        .iter()
        .any(|direction| memory.fins.is_sent(*direction));
    let is_asked = matches!(state, TcpState::SynSent | TcpState::SynSent2);
    let seen = [
        (is_asked || !memory.is_picked_up(), TcpFlags::SYN),
        (!is_asked, TcpFlags::ACK),
        (has_fin, TcpFlags::FIN),
        (state == TcpState::Closed, TcpFlags::RST),
    ];
    let seen = seen.iter().filter(|(is_seen, _)| *is_seen);
    seen.fold(0, |flags, (_, flag)| flags | flag.0)
}

fn record_of<A: Address>(
    record: &Record<A>,
    account: &Account,
    egress: Option<InterfaceIndex>,
    step: FlowStep,
) -> FlowRecord {
    let [original, reply] = ends_of(&record.original, &record.reply);
    let icmp = match record.state {
        State::Icmp(_) if record.has(flag::PORTS) => account.ports().1,
        _ => 0,
    };
    FlowRecord {
        step,
        protocol: record.original.protocol,
        original,
        reply,
        ingress: record.ingress,
        egress,
        icmp,
        state: record.state,
        tcp_flags: tcp_flags(record.state, account),
        is_mapped: record.has(flag::MAPPED),
        is_joined: record.has(flag::OPEN) && account.is_joined(),
    }
}

impl<A: Address> Connections<A> {
    /// Tells a recorder of connections from now on; the one before, if there was one, is given back. Those that are there are told of
    /// with what they do from now on.
    pub fn record(&mut self, recorder: Option<Box<Recorder>>) -> Option<Box<Recorder>> {
        std::mem::replace(&mut self.recorder, recorder)
    }

    /// Whether somebody is told of connections.
    #[inline]
    pub fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    /// Tells of a connection that has just begun, and of the interface that it leaves by. To be called for each while
    /// [`is_recording`](Self::is_recording), with [`insert`](Self::insert) and what belongs to that.
    #[cold]
    pub fn record_begin(&mut self, id: FlowId, egress: InterfaceIndex) {
        let (Some(recorder), Some(record)) = (&mut self.recorder, self.records.get(id.0)) else {
            return;
        };
        let (slot, now) = (id.0.slot, self.latest);
        *recorder.told_mut(slot) = Told::beginning(id.0.reuse, egress, now);
        let is_translated = record.reply.source != record.original.destination
            || record.reply.destination != record.original.source
            || record.reply.source_port != record.original.destination_port
            || record.reply.destination_port != record.original.source_port;
        if is_translated {
            let account = self.records.account(slot);
            let mapping = record.has(flag::MAPPED) && record.next == slot;
            let step = FlowStep::Begins { mapping };
            let told = record_of(record, account, Some(egress), step);
            recorder.push(now, FlowEvent::Flow(told));
        }
    }

    /// Takes a connection back that was just [inserted](Self::insert) and is none after all: nobody is told of it.
    pub fn undo_insert(&mut self, id: FlowId) {
        let recorder = self.recorder.take();
        self.remove(id);
        self.recorder = recorder;
    }

    /// Tells that a connection could not begin, and why. `external` is the first of the addresses that have no port left.
    pub fn record_shortage(
        &mut self,
        shortage: Shortage,
        key: &FlowKey<A>,
        external: Option<A>,
        now: Instant,
    ) {
        if let Some(recorder) = &mut self.recorder {
            recorder.refuse(shortage, key, external, now);
        }
    }

    /// Notes why a connection will end, where its time-out does not say so.
    #[cold]
    pub(super) fn note_end(&mut self, slot: u32, reason: ReportReason) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let reuse = self.records.used(slot).reuse;
        let traffic = self.records.account(slot).traffic();
        let told = recorder.told_mut(slot);
        if told.reuse != reuse {
            *told = Told::older(reuse, traffic, self.latest);
        }
        told.end = Some(reason);
    }

    /// Tells of a connection that is about to leave its slot, and its mapping.
    #[cold]
    pub(super) fn record_end(&mut self, slot: u32) {
        let now = self.latest;
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let (record, account) = (self.records.used(slot), self.records.account(slot));
        let traffic = account.traffic();
        let told = recorder.told_mut(slot);
        if told.reuse != record.reuse {
            *told = Told::older(record.reuse, traffic, now);
        }
        let told = *told;
        let reason = match told.end {
            Some(reason) => reason,
            None if !record.expires.is_over(now) => ReportReason::Forced,
            None if is_over(record.state) => ReportReason::Finished,
            None => ReportReason::Idle,
        };
        let left = told.left(traffic);
        let has_more = left.iter().any(|traffic| traffic.packets > 0);
        let timeout = self.timeouts.of(record.timeouts, record.state).duration();
        let expires = record.expires.instant(now).0;
        let last = Instant(expires.saturating_sub(timeout.as_nanos() as u64)).min(now);
        let report = FlowReport {
            reason,
            since: told.since(),
            last: last.max(told.since()),
            traffic: left,
        };
        let step = FlowStep::Ends {
            report: (has_more || !told.is_over).then_some(report),
            mapping: record.has(flag::MAPPED) && record.next == slot,
        };
        let record = record_of(record, account, told.egress(), step);
        // Nothing to say of what has been said to be over, and had no translation.
        if report_is_due(&record) {
            recorder.push(now, FlowEvent::Flow(record));
        }
    }

    /// Reports connections that go on and are due, a few in each call: to be called once a burst.
    #[cold]
    pub(super) fn record_some(&mut self, now: Instant) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let slots = self.records.slots();
        if recorder.position >= slots {
            if now.0.saturating_sub(recorder.round_began.0) < ROUND {
                return;
            }
            recorder.round_began = now;
            recorder.position = 0;
        }
        let end = (recorder.position + SLOTS_PER_CALL).min(slots);
        let mut room = REPORTS_PER_CALL;
        while recorder.position < end && room > 0 {
            let slot = recorder.position;
            recorder.position += 1;
            let Some(record) = self.records.get_used(slot) else {
                continue;
            };
            let account = self.records.account(slot);
            let told = recorder.told_mut(slot);
            if told.reuse != record.reuse {
                *told = Told::older(record.reuse, account.traffic(), now);
                continue;
            }
            let is_over = is_over(record.state);
            // One that is over begins anew where its ends say so.
            told.is_over &= is_over;
            let is_news = is_over && !told.is_over;
            let (since, egress) = (told.since(), told.egress());
            if !is_news && !recorder.is_due(since, now) {
                continue;
            }
            let traffic = account.traffic();
            let told = recorder.told_mut(slot);
            let left = told.left(traffic);
            if !is_news && left.iter().all(|traffic| traffic.packets == 0) {
                told.tell(traffic, now);
                continue;
            }
            let timeout = self.timeouts.of(record.timeouts, record.state).duration();
            let expires = record.expires.instant(now).0;
            let last = Instant(expires.saturating_sub(timeout.as_nanos() as u64)).min(now);
            let step = FlowStep::Report(FlowReport {
                reason: match is_over {
                    true => ReportReason::Finished,
                    false => ReportReason::Interval,
                },
                since,
                last: last.max(since),
                traffic: left,
            });
            let event = FlowEvent::Flow(record_of(record, account, egress, step));
            if !recorder.offer(now, event) {
                // Nothing is lost: it is told with the next round.
                return;
            }
            let told = recorder.told_mut(slot);
            told.tell(traffic, now);
            told.is_over = is_over;
            room -= 1;
        }
    }
}

/// Whether the end of a connection has anything to say.
fn report_is_due(record: &FlowRecord) -> bool {
    match record.step {
        FlowStep::Ends { report, mapping } => report.is_some() || mapping || record.is_translated(),
        FlowStep::Begins { .. } | FlowStep::Report(_) => true,
    }
}
