//! The commands. Each is a module with a struct of its arguments and `fn run(self, &Context) -> Result<(), Failure>`.

use crate::Context;
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
            pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
                match self { $(Command::$name(command) => command.run(context)),+ }
            }
        }
    };
}

// To add a command, write its file and add it here; the order is that of the help.
commands! {
    init::Init,
    load::Load,
    show::Show,
    diff::Diff,
    check::Check,
    commit::Commit,
    log::Log,
    rewind::Rewind,
    run::Run,
    status::Status,
    replay::Replay,
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
    fn name(self) -> String {
        let login = || {
            std::env::var("SUDO_USER")
                .or_else(|_| std::env::var("USER"))
                .ok()
        };
        let known = self.author.or_else(login).filter(|name| !name.is_empty());
        known.unwrap_or_else(|| {
            // No name in the environment: services and containers. The number says at least who it was.
            use std::os::unix::fs::MetadataExt;
            match std::fs::metadata("/proc/self") {
                Ok(process) => format!("uid {}", process.uid()),
                Err(_) => "unknown".to_owned(),
            }
        })
    }
}
