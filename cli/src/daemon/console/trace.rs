//! The packet tracer: `rewire trace` on the page. A packet walks over the tables of a revision, which are compiled for it; nothing of the
//! gateway's own is touched.

use rewire_configdb::Store;
use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use serde_json::{Value, json};

use crate::failure::{Code, Failure};
use crate::trace::packet_text::PacketText;
use crate::trace::{self, Asked, Report, rows, text, walk};

/// Rows of a configuration that is compiled inside the gateway: tables of so many take a tenth of a second, and 100 MB.
const MOST_ROWS: usize = 100_000;

/// Where a packet goes under a revision, or under the last one: what `rewire trace --json` says, and its `text`.
///
/// # Errors
/// The packet cannot be read, nobody receives it, or there is no such revision. A configuration with more rows is left to
/// `rewire trace`, which compiles it in a process of its own.
pub(super) fn trace(store: &Store, packet: &str, revision: Option<u64>) -> Result<Value, Failure> {
    let packet = packet.parse::<PacketText>().map_err(|error| {
        let column = error.column;
        let message = format!("the packet cannot be read: {error} (column {column})");
        Failure::new(Code::WrongArguments, message)
    })?;
    let (revision, configuration) = match revision {
        Some(revision) => (revision, store.configuration_at(revision)?),
        None => store.head_and_configuration()?,
    };
    if configuration.len() > MOST_ROWS {
        let message =
            format!("revision {revision} has more than {MOST_ROWS} rows: `rewire trace` does it");
        return Err(Failure::new(Code::WrongArguments, message));
    }
    let tables = trace::tables(configuration, revision)?;
    let mut trial = Trial::new(Instant(0), true);
    let walked = walk(&tables, &Asked::Text(Box::new(packet)), &mut trial)?;
    let mut report = Report::of(&walked, &tables);
    rows::fill(&mut report, store, revision, None)?;
    let mut answer = json!(report);
    answer["revision"] = json!(revision);
    answer["text"] = json!(text::page(&report, &format!("revision {revision}")));
    Ok(answer)
}
