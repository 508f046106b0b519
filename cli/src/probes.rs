//! Probes: packets that are stored with the configuration, tried under each revision before it is committed.
//!
//! A probe walks through the graph of a worker over the tables of the candidate, alone: no connection was there before it, and its
//! neighbor is assumed to answer. Where its way leads through the routes of a VPC that has a route source, nobody can say before
//! the commit what those will be, and it fails, as an intent does.

use std::collections::{BTreeMap, BTreeSet};

use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use rewire_packet::Protocol as Number;
use rewire_packet::tcp::TcpFlags;
use rewire_schema::model::ProbeRow;
use rewire_schema::state::Rows;
use rewire_schema::types::{Name, Protocol};
use rewire_schema::{Change, Changeset, Configuration, Path, Problem, Row};
use rewire_tables::Tables;
use serde_json::{Value, json};

use crate::columns::{Cell, columns};
use crate::terminal::clean;
use crate::trace::packet_text::{PacketText, Upper};
use crate::trace::touched::{Touched, TouchedError};
use crate::trace::{self, Asked, Report, TraceError, Walked, text};
use crate::wanted::Wanted;

/// The port that a probe comes from where it says none (RFC 6335, section 6: the first dynamic port).
const SOURCE_PORT: u16 = 49_152;
/// The types of echo requests (RFC 792; RFC 4443, section 4.1).
const ECHO_REQUEST: (u8, u8) = (8, 128);

/// What became of a probe.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// The probe.
    pub(crate) name: Name,
    /// What it wants.
    wanted: Wanted,
    /// What came of it instead; none where it passes.
    pub(crate) missed: Option<String>,
    /// Its walk; none where it has none.
    pub(crate) report: Option<Report>,
}

impl Outcome {
    pub(crate) fn passes(&self) -> bool {
        self.missed.is_none()
    }

    /// What is wrong, with the walk: a line for each node that decided something.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let missed = self.missed.as_ref()?;
        let mut message = format!("the packet is to be {}, and is {missed}", self.wanted);
        if let Some(report) = &self.report {
            if let Some(packet) = &report.packet {
                message.push_str(&format!("\n{packet}"));
            }
            let mut steps = String::new();
            text::steps(&report.steps, &mut steps);
            message.push('\n');
            message.push_str(steps.trim_end());
        }
        Some(Problem::new(path(&self.name), message))
    }

    /// As machines read it.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "probe": self.name.as_str(),
            "passes": self.passes(),
            "wanted": self.wanted.to_string(),
            "found": self.missed,
            "trace": self.report,
        })
    }
}

/// Where a probe stands in the configuration.
fn path(name: &Name) -> Path {
    Path::new(["probes", name.as_str()])
}

/// Which VPCs have routes that no revision holds, and whose they are.
pub(crate) fn learned(configuration: &Configuration) -> BTreeMap<String, String> {
    let sources = configuration.route_source_vpc.values();
    sources
        .map(|row| (row.vpc.to_string(), row.route_source.to_string()))
        .collect()
}

/// Tries all probes of a configuration over its tables, as they are before anybody has learned a route. Cost: a graph of its own
/// and a walk for each.
pub(crate) fn run(configuration: &Configuration, tables: &Tables) -> Vec<Outcome> {
    let learned = learned(configuration);
    let probes = configuration.probe.values();
    let mut trial = Trial::new(Instant(0), true);
    let outcomes = probes.map(|probe| {
        let walked = walk_alone(probe, tables, &mut trial);
        outcome_of(probe, walked, tables, &learned)
    });
    outcomes.collect()
}

/// Lets the packet of a probe walk, as the only one there ever was.
fn walk_alone(probe: &ProbeRow, tables: &Tables, trial: &mut Trial) -> Result<Walked, TraceError> {
    trial.begin_anew();
    trace::walk(tables, &Asked::Text(Box::new(packet(probe))), trial)
}

/// What a walk before the commit means for a probe.
fn outcome_of(
    probe: &ProbeRow,
    walked: Result<Walked, TraceError>,
    tables: &Tables,
    learned: &BTreeMap<String, String>,
) -> Outcome {
    match walked {
        Ok(walked) => {
            let report = Report::of(&walked, tables);
            match learned_on_the_way(&report, learned) {
                Some(source) => {
                    let why = format!(
                        "not to be told: route source \"{source}\" makes routes on the way that no revision holds"
                    );
                    Outcome {
                        missed: Some(why),
                        ..judge(probe, report)
                    }
                }
                None => judge(probe, report),
            }
        }
        Err(error) => untried(probe, &error.to_string()),
    }
}

/// What is wrong with those that fail, each with its walk. For whoever knows nothing of outcomes.
pub(crate) fn failing(configuration: &Configuration, tables: &Tables) -> Vec<String> {
    let outcomes = run(&configuration.effective(), tables);
    let problems = problems(&outcomes);
    problems.iter().map(ToString::to_string).collect()
}

/// What a walk means for a probe.
pub(crate) fn judge(probe: &ProbeRow, report: Report) -> Outcome {
    let wanted = Wanted::of(probe);
    Outcome {
        name: probe.name.clone(),
        missed: wanted.missed(&report),
        wanted,
        report: Some(report),
    }
}

