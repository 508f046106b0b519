use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const TCP: u8 = 6;

/// No limits.
const ANY: PortAllocation = PortAllocation {
    within: None,
    address_only: false,
    parity: PortParity::Any,
};

fn ports(worker: u16, workers: u16) -> Ports<Ipv4Addr> {
    Ports::new(70_000, worker, workers, &FixedState::with_seed(1))
}

fn external(protocol: u8, address: u32) -> External<Ipv4Addr> {
    External {
        vpc: VpcIndex(3),
        protocol,
        address: Ipv4Addr::from_bits(address),
    }
}

/// Every port of a worker's share comes once, none of another's, and each comes again when it was given back.
#[test]
fn a_share_is_given_out_whole() {
    for (worker, workers) in [(0, 1), (0, 3), (2, 3), (7, 8), (15, 1008), (900, 1008)] {
        let mut ports = ports(worker, workers);
        let at = external(TCP, 1);
        let mut seen = BTreeSet::new();
        while let Some(port) = ports.take(at, 0, None, &ANY, |_| false) {
            assert!(seen.insert(port), "{port} twice");
        }
        let share: BTreeSet<u16> = (1024..=65535)
            .filter(|&port| owner(port, workers) == worker)
            .collect();
        assert_eq!(seen, share);
        assert!(!share.is_empty());
        for &port in share.iter().rev().take(3) {
            ports.give_back(&at, port);
            assert_eq!(ports.take(at, 0, None, &ANY, |_| false), Some(port));
            assert_eq!(ports.take(at, 0, None, &ANY, |_| false), None);
        }
        share.iter().for_each(|&port| ports.give_back(&at, port));
        assert!(ports.is_empty());
    }
}

#[test]
fn ports_are_dealt_in_blocks_of_64() {
    assert_eq!(
        [0, 63, 64, 127, 128, 192].map(|port| owner(port, 3)),
        [0, 0, 1, 1, 2, 0]
    );
    assert_eq!(owner(65535, 1024), 1023);
    assert_eq!([owner(65535, 1), owner(65535, 0)], [0, 0]);
}

#[test]
fn a_worker_that_is_none_gets_nothing() {
    for (worker, workers) in [(1, 1), (5, 2), (3, 1024)] {
        assert_eq!(
            ports(worker, workers).take(external(TCP, 1), 5000, None, &ANY, |_| false),
            None
        );
    }
}

#[test]
fn the_wanted_port_is_preserved_where_it_can_be() {
    let mut ports = ports(0, 2);
    let at = external(TCP, 1);
    assert_eq!(ports.take(at, 22, None, &ANY, |_| false), Some(22));
    assert_eq!(ports.take(at, 5000, None, &ANY, |_| false), Some(5000));
    // Taken, another worker's, reserved, or reserved in TCP: another one, from 1024 on.
    for (wanted, reserved) in [(22, 0), (5000, 0), (64, 0), (5060, 0), (5121, 5121), (0, 0)] {
        let port = ports
            .take(at, wanted, None, &ANY, |port| port == reserved)
            .unwrap();
        assert!(
            port != wanted && port >= 1024 && owner(port, 2) == 0,
            "{wanted}: {port}"
        );
    }
    // Other addresses, protocols and VPCs have ports of their own.
    assert_eq!(
        ports.take(external(TCP, 2), 22, None, &ANY, |_| false),
        Some(22)
    );
    assert_eq!(
        ports.take(external(17, 1), 22, None, &ANY, |_| false),
        Some(22)
    );
    assert_eq!(
        ports.take(
            External {
                vpc: VpcIndex(4),
                ..at
            },
            22,
            None,
            &ANY,
            |_| false
        ),
        Some(22)
    );
}

#[test]
fn identifiers_may_be_zero_and_other_protocols_have_nothing_else() {
    let mut ports = ports(0, 1);
    for protocol in [1, 58] {
        assert_eq!(
            ports.take(external(protocol, 1), 0, None, &ANY, |_| false),
            Some(0)
        );
        assert!(
            ports
                .take(external(protocol, 1), 0, None, &ANY, |_| false)
                .is_some_and(|port| port >= 1024)
        );
    }
    assert_eq!(
        ports.take(external(47, 1), 0, None, &ANY, |_| false),
        Some(0)
    );
    assert_eq!(ports.take(external(47, 1), 0, None, &ANY, |_| false), None);
    ports.give_back(&external(47, 1), 0);
    assert_eq!(
        ports.take(external(47, 1), 0, None, &ANY, |_| false),
        Some(0)
    );
}

#[test]
fn reserved_ports_are_passed_over() {
    let mut ports = ports(0, 1);
    let at = external(TCP, 1);
    let reserved = |port: u16| !(3000..3100).contains(&port);
    let taken: BTreeSet<_> =
        std::iter::from_fn(|| ports.take(at, 80, None, &ANY, reserved)).collect();
    assert_eq!(taken, (3000..3100).collect());
}

/// A rule that keeps parity, or pairs, perhaps within some ports.
fn keeping(parity: PortParity, within: Option<(u16, u16)>) -> PortAllocation {
    let within = within.map(|range| PortSet::new(&[range]).into());
    PortAllocation {
        within,
        parity,
        ..ANY
    }
}

