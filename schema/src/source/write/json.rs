//! Indented JSON.

use std::io::{self, Write};

use serde_json::Value as Json;

use super::{Form, Open, new_line};

pub(super) struct JsonText<'o> {
    out: &'o mut dyn Write,
    open: Vec<Open>,
    /// Whether a key stands before what comes next.
    after_key: bool,
}

impl<'o> JsonText<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        JsonText {
            out,
            open: Vec::new(),
            after_key: false,
        }
    }

    /// What stands before a key or an item.
    fn begin(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.after_key) {
            return Ok(());
        }
        let depth = self.open.len();
        if let Some(open) = self.open.last_mut() {
            if !std::mem::take(&mut open.empty) {
                self.out.write_all(b",")?;
            }
            new_line(self.out, depth)?;
        }
        Ok(())
    }
}

impl Form for JsonText<'_> {
    fn open(&mut self, map: bool) -> io::Result<()> {
        self.begin()?;
        self.open.push(Open { map, empty: true });
        self.out.write_all(if map { b"{" } else { b"[" })
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        if !open.empty {
            new_line(self.out, self.open.len())?;
        }
        self.out.write_all(if open.map { b"}" } else { b"]" })
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        self.begin()?;
        self.after_key = true;
        text(self.out, key)?;
        self.out.write_all(b": ")
    }

    fn scalar(&mut self, value: &Json) -> io::Result<()> {
        self.begin()?;
        match value {
            Json::String(value) => text(self.out, value),
            other => write!(self.out, "{other}"),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn text(out: &mut dyn Write, value: &str) -> io::Result<()> {
    if value
        .bytes()
        .all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\')
    {
        out.write_all(b"\"")?;
        out.write_all(value.as_bytes())?;
        return out.write_all(b"\"");
    }
    serde_json::to_writer(out, value).map_err(io::Error::from)
}
