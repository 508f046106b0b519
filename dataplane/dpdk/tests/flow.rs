//! Flow rules, on a card in software that executes them, and judged by tap's own validation.

mod common;

use arrayvec::ArrayVec;
use common::{eal, own_namespace, pool};
use rewire_dpdk::flow::{
    Completion, EthernetFields, FlowAction, FlowConfig, FlowEngine, FlowItem, FlowRule, FlowTable,
    Ipv4Fields, Ipv6Fields, TcpFields, UdpFields,
};
use rewire_dpdk::{Eal, Error, Mempool, Port, PortConfig, Started, VirtualDevice};
use rewire_test_card::{Fate, Holds, arrive, depart, holds, left_behind};

/// A card; none, with a word to the reader, where it was not built.
fn card(arguments: &str) -> Option<VirtualDevice> {
    let Some(driver) = rewire_test_card::driver() else {
        println!("skipped: no card for tests (make deps)");
        return None;
    };
    Some(VirtualDevice::Other {
        driver,
        arguments: arguments.to_owned(),
    })
}

const CONFIG: FlowConfig = FlowConfig {
    queue_size: 32,
    counters: 64,
    aging: 64,
};

fn open(
    eal: &Eal,
    name: &str,
    device: &VirtualDevice,
    pool: &Mempool,
) -> (Port<Started>, FlowEngine) {
    let mut port = eal
        .attach(name, device)
        .unwrap()
        .configure(&PortConfig::new(pool.clone()))
        .unwrap();
    if let Ok(limits) = port.flow_limits() {
        assert!(limits.queue_size >= CONFIG.queue_size);
        port.configure_flows(&CONFIG).unwrap();
    }
    let mut port = port.start().unwrap();
    let engine = port.take_flow_engine().unwrap();
    assert!(port.take_flow_engine().is_none(), "there is one");
    (port, engine)
}

fn udp(port: u16, source: u16) -> [FlowItem; 4] {
    let ones = [0xff; 4];
    [
        FlowItem::FromWire { port },
        FlowItem::Ethernet {
            value: EthernetFields {
                ether_type: 0x0800,
                ..EthernetFields::default()
            },
            mask: EthernetFields {
                ether_type: 0xffff,
                ..EthernetFields::default()
            },
        },
        FlowItem::Ipv4 {
            value: Ipv4Fields {
                source: [10, 0, 0, 1],
                destination: [192, 0, 2, 1],
                protocol: 17,
                ..Ipv4Fields::default()
            },
            mask: Ipv4Fields {
                source: ones,
                destination: ones,
                protocol: 0xff,
                ..Ipv4Fields::default()
            },
        },
        FlowItem::Udp {
            value: UdpFields {
                source,
                destination: 53,
            },
            mask: UdpFields {
                source: 0xffff,
                destination: 0xffff,
            },
        },
    ]
}

fn actions(to: u16, address: u8) -> [FlowAction; 5] {
    [
        FlowAction::SetIpv4Source([198, 51, 100, address]),
        FlowAction::DecrementTimeToLive,
        FlowAction::Count,
        FlowAction::Age {
            seconds: 10,
            context: u64::from(address),
        },
        FlowAction::ToWire(to),
    ]
}

fn table(engine: &mut FlowEngine, rules: u32) -> FlowTable {
    let port = engine.port_id();
    engine
        .add_table(1, rules, &udp(port, 0), &[&actions(port, 0)])
        .unwrap()
}

/// Hands over what is enqueued, and fetches until `count` operations are complete.
fn complete(engine: &mut FlowEngine, count: usize) -> Vec<Completion> {
    engine.push().unwrap();
    let mut all = Vec::new();
    for _ in 0..1000 {
        let mut completions = ArrayVec::<_, 16>::new();
        engine.pull(&mut completions).unwrap();
        all.extend(completions);
        if all.len() >= count {
            return all;
        }
    }
    panic!("{} of {count} operations complete", all.len());
}

