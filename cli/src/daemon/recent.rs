//! What the gateway did in the last minutes, second by second: so that who looks now sees what was before.
//!
//! A thread reads the shared counters once in a second, which costs workers nothing, and keeps the differences.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rewire_dataplane::{DropReason, InterfaceTotals, Totals};
use serde::{Deserialize, Serialize};

use super::Daemon;
use super::status::{Counters, Interface};

/// The version of [`Columns`]. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;
/// How often counters are read.
const EVERY: Duration = Duration::from_secs(1);
/// Seconds that are kept.
const KEPT: usize = 600;
/// Interfaces that are kept one by one: the first ones by name.
const MOST_INTERFACES: usize = 64;

/// The last seconds, the oldest first, a column for each thing that is counted. All columns are of one length, and all values
/// but `time_ms` and `connections` are rates: units a second, rounded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Columns {
    pub(crate) version: u32,
    /// When each second ended, in milliseconds since the Unix epoch.
    pub(crate) time_ms: Vec<u64>,
    pub(crate) received: Rates,
    pub(crate) transmitted: Rates,
    /// Packets.
    pub(crate) dropped: Vec<u64>,
    /// Connections that there were, not a rate.
    pub(crate) connections: Vec<u64>,
    pub(crate) connections_created: Vec<u64>,
    /// By name; interfaces beyond the first 64 are left out.
    pub(crate) interfaces: BTreeMap<String, InterfaceRates>,
    /// Packets by reason; reasons that dropped nothing in this time are left out.
    pub(crate) drops: BTreeMap<String, Vec<u64>>,
}

/// Packets and bytes a second. Bytes include Ethernet headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub(crate) packets: Vec<u64>,
    pub(crate) bytes: Vec<u64>,
}

/// One interface's rates; zero where it was not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InterfaceRates {
    pub(crate) received: Rates,
    pub(crate) transmitted: Rates,
    /// Packets that were received here and dropped.
    pub(crate) dropped: Vec<u64>,
}

/// Counters at one moment.
#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    time_ms: u64,
    totals: Totals,
    interfaces: Vec<(Arc<str>, Counters)>,
}

/// What one second came to, a second.
#[derive(Clone, Debug, Default)]
struct Second {
    time_ms: u64,
    dropped: u64,
    connections: u64,
    connections_created: u64,
    drops: Vec<(usize, u64)>,
    /// Packets and bytes received, packets and bytes transmitted, packets dropped.
    all: [u64; 4],
    interfaces: Vec<(Arc<str>, [u64; 5])>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    last: Option<Reading>,
    seconds: VecDeque<Second>,
}

/// Reads counters until the gateway stops.
pub(crate) fn run(daemon: &Daemon) {
    loop {
        let totals = daemon.shared.totals();
        let interfaces = daemon.interfaces(&totals);
        daemon
            .recent
            .add(totals, interfaces, Instant::now(), unix_milliseconds());
        if !daemon.progress.pause(EVERY) {
            return;
        }
    }
}

fn unix_milliseconds() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

impl Recent {
    fn add(&self, totals: Totals, interfaces: Vec<Interface>, at: Instant, time_ms: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let interfaces = interfaces.into_iter().filter_map(|interface| {
            let known = kept.last.as_ref().and_then(|last| {
                let mut names = last.interfaces.iter().map(|(name, _)| name);
                names.find(|name| ***name == *interface.name)
            });
            let name = known.cloned().unwrap_or_else(|| interface.name.into());
            Some((name, interface.counters?))
        });
        let reading = Reading {
            at,
            time_ms,
            totals,
            interfaces: interfaces.collect(),
        };
        if let Some(last) = kept.last.take() {
            let second = Second::between(&last, &reading);
            kept.seconds.truncate(KEPT - 1);
            kept.seconds.push_front(second);
        }
        kept.last = Some(reading);
    }

    /// The last seconds.
    pub(crate) fn columns(&self) -> Columns {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut columns = Columns {
            version: VERSION,
            ..Columns::default()
        };
        for (index, second) in kept.seconds.iter().rev().enumerate() {
            columns.add(index, second);
        }
        columns.fill();
        columns
    }
}

impl Second {
    fn between(last: &Reading, now: &Reading) -> Second {
        let seconds = now.at.saturating_duration_since(last.at).as_secs_f64();
        // Counters of an interface begin again where another one has taken its place.
        let rate = |before: u64, after: u64| match seconds > 0.0 {
            true => (after.saturating_sub(before) as f64 / seconds).round() as u64,
            false => 0,
        };
        let total = |field: fn(&Totals) -> u64| rate(field(&last.totals), field(&now.totals));
        let bytes = |field: fn(&InterfaceTotals) -> u64| {
            let sum = |totals: &Totals| totals.interfaces.iter().map(field).sum();
            rate(sum(&last.totals), sum(&now.totals))
        };
        let drops = last.totals.drops.iter().zip(&now.totals.drops);
        let drops = drops
            .enumerate()
            .map(|(reason, (before, after))| (reason, rate(*before, *after)));
        let interfaces = now.interfaces.iter().take(MOST_INTERFACES);
        let interfaces = interfaces.filter_map(|(name, after)| {
            let (_, before) = last.interfaces.iter().find(|(known, _)| known == name)?;
            let rate = |field: fn(&Counters) -> u64| rate(field(before), field(after));
            let rates = [
                rate(|c| c.received_packets),
                rate(|c| c.received_bytes),
                rate(|c| c.transmitted_packets),
                rate(|c| c.transmitted_bytes),
                rate(|c| c.dropped_packets),
            ];
            Some((Arc::clone(name), rates))
        });
        Second {
            time_ms: now.time_ms,
            dropped: total(Totals::dropped),
            connections: now.totals.connections,
            connections_created: total(|totals| totals.connections_created),
            drops: drops.filter(|(_, rate)| *rate > 0).collect(),
            all: [
                total(|totals| totals.received),
                bytes(|interface| interface.received_bytes),
                total(|totals| totals.transmitted),
                bytes(|interface| interface.transmitted_bytes),
            ],
            interfaces: interfaces.collect(),
        }
    }
}

