//! What rules say is to be logged: a few entries a second, handed to the manager, which writes them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use rewire_packet::Protocol;
use rewire_tables::acl::{AclAction, AclScope, AclVerdict, NO_PORT};
use rewire_tables::{AclIndex, AclKey, InterfaceIndex, Tables};

use super::context::{Context, RESOLVE_ATTEMPTS, RESOLVE_INTERVAL, Sinks};
use super::family::Family;
use super::icmp_error::RateLimit;
use super::log_entry::LogEntry;
use crate::clock::Instant;

/// A rule decided about a packet, and says that this is to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// How long a flow that was let through may wait for its connection: as long as its next hop is asked for.
const PATIENCE: Duration = RESOLVE_INTERVAL.saturating_mul(RESOLVE_ATTEMPTS + 1);
/// Places for flows that were logged and may be waiting.
const MOST_WAITING: usize = 512;

/// Hands entries over, as many as the rate allows; counts the others.
///
/// A flow is logged once. Before it has a connection, several of its packets may be asked about, and the same one twice: while its
/// next hop is asked for, or in one burst.
#[derive(Debug)]
pub(super) struct AclLogger {
    limit: RateLimit,
    /// The flows that were let through last, each at the place of its hash, until when it counts as known.
    waiting: Box<[Option<(AclLogEntry, Instant)>]>,
}

impl AclLogger {
    pub(super) fn new(per_second: u32) -> Self {
        AclLogger {
            limit: RateLimit::new(per_second),
            waiting: vec![None; MOST_WAITING].into(),
        }
    }

    /// Logs what a rule of this scope decided.
    pub(super) fn log<B>(
        &mut self,
        cx: &Context<'_>,
        entry: AclLogEntry,
        scope: AclScope,
        sinks: &mut dyn Sinks<B>,
    ) {
        if scope == AclScope::Flow && entry.action == AclAction::Allow {
            let place = &mut self.waiting[place(&entry)];
            if place.is_some_and(|(known, until)| known == entry && cx.now < until) {
                return;
            }
            *place = Some((entry, cx.now.saturating_add(PATIENCE)));
        }
        if !self.limit.allows(cx.now) || !sinks.log(LogEntry::Acl(entry)) {
            cx.counters.log_lost.add(1);
        }
    }
}

/// The place of a flow. Who makes flows collide has one logged twice, and no more.
fn place(entry: &AclLogEntry) -> usize {
    let mut hasher = DefaultHasher::new();
    entry.hash(&mut hasher);
    hasher.finish() as usize % MOST_WAITING
}
