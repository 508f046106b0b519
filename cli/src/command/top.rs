use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::top;
use crate::when::Span;

/// Watch the running gateway in the terminal
///
/// Rates, interfaces, drops, connections, who opens them, and the last revisions, again and again. Tab and the digits change the
/// view, the arrows scroll, q ends it. It looks as `rewire status` does, which costs the gateway's workers nothing; only
/// connections are asked of them. For scripts there is `rewire watch`.
#[derive(clap::Args)]
pub(crate) struct Top {
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: Span,
}

impl Top {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        top::run(context, self.interval.0)
    }
}
