//! Connections that are tracked.

use rewire_dataplane::ConnectionState;

use super::{counter, gauge};
use crate::daemon::metrics::definition::{Metric, Unit, one, sample};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_connections",
        Unit::One,
        "Connections that are tracked now.",
        |m| one(m.totals.connections),
    ),
    gauge(
        "rewire_connection_states",
        Unit::One,
        "Connections that are tracked now, by state.",
        |m| {
            let states = ConnectionState::ALL.iter().zip(&m.totals.states);
            states
                .map(|(state, number)| sample([state.protocol(), state.name()], *number))
                .collect()
        },
    )
    .by(&["protocol", "state"]),
    gauge(
        "rewire_vpc_connections",
        Unit::One,
        "Connections that are tracked now, by the VPC that they began in.",
        |m| {
            let vpcs = m.daemon.shared.vpc_connections().into_iter();
            vpcs.map(|(vpc, number)| sample([&vpc], number)).collect()
        },
    )
    .by(&["vpc"]),
    gauge(
        "rewire_connection_memory_bytes",
        Unit::Bytes,
        "The memory that connections and NAT mappings have.",
        |m| {
            let workers = m.daemon.shared.worker_counters();
            one(workers.map(|w| w.connection_memory.get()).sum::<u64>())
        },
    ),
    counter(
        "rewire_connections_created",
        Unit::One,
        "Connections made.",
        |m| one(m.totals.connections_created),
    ),
    counter(
        "rewire_connections_expired",
        Unit::One,
        "Connections that timed out.",
        |m| one(m.totals.connections_expired),
    ),
    counter(
        "rewire_connections_evicted",
        Unit::One,
        "Connections that made way for new ones where the table was full: not established, or over.",
        |m| one(m.totals.connections_evicted),
    ),
    counter(
        "rewire_sources_uncounted",
        Unit::One,
        "Connections that their source's limit does not count, because there are too many sources.",
        |m| one(m.totals.sources_uncounted),
    ),
    counter(
        "rewire_connections_cleared",
        Unit::One,
        "Connections that somebody has ended by hand.",
        |m| one(m.totals.connections_cleared),
    ),
    counter(
        "rewire_connections_kept",
        Unit::One,
        "Connections that a new policy was checked against, and that stay.",
        |m| one(m.totals.connections_kept),
    ),
    counter(
        "rewire_connections_ended",
        Unit::One,
        "Connections that a new policy ended.",
        |m| one(m.totals.connections_ended_by_policy),
    ),
    gauge(
        "rewire_saved_connections",
        Unit::One,
        "Connections that the gateway before has saved, by what became of them.",
        |m| {
            let Some(restored) = m.daemon.shared.restored() else {
                return Vec::new();
            };
            let outcomes = [
                ("restored", restored.restored),
                ("over", restored.over),
                ("gone", restored.gone),
                ("not_owned", restored.not_owned),
                ("full", restored.full),
                ("clash", restored.clash),
            ];
            let outcomes = outcomes.into_iter();
            outcomes
                .map(|(outcome, number)| sample([outcome], number))
                .collect()
        },
    )
    .by(&["outcome"]),
];
