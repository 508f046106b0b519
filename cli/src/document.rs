//! Documents from files and from standard input, loaded into a state.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use rewire_schema::load::{self, LoadError, Mode};
use rewire_schema::source::{self, LARGEST_DOCUMENT, Source};
use rewire_schema::{Changeset, Rows};

use crate::checker;
use crate::failure::{Code, Failure, with_sources};
use crate::waiting::Waiting;

/// What messages call a document.
pub(crate) fn name(file: &Path) -> String {
    match is_standard_input(file) {
        true => "<stdin>".to_owned(),
        false => file.display().to_string(),
    }
}

/// Whether a name stands for standard input.
pub(crate) fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == OsStr::new("-")
}

/// The bytes of a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    // What is known to be too large is not read.
    let size = std::fs::metadata(file).ok().filter(|found| found.is_file());
    if let Some(size) = size
        .map(|found| found.len())
        .filter(|_| !is_standard_input(file))
        && size > LARGEST_DOCUMENT as u64
    {
        let name = name(file);
        let message = format!("{name} has {size} bytes; at most {LARGEST_DOCUMENT} are taken");
        return Err(Failure::new(Code::BadDocument, message));
    }
    let mut bytes = Vec::new();
    // One byte more than is taken, so that what is too large is seen to be.
    let limit = LARGEST_DOCUMENT as u64 + 1;
    let read = match is_standard_input(file) {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => {
            std::fs::File::open(file).and_then(|file| file.take(limit).read_to_end(&mut bytes))
        }
    };
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => {
            let message = format!("cannot read {}: {error}", name(file));
            Err(Failure::new(Code::UnreadableFile, message))
        }
    }
}

/// A document that is a whole configuration, read and checked. Every error comes with its place in the text.
pub(crate) fn whole(file: &Path, waiting: &Waiting) -> Result<Source, Failure> {
    waiting.step("reading the document");
    let bytes = read(file)?;
    let source = source::read_with(&name(file), bytes, &mut |done, all| waiting.part(done, all))?;
    waiting.step("checking the document");
    match checker::check(&source.configuration) {
        Ok(()) => Ok(source),
        Err(refusal) => Err(source.diagnose(refusal.0).into()),
    }
}

/// What a document changes in a state.
pub(crate) fn load(
    file: &Path,
    mode: Mode,
    state: &dyn Rows,
    waiting: &Waiting,
) -> Result<Changeset, Failure> {
    waiting.step("reading the document");
    let bytes = read(file)?;
    let loaded = load::load_with(&name(file), bytes, mode, state, &mut |done, all| {
        waiting.part(done, all)
    })?;
    Ok(loaded.changeset)
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Document(diagnostics) => diagnostics.into(),
            LoadError::State(error) => Failure::new(Code::StoreFailed, with_sources(&error)),
        }
    }
}
