//! The formats of text: how documents name each, and how it is read. The JSON Schema's `format` keyword uses the same names.

use std::fmt;
use std::net::IpAddr;

use crate::port::Port;
use crate::types::{AddressRange, InterfaceAddress, MacAddress, Name, ParseError, Ports, Prefix};
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
    canonical: through::<Name>,
};

/// A [`Prefix`].
pub const PREFIX: Format = Format {
    name: "prefix",
    pattern: "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    description: "An IPv4 or IPv6 prefix with no host bits set: 10.0.0.0/8, 2001:db8::/32.",
    canonical: through::<Prefix>,
};

/// An [`InterfaceAddress`].
pub const INTERFACE_ADDRESS: Format = Format {
    name: "interface-address",
    pattern: "^[0-9A-Fa-f:.]+/[0-9]{1,3}$",
    description: "An address and the length of its subnet's prefix: 10.0.1.1/24, 2001:db8::1/64.",
    canonical: through::<InterfaceAddress>,
};

/// An [`AddressRange`].
pub const ADDRESS_RANGE: Format = Format {
    name: "address-range",
    pattern: "^[0-9A-Fa-f:.]+( *- *[0-9A-Fa-f:.]+)?$",
    description: "An address, or a range with both ends included: 198.51.100.10-198.51.100.20.",
    canonical: through::<AddressRange>,
};

/// A [`MacAddress`].
pub const MAC_ADDRESS: Format = Format {
    name: "mac-address",
    pattern: "^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$",
    description: "The MAC address of one station: 02:00:00:00:00:01.",
    canonical: through::<MacAddress>,
};

/// A [`Port`].
pub const PORT: Format = Format {
    name: "port",
    pattern: "^(af_packet|tap|null|ring|pcap|memif):.+$",
    description: "A port: af_packet:eth0, tap:tap0, null:NAME, ring:NAME, pcap:receive=FILE,transmit=FILE or memif:socket=FILE,id=N,role=server.",
    canonical: port,
};

/// An [`IpAddr`].
pub const IP: Format = Format {
    name: "ip",
    pattern: "^[0-9A-Fa-f:.]+$",
    description: "An IPv4 or IPv6 address.",
    canonical: address,
};

/// [`Ports`].
pub const PORTS: Format = Format {
    name: "ports",
    pattern: "^[0-9]{1,5}( *- *[0-9]{1,5})?( *, *[0-9]{1,5}( *- *[0-9]{1,5})?)*$",
    description: "Ports from 1 to 65535: 80, 8000-8100, or several of them.",
    canonical: through::<Ports>,
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
