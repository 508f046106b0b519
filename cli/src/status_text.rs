//! A gateway's status as an operator reads it: what is wrong first, then ports, packets, drops, connections.

use std::fmt::Write as _;

use crate::columns::{Cell, columns};
use crate::daemon::administration::{Confirmation, Lock, Waiting};
use crate::daemon::status::{Drop, Interface, Status};
use crate::terminal::{clean, paint};
use crate::when::local_of as local;

/// Red and bold: what is wrong.
const LOUD: &str = "1;31";
const BOLD: &str = "1";

/// The status in words.
pub(crate) fn render(status: &Status, colour: bool) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&headline(status, colour));
    for alarm in alarms(status) {
        line(&paint(&format!("ALARM  {}", clean(&alarm)), LOUD, colour));
    }
    line(&runs_on(status));
    let waiting = (
        &status.confirmation,
        &status.lock,
        status.scheduled.as_slice(),
    );
    for text in administration(waiting, colour) {
        line(&text);
    }
    if let Some(event) = status.events.first() {
        line(&format!(
            "at {}: {}",
            local(&event.time),
            clean(&event.text)
        ));
    }
    line("");
    if status.interfaces.is_empty() {
        line("no interfaces: nothing is configured");
    } else {
        columns(&interfaces(&status.interfaces))
            .iter()
            .for_each(|row| line(row));
    }
    for interface in &status.interfaces {
        if let Some(problem) = &interface.problem {
            let text = format!(
                "  DOWN  {}: port {}: {}",
                interface.name,
                interface.port,
                clean(problem)
            );
            line(&paint(&text, LOUD, colour));
        }
        if let Some(why) = &interface.no_offload {
            line(&format!(
                "  {}: its flows stay in software: {}",
                interface.name,
                clean(why)
            ));
        }
    }
    line("");
    line(&status.packets.account());
    let drops: Vec<&Drop> = status
        .drops
        .iter()
        .filter(|drop| drop.packets > 0)
        .collect();
    for row in columns(&drops.iter().map(|drop| drop_row(drop)).collect::<Vec<_>>()) {
        line(&format!("  {row}"));
    }
    line(&connections(status));
    if let Some(offload) = &status.offload {
        line(&offload.line());
    }
    for source in &status.route_sources {
        line(&clean(&source.line()));
    }
    if let Some(commit) = last_live(status) {
        line(&commit);
    }
    out
}

pub(crate) fn headline(status: &Status, colour: bool) -> String {
    let revision = match status.revision {
        Some(revision) => format!("revision {revision} live"),
        None => "no revision live yet".to_owned(),
    };
    let behind = match status.revision {
        Some(revision) if revision < status.head => format!("  (the store is at {})", status.head),
        _ => String::new(),
    };
    let up = duration(status.uptime_seconds);
    format!(
        "{}{behind}  generation {}  up {up}",
        paint(&revision, BOLD, colour),
        status.generation
    )
}

pub(crate) fn alarms(status: &Status) -> Vec<String> {
    let mut alarms: Vec<String> = status.alarm.iter().cloned().collect();
    if status.stuck && status.alarm.is_none() {
        alarms.push("a worker is stuck: the tables cannot be published".to_owned());
    }
    alarms.extend(
        status
            .route_sources
            .iter()
            .filter_map(|source| source.alarm()),
    );
    alarms
}

fn runs_on(status: &Status) -> String {
    let driver = match (status.driver.as_str(), status.hugepages) {
        ("dpdk", Some(true)) => "DPDK with hugepages".to_owned(),
        ("dpdk", _) => "DPDK without hugepages".to_owned(),
        (other, _) => format!("{other} ports: no packet comes in"),
    };
    let metrics = match &status.metrics {
        Some(address) => format!("metrics on http://{address}/metrics"),
        None => "no metrics".to_owned(),
    };
    let console = match &status.console {
        Some(address) => format!(", console on http://{address}/"),
        None => String::new(),
    };
    let workers = count(status.workers as u64, "worker");
    format!(
        "{}  {workers}, {driver}, {metrics}{console}",
        clean(&status.store)
    )
}

/// What those who administer the store should know.
pub(crate) fn administration(
    (confirmation, lock, scheduled): (&Option<Confirmation>, &Option<Lock>, &[Waiting]),
    colour: bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(pending) = confirmation {
        let text = format!(
            "UNCONFIRMED  revision {} of {} goes back to revision {} at {}, unless it is confirmed",
            pending.revision,
            clean(&pending.author),
            pending.back_to,
            local(&pending.deadline)
        );
        lines.push(paint(&text, LOUD, colour));
    }
    if let Some(lock) = lock {
        let why = match lock.message.is_empty() {
            true => String::new(),
            false => format!(" ({})", clean(&lock.message)),
        };
        let (holder, since) = (clean(&lock.holder), local(&lock.since));
        lines.push(format!(
            "locked by {holder}{why} since {since}, until process {} ends",
            lock.pid
        ));
    }
    for one in scheduled {
        let what = format!("scheduled commit {} of {}", one.number, clean(&one.author));
        lines.push(match &one.refused {
            Some(why) => paint(&format!("REFUSED  {what}: {}", clean(why)), LOUD, colour),
            None => format!("{what} at {}", local(&one.at)),
        });
    }
    lines
}

