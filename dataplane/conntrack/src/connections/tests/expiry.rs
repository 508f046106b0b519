//! How long connections live, and who removes them.

use super::*;
use crate::sweep::SLOTS_PER_CALL;
use crate::time::DEADLINE_STEP;

/// Each state lives as long as its time-out says, and no longer than one step of the clock more.
#[test]
fn timeouts_to_the_step() {
    let synack = tcp(TcpFlags::SYN | TcpFlags::ACK);
    let ack = tcp(TcpFlags::ACK);
    let fin = tcp(TcpFlags::FIN | TcpFlags::ACK);
    let rst = tcp(TcpFlags::RST);
    let [query, reply] = [false, true].map(|reply| Segment::IcmpQuery { reply });
    let open = [(Original, syn()), (Reply, synack), (Original, ack)];
    let with = |more: &[(Direction, Segment)]| [&open[..], more].concat();
    let hours = 2 * 3600 + 4 * 60;
    for (segments, state, seconds) in [
        (open[..1].to_vec(), "syn_sent", 240),
        (vec![(Original, syn()), (Reply, syn())], "syn_sent2", 240),
        (open[..2].to_vec(), "syn_received", 240),
        (open.to_vec(), "established", hours),
        (with(&[(Original, fin)]), "fin_wait", hours),
        (with(&[(Reply, fin)]), "close_wait", hours),
        (with(&[(Original, fin), (Reply, fin)]), "last_ack", 240),
        (with(&[(Reply, rst)]), "closed", 240),
        (vec![(Original, Segment::Udp)], "udp_unreplied", 120),
        (
            vec![(Original, Segment::Udp), (Reply, Segment::Udp)],
            "udp_replied",
            300,
        ),
        (vec![(Original, query)], "icmp_unreplied", 60),
        (vec![(Original, query), (Reply, reply)], "icmp_replied", 60),
        (vec![(Original, Segment::Other)], "other_unreplied", 600),
        (
            vec![(Original, Segment::Other), (Reply, Segment::Other)],
            "other_replied",
            600,
        ),
    ] {
        let mut connections = connections(1);
        let key = key(0, 1);
        let mut now = START;
        let id = connections
            .insert(routed(key), &segments[0].1, 40, now)
            .unwrap();
        for (direction, segment) in &segments[1..] {
            now = after(now, 30);
            connections
                .update(id, *direction, segment, 40, now)
                .unwrap();
        }
        let flow = connections.flow(id).unwrap();
        assert_eq!(flow.state.to_string(), state);
        let end = flow.expires;
        let over = end.duration_since(after(now, seconds));
        assert!(over < DEADLINE_STEP, "{state}");
        assert!(end >= after(now, seconds), "{state}");
        assert!(
            connections.lookup(&key, just_before(end)).is_some(),
            "{state}"
        );
        assert_eq!(connections.expire(just_before(end), 10), 0, "{state}");
        assert_eq!(connections.lookup(&key, end), None, "{state}");
        let (direction, segment) = segments.last().unwrap();
        let too_late = connections.update(id, *direction, segment, 40, end);
        assert_eq!(too_late, Err(Invalid::NoFlow), "{state}");
        // It is removed when the tick is over, if not before.
        let tick_end = Instant((tick(end) + 1) << TICK_BITS);
        let removed = [end, just_before(tick_end), tick_end].map(|now| connections.expire(now, 10));
        assert_eq!(removed.iter().sum::<usize>(), 1, "{state}");
        assert!(connections.is_empty());
    }
}

#[test]
fn expire_works_within_its_budget() {
    let mut connections = connections(100);
    for port in 0..100 {
        let at = after(START, u64::from(port));
        connections
            .insert(routed(key(17, port)), &Segment::Udp, 40, at)
            .unwrap();
    }
    let later = after(START, 10_000);
    for _ in 0..10 {
        assert_eq!(connections.expire(later, 7), 7);
    }
    assert_eq!(connections.len(), 30);
    // Those that began first went first.
    assert!(
        connections
            .iter()
            .all(|(_, flow)| flow.original.source_port >= 69)
    );
    assert_eq!(connections.expire(later, 1000), 30);
    assert_eq!(connections.expire(later, 1000), 0);
}

#[test]
fn prolonged_connections_stay_and_shortened_ones_go_soon() {
    let mut connections = connections(2);
    let udp = connections
        .insert(routed(key(17, 1)), &Segment::Udp, 40, START)
        .unwrap();
    let mut now = START;
    for _ in 0..50 {
        now = after(now, 110);
        connections
            .update(udp, Original, &Segment::Udp, 40, now)
            .unwrap();
        assert_eq!(connections.expire(now, 10), 0);
    }
    connections.remove(udp);

    let id = connections
        .insert(routed(key(6, 1)), &syn(), 40, now)
        .unwrap();
    let synack = tcp(TcpFlags::SYN | TcpFlags::ACK);
    connections.update(id, Reply, &synack, 40, now).unwrap();
    let ack = tcp(TcpFlags::ACK);
    connections.update(id, Original, &ack, 40, now).unwrap();
    // The sweep has come to where the SYN had put it, and has put it off by hours.
    now = after(now, 1000);
    assert_eq!(connections.expire(now, 10), 0);
    let rst = tcp(TcpFlags::RST);
    connections.update(id, Reply, &rst, 40, now).unwrap();
    assert_eq!(connections.expire(after(now, 242), 10), 1);
}

