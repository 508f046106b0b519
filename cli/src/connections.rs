//! `rewire show connections` and `rewire clear connections`: what the running gateway tracks, for people and for machines.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::json;

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::daemon::connections::{
    Connection, Connections, Direction, Filter, MOST_SHOWN, Query, Sort, Talker, VERSION,
};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::number::whole_number_in;
use crate::status_text::duration;
use crate::when::Span;

/// Connections that are shown where nobody says how many.
const SHOWN: usize = 50;

/// Which connections.
#[derive(clap::Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct Which {
    /// Only those with an end in this VPC
    #[arg(long, value_name = "NAME")]
    vpc: Option<String>,
    /// Only those of this protocol: tcp, udp, icmp or a number
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Only those in this state: established, syn_sent, unreplied, …
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those with an end in this prefix, translated or not
    #[arg(long, value_name = "ADDRESS|PREFIX", value_parser = prefix)]
    address: Option<IpNet>,
    /// Only those with an end of this port, translated or not
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Only those whose first packet came in by this interface
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// Only those that are translated
    #[arg(long, conflicts_with = "untranslated")]
    translated: bool,
    /// Only those that are not translated
    #[arg(long)]
    untranslated: bool,
    /// Only those that are handed to the card
    #[arg(long)]
    offloaded: bool,
    /// Only those that began longer ago
    #[arg(long, value_name = "TIME")]
    older_than: Option<Span>,
    /// Only those without a packet for longer
    #[arg(long, value_name = "TIME")]
    idle_for: Option<Span>,
}

impl Which {
    pub(crate) fn filter(&self) -> Filter {
        let seconds = |span: Option<Span>| span.map(|span| span.0.as_secs());
        Filter {
            vpc: self.vpc.clone(),
            protocol: self.protocol.clone(),
            state: self.state.clone(),
            address: self.address,
            port: self.port,
            interface: self.interface.clone(),
            translated: match (self.translated, self.untranslated) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
            offloaded: self.offloaded.then_some(true),
            older_seconds: seconds(self.older_than),
            idle_seconds: seconds(self.idle_for),
        }
    }
}

/// Which connections, and how they are shown.
#[derive(clap::Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct Wanted {
    #[command(flatten)]
    which: Which,
    /// What comes first [default: bytes]
    #[arg(long, value_enum)]
    sort: Option<Sort>,
    /// At most so many [default: 50]
    #[arg(long, value_name = "N", value_parser = whole_number_in(1..=MOST_SHOWN))]
    most: Option<usize>,
    /// Not connections, but the addresses that open them: so many
    #[arg(long, value_name = "N", value_parser = whole_number_in(1..=MOST_SHOWN), conflicts_with = "most")]
    top: Option<usize>,
}

impl Wanted {
    /// Whether anything is said of connections.
    pub(crate) fn is_any(&self) -> bool {
        let is_sorted = self.sort.is_some() || self.most.is_some() || self.top.is_some();
        is_sorted || self.which.filter() != Filter::default()
    }
}

fn prefix(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let prefix = text.parse::<IpNet>().map(|net| net.trunc());
    prefix
        .or_else(|_| address())
        .map_err(|_| "expected an address or a prefix".to_owned())
}

/// Asks the gateway for connections.
pub(crate) fn show(context: &Context, wanted: &Wanted) -> Result<Answer, Failure> {
    let query = Query {
        filter: wanted.which.filter(),
        sort: wanted.sort.unwrap_or_default(),
        most: Some(wanted.top.or(wanted.most).unwrap_or(SHOWN)),
        talkers: wanted.top.is_some(),
    };
    let waiting = context.waiting();
    waiting.step("looking at connections");
    let answer = gateway::ask(&context.socket(), "connections", &query, VERSION);
    drop(waiting);
    let answer: Option<Connections> = answer.map_err(|why| Failure::new(Code::Failed, why))?;
    let found = answer.ok_or_else(|| no_gateway(&context.socket()))?;
    Ok(context.shown(|_| text(&found, query.talkers), || json!(found)))
}

