//! What a masquerade lets in from outside (RFC 4787, REQ-8; RFC 5382, REQ-3).

mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use support::*;

const STRICT: &str = "address_and_port_dependent";
const BY_ADDRESS: &str = "address_dependent";
const OPEN: &str = "endpoint_independent";
const FILTERINGS: [&str; 3] = [STRICT, BY_ADDRESS, OPEN];
const OTHER_SITE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const SYN: TcpFlags = TcpFlags::SYN;

fn with(filtering: &str) -> serde_json::Value {
    let mut document = two_vpcs();
    document["nat"]["masquerade"]["blue-out"]["filtering"] = json!(filtering);
    let mac = json!({ "mac": HOST_MAC.to_string() });
    document["interfaces"]["blue0"]["neighbors"]["10.1.0.11"] = mac;
    document
}

/// Whether a packet from outside gets in; where it goes then.
fn enters(lab: &mut Lab, packet: Build) -> Option<Ip> {
    let sent = lab.send("wan", packet.frame());
    match sent.as_slice() {
        [] => None,
        [one] if lab.name(one) == "blue0" => Some(Ip::of(&one.frame)),
        // To the gateway itself, then, which says so.
        _ => None,
    }
}

#[test]
fn each_kind_lets_in_whom_it_says() {
    for (filtering, from_port, from_address) in [
        (STRICT, false, false),
        (BY_ADDRESS, true, false),
        (OPEN, true, true),
    ] {
        let mut lab = Lab::new(with(filtering));
        let out = lab.through("blue0", udp((HOST, 5000), (SITE, 53), 3).frame(), "wan");
        assert_eq!(out.ports(), (5000, 53));
        let answer = enters(&mut lab, udp((SITE, 53), (WAN, 5000), 3));
        assert!(answer.is_some(), "{filtering}");
        let other_port = enters(&mut lab, udp((SITE, 54), (WAN, 5000), 3));
        assert_eq!(other_port.is_some(), from_port, "{filtering}");
        let other_site = enters(&mut lab, udp((OTHER_SITE, 53), (WAN, 5000), 3));
        assert_eq!(other_site.is_some(), from_address, "{filtering}");
        for ip in [other_port, other_site].into_iter().flatten() {
            assert_eq!((ip.destination, ip.ports().1), (HOST, 5000));
            assert_eq!(ip.ttl, 63);
            // And its answer has the external endpoint.
            let back = udp((HOST, 5000), (ip.source, ip.ports().0), 3);
            let back = lab.through("blue0", back.frame(), "wan");
            assert_eq!((back.source, back.ports().0), (WAN, 5000));
        }
        // Of one protocol (RFC 7857, section 6), and to ports that were given out.
        let tcp = tcp((OTHER_SITE, 53), (WAN, 5000), SYN);
        assert_eq!(enters(&mut lab, tcp), None, "{filtering}");
        let other = udp((SITE, 53), (WAN, 5001), 3);
        assert_eq!(enters(&mut lab, other), None, "{filtering}");
    }
}

#[test]
fn of_ipv6_as_well() {
    let mut lab = Lab::new(with(OPEN));
    let out = v6::udp((v6::HOST, 5000), (v6::SITE, 53), 3);
    lab.through6("blue0", out.frame(), "wan");
    let into = v6::udp((v6::SITE, 99), (v6::WAN, 5000), 3);
    let ip = lab.through6("wan", into.frame(), "blue0");
    assert_eq!((ip.destination, ip.ports()), (v6::HOST, (99, 5000)));
}

#[test]
fn queries_reach_a_mapping_of_a_pool_and_the_gateway_answers_its_own_pings() {
    let mut document = with(OPEN);
    document["nat"]["pools"] = json!({ "p": { "vpc": "internet", "ranges": ["203.0.113.50"] } });
    document["nat"]["masquerade"]["blue-out"]["pool"] = json!("p");
    document["nat"]["masquerade"]["blue-out"]["sources"] = json!(["10.1.0.0/24"]);
    let mut lab = Lab::new(document);
    let pool = Ipv4Addr::new(203, 0, 113, 50);
    // Two hosts with one identifier: the second gets another one.
    lab.through("blue0", echo(HOST, SITE, 7).frame(), "wan");
    let second = Ipv4Addr::new(10, 1, 0, 11);
    let out = lab.through("blue0", echo(second, SITE, 7).frame(), "wan");
    let L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) = out.transport else {
        panic!("{out:?}")
    };
    assert_ne!(identifier, 7);
    let into = enters(&mut lab, echo(OTHER_SITE, pool, identifier)).expect("it is let in");
    assert_eq!(into.destination, second);
    let is_its_own = |transport: &L4| {
        matches!(
            transport,
            L4::Icmp(Icmpv4Repr::EchoRequest { identifier: 7, .. }, _)
        )
    };
    assert!(is_its_own(&into.transport), "{into:?}");
    let reply = Icmpv4Repr::EchoReply {
        identifier: 7,
        sequence: 1,
    };
    let back = lab.through(
        "blue0",
        icmp(second, OTHER_SITE, reply, b"ping").frame(),
        "wan",
    );
    assert_eq!(back.source, pool);
    assert!(
        matches!(back.transport, L4::Icmp(Icmpv4Repr::EchoReply { identifier: id, .. }, _) if id == identifier)
    );
    // To the gateway's own address.
    let answer = lab.through("wan", echo(OTHER_SITE, WAN, 7).frame(), "wan");
    assert_eq!(answer.endpoints(), (WAN, OTHER_SITE));
}

