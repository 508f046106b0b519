//! The small types that fields are made of. Each has one canonical text form, which is what documents show and the
//! database stores; parsing accepts the usual spellings and the error says what was expected.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use compact_str::CompactString;
use ipnet::{IpNet, Ipv4Net};

use crate::format;
use crate::value::{Kind, RawValue, SqlType, Value, text_column};

mod addresses;
mod protocol;
mod quantity;
mod words;

pub use addresses::{AddressOrPrefix, Addresses};
pub use protocol::Protocol;
pub use quantity::{Duration, Rate, Size};
pub use words::*;

/// Why a text is not a value of the type that its field needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found \"{found}\"{}", in_parentheses(.hint))]
pub struct ParseError {
    /// What the field takes, in words.
    pub expected: &'static str,
    /// The text that was there.
    pub found: String,
    /// What is wrong or what to write instead, when that can be told; empty otherwise.
    pub hint: String,
}

fn in_parentheses(hint: &str) -> String {
    if hint.is_empty() {
        String::new()
    } else {
        format!(" ({hint})")
    }
}

impl ParseError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        let found = found.chars().take(80).collect();
        ParseError {
            expected,
            found,
            hint: String::new(),
        }
    }
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = hint.to_string();
        self
    }
}

/// A name that a person chose: the key of most objects. 1 to 63 of the characters `A-Z a-z 0-9 . _ -`, the first one a
/// letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(CompactString);

impl Name {
    /// What comes before every name: none that anybody can choose.
    pub const LEAST: Name = Name(CompactString::const_new(""));

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Name {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let good = (1..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_alphanumeric()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if good {
            Ok(Name(text.into()))
        } else {
            Err(ParseError::new(
                "a name of 1 to 63 letters, digits, '.', '_' or '-', first a letter or digit",
                text,
            ))
        }
    }
}

text_column!(Name, Kind::Text(&format::NAME));

/// An IPv4 or IPv6 prefix with no host bits set, like `10.0.0.0/8` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

impl Prefix {
    /// The prefix; host bits are cleared.
    pub fn new(network: IpNet) -> Self {
        Prefix(network.trunc())
    }
    /// The prefix as a network type.
    pub fn network(self) -> IpNet {
        self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpNet::V4(net) => f.pad(ipv4_text(net, &mut [0; 18])),
            IpNet::V6(net) => fmt::Display::fmt(&net, f),
        }
    }
}

/// An IPv4 prefix as text, written over `space`: a million of them are written and compared at a time, and the standard
/// library's way takes four times as long.
fn ipv4_text(net: Ipv4Net, space: &mut [u8; 18]) -> &str {
    let mut len = 0;
    let mut number = |number: u8, after: Option<u8>| {
        let digits = [number / 100, number / 10 % 10, number % 10];
        let from = digits[..2].iter().take_while(|digit| **digit == 0).count();
        for digit in digits[from..].iter().map(|digit| b'0' + digit).chain(after) {
            space[len] = digit;
            len += 1;
        }
    };
    let [a, b, c, d] = net.addr().octets();
    for octet in [a, b, c] {
        number(octet, Some(b'.'));
    }
    number(d, Some(b'/'));
    number(net.prefix_len(), None);
    std::str::from_utf8(&space[..len]).unwrap_or_default()
}

/// An IPv4 prefix that is written as [`Prefix`] writes it; none for every other text, whatever it is. A million of them are read
/// at a time.
fn plain_ipv4_prefix(text: &str) -> Option<Prefix> {
    let mut rest = text.as_bytes();
    let mut number = |end: Option<u8>| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, behind) = rest.split_at_checked(digits)?;
        let is_plain = (1..=3).contains(&digits) && (digits == 1 || number[0] != b'0');
        let value = number
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        rest = match end {
            Some(end) => behind.strip_prefix(&[end])?,
            None => behind,
        };
        (is_plain && value <= 255).then_some(value)
    };
    let mut bits = 0;
    for end in [b'.', b'.', b'.', b'/'] {
        bits = bits << 8 | number(Some(end))?;
    }
    let length = u8::try_from(number(None)?).ok()?;
    let net = Ipv4Net::new(Ipv4Addr::from_bits(bits), length).ok()?;
    (rest.is_empty() && net == net.trunc()).then_some(Prefix(IpNet::V4(net)))
}

