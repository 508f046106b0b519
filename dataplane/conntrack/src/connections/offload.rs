//! How connections are handed to a card, and taken back.
//!
//! A connection that is offloaded keeps its slot, its keys and its mapping until the card has confirmed that its rules are
//! gone, even if it has ended: nothing that a rule in the card would translate is anybody else's.

use rewire_tables::Address;

use super::{Connections, tick};
use crate::flow::FlowId;
use crate::key::Direction;
use crate::offload::{
    Actions, Leaving, Merged, OffloadCounts, Offloading, Offloads, Path, Pattern, Phase, Refusal,
    Report, Request, Rule, STRAY_AFTER, Usage, WorkerQueue,
};
use crate::recording::ReportReason;
use crate::records::{Record, flag};
use crate::state::{Exchange, State};
use crate::tcp::TcpState;
use crate::time::{Deadline, Instant};

/// Reports that are taken in one call, at most.
const REPORTS: usize = 256;

/// So many ticks before its time is up, a connection is taken back: so it ends like any other, or goes on, if the card has
/// forwarded packets of it that were not told yet.
pub(super) const TICKS_AHEAD: u64 = 2;

/// Whether packets of a state may pass unseen.
fn is_established(state: State) -> bool {
    matches!(
        state,
        State::Tcp(TcpState::Established) | State::Udp(Exchange::Replied)
    )
}

/// What a card does with packets of a direction.
fn rule<A: Address>(
    record: &Record<A>,
    direction: Direction,
    path: &Path,
    offloading: &Offloading,
) -> Rule {
    let arriving = record.key(direction);
    let answered = record.key(direction.other());
    Rule {
        pattern: Pattern {
            ingress: path.ingress,
            mac: path.ingress_mac,
            protocol: arriving.protocol,
            source: (arriving.source.into(), arriving.source_port),
            destination: (arriving.destination.into(), arriving.destination_port),
            longest: path.longest,
        },
        actions: Actions {
            source: (answered.destination.into(), answered.destination_port),
            destination: (answered.source.into(), answered.source_port),
            source_mac: path.source_mac,
            destination_mac: path.destination_mac,
            egress: path.egress,
        },
        idle_after: offloading.idle_after,
    }
}

impl<A: Address> Connections<A> {
    /// Gives connections a card, behind this queue: they are handed to it from now on, as long as
    /// [`set_offloading`](Self::set_offloading) does not say otherwise. Reserves room for as many flows as it has places for.
    pub fn enable_offload(&mut self, queue: WorkerQueue, offloading: Offloading) {
        let offloads = Offloads::new(self.records.capacity(), queue, offloading);
        self.offloads = Some(Box::new(offloads));
        self.is_offloading = true;
    }

    /// Whether there is a card to hand connections to.
    #[inline]
    pub fn has_offload(&self) -> bool {
        self.offloads.is_some()
    }

    /// Says whether connections are offered to the card, where there is one. Those that it has stay with it.
    pub fn set_offloading(&mut self, is_offloading: bool) {
        self.is_offloading = is_offloading && self.has_offload();
    }

    /// Whether connections are offered to the card.
    #[inline]
    pub fn is_offloading(&self) -> bool {
        self.is_offloading
    }

    /// Whether a direction should be offered to the card with the packet that was counted last.
    #[inline]
    pub fn is_offload_due(&self, id: FlowId, direction: Direction) -> bool {
        let Some(offloads) = &self.offloads else {
            return false;
        };
        let packets = self.records.account(id.0.slot).packets(direction);
        match packets.checked_sub(offloads.offloading.packets) {
            Some(since) => since % offloads.offloading.again == 0,
            None => false,
        }
    }

    /// Whether a connection has, or is about to have, rules in the card.
    pub fn is_offloaded(&self, id: FlowId) -> bool {
        let record = self.records.get(id.0);
        record.is_some_and(|record| record.has(flag::OFFLOADED))
    }

    /// Asks for a rule for one direction of a connection, if it is established and has none. Never waits: where there is no
    /// room, the connection stays in software, and is offered again when
    /// [`is_offload_due`](Self::is_offload_due) says so.
    pub fn offload(&mut self, id: FlowId, direction: Direction, path: &Path, now: Instant) {
        let (Some(offloads), Some((record, account))) =
            (&mut self.offloads, self.records.get_mut(id.0))
        else {
            return;
        };
        let is_offloaded = record.has(flag::OFFLOADED);
        if !is_established(record.state) {
            return;
        }
        let index = match is_offloaded {
            true => offloads.index_of(id.0.slot),
            false => match offloads.take(id.0) {
                Some(index) => index,
                None => {
                    offloads.counts.places_full += 1;
                    return;
                }
            },
        };
        let entry = offloads.entry_mut(index);
        let offload = &mut entry.directions[direction as usize];
        match offload.phase {
            Phase::Free if entry.leaving.is_none() => {}
            Phase::Installed if now.duration_since(offload.since) >= STRAY_AFTER => {
                offloads.counts.strays += 1;
                self.release(id.0.slot, Leaving::Stays, None, now);
                return;
            }
            _ => return,
        }
        offload.serial = offload.serial.wrapping_add(1);
        let rule = rule(record, direction, path, &offloads.offloading);
        let request = Request::Install {
            id: offloads.rule_id(index, direction),
            rule,
            decided: now,
        };
        if offloads.queue.requests.push(request).is_err() {
            offloads.counts.ring_full += 1;
            if !is_offloaded {
                offloads.give_back(index);
            }
            return;
        }
        offloads.counts.installs += 1;
        offloads.counts.taken += u64::from(!is_offloaded);
        let offload = &mut offloads.entry_mut(index).directions[direction as usize];
        offload.phase = Phase::Installing;
        offload.since = now;
        offload.path = Some(*path);
        (offload.packets, offload.bytes) = (0, 0);
        record.set(flag::OFFLOADED, true);
        if let State::Tcp(_) = record.state {
            account.set_bypassed();
        }
    }

