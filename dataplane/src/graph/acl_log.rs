//! What rules say is to be logged: a few entries a second, handed to the manager, which writes them.

use std::net::IpAddr;

use rewire_packet::Protocol;
use rewire_tables::acl::{AclAction, AclVerdict, NO_PORT};
use rewire_tables::{AclIndex, AclKey, InterfaceIndex, Tables};

use super::context::{Context, Sinks};
use super::family::Family;
use super::icmp_error::RateLimit;

/// A rule decided about a packet, and says that this is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclLogEntry {
    /// The interface that the packet came in by.
    pub ingress: InterfaceIndex,
    /// The ACL.
    pub acl: AclIndex,
    /// The rule's sequence number.
    pub rule: u32,
    /// What was decided.
    pub action: AclAction,
    /// What the ACL saw of the packet.
    pub key: AclKey<IpAddr>,
}

impl AclLogEntry {
    /// Writes the entry to the log, with the names that these tables have.
    pub(crate) fn write(&self, tables: &Tables) {
        let AclKey {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            ..
        } = self.key;
        let end = |address, port| match port {
            NO_PORT => format!("{address}"),
            port => format!("{address} {port}"),
        };
        tracing::info!(
            acl = tables.acl(self.acl).name(),
            rule = self.rule,
            action = ?self.action,
            interface = tables.interface(self.ingress).map_or("", |i| &i.name),
            from = end(source, source_port),
            to = end(destination, destination_port),
            protocol = %Protocol(protocol),
            "an ACL has decided"
        );
    }
}

/// The entry of a verdict.
pub(super) fn entry<A: Family>(
    ingress: InterfaceIndex,
    acl: AclIndex,
    key: &AclKey<A>,
    verdict: AclVerdict,
) -> AclLogEntry {
    AclLogEntry {
        ingress,
        acl,
        // The default is never logged.
        rule: verdict.rule.unwrap_or_default(),
        action: verdict.decision.action,
        key: AclKey {
            from: key.from,
            to: key.to,
            source: key.source.into(),
            destination: key.destination.into(),
            protocol: key.protocol,
            source_port: key.source_port,
            destination_port: key.destination_port,
        },
    }
}

/// Hands entries over, as many as the rate allows; counts the others.
#[derive(Debug)]
pub(super) struct AclLogger {
    limit: RateLimit,
}

impl AclLogger {
    pub(super) fn new(per_second: u32) -> Self {
        AclLogger {
            limit: RateLimit::new(per_second),
        }
    }

    pub(super) fn log<B>(
        &mut self,
        cx: &Context<'_>,
        entry: AclLogEntry,
        sinks: &mut dyn Sinks<B>,
    ) {
        if !self.limit.allows(cx.now) || !sinks.log(entry) {
            cx.counters.log_lost.add(1);
        }
    }
}
