//! Waiting until a gateway's workers use a revision.

use std::time::Duration;

use rewire_configdb::Committed;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::gateway::{Gateway, GatewayError};
use crate::terminal::clean;
use crate::trace_context::CommandTimes;
use crate::view::milliseconds;

/// The steps of a revision's way into a gateway, in their order, as its answer names them.
const STEPS: [&str; 4] = ["noticed", "compile", "publish", "live"];

/// How much longer than the gateway was told we wait for its answer.
const GRACE: Duration = Duration::from_millis(500);

/// How to wait.
#[derive(clap::Args)]
pub(crate) struct Wait {
    /// Do not wait until the gateway is live
    #[arg(long)]
    no_wait: bool,
    /// Wait even where no gateway runs yet: then it is not live (without this, there is nothing to wait for)
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// How long to wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
}

/// Reads a time in seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "expected a number of seconds".to_owned())?;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if (0.001..=86_400.0).contains(&number) => Ok(time),
        _ => Err("expected 0.001 to 86400 seconds".to_owned()),
    }
}

/// What made the revision durable: writing its rows and its entry, and syncing them to the disk.
pub(crate) fn durable_time(committed: &Committed) -> Duration {
    committed.times.apply + committed.times.durable
}

/// A revision that every worker uses, or that nobody waits for.
pub(crate) struct Live {
    /// The line for people; empty where nobody waited.
    pub(crate) text: String,
    /// What the gateway says; null where nobody waited.
    pub(crate) answer: Value,
}

impl Wait {
    /// Waits until the gateway is live with a durable revision, and says where the time went.
    pub(crate) fn until_live(
        &self,
        context: &Context,
        committed: &Committed,
    ) -> Result<Live, Failure> {
        let (revision, durable) = (committed.revision, durable_time(committed));
        let nobody = Live {
            text: String::new(),
            answer: Value::Null,
        };
        if self.no_wait {
            return Ok(nobody);
        }
        let not_live = |error: GatewayError| not_live(revision, &error.to_string());
        let Some(mut gateway) = Gateway::connect(&context.socket()).map_err(not_live)? else {
            if self.wait {
                return Err(self::not_live(revision, "no gateway is running"));
            }
            context.note("no gateway is running: nothing to wait for");
            return Ok(nobody);
        };
        // The gateway is told when to give up, so that it can say what is late; who does not answer at all is given a
        // moment more.
        let mut request = json!({
            "request": "follow",
            "revision": revision,
            "timeout_ms": u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            "command": CommandTimes::of(committed),
        });
        let waiting = context.waiting();
        waiting.step(&format!("revision {revision}: waiting for the gateway"));
        let mut answer = gateway
            .request(&request, self.timeout + GRACE)
            .map_err(not_live)?;
        if refuses_command(&answer) {
            // It is older than this program. It cannot be told where the command's time went, which is no reason not to wait.
            request
                .as_object_mut()
                .map(|request| request.remove("command"));
            answer = gateway
                .request(&request, self.timeout + GRACE)
                .map_err(not_live)?;
            context.note("the running gateway is older than this program: restart it to have this commit in its traces");
        }
        drop(waiting);
        let text = report(revision, durable, &answer)?;
        closed_ports(&answer)
            .iter()
            .for_each(|warning| context.note(warning));
        Ok(Live { text, answer })
    }
}

/// Whether a gateway does not know what a command says of itself.
fn refuses_command(answer: &Value) -> bool {
    let error = answer.get("error").and_then(Value::as_str);
    error.is_some_and(|error| error.contains("unknown field `command`"))
}

fn not_live(revision: u64, why: &str) -> Failure {
    Failure::new(
        Code::NotLive,
        format!("revision {revision} is committed, but not live: {why}"),
    )
    .help("the revision stays; `rewire rewind` takes it back")
    .detail("revision", revision)
}

/// A warning for each port that the gateway could not open.
fn closed_ports(answer: &Value) -> Vec<String> {
    let ports = answer.get("closed_ports").and_then(Value::as_array);
    let text =
        |port: &Value, key: &str| clean(port.get(key).and_then(Value::as_str).unwrap_or_default());
    let warning = |port| {
        let [interface, name, problem] =
            ["interface", "port", "problem"].map(|key| text(port, key));
        format!("warning: interface {interface}: port {name} is not open: {problem}")
    };
    ports.into_iter().flatten().map(warning).collect()
}

/// The line about a revision that is live, or what is in the way of it.
fn report(revision: u64, durable: Duration, answer: &Value) -> Result<String, Failure> {
    let mut times = vec![format!("durable {}", milliseconds(durable))];
    let mut late = None;
    for step in STEPS {
        let nanoseconds = answer
            .pointer(&format!("/steps/{step}_ns"))
            .and_then(Value::as_u64);
        match nanoseconds {
            Some(time) => times.push(format!(
                "{step} {}",
                milliseconds(Duration::from_nanos(time))
            )),
            None => late = late.or(Some(step)),
        }
    }
    let times = times.join(" · ");
    if let Some(error) = answer.get("error") {
        let error = error
            .as_str()
            .map_or_else(|| error.to_string(), str::to_owned);
        return Err(not_live(revision, &error));
    }
    if answer.get("live") != Some(&Value::Bool(true)) {
        let why = format!("the step \"{}\" is late ({times})", late.unwrap_or("live"));
        return Err(not_live(revision, &why));
    }
    let generation = match answer.get("generation").and_then(Value::as_u64) {
        Some(generation) => format!("  generation {generation}"),
        None => String::new(),
    };
    let connections = connections(answer);
    Ok(format!(
        "revision {revision} live{generation}  {times}\n{connections}"
    ))
}

/// The line about what became of connections, where the policy has changed and there were any.
fn connections(answer: &Value) -> String {
    let number = |which: &str| {
        let number = answer.pointer(&format!("/connections/{which}"));
        number.and_then(Value::as_u64).unwrap_or(0)
    };
    let [kept, ended, in_card, left] = ["kept", "ended", "ended_in_card", "left"].map(number);
    let in_card = match in_card {
        0 => String::new(),
        number => format!(" ({number} of them in the card)"),
    };
    let left = match left {
        0 if kept + ended == 0 => return String::new(),
        0 => String::new(),
        left => format!(", up to {left} not looked at yet"),
    };
    format!("connections: {kept} still allowed, {ended} ended{in_card}{left}\n")
}
