//! Messages of rtnetlink about links: those that are sent, and what is read of those that come. All numbers are the host's.

use rewire_feed::netlink;

/// The type of a message that says how a link is (`RTM_NEWLINK`), that it is gone (`RTM_DELLINK`), and that asks for one
/// (`RTM_GETLINK`).
const NEW: u16 = 16;
const GONE: u16 = 17;
const GET: u16 = 18;
/// A message is a question (`NLM_F_REQUEST`).
const REQUEST: u16 = 1;
/// Attributes: the name (`IFLA_IFNAME`), what is wanted besides (`IFLA_EXT_MASK`), the number of the carrier's changes
/// (`IFLA_CARRIER_CHANGES`).
const NAME: u16 = 3;
const WANTED: u16 = 29;
const CARRIER_CHANGES: u16 = 35;
/// No statistics are wanted (`RTEXT_FILTER_SKIP_STATS`).
const NO_STATISTICS: u32 = 1 << 3;
/// The flags of a device that is set up, and of one that has a carrier besides (`IFF_UP`, `IFF_LOWER_UP`).
const UP: u32 = 1;
const LOWER_UP: u32 = 1 << 16;

/// The lengths of a message's header, and of what is before the attributes (`struct ifinfomsg`).
const HEADER: usize = 16;
const BEFORE_ATTRIBUTES: usize = 16;

/// What a message says about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkMessage<'a> {
    /// The device's number.
    pub(super) number: i32,
    pub(super) name: &'a str,
    /// How it is; none where it is gone.
    pub(super) seen: Option<Seen>,
}

/// How a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether somebody has set it up.
    pub(super) is_set_up: bool,
    /// Whether it has a carrier, besides.
    pub(super) is_up: bool,
    pub(super) carrier_changes: u32,
}

/// A question for the device of this name.
pub(super) fn question(name: &str) -> Vec<u8> {
    let mut message = vec![0; HEADER + BEFORE_ATTRIBUTES];
    attribute(&mut message, NAME, &[name.as_bytes(), &[0]].concat());
    attribute(&mut message, WANTED, &NO_STATISTICS.to_ne_bytes());
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&GET.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend(((4 + value.len()) as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// What is said about links in what was received at once. What cannot be read is left out, with what follows it.
pub(super) fn read(received: &[u8]) -> impl Iterator<Item = LinkMessage<'_>> {
    let messages = netlink::messages(received).map_while(Result::ok);
    messages.filter_map(|(kind, body)| about(kind, body))
}

fn about(kind: u16, body: &[u8]) -> Option<LinkMessage<'_>> {
    if ![NEW, GONE].contains(&kind) {
        return None;
    }
    let (head, attributes) = body.split_first_chunk::<BEFORE_ATTRIBUTES>()?;
    // Bridges tell of their ports in messages of a family of their own: those say nothing of the device itself.
    if head[0] != 0 {
        return None;
    }
    let flags = number(&head[8..])?;
    let mut name = None;
    let mut carrier_changes = 0;
    for (kind, value) in netlink::attributes(attributes).map_while(Result::ok) {
        match kind {
            NAME => name = std::str::from_utf8(value).ok(),
            CARRIER_CHANGES => carrier_changes = number(value)?,
            _ => {}
        }
    }
    Some(LinkMessage {
        number: number(&head[4..])? as i32,
        name: name?.trim_end_matches('\0'),
        seen: (kind == NEW).then_some(Seen {
            is_set_up: flags & UP != 0,
            is_up: flags & (UP | LOWER_UP) == UP | LOWER_UP,
            carrier_changes,
        }),
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|four| u32::from_ne_bytes(*four))
}
