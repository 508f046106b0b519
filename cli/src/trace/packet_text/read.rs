//! Reading a packet's text, with errors that point.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rewire_packet::tcp::TcpFlags;
use rewire_packet::{MacAddress, Protocol};

use super::{FLAGS, PacketText, SOURCE_PORT, Upper, default_query, echo_types};

/// Why a text is no packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: expected {expected}, found {found}")]
pub(crate) struct PacketTextError {
    /// Where, in characters, from 1.
    pub(crate) column: usize,
    /// What should be there.
    pub(crate) expected: String,
    /// What is there.
    pub(crate) found: Found,
}

/// What is there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A word.
    Word(String),
    /// Nothing more.
    End,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Word(word) => write!(f, "\"{}\"", crate::terminal::clean(word)),
            Found::End => f.write_str("the end"),
        }
    }
}

/// The words of a text, each with its column.
struct Words<'a> {
    words: Vec<(usize, &'a str)>,
    next: usize,
    end: usize,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = Vec::new();
        let mut begin = None;
        let mut column = 0;
        let mut begin_column = 0;
        for (at, c) in text.char_indices() {
            column += 1;
            let is_end = c.is_whitespace() || c == '>';
            if is_end && let Some(begin) = begin.take() {
                words.push((begin_column, &text[begin..at]));
            }
            if c == '>' {
                words.push((column, &text[at..at + 1]));
            } else if !is_end && begin.is_none() {
                (begin, begin_column) = (Some(at), column);
            }
        }
        if let Some(begin) = begin {
            words.push((begin_column, &text[begin..]));
        }
        Words {
            words,
            next: 0,
            end: column + 1,
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).map(|(_, word)| *word)
    }

    /// Takes the next word, if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let is_it = self.peek() == Some(word);
        self.next += usize::from(is_it);
        is_it
    }

    /// Takes the next word, as what `read` makes of it.
    fn read<T>(
        &mut self,
        expected: &str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, PacketTextError> {
        match self.peek().and_then(read) {
            Some(value) => {
                self.next += 1;
                Ok(value)
            }
            None => Err(self.error(self.next, expected)),
        }
    }

    fn number<T: FromStr>(&mut self, expected: &str) -> Result<T, PacketTextError> {
        self.read(expected, |word| number(word))
    }

    /// What is wrong with a word.
    fn error(&self, word: usize, expected: &str) -> PacketTextError {
        let found = self.words.get(word);
        PacketTextError {
            column: found.map_or(self.end, |(column, _)| *column),
            expected: expected.to_owned(),
            found: found.map_or(Found::End, |(_, word)| Found::Word((*word).to_owned())),
        }
    }
}

/// A number in digits alone.
fn number<T: FromStr>(word: &str) -> Option<T> {
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| is_number)
}

/// An address, perhaps with a port.
fn end(word: &str) -> Option<(IpAddr, Option<u16>)> {
    if let Ok(address) = word.parse() {
        return Some((address, None));
    }
    let (address, port) = match word.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let address = IpAddr::V6(address.parse().ok()?);
            match rest {
                "" => return Some((address, None)),
                rest => (address, rest.strip_prefix(':')?),
            }
        }
        None => {
            let (address, port) = word.split_once(':')?;
            (IpAddr::V4(address.parse().ok()?), port)
        }
    };
    Some((address, Some(number(port)?)))
}

const END: &str = "an address, with a port like 10.0.1.5:443 or [2001:db8::1]:443";
const PORT: &str = "a port behind the address, like 1.1.1.1:443";
const NO_PORT: &str = "an address without a port";
const PROTOCOL: &str = "tcp, udp, sctp, icmp, proto N, or an option";
const OPTION: &str = "one of ttl, len, tos, may-fragment, frag, ident, id, seq, ackseq, from, to";

impl FromStr for PacketText {
    type Err = PacketTextError;

