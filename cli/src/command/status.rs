use std::time::Duration;

use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::daemon::administration::Administration;
use crate::daemon::status::{self, Status as State};
use crate::failure::{Code, Failure};
use crate::gateway::Gateway;
use crate::status_text;

/// How long a gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Show what the running gateway does
///
/// The revision that is live, ports, packets, what was dropped and why. Exit code 3 where no gateway runs; what waits for a
/// confirmation or for its time, and who holds the lock, is said all the same.
#[derive(clap::Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let socket = context.socket();
        let failed = |why: &dyn std::fmt::Display| Failure::new(Code::Failed, why.to_string());
        let gateway = Gateway::connect(&socket).map_err(|error| failed(&error))?;
        let Some(mut gateway) = gateway else {
            return Err(no_gateway(context, &socket));
        };
        let answer = gateway.request(&json!({ "request": "status" }), PATIENCE);
        let answer = answer.map_err(|error| failed(&error))?;
        if let Some(error) = answer.get("error") {
            return Err(failed(&format!("the gateway refuses: {error}")));
        }
        if context.json {
            return Ok(context.shown(|_| String::new(), || answer));
        }
        if answer.get("version") != Some(&json!(status::VERSION)) {
            return Err(failed(&"the gateway is of another version").help("--json shows what it says"));
        }
        let state: State = serde_json::from_value(answer)
            .map_err(|error| failed(&format!("the gateway's status cannot be read: {error}")))?;
        Ok(context.shown(|colour| status_text::render(&state, colour), || json!(state)))
    }
}

/// Without a gateway there is still a store, with what those who administer it should know.
fn no_gateway(context: &Context, socket: &std::path::Path) -> Failure {
    let message = format!("no gateway is running on {}", socket.display());
    let failure = Failure::new(Code::NoGateway, message)
        .help("start one with `rewire run`, or name its socket with --socket");
    let seen = Administration::default();
    let store = match context.open() {
        Ok(store) => store,
        // The socket is beside the store: what is wrong with that says more.
        Err(no_store) if context.socket.is_none() => return no_store,
        Err(_) => return failure,
    };
    if seen.look(&store).is_err() {
        return failure;
    }
    let (confirmation, lock, scheduled) = (seen.confirmation(), seen.lock(), seen.scheduled());
    let lines = status_text::administration((&confirmation, &lock, &scheduled), context.colour());
    for line in lines {
        // Where this cannot be written, the failure that follows cannot either.
        let _ = context.say(&format!("{line}\n"));
    }
    failure
        .detail("confirmation", json!(confirmation))
        .detail("lock", json!(lock))
        .detail("scheduled", json!(scheduled))
}
