//! From netlink messages to updates: `RTM_NEWROUTE`, `RTM_DELROUTE`, `RTM_NEWNEXTHOP` and `RTM_DELNEXTHOP`
//! (`rtnetlink(7)`, `linux/rtnetlink.h`, `linux/nexthop.h`).
//!
//! What cannot be used is ignored, with its reason, and never ends the session. A route that cannot be used still takes the
//! place of the one before it: the daemon does not lead there any more. So it becomes a removal.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::ignored::Ignored;
use crate::netlink::{Truncated, attributes, messages, u16_at, u32_at};
use crate::update::{Destination, Discard, Gateway, LearnedRoute, NextHopObject, Update};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Routes that the daemon learned from its own kernel: its links, and whatever its administrator's network is.
const RTPROT_KERNEL: u8 = 2;

/// The most ways of one route that are looked at. FRRouting sends at most 256.
const MOST_WAYS: usize = 256;

impl From<Truncated> for Ignored {
    fn from(Truncated: Truncated) -> Self {
        Ignored::Malformed
    }
}

/// Reads the messages of one frame; gives their number. What they ask for is appended to `updates`, and what is ignored is told.
/// Allocates only for routes and groups of several ways.
pub fn decode(bytes: &[u8], updates: &mut Vec<Update>, mut ignored: impl FnMut(Ignored)) -> u64 {
    let mut count = 0;
    for message in messages(bytes) {
        count += 1;
        let read = message.map_err(Ignored::from);
        match read.and_then(|(kind, body)| read_message(kind, body)) {
            Ok((update, reason)) => {
                updates.push(update);
                if let Some(reason) = reason {
                    ignored(reason);
                }
            }
            Err(reason) => ignored(reason),
        }
    }
    count
}

/// An update, and why it is not the one that was asked for.
type Read = Result<(Update, Option<Ignored>), Ignored>;

fn read_message(kind: u16, body: &[u8]) -> Read {
    match kind {
        RTM_NEWROUTE => route(body, false),
        RTM_DELROUTE => route(body, true),
        RTM_NEWNEXTHOP => next_hop(body, false),
        RTM_DELNEXTHOP => next_hop(body, true),
        _ => Err(Ignored::Type),
    }
}

/// `struct rtmsg`, in bytes.
const ROUTE_HEADER: usize = 12;

fn route(body: &[u8], remove: bool) -> Read {
    const RTA_DST: u16 = 1;
    const RTA_OIF: u16 = 4;
    const RTA_GATEWAY: u16 = 5;
    const RTA_MULTIPATH: u16 = 9;
    const RTA_TABLE: u16 = 15;
    const RTA_VIA: u16 = 18;
    const RTA_ENCAP_TYPE: u16 = 21;
    const RTA_NH_ID: u16 = 30;
    const RTM_F_CLONED: u32 = 0x200;

    let (header, rest) = body
        .split_first_chunk::<ROUTE_HEADER>()
        .ok_or(Ignored::Malformed)?;
    let [
        family,
        length,
        source_length,
        tos,
        table,
        protocol,
        _scope,
        kind,
        flags @ ..,
    ] = *header;
    let mut table = u32::from(table);
    let mut destination = None;
    let mut gateway = Gateway { via: None, link: 0 };
    let (mut object, mut multipath, mut encapsulated) = (None, None, false);
    for attribute in attributes(rest) {
        match attribute? {
            (RTA_DST, value) => destination = Some(value),
            (RTA_TABLE, value) => table = u32_at(value, 0).ok_or(Ignored::Malformed)?,
            (RTA_OIF, value) => gateway.link = u32_at(value, 0).ok_or(Ignored::Malformed)?,
            (RTA_GATEWAY, value) => gateway.via = Some(address(family, value)?),
            (RTA_VIA, value) => gateway.via = Some(via(value)?),
            (RTA_NH_ID, value) => object = Some(u32_at(value, 0).ok_or(Ignored::Malformed)?),
            (RTA_MULTIPATH, value) => multipath = Some(value),
            (RTA_ENCAP_TYPE, value) => encapsulated |= u16_at(value, 0) != Some(0),
            // Metrics, preferences and the like do not choose among the routes of one daemon: it has chosen.
            _ => {}
        }
    }
    let prefix = prefix(family, length, destination)?;
    if source_length != 0 || tos != 0 {
        // Another route may have this prefix without them. It stays.
        return Err(Ignored::Selector);
    }
    let removal = Update::RemoveRoute { table, prefix };
    if remove {
        return Ok((removal, None));
    }
    let set = |to| {
        let route = LearnedRoute {
            table,
            prefix,
            protocol,
            to,
        };
        Ok((Update::SetRoute(route), None))
    };
    let unusable = |reason| Ok((removal.clone(), Some(reason)));
    if u32::from_le_bytes(flags) & RTM_F_CLONED != 0 {
        return Err(Ignored::RouteType);
    }
    if protocol == RTPROT_KERNEL {
        return unusable(Ignored::Kernel);
    }
    if is_never_routed(prefix) {
        return unusable(Ignored::Destination);
    }
    match kind {
        1 => {}
        6 => return set(Destination::Discard(Discard::Blackhole)),
        // Unreachable, and prohibited: the sender is told, though not by whom.
        7 | 8 => return set(Destination::Discard(Discard::Unreachable)),
        _ => return unusable(Ignored::RouteType),
    }
    if encapsulated {
        return unusable(Ignored::Encapsulation);
    }
    if let Some(id) = object {
        return set(Destination::Object(id));
    }
    match multipath {
        None if gateway.via.is_none() && gateway.link == 0 => unusable(Ignored::NoNextHop),
        None => set(Destination::Gateway(gateway)),
        Some(bytes) => match ways(family, bytes) {
            Ok(ways) => match &ways[..] {
                [] => unusable(Ignored::NoNextHop),
                [(only, _)] => set(Destination::Gateway(*only)),
                _ => set(Destination::Gateways(ways.into())),
            },
            Err(reason) => unusable(reason),
        },
    }
}