fn rules(completions: Vec<Completion>) -> Vec<(u64, FlowRule)> {
    completions
        .into_iter()
        .map(|completion| match completion {
            Completion::Created { user, rule } => (user, rule),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn code(error: &Error) -> i32 {
    match error {
        Error::Flow { code, .. } => *code,
        other => panic!("{other}"),
    }
}

/// A datagram from 10.0.0.1 to 192.0.2.1:53, with right checksums.
fn datagram(source: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 1, 8, 0];
    let mut ip = vec![
        0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 192, 0, 2, 1,
    ];
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(&ip);
    frame.extend(source.to_be_bytes());
    frame.extend([0, 53, 0, 12, 0, 0, 1, 2, 3, 4]);
    frame
}

fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[test]
fn rules_are_there_after_their_completion_and_gone_after_that_of_their_removal() {
    let Some(device) = card("latency=3") else {
        return;
    };
    let eal = eal();
    let pool = pool(&eal);
    let (mut wan, mut engine) = open(&eal, "wan", &device, &pool);
    let (out, _other) = open(&eal, "out", &device, &pool);
    let mut queue = wan.take_receive_queue(0).unwrap();
    let id = wan.id();
    let table = table(&mut engine, 8);

    engine
        .enqueue_create(table, &udp(id, 1000), &actions(out.id(), 7), 42)
        .unwrap();
    assert_eq!(
        arrive(id, &datagram(1000)),
        Some(Fate::ToCore),
        "not pushed yet"
    );
    engine.push().unwrap();
    let mut early = ArrayVec::<_, 4>::new();
    engine.pull(&mut early).unwrap();
    assert!(early.is_empty(), "the card takes its time");
    let (user, rule) = rules(complete(&mut engine, 1)).remove(0);
    assert_eq!(user, 42);

    assert_eq!(arrive(id, &datagram(1000)), Some(Fate::Forwarded));
    assert_eq!(
        arrive(id, &datagram(1001)),
        Some(Fate::ToCore),
        "another flow"
    );
    let frame = depart(out.id()).unwrap();
    assert_eq!(frame[26..30], [198, 51, 100, 7], "the source");
    assert_eq!(frame[22], 63, "the TTL");
    assert_eq!(checksum(&frame[14..34]), 0, "the header's checksum");
    assert_eq!(depart(out.id()), None);
    let mut received = ArrayVec::<_, 8>::new();
    assert_eq!(queue.receive_burst(&mut received), 2);
    assert_eq!(received[1].data(), datagram(1001));

    let count = engine.counted(&rule).unwrap();
    assert_eq!((count.packets, count.bytes), (1, 46));
    engine.enqueue_destroy(rule, 43).unwrap();
    assert_eq!(
        arrive(id, &datagram(1000)),
        Some(Fate::Forwarded),
        "not pushed yet"
    );
    let done = complete(&mut engine, 1);
    assert!(
        matches!(done[..], [Completion::Destroyed { user: 43 }]),
        "{done:?}"
    );
    assert_eq!(arrive(id, &datagram(1000)), Some(Fate::ToCore));

    drop(engine);
    assert_eq!(
        holds(id),
        Some(Holds::default()),
        "the engine took all along"
    );
}

#[test]
fn a_silent_rule_is_told_once_each_time() {
    let Some(device) = card("") else { return };
    let eal = eal();
    let (wan, mut engine) = open(&eal, "wan", &device, &pool(&eal));
    let table = table(&mut engine, 8);
    engine
        .enqueue_create(table, &udp(wan.id(), 1), &actions(wan.id(), 7), 0)
        .unwrap();
    let (_, rule) = rules(complete(&mut engine, 1)).remove(0);
    let mut contexts = [0; 4];
    rewire_test_card::advance(9);
    assert_eq!(engine.aged(&mut contexts).unwrap(), 0);
    assert_eq!(engine.idle_seconds(&rule).unwrap(), Some(9));
    rewire_test_card::advance(1);
    assert_eq!(engine.aged(&mut contexts).unwrap(), 1);
    assert_eq!(contexts[0], 7);
    assert_eq!(engine.aged(&mut contexts).unwrap(), 0);
    arrive(wan.id(), &datagram(1));
    assert_eq!(engine.idle_seconds(&rule).unwrap(), Some(0));
    rewire_test_card::advance(10);
    assert_eq!(engine.aged(&mut contexts).unwrap(), 1);
}

#[test]
fn a_full_queue_takes_no_more_and_loses_nothing() {
    let Some(device) = card("reversed=1") else {
        return;
    };
    let eal = eal();
    let (wan, mut engine) = open(&eal, "wan", &device, &pool(&eal));
    let table = table(&mut engine, 64);
    let room = engine.room();
    assert_eq!(room, CONFIG.queue_size as usize);
    let enqueue = |engine: &mut FlowEngine, n: u16| {
        engine.enqueue_create(table, &udp(wan.id(), n), &actions(wan.id(), 0), n.into())
    };
    for n in 0..room as u16 {
        enqueue(&mut engine, n).unwrap();
    }
    assert!(matches!(
        enqueue(&mut engine, 99),
        Err(Error::FlowQueueFull)
    ));
    let made = rules(complete(&mut engine, room));
    let users: Vec<u64> = made.iter().map(|(user, _)| *user).collect();
    assert_ne!(
        users,
        (0..room as u64).collect::<Vec<_>>(),
        "in another order"
    );
    let mut sorted = users;
    sorted.sort_unstable();
    assert_eq!(sorted, (0..room as u64).collect::<Vec<_>>());

    // A removal that finds the queue full keeps its rule.
    let mut made = made.into_iter().map(|(_, rule)| rule);
    let spare = made.next().unwrap();
    for n in 0..room as u16 {
        enqueue(&mut engine, 1000 + n).unwrap();
    }
    let (spare, error) = engine.enqueue_destroy(spare, 0).unwrap_err();
    assert!(matches!(error, Error::FlowQueueFull));
    let more = rules(complete(&mut engine, room));
    let all = made
        .chain([spare])
        .chain(more.into_iter().map(|(_, rule)| rule));
    let mut left = 2 * room;
    for rule in all {
        engine.enqueue_destroy(rule, 0).unwrap();
        left -= 1;
        if engine.room() == 0 {
            complete(&mut engine, room);
        }
        assert!(holds(wan.id()).unwrap().rules as usize >= left);
    }
    assert_eq!(holds(wan.id()).unwrap().rules, 0);
}

#[test]
fn what_the_card_refuses_leaves_nothing_behind() {
    let Some(device) = card("refuse=3") else {
        return;
    };
    let eal = eal();
    let (wan, mut engine) = open(&eal, "wan", &device, &pool(&eal));
    let table = table(&mut engine, 64);
    let (mut made, mut refused) = (0, 0);
    for n in 0..12 {
        engine
            .enqueue_create(table, &udp(wan.id(), n), &actions(wan.id(), 0), n.into())
            .unwrap();
        for completion in complete(&mut engine, 1) {
            match completion {
                Completion::Created { .. } => made += 1,
                Completion::NotCreated { user } => {
                    assert_eq!(user % 3, 2);
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((made, refused), (8, 4));
    assert_eq!(
        holds(wan.id()).unwrap().rules,
        8,
        "the handles of the refused are given back"
    );
}

#[test]
fn a_full_table_and_a_full_card_say_so() {
    let Some(device) = card("capacity=64") else {
        return;
    };
    let eal = eal();
    let (wan, mut engine) = open(&eal, "wan", &device, &pool(&eal));
    let table = table(&mut engine, 2);
    for n in 0..2 {
        engine
            .enqueue_create(table, &udp(wan.id(), n), &actions(wan.id(), 0), 0)
            .unwrap();
    }
    let error = engine.enqueue_create(table, &udp(wan.id(), 3), &actions(wan.id(), 0), 0);
    assert_eq!(code(&error.unwrap_err()), libc::ENOSPC);
    assert_eq!(
        engine.room(),
        CONFIG.queue_size as usize - 2,
        "what was refused holds no place"
    );
    let _ = rules(complete(&mut engine, 2));
    let mut kept = Vec::new();
    for n in 0..62 {
        kept.push(
            engine
                .create(0, &udp(wan.id(), n), &[FlowAction::Drop])
                .unwrap(),
        );
    }
    let error = engine.create(0, &udp(wan.id(), 99), &[FlowAction::Drop]);
    assert_eq!(code(&error.unwrap_err()), libc::ENOSPC);
    engine.destroy(kept.pop().unwrap()).unwrap();
    let _ = engine
        .create(0, &udp(wan.id(), 99), &[FlowAction::Drop])
        .unwrap();
}

#[test]
fn what_does_not_fit_its_table_is_refused() {
    let Some(device) = card("") else { return };
    let eal = eal();
    let pool = pool(&eal);
    let (wan, mut engine) = open(&eal, "wan", &device, &pool);
    let (_lan, mut other) = open(&eal, "lan", &device, &pool);
    let table = table(&mut engine, 8);
    let (items, actions) = (udp(wan.id(), 1), actions(wan.id(), 1));
    let mut swapped = items;
    swapped[3] = FlowItem::Tcp {
        value: TcpFields::default(),
        mask: TcpFields::default(),
    };
    for (items, actions) in [
        (&items[..3], &actions[..]),
        (&swapped[..], &actions[..]),
        (&items[..], &actions[1..]),
        (&items[..], &[][..]),
    ] {
        let error = engine.enqueue_create(table, items, actions, 0).unwrap_err();
        assert_eq!(code(&error), libc::EINVAL);
    }
    let error = other
        .enqueue_create(table, &items, &actions, 0)
        .unwrap_err();
    assert_eq!(code(&error), libc::EINVAL, "a table of another port");

    engine.enqueue_create(table, &items, &actions, 0).unwrap();
    let (_, rule) = rules(complete(&mut engine, 1)).remove(0);
    assert_eq!(code(&other.counted(&rule).unwrap_err()), libc::ENOENT);
    let (rule, error) = other.enqueue_destroy(rule, 0).unwrap_err();
    assert_eq!(code(&error), libc::ENOENT, "a rule of another port");
    let (rule, error) = engine.destroy(rule).unwrap_err();
    assert_eq!(code(&error), libc::ENOENT, "an asynchronous rule");
    engine.enqueue_destroy(rule, 0).unwrap();
    complete(&mut engine, 1);
}

#[test]
fn a_device_without_templates_is_asked_synchronously() {
    let Some(device) = card("sync=1") else { return };
    let eal = eal();
    let pool = pool(&eal);
    let mut port = eal
        .attach("wan", &device)
        .unwrap()
        .configure(&PortConfig::new(pool.clone()))
        .unwrap();
    for error in [
        port.flow_limits().unwrap_err(),
        port.configure_flows(&CONFIG).unwrap_err(),
    ] {
        assert!(
            [libc::ENOTSUP, libc::ENOSYS].contains(&code(&error)),
            "{error}"
        );
    }
    let mut wan = port.start().unwrap();
    let mut engine = wan.take_flow_engine().unwrap();
    assert!(!engine.is_asynchronous());
    let id = wan.id();
    assert!(
        engine
            .add_table(0, 8, &udp(id, 0), &[&actions(id, 0)])
            .is_err()
    );
    engine.validate(1, &udp(id, 1), &actions(id, 1)).unwrap();
    // The lower number wins, whoever came first.
    let rule = engine.create(1, &udp(id, 1), &actions(id, 1)).unwrap();
    let guard = engine
        .create(0, &udp(id, 1), &[FlowAction::ToPort(id)])
        .unwrap();
    assert_eq!(arrive(id, &datagram(1)), Some(Fate::ToCore));
    engine.destroy(guard).unwrap();
    assert_eq!(arrive(id, &datagram(1)), Some(Fate::Forwarded));
    assert_eq!(engine.counted(&rule).unwrap().packets, 1);
    engine.destroy(rule).unwrap();
    assert_eq!(holds(id).unwrap().rules, 0);
}

/// `REWIRE_FLOW_CHURN` says how often; by default it is quick.
#[test]
fn nothing_leaks_over_many_rules() {
    let Some(device) = card("refuse=7,reversed=1,latency=1") else {
        return;
    };
    let times: u64 = std::env::var("REWIRE_FLOW_CHURN").map_or(20_000, |times| {
        times.parse().expect("REWIRE_FLOW_CHURN is a number")
    });
    let eal = eal();
    let (wan, mut engine) = open(&eal, "wan", &device, &pool(&eal));
    let id = wan.id();
    let table = table(&mut engine, 64);
    let (mut begun, mut ended) = (0, 0);
    while ended < times {
        while engine.room() > 8 && begun < times {
            engine
                .enqueue_create(table, &udp(id, begun as u16), &actions(id, 0), begun)
                .unwrap();
            begun += 1;
        }
        for completion in complete(&mut engine, 1) {
            match completion {
                Completion::Created { user, rule } => {
                    let mut rule = Some(rule);
                    while let Some((again, error)) = rule
                        .take()
                        .and_then(|rule| engine.enqueue_destroy(rule, user).err())
                    {
                        // Rules that were refused are given back through the same queue.
                        assert!(matches!(error, Error::FlowQueueFull), "{error}");
                        rule = Some(again);
                        engine.push().unwrap();
                        let mut completions = ArrayVec::<_, 1>::new();
                        engine.pull(&mut completions).unwrap();
                        ended += completions.len() as u64;
                        assert!(
                            completions.iter().all(|done| !matches!(
                                done,
                                Completion::Created { .. } | Completion::NotDestroyed { .. }
                            )),
                            "{completions:?}"
                        );
                    }
                }
                Completion::NotCreated { .. } | Completion::Destroyed { .. } => ended += 1,
                Completion::NotDestroyed { .. } => panic!("{completion:?}"),
            }
        }
    }
    assert_eq!(begun, times);
    drop(engine);
    assert_eq!(holds(id), Some(Holds::default()));
    drop(wan);
    assert_eq!(left_behind(), 0);
}

/// Tap's driver reads items by itself, and knows the masks that it can match.
#[test]
fn tap_takes_what_we_say_of_addresses_and_ports() {
    if !own_namespace() {
        return;
    }
    let eal = eal();
    let device = VirtualDevice::Tap {
        interface: "flow0".to_owned(),
    };
    let mut port = common::open(&eal, "tap", &device, &pool(&eal));
    let engine = port.take_flow_engine().unwrap();
    let plain = |items: &[FlowItem]| engine.validate_ingress(items, &[FlowAction::ToQueue(0)]);

    plain(&udp(0, 1)[1..]).unwrap();
    let ethernet = FlowItem::Ethernet {
        value: EthernetFields {
            destination: [2, 0, 0, 0, 0, 1],
            ether_type: 0x86dd,
            ..EthernetFields::default()
        },
        mask: EthernetFields {
            destination: [0xff; 6],
            ether_type: 0xffff,
            ..EthernetFields::default()
        },
    };
    let ipv6 = FlowItem::Ipv6 {
        value: Ipv6Fields {
            next_header: 6,
            source: [0x20; 16],
            destination: [0xfd; 16],
            ..Ipv6Fields::default()
        },
        mask: Ipv6Fields {
            next_header: 0xff,
            source: [0xff; 16],
            destination: [0xff; 16],
            ..Ipv6Fields::default()
        },
    };
    let ports = TcpFields {
        source: 0xffff,
        destination: 0xffff,
        flags: 0,
    };
    let tcp = |mask| FlowItem::Tcp {
        value: TcpFields::default(),
        mask,
    };
    plain(&[ethernet, ipv6, tcp(ports)]).unwrap();

    // What it cannot match is where we say it is, and it sees that.
    let flags = TcpFields { flags: 7, ..ports };
    assert!(plain(&[ethernet, ipv6, tcp(flags)]).is_err());
    let hop_limit = FlowItem::Ipv6 {
        value: Ipv6Fields::default(),
        mask: Ipv6Fields {
            hop_limit: 1,
            ..Ipv6Fields::default()
        },
    };
    assert!(plain(&[ethernet, hop_limit]).is_err());
    for mask in [
        Ipv4Fields {
            version_and_length: 0xff,
            ..Ipv4Fields::default()
        },
        Ipv4Fields {
            fragment: 0x3fff,
            ..Ipv4Fields::default()
        },
        Ipv4Fields {
            time_to_live: 0xfe,
            ..Ipv4Fields::default()
        },
    ] {
        let ipv4 = FlowItem::Ipv4 {
            value: Ipv4Fields::default(),
            mask,
        };
        assert!(plain(&[udp(0, 1)[1], ipv4]).is_err(), "{mask:?}");
    }
    assert!(plain(&[ipv6, ethernet]).is_err(), "out of order");
    assert!(
        engine
            .validate(0, &udp(0, 1)[1..], &[FlowAction::Drop])
            .is_err(),
        "no transfer rules"
    );
}

#[test]
fn a_device_without_a_flow_engine_says_so() {
    let eal = eal();
    let mut port = common::open(&eal, "ring", &VirtualDevice::Ring, &pool(&eal));
    let mut engine = port.take_flow_engine().unwrap();
    let errors = [
        engine
            .validate(0, &udp(0, 1), &[FlowAction::Drop])
            .unwrap_err(),
        engine
            .create(0, &udp(0, 1), &[FlowAction::Drop])
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(code(&error), libc::ENOSYS);
    }
    assert_eq!(engine.room(), 0);
    engine.push().unwrap();
}
