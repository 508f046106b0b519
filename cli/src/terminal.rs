//! Standard output and error: colours only where they are wanted, no panic on a closed pipe, no control characters from
//! data.

use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal, Write};

use crate::failure::{Code, Failure};

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb; elsewhere where CLICOLOR_FORCE is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// Whether a stream gets colours. An option beats the environment, where NO_COLOR (no-color.org) beats
    /// CLICOLOR_FORCE (bixense.com/clicolors).
    fn wanted(self, is_terminal: bool, environment: impl Fn(&str) -> Option<OsString>) -> bool {
        let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let is_dumb = || environment("TERM").is_some_and(|term| term == "dumb");
        match self {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto if is_set("NO_COLOR") => false,
            Colour::Auto if is_set("CLICOLOR_FORCE") => {
                environment("CLICOLOR_FORCE").is_some_and(|value| value != "0")
                    || (is_terminal && !is_dumb())
            }
            Colour::Auto => is_terminal && !is_dumb(),
        }
    }
}

/// Whether standard output gets colours.
pub(crate) fn colour_output(colour: Colour) -> bool {
    colour.wanted(std::io::stdout().is_terminal(), |name| {
        std::env::var_os(name)
    })
}

/// Whether standard error gets colours.
pub(crate) fn colour_errors(colour: Colour) -> bool {
    colour.wanted(std::io::stderr().is_terminal(), |name| {
        std::env::var_os(name)
    })
}

/// What the arguments say about colours, for their own help and errors.
pub(crate) fn help_colours(arguments: &[OsString]) -> clap::ColorChoice {
    let words: Vec<_> = arguments
        .iter()
        .take_while(|word| *word != "--")
        .filter_map(|word| word.to_str())
        .collect();
    let apart = words
        .windows(2)
        .filter(|pair| pair[0] == "--color")
        .map(|pair| pair[1]);
    let joined = words
        .iter()
        .filter_map(|word| word.strip_prefix("--color="));
    match apart.chain(joined).last() {
        Some("always") => clap::ColorChoice::Always,
        Some("never") => clap::ColorChoice::Never,
        _ => clap::ColorChoice::Auto,
    }
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
    print_or_end(text).map(|_| ())
}

/// The same; false where the reader has gone away, which is the end of what has no other.
pub(crate) fn print_or_end(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Code::Output,
            format!("cannot write the output: {error}"),
        )),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_where_they_are_wanted() {
        use Colour::{Always, Auto, Never};
        type Case = (Colour, bool, &'static [(&'static str, &'static str)], bool);
        let cases: [Case; 12] = [
            (Auto, true, &[], true),
            (Auto, false, &[], false),
            (Auto, true, &[("TERM", "dumb")], false),
            (Auto, true, &[("NO_COLOR", "1")], false),
            (Auto, true, &[("NO_COLOR", "")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "1")], true),
            (Auto, false, &[("CLICOLOR_FORCE", "0")], false),
            (Auto, true, &[("CLICOLOR_FORCE", "0")], true),
            (
                Auto,
                false,
                &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")],
                false,
            ),
            (Always, false, &[("NO_COLOR", "1"), ("TERM", "dumb")], true),
            (Never, true, &[("CLICOLOR_FORCE", "1")], false),
            (
                Auto,
                false,
                &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")],
                true,
            ),
        ];
        for (colour, is_terminal, environment, wanted) in cases {
            let variable = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(
                colour.wanted(is_terminal, variable),
                wanted,
                "{colour:?} {is_terminal} {environment:?}"
            );
        }
    }

    #[test]
    fn help_has_the_colours_that_were_asked_for() {
        let choice = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            help_colours(&words)
        };
        assert_eq!(choice(&["rewire", "--help"]), clap::ColorChoice::Auto);
        assert_eq!(
            choice(&["rewire", "--color", "never", "-h"]),
            clap::ColorChoice::Never
        );
        assert_eq!(
            choice(&["rewire", "--color=always", "-h"]),
            clap::ColorChoice::Always
        );
        assert_eq!(
            choice(&["rewire", "--", "--color=always"]),
            clap::ColorChoice::Auto
        );
    }
}