/// Adds a value to a column at an index: what is missing before it is zero.
fn put(column: &mut Vec<u64>, index: usize, value: u64) {
    column.resize(index, 0);
    column.push(value);
}

impl Rates {
    fn put(&mut self, index: usize, packets: u64, bytes: u64) {
        put(&mut self.packets, index, packets);
        put(&mut self.bytes, index, bytes);
    }

    fn fill(&mut self, length: usize) {
        self.packets.resize(length, 0);
        self.bytes.resize(length, 0);
    }
}

impl Columns {
    fn add(&mut self, index: usize, second: &Second) {
        self.time_ms.push(second.time_ms);
        let [in_packets, in_bytes, out_packets, out_bytes] = second.all;
        self.received.put(index, in_packets, in_bytes);
        self.transmitted.put(index, out_packets, out_bytes);
        self.dropped.push(second.dropped);
        self.connections.push(second.connections);
        self.connections_created.push(second.connections_created);
        for (name, rates) in &second.interfaces {
            let [in_packets, in_bytes, out_packets, out_bytes, dropped] = *rates;
            let interface = self.interfaces.entry(name.to_string()).or_default();
            interface.received.put(index, in_packets, in_bytes);
            interface.transmitted.put(index, out_packets, out_bytes);
            put(&mut interface.dropped, index, dropped);
        }
        for (reason, rate) in &second.drops {
            let reason = DropReason::ALL
                .get(*reason)
                .map_or("", |reason| reason.name());
            put(
                self.drops.entry(reason.to_owned()).or_default(),
                index,
                *rate,
            );
        }
    }

    /// Makes all columns of one length.
    fn fill(&mut self) {
        let length = self.time_ms.len();
        for interface in self.interfaces.values_mut() {
            interface.received.fill(length);
            interface.transmitted.fill(length);
            interface.dropped.resize(length, 0);
        }
        for column in self.drops.values_mut() {
            column.resize(length, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, received: u64) -> Interface {
        Interface {
            name: name.to_owned(),
            port: String::new(),
            open: true,
            problem: None,
            offload: false,
            link: None,
            link_changes: 0,
            no_offload: None,
            counters: Some(Counters {
                received_packets: received,
                received_bytes: 100 * received,
                transmitted_packets: 0,
                transmitted_bytes: 0,
                dropped_packets: 0,
            }),
        }
    }

    fn totals(received: u64, no_route: u64) -> Totals {
        let mut totals = Totals::of([]);
        totals.received = received;
        totals.connections = received;
        totals.drops[DropReason::NoRoute as usize] = no_route;
        totals.interfaces[0].received_bytes = 100 * received;
        totals
    }

    #[test]
    fn columns_are_rates_and_of_one_length() {
        let recent = Recent::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        recent.add(totals(0, 0), vec![interface("a", 0)], at(0), 1_000);
        recent.add(
            totals(10, 0),
            vec![interface("a", 10), interface("b", 5)],
            at(1_000),
            2_000,
        );
        // Two seconds late; b is counted since the reading before, and a is gone.
        recent.add(totals(70, 3), vec![interface("b", 11)], at(4_000), 5_000);
        let columns = recent.columns();
        assert_eq!(columns.time_ms, [2_000, 5_000]);
        assert_eq!(
            columns.received,
            Rates {
                packets: vec![10, 20],
                bytes: vec![1_000, 2_000]
            }
        );
        assert_eq!(columns.connections, [10, 70]);
        assert_eq!(columns.dropped, [0, 1]);
        assert_eq!(
            columns.drops,
            BTreeMap::from([("no_route".to_owned(), vec![0, 1])])
        );
        let packets = |name: &str| columns.interfaces[name].received.packets.clone();
        assert_eq!((packets("a"), packets("b")), (vec![10, 0], vec![0, 2]));
        assert_eq!(columns.interfaces["a"].dropped, [0, 0]);
    }

    #[test]
    fn no_more_is_kept_than_ten_minutes() {
        let recent = Recent::default();
        let start = Instant::now();
        for second in 0..700 {
            let interfaces = (0..80).map(|number| interface(&format!("{number:02}"), second));
            recent.add(
                totals(second, 0),
                interfaces.collect(),
                start + Duration::from_secs(second),
                second,
            );
        }
        let columns = recent.columns();
        assert_eq!((columns.time_ms.len(), columns.time_ms[0]), (600, 100));
        assert_eq!(columns.interfaces.len(), 64);
        assert!(columns.received.packets.iter().all(|rate| *rate == 1));
    }
}
