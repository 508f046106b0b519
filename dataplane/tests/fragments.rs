//! Fragments and NAT: a datagram that comes in fragments leaves as it would have left whole, in whatever order they come.

mod support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use rewire_dataplane::DropReason;
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool, PacketBuffer};
use rewire_dataplane::clock::Instant;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{Origin, Received};
use rewire_dataplane::port::faulty::FaultyLink;
use rewire_packet::checksum::checksum;
use rewire_packet::ethernet::HEADER_LEN;
use rewire_packet::ipv4::Ipv4View;
use support::{
    HOST, Ip, Kept, Lab, SITE, UPSTREAM_MAC, WAN, WAN_MAC, arp_frame, arp_of, bare_graph, echo,
    json, two_vpcs, udp, v6,
};

/// Two VPCs whose links take all of a datagram at once, so that whole ones can be held against fragments.
fn document() -> serde_json::Value {
    let mut document = two_vpcs();
    for interface in ["blue0", "red0", "wan"] {
        document["interfaces"][interface]["mtu"] = json!(9000);
    }
    document
}

fn lab() -> Lab {
    Lab::new(document())
}

/// The fragments of an IPv4 frame, cut at multiples of 8 bytes.
fn cut4(frame: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (head, body) = frame.split_at(HEADER_LEN + 20);
    let fragment = |(from, to): (usize, usize)| {
        let mut piece = [head, &body[from..to]].concat();
        let more = u16::from(to < body.len()) << 13;
        let ip = &mut piece[HEADER_LEN..];
        ip[2..4].copy_from_slice(&((20 + to - from) as u16).to_be_bytes());
        ip[6..8].copy_from_slice(&(more | (from / 8) as u16).to_be_bytes());
        Ipv4View::new_checked(&mut *ip)
            .expect("IPv4")
            .fill_checksum();
        piece
    };
    bounds(body.len(), cuts).map(fragment).collect()
}

/// The fragments of an IPv6 frame without extension headers.
fn cut6(frame: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (head, body) = frame.split_at(HEADER_LEN + 40);
    let next_header = head[HEADER_LEN + 6];
    let fragment = |(from, to): (usize, usize)| {
        let mut piece = head.to_vec();
        piece[HEADER_LEN + 4..HEADER_LEN + 6]
            .copy_from_slice(&((8 + to - from) as u16).to_be_bytes());
        piece[HEADER_LEN + 6] = 44;
        piece.extend([next_header, 0]);
        piece.extend((from as u16 | u16::from(to < body.len())).to_be_bytes());
        piece.extend(77u32.to_be_bytes());
        piece.extend(&body[from..to]);
        piece
    };
    bounds(body.len(), cuts).map(fragment).collect()
}

fn bounds(length: usize, cuts: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    starts.zip(cuts.iter().copied().chain([length]))
}

/// What a receiver puts together, with header and payload; nothing where something is missing or comes twice.
fn reassembled(frames: &[Vec<u8>], is_6: bool) -> Option<Vec<u8>> {
    let mut parts: Vec<(usize, bool, &[u8])> =
        frames.iter().map(|frame| part(frame, is_6)).collect();
    parts.sort_unstable();
    let mut body = Vec::new();
    for (number, &(offset, more, bytes)) in (1..).zip(&parts) {
        (offset == body.len() && more == (number < parts.len())).then_some(())?;
        body.extend(bytes);
    }
    let first = frames.iter().find(|frame| part(frame, is_6).0 == 0)?;
    // Of the header, what the fragments have in common with the whole: addresses, hop limit, protocol.
    let ip = &first[HEADER_LEN..];
    let header = if is_6 {
        [&ip[7..40], &ip[40..41]].concat()
    } else {
        [&ip[8..10], &ip[12..20], &ip[4..6]].concat()
    };
    Some([header, body].concat())
}

fn part(frame: &[u8], is_6: bool) -> (usize, bool, &[u8]) {
    let ip = &frame[HEADER_LEN..];
    if is_6 {
        let field = u16::from_be_bytes([ip[42], ip[43]]);
        (usize::from(field & !7), field & 1 != 0, &ip[48..])
    } else {
        let view = Ipv4View::new_checked(ip).expect("IPv4");
        view.check_checksum().expect("a good header checksum");
        (
            usize::from(view.fragment_offset()) * 8,
            view.more_fragments(),
            &ip[20..],
        )
    }
}