    /// Takes in what the engine reports, and asks again for what there was no room for. Call it once a burst, before packets
    /// are looked up. Tells of all packets that the card has forwarded.
    pub fn run_offload(&mut self, now: Instant, mut merged: impl FnMut(Merged)) {
        if self.offloads.is_none() {
            return;
        }
        for _ in 0..REPORTS {
            let Some(offloads) = &mut self.offloads else {
                return;
            };
            let Ok(report) = offloads.queue.reports.pop() else {
                break;
            };
            self.take_report(report, now, &mut merged);
        }
        while let Some(offloads) = &mut self.offloads
            && let Some(index) = offloads.waiting.pop_front()
        {
            offloads.entry_mut(index).is_waiting = false;
            if !self.go_on(index, now) {
                break;
            }
        }
    }

    fn take_report(&mut self, report: Report, now: Instant, merged: &mut impl FnMut(Merged)) {
        let (Report::Installed(id)
        | Report::NotInstalled(id, _)
        | Report::Removed(id, _)
        | Report::Idle(id)
        | Report::Used(id, _)) = report;
        let Some(offloads) = &mut self.offloads else {
            return;
        };
        let Some((index, direction)) = offloads.find(id) else {
            return;
        };
        let entry = offloads.entry_mut(index);
        let offload = &mut entry.directions[direction as usize];
        match report {
            Report::Installed(_) if offload.phase == Phase::Installing => {
                offload.phase = Phase::Installed;
                offload.since = now;
                offloads.counts.installed += 1;
                offloads.counts.rules += 1;
            }
            Report::NotInstalled(_, refusal) if offload.phase == Phase::Installing => {
                offload.phase = Phase::Free;
                offload.path = None;
                match refusal {
                    Refusal::TableFull => offloads.counts.card_full += 1,
                    _ => offloads.counts.refused += 1,
                }
            }
            Report::Removed(_, usage) if offload.phase == Phase::Removing => {
                self.merge(index, direction, usage, now, merged);
                if let Some(offloads) = &mut self.offloads {
                    let offload = &mut offloads.entry_mut(index).directions[direction as usize];
                    offload.phase = Phase::Free;
                    offload.path = None;
                    offloads.counts.removed += 1;
                    offloads.counts.rules -= 1;
                }
            }
            Report::Idle(_) if offload.phase == Phase::Installed => {
                let slot = entry.flow.map(|flow| flow.slot);
                if let Some(slot) = slot {
                    self.release(slot, Leaving::Stays, None, now);
                }
                return;
            }
            Report::Used(_, usage) => {
                self.merge(index, direction, usage, now, merged);
                return;
            }
            _ => return,
        }
        self.go_on(index, now);
    }

    /// Merges what a rule has done into its flow.
    fn merge(
        &mut self,
        index: u32,
        direction: Direction,
        usage: Usage,
        now: Instant,
        merged: &mut impl FnMut(Merged),
    ) {
        let Some(offloads) = &mut self.offloads else {
            return;
        };
        let entry = offloads.entry_mut(index);
        let offload = &mut entry.directions[direction as usize];
        // What a driver counts back is not believed.
        let packets = usage.packets.saturating_sub(offload.packets);
        let bytes = usage.bytes.saturating_sub(offload.bytes);
        let (Some(id), Some(path)) = (entry.flow, offload.path) else {
            return;
        };
        if packets == 0 {
            return;
        }
        (offload.packets, offload.bytes) = (usage.packets, usage.bytes);
        let void_until = entry.void_until;
        let is_over = entry.leaving == Some(Leaving::Ends);
        offloads.counts.packets += packets;
        offloads.counts.bytes += bytes;
        let Some((record, account)) = self.records.get_mut(id) else {
            return;
        };
        account.count_all(direction, packets, bytes);
        let last = usage.last.unwrap_or(now);
        if !is_over && void_until.is_none_or(|until| last > until) {
            let timeout = self.timeouts.of(record.timeouts, record.state);
            let expires = Deadline::after(last, timeout);
            if record.expires.is_before(expires) {
                record.expires = expires;
            }
        }
        let flow = FlowId(id);
        merged(Merged {
            flow,
            direction,
            path,
            packets,
            bytes,
        });
    }

