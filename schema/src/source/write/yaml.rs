//! YAML in its plain form: maps and lists by indentation, every word on its line. Text is quoted where a reader of YAML 1.2,
//! or of 1.1, could take it for something else.

use std::io::{self, Write};

use serde_json::Value as Json;

use super::{Form, Open, new_line};
use crate::source::yaml::resolve;

pub(super) struct YamlText<'o> {
    out: &'o mut dyn Write,
    open: Vec<Open>,
    /// Whether a key stands before what comes next.
    after_key: bool,
    /// Whether a dash does.
    after_dash: bool,
    started: bool,
}

impl<'o> YamlText<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        YamlText {
            out,
            open: Vec::new(),
            after_key: false,
            after_dash: false,
            started: false,
        }
    }

    /// What stands before a key or an item: a line of its own, but for the first key behind a dash.
    fn begin(&mut self) -> io::Result<()> {
        let depth = self.open.len().saturating_sub(1);
        let Some(open) = self.open.last_mut() else {
            return Ok(());
        };
        let first = std::mem::take(&mut open.empty);
        let item = !open.map;
        let dash = std::mem::take(&mut self.after_dash);
        if self.started && !(dash && first) {
            new_line(self.out, depth)?;
        }
        self.started = true;
        if item {
            self.after_dash = true;
            self.out.write_all(b"- ")?;
        }
        Ok(())
    }

    /// What stands before a value.
    fn before_value(&mut self, word: bool) -> io::Result<()> {
        if std::mem::take(&mut self.after_key) {
            if word {
                self.out.write_all(b" ")?;
            }
            return Ok(());
        }
        self.begin()
    }
}

impl Form for YamlText<'_> {
    fn open(&mut self, map: bool) -> io::Result<()> {
        self.before_value(false)?;
        self.open.push(Open { map, empty: true });
        Ok(())
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        if open.empty {
            // Behind a key; behind a dash the space is there already.
            if self.open.last().is_some_and(|above| above.map) {
                self.out.write_all(b" ")?;
            }
            self.out.write_all(if open.map { b"{}" } else { b"[]" })?;
        }
        self.after_dash = false;
        self.started = true;
        Ok(())
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        self.begin()?;
        self.after_key = true;
        if is_plain(key) && !key.contains([':', ' ', '#']) {
            self.out.write_all(key.as_bytes())?;
        } else {
            quoted(self.out, key)?;
        }
        self.out.write_all(b":")
    }

    fn scalar(&mut self, value: &Json) -> io::Result<()> {
        self.before_value(true)?;
        self.after_dash = false;
        match value {
            Json::String(text) if is_plain(text) => self.out.write_all(text.as_bytes()),
            Json::String(text) => quoted(self.out, text),
            other => write!(self.out, "{other}"),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.write_all(b"\n")
    }
}

/// Whether a text means itself without quotes.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (text.chars().next(), bytes.last()) else {
        return false;
    };
    let ordinary =
        |c: char| matches!(c, ' '..='~') || (c > '~' && c.is_alphanumeric()) || is_picture(c);
    first.is_alphanumeric()
        && !matches!(last, b' ' | b':')
        && (text.is_ascii() && bytes.iter().all(|b| matches!(b, b' '..=b'~'))
            || text.chars().all(ordinary))
        && !text.contains(": ")
        && !text.contains(" #")
        && !(first.is_ascii() && looks_like_a_number(bytes))
        && resolve(text).is_none()
        && !WORDS.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// What YAML 1.1 takes for true and false.
const WORDS: [&str; 8] = ["y", "n", "yes", "no", "on", "off", "true", "false"];

fn is_picture(c: char) -> bool {
    matches!(c, '\u{1f300}'..='\u{1faff}')
}

/// Whether YAML 1.1 could take it for a number (with underscores, or to the base of 60) or a date.
fn looks_like_a_number(bytes: &[u8]) -> bool {
    if !bytes[0].is_ascii_digit() {
        return false;
    }
    let count = |wanted: u8| bytes.iter().filter(|b| **b == wanted).count();
    let only = |more: &[u8]| bytes.iter().all(|b| b.is_ascii_digit() || more.contains(b));
    let prefixed = bytes.len() > 1 && bytes[0] == b'0' && b"xXoObB".contains(&bytes[1]);
    prefixed
        || (only(b"_.eE+-")
            && count(b'.') <= 1
            && count(b'-') <= 1
            && !(count(b'-') == 1 && only(b"-")))
        || (only(b":_.") && count(b':') > 0 && bytes[0] != b'0')
        || (only(b"-:tTzZ .+") && count(b'-') == 2)
}

fn quoted(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    let mut rest = text;
    while let Some(at) = rest.find(needs_escape) {
        let (plain, special) = rest.split_at(at);
        out.write_all(plain.as_bytes())?;
        let mut chars = special.chars();
        match chars.next() {
            Some(c @ ('"' | '\\')) => write!(out, "\\{c}")?,
            Some('\n') => out.write_all(b"\\n")?,
            Some('\t') => out.write_all(b"\\t")?,
            Some(c) if u32::from(c) <= 0xffff => write!(out, "\\u{:04x}", u32::from(c))?,
            Some(c) => write!(out, "\\U{:08x}", u32::from(c))?,
            None => {}
        }
        rest = chars.as_str();
    }
    out.write_all(rest.as_bytes())?;
    out.write_all(b"\"")
}

fn needs_escape(c: char) -> bool {
    let beyond = u32::from(c) & 0xfffe == 0xfffe;
    matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}') || c.is_control() || beyond
}
