//! The commands. Each is a module with a struct of its arguments and `fn run(self, &Context) -> Result<Answer, Failure>`.

use crate::answer::Answer;
use crate::context::{Context, login_name};
use crate::failure::Failure;

macro_rules! commands {
    ($($module:ident::$name:ident),+ $(,)?) => {
        $(mod $module;)+

        /// What to do.
        #[derive(clap::Subcommand)]
        pub(crate) enum Command {
            $(#[allow(missing_docs)] $name($module::$name)),+
        }

        impl Command {
            /// Does it.
            pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
                match self { $(Command::$name(command) => command.run(context)),+ }
            }
        }
    };
}

// To add a command, write its file and add it here; the order is that of the help.
commands! {
    init::Init,
    load::Load,
    edit::Edit,
    set::Set,
    delete::Delete,
    rename::Rename,
    copy::Copy,
    deactivate::Deactivate,
    activate::Activate,
    annotate::Annotate,
    show::Show,
    diff::Diff,
    check::Check,
    commit::Commit,
    apply::Apply,
    confirm::Confirm,
    update::Update,
    discard::Discard,
    candidates::Candidates,
    scheduled::Scheduled,
    lock::Lock,
    unlock::Unlock,
    log::Log,
    blame::Blame,
    explain::Explain,
    rollback::Rollback,
    rewind::Rewind,
    revert::Revert,
    tag::Tag,
    tags::Tags,
    journal::Journal,
    run::Run,
    status::Status,
    top::Top,
    watch::Watch,
    clear::Clear,
    trace::Trace,
    capture::Capture,
    bisect::Bisect,
    record::Record,
    replay::Replay,
    schema::Schema,
    completions::Completions,
    man::Man,
}

/// Who makes a change.
#[derive(clap::Args)]
struct Author {
    /// Who is making the change [default: the user's name]
    #[arg(
        long,
        value_name = "NAME",
        env = "REWIRE_AUTHOR",
        hide_env_values = true
    )]
    author: Option<String>,
}

impl Author {
    fn name(&self) -> String {
        let given = self.author.clone().filter(|name| !name.is_empty());
        given.or_else(login_name).unwrap_or_else(|| {
            // No name in the environment: services and containers. The number says at least who it was.
            use std::os::unix::fs::MetadataExt;
            match std::fs::metadata("/proc/self") {
                Ok(process) => format!("uid {}", process.uid()),
                Err(_) => "unknown".to_owned(),
            }
        })
    }
}
