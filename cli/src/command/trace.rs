use rewire_dataplane::Trial;
use rewire_dataplane::clock::Instant;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::trace::input::{self, CapturedFrame};
use crate::trace::{self, Asked, Report, parting, rows, text, walk};
use crate::view::State;

/// Show where a packet would go, node by node, and why
///
/// The packet walks through the same graph as in a gateway, over the tables of a state; nothing is changed by it, and no gateway
/// need run. Each decision is said with the object of the configuration that it comes from, and who last changed that.
///
/// A packet is written as in: in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn ttl 3. The interface may be left out where the sender's
/// address tells it. For IPv6, ports stand behind brackets: [2001:db8::1]:80. Other protocols: udp, sctp, icmp echo,
/// icmp type N code N, proto N. Options: ttl, len, tos, may-fragment, frag, ident, id, seq, ackseq, from MAC, to MAC.
#[derive(clap::Args)]
pub(crate) struct Trace {
    /// The packet, in words
    #[arg(value_name = "PACKET", required_unless_present_any = ["hex", "pcap"], conflicts_with_all = ["hex", "pcap"])]
    packet: Vec<String>,
    /// Under which state: candidate, candidate:NAME, running, a revision's number, -N, or a tag
    #[arg(long, value_name = "STATE", default_value = "running", allow_negative_numbers = true, add = completion::states())]
    on: State,
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
        let asked = self.asked()?;
        if let Some([from, to]) = self.diff.as_deref() {
            return self.difference(context, &asked, from, to);
        }
        let reports = self.reports(context, &asked, &self.on)?;
        let state = self.on.to_json(context, &context.open()?)?;
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

    /// The walk under a state; and the reply's, where it is asked for and there is any.
    fn reports(
        &self,
        context: &Context,
        asked: &Asked,
        state: &State,
    ) -> Result<Vec<Report>, Failure> {
        let store = context.open()?;
        let (revision, edits) = state.parts(context, &store)?;
        let waiting = context.waiting();
        waiting.step("compiling");
        let tables = trace::tables(state.configuration(context, &store)?, revision)?;
        drop(waiting);
        let mut trial = Trial::new(Instant(0), self.resolve == Resolve::Yes);
        let walked = walk(&tables, asked, &mut trial)?;
        let mut reports = vec![Report::of(&walked, &tables)];
        if self.reply {
            match input::reply(&walked) {
                Some(reply) => {
                    let walked = walk(&tables, &reply, &mut trial)?;
                    reports.push(Report::of(&walked, &tables));
                }
                None => context.note("no reply: nothing was forwarded that could be answered"),
            }
        }
        for report in &mut reports {
            rows::fill(report, &store, revision, edits.as_ref())?;
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
    match state["candidate"].as_str() {
        Some(name) => format!("candidate {name} on revision {}", state["base"]),
        None => format!("revision {}", state["revision"]),
    }
}
