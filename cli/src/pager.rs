//! Paging: output that is longer than the screen goes through a pager.

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use rustix::termios::tcgetwinsize;

use crate::failure::Failure;
use crate::terminal;

/// What shows long output where `PAGER` says nothing: it passes colours on, and leaves the text standing at its end. A
/// machine without it is none the worse.
const PAGER: &str = "command -v less >/dev/null || exit 127; exec less -FRX";

/// Writes to standard output; through `$PAGER` where that is a terminal with fewer lines. Where no pager can be started,
/// the text is written as it is.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    if is_longer_than_the_screen(text) && page(text) {
        return Ok(());
    }
    terminal::print(text)
}

fn is_longer_than_the_screen(text: &str) -> bool {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return false;
    }
    let Ok(size) = tcgetwinsize(&out) else {
        return false;
    };
    let (rows, columns) = (usize::from(size.ws_row), usize::from(size.ws_col).max(1));
    // Colours make a line look longer than it is: at worst a pager that ends at once.
    let height = |line: &str| line.chars().count().div_ceil(columns).max(1);
    rows > 0 && text.lines().map(height).sum::<usize>() >= rows
}

/// Whether a pager took the text.
fn page(text: &str) -> bool {
    let pager = std::env::var("PAGER").unwrap_or_else(|_| PAGER.to_owned());
    if pager.trim().is_empty() || pager.trim() == "cat" {
        return false;
    }
    // A shell reads PAGER as people write it, with options; it ends with 127 where there is no such program.
    let mut command = Command::new("sh");
    command.args(["-c", &pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        command.env("LESS", "FRX");
    }
    let Ok(mut child) = command.spawn() else {
        return false;
    };
    if let Some(mut input) = child.stdin.take() {
        // Who leaves the pager early has seen enough.
        let _ = input.write_all(text.as_bytes());
    }
    child.wait().is_ok_and(|status| status.code() != Some(127))
}
