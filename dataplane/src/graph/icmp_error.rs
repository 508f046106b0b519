//! ICMP errors: what the gateway must say about a packet that it drops (RFC 792, RFC 1812 section 4.3, RFC 4443); and TCP
//! resets, where it is said so.
//!
//! *Uses* the refused packet, which is still as its sender sent it. *Sets* a new packet of the gateway's own. *Next*:
//! `ip_input`, and behind it `route`.

use std::time::Duration;

use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::{Ip, MacAddress, ethernet};
use rewire_tables::VpcIndex;

use super::Node;
use super::burst::{Answer, Burst, IcmpErrorOf, layer3};
use super::context::{Context, Received};
use super::family::Family;
use super::packet::{Origin, Packet};
use super::tcp_reset;
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::Instant;
use crate::drop_reason::DropReason;

/// Room for the largest ICMP error: 576 bytes of IPv4 packet (RFC 1812, section 4.3.2.3), 1280 of IPv6.
const LARGEST_ERROR: usize = 1280;

/// A token bucket: so many a second, and as many at once.
#[derive(Debug)]
pub(super) struct RateLimit {
    interval: Duration,
    burst: Duration,
    /// The bucket is empty up to this moment.
    empty_until: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: u32) -> Self {
        let burst = Duration::from_secs(1);
        RateLimit {
            interval: burst / per_second.max(1),
            burst,
            empty_until: Instant(0),
        }
    }

    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let next = self.empty_until.max(now).saturating_add(self.interval);
        if next > now.saturating_add(self.burst) {
            return false;
        }
        self.empty_until = next;
        true
    }
}

/// Makes an error for each packet that was refused and may be answered; tells whether it made any.
pub(super) fn run<P: BufferPool, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<P::Buffer, A>,
    pool: &mut P,
    limit: &mut RateLimit,
) -> bool {
    if burst.refused.is_empty() {
        return false;
    }
    let refused = std::mem::take(&mut burst.refused);
    let before = burst.packets.len();
    cx.counters.visit(Node::IcmpError, refused.len());
    for &(index, answer) in &refused {
        let offending = &burst.packets[usize::from(index)];
        let Some((source, origin, vpc)) = answerable(cx, offending, answer) else {
            continue;
        };
        if !limit.allows(cx.now) {
            cx.counters.icmp_suppressed.add(1);
            continue;
        }
        let Some(buffer) = build(pool, offending, source, answer) else {
            cx.counters.dropped(DropReason::NoBuffer).add(1);
            cx.counters.generated.add(1);
            continue;
        };
        cx.counters.generated.add(1);
        let own = Received {
            mark: offending.mark,
            ..Received::new(buffer, origin)
        };
        burst.begin(own, MacAddress::ZERO, vpc);
    }
    let answers = burst.packets.len() - before;
    cx.counters.sent_to(Node::IcmpError, Node::IpInput, answers);
    let made = refused.len();
    burst.refused = refused;
    burst.refused.clear();
    made > 0
}

/// Whether a packet may be answered with an error, and if so from which address and in which VPC.
fn answerable<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    answer: Answer<IcmpErrorOf<A>>,
) -> Option<(A, Origin, VpcIndex)> {
    let Origin::Received(index) = packet.origin else {
        return None;
    };
    let interface = cx.tables.interface(index)?;
    let error = match answer {
        Answer::Error(error) => error,
        // Nobody is to be reset whom no error may reach.
        Answer::Reset => IcmpErrorKind::Prohibited.into(),
    };
    A::Version::may_answer_with_icmp_error(layer3(&packet.buffer), packet.link_destination, error)
        .ok()?;
    let peer = packet.header.source;
    let source = match answer {
        Answer::Error(_) => A::error_source(interface, &packet.header)?,
        Answer::Reset => packet.header.destination,
    };
    let origin = Origin::of_answer(index, interface.vpc, (source, peer));
    Some((source, origin, interface.vpc))
}

fn build<P: BufferPool, A: Family>(
    pool: &mut P,
    offending: &Packet<P::Buffer, A>,
    source: A,
    answer: Answer<IcmpErrorOf<A>>,
) -> Option<P::Buffer> {
    let mut buffer = pool.allocate()?;
    if !buffer.resize(ethernet::HEADER_LEN + LARGEST_ERROR) {
        return None;
    }
    let (head, packet) = buffer.bytes_mut().split_at_mut(ethernet::HEADER_LEN);
    let bytes = layer3(&offending.buffer);
    let length = match answer {
        Answer::Error(error) => A::Version::build_icmp_error(bytes, source, error, packet)?,
        Answer::Reset => tcp_reset::build::<A>(&offending.header, bytes, packet)?,
    };
    head[12..].copy_from_slice(&A::Version::ETHER_TYPE.0.to_be_bytes());
    buffer.truncate(ethernet::HEADER_LEN + length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_lets_a_second_of_errors_through_at_once_and_then_the_rate() {
        let mut limit = RateLimit::new(10);
        let start = Instant(5_000_000_000);
        assert_eq!((0..100).filter(|_| limit.allows(start)).count(), 10);
        let later = start.saturating_add(Duration::from_millis(250));
        assert_eq!((0..100).filter(|_| limit.allows(later)).count(), 2);
        let much_later = start.saturating_add(Duration::from_secs(60));
        assert_eq!((0..100).filter(|_| limit.allows(much_later)).count(), 10);
    }
}