    fn from_str(text: &str) -> Result<Self, PacketTextError> {
        let mut words = Words::of(text);
        let interface = match words.take("in") {
            true => Some(words.read("an interface's name", |word| Some(word.to_owned()))?),
            false => None,
        };
        let source_at = words.next;
        let (source, source_port) = words.read(END, end)?;
        words.read("\">\" and the destination", |word| {
            (word == ">").then_some(())
        })?;
        let destination_at = words.next;
        let (destination, destination_port) = words.read(END, end)?;
        if source.is_ipv4() != destination.is_ipv4() {
            let family = if source.is_ipv4() { "IPv4" } else { "IPv6" };
            let expected = format!("an address of {family}, as the source is one");
            return Err(words.error(destination_at, &expected));
        }
        let kind = protocol(&mut words, source, destination_port.is_some())?;
        let unread = Upper::Other(Protocol(0));
        let mut packet = PacketText::plain(interface, (source, destination), unread);
        let mut query = Query::default();
        let length_at = options(&mut words, &mut packet, &kind, &mut query)?;
        let is_later = matches!(packet.fragment, Some((1.., _)));
        let has_ports = matches!(kind, Kind::Tcp(_) | Kind::Udp | Kind::Sctp) && !is_later;
        let ports = match (has_ports, destination_port) {
            (true, Some(port)) => (source_port.unwrap_or(SOURCE_PORT), port),
            (true, None) => return Err(words.error(destination_at, PORT)),
            (false, Some(_)) => return Err(words.error(destination_at, NO_PORT)),
            (false, None) if source_port.is_some() => {
                return Err(words.error(source_at, NO_PORT));
            }
            (false, None) => (0, 0),
        };
        packet.upper = upper(&packet, kind, ports, query);
        let headers = packet.headers_len();
        if let Some(length) = packet.length {
            if usize::from(length) < headers {
                let expected = format!("a length of {headers} bytes at least, for the headers");
                return Err(words.error(length_at, &expected));
            }
            packet.length = packet.length.filter(|_| usize::from(length) > headers);
        }
        Ok(packet)
    }
}

/// A protocol that is said.
enum Kind {
    Tcp(TcpFlags),
    Udp,
    Sctp,
    Icmp(u8, u8),
    Other(Protocol),
}

/// Numbers that belong to some protocols.
#[derive(Default)]
struct Query {
    identifier: Option<u16>,
    sequence: Option<u32>,
    acknowledgment: Option<u32>,
}

fn protocol(
    words: &mut Words<'_>,
    source: IpAddr,
    has_ports: bool,
) -> Result<Kind, PacketTextError> {
    let (request, reply) = echo_types(source);
    if words.take("tcp") {
        let mut flags = None;
        while let Some(bit) = words
            .peek()
            .and_then(|word| FLAGS.iter().position(|flag| *flag == word))
        {
            words.next += 1;
            flags = Some(flags.unwrap_or_default() | TcpFlags(1 << bit));
        }
        if flags.is_none() && words.take("none") {
            return Ok(Kind::Tcp(TcpFlags::NONE));
        }
        return Ok(Kind::Tcp(flags.unwrap_or(TcpFlags::SYN)));
    }
    if words.take("udp") {
        return Ok(Kind::Udp);
    }
    if words.take("sctp") {
        return Ok(Kind::Sctp);
    }
    if words.take("icmp") {
        return Ok(match words.peek() {
            Some("echo-reply") => {
                words.next += 1;
                Kind::Icmp(reply, 0)
            }
            Some("type") => {
                words.next += 1;
                let message_type = words.number("a type from 0 to 255")?;
                let code = match words.take("code") {
                    true => words.number("a code from 0 to 255")?,
                    false => 0,
                };
                Kind::Icmp(message_type, code)
            }
            _ => {
                words.take("echo");
                Kind::Icmp(request, 0)
            }
        });
    }
    if words.take("proto") {
        let at = words.next;
        let number = words.number("a protocol's number, from 0 to 255")?;
        let said = [
            (Protocol::TCP, "tcp"),
            (Protocol::UDP, "udp"),
            (Protocol::SCTP, "sctp"),
            (super::icmp(source), "icmp"),
        ];
        let protocol = Protocol(number);
        // A fragment behind the first has no header of it.
        let is_fragment = words.words[words.next..]
            .iter()
            .any(|(_, word)| *word == "frag");
        return match said.iter().find(|(known, _)| *known == protocol) {
            Some((_, word)) if !is_fragment => {
                Err(words.error(at, &format!("\"{word}\" in place of its number")))
            }
            _ => Ok(Kind::Other(protocol)),
        };
    }
    Ok(match has_ports {
        true => Kind::Tcp(TcpFlags::SYN),
        false => Kind::Icmp(request, 0),
    })
}

