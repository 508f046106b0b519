//! The small types that fields are made of. Each has one canonical text form, which is what documents show and the
//! database stores; parsing accepts the usual spellings and the error says what was expected.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::value::text_column;

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

/// serde and JSON Schema through `Display` and `FromStr`. The pattern lets through all that `FromStr` takes and a little
/// more; the format is checked by `FromStr` itself, see [`crate::format`].
macro_rules! text_type {
    ($type:ident, $format:literal, $pattern:expr, $description:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string", "format": $format, "pattern": $pattern, "description": $description
                })
            }
        }
        text_column!($type);
    };
}

/// A name that a person chose: the key of most objects. 1 to 63 of the characters `A-Z a-z 0-9 . _ -`, the first one a
/// letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
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

text_type!(
    Name,
    "name",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    "A name: 1 to 63 letters, digits, '.', '_' or '-', the first a letter or a digit."
);

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
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Prefix {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "a prefix like 10.0.0.0/8 or 2001:db8::/32";
        let network: IpNet = text.parse().map_err(|_| ParseError::new(EXPECTED, text))?;
        if network != network.trunc() {
            let hint = format_args!("host bits are set: write {}", network.trunc());
            return Err(ParseError::new(EXPECTED, text).hint(hint));
        }
        Ok(Prefix(network))
    }
}

text_type!(
    Prefix,
    "prefix",
    "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    "An IPv4 or IPv6 prefix with no host bits set: 10.0.0.0/8, 2001:db8::/32."
);

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

text_type!(
    InterfaceAddress,
    "interface-address",
    "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    "An address and the length of its subnet's prefix: 10.0.1.1/24, 2001:db8::1/64."
);

/// A range of addresses of one family, both ends included: `198.51.100.10-198.51.100.20`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
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

text_type!(
    AddressRange,
    "address-range",
    "^[0-9A-Fa-f:.]+( *- *[0-9A-Fa-f:.]+)?$",
    "An address, or a range with both ends included: 198.51.100.10-198.51.100.20."
);

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

text_type!(
    MacAddress,
    "mac-address",
    "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
    "The MAC address of one station: 02:00:00:00:00:01."
);

/// What happens to packets that match a route.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RouteType {
    /// Forwarded to one of the next hops.
    #[default]
    Unicast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped, and the sender is told by an ICMP destination unreachable (RFC 792).
    Unreachable,
}

/// A transport protocol with ports.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TransportProtocol {
    /// TCP (RFC 9293).
    Tcp,
    /// UDP (RFC 768).
    Udp,
}

/// `Display` and `FromStr` of a plain enum, in the words that its documents use.
macro_rules! word_enum {
    ($type:ident, $expected:expr, { $($variant:ident = $word:expr),* $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),* })
            }
        }
        impl FromStr for $type {
            type Err = ParseError;
            fn from_str(text: &str) -> Result<Self, ParseError> {
                match text {
                    $($word => Ok($type::$variant),)*
                    other => Err(ParseError::new($expected, other)),
                }
            }
        }
        text_column!($type);
    };
}

word_enum!(RouteType, "unicast, blackhole or unreachable", {
    Unicast = "unicast", Blackhole = "blackhole", Unreachable = "unreachable",
});
word_enum!(TransportProtocol, "tcp or udp", { Tcp = "tcp", Udp = "udp" });
