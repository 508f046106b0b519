//! The gateway's log: standard error, an event a line; for people, for the journal of systemd, or as JSON.

use std::fmt;
use std::os::fd::AsFd;
use std::str::FromStr;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::failure::{Code, Failure};

/// In which form the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people; for the journal where standard error leads there
    Auto,
    /// Lines for people, with the time
    Text,
    /// Lines for the journal of systemd: a priority in front, and no time, which it has by itself
    Journal,
    /// An object a line
    Json,
}

/// Starts the log. `filter` is in the form of tracing's directives: `info`, or `warn,dpdk=debug`.
pub(crate) fn start(filter: &str, format: LogFormat, colour: bool) -> Result<(), Failure> {
    let filter = EnvFilter::from_str(filter).map_err(|error| {
        Failure::new(
            Code::WrongArguments,
            format!("cannot use the log filter \"{filter}\": {error}"),
        )
        .help("a level (error, warn, info, debug, trace), or target=level separated by commas")
    })?;
    let log = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_span_list(false);
            log.with_ansi(false).try_init()
        }
        LogFormat::Journal => log
            .with_ansi(false)
            .map_event_format(|format| Prioritized(format.without_time()))
            .try_init(),
        LogFormat::Auto if leads_to_journal() => log
            .with_ansi(false)
            .map_event_format(|format| Prioritized(format.without_time()))
            .try_init(),
        LogFormat::Auto | LogFormat::Text => log.with_ansi(colour).try_init(),
    };
    started.map_err(|error| Failure::new(Code::Failed, format!("cannot start the log: {error}")))
}

/// Whether standard error is what systemd has connected with the journal: `JOURNAL_STREAM`, as systemd.exec(5) says.
fn leads_to_journal() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let error = rustix::fs::fstat(std::io::stderr().as_fd());
    error.is_ok_and(|error| is_stream(&stream, error.st_dev, error.st_ino))
}

/// Whether `DEVICE:INODE` are these.
fn is_stream(stream: &str, device: u64, inode: u64) -> bool {
    stream.split_once(':') == Some((&device.to_string(), &inode.to_string()))
}

/// Lines with a priority in front, as sd-daemon(3) has it.
struct Prioritized(Format<Compact, ()>);

impl<S, N> FormatEvent<S, N> for Prioritized
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_device_and_inode() {
        assert!(is_stream("8:123", 8, 123));
        for other in ["", "8", "8:124", "9:123", "8:123:", " 8:123"] {
            assert!(!is_stream(other, 8, 123), "{other}");
        }
    }
}
