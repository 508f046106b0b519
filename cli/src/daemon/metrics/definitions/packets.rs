//! Where packets go: the account, and why they are dropped.

use rewire_dataplane::DropReason;

use super::{counter, gauge};
use crate::daemon::metrics::definition::{Metric, Unit, one, sample};

pub(super) const METRICS: &[Metric] = &[
    counter(
        "rewire_received_packets",
        Unit::Packets,
        "Packets received from ports.",
        |m| one(m.totals.received),
    ),
    counter(
        "rewire_transmitted_packets",
        Unit::Packets,
        "Packets handed to ports.",
        |m| one(m.totals.transmitted),
    ),
    counter(
        "rewire_generated_packets",
        Unit::Packets,
        "Packets that the gateway made: questions for neighbors, ICMP errors, and fragments after the first.",
        |m| one(m.totals.generated),
    ),
    counter(
        "rewire_consumed_packets",
        Unit::Packets,
        "Packets for the gateway itself that it took in.",
        |m| one(m.totals.consumed),
    ),
    gauge(
        "rewire_held_packets",
        Unit::Packets,
        "Packets that wait now: until their next hop is resolved, or for the first fragment.",
        |m| one(m.totals.held),
    ),
    counter(
        "rewire_dropped_packets",
        Unit::Packets,
        "Packets dropped, by reason. Every reason is there from the start.",
        |m| {
            let drops = DropReason::ALL.iter().zip(&m.totals.drops);
            drops
                .map(|(reason, packets)| sample([reason.name()], *packets))
                .collect()
        },
    )
    .by(&["reason"]),
    counter(
        "rewire_icmp_suppressed",
        Unit::One,
        "ICMP errors that were not sent, because too many were.",
        |m| one(m.totals.icmp_suppressed),
    ),
    counter(
        "rewire_acl_log_lost",
        Unit::One,
        "Decisions of ACLs that were to be logged and were not: too many in a second, or the log is slow.",
        |m| one(m.totals.log_lost),
    ),
];
