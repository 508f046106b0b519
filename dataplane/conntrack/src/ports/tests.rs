use std::collections::BTreeSet;

use super::*;

const TCP: u8 = 6;

/// No limits.
const ANY: PortAllocation = PortAllocation {
    within: None,
    address_only: false,
};

fn ports(worker: u16, workers: u16) -> Ports<u32> {
    Ports::new(70_000, worker, workers, &FixedState::with_seed(1))
}

fn external(protocol: u8, address: u32) -> External<u32> {
    External {
        vpc: VpcIndex(3),
        protocol,
        address,
    }
}

/// Every port of a worker's share comes once, none of another's, and each comes again when it was given back.
#[test]
fn a_share_is_given_out_whole() {
    for (worker, workers) in [(0, 1), (0, 3), (2, 3), (7, 8), (15, 1008), (900, 1008)] {
        let mut ports = ports(worker, workers);
        let at = external(TCP, 1);
        let mut seen = BTreeSet::new();
        while let Some(port) = ports.take(at, 0, &ANY, |_| false) {
            assert!(seen.insert(port), "{port} twice");
        }
        let share: BTreeSet<u16> = (1024..=65535)
            .filter(|&port| owner(port, workers) == worker)
            .collect();
        assert_eq!(seen, share);
        assert!(!share.is_empty());
        for &port in share.iter().rev().take(3) {
            ports.give_back(&at, port);
            assert_eq!(ports.take(at, 0, &ANY, |_| false), Some(port));
            assert_eq!(ports.take(at, 0, &ANY, |_| false), None);
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
            ports(worker, workers).take(external(TCP, 1), 5000, &ANY, |_| false),
            None
        );
    }
}

#[test]
fn the_wanted_port_is_preserved_where_it_can_be() {
    let mut ports = ports(0, 2);
    let at = external(TCP, 1);
    assert_eq!(ports.take(at, 22, &ANY, |_| false), Some(22));
    assert_eq!(ports.take(at, 5000, &ANY, |_| false), Some(5000));
    // Taken, another worker's, reserved, or reserved in TCP: another one, from 1024 on.
    for (wanted, reserved) in [(22, 0), (5000, 0), (64, 0), (5060, 0), (5121, 5121), (0, 0)] {
        let port = ports
            .take(at, wanted, &ANY, |port| port == reserved)
            .unwrap();
        assert!(
            port != wanted && port >= 1024 && owner(port, 2) == 0,
            "{wanted}: {port}"
        );
    }
    // Other addresses, protocols and VPCs have ports of their own.
    assert_eq!(ports.take(external(TCP, 2), 22, &ANY, |_| false), Some(22));
    assert_eq!(ports.take(external(17, 1), 22, &ANY, |_| false), Some(22));
    assert_eq!(
        ports.take(
            External {
                vpc: VpcIndex(4),
                ..at
            },
            22,
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
            ports.take(external(protocol, 1), 0, &ANY, |_| false),
            Some(0)
        );
        assert!(
            ports
                .take(external(protocol, 1), 0, &ANY, |_| false)
                .is_some_and(|port| port >= 1024)
        );
    }
    assert_eq!(ports.take(external(47, 1), 0, &ANY, |_| false), Some(0));
    assert_eq!(ports.take(external(47, 1), 0, &ANY, |_| false), None);
    ports.give_back(&external(47, 1), 0);
    assert_eq!(ports.take(external(47, 1), 0, &ANY, |_| false), Some(0));
}

#[test]
fn reserved_ports_are_passed_over() {
    let mut ports = ports(0, 1);
    let at = external(TCP, 1);
    let reserved = |port: u16| !(3000..3100).contains(&port);
    let taken: BTreeSet<_> = std::iter::from_fn(|| ports.take(at, 80, &ANY, reserved)).collect();
    assert_eq!(taken, (3000..3100).collect());
}
