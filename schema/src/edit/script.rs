//! Commands in a text, one a line: what `load set` reads, and how errors in it are shown.

use std::ops::Range;
use std::sync::Arc;

use crate::edit::apply::apply;
use crate::edit::command::Command;
use crate::edit::edits::Edits;
use crate::edit::error::EditError;
use crate::edit::words::{self, Unclosed, Word, quote};
use crate::source;
use crate::source::diagnostic::{Diagnostic, Diagnostics, Text};
use crate::state::Rows;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The most errors of one text that are gathered.
const MOST_ERRORS: usize = 1000;

/// A command of a text.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it asks for.
    pub command: Command,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    words: Vec<Word>,
}

/// The commands of a text.
#[derive(Clone, Debug)]
pub struct Script {
    /// In the order of the text.
    pub lines: Vec<Line>,
    text: Arc<Text>,
}

/// Reads commands from a text. `#` begins a comment; empty lines are none. `name` is what errors call the text. Cost: the
/// text.
///
/// # Errors
///
/// Everything that is wrong with the words, with file, line and column.
pub fn parse_script(name: &str, bytes: &[u8]) -> Result<Script, Diagnostics> {
    let text = source::text(
        name,
        bytes
            .strip_prefix(BYTE_ORDER_MARK)
            .unwrap_or(bytes)
            .to_vec(),
    )?;
    let mut lines = Vec::new();
    let mut errors = Vec::new();
    let mut start = 0;
    for line in text.as_str().split_inclusive('\n') {
        let at = start;
        start += line.len();
        if errors.len() >= MOST_ERRORS {
            break;
        }
        match words::split(line) {
            Err(open) => errors.push(unclosed(&open, at, line.trim_end().len())),
            Ok(words) => {
                let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
                let (Some(first), Some(last)) = (words.first(), words.last()) else {
                    continue;
                };
                match Command::parse(&texts) {
                    Ok(command) => {
                        let span = at + first.span.start..at + last.span.end;
                        lines.push(Line {
                            command,
                            span,
                            words: shifted(words, at),
                        });
                    }
                    Err(error) => errors.push(diagnostic(&error, &shifted(words, at))),
                }
            }
        }
    }
    match errors.is_empty() {
        true => Ok(Script { lines, text }),
        false => Err(Diagnostics::new(text, errors)),
    }
}

impl Script {
    /// Does all commands to edits, in turn.
    ///
    /// # Errors
    ///
    /// At the first command that does not fit, with its place. Nothing is changed then.
    pub fn apply(&self, rows: &dyn Rows, edits: &mut Edits) -> Result<(), Diagnostics> {
        let before = edits.clone();
        for line in &self.lines {
            if let Err(error) = apply(rows, edits, &line.command) {
                *edits = before;
                let errors = vec![diagnostic(&error, &line.words)];
                return Err(Diagnostics::new(self.text.clone(), errors));
            }
        }
        Ok(())
    }
}

/// What is wrong with one command, as people read it: the command with a mark under the word that is meant. `name` is
/// what the text is called that it stands in, `line` its line there, from 1.
pub fn explain<W: AsRef<str>>(
    name: &str,
    line: usize,
    words: &[W],
    error: &EditError,
) -> Diagnostics {
    let mut text = "\n".repeat(line.saturating_sub(1));
    let start = text.len();
    let mut placed = Vec::with_capacity(words.len());
    for word in words {
        if text.len() > start {
            text.push(' ');
        }
        let start = text.len();
        // It is to be one line.
        let word: String = word.as_ref().chars().filter(|c| !c.is_control()).collect();
        text.push_str(&quote(&word));
        placed.push(Word {
            text: word,
            span: start..text.len(),
        });
    }
    let error = diagnostic(error, &placed);
    Diagnostics::new(Arc::new(Text::new(name, text)), vec![error])
}

/// What is open in a line, as people read it; `name` and `number` as for [`explain`].
pub fn explain_open(name: &str, number: usize, line: &str, open: &Unclosed) -> Diagnostics {
    let above = "\n".repeat(number.saturating_sub(1));
    let error = unclosed(open, above.len(), line.trim_end().len());
    let text = Text::new(name, above + line);
    Diagnostics::new(Arc::new(text), vec![error])
}

fn unclosed(open: &Unclosed, line: usize, length: usize) -> Diagnostic {
    let span = line + open.at..line + length.max(open.at);
    Diagnostic::new(span, open.to_string())
}

fn shifted(mut words: Vec<Word>, by: usize) -> Vec<Word> {
    for word in &mut words {
        word.span = word.span.start + by..word.span.end + by;
    }
    words
}

fn diagnostic(error: &EditError, words: &[Word]) -> Diagnostic {
    let end = words.last().map_or(0, |word| word.span.end);
    let start = words.first().map_or(0, |word| word.span.start);
    let span = match error.word() {
        Some(word) => words.get(word).map_or(end..end, |word| word.span.clone()),
        None => start..end,
    };
    let text = error.to_string();
    let path = error.path().cloned().unwrap_or_default();
    // Where the message begins with the path, that is said by the path itself.
    let mut diagnostic = match text.strip_prefix(&format!("{path}: ")) {
        Some(message) => Diagnostic {
            path,
            ..Diagnostic::new(span, message)
        },
        None => Diagnostic::new(span, text),
    };
    diagnostic.help = error.help();
    diagnostic
}
