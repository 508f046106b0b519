//! What the gateway says about the flows that it has handed to the card.

use std::fmt::Write;
use std::time::Duration;

use rewire_dataplane::Shared;
use rewire_dataplane::counters::Totals;
use rewire_dataplane::offload::{Histogram, Latencies, OffloadCounts};
use serde::{Deserialize, Serialize};

/// Bytes of an Ethernet header.
const ETHERNET: u64 = 14;

/// Offloaded flows and rules, and how long rules take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offload {
    /// Flows that have rules, or are about to.
    pub(crate) flows: u64,
    /// Rules in the card.
    pub(crate) rules: u64,
    pub(crate) installed: u64,
    pub(crate) removed: u64,
    /// Refused by the card, for want of room or otherwise.
    pub(crate) refused: u64,
    /// Offers that came to nothing for want of room in the gateway: tried again later.
    pub(crate) postponed: u64,
    /// Packets that the card has forwarded.
    pub(crate) packets: u64,
    /// Their bytes, Ethernet headers included.
    pub(crate) bytes: u64,
    /// Of all packets received, in percent.
    pub(crate) share_of_packets: f64,
    /// Of all bytes received, in percent.
    pub(crate) share_of_bytes: f64,
    /// In the order in which a rule goes through them.
    pub(crate) latencies: Vec<Latency>,
}

/// How long one step of a rule takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) step: String,
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p99_ns: u64,
}

/// The steps, by name.
pub(crate) fn steps(latencies: &Latencies) -> [(&'static str, &Histogram); 4] {
    [
        ("install_handed", &latencies.install_handed),
        ("install_confirmed", &latencies.install_confirmed),
        ("remove_handed", &latencies.remove_handed),
        ("remove_confirmed", &latencies.remove_confirmed),
    ]
}

fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 0.0,
        _ => part as f64 * 100.0 / whole as f64,
    }
}

impl Offload {
    /// None where nothing is to be offloaded, and nothing was.
    pub(crate) fn of(shared: &Shared, totals: &Totals) -> Option<Offload> {
        let latencies = shared.offload_latencies()?;
        if !shared.is_offloading() && totals.offload.installs == 0 {
            return None;
        }
        let latencies = steps(latencies).map(|(step, histogram)| {
            let counted = histogram.counted();
            let quantile = |share| counted.quantile(share).unwrap_or(Duration::ZERO);
            Latency {
                step: step.to_owned(),
                count: counted.count(),
                p50_ns: quantile(0.5).as_nanos() as u64,
                p99_ns: quantile(0.99).as_nanos() as u64,
            }
        });
        let OffloadCounts {
            flows,
            rules,
            installed,
            removed,
            card_full,
            refused,
            ring_full,
            places_full,
            packets,
            bytes,
            ..
        } = totals.offload;
        let bytes = bytes + packets * ETHERNET;
        let interfaces = totals.interfaces.iter();
        let received: u64 = interfaces.map(|counters| counters.received_bytes).sum();
        Some(Offload {
            flows,
            rules,
            installed,
            removed,
            refused: card_full + refused,
            postponed: ring_full + places_full,
            packets,
            bytes,
            share_of_packets: percent(packets, totals.received + packets),
            share_of_bytes: percent(bytes, received),
            latencies: latencies.into(),
        })
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        let mut text = format!(
            "offload  {} flows, {} rules; {:.1} % of packets, {:.1} % of bytes",
            self.flows, self.rules, self.share_of_packets, self.share_of_bytes
        );
        if self.refused + self.postponed > 0 {
            let _ = write!(
                text,
                "; {} refused, {} postponed",
                self.refused, self.postponed
            );
        }
        for latency in self.latencies.iter().filter(|latency| latency.count > 0) {
            let [p50, p99] = [latency.p50_ns, latency.p99_ns].map(|ns| ns as f64 / 1e3);
            let step = latency.step.replace('_', " ");
            let _ = write!(text, " · {step} {p50:.1} µs (p99 {p99:.1})");
        }
        text
    }
}
