//! Configurations to measure with.

use rewire_schema::model::{
    InterfaceAddressRow, InterfaceRow, NeighborRow, NextHopRow, RouteRow, VpcRow,
};
use rewire_schema::types::Name;
use rewire_schema::{Change, Changeset, Configuration, Row};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

/// The `number`th of 2^24 prefixes.
pub(crate) fn prefix(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("100.{a}.{b}.{c}/32")
}

/// The two rows of a static route of VPC `blue`: the `number`th of 2^24 prefixes.
pub(crate) fn route(number: u32) -> [Row; 2] {
    let prefix = prefix(number).parse().expect("a prefix");
    let route = RouteRow::unicast(name("blue"), prefix);
    let via = Some("203.0.113.2".parse().expect("an address"));
    let hop = NextHopRow::new(name("blue"), prefix, 0, name("wan0"), via);
    [route.into(), hop.into()]
}

/// A VPC that leads out by another VPC's interface, with so many static routes.
pub(crate) fn with_routes(routes: u32) -> Configuration {
    let mut configuration = Configuration::default();
    for vpc in ["blue", "internet"] {
        configuration.insert(VpcRow::new(name(vpc)).into());
    }
    for (number, interface, vpc, address) in [
        (1, "blue0", "blue", "10.1.0.1/24"),
        (2, "wan0", "internet", "203.0.113.1/24"),
    ] {
        let port = format!("null:{interface}").parse().expect("a port");
        let mac = format!("02:00:00:00:00:0{number}");
        let mac = mac.parse().expect("a MAC address");
        let row = InterfaceRow::physical(name(interface), name(vpc), port, mac);
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

/// The router that those routes lead to is known: no packet waits for it.
pub(crate) fn with_router(
    mut configuration: Configuration,
) -> Result<Configuration, Box<dyn std::error::Error>> {
    let neighbor = NeighborRow {
        interface: "wan0".parse()?,
        address: "203.0.113.2".parse()?,
        mac: "02:00:00:00:09:09".parse()?,
        marks: Default::default(),
    };
    configuration.insert(neighbor.into());
    Ok(configuration)
}

/// The changeset that adds these rows.
pub(crate) fn insertion(rows: impl IntoIterator<Item = Row>) -> Changeset {
    rows.into_iter().map(Change::Insert).collect()
}