impl FromStr for Prefix {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "a prefix like 10.0.0.0/8 or 2001:db8::/32";
        if let Some(prefix) = plain_ipv4_prefix(text) {
            return Ok(prefix);
        }
        let network: IpNet = text.parse().map_err(|_| ParseError::new(EXPECTED, text))?;
        if network != network.trunc() {
            let hint = format_args!("host bits are set: write {}", network.trunc());
            return Err(ParseError::new(EXPECTED, text).hint(hint));
        }
        Ok(Prefix(network))
    }
}

text_column!(Prefix, Kind::Text(&format::PREFIX));

/// The address of an interface together with the length of its subnet's prefix, like `10.0.1.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress(IpNet);

impl InterfaceAddress {
    /// The address with its subnet's length.
    pub fn new(address: IpNet) -> Self {
        InterfaceAddress(address)
    }
    /// The interface's own address.
    pub fn address(self) -> IpAddr {
        self.0.addr()
    }
    /// The subnet that is directly connected.
    pub fn subnet(self) -> IpNet {
        self.0.trunc()
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for InterfaceAddress {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str =
            "an address with a prefix length, like 10.0.1.1/24 or 2001:db8::1/64";
        match text.parse() {
            Ok(network) => Ok(InterfaceAddress(network)),
            Err(_) => {
                let error = ParseError::new(EXPECTED, text);
                Err(match text.parse::<IpAddr>() {
                    Ok(address) => error.hint(format_args!(
                        "the prefix length is missing: {address}/{}",
                        if address.is_ipv4() { 24 } else { 64 }
                    )),
                    Err(_) => error,
                })
            }
        }
    }
}

text_column!(InterfaceAddress, Kind::Text(&format::INTERFACE_ADDRESS));

/// A range of addresses of one family, both ends included: `198.51.100.10-198.51.100.20`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The range between two addresses of one family, both included; none where they are not one, or the last comes first.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let is_range = first.is_ipv4() == last.is_ipv4() && first <= last;
        is_range.then_some(AddressRange { first, last })
    }
    /// The first address of the range.
    pub fn first(self) -> IpAddr {
        self.first
    }
    /// The last address of the range, included.
    pub fn last(self) -> IpAddr {
        self.last
    }
    /// Whether `address` lies in the range.
    pub fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }
    /// Whether the two ranges have an address in common.
    pub fn overlaps(self, other: AddressRange) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4()
            && self.first <= other.last
            && other.first <= self.last
    }
}

impl From<IpAddr> for AddressRange {
    /// The range of one address.
    fn from(address: IpAddr) -> Self {
        AddressRange {
            first: address,
            last: address,
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for AddressRange {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "an address, or a range like 198.51.100.10-198.51.100.20";
        let error = || ParseError::new(EXPECTED, text);
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let first: IpAddr = first.trim_end_matches(' ').parse().map_err(|_| error())?;
        let last: IpAddr = last.trim_start_matches(' ').parse().map_err(|_| error())?;
        if first.is_ipv4() != last.is_ipv4() {
            return Err(error().hint("both ends must be of one family"));
        }
        if first > last {
            return Err(error().hint("the first address is after the last"));
        }
        Ok(AddressRange { first, last })
    }
}

text_column!(AddressRange, Kind::Text(&format::ADDRESS_RANGE));

/// An IEEE 802 MAC address of one station (not a group), written `02:00:00:00:00:01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The six octets in transmission order.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::new("a MAC address like 02:00:00:00:00:01", text);
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        if parts.next().is_some() {
            return Err(error());
        }
        if octets[0] & 1 != 0 {
            return Err(error().hint("this is a group address: the first octet must be even"));
        }
        if octets == [0; 6] {
            return Err(error().hint("all zeros is no address"));
        }
        Ok(MacAddress(octets))
    }
}

text_column!(MacAddress, Kind::Text(&format::MAC_ADDRESS));

/// One line of text for people: at most [`Line::LONGEST`] characters, no control character among them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Line(Box<str>);

