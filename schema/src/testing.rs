//! Strategies for property tests (feature `testing`): random configurations, and changesets that fit onto one.
//!
//! What they make satisfies every constraint of the database: references lead somewhere, unique keys are unique, numbers
//! are in their ranges, lists are numbered from 0 without gaps. It need not make sense as a network. Names and addresses
//! come from small pools, so that rows meet each other: changesets hold updates and deletions, not only insertions.
//!
//! The values of a column come from what the model says of it, so that a new table or column is tested as it comes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use crate::changeset::Changeset;
use crate::marks::{FieldMark, FieldMarks};
use crate::model::*;
use crate::table::{ColumnDefinition, Step};
use crate::value::{Kind, Value};

/// The texts that a format's values come from.
fn pool(format: &str) -> &'static [&'static str] {
    match format {
        "name" => &["a", "B", "c-1", "d.e_f"],
        "prefix" => &["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "2001:db8::/32"],
        "interface-address" => &["10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64"],
        "address-range" => &[
            "198.51.100.1",
            "198.51.100.10-198.51.100.20",
            "2001:db8::1-2001:db8::ff",
        ],
        "mac-address" => &[
            "02:00:00:00:00:01",
            "02:00:00:00:00:02",
            "0a:bb:cc:dd:ee:ff",
        ],
        "port" => &[
            "null:a",
            "ring:b",
            "tap:tap0",
            "af_packet:eth0",
            "pcap:receive=in.pcap,transmit=out.pcap",
        ],
        "ip" => &["10.0.0.1", "10.0.0.2", "203.0.113.7", "2001:db8::1"],
        "ports" => &["1", "80", "80", "65535", "443", "80-82", "8000-8001,8080"],
        "addresses" => &[
            "10.0.0.1",
            "10.0.0.0/8",
            "10.0.0.7-10.0.0.9",
            "2001:db8::/64",
        ],
        "address-or-prefix" => &[
            "10.0.0.1",
            "10.0.0.2",
            "203.0.113.7",
            "2001:db8::1",
            "203.0.113.0/30",
            "10.0.0.0/30",
        ],
        "endpoint" => &["127.0.0.1:2620", "127.0.0.1:4317", "[::1]:9100"],
        "protocol" => &["tcp", "udp", "tcp_udp", "icmp", "99"],
        "duration" => &["30s", "5m", "2h4m"],
        "rate" => &["64k", "10M", "2500001"],
        "size" => &["1500", "64Ki", "1M"],
        other => unreachable!("no texts for {other}: a test goes through all formats"),
    }
}

const LINES: &[&str] = &[
    "",
    "to the north",
    "'; DROP TABLE vpc; --",
    "größer \u{1F980}",
];

/// A sequence of numbers that looks random (SplitMix64): a row is made of one number, which costs a small part of what a
/// strategy for each column would.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, pool: &[T]) -> T {
        pool[self.below(pool.len())]
    }

    /// A value that the column takes, not NULL.
    fn value(&mut self, column: &ColumnDefinition) -> Value {
        let parse = |text: &str| column.parse(text).expect("the pools hold valid texts");
        match column.kind {
            // An annotation of nothing is none.
            Kind::Line { .. } if column.name == "annotation" => parse("for a while"),
            Kind::Line { .. } => parse(self.of(LINES)),
            Kind::Text(format) | Kind::List(format) => parse(self.of(pool(format.name))),
            Kind::Words(words) => parse(self.of(words).0),
            Kind::Integer { .. } => {
                let (least, most) = column.bounds().expect("a number has bounds");
                Value::Integer(match column.name {
                    "position" => self.of(&[0, 0, 1, 1, 2]),
                    "sequence" => self.of(&[10, 20, 30]),
                    "mtu" => self.of(&[least, 1500, 1500, most]),
                    _ => self.of(&[least, least + 1, most]),
                })
            }
            Kind::Flag => Value::Integer(1),
            // They depend on what is given.
            Kind::FieldMarks => Value::Null,
        }
    }

    fn row(&mut self, table: Table) -> Row {
        let plain = self.below(4) > 0;
        let mut value = |column: &ColumnDefinition| {
            let (present, rich) = presence(table, column);
            let present = if plain { present } else { rich };
            if column.nullable && self.below(100) >= present {
                return Value::Null;
            }
            self.value(column)
        };
        let values: Vec<Value> = table.definition().columns.iter().map(&mut value).collect();
        let row = Row::from_values(table, &values).expect("the pools hold what columns take");
        if self.below(8) == 0 {
            self.with_marked_fields(row)
        } else {
            row
        }
    }

    /// The row with marks of some of the fields that are given.
    fn with_marked_fields(&mut self, mut row: Row) -> Row {
        let mut marks = FieldMarks::default();
        for (column, value) in row.table().definition().columns.iter().zip(row.values()) {
            if column.key || column.is_mark() || column.absent() == Some(value) {
                continue;
            }
            let kind = self.below(4);
            let mark = FieldMark {
                deactivated: kind & 1 == 1 && !column.required(),
                annotation: (kind & 2 == 2).then(|| "for a while".parse().expect("a line")),
            };
            marks.set(column.field, mark);
        }
        *row.marks_mut() = row.marks().with_fields(marks);
        row
    }
}