#[test]
fn tcp_opens_from_outside_and_from_both_sides_at_once() {
    let mut lab = Lab::new(with(OPEN));
    lab.through("blue0", tcp((HOST, 5000), (SITE, 80), SYN).frame(), "wan");
    // From outside.
    let syn = enters(&mut lab, tcp((OTHER_SITE, 6000), (WAN, 5000), SYN)).expect("let in");
    assert_eq!((syn.destination, syn.ports()), (HOST, (6000, 5000)));
    let syn_ack = tcp((HOST, 5000), (OTHER_SITE, 6000), SYN | TcpFlags::ACK);
    let back = lab.through("blue0", syn_ack.frame(), "wan");
    assert_eq!((back.source, back.ports()), (WAN, (5000, 6000)));
    let ack = tcp((OTHER_SITE, 6000), (WAN, 5000), TcpFlags::ACK);
    lab.through("wan", ack.frame(), "blue0");
    // At once: the SYN from outside is first here, and the one from inside is of the same connection (RFC 5382, REQ-2).
    let syn = tcp((OTHER_SITE, 6001), (WAN, 5000), SYN);
    assert!(enters(&mut lab, syn).is_some());
    let back = tcp((HOST, 5000), (OTHER_SITE, 6001), SYN);
    let back = lab.through("blue0", back.frame(), "wan");
    assert_eq!((back.source, back.ports()), (WAN, (5000, 6001)));
    for (port, packet, to) in [
        (
            "blue0",
            tcp((HOST, 5000), (OTHER_SITE, 6001), SYN | TcpFlags::ACK),
            "wan",
        ),
        (
            "wan",
            tcp((OTHER_SITE, 6001), (WAN, 5000), SYN | TcpFlags::ACK),
            "blue0",
        ),
        (
            "wan",
            tcp((OTHER_SITE, 6001), (WAN, 5000), TcpFlags::ACK),
            "blue0",
        ),
    ] {
        lab.through(port, packet.frame(), to);
    }
    assert_eq!(lab.gateway.totals().connections, 3);
    assert_eq!(lab.gateway.totals().mappings, 1);
    // What begins no connection does not get in.
    let stray = tcp((OTHER_SITE, 6002), (WAN, 5000), TcpFlags::RST);
    lab.dropped("wan", stray.frame(), DropReason::ConnectionInvalid);
}

#[test]
fn errors_and_fragments_follow_a_connection_from_outside() {
    let mut lab = Lab::new(with(OPEN));
    lab.through("blue0", udp((HOST, 5000), (SITE, 53), 3).frame(), "wan");
    let into = udp((OTHER_SITE, 99), (WAN, 5000), 3);
    let arrived = enters(&mut lab, into).expect("let in");
    // The host has no such port.
    let sent = udp((OTHER_SITE, 99), (HOST, 5000), 3)
        .ttl(arrived.ttl)
        .packet();
    let unreachable = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let error = icmp(HOST, OTHER_SITE, unreachable, &sent[..28]);
    let out = lab.through("blue0", error.frame(), "wan");
    assert_eq!(out.endpoints(), (WAN, OTHER_SITE));
    let L4::Icmp(_, quoted) = &out.transport else {
        panic!("{out:?}")
    };
    assert_eq!(quoted[16..20], WAN.octets(), "what it had sent");
    assert_eq!(quoted[22..24], 5000_u16.to_be_bytes());
    // A datagram in two parts, the later one first.
    let whole = udp((OTHER_SITE, 77), (WAN, 5000), 64).packet();
    let part = |range: std::ops::Range<usize>, more: bool| {
        let mut packet = whole[..20].to_vec();
        packet.extend(&whole[20 + range.start..20 + range.end]);
        let offset = (range.start / 8) as u16 | if more { 0x2000 } else { 0 };
        let length = packet.len() as u16;
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet[6..8].copy_from_slice(&offset.to_be_bytes());
        packet[10..12].fill(0);
        let checksum = rewire_packet::checksum::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = udp((OTHER_SITE, 77), (WAN, 5000), 64).frame()[..14].to_vec();
        frame.extend(packet);
        frame
    };
    assert!(lab.send("wan", part(32..72, false)).is_empty());
    let both = lab.send("wan", part(0..32, true));
    let destinations: Vec<Vec<u8>> = both.iter().map(|s| s.frame[30..34].to_vec()).collect();
    assert_eq!(destinations, vec![HOST.octets().to_vec(); 2]);
}

