use proptest::prelude::*;

use super::*;
use crate::wire::{self, BGP, RouteHeader, attribute, gateway, number};

const OIF: u16 = 4;
const TABLE: u16 = 15;
const NH_ID: u16 = 30;

fn read(bytes: &[u8]) -> (Vec<Update>, Vec<Ignored>) {
    let (mut updates, mut ignored) = (Vec::new(), Vec::new());
    decode(bytes, &mut updates, |reason| ignored.push(reason));
    (updates, ignored)
}

fn set(table: u32, prefix: &str, to: Destination) -> Update {
    Update::SetRoute(LearnedRoute {
        table,
        prefix: prefix.parse().unwrap(),
        protocol: 186,
        to,
    })
}

fn remove(prefix: &str) -> Update {
    Update::RemoveRoute {
        table: 254,
        prefix: prefix.parse().unwrap(),
    }
}

fn via(address: &str, link: u32) -> Gateway {
    let via = Some(address.parse().unwrap());
    Gateway { via, link }
}

#[test]
fn routes_of_both_families_are_read() {
    let four = wire::route(
        24,
        "10.1.0.0/16",
        BGP,
        &[gateway("192.0.2.2"), number(OIF, 2)],
    );
    let six = wire::route(24, "2001:db8:1::/48", BGP, &[number(NH_ID, 7)]);
    let default = {
        // A default route may lack its destination.
        let mut body = vec![2, 0, 0, 0, 254, 186, 0, 1, 0, 0, 0, 0];
        body.extend(number(TABLE, 1000));
        body.extend(gateway("192.0.2.3"));
        wire::message(24, &body)
    };
    let gone = wire::route(25, "10.1.0.0/16", BGP, &[]);
    let (updates, ignored) = read(&[four, six, default, gone].concat());
    assert_eq!(
        updates,
        [
            set(
                254,
                "10.1.0.0/16",
                Destination::Gateway(via("192.0.2.2", 2))
            ),
            set(254, "2001:db8:1::/48", Destination::Object(7)),
            set(1000, "0.0.0.0/0", Destination::Gateway(via("192.0.2.3", 0))),
            remove("10.1.0.0/16"),
        ]
    );
    assert_eq!(ignored, []);
}

#[test]
fn several_ways_have_weights_and_those_that_are_down_are_left_out() {
    fn way(flags: u8, hops: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let attributes = attributes.concat();
        let mut bytes = (attributes.len() as u16 + 8).to_le_bytes().to_vec();
        bytes.extend([flags, hops]);
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(attributes);
        bytes
    }
    let six: IpAddr = "fe80::2".parse().unwrap();
    let via_six = attribute(18, &[&[10, 0][..], &wire::octets(six)].concat());
    let encapsulated = attribute(21, &[1, 0]);
    let ways = [
        way(0, 0, &[gateway("192.0.2.2")]),
        way(0, 9, &[via_six]),
        way(1, 0, &[gateway("192.0.2.4")]),
        way(0, 0, &[gateway("192.0.2.5"), encapsulated]),
    ];
    let multipath =
        |ways: &[Vec<u8>]| wire::route(24, "10.0.0.0/8", BGP, &[attribute(9, &ways.concat())]);
    let both = [(via("192.0.2.2", 3), 1), (via("fe80::2", 3), 10)];
    let (updates, ignored) = read(&multipath(&ways));
    assert_eq!(
        updates,
        [set(254, "10.0.0.0/8", Destination::Gateways(both.into()))]
    );
    assert_eq!(ignored, []);
    // One that is left is one gateway, and none is no route.
    assert_eq!(
        read(&multipath(&ways[..1])).0,
        [set(
            254,
            "10.0.0.0/8",
            Destination::Gateway(via("192.0.2.2", 3))
        )]
    );
    assert_eq!(
        read(&multipath(&ways[2..3])),
        (vec![remove("10.0.0.0/8")], vec![Ignored::NoNextHop])
    );
    assert_eq!(
        read(&multipath(&ways[3..])),
        (vec![remove("10.0.0.0/8")], vec![Ignored::Encapsulation])
    );
}

#[test]
fn next_hop_objects_are_read() {
    let group = [
        7u32.to_le_bytes(),
        [0, 0, 0, 0],
        8u32.to_le_bytes(),
        [4, 0, 0, 0],
    ]
    .concat();
    let bytes = [
        wire::next_hop(
            104,
            2,
            &[number(1, 7), attribute(6, &[192, 0, 2, 2]), number(5, 2)],
        ),
        wire::next_hop(104, 0, &[number(1, 9), attribute(2, &group)]),
        wire::next_hop(104, 2, &[number(1, 10), attribute(4, &[])]),
        wire::next_hop(
            104,
            2,
            &[number(1, 11), number(5, 2), attribute(7, &[1, 0])],
        ),
        wire::next_hop(105, 0, &[number(1, 7)]),
    ];
    let (updates, ignored) = read(&bytes.concat());
    let object = |id, object| Update::SetNextHop { id, object };
    assert_eq!(
        updates,
        [
            object(7, NextHopObject::Gateway(via("192.0.2.2", 2))),
            object(9, NextHopObject::Group([(7, 1), (8, 5)].into())),
            object(10, NextHopObject::Blackhole),
            object(11, NextHopObject::Unusable),
            Update::RemoveNextHop { id: 7 },
        ]
    );
    assert_eq!(ignored, [Ignored::Encapsulation]);
}