/// How often a column that may be NULL is not, in percent, in a row that is plain and in one that is not.
fn presence(table: Table, column: &ColumnDefinition) -> (usize, usize) {
    match (table, column.name) {
        (_, "deactivated" | "annotation") => (6, 6),
        (_, "description" | "via" | "pool") => (50, 50),
        (Table::Interface, "port" | "mac") | (Table::PortForward, "external_address") => (95, 70),
        (Table::PortForward, "internal_port") => (60, 60),
        (Table::Interface, "acl_in" | "acl_out") | (Table::Peering, "acl") => (15, 25),
        (Table::AclRule, "from_vpc" | "to_vpc" | "source_set" | "destination_set") => (20, 25),
        (Table::AclRule, "service") => (20, 25),
        (Table::Route, "to_vpc") => (25, 50),
        _ => (0, 25),
    }
}

/// The row of a table that says the least: each column NULL where it may be, and the first thing that comes otherwise.
pub fn sample(table: Table) -> Row {
    let value = |column: &ColumnDefinition| match (column.nullable, column.kind) {
        (true, _) => Value::Null,
        (_, Kind::Line { .. }) => Value::Text(LINES[0].to_owned()),
        (_, Kind::Text(format) | Kind::List(format)) => {
            let text = pool(format.name)[0];
            column.parse(text).expect("the pools hold valid texts")
        }
        (_, Kind::Words(words)) => Value::Text(words[0].0.to_owned()),
        (_, Kind::Integer { .. }) => {
            Value::Integer(column.bounds().expect("a number has bounds").0)
        }
        (_, Kind::Flag | Kind::FieldMarks) => Value::Null,
    };
    let values: Vec<Value> = table.definition().columns.iter().map(value).collect();
    Row::from_values(table, &values).expect("the pools hold what columns take")
}

/// Values of every kind that a column takes, NULL not among them.
pub fn values(column: &ColumnDefinition) -> Vec<Value> {
    let parse = |text: &str| column.parse(text).expect("the pools hold valid texts");
    match column.kind {
        Kind::Line { .. } => LINES.iter().map(|text| parse(text)).collect(),
        Kind::Text(format) | Kind::List(format) => {
            pool(format.name).iter().map(|text| parse(text)).collect()
        }
        Kind::Words(words) => words.iter().map(|(word, _)| parse(word)).collect(),
        Kind::Integer { .. } => {
            let (least, most) = column.bounds().expect("a number has bounds");
            vec![Value::Integer(least), Value::Integer(most)]
        }
        Kind::Flag => vec![Value::Integer(1)],
        Kind::FieldMarks => Vec::new(),
    }
}

/// A row of one table; nothing says that what it refers to exists.
pub fn row_of(table: Table) -> impl Strategy<Value = Row> {
    any::<u64>()
        .no_shrink()
        .prop_map(move |number| Numbers(number).row(table))
}

/// A row of any table; nothing says that what it refers to exists.
pub fn row() -> impl Strategy<Value = Row> {
    // What others stand on is likelier than its share, so that enough of the rest has something to stand on.
    let weight = |table: Table| match table {
        Table::Vpc | Table::Interface => 16,
        Table::InterfaceAddress | Table::Route | Table::NextHop | Table::Pool => 8,
        Table::PoolRange | Table::Masquerade | Table::MasqueradeSource => 6,
        Table::Neighbor | Table::PortForward | Table::StaticNat => 4,
        Table::Acl | Table::AclRule => 6,
        Table::AclRuleSource | Table::AclRuleDestination => 3,
        Table::AddressSet | Table::AddressSetMember | Table::Service | Table::ServiceEntry => 3,
        Table::Peering | Table::PeeringSide | Table::Expose => 2,
        _ => 1,
    };
    let tables: Vec<Table> = Table::ALL
        .iter()
        .flat_map(|table| std::iter::repeat_n(*table, weight(*table)))
        .collect();
    (select(tables), any::<u64>().no_shrink())
        .prop_map(|(table, number)| Numbers(number).row(table))
}

