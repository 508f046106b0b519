//! What workers want written to the log: handed to the manager, which writes it.

use std::net::IpAddr;
use std::sync::Arc;

use rewire_packet::Protocol;
use rewire_tables::{Tables, VpcIndex};

use super::acl_log::AclLogEntry;

/// Something that is to be written to the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEntry {
    /// A rule of an ACL has decided.
    Acl(AclLogEntry),
    /// A sender got no external port.
    PortsExhausted(PortsExhausted),
}

impl LogEntry {
    /// Writes it, with the names that these tables have.
    pub(crate) fn write(&self, tables: &Tables) {
        match self {
            LogEntry::Acl(entry) => entry.write(tables),
            LogEntry::PortsExhausted(entry) => entry.write(tables),
        }
    }
}

/// A sender got no external port: all that its rule may give out are in use, or there is no room for more. Each worker says so once a second at
/// most; how often it was so, the counter of the drop reason says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortsExhausted {
    /// The masquerade rule.
    pub rule: Arc<str>,
    /// The sender's VPC.
    pub from: VpcIndex,
    /// The VPC of the external addresses.
    pub to: VpcIndex,
    /// The sender.
    pub source: IpAddr,
    /// The IP protocol number.
    pub protocol: u8,
}

impl PortsExhausted {
    fn write(&self, tables: &Tables) {
        tracing::warn!(
            rule = &*self.rule,
            from = tables.vpc(self.from).name(),
            to = tables.vpc(self.to).name(),
            sender = %self.source,
            protocol = %Protocol(self.protocol),
            "a sender finds no external port: those of its masquerade are used up"
        );
    }
}
