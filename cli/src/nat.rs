//! `rewire show nat`: which ports of external addresses are in use, for people and for machines.

use serde_json::json;

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::daemon::nat::{Nat, Query, VERSION};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::terminal::clean;

/// Asks the gateway for the external addresses of the pool or interface that is named, or for all.
pub(crate) fn show(context: &Context, words: &[String]) -> Result<Answer, Failure> {
    let name = match words {
        [] => None,
        [name] => Some(name.clone()),
        _ => {
            let message = "the name of one pool or interface, or none: show nat [NAME]";
            return Err(Failure::new(Code::WrongArguments, message));
        }
    };
    let query = Query { name };
    let answer = gateway::ask(&context.socket(), "nat", &query, VERSION);
    let answer: Option<Nat> = answer.map_err(|why| Failure::new(Code::Failed, why))?;
    let nat = answer.ok_or_else(|| no_gateway(&context.socket()))?;
    if let (Some(name), []) = (&query.name, &nat.shared[..]) {
        let message = format!(
            "no masquerade has the addresses of a pool or interface \"{}\"",
            clean(name)
        );
        return Err(Failure::new(Code::NoSuchName, message));
    }
    Ok(context.shown(|_| text(&nat), || json!(nat)))
}

/// How much of all ports is in use, in hundredths, rounded up: 0 % is none.
fn share(in_use: u64, ports: u64) -> String {
    match ports {
        0 => "-".to_owned(),
        ports => format!("{} %", (u128::from(in_use) * 100).div_ceil(ports.into())),
    }
}

/// A line for each protocol of each pool or interface; where addresses are told apart, a line for each of them below.
fn text(nat: &Nat) -> String {
    if nat.shared.is_empty() {
        return "no masquerades\n".to_owned();
    }
    let heading = ["KIND", "NAME", "VPC", "PROTOCOL"].map(Cell::word);
    let numbers = ["ADDRESSES", "IN USE", "PORTS", "IN USE", "", "EXHAUSTED"].map(Cell::number);
    let mut rows: Vec<Vec<Cell>> = vec![heading.into_iter().chain(numbers).collect()];
    for shared in &nat.shared {
        for used in &shared.protocols {
            let ports = used.ports.map(|ports| ports.to_string());
            let share = used.ports.map(|ports| share(used.ports_in_use, ports));
            rows.push(vec![
                Cell::word(&shared.kind),
                Cell::word(&shared.name),
                Cell::word(&shared.vpc),
                Cell::word(&used.protocol),
                Cell::number(shared.addresses),
                Cell::number(used.addresses_in_use),
                Cell::number(ports.unwrap_or_else(|| "-".to_owned())),
                Cell::number(used.ports_in_use),
                Cell::number(share.unwrap_or_default()),
                Cell::number(used.exhausted),
            ]);
        }
    }
    let mut lines = columns(&rows);
    let each: Vec<_> = nat
        .shared
        .iter()
        .flat_map(|shared| &shared.in_use)
        .collect();
    if !each.is_empty() {
        let mut rows = vec![vec![
            Cell::word("ADDRESS"),
            Cell::word("PROTOCOL"),
            Cell::number("PORTS IN USE"),
        ]];
        rows.extend(each.into_iter().map(|used| {
            vec![
                Cell::word(&used.address.to_string()),
                Cell::word(&used.protocol),
                Cell::number(used.ports_in_use),
            ]
        }));
        lines.push(String::new());
        lines.extend(columns(&rows));
    }
    if nat.former_ports_in_use > 0 {
        lines.push(format!(
            "{} more ports are in use, by NAT64 or of addresses that no masquerade has any more",
            nat.former_ports_in_use
        ));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::nat::{AddressUse, ProtocolUse, Shared};

    #[test]
    fn ports_are_a_table_by_protocol() {
        let used = |protocol: &str, addresses, in_use, ports, exhausted| ProtocolUse {
            protocol: protocol.to_owned(),
            addresses_in_use: addresses,
            ports_in_use: in_use,
            ports,
            exhausted,
        };
        let shared = |kind: &str, name: &str, protocols| Shared {
            kind: kind.to_owned(),
            name: name.to_owned(),
            vpc: "internet".to_owned(),
            rules: vec!["out".to_owned()],
            addresses: 16,
            ports_of_each: Some(64_512),
            protocols,
            in_use: Vec::new(),
        };
        let mut nat = Nat {
            version: VERSION,
            revision: 12,
            shared: vec![
                shared(
                    "pool",
                    "public",
                    vec![
                        used("tcp", 16, 1_032_000, Some(1_032_192), 17),
                        used("udp", 1, 1, Some(1_032_192), 0),
                        used("icmp", 0, 0, Some(1_032_192), 0),
                    ],
                ),
                shared(
                    "interface",
                    "wan",
                    vec![used("tcp", 1, 3, None, 0), used("47", 1, 1, None, 2)],
                ),
            ],
            former_ports_in_use: 0,
        };
        let all = text(&nat);
        nat.shared.truncate(1);
        nat.shared[0].in_use = vec![
            AddressUse {
                address: [192, 0, 2, 1].into(),
                protocol: "tcp".to_owned(),
                ports_in_use: 64_512,
            },
            AddressUse {
                address: [192, 0, 2, 1].into(),
                protocol: "udp".to_owned(),
                ports_in_use: 1,
            },
        ];
        nat.former_ports_in_use = 4;
        let one = text(&nat);
        nat.shared.clear();
        insta::assert_snapshot!([all, one, text(&nat)].join("\n"));
    }
}
