//! Why a configuration does not compile.

use std::fmt;
use std::net::IpAddr;

use rewire_schema::types::Prefix;
use rewire_schema::{Mismatch, Path};

use crate::{LONGEST_NPTV6_PREFIX, MOST_FORWARDED_PORTS, MOST_INDICES, MOST_POOL_ADDRESSES};

/// One thing that cannot be compiled, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The changeset does not follow the state that the compiler holds.
    #[error(transparent)]
    Changeset(#[from] Mismatch),
    /// A row refers to what is not there.
    #[error("{path}: there is no {kind} \"{name}\"")]
    Unknown {
        /// The field that refers, or the row whose parent is missing.
        path: Path,
        /// What it refers to: `VPC`, `interface`, `pool`, `route`, `masquerade`, `ACL`, `rule`, `address set`, `service`, or a
        /// part of a peering.
        kind: &'static str,
        /// The name that was not found.
        name: String,
    },
    /// A field is not there that this kind of object needs.
    #[error("{path}: {object} needs a {field}")]
    Missing {
        /// The object.
        path: Path,
        /// What kind of object it is.
        object: &'static str,
        /// The field.
        field: &'static str,
    },
    /// An object or a field that this dataplane cannot do yet.
    #[error("{path}: {what} not in this dataplane yet")]
    Unsupported {
        /// The object or the field.
        path: Path,
        /// What it is, with its verb: `shapers are`.
        what: &'static str,
    },
    /// More VPCs, interfaces, peerings or ACLs than there are indices. Those that the same changeset takes away still count.
    #[error("{path}: there can be at most {MOST_INDICES} {kind}s")]
    TooMany {
        /// The row that found no index.
        path: Path,
        /// `VPC`, `interface`, `peering` or `ACL`.
        kind: &'static str,
    },
    /// A unicast route that leads nowhere.
    #[error("{path}: a unicast route needs at least one next hop")]
    NoNextHop {
        /// The route.
        path: Path,
    },
    /// A pool that would take too much memory to keep account of.
    #[error(
        "{path}: the pool has {addresses} addresses, at most {MOST_POOL_ADDRESSES} are possible"
    )]
    PoolTooLarge {
        /// The pool.
        path: Path,
        /// The number of addresses of all its ranges.
        addresses: u128,
    },
    /// Masquerade of senders that no external address fits.
    #[error(
        "{path}: \"{masquerade}\" has no external {family} address to masquerade these senders with"
    )]
    NoExternalAddress {
        /// The source.
        path: Path,
        /// The rule.
        masquerade: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// A NAT64 by a prefix that no IPv4 address can be embedded behind.
    #[error("{path}: {reason}")]
    NoPref64 {
        /// The rule.
        path: Path,
        /// Why.
        reason: rewire_packet::pref64::Pref64Error,
    },
    /// A translation between IPv4 and IPv6.
    #[error("{path}: {external} and {internal} are not of one family")]
    MixedFamilies {
        /// The rule.
        path: Path,
        /// Its external address.
        external: IpAddr,
        /// Its internal address.
        internal: IpAddr,
    },
    /// A next hop over an interface that is on no link.
    #[error("{path}: interface \"{interface}\" is a loopback: nothing is on its link")]
    NotALink {
        /// The field.
        path: Path,
        /// The interface.
        interface: String,
    },
    /// A port forward between ports that do not pair up.
    #[error("{path}: {external} external ports cannot lead to {internal} internal ones")]
    UnpairedPorts {
        /// The rule.
        path: Path,
        /// The number of its external ports.
        external: u32,
        /// The number of its internal ports.
        internal: u32,
    },
    /// A port forward of more ports than each can have an entry for.
    #[error("{path}: {ports} ports, at most {MOST_FORWARDED_PORTS} are possible")]
    TooManyPorts {
        /// The rule.
        path: Path,
        /// The number of its external ports, each counted for either protocol.
        ports: u32,
    },
    /// A static translation between prefixes of different lengths.
    #[error("{path}: {external} and {internal} are not of one length")]
    MixedLengths {
        /// The rule.
        path: Path,
        /// Its external addresses.
        external: Prefix,
        /// Its internal addresses.
        internal: Prefix,
    },
    /// NPTv6 between prefixes that it is not defined for.
    #[error("{path}: only IPv6 prefixes of at most {LONGEST_NPTV6_PREFIX} bits are translated so")]
    NoNptv6 {
        /// The field.
        path: Path,
    },
    /// An expose of a peering that translates more than each can have an entry for.
    #[error("{path}: {size} addresses or ports are translated, at most {most} are possible")]
    ExposeTooLarge {
        /// The expose.
        path: Path,
        /// The number of addresses, or of ports, each counted for every address and protocol.
        size: u128,
        /// The most there can be.
        most: u128,
    },
    /// Two rules for the same packets.
    #[error("{path}: {other} is for the same packets")]
    Ambiguous {
        /// The rule, the later one by name.
        path: Path,
        /// The other rule.
        other: Path,
    },
}

impl CompileError {
    /// The row or field that the error is about; none where a changeset did not fit.
    pub fn path(&self) -> Option<&Path> {
        match self {
            CompileError::Changeset(_) => None,
            CompileError::Unknown { path, .. }
            | CompileError::Missing { path, .. }
            | CompileError::Unsupported { path, .. }
            | CompileError::TooMany { path, .. }
            | CompileError::NoNextHop { path }
            | CompileError::NotALink { path, .. }
            | CompileError::UnpairedPorts { path, .. }
            | CompileError::TooManyPorts { path, .. }
            | CompileError::MixedLengths { path, .. }
            | CompileError::NoNptv6 { path }
            | CompileError::PoolTooLarge { path, .. }
            | CompileError::NoExternalAddress { path, .. }
            | CompileError::ExposeTooLarge { path, .. }
            | CompileError::NoPref64 { path, .. }
            | CompileError::MixedFamilies { path, .. }
            | CompileError::Ambiguous { path, .. } => Some(path),
        }
    }
}

/// All that keeps a configuration from being compiled: at least one error, each once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(Vec<CompileError>);

impl Errors {
    /// The errors, if there are any.
    pub(crate) fn check(mut errors: Vec<CompileError>) -> Result<(), Errors> {
        errors.sort_by(|a, b| a.path().cmp(&b.path()));
        // What a rule refers to in vain is found for each of its parts.
        errors.dedup();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Errors(errors))
        }
    }

    /// The errors, in the order of their paths.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &CompileError> {
        self.0.iter()
    }
}

impl From<CompileError> for Errors {
    fn from(error: CompileError) -> Self {
        Errors(vec![error])
    }
}

impl fmt::Display for Errors {
    /// A line an error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}
