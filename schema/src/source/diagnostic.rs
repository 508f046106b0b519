//! Errors with their place in a text, and how people see them.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::event::Span;
use super::place;
use crate::document::Path;

/// The largest number of errors that are shown; the rest is counted.
const MOST_SHOWN: usize = 50;
/// A line longer than this is not shown, in bytes; its errors keep their line and column.
const LONGEST_LINE: usize = 4096;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The field or object; the empty path is the document itself.
    pub path: Path,
    /// What is wrong: what was expected, and what was found.
    pub message: String,
    /// What to do about it, when that can be told.
    pub help: Option<String>,
    /// The field that it is about and what that is for.
    pub note: Option<String>,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// Another place that belongs to it.
    pub related: Option<Box<Related>>,
}

/// Another place that belongs to an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
    /// What is there.
    pub label: String,
}

impl Diagnostic {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            path: Path::default(),
            message: message.into(),
            help: None,
            note: None,
            span,
            related: None,
        }
    }
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text with its name, and where its lines begin.
#[derive(Debug)]
pub(crate) struct Text {
    name: String,
    text: String,
    /// The first byte of each line, found when it is asked for.
    lines: OnceLock<Vec<usize>>,
}

impl Text {
    pub(crate) fn new(name: &str, text: String) -> Self {
        Text {
            name: name.to_owned(),
            text,
            lines: OnceLock::new(),
        }
    }

    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let breaks = self.text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
            let starts = breaks.map(|(at, _)| at + 1);
            std::iter::once(0).chain(starts).collect()
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The line (from 0) of a byte, and the bytes of that line without its end.
    fn line(&self, at: usize) -> (usize, Range<usize>) {
        let lines = self.lines();
        let line = lines.partition_point(|start| *start <= at).max(1) - 1;
        let start = lines[line];
        let next = lines.get(line + 1).copied();
        let end = next.map_or(self.text.len(), |next| next - 1);
        let carriage_return = self.text[..end].ends_with('\r');
        let end = end - usize::from(carriage_return);
        (line, start..end.max(start))
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub(super) fn position(&self, at: usize) -> (usize, usize) {
        let (line, range) = self.line(at);
        let before = self.text.get(range.start..at.min(self.text.len()));
        (line + 1, before.map_or(0, |b| b.chars().count()) + 1)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Text {}

/// Everything that is wrong with a document, in the order of the text. `Display` is what people read, without colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    text: Arc<Text>,
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    pub(crate) fn new(text: Arc<Text>, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|d| d.span.start);
        for diagnostic in &mut list {
            if diagnostic.note.is_none() && diagnostic.related.is_none() {
                diagnostic.note = place::of(&diagnostic.path).doc;
            }
        }
        Diagnostics { text, list }
    }

    /// The errors, in the order of the text. There is at least one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Diagnostic> {
        self.list.iter()
    }
    /// The number of errors.
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
    /// The name of the document, as it was given.
    pub fn name(&self) -> &str {
        &self.text.name
    }
    /// Line and column of an error, both from 1; the column counts characters.
    pub fn position(&self, diagnostic: &Diagnostic) -> (usize, usize) {
        self.text.position(diagnostic.span.start)
    }

    /// All errors as people read them: what is wrong, file, line and column, the line itself with a mark under what is
    /// meant, and help. After the first 50 the rest is counted. With `colour`, the codes of a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut out = String::new();
        // What a field is for is said once.
        let mut noted = HashSet::new();
        for diagnostic in self.list.iter().take(MOST_SHOWN) {
            let note = diagnostic
                .note
                .as_deref()
                .filter(|note| noted.insert(*note));
            out.push_str(&self.render_one(&renderer, diagnostic, note));
            out.push_str("\n\n");
        }
        let more = self.list.len().saturating_sub(MOST_SHOWN);
        if more > 0 {
            out.push_str(&format!("and {more} more\n\n"));
        }
        out.truncate(out.trim_end().len());
        out
    }

    fn render_one(
        &self,
        renderer: &Renderer,
        diagnostic: &Diagnostic,
        note: Option<&str>,
    ) -> String {
        let message = if diagnostic.path.steps().is_empty() {
            diagnostic.message.clone()
        } else {
            format!("{}: {}", diagnostic.path, diagnostic.message)
        };
        let mut group = Level::ERROR
            .primary_title(normalize_untrusted_str(&message))
            .elements(std::iter::empty::<
                Snippet<'_, annotate_snippets::Annotation<'_>>,
            >());
        group = self.place(group, &diagnostic.span, AnnotationKind::Primary, None);
        if let Some(related) = &diagnostic.related {
            let label = Some(related.label.as_str());
            group = self.place(group, &related.span, AnnotationKind::Context, label);
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
        }
        if let Some(note) = note {
            group = group.element(Level::NOTE.message(normalize_untrusted_str(note)));
        }
        renderer.render(&[group])
    }

    /// Adds the line of a place with a mark under it. Only that line goes to the renderer: its cost is that of what it
    /// is given.
    fn place<'a>(
        &'a self,
        group: Group<'a>,
        span: &Span,
        kind: AnnotationKind,
        label: Option<&'a str>,
    ) -> Group<'a> {
        let (line, range) = self.text.line(span.start);
        if range.len() > LONGEST_LINE {
            let (line, column) = self.text.position(span.start);
            return group.element(
                Origin::path(&*self.text.name)
                    .line(line)
                    .char_column(column),
            );
        }
        let source = &self.text.text[range.clone()];
        let start = span.start.clamp(range.start, range.end) - range.start;
        let end = span.end.clamp(range.start + start, range.end) - range.start;
        // What is wrong with a map as a whole is said at its first byte: then its first character is marked.
        let start = source.floor_char_boundary(start);
        let end = source.ceil_char_boundary(end);
        let end = start + source[start..end].trim_end().len();
        group.element(
            Snippet::source(source)
                .path(&*self.text.name)
                .line_start(line + 1)
                .annotation(kind.span(start..end).label(label)),
        )
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
