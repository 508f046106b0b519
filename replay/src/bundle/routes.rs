//! What routing daemons said, in a file that people and `jq` read: one update a line, as JSON, in order.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use super::error::BundleError;
use crate::heard::HeardRoute;

/// Writes one update.
pub(super) fn write(sink: &mut impl Write, heard: &HeardRoute) -> io::Result<()> {
    serde_json::to_writer(&mut *sink, heard)?;
    sink.write_all(b"\n")
}

/// Reads all of them.
pub(super) fn read(path: &Path) -> Result<Vec<HeardRoute>, BundleError> {
    let failed = |source| BundleError::Read {
        path: path.to_owned(),
        source,
    };
    let lines = BufReader::new(File::open(path).map_err(failed)?).lines();
    let mut heard = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let read = serde_json::from_str(&line.map_err(failed)?);
        heard.push(read.map_err(|error| BundleError::Line {
            path: path.to_owned(),
            line: number,
            why: error.to_string(),
        })?);
    }
    Ok(heard)
}
