use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::number::whole_number;
use crate::watch::{self, Wanted, What};
use crate::when::Span;

/// Write what the running gateway does, a line each time, for scripts
///
/// `rates`: packets and bits a second, once in each interval. `drops`: each reason that dropped packets in the interval. `events`: a
/// line when a revision goes live, an interface goes down or comes up, the gateway raises an alarm or is over it, goes away or comes
/// back, or the link of an interface has changed. Times are RFC 3339 in UTC. With --json each line is a JSON object; with --csv a record
/// behind a header that names the columns (RFC 4180). A gateway that goes away is waited for.
#[derive(clap::Args)]
pub(crate) struct Watch {
    /// What to write
    #[arg(value_enum, default_value_t = What::Rates)]
    what: What,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
    /// End after so many lines
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    count: Option<u64>,
    /// For rates: only this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// For drops: only reasons that drop more packets a second
    #[arg(long, value_name = "RATE", default_value_t = 0)]
    above: u64,
    /// Write comma-separated values, behind a line that names the columns
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Watch {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let lines = watch::run(
            context,
            &Wanted {
                what: self.what,
                interval: self.interval.0,
                count: self.count,
                interface: self.interface,
                above: self.above,
                csv: self.csv,
            },
        )?;
        Ok(context.done(String::new, || json!({ "lines": lines })))
    }
}
