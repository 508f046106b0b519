//! Floods and scans: the table is full, memory stays as it is, and what is established goes on.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use rewire_conntrack::{State, TcpState};
use rewire_dataplane::DropReason;
use rewire_packet::tcp::TcpFlags;
use support::*;

/// The room in a lab's table.
const CAPACITY: usize = 4096;

const ESTABLISHED: u16 = 500;

/// Someone out there.
fn stranger(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0808_0000 + number)
}

/// Opens connections from the host to the site, all the way.
fn open(lab: &mut Lab) -> Vec<u16> {
    let mut ports = Vec::new();
    for port in 2000..2000 + ESTABLISHED {
        let out = lab.through(
            "blue0",
            tcp((HOST, port), (SITE, 80), TcpFlags::SYN).frame(),
            "wan",
        );
        let back = (WAN, out.ports().0);
        let answer = tcp((SITE, 80), back, TcpFlags::SYN | TcpFlags::ACK);
        lab.through("wan", answer.frame(), "blue0");
        lab.through(
            "blue0",
            tcp((HOST, port), (SITE, 80), TcpFlags::ACK).frame(),
            "wan",
        );
        ports.push(back.1);
    }
    ports
}

/// What is established passes, in both directions.
fn talk(lab: &mut Lab, ports: &[u16]) {
    for (inside, outside) in (2000..).zip(ports) {
        let out = tcp((HOST, inside), (SITE, 80), TcpFlags::ACK).frame();
        assert_eq!(lab.through("blue0", out, "wan").ports().0, *outside);
        let back = tcp((SITE, 80), (WAN, *outside), TcpFlags::ACK).frame();
        assert_eq!(lab.through("wan", back, "blue0").ports().1, inside);
    }
}

fn memory(lab: &Lab) -> [usize; 3] {
    let connections = lab.gateway.graph().connections4();
    [
        connections.memory(),
        connections.capacity(),
        connections.slots() as usize,
    ]
}