impl Line {
    /// The most characters of a line.
    pub const LONGEST: usize = 255;

    /// The line as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Line {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        line(text, Line::LONGEST)?;
        Ok(Line(text.into()))
    }
}

/// Checks that a text is one line of at most so many characters.
pub(crate) fn line(text: &str, longest: usize) -> Result<(), String> {
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(format!(
            "expected one line of text, found the control character {}",
            bad.escape_unicode()
        ));
    }
    let length = text.chars().count();
    if length > longest {
        return Err(format!(
            "expected at most {longest} characters, found {length}"
        ));
    }
    Ok(())
}

text_column!(
    Line,
    Kind::Line {
        longest: Line::LONGEST
    }
);

/// Transport ports: single ones and ranges with both ends included, like `80`, `8000-8100` or `80,443,8000-8100`.
///
/// Kept in order, without overlaps; ranges that touch are one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports(Box<[(u16, u16)]>);

impl Ports {
    /// One port.
    pub fn single(port: u16) -> Self {
        Ports([(port, port)].into())
    }
    /// The ranges, first and last included, in order.
    pub fn ranges(&self) -> &[(u16, u16)] {
        &self.0
    }
    /// The port, where it is a single one.
    pub fn only(&self) -> Option<u16> {
        match *self.0 {
            [(first, last)] if first == last => Some(first),
            _ => None,
        }
    }
    /// The number of ports.
    pub fn count(&self) -> u32 {
        let count = |(first, last): &(u16, u16)| u32::from(last - first) + 1;
        self.0.iter().map(count).sum()
    }
    /// The ports, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        self.0
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&port))
    }
    /// Whether the two have a port in common.
    pub fn overlaps(&self, other: &Ports) -> bool {
        let meet = |a: &(u16, u16), b: &(u16, u16)| a.0 <= b.1 && b.0 <= a.1;
        self.0.iter().any(|a| other.0.iter().any(|b| meet(a, b)))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Ports {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "ports from 1 to 65535, like 80, 8000-8100 or 80,443";
        let error = || ParseError::new(EXPECTED, text);
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| {
                let port = text.trim().parse::<u16>().map_err(|_| error())?;
                if port == 0 { Err(error()) } else { Ok(port) }
            };
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(error().hint(format_args!("{first} is after {last}")));
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if u32::from(first) <= u32::from(before.1) + 1 => {
                    before.1 = before.1.max(last);
                }
                _ => merged.push((first, last)),
            }
        }
        Ok(Ports(merged.into()))
    }
}

impl crate::value::Column for Ports {
    const SQL_TYPE: SqlType = SqlType::Any;
    const KIND: Kind = Kind::List(&format::PORTS);
    /// A single port is a number, as it was before there were lists.
    fn to_value(&self) -> Value {
        match self.only() {
            Some(port) => Value::Integer(i64::from(port)),
            None => Value::Text(self.to_string()),
        }
    }
    fn from_raw(value: RawValue<'_>) -> Result<Self, String> {
        match value {
            RawValue::Null => Err("expected ports, found none".to_owned()),
            value => value.to_string().parse().map_err(|e| format!("{e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle: how networks are read.
        #[test]
        fn prefixes_are_read_as_networks_are(
            text in "[0-9]{0,3}[.][0-9]{1,3}[.](0|[0-9]{1,3})[.](0|[0-9]{2})[/. ]?[0-9]{0,3}",
            bits: u32,
            length in 0u8..=33,
        ) {
            let near = format!("{}/{length}", Ipv4Addr::from_bits(bits >> 16 << 16));
            for text in [text, near] {
                let net = text.parse::<IpNet>().ok().filter(|net| *net == net.trunc());
                prop_assert_eq!(text.parse::<Prefix>().ok(), net.map(Prefix), "{}", text);
            }
        }

        #[test]
        fn prefixes_are_written_as_their_networks_are(bits: u32, length in 0u8..=32) {
            let address = Ipv4Addr::from_bits(bits);
            let net = IpNet::from(Ipv4Net::new(address, length).unwrap()).trunc();
            prop_assert_eq!(Prefix::new(net).to_string(), net.to_string());
        }
    }
}
