//! Writes what a routing daemon would say, for tests.

use std::net::IpAddr;

use ipnet::IpNet;

/// An attribute.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = (value.len() as u16 + 4).to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A netlink message.
pub(crate) fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 16).to_le_bytes().to_vec();
    bytes.extend(kind.to_le_bytes());
    bytes.extend([1, 4]);
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The number of an address's family.
pub(crate) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

/// What a route message says beside its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RouteHeader {
    pub(crate) protocol: u8,
    pub(crate) kind: u8,
    pub(crate) tos: u8,
    pub(crate) source_length: u8,
    pub(crate) flags: u32,
}

/// A unicast route of BGP.
pub(crate) const BGP: RouteHeader = RouteHeader {
    protocol: 186,
    kind: 1,
    tos: 0,
    source_length: 0,
    flags: 0,
};

/// A route message to this prefix in table 254.
pub(crate) fn route(
    kind: u16,
    prefix: &str,
    header: RouteHeader,
    attributes: &[Vec<u8>],
) -> Vec<u8> {
    let net: IpNet = prefix.parse().unwrap();
    let RouteHeader {
        protocol,
        kind: route_type,
        tos,
        source_length,
        flags,
    } = header;
    let length = net.prefix_len();
    let family = family(net.addr());
    let mut body = vec![
        family,
        length,
        source_length,
        tos,
        254,
        protocol,
        0,
        route_type,
    ];
    body.extend(flags.to_le_bytes());
    body.extend(attribute(1, &octets(net.addr())));
    body.extend(attribute(6, &20u32.to_le_bytes()));
    body.extend(attributes.concat());
    message(kind, &body)
}

/// `RTA_GATEWAY`.
pub(crate) fn gateway(address: &str) -> Vec<u8> {
    attribute(5, &octets(address.parse().unwrap()))
}

/// A next-hop message of a family.
pub(crate) fn next_hop(kind: u16, family: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![family, 0, 11, 0, 0, 0, 0, 0];
    body.extend(attributes.concat());
    message(kind, &body)
}

/// An attribute that is a number.
pub(crate) fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_le_bytes())
}