/// The ways of `RTA_MULTIPATH`: each a `struct rtnexthop` with attributes of its own. Those that are down are left out, and so
/// are those that ask for an encapsulation.
fn ways(family: u8, mut bytes: &[u8]) -> Result<Vec<(Gateway, u16)>, Ignored> {
    const HEADER: usize = 8;
    const RTA_GATEWAY: u16 = 5;
    const RTA_VIA: u16 = 18;
    const RTA_ENCAP_TYPE: u16 = 21;
    const RTNH_F_DEAD: u8 = 1;
    const RTNH_F_LINKDOWN: u8 = 16;

    let mut ways = Vec::new();
    let mut encapsulated = false;
    while !bytes.is_empty() && ways.len() < MOST_WAYS {
        let (Some(length), Some(&[flags, weight])) = (
            u16_at(bytes, 0),
            bytes.get(2..).and_then(<[u8]>::first_chunk),
        ) else {
            return Err(Ignored::Malformed);
        };
        let link = u32_at(bytes, 4).ok_or(Ignored::Malformed)?;
        let own = bytes.get(HEADER..usize::from(length));
        let mut gateway = Gateway { via: None, link };
        let mut plain = true;
        for attribute in attributes(own.ok_or(Ignored::Malformed)?) {
            match attribute? {
                (RTA_GATEWAY, value) => gateway.via = Some(address(family, value)?),
                (RTA_VIA, value) => gateway.via = Some(via(value)?),
                (RTA_ENCAP_TYPE, value) => plain = u16_at(value, 0) == Some(0),
                _ => {}
            }
        }
        encapsulated |= !plain;
        if plain && flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN) == 0 {
            ways.push((gateway, u16::from(weight) + 1));
        }
        bytes = bytes
            .get(usize::from(length).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    if ways.is_empty() && encapsulated {
        return Err(Ignored::Encapsulation);
    }
    Ok(ways)
}

/// `struct nhmsg`, in bytes.
const NEXT_HOP_HEADER: usize = 8;

fn next_hop(body: &[u8], remove: bool) -> Read {
    const NHA_ID: u16 = 1;
    const NHA_GROUP: u16 = 2;
    const NHA_BLACKHOLE: u16 = 4;
    const NHA_OIF: u16 = 5;
    const NHA_GATEWAY: u16 = 6;
    const NHA_ENCAP_TYPE: u16 = 7;

    let (header, rest) = body
        .split_first_chunk::<NEXT_HOP_HEADER>()
        .ok_or(Ignored::Malformed)?;
    let family = header[0];
    let mut id = None;
    let mut gateway = Gateway { via: None, link: 0 };
    let (mut group, mut blackhole, mut encapsulated) = (None, false, false);
    for attribute in attributes(rest) {
        match attribute? {
            (NHA_ID, value) => id = u32_at(value, 0),
            (NHA_GROUP, value) => group = Some(members(value)?),
            (NHA_BLACKHOLE, _) => blackhole = true,
            (NHA_OIF, value) => gateway.link = u32_at(value, 0).ok_or(Ignored::Malformed)?,
            (NHA_GATEWAY, value) => gateway.via = Some(address(family, value)?),
            (NHA_ENCAP_TYPE, value) => encapsulated |= u16_at(value, 0) != Some(0),
            _ => {}
        }
    }
    let id = id.filter(|id| *id != 0).ok_or(Ignored::Malformed)?;
    if remove {
        return Ok((Update::RemoveNextHop { id }, None));
    }
    let unusable = |reason| (NextHopObject::Unusable, Some(reason));
    let (object, reason) = match group {
        _ if encapsulated => unusable(Ignored::Encapsulation),
        Some(members) if members.is_empty() => unusable(Ignored::NoNextHop),
        Some(members) => (NextHopObject::Group(members), None),
        None if blackhole => (NextHopObject::Blackhole, None),
        None if gateway.via.is_none() && gateway.link == 0 => unusable(Ignored::NoNextHop),
        None => (NextHopObject::Gateway(gateway), None),
    };
    Ok((Update::SetNextHop { id, object }, reason))
}

/// The members of a group: each a `struct nexthop_grp` with its number and its weight less one.
fn members(value: &[u8]) -> Result<Box<[(u32, u16)]>, Ignored> {
    let (members, rest) = value.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Ignored::Malformed);
    }
    let member = |[a, b, c, d, weight, ..]: &[u8; 8]| {
        (u32::from_le_bytes([*a, *b, *c, *d]), u16::from(*weight) + 1)
    };
    Ok(members.iter().take(MOST_WAYS).map(member).collect())
}

