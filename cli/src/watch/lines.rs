//! What is written: one line, as people and as machines read it.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::daemon::status::Status;
use crate::rates::{Rates, Traffic};
use crate::terminal::clean;
use crate::units::{bits, packets, rate};

/// The version of lines for machines. Fields may be added to a version; they are never renamed or removed.
const VERSION: u32 = 1;

/// A line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    pub(super) what: Said,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Rates {
        /// One interface, or all together.
        interface: Option<String>,
        seconds: f64,
        traffic: Traffic,
        connections: u64,
        connections_created: f64,
    },
    Drop {
        reason: String,
        packets: u64,
        rate: f64,
    },
    Event(Event),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// What follows is what came after this.
    Watching {
        revision: Option<u64>,
    },
    /// Every worker uses it.
    Revision {
        revision: u64,
        generation: u64,
        author: Option<String>,
        message: Option<String>,
    },
    InterfaceDown {
        interface: String,
        port: String,
        problem: String,
    },
    InterfaceUp {
        interface: String,
        port: String,
    },
    /// It has changed so often since the last look, and is so now.
    Link {
        interface: String,
        port: String,
        is_up: bool,
        changes: u64,
    },
    Alarm {
        why: String,
    },
    AlarmOver,
    GatewayGone {
        why: String,
    },
    GatewayBack {
        revision: Option<u64>,
    },
}

/// The rates of an interface, or of all; none where there is nothing to compare with.
pub(super) fn rates(before: &Status, now: &Status, interface: Option<&str>) -> Vec<Line> {
    let rates = Rates::between(Some(before), now);
    if !rates.are_known() {
        return Vec::new();
    }
    let traffic = rates.traffic(|one| interface.is_none_or(|name| one.name == name));
    let dropped_packets = match interface {
        Some(_) => traffic.dropped_packets,
        // Packets of the gateway's own can be dropped, too.
        None => rates.of(|status| Some(status.packets.dropped)),
    };
    vec![Line::new(Said::Rates {
        interface: interface.map(str::to_owned),
        seconds: rates.seconds(),
        traffic: Traffic {
            dropped_packets,
            ..traffic
        },
        connections: now.connections.now,
        connections_created: rates.of(|status| Some(status.connections.created)),
    })]
}

/// The reasons that dropped more packets a second than `above`.
pub(super) fn drops(before: &Status, now: &Status, above: u64) -> Vec<Line> {
    let rates = Rates::between(Some(before), now);
    let line = |drop: &crate::daemon::status::Drop| {
        let rate = rates.dropped(&drop.reason);
        (rate > above as f64).then(|| {
            Line::new(Said::Drop {
                reason: drop.reason.clone(),
                packets: (rate * rates.seconds()).round() as u64,
                rate,
            })
        })
    };
    now.drops.iter().filter_map(line).collect()
}

/// What has become of interfaces and alarms.
pub(super) fn events(before: &Status, now: &Status) -> Vec<Line> {
    let mut events = Vec::new();
    for interface in &now.interfaces {
        let known = before
            .interfaces
            .iter()
            .find(|one| one.name == interface.name);
        let was_open = known.map(|known| known.open);
        let (name, port) = (interface.name.clone(), interface.port.clone());
        match (was_open, interface.open) {
            (Some(false) | None, true) => events.push(Event::InterfaceUp {
                interface: name,
                port,
            }),
            (Some(true) | None, false) => events.push(Event::InterfaceDown {
                interface: name,
                port,
                problem: interface.problem.clone().unwrap_or_default(),
            }),
            _ => {}
        }
        // Of another gateway, it has begun to count anew.
        let changes_before = known.filter(|_| before.pid == now.pid);
        let changes_before = changes_before.map_or(0, |known| known.link_changes);
        let changes = interface.link_changes.saturating_sub(changes_before);
        if let Some(is_up) = interface.link.filter(|_| changes > 0) {
            events.push(Event::Link {
                interface: interface.name.clone(),
                port: interface.port.clone(),
                is_up,
                changes,
            });
        }
    }
    for interface in &before.interfaces {
        if interface.open && !now.interfaces.iter().any(|one| one.name == interface.name) {
            events.push(Event::InterfaceDown {
                interface: interface.name.clone(),
                port: interface.port.clone(),
                problem: "it is not configured any more".to_owned(),
            });
        }
    }
    match (&before.alarm, &now.alarm) {
        (before, Some(why)) if before.as_ref() != Some(why) => {
            events.push(Event::Alarm { why: why.clone() })
        }
        (Some(_), None) => events.push(Event::AlarmOver),
        _ => {}
    }
    events.into_iter().map(Line::event).collect()
}

impl Line {
    fn new(what: Said) -> Line {
        Line {
            time: Timestamp::now(),
            what,
        }
    }

    pub(super) fn event(event: Event) -> Line {
        Line::new(Said::Event(event))
    }

    pub(super) fn text(&self) -> String {
        let time = format!("{:.3}", self.time);
        let text = match &self.what {
            Said::Rates {
                interface,
                traffic,
                connections,
                connections_created,
                ..
            } => {
                let name = interface
                    .as_ref()
                    .map_or(String::new(), |name| format!("{name}  "));
                format!(
                    "{name}received {} {}  transmitted {} {}  dropped {}  connections {connections} ({} new)",
                    bits(traffic.received_bytes),
                    packets(traffic.received_packets),
                    bits(traffic.transmitted_bytes),
                    packets(traffic.transmitted_packets),
                    packets(traffic.dropped_packets),
                    rate(*connections_created),
                )
            }
            Said::Drop {
                reason,
                packets: number,
                rate,
            } => {
                format!("{reason}  {number} packets  {}", packets(*rate))
            }
            Said::Event(event) => event.text(),
        };
        format!("{time}  {}", clean(&text))
    }

