use rewire_configdb::Session;
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::number::whole_number;

/// Keep everybody else from committing
///
/// The lock belongs to the shell or the script that runs this, and ends with it, if `rewire unlock` does not end it
/// before. Others can still look, edit and check. What goes back because it was not confirmed goes back all the same.
#[derive(clap::Args)]
pub(crate) struct Lock {
    /// Why, for those who are kept from it
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    /// The process that the lock ends with [default: the shell or the script that runs this]
    #[arg(long, value_name = "PID", value_parser = whole_number::<u32>)]
    pid: Option<u32>,
    #[command(flatten)]
    author: Author,
}

impl Lock {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let session = match self.pid {
            Some(pid) => Session::of(pid).map_err(|error| {
                Failure::new(Code::NoSuchName, format!("process {pid} cannot be found: {error}"))
            })?,
            None => whoever_asked()?,
        };
        let mut store = context.open_to_write()?;
        let (holder, pid) = (self.author.name(), session.pid);
        store.lock(&holder, session, &self.message)?;
        Ok(context.done(
            || format!("locked by {holder} until `rewire unlock`, or until process {pid} ends\n"),
            || json!({ "holder": holder, "pid": pid, "message": self.message }),
        ))
    }
}

/// The nearest process above this one that does more than to start it as somebody else.
fn whoever_asked() -> Result<Session, Failure> {
    const STARTERS: [&str; 5] = ["sudo", "doas", "su", "run0", "pkexec"];
    let cannot = |why: &dyn std::fmt::Display| {
        Failure::new(Code::Failed, format!("cannot tell which shell asks for the lock: {why}"))
            .help("name the process that it shall end with by --pid")
    };
    let ancestry = Session::ancestry().map_err(|error| cannot(&error))?;
    let above = ancestry.into_iter().skip(1);
    let mut asking = above.filter(|session| {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", session.pid)).unwrap_or_default();
        !STARTERS.contains(&name.trim_end())
    });
    asking.next().ok_or_else(|| cannot(&"there is none"))
}
