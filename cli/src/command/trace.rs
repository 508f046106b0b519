use std::time::Duration;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::daemon::trace::{Query, Traced, VERSION};
use crate::daemon::watch;
use crate::failure::{Code, Failure};
use crate::gateway;
use crate::trace::input::{self, CapturedFrame};
use crate::number::whole_number_in;
use crate::trace::filter;
use crate::trace::under::{self, Manner, NO_REPLY};
use crate::trace::{Asked, Report, parting, rows, text};
use crate::view::State;
use crate::when::Span;

/// Show where a packet would go, node by node, and why
///
/// The packet walks through the same graph as in a gateway, over the tables of a state; nothing is changed by it, and no gateway
/// need run. Each decision is said with the object of the configuration that it comes from, and who last changed that.
///
/// --live watches the running gateway's own traffic instead: the real walks of the next packets that a filter lets through.
///
/// A packet is written as in: in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn ttl 3. The interface may be left out where the sender's
/// address tells it. For IPv6, ports stand behind brackets: [2001:db8::1]:80. Other protocols: udp, sctp, icmp echo,
/// icmp type N code N, proto N. Options: ttl, len, tos, may-fragment, frag, ident, id, seq, ackseq, from MAC, to MAC.
#[derive(clap::Args)]
pub(crate) struct Trace {
    /// The packet, in words; with --live a filter, in pcap's syntax
    #[arg(value_name = "PACKET|FILTER", required_unless_present_any = ["hex", "pcap", "live"], conflicts_with_all = ["hex", "pcap"])]
    packet: Vec<String>,
    /// Under which state: candidate, candidate:NAME, running, a revision's number, -N, or a tag [default: as the running gateway
    /// is now, with what it has learned and its connections; or running, where there is none]
    #[arg(long, value_name = "STATE", allow_negative_numbers = true, add = completion::states())]
    on: Option<State>,
    /// Take a frame in hexadecimal digits, from its Ethernet header on
    #[arg(long, value_name = "DIGITS", conflicts_with = "pcap")]
    hex: Option<String>,
    /// Take the Nth frame of a capture, pcap or pcapng [default: the first]
    #[arg(long, value_name = "FILE[:N]", value_hint = clap::ValueHint::FilePath)]
    pcap: Option<CapturedFrame>,
    /// The interface that receives the frame
    #[arg(long = "in", value_name = "INTERFACE")]
    interface: Option<String>,
    /// What becomes of a packet whose neighbor is not known: taken for resolved, or asked for
    #[arg(long, value_name = "WHETHER", value_enum, default_value_t = Resolve::Yes)]
    resolve: Resolve,
    /// Show the answer's way back, too
    #[arg(long, conflicts_with = "diff")]
    reply: bool,
    /// Show where the packet's ways under two states part; exit code 1 says that they do
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], allow_negative_numbers = true, conflicts_with = "on")]
    diff: Option<Vec<State>>,
    /// Show the walks of the next packets of the running gateway that match
    #[arg(long, conflicts_with_all = ["hex", "pcap", "on", "diff", "reply", "interface"])]
    live: bool,
    /// So many of them
    #[arg(long, value_name = "N", default_value_t = 1, requires = "live", value_parser = whole_number_in(1..=1000_u64))]
    count: u64,
    /// Wait so long for them
    #[arg(long, value_name = "TIME", default_value = "10s", requires = "live")]
    timeout: Span,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Resolve {
    /// It is sent to a MAC address that is made up
    Yes,
    /// It waits, and the neighbor is asked
    No,
}

