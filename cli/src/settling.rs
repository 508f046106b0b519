//! What the store did by the clock, in words.

use rewire_configdb::Settled;

use crate::view::revisions;

/// One line for people: `revision 7 was not confirmed in time: gone back to revision 5 as revision 8`.
pub(crate) fn describe(settled: &Settled) -> String {
    match settled {
        Settled::WentBack {
            unconfirmed,
            to,
            committed,
        } => {
            let was = match unconfirmed.start() == unconfirmed.end() {
                true => "was",
                false => "were",
            };
            let what = format!("{} {was} not confirmed in time", revisions(unconfirmed));
            match committed {
                Some(committed) => format!(
                    "{what}: gone back to revision {to} as revision {}",
                    committed.revision
                ),
                None => format!("{what}: the state is that of revision {to} already"),
            }
        }
        Settled::Committed {
            scheduled,
            committed,
        } => {
            format!(
                "scheduled commit {} of {} is done: revision {}",
                scheduled.id, scheduled.author, committed.revision
            )
        }
        Settled::Refused { scheduled } => {
            let why = scheduled
                .failed
                .as_ref()
                .map_or("", |(_, why)| why.as_str());
            format!(
                "scheduled commit {} of {} was refused: {why}",
                scheduled.id, scheduled.author
            )
        }
    }
}
