//! Standard output and error: colours only for a terminal, no panic on a closed pipe, no control characters from data.

use std::io::{ErrorKind, IsTerminal, Write};

use crate::failure::{Exit, Failure};

/// Whether standard output gets colours: it is a terminal, and NO_COLOR is not set (no-color.org).
pub(crate) fn colour_output() -> bool {
    std::io::stdout().is_terminal() && colours_wanted()
}

/// Whether standard error gets colours.
pub(crate) fn colour_errors() -> bool {
    std::io::stderr().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text in a colour (the parameters of SGR, ECMA-48), if wanted.
pub(crate) fn paint(text: &str, colour: &str, wanted: bool) -> String {
    if wanted {
        format!("\u{1b}[{colour}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// Text that came from data, without anything that a terminal would act on.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Writes to standard output. A reader that has gone away (`rewire log | head`) is no error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::Failed,
            format!("cannot write the output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes an error to standard error, as well as it can.
pub(crate) fn complain(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Says something on standard error that is no error.
pub(crate) fn note(text: &str) {
    complain(&format!("{text}\n"));
}
