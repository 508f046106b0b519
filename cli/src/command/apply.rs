use std::path::PathBuf;
use std::time::Duration;

use super::Author;
use crate::answer::Answer;
use crate::apply::{self, Options, Signature};
use crate::committing::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::live::Wait;

/// Make a document, or a directory of documents, the running configuration
///
/// The documents of a directory and those below it (.yaml, .yml, .json; no hidden ones) are one configuration together: each
/// object stands in one of them, with all that is below it. What they say is committed as one revision; where the running
/// one says it already, nothing is.
///
/// With --watch the directory is kept applied until SIGTERM or SIGINT: whenever it has changed and come to rest, it is
/// committed as one revision. What is refused leaves the running revision alone, and is said in the status file with file and
/// line. What others commit meanwhile stays, as long as the directory does not say otherwise; where both changed the same,
/// the directory is refused. A lock of somebody else, and a commit that waits for its confirmation, are waited for.
///
/// With --watch and --confirm each of its commits goes back by itself unless it is confirmed, with --auto by its probes. What was gone back
/// from is refused until the documents change. Documents that change before that are committed on top: both go back together.
#[derive(clap::Args)]
pub(crate) struct Apply {
    /// The document, or the directory; - for standard input
    #[arg(value_name = "FILE|DIR", value_hint = clap::ValueHint::AnyPath)]
    place: PathBuf,
    /// Keep the directory applied
    #[arg(long)]
    watch: bool,
    /// What the commits are for
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    #[command(flatten)]
    confirm: Confirm,
    /// How long nothing may have changed before it is applied, in milliseconds
    #[arg(long, value_name = "MS", default_value = "250", requires = "watch", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    quiet_time: u64,
    /// Where to say how it stands, as JSON [default: the store's path and ".apply.json"]
    #[arg(long, value_name = "FILE", requires = "watch", value_hint = clap::ValueHint::FilePath)]
    status: Option<PathBuf>,
    /// Take back what others commit: the directory says all
    #[arg(long, requires = "watch")]
    enforce: bool,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Apply {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let author = self.author.name();
        let signature = Signature {
            author: &author,
            message: &self.message,
        };
        if !self.watch {
            return apply::once(context, &self.place, &signature, &self.confirm, &self.wait);
        }
        apply::watch(
            context,
            Options {
                directory: &self.place,
                signature,
                quiet: Duration::from_millis(self.quiet_time),
                status: self.status,
                enforce: self.enforce,
                confirm: &self.confirm,
                wait: self.wait,
            },
        )
    }
}
