use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rewire_dataplane::port::faulty::Faults;
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::daemon::console::Where;
use crate::daemon::{self, LogFormat, Options};
use crate::failure::Failure;
use crate::number::whole_number_in;
use crate::when::Span;

/// Run the gateway: forward packets as the store's last revision says, and follow it
///
/// It stays in the foreground and logs to standard error. Commits are followed as they come; a port that cannot be opened
/// is tried again, and the others forward meanwhile. SIGTERM and SIGINT end it in order, a second one at once. `rewire
/// status` shows what it does.
#[derive(clap::Args)]
pub(crate) struct Run {
    /// Where Prometheus may scrape, on loopback alone; "off" for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9474", value_parser = metrics_address)]
    metrics: Metrics,
    /// Where the web console is served, on loopback alone; "off" for nowhere [default: 127.0.0.1:9475, or nowhere where that is
    /// taken]
    #[arg(long, value_name = "ADDRESS", value_parser = console_address)]
    console: Option<Where>,
    /// Threads that forward packets
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = whole_number_in(1u16..=64))]
    workers: u16,
    /// Do without hugepages, even where there are some
    #[arg(long)]
    no_huge: bool,
    /// Packet buffers, of 10 KiB each
    #[arg(long, value_name = "N", default_value_t = 16384, value_parser = whole_number_in(1024u32..=1_048_576))]
    mempool_buffers: u32,
    /// Open no port: everything works, and no packet comes in
    #[arg(long = "virtual")]
    virtual_ports: bool,
    /// Lose, delay, double and reorder the frames that ports receive: for tests. Like loss=1%,delay=5ms,reorder=2%,seed=7
    #[arg(long, value_name = "FAULTS", hide = true)]
    faults: Option<Faults>,
    /// Put a card in software in front of all ports: for tests
    #[arg(long, hide = true)]
    modelled_card: bool,
    /// Do without the audit, which compares the tables with a whole compile now and then, and keeps a copy of them for it
    #[arg(long)]
    no_audit: bool,
    /// How long to wait before all stored rows are recounted, and recounted again
    #[arg(long, value_name = "TIME", default_value = "5m")]
    scrub_every: Span,
    /// Where connections are saved when the gateway ends, and taken over from when it starts [default: the store's name with
    /// .connections behind it]; "off" for nowhere
    #[arg(long, value_name = "FILE")]
    connections: Option<PathBuf>,
    /// What to log: a level, or target=level separated by commas
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", default_value = "info", hide_env_values = true)]
    log: String,
    /// In which form to log
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

/// Where metrics are served, if at all.
#[derive(Clone, Debug)]
struct Metrics(Option<SocketAddr>);

/// Where the console is where nobody says something else.
const CONSOLE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9475);

fn metrics_address(text: &str) -> Result<Metrics, String> {
    loopback_address(text, "let an agent on this machine scrape 127.0.0.1").map(Metrics)
}

fn console_address(text: &str) -> Result<Where, String> {
    let address = loopback_address(text, "let ssh -L 9475:127.0.0.1:9475 carry it")?;
    Ok(address.map_or(Where::Off, Where::At))
}

/// An address of this machine that no other one reaches; none for "off". `instead` says what else to do.
fn loopback_address(text: &str, instead: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        Ok(address) => Err(format!(
            "{} is not loopback, and whoever can reach it can read what the gateway does: {instead}",
            address.ip()
        )),
        Err(_) => Err("expected a loopback address and a port, like 127.0.0.1:9474, or \"off\"".to_owned()),
    }
}

impl Run {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let beside_store = || {
            let mut path = context.store.clone().into_os_string();
            path.push(".connections");
            path.into()
        };
        let connections = self.connections.unwrap_or_else(beside_store);
        daemon::run(&Options {
            store: context.store.clone(),
            socket: context.socket(),
            metrics: self.metrics.0,
            console: self.console.unwrap_or(Where::Usual(CONSOLE)),
            workers: self.workers,
            hugepages: !self.no_huge,
            mempool_buffers: self.mempool_buffers,
            virtual_ports: self.virtual_ports,
            faults: self.faults,
            modelled_card: self.modelled_card,
            audit: !self.no_audit,
            scrub_every: self.scrub_every.0,
            connections: (connections != Path::new("off")).then_some(connections),
            log: self.log,
            log_format: self.log_format,
            colour: context.colour_errors(),
        })?;
        Ok(context.done(String::new, || json!({})))
    }
}