/// The same of a whole frame.
fn whole(frame: &[u8], is_6: bool) -> Vec<u8> {
    let ip = &frame[HEADER_LEN..];
    if is_6 {
        [&ip[7..40], &ip[6..7], &ip[40..]].concat()
    } else {
        [&ip[8..10], &ip[12..20], &ip[4..6], &ip[20..]].concat()
    }
}

/// Different bytes, so that none can take another's place.
fn marked(mut frame: Vec<u8>, from: usize) -> Vec<u8> {
    for (number, byte) in (0u32..).zip(&mut frame[from..]) {
        *byte = (number.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    frame
}

fn datagrams() -> impl Strategy<Value = (usize, Vec<usize>, Vec<Index>, bool)> {
    let cuts = prop::collection::btree_set(1..160usize, 1..12);
    let cuts = cuts.prop_map(|cuts| cuts.into_iter().map(|cut| cut * 8).collect());
    (
        1300..2000usize,
        cuts,
        prop::collection::vec(any::<Index>(), 12),
        any::<bool>(),
    )
}

/// The frames in an order that the indices say.
fn shuffled(mut frames: Vec<Vec<u8>>, order: &[Index]) -> Vec<Vec<u8>> {
    let mut shuffled = Vec::new();
    for index in order.iter().cycle().take(frames.len()) {
        shuffled.push(frames.swap_remove(index.index(frames.len())));
    }
    shuffled
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The oracle is the gateway itself, with the datagram whole.
    #[test]
    fn fragments_in_any_order_leave_as_the_whole_would((length, cuts, order, at_once) in datagrams()) {
        for is_6 in [false, true] {
            let (mut one, mut other) = (lab(), lab());
            let (out, back) = if is_6 {
                let out = v6::udp((v6::HOST, 4000), (v6::SITE, 53), length).frame();
                (out, v6::udp((v6::SITE, 53), (v6::WAN, 4000), length).frame())
            } else {
                let out = udp((HOST, 4000), (SITE, 53), length).may_fragment().frame();
                (out, udp((SITE, 53), (WAN, 4000), length).may_fragment().frame())
            };
            let begin = HEADER_LEN + if is_6 { 48 } else { 28 };
            for (from, to, frame) in [("blue0", "wan", out), ("wan", "blue0", back)] {
                // The checksum need not be right to be carried on rightly: it is compared.
                let frame = marked(frame, begin);
                let expected = whole(&one.one(from, frame.clone(), to), is_6);
                let cut = if is_6 { cut6(&frame, &cuts) } else { cut4(&frame, &cuts) };
                let number = cut.len();
                let frames = shuffled(cut, &order).into_iter().map(|frame| (from, frame));
                let sent = if at_once {
                    other.burst(frames)
                } else {
                    frames.flat_map(|frame| other.burst([frame])).collect()
                };
                prop_assert_eq!(sent.len(), number, "drops: {:?}", other.drops());
                let frames: Vec<Vec<u8>> = sent.into_iter().map(|sent| sent.frame).collect();
                prop_assert_eq!(reassembled(&frames, is_6), Some(expected));
            }
        }
    }
}

#[test]
fn a_large_ping_is_translated_by_its_identifier() {
    let mut lab = lab();
    let frame = echo(HOST, SITE, 7)
        .may_fragment()
        .with_payload(&[0; 4000])
        .frame();
    let mut frame = marked(frame, HEADER_LEN + 28);
    frame[HEADER_LEN + 20] = 8;
    frame[HEADER_LEN + 24..HEADER_LEN + 26].copy_from_slice(&7u16.to_be_bytes());
    let sum = checksum(&frame[HEADER_LEN + 20..]);
    frame[HEADER_LEN + 22..HEADER_LEN + 24].copy_from_slice(&sum.to_be_bytes());
    // The port is taken by another host, so that the identifier must change.
    lab.through("red0", echo(support::RED_HOST, SITE, 7).frame(), "wan");
    let cut = cut4(&frame, &[1480, 2960]);
    let sent = lab.burst(cut.into_iter().rev().map(|frame| ("blue0", frame)));
    let frames: Vec<Vec<u8>> = sent.into_iter().map(|sent| sent.frame).collect();
    let out = reassembled(&frames, false).expect("all of it");
    let message = &out[12..];
    assert_eq!(checksum(message), 0, "a good checksum");
    assert_ne!(message[4..6], 7u16.to_be_bytes());
}

#[test]
fn fragments_without_their_first_wait_and_are_dropped_in_time() {
    let mut lab = lab();
    let frame = udp((HOST, 4000), (SITE, 53), 2000).may_fragment().frame();
    let cut = cut4(&frame, &[800, 1600]);
    assert_eq!(
        lab.burst(cut[1..].iter().map(|frame| ("blue0", frame.clone()))),
        []
    );
    assert_eq!(lab.gateway.totals().held, 2);
    assert_eq!(lab.wait(Duration::from_secs(2)), []);
    assert_eq!(lab.gateway.totals().held, 0);
    assert_eq!(lab.gateway.dropped_for(DropReason::FragmentFirstMissing), 2);
    // The first one is late: it goes on, and nothing behind it.
    assert_eq!(lab.send("blue0", cut[0].clone()).len(), 1);
}

#[test]
fn a_flood_of_later_fragments_is_held_to_a_bound() {
    let mut lab = lab();
    let before = udp((HOST, 9), (SITE, 53), 0);
    lab.through("blue0", before.frame(), "wan");
    for identification in 0..4000u16 {
        let mut packet = udp((HOST, 4000), (SITE, 53), 64).may_fragment();
        packet.ip.identification = identification;
        lab.burst([("blue0", cut4(&packet.frame(), &[32]).remove(1))]);
    }
    assert!(lab.gateway.totals().held <= 256);
    let drops = lab.gateway.dropped_for(DropReason::FragmentQueueFull)
        + lab.gateway.dropped_for(DropReason::FragmentFirstMissing);
    assert_eq!(drops + lab.gateway.totals().held, 4000);
    // Others are not held up: neither whole packets nor fragments that come in order.
    lab.through("blue0", before.frame(), "wan");
    let mut packet = udp((HOST, 4000), (SITE, 53), 64).may_fragment();
    packet.ip.identification = 5000;
    for frame in cut4(&packet.frame(), &[32]) {
        assert_eq!(lab.send("blue0", frame).len(), 1);
    }
}

#[test]
fn of_a_datagram_whose_fragments_overlap_nothing_more_goes_on() {
    let mut lab = lab();
    let frame = udp((HOST, 4000), (SITE, 53), 200).may_fragment().frame();
    let [first, second, third] = <[Vec<u8>; 3]>::try_from(cut4(&frame, &[64, 128])).expect("three");
    // It would write over the header that filters have seen (RFC 1858).
    let overlapping = cut4(&frame, &[8, 80]).remove(1);
    assert_eq!(lab.send("blue0", first).len(), 1);
    lab.dropped("blue0", overlapping, DropReason::FragmentOverlap);
    lab.dropped("blue0", second, DropReason::FragmentOverlap);
    lab.dropped("blue0", third, DropReason::FragmentOverlap);
    // Another datagram is another matter.
    let mut packet = udp((HOST, 4000), (SITE, 53), 200).may_fragment();
    packet.ip.identification = 1234;
    for frame in cut4(&packet.frame(), &[64, 128]) {
        assert_eq!(lab.send("blue0", frame).len(), 1);
    }
}

#[test]
fn a_fragment_that_comes_twice_goes_on_once() {
    let mut lab = lab();
    let frame = udp((HOST, 4000), (SITE, 53), 200).may_fragment().frame();
    let [first, second, third] = <[Vec<u8>; 3]>::try_from(cut4(&frame, &[64, 128])).expect("three");
    assert_eq!(
        lab.burst([("blue0", second.clone()), ("blue0", second.clone())]),
        []
    );
    assert_eq!(lab.send("blue0", first.clone()).len(), 2);
    lab.dropped("blue0", first, DropReason::FragmentDuplicate);
    lab.dropped("blue0", second, DropReason::FragmentDuplicate);
    assert_eq!(lab.send("blue0", third).len(), 1);
}

/// A worker that a fragment has gone round from may turn out to be its home. What comes so was seen here before, and goes on,
/// with its datagram's ports; from a port it would be a duplicate, and where bytes overlap it is refused as ever.
#[test]
fn a_fragment_that_comes_home_after_its_round_is_no_duplicate() {
    let (mut graph, tables, compiler) = bare_graph(document(), MemoryPool);
    let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
    let counters = WorkerCounters::default();
    // From a port, from the worker that has found the home out, or from the next of a round.
    const HOME: u8 = u8::MAX;
    let mut send = |frame: &[u8], hops| {
        let buffer = MemoryBuffer::new(frame.to_vec());
        let received = Received {
            hops,
            ..Received::new(buffer, Origin::Received(blue))
        };
        let mut kept = Kept::default();
        let (burst, now) = (&mut vec![received], Instant(1_000_000_000));
        graph.run(burst, &tables, now, &counters, &mut kept);
        kept.0
            .iter()
            .map(|buffer| buffer.bytes().to_vec())
            .collect()
    };
    let frame = udp((HOST, 5000), (SITE, 53), 64).may_fragment().frame();
    let [first, middle, last] = &cut4(&frame, &[24, 48])[..] else {
        panic!("three fragments")
    };
    let duplicates = || counters.dropped(DropReason::FragmentDuplicate).get();
    for (fragment, hops) in [(first, HOME), (middle, 1)] {
        let sent: Vec<Vec<u8>> = send(fragment, 0);
        assert_eq!(sent.len(), 1);
        assert_eq!(send(fragment, 0), Vec::<Vec<u8>>::new(), "from a port");
        let dropped = duplicates();
        assert_eq!(send(fragment, hops), sent, "from another worker");
        assert_eq!(duplicates(), dropped);
    }
    assert_eq!(duplicates(), 2);
    let [_, overlapping, _] = &cut4(&frame, &[16, 56])[..] else {
        panic!("three fragments")
    };
    assert!(send(overlapping, HOME).is_empty());
    assert_eq!(counters.dropped(DropReason::FragmentOverlap).get(), 1);
    assert!(send(last, HOME).is_empty(), "the datagram is refused");
}

/// Fragments wait for their neighbor, and some have left before the others come: what walks again is no duplicate of itself.
#[test]
fn a_fragment_that_has_waited_for_its_neighbor_is_no_duplicate() {
    let mut document = document();
    document["interfaces"]["wan"]["neighbors"] = json!({});
    let frame = udp((HOST, 4000), (SITE, 53), 200).may_fragment().frame();
    let fragments = cut4(&frame, &[64, 128]);
    for early in 1..=3 {
        let mut lab = Lab::new(document.clone());
        let send = |lab: &mut Lab, fragments: &[Vec<u8>]| {
            let frames = fragments.iter().map(|fragment| ("blue0", fragment.clone()));
            lab.burst(frames.collect::<Vec<_>>())
        };
        let asked = send(&mut lab, &fragments[..early]);
        let answer = arp_of(&asked[0]).reply(UPSTREAM_MAC);
        let mut sent = lab.send("wan", arp_frame(WAN_MAC, &answer));
        sent.extend(send(&mut lab, &fragments[early..]));
        assert_eq!(lab.drops(), [], "{early} have waited");
        assert_eq!(sent.len(), 3, "{early} have waited");
    }
}

#[test]
fn a_header_in_pieces_is_refused() {
    let mut lab = lab();
    // 16 bytes are no TCP header: its flags may be in the next fragment (RFC 1858, section 3).
    let frame =
        support::tcp((HOST, 1), (SITE, 80), rewire_packet::tcp::TcpFlags::SYN).may_fragment();
    for first in cut4(&frame.frame(), &[16]).into_iter().take(1) {
        lab.dropped("blue0", first, DropReason::TransportMalformed);
    }
}

#[test]
fn what_follows_a_first_fragment_that_was_refused_is_dropped() {
    let mut document = two_vpcs();
    document["interfaces"]["wan"]["mtu"] = json!(9000);
    document["acls"] = json!({ "shut": { "default": "deny", "rules": {
        "10": { "action": "deny", "protocol": "udp", "destination_port": 53 },
        "20": { "action": "allow" },
    } } });
    document["interfaces"]["blue0"]["acl_in"] = json!("shut");
    let mut lab = Lab::new(document);
    let cut = |port| {
        cut4(
            &udp((HOST, 4000), (SITE, port), 200).may_fragment().frame(),
            &[64],
        )
    };
    // A later fragment is judged by the ports that its first one has.
    assert_eq!(
        lab.burst(cut(53).into_iter().map(|frame| ("blue0", frame))),
        []
    );
    assert_eq!(lab.gateway.dropped_for(DropReason::AclInDenied), 2);
    let mut other = cut(54);
    for frame in &mut other {
        frame[HEADER_LEN + 5] ^= 1;
        Ipv4View::new_checked(&mut frame[HEADER_LEN..])
            .expect("IPv4")
            .fill_checksum();
    }
    let sent = lab.burst(other.into_iter().map(|frame| ("blue0", frame)));
    assert_eq!(sent.len(), 2, "{:?}", lab.drops());
    assert_eq!(Ip::of(&sent[0].frame).source, WAN);
}

/// The oracle knows which fragments came through: a datagram all of which did is whole behind the gateway, once; of any other,
/// only parts.
#[test]
fn on_bad_links_datagrams_leave_whole_or_in_part_and_never_wrong() {
    let faults = "loss=1%,duplicate=2%,reorder=10%,delay=3ms,jitter=5ms,seed=3";
    let mut link = FaultyLink::new(faults.parse().expect("faults"));
    let (mut lab, mut plain) = (lab(), lab());
    let mut expected = BTreeMap::new();
    let mut underway = VecDeque::new();
    for identification in 1..=400u16 {
        let port = 4000 + identification % 50;
        let mut packet = udp((HOST, port), (SITE, 53), 1200).may_fragment();
        packet.ip.identification = identification;
        let frame = marked(packet.frame(), HEADER_LEN + 28);
        expected.insert(
            identification,
            whole(&plain.one("blue0", frame.clone(), "wan"), false),
        );
        underway.extend(cut4(&frame, &[400, 800]));
    }
    let identification =
        |frame: &[u8]| u16::from_be_bytes([frame[HEADER_LEN + 4], frame[HEADER_LEN + 5]]);
    let mut arrived: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
    let mut left: BTreeMap<u16, Vec<Vec<u8>>> = BTreeMap::new();
    for _ in 0..3000 {
        lab.gateway.advance(Duration::from_millis(1));
        let now = lab.gateway.now();
        if let Some(frame) = underway.pop_front() {
            link.send(MemoryBuffer::new(frame), now, &mut MemoryPool);
        }
        let mut frames = Vec::new();
        link.receive(&mut frames, 64, now);
        let frames: Vec<Vec<u8>> = frames.into_iter().map(MemoryBuffer::into_bytes).collect();
        for frame in &frames {
            arrived
                .entry(identification(frame))
                .or_default()
                .insert(part(frame, false).0);
        }
        for sent in lab.burst(frames.into_iter().map(|frame| ("blue0", frame))) {
            left.entry(identification(&sent.frame))
                .or_default()
                .push(sent.frame);
        }
    }
    assert!(link.is_empty() && underway.is_empty());
    let mut complete = 0;
    for (identification, expected) in &expected {
        let came = arrived.get(identification).map_or(0, BTreeSet::len);
        let frames = left.get(identification).map_or(&[][..], Vec::as_slice);
        match came {
            3 => {
                assert_eq!(
                    reassembled(frames, false).as_ref(),
                    Some(expected),
                    "{identification}"
                );
                complete += 1;
            }
            _ => assert!(
                frames.len() <= came,
                "{identification}: {} of {came}",
                frames.len()
            ),
        }
    }
    assert!((300..400).contains(&complete), "{complete} are whole");
    assert!(lab.gateway.dropped_for(DropReason::FragmentDuplicate) > 0);
}
