//! The gateway as metrics see it: what several of them read is read once.

use std::cell::OnceCell;
use std::time::SystemTime;

use rewire_dataplane::counters::COUNTED_INTERFACES;
use rewire_dataplane::{DropReason, TableSizes, Totals};

use super::process::Process;
use crate::daemon::Daemon;
use crate::daemon::nat::{self, Nat};
use crate::daemon::route_sources::RouteSource;
use crate::daemon::status::Interface;

/// A gateway at one moment: as near to one as can be had without disturbing it.
pub(crate) struct Moment<'a> {
    pub(crate) daemon: &'a Daemon,
    pub(crate) time: SystemTime,
    pub(crate) totals: Totals,
    pub(crate) interfaces: Vec<Interface>,
    nat: OnceCell<Option<Nat>>,
    sizes: OnceCell<TableSizes>,
    sources: OnceCell<Vec<RouteSource>>,
    process: OnceCell<Process>,
}

impl<'a> Moment<'a> {
    pub(crate) fn of(daemon: &'a Daemon) -> Self {
        let totals = daemon.shared.totals();
        Moment {
            daemon,
            time: SystemTime::now(),
            interfaces: daemon.interfaces(&totals),
            totals,
            nat: OnceCell::new(),
            sizes: OnceCell::new(),
            sources: OnceCell::new(),
            process: OnceCell::new(),
        }
    }

    /// The external ports that are in use; none where a worker does not answer: other metrics say so.
    pub(crate) fn nat(&self) -> Option<&Nat> {
        let ask = || self.daemon.nat(&nat::Query::default()).ok();
        self.nat.get_or_init(ask).as_ref()
    }

    /// How large the tables are; empty while the gateway stops.
    pub(crate) fn sizes(&self) -> &TableSizes {
        let ask = || {
            let sizes = self.daemon.table_sizes.as_ref();
            sizes.and_then(|sizes| sizes.ask().ok()).unwrap_or_default()
        };
        self.sizes.get_or_init(ask)
    }

    /// The sources of learned routes.
    pub(crate) fn sources(&self) -> &[RouteSource] {
        self.sources.get_or_init(|| self.daemon.route_sources())
    }

    /// What the process takes of the machine.
    pub(crate) fn process(&self) -> &Process {
        self.process.get_or_init(Process::read)
    }

    /// What was received by each interface and dropped, by reason, where there are such packets.
    pub(crate) fn interface_drops(&self) -> Vec<(String, DropReason, u64)> {
        let shared = &self.daemon.shared;
        let ports = shared.ports().into_iter();
        let counted = ports.filter(|(index, _)| index.position() < COUNTED_INTERFACES - 1);
        let drops = counted.flat_map(|(index, port)| {
            let drops = shared.interface_drops(index).into_iter();
            drops.map(move |(reason, packets)| (port.interface.clone(), reason, packets))
        });
        let mut drops: Vec<_> = drops.collect();
        drops.sort();
        drops
    }
}
