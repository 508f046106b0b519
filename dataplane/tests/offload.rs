//! Law 9: a packet forwarded by a rule of the card is, to the byte, what the graph would have sent; and what the card has
//! forwarded counts as if the graph had.

mod support;

use std::num::NonZeroU64;
use std::time::Duration;

use proptest::prelude::*;
use rewire_conntrack::Flow;
use rewire_dataplane::counters::Totals;
use rewire_dataplane::offload::{CardConfig, ModelledCard, OffloadConfig};
use rewire_dataplane::{GatewayConfig, VirtualGateway};
use rewire_packet::tcp::TcpFlags;
use support::traffic::*;
use support::*;

/// How often rules are asked what they have done.
const QUERY_EVERY: Duration = Duration::from_secs(1);

fn config() -> GatewayConfig {
    small(GatewayConfig {
        offload: Some(OffloadConfig {
            packets: 2,
            again: NonZeroU64::MIN.saturating_add(1),
            idle_after: Duration::from_secs(30),
            flows: 64,
            requests: 16,
            query_every: QUERY_EVERY,
        }),
        ..GatewayConfig::default()
    })
}

/// The same gateway twice: every packet through all nodes of one, and a card in front of the other.
struct Twins {
    alone: Lab,
    carded: Lab,
    card: ModelledCard,
    number: u16,
    /// Short frames had padding, which the card does not count.
    has_padding: bool,
}

impl Twins {
    fn new(card: CardConfig) -> Self {
        let alone = GatewayConfig {
            fast_path: false,
            ..config()
        };
        let card = ModelledCard::new(card);
        let control = Box::new(card.clone());
        let carded = VirtualGateway::with_card(&config(), card.clone(), control);
        Twins {
            alone: Lab::with(document(0), alone),
            carded: Lab::of(carded, document(0)),
            card,
            number: 0,
            has_padding: false,
        }
    }

    fn both(&mut self) -> [&mut Lab; 2] {
        [&mut self.alone, &mut self.carded]
    }

    /// Lets time pass on both, so that what the card has to say is said often enough.
    fn wait(&mut self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let slice = left.min(QUERY_EVERY);
            for lab in self.both() {
                lab.wait(slice);
            }
            left -= slice;
        }
    }

    /// Waits until the card has done all that it was asked for, and every rule was looked at since the last commit.
    fn settle(&mut self) {
        for _ in 0..1000 {
            for lab in self.both() {
                lab.wait(Duration::from_micros(100));
            }
            let counts = self.carded.gateway.totals().offload;
            let answered = counts.installed + counts.card_full + counts.refused;
            if counts.installs == answered
                && counts.removals == counts.removed
                && self.carded.gateway.graph().is_revalidated()
            {
                return;
            }
        }
        panic!("{:?}", self.carded.gateway.totals().offload);
    }

    /// Sends frames through both, at once, and compares what leaves.
    fn burst(&mut self, frames: &[Frame]) {
        let built: Vec<_> = frames
            .iter()
            .map(|frame| {
                self.number = self.number.wrapping_add(1);
                self.has_padding |= frame.oddity == 3;
                build(frame, self.number)
            })
            .collect();
        let [alone, carded] = self.both().map(|lab| by_ends(lab.burst(built.clone())));
        assert_eq!(
            alone.keys().collect::<Vec<_>>(),
            carded.keys().collect::<Vec<_>>(),
            "{frames:?}"
        );
        for ((ends, mut alone), mut carded) in alone.into_iter().zip(carded.into_values()) {
            // What the card takes overtakes what it leaves to a core.
            alone.sort();
            carded.sort();
            assert_eq!(alone, carded, "{ends:?} {frames:?}");
        }
    }

    /// Runs steps through both.
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Burst(frames) => {
                    // The state of a connection changes for what comes behind; and the nodes look for no connection that begins
                    // in the same burst.
                    let together = |one: &Frame, next: &Frame| {
                        one.reply == next.reply && !is_turn(one) && !is_turn(next)
                    };
                    for frames in frames.chunk_by(together) {
                        self.burst(frames);
                        if frames.iter().any(is_turn) {
                            self.settle();
                        }
                    }
                }
                Step::Wait(seconds) => self.wait(Duration::from_secs(*seconds)),
                Step::Commit(which) => {
                    for lab in self.both() {
                        lab.commit(document(*which));
                    }
                    self.settle();
                    // Every connection is looked at, not only those that are offloaded.
                    for frames in every_connection().chunk_by(|one, next| one.reply == next.reply) {
                        self.burst(frames);
                    }
                }
            }
        }
        self.compare();
    }

    /// Compares connections and counters.
    fn compare(&mut self) {
        self.settle();
        self.wait(2 * QUERY_EVERY);
        let [alone, carded] = [&self.alone, &self.carded].map(|lab| {
            let graph = lab.gateway.graph();
            let four = graph.connections4().iter().map(|(_, flow)| note(&flow));
            let six = graph.connections6().iter().map(|(_, flow)| note(&flow));
            let mut all: Vec<_> = four.chain(six).collect();
            all.sort();
            all
        });
        // A connection that a commit has forbidden ends with its next packet, or when its rules are looked at.
        let known: Vec<_> = carded.iter().map(|(flow, _)| flow).collect();
        let current = self.alone.gateway.with_tables(|t| t.policy_generation());
        for (flow, generation) in &alone {
            let is_forbidden = Some(u64::from(*generation)) != current;
            assert!(known.contains(&flow) || is_forbidden, "{flow}\n{known:#?}");
        }
        for flow in known {
            let is_known = alone.iter().any(|(known, _)| known == flow);
            assert!(is_known, "{flow}\n{alone:#?}");
        }
        assert_eq!(self.alone.drops(), self.carded.drops());
        let counted = [&self.alone, &self.carded].map(|lab| lab.gateway.counted_rules(None));
        assert_eq!(counted[0], counted[1]);
        let [alone, carded] = [&self.alone, &self.carded].map(|lab| self.visible(lab));
        assert_eq!(alone, carded);
    }

    /// What both must have counted alike.
    fn visible(&self, lab: &Lab) -> Totals {
        let totals = lab.gateway.totals();
        let mut visible = Totals {
            received: totals.received + totals.offload.packets,
            transmitted: totals.transmitted + totals.offload.packets,
            offload: Default::default(),
            nodes: Vec::new(),
            edges: Vec::new(),
            bursts: 0,
            // They end, or are kept, sooner.
            connections: 0,
            mappings: 0,
            connections_kept: 0,
            connections_expired: 0,
            connections_ended_by_policy: 0,
            ..totals
        };
        if self.has_padding {
            visible
                .interfaces
                .iter_mut()
                .for_each(|interface| interface.received_bytes = 0);
        }
        visible
    }
}

