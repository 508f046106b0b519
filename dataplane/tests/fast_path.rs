//! The fast path and the nodes send the same bytes, in the same order, and leave the same connections.

mod support;

use std::time::Duration;

use proptest::prelude::*;
use rewire_dataplane::GatewayConfig;
use rewire_dataplane::graph::Node;
use rewire_packet::tcp::TcpFlags;
use support::traffic::*;
use support::*;

/// A bit is wrong somewhere: the sender may be another, who wants the same external port.
fn is_damaged(frame: &Frame) -> bool {
    matches!(frame.oddity, 4..7)
}

fn is_syn(frame: &Frame) -> bool {
    frame.tcp && TcpFlags(frame.flags).contains(TcpFlags::SYN)
}

fn may_begin(frame: &Frame) -> bool {
    let flags = TcpFlags(frame.flags);
    !frame.tcp
        || flags.contains(TcpFlags::ACK)
            && !flags.contains(TcpFlags::SYN)
            && !flags.contains(TcpFlags::RST)
}

/// Runs the steps through both; tells how many packets took the fast path. If all connections are open from the beginning on,
/// bursts have packets of both directions.
fn compare(steps: &[Step], are_open: bool) -> u64 {
    let [mut quick, mut long] = [true, false].map(|fast_path| {
        let config = GatewayConfig {
            fast_path,
            ..GatewayConfig::default()
        };
        Lab::with(document(0), config)
    });
    let mut number = 0;
    for step in steps {
        match step {
            Step::Burst(frames) => {
                // The nodes look all packets of a burst up before they change anything: a SYN that begins a connection in place
                // of another ends that one for all of its burst; and what may not begin a connection does not find the one that
                // began ahead of it. Which of two senders has a port first is open, too.
                let together = |one: &Frame, next: &Frame| match are_open {
                    true => !is_syn(one) && !is_syn(next),
                    false => {
                        one.reply == next.reply
                            && [one, next]
                                .iter()
                                .all(|frame| may_begin(frame) && !is_damaged(frame))
                    }
                };
                for frames in frames.chunk_by(together) {
                    let frames: Vec<_> = frames
                        .iter()
                        .map(|frame| {
                            number += 1;
                            build(frame, number)
                        })
                        .collect();
                    let sent =
                        [&mut quick, &mut long].map(|lab| by_ends(lab.burst(frames.clone())));
                    for ends in sent[0].keys().chain(sent[1].keys()) {
                        assert_eq!(sent[0].get(ends), sent[1].get(ends));
                    }
                }
            }
            Step::Wait(seconds) => {
                for lab in [&mut quick, &mut long] {
                    lab.wait(Duration::from_secs(*seconds));
                }
            }
            Step::Commit(which) => {
                for lab in [&mut quick, &mut long] {
                    lab.commit(document(*which));
                }
            }
        }
        if !matches!(step, Step::Commit(_)) {
            // Connections lie elsewhere, so that the sweep comes to them in another order: let it end, behind the packets.
            for lab in [&mut quick, &mut long] {
                lab.burst([]);
                assert!(!lab.gateway.graph().is_resolving());
            }
        }
        assert_eq!(connections(&quick), connections(&long));
        assert_eq!(quick.drops(), long.drops());
        assert_eq!(
            quick.gateway.counted_rules(None),
            long.gateway.counted_rules(None)
        );
        let [mut totals, mut expected] = [&quick, &long].map(|lab| lab.gateway.totals());
        (totals.nodes, expected.nodes) = (Vec::new(), Vec::new());
        (totals.edges, expected.edges) = (Vec::new(), Vec::new());
        assert_eq!(totals, expected);
    }
    assert_eq!(
        long.gateway.totals().nodes[Node::FastPath as usize].packets,
        0
    );
    quick.gateway.totals().nodes[Node::FastPath as usize].packets
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_path_sends_what_the_nodes_send(steps in prop::collection::vec(step(), 1..30)) {
        compare(&steps, false);
    }

    /// With packets of both directions in one burst.
    #[test]
    fn and_in_the_same_order(bursts in prop::collection::vec(prop::collection::vec(frame(), 1..24), 1..20)) {
        // A fragment has a connection of its own, what is damaged may have another's addresses or ports, and a SYN from the
        // other end takes the place of a connection that is over.
        let is_theirs = |frame: &Frame| {
            frame.oddity != 2 && !is_damaged(frame) && (!is_syn(frame) || frame.reply == (frame.kind == 2))
        };
        let theirs = |burst: Vec<Frame>| burst.into_iter().filter(is_theirs).collect();
        let bursts = bursts.into_iter().map(|burst| Step::Burst(theirs(burst)));
        let steps: Vec<_> = opening().into_iter().chain(bursts).collect();
        compare(&steps, true);
    }
}

