//! The gateway's log: standard error, one compact line an event.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

use crate::failure::{Code, Failure};

/// Starts the log. `filter` is in the form of tracing's directives: `info`, or `warn,dpdk=debug`.
pub(crate) fn start(filter: &str, colour: bool) -> Result<(), Failure> {
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
        .with_ansi(colour)
        .with_writer(std::io::stderr);
    log.try_init()
        .map_err(|error| Failure::new(Code::Failed, format!("cannot start the log: {error}")))
}