#[test]
fn a_stricter_policy_ends_what_it_would_not_let_in() {
    let mut lab = Lab::new(with(OPEN));
    let asked = udp((HOST, 5000), (SITE, 53), 3);
    lab.through("blue0", asked.frame(), "wan");
    let from = |site, port| udp((site, port), (WAN, 5000), 3);
    for packet in [from(SITE, 54), from(OTHER_SITE, 53), from(OTHER_SITE, 54)] {
        assert!(enters(&mut lab, packet).is_some());
    }
    // One of them was answered: the host has sent to its address since.
    let answer = udp((HOST, 5000), (OTHER_SITE, 54), 3);
    lab.through("blue0", answer.frame(), "wan");
    let resolve = |lab: &mut Lab, filtering: &str| {
        lab.commit(with(filtering));
        (0..20).for_each(|_| drop(lab.burst([])));
    };
    resolve(&mut lab, BY_ADDRESS);
    assert_eq!(lab.gateway.totals().connections_kept, 4);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 0);
    resolve(&mut lab, STRICT);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 3);
    assert!(enters(&mut lab, from(SITE, 53)).is_some(), "that answers");
    assert!(enters(&mut lab, from(SITE, 54)).is_none());
    assert!(enters(&mut lab, from(OTHER_SITE, 54)).is_none());
    // And back: what is there is found again, and keeps its mapping.
    resolve(&mut lab, BY_ADDRESS);
    assert!(enters(&mut lab, from(SITE, 54)).is_some());
    assert!(enters(&mut lab, from(OTHER_SITE, 54)).is_none());
    resolve(&mut lab, OPEN);
    assert!(enters(&mut lab, from(OTHER_SITE, 54)).is_some());
    assert_eq!(lab.gateway.totals().mappings, 1);
}

#[test]
fn a_port_forward_goes_before_a_mapping() {
    let mut lab = Lab::new(with(OPEN));
    lab.through("blue0", udp((HOST, 5000), (SITE, 53), 3).frame(), "wan");
    assert!(enters(&mut lab, udp((OTHER_SITE, 9), (WAN, 5000), 3)).is_some());
    let mut taken = with(OPEN);
    taken["nat"]["port_forward"]["game"] = json!({
        "protocol": "udp", "external_vpc": "internet", "external_address": "203.0.113.1",
        "external_port": 5000, "internal_vpc": "blue", "internal_address": "10.1.0.11",
        "internal_port": 1,
    });
    lab.commit(taken);
    let ip = enters(&mut lab, udp((OTHER_SITE, 9), (WAN, 5000), 3)).unwrap();
    assert_eq!(
        (ip.destination, ip.ports().1),
        (Ipv4Addr::new(10, 1, 0, 11), 1)
    );
}

/// RFC 4787 in its own words, for UDP through one address, where no port is taken by two: to whom an endpoint has sent, and
/// until when that counts.
#[derive(Default)]
struct Naive {
    sessions: BTreeMap<(u16, Ipv4Addr, u16), Session>,
    /// Who came in before anybody inside had sent to them, and when.
    knocked: BTreeMap<(u16, Ipv4Addr, u16), Duration>,
}

/// Two minutes after it was begun, or five once both have spoken. Who knocks before may count as having spoken or not: it
/// depends on whether that is forgotten, which it may be with whatever held the mapping then.
#[derive(Clone, Copy)]
struct Session {
    at_least: Duration,
    at_most: Duration,
    both_spoke: bool,
    both_may_have_spoken: bool,
}

const UNANSWERED: Duration = Duration::from_secs(120);
const ANSWERED: Duration = Duration::from_secs(300);

