//! Packet headers: views over bytes, values to build from, checksums, and the in-place changes that
//! routing and address translation make.
//!
//! Bytes and meaning are apart. For each header `X` there are
//!
//! - `XView<T>`, a view over bytes. [`new_checked`](ipv4::Ipv4View::new_checked) says once, with a
//!   typed reason, whether the bytes can be such a header; after it every getter is total. Where
//!   `T: AsMut<[u8]>` there are setters.
//! - `XRepr`, a small plain value in host order. `parse(&view)` makes it; `emit(&mut [u8])` writes
//!   it to the front of a buffer whose remainder is the payload, already there.
//!
//! No function of this crate panics, whatever the bytes; none allocates; there is no `unsafe`.
//! Multi-byte fields are big-endian on the wire and host order in every signature. Lengths are in
//! bytes.
//!
//! Code that does not care about the IP version is generic over [`ip::Ip`] and written once: see
//! [`ip::IpHeader`] and [`l4`] for the one parse a packet gets, [`nat`] for translation,
//! [`icmp_error`] for what a router says about a packet that it cannot forward.

#![forbid(unsafe_code)]

pub mod arp;
mod bytes;
pub mod checksum;
mod error;
pub mod ethernet;
pub mod forward;
pub mod icmp_error;
pub mod icmpv4;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod l4;
pub mod nat;
pub mod ndp;
pub mod options;
pub mod pref64;
pub mod tcp;
pub mod translate;
pub mod udp;

pub use error::{EmitError, PacketError};
pub use ethernet::{EtherType, MacAddress};
pub use ip::{Fragment, Ip, IpAddress, IpHeader, IpVersion, Ipv4, Ipv6, Protocol};
pub use l4::{Transport, TransportError};