/// The values that must be unique besides the row's key.
fn unique_keys(row: &Row) -> Vec<(Table, usize, Vec<Value>)> {
    if row.marks().deactivated() {
        return Vec::new();
    }
    let definition = row.table().definition();
    // A deactivated field takes no value.
    let values = row.clone().in_effect().values();
    let keys = definition
        .unique
        .iter()
        .enumerate()
        .map(|(index, columns)| {
            let position =
                |column: &&str| definition.position(column).expect("a column of the table");
            let key: Vec<Value> = columns
                .iter()
                .map(|c| values[position(c)].clone())
                .collect();
            (row.table(), index, key)
        });
    keys.filter(|(_, _, key)| !key.contains(&Value::Null))
        .collect()
}

/// The rows that a row needs: what it refers to, and the one before it in a list.
fn needs(row: &Row) -> Vec<RowKey> {
    let definition = row.table().definition();
    let values = row.values();
    let value = |column: &str| {
        let index = definition.columns.iter().position(|c| c.name == column);
        values[index.expect("references name columns of their table")].clone()
    };
    let mut needs: Vec<RowKey> = Vec::new();
    for reference in definition.references {
        let key: Vec<Value> = reference
            .columns
            .iter()
            .map(|column| value(column))
            .collect();
        if !key.contains(&Value::Null) {
            let table = Table::named(reference.table).expect("references name tables");
            needs.push(RowKey::from_values(table, &key).expect("references name keys"));
        }
    }
    if let Some(Step::Position(column)) = definition.steps().last()
        && let Value::Integer(position @ 1..) = values[column]
    {
        let mut key = values[..definition.key_len()].to_vec();
        key[column] = Value::Integer(position - 1);
        needs.push(RowKey::from_values(row.table(), &key).expect("a position like any"));
    }
    needs
}

/// The largest part of `rows` that satisfies the constraints, where of two rows that exclude each other the first stays.
pub fn consistent(rows: &Configuration) -> Configuration {
    let mut result = Configuration::default();
    let mut present: BTreeSet<RowKey> = BTreeSet::new();
    let mut unique = BTreeSet::new();
    for row in rows.rows() {
        let keys = unique_keys(&row);
        if needs(&row).iter().all(|key| present.contains(key))
            && !keys.iter().any(|key| unique.contains(key))
        {
            unique.extend(keys);
            present.insert(row.row_key());
            result.insert(row);
        }
    }
    result
}

/// The largest part of `rows` in which every object has as many parts as it must, and no more than it may: what
/// documents can say.
pub fn complete(rows: &Configuration) -> Configuration {
    let mut result = rows.clone();
    loop {
        let before = result.len();
        for table in Table::ALL {
            let definition = table.definition();
            let parent_len = definition.key_len() - 1;
            let is_parent = |reference: &&crate::table::Reference| {
                let key = definition.columns.iter().map(|column| column.name);
                reference.columns.iter().copied().eq(key.take(parent_len))
            };
            let Some(parent) = definition.references.iter().find(is_parent) else {
                continue;
            };
            let parent = Table::named(parent.table).expect("references name tables");
            let mut counts: BTreeMap<Vec<Value>, usize> = BTreeMap::new();
            for row in result.rows_of(*table) {
                *counts
                    .entry(row.values()[..parent_len].to_vec())
                    .or_default() += 1;
            }
            let bad = |row: &Row| {
                let count = counts.get(&row.row_key().values()).copied().unwrap_or(0);
                count < definition.least || definition.most.is_some_and(|most| count > most)
            };
            let bad: Vec<Row> = result.rows_of(parent).filter(bad).collect();
            bad.iter().for_each(|row| drop(result.remove(row)));
        }
        result = consistent(&result);
        if result.len() == before {
            return result;
        }
    }
}

/// A configuration that the database accepts, of up to a few dozen rows.
pub fn configuration() -> impl Strategy<Value = Configuration> {
    proptest::collection::vec(row(), 0..60).prop_map(|rows| {
        let mut all = Configuration::default();
        rows.into_iter().for_each(|row| drop(all.insert(row)));
        consistent(&all)
    })
}

/// A changeset that leads from `state` to another configuration that the database accepts. It may be empty.
pub fn changeset_on(state: &Configuration) -> impl Strategy<Value = Changeset> + use<> {
    let state = state.clone();
    let removed = proptest::collection::vec(any::<proptest::sample::Index>(), 0..4);
    (proptest::collection::vec(row(), 0..12), removed).prop_map(move |(added, removed)| {
        let mut all = state.clone();
        let rows: Vec<Row> = state.rows().collect();
        if !rows.is_empty() {
            removed
                .iter()
                .for_each(|index| drop(all.remove(index.get(&rows))));
        }
        added.into_iter().for_each(|row| drop(all.insert(row)));
        Changeset::between(&state, &consistent(&all))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMATS;

    #[test]
    fn every_format_has_texts_in_canonical_form() {
        for format in FORMATS {
            for text in pool(format.name) {
                let canonical = (format.canonical)(text);
                assert_eq!(canonical.as_deref(), Ok(*text), "{}", format.name);
            }
        }
    }
}