#[test]
fn what_is_not_used_takes_the_place_of_what_was_and_says_why() {
    let via = || gateway("192.0.2.2");
    let kernel = RouteHeader { protocol: 2, ..BGP };
    let local = RouteHeader { kind: 2, ..BGP };
    for (message, prefix, reason) in [
        (
            wire::route(24, "10.0.0.0/8", kernel, &[via()]),
            "10.0.0.0/8",
            Ignored::Kernel,
        ),
        (
            wire::route(24, "10.0.0.0/8", local, &[via()]),
            "10.0.0.0/8",
            Ignored::RouteType,
        ),
        (
            wire::route(24, "10.0.0.0/8", BGP, &[]),
            "10.0.0.0/8",
            Ignored::NoNextHop,
        ),
        (
            wire::route(24, "fe80::/64", BGP, &[]),
            "fe80::/64",
            Ignored::Destination,
        ),
        (
            wire::route(24, "224.0.0.0/4", BGP, &[via()]),
            "224.0.0.0/4",
            Ignored::Destination,
        ),
        (
            wire::route(24, "10.0.0.0/8", BGP, &[via(), attribute(21, &[1, 0])]),
            "10.0.0.0/8",
            Ignored::Encapsulation,
        ),
    ] {
        assert_eq!(read(&message), (vec![remove(prefix)], vec![reason]));
    }
    for (kind, discard) in [
        (6, Discard::Blackhole),
        (7, Discard::Unreachable),
        (8, Discard::Unreachable),
    ] {
        let header = RouteHeader { kind, ..BGP };
        let message = wire::route(24, "10.0.0.0/8", header, &[]);
        let to = Destination::Discard(discard);
        assert_eq!(read(&message), (vec![set(254, "10.0.0.0/8", to)], vec![]));
    }
}

#[test]
fn what_makes_no_sense_does_nothing_and_says_why() {
    let with = |header| wire::route(24, "10.0.0.0/8", header, &[gateway("192.0.2.2")]);
    let mut family = with(BGP);
    family[16] = 28;
    let mut long = with(BGP);
    long[17] = 33;
    let no_id = wire::next_hop(104, 2, &[number(5, 2)]);
    let odd_group = wire::next_hop(104, 0, &[number(1, 9), attribute(2, &[1, 2, 3])]);
    let wrong_gateway = wire::route(24, "10.0.0.0/8", BGP, &[gateway("2001:db8::1")]);
    for (message, reason) in [
        (with(RouteHeader { tos: 4, ..BGP }), Ignored::Selector),
        (
            with(RouteHeader {
                source_length: 8,
                ..BGP
            }),
            Ignored::Selector,
        ),
        (
            with(RouteHeader {
                flags: 0x200,
                ..BGP
            }),
            Ignored::RouteType,
        ),
        (wire::message(16, &[0; 16]), Ignored::Type),
        (wire::message(24, &[2, 8]), Ignored::Malformed),
        (family, Ignored::Family),
        (long, Ignored::Address),
        (no_id, Ignored::Malformed),
        (odd_group, Ignored::Malformed),
        (wrong_gateway, Ignored::Malformed),
    ] {
        assert_eq!(read(&message), (vec![], vec![reason]), "{message:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_each_message_has_an_effect_or_a_reason(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let (mut updates, mut ignored) = (Vec::new(), 0);
        let count = decode(&bytes, &mut updates, |_| ignored += 1);
        prop_assert!(count <= updates.len() as u64 + ignored);
    }

    /// One byte of a good message is wrong: nothing panics, and what comes out still makes sense.
    #[test]
    fn one_wrong_byte_does_no_harm(at in 0usize..300, value in any::<u8>()) {
        let mut bytes = [
            wire::route(24, "10.1.0.0/16", BGP, &[gateway("192.0.2.2"), number(OIF, 2)]),
            wire::route(24, "2001:db8:1::/48", BGP, &[number(NH_ID, 7)]),
            wire::next_hop(104, 2, &[number(1, 7), attribute(6, &[192, 0, 2, 2]), number(5, 2)]),
        ].concat();
        let at = at % bytes.len();
        bytes[at] = value;
        let (updates, _) = read(&bytes);
        for update in updates {
            if let Update::SetRoute(route) = update {
                prop_assert_eq!(route.prefix, route.prefix.trunc());
            }
        }
    }
}
