//! Packets that are larger than the link that they leave by.

mod support;

use rewire_dataplane::buffer::{BufferPool, MemoryBuffer, PacketBuffer};
use rewire_dataplane::clock::Instant;
use rewire_dataplane::counters::{Totals, WorkerCounters};
use rewire_dataplane::graph::{Origin, Received};
use rewire_dataplane::{DropReason, Sent};
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::ipv4::{Ipv4Repr, Ipv4View};
use support::*;

/// The MTU of `wan`.
const MTU: usize = 1400;

fn ipv4(frame: &[u8]) -> Ipv4View<&[u8]> {
    Ipv4View::new_checked(&frame[14..]).expect("IPv4")
}

/// Puts the fragments of one datagram together, which must be there in order and with nothing missing: a frame with the
/// header of a packet that was never cut. Checks each fragment's header.
fn reassemble(fragments: &[Sent], mtu: usize) -> Vec<u8> {
    let of = |sent: &Sent| Ipv4Repr::parse(&ipv4(&sent.frame));
    let first = of(&fragments[0]);
    let mut payload = Vec::new();
    for (index, sent) in fragments.iter().enumerate() {
        assert_eq!(Ip::of(&sent.frame).link, Ip::of(&fragments[0].frame).link);
        assert_eq!(sent.interface, fragments[0].interface);
        assert!(sent.frame.len() <= 14 + mtu);
        let this = of(sent);
        // The last may have more behind it: what was cut was a fragment itself.
        assert!(this.more_fragments || index + 1 == fragments.len());
        let expected = Ipv4Repr {
            fragment_offset: first.fragment_offset + (payload.len() / 8) as u16,
            more_fragments: this.more_fragments,
            payload_len: this.payload_len,
            ..first
        };
        assert_eq!(this, expected);
        payload.extend_from_slice(ipv4(&sent.frame).payload());
    }
    let whole = Ipv4Repr {
        payload_len: payload.len(),
        more_fragments: fragments.last().is_some_and(|last| of(last).more_fragments),
        ..first
    };
    let mut frame = fragments[0].frame[..34].to_vec();
    whole.emit(&mut frame[14..]).expect("room");
    frame.extend(payload);
    frame
}

#[test]
fn a_masqueraded_datagram_arrives_in_fragments() {
    let mut lab = Lab::new(two_vpcs());
    let mut large = udp((HOST, 4000), (SITE, 53), 1460).may_fragment();
    large.ip.identification = 0x1234;
    let small = |port| udp((HOST, port), (SITE, 53), 9).frame();
    let sent = lab.burst([
        ("blue0", small(1)),
        ("blue0", large.frame()),
        ("blue0", small(2)),
    ]);
    assert_eq!(sent.len(), 4, "drops: {:?}", lab.drops());
    assert!(sent.iter().all(|sent| lab.name(sent) == "wan"));
    // Together, in order, in the packet's place.
    assert_eq!(Ip::of(&sent[0].frame).ports(), (1, 53));
    assert_eq!(Ip::of(&sent[3].frame).ports(), (2, 53));
    let lengths: Vec<_> = sent[1..3].iter().map(|sent| sent.frame.len()).collect();
    assert_eq!(lengths, [14 + 20 + 1376, 14 + 20 + 92]);
    let whole = reassemble(&sent[1..3], MTU);
    // Its checksum is checked here, too.
    let out = Ip::of(&whole);
    assert_eq!((out.endpoints(), out.ttl), ((WAN, SITE), 63));
    assert_eq!(out.link, (WAN_MAC, UPSTREAM_MAC));
    assert_eq!(ipv4(&whole).identification(), 0x1234);
    assert_eq!(ipv4(&whole).payload()[8..], large.packet()[28..]);
    let totals = lab.gateway.totals();
    assert_eq!((totals.generated, totals.transmitted), (1, 4));
    let (port, 53) = out.ports() else {
        panic!("{out:?}")
    };
    let back = lab.through("wan", udp((SITE, 53), (WAN, port), 30).frame(), "blue0");
    assert_eq!((back.endpoints(), back.ports()), ((SITE, HOST), (53, 4000)));
}

#[test]
fn many_fragments_of_the_largest_packet_on_the_smallest_link() {
    let mut document = two_vpcs();
    document["interfaces"]["blue0"]["mtu"] = json!(9000);
    document["interfaces"]["wan"]["mtu"] = json!(576);
    let mut lab = Lab::new(document);
    let large = udp((HOST, 4000), (SITE, 53), 8972).may_fragment();
    let sent = lab.send("blue0", large.frame());
    assert_eq!(sent.len(), 17);
    let whole = reassemble(&sent, 576);
    assert_eq!(Ip::of(&whole).endpoints(), (WAN, SITE));
    assert_eq!(ipv4(&whole).payload()[8..], large.packet()[28..]);
}

#[test]
fn one_that_must_not_be_fragmented_is_refused_with_the_mtu() {
    let mut lab = Lab::new(two_vpcs());
    let large = udp((HOST, 4000), (SITE, 53), 1460);
    let answer = lab.through("blue0", large.frame(), "blue0");
    let refused = Icmpv4Repr::Error(Icmpv4Error::FragmentationNeeded { next_hop_mtu: 1400 });
    assert!(
        matches!(&answer.transport, L4::Icmp(repr, _) if *repr == refused),
        "{answer:?}"
    );
    assert_eq!(lab.drops(), [(DropReason::MtuExceeded, 1)]);
    assert_eq!(lab.gateway.totals().connections_created, 0);
}