impl Trace {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        if self.live {
            return self.live(context);
        }
        let asked = self.asked()?;
        if let Some([from, to]) = self.diff.as_deref() {
            return self.difference(context, &asked, from, to);
        }
        let asked_gateway = match &self.on {
            Some(_) => None,
            None => self.ask_gateway(context, &asked)?,
        };
        let (reports, state) = match asked_gateway {
            Some(reports) => {
                let revision = reports.first().map_or(0, |report| report.revision);
                (reports, json!({ "name": "gateway", "revision": revision }))
            }
            None => {
                let state = self.on.clone().unwrap_or(State::RUNNING);
                let reports = self.reports(context, &asked, &state)?;
                (reports, state.to_json(context, &context.open()?)?)
            }
        };
        let name = describe(&state);
        Ok(context.shown(
            |_| {
                let pages = reports.iter().map(|report| text::page(report, &name));
                pages.collect::<Vec<_>>().join("\n")
            },
            || {
                let mut reports = reports.iter().map(|report| json!(report));
                let mut value = reports.next().unwrap_or_default();
                value["state"] = state;
                if let Some(reply) = reports.next() {
                    value["reply"] = reply;
                }
                value
            },
        ))
    }

    /// The walks of the gateway's own packets.
    fn live(&self, context: &Context) -> Result<Answer, Failure> {
        let query = watch::Query {
            filter: filter::compile(&self.packet)?,
            at: watch::Place::Walk,
            packets: self.count,
            timeout_ms: self.timeout.0.as_millis() as u64,
            snap: None,
        };
        let mut watched = watching(context, &query)?;
        if watched.walks.len() < self.count as usize {
            let found = watched.walks.len();
            context.note(&format!("{found} of {} packets came in time", self.count));
        }
        // Who decided it is the store's to say.
        if let Ok(store) = context.open() {
            for report in &mut watched.walks {
                let revision = report.revision;
                rows::fill(std::slice::from_mut(report), &store, revision, None)?;
            }
        }
        Ok(context.shown(
            |_| {
                let pages = watched.walks.iter().map(|report| {
                    text::page(report, &format!("the running gateway, revision {}", report.revision))
                });
                pages.collect::<Vec<_>>().join("\n")
            },
            || json!({ "walks": watched.walks, "missed": watched.missed, "replaced": watched.replaced }),
        ))
    }

    /// What a running gateway says, if there is one.
    fn ask_gateway(&self, context: &Context, asked: &Asked) -> Result<Option<Vec<Report>>, Failure> {
        let query = Query {
            resolve: self.resolve == Resolve::Yes,
            reply: self.reply,
            ..Query::of(asked)
        };
        let traced = gateway::ask::<Traced>(&context.socket(), "trace", &query, VERSION);
        let Some(traced) = traced.map_err(|why| Failure::new(Code::Failed, why))? else {
            return Ok(None);
        };
        if self.reply && traced.reply.is_none() {
            context.note(NO_REPLY);
        }
        let mut reports: Vec<Report> = [traced.walk].into_iter().chain(traced.reply).collect();
        // Who decided it is the store's to say; the gateway can be asked from elsewhere, too.
        if let Ok(store) = context.open() {
            let revision = reports.iter().map(|report| report.revision).max();
            rows::fill(&mut reports, &store, revision.unwrap_or_default(), None)?;
        }
        Ok(Some(reports))
    }

    /// The walk under a state; and the reply's, where it is asked for and there is any.
    fn reports(
        &self,
        context: &Context,
        asked: &Asked,
        state: &State,
    ) -> Result<Vec<Report>, Failure> {
        let store = context.open()?;
        let (revision, edits) = state.parts(context, &store)?;
        let manner = Manner {
            assumes_neighbors: self.resolve == Resolve::Yes,
            wants_reply: self.reply,
        };
        let reports = under::reports(&store, revision, edits.as_ref(), asked, manner)?;
        if self.reply && reports.len() < 2 {
            context.note(NO_REPLY);
        }
        Ok(reports)
    }

    fn difference(
        &self,
        context: &Context,
        asked: &Asked,
        from: &State,
        to: &State,
    ) -> Result<Answer, Failure> {
        let store = context.open()?;
        let mut walks = Vec::new();
        for state in [from, to] {
            let name = describe(&state.to_json(context, &store)?);
            let report = self.reports(context, asked, state)?.into_iter().next();
            walks.extend(report.map(|report| (name, report)));
        }
        let [from, to] = walks.as_slice() else {
            return Err(Failure::new(Code::Failed, "a packet has one walk"));
        };
        match parting::part(&from.1, &to.1) {
            None => Ok(context.shown(
                |_| format!("{}no difference between {} and {}\n", text::outcome(&from.1), from.0, to.0),
                || json!({ "differs": false, "from": from.1, "to": to.1 }),
            )),
            Some(parting) => {
                context.say(&parting.text(from, to))?;
                Err(Failure::new(Code::Differs, parting.sentence())
                    .detail("from", json!(from.1))
                    .detail("to", json!(to.1))
                    .detail("first_step", json!(parting.first)))
            }
        }
    }

    fn asked(&self) -> Result<Asked, Failure> {
        let frame = |bytes| Asked::Frame {
            interface: self.interface.clone(),
            bytes,
        };
        if let Some(digits) = &self.hex {
            let bytes = input::bytes(digits).map_err(|why| Failure::new(Code::WrongArguments, why))?;
            return Ok(frame(bytes));
        }
        if let Some(capture) = &self.pcap {
            return Ok(frame(capture.read()?));
        }
        let text = self.packet.join(" ");
        let mut packet = input::packet(&text)?;
        packet.interface = packet.interface.or_else(|| self.interface.clone());
        Ok(Asked::Text(Box::new(packet)))
    }
}

/// A state as people name it.
fn describe(state: &Value) -> String {
    if state["name"] == json!("gateway") {
        return format!("the running gateway, revision {}", state["revision"]);
    }
    match state["candidate"].as_str() {
        Some(name) => format!("candidate {name} on revision {}", state["base"]),
        None => format!("revision {}", state["revision"]),
    }
}

/// How much longer than the watch the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches the gateway's packets; notes what was missed.
pub(super) fn watching(context: &Context, query: &watch::Query) -> Result<watch::Watched, Failure> {
    let socket = context.socket();
    let patience = Duration::from_millis(query.timeout_ms) + PATIENCE;
    let watched = gateway::ask_within::<watch::Watched>(&socket, "watch", query, watch::VERSION, patience);
    let watched = watched.map_err(|why| Failure::new(Code::Failed, why))?;
    let watched = watched.ok_or_else(|| gateway::no_gateway(&socket))?;
    if watched.missed > 0 {
        context.note(&format!("{} steps were missed: too much came at once", watched.missed));
    }
    if watched.replaced {
        context.note("the gateway has ended before it was done");
    }
    Ok(watched)
}
