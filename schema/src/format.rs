//! The formats of text: how documents name each, and how it is read. The JSON Schema's `format` keyword uses the same names.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::port::Port;
use crate::types::{
    AddressOrPrefix, AddressRange, Addresses, Duration, InterfaceAddress, MacAddress, Name,
    ParseError, Ports, Prefix, Protocol, Rate, Size,
};
use crate::value::FieldError;

/// A format by the name that the schema gives it.
#[derive(Clone, Copy)]
pub struct Format {
    /// The name in the schema.
    pub name: &'static str,
    /// What the JSON Schema says to programs that do not know the format: lets through all that is of it, and a little more.
    pub pattern: &'static str,
    /// What it is, with examples.
    pub description: &'static str,
    /// Whether a document may write it as a number, where it is one.
    pub numeric: bool,
    /// Reads a text and writes it in its one canonical form, or says why it is none of this format.
    pub canonical: fn(&str) -> Result<String, FieldError>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A [`Name`].
pub const NAME: Format = Format {
    name: "name",
    pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
    description: "A name: 1 to 63 letters, digits, '.', '_' or '-', the first a letter or a digit.",
    numeric: false,
    canonical: through::<Name>,
};

/// A [`Prefix`].
pub const PREFIX: Format = Format {
    name: "prefix",
    pattern: "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    description: "An IPv4 or IPv6 prefix with no host bits set: 10.0.0.0/8, 2001:db8::/32.",
    numeric: false,
    canonical: through::<Prefix>,
};

/// An [`InterfaceAddress`].
pub const INTERFACE_ADDRESS: Format = Format {
    name: "interface-address",
    pattern: "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    description: "An address and the length of its subnet's prefix: 10.0.1.1/24, 2001:db8::1/64.",
    numeric: false,
    canonical: through::<InterfaceAddress>,
};

/// An [`AddressRange`].
pub const ADDRESS_RANGE: Format = Format {
    name: "address-range",
    pattern: "^[0-9A-Fa-f:.]+( *- *[0-9A-Fa-f:.]+)?$",
    description: "An address, or a range with both ends included: 198.51.100.10-198.51.100.20.",
    numeric: false,
    canonical: through::<AddressRange>,
};

/// A [`MacAddress`].
pub const MAC_ADDRESS: Format = Format {
    name: "mac-address",
    pattern: "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
    description: "The MAC address of one station: 02:00:00:00:00:01.",
    numeric: false,
    canonical: through::<MacAddress>,
};

/// A [`Port`].
pub const PORT: Format = Format {
    name: "port",
    pattern: "^(af_packet|tap|null|ring|pcap|memif):.+$",
    description: "A port: af_packet:eth0, tap:tap0, null:NAME, ring:NAME, pcap:receive=FILE,transmit=FILE or memif:socket=FILE,id=N,role=server.",
    numeric: false,
    canonical: port,
};

/// An [`IpAddr`].
pub const IP: Format = Format {
    name: "ip",
    pattern: "^[0-9A-Fa-f:.]+$",
    description: "An IPv4 or IPv6 address.",
    numeric: false,
    canonical: address,
};

/// [`Ports`].
pub const PORTS: Format = Format {
    name: "ports",
    pattern: "^[0-9]{1,5}( *- *[0-9]{1,5})?( *, *[0-9]{1,5}( *- *[0-9]{1,5})?)*$",
    description: "Ports from 1 to 65535: 80, 8000-8100, or several of them.",
    numeric: false,
    canonical: through::<Ports>,
};

/// [`Addresses`].
pub const ADDRESSES: Format = Format {
    name: "addresses",
    pattern: "^[0-9A-Fa-f:.]+(/[0-9]{1,3}| *- *[0-9A-Fa-f:.]+)?$",
    description: "An address, a prefix or a range: 10.0.0.1, 10.0.0.0/24, 10.0.0.1-10.0.0.9.",
    numeric: false,
    canonical: through::<Addresses>,
};

/// An [`AddressOrPrefix`].
pub const ADDRESS_OR_PREFIX: Format = Format {
    name: "address-or-prefix",
    pattern: "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$",
    description: "An address or a prefix: 10.0.0.1, 10.0.0.0/24.",
    numeric: false,
    canonical: through::<AddressOrPrefix>,
};

/// A [`SocketAddr`].
pub const ENDPOINT: Format = Format {
    name: "endpoint",
    pattern: "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
    description: "An address and a port: 192.0.2.1:4317, [2001:db8::1]:4317.",
    numeric: false,
    canonical: endpoint,
};

/// A [`Protocol`].
pub const PROTOCOL: Format = Format {
    name: "protocol",
    pattern: "^([a-z][a-z0-9_]*|[0-9]{1,3})$",
    description: "A protocol above IP: tcp, udp, tcp_udp, icmp, icmpv6, sctp, gre, esp, ah, ospf, vrrp…, or its number.",
    numeric: true,
    canonical: through::<Protocol>,
};

/// A [`Duration`].
pub const DURATION: Format = Format {
    name: "duration",
    pattern: "^([0-9]+(d|h|m|s|ms))+$",
    description: "A time with its unit: 30s, 5m, 2h4m. The units are d, h, m, s and ms.",
    numeric: false,
    canonical: through::<Duration>,
};

/// A [`Rate`].
pub const RATE: Format = Format {
    name: "rate",
    pattern: "^[0-9]+[kMGT]?(bit|bit/s|bps)?$",
    description: "Bits per second: 64k, 10M, 1G. The units are powers of 1000.",
    numeric: true,
    canonical: through::<Rate>,
};

/// A [`Size`].
pub const SIZE: Format = Format {
    name: "size",
    pattern: "^[0-9]+([kMGT]|[KMG]i)?$",
    description: "Bytes: 1500, 64k, 64Ki. The units k, M and G are powers of 1000; Ki, Mi and Gi of 1024.",
    numeric: true,
    canonical: through::<Size>,
};

/// Every format.
pub const FORMATS: &[Format] = &[
    NAME,
    PREFIX,
    INTERFACE_ADDRESS,
    ADDRESS_RANGE,
    MAC_ADDRESS,
    PORT,
    IP,
    PORTS,
    ADDRESSES,
    ADDRESS_OR_PREFIX,
    ENDPOINT,
    PROTOCOL,
    DURATION,
    RATE,
    SIZE,
];

/// The format of this name.
pub fn named(name: &str) -> Option<Format> {
    FORMATS.iter().copied().find(|f| f.name == name)
}

impl From<ParseError> for FieldError {
    fn from(mut error: ParseError) -> Self {
        let hint = std::mem::take(&mut error.hint);
        FieldError {
            message: error.to_string(),
            help: (!hint.is_empty()).then_some(hint),
        }
    }
}

/// The canonical form of a text of type `T`.
pub(crate) fn through<T>(text: &str) -> Result<String, FieldError>
where
    T: std::str::FromStr<Err = ParseError> + fmt::Display,
{
    let value = text.parse::<T>().map_err(FieldError::from)?;
    Ok(value.to_string())
}

fn port(text: &str) -> Result<String, FieldError> {
    match text.parse::<Port>() {
        Ok(port) => Ok(port.to_string()),
        Err(error) => Err(FieldError::new(error.to_string())),
    }
}

fn endpoint(text: &str) -> Result<String, FieldError> {
    if let Ok(endpoint) = text.parse::<SocketAddr>() {
        return Ok(endpoint.to_string());
    }
    let error = ParseError::new(
        "an address and a port, like 192.0.2.1:4317 or [2001:db8::1]:4317",
        text,
    );
    Err(match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => error
            .hint(format_args!("the port is missing: {address}:4317"))
            .into(),
        Ok(IpAddr::V6(address)) => error
            .hint(format_args!("the port is missing: [{address}]:4317"))
            .into(),
        Err(_) => error.into(),
    })
}

fn address(text: &str) -> Result<String, FieldError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let error = ParseError::new("an IP address like 10.0.0.1 or 2001:db8::1", text);
    let address = text
        .split_once('/')
        .map(|(address, _)| address.parse::<IpAddr>());
    Err(match address {
        Some(Ok(address)) => error
            .hint(format_args!("no prefix length here: write {address}"))
            .into(),
        _ => error.into(),
    })
}
