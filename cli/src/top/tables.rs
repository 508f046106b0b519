//! The tables of each view: titles, rows as texts, and how wide.

use ratatui::layout::Constraint;
use rewire_configdb::LogEntry;

use super::Shown;
use crate::connections::{end, translation};
use crate::daemon::connections::{Connection, Talker};
use crate::daemon::status::{Drop, Interface};
use crate::history;
use crate::rates::Rates;
use crate::status_text::duration;
use crate::terminal::clean;
use crate::units::{bits, bytes, packets};
use crate::view;
use crate::when;

/// A column: its title, whether it is of numbers, and its width, or that it takes what is left.
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) is_number: bool,
    pub(crate) width: Option<u16>,
    /// It is left out of a table that is less wide than this.
    pub(crate) from: u16,
}

impl Column {
    const fn from(mut self, width: u16) -> Column {
        self.from = width;
        self
    }

    pub(crate) fn constraint(&self) -> Constraint {
        self.width.map_or(Constraint::Fill(1), Constraint::Length)
    }
}

const fn word(title: &'static str, width: u16) -> Column {
    Column {
        title,
        is_number: false,
        width: Some(width),
        from: 0,
    }
}

const fn number(title: &'static str, width: u16) -> Column {
    Column {
        title,
        is_number: true,
        width: Some(width),
        from: 0,
    }
}

const fn rest(title: &'static str) -> Column {
    Column {
        title,
        is_number: false,
        width: None,
        from: 0,
    }
}

/// A table. A row may be marked as something bad.
pub(crate) struct Table {
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<(bool, Vec<String>)>,
    /// What is said where there are no rows.
    pub(crate) empty: &'static str,
}

const INTERFACES: &[Column] = &[
    word("interface", 14),
    word("state", 5),
    number("received", 11),
    number("", 9).from(70),
    number("transmitted", 11),
    number("", 9).from(70),
    number("dropped", 9),
    rest("port").from(100),
];

pub(crate) fn interfaces(shown: &Shown) -> Table {
    let row = |rates: &Rates<'_>, interface: &Interface| {
        let traffic = rates.traffic(|other| other.name == interface.name);
        let rate = |text: String| match interface.counters {
            Some(_) => text,
            None => "–".to_owned(),
        };
        let port = match &interface.problem {
            Some(problem) => format!("{}: {problem}", interface.port),
            None => interface.port.clone(),
        };
        let cells = vec![
            clean(&interface.name),
            interface.state().to_owned(),
            rate(bits(traffic.received_bytes)),
            rate(packets(traffic.received_packets)),
            rate(bits(traffic.transmitted_bytes)),
            rate(packets(traffic.transmitted_packets)),
            rate(packets(traffic.dropped_packets)),
            clean(&port),
        ];
        (!interface.works(), cells)
    };
    Table {
        columns: INTERFACES,
        rows: shown.rates().map_or(Vec::new(), |rates| {
            let interfaces = rates.now.interfaces.iter();
            interfaces.map(|interface| row(&rates, interface)).collect()
        }),
        empty: "no interfaces: nothing is configured",
    }
}

const DROPS: &[Column] = &[
    word("reason", 25),
    number("now", 9),
    number("packets", 14),
    rest("what it means").from(60),
];

/// The reasons that dropped anything: those that do now first, then those that did most.
pub(crate) fn drops(shown: &Shown) -> Table {
    let mut found: Vec<(f64, &Drop)> = Vec::new();
    if let Some(rates) = shown.rates() {
        let drops = rates.now.drops.iter().filter(|drop| drop.packets > 0);
        found.extend(drops.map(|drop| (rates.dropped(&drop.reason), drop)));
    }
    found.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(y.packets.cmp(&x.packets)));
    let row = |(rate, drop): (f64, &Drop)| {
        let cells = [
            &drop.reason,
            &packets(rate),
            &drop.packets.to_string(),
            &drop.description,
        ];
        (false, cells.map(|cell| clean(cell)).into())
    };
    Table {
        columns: DROPS,
        rows: found.into_iter().map(row).collect(),
        empty: "nothing was dropped",
    }
}

const CONNECTIONS: &[Column] = &[
    word("vpc", 10).from(100),
    word("proto", 5),
    word("state", 12).from(60),
    word("source", 22),
    word("destination", 22),
    number("bytes", 8),
    number("back", 8).from(90),
    number("idle", 10).from(100),
    rest("becomes").from(120),
];

pub(crate) fn connections(shown: &Shown) -> Table {
    let row = |connection: &Connection| {
        let side = &connection.original;
        let cells = vec![
            clean(&side.vpc),
            clean(&connection.protocol),
            clean(&connection.state),
            end(side.source, side.source_port),
            end(side.destination, side.destination_port),
            bytes(side.bytes),
            bytes(connection.reply.bytes),
            duration(connection.idle_seconds),
            translation(connection),
        ];
        (false, cells)
    };
    let found = shown.seen.connections.as_ref();
    Table {
        columns: CONNECTIONS,
        rows: found.map_or(Vec::new(), |found| {
            found.connections.iter().map(row).collect()
        }),
        empty: "no connections",
    }
}

const TALKERS: &[Column] = &[
    word("vpc", 12),
    word("address", 40),
    number("connections", 11),
    number("packets", 14),
    number("bytes", 8),
    rest(""),
];

pub(crate) fn talkers(shown: &Shown) -> Table {
    let row = |talker: &Talker| {
        let cells = vec![
            clean(&talker.vpc),
            talker.address.to_string(),
            talker.connections.to_string(),
            talker.packets.to_string(),
            bytes(talker.bytes),
            String::new(),
        ];
        (false, cells)
    };
    let found = shown.seen.connections.as_ref();
    Table {
        columns: TALKERS,
        rows: found.map_or(Vec::new(), |found| found.talkers.iter().map(row).collect()),
        empty: "nobody has a connection",
    }
}

const REVISIONS: &[Column] = &[
    number("revision", 8),
    word("time", 26),
    word("author", 12).from(60),
    word("rows", 12).from(90),
    rest("message"),
];

pub(crate) fn revisions(shown: &Shown) -> Table {
    let row = |entry: &LogEntry| {
        let cells = vec![
            entry.revision.to_string(),
            when::local(entry.committed_at),
            clean(&entry.author),
            view::short(entry.counts),
            history::message(entry),
        ];
        (false, cells)
    };
    Table {
        columns: REVISIONS,
        rows: shown.seen.revisions.iter().map(row).collect(),
        empty: "no revisions are known",
    }
}