/// Reads the options; where the length is said.
fn options(
    words: &mut Words<'_>,
    packet: &mut PacketText,
    kind: &Kind,
    query: &mut Query,
) -> Result<usize, PacketTextError> {
    let mut length_at = 0;
    let mut is_first = true;
    while let Some(word) = words.peek() {
        let at = words.next;
        words.next += 1;
        match (word, kind) {
            ("ttl", _) => packet.hop_limit = words.number("hops from 0 to 255")?,
            ("len", _) => {
                length_at = words.next;
                packet.length = Some(words.number("a length in bytes, up to 65535")?);
            }
            ("tos", _) => packet.traffic_class = words.number("a number from 0 to 255")?,
            ("may-fragment", _) if packet.source.is_ipv4() => packet.may_fragment = true,
            ("frag", _) => {
                let expected = "an offset in bytes, a multiple of 8 up to 65528";
                let offset = words.read(expected, |word| {
                    number::<u16>(word).filter(|offset| offset % 8 == 0)
                })?;
                packet.fragment = Some((offset, words.take("more")));
            }
            ("ident", _) => packet.identification = words.number("a number from 0 to 65535")?,
            ("id", Kind::Icmp(..)) => {
                query.identifier = Some(words.number("an identifier from 0 to 65535")?);
            }
            ("seq", Kind::Icmp(..)) => {
                let number: u16 = words.number("a number from 0 to 65535")?;
                query.sequence = Some(number.into());
            }
            ("seq", Kind::Tcp(_)) => {
                query.sequence = Some(words.number("a sequence number of 32 bits")?);
            }
            ("ackseq", Kind::Tcp(_)) => {
                query.acknowledgment = Some(words.number("a sequence number of 32 bits")?);
            }
            ("from", _) => packet.link_source = Some(mac(words)?),
            ("to", _) => packet.link_destination = Some(mac(words)?),
            ("more", _) => {
                return Err(words.error(at, "\"more\" behind \"frag\" and an offset alone"));
            }
            ("id", _) => return Err(words.error(at, "\"id\" with icmp alone")),
            ("seq", _) => return Err(words.error(at, "\"seq\" with tcp or icmp alone")),
            ("ackseq", _) => return Err(words.error(at, "\"ackseq\" with tcp alone")),
            ("may-fragment", _) => {
                return Err(words.error(at, "\"may-fragment\" with IPv4 alone"));
            }
            _ => return Err(words.error(at, if is_first { PROTOCOL } else { OPTION })),
        }
        is_first = false;
    }
    Ok(length_at)
}

fn mac(words: &mut Words<'_>) -> Result<MacAddress, PacketTextError> {
    words.read("a MAC address, like 02:00:00:00:00:01", |word| {
        word.parse().ok()
    })
}

fn upper(packet: &PacketText, kind: Kind, ports: (u16, u16), query: Query) -> Upper {
    let is_later = matches!(packet.fragment, Some((1.., _)));
    match kind {
        Kind::Tcp(_) if is_later => Upper::Other(Protocol::TCP),
        Kind::Udp if is_later => Upper::Other(Protocol::UDP),
        Kind::Sctp if is_later => Upper::Other(Protocol::SCTP),
        Kind::Icmp(..) if is_later => Upper::Other(super::icmp(packet.source)),
        Kind::Tcp(flags) => Upper::Tcp {
            ports,
            flags,
            sequence: query.sequence.unwrap_or(0),
            acknowledgment: query.acknowledgment.unwrap_or(0),
        },
        Kind::Udp => Upper::Udp(ports),
        Kind::Sctp => Upper::Sctp(ports),
        Kind::Icmp(message_type, code) => {
            let default = default_query(packet.source, message_type);
            Upper::Icmp {
                message_type,
                code,
                identifier: query.identifier.unwrap_or(default),
                sequence: query.sequence.map_or(default, |sequence| sequence as u16),
            }
        }
        Kind::Other(protocol) => Upper::Other(protocol),
    }
}
