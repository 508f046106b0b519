//! The gateway's log: standard error, one compact line an event.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::failure::{Exit, Failure};
use crate::terminal::colour_errors;

/// Starts the log. `filter` is in the form of tracing's directives: `info`, or `warn,dpdk=debug`.
pub(crate) fn start(filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::from_str(filter).map_err(|error| {
        Failure::new(
            Exit::Input,
            format!("cannot use the log filter \"{filter}\": {error}"),
        )
        .help("a level (error, warn, info, debug, trace), or target=level separated by commas")
    })?;
    let log = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_ansi(colour_errors())
        .with_writer(std::io::stderr);
    log.try_init()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the log: {error}")))
}