#[test]
fn longer_than_the_sweep_can_say_and_a_clock_that_starts_late() {
    let week = Duration::from_secs(7 * 86400);
    let timeouts = Timeouts {
        other: week,
        udp_unreplied: Duration::ZERO,
        ..Timeouts::default()
    };
    let mut connections = Connections::new(Config {
        timeouts,
        ..config(2)
    });
    let start = Instant(1 << 62);
    let id = connections
        .insert(routed(key(47, 0)), &Segment::Other, 40, start)
        .unwrap();
    let end = end(start, week);
    let mut now = start;
    while after(now, 3600) < end {
        now = after(now, 3600);
        assert_eq!(connections.expire(now, 10), 0);
    }
    assert!(connections.lookup(&key(47, 0), just_before(end)).is_some());
    assert_eq!(connections.expire(after(end, 2), 10), 1);
    assert!(connections.flow(id).is_none());
    // No time at all, and a clock that leaps.
    connections
        .insert(routed(key(17, 0)), &Segment::Udp, 40, now)
        .unwrap();
    assert_eq!(
        connections.lookup(&key(17, 0), super::end(now, Duration::ZERO)),
        None
    );
    connections
        .insert(routed(key(47, 0)), &Segment::Other, 40, now)
        .unwrap();
    // So far that the deadlines have come round.
    let years = after(now, 3 * 365 * 86400);
    assert_eq!(connections.expire(years, 10), 2);
}

#[test]
fn a_large_table_is_swept_in_steps() {
    let slots = 3 * SLOTS_PER_CALL;
    let mut connections = connections(slots);
    for port in 0..slots as u16 {
        connections
            .insert(routed(key(17, port)), &Segment::Udp, 40, START)
            .unwrap();
    }
    let later = after(START, 200);
    for _ in 0..3 {
        assert_eq!(connections.expire(later, usize::MAX), SLOTS_PER_CALL);
    }
    assert_eq!(connections.expire(later, usize::MAX), 0);
    assert!(connections.is_empty());
    // What is free is not looked at again and again: a pass over nothing finds nothing, and what comes next lives.
    connections
        .insert(routed(key(17, 1)), &Segment::Udp, 40, later)
        .unwrap();
    for second in 0..119 {
        assert_eq!(connections.expire(after(later, second), usize::MAX), 0);
    }
    let end = after(later, 125);
    let removed = (0..3).map(|_| connections.expire(end, usize::MAX));
    assert_eq!(removed.sum::<usize>(), 1);
}

/// What is outside of the windows passes, is counted, and prolongs nothing; what is beyond them is refused. A RST that an
/// end may or may not take leaves a connection as long as a reset one has, until that end answers.
#[test]
fn only_what_is_in_the_windows_prolongs() {
    let mut connections = connections(1);
    let id = connections
        .insert(routed(key(6, 1)), &syn(), 40, START)
        .unwrap();
    let numbered = |flags, sequence: u32| match tcp(flags) {
        Segment::Tcp(segment) => Segment::Tcp(TcpSegment {
            sequence,
            ..segment
        }),
        segment => segment,
    };
    let ack = tcp(TcpFlags::ACK);
    let open = [(Reply, tcp(TcpFlags::SYN | TcpFlags::ACK)), (Original, ack)];
    for (direction, segment) in &open {
        connections
            .update(id, *direction, segment, 40, START)
            .unwrap();
    }
    let established = Timeouts::default().tcp_established;
    let expires = |connections: &Connections<Ipv4Addr>| connections.flow(id).unwrap().expires;
    let later = after(START, 60);
    for segment in [
        numbered(TcpFlags::ACK, 2_u32.wrapping_sub(100_000)),
        numbered(TcpFlags::FIN | TcpFlags::ACK, 2_u32.wrapping_sub(100_000)),
        numbered(TcpFlags::RST, 100_000),
        numbered(TcpFlags::RST, 2_u32.wrapping_sub(100_000)),
        syn(),
    ] {
        let state = connections
            .update(id, Original, &segment, 40, later)
            .unwrap();
        assert_eq!(state, State::Tcp(TcpState::Established), "{segment:?}");
        assert_eq!(expires(&connections), end(START, established));
    }
    assert_eq!(
        connections.update(id, Original, &numbered(TcpFlags::ACK, 100_000), 40, later),
        Err(Invalid::TcpBeyondWindow)
    );
    assert_eq!(connections.flow(id).unwrap().traffic(Original).packets, 7);
    assert_eq!(expires(&connections), end(START, established));

    let doubtful = numbered(TcpFlags::RST, 500);
    connections
        .update(id, Original, &doubtful, 40, later)
        .unwrap();
    let reset = Timeouts::default().tcp_reset;
    assert_eq!(expires(&connections), end(later, reset));
    connections.update(id, Reply, &ack, 40, later).unwrap();
    assert_eq!(expires(&connections), end(later, established));
    // Nobody answers: it goes, no later than a reset one would.
    connections
        .update(id, Original, &doubtful, 40, later)
        .unwrap();
    let over = after(end(later, reset), 2);
    assert_eq!(connections.expire(over, usize::MAX), 1);
}

/// Passes that do not come to their end for hours, because the budget is too small, lose nobody.
#[test]
fn a_small_budget_loses_nobody() {
    let mut connections = connections(16);
    connections.expire(START, 1);
    for port in 0..8 {
        let flow = routed(key(17, port));
        connections.insert(flow, &Segment::Udp, 100, START).unwrap();
    }
    let mut now = START;
    for _ in 0..5 {
        now = now.saturating_add(Duration::from_secs(8000));
        connections.expire(now, 1);
    }
    connections.expire(now, usize::MAX);
    assert!(connections.is_empty());
}
