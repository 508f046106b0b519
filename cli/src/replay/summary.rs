//! What a replay came to.

use rewire_dataplane::InterfaceTotals;
use rewire_replay::{Checked, Failure, Judged, Report, Step};
use serde::Serialize;

use super::bundle::{Packed, Replayed};
use crate::columns::{Cell, columns};
use crate::daemon::status::{Drop, Packets};
use crate::status_text::{count, drop_row};

/// The outcome of a replay. Its JSON form is versioned: fields may be added, and are never renamed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Summary {
    version: u32,
    /// From the first packet to the end of the clock, in nanoseconds.
    time_ns: u64,
    bursts: u64,
    interfaces: Vec<Interface>,
    packets: Packets,
    balanced: bool,
    /// The reasons that dropped anything.
    drops: Vec<Drop>,
    connections_created: u64,
    connections_now: u64,
    /// Of the tables: what was learned is not part of it.
    tables_digest: Option<String>,
    /// Of every frame that was sent, with its interface and time.
    output_digest: String,
    /// Frames for an interface that the revision of the moment did not have, or not up.
    undelivered: u64,
    /// Each revision, in order.
    revisions: Vec<Step>,
    /// What was checked, how often, and how often that failed.
    checks: Vec<Checked>,
    /// The connections that were held against the revisions, where that was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_judged: Option<Judged>,
    /// The first failures, in order.
    failures: Vec<Failure>,
    /// Of all of the above, as far as it does not depend on the machine.
    report_digest: String,
    /// What was replayed, where it was a bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    bundle: Option<Replayed>,
    /// The bundle that was made of what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    packed: Option<Packed>,
}

/// What came in and went out by an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Interface {
    name: String,
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    dropped: u64,
}

impl Summary {
    pub(crate) fn of(report: &Report) -> Summary {
        let totals = &report.totals;
        let interfaces = report.interfaces.iter().map(|(position, name)| {
            let counters = totals.interfaces.get(*position).copied();
            let InterfaceTotals {
                received_packets,
                received_bytes,
                transmitted_packets,
                transmitted_bytes,
                dropped_packets,
            } = counters.unwrap_or_default();
            Interface {
                name: name.clone(),
                packets_in: received_packets,
                bytes_in: received_bytes,
                packets_out: transmitted_packets,
                bytes_out: transmitted_bytes,
                dropped: dropped_packets,
            }
        });
        let mut interfaces: Vec<Interface> = interfaces.collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        let drops = totals.drops().map(|(reason, packets)| Drop {
            reason: reason.name().to_owned(),
            packets,
            description: reason.description(),
        });
        Summary {
            version: 1,
            time_ns: report.time_ns,
            bursts: report.bursts,
            interfaces,
            packets: Packets::of(totals),
            balanced: totals.balanced(),
            drops: drops.collect(),
            connections_created: totals.connections_created,
            connections_now: totals.connections,
            tables_digest: report.tables_digest.clone(),
            output_digest: report.output_digest.clone(),
            undelivered: report.undelivered,
            revisions: report.steps.clone(),
            checks: report.checks.clone(),
            connections_judged: report.judged,
            failures: report.failures.clone(),
            report_digest: report.digest.clone(),
            bundle: None,
            packed: None,
        }
    }

    /// The same with what is said of bundles.
    pub(crate) fn with(self, bundle: Option<Replayed>, packed: Option<Packed>) -> Summary {
        Summary {
            bundle,
            packed,
            ..self
        }
    }

    /// Whether a bundle was replayed.
    pub(crate) fn is_of_bundle(&self) -> bool {
        self.bundle.is_some()
    }

    /// The summary in words.
    pub(crate) fn render(&self) -> String {
        let titles = [
            "packets in",
            "bytes in",
            "packets out",
            "bytes out",
            "dropped",
        ]
        .map(Cell::number);
        let mut rows = vec![
            std::iter::once(Cell::word("interface"))
                .chain(titles)
                .collect::<Vec<_>>(),
        ];
        for i in &self.interfaces {
            let numbers = [
                i.packets_in,
                i.bytes_in,
                i.packets_out,
                i.bytes_out,
                i.dropped,
            ];
            rows.push(
                std::iter::once(Cell::word(&i.name))
                    .chain(numbers.map(Cell::number))
                    .collect(),
            );
        }
        let mut lines = columns(&rows);
        lines.push(String::new());
        lines.push(self.packets.account());
        let drops: Vec<_> = self.drops.iter().map(drop_row).collect();
        lines.extend(columns(&drops).into_iter().map(|row| format!("  {row}")));
        lines.push(format!(
            "connections: {} made, {} at the end",
            self.connections_created, self.connections_now
        ));
        let seconds = self.time_ns as f64 / 1e9;
        lines.push(format!(
            "time: {seconds:.3} s on the gateway's clock, {}",
            count(self.bursts, "burst")
        ));
        lines.push(format!(
            "tables digest: {}",
            self.tables_digest.as_deref().unwrap_or("none")
        ));
        lines.push(format!("output digest: {}", self.output_digest));
        lines.push(format!("report digest: {}", self.report_digest));
        if self.undelivered > 0 {
            let frames = count(self.undelivered, "frame");
            lines.push(format!(
                "{frames} came for an interface that was not there, or not up"
            ));
        }
        lines.push(self.checked());
        if let Some(judged) = self.connections_judged
            && judged != Judged::default()
        {
            let Judged { decided, undecided } = judged;
            lines.push(format!(
                "connections held against revisions: {decided}, and {undecided} of which nothing can be said"
            ));
        }
        lines.extend(self.bundle.iter().flat_map(Replayed::lines));
        lines.extend(self.packed.iter().flat_map(Packed::lines));
        lines.join("\n") + "\n"
    }

    /// What was checked, in one line.
    fn checked(&self) -> String {
        let checks = self.checks.iter().filter(|checked| checked.made > 0);
        let said = checks.map(|checked| match checked.failed {
            0 => checked.check.to_string(),
            failed => format!("{} ({failed} failed)", checked.check),
        });
        let revisions = count(self.revisions.len() as u64, "revision");
        let said: Vec<String> = said.collect();
        format!("checked of {revisions}: {}", said.join(", "))
    }
}