    pub(super) fn to_json(&self) -> Value {
        let mut line = match &self.what {
            Said::Rates {
                interface,
                seconds,
                traffic,
                connections,
                connections_created,
            } => json!({
                "interface": interface,
                "seconds": seconds,
                "received": { "packets": traffic.received_packets, "bytes": traffic.received_bytes },
                "transmitted": { "packets": traffic.transmitted_packets, "bytes": traffic.transmitted_bytes },
                "dropped": traffic.dropped_packets,
                "connections": connections,
                "connections_created": connections_created,
            }),
            Said::Drop {
                reason,
                packets,
                rate,
            } => {
                json!({ "reason": reason, "packets": packets, "rate": rate })
            }
            Said::Event(event) => event.to_json(),
        };
        line["version"] = json!(VERSION);
        line["time"] = json!(format!("{:.6}", self.time));
        line
    }
}

impl Event {
    fn text(&self) -> String {
        match self {
            Event::Watching { revision } => match revision {
                Some(revision) => format!("watching: revision {revision} live"),
                None => "watching: no revision live yet".to_owned(),
            },
            Event::Revision {
                revision,
                generation,
                author,
                message,
            } => {
                let author = author
                    .as_ref()
                    .map_or(String::new(), |author| format!("  {author}"));
                let message = message
                    .as_ref()
                    .map_or(String::new(), |message| format!("  {message}"));
                format!("revision {revision} live  generation {generation}{author}{message}")
            }
            Event::InterfaceDown {
                interface,
                port,
                problem,
            } => {
                format!("interface {interface} is down: port {port}: {problem}")
            }
            Event::InterfaceUp { interface, port } => {
                format!("interface {interface} is up: port {port}")
            }
            Event::Link {
                interface,
                port,
                is_up,
                changes,
            } => {
                let state = if *is_up { "up" } else { "down" };
                let times = match changes {
                    1 => String::new(),
                    more => format!(", after {more} changes"),
                };
                format!("interface {interface}: the link of port {port} is {state}{times}")
            }
            Event::Alarm { why } => format!("alarm: {why}"),
            Event::AlarmOver => "the alarm is over".to_owned(),
            Event::GatewayGone { why } => format!("the gateway does not answer: {why}"),
            Event::GatewayBack {
                revision: Some(revision),
            } => format!("the gateway answers again: revision {revision} live"),
            Event::GatewayBack { revision: None } => {
                "the gateway answers again: no revision live yet".to_owned()
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Event::Watching { revision } => json!({ "event": "watching", "revision": revision }),
            Event::Revision {
                revision,
                generation,
                author,
                message,
            } => json!({
                "event": "revision", "revision": revision, "generation": generation, "author": author, "message": message,
            }),
            Event::InterfaceDown {
                interface,
                port,
                problem,
            } => json!({
                "event": "interface_down", "interface": interface, "port": port, "problem": problem,
            }),
            Event::InterfaceUp { interface, port } => {
                json!({ "event": "interface_up", "interface": interface, "port": port })
            }
            Event::Link {
                interface,
                port,
                is_up,
                changes,
            } => {
                let event = if *is_up { "link_up" } else { "link_down" };
                json!({ "event": event, "interface": interface, "port": port, "changes": changes })
            }
            Event::Alarm { why } => json!({ "event": "alarm", "why": why }),
            Event::AlarmOver => json!({ "event": "alarm_over" }),
            Event::GatewayGone { why } => json!({ "event": "gateway_gone", "why": why }),
            Event::GatewayBack { revision } => {
                json!({ "event": "gateway_back", "revision": revision })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::tests::answers;

    fn shown(lines: Vec<Line>) -> String {
        let at = |line: Line| Line {
            time: Timestamp::UNIX_EPOCH,
            ..line
        };
        let lines = lines.into_iter().map(at);
        lines
            .map(|line| {
                let csv = super::super::csv::line(&line);
                format!("{}\n{}\n{}\n", line.text(), line.to_json(), csv.trim_end())
            })
            .collect()
    }

    #[test]
    fn rates_and_drops_are_a_line_each() {
        let (before, now) = answers();
        insta::assert_snapshot!("rates", shown(rates(&before, &now, None)));
        insta::assert_snapshot!(
            "rates_of_an_interface",
            shown(rates(&before, &now, Some("wan0")))
        );
        insta::assert_snapshot!("drops", shown(drops(&before, &now, 0)));
        assert_eq!(drops(&before, &now, 100), []);
        let mut another = now.clone();
        another.pid += 1;
        assert_eq!(
            (rates(&before, &another, None), drops(&before, &another, 0)),
            (vec![], vec![])
        );
    }

    #[test]
    fn what_happens_is_a_line_each() {
        let (before, mut now) = answers();
        assert_eq!(events(&before, &now), []);
        now.alarm = Some("a worker is stuck".to_owned());
        now.interfaces[1].open = false;
        now.interfaces[1].problem = Some("no such device".to_owned());
        now.interfaces[2].open = true;
        now.interfaces[2].link = Some(true);
        now.interfaces[2].link_changes = 2;
        now.interfaces.remove(0);
        let mut said = events(&before, &now);
        said.extend(events(&now, &before));
        said.push(Line::event(Event::Revision {
            revision: 7,
            generation: 9,
            author: Some("ada".to_owned()),
            message: Some("why".to_owned()),
        }));
        said.push(Line::event(Event::Watching { revision: None }));
        said.push(Line::event(Event::GatewayGone {
            why: "no gateway is running".to_owned(),
        }));
        said.push(Line::event(Event::GatewayBack { revision: Some(7) }));
        insta::assert_snapshot!("events", shown(said));
    }
}
