//! Packets between two revisions: bursts, pauses, and what runs in them.

use std::time::Duration;

use rewire_dataplane::buffer::{MemoryBuffer, PacketBuffer};
use rewire_dataplane::clock::Instant;
use rewire_tables::InterfaceIndex;

use super::{Replay, checking};
use crate::check::Check;
use crate::error::ReplayError;
use crate::pace::When;
use crate::traffic::Traffic;

/// The longest time between a burst's first packet and its last.
const BURST_TIME: Duration = Duration::from_micros(100);
/// How often timers run in a pause.
const TICK: Duration = Duration::from_millis(100);
/// How long they do. Longer than a neighbor may take to answer.
const SETTLE: Duration = Duration::from_secs(5);

impl Replay<'_> {
    /// Tells the traffic what is live, and learns which interfaces it may come in by.
    pub(super) fn follow(&mut self, traffic: &mut dyn Traffic) {
        traffic.follow(self.compiler.configuration(), &self.gateway);
        self.ports.enter(traffic.interfaces());
    }

    /// Plays packets: until the next revision is due, or to the end.
    pub(super) fn play(
        &mut self,
        traffic: &mut dyn Traffic,
        until: Option<When>,
    ) -> Result<(), ReplayError> {
        let mut burst: Vec<(InterfaceIndex, MemoryBuffer)> = Vec::with_capacity(self.options.burst);
        while let Some(first) = traffic.next_time() {
            let before = self.given;
            let mut most = self.options.burst.max(1) as u64;
            let mut deadline = first.saturating_add(BURST_TIME.as_nanos() as u64);
            match until {
                Some(When::Packets(number)) => {
                    most = most.min(number.saturating_sub(self.given));
                }
                Some(When::Time(time)) if time <= first => break,
                Some(When::Time(time)) => deadline = deadline.min(time - 1),
                None => {}
            }
            if most == 0 {
                break;
            }
            self.hear_until(first, traffic)?;
            if let Some(next) = self.next_heard() {
                deadline = deadline.min(next - 1);
            }
            let mut last = first;
            let mut taken = 0;
            while taken < most && traffic.next_time().is_some_and(|time| time <= deadline) {
                let mut bytes = MemoryBuffer::spare().into_bytes();
                let Some(arrival) = traffic.take(&mut bytes)? else {
                    break;
                };
                taken += 1;
                self.given += 1;
                last = arrival.nanoseconds;
                self.arrive(traffic, arrival.entrance, bytes, &mut burst);
            }
            self.exit.after = before;
            self.pause_until(Instant(last.saturating_sub(self.beginning)), traffic)?;
            self.exit.after = self.given;
            if self.exit.departures.is_some() {
                self.exit.bursts.push(self.given);
            }
            self.bursts += 1;
            self.step(&mut burst, traffic)?;
        }
        if let Some(When::Time(time)) = until {
            // What was committed before the first packet is live with it.
            let time = Instant(time.saturating_sub(self.beginning));
            if time > self.gateway.now() {
                self.pause_until(time, traffic)?;
            }
        }
        Ok(())
    }

    /// A frame comes in: into the burst, if the interface is there and up.
    pub(super) fn arrive(
        &mut self,
        traffic: &dyn Traffic,
        entrance: usize,
        mut bytes: Vec<u8>,
        burst: &mut Vec<(InterfaceIndex, MemoryBuffer)>,
    ) {
        if self.ports.of_entrance(entrance).is_none() {
            // A capture may name another interface at any time.
            self.ports.enter(traffic.interfaces());
        }
        let Some(port) = self.ports.of_entrance(entrance) else {
            self.undelivered += 1;
            drop(MemoryBuffer::new(bytes));
            return;
        };
        // The first bit on the wire says that a frame is for several stations: those stay.
        if self.options.any_mac
            && let Some(destination) = bytes.first_chunk_mut::<6>()
            && destination[0] & 1 == 0
        {
            *destination = port.mac;
        }
        burst.push((port.interface, MemoryBuffer::new(bytes)));
    }

    /// Moves the clock, and runs what is due meanwhile.
    pub(super) fn pause_until(
        &mut self,
        to: Instant,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        let tick = TICK.as_nanos() as u64;
        if to.0.saturating_sub(self.gateway.now().0) < tick {
            self.gateway.advance_to(to);
            return Ok(());
        }
        for _ in 0..SETTLE.as_nanos() / TICK.as_nanos() {
            let next = self.gateway.now().0 + tick;
            if next >= to.0 {
                break;
            }
            self.gateway.advance_to(Instant(next));
            self.step(&mut Vec::new(), traffic)?;
        }
        self.gateway.advance_to(to);
        // A burst looks at a bounded number of connections that may have timed out: as often as it takes to look at all.
        let graphs = self.gateway.graphs();
        let number = graphs.map(|graph| graph.connections4().len() + graph.connections6().len());
        let connections = number.max().unwrap_or(0);
        for _ in 0..=connections / 32 {
            self.step(&mut Vec::new(), traffic)?;
        }
        Ok(())
    }

    /// One burst through the graph.
    pub(super) fn step(
        &mut self,
        burst: &mut Vec<(InterfaceIndex, MemoryBuffer)>,
        traffic: &mut dyn Traffic,
    ) -> Result<(), ReplayError> {
        let at = (self.gateway.now().0, self.beginning);
        self.delivered += burst.len() as u64;
        let (exit, ports) = (&mut self.exit, &self.ports);
        let mut passing = self.continuity.as_mut().map(|one| &mut one.passing);
        let mut leaves = |interface, buffer: MemoryBuffer| {
            if let Some(passing) = &mut passing {
                passing.leaves(interface, buffer.bytes());
            }
            exit.leaves((interface, buffer), ports, at, traffic);
        };
        self.gateway.step_into(burst.drain(..), &mut leaves);
        self.exit.check()?;
        if let Some(continuity) = &mut self.continuity
            && let Err((message, details)) = continuity.burst(&mut self.gateway)
        {
            self.fail(Check::Connections, message, details);
        }
        for wrong in self.exit.take_wrong() {
            let check = match wrong.is_unexpected {
                true => Check::Outputs,
                false => Check::Invariants,
            };
            self.fail(check, wrong.message, wrong.details);
        }
        if !self.is_out_of_balance && self.options.checks.contains(&Check::Accounting) {
            let account = self.gateway.account();
            let seen = (self.delivered, self.exit.sent);
            if !checking::is_accounted(account, seen) {
                self.is_out_of_balance = true;
                let (message, details) = checking::unbalanced(account, seen);
                self.fail(Check::Accounting, message, details);
            }
        }
        Ok(())
    }

    /// Behind the last packet: timers come to their end.
    pub(super) fn settle(&mut self, traffic: &mut dyn Traffic) -> Result<(), ReplayError> {
        let end = self
            .gateway
            .now()
            .0
            .saturating_add(SETTLE.as_nanos() as u64);
        self.pause_until(Instant(end), traffic)?;
        // Timers that end with the last pause.
        self.step(&mut Vec::new(), traffic)
    }
}