fn interfaces(interfaces: &[Interface]) -> Vec<Vec<Cell>> {
    let titles = ["interface", "port", "state"].map(Cell::word);
    let numbers = [
        "rx packets",
        "rx bytes",
        "tx packets",
        "tx bytes",
        "dropped",
    ]
    .map(Cell::number);
    let mut rows = vec![titles.into_iter().chain(numbers).collect::<Vec<_>>()];
    for interface in interfaces {
        let state = interface.state();
        let mut row = vec![
            Cell::word(&interface.name),
            Cell::word(&interface.port),
            Cell::word(state),
        ];
        if let Some(counters) = &interface.counters {
            let numbers = [
                counters.received_packets,
                counters.received_bytes,
                counters.transmitted_packets,
                counters.transmitted_bytes,
                counters.dropped_packets,
            ];
            row.extend(numbers.map(Cell::number));
        }
        rows.push(row);
    }
    rows
}

pub(crate) fn drop_row(drop: &Drop) -> Vec<Cell> {
    vec![
        Cell::number(drop.packets),
        Cell::word(&drop.reason),
        Cell::word(&drop.description),
    ]
}

fn connections(status: &Status) -> String {
    let c = &status.connections;
    let mut text = format!(
        "connections  {} now, {} made, {} timed out",
        c.now, c.created, c.expired
    );
    if c.evicted > 0 {
        let _ = write!(text, ", {} made way in a full table", c.evicted);
    }
    if c.kept_by_policy + c.ended_by_policy > 0 {
        let _ = write!(
            text,
            "; new policy kept {} and ended {}",
            c.kept_by_policy, c.ended_by_policy
        );
    }
    let _ = write!(text, "  {}", count(c.mappings, "NAT mapping"));
    let _ = write!(
        text,
        "  {}",
        count(status.learned_neighbors, "learned neighbor")
    );
    text
}

fn last_live(status: &Status) -> Option<String> {
    let live = status.last_live.filter(|live| live.revision > 0)?;
    let times: Vec<String> = live
        .steps
        .named()
        .into_iter()
        .filter_map(|(step, time)| Some(format!("{step} {:.1} ms", time? as f64 / 1e6)))
        .collect();
    Some(format!(
        "last change  revision {}: {}",
        live.revision,
        times.join(" · ")
    ))
}

/// `1 worker`, `2 workers`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// `42 s`, `3 min 20 s`, `5 h 1 min`, `12 d 3 h`.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a gateway says: one port down, drops, one revision behind its store.
    const STATUS: &str = r#"{
        "version": 1, "program": "0.1.0", "pid": 4711, "uptime_seconds": 4980, "store": "/var/lib/rewire/rewire.db",
        "revision": 41, "head": 42, "generation": 97,
        "last_live": {"revision": 41, "generation": 96,
            "steps": {"noticed_ns": 1234567, "compile_ns": 310000, "publish_ns": 20400, "live_ns": 187000}},
        "alarm": "revision 42 cannot be published: a worker has not left the old tables", "stuck": true, "late": 3,
        "workers": 2, "driver": "dpdk", "hugepages": true, "metrics": "127.0.0.1:9474",
        "interfaces": [
            {"name": "blue0", "port": "af_packet:rw-blue", "open": true, "problem": null, "counters":
                {"received_packets": 1234567, "received_bytes": 987654321, "transmitted_packets": 7,
                 "transmitted_bytes": 420, "dropped_packets": 12}},
            {"name": "wan0", "port": "tap:wan", "open": false, "problem": "no such \u001b device", "counters":
                {"received_packets": 0, "received_bytes": 0, "transmitted_packets": 0, "transmitted_bytes": 0,
                 "dropped_packets": 0}},
            {"name": "zone9", "port": "null:z", "open": true, "problem": null, "counters": null}],
        "packets": {"received": 1234567, "generated": 7, "transmitted": 7, "dropped": 1234565, "consumed": 1, "held": 1},
        "drops": [
            {"reason": "frame_too_short", "packets": 0, "description": "The frame is shorter than an Ethernet header."},
            {"reason": "no_route", "packets": 1234550, "description": "No route leads to the destination."},
            {"reason": "ttl_expired", "packets": 15, "description": "The packet's time to live is over."}],
        "connections": {"now": 12, "created": 345, "expired": 300, "kept_by_policy": 11, "ended_by_policy": 33,
            "mappings": 1},
        "nodes": {"route": 1234000}, "learned_neighbors": 3, "icmp_suppressed": 2, "added_later": true,
        "route_sources": [
            {"name": "frr", "connected": true, "sessions": 2, "routes": 1042325, "held_back": 3, "stale": 0, "refused": 12,
             "messages": 1042400, "bytes": 60000000, "framing_errors": 0, "ignored": {"kernel": 4}, "problem": null},
            {"name": "other", "connected": false, "sessions": 1, "routes": 7, "held_back": 0, "stale": 7, "refused": 0,
             "messages": 7, "bytes": 400, "framing_errors": 1, "ignored": {},
             "problem": "the last session ended: a frame of version 71, expected 1"}]
    }"#;

    #[test]
    fn what_is_wrong_is_seen_first() {
        let status: Status = serde_json::from_str(STATUS).unwrap();
        insta::assert_snapshot!(render(&status, false));
        assert!(render(&status, true).contains("\u{1b}[1;31mALARM"));
    }

    #[test]
    fn a_gateway_that_has_nothing_to_do() {
        let mut status: Status = serde_json::from_str(STATUS).unwrap();
        status.revision = None;
        status.last_live = None;
        status.alarm = None;
        status.interfaces.clear();
        status.drops.clear();
        status.route_sources.clear();
        status.driver = "virtual".to_owned();
        status.hugepages = None;
        status.metrics = None;
        insta::assert_snapshot!(render(&status, false));
    }

    #[test]
    fn times_are_short() {
        let said = [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(duration);
        let expected = [
            "0 s",
            "59 s",
            "1 min 0 s",
            "59 min 59 s",
            "1 h 0 min",
            "23 h 59 min",
            "1 d 0 h",
            "11 d 13 h",
        ];
        assert_eq!(said, expected);
    }
}
