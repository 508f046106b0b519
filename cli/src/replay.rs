//! Replay: captures through the virtual gateway, on a clock that their time stamps own. The same configuration and
//! captures give the same bytes and digests, on any machine (law 8).
//!
//! The clock starts with the first packet and never goes back. A burst is the next packet and those that follow within
//! [`BURST_TIME`] of it, at most [`BURST_PACKETS`]; it runs when its last packet is there. In the pauses between bursts,
//! the gateway's timers run: every [`TICK`] for [`SETTLE`], and then once more at the pause's end. After the last packet
//! they run for [`SETTLE`] too, so that what waits for a neighbor comes to its end.

pub(crate) mod capture;
pub(crate) mod summary;

use std::collections::BTreeMap;
use std::time::Duration;

use rewire_compiler::Compiled;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::{GatewayConfig, VirtualGateway};
use rewire_tables::InterfaceIndex;

use capture::{CaptureError, Captured, Merged, Output};
use summary::Summary;

/// The longest time between a burst's first packet and its last.
const BURST_TIME: Duration = Duration::from_micros(100);
/// The most packets of a burst.
const BURST_PACKETS: usize = 32;
/// How often timers run in a pause.
const TICK: Duration = Duration::from_millis(100);
/// How long they do. Longer than a neighbor may take to answer.
const SETTLE: Duration = Duration::from_secs(5);

/// A replay.
pub(crate) struct Replay {
    gateway: VirtualGateway,
    /// By index: the interface's name and its MAC address.
    interfaces: BTreeMap<InterfaceIndex, (String, [u8; 6])>,
    /// Whether frames for other stations are made frames for us.
    any_mac: bool,
    outputs: BTreeMap<InterfaceIndex, Output>,
    /// Of everything that was sent.
    digest: blake3::Hasher,
    /// The Unix time in nanoseconds at which the gateway's clock was 0.
    beginning: u64,
    bursts: u64,
}

impl Replay {
    /// A gateway with a compiled configuration.
    pub(crate) fn new(compiled: Compiled, any_mac: bool) -> Replay {
        let mut gateway = VirtualGateway::new(&GatewayConfig::default());
        gateway.apply(compiled.into_parts());
        let names: Vec<_> = gateway
            .interfaces()
            .map(|(name, index)| (index, name.to_owned()))
            .collect();
        let mac = |index| {
            gateway
                .with_tables(|tables| tables.interface(index).map(|i| i.mac.0))
                .flatten()
        };
        let interfaces = names
            .into_iter()
            .filter_map(|(index, name)| Some((index, (name, mac(index)?))));
        let interfaces = interfaces.collect();
        Replay {
            gateway,
            interfaces,
            any_mac,
            outputs: BTreeMap::new(),
            digest: blake3::Hasher::new_derive_key("rewire 2026 replay output"),
            beginning: 0,
            bursts: 0,
        }
    }

    /// The names of all interfaces.
    pub(crate) fn interface_names(&self) -> impl Iterator<Item = &str> {
        self.interfaces.values().map(|(name, _)| name.as_str())
    }

    /// The interface of this name.
    pub(crate) fn interface(&self, name: &str) -> Option<InterfaceIndex> {
        self.gateway.interface(name)
    }

    /// Writes what leaves by an interface into a capture.
    pub(crate) fn write_to(&mut self, interface: InterfaceIndex, output: Output) {
        self.outputs.insert(interface, output);
    }

    /// Plays captures to their end.
    pub(crate) fn play(mut self, mut captures: Merged) -> Result<Summary, CaptureError> {
        self.beginning = captures.next_time().unwrap_or(0);
        while let Some(first) = captures.next()? {
            let deadline = first
                .nanoseconds
                .saturating_add(BURST_TIME.as_nanos() as u64);
            let mut last = first.nanoseconds;
            let mut frames = vec![self.frame(first)];
            while frames.len() < BURST_PACKETS
                && captures.next_time().is_some_and(|time| time <= deadline)
            {
                let Some(frame) = captures.next()? else { break };
                last = frame.nanoseconds;
                frames.push(self.frame(frame));
            }
            self.pause_until(Instant(last.saturating_sub(self.beginning)))?;
            self.bursts += 1;
            self.step(frames)?;
        }
        self.pause_until(Instant(
            self.gateway
                .now()
                .0
                .saturating_add(SETTLE.as_nanos() as u64),
        ))?;
        // Timers that end with the last pause.
        self.step(Vec::new())?;
        for output in std::mem::take(&mut self.outputs).into_values() {
            output.finish()?;
        }
        Ok(Summary::new(&self))
    }

    /// A frame as it comes in.
    fn frame(&self, captured: Captured) -> (InterfaceIndex, Vec<u8>) {
        let Captured {
            interface,
            mut bytes,
            ..
        } = captured;
        // The first bit on the wire says that a frame is for several stations: those stay.
        if self.any_mac
            && let Some((_, mac)) = self.interfaces.get(&interface)
            && let Some(destination) = bytes.first_chunk_mut::<6>()
            && destination[0] & 1 == 0
        {
            *destination = *mac;
        }
        (interface, bytes)
    }

    /// Moves the clock, and runs what is due meanwhile.
    fn pause_until(&mut self, to: Instant) -> Result<(), CaptureError> {
        let tick = TICK.as_nanos() as u64;
        for _ in 0..SETTLE.as_nanos() / TICK.as_nanos() {
            let next = self.gateway.now().0 + tick;
            if next >= to.0 {
                self.gateway.advance_to(to);
                return Ok(());
            }
            self.gateway.advance_to(Instant(next));
            self.step(Vec::new())?;
        }
        self.gateway.advance_to(to);
        // A burst looks at a bounded number of connections that may have timed out: as often as it takes to look at all.
        for _ in 0..=self.gateway.totals().connections / 32 {
            self.step(Vec::new())?;
        }
        Ok(())
    }

    fn step(&mut self, frames: Vec<(InterfaceIndex, Vec<u8>)>) -> Result<(), CaptureError> {
        let sent = self.gateway.step(frames);
        let now = self.gateway.now().0;
        for sent in sent {
            let name = self
                .interfaces
                .get(&sent.interface)
                .map_or("", |(name, _)| name);
            for part in [name.as_bytes(), &now.to_le_bytes(), &sent.frame] {
                self.digest.update(&(part.len() as u64).to_le_bytes());
                self.digest.update(part);
            }
            if let Some(output) = self.outputs.get_mut(&sent.interface) {
                output.write(self.beginning.saturating_add(now), &sent.frame)?;
            }
        }
        Ok(())
    }
}
