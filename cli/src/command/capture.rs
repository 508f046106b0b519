use std::path::PathBuf;

use rewire_dataplane::DropReason;
use serde_json::json;

use super::trace::watching;
use crate::answer::Answer;
use crate::context::Context;
use crate::daemon::watch::{MOST_PACKETS, Place, Query};
use crate::failure::{Code, Failure};
use crate::number::whole_number_in;
use crate::trace::capture;
use crate::trace::filter;
use crate::when::Span;

/// What no capture has.
const NEVER_FRAMES: &str = "\
note: an ICMP error of the gateway's own for which there is no buffer never becomes a frame, and is in no capture; it is
      counted (`rewire status`), and what it would have answered is dropped by a reason of its own
";

/// Write packets of the running gateway to a pcapng file, which Wireshark and tshark read
///
/// At a port, as it received them or sends them; where they leave a node of the graph; or where they are dropped, with the reason
/// as the comment of each. What is captured takes the long way through the graph, to the same end; a worker never waits for it:
/// what comes too fast is counted as missed.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("place").required(true).args(["port", "node", "drops"]))]
pub(crate) struct Capture {
    /// Which packets, in pcap's syntax, by what they are as they come in [default: all]
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
    /// At the port of this interface
    #[arg(long = "at", value_name = "INTERFACE")]
    port: Option<String>,
    /// Where they leave this node, as `rewire status` names it
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// Where they are dropped, for one reason or for any
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "")]
    drops: Option<String>,
    /// So many packets at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = whole_number_in(1..=MOST_PACKETS))]
    count: u64,
    /// For so long at most
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Span,
    /// So many bytes of each frame at most
    #[arg(long, value_name = "BYTES", default_value_t = 65_535, value_parser = whole_number_in(14..=65_535_usize))]
    snap: usize,
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "capture.pcapng", value_hint = clap::ValueHint::FilePath)]
    write: PathBuf,
}

impl Capture {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let at = match (self.port, self.node, self.drops) {
            (Some(port), _, _) => Place::Port(port),
            (None, Some(node), _) => Place::Node(node),
            (None, None, reason) => Place::Drops(reason.filter(|reason| !reason.is_empty())),
        };
        let lacks_own = matches!(&at, Place::Drops(Some(reason)) if *reason == DropReason::NoBuffer.name());
        let query = Query {
            filter: filter::compile(&self.filter)?,
            at,
            packets: self.count,
            timeout_ms: self.timeout.0.as_millis() as u64,
            snap: Some(self.snap),
        };
        let watched = watching(context, &query)?;
        let bytes = capture::write(&watched.frames, self.snap as u32);
        let path = self.write.display();
        let written = bytes.and_then(|bytes| std::fs::write(&self.write, bytes));
        written.map_err(|error| Failure::new(Code::Output, format!("cannot write {path}: {error}")))?;
        let packets = watched.frames.len();
        Ok(context.done(
            || {
                let mut said = format!("{packets} packets in {path}\n");
                if watched.missed > 0 {
                    said.push_str(&format!("{} more found no room\n", watched.missed));
                }
                if lacks_own {
                    said.push_str(NEVER_FRAMES);
                }
                if watched.replaced {
                    said.push_str("the gateway has ended before it was done\n");
                }
                said
            },
            || json!({ "file": self.write, "packets": packets, "missed": watched.missed, "replaced": watched.replaced }),
        ))
    }
}
