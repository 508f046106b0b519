//! What a routing daemon would send: frames of FPM with messages of rtnetlink, as FRRouting's `dplane_fpm_nl` makes them.

use std::collections::HashSet;

use crate::Failure;
use crate::lpm::{self, Family, RouteTable};

/// Next-hop objects of a family. Routes go over one of them.
const OBJECTS: u32 = 200;
/// Changes of a generated day, where there is no real one.
const GENERATED: usize = 1_000_000;

const NEW_ROUTE: u16 = 24;
const DELETE_ROUTE: u16 = 25;
const NEW_NEXT_HOP: u16 = 104;

/// A route table, and what happens to it in a day.
#[derive(Default)]
pub(super) struct Said {
    pub(super) table: Vec<u8>,
    pub(super) day: Vec<u8>,
    /// The routes of the table, and the changes of the day: a change of a route is a removal and a new route in one frame.
    pub(super) routes: usize,
    pub(super) changes: usize,
    /// The routes that are there at the end.
    pub(super) left: usize,
    pub(super) about: Vec<String>,
}

/// A family, as messages say it.
pub(super) trait Spoken: Family {
    /// AF_INET or AF_INET6.
    const NUMBER: u8;
    /// Each on the link 192.0.2.0/24 or 2001:db8:1::/64.
    fn gateway(number: u32) -> Vec<u8>;
    /// The address in the order of the wire.
    fn wire(self) -> Vec<u8>;
}

impl Spoken for std::net::Ipv4Addr {
    const NUMBER: u8 = 2;
    fn gateway(number: u32) -> Vec<u8> {
        vec![192, 0, 2, 2 + number as u8]
    }
    fn wire(self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

impl Spoken for std::net::Ipv6Addr {
    const NUMBER: u8 = 10;
    fn gateway(number: u32) -> Vec<u8> {
        let address = 0x2001_0db8_0001 << 80 | u128::from(2 + number);
        address.to_be_bytes().to_vec()
    }
    fn wire(self) -> Vec<u8> {
        self.octets().to_vec()
    }
}

impl Said {
    /// Adds a family: its table, and then its day.
    pub(super) fn add<A: Spoken>(&mut self) -> Result<(), Failure> {
        let table = RouteTable::<A>::load()?;
        self.about.push(table.about.clone());
        for number in 0..OBJECTS {
            self.table.extend(frame(&[object::<A>(number)]));
        }
        let mut known = HashSet::new();
        for ((network, length), hop) in &table.routes {
            known.insert((*network, *length));
            let route = route(NEW_ROUTE, (*network, *length), *hop);
            self.table.extend(frame(&[route]));
        }
        self.routes += table.routes.len();
        let day = lpm::day::<A>()?.unwrap_or_else(|| {
            let generated = table.routes.iter().cycle().step_by(7).take(GENERATED);
            generated.map(|(prefix, _)| (true, *prefix)).collect()
        });
        self.changes += day.len();
        for (number, (is_set, prefix)) in day.into_iter().enumerate() {
            let delete = route(DELETE_ROUTE, prefix, 0);
            if !is_set {
                known.remove(&prefix);
                self.day.extend(frame(&[delete]));
                continue;
            }
            let new = route(NEW_ROUTE, prefix, number as u32);
            if known.insert(prefix) {
                self.day.extend(frame(&[new]));
            } else {
                self.day.extend(frame(&[delete, new]));
            }
        }
        self.left += known.len();
        Ok(())
    }
}

/// Objects are numbered from 1 on, those of IPv6 behind those of IPv4.
fn id<A: Spoken>(number: u32) -> [u8; 4] {
    let before = if A::NUMBER == 2 { 1 } else { 1 + OBJECTS };
    (before + number % OBJECTS).to_le_bytes()
}

fn object<A: Spoken>(number: u32) -> Vec<u8> {
    let header = [A::NUMBER, 0, 11, 0, 0, 0, 0, 0];
    let attributes = [
        attribute(1, &id::<A>(number)),
        attribute(6, &A::gateway(number)),
    ];
    message(NEW_NEXT_HOP, &header, &attributes)
}

fn route<A: Spoken>(kind: u16, (network, length): (A, u8), hop: u32) -> Vec<u8> {
    let header = [A::NUMBER, length, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
    let attributes = [
        attribute(1, &network.wire()),
        attribute(6, &20u32.to_le_bytes()),
        attribute(30, &id::<A>(hop)),
    ];
    message(kind, &header, &attributes)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u16 + 4).to_le_bytes();
    [&length[..], &kind.to_le_bytes(), value].concat()
}

fn message(kind: u16, header: &[u8], attributes: &[Vec<u8>]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = ((header.len() + attributes.len()) as u32 + 16).to_le_bytes();
    [
        &length[..],
        &kind.to_le_bytes(),
        &[0; 10],
        header,
        &attributes,
    ]
    .concat()
}

fn frame(messages: &[Vec<u8>]) -> Vec<u8> {
    let messages = messages.concat();
    let length = (messages.len() as u16 + 4).to_be_bytes();
    [&[1, 1][..], &length, &messages].concat()
}