fn text(found: &Connections, talkers: bool) -> String {
    let mut text = match talkers {
        true => talker_table(&found.talkers),
        false => table(&found.connections),
    };
    let (shown, all, option) = match talkers {
        true => (found.talkers.len(), found.talker_count, "--top"),
        false => (found.connections.len(), found.count, "--most"),
    };
    if shown < all {
        let _ = writeln!(text, "… and {} more ({option})", all - shown);
    }
    if found.count == 0 {
        let _ = writeln!(text, "none of {} connections", found.total);
        return text;
    }
    let _ = match found.count == found.total {
        true => write!(text, "{} connections", found.total),
        false => write!(text, "{} of {} connections", found.count, found.total),
    };
    let states = found.states.iter();
    let states = states.map(|of| format!("{} {} {}", of.connections, of.protocol, of.state));
    let vpcs = found.vpcs.iter();
    let vpcs = vpcs.map(|of| format!("{} from {}", of.connections, of.vpc));
    for counts in [states.collect::<Vec<_>>(), vpcs.collect()] {
        let _ = write!(text, "  {}", counts.join(", "));
    }
    text.push('\n');
    text
}

/// An end: an address, with its port where it has one.
pub(crate) fn end(address: IpAddr, port: u16) -> String {
    match (address, port) {
        (address, 0) => address.to_string(),
        (IpAddr::V4(address), port) => format!("{address}:{port}"),
        (IpAddr::V6(address), port) => format!("[{address}]:{port}"),
    }
}

/// What becomes of the ends of the original direction, where that is something else.
pub(crate) fn translation(connection: &Connection) -> String {
    let Direction {
        source,
        source_port,
        destination,
        destination_port,
        ..
    } = connection.original;
    let reply = &connection.reply;
    let mut words = Vec::new();
    if (source, source_port) != (reply.destination, reply.destination_port) {
        words.push(format!(
            "from {}",
            end(reply.destination, reply.destination_port)
        ));
    }
    // The identifier of a query stands for both of its ports, and is said with the source.
    let is_identifier = connection.protocol == "icmp" && destination == reply.source;
    if (destination, destination_port) != (reply.source, reply.source_port) && !is_identifier {
        words.push(format!("to {}", end(reply.source, reply.source_port)));
    }
    words.join(" ")
}

fn table(connections: &[Connection]) -> String {
    if connections.is_empty() {
        return String::new();
    }
    // Where there is no card, it is not spoken of.
    let has_card = connections.iter().any(|connection| connection.offloaded);
    let mut rows = vec![vec![
        Cell::word("VPC"),
        Cell::word("PROTOCOL"),
        Cell::word("STATE"),
        Cell::word("SOURCE"),
        Cell::word("DESTINATION"),
        Cell::word("BECOMES"),
        Cell::number("PACKETS"),
        Cell::number("BYTES"),
        Cell::number("BACK"),
        Cell::number("BYTES"),
        Cell::word("AGE"),
        Cell::word("IDLE"),
    ]];
    if has_card {
        rows[0].push(Cell::word("CARD"));
    }
    for connection in connections {
        let Direction {
            vpc,
            source,
            source_port,
            destination,
            destination_port,
            packets,
            bytes,
        } = &connection.original;
        rows.push(vec![
            Cell::word(vpc),
            Cell::word(&connection.protocol),
            Cell::word(&connection.state),
            Cell::word(&end(*source, *source_port)),
            Cell::word(&end(*destination, *destination_port)),
            Cell::word(&translation(connection)),
            Cell::number(packets),
            Cell::number(bytes),
            Cell::number(connection.reply.packets),
            Cell::number(connection.reply.bytes),
            Cell::word(&duration(connection.age_seconds)),
            Cell::word(&duration(connection.idle_seconds)),
        ]);
        if let (Some(row), true) = (rows.last_mut(), has_card) {
            row.push(Cell::word(if connection.offloaded { "yes" } else { "" }));
        }
    }
    columns(&rows).join("\n") + "\n"
}

