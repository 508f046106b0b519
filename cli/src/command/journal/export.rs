use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use rewire_configdb::Store;
use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::status_text::count;
use crate::view::Revision;

/// Write the journal to a file
///
/// The file holds all revisions, or some of them, with what proves that they are whole. `rewire journal import` makes a
/// store of it, or adds what another store of the same origin lacks. Where the journal was pruned, a file from its oldest
/// revision on holds the state before that, too, so that a store can be made of it.
#[derive(clap::Args)]
pub(crate) struct Export {
    /// The file, which must not be there yet; - for standard output
    #[arg(value_name = "FILE", default_value = "-", hide_default_value = true, value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// The first revision [default: the oldest that there is]
    #[arg(long, value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    from: Option<Revision>,
    /// The last revision [default: the last one]
    #[arg(long, value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    to: Option<Revision>,
}

impl Export {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        let first = match &self.from {
            Some(revision) => revision.number(&store)?.max(1),
            None => super::floor(&store)? + 1,
        };
        let last = self.to.as_ref().unwrap_or(&Revision::Running).number(&store)?;
        let waiting = context.waiting();
        waiting.step("exporting");
        if self.file.as_os_str() == "-" {
            let out = std::io::stdout();
            if out.is_terminal() || context.json {
                let message = "the journal is no text: name a file for it";
                return Err(Failure::new(Code::WrongArguments, message));
            }
            write(&store, first..=last, out.lock())?;
            drop(waiting);
            return Ok(context.done(String::new, || json!({})));
        }
        let name = self.file.display().to_string();
        let cannot = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Failure::new(Code::Exists, format!("{name} is there already"))
                .help("a journal is never written over something: take another name"),
            _ => Failure::new(Code::Output, format!("cannot write {name}: {error}")),
        };
        let file = File::create_new(&self.file).map_err(cannot)?;
        let written = write(&store, first..=last, &file).and_then(|count| {
            file.sync_all().map_err(cannot)?;
            Ok(count)
        });
        drop(waiting);
        let entries = match written {
            Ok(entries) => entries,
            Err(failure) => {
                // Half a journal is none.
                let _ = std::fs::remove_file(&self.file);
                return Err(failure);
            }
        };
        Ok(context.done(
            || format!("wrote {} to {name}\n", count(entries, "revision")),
            || json!({ "file": name, "revisions": entries }),
        ))
    }
}

fn write(store: &Store, revisions: RangeInclusive<u64>, sink: impl Write) -> Result<u64, Failure> {
    let mut out = BufWriter::new(sink);
    let count = store.export(revisions, &mut out)?;
    out.flush()
        .map_err(|error| Failure::new(Code::Output, format!("cannot write the journal: {error}")))?;
    Ok(count)
}
