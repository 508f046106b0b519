//! Publishing under stress, on real threads. Readers come and go as fast as
//! they can, and now and then one sleeps inside; every publication changes several entries together.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rewire_packet::ethernet::MacAddress;
use rewire_tables::{InterfaceIndex, Publisher, Reader, Route, TableOperation, Tables, VpcIndex};

const READERS: usize = 3;
const PREFIXES: u64 = 16;
const INTERFACE: InterfaceIndex = InterfaceIndex(0);
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn destination(number: u64) -> Ipv4Addr {
    Ipv4Addr::new(10, number as u8, 0, 1)
}

/// All that says `number`: a name, a neighbor, and of the prefixes the one that is there.
fn operations(number: u64) -> Vec<TableOperation> {
    let vpc = VpcIndex(0);
    let prefix = |number: u64| {
        let net = ipnet::Ipv4Net::new(destination(number % PREFIXES), 16);
        net.expect("a length of IPv4").trunc().into()
    };
    let [.., a, b, c, d] = number.to_be_bytes();
    vec![
        TableOperation::SetRevision { revision: number },
        TableOperation::RemoveRoute {
            vpc,
            prefix: prefix(number + PREFIXES - 1),
        },
        TableOperation::SetVpc {
            vpc,
            name: number.to_string().into(),
        },
        TableOperation::SetRoute {
            vpc,
            prefix: prefix(number),
            route: Route::Blackhole,
        },
        TableOperation::SetNeighbor {
            interface: INTERFACE,
            address: ADDRESS,
            mac: MacAddress([2, 0, a, b, c, d]),
        },
    ]
}

/// Everything that one generation says is of one number.
fn check(tables: &Tables) -> u64 {
    let number = tables.revision();
    if number == 0 {
        return 0;
    }
    let vpc = tables.vpc(VpcIndex(0));
    assert_eq!(vpc.name(), number.to_string());
    let there = (0..PREFIXES).filter(|n| vpc.route(destination(*n)) == Some(&Route::Blackhole));
    assert_eq!(there.collect::<Vec<_>>(), [number % PREFIXES]);
    let [.., a, b, c, d] = number.to_be_bytes();
    let mac = MacAddress([2, 0, a, b, c, d]);
    assert_eq!(tables.neighbor(INTERFACE, ADDRESS), Some(mac));
    number
}

/// Reads until told to end, and once more; how many generations it saw.
fn read(reader: &Reader, done: &AtomicBool, live: &AtomicU64, sleepy: bool) -> u64 {
    let (mut last, mut seen, mut turn) = (0, 0, 0u64);
    loop {
        let is_last = done.load(Ordering::Acquire);
        let before = live.load(Ordering::Acquire);
        let tables = reader.enter().expect("the publisher is there");
        let number = check(&tables);
        assert!(number >= before, "{number} after {before} was published");
        assert!(number >= last, "{number} after {last}");
        turn += 1;
        if sleepy && turn.is_multiple_of(64) {
            std::thread::sleep(Duration::from_millis(1));
            assert_eq!(check(&tables), number, "under the guard");
        }
        seen += u64::from(number != last);
        last = number;
        if is_last {
            return seen;
        }
    }
}

#[test]
fn readers_see_whole_generations_in_order_whoever_sleeps() {
    let publications = std::env::var("REWIRE_PUBLICATIONS").map_or(2000, |text| {
        text.parse().expect("REWIRE_PUBLICATIONS is a number")
    });
    let (mut publisher, readers) = Publisher::new(READERS);
    let (done, live) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut late = 0u64;
    std::thread::scope(|scope| {
        let readers: Vec<_> = readers
            .into_iter()
            .enumerate()
            .map(|(number, reader)| {
                let (done, live) = (&done, &live);
                scope.spawn(move || read(&reader, done, live, number == 0))
            })
            .collect();
        for number in 1..=publications {
            publisher.extend(operations(number));
            match publisher.publish(Duration::from_micros(200)) {
                Ok(_) => live.store(number, Ordering::Release),
                // It comes with the next one, or after.
                Err(_) => late += 1,
            }
            if number % 3 != 0 {
                publisher.catch_up();
            }
        }
        publisher
            .publish(Duration::from_secs(60))
            .expect("nobody sleeps that long");
        live.store(publications, Ordering::Release);
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().expect("a reader") > 0);
        }
    });
    let tables = publisher.current().expect("the publisher is there");
    assert_eq!(check(&tables), publications);
    println!("{late} of {publications} publications were late at first");
}
