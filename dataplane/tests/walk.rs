//! Observed packets go where the others go, and their steps say so.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rewire_dataplane::DropReason;
use rewire_dataplane::graph::Node;
use rewire_dataplane::walk::{Fact, Onward, Step as WalkStep};
use support::traffic::*;
use support::*;

/// The packets that were dropped by these steps.
fn dropped(steps: &[WalkStep]) -> BTreeMap<DropReason, u64> {
    let mut drops = BTreeMap::new();
    for step in steps {
        if let Fact::Next(Onward::Drop { reason, .. }) = step.fact {
            // What the other family has refused comes home, and is dropped once.
            *drops.entry(reason).or_default() += 1;
        }
    }
    drops
}

/// Every visit of a node ends with where the packet goes, and the next visit is there.
fn assert_connected(steps: &[WalkStep]) {
    let mut visits: BTreeMap<_, Vec<(Node, Onward)>> = BTreeMap::new();
    for step in steps {
        if let Fact::Next(onward) = &step.fact {
            let visits = visits.entry((step.packet, step.is_own)).or_default();
            visits.push((step.node, onward.clone()));
        }
    }
    for ((_, is_own), visits) in visits {
        for pair in visits.windows(2) {
            // One packet has several answers at most where it came back, and was cut nowhere.
            match &pair[0].1 {
                Onward::Node(node) => assert_eq!(*node, pair[1].0, "{visits:?}"),
                _ if is_own => {}
                Onward::ComeBack(_) | Onward::AwaitNeighbor | Onward::AwaitFragment => {
                    assert_eq!(pair[1].0, Node::EthernetInput);
                }
                Onward::ChangeFamily => assert_eq!(pair[1].0, Node::Nat64),
                other => panic!("it goes on behind {other:?}: {visits:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// The same frames leave, for the same reasons nothing does, and the same connections are left, whether packets are
    /// observed or take the fast path.
    #[test]
    fn observed_packets_go_where_others_go(steps in prop::collection::vec(step(), 1..24)) {
        let [mut plain, mut observed] = [(); 2].map(|()| Lab::new(document(0)));
        let mut number = 0;
        for step in steps {
            match step {
                Step::Burst(frames) => for frame in &frames {
                    number += 1;
                    let (name, frame) = build(frame, number);
                    let index = plain.gateway.interface(name).expect("an interface");
                    let sent = plain.send(name, frame.clone());
                    let before: BTreeMap<_, _> = observed.drops().into_iter().collect();
                    let (walked, steps) = observed.gateway.observe([(index, frame)]);
                    prop_assert_eq!(&sent, &walked);
                    assert_connected(&steps);
                    let after = observed.drops().into_iter();
                    let drops = after.map(|(reason, count)| (reason, count - before.get(&reason).unwrap_or(&0)));
                    let drops: BTreeMap<_, _> = drops.filter(|(_, count)| *count > 0).collect();
                    prop_assert_eq!(dropped(&steps), drops);
                    let transmits = steps.iter().filter(|step| matches!(step.fact, Fact::Next(Onward::Transmit(_))));
                    let cut = steps.iter().map(|step| match step.fact {
                        Fact::Cut { fragments } => fragments - 1,
                        _ => 0,
                    });
                    prop_assert!(transmits.count() + cut.sum::<usize>() <= walked.len());
                },
                Step::Wait(seconds) => for lab in [&mut plain, &mut observed] {
                    lab.wait(Duration::from_secs(seconds));
                },
                Step::Commit(which) => for lab in [&mut plain, &mut observed] {
                    lab.commit(document(which));
                    // Connections lie elsewhere, so that the sweep comes to them in another order: let it end.
                    lab.burst([]);
                },
            }
            prop_assert_eq!(connections(&plain), connections(&observed));
            prop_assert_eq!(plain.drops(), observed.drops());
            prop_assert_eq!(plain.gateway.counted_rules(None), observed.gateway.counted_rules(None));
        }
    }
}
