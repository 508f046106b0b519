//! Static translations: which prefixes can be each other.

use super::*;
use crate::model::StaticNatRow;

/// What is wrong with a translation between these, within one VPC.
fn problems(external: &str, internal: &str, nptv6: bool) -> Vec<String> {
    let mut configuration = Configuration::default();
    configuration.insert(vpc());
    let row = StaticNatRow {
        name: name("rule"),
        description: None,
        external_vpc: name("blue"),
        external_address: external.parse().unwrap(),
        internal_vpc: name("blue"),
        internal_address: internal.parse().unwrap(),
        nptv6,
        marks: Default::default(),
    };
    configuration.insert(row.into());
    let problems = check(&configuration);
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn prefixes_of_any_length_can_be_each_other() {
    for (external, internal, nptv6) in [
        ("100.0.0.0/8", "10.0.0.0/8", false),
        ("192.0.2.1", "10.0.0.1", false),
        ("2001:db8::/32", "fd00::/32", false),
        ("2001:db8:1::/48", "fd00:1:1::/48", true),
        ("2001:db8:1:ff00::/56", "fd00:1:1::/48", true),
        ("2001:db8:1:1::/64", "fd00::/8", true),
    ] {
        assert_eq!(
            problems(external, internal, nptv6),
            [""; 0],
            "{external} {internal}"
        );
    }
}

#[test]
fn what_cannot_be_translated_says_why() {
    let lines = [
        ("100.0.0.0/8", "10.0.0.0/9", false),
        ("2001:db8:1::/48", "fd00:1:1::/56", false),
        ("2001:db8::/32", "10.0.0.0/32", false),
        ("100.0.0.0/8", "10.0.0.0/8", true),
        ("2001:db8::1", "fd00::1", true),
        ("fd00::/56", "fd00::/48", true),
        ("10.0.0.0/8", "10.0.0.0/8", false),
        ("192.0.0.0/2", "64.0.0.0/2", false),
        ("0.0.0.0/0", "0.0.0.0/0", false),
    ]
    .map(|(external, internal, nptv6)| {
        let problems = problems(external, internal, nptv6).join("\n  ");
        format!("{external} = {internal} nptv6={nptv6}\n  {problems}")
    });
    insta::assert_snapshot!(lines.join("\n"));
}
