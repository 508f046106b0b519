//! The walks of a packet under a state of the store, told whole: with who wrote what decided them.

use rewire_configdb::Store;
use rewire_schema::Changeset;
use rewire_schema::state::Overlay;

use super::{Asked, Report, rows, touched};
use crate::failure::Failure;

/// What is said where no answer was made.
pub(crate) const NO_REPLY: &str = "no reply: nothing was forwarded that could be answered";

/// How a packet is tried.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Whether neighbors that are not known are assumed; else the packet waits for them.
    pub(crate) assumes_neighbors: bool,
    /// Whether its answer walks back.
    pub(crate) wants_reply: bool,
}

/// The walk of a packet under a revision with edits on top, and that of its reply where it is asked for and there is any. Cost: the
/// rows of the state without its routes, and the routes on the way; the changesets since that revision.
///
/// # Errors
/// There is no such state, it does not compile, or it is not known which interface receives the packet.
pub(crate) fn reports(
    store: &Store,
    revision: u64,
    edits: Option<&Changeset>,
    asked: &Asked,
    manner: Manner,
) -> Result<Vec<Report>, Failure> {
    let (tables, walks) = {
        // The store can be asked for more when this is over.
        let reader = store.reader(revision)?;
        let none = Changeset::default();
        let state = Overlay::new(&reader, edits.unwrap_or(&none));
        let how = (manner.assumes_neighbors, manner.wants_reply);
        touched::walks(&state, revision, asked, how)?
    };
    let reports = walks.iter().map(|walked| Report::of(walked, &tables));
    let mut reports: Vec<Report> = reports.collect();
    rows::fill(&mut reports, store, revision, edits)?;
    Ok(reports)
}
