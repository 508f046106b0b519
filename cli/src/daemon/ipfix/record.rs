//! What workers tell, as records.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use rewire_dataplane::Names;
use rewire_dataplane::clock::Instant;
use rewire_dataplane::recording::{
    FlowEvent, FlowRecord, FlowStep, RecordedEnds, RefusedFlow, ReportReason, Shortage, TimedEvent,
};
use rewire_tables::VpcIndex;

use super::element::Values;
use super::message::Messages;
use super::template::{self, Template};

/// Values of natEvent (IANA, "IPFIX NAT Event Type").
mod nat_event {
    pub(super) const NAT44_SESSION_CREATE: u8 = 4;
    pub(super) const NAT44_SESSION_DELETE: u8 = 5;
    pub(super) const NAT64_SESSION_CREATE: u8 = 6;
    pub(super) const NAT64_SESSION_DELETE: u8 = 7;
    pub(super) const NAT44_BIB_CREATE: u8 = 8;
    pub(super) const NAT44_BIB_DELETE: u8 = 9;
    pub(super) const NAT64_BIB_CREATE: u8 = 10;
    pub(super) const NAT64_BIB_DELETE: u8 = 11;
    pub(super) const PORTS_EXHAUSTED: u8 = 12;
    pub(super) const QUOTA_EXCEEDED: u8 = 13;
}

/// Values of natQuotaExceededEvent (RFC 8158, section 5.3.1).
mod quota {
    pub(super) const SESSIONS: u32 = 1;
    pub(super) const SESSIONS_OF_USER: u32 = 3;
}

/// What kind of translation a connection has: each has its own events and templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// IPv4, translated or not.
    Nat44,
    /// IPv6 whose far side is IPv4.
    Nat64,
    /// IPv6, translated or not: RFC 8158 knows no events of NAT66.
    Ipv6,
}

impl Kind {
    fn of(flow: &FlowRecord) -> Self {
        match (flow.original.source.0, flow.reply.source.0) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Kind::Nat44,
            (IpAddr::V6(_), IpAddr::V4(_)) | (IpAddr::V4(_), IpAddr::V6(_)) => Kind::Nat64,
            (IpAddr::V6(_), IpAddr::V6(_)) => Kind::Ipv6,
        }
    }

    fn of_flows(self) -> &'static Template {
        match self {
            Kind::Nat44 => &template::FLOW4,
            Kind::Nat64 => &template::FLOW64,
            Kind::Ipv6 => &template::FLOW6,
        }
    }

    /// Of translated connections, with the events that one begins and that it ends.
    fn of_sessions(self) -> Option<(&'static Template, [u8; 2])> {
        use nat_event::*;
        match self {
            Kind::Nat44 => Some((
                &template::SESSION44,
                [NAT44_SESSION_CREATE, NAT44_SESSION_DELETE],
            )),
            Kind::Nat64 => Some((
                &template::SESSION64,
                [NAT64_SESSION_CREATE, NAT64_SESSION_DELETE],
            )),
            Kind::Ipv6 => None,
        }
    }

    /// The same of mappings.
    fn of_bindings(self) -> Option<(&'static Template, [u8; 2])> {
        use nat_event::*;
        match self {
            Kind::Nat44 => Some((&template::BINDING44, [NAT44_BIB_CREATE, NAT44_BIB_DELETE])),
            Kind::Nat64 => Some((&template::BINDING64, [NAT64_BIB_CREATE, NAT64_BIB_DELETE])),
            Kind::Ipv6 => None,
        }
    }
}

