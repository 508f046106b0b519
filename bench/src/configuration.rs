//! Configurations to measure with.

use rewire_schema::model::{InterfaceAddressRow, InterfaceRow, NextHopRow, RouteRow, VpcRow};
use rewire_schema::types::{Name, RouteType};
use rewire_schema::{Change, Changeset, Configuration, Row};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The two rows of a static route of VPC `blue`: the `number`th of 2^24 prefixes.
pub(crate) fn route(number: u32) -> [Row; 2] {
    let [_, a, b, c] = number.to_be_bytes();
    let prefix = format!("{}.{a}.{b}.{c}/32", 100).parse().expect("a prefix");
    let route = RouteRow {
        vpc: name("blue"),
        prefix,
        description: None,
        route_type: RouteType::Unicast,
        marks: Default::default(),
    };
    let hop = NextHopRow {
        vpc: name("blue"),
        prefix,
        position: 0,
        interface: name("wan0"),
        via: Some("203.0.113.2".parse().expect("an address")),
        marks: Default::default(),
    };
    [route.into(), hop.into()]
}

/// A VPC that leads out by another VPC's interface, with so many static routes.
pub(crate) fn with_routes(routes: u32) -> Configuration {
    let mut configuration = Configuration::default();
    for vpc in ["blue", "internet"] {
        configuration.insert(
            VpcRow {
                name: name(vpc),
                description: None,
                marks: Default::default(),
            }
            .into(),
        );
    }
    for (number, interface, vpc, address) in [
        (1, "blue0", "blue", "10.1.0.1/24"),
        (2, "wan0", "internet", "203.0.113.1/24"),
    ] {
        let row = InterfaceRow {
            name: name(interface),
            description: None,
            vpc: name(vpc),
            port: format!("null:{interface}").parse().expect("a port"),
            mac: format!("02:00:00:00:00:0{number}")
                .parse()
                .expect("a MAC address"),
            mtu: 1500,
            marks: Default::default(),
        };
        configuration.insert(row.into());
        let address = address.parse().expect("an address");
        configuration.insert(
            InterfaceAddressRow {
                interface: name(interface),
                address,
                marks: Default::default(),
            }
            .into(),
        );
    }
    (0..routes)
        .flat_map(route)
        .for_each(|row| drop(configuration.insert(row)));
    configuration
}

/// The changeset that adds these rows.
pub(crate) fn insertion(rows: impl IntoIterator<Item = Row>) -> Changeset {
    rows.into_iter().map(Change::Insert).collect()
}