#[test]
fn a_packet_that_just_fits_stays_whole() {
    let mut lab = Lab::new(two_vpcs());
    let fits = udp((HOST, 4000), (SITE, 53), MTU - 28).may_fragment();
    lab.through("blue0", fits.frame(), "wan");
    let larger = udp((HOST, 4000), (SITE, 53), MTU - 27).may_fragment();
    assert_eq!(lab.send("blue0", larger.frame()).len(), 2);
}

#[test]
fn a_fragment_is_fragmented_again() {
    let inside = "10.1.0.20".parse().unwrap();
    let outside = "203.0.113.9".parse().unwrap();
    for more_fragments in [true, false] {
        let mut lab = Lab::new(two_vpcs());
        let mut fragment = udp((inside, 25), (SITE, 25), 1464).may_fragment();
        // What it is a part of is known by the one before it.
        fragment.ip.more_fragments = true;
        lab.send("blue0", fragment.frame());
        fragment.ip.more_fragments = more_fragments;
        fragment.ip.fragment_offset = 184;
        let sent = lab.send("blue0", fragment.frame());
        assert_eq!(sent.len(), 2);
        let whole = reassemble(&sent, MTU);
        let view = ipv4(&whole);
        assert_eq!((view.source(), view.destination()), (outside, SITE));
        assert_eq!(view.more_fragments(), more_fragments);
        assert_eq!(view.fragment_offset(), 184);
        assert_eq!(ipv4(&sent[1].frame).fragment_offset(), 184 + 1376 / 8);
        assert_eq!(view.payload(), &fragment.packet()[20..]);
    }
}

#[test]
fn a_fragment_beyond_the_end_of_any_datagram_is_dropped() {
    let mut lab = Lab::new(two_vpcs());
    let mut fragment = udp(("10.1.0.20".parse().unwrap(), 25), (SITE, 25), 1464).may_fragment();
    fragment.ip.fragment_offset = 8191;
    lab.dropped("blue0", fragment.frame(), DropReason::FragmentMalformed);
}

#[test]
fn an_answer_of_the_gateway_itself_is_fragmented() {
    // A host far away asks on blue's link, and its answer goes by the route to it.
    let mut lab = Lab::new(two_vpcs());
    let own = "10.1.0.1".parse().unwrap();
    let request = Icmpv4Repr::EchoRequest {
        identifier: 5,
        sequence: 1,
    };
    let data: Vec<u8> = (0..1460).map(|n| n as u8).collect();
    let mut ping = icmp(SITE, own, request, &data);
    ping.link_destination = BLUE_MAC;
    let sent = lab.send("blue0", ping.clone().may_fragment().frame());
    assert_eq!(sent.len(), 2, "drops: {:?}", lab.drops());
    let pong = Ip::of(&reassemble(&sent, MTU));
    assert_eq!(lab.name(&sent[0]), "wan");
    assert_eq!(pong.endpoints(), (own, SITE));
    assert!(
        matches!(pong.transport, L4::Icmp(Icmpv4Repr::EchoReply { identifier: 5, sequence: 1 }, ref echoed) if *echoed == data)
    );
    // The answer must stay whole where the question must.
    lab.dropped("blue0", ping.frame(), DropReason::MtuExceeded);
}

/// A pool with so many buffers left.
struct Few(usize);

impl BufferPool for Few {
    type Buffer = MemoryBuffer;
    fn allocate(&mut self) -> Option<MemoryBuffer> {
        self.0 = self.0.checked_sub(1)?;
        Some(MemoryBuffer::new(Vec::new()))
    }
}

#[test]
fn without_a_buffer_for_every_fragment_none_is_sent() {
    let mut document = two_vpcs();
    document["interfaces"]["wan"]["mtu"] = json!(576);
    let run = |buffers, sizes: &[usize]| {
        let (mut graph, tables, compiler) = bare_graph(document.clone(), Few(buffers));
        let blue = compiler.interface_index(&"blue0".parse().unwrap()).unwrap();
        let datagrams = sizes
            .iter()
            .map(|size| udp((HOST, 4000), (SITE, 53), *size).may_fragment());
        let mut received: Vec<_> = datagrams
            .map(|datagram| {
                Received::new(MemoryBuffer::new(datagram.frame()), Origin::Received(blue))
            })
            .collect();
        let counters = WorkerCounters::default();
        let mut kept = Kept::default();
        graph.run(&mut received, &tables, Instant(0), &counters, &mut kept);
        counters.transmitted.add(kept.0.len() as u64);
        let totals = Totals::of([&counters]);
        assert!(totals.balanced(), "{totals:?}");
        let lengths: Vec<_> = kept
            .0
            .iter()
            .map(|frame| frame.bytes().len() - 14)
            .collect();
        (lengths, totals.dropped_for(DropReason::NoBuffer))
    };
    // The middle one needs two buffers beside its own.
    let whole = (vec![128, 572, 572, 396, 228], 0);
    assert_eq!(run(2, &[100, 1480 - 8, 200]), whole);
    let dropped = (vec![128, 228], 1);
    assert_eq!(run(1, &[100, 1480 - 8, 200]), dropped);
    assert_eq!(run(0, &[100, 1480 - 8, 200]), dropped);
    // What went before it keeps its fragments.
    assert_eq!(run(2, &[600, 1480 - 8]), (vec![572, 76], 1));
}