#[test]
fn parity_is_kept_as_long_as_such_a_port_is_free() {
    for within in [None, Some((2000, 2999))] {
        let rule = keeping(PortParity::Preserved, within);
        let mut ports = ports(0, 1);
        let at = external(17, 1);
        let (first, last) = within.unwrap_or((1024, 65535));
        // The same port for all of them, so that none but the first can keep it.
        let mut take = |wanted: u16| ports.take(at, wanted, None, &rule, |_| false);
        let half = usize::from(last - first).div_ceil(2);
        for wanted in [2000, 2001] {
            for _ in 0..half {
                let port = take(wanted).unwrap();
                assert_eq!(port % 2, wanted % 2);
                assert!((first..=last).contains(&port));
            }
        }
        assert_eq!(take(2000), None);
        // Odd ones are better than none.
        ports.give_back(&at, 2501);
        assert_eq!(ports.take(at, 2000, None, &rule, |_| false), Some(2501));
        ports.give_back(&at, 2501);
        ports.give_back(&at, 2600);
        assert_eq!(ports.take(at, 3000, None, &rule, |_| false), Some(2600));
    }
}

#[test]
fn pairs_stay_pairs() {
    for within in [None, Some((2000, 2999))] {
        let rule = keeping(PortParity::Pairs, within);
        let mut ports = ports(0, 1);
        let at = external(17, 1);
        let mut taken = BTreeSet::new();
        // Of many senders, the even port first or the odd one.
        for round in 0..400_u16 {
            let (one, other) = match round % 2 {
                0 => (2000, 2001),
                _ => (2001, 2000),
            };
            let first = ports.take(at, one, None, &rule, |_| false).unwrap();
            let second = ports
                .take(at, other, Some(first), &rule, |_| false)
                .unwrap();
            assert_eq!((first % 2, second), (one % 2, first ^ 1));
            assert!(taken.insert(first) && taken.insert(second));
        }
        // One whose neighbor is taken is not kept where another one is free.
        let alone = ports.take(at, 2101, None, &ANY, |_| false).unwrap();
        let port = ports.take(at, alone ^ 1, None, &rule, |_| false).unwrap();
        assert_ne!(port, alone ^ 1);
    }
}

#[test]
fn a_neighbor_that_is_taken_or_reserved_leaves_parity() {
    let rule = keeping(PortParity::Pairs, None);
    let mut ports = ports(0, 1);
    let at = external(17, 1);
    assert_eq!(ports.take(at, 5000, None, &rule, |_| false), Some(5000));
    let other = ports.take(at, 5001, Some(5000), &rule, |port| port == 5001);
    assert!(other.is_some_and(|port| port % 2 == 1 && port != 5001));
    assert_eq!(
        ports.take(at, 5001, Some(5000), &rule, |_| false),
        Some(5001)
    );
}

/// The ports of a set are those workers' whose the ports are: all of them are given out, none twice, and a sender finds who has some.
#[test]
fn a_sets_ports_are_their_owners() {
    for (first, last, workers) in [
        (2000, 2999, 1),
        (2000, 2999, 3),
        (2048, 2239, 3),
        (2000, 2100, 5),
        (5000, 5000, 2),
    ] {
        let rule = keeping(PortParity::Any, Some((first, last)));
        let set = rule.within.clone().unwrap();
        let mut all = BTreeSet::new();
        for worker in 0..workers {
            let mut ports = ports(worker, workers);
            let at = external(TCP, 1);
            let before = all.len();
            while let Some(port) = ports.take(at, 2100, None, &rule, |_| false) {
                assert!(all.insert(port), "{port} twice");
                assert_eq!(owner(port, workers), worker);
            }
            let has_some = all.len() > before;
            for source in (0..=u16::MAX).step_by(61) {
                let to = owner_within(&set, source, workers);
                assert!(
                    has_some || to != worker,
                    "{source} finds nothing at {worker}"
                );
                assert!(!has_some || owner(source, workers) != worker || to == worker);
            }
        }
        assert_eq!(all, (first..=last).collect());
    }
}

/// What becomes of the ports of one external address.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many senders in a row want a port, of which those below a limit are reserved.
    Take {
        wanted: u16,
        times: u8,
        limit: u16,
    },
    GiveBack(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let wanted = prop_oneof![Just(0), 1000..1200_u16, any::<u16>()];
    let limit = prop_oneof![3 => Just(0), 1 => Just(u16::MAX)];
    let take = (wanted, 1..80_u8, limit);
    let take = take.prop_map(|(wanted, times, limit)| Step::Take {
        wanted,
        times,
        limit,
    });
    prop_oneof![2 => take, 1 => any::<usize>().prop_map(Step::GiveBack)]
}

proptest! {
    /// Whoever takes a port that would be taken has what others get by a search, and leaves the same behind.
    #[test]
    fn what_would_be_taken_is_taken(
        (worker, workers) in prop_oneof![Just((0, 1)), Just((1, 2)), Just((3, 400))],
        protocol in prop_oneof![Just(TCP), Just(47)],
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let (mut slow, mut quick) = (ports(worker, workers), ports(worker, workers));
        let at = external(protocol, 1);
        let mut taken = Vec::new();
        for step in steps {
            match step {
                Step::GiveBack(_) if taken.is_empty() => {}
                Step::GiveBack(which) => {
                    let port = taken.swap_remove(which % taken.len());
                    slow.give_back(&at, port);
                    quick.give_back(&at, port);
                }
                Step::Take { wanted, times, limit } => for _ in 0..times {
                    let is_reserved = |port| port < limit;
                    let found = slow.take(at, wanted, None, &ANY, is_reserved);
                    let id = quick.find(&at);
                    let port = id.and_then(|id| {
                        let port = quick.foresee(id, protocol, wanted, || None).unwrap_or(wanted);
                        let is_it = !is_reserved(port) && quick.take_foreseen(id, protocol, wanted, port);
                        is_it.then_some(port)
                    });
                    let port = port.or_else(|| quick.take(at, wanted, None, &ANY, is_reserved));
                    prop_assert_eq!(port, found);
                    taken.extend(port);
                },
            }
        }
    }
}