    /// Takes a connection's rules out of the card because they do not say any more what the tables do; without effect where it
    /// has none.
    pub fn take_outdated_back(&mut self, id: FlowId, now: Instant) {
        if let Some(offloads) = &mut self.offloads {
            offloads.counts.outdated += 1;
        }
        self.take_back(id, now);
    }

    /// Takes a connection's rules out of the card; without effect where it has none.
    pub fn take_back(&mut self, id: FlowId, now: Instant) {
        if self.is_offloaded(id) {
            self.release(id.0.slot, Leaving::Stays, None, now);
        }
    }

    /// Lets the rules of an offloaded flow be removed. Packets that the card has forwarded until `void_until` do not prolong the
    /// flow.
    #[cold]
    pub(super) fn release(
        &mut self,
        slot: u32,
        leaving: Leaving,
        void_until: Option<Instant>,
        now: Instant,
    ) {
        let Some(offloads) = &mut self.offloads else {
            return;
        };
        let index = offloads.index_of(slot);
        let entry = offloads.entry_mut(index);
        entry.leaving = entry.leaving.max(Some(leaving));
        entry.void_until = entry.void_until.max(void_until);
        self.go_on(index, now);
    }

    /// Does what comes next for an offloaded flow: asks for the removal of its rules, if it is leaving; lets it go once none is
    /// left. False where there is no room to ask: it waits then.
    fn go_on(&mut self, index: u32, now: Instant) -> bool {
        let Some(offloads) = &mut self.offloads else {
            return true;
        };
        let Some(id) = offloads.entry(index).flow else {
            return true;
        };
        if offloads.entry(index).leaving.is_some() {
            for direction in [Direction::Original, Direction::Reply] {
                let id = offloads.rule_id(index, direction);
                if offloads.entry(index).directions[direction as usize].phase != Phase::Installed {
                    continue;
                }
                let request = Request::Remove { id, decided: now };
                if offloads.queue.requests.push(request).is_err() {
                    let entry = offloads.entry_mut(index);
                    if !std::mem::replace(&mut entry.is_waiting, true) {
                        offloads.waiting.push_back(index);
                    }
                    return false;
                }
                offloads.counts.removals += 1;
                let offload = &mut offloads.entry_mut(index).directions[direction as usize];
                offload.phase = Phase::Removing;
                offload.since = now;
            }
        }
        if offloads.entry(index).has_rules() {
            return true;
        }
        let has_ended = offloads.entry(index).leaving == Some(Leaving::Ends);
        offloads.give_back(index);
        let record = self.records.used_mut(id.slot);
        record.set(flag::OFFLOADED, false);
        let expires = record.expires;
        match has_ended {
            true => self.remove_slot(id.slot),
            false => self.sweep.schedule(id.slot, tick(expires.instant(now))),
        }
        true
    }

    /// Looks at the time-out of an offloaded connection.
    #[cold]
    pub(super) fn expire_offloaded(&mut self, slot: u32, now: Instant) {
        let expires = tick(self.records.used(slot).expires.instant(now));
        let look = expires.saturating_sub(TICKS_AHEAD);
        if look > tick(now) {
            self.sweep.schedule(slot, look);
        } else {
            // It is looked at again once it is back.
            self.sweep.schedule(slot, u64::MAX);
            self.release(slot, Leaving::Stays, None, now);
        }
    }

    /// Ends a connection whose rules are still in the card: from now on nothing finds it, and once they are gone it is, too.
    #[cold]
    pub(super) fn end_offloaded(&mut self, slot: u32) {
        let now = self.latest;
        if self.is_recording() {
            self.note_end(slot, ReportReason::Forced);
        }
        let record = self.records.used_mut(slot);
        record.expires = Deadline::past(now);
        record.set(flag::WHOLE, false);
        self.release(slot, Leaving::Ends, None, now);
    }

    /// How many places for offloaded flows have been in use.
    pub fn offload_places(&self) -> usize {
        self.offloads.as_ref().map_or(0, |offloads| offloads.len())
    }

    /// The flow in one of the places, and what its rules were installed with, of either direction. None where no flow is there
    /// whose rules should stay.
    pub fn offloaded(&self, place: usize) -> Option<(FlowId, [Option<Path>; 2])> {
        let offloads = self.offloads.as_ref()?;
        if place >= offloads.len() {
            return None;
        }
        let entry = offloads.entry(place as u32);
        let flow = entry.flow.filter(|_| entry.leaving.is_none())?;
        Some((FlowId(flow), entry.directions.map(|offload| offload.path)))
    }

    /// What has become of offloads; all zero where there is no card.
    pub fn offload_counts(&self) -> OffloadCounts {
        let offloads = self.offloads.as_ref();
        offloads.map_or_else(Default::default, |offloads| offloads.counts)
    }
}