impl Naive {
    fn out(&mut self, port: u16, remote: (Ipv4Addr, u16), now: Duration) {
        let key = (port, remote.0, remote.1);
        let both_spoke = |session: &Session| session.both_spoke && session.at_least > now;
        let both_spoke = self.sessions.get(&key).is_some_and(both_spoke);
        let is_recent = |at: &Duration| *at + ANSWERED > now;
        let may_have_spoken = both_spoke
            || self.knocked.get(&key).is_some_and(is_recent)
            || self
                .sessions
                .get(&key)
                .is_some_and(|session| session.at_most > now && session.both_may_have_spoken);
        let session = Session {
            at_least: now + if both_spoke { ANSWERED } else { UNANSWERED },
            at_most: now
                + if may_have_spoken {
                    ANSWERED
                } else {
                    UNANSWERED
                },
            both_spoke,
            both_may_have_spoken: may_have_spoken,
        };
        self.sessions.insert(key, session);
    }

    /// Whether a packet from outside gets in; none where that may be either.
    fn enters(
        &mut self,
        filtering: &str,
        port: u16,
        remote: (Ipv4Addr, u16),
        now: Duration,
    ) -> Option<bool> {
        let key = (port, remote.0, remote.1);
        let lets_in = |until: fn(&Session) -> Duration| {
            self.sessions.iter().any(|(of, session)| {
                until(session) > now
                    && of.0 == port
                    && match filtering {
                        OPEN => true,
                        BY_ADDRESS => of.1 == remote.0,
                        _ => *of == key,
                    }
            })
        };
        let certainly = lets_in(|session| session.at_least);
        if certainly != lets_in(|session| session.at_most) {
            return None;
        }
        match self.sessions.get_mut(&key) {
            Some(session) if session.at_least > now => {
                session.at_least = now + ANSWERED;
                session.at_most = now + ANSWERED;
                session.both_spoke = true;
                session.both_may_have_spoken = true;
            }
            Some(session) if session.at_most > now => {
                session.at_most = now + ANSWERED;
                session.both_may_have_spoken = true;
            }
            _ if certainly => {
                self.knocked.insert(key, now);
            }
            _ => {}
        }
        Some(certainly)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// What gets in is what the RFC's words let in, to hosts of IPv4 behind a masquerade and to those of IPv6 behind NAT64 (RFC 6146, section
    /// 3.5). No pauses sum up to just a time-out.
    #[test]
    fn what_gets_in_is_what_the_rfc_says(
        by_nat64 in any::<bool>(),
        filtering in prop::sample::select(FILTERINGS.to_vec()),
        steps in prop::collection::vec(
            (any::<bool>(), 5000..5003_u16, any::<bool>(), 80..82_u16, prop::sample::select(vec![0_u64, 7, 49, 126, 315])),
            1..60,
        ),
    ) {
        let mut document = if by_nat64 { nat64::document() } else { with(filtering) };
        if by_nat64 {
            document["nat"]["nat64"]["own"]["filtering"] = json!(filtering);
        }
        let external = if by_nat64 { nat64::EXTERNAL } else { WAN };
        let mut lab = Lab::new(document);
        let mut naive = Naive::default();
        let mut now = Duration::ZERO;
        for (leaves, port, first, remote_port, pause) in steps {
            now += Duration::from_secs(pause);
            lab.wait(Duration::from_secs(pause));
            let remote = (if first { SITE } else { OTHER_SITE }, remote_port);
            if leaves {
                let frame = match by_nat64 {
                    true => v6::udp((v6::HOST, port), (nat64::behind(remote.0), remote.1), 3).frame(),
                    false => udp((HOST, port), remote, 3).frame(),
                };
                let out = lab.through("blue0", frame, "wan");
                prop_assert_eq!((out.source, out.ports()), (external, (port, remote_port)));
                naive.out(port, remote, now);
            } else {
                let packet = udp(remote, (external, port), 3);
                let entered = match by_nat64 {
                    true => lab.send("wan", packet.frame()).first().map(|sent| {
                        let ip = v6::Ip::of(&sent.frame);
                        (ip.endpoints(), ip.ports()) == ((nat64::behind(remote.0), v6::HOST), (remote.1, port))
                    }),
                    false => enters(&mut lab, packet).map(|_| true),
                };
                prop_assert_ne!(entered, Some(false), "it is led to where the mapping is");
                let Some(expected) = naive.enters(filtering, port, remote, now) else {
                    return Ok(());
                };
                prop_assert_eq!(entered.is_some(), expected, "{} at {:?}", port, now);
            }
        }
    }
}
