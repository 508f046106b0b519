//! Fragments through NAT64, and what is cut for the far side.

mod support;

use rewire_conntrack::Direction;
use rewire_dataplane::DropReason;
use rewire_packet::Protocol;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::icmpv6::Icmpv6Repr;
use rewire_packet::ipv4::Ipv4View;
use rewire_packet::ipv6::{self, Ipv6View};
use support::nat64::{EXTERNAL, behind, cut4, document, down};
use support::v6::{self, HOST};
use support::{Lab, SITE};

/// An IPv6 datagram with these data, cut for a link of 1,280 bytes.
fn datagram6(data: usize) -> Vec<Vec<u8>> {
    let whole = v6::udp((HOST, 4000), (behind(SITE), 53), data);
    let headed = whole.extension(Protocol::FRAGMENT, vec![0, 0, 0, 0, 0xaa, 0xbb, 1, 2]);
    cut6(&headed.frame())
}

/// The fragments of an IPv6 packet that has a fragment header, for a link of 1,280 bytes.
fn cut6(frame: &[u8]) -> Vec<Vec<u8>> {
    let (link, packet) = frame.split_at(14);
    let plan = ipv6::fragment::Fragmentation::new(packet, 1280).unwrap();
    let mut first = packet.to_vec();
    plan.first().finish(&mut first);
    first.truncate(plan.first().packet_len());
    let later = plan.later().map(|piece| {
        let mut out = vec![0; piece.packet_len()];
        plan.emit(piece, packet, &mut out).unwrap();
        out
    });
    let pieces = std::iter::once(first).chain(later);
    pieces.map(|piece| [link, &piece].concat()).collect()
}

/// Puts IPv4 fragments together: offset, more, payload.
fn joined4(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<(u16, bool, Vec<u8>)> = frames
        .iter()
        .map(|frame| {
            let ip = Ipv4View::new_checked(&frame[14..]).unwrap();
            ip.check_checksum().unwrap();
            assert_eq!((ip.source(), ip.destination()), (EXTERNAL, SITE));
            assert_eq!((ip.identification(), ip.dont_fragment()), (0x0102, false));
            (
                ip.fragment_offset(),
                ip.more_fragments(),
                ip.payload().to_vec(),
            )
        })
        .collect();
    parts.sort();
    let mut whole = Vec::new();
    let last = parts.len() - 1;
    for (number, (offset, more, payload)) in parts.into_iter().enumerate() {
        assert_eq!(usize::from(offset) * 8, whole.len());
        assert_eq!(more, number < last);
        whole.extend(payload);
    }
    whole
}

#[test]
fn fragments_of_ipv6_leave_as_fragments_of_ipv4_in_any_order() {
    let expected = support::udp((EXTERNAL, 4000), (SITE, 53), 3000).packet()[20..].to_vec();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut lab = Lab::new(document());
        let pieces = datagram6(3000);
        assert_eq!(pieces.len(), 3);
        let mut out = Vec::new();
        for place in order {
            out.extend(lab.send("blue0", pieces[place].clone()));
        }
        out.extend(lab.burst([]));
        let frames: Vec<Vec<u8>> = out.into_iter().map(|sent| sent.frame).collect();
        assert_eq!(frames.len(), 3, "{order:?}");
        assert_eq!(joined4(&frames), expected);
        // It is one connection, and all of its bytes count.
        let graph = lab.gateway.graph();
        let (_, flow) = graph.connections6().iter().next().unwrap();
        assert_eq!(flow.traffic(Direction::Original).packets, 3);
    }
}

