//! What a gateway's counters come to, a second: the difference of two answers to `status`.

use crate::daemon::status::{Counters, Interface, Status};

/// Two answers of one gateway, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates<'a> {
    before: Option<&'a Status>,
    pub(crate) now: &'a Status,
}

/// Rates of interfaces: packets and bytes a second, Ethernet headers included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) received_packets: f64,
    pub(crate) received_bytes: f64,
    pub(crate) transmitted_packets: f64,
    pub(crate) transmitted_bytes: f64,
    /// Received here, and dropped.
    pub(crate) dropped_packets: f64,
}

impl<'a> Rates<'a> {
    /// Without an answer before, or with one of another gateway, all rates are zero.
    pub(crate) fn between(before: Option<&'a Status>, now: &'a Status) -> Rates<'a> {
        let is_same = |before: &&Status| before.pid == now.pid && before.uptime_ns < now.uptime_ns;
        Rates {
            before: before.filter(is_same),
            now,
        }
    }

    /// Whether there is anything to compare with.
    pub(crate) fn are_known(&self) -> bool {
        self.before.is_some()
    }

    /// The time between the answers.
    pub(crate) fn seconds(&self) -> f64 {
        let before = self
            .before
            .map_or(self.now.uptime_ns, |before| before.uptime_ns);
        (self.now.uptime_ns - before) as f64 / 1e9
    }

    /// How fast a counter went up. What was not there before, or began again, has no rate yet.
    pub(crate) fn of(&self, counter: impl Fn(&Status) -> Option<u64>) -> f64 {
        let before = self.before.and_then(&counter);
        match (before, counter(self.now)) {
            (Some(before), Some(now)) if now >= before => (now - before) as f64 / self.seconds(),
            _ => 0.0,
        }
    }

    /// The rates of the interfaces that are meant, together.
    pub(crate) fn traffic(&self, is_meant: impl Fn(&Interface) -> bool) -> Traffic {
        let meant = self
            .now
            .interfaces
            .iter()
            .filter(|interface| is_meant(interface));
        meant.fold(Traffic::default(), |sum, interface| {
            let rate = |field: fn(&Counters) -> u64| {
                self.of(|status| {
                    let mut all = status.interfaces.iter();
                    let same = all.find(|other| other.name == interface.name)?;
                    same.counters.as_ref().map(field)
                })
            };
            Traffic {
                received_packets: sum.received_packets + rate(|c| c.received_packets),
                received_bytes: sum.received_bytes + rate(|c| c.received_bytes),
                transmitted_packets: sum.transmitted_packets + rate(|c| c.transmitted_packets),
                transmitted_bytes: sum.transmitted_bytes + rate(|c| c.transmitted_bytes),
                dropped_packets: sum.dropped_packets + rate(|c| c.dropped_packets),
            }
        })
    }

    /// The share of its time that a worker had packets, from 0 to 1; none where that is not known.
    pub(crate) fn busy(&self, worker: usize) -> Option<f64> {
        let before = self.before?.worker_times.get(worker)?;
        let now = self.now.worker_times.get(worker)?;
        let busy = now.busy_ns.checked_sub(before.busy_ns)?;
        let all = busy + now.idle_ns.checked_sub(before.idle_ns)?;
        (all > 0).then(|| busy as f64 / all as f64)
    }

    /// How many packets are dropped for a reason.
    pub(crate) fn dropped(&self, reason: &str) -> f64 {
        self.of(|status| {
            let drop = status.drops.iter().find(|drop| drop.reason == reason);
            drop.map(|drop| drop.packets)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Two answers a second apart: one interface, one reason for drops.
    pub(crate) fn answers() -> (Status, Status) {
        let text = include_str!("rates/status.json");
        let before: Status = serde_json::from_str(text).unwrap();
        let mut now = before.clone();
        now.uptime_ns += 1_000_000_000;
        now.worker_times[0].busy_ns += 250_000_000;
        now.worker_times[0].idle_ns += 750_000_000;
        now.packets.received += 1_500;
        now.packets.transmitted += 1_400;
        now.packets.dropped += 100;
        now.drops[1].packets += 100;
        now.connections.created += 7;
        now.connections.now += 3;
        if let Some(counters) = &mut now.interfaces[0].counters {
            counters.received_packets += 1_500;
            counters.received_bytes += 1_250_000;
            counters.dropped_packets += 100;
        }
        if let Some(counters) = &mut now.interfaces[1].counters {
            counters.transmitted_packets += 1_400;
            counters.transmitted_bytes += 1_150_000;
        }
        (before, now)
    }

    #[test]
    fn rates_are_differences_over_the_time_between() {
        let (before, now) = answers();
        let rates = Rates::between(Some(&before), &now);
        assert!(rates.are_known());
        assert_eq!(rates.of(|status| Some(status.packets.received)), 1_500.0);
        assert_eq!(rates.dropped("no_route"), 100.0);
        assert_eq!(rates.dropped("nonsense"), 0.0);
        assert_eq!(
            (rates.busy(0), rates.busy(1), rates.busy(2)),
            (Some(0.25), None, None)
        );
        let all = rates.traffic(|_| true);
        assert_eq!(
            (
                all.received_bytes,
                all.transmitted_bytes,
                all.dropped_packets
            ),
            (1_250_000.0, 1_150_000.0, 100.0)
        );
        assert_eq!(rates.traffic(|one| one.name == "wan0").received_bytes, 0.0);
    }

    #[test]
    fn another_gateway_has_no_rates_yet() {
        let (before, mut now) = answers();
        now.pid += 1;
        let rates = Rates::between(Some(&before), &now);
        assert!(!rates.are_known());
        assert_eq!(rates.of(|status| Some(status.packets.received)), 0.0);
        // A counter that began again.
        let (mut before, now) = answers();
        before.packets.received = u64::MAX;
        assert_eq!(
            Rates::between(Some(&before), &now).of(|status| Some(status.packets.received)),
            0.0
        );
    }
}