/// A packet does not overtake one of its connection that goes the long way, to be cut, although the one between them, of another
/// connection, takes the fast path by the same exit.
#[test]
fn nobody_overtakes_behind_another() {
    let frame = |kind, size, oddity| Frame {
        six: false,
        tcp: false,
        reply: false,
        kind,
        port: 4000,
        flags: 0,
        size,
        ttl: 64,
        oddity,
    };
    let small = |kind| frame(kind, 4, 20);
    let burst = vec![frame(0, 1390, 1), small(1), small(0), small(1)];
    let with = |burst: &[Frame]| {
        let burst = Step::Burst(burst.to_vec());
        let steps: Vec<_> = opening().into_iter().chain([burst]).collect();
        compare(&steps, true)
    };
    // Both of the others, and not the third.
    assert_eq!(with(&burst) - with(&[]), 2);
    assert_eq!(with(&burst[1..]) - with(&[]), 3);
}

/// A connection that no ACL was asked about is not counted by the rule of the one that had its place before.
#[test]
fn what_was_counted_before_is_not_counted() {
    let frame = |kind, port| Frame {
        six: false,
        tcp: kind == 2,
        reply: kind == 2,
        kind,
        port,
        flags: TcpFlags::SYN.0,
        size: 4,
        ttl: 64,
        oddity: 20,
    };
    let bursts = |kind| [4000, 4001, 4001].map(|port| Step::Burst(vec![frame(kind, port)]));
    let mut steps = vec![Step::Commit(8)];
    steps.extend(bursts(2));
    steps.push(Step::Wait(400));
    steps.extend(bursts(0));
    assert_eq!(compare(&steps, false), 3);
}

/// Of two hosts with the same ports on one external address, the later one has the next ports that are free, from the fast path as from the nodes.
#[test]
fn a_port_that_is_taken_becomes_the_next() {
    let frame = |kind, port| Frame {
        six: false,
        tcp: false,
        reply: false,
        kind,
        port,
        flags: 0,
        size: 4,
        ttl: 64,
        oddity: 20,
    };
    let mut document = document(7);
    document["nat"]["masquerade"]["blue-out"]["sources"] = serde_json::json!(["10.1.0.0/24"]);
    let sent = [true, false].map(|fast_path| {
        let config = GatewayConfig {
            fast_path,
            ..GatewayConfig::default()
        };
        let mut lab = Lab::with(document.clone(), config);
        let mut number = 0;
        let mut burst = |frames: Vec<Frame>| {
            let frames = frames.iter().map(|frame| {
                number += 1;
                build(frame, number)
            });
            lab.burst(frames.collect::<Vec<_>>())
        };
        // What is taken, the first of the other host, and both at once.
        let taken = burst((4000..4020).map(|port| frame(0, port)).collect());
        let first = burst(vec![frame(1, 4500)]);
        let both = (4000..4040).map(|port| frame(u8::from(port < 4020), port));
        let both = burst(both.collect());
        let packets = lab.gateway.totals().nodes[Node::FastPath as usize].packets;
        assert_eq!(packets, if fast_path { 61 } else { 0 });
        [taken, first, both].concat()
    });
    let [quick, long] = &sent;
    assert_eq!(quick.len(), 61);
    assert_eq!(quick, long);
    let ports = quick.iter().map(|sent| [sent.frame[34], sent.frame[35]]);
    let ports: std::collections::BTreeSet<_> = ports.collect();
    assert_eq!(ports.len(), 61, "each has one of its own");
}

/// The random steps do take the fast path.
#[test]
fn random_steps_take_the_fast_path() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 300);
    let steps = steps.new_tree(&mut runner).unwrap().current();
    let fast = compare(&steps, false);
    assert!(fast > 400, "{fast} packets");
}