/// A connection, without what depends on when it was looked at; and the generation that it was looked at under.
fn note<A: std::fmt::Debug + Copy + PartialEq>(flow: &Flow<A>) -> (String, u32) {
    let Flow {
        original,
        reply,
        state,
        created,
        expires,
        ..
    } = flow;
    let traffic = [
        rewire_conntrack::Direction::Original,
        rewire_conntrack::Direction::Reply,
    ]
    .map(|direction| flow.traffic(direction));
    let note = format!("{original:?} {reply:?} {state:?} {created:?} {expires:?} {traffic:?}");
    (note, flow.policy_generation)
}

/// A packet of each connection, one way and then the other.
fn every_connection() -> Vec<Frame> {
    let mut frames = Vec::new();
    for step in opening() {
        if let Step::Burst(opening) = step {
            let ack = opening.into_iter().map(|frame| Frame {
                flags: TcpFlags::ACK.0,
                oddity: 23,
                ..frame
            });
            frames.extend(ack);
        }
    }
    frames.sort_by_key(|frame| frame.reply);
    frames
}

fn is_turn(frame: &Frame) -> bool {
    frame.tcp && frame.flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST).0 != 0
}

/// What the card cannot see is not sent: whether a TCP segment is in its window, damage that puts it outside, and a RST of which
/// the core cannot tell whether it is. Half of the TCP connections stay open.
fn is_visible(frame: &Frame) -> bool {
    let is_in_window = !matches!(frame.oddity, 4..7 | 9..12) && frame.flags & TcpFlags::RST.0 == 0;
    !frame.tcp || is_in_window && (frame.port == 4001 || !is_turn(frame))
}

fn visible(steps: Vec<Step>) -> Vec<Step> {
    let only = |step| match step {
        Step::Burst(frames) => Step::Burst(frames.into_iter().filter(is_visible).collect()),
        step => step,
    };
    let steps = steps.into_iter().map(only);
    let opening = opening().into_iter().map(|step| match step {
        Step::Burst(frames) => {
            let frames = frames.into_iter().map(|frame| Frame {
                oddity: 23,
                ..frame
            });
            Step::Burst(frames.collect())
        }
        step => step,
    });
    opening.chain(steps).collect()
}

fn card() -> impl Strategy<Value = CardConfig> {
    let nanoseconds = || prop_oneof![Just(0_u64), 0..100_000_u64];
    (4..200_usize, 1..64_usize, nanoseconds(), nanoseconds()).prop_map(
        |(capacity, queue, per_request, latency)| CardConfig {
            capacity,
            queue,
            per_request: Duration::from_nanos(per_request),
            latency: Duration::from_nanos(latency),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_card_sends_what_the_graph_sends(
        card in card(),
        steps in prop::collection::vec(step(), 1..30),
    ) {
        Twins::new(card).run(&visible(steps));
    }
}

/// The random steps do use the card, and all that leads into it and out of it.
#[test]
fn random_steps_use_the_card() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 300);
    let steps = steps.new_tree(&mut runner).unwrap().current();
    let mut twins = Twins::new(CardConfig::default());
    twins.run(&visible(steps));
    let counts = twins.carded.gateway.totals().offload;
    assert!(counts.packets > 150, "{counts:?}");
    assert!(counts.installed > 50 && counts.removed > 20, "{counts:?}");
    // And nothing is left behind, once all is over.
    twins.wait(Duration::from_secs(3 * 3600));
    let counts = twins.carded.gateway.totals().offload;
    assert_eq!((counts.flows, counts.rules, twins.card.rules()), (0, 0, 0));
    assert_eq!(counts.installed, counts.removed);
    assert_eq!(twins.carded.gateway.totals().connections, 0);
}