/// Sends bursts, each of 64 frames that `frame` makes of their numbers, and sees to it that no table grows.
fn flood(lab: &mut Lab, frames: u32, frame: impl Fn(u32) -> (&'static str, Vec<u8>)) {
    for first in (0..frames).step_by(64) {
        lab.burst((first..first + 64).map(&frame));
        let connections = lab.gateway.graph().connections4();
        assert!(connections.len() <= CAPACITY);
        let established = connections.counts().of(State::Tcp(TcpState::Established));
        assert_eq!(established, u32::from(ESTABLISHED));
    }
}

#[test]
fn a_flood_of_syns_takes_nothing_from_what_is_established() {
    let mut lab = Lab::new(two_vpcs());
    let ports = open(&mut lab);
    let full = |lab: &mut Lab, first| {
        flood(lab, 3 * CAPACITY as u32, |number| {
            let source = (stranger(first + number), 1000);
            ("wan", tcp(source, (WAN, 8080), TcpFlags::SYN).frame())
        });
    };
    full(&mut lab, 0);
    assert_eq!(lab.gateway.totals().connections, CAPACITY as u64);
    let before = memory(&lab);
    talk(&mut lab, &ports);
    full(&mut lab, 100_000);
    talk(&mut lab, &ports);
    assert_eq!(memory(&lab), before);
    let totals = lab.gateway.totals();
    assert!(
        totals.connections_evicted > 4 * CAPACITY as u64,
        "{totals:?}"
    );
    assert_eq!(totals.dropped(), 0, "each found room: {:?}", lab.drops());
    // In the middle of it, somebody opens a connection who answers.
    let out = lab.through(
        "blue0",
        tcp((HOST, 9000), (SITE, 80), TcpFlags::SYN).frame(),
        "wan",
    );
    let source = |number: u32| (stranger(200_000 + number), 1000);
    lab.burst((0..1000).map(|n| ("wan", tcp(source(n), (WAN, 8080), TcpFlags::SYN).frame())));
    let answer = tcp(
        (SITE, 80),
        (WAN, out.ports().0),
        TcpFlags::SYN | TcpFlags::ACK,
    );
    lab.through("wan", answer.frame(), "blue0");
}

#[test]
fn a_scan_from_inside_takes_nothing_from_what_is_established() {
    let mut lab = Lab::new(two_vpcs());
    let ports = open(&mut lab);
    flood(&mut lab, 4 * CAPACITY as u32, |number| {
        let to = (stranger(number / 1024), (number % 1024) as u16);
        (
            "blue0",
            match number % 3 {
                0 => udp((HOST, 5000), to, 0).frame(),
                1 => tcp((HOST, 5000), to, TcpFlags::SYN).frame(),
                _ => echo(HOST, to.0, to.1).frame(),
            },
        )
    });
    talk(&mut lab, &ports);
    assert_eq!(lab.gateway.totals().connections, CAPACITY as u64);
}

#[test]
fn where_all_are_established_a_new_one_is_refused_by_name() {
    let mut lab = Lab::new(two_vpcs());
    // Answered datagrams are as good as established.
    for port in 0..CAPACITY as u32 {
        let inside = (HOST, 1024 + port as u16);
        let out = lab.through("blue0", udp(inside, (SITE, 53), 0).frame(), "wan");
        lab.through(
            "wan",
            udp((SITE, 53), (WAN, out.ports().0), 0).frame(),
            "blue0",
        );
    }
    let another = || udp((HOST, 30_000), (SITE, 53), 0).frame();
    lab.dropped("blue0", another(), DropReason::ConnectionTableFull);
    assert_eq!(lab.gateway.totals().connections_evicted, 0);
    // Until the time of some is up.
    lab.wait(Duration::from_secs(400));
    lab.through("blue0", another(), "wan");
}

fn limited(limits: serde_json::Value) -> serde_json::Value {
    let mut document = two_vpcs();
    document["vpcs"]["blue"]["conntrack"] = limits;
    document
}

#[test]
fn a_vpc_has_as_many_connections_as_its_limit_says() {
    let mut lab = Lab::new(limited(json!({ "most_connections": 10 })));
    let datagram = |port| udp((HOST, port), (SITE, 53), 0).frame();
    for port in 1..=8 {
        lab.through("blue0", datagram(port), "wan");
    }
    // Of both families together.
    for port in 1..=2 {
        lab.one(
            "blue0",
            v6::udp((v6::HOST, port), (v6::SITE, 53), 0).frame(),
            "wan",
        );
    }
    lab.dropped("blue0", datagram(9), DropReason::ConnectionLimitVpc);
    lab.dropped(
        "blue0",
        v6::udp((v6::HOST, 9), (v6::SITE, 53), 0).frame(),
        DropReason::ConnectionLimitVpc,
    );
    lab.through("blue0", datagram(1), "wan");
    // What begins elsewhere is another VPC's.
    lab.through(
        "wan",
        tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN).frame(),
        "blue0",
    );
    // A place is free again when a connection ends, or when the limit goes.
    lab.wait(Duration::from_secs(60));
    lab.through("blue0", datagram(1), "wan");
    lab.wait(Duration::from_secs(70));
    for port in 11..=19 {
        lab.through("blue0", datagram(port), "wan");
    }
    lab.dropped("blue0", datagram(20), DropReason::ConnectionLimitVpc);
    lab.commit(two_vpcs());
    lab.through("blue0", datagram(20), "wan");
}

#[test]
fn a_source_has_as_many_connections_as_its_limit_says() {
    let mut lab = Lab::new(two_vpcs());
    let from = |last, port| udp((Ipv4Addr::new(10, 1, 0, last), port), (SITE, 53), 0).frame();
    // What began before there was a limit does not count to it.
    lab.through("blue0", from(10, 1), "wan");
    lab.commit(limited(json!({ "most_per_source": 3 })));
    for port in 2..=4 {
        lab.through("blue0", from(10, port), "wan");
        lab.through("blue0", from(11, port), "wan");
    }
    for last in [10, 11] {
        lab.dropped("blue0", from(last, 5), DropReason::ConnectionLimitSource);
    }
    lab.through("blue0", from(10, 1), "wan");
    lab.through("blue0", from(12, 5), "wan");
    lab.wait(Duration::from_secs(200));
    lab.through("blue0", from(10, 5), "wan");
    // More sources than can be remembered are let in, and said.
    let many = (0..CAPACITY as u32).map(|n| {
        let source = Ipv4Addr::from(0x0a01_0000 + 0x100 + n);
        ("blue0", udp((source, 7), (SITE, 53), 0).frame())
    });
    lab.burst(many);
    let totals = lab.gateway.totals();
    assert_eq!(totals.connections, CAPACITY as u64);
    assert!(totals.sources_uncounted > 0);
}
