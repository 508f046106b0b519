//! An exporter of type sflow: the first bytes of one packet in so many, and the counters of interfaces, to a collector, over UDP.
//!
//! Samples are worth something at once or not at all: what nobody takes is counted and let go.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rewire_dataplane::PacketSampling;
use rewire_dataplane::counters::COUNTED_INTERFACES;
use rewire_tables::InterfaceIndex;

use super::datagrams::Datagrams as Transport;
use super::{Exporter, ExporterConfig};
use crate::daemon::Daemon;
use crate::daemon::sflow::{Counted, Datagrams, Sampled};

/// How often it looks for samples: they are to leave within a second.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Samples of one worker that nobody has read, at most.
const MOST_IN_RING: usize = 8_192;
/// Samples that are taken at once, at most.
const AT_ONCE: usize = 1_024;

/// Sends until it is told to end.
pub(super) fn run(daemon: &Daemon, exporter: &Exporter, config: &ExporterConfig) {
    let samplers = daemon.packet_samplers.as_ref();
    let sampling = samplers.map(|samplers| samplers.begin(config.sampling, MOST_IN_RING));
    // Where the gateway is stopping, there is nothing to sample.
    let Some(Ok(sampling)) = sampling else { return };
    let mut transport = Transport::new(exporter, config);
    // The agent is known by the address that it sends from: one, for as long as it sends.
    let agent = loop {
        match transport.local_address() {
            Some(agent) => break agent,
            None if exporter.pause(LOOK_EVERY) => {}
            None => return,
        }
    };
    let mut agent = Agent {
        daemon,
        rate: config.sampling,
        sampling,
        datagrams: Datagrams::new(agent),
        samples: BTreeMap::new(),
        reports: BTreeMap::new(),
        lost: 0,
    };
    let mut counters_due = Instant::now();
    loop {
        let goes_on = exporter.pause(LOOK_EVERY);
        if counters_due <= Instant::now() {
            counters_due = Instant::now() + config.interval;
            agent.add_counters();
        }
        agent.add_samples();
        agent.datagrams.finish(daemon.started.elapsed());
        let datagrams = agent.datagrams.take();
        for datagram in &datagrams {
            let counted = match transport.send(&datagram.bytes) {
                true => &exporter.records,
                false => &exporter.records_lost,
            };
            counted.fetch_add(datagram.samples.into(), Relaxed);
        }
        if !datagrams.is_empty() && !transport.is_refused() {
            transport.is_up();
        }
        exporter
            .records_lost
            .fetch_add(agent.news_of_lost(), Relaxed);
        if !goes_on {
            return;
        }
    }
}

struct Agent<'a> {
    daemon: &'a Daemon,
    rate: u32,
    sampling: PacketSampling,
    datagrams: Datagrams,
    /// How many samples there were of each interface.
    samples: BTreeMap<InterfaceIndex, u32>,
    /// How many reports of counters.
    reports: BTreeMap<InterfaceIndex, u32>,
    /// Samples that had found no room when that was looked at last.
    lost: u64,
}

/// The next number of an interface.
fn next(numbers: &mut BTreeMap<InterfaceIndex, u32>, interface: InterfaceIndex) -> u32 {
    let number = numbers.entry(interface).or_default();
    *number = number.wrapping_add(1);
    *number
}

impl Agent<'_> {
    fn add_samples(&mut self) {
        let uptime = self.daemon.started.elapsed();
        for _ in 0..AT_ONCE {
            let Some(packet) = self.sampling.next_sample() else {
                return;
            };
            let interface = packet.ingress;
            let sampled = Sampled {
                sequence: next(&mut self.samples, interface),
                rate: self.rate,
                // Modulo 2^32, as the format has it.
                pool: self.sampling.pool(interface) as u32,
                lost: self.sampling.lost(interface) as u32,
            };
            self.datagrams.add_packet(&packet, &sampled, uptime);
        }
    }

    fn add_counters(&mut self) {
        let uptime = self.daemon.started.elapsed();
        let totals = self.daemon.shared.totals();
        let ports = self.daemon.shared.ports().into_iter();
        for (interface, port) in
            ports.filter(|(index, _)| index.position() < COUNTED_INTERFACES - 1)
        {
            let counted = Counted {
                sequence: next(&mut self.reports, interface),
                interface,
                name: port.interface,
                is_up: port.problem.is_none(),
                totals: totals.interfaces[interface.position()],
            };
            self.datagrams.add_counters(&counted, uptime);
        }
    }

    /// Samples that have found no room since this was asked last.
    fn news_of_lost(&mut self) -> u64 {
        let lost = self.sampling.all_lost();
        lost - std::mem::replace(&mut self.lost, lost)
    }
}
