use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rewire_configdb::Store;
use serde_json::json;

use crate::answer::Answer;
use crate::checker;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::status_text::count;

/// Read the journal from a file
///
/// Where there is no store, one is made of it, with the same origin. Otherwise the revisions that the store lacks are
/// added: all of them or none. Each is checked against its hash and the digest of its state; where the file and the store
/// have different revisions of one number, the first such is named, and nothing is changed. The last revision must pass the
/// check that a commit must pass; those before it are history.
#[derive(clap::Args)]
pub(crate) struct Import {
    /// The file; - for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

impl Import {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let source = open(&self.file)?;
        let store = context.store.display().to_string();
        let waiting = context.waiting();
        waiting.step("importing");
        if std::fs::symlink_metadata(&context.store).is_err() {
            let checker = &mut checker::checker();
            let made = Store::create_from(&context.store, source, checker)?;
            let (head, floor) = (made.head()?, super::floor(&made)?);
            drop(waiting);
            let revisions = head - floor;
            return Ok(context.done(
                || match floor {
                    0 => format!("made the store {store} of {}\n", count(revisions, "revision")),
                    floor => format!(
                        "made the store {store} of {} and the state of revision {floor}: the last one is {head}\n",
                        count(revisions, "revision")
                    ),
                },
                || json!({ "store": store, "created": true, "known": 0, "revisions": revisions, "head": head }),
            ));
        }
        let imported = context.open_to_write()?.import(source, &mut checker::checker())?;
        drop(waiting);
        let (known, added, head) = (imported.known, imported.added, imported.head);
        Ok(context.done(
            || format!("added {}: the last one is {head}\n", count(added, "revision")),
            || json!({ "store": store, "created": false, "known": known, "revisions": added, "head": head }),
        ))
    }
}

fn open(file: &Path) -> Result<Box<dyn Read>, Failure> {
    if file.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened = File::open(file).map_err(|error| {
        let message = format!("cannot read {}: {error}", file.display());
        Failure::new(Code::UnreadableFile, message)
    })?;
    Ok(Box::new(BufReader::new(opened)))
}
