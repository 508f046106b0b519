use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rewire_configdb::{CandidateEdit, Counts};
use rewire_schema::edit::parse_script;
use rewire_schema::load::Mode;
use rewire_schema::state::Overlay;
use rewire_schema::{Changeset, Rows};
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::document;
use crate::edit::Editing;
use crate::failure::{Code, Failure};
use crate::view;

/// The ways to load a document, by their names.
pub(crate) const MODES: [(&str, How); 5] = [
    ("override", How::Document(Mode::Override)),
    ("merge", How::Document(Mode::Merge)),
    ("replace", How::Document(Mode::Replace)),
    ("patch", How::Document(Mode::Patch)),
    ("set", How::Commands),
];

/// What is loaded, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// A document.
    Document(Mode),
    /// Commands, one a line.
    Commands,
}

/// Load a document into the candidate
///
/// The document is in YAML or JSON. Nothing is committed: `rewire diff` shows what would change, `rewire commit` makes it
/// so.
///
///   override  the document is checked, and is the whole candidate (this is what a file alone means)
///   merge     what it says is set or added; nothing goes
///   replace   each VPC, interface, pool that it says takes the place of the one of that name, whole
///   patch     what it says is set or added, and null takes away (RFC 7396)
///   set       no document but commands: set, delete, rename and so on, one a line
///
/// All but the first go on from the candidate that there is; what they lead to is checked by `rewire check` and at the
/// commit.
#[derive(clap::Args)]
#[command(verbatim_doc_comment, override_usage = "rewire load [OPTIONS] [override|merge|replace|patch|set] <FILE>")]
pub(crate) struct Load {
    /// How, if not as the whole; and the document: - for standard input
    #[arg(value_name = "MODE> <FILE", num_args = 1..=2, required = true, add = completion::files_and(&MODES))]
    what: Vec<OsString>,
    #[command(flatten)]
    author: Author,
}

impl Load {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (mode, file) = mode_and_file(&self.what)?;
        match mode {
            How::Document(Mode::Override) => self.whole(context, &file),
            how => self.part(context, how, &file),
        }
    }

    /// Makes the document the whole candidate.
    fn whole(&self, context: &Context, file: &Path) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let waiting = context.waiting();
        let source = document::whole(file, &waiting)?;
        waiting.step("comparing it with the running configuration");
        let (base, running) = store.head_and_configuration()?;
        let changeset = Changeset::between(&running, &source.configuration);
        waiting.step("saving the candidate");
        let name = context.candidate();
        let edit = CandidateEdit {
            base,
            changeset: &changeset,
            drafts: "",
            author: &self.author.name(),
            expected_version: None,
        };
        store.save_candidate(&name, edit)?;
        Ok(loaded(context, &name, base, &changeset))
    }

    /// Changes the candidate, or makes one on the last revision, by what the document or the commands say.
    fn part(&self, context: &Context, how: How, file: &Path) -> Result<Answer, Failure> {
        let waiting = context.waiting();
        let mut store = context.open_to_write()?;
        let mut editing = Editing::open(context, &store)?;
        match how {
            How::Document(mode) => {
                let more = {
                    let base = editing.base(&store)?;
                    let state = Overlay::new(&base as &dyn Rows, &editing.edits.changeset);
                    document::load(file, mode, &state, &waiting)?
                };
                editing.add(&store, &more)?;
            }
            How::Commands => {
                waiting.step("reading the commands");
                let bytes = document::read(file)?;
                let script = parse_script(&document::name(file), &bytes)?;
                waiting.step("doing the commands");
                editing.run(&store, &script)?;
            }
        }
        waiting.step("saving the candidate");
        editing.save(&mut store, &self.author.name())?;
        for incomplete in editing.edits.incomplete() {
            context.note(&format!("note: {incomplete}"));
        }
        Ok(loaded(context, &editing.name, editing.base, &editing.edits.changeset))
    }
}

fn loaded(context: &Context, name: &str, base: u64, changeset: &Changeset) -> Answer {
    let counts = Counts::of(changeset);
    context.done(
        || format!("candidate: {} against revision {base}\n", view::sentence(counts)),
        || json!({ "candidate": name, "base": base, "rows": view::counts_json(counts) }),
    )
}

fn mode_and_file(what: &[OsString]) -> Result<(How, PathBuf), Failure> {
    let (mode, file) = match what {
        [file] => return Ok((How::Document(Mode::Override), file.into())),
        [mode, file] => (mode, file),
        // The parser lets no other number through.
        _ => return Err(Failure::new(Code::WrongArguments, "expected a document")),
    };
    match MODES.iter().find(|(name, _)| mode == name) {
        Some((_, how)) => Ok((*how, file.into())),
        None => {
            let names = MODES.map(|(name, _)| name).join(", ");
            let message = format!("expected one of {names} before the file, found \"{}\"", mode.display());
            Err(Failure::new(Code::WrongArguments, message))
        }
    }
}
