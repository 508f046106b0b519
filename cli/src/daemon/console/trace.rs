//! The packet tracer: `rewire trace` on the page.
//!
//! Where nothing else is said, the gateway is asked as it runs: the packet walks over its live tables, with copies of the
//! connections that it belongs to, and nothing is changed by it. Asked about revisions, it walks over what it touches of them.

use rewire_configdb::Store;
use rewire_schema::Table;
use rewire_schema::state::Rows;
use serde_json::{Value, json};

use super::api::{Query, Wrong, number, unknown};
use crate::daemon::Daemon;
use crate::daemon::trace::Manner as Live;
use crate::failure::{Code, Failure};
use crate::trace::packet_text::PacketText;
use crate::trace::under::{self, Manner, NO_REPLY};
use crate::trace::{Asked, Report, input, parting, rows, text};

/// Rows of a revision without its routes, which are compiled inside the gateway: tables of so many take a tenth of a second, and
/// 100 MB.
const MOST_ROWS: usize = 100_000;

/// What is asked.
pub(super) struct Question {
    asked: Asked,
    /// Whether the answer's way back is asked for.
    reply: bool,
    /// Under which revision; none for the gateway as it runs.
    on: Option<u64>,
    /// The revision under which its way may be another one.
    against: Option<u64>,
}

impl Question {
    /// What parameters ask: `packet`, or `frame` with `in`; `reply`; `on`; `against`. Those that are empty are not meant.
    pub(super) fn of(parameters: &Query) -> Result<Question, Wrong> {
        let (mut packet, mut frame, mut interface) = (None, None, None);
        let (mut reply, mut on, mut against) = (false, None, None);
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "packet" => packet = Some(value),
                "frame" => frame = Some(value),
                "in" => interface = Some(value.clone()),
                "reply" => reply = flag(name, value)?,
                "on" => on = Some(number(name, value)?),
                "against" => against = Some(number(name, value)?),
                _ => return Err(unknown(name)),
            }
        }
        let asked = match (packet, frame) {
            (Some(_), Some(_)) => {
                let why = "a packet is asked about in words or as a frame, not as both";
                return Err(Wrong::Question(why.to_owned()));
            }
            (None, Some(digits)) => Asked::Frame {
                interface,
                bytes: input::bytes(digits).map_err(Wrong::Question)?,
            },
            (packet, None) => {
                let mut packet = words(packet.map_or("", String::as_str))?;
                packet.interface = packet.interface.or(interface);
                Asked::Text(Box::new(packet))
            }
        };
        if reply && against.is_some() {
            let why = "the ways under two revisions are compared without their replies";
            return Err(Wrong::Question(why.to_owned()));
        }
        Ok(Question {
            asked,
            reply,
            on,
            against,
        })
    }

    /// What `rewire trace --json` says, with the `text` that people read.
    ///
    /// # Errors
    /// Nobody receives the packet, there is no such revision, or it is left to `rewire trace`, which has a process of its own.
    pub(super) fn answer(&self, daemon: &Daemon) -> Result<Value, Wrong> {
        // Not the one that others wait for: it is read for as long as it takes.
        let store = Store::open_read_only(&daemon.store)?;
        match (self.on, self.against) {
            (None, None) => self.live(daemon, &store),
            (Some(revision), None) => {
                let reports = self.under(&store, revision)?;
                let state = json!({ "name": revision.to_string(), "revision": revision });
                Ok(self.page(reports, &format!("revision {revision}"), state))
            }
            (on, Some(against)) => {
                let on = on.map_or_else(|| store.head(), Ok)?;
                self.difference(&store, on, against)
            }
        }
    }

    /// The walk over the live tables.
    fn live(&self, daemon: &Daemon, store: &Store) -> Result<Value, Wrong> {
        let manner = Live {
            assumes_neighbors: true,
            wants_reply: self.reply,
            has_connections: true,
        };
        let traced = daemon.try_live(self.asked.clone(), manner);
        let traced = traced.map_err(Wrong::Gateway)?.map_err(Failure::from)?;
        let mut reports: Vec<Report> = [traced.walk].into_iter().chain(traced.reply).collect();
        let revision = reports.first().map_or(0, |report| report.revision);
        rows::fill(&mut reports, store, revision, None)?;
        let name = format!("the running gateway, revision {revision}");
        let state = json!({ "name": "gateway", "revision": revision });
        Ok(self.page(reports, &name, state))
    }

    fn under(&self, store: &Store, revision: u64) -> Result<Vec<Report>, Wrong> {
        expect_small(store, revision)?;
        let manner = Manner {
            assumes_neighbors: true,
            wants_reply: self.reply,
        };
        Ok(under::reports(store, revision, None, &self.asked, manner)?)
    }

    fn page(&self, reports: Vec<Report>, name: &str, state: Value) -> Value {
        let pages = reports.iter().map(|report| text::page(report, name));
        let mut page = pages.collect::<Vec<_>>().join("\n");
        if self.reply && reports.len() < 2 {
            page.push_str(&format!("\n{NO_REPLY}\n"));
        }
        let mut reports = reports.iter().map(|report| json!(report));
        let mut answer = reports.next().unwrap_or_default();
        answer["state"] = state;
        if let Some(reply) = reports.next() {
            answer["reply"] = reply;
        }
        answer["text"] = json!(page);
        answer
    }

    fn difference(&self, store: &Store, from: u64, to: u64) -> Result<Value, Wrong> {
        let told = |revision: u64| -> Result<(String, Report), Wrong> {
            let report = self.under(store, revision)?.into_iter().next();
            let report =
                report.ok_or_else(|| Wrong::Gateway("a packet has one walk".to_owned()))?;
            Ok((format!("revision {revision}"), report))
        };
        let (from, to) = (told(from)?, told(to)?);
        let parting = parting::part(&from.1, &to.1);
        let page = match &parting {
            Some(parting) => parting.text(&from, &to),
            None => {
                let outcome = text::outcome(&from.1);
                format!("{outcome}no difference between {} and {}\n", from.0, to.0)
            }
        };
        Ok(json!({
            "differs": parting.is_some(),
            "first_step": parting.map(|parting| parting.first),
            "from": from.1,
            "to": to.1,
            "text": page,
        }))
    }
}

fn words(packet: &str) -> Result<PacketText, Wrong> {
    packet.parse::<PacketText>().map_err(|error| {
        let column = error.column;
        let message = format!("the packet cannot be read: {error} (column {column})");
        Wrong::Question(message)
    })
}

fn flag(name: &str, value: &str) -> Result<bool, Wrong> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            let why = format!("{name} is neither true nor false: {value:?}");
            Err(Wrong::Question(why))
        }
    }
}

/// Refuses a revision of which too much would be compiled.
fn expect_small(store: &Store, revision: u64) -> Result<(), Failure> {
    let reader = store.reader(revision)?;
    let mut rows = 0;
    for table in Table::ALL {
        if !matches!(table, Table::Route | Table::NextHop) {
            rows += reader.most(*table)?;
        }
    }
    if rows <= MOST_ROWS {
        return Ok(());
    }
    let message = format!(
        "revision {revision} has more than {MOST_ROWS} rows that are no routes: `rewire trace` does it"
    );
    Err(Failure::new(Code::WrongArguments, message))
}
