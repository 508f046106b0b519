mod static_nat;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::model::{
    InterfaceAddressRow, InterfaceRow, PoolRangeRow, PoolRow, RouteRow, Row, VpcRow,
};
use crate::types::{AddressRange, InterfaceAddress, Name, RouteType};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn vpc() -> Row {
    VpcRow::new(name("blue")).into()
}

/// Interfaces of one VPC, each with one address.
fn interfaces(networks: &[IpNet]) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.insert(vpc());
    for (index, network) in networks.iter().enumerate() {
        let interface = name(&format!("i{index}"));
        let port = format!("null:{index}").parse().unwrap();
        let mac = "02:00:00:00:00:01".parse().unwrap();
        let row = InterfaceRow::physical(interface.clone(), name("blue"), port, mac);
        configuration.insert(row.into());
        let address = InterfaceAddress::new(*network);
        configuration.insert(
            InterfaceAddressRow {
                interface,
                address,
                marks: Default::default(),
            }
            .into(),
        );
    }
    configuration
}

fn pool(ranges: &BTreeSet<AddressRange>) -> Configuration {
    let mut configuration = Configuration::default();
    configuration.insert(vpc());
    let row = PoolRow::new(name("outside"), name("blue"));
    configuration.insert(row.into());
    for range in ranges {
        let row = PoolRangeRow {
            pool: name("outside"),
            range: *range,
            marks: Default::default(),
        };
        configuration.insert(row.into());
    }
    configuration
}

fn says(configuration: &Configuration, word: &str) -> bool {
    check(configuration)
        .iter()
        .any(|problem| problem.message.contains(word))
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}

fn range(first: u8, length: u8) -> AddressRange {
    let last = first.saturating_add(length);
    format!("{}-{}", address(first), address(last))
        .parse()
        .unwrap()
}

proptest! {
    #[test]
    fn overlapping_subnets_are_those_of_the_definition(
        networks in prop::collection::vec(
            (any::<u8>(), 24u8..=32).prop_map(|(last, length)| IpNet::new(address(last), length).unwrap()),
            0..6,
        ),
    ) {
        let overlaps = networks.iter().enumerate().any(|(index, a)| {
            networks[..index].iter().any(|b| a.contains(&b.trunc()) || b.contains(&a.trunc()))
        });
        prop_assert_eq!(says(&interfaces(&networks), "overlaps"), overlaps);
    }

    #[test]
    fn overlapping_ranges_are_those_of_the_definition(
        ranges in prop::collection::btree_set((1u8..200, 0u8..40).prop_map(|(f, l)| range(f, l)), 0..6),
    ) {
        let list: Vec<_> = ranges.iter().collect();
        let overlaps = list.iter().enumerate().any(|(index, a)| {
            list[..index].iter().any(|b| a.overlaps(**b))
        });
        prop_assert_eq!(says(&pool(&ranges), "overlaps"), overlaps);
    }

    #[test]
    fn an_interface_address_in_a_pool_is_found(
        ranges in prop::collection::btree_set((1u8..200, 0u8..9).prop_map(|(f, l)| range(f, l)), 1..6),
        own in 1u8..255,
    ) {
        let list: Vec<_> = ranges.iter().collect();
        let apart = list.windows(2).all(|pair| !pair[0].overlaps(*pair[1]));
        prop_assume!(apart);
        let mut configuration = pool(&ranges);
        for row in interfaces(&[IpNet::new(address(own), 32).unwrap()]).rows() {
            configuration.insert(row);
        }
        let inside = ranges.iter().any(|range| range.contains(address(own)));
        prop_assert_eq!(says(&configuration, "is the address of interface"), inside);
    }

    #[test]
    fn whatever_the_database_takes_gets_an_answer(configuration in crate::testing::configuration()) {
        // Every constraint of SQL holds in these, so that no reference can be a problem.
        for problem in check(&configuration) {
            prop_assert!(!problem.message.contains("is named"), "{}", problem);
        }
    }
}

#[test]
fn small_subnets_have_hosts_on_all_their_addresses() {
    for (good, text) in [
        (true, "10.0.0.0/31"),
        (true, "10.0.0.1/31"),
        (true, "10.0.0.0/32"),
        (true, "2001:db8::/127"),
        (true, "2001:db8::/128"),
        (true, "2001:db8::ffff:ffff:ffff:ffff/64"),
        (false, "10.0.0.0/30"),
        (false, "10.0.0.3/30"),
        (false, "2001:db8::/64"),
        (false, "255.255.255.255/32"),
    ] {
        let configuration = interfaces(&[text.parse().unwrap()]);
        assert_eq!(check(&configuration).is_empty(), good, "{text}");
    }
}

#[test]
fn a_problem_is_one_line_with_its_help() {
    let problem = Problem::new(Path::new(["vpcs", "blue"]), "is wrong").help("mend it");
    assert_eq!(problem.to_string(), "vpcs.blue: is wrong; mend it");
}

/// So many VPCs in a row, each of which sends all packets on to the next.
fn row_of_vpcs(count: usize) -> Configuration {
    let vpc = |number: usize| name(&format!("v{number:02}"));
    let mut configuration = Configuration::default();
    for number in 0..count {
        configuration.insert(VpcRow::new(vpc(number)).into());
    }
    for number in 1..count {
        let mut route = RouteRow::unicast(vpc(number - 1), "10.0.0.0/8".parse().unwrap());
        route.route_type = RouteType::Vpc;
        route.to_vpc = Some(vpc(number));
        configuration.insert(route.into());
    }
    configuration
}

#[test]
fn a_way_through_too_many_vpcs_is_refused_where_it_begins() {
    assert_eq!(check(&row_of_vpcs(MOST_LOOKUPS)), []);
    let problems = check(&row_of_vpcs(MOST_LOOKUPS + 1));
    let texts: Vec<String> = problems.iter().map(Problem::to_string).collect();
    let expected = "vpcs.v00.routes.10.0.0.0/8.to_vpc: a packet to 10.0.0.0/8 would be looked up in more than 32 VPCs";
    assert!(
        texts.len() == 1 && texts[0].starts_with(expected),
        "{texts:?}"
    );
}