fn prefix(family: u8, length: u8, destination: Option<&[u8]>) -> Result<IpNet, Ignored> {
    let address = match (destination, family) {
        (Some(bytes), _) => address(family, bytes)?,
        (None, _) if length != 0 => return Err(Ignored::Malformed),
        (None, AF_INET) => Ipv4Addr::UNSPECIFIED.into(),
        (None, AF_INET6) => Ipv6Addr::UNSPECIFIED.into(),
        (None, _) => return Err(Ignored::Family),
    };
    let net = match address {
        IpAddr::V4(address) => Ipv4Net::new(address, length).map(IpNet::V4),
        IpAddr::V6(address) => Ipv6Net::new(address, length).map(IpNet::V6),
    };
    Ok(net.map_err(|_| Ignored::Address)?.trunc())
}

fn address(family: u8, bytes: &[u8]) -> Result<IpAddr, Ignored> {
    match family {
        AF_INET => <[u8; 4]>::try_from(bytes).map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(bytes).map(IpAddr::from),
        _ => return Err(Ignored::Family),
    }
    .map_err(|_| Ignored::Malformed)
}

/// The gateway of `RTA_VIA`, which is of a family of its own (RFC 8950 makes such routes).
fn via(value: &[u8]) -> Result<IpAddr, Ignored> {
    let family = u16_at(value, 0).ok_or(Ignored::Malformed)?;
    let family = u8::try_from(family).map_err(|_| Ignored::Address)?;
    address(family, value.get(2..).unwrap_or_default()).map_err(|reason| match reason {
        Ignored::Family => Ignored::Address,
        other => other,
    })
}

/// Whether a destination is of a kind that no router forwards by its table (RFC 4291, section 2.5.6; RFC 3171).
fn is_never_routed(prefix: IpNet) -> bool {
    match prefix {
        IpNet::V4(net) => net.network().is_multicast(),
        IpNet::V6(net) => {
            net.prefix_len() >= 10 && net.network().is_unicast_link_local()
                || net.network().is_multicast()
        }
    }
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