fn talker_table(talkers: &[Talker]) -> String {
    if talkers.is_empty() {
        return String::new();
    }
    let mut rows = vec![vec![
        Cell::word("VPC"),
        Cell::word("ADDRESS"),
        Cell::number("CONNECTIONS"),
        Cell::number("PACKETS"),
        Cell::number("BYTES"),
    ]];
    for talker in talkers {
        rows.push(vec![
            Cell::word(&talker.vpc),
            Cell::word(&talker.address.to_string()),
            Cell::number(talker.connections),
            Cell::number(talker.packets),
            Cell::number(talker.bytes),
        ]);
    }
    columns(&rows).join("\n") + "\n"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::daemon::connections::{StateCount, VpcCount};

    fn direction(vpc: &str, source: &str, destination: &str, packets: u64) -> Direction {
        let split = |end: &str| {
            let (address, port) = end.rsplit_once(' ').unwrap();
            (address.parse().unwrap(), port.parse().unwrap())
        };
        let ((source, source_port), (destination, destination_port)) =
            (split(source), split(destination));
        Direction {
            vpc: vpc.to_owned(),
            source,
            source_port,
            destination,
            destination_port,
            packets,
            bytes: 60 * packets,
        }
    }

    fn connection(
        protocol: &str,
        state: &str,
        original: Direction,
        reply: Direction,
    ) -> Connection {
        Connection {
            protocol: protocol.to_owned(),
            state: state.to_owned(),
            translated: original.source != reply.destination,
            original,
            reply,
            offloaded: false,
            interface: "blue0".to_owned(),
            worker: 0,
            age_seconds: 4000,
            idle_seconds: 7,
            expires_seconds: 300,
        }
    }

    pub(crate) fn found() -> Connections {
        let count = |protocol: &str, state: &str, connections| StateCount {
            protocol: protocol.to_owned(),
            state: state.to_owned(),
            connections,
        };
        Connections {
            version: VERSION,
            total: 1200,
            count: 5,
            states: vec![
                count("tcp", "established", 4),
                count("icmp", "unreplied", 1),
            ],
            vpcs: vec![VpcCount {
                vpc: "blue".to_owned(),
                connections: 5,
            }],
            connections: vec![
                connection(
                    "tcp",
                    "established",
                    direction("blue", "10.1.0.10 4000", "198.51.100.1 443", 12_345),
                    direction(
                        "internet",
                        "198.51.100.1 443",
                        "203.0.113.1 4000",
                        99_999_999,
                    ),
                ),
                connection(
                    "tcp",
                    "established",
                    direction("internet", "2001:db8:51::1 5000", "2001:db8:f::1 8080", 2),
                    direction("blue", "fd00:1::10 80", "2001:db8:51::1 5000", 1),
                ),
                connection(
                    "icmp",
                    "unreplied",
                    direction("blue", "10.1.0.10 9", "198.51.100.1 9", 1),
                    direction("internet", "198.51.100.1 1024", "203.0.113.1 1024", 0),
                ),
                connection(
                    "47",
                    "replied",
                    direction("blue", "10.1.0.10 0", "10.2.0.10 0", 1),
                    direction("blue", "10.2.0.10 0", "10.1.0.10 0", 1),
                ),
            ],
            talkers: vec![Talker {
                vpc: "blue".to_owned(),
                address: "10.1.0.10".parse().unwrap(),
                connections: 4,
                packets: 100_012_347,
                bytes: 6_000_740_820,
            }],
            talker_count: 2,
        }
    }

    #[test]
    fn connections_are_a_table_with_what_becomes_of_them() {
        insta::assert_snapshot!("connections", text(&found(), false));
        insta::assert_snapshot!("talkers", text(&found(), true));
        let nothing = Connections {
            total: 12,
            ..Connections::default()
        };
        assert_eq!(text(&nothing, false), "none of 12 connections\n");
    }
}
