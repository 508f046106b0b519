//! Interfaces and their ports.

use super::{counter, gauge};
use crate::daemon::metrics::Moment;
use crate::daemon::metrics::definition::{Metric, Sample, Unit, sample};
use crate::daemon::status::Counters;

/// A sample for each interface that is counted by itself.
fn each(moment: &Moment<'_>, value: fn(&Counters) -> u64) -> Vec<Sample> {
    let interfaces = moment.interfaces.iter();
    let counted = interfaces.filter_map(|i| Some((&i.name, i.counters.as_ref()?)));
    counted
        .map(|(name, counters)| sample([name], value(counters)))
        .collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_port_open",
        Unit::One,
        "1 where the interface's port is open.",
        |m| {
            let interfaces = m.interfaces.iter();
            interfaces.map(|i| sample([&i.name], i.open)).collect()
        },
    )
    .by(&["interface"]),
    gauge(
        "rewire_interface_link_up",
        Unit::One,
        "1 where the link of the interface's port is up. Not there where the port is closed, or cannot tell.",
        |m| {
            let interfaces = m.interfaces.iter();
            let known = interfaces.filter_map(|i| Some((&i.name, i.link?)));
            known.map(|(name, up)| sample([name], up)).collect()
        },
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_link_changes",
        Unit::One,
        "How often the link of the interface's port has gone up or down. Of af_packet and tap every change, as the kernel counts them; other ports are looked at ten times a second, 64 at a time.",
        |m| {
            let interfaces = m.interfaces.iter();
            interfaces
                .map(|i| sample([&i.name], i.link_changes))
                .collect()
        },
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_received_packets",
        Unit::Packets,
        "Packets received.",
        |m| each(m, |c| c.received_packets),
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_received_bytes",
        Unit::Bytes,
        "Bytes received, with Ethernet headers.",
        |m| each(m, |c| c.received_bytes),
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_transmitted_packets",
        Unit::Packets,
        "Packets handed to the port.",
        |m| each(m, |c| c.transmitted_packets),
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_transmitted_bytes",
        Unit::Bytes,
        "Bytes handed to the port, with Ethernet headers.",
        |m| each(m, |c| c.transmitted_bytes),
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_dropped_packets",
        Unit::Packets,
        "Packets received here and dropped.",
        |m| each(m, |c| c.dropped_packets),
    )
    .by(&["interface"]),
    counter(
        "rewire_interface_drop_reason_packets",
        Unit::Packets,
        "The same by reason, once there was one.",
        |m| {
            let drops = m.interface_drops().into_iter();
            drops
                .map(|(interface, reason, packets)| sample([&interface, reason.name()], packets))
                .collect()
        },
    )
    .by(&["interface", "reason"]),
];
