//! Strategies for property tests (feature `testing`): random configurations, and changesets that fit onto one.
//!
//! What they make satisfies every constraint of the database: references lead somewhere, unique keys are unique, numbers
//! are in their ranges, next hops are numbered from 0 without gaps. It need not make sense as a network. Names and
//! addresses come from small pools, so that rows meet each other: changesets hold updates and deletions, not only
//! insertions.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::select;

use crate::changeset::Changeset;
use crate::marks::Marks;
use crate::model::*;
use crate::types::{Line, Ports, RouteType, TransportProtocol};
use crate::value::Value;

/// A value of a small pool, given as texts.
fn of<T: std::str::FromStr + Clone + std::fmt::Debug>(
    pool: &'static [&'static str],
) -> impl Strategy<Value = T>
where
    T::Err: std::fmt::Debug,
{
    select(pool).prop_map(|text| text.parse().expect("the pools hold valid texts"))
}

fn name<T: std::str::FromStr + Clone + std::fmt::Debug>() -> impl Strategy<Value = T>
where
    T::Err: std::fmt::Debug,
{
    of(&["a", "B", "c-1", "d.e_f"])
}

fn description() -> impl Strategy<Value = Option<Line>> {
    const TEXTS: &[&str] = &[
        "",
        "to the north",
        "'; DROP TABLE vpc; --",
        "größer \u{1F980}",
    ];
    proptest::option::of(of(TEXTS))
}

fn address() -> impl Strategy<Value = std::net::IpAddr> {
    of(&["10.0.0.1", "10.0.0.2", "203.0.113.7", "2001:db8::1"])
}

fn mac() -> impl Strategy<Value = crate::types::MacAddress> {
    of(&[
        "02:00:00:00:00:01",
        "02:00:00:00:00:02",
        "0a:bb:cc:dd:ee:ff",
    ])
}

fn prefix() -> impl Strategy<Value = crate::types::Prefix> {
    of(&["0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/24", "2001:db8::/32"])
}

fn vpc() -> impl Strategy<Value = Row> {
    (name(), description()).prop_map(|(name, description)| {
        VpcRow {
            name,
            description,
            marks: Marks::default(),
        }
        .into()
    })
}

fn interface() -> impl Strategy<Value = Row> {
    let port = of(&[
        "null:a",
        "ring:b",
        "tap:tap0",
        "af_packet:eth0",
        "pcap:receive=in.pcap,transmit=out.pcap",
    ]);
    let mtu = prop_oneof![Just(SMALLEST_MTU), Just(1500), Just(LARGEST_MTU)];
    (name(), description(), name(), port, mac(), mtu).prop_map(
        |(name, description, vpc, port, mac, mtu)| {
            InterfaceRow {
                name,
                description,
                vpc,
                port,
                mac,
                mtu,
                marks: Marks::default(),
            }
            .into()
        },
    )
}

fn interface_part() -> impl Strategy<Value = Row> {
    let addresses = of(&["10.0.0.1/24", "10.0.1.1/24", "2001:db8::1/64"]);
    prop_oneof![
        (name(), addresses).prop_map(|(interface, address)| InterfaceAddressRow {
            interface,
            address,
            marks: Marks::default()
        }
        .into()),
        (name(), address(), mac()).prop_map(|(interface, address, mac)| NeighborRow {
            interface,
            address,
            mac,
            marks: Marks::default()
        }
        .into()),
    ]
}

fn route() -> impl Strategy<Value = Row> {
    let route_type = select(
        &[
            RouteType::Unicast,
            RouteType::Blackhole,
            RouteType::Unreachable,
        ][..],
    );
    prop_oneof![
        (name(), prefix(), description(), route_type).prop_map(
            |(vpc, prefix, description, route_type)| {
                RouteRow {
                    vpc,
                    prefix,
                    description,
                    route_type,
                    marks: Marks::default(),
                }
                .into()
            }
        ),
        (
            name(),
            prefix(),
            0u16..3,
            name(),
            proptest::option::of(address())
        )
            .prop_map(|(vpc, prefix, position, interface, via)| NextHopRow {
                vpc,
                prefix,
                position,
                interface,
                via,
                marks: Marks::default()
            }
            .into()),
    ]
}

fn pool() -> impl Strategy<Value = Row> {
    let range = of(&[
        "198.51.100.1",
        "198.51.100.10-198.51.100.20",
        "2001:db8::1-2001:db8::ff",
    ]);
    prop_oneof![
        (name(), description(), name()).prop_map(|(name, description, vpc)| PoolRow {
            name,
            description,
            vpc,
            marks: Marks::default()
        }
        .into()),
        (name(), range).prop_map(|(pool, range)| PoolRangeRow {
            pool,
            range,
            marks: Marks::default()
        }
        .into()),
    ]
}

fn masquerade() -> impl Strategy<Value = Row> {
    prop_oneof![
        (
            name(),
            description(),
            name(),
            name(),
            proptest::option::of(name())
        )
            .prop_map(|(name, description, vpc, interface, pool)| {
                MasqueradeRow {
                    name,
                    description,
                    vpc,
                    interface,
                    pool,
                    marks: Marks::default(),
                }
                .into()
            }),
        (name(), prefix()).prop_map(|(masquerade, prefix)| MasqueradeSourceRow {
            masquerade,
            prefix,
            marks: Marks::default()
        }
        .into()),
    ]
}

fn port_forward() -> impl Strategy<Value = Row> {
    let protocol = select(&[TransportProtocol::Tcp, TransportProtocol::Udp][..]);
    let port = || of::<Ports>(&["1", "80", "65535"]);
    (
        name(),
        description(),
        protocol,
        (name(), address(), port()),
        (name(), address(), port()),
    )
        .prop_map(|(name, description, protocol, external, internal)| {
            PortForwardRow {
                name,
                description,
                protocol,
                external_vpc: external.0,
                external_address: external.1,
                external_port: external.2,
                internal_vpc: internal.0,
                internal_address: internal.1,
                internal_port: internal.2,
                marks: Marks::default(),
            }
            .into()
        })
}

fn static_nat() -> impl Strategy<Value = Row> {
    (name(), description(), name(), address(), name(), address()).prop_map(
        |(name, description, external_vpc, external_address, internal_vpc, internal_address)| {
            StaticNatRow {
                name,
                description,
                external_vpc,
                external_address,
                internal_vpc,
                internal_address,
                marks: Marks::default(),
            }
            .into()
        },
    )
}

/// A row of any table; nothing says that what it refers to exists.
pub fn row() -> impl Strategy<Value = Row> {
    // Parents are likelier than their share, so that enough of the rest has something to stand on.
    prop_oneof![
        4 => vpc(),
        4 => interface(),
        2 => interface_part(),
        4 => route(),
        3 => pool(),
        3 => masquerade(),
        1 => port_forward(),
        1 => static_nat(),
    ]
}

/// The values that must be unique besides the row's key.
fn unique_keys(row: &Row) -> Vec<(Table, usize, Vec<Value>)> {
    let definition = row.table().definition();
    let values = row.values();
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

/// The rows that a row needs: what it refers to, and the next hop before it.
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
    if let Row::NextHop(hop) = row
        && let Some(position) = hop.position.checked_sub(1)
    {
        needs.push(
            Row::from(NextHopRow {
                position,
                ..(**hop).clone()
            })
            .row_key(),
        );
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