/// What its sender lets be fragmented is made to fit any IPv6 link (RFC 7915, section 4).
#[test]
fn what_may_be_cut_is_cut_for_the_smallest_link_of_ipv6() {
    let mut lab = Lab::new(document());
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    for (data, pieces) in [(1212, 1), (1240, 2), (1350, 2)] {
        let answer = support::udp((SITE, 53), (EXTERNAL, 4000), data).may_fragment();
        let out = lab.send("wan", answer.frame());
        assert_eq!(out.len(), pieces, "{data}");
        let mut whole: Vec<u8> = Vec::new();
        for (number, sent) in out.iter().enumerate() {
            let packet = &sent.frame[14..];
            assert!(packet.len() <= 1280);
            let view = Ipv6View::new_checked(packet).unwrap();
            assert_eq!((view.source(), view.destination()), (behind(SITE), HOST));
            let upper = view.upper_layer().unwrap();
            if pieces > 1 {
                let header = upper.fragment.unwrap();
                assert_eq!(usize::from(header.offset) * 8, whole.len());
                assert_eq!(header.more, number + 1 < pieces);
            }
            whole.extend(&packet[upper.offset..]);
        }
        let expected = v6::udp((behind(SITE), 53), (HOST, 4000), data).packet();
        assert_eq!(whole, expected[40..]);
    }
    // What must not be cut goes whole, or its sender is told what fits.
    let answer = support::udp((SITE, 53), (EXTERNAL, 4000), 1300);
    assert_eq!(
        lab.one("wan", answer.frame(), "blue0").len(),
        14 + 48 + 1300
    );
}

/// RFC 7915, section 1.2: they are not translated. The checksum of ICMPv6 covers the length of the whole, which none of them has.
#[test]
fn fragments_of_icmp_are_refused_by_name() {
    let mut lab = Lab::new(document());
    let refused = |lab: &Lab| lab.gateway.dropped_for(DropReason::Nat64Untranslatable);
    // Of IPv6: whichever comes, and in whatever order, none passes.
    let request = Icmpv6Repr::EchoRequest {
        identifier: 7,
        sequence: 1,
    };
    let whole = v6::icmp(HOST, behind(SITE), request, &[0; 2000]);
    let headed = whole.extension(Protocol::FRAGMENT, vec![0, 0, 0, 0, 0, 0, 1, 2]);
    let pieces = cut6(&headed.frame());
    assert_eq!(pieces.len(), 2);
    assert!(lab.send("blue0", pieces[1].clone()).is_empty());
    assert!(lab.send("blue0", pieces[0].clone()).is_empty());
    assert!(lab.burst([]).is_empty());
    assert_eq!(refused(&lab), 2);
    assert_eq!(lab.gateway.totals().connections, 0);
    // Of IPv4, in answer to a request that came whole.
    down(&mut lab, v6::echo(HOST, behind(SITE), 7).frame());
    let reply = Icmpv4Repr::EchoReply {
        identifier: 7,
        sequence: 1,
    };
    let whole = support::icmp(SITE, EXTERNAL, reply, &[0; 56]).may_fragment();
    for piece in cut4(&whole) {
        assert!(lab.send("wan", piece).is_empty());
    }
    assert_eq!(refused(&lab), 4);
    // Whole, it passes.
    lab.through6("wan", whole.frame(), "blue0");
}

/// A fragment header without fragments is none (RFC 6946): there is a whole message behind it.
#[test]
fn icmp_behind_a_fragment_header_that_says_nothing_is_whole() {
    let mut lab = Lab::new(document());
    let request = Icmpv6Repr::EchoRequest {
        identifier: 7,
        sequence: 1,
    };
    let ping = v6::icmp(HOST, behind(SITE), request, &[0; 8]);
    let atomic = ping.extension(Protocol::FRAGMENT, vec![0, 0, 0, 0, 0, 0, 1, 2]);
    let out = down(&mut lab, atomic.frame());
    assert_eq!(out.endpoints(), (EXTERNAL, SITE));
}

/// RFC 7915, section 4.5: IPv6 needs a checksum, and of a fragment none can be computed. Whole datagrams get one.
#[test]
fn udp_in_fragments_needs_a_checksum() {
    let mut lab = Lab::new(document());
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    let mut payload = support::udp((SITE, 53), (EXTERNAL, 4000), 64).packet()[20..].to_vec();
    payload[6..8].fill(0);
    let bare = support::Build::new(SITE, EXTERNAL, Protocol::UDP, payload).may_fragment();
    let [first, _] = cut4(&bare);
    lab.dropped("wan", first, DropReason::Nat64Untranslatable);
    let whole = lab.through6("wan", bare.frame(), "blue0");
    assert_eq!(whole.endpoints(), (behind(SITE), HOST));
}
