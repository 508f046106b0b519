//! IPFIX (RFC 7011), as far as this gateway speaks it: templates, the records that they describe, and the messages that both travel in.
//!
//! | template | describes |
//! |---|---|
//! | 256, 257, 258 | what a connection has done since it was reported last: IPv4, IPv6, and IPv6 that NAT64 translates; both directions in one record (RFC 5103) |
//! | 259, 260 | a translated connection begins or ends (RFC 8158, sections 5.5.2 and 5.5.5): NAT44, NAT64 |
//! | 261, 262 | a mapping begins or ends (RFC 8158, sections 5.5.6 and 5.5.7): NAT44, NAT64 |
//! | 263, 264 | external ports are exhausted (RFC 8158, section 5.5.4), for IPv4 and IPv6 |
//! | 265, 266 | a limit keeps a connection from beginning (RFC 8158, section 5.5.9), of a source of IPv4 or of IPv6 |
//! | 267, 268 | what interfaces and VPCs are called |
//!
//! Numbers of interfaces and VPCs are those of the tables plus 1, since 0 says that one is not known; they stay as they are while the
//! interface or VPC is there.

mod element;
mod message;
mod record;
mod template;

pub(crate) use message::Messages;
pub(crate) use record::{write, write_names};

#[cfg(test)]
mod tests;