/// The number of a VPC: 0 says that none is known.
fn vrf(index: VpcIndex) -> u32 {
    u32::from(index.0) + 1
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// IANA's flowEndReason.
fn end_reason(reason: ReportReason) -> u8 {
    match reason {
        ReportReason::Idle => 1,
        ReportReason::Interval => 2,
        ReportReason::Finished => 3,
        ReportReason::Forced => 4,
        ReportReason::Evicted => 5,
    }
}

/// The numbers of ICMP, of either version.
const ICMP: [u8; 2] = [1, 58];

/// Whether a connection of NAT64 began outside, in IPv4: it is told of as its host of IPv6 sees it, since there are elements for no other
/// way.
fn is_turned(flow: &FlowRecord) -> bool {
    flow.original.source.0.is_ipv4() && flow.reply.source.0.is_ipv6()
}

/// What all records of a connection have.
fn common(flow: &FlowRecord, time: SystemTime) -> Values {
    let mut interfaces = [Some(flow.ingress), flow.egress];
    let (near, far) = match is_turned(flow) {
        false => (&flow.original, &flow.reply),
        true => {
            interfaces.reverse();
            (&flow.reply, &flow.original)
        }
    };
    let [ingress, egress] = interfaces.map(|index| index.map_or(0, |index| u32::from(index.0) + 1));
    let ((source, source_port), (destination, mut destination_port)) =
        (near.source, near.destination);
    let ((post_source, post_source_port), (post_destination, mut post_destination_port)) =
        (far.destination, far.source);
    // An identifier is its source's; collectors take the other port of ICMP for type and code.
    if ICMP.contains(&flow.protocol) {
        (destination_port, post_destination_port) = (0, 0);
    }
    Values {
        time: milliseconds(time),
        source,
        source_port,
        destination,
        destination_port,
        post_source,
        post_source_port,
        post_destination,
        post_destination_port,
        protocol: flow.protocol,
        icmp: flow.icmp,
        tcp_flags: flow.tcp_flags,
        ingress,
        egress,
        ingress_vrf: vrf(near.vpc),
        egress_vrf: vrf(far.vpc),
        ..Values::default()
    }
}

/// The mapping that a connection uses: from its internal endpoint's side, whichever side the connection began on.
fn binding_values(flow: &FlowRecord, time: SystemTime) -> Values {
    let (inside, outside): (RecordedEnds, RecordedEnds) = match flow.is_joined {
        false => (flow.original, flow.reply),
        true => (flow.reply, flow.original),
    };
    let (source, source_port) = inside.source;
    let (post_source, post_source_port) = outside.destination;
    Values {
        source,
        source_port,
        post_source,
        post_source_port,
        ingress_vrf: vrf(inside.vpc),
        egress_vrf: vrf(outside.vpc),
        ..common(flow, time)
    }
}

/// Writes what was told, as the records that it makes. `time_of` says when a moment of the gateway's clock was.
pub(crate) fn write(
    messages: &mut Messages,
    (at, event): &TimedEvent,
    time_of: impl Fn(Instant) -> SystemTime,
) {
    let time = time_of(*at);
    match event {
        FlowEvent::Flow(flow) => {
            let kind = Kind::of(flow);
            let report = match flow.step {
                FlowStep::Begins { .. } => None,
                FlowStep::Report(report) => Some(report),
                FlowStep::Ends { report, .. } => report,
            };
            if let Some(report) = &report {
                let [start, end] = [report.since, report.last].map(|at| milliseconds(time_of(at)));
                let [mut forward, mut reverse] = report.traffic;
                if is_turned(flow) {
                    std::mem::swap(&mut forward, &mut reverse);
                }
                let values = Values {
                    start,
                    end,
                    packets: forward.packets,
                    bytes: forward.bytes,
                    reverse_packets: reverse.packets,
                    reverse_bytes: reverse.bytes,
                    end_reason: end_reason(report.reason),
                    ..common(flow, time)
                };
                messages.add_record(kind.of_flows(), &values);
            }
            let (is_end, has_mapping) = match flow.step {
                FlowStep::Begins { mapping } => (false, mapping),
                FlowStep::Ends { mapping, .. } => (true, mapping),
                FlowStep::Report(_) => return,
            };
            let session = kind.of_sessions().filter(|_| flow.is_translated());
            let session = session.map(|(template, events)| {
                let nat_event = events[usize::from(is_end)];
                let values = Values {
                    nat_event,
                    ..common(flow, time)
                };
                (template, values)
            });
            let binding = kind.of_bindings().filter(|_| has_mapping);
            let binding = binding.map(|(template, events)| {
                let nat_event = events[usize::from(is_end)];
                let values = Values {
                    nat_event,
                    ..binding_values(flow, time)
                };
                (template, values)
            });
            // A mapping is there before what uses it, and goes after it.
            let mut records = [binding, session];
            if is_end {
                records.reverse();
            }
            for (template, values) in records.into_iter().flatten() {
                messages.add_record(template, &values);
            }
        }
        FlowEvent::Refused(refused) => write_refused(messages, refused, time),
    }
}

fn write_refused(messages: &mut Messages, refused: &RefusedFlow, time: SystemTime) {
    let (source, source_port) = refused.original.source;
    let (destination, destination_port) = refused.original.destination;
    let values = Values {
        time: milliseconds(time),
        source,
        source_port,
        destination,
        destination_port,
        protocol: refused.protocol,
        ingress_vrf: vrf(refused.original.vpc),
        ..Values::default()
    };
    let quota_event = match refused.shortage {
        Shortage::Ports => {
            let Some(external) = refused.external else {
                return;
            };
            let template = match external {
                IpAddr::V4(_) => &template::EXHAUSTED4,
                IpAddr::V6(_) => &template::EXHAUSTED6,
            };
            let values = Values {
                nat_event: nat_event::PORTS_EXHAUSTED,
                post_source: external,
                ..values
            };
            messages.add_record(template, &values);
            return;
        }
        Shortage::Table | Shortage::Vpc => quota::SESSIONS,
        Shortage::Source => quota::SESSIONS_OF_USER,
    };
    let template = match source {
        IpAddr::V4(_) => &template::QUOTA4,
        IpAddr::V6(_) => &template::QUOTA6,
    };
    let values = Values {
        nat_event: nat_event::QUOTA_EXCEEDED,
        quota_event,
        ..values
    };
    messages.add_record(template, &values);
}

/// Writes what interfaces and VPCs are called.
pub(crate) fn write_names(messages: &mut Messages, names: &Names) {
    for (index, name) in names.interfaces() {
        let values = Values {
            ingress: u32::from(index.0) + 1,
            name: name.to_owned(),
            ..Values::default()
        };
        messages.add_record(&template::INTERFACE, &values);
    }
    for (index, name) in names.vpcs() {
        let values = Values {
            ingress_vrf: vrf(index),
            name: name.to_owned(),
            ..Values::default()
        };
        messages.add_record(&template::VPC, &values);
    }
}
