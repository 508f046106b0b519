//! The formats of the JSON Schema: what its `format` keyword names, checked by the types' own `FromStr`.

use std::fmt;
use std::net::IpAddr;

use crate::port::Port;
use crate::types::{AddressRange, InterfaceAddress, MacAddress, Name, ParseError, Prefix};

/// Why a text is not of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// What was expected and what was found.
    pub message: String,
    /// What to do about it, when that can be told.
    pub help: Option<String>,
}

/// A format by the name that the schema gives it.
#[derive(Clone, Copy)]
pub struct Format {
    /// The name in the schema.
    pub name: &'static str,
    /// Reads a text, or says why it is none of this format.
    pub check: fn(&str) -> Result<(), FormatError>,
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every format that the schema uses for text. (Those of numbers, like `uint16`, only repeat the bounds beside them.)
pub const FORMATS: &[Format] = &[
    Format {
        name: "name",
        check: parse::<Name>,
    },
    Format {
        name: "prefix",
        check: parse::<Prefix>,
    },
    Format {
        name: "interface-address",
        check: parse::<InterfaceAddress>,
    },
    Format {
        name: "address-range",
        check: parse::<AddressRange>,
    },
    Format {
        name: "mac-address",
        check: parse::<MacAddress>,
    },
    Format {
        name: "port",
        check: port,
    },
    Format {
        name: "ip",
        check: address,
    },
];

/// The format of this name.
pub fn named(name: &str) -> Option<Format> {
    FORMATS.iter().copied().find(|f| f.name == name)
}

impl From<ParseError> for FormatError {
    fn from(mut error: ParseError) -> Self {
        let hint = std::mem::take(&mut error.hint);
        FormatError {
            message: error.to_string(),
            help: (!hint.is_empty()).then_some(hint),
        }
    }
}

fn parse<T: std::str::FromStr<Err = ParseError>>(text: &str) -> Result<(), FormatError> {
    text.parse::<T>().map(drop).map_err(FormatError::from)
}

fn port(text: &str) -> Result<(), FormatError> {
    text.parse::<Port>().map(drop).map_err(|e| FormatError {
        message: e.to_string(),
        help: None,
    })
}

fn address(text: &str) -> Result<(), FormatError> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(());
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