fn learned_on_the_way<'l>(
    report: &Report,
    learned: &'l BTreeMap<String, String>,
) -> Option<&'l str> {
    if learned.is_empty() {
        return None;
    }
    let lookups = report.steps.iter().filter(|step| step.fact == "lookup");
    let mut vpcs = lookups.filter_map(|step| step.details.get("vpc")?.as_str());
    vpcs.find_map(|vpc| learned.get(vpc)).map(String::as_str)
}

/// A probe that could not be tried.
pub(crate) fn untried(probe: &ProbeRow, why: &str) -> Outcome {
    Outcome {
        name: probe.name.clone(),
        wanted: Wanted::of(probe),
        missed: Some(format!("not to be tried: {why}")),
        report: None,
    }
}

/// Tries all probes of a state, as it is stored, over what they touch of it: what comes out is what [`run`] says over all of its
/// tables. Cost: the state's rows without its routes, two or three walks for each probe, and the routes on their ways.
///
/// # Errors
/// The state cannot be read, or does not compile.
pub(crate) fn of_state(rows: &dyn Rows, revision: u64) -> Result<Vec<Outcome>, TouchedError> {
    let mut touched = Touched::new(rows, revision)?;
    let configuration = touched.configuration();
    let learned = learned(configuration);
    let probes: Vec<ProbeRow> = configuration.probe.values().cloned().collect();
    // Where each will be looked up first is known without a walk.
    let first = probes.iter().filter_map(|probe| {
        let row = configuration.interface.get(&(probe.interface.clone(),))?;
        Some([probe.source, probe.destination].map(|address| (row.vpc.to_string(), address)))
    });
    let first: BTreeSet<_> = first.flatten().collect();
    touched.add(first)?;
    let mut trial = Trial::new(Instant(0), true);
    let mut outcomes: Vec<Option<Outcome>> = vec![None; probes.len()];
    let mut pending: Vec<usize> = (0..probes.len()).collect();
    while !pending.is_empty() {
        let mut walks = Vec::with_capacity(pending.len());
        for place in pending.drain(..) {
            let walked = walk_alone(&probes[place], touched.tables(), &mut trial);
            let unknown = match &walked {
                Ok(walked) => touched.unknown(std::slice::from_ref(walked)),
                Err(_) => BTreeSet::new(),
            };
            walks.push((place, walked, unknown));
        }
        let unknown = walks.iter().flat_map(|(.., unknown)| unknown.clone());
        let changed = touched.add(unknown.collect())?;
        for (place, walked, unknown) in walks {
            match unknown.is_disjoint(&changed) {
                true => {
                    let outcome = outcome_of(&probes[place], walked, touched.tables(), &learned);
                    outcomes[place] = Some(outcome);
                }
                false => pending.push(place),
            }
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

/// A line for each: its name, whether it passes, and what came of it.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    let heading = ["probe", "", "packet", ""].map(Cell::word).into();
    let rows = outcomes.iter().map(|outcome| {
        let report = outcome.report.as_ref();
        let packet = report
            .and_then(|report| report.packet.clone())
            .unwrap_or_default();
        let became = match (&outcome.missed, report) {
            (Some(missed), _) => format!("is to be {}, and is {missed}", outcome.wanted),
            (None, Some(report)) => text::outcome(report).trim_end().to_owned(),
            (None, None) => String::new(),
        };
        let state = if outcome.passes() { "passes" } else { "FAILS" };
        [
            outcome.name.to_string(),
            state.to_owned(),
            clean(&packet),
            clean(&became),
        ]
        .map(|text| Cell::word(&text))
        .into()
    });
    let lines = columns(&std::iter::once(heading).chain(rows).collect::<Vec<_>>());
    lines
        .iter()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The packet of a probe.
pub(crate) fn packet(probe: &ProbeRow) -> PacketText {
    let is_ipv4 = probe.source.is_ipv4();
    let ports = (
        probe.source_port.unwrap_or(SOURCE_PORT),
        probe.destination_port.unwrap_or_default(),
    );
    let icmp = || Upper::Icmp {
        message_type: probe.icmp_type.unwrap_or(if is_ipv4 {
            ECHO_REQUEST.0
        } else {
            ECHO_REQUEST.1
        }),
        code: probe.icmp_code.unwrap_or_default(),
        identifier: 1,
        sequence: 1,
    };
    let upper = match probe.protocol {
        None | Some(Protocol::Number(1 | 58)) => icmp(),
        Some(Protocol::Number(6)) | Some(Protocol::TcpUdp) => Upper::Tcp {
            ports,
            flags: TcpFlags::SYN,
            sequence: 0,
            acknowledgment: 0,
        },
        Some(Protocol::Number(17)) => Upper::Udp(ports),
        Some(Protocol::Number(132)) => Upper::Sctp(ports),
        Some(Protocol::Number(number)) => Upper::Other(Number(number)),
    };
    let interface = Some(probe.interface.to_string());
    PacketText::plain(interface, (probe.source, probe.destination), upper)
}

/// The problems of those that fail.
pub(crate) fn problems(outcomes: &[Outcome]) -> Vec<Problem> {
    outcomes.iter().filter_map(Outcome::problem).collect()
}

/// Whether a change may have to do with what becomes of a packet, or with what is wanted of one.
pub(crate) fn touches(changeset: &Changeset) -> bool {
    let mut rows = changeset.iter().map(Change::row);
    rows.any(|row| !matches!(row, Row::Exporter(_) | Row::Intent(_)))
}
