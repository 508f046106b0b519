//! What a routing daemon sends: a stream of frames with netlink messages.

use std::sync::Arc;
use std::time::Duration;

use rewire_feed::{Counters, Rib, SourceConfig, Update, decode, frame};
use rewire_tables::{
    Interface, InterfaceIndex, NextHop, NextHops, Route, TableOperation, Tables, VpcIndex,
};

const SUBNETS: [&str; 2] = ["192.0.2.1/24", "2001:db8:1::1/64"];
const STALE: Duration = Duration::from_secs(1);

/// Reads the stream, and takes what it says into tables. To say everything twice changes nothing, and when the daemon is gone for
/// long enough, the tables are what they were. Gives whether all of it made sense.
pub fn run(bytes: &[u8]) -> bool {
    let (mut updates, mut ignored, mut rest) = (Vec::new(), 0, bytes);
    let whole = loop {
        match frame::first(rest) {
            Ok(Some((messages, length))) => {
                decode(messages, &mut updates, |_| ignored += 1);
                rest = &rest[length..];
            }
            Ok(None) => break rest.is_empty(),
            Err(_) => break false,
        }
    };

    let (mut rib, mut tables) = begin();
    let before = tables.canonical_lines();
    let say = |tables: &mut Tables, rib: &mut Rib, updates: Vec<Update>| {
        let mut out = Vec::new();
        rib.update("frr", 1, updates, Duration::ZERO, &mut out);
        out.iter().for_each(|operation| tables.apply(operation));
    };
    say(&mut tables, &mut rib, vec![Update::Up]);
    say(&mut tables, &mut rib, updates.clone());
    let once = tables.canonical_lines();
    say(&mut tables, &mut rib, updates);
    assert_eq!(tables.canonical_lines(), once);
    say(&mut tables, &mut rib, vec![Update::Down]);
    assert_eq!(tables.canonical_lines(), once);
    let mut out = Vec::new();
    rib.expire(STALE, &mut out);
    out.iter().for_each(|operation| tables.apply(operation));
    assert_eq!(tables.canonical_lines(), before);
    whole && ignored == 0 && once != before
}

/// Tables with one VPC and its link, and a source that its routes come from.
fn begin() -> (Rib, Tables) {
    let (vpc, interface) = (VpcIndex(0), InterfaceIndex(0));
    let subnets = SUBNETS.map(|subnet| subnet.parse::<ipnet::IpNet>().expect("a subnet"));
    let mut operations = vec![
        TableOperation::SetVpc {
            vpc,
            name: "blue".into(),
        },
        TableOperation::SetInterface {
            interface,
            value: Arc::new(Interface {
                name: "blue0".into(),
                vpc,
                mac: Default::default(),
                mtu: 1500,
                addresses: subnets.to_vec(),
                acl_in: None,
                acl_out: None,
                offload: false,
            }),
        },
    ];
    operations.extend(subnets.map(|subnet| TableOperation::SetRoute {
        vpc,
        prefix: subnet.trunc(),
        route: Route::Forward(NextHops::one(NextHop::new(interface, "blue0", None))),
    }));
    let mut rib = Rib::of(&Tables::default(), Counters::default());
    let mut out = Vec::new();
    let source = SourceConfig {
        name: "frr".into(),
        listen: ([127, 0, 0, 1], 2620).into(),
        distance: None,
        most_routes: None,
        stale_time: STALE,
        tables: [(254, "blue".into())].into(),
    };
    rib.configure(&[source], &mut out);
    rib.absorb(operations, &mut out);
    let mut tables = Tables::default();
    out.iter().for_each(|operation| tables.apply(operation));
    (rib, tables)
}
